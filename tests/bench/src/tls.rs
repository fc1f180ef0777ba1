//! Certificates of one run and the client side of mTLS. An own authority signs one server certificate (HAProxy and gateway use
//! the same) and two client certificates, all ECDSA P-256. They live in the run's throw-away directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::{Attempt, Error};

/// PEM files of one run.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority that signed all others.
    pub ca: PathBuf,
    /// Server certificate for localhost and 127.0.0.1.
    pub server: PathBuf,
    /// Its key.
    pub server_key: PathBuf,
    /// Certificate and key in one file, as HAProxy wants them.
    pub server_both: PathBuf,
    /// Client certificate, CN=bench.
    pub client: PathBuf,
    /// Its key.
    pub client_key: PathBuf,
    /// Certificate of another client, CN=reader.
    pub reader: PathBuf,
    /// Its key.
    pub reader_key: PathBuf,
}

impl Certificates {
    /// Makes all of them in `directory`.
    pub fn create(directory: &Path) -> Result<Self, Error> {
        let files = Self {
            ca: directory.join("ca.pem"),
            server: directory.join("server.pem"),
            server_key: directory.join("server.key"),
            server_both: directory.join("server-both.pem"),
            client: directory.join("client.pem"),
            client_key: directory.join("client.key"),
            reader: directory.join("reader.pem"),
            reader_key: directory.join("reader.key"),
        };
        files
            .sign()
            .map_err(|error| Error::Setup(format!("certificates cannot be made: {error}")))?
            .into_iter()
            .try_for_each(|(path, text)| fs::write(&path, text).attempt(|| format!("write {}", path.display())))?;
        Ok(files)
    }

    fn sign(&self) -> Result<Vec<(PathBuf, String)>, rcgen::Error> {
        let mut authority = named("Barnabas bench CA", Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let authority_key = KeyPair::generate()?;
        let ca = authority.self_signed(&authority_key)?.pem();
        let issuer = Issuer::new(authority, authority_key);

        let mut server = named("localhost", vec!["localhost".into(), "127.0.0.1".into()])?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let server_key = KeyPair::generate()?;
        let server = server.signed_by(&server_key, &issuer)?.pem();

        let of_client = |name: &str| {
            let mut client = named(name, Vec::new())?;
            client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            let key = KeyPair::generate()?;
            Ok::<_, rcgen::Error>((client.signed_by(&key, &issuer)?.pem(), key.serialize_pem()))
        };
        let ((client, client_key), (reader, reader_key)) = (of_client("bench")?, of_client("reader")?);

        Ok(vec![
            (self.ca.clone(), ca),
            (self.server_both.clone(), format!("{server}{}", server_key.serialize_pem())),
            (self.server.clone(), server),
            (self.server_key.clone(), server_key.serialize_pem()),
            (self.client.clone(), client),
            (self.client_key.clone(), client_key),
            (self.reader.clone(), reader),
            (self.reader_key.clone(), reader_key),
        ])
    }

    /// The generator's side of mTLS.
    pub fn client_config(&self) -> Result<Arc<ClientConfig>, Error> {
        client_config(&self.ca, Some((&self.client, &self.client_key)))
    }

    /// The same for the other client.
    pub fn reader_config(&self) -> Result<Arc<ClientConfig>, Error> {
        client_config(&self.ca, Some((&self.reader, &self.reader_key)))
    }

    /// A server that demands a client certificate, for TLS measured in memory.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, Error> {
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(&self.ca)?), Arc::clone(&provider))
            .build()
            .map_err(|error| Error::Setup(format!("client verifier cannot be built: {error}")))?;
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(certificates(&self.server)?, key(&self.server_key)?)?;
        Ok(Arc::new(config))
    }
}

/// Trusts `ca` and shows the certificate of `identity`, where there is one. No resumption: every handshake is a full one.
pub fn client_config(ca: &Path, identity: Option<(&Path, &Path)>) -> Result<Arc<ClientConfig>, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca)?);
    let mut config = match identity {
        Some((certificate, private)) => builder.with_client_auth_cert(certificates(certificate)?, key(private)?)?,
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn named(name: &str, alternatives: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(alternatives)?;
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate)?;
    }
    Ok(store)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let unreadable = |error| Error::Setup(format!("no certificate can be read from {}: {error}", path.display()));
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(unreadable)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|error| Error::Setup(format!("no private key can be read from {}: {error}", path.display())))
}
