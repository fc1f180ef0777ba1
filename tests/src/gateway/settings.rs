//! The gateway's configuration of a test: what the test cares about as fields, the rest as every test has it.
//!
//! [`Home`] is what `barnabas init` makes: root key, delegate, keystore. Several gateways that share a home are one installation; the
//! parts of its starter configuration that only `init` can know (keystore, steward) are taken over as they stand there.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use super::{binary, is_control_run};
use crate::certs::{ClientFiles, ServerFiles};
use crate::ports;
use crate::process::Finished;
use crate::scratch::{Scratch, unique};
use crate::wait::PATIENCE;

/// An installation: what `barnabas init` made, and the name of its keyring topic.
pub struct Home {
    folder: Scratch,
    keyring_topic: String,
    starter: String,
}

impl Home {
    /// Runs `barnabas init` in a fresh folder.
    pub fn new() -> Arc<Self> {
        let folder = Scratch::new("home");
        let made = folder.join(MADE);
        if is_control_run() {
            fs::create_dir_all(&made).expect("a folder can be made");
            return Arc::new(Self { folder, keyring_topic: unique("keyring"), starter: String::new() });
        }
        let mut command = Command::new(binary());
        command.arg("init").arg("--dir").arg(&made);
        Finished::run("init", &command, b"", PATIENCE, folder.path()).ok();
        let starter = starter(&made);
        Arc::new(Self { folder, keyring_topic: unique("keyring"), starter })
    }

    /// The folder of everything that belongs to the installation.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The keyring topic.
    pub fn keyring_topic(&self) -> &str {
        &self.keyring_topic
    }

    /// Writes a file beside what `init` made, since a configuration's relative paths start at its own folder.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        self.folder.write(&format!("{MADE}/{name}"), text)
    }

    /// Runs the binary with these arguments to its end.
    #[track_caller]
    pub fn barnabas(&self, arguments: &[&str], config: Option<&Path>) -> Finished {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.folder.path());
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        Finished::run("barnabas", &command, b"", PATIENCE, self.folder.path())
    }

    /// A top-level block of the starter configuration, from its key to the next one, comments left out.
    fn block(&self, key: &str) -> String {
        let mut out = String::new();
        let mut inside = false;
        for line in self.starter.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty()) {
            if !line.starts_with(' ') {
                inside = line.starts_with(&format!("{key}:"));
            }
            if inside {
                writeln!(out, "{line}").expect("memory can be written");
            }
        }
        out
    }
}

/// What a test may choose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `bootstrap_servers` of the cluster.
    pub upstream: String,
    /// TLS towards the brokers.
    pub upstream_tls: Option<ClientFiles>,
    /// `clusters[].client`: librdkafka properties of the gateway's own connection, as lines of YAML.
    pub upstream_client: Vec<String>,
    /// TLS towards the clients.
    pub tls: Option<Tls>,
    /// `principal.from`, when it is not the subject.
    pub principal_from: Option<String>,
    /// `principal.mapping_rules`.
    pub mapping_rules: Vec<String>,
    /// `streams.default`.
    pub default: String,
    /// `streams.rules`.
    pub rules: Vec<Rule>,
    /// Patterns of principals that are enrolled when they come.
    pub enroll: Vec<String>,
    /// `limits`.
    pub limits: Vec<(String, String)>,
    /// Further keys of `keyring`.
    pub keyring: Vec<(String, String)>,
    /// `kms` and `custody`, as lines of YAML.
    pub kms: Vec<String>,
    /// `admin.secure`, as one value of YAML; see [`Settings::with_secure_admin`].
    pub secure: Option<String>,
    /// `audit`, as lines of YAML; see [`Settings::with_audit`].
    pub audit: Vec<String>,
    /// An HTTP bridge with the listener's TLS and principals, and these further keys of it as lines of YAML.
    pub rest: Option<Vec<String>>,
    /// The steward's delegate lives in the gateway; otherwise somewhere else.
    pub steward_embedded: bool,
    /// Host-name routing on one port instead of a port for each broker.
    pub sni: Option<(String, String)>,
    /// Everything listens here.
    pub ports: Ports,
}

/// Ports of one gateway, in a row.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// The bootstrap port; the brokers' ports follow.
    pub bootstrap: u16,
    /// Number of brokers' ports.
    pub brokers: u16,
    /// The admin port.
    pub admin: u16,
    /// The port of the HTTP bridge.
    pub rest: u16,
    /// The port of the secure admin listener, where there is one.
    pub secure: u16,
}

/// TLS of the clients' listener.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Certificate and key of the listener.
    pub server: ServerFiles,
    /// What is asked of the clients.
    pub client_auth: ClientAuth,
    /// Revocation lists.
    pub crls: Vec<PathBuf>,
}

/// `client_auth`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// No certificate, no connection.
    Required,
    /// A certificate is looked at when there is one.
    Optional,
    /// Certificates are not asked for.
    Off,
}

