//! Key management adapters of Barnabas: where the keys that wrap client identities and epoch seeds live.
//!
//! Each adapter implements [`barnabas_crypto::Custody`]: the local keystore, a file on the gateway's own disk, and one
//! file for each vendor's service, behind a cargo feature of its own. No adapter may ever give a key out of its keeping:
//! what leaves is what was wrapped by it before. `X::new(settings)` never touches the network; a call does.

mod error;
#[allow(dead_code, reason = "each vendor uses another part of it")]
mod secret;

// what stands before every adapter
mod retry;
mod breaker;
mod guard;

// the local keystore
mod file;
mod format;
mod local;

// what adapters to services share
#[cfg(feature = "tls")]
#[allow(dead_code, reason = "each vendor uses another part of it")]
mod tls;
#[cfg(feature = "http")]
#[allow(dead_code, reason = "each vendor uses another part of it")]
mod http;
#[cfg(feature = "http")]
mod document;
#[cfg(any(feature = "gcp", feature = "azure"))]
#[allow(dead_code, reason = "each vendor uses another part of it")]
mod oauth;

// one file for each vendor
#[cfg(feature = "vault")]
mod vault;
#[cfg(feature = "aws")]
mod aws;
#[cfg(feature = "gcp")]
mod gcp;
#[cfg(feature = "azure")]
mod azure;
#[cfg(feature = "pkcs11")]
mod pkcs11;
#[cfg(feature = "kmip")]
pub mod kmip;

#[cfg(feature = "aws")]
pub use aws::{Aws, AwsCredentials, AwsKeys, AwsSettings};
#[cfg(feature = "azure")]
pub use azure::{Azure, AzureCredentials, AzureIdentity, AzureKeys, AzureSettings, AzureStore};
pub use breaker::BreakerSettings;
#[cfg(feature = "http")]
pub use document::Documents;
pub use error::{Error, VendorError};
pub use file::create_key_file;
#[cfg(feature = "gcp")]
pub use gcp::{Gcp, GcpCredentials, GcpKeys, GcpSettings};
pub use guard::{GuardSettings, Guarded, Outage};
#[cfg(feature = "http")]
pub use http::{HttpSettings, Plaintext};
#[cfg(feature = "kmip")]
pub use kmip::{Kmip, KmipSettings};
pub use local::{EntryKind, LocalKeystore, Passphrase, Unlock};
#[cfg(feature = "pkcs11")]
pub use pkcs11::{Pkcs11, Pkcs11Mechanism, Pkcs11Settings};
pub use retry::RetrySettings;
pub use secret::{SecretSource, SecretText};
#[cfg(feature = "tls")]
pub use tls::{ClientCertificate, TlsSettings};
#[cfg(feature = "vault")]
pub use vault::{Vault, VaultAuth, VaultKeys, VaultSettings};

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Who knows one adapter finds the way in all of them.
    #[test]
    fn every_adapter_has_the_same_sections_in_the_same_order() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        for file in ["local.rs", "vault.rs", "aws.rs", "gcp.rs", "azure.rs", "pkcs11/mod.rs", "kmip/mod.rs"] {
            let text = std::fs::read_to_string(source.join(file)).unwrap_or_default();
            let sections = ["// Settings", "// Authentication", "// Calls", "// Errors", "mod tests;"];
            let places = sections.map(|section| text.lines().position(|line| line.starts_with(section)));
            assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{file}: {places:?}");
        }
    }
}
