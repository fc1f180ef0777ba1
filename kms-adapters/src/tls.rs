//! TLS towards a key management system: whom we trust, and who we are.
//!
//! Arrives: the names of PEM files. Leaves: a rustls configuration, made anew when one of the files has changed, so that
//! a renewed certificate needs no restart. An authority that the operator names is trusted instead of the operating
//! system's list: a private KMS is then impersonated by nobody else's authority. Verification is never switched off.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, crypto};

use crate::Error;

/// Whom to trust and who we are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TlsSettings {
    /// PEM file of the authorities to trust; without it, the operating system's.
    pub ca: Option<PathBuf>,
    /// Our own certificate, for a KMS that asks for one.
    pub client_certificate: Option<ClientCertificate>,
}

impl TlsSettings {
    /// Reads the files that are named, as a connection would.
    ///
    /// # Errors
    /// `Certificate`, with the file: no PEM, nothing in it, or a key that does not belong to the certificate.
    pub fn check(&self) -> Result<(), Error> {
        if self.ca.is_none() && self.client_certificate.is_none() {
            Ok(())
        } else {
            Tls::new(self.clone()).config().map(|_| ())
        }
    }
}

/// A certificate with its key, both PEM files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientCertificate {
    /// The chain, our own certificate first.
    pub certificate: PathBuf,
    /// The private key: PKCS#8, PKCS#1 or SEC1.
    pub private_key: PathBuf,
}

/// The configuration of the files as they are now.
pub(crate) struct Tls {
    settings: TlsSettings,
    made: Mutex<Option<(Marks, Arc<ClientConfig>)>>,
}

impl Tls {
    /// Reads nothing yet.
    pub(crate) fn new(settings: TlsSettings) -> Self {
        Self { settings, made: Mutex::new(None) }
    }

    /// The configuration. When the files have become unreadable or wrong, the last good one goes on.
    ///
    /// # Errors
    /// `Io` and `Certificate`, when there was never a good one.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        let marks = self.marks();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match &*made {
            Some((known, config)) if *known == marks => Ok(Arc::clone(config)),
            known => {
                let config = match (self.read(), known) {
                    (Ok(config), _) => Arc::new(config),
                    (Err(_), Some((_, config))) => return Ok(Arc::clone(config)),
                    (Err(error), None) => return Err(error),
                };
                *made = Some((marks, Arc::clone(&config)));
                Ok(config)
            }
        }
    }

    fn read(&self) -> Result<ClientConfig, Error> {
        let mut roots = RootCertStore::empty();
        match &self.settings.ca {
            Some(path) => {
                for certificate in chain(path)? {
                    roots.add(certificate).map_err(|e| unfit(path, e))?;
                }
            }
            // Single certificates of the system's list that cannot be read are no reason to trust none.
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| unfit(Path::new("TLS"), e))?.with_root_certificates(roots);
        let Some(own) = &self.settings.client_certificate else {
            return Ok(builder.with_no_client_auth());
        };
        let key = PrivateKeyDer::from_pem_file(&own.private_key).map_err(|e| unfit(&own.private_key, e))?;
        builder.with_client_auth_cert(chain(&own.certificate)?, key).map_err(|e| unfit(&own.certificate, e))
    }

    fn marks(&self) -> Marks {
        let own = self.settings.client_certificate.iter().flat_map(|own| [&own.certificate, &own.private_key]);
        let mark = |path: &PathBuf| {
            let metadata = fs::metadata(path).ok();
            metadata.map(|found| (found.modified().ok(), found.len(), found.ino()))
        };
        self.settings.ca.iter().chain(own).map(mark).collect()
    }
}

/// When each file was last written, its length, and which file it is: a renewed one is often renamed into place.
type Marks = Vec<Option<(Option<SystemTime>, u64, u64)>>;

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| unfit(path, e))?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|e| unfit(path, e))?;
    if certificates.is_empty() { Err(unfit(path, "no certificate in it")) } else { Ok(certificates) }
}

fn unfit(path: &Path, why: impl ToString) -> Error {
    Error::Certificate { path: path.to_path_buf(), why: why.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pair(folder: &Path) -> ClientCertificate {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let own = ClientCertificate { certificate: folder.join("own.pem"), private_key: folder.join("own.key") };
        for (path, text) in [(&own.certificate, made.cert.pem()), (&own.private_key, made.signing_key.serialize_pem())]
        {
            let fresh = path.with_extension("fresh");
            fs::write(&fresh, text).unwrap();
            fs::rename(&fresh, path).unwrap();
        }
        own
    }

    #[test]
    fn a_renewed_certificate_is_taken_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let own = pair(folder.path());
        let ca = Some(own.certificate.clone());
        let tls = Tls::new(TlsSettings { ca, client_certificate: Some(own.clone()) });
        let first = tls.config().unwrap();
        assert!(Arc::ptr_eq(&first, &tls.config().unwrap()));
        fs::write(&own.private_key, "broken").unwrap();
        assert!(Arc::ptr_eq(&first, &tls.config().unwrap()));
        pair(folder.path());
        assert!(!Arc::ptr_eq(&first, &tls.config().unwrap()));
    }

    #[test]
    fn files_are_checked_before_anybody_connects() {
        let folder = tempfile::tempdir().unwrap();
        let own = pair(folder.path());
        let settings = TlsSettings { ca: Some(own.certificate.clone()), client_certificate: Some(own.clone()) };
        settings.check().unwrap();
        TlsSettings::default().check().unwrap();
        fs::write(&own.private_key, "broken").unwrap();
        assert!(settings.check().unwrap_err().to_string().contains("own.key"));
    }

    #[test]
    fn a_file_without_certificates_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        fs::write(&path, "nothing here").unwrap();
        let error = Tls::new(TlsSettings { ca: Some(path), client_certificate: None }).config().err().unwrap();
        assert!(error.to_string().contains("ca.pem"), "{error}");
    }
}
