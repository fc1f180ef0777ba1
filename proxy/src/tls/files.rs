//! PEM and DER files: a path arrives, parsed certificates, keys, trust anchors and revocation lists leave.
//! Files are the operator's, but may be half-written when a reload reads them: everything is parsed here, so that a
//! broken file is an error now and not a refused client later.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::TlsError;
use crate::config::CertificateFiles;

/// A certificate chain, at least one certificate.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let chain = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| malformed(path, "certificate chain", &error))?;
    if chain.is_empty() {
        return Err(TlsError::Empty { path: path.to_owned(), what: "certificate" });
    }
    Ok(chain)
}

/// A private key in any of the three PEM forms.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = Zeroizing::new(read(path)?);
    let mut keys = PrivateKeyDer::pem_slice_iter(&bytes);
    match keys.next() {
        Some(Ok(key)) => Ok(key),
        // The parser's text could hold a piece of the file, so it is not repeated.
        Some(Err(_)) => Err(TlsError::Malformed {
            path: path.to_owned(),
            what: "private key",
            reason: "its PEM is broken".to_owned(),
        }),
        None => {
            Err(TlsError::Empty { path: path.to_owned(), what: "private key (PKCS#8, PKCS#1 or SEC1, not encrypted)" })
        }
    }
}

/// A chain and the key that belongs to it.
pub(super) fn certified_key(files: &CertificateFiles) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = chain(&files.certificate)?;
    let key = private_key(&files.private_key)?;
    let certified = CertifiedKey::from_der(chain, key, &super::provider()).map_err(|source| TlsError::Certificate {
        certificate: files.certificate.clone(),
        private_key: files.private_key.clone(),
        source,
    })?;
    Ok(Arc::new(certified))
}

/// Trust anchors. One that cannot be used refuses the whole file: a silently smaller set would refuse clients.
pub(super) fn roots(path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in chain(path)? {
        store.add(certificate).map_err(|error| malformed(path, "trust anchor", &error))?;
    }
    Ok(Arc::new(store))
}

/// The revocation lists of a file: PEM with one or more, or one in DER.
pub(super) fn crls(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let bytes = read(path)?;
    if !bytes.starts_with(DER_SEQUENCE) {
        let lists = CertificateRevocationListDer::pem_slice_iter(&bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| malformed(path, "revocation list", &error))?;
        if lists.is_empty() {
            return Err(TlsError::Empty { path: path.to_owned(), what: "revocation list" });
        }
        return parsed(path, lists);
    }
    parsed(path, vec![CertificateRevocationListDer::from(bytes)])
}

fn parsed(
    path: &Path,
    lists: Vec<CertificateRevocationListDer<'static>>,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    for list in &lists {
        webpki::BorrowedCertRevocationList::from_der(list)
            .map_err(|error| malformed(path, "revocation list", &error))?;
    }
    Ok(lists)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn malformed(path: &Path, what: &'static str, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::Malformed { path: path.to_owned(), what, reason: reason.to_string() }
}

/// DER starts with a SEQUENCE (X.690, section 8.9); a PEM file starts with text.
const DER_SEQUENCE: &[u8] = &[0x30];
