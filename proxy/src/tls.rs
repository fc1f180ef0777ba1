//! TLS on both sides of the gateway: files named by the configuration arrive, rustls configurations leave.
//! The provider of cryptography is given in one place and never taken from the process; ALPN is offered
//! to HTTP's clients only, because Kafka has none. New files replace old ones while connections live; broken files leave the old ones in use and an error in
//! the log. A private key never leaves this module but into rustls.

mod files;
mod names;
mod reload;
mod server;
mod upstream;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use server::{Protocols, ServerSnapshot, ServerTls};
pub use upstream::UpstreamTlsSource;

pub use crate::identity::NameRefusal as PrincipalError;

/// Why a TLS configuration cannot be made. Every variant names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate and the private key do not belong together, or rustls cannot use them.
    #[error("`{certificate}` and `{private_key}` cannot be served: {source}", certificate = certificate.display(), private_key = private_key.display())]
    Certificate {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        private_key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// A file holds nothing of what it should.
    #[error("`{}` holds no {what} in PEM form", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
    },
    /// A file is not what it should be.
    #[error("`{}` is not a {what}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// What the parser says; never key material.
        reason: String,
    },
    /// The host of a broker is not a name that a certificate can carry.
    #[error("`{0}` is not a host name or address that a certificate can carry")]
    Name(String),
    /// A file cannot be read.
    #[error("`{}` cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// rustls refuses the settings as a whole.
    #[error("the TLS settings cannot be used: {0}")]
    Settings(#[from] rustls::Error),
    /// Trust anchors and revocation lists make no verifier.
    #[error("`{}` and its revocation lists cannot verify certificates: {reason}", path.display())]
    Verifier {
        /// The trust anchors.
        path: PathBuf,
        /// What rustls says.
        reason: String,
    },
}

/// The one place that chooses a provider. With two providers in a dependency graph rustls's own choice panics.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
pub(crate) mod tests;
