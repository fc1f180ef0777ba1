//! PyKMIP on the bench: a real KMIP server, TLS with certificates on both sides, its database in a file.
//!
//! The operator has a certificate of his own and owns the keys; the adapters' certificate may find them and use them by the
//! policy in `kms-adapters/policies/kmip.json` and no more. The server trusts an authority for clients which is not its own, so
//! that the clients' can be replaced: this is how credentials end here. The server must be restarted for that.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use barnabas_crypto::Custody;
use barnabas_kms::{ClientCertificate, Kmip, KmipSettings, TlsSettings};

use super::python::environment;
use super::{Bench, Case, Via};
use crate::certs::{Authority, ClientFiles};
use crate::process::{Finished, Process};
use crate::scratch::{Scratch, root, unique};
use crate::{ports, wait};

/// The server with its folder.
pub struct PyKmip {
    port: u16,
    home: PathBuf,
    server: Option<Process>,
    server_ca: PathBuf,
    clients: Authority,
    operator: ClientFiles,
    own: ClientCertificate,
    round: u32,
    starts: u32,
    scratch: Scratch,
}

impl PyKmip {
    /// An adapter that may make keys, if `create_keys` says so.
    pub fn kmip(&self, via: &Via, create_keys: bool) -> Kmip {
        let ca = via.ca.clone().unwrap_or_else(|| self.server_ca.clone());
        let tls = TlsSettings { ca: Some(ca), client_certificate: Some(self.own.clone()) };
        let mut settings = KmipSettings::new(format!("127.0.0.1:{}", via.port), tls);
        settings.create_keys = create_keys;
        settings.connect_timeout = Duration::from_millis(1200);
        settings.request_timeout = Duration::from_millis(1800);
        Kmip::new(settings).expect("the settings are right")
    }

    /// Makes an active key of this name under a policy, and gives its id. The server lets several keys have one name.
    pub fn create(&self, name: &str, policy: &str) -> String {
        self.operate(&["create", name, policy])
    }

    /// Deactivates the key of this id.
    pub fn deactivate(&self, id: &str) {
        self.operate(&["deactivate-id", id]);
    }

    /// Destroys the key of this name.
    pub fn destroy(&self, name: &str) {
        self.operate(&["destroy", name]);
    }

    fn operate(&self, what: &[&str]) -> String {
        let own = self.operator.own.as_ref().expect("the operator has a certificate");
        let mut command = self.python();
        command.arg(source("keys.py")).arg(self.port.to_string());
        command.args([&own.certificate, &own.private_key, &self.server_ca]).args(what);
        let finished = Finished::run("operator", &command, b"", PATIENCE, self.scratch.path()).ok();
        finished.stdout.trim().to_owned()
    }

    fn python(&self) -> Command {
        let mut command = Command::new(self.home.join("bin/python"));
        // Leaves no compiled files among the sources.
        command.arg("-B");
        command
    }

    /// New certificates by a new authority, for the operator at once and for the adapters when they are renewed.
    fn new_authority(&mut self) {
        self.round += 1;
        self.clients = Authority::new(&self.scratch.join(format!("clients-{}", self.round)));
        self.operator = self.clients.client("operator");
        copy(&self.clients.ca(), &self.scratch.join("clients.pem"));
    }

    fn run(&mut self) {
        let mut command = self.python();
        command.arg(source("server.py")).arg("-f").arg(self.scratch.join("server.conf"));
        self.starts += 1;
        let log = self.scratch.join(format!("server-{}.log", self.starts));
        command.arg("-l").arg(&log);
        let mut server = Process::start("pykmip", &command, &self.scratch.join("pykmip.err"));
        let port = self.port;
        wait::until("the KMIP server listens", PATIENCE, || {
            assert!(server.is_running(), "the KMIP server ended\n{}", server.tail());
            // Policies are loaded beside the server, in order: when the last is named, those before it are in force.
            let has_policies = fs::read_to_string(&log).unwrap_or_default().contains("Loading policy: last");
            TcpStream::connect(("127.0.0.1", port)).ok().filter(|_| has_policies)
        });
        self.server = Some(server);
    }
}

impl Bench for PyKmip {
    const NAME: &'static str = "kmip";
    const CANNOT: &'static [(Case, &'static str)] = &[
        (Case::Throttling, "the server never does, and an answer cannot be put into TLS; the adapter's own tests do"),
        (Case::ServerError, "the server never does, and an answer cannot be put into TLS; the adapter's own tests do"),
    ];

    fn start() -> Self {
        let home = environment("pykmip", include_str!("pykmip/requirements.txt"));
        let scratch = Scratch::new("pykmip");
        let mut servers = Authority::new(&scratch.join("servers"));
        let server = servers.server("kmip", &[]);
        let mut clients = Authority::new(&scratch.join("clients-0"));
        let operator = clients.client("operator");
        let own = ClientCertificate { certificate: scratch.join("own.crt"), private_key: scratch.join("own.key") };
        let port = ports::one();
        let policies = scratch.join("policies");
        fs::create_dir(&policies).expect("a folder can be made");
        copy(&root().join("kms-adapters/policies/kmip.json"), &policies.join("1.json"));
        copy(&source("others.json"), &policies.join("2.json"));
        copy(&clients.ca(), &scratch.join("clients.pem"));
        let settings = format!(
            "[server]\nhostname=127.0.0.1\nport={port}\ncertificate_path={}\nkey_path={}\nca_path={}\nauth_suite=TLS1.2\n\
             policy_path={}\nenable_tls_client_auth=True\nlogging_level=INFO\ndatabase_path={}\n",
            server.certificate.display(),
            server.private_key.display(),
            scratch.join("clients.pem").display(),
            policies.display(),
            scratch.join("keys.db").display(),
        );
        scratch.write("server.conf", settings);
        let server_ca = servers.ca();
        let mut bench =
            Self { port, home, server: None, server_ca, clients, operator, own, round: 0, starts: 0, scratch };
        bench.renew_credentials();
        bench.run();
        bench
    }

    fn port(&self) -> u16 {
        self.port
    }

    fn adapter(&mut self, via: &Via) -> Arc<dyn Custody> {
        Arc::new(self.kmip(via, false))
    }

    fn make_key(&mut self) -> String {
        let key = unique("client");
        self.create(&key, "gateway");
        key
    }

    fn make_forbidden_key(&mut self) -> String {
        let key = unique("kept");
        self.create(&key, "kept");
        key
    }

    fn missing_key(&mut self) -> String {
        unique("missing")
    }

    fn disable_key(&mut self, key: &str) {
        self.operate(&["deactivate", key]);
    }

    fn end_credentials(&mut self) {
        self.new_authority();
        self.stop();
        self.run();
    }

    fn renew_credentials(&mut self) {
        let fresh = self.clients.client("gateway").own.expect("a client certificate");
        copy(&fresh.certificate, &self.own.certificate);
        copy(&fresh.private_key, &self.own.private_key);
    }

    fn throttled(&self) -> Vec<u8> {
        unreachable!("the list of exceptions has it")
    }

    fn broken(&self) -> Vec<u8> {
        unreachable!("the list of exceptions has it")
    }

    fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    fn restart(&mut self) {
        self.run();
    }
}

/// A file that is put into place as a whole, as operators should.
fn copy(from: &Path, to: &Path) {
    let fresh = to.with_added_extension("fresh");
    fs::copy(from, &fresh).and_then(|_| fs::rename(&fresh, to)).expect("a file can be copied");
}

fn source(name: &str) -> PathBuf {
    root().join("tests/src/kms/pykmip").join(name)
}

/// Python takes its time on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
