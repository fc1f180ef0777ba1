//! The configuration: a YAML file and the environment arrive, a [`Config`] leaves in which nothing contradicts.
//! All mistakes are found in one run, each with its path and a remedy; no port is bound and no secret is read here.
//! The table of all keys is `README.md` beside this file. To reload, load again and compare.

mod admin;
mod audit;
mod brokers;
mod clients;
mod clusters;
pub mod key;
mod keyring;
mod keystore;
mod kms;
mod custody;
mod limits;
mod listener_tls;
mod listeners;
mod log;
mod changes;
mod mistake;
mod node;
mod overrides;
mod pattern;
mod policy;
mod reader;
mod rest;
mod secret;
mod sinks;
mod witnesses;
mod steward;
mod streams;
mod values;

use std::collections::BTreeSet;
use std::path::Path;

pub use admin::{Admin, Role, Roles, SecureAdmin};
pub use audit::Audit;
pub use brokers::{Brokers, PortRange, SniNames};
pub use changes::Changes;
pub use clients::{Custody, EnrolmentRule};
pub use clusters::{ClientProperty, Cluster, UpstreamTls};
pub use custody::CustodySettings;
pub use keyring::Keyring;
pub use keystore::{Keystore, KeystoreBackend, Unlock};
pub use kms::{KmsBackend, KmsSystem};
pub use limits::{DEFAULT_MAX_INFLATED_BYTES, Limits};
pub use listener_tls::{CertificateFiles, ClientAuth, ClientTrust, ListenerTls, TlsVersion};
pub use listeners::Listener;
pub use log::{Log, LogFormat, LogLevel};
pub use mistake::Mistake;
pub use pattern::{PrincipalPattern, TopicPattern};
pub use policy::Policy;
pub use rest::{
    BasicAuth, Bridge, BridgeAuth, BridgeConsumer, BridgeLimits, BridgeProducer, IDEMPOTENCY_TOPIC, Idempotency,
    MOST_WINDOW, Replica, Replicas, SchemaRegistry, SchemaRegistryCredential, TokenAlgorithm, TokenIssuer,
};
pub use secret::SecretRef;
pub use sinks::{Sink, SinkFormat, SinkTarget};
pub use steward::{Steward, StewardRun};
pub use streams::{
    Compress, INTERNAL_TOPICS, Kem, OnUnreadable, RecordSuite, SealRule, StreamRule, Streams, TopicSelector,
};
pub use values::HostPort;
pub use witnesses::{WitnessAddress, Witnessing};

use self::mistake::{Mistakes, Refusal};
use self::node::Node;
use self::reader::Reader;
use self::values::Places;

/// Everything that an operator decides. Immutable: a reload makes another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// At least one; names and addresses are distinct.
    pub listeners: Vec<Listener>,
    /// May be empty; names and addresses are distinct.
    pub rest: Vec<Bridge>,
    /// At least one; names are distinct, and every listener's cluster is here.
    pub clusters: Vec<Cluster>,
    /// Where the keyring is.
    pub keyring: Keyring,
    /// There whenever the policy may seal.
    pub keystore: Option<Keystore>,
    /// Names are distinct.
    pub kms: Vec<KmsSystem>,
    /// Its KMS, if it names one, is in `kms`.
    pub custody: CustodySettings,
    /// Its root key is there whenever the policy may seal.
    pub steward: Steward,
    /// `streams` and `clients`, compiled.
    pub policy: Policy,
    /// `None`: no operations surface.
    pub admin: Option<Admin>,
    /// `None`: no audit log. Otherwise there is a keystore, which has its key.
    pub audit: Option<Audit>,
    /// Bounds.
    pub limits: Limits,
    /// Log.
    pub log: Log,
}