/// One of `streams.rules`.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `topic: x` or `pattern: x`.
    pub which: String,
    /// Sealed or passed.
    pub seal: bool,
    /// Who may write, as patterns.
    pub writers: Vec<String>,
    /// Who may read, as patterns.
    pub readers: Vec<String>,
    /// Further keys as `name: value`.
    pub extra: Vec<String>,
}

impl Rule {
    /// This topic is sealed; everybody whose principal matches may write and read.
    pub fn sealed(topic: &str, writers: &str, readers: &str) -> Self {
        let one = |pattern: &str| vec![pattern.to_owned()];
        Self {
            which: format!("topic: {topic}"),
            seal: true,
            writers: one(writers),
            readers: one(readers),
            extra: vec![],
        }
    }

    /// The same for all topics whose whole name matches.
    pub fn sealed_pattern(pattern: &str, writers: &str, readers: &str) -> Self {
        Self { which: format!("pattern: {}", quote(pattern)), ..Self::sealed("", writers, readers) }
    }

    /// Adds a key of the rule.
    pub fn with(mut self, line: &str) -> Self {
        self.extra.push(line.to_owned());
        self
    }
}

impl Settings {
    /// Plain listener, everything passes.
    pub fn new(upstream: &str) -> Self {
        Self {
            upstream: upstream.to_owned(),
            upstream_tls: None,
            upstream_client: vec![],
            tls: None,
            principal_from: None,
            mapping_rules: vec![],
            default: "pass".to_owned(),
            rules: vec![],
            enroll: vec!["User:.*".to_owned()],
            steward_embedded: true,
            limits: vec![],
            keyring: vec![],
            kms: vec![],
            secure: None,
            audit: vec![],
            rest: None,
            sni: None,
            ports: Ports::take(),
        }
    }

    /// With TLS; client certificates required.
    pub fn with_tls(mut self, server: &ServerFiles) -> Self {
        self.tls = Some(Tls { server: server.clone(), client_auth: ClientAuth::Required, crls: vec![] });
        self.mapping_rules = vec!["RULE:^CN=([^,]+).*$/$1/".to_owned()];
        self
    }

    /// With the secure admin listener; `roles` is a mapping of YAML.
    pub fn with_secure_admin(mut self, server: &ServerFiles, crls: &[PathBuf], roles: &str) -> Self {
        let ServerFiles { certificate, private_key, ca, .. } = server;
        let crls = list(crls.iter().map(|path| path.display().to_string()));
        let tls = format!(
            "{{ certificate: {}, private_key: {}, client_auth: required, client_ca: {}, crls: {crls} }}",
            certificate.display(),
            private_key.display(),
            ca.display()
        );
        let rule = quote("RULE:^CN=([^,]+).*$/$1/");
        self.secure = Some(format!(
            "{{ bind: \"127.0.0.1:{}\", tls: {tls}, principal: {{ mapping_rules: [{rule}] }}, roles: {roles} }}",
            self.ports.secure
        ));
        self
    }

    /// The same for another gateway on this machine.
    pub fn on_other_ports(mut self) -> Self {
        self.ports = Ports::take();
        self
    }

    /// With an audit log in this folder, and further keys of the section as `key: value`.
    pub fn with_audit(mut self, directory: &Path, more: &[&str]) -> Self {
        self.audit = vec!["audit:".to_owned(), format!("  directory: {}", directory.display())];
        self.audit.push(format!("  origin: audit.test/{}", unique("gateway")));
        self.audit.extend(more.iter().map(|line| format!("  {line}")));
        self
    }

    /// With an HTTP bridge and these further keys of it.
    pub fn with_rest(mut self, keys: &[&str]) -> Self {
        self.rest = Some(keys.iter().map(|key| (*key).to_owned()).collect());
        self
    }

    /// With a stream rule.
    pub fn with_rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// The file.
    pub fn yaml(&self, home: &Home) -> String {
        let mut text = String::new();
        self.put_listener(&mut text);
        self.put_bridge(&mut text);
        self.put_cluster(&mut text);
        let more: String = self.keyring.iter().map(|(key, value)| format!(", {key}: {value}")).collect();
        text += &format!("keyring: {{ cluster: primary, topic: {}{more} }}\n", home.keyring_topic);
        text += &home.block("keystore");
        let steward = home.block("steward");
        text += &if self.steward_embedded { steward } else { steward.replace("run: embedded", "run: \"off\"") };
        self.audit.iter().for_each(|line| text += &format!("{line}\n"));
        self.kms.iter().for_each(|line| text += &format!("{line}\n"));
        self.put_streams(&mut text);
        text += "clients:\n  enroll:\n";
        for pattern in &self.enroll {
            text += &format!("    - {{ principal: {}, custody: gateway }}\n", quote(pattern));
        }
        let secure = self.secure.as_ref().map_or_else(String::new, |secure| format!(", secure: {secure}"));
        text += &format!("admin: {{ bind: \"127.0.0.1:{}\"{secure} }}\n", self.ports.admin);
        if !self.limits.is_empty() {
            let limits: Vec<String> = self.limits.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            text += &format!("limits: {{ {} }}\n", limits.join(", "));
        }
        text += "log: { format: json, level: info }\n";
        text
    }

