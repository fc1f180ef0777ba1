//! A proxy before a key management system that passes everything on until it is told to do harm.
//!
//! It works on TCP, so it stands before TLS as well; only [`Fault::Answer`] needs HTTP in the clear. Putting another fault
//! cuts all connections: what an adapter kept open is gone, and the next call meets the fault.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use crate::certs::ServerFiles;

/// The proxy, as long as the value lives.
pub struct FaultProxy {
    port: u16,
    state: Arc<State>,
}

/// What the proxy does with a connection.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Passes on what comes.
    Pass,
    /// Takes the request and answers with these bytes; nothing reaches the server.
    Answer(Vec<u8>),
    /// Takes the request and never answers.
    Stall,
    /// Passes on what comes, and each piece of an answer so much later.
    Slow(Duration),
    /// Lets the server answer, passes half of it on, and closes.
    Half,
    /// Closes every connection at once, as if nobody were there.
    Refuse,
    /// Presents this certificate instead of passing on.
    Impostor(ServerFiles),
}

impl FaultProxy {
    /// Stands before the server on this port.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let state = Arc::new(State {
            server,
            fault: Mutex::new(Fault::Pass),
            met: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&state);
        thread::spawn(move || accepting.accept(&listener));
        Self { port, state }
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on this happens, also to connections that are open: they are cut.
    pub fn put(&self, fault: Fault) {
        *lock(&self.state.fault) = fault;
        self.state.met.store(0, Ordering::SeqCst);
        self.state.cut();
    }

    /// How many connections met the fault since it was put.
    pub fn met(&self) -> usize {
        self.state.met.load(Ordering::SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.state.is_over.store(true, Ordering::SeqCst);
        self.state.cut();
        // Wakes the accepting thread, so that it ends.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

struct State {
    server: u16,
    fault: Mutex<Fault>,
    met: AtomicUsize,
    is_over: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl State {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().flatten() {
            if self.is_over.load(Ordering::SeqCst) {
                return;
            }
            let fault = {
                // The fault is read and the connection noted under one lock, or a cut could pass between the two.
                let fault = lock(&self.fault);
                lock(&self.open).extend(client.try_clone());
                fault.clone()
            };
            let state = Arc::clone(&self);
            // A connection that breaks is what this is for.
            thread::spawn(move || drop(state.serve(client, fault)));
        }
    }

    fn serve(&self, mut client: TcpStream, fault: Fault) -> io::Result<()> {
        if !matches!(fault, Fault::Pass) {
            self.met.fetch_add(1, Ordering::SeqCst);
        }
        match fault {
            Fault::Pass => self.pass(client),
            Fault::Answer(answer) => {
                read_request(&mut client)?;
                client.write_all(&answer)?;
                client.shutdown(Shutdown::Write)?;
                // Reads until the peer has seen the end: closing at once could take the answer with it.
                client.set_read_timeout(Some(LINGER))?;
                client.read(&mut [0; 64]).map(|_| ())
            }
            Fault::Stall => io::copy(&mut client, &mut io::sink()).map(|_| ()),
            Fault::Slow(delay) => self.slow(client, delay),
            Fault::Half => self.half(client),
            Fault::Refuse => client.shutdown(Shutdown::Both),
            Fault::Impostor(files) => {
                let mut connection = ServerConnection::new(impostor(&files)).map_err(io::Error::other)?;
                while connection.is_handshaking() {
                    connection.complete_io(&mut client)?;
                }
                Ok(())
            }
        }
    }

    fn pass(&self, client: TcpStream) -> io::Result<()> {
        let server = self.dial()?;
        let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || pump(from_client, to_server));
        pump(server, client);
        Ok(())
    }

    fn slow(&self, mut client: TcpStream, delay: Duration) -> io::Result<()> {
        let mut server = self.dial()?;
        let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || pump(from_client, to_server));
        let mut piece = vec![0; 65_536];
        loop {
            let read = server.read(&mut piece)?;
            if read == 0 {
                return client.shutdown(Shutdown::Both);
            }
            thread::sleep(delay);
            client.write_all(&piece[..read])?;
        }
    }

    /// Cuts the first answer that the server gives in the middle. Under TLS that is its part of the handshake.
    fn half(&self, client: TcpStream) -> io::Result<()> {
        let mut server = self.dial()?;
        let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || pump(from_client, to_server));
        let mut answer = vec![0; 65_536];
        let read = server.read(&mut answer)?;
        (&client).write_all(&answer[..read / 2])?;
        server.shutdown(Shutdown::Both)?;
        client.shutdown(Shutdown::Both)
    }

    fn dial(&self) -> io::Result<TcpStream> {
        let server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server))?;
        lock(&self.open).push(server.try_clone()?);
        Ok(server)
    }

    fn cut(&self) {
        for stream in lock(&self.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// Reads one HTTP request with a body of a told length.
fn read_request(client: &mut TcpStream) -> io::Result<()> {
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            if read.len() >= end + 4 + length {
                return Ok(());
            }
        }
        match client.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => read.extend_from_slice(&buffer[..count]),
        }
    }
}

fn impostor(files: &ServerFiles) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(&files.certificate).expect("the harness wrote the file");
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("the file holds certificates");
    let key = PrivateKeyDer::from_pem_file(&files.private_key).expect("the key was written by the harness");
    let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("the provider has the default versions");
    let config = builder.with_no_client_auth().with_single_cert(chain, key);
    Arc::new(config.expect("key and certificate belong together"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer as HTTP with its length, closing the connection.
pub fn http_answer(status: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// A peer that got its answer closes at once; this only bounds one that does not.
const LINGER: Duration = Duration::from_secs(5);