impl Config {
    /// Reads the file and the environment (`BARNABAS__...` overrides, and the variables that secrets refer to).
    pub fn load(path: &Path, env: &[(String, String)]) -> Result<Self, Vec<Mistake>> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            vec![Mistake {
                path: path.display().to_string(),
                line: None,
                text: format!("the configuration cannot be read: {error}"),
                remedy: "name a readable file with --config; `barnabas init` makes one".to_owned(),
            }]
        })?;
        let base = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, base, env)
    }

    /// Reads a text as if it were a file in the folder `base`.
    pub fn parse(text: &str, base: &Path, env: &[(String, String)]) -> Result<Self, Vec<Mistake>> {
        let mistakes = Mistakes::default();
        let config = parse_all(text, &Places { base: base.to_path_buf(), env }, &mistakes);
        match config {
            Some(config) if mistakes.is_empty() => Ok(config),
            _ => Err(mistakes.into_list()),
        }
    }

    /// The cluster of a name; listeners name only clusters that are there.
    pub fn cluster(&self, name: &str) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.name == name)
    }

    /// The KMS that wraps what is in the gateway's custody; `None` is the local keystore.
    pub fn custody_kms(&self) -> Option<&KmsSystem> {
        let name = self.custody.kms.as_ref()?;
        self.kms.iter().find(|system| system.name == *name)
    }

    /// The cluster that holds the keyring.
    pub fn keyring_cluster(&self) -> Option<&Cluster> {
        match &self.keyring.cluster {
            Some(name) => self.cluster(name),
            None => self.clusters.first(),
        }
    }
}

fn parse_all(text: &str, places: &Places<'_>, mistakes: &Mistakes) -> Option<Config> {
    let mut tree = match Node::parse(text) {
        Ok(tree) => tree,
        Err((line, refusal)) => {
            mistakes.add("", line, refusal);
            return None;
        }
    };
    overrides::apply(&mut tree, places.env, mistakes);
    let nothing = Node::nothing();
    let top = Reader::open(mistakes, "", &tree)?;
    let listeners: Vec<_> =
        top.sections("listeners").into_iter().map(|reader| Listener::parse(reader, places)).collect();
    let rest: Vec<_> = top.sections("rest").into_iter().map(|reader| Bridge::parse(reader, places)).collect();
    let clusters: Vec<_> = top.sections("clusters").into_iter().map(|reader| Cluster::parse(reader, places)).collect();
    let keyring = top.section_or_empty("keyring", &nothing).and_then(Keyring::parse);
    let has_keystore = top.node("keystore").is_some();
    let keystore = top.section("keystore").and_then(|reader| Keystore::parse(reader, places));
    let kms = kms::parse(&top, places);
    let custody = top.section_or_empty("custody", &nothing).and_then(CustodySettings::parse);
    let steward = top.section_or_empty("steward", &nothing).and_then(|reader| Steward::parse(reader, places));
    let streams = top.section_or_empty("streams", &nothing).and_then(|reader| Streams::parse(reader, &nothing));
    let clients = top.section_or_empty("clients", &nothing).and_then(clients::parse);
    let has_admin = top.node("admin").is_some();
    let admin = top.section("admin").and_then(|reader| Admin::parse(reader, places));
    let has_audit = top.node("audit").is_some();
    let audit = top.section("audit").and_then(|reader| Audit::parse(reader, places, &nothing));
    let limits = top.section_or_empty("limits", &nothing).and_then(Limits::parse);
    let log = top.section_or_empty("log", &nothing).and_then(Log::parse);

    refuse_empty(&top, &listeners, &clusters);
    refuse_doubles(&top, &listeners, &clusters, &rest);
    refuse_shared_addresses(&top, &listeners, &rest, admin.as_ref());
    refuse_unknown_clusters(&top, &listeners, &clusters, &rest, (keyring.as_ref(), audit.as_ref()));
    refuse_unknown_kms(&top, custody.as_ref());
    let seals = streams.as_ref().is_some_and(Streams::may_seal);
    if seals {
        refuse_sealing_without_keys(&top, has_keystore, steward.as_ref());
    }
    if has_audit && !has_keystore {
        let remedy = "write `keystore` (`barnabas init` makes one); it holds the key that the log is signed with";
        top.refuse("audit", Refusal::new("there is an audit log but no keystore", remedy));
    }
    if audit.as_ref().is_some_and(|audit| !audit.witnessing.logs.is_empty()) && !has_admin {
        let remedy = "write `admin`: witnesses are asked there";
        top.refuse("audit", Refusal::new("`witness_for` names logs, and there is no admin listener", remedy));
    }
    top.finish();

    if (has_keystore && keystore.is_none()) || (has_admin && admin.is_none()) || (has_audit && audit.is_none()) {
        return None;
    }
    let keyring = keyring?;
    let policy = Policy::compile(streams?, clients?, keyring.topic.clone(), audit_topics(audit.as_ref()));
    Some(Config {
        listeners: listeners.into_iter().collect::<Option<_>>()?,
        rest: rest.into_iter().collect::<Option<_>>()?,
        clusters: clusters.into_iter().collect::<Option<_>>()?,
        keyring,
        keystore,
        kms: kms?,
        custody: custody?,
        steward: steward?,
        policy,
        admin,
        audit,
        limits: limits?,
        log: log?,
    })
}

