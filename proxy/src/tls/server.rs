//! TLS towards clients: the settings of a listener arrive, a rustls server configuration leaves, with a verifier that can
//! be asked again about connections that are already there. Client certificates are checked for path, validity and
//! revocation along the whole chain; with any revocation list, an issuer without a current list is refused.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tokio::sync::watch;

use super::names::CertificateNames;
use super::reload::{Load, Reloadable};
use super::{TlsError, files, provider};
use crate::config::{ClientAuth, ClientTrust, ListenerTls, TlsVersion};
use crate::identity::{NameRefusal, Principal, PrincipalRule};

/// TLS of one listener. Lives as long as the listener; its files are read anew by [`ServerTls::reload`].
#[derive(Debug)]
pub struct ServerTls {
    loaded: Reloadable<ServerSnapshot>,
    protocols: Protocols,
}

/// What is offered by ALPN, the preferred one first; nothing for Kafka, which has no name there.
pub type Protocols = &'static [&'static [u8]];

impl ServerTls {
    /// Loads for the first time; at the start a broken file is an error.
    pub fn new(settings: ListenerTls, principal: PrincipalRule) -> Result<Self, TlsError> {
        Self::with_protocols(settings, principal, &[])
    }

    /// The same, for a listener whose clients choose a protocol in the handshake (ALPN, RFC 7301).
    pub fn with_protocols(
        settings: ListenerTls,
        principal: PrincipalRule,
        protocols: Protocols,
    ) -> Result<Self, TlsError> {
        let loaded = Reloadable::new((settings, principal, protocols))?;
        Ok(Self { loaded, protocols })
    }

    /// The configuration of the next handshake.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.loaded.current().config()
    }

    /// How long the next handshake may take.
    pub fn handshake_timeout(&self) -> Duration {
        self.loaded.current().settings.handshake_timeout
    }

    /// Who a client is, by what TLS has verified; `None` is a client without a certificate.
    pub fn principal(&self, chain: Option<&[CertificateDer<'_>]>) -> Result<Principal, NameRefusal> {
        match chain.and_then(<[_]>::first) {
            Some(certificate) => self.loaded.current().principal.principal(certificate),
            None => Ok(Principal::anonymous()),
        }
    }

    /// What is in use now.
    pub fn snapshot(&self) -> Arc<ServerSnapshot> {
        self.loaded.current()
    }

    /// Tells of every later change, so that live connections can be looked at again
    /// ([`ServerSnapshot::still_accepts`]).
    pub fn subscribe(&self) -> watch::Receiver<Arc<ServerSnapshot>> {
        self.loaded.subscribe()
    }

    /// Reads the files anew. On an error what is in use stays in use.
    pub fn reload(&self, settings: ListenerTls, principal: PrincipalRule) -> Result<(), TlsError> {
        self.loaded.reload(&(settings, principal, self.protocols))
    }

    /// Ends when a client that was accepted would be so no longer, after a reload of trust anchors or revocation lists, and says why.
    /// `chain` is what it showed. `reloaded` must be from before its handshake, so that a reload in the middle of it counts.
    pub async fn disowned(
        &self,
        chain: &[CertificateDer<'_>],
        mut reloaded: watch::Receiver<Arc<ServerSnapshot>>,
    ) -> String {
        loop {
            if reloaded.changed().await.is_err() {
                return std::future::pending().await;
            }
            if let Err(error) = self.snapshot().still_accepts(chain, UnixTime::now()) {
                return error.to_string();
            }
        }
    }
}

/// What a listener needs for its next handshake. Immutable.
#[derive(Debug)]
pub struct ServerSnapshot {
    settings: ListenerTls,
    principal: PrincipalRule,
    config: Arc<ServerConfig>,
    names: Arc<CertificateNames>,
    verifier: Arc<dyn ClientCertVerifier>,
    asks: bool,
}

impl ServerSnapshot {
    /// The configuration of the next handshake. Every load makes a new one with an empty session store, so that a client
    /// whose certificate was revoked cannot resume a session from before.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// Whether some certificate of the listener carries a host name.
    pub fn covers(&self, host: &str) -> bool {
        self.names.find(host).is_some()
    }

    /// Whether a connection that was accepted earlier would be accepted now: to be asked for live connections after a
    /// reload. `chain` is what the client sent (`peer_certificates`), empty when it sent none.
    pub fn still_accepts(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), rustls::Error> {
        match chain.split_first() {
            None if self.verifier.client_auth_mandatory() => {
                Err(rustls::Error::General("a client certificate is required now".to_owned()))
            }
            // A listener that no longer asks has no authority left to judge what it once accepted.
            Some(_) if !self.asks => {
                Err(rustls::Error::General("client certificates are no longer accepted".to_owned()))
            }
            None => Ok(()),
            Some((own, intermediates)) => self.verifier.verify_client_cert(own, intermediates, now).map(|_| ()),
        }
    }
}

impl Load for ServerSnapshot {
    type Settings = (ListenerTls, PrincipalRule, Protocols);

    fn load((settings, principal, protocols): &Self::Settings) -> Result<Self, TlsError> {
        let first = files::certified_key(&settings.certificate)?;
        let more = settings.more_certificates.iter().map(files::certified_key).collect::<Result<Vec<_>, _>>()?;
        let names = Arc::new(CertificateNames::new(first, more));
        let (verifier, asks) = match &settings.client_auth {
            ClientAuth::Off => (WebPkiClientVerifier::no_client_auth(), false),
            ClientAuth::Optional(trust) => (verifier(trust, true)?, true),
            ClientAuth::Required(trust) => (verifier(trust, false)?, true),
        };
        let versions: &[&rustls::SupportedProtocolVersion] = match settings.min_version {
            TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::Tls13 => &[&rustls::version::TLS13],
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)?
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(names.clone());
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        Ok(Self {
            settings: settings.clone(),
            principal: principal.clone(),
            config: Arc::new(config),
            names,
            verifier,
            asks,
        })
    }
}

fn verifier(trust: &ClientTrust, anonymous: bool) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let roots = files::roots(&trust.client_ca)?;
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let mut lists = Vec::new();
    for path in &trust.crls {
        lists.extend(files::crls(path)?);
    }
    if !lists.is_empty() {
        // A list past its `nextUpdate` says nothing about today: taking it would fail open.
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    if anonymous {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| TlsError::Verifier { path: trust.client_ca.clone(), reason: error.to_string() })
}
