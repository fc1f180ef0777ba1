//! A schema registry over TLS on loopback, with a name and a password: as much of Confluent's API as a bridge asks for. It counts how often it is asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::certs::ServerFiles;
use crate::issuer::server_config;

/// A running registry. Its thread ends at the first connection after it was dropped.
pub struct Registry {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Subject, type and text of each schema; its id is its place, from 1.
    schemas: Mutex<Vec<(String, String, String)>>,
    asked: AtomicUsize,
    dropped: AtomicBool,
}

impl Registry {
    /// Starts without a schema.
    pub fn start(files: &ServerFiles) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared::default());
        let (tls, thread) = (Arc::new(server_config(files)), shared.clone());
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if thread.dropped.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(socket) = socket {
                    // A client that breaks off, or does not trust us, is its own business.
                    serve(socket, tls.clone(), &thread).ok();
                }
            }
        });
        Self { address: format!("https://localhost:{port}"), shared }
    }

    /// The line of a bridge's configuration that uses this registry; writes the password into `folder`.
    pub fn as_schema_registry(&self, ca: &Path, folder: &Path) -> String {
        let password = folder.join("registry-password");
        std::fs::write(&password, "s3cret").expect("a file can be written");
        format!(
            "schema_registry: {{ url: '{}', tls: {{ ca: '{}' }}, basic: {{ username: bridge, password: {{ file: '{}' }} }} }}",
            self.address,
            ca.display(),
            password.display()
        )
    }

    /// Registers a schema, as somebody else would; its id.
    pub fn register(&self, subject: &str, kind: &str, text: &str) -> usize {
        self.shared.register(subject, kind, text)
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.dropped.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn register(&self, subject: &str, kind: &str, text: &str) -> usize {
        let mut schemas = self.schemas.lock().expect("no holder panics");
        let new = (subject.to_owned(), kind.to_owned(), text.to_owned());
        if let Some(at) = schemas.iter().position(|known| *known == new) {
            return at + 1;
        }
        schemas.push(new);
        schemas.len()
    }

    /// Status and body.
    fn answer(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let schemas = self.schemas.lock().expect("no holder panics").clone();
        let absent = (404, json!({ "error_code": 40403, "message": "Schema not found" }));
        let version = |at: usize| schemas.iter().take(at + 1).filter(|one| one.0 == schemas[at].0).count();
        let shown = |at: usize| {
            let (subject, kind, text) = &schemas[at];
            json!({ "subject": subject, "id": at + 1, "version": version(at), "schema": text, "schemaType": kind })
        };
        let kind = body["schemaType"].as_str().unwrap_or("AVRO");
        let text = body["schema"].as_str().unwrap_or_default();
        match (method, path.trim_start_matches('/').split('/').collect::<Vec<_>>().as_slice()) {
            ("GET", ["schemas", "ids", id]) => {
                let at = id.parse::<usize>().ok().and_then(|id| id.checked_sub(1)).filter(|at| *at < schemas.len());
                at.map_or(absent, |at| (200, shown(at)))
            }
            ("GET", ["subjects", subject, "versions", wanted]) => {
                let fits = |at: &usize| {
                    schemas[*at].0 == *subject && (*wanted == "latest" || version(*at).to_string() == *wanted)
                };
                (0..schemas.len()).rev().find(fits).map_or(absent, |at| (200, shown(at)))
            }
            ("POST", ["subjects", subject]) => {
                let at = schemas.iter().position(|known| known.0 == *subject && known.1 == kind && known.2 == text);
                at.map_or(absent, |at| (200, shown(at)))
            }
            ("POST", ["subjects", subject, "versions"]) => (200, json!({ "id": self.register(subject, kind, text) })),
            _ => (404, json!({ "error_code": 404, "message": "HTTP 404 Not Found" })),
        }
    }
}

fn serve(socket: TcpStream, tls: Arc<rustls::ServerConfig>, shared: &Shared) -> Result<(), Box<dyn std::error::Error>> {
    let session = rustls::ServerConnection::new(tls)?;
    let mut stream = BufReader::new(rustls::StreamOwned::new(session, socket));
    let (mut first, mut length, mut known) = (String::new(), 0, false);
    stream.by_ref().take(4096).read_line(&mut first)?;
    loop {
        let mut line = String::new();
        stream.by_ref().take(8192).read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse()?,
            // bridge:s3cret
            "authorization" => known = value == "Basic YnJpZGdlOnMzY3JldA==",
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (status, told) = match known {
        true => shared.answer(method, path, &body),
        false => (401, json!({ "error_code": 401, "message": "Unauthorized" })),
    };
    let told = told.to_string();
    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{told}", told.len());
    stream.get_mut().write_all(answer.as_bytes())?;
    stream.get_mut().conn.send_close_notify();
    stream.get_mut().flush()?;
    Ok(())
}
