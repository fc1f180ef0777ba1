//! `clusters`: the Kafka clusters behind the gateway, and how it proves itself to them.
//! A mapping arrives, a [`Cluster`] leaves. `client` holds librdkafka properties for the gateway's own connection to the
//! keyring; a secret among them must be a reference, and what the gateway decides itself must not be among them.

use std::path::PathBuf;

use super::key::{Key, Kind, key};
use super::listener_tls::CertificateFiles;
use super::mistake::Refusal;
use super::node::Tree;
use super::reader::Reader;
use super::secret::SecretRef;
use super::values::{self, HostPort, Places};

/// One upstream cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The name that listeners refer to, unique.
    pub name: String,
    /// At least one broker to start from.
    pub bootstrap_servers: Vec<HostPort>,
    /// `None` is plaintext.
    pub tls: Option<UpstreamTls>,
    /// librdkafka properties of the gateway's own client, in the order of the file.
    pub client: Vec<(String, ClientProperty)>,
}

/// TLS towards brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The trust anchors for broker certificates, PEM.
    pub ca: PathBuf,
    /// What the gateway shows when a broker asks for a certificate.
    pub certificate: Option<CertificateFiles>,
    /// The name to verify instead of the broker's host, where all brokers share one.
    pub server_name: Option<String>,
}

/// The value of a librdkafka property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientProperty {
    /// A public value.
    Plain(String),
    /// A secret, read when the client is made.
    Secret(SecretRef),
}

impl Cluster {
    pub(super) fn parse(reader: Reader<'_>, places: &Places<'_>) -> Option<Self> {
        let name = reader.required("name", values::name, "name it; listeners refer to it");
        let servers = reader.list("bootstrap_servers", values::host_port);
        if servers.as_ref().is_some_and(Vec::is_empty) {
            let refusal = Refusal::new("`bootstrap_servers` is missing", "write a list such as [\"kafka-1:9092\"]");
            reader.refuse("bootstrap_servers", refusal);
        }
        let tls = parse_tls(&reader, places);
        let client = parse_client(&reader, places);
        reader.finish();
        Some(Self { name: name?, bootstrap_servers: servers?, tls: tls?, client: client? })
    }
}

/// Also for schema registries, which are reached by the same code.
pub(super) fn parse_tls(reader: &Reader<'_>, places: &Places<'_>) -> Option<Option<UpstreamTls>> {
    let Some(node) = reader.node("tls") else {
        let remedy = "write { ca: path }, or `tls: off` for plaintext towards the brokers";
        reader.refuse("tls", Refusal::new("`tls` is missing", remedy));
        return None;
    };
    if let Tree::Scalar(word) = &node.tree {
        if word != "off" {
            reader
                .refuse("tls", Refusal::new(format!("`{word}` is not a choice here"), "write off or the TLS settings"));
            return None;
        }
        return Some(None);
    }
    let tls = reader.section("tls")?;
    let ca =
        tls.required("ca", |text| places.file(text), "name the PEM file of the authority of the brokers' certificates");
    let certificate = tls.optional("certificate", |text| places.file(text));
    let private_key = tls.optional("private_key", |text| places.file(text));
    let server_name = tls.optional("server_name", values::host);
    let certificate = match (certificate, private_key) {
        (Some(Some(certificate)), Some(Some(private_key))) => Some(Some(CertificateFiles { certificate, private_key })),
        (Some(None), Some(None)) => Some(None),
        (Some(_), Some(_)) => {
            let remedy = "write both, or neither";
            tls.refuse_here(Refusal::new("`certificate` and `private_key` belong together", remedy));
            None
        }
        _ => None,
    };
    tls.finish();
    Some(Some(UpstreamTls { ca: ca?, certificate: certificate?, server_name: server_name? }))
}

fn parse_client(reader: &Reader<'_>, places: &Places<'_>) -> Option<Vec<(String, ClientProperty)>> {
    if reader.node("client").is_none() {
        return Some(Vec::new());
    }
    let section = reader.section("client")?;
    let mut properties = Vec::new();
    let mut sound = true;
    for (name, node) in section.free_entries() {
        let value = if OWN_PROPERTIES.contains(&name) {
            let text = format!("`{name}` is set by the gateway itself");
            section.refuse(name, Refusal::new(text, "remove it; use `bootstrap_servers` and `tls` of the cluster"));
            None
        } else if is_secret(name) || matches!(node.tree, Tree::Map(_)) {
            SecretRef::parse(&section, name, places).map(ClientProperty::Secret)
        } else {
            section.scalar(name, node, values::text).map(ClientProperty::Plain)
        };
        match value {
            Some(value) => properties.push((name.to_owned(), value)),
            None => sound = false,
        }
    }
    sound.then_some(properties)
}

/// librdkafka's properties that hold secrets; anything that looks like one is treated as one.
fn is_secret(name: &str) -> bool {
    ["password", "secret", "key.pem", "jaas", "oauthbearer.config"].iter().any(|part| name.contains(part))
}

/// What the gateway derives from other keys or must control itself.
const OWN_PROPERTIES: &[&str] = &[
    "bootstrap.servers",
    "client.id",
    "enable.auto.commit",
    "enable.idempotence",
    "group.id",
    "isolation.level",
    "metadata.broker.list",
    "security.protocol",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "transactional.id",
];

pub(super) const KEYS: &[Key] = &[
    key("clusters", Kind::Entries, "required", "The Kafka clusters behind the gateway. At least one."),
    key("clusters[].name", Kind::Text, "required", "The name that listeners refer to; unique."),
    key("clusters[].bootstrap_servers", Kind::List, "required", "Brokers to start from, `host:port`."),
    key("clusters[].tls", Kind::SectionOrOff, "required", "TLS towards the brokers, or `off` for plaintext."),
    key("clusters[].tls.ca", Kind::Path, "required", "Authorities of the brokers' certificates, PEM."),
    key("clusters[].tls.certificate", Kind::Path, "none", "What the gateway shows to brokers, PEM chain."),
    key("clusters[].tls.private_key", Kind::Path, "none", "Its private key, PEM."),
    key(
        "clusters[].tls.server_name",
        Kind::Text,
        "the broker's host",
        "The name that broker certificates must carry, where all share one.",
    ),
    key(
        "clusters[].client",
        Kind::Free,
        "none",
        "librdkafka properties of the gateway's own keyring connection, such as `sasl.mechanism`. A secret is written as a reference: `sasl.password: { file: path }`.",
    ),
];
