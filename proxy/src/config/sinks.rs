//! `audit.sinks`: where entries of the audit log go besides its folder.
//! A list of mappings arrives, [`Sink`]s leave. Each has a name of its own, under which it remembers how far it has come.

use super::clusters::UpstreamTls;
use super::key::{Key, Kind, key};
use super::listener_tls::CertificateFiles;
use super::mistake::Refusal;
use super::reader::Reader;
use super::values::{self, HostPort, Places};

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sink {
    /// Its name, unique.
    pub name: String,
    /// Where entries go.
    pub to: SinkTarget,
    /// What they look like there.
    pub format: SinkFormat,
}

/// Where entries go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkTarget {
    /// A topic, with this gateway's checkpoints; those of others are taken from it.
    Kafka {
        /// The cluster; `None` is that of the keyring.
        cluster: Option<String>,
        /// The topic.
        topic: String,
    },
    /// Standard output, an entry a line.
    Stdout,
    /// A syslog server, RFC 5424 over TLS (RFC 5425).
    Syslog {
        /// Its address.
        address: HostPort,
        /// Always.
        tls: UpstreamTls,
    },
}

/// What entries look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinkFormat {
    /// As they stand in the log.
    CloudEvents,
    /// OCSF 1.3.
    Ocsf,
}

impl Sink {
    pub(super) fn parse(reader: Reader<'_>, places: &Places<'_>) -> Option<Self> {
        let kind = reader.required("type", values::choice(TYPES), "write kafka, stdout or syslog");
        let name = reader.required("name", values::name, "name it; its place in the log is kept under this name");
        let format = reader.or_default("format", values::choice(FORMATS), SinkFormat::CloudEvents);
        let cluster = reader.optional("cluster", values::name);
        let topic = reader.or_default("topic", values::topic, DEFAULT_TOPIC.to_owned());
        let address = reader.optional("address", values::host_port);
        let tls = match reader.node("tls") {
            Some(_) => reader.section("tls").and_then(|reader| parse_tls(reader, places)).map(Some),
            None => Some(None),
        };
        let to = match kind? {
            Type::Kafka if format == Some(SinkFormat::Ocsf) => {
                let remedy = "leave `format` away: in the topic entries stand as they are hashed in the log";
                reader.refuse("format", Refusal::new("the topic takes entries as they are", remedy));
                None
            }
            Type::Kafka => Some(SinkTarget::Kafka { cluster: cluster?, topic: topic? }),
            Type::Stdout => Some(SinkTarget::Stdout),
            Type::Syslog => match (address?, tls?) {
                (Some(address), Some(tls)) => Some(SinkTarget::Syslog { address, tls }),
                _ => {
                    let remedy =
                        "write `address: host:6514` and `tls: { ca: path }`: what the log says is for auditors alone";
                    reader.refuse_here(Refusal::new("a syslog server needs `address` and `tls`", remedy));
                    None
                }
            },
        };
        reader.finish();
        Some(Self { name: name?, to: to?, format: format? })
    }
}

fn parse_tls(reader: Reader<'_>, places: &Places<'_>) -> Option<UpstreamTls> {
    let ca = reader.required("ca", |text| places.file(text), "name the PEM file of the authority of its certificate");
    let certificate = reader.optional("certificate", |text| places.file(text));
    let private_key = reader.optional("private_key", |text| places.file(text));
    let server_name = reader.optional("server_name", values::host);
    let certificate = match (certificate?, private_key?) {
        (Some(certificate), Some(private_key)) => Some(CertificateFiles { certificate, private_key }),
        (None, None) => None,
        _ => {
            let remedy = "write both, or neither";
            reader.refuse_here(Refusal::new("`certificate` and `private_key` belong together", remedy));
            return None;
        }
    };
    reader.finish();
    Some(UpstreamTls { ca: ca?, certificate, server_name: server_name? })
}

#[derive(Clone, Copy)]
enum Type {
    Kafka,
    Stdout,
    Syslog,
}

const TYPES: &[(&str, Type)] = &[("kafka", Type::Kafka), ("stdout", Type::Stdout), ("syslog", Type::Syslog)];

const FORMATS: &[(&str, SinkFormat)] = &[("cloudevents", SinkFormat::CloudEvents), ("ocsf", SinkFormat::Ocsf)];

/// One underscore, as the keyring has it.
const DEFAULT_TOPIC: &str = "_barnabas_audit";

pub(super) const KEYS: &[Key] = &[
    key("audit.sinks", Kind::Entries, "none", "Where entries go besides the folder, each at its own pace."),
    key("audit.sinks[].name", Kind::Text, "required", "Its name; how far it has come is kept under it."),
    key("audit.sinks[].type", Kind::Choice, "required", "`kafka`, `stdout` or `syslog` (RFC 5424 over TLS)."),
    key(
        "audit.sinks[].format",
        Kind::Choice,
        "`cloudevents`",
        "`cloudevents`: as in the log. `ocsf`: OCSF 1.3; not for kafka.",
    ),
    key("audit.sinks[].cluster", Kind::Text, "the keyring's", "kafka: the cluster."),
    key(
        "audit.sinks[].topic",
        Kind::Text,
        "`_barnabas_audit`",
        "kafka: the topic; made with one partition when it is not there.",
    ),
    key("audit.sinks[].address", Kind::Text, "required by syslog", "syslog: `host:port`; the registered port is 6514."),
    key("audit.sinks[].tls", Kind::Section, "required by syslog", "syslog: how the server is verified."),
    key("audit.sinks[].tls.ca", Kind::Path, "required", "syslog: PEM file of the authority of its certificate."),
    key("audit.sinks[].tls.certificate", Kind::Path, "none", "syslog: what the gateway shows, PEM."),
    key("audit.sinks[].tls.private_key", Kind::Path, "with `certificate`", "syslog: its key, PEM."),
    key("audit.sinks[].tls.server_name", Kind::Text, "the host", "syslog: the name in the server's certificate."),
];
