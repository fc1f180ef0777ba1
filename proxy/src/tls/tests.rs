//! Handshakes in memory with certificates made for the test: who is let in, who is not, and what a reload changes.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConnection, ServerConnection};

use super::*;
use crate::config::{CertificateFiles, ClientAuth, ClientTrust, ListenerTls, TlsVersion, UpstreamTls};
use crate::identity::{MappingRules, Principal, PrincipalRule, PrincipalSource};

/// A certificate authority whose files are in a folder.
pub(crate) struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new(dir: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(dir.join(format!("{name}.pem")), certificate.pem()).unwrap();
        Self { dir: dir.to_owned(), issuer: Issuer::new(params, key) }
    }

    pub(crate) fn issue(&self, name: &str, hosts: &[&str], serial: u64) -> CertificateFiles {
        let mut params = CertificateParams::new(hosts.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = CertificateFiles {
            certificate: self.dir.join(format!("{name}.pem")),
            private_key: self.dir.join(format!("{name}.key")),
        };
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        std::fs::write(&files.private_key, key.serialize_pem()).unwrap();
        files
    }

    pub(crate) fn revoke(&self, serials: &[u64], next_update: (i32, u8, u8)) -> PathBuf {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2020, 1, 1),
            next_update: rcgen::date_time_ymd(next_update.0, next_update.1, next_update.2),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.dir.join("clients.crl");
        std::fs::write(&path, params.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        path
    }
}

struct Scene {
    dir: tempfile::TempDir,
    authority: Authority,
    settings: ListenerTls,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    let settings = ListenerTls {
        certificate: authority.issue("gateway", &["kafka.example.com"], 1),
        more_certificates: vec![authority.issue("brokers", &["*.kafka.example.com"], 2)],
        client_auth: ClientAuth::Required(ClientTrust { client_ca: dir.path().join("ca.pem"), crls: Vec::new() }),
        min_version: TlsVersion::Tls12,
        handshake_timeout: Duration::from_secs(10),
    };
    Scene { dir, authority, settings }
}

impl Scene {
    fn with_crl(&mut self, path: PathBuf) {
        let trust = ClientTrust { client_ca: self.dir.path().join("ca.pem"), crls: vec![path] };
        self.settings.client_auth = ClientAuth::Required(trust);
    }

    fn client(&self, certificate: Option<CertificateFiles>) -> UpstreamTlsSource {
        let ca = self.dir.path().join("ca.pem");
        UpstreamTlsSource::new(UpstreamTls { ca, certificate, server_name: None }).unwrap()
    }
}

/// A whole handshake in memory; the chains that each side has seen.
fn shake(
    server: &ServerSnapshot,
    client: &UpstreamTlsSource,
    host: &str,
) -> Result<(ServerConnection, Vec<CertificateDer<'static>>), rustls::Error> {
    let mut server = ServerConnection::new(server.config())?;
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = ClientConnection::new(client.current().config, name)?;
    while client.is_handshaking() || server.is_handshaking() || client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            server.read_tls(&mut rest).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut rest = wire.as_slice();
        while !rest.is_empty() {
            client.read_tls(&mut rest).unwrap();
            client.process_new_packets()?;
        }
    }
    let seen = client.peer_certificates().unwrap().to_vec();
    Ok((server, seen.into_iter().map(CertificateDer::into_owned).collect()))
}

fn load(settings: &ListenerTls) -> Result<Arc<ServerSnapshot>, TlsError> {
    ServerTls::new(settings.clone(), PrincipalRule::default()).map(|tls| tls.snapshot())
}

