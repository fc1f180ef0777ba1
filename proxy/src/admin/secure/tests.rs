//! Connections over real TLS: who gets in, who gets what, and what a reload takes away.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::client::TlsStream as ClientStream;
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::audit::event::Audit;
use crate::config::{CertificateFiles, Config};
use crate::tls::provider;
use crate::tls::tests::Authority;

struct Scene {
    dir: tempfile::TempDir,
    authority: Authority,
    secure: Arc<Secure>,
    address: SocketAddr,
    _end: watch::Sender<bool>,
}

const ROLES: &str = "auditor: ['User:CN=auditor'], operator: ['User:CN=ops'], witnessed: ['User:CN=gateway']";

/// `more` goes into `tls`.
fn settings(dir: &Path, roles: &str, more: &str) -> SecureAdmin {
    let text = format!(
        "listeners: [{{ name: a, bind: 127.0.0.1:9192, cluster: one, brokers: {{ by: port, first_port: 9193, count: 8 }}, tls: off }}]
clusters: [{{ name: one, bootstrap_servers: [a:1], tls: off }}]
streams: {{ default: pass }}
admin:
  bind: 127.0.0.1:9644
  secure:
    bind: 127.0.0.1:9645
    tls: {{ certificate: server.pem, private_key: server.key, client_auth: required, client_ca: ca.pem{more} }}
    roles: {{ {roles} }}
"
    );
    Config::parse(&text, dir, &[]).unwrap().admin.unwrap().secure.unwrap()
}

async fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "ca");
    authority.issue("server", &["localhost"], 1);
    let secure = Secure::new(&settings(dir.path(), ROLES, ""), None, Door::new(Audit::off())).unwrap();
    let witness = Router::new().route("/{origin}/checkpoint", axum::routing::get(|| async { "a checkpoint\n" }));
    let secure = Arc::new(secure.with_witness(Some(witness)));
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let (end, ended) = watch::channel(false);
    let operations = Router::new().route("/livez", axum::routing::get(|| async { "ok\n" }));
    tokio::spawn(secure.clone().serve(socket, operations, ended));
    Scene { dir, authority, secure, address, _end: end }
}

impl Scene {
    async fn connect(&self, files: Option<&CertificateFiles>) -> io::Result<ClientStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.dir.path().join("ca.pem")).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
        let config = config.with_root_certificates(roots);
        let config = match files {
            Some(files) => {
                let chain = vec![CertificateDer::from_pem_file(&files.certificate).unwrap()];
                let key = PrivateKeyDer::from_pem_file(&files.private_key).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        let stream = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
    }

    /// The answer, head and body.
    async fn ask(&self, files: Option<&CertificateFiles>, path: &str, more: &str) -> io::Result<String> {
        let mut stream = self.connect(files).await?;
        send(&mut stream, path, &format!("connection: close\r\n{more}")).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }
}

async fn send(stream: &mut client::TlsStream<TcpStream>, path: &str, more: &str) -> io::Result<()> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{more}\r\n").as_bytes()).await
}

#[tokio::test]
async fn everybody_sees_what_the_role_shows_and_nothing_else() {
    let scene = scene().await;
    let [auditor, ops, alice, gateway] =
        ["auditor", "ops", "alice", "gateway"].map(|name| scene.authority.issue(name, &[], 7));
    for (who, path, status) in [
        (&auditor, "/audit/", "404"),
        (&auditor, "/livez", "403"),
        (&ops, "/livez", "200"),
        (&ops, "/audit/", "403"),
        (&ops, "/audit/log/checkpoint", "403"),
        (&ops, "/elsewhere", "403"),
        (&auditor, "/elsewhere", "404"),
        (&alice, "/livez", "403"),
        (&alice, "/audit/", "403"),
        (&alice, "/audit/query", "403"),
        (&gateway, "/witness/hash/checkpoint", "200"),
        (&gateway, "/livez", "403"),
        (&auditor, "/witness/hash/checkpoint", "403"),
        (&ops, "/witness/hash/checkpoint", "403"),
    ] {
        let answer = scene.ask(Some(who), path, "").await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        assert!(answer.contains("content-security-policy: default-src 'none'"), "{answer}");
        assert!(answer.contains("cache-control: no-store"), "{answer}");
    }
    assert!(scene.ask(None, "/audit/", "").await.is_err());
    // Another site can make the browser ask, but gets nothing; a link can be followed.
    let foreign = "sec-fetch-site: cross-site\r\n";
    let answer = scene.ask(Some(&ops), "/livez", foreign).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let answer = scene.ask(Some(&ops), "/livez", &format!("{foreign}sec-fetch-mode: navigate\r\n")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn a_role_that_is_taken_away_counts_for_the_next_request() {
    let scene = scene().await;
    let ops = scene.authority.issue("ops", &[], 7);
    assert!(scene.ask(Some(&ops), "/livez", "").await.unwrap().starts_with("HTTP/1.1 200"));
    scene.secure.reload(&settings(scene.dir.path(), "operator: ['User:CN=other']", ""));
    assert!(scene.ask(Some(&ops), "/livez", "").await.unwrap().starts_with("HTTP/1.1 403"));
}

#[tokio::test]
async fn who_is_revoked_is_out_at_once() {
    let scene = scene().await;
    let (auditor, ops) = (scene.authority.issue("auditor", &[], 7), scene.authority.issue("ops", &[], 8));
    let [mut cut, mut kept] = [scene.connect(Some(&auditor)).await.unwrap(), scene.connect(Some(&ops)).await.unwrap()];
    let mut head = [0; 12];
    for stream in [&mut cut, &mut kept] {
        send(stream, "/audit/", "").await.unwrap();
        stream.read_exact(&mut head).await.unwrap();
    }
    scene.authority.revoke(&[7], (2050, 1, 1));
    scene.secure.reload(&settings(scene.dir.path(), ROLES, ", crls: [clients.crl]"));
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(20), cut.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection lives on");
    assert!(scene.ask(Some(&auditor), "/audit/", "").await.is_err());
    send(&mut kept, "/livez", "connection: close\r\n").await.unwrap();
    let mut rest = String::new();
    kept.read_to_string(&mut rest).await.unwrap();
    assert!(rest.contains("HTTP/1.1 200"), "{rest}");
}
