//! Certificates of a test: an authority, servers, clients, a revocation list. Files in PEM, made anew for each test.
//!
//! Keys are ECDSA P-256 in PKCS#8, which every client of the matrix reads. Java wants the key and the chain in one file; that
//! file is written as well.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate authority with its folder.
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    next_serial: u64,
    revocations: u64,
    revoked: Vec<SerialNumber>,
}

/// What a server presents.
#[derive(Clone, Debug)]
pub struct ServerFiles {
    /// The chain in PEM.
    pub certificate: PathBuf,
    /// The key in PEM, PKCS#8.
    pub private_key: PathBuf,
    /// Key and chain in one file, as Java's PEM key store wants it.
    pub key_store: PathBuf,
    /// The authority's certificate.
    pub ca: PathBuf,
}

/// What a client needs to speak TLS, with or without a certificate of its own.
#[derive(Clone, Debug)]
pub struct ClientFiles {
    /// The authority that the client trusts.
    pub ca: PathBuf,
    /// The client's own certificate, if it has one.
    pub own: Option<OwnFiles>,
}

/// A client's own certificate.
#[derive(Clone, Debug)]
pub struct OwnFiles {
    /// The chain in PEM.
    pub certificate: PathBuf,
    /// The key in PEM, PKCS#8.
    pub private_key: PathBuf,
    /// Key and chain in one file.
    pub key_store: PathBuf,
    /// What a revocation list names.
    pub serial: u64,
}

impl Authority {
    /// A new authority; its certificate is `ca.pem` in the folder.
    pub fn new(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap_or_else(|e| panic!("cannot make {}: {e}", folder.display()));
        let mut params = named("Barnabas test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key pair can be drawn");
        let certificate = params.self_signed(&key).expect("an authority can sign itself");
        write(&folder.join("ca.pem"), &certificate.pem());
        let issuer = Issuer::new(params, key);
        Self { folder: folder.to_owned(), issuer, next_serial: 1, revocations: 0, revoked: Vec::new() }
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A server certificate for `localhost`, `127.0.0.1` and these further host names (`*.example.com` too).
    pub fn server(&mut self, name: &str, hosts: &[&str]) -> ServerFiles {
        let mut params = named(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let names = ["localhost"].iter().chain(hosts);
        params.subject_alt_names =
            names.map(|host| SanType::DnsName((*host).try_into().expect("a host name"))).collect();
        params.subject_alt_names.push(SanType::IpAddress([127, 0, 0, 1].into()));
        let own = self.sign(name, params);
        ServerFiles {
            certificate: own.certificate,
            private_key: own.private_key,
            key_store: own.key_store,
            ca: self.ca(),
        }
    }

    /// A client certificate with the subject `CN=<name>`.
    pub fn client(&mut self, name: &str) -> ClientFiles {
        self.client_with(name, vec![])
    }

    /// A client certificate with alternative names, for rules that take the principal from there.
    pub fn client_with(&mut self, name: &str, names: Vec<SanType>) -> ClientFiles {
        let mut params = named(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = names;
        ClientFiles { ca: self.ca(), own: Some(self.sign(name, params)) }
    }

    /// A client that trusts this authority and has no certificate.
    pub fn anonymous(&self) -> ClientFiles {
        ClientFiles { ca: self.ca(), own: None }
    }

    /// Writes the list of all that were revoked up to now, these included; the file keeps its name over the revocations.
    pub fn revoke(&mut self, clients: &[&ClientFiles]) -> PathBuf {
        let serials = clients.iter().filter_map(|client| client.own.as_ref()).map(|own| SerialNumber::from(own.serial));
        self.revoked.extend(serials);
        self.revocations += 1;
        let revoked = self.revoked.iter().map(|serial| RevokedCertParams {
            serial_number: serial.clone(),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2090, 1, 1),
            crl_number: SerialNumber::from(self.revocations),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("an authority can sign a list");
        let path = self.folder.join("revoked.pem");
        write(&path, &list.pem().expect("a list has a PEM form"));
        path
    }

    fn sign(&mut self, name: &str, mut params: CertificateParams) -> OwnFiles {
        let serial = self.next_serial;
        self.next_serial += 1;
        params.serial_number = Some(SerialNumber::from(serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("a key pair can be drawn");
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority can sign a certificate").pem();
        let file = |end: &str| self.folder.join(format!("{name}-{serial}.{end}"));
        let own = OwnFiles { certificate: file("crt"), private_key: file("key"), key_store: file("store"), serial };
        write(&own.certificate, &certificate);
        write(&own.private_key, &key.serialize_pem());
        write(&own.key_store, &format!("{}{certificate}", key.serialize_pem()));
        own
    }
}

/// TLS towards a server of this authority, for [`crate::wire`].
pub fn client_config(files: &ClientFiles) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in chain(&files.ca) {
        roots.add(certificate).expect("the authority's certificate is a certificate");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("the provider has the default versions").with_root_certificates(roots);
    match &files.own {
        Some(own) => {
            let key = PrivateKeyDer::from_pem_file(&own.private_key).expect("the key was written by the harness");
            builder.with_client_auth_cert(chain(&own.certificate), key).expect("key and certificate belong together")
        }
        None => builder.with_no_client_auth(),
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2024, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    params
}

fn chain(path: &Path) -> Vec<CertificateDer<'static>> {
    let certificates = CertificateDer::pem_file_iter(path).expect("the harness wrote the file");
    certificates.collect::<Result<_, _>>().expect("the file holds certificates")
}

fn write(path: &Path, text: &str) {
    let written: io::Result<()> = fs::write(path, text);
    written.unwrap_or_else(|e| panic!("cannot write {}: {e}", path.display()));
}