fn common_name(chain: &[CertificateDer<'_>]) -> Principal {
    PrincipalRule::default().principal(chain.first().unwrap()).unwrap()
}

#[test]
fn a_client_with_a_certificate_gets_in_and_has_a_principal() {
    let scene = scene();
    let tls = load(&scene.settings).unwrap();
    let client = scene.client(Some(scene.authority.issue("alice", &[], 10)));
    let (server, _) = shake(&tls, &client, "kafka.example.com").unwrap();
    assert_eq!(common_name(server.peer_certificates().unwrap()), Principal::user("CN=alice"));
    assert_eq!(server.alpn_protocol(), None);
    assert_eq!(server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
}

#[test]
fn required_refuses_and_optional_lets_in_a_client_without_a_certificate() {
    let mut scene = scene();
    let nobody = scene.client(None);
    let required = load(&scene.settings).unwrap();
    assert!(shake(&required, &nobody, "kafka.example.com").is_err());
    assert!(required.still_accepts(&[], UnixTime::now()).is_err());
    let ClientAuth::Required(trust) = scene.settings.client_auth.clone() else { panic!("required") };
    scene.settings.client_auth = ClientAuth::Optional(trust);
    let optional = load(&scene.settings).unwrap();
    let (server, _) = shake(&optional, &nobody, "kafka.example.com").unwrap();
    assert_eq!(server.peer_certificates(), None);
    assert!(optional.still_accepts(&[], UnixTime::now()).is_ok());
    let foreign_dir = tempfile::tempdir().unwrap();
    let foreign = Authority::new(foreign_dir.path(), "foreign").issue("mallory", &[], 10);
    assert!(shake(&optional, &scene.client(Some(foreign)), "kafka.example.com").is_err());
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let scene = scene();
    let tls = load(&scene.settings).unwrap();
    let client = scene.client(Some(scene.authority.issue("alice", &[], 10)));
    let seen = |host: &str| shake(&tls, &client, host).map(|(_, chain)| common_name(&chain));
    assert_eq!(seen("kafka.example.com").unwrap(), Principal::user("CN=gateway"));
    assert_eq!(seen("b7.kafka.example.com").unwrap(), Principal::user("CN=brokers"));
    assert!(seen("a.b7.kafka.example.com").is_err());
    assert!(tls.covers("B1.Kafka.example.com") && !tls.covers("example.com"));
}

#[test]
fn a_revoked_certificate_is_refused_after_a_reload_for_new_and_for_live_connections() {
    let mut scene = scene();
    let alice = scene.client(Some(scene.authority.issue("alice", &[], 10)));
    let bob = scene.client(Some(scene.authority.issue("bob", &[], 11)));
    let crl = scene.authority.revoke(&[], (2999, 1, 1));
    scene.with_crl(crl);
    let tls = ServerTls::new(scene.settings.clone(), PrincipalRule::default()).unwrap();
    let mut changes = tls.subscribe();
    let (live, _) = shake(&tls.snapshot(), &alice, "kafka.example.com").unwrap();
    let chain = live.peer_certificates().unwrap().to_vec();
    assert!(tls.snapshot().still_accepts(&chain, UnixTime::now()).is_ok());
    assert!(!changes.has_changed().unwrap());

    scene.authority.revoke(&[10], (2999, 1, 1));
    tls.reload(scene.settings.clone(), PrincipalRule::default()).unwrap();
    assert!(changes.has_changed().unwrap());
    let now = changes.borrow_and_update().clone();
    assert!(now.still_accepts(&chain, UnixTime::now()).is_err());
    assert!(shake(&now, &alice, "kafka.example.com").is_err());
    assert!(shake(&now, &bob, "kafka.example.com").is_ok());
}

#[test]
fn a_list_that_has_run_out_refuses_everyone_that_it_covers() {
    let mut scene = scene();
    let alice = scene.client(Some(scene.authority.issue("alice", &[], 10)));
    let crl = scene.authority.revoke(&[], (2021, 1, 1));
    scene.with_crl(crl);
    let tls = load(&scene.settings).unwrap();
    assert!(shake(&tls, &alice, "kafka.example.com").is_err());
}

#[test]
fn broken_files_leave_the_old_configuration_in_use() {
    let scene = scene();
    let tls = ServerTls::new(scene.settings.clone(), PrincipalRule::default()).unwrap();
    let before = tls.snapshot();
    let files = &scene.settings.certificate;
    let other = KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(&files.private_key, &other).unwrap();
    assert!(matches!(tls.reload(scene.settings.clone(), PrincipalRule::default()), Err(TlsError::Certificate { .. })));
    std::fs::write(&files.private_key, "-----BEGIN PRIVATE KEY-----\nAAAA").unwrap();
    let refused = tls.reload(scene.settings.clone(), PrincipalRule::default()).unwrap_err();
    assert!(refused.to_string().contains("gateway.key"), "{refused}");
    std::fs::write(&files.certificate, "").unwrap();
    assert!(matches!(tls.reload(scene.settings.clone(), PrincipalRule::default()), Err(TlsError::Empty { .. })));
    std::fs::remove_file(&files.certificate).unwrap();
    assert!(matches!(tls.reload(scene.settings.clone(), PrincipalRule::default()), Err(TlsError::Read { .. })));
    assert!(Arc::ptr_eq(&before, &tls.snapshot()));
    let client = scene.client(Some(scene.authority.issue("alice", &[], 10)));
    assert!(shake(&tls.snapshot(), &client, "kafka.example.com").is_ok());
}

#[test]
fn the_lowest_version_is_kept() {
    let mut scene = scene();
    scene.settings.min_version = TlsVersion::Tls13;
    let tls = load(&scene.settings).unwrap();
    let client = scene.client(Some(scene.authority.issue("alice", &[], 10)));
    let old = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(files::roots(&scene.dir.path().join("ca.pem")).unwrap())
        .with_no_client_auth();
    let mut connection =
        ClientConnection::new(Arc::new(old), ServerName::try_from("kafka.example.com").unwrap()).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    let mut server = ServerConnection::new(tls.config()).unwrap();
    server.read_tls(&mut hello.as_slice()).unwrap();
    assert!(server.process_new_packets().is_err());
    assert!(shake(&tls, &client, "kafka.example.com").is_ok());
}

#[test]
fn the_principal_follows_the_rule_of_the_listener() {
    let scene = scene();
    let rules = |text: &str| PrincipalRule {
        from: PrincipalSource::Subject,
        mapping_rules: MappingRules::parse(text).unwrap(),
    };
    let tls = ServerTls::new(scene.settings.clone(), rules("RULE:^CN=(.*)$/$1/U")).unwrap();
    let client = scene.client(Some(scene.authority.issue("alice", &[], 10)));
    let (server, _) = shake(&tls.snapshot(), &client, "kafka.example.com").unwrap();
    assert_eq!(tls.principal(server.peer_certificates()), Ok(Principal::user("ALICE")));
    assert_eq!(tls.principal(None), Ok(Principal::anonymous()));
    tls.reload(scene.settings.clone(), rules("RULE:^CN=bob$/bob/")).unwrap();
    assert!(matches!(tls.principal(server.peer_certificates()), Err(PrincipalError::Unmapped(_))));
}

#[test]
fn a_name_that_no_certificate_can_carry_is_refused_when_loading() {
    let scene = scene();
    let settings = |name: &str| UpstreamTls {
        ca: scene.dir.path().join("ca.pem"),
        certificate: None,
        server_name: Some(name.to_owned()),
    };
    let shared = UpstreamTlsSource::new(settings("kafka.internal")).unwrap();
    assert_eq!(shared.current().server_name.as_deref(), Some("kafka.internal"));
    assert!(matches!(UpstreamTlsSource::new(settings("a b")), Err(TlsError::Name(_))));
}
