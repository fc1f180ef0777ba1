//! The contract servers of cloud vendors: Python programs of this repository that speak a vendor's interface with real
//! cryptography and real refusals (`tests/kms/`). What they are worth is shown by the vendor's own client, run against them.
//!
//! All state of a server is in its folder, also what a test steers it with, so that a server that comes back goes on.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::python;
use crate::certs::{Authority, ServerFiles};
use crate::ports;
use crate::process::{Finished, Process, Signal};
use crate::scratch::{Scratch, root};
use crate::wait::{self, PATIENCE};

/// A running contract server, or one that was stopped.
pub struct Contract {
    name: &'static str,
    arguments: &'static [&'static str],
    port: u16,
    tls: Option<ServerFiles>,
    process: Process,
    scratch: Scratch,
    control: Value,
}

impl Contract {
    /// Starts `tests/kms/<name>/server.py` in the clear. Ready when this returns.
    pub fn start(name: &'static str, arguments: &'static [&'static str]) -> Self {
        Self::start_in(Scratch::new(name), name, arguments, None)
    }

    /// The same with TLS; the authority is `ca.pem` in its folder.
    pub fn start_tls(name: &'static str, arguments: &'static [&'static str]) -> Self {
        let scratch = Scratch::new(name);
        let files = Authority::new(scratch.path()).server("kms", &[]);
        Self::start_in(scratch, name, arguments, Some(files))
    }

    fn start_in(
        scratch: Scratch,
        name: &'static str,
        arguments: &'static [&'static str],
        tls: Option<ServerFiles>,
    ) -> Self {
        let port = ports::one();
        let process = run(&scratch, name, arguments, port, tls.as_ref());
        let contract = Self { name, arguments, port, tls, process, scratch, control: json!({}) };
        contract.wait();
        contract
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address, in the clear or with TLS.
    pub fn address(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// A file of its folder: credentials that it made at its start.
    pub fn file(&self, name: &str) -> PathBuf {
        self.scratch.join(name)
    }

    /// The text of such a file.
    pub fn text(&self, name: &str) -> String {
        let path = self.file(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Sets one of the things that a test steers; from the next request on.
    pub fn set(&mut self, name: &str, value: Value) {
        self.control[name] = value;
        let fresh = self.scratch.write("control.fresh", self.control.to_string());
        fs::rename(fresh, self.file("control.json")).expect("a file can be renamed");
    }

    /// Adds a name to one of the lists that a test steers.
    pub fn add(&mut self, list: &str, name: &str) {
        let mut names = self.control[list].as_array().cloned().unwrap_or_default();
        names.push(json!(name));
        self.set(list, json!(names));
    }

    /// Runs the vendor's own client, `tests/kms/<name>/client.py`, against it.
    ///
    /// # Panics
    /// When the client finds something that is not as the vendor's service.
    pub fn prove(&self) {
        let mut command = Command::new(python());
        command.arg(folder().join(self.name).join("client.py")).arg(self.address()).arg(self.scratch.path());
        command.args(self.arguments);
        Finished::run("client", &command, b"", PATIENCE, self.scratch.path()).ok();
    }

    /// Ends the process.
    pub fn stop(&mut self) {
        self.process.signal(Signal::TERM);
        self.process.wait(PATIENCE);
    }

    /// Starts it again on the same port and folder.
    pub fn restart(&mut self) {
        self.process = run(&self.scratch, self.name, self.arguments, self.port, self.tls.as_ref());
        self.wait();
    }

    fn wait(&self) {
        let address = (Ipv4Addr::LOCALHOST, self.port).into();
        wait::until_true("the contract server listens", || {
            TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
        });
    }
}

fn run(scratch: &Scratch, name: &str, arguments: &[&str], port: u16, tls: Option<&ServerFiles>) -> Process {
    let mut command = Command::new(python());
    command.arg(folder().join(name).join("server.py")).args(arguments);
    command.args(["--port", &port.to_string()]).arg("--folder").arg(scratch.path());
    command.arg("--policies").arg(root().join("kms-adapters/policies"));
    if let Some(files) = tls {
        command.arg("--certificate").arg(&files.certificate).arg("--private-key").arg(&files.private_key);
    }
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    Process::start(name, &command, &scratch.join("server.log"))
}

/// Python with the packages of both vendors.
pub fn python() -> PathBuf {
    python::environment("cloud", include_str!("cloud.txt")).join("bin/python")
}

fn folder() -> PathBuf {
    root().join("tests/kms")
}
