//! Which certificate a client gets: the host name that it asks for (SNI, RFC 6066) arrives, a certificate leaves.
//! A wildcard covers exactly one label (RFC 9525, section 6.3). A name that no certificate carries, and no name at all, get the first
//! certificate: the client then says what it dislikes, which is easier to find than a closed connection.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The certificates of one listener by the names that they carry.
#[derive(Debug)]
pub(super) struct CertificateNames {
    first: Arc<CertifiedKey>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    wildcard: HashMap<String, Arc<CertifiedKey>>,
}

impl CertificateNames {
    /// Where two certificates carry the same name, the one that comes first in the configuration is served.
    pub(super) fn new(first: Arc<CertifiedKey>, more: Vec<Arc<CertifiedKey>>) -> Self {
        let mut names = Self { first: first.clone(), exact: HashMap::new(), wildcard: HashMap::new() };
        for key in std::iter::once(first).chain(more) {
            for name in names_of(&key) {
                match name.strip_prefix("*.") {
                    Some(domain) => names.wildcard.entry(domain.to_owned()).or_insert_with(|| key.clone()),
                    None => names.exact.entry(name).or_insert_with(|| key.clone()),
                };
            }
        }
        names
    }

    /// The certificate that carries a name.
    pub(super) fn find(&self, host: &str) -> Option<&Arc<CertifiedKey>> {
        let host = host.to_ascii_lowercase();
        let by_wildcard = || host.split_once('.').and_then(|(_, domain)| self.wildcard.get(domain));
        self.exact.get(&host).or_else(by_wildcard)
    }
}

impl ResolvesServerCert for CertificateNames {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let found = hello.server_name().and_then(|host| self.find(host));
        Some(found.unwrap_or(&self.first).clone())
    }
}

fn names_of(key: &CertifiedKey) -> Vec<String> {
    let Some(Ok((_, certificate))) = key.cert.first().map(|der| X509Certificate::from_der(der)) else {
        return Vec::new();
    };
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}
