//! A syslog server over TLS (RFC 5425) that is dead until it is started, may stop to read, and may throw away what waits for it.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use crate::certs::{Authority, ServerFiles};
use crate::ports;
use crate::scratch::Scratch;
use crate::wait::PAUSE;

/// The server, at a port that stays its own.
pub struct SyslogServer {
    port: u16,
    ca: PathBuf,
    files: ServerFiles,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    stalls: AtomicBool,
    /// Connections of an older number than this are dropped.
    dropped: AtomicUsize,
    connections: AtomicUsize,
    received: Mutex<BTreeMap<u64, Value>>,
}

impl SyslogServer {
    /// With a certificate of its own; nobody listens yet.
    pub fn new(folder: &Scratch) -> Self {
        let mut authority = Authority::new(folder.path());
        let files = authority.server("localhost", &["localhost"]);
        Self { port: ports::block(1), ca: authority.ca(), files, state: Arc::default() }
    }

    /// The sink of this name as a value of YAML; `more` are further keys of it.
    pub fn sink(&self, name: &str, more: &str) -> String {
        let Self { port, ca, .. } = self;
        let ca = ca.display();
        format!("{{ name: {name}, type: syslog, address: \"localhost:{port}\", tls: {{ ca: {ca} }}{more} }}")
    }

    /// Listens from now on. While it `stalls`, it reads one message of each connection.
    pub fn start(&self, stalls: bool) {
        self.stall(stalls);
        let chain: Vec<_> = CertificateDer::pem_file_iter(&self.files.certificate).expect("a file").flatten().collect();
        let key = PrivateKeyDer::from_pem_file(&self.files.private_key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_no_client_auth().with_single_cert(chain, key).expect("a pair");
        let (config, state) = (Arc::new(config), Arc::clone(&self.state));
        let socket = TcpListener::bind(("127.0.0.1", self.port)).expect("the port is its own");
        thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let (config, state) = (Arc::clone(&config), Arc::clone(&state));
                thread::spawn(move || {
                    let number = state.connections.fetch_add(1, Ordering::SeqCst);
                    let session = rustls::ServerConnection::new(config).expect("a session");
                    let mut stream = BufReader::new(rustls::StreamOwned::new(session, stream));
                    while let Some(message) = next(&mut stream) {
                        state.keep(&message);
                        if !state.may_go_on(number) {
                            return;
                        }
                    }
                    // Everything is read: says so, as servers do.
                    let stream = stream.get_mut();
                    stream.conn.send_close_notify();
                    let _ = stream.flush();
                });
            }
        });
    }

    /// Stops to read, or goes on.
    pub fn stall(&self, stalls: bool) {
        self.state.stalls.store(stalls, Ordering::SeqCst);
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Drops all connections, with what waits in them unread.
    pub fn drop_connections(&self) {
        self.state.dropped.store(self.connections(), Ordering::SeqCst);
    }

    /// What has come, by the index of the entry; a message that came twice stands here once.
    pub fn received(&self) -> MutexGuard<'_, BTreeMap<u64, Value>> {
        self.state.received.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Waits while the server stalls; false when the connection is dropped.
    fn may_go_on(&self, number: usize) -> bool {
        loop {
            if number < self.dropped.load(Ordering::SeqCst) {
                return false;
            }
            if !self.stalls.load(Ordering::SeqCst) {
                return true;
            }
            thread::sleep(PAUSE);
        }
    }

    fn keep(&self, message: &str) {
        let (head, text) = message.split_once("] ").expect("structured data");
        assert!(head.starts_with("<110>1 ") || head.starts_with("<108>1 "), "{head}");
        let index = head.rsplit('"').nth(1).and_then(|index| index.parse().ok()).expect("an index");
        let event = serde_json::from_str(text).expect("JSON");
        self.received.lock().unwrap_or_else(PoisonError::into_inner).insert(index, event);
    }
}

fn next(stream: &mut impl Read) -> Option<String> {
    let (mut length, mut byte) = (0, [0]);
    loop {
        stream.read_exact(&mut byte).ok()?;
        match byte[0] {
            b' ' => break,
            digit => length = length * 10 + usize::from(digit - b'0'),
        }
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).ok()?;
    String::from_utf8(message).ok()
}
