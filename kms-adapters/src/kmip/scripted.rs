//! The adapter against a server that follows a script, over real TLS: what no real server does on demand.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{CustodyError, IdentityId};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::message::{BATCH_COUNT, BATCH_ITEM, OPERATION, RESPONSE_HEADER, RESPONSE_MESSAGE, RESPONSE_PAYLOAD};
use super::message::{RESULT_REASON, RESULT_STATUS, Reason};
use super::ttlv::HEADER;
use super::*;
use crate::tls::ClientCertificate;

/// What the server does with a request.
enum Step {
    /// Answers with these bytes.
    Answer(Vec<u8>),
    /// Closes without a word.
    Close,
    /// Answers with these bytes, and closes.
    Last(Vec<u8>),
}

struct Server {
    kmip: Kmip,
    connections: Arc<AtomicUsize>,
    left: Arc<Mutex<VecDeque<Step>>>,
    _folder: TempDir,
}

impl Server {
    async fn follows(script: impl IntoIterator<Item = Step>) -> Self {
        Self::with(script, false).await
    }

    async fn with(script: impl IntoIterator<Item = Step>, knows_nobody: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".into()]).unwrap();
        let path = |name: &str| folder.path().join(name);
        let own = ClientCertificate { certificate: path("own.pem"), private_key: path("own.key") };
        write(&own.certificate, &made.cert.pem());
        write(&own.private_key, &made.signing_key.serialize_pem());
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let builder = if knows_nobody {
            let other = rcgen::generate_simple_self_signed(vec!["other".into()]).unwrap();
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from(other.cert)).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let config = builder.with_single_cert(vec![CertificateDer::from(made.cert)], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls = TlsSettings { ca: Some(own.certificate.clone()), client_certificate: Some(own) };
        let mut settings = KmipSettings::new(listener.local_addr().unwrap().to_string(), tls);
        settings.connections = 1;
        let left = Arc::new(Mutex::new(script.into_iter().collect::<VecDeque<_>>()));
        let connections = Arc::new(AtomicUsize::new(0));
        let (script, count) = (Arc::clone(&left), Arc::clone(&connections));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                serve(stream, TlsAcceptor::from(Arc::new(config.clone())), &script).await;
            }
        });
        Self { kmip: Kmip::new(settings).unwrap(), connections, left, _folder: folder }
    }

    async fn wrap(&self) -> Result<Vec<u8>, CustodyError> {
        self.kmip.wrap("orders", &Secret::draw().unwrap(), &CONTEXT).await
    }

    async fn refused(&self) -> CustodyError {
        self.wrap().await.err().unwrap()
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, script: &Mutex<VecDeque<Step>>) {
    let Ok(mut tls) = acceptor.accept(stream).await else { return };
    let mut head = [0; HEADER];
    while tls.read_exact(&mut head).await.is_ok() {
        let [.., a, b, c, d] = head;
        let mut body = vec![0; u32::from_be_bytes([a, b, c, d]) as usize];
        tls.read_exact(&mut body).await.unwrap();
        let step = script.lock().unwrap().pop_front();
        match step {
            Some(Step::Answer(bytes)) => tls.write_all(&bytes).await.unwrap(),
            Some(Step::Last(bytes)) => {
                tls.write_all(&bytes).await.unwrap();
                let _ = tls.shutdown().await;
                return;
            }
            Some(Step::Close) => return,
            None => panic!("a request more than the script has"),
        }
        tls.flush().await.unwrap();
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

fn message(item: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut out = Writer::default();
    out.structure(RESPONSE_MESSAGE, |out| {
        out.structure(RESPONSE_HEADER, |out| out.integer(BATCH_COUNT, 1));
        out.structure(BATCH_ITEM, item);
    });
    out.into_bytes().to_vec()
}

fn refusal(reason: Reason) -> Step {
    Step::Answer(message(|out| {
        out.enumeration(RESULT_STATUS, 1);
        out.enumeration(RESULT_REASON, reason.0);
    }))
}

fn success(operation: u32, payload: impl FnOnce(&mut Writer)) -> Vec<u8> {
    message(|out| {
        out.enumeration(OPERATION, operation);
        out.enumeration(RESULT_STATUS, 0);
        out.structure(RESPONSE_PAYLOAD, payload);
    })
}

fn located() -> Vec<u8> {
    success(LOCATE, |out| out.text(UNIQUE_IDENTIFIER, "7"))
}

fn encrypted(id: &str, tag: usize) -> Vec<u8> {
    success(ENCRYPT, |out| {
        out.text(UNIQUE_IDENTIFIER, id);
        out.bytes(DATA, &[0; 32]);
        out.bytes(AUTHENTICATION_TAG, &vec![0; tag]);
    })
}

#[tokio::test]
async fn a_server_that_refuses_is_understood_and_asked_again_on_the_same_connection() {
    let reasons = [
        (Reason::SERVER_LIMIT, CustodyCause::Throttled),
        (Reason::INTERNAL, CustodyCause::Unreachable),
        (Reason::STORAGE_UNAVAILABLE, CustodyCause::Unreachable),
        (Reason::AUTHENTICATION, CustodyCause::Unauthenticated),
    ];
    let server = Server::follows(reasons.map(|(reason, _)| refusal(reason))).await;
    for (_, cause) in reasons {
        let error = server.refused().await;
        assert_eq!(error.cause, cause, "{error}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_is_no_answer_is_an_outage() {
    let mut half = located();
    half.truncate(half.len() / 2);
    let mut long = located();
    long.splice(4..8, 0x00FF_FFFF_u32.to_be_bytes());
    let wrong = [
        Step::Last(half),
        Step::Last(long),
        Step::Last(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        Step::Close,
        Step::Answer(success(ENCRYPT, |out| out.text(UNIQUE_IDENTIFIER, "7"))),
        Step::Answer(success(LOCATE, |out| out.text(UNIQUE_IDENTIFIER, &"7".repeat(600)))),
    ];
    let count = wrong.len();
    let server = Server::follows(wrong).await;
    for _ in 0..count {
        let error = server.refused().await;
        assert_eq!(error.cause, CustodyCause::Unreachable, "{error}");
    }
    assert!(server.left.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_ciphertext_that_cannot_be_ours_is_not_kept() {
    for sealed in [encrypted("8", 16), encrypted("7", 12), encrypted("7", 0)] {
        let server = Server::follows([Step::Answer(located()), Step::Answer(sealed)]).await;
        let error = server.refused().await;
        assert_eq!(error.cause, CustodyCause::Unreachable, "{error}");
    }
    let server = Server::follows([Step::Answer(located()), Step::Answer(encrypted("7", 16))]).await;
    assert_eq!(server.wrap().await.unwrap().len(), 1 + 2 + 1 + 12 + 16 + 32);
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_meanwhile_is_replaced_once() {
    let script = [
        Step::Answer(located()),
        Step::Last(encrypted("7", 16)),
        Step::Answer(located()),
        Step::Answer(encrypted("7", 16)),
    ];
    let server = Server::follows(script).await;
    server.wrap().await.unwrap();
    server.wrap().await.unwrap();
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
    // And when the fresh one closes too, that is the answer.
    server.left.lock().unwrap().extend([Step::Close, Step::Close]);
    assert_eq!(server.refused().await.cause, CustodyCause::Unreachable);
    assert!(server.left.lock().unwrap().is_empty());
}

#[tokio::test]
async fn in_tls_1_3_too_a_refused_certificate_is_the_gateways_fault() {
    let server = Server::with([], true).await;
    let error = server.refused().await;
    assert_eq!(error.cause, CustodyCause::Unauthenticated, "{error}");
}

#[tokio::test]
async fn a_key_that_opens_what_it_closes_leaves_the_blob_at_fault_and_another_the_server() {
    let blob = Blob { id: "7", sealed: Sealed { nonce: [0; 12], tag: [0; 16], ciphertext: [0; 32] } }.to_bytes();
    let script = [
        refusal(Reason::GENERAL_FAILURE),
        Step::Answer(located()),
        Step::Answer(encrypted("7", 16)),
        refusal(Reason::GENERAL_FAILURE),
    ];
    let server = Server::follows(script).await;
    let error = server.kmip.unwrap("orders", &blob, &CONTEXT).await.err().unwrap();
    assert_eq!(error.cause, CustodyCause::Unreachable, "the probe failed too: {error}");
    assert!(server.left.lock().unwrap().is_empty());
}

const CONTEXT: CustodyContext = CustodyContext::IdentitySeed(IdentityId::from_bytes([7; 16]));
const LOCATE: u32 = 0x08;
const ENCRYPT: u32 = 0x1F;