/// The topics that the audit log goes to.
fn audit_topics(audit: Option<&Audit>) -> Vec<String> {
    let sinks = audit.map(|audit| audit.sinks.as_slice()).unwrap_or_default();
    let topic = |sink: &Sink| match &sink.to {
        SinkTarget::Kafka { topic, .. } => Some(topic.clone()),
        _ => None,
    };
    sinks.iter().filter_map(topic).collect()
}

fn refuse_empty(top: &Reader<'_>, listeners: &[Option<Listener>], clusters: &[Option<Cluster>]) {
    if listeners.is_empty() {
        top.refuse("listeners", Refusal::new("there is no listener", "write at least one entry under `listeners`"));
    }
    if clusters.is_empty() {
        top.refuse("clusters", Refusal::new("there is no cluster", "write at least one entry under `clusters`"));
    }
}

fn refuse_doubles(
    top: &Reader<'_>,
    listeners: &[Option<Listener>],
    clusters: &[Option<Cluster>],
    rest: &[Option<Bridge>],
) {
    let listeners = listeners.iter().map(|l| l.as_ref().map(|l| l.name.as_str())).collect::<Vec<_>>();
    let clusters = clusters.iter().map(|c| c.as_ref().map(|c| c.name.as_str())).collect::<Vec<_>>();
    let rest = rest.iter().map(|bridge| bridge.as_ref().map(|bridge| bridge.name.as_str())).collect::<Vec<_>>();
    for (section, names) in [("listeners", listeners), ("clusters", clusters), ("rest", rest)] {
        let mut seen = BTreeSet::new();
        for (index, name) in names.iter().enumerate() {
            if let Some(name) = name
                && !seen.insert(*name)
            {
                let refusal = Refusal::new(format!("the name `{name}` is taken"), "give every entry its own name");
                top.refuse(&format!("{section}[{index}].name"), refusal);
            }
        }
    }
}

/// Every listening socket of the process must be its own: bootstrap addresses, broker ports, the operations surface.
fn refuse_shared_addresses(
    top: &Reader<'_>,
    listeners: &[Option<Listener>],
    rest: &[Option<Bridge>],
    admin: Option<&Admin>,
) {
    let mut taken: Vec<Claim> = Vec::new();
    let plain = admin.map(|admin| ("admin.bind", admin.bind));
    let secure = admin.and_then(|admin| admin.secure.as_ref()).map(|secure| ("admin.secure.bind", secure.bind));
    for (place, bind) in plain.into_iter().chain(secure) {
        let claim = Claim { place: place.to_owned(), ip: bind.ip(), first: bind.port(), last: bind.port() };
        refuse_taken(top, &taken, &claim);
        taken.push(claim);
    }
    let mut claimed: Vec<Claim> = Vec::new();
    for (index, listener) in listeners.iter().enumerate() {
        let Some(listener) = listener else { continue };
        let (ip, port) = (listener.bind.ip(), listener.bind.port());
        let mut claims = vec![Claim { place: format!("listeners[{index}].bind"), ip, first: port, last: port }];
        if let Brokers::Port(range) = &listener.brokers {
            let (first, last) = range.ports().into_inner();
            claims.push(Claim { place: format!("listeners[{index}].brokers"), ip, first, last });
        }
        claimed.extend(claims);
    }
    for (index, bridge) in rest.iter().enumerate() {
        let Some(bridge) = bridge else { continue };
        let (ip, port) = (bridge.bind.ip(), bridge.bind.port());
        claimed.push(Claim { place: format!("rest[{index}].bind"), ip, first: port, last: port });
    }
    for claim in claimed {
        refuse_taken(top, &taken, &claim);
        taken.push(claim);
    }
}

