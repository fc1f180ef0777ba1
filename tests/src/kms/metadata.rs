//! The metadata services of AWS on loopback: version 2 of an instance's, and the one that containers and pods ask for their role.
//!
//! As strict as they are: an instance is told nothing without a session of the service, a container nothing without its token.
//! What it gives is what a test put there; whether it is any good, the key management system says.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::fault::http_answer;
use crate::scratch::unique;

/// The service, as long as the value lives.
pub struct Metadata {
    port: u16,
    state: Arc<State>,
}

/// A session of a role, as STS gave it.
#[derive(Clone, Debug)]
pub struct RoleSession {
    /// The key's id.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// What goes along with each request.
    pub session_token: String,
    /// When it ends.
    pub expiration: String,
}

impl Metadata {
    /// Serves this session of a role.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub fn start(session: RoleSession) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let container_token = unique("container-token");
        let (session, asked) = (Mutex::new(session), Mutex::default());
        let state = Arc::new(State { session, container_token, asked, is_over: AtomicBool::new(false) });
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            let mut sessions = HashSet::new();
            for client in listener.incoming().flatten() {
                if serving.is_over.load(Ordering::SeqCst) {
                    return;
                }
                // Who goes away in the middle is the next one's business, not ours.
                let _ = serving.serve(client, &mut sessions);
            }
        });
        Self { port, state }
    }

    /// Its address, as an instance has it.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where a container asks for its role.
    pub fn container_uri(&self) -> String {
        format!("{}{CONTAINER_PATH}", self.endpoint())
    }

    /// What a container has to show.
    pub fn container_token(&self) -> &str {
        &self.state.container_token
    }

    /// Gives this session from now on.
    pub fn put(&self, session: RoleSession) {
        *lock(&self.state.session) = session;
    }

    /// What was asked, each as method, path and status.
    pub fn asked(&self) -> Vec<String> {
        lock(&self.state.asked).clone()
    }
}

impl Drop for Metadata {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, so that it ends.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

struct State {
    session: Mutex<RoleSession>,
    container_token: String,
    asked: Mutex<Vec<String>>,
    is_over: AtomicBool,
}

impl State {
    fn serve(&self, mut client: TcpStream, sessions: &mut HashSet<String>) -> io::Result<()> {
        client.set_read_timeout(Some(PATIENCE))?;
        let head = read_head(&mut client)?;
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let header = |name: &str| {
            let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
            lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let is_known = || header("x-aws-ec2-metadata-token").is_some_and(|token| sessions.contains(token));
        let (status, body) = match (method, path) {
            ("PUT", "/latest/api/token") => match header("x-aws-ec2-metadata-token-ttl-seconds") {
                Some(seconds) if seconds.parse().is_ok_and(|seconds: u32| (1..=21_600).contains(&seconds)) => {
                    let token = unique("metadata-session");
                    sessions.insert(token.clone());
                    ("200 OK", token)
                }
                _ => ("400 Bad Request", String::new()),
            },
            ("GET", ROLES_PATH) if is_known() => ("200 OK", ROLE.to_owned()),
            ("GET", path) if path.strip_prefix(ROLES_PATH) == Some(ROLE) && is_known() => ("200 OK", self.role()),
            ("GET", path) if path.starts_with(ROLES_PATH) => ("401 Unauthorized", String::new()),
            ("GET", CONTAINER_PATH) if header("authorization") == Some(&self.container_token) => {
                ("200 OK", self.role())
            }
            ("GET", CONTAINER_PATH) => ("401 Unauthorized", json!({ "code": "Unauthorized" }).to_string()),
            _ => ("404 Not Found", String::new()),
        };
        lock(&self.asked).push(format!("{method} {path} {}", &status[..3]));
        client.write_all(&http_answer(status, &[("Content-Type", "application/json")], &body))
    }

    fn role(&self) -> String {
        let session = lock(&self.session).clone();
        let role: Value = json!({
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": session.access_key_id,
            "SecretAccessKey": session.secret_access_key, "Token": session.session_token,
            "Expiration": session.expiration,
        });
        role.to_string()
    }
}

/// All questions are without a body.
fn read_head(client: &mut TcpStream) -> io::Result<String> {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while !read.windows(4).any(|window| window == b"\r\n\r\n") {
        match client.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => read.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&read).into_owned())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const ROLES_PATH: &str = "/latest/meta-data/iam/security-credentials/";
const ROLE: &str = "gateway";
const CONTAINER_PATH: &str = "/v2/credentials/task?id=1";
/// One who says nothing must not hold up the others for long.
const PATIENCE: Duration = Duration::from_secs(5);