    fn put_listener(&self, text: &mut String) {
        let ports = self.ports;
        *text += &format!("listeners:\n  - name: main\n    bind: \"127.0.0.1:{}\"\n", ports.bootstrap);
        *text += "    advertised_host: localhost\n    cluster: primary\n";
        match &self.sni {
            Some((host, pattern)) => {
                *text +=
                    &format!("    brokers: {{ by: sni, bootstrap_host: {host}, host_pattern: {} }}\n", quote(pattern));
            }
            None => {
                let first = ports.bootstrap + 1;
                *text += &format!(
                    "    brokers: {{ by: port, first_port: {first}, first_node_id: 1, count: {} }}\n",
                    ports.brokers
                );
            }
        }
        self.put_tls(text);
    }

    fn put_bridge(&self, text: &mut String) {
        let Some(keys) = &self.rest else { return };
        *text += &format!("rest:\n  - name: web\n    bind: \"127.0.0.1:{}\"\n    cluster: primary\n", self.ports.rest);
        self.put_tls(text);
        keys.iter().for_each(|key| *text += &format!("    {key}\n"));
    }

    /// TLS and principals, the same for Kafka clients and for HTTP clients.
    fn put_tls(&self, text: &mut String) {
        match &self.tls {
            None => *text += "    tls: off\n",
            Some(tls) => {
                *text += &format!("    tls:\n      certificate: {}\n", tls.server.certificate.display());
                *text += &format!("      private_key: {}\n", tls.server.private_key.display());
                *text += &format!("      client_auth: {}\n", tls.client_auth.word());
                if tls.client_auth != ClientAuth::Off {
                    *text += &format!("      client_ca: {}\n", tls.server.ca.display());
                }
                if !tls.crls.is_empty() {
                    *text += &format!("      crls: {}\n", list(tls.crls.iter().map(|path| path.display().to_string())));
                }
                if tls.client_auth != ClientAuth::Off {
                    let from = self.principal_from.as_deref().unwrap_or("subject");
                    *text += &format!("    principal:\n      from: {from}\n");
                    if !self.mapping_rules.is_empty() {
                        let rules = list(self.mapping_rules.iter().cloned());
                        *text += &format!("      mapping_rules: {rules}\n");
                    }
                }
            }
        }
    }

    fn put_cluster(&self, text: &mut String) {
        let servers = list(self.upstream.split(',').map(str::to_owned));
        *text += &format!("clusters:\n  - name: primary\n    bootstrap_servers: {servers}\n");
        match &self.upstream_tls {
            None => *text += "    tls: off\n",
            Some(files) => {
                *text += &format!("    tls:\n      ca: {}\n", files.ca.display());
                if let Some(own) = &files.own {
                    *text += &format!("      certificate: {}\n", own.certificate.display());
                    *text += &format!("      private_key: {}\n", own.private_key.display());
                }
            }
        }
        if !self.upstream_client.is_empty() {
            *text += "    client:\n";
        }
        for line in &self.upstream_client {
            *text += &format!("      {line}\n");
        }
    }

    fn put_streams(&self, text: &mut String) {
        *text += &format!("streams:\n  default: {}\n", self.default);
        if !self.rules.is_empty() {
            *text += "  rules:\n";
        }
        for rule in &self.rules {
            *text += &format!("    - {}\n      seal: {}\n", rule.which, rule.seal);
            if rule.seal {
                *text += &format!("      writers: {}\n", list(rule.writers.iter().cloned()));
                *text += &format!("      readers: {}\n", list(rule.readers.iter().cloned()));
            }
            for line in &rule.extra {
                *text += &format!("      {line}\n");
            }
        }
    }
}

impl Ports {
    /// A free row.
    pub fn take() -> Self {
        let bootstrap = ports::block(BROKERS + 4);
        let admin = bootstrap + BROKERS + 1;
        Self { bootstrap, brokers: BROKERS, admin, rest: admin + 1, secure: admin + 2 }
    }
}

impl ClientAuth {
    fn word(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::Off => "off",
        }
    }
}

fn starter(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("init made no {}: {e}", folder.display()));
    let paths = entries.flatten().map(|entry| entry.path());
    let yaml = paths.into_iter().find(|path| path.extension().is_some_and(|end| end == "yaml"));
    let yaml = yaml.unwrap_or_else(|| panic!("init made no configuration in {}", folder.display()));
    fs::read_to_string(&yaml).unwrap_or_else(|e| panic!("cannot read {}: {e}", yaml.display()))
}

/// A YAML string in single quotes: nothing in it has a meaning.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.map(|item| quote(&item)).collect::<Vec<_>>().join(", "))
}

/// Where `init` puts its files.
const MADE: &str = "made";

/// Ports for brokers: ids 1 to 6 are all that the tests start.
const BROKERS: u16 = 6;