fn refuse_taken(top: &Reader<'_>, taken: &[Claim], claim: &Claim) {
    let Some(other) = taken.iter().find(|other| other.meets(claim)) else { return };
    let ports = match (claim.first, claim.last) {
        (first, last) if first == last => format!("port {first} is"),
        (first, last) => format!("ports {first} to {last} are"),
    };
    let text = format!("{ports} also claimed by {}", other.place);
    top.refuse(&claim.place, Refusal::new(text, "choose ports that nobody else has"));
}

fn refuse_unknown_clusters(
    top: &Reader<'_>,
    listeners: &[Option<Listener>],
    clusters: &[Option<Cluster>],
    rest: &[Option<Bridge>],
    (keyring, audit): (Option<&Keyring>, Option<&Audit>),
) {
    // A cluster that was refused has no name to compare with: judging references then would invent mistakes.
    if clusters.iter().any(Option::is_none) || clusters.is_empty() {
        return;
    }
    let names: BTreeSet<&str> = clusters.iter().flatten().map(|cluster| cluster.name.as_str()).collect();
    let by_listeners = listeners.iter().enumerate().filter_map(|(index, listener)| {
        listener.as_ref().map(|listener| (format!("listeners[{index}].cluster"), listener.cluster.as_str()))
    });
    let by_rest = rest.iter().enumerate().filter_map(|(index, bridge)| {
        bridge.as_ref().map(|bridge| (format!("rest[{index}].cluster"), bridge.cluster.as_str()))
    });
    let by_keyring = keyring.and_then(|keyring| Some(("keyring.cluster".to_owned(), keyring.cluster.as_deref()?)));
    let sinks = audit.map(|audit| audit.sinks.as_slice()).unwrap_or_default();
    let by_sinks = sinks.iter().enumerate().filter_map(|(index, sink)| match &sink.to {
        SinkTarget::Kafka { cluster: Some(name), .. } => Some((format!("audit.sinks[{index}].cluster"), name.as_str())),
        _ => None,
    });
    let all = by_listeners.chain(by_rest).chain(by_keyring).chain(by_sinks);
    for (place, name) in all.filter(|(_, name)| !names.contains(name)) {
        let defined = names.iter().copied().collect::<Vec<_>>().join(", ");
        let refusal = Refusal::new(format!("no cluster is named `{name}`"), format!("defined are {defined}"));
        top.refuse(&place, refusal);
    }
}

fn refuse_unknown_kms(top: &Reader<'_>, custody: Option<&CustodySettings>) {
    let Some(name) = custody.and_then(|custody| custody.kms.as_deref()) else { return };
    // By the names in the file: a system with a mistake in it is there all the same.
    let defined: Vec<&str> = top.names("kms");
    if defined.contains(&name) {
        return;
    }
    let remedy = match defined.as_slice() {
        [] => "define it under `kms`, or leave `kms` away for the local keystore".to_owned(),
        names => format!("defined are {}; leave it away for the local keystore", names.join(", ")),
    };
    top.refuse("custody.kms", Refusal::new(format!("no KMS is named `{name}`"), remedy));
}

fn refuse_sealing_without_keys(top: &Reader<'_>, has_keystore: bool, steward: Option<&Steward>) {
    if !has_keystore {
        let remedy = "write `keystore` (`barnabas init` makes one), or seal nothing";
        top.refuse("keystore", Refusal::new("streams may be sealed but there is no keystore", remedy));
    }
    if steward.is_some_and(|steward| steward.root_public_key.is_none()) {
        let remedy = "write the key that `barnabas init` printed, or seal nothing";
        top.refuse("steward.root_public_key", Refusal::new("streams may be sealed but no root key is pinned", remedy));
    }
}

struct Claim {
    place: String,
    ip: std::net::IpAddr,
    first: u16,
    last: u16,
}

impl Claim {
    fn meets(&self, other: &Self) -> bool {
        let same_ip = self.ip == other.ip || self.ip.is_unspecified() || other.ip.is_unspecified();
        same_ip && self.first <= other.last && other.first <= self.last
    }
}

#[cfg(test)]
mod tests;
