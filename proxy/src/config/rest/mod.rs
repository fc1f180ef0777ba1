//! `rest`: the bridges for clients that speak HTTPS.
//! A list of mappings arrives, a [`Bridge`] for each leaves. TLS and the rules for principals are those of `listeners`, read by the
//! same code; every bound has a default with its reason.

pub(super) mod auth;
pub(super) mod idempotency;
pub(super) mod registry;
pub(super) mod replicas;

use std::net::SocketAddr;
use std::time::Duration;

use super::key::{Key, Kind, key};
use super::listener_tls::{self, ListenerTls};
use super::listeners::parse_principal;
use super::mistake::Refusal;
use super::node::Node;
use super::reader::Reader;
use super::values::{self, Places};
use crate::identity::PrincipalRule;

pub use auth::{BasicAuth, BridgeAuth, TokenAlgorithm, TokenIssuer};
pub use idempotency::{IDEMPOTENCY_TOPIC, Idempotency, MOST_WINDOW};
pub use registry::{SchemaRegistry, SchemaRegistryCredential};
pub use replicas::{Replica, Replicas};

/// One address on which the REST APIs are served.
#[derive(Clone, Debug, PartialEq)]
pub struct Bridge {
    /// The name in logs and metrics, unique.
    pub name: String,
    /// Where it listens.
    pub bind: SocketAddr,
    /// What callers are told to come back to; `None` is the host they asked for.
    pub advertised_url: Option<String>,
    /// The name of the upstream cluster.
    pub cluster: String,
    /// `None` is plaintext.
    pub tls: Option<ListenerTls>,
    /// How a certificate becomes a principal.
    pub principal: PrincipalRule,
    /// What else proves who is calling.
    pub auth: BridgeAuth,
    /// Origins of web pages that may call; empty for none.
    pub cors_origins: Vec<String>,
    /// Where schemas are; `None`: formats with schemas are not taken.
    pub schema_registry: Option<SchemaRegistry>,
    /// The gateways that serve this address together; `None`: this one alone.
    pub replicas: Option<Replicas>,
    /// How records are sent.
    pub producer: BridgeProducer,
    /// How consumer instances live.
    pub consumer: BridgeConsumer,
    /// What is kept of posts with an `Idempotency-Key`.
    pub idempotency: Idempotency,
    /// Bounds.
    pub limits: BridgeLimits,
}

/// How records are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeProducer {
    /// How long a record waits for others, while a request of its principal is under way.
    pub linger: Duration,
    /// A producer that nobody has used for this long is closed.
    pub idle: Duration,
}

/// How consumer instances live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeConsumer {
    /// An instance that nobody has called for this long is closed.
    pub idle: Duration,
}

/// The bounds of one bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BridgeLimits {
    /// The largest body of a request.
    pub max_body_bytes: usize,
    /// The largest record: key, value and headers.
    pub max_record_bytes: usize,
    /// The largest head of a request.
    pub max_header_bytes: usize,
    /// How long a body may take to arrive.
    pub body_timeout: Duration,
    /// How long Kafka is waited for.
    pub request_timeout: Duration,
    /// What the bodies of all requests may hold together.
    pub max_memory_bytes: usize,
    /// Records of one principal that wait for their acknowledgement.
    pub max_queued_records: usize,
    /// Producers at once.
    pub max_producers: usize,
    /// Consumer instances at once.
    pub max_consumers: usize,
    /// Readers of streams at once.
    pub max_readers: usize,
}

impl Bridge {
    pub(super) fn parse(reader: Reader<'_>, places: &Places<'_>) -> Option<Self> {
        let nothing = Node::nothing();
        let name = reader.required("name", values::name, "name it, for logs and metrics");
        let bind = reader.required("bind", values::listen_address, "write the address, such as 127.0.0.1:8443");
        let advertised_url = reader.optional("advertised_url", url);
        let cluster = reader.required("cluster", values::name, "name one of `clusters`");
        let tls = listener_tls::parse(&reader, places);
        let principal = parse_principal(&reader);
        let auth = BridgeAuth::parse(&reader, places);
        let cors = reader.section_or_empty("cors", &nothing).and_then(|cors| {
            let origins = cors.list("origins", origin);
            cors.finish();
            origins
        });
        let schema_registry = SchemaRegistry::parse(&reader, places);
        let replicas = Replicas::parse(&reader, tls.as_ref(), places);
        let producer = reader.section_or_empty("producer", &nothing).and_then(BridgeProducer::parse);
        let consumer = reader.section_or_empty("consumer", &nothing).and_then(BridgeConsumer::parse);
        let idempotency = reader.section_or_empty("idempotency", &nothing).and_then(Idempotency::parse);
        let limits = reader.section_or_empty("limits", &nothing).and_then(BridgeLimits::parse);
        if let Some(None) = &tls
            && reader.node("principal").is_some()
        {
            let text = "a plaintext bridge sees no client certificate to take a principal from";
            reader.refuse("principal", Refusal::new(text, "configure `tls`, or remove `principal`"));
        }
        reader.finish();
        Some(Self {
            name: name?,
            bind: bind?,
            advertised_url: advertised_url?,
            cluster: cluster?,
            tls: tls?,
            principal: principal?,
            auth: auth?,
            cors_origins: cors?,
            schema_registry: schema_registry?,
            replicas: replicas?,
            producer: producer?,
            consumer: consumer?,
            idempotency: idempotency?,
            limits: limits?,
        })
    }
}

impl BridgeProducer {
    fn parse(reader: Reader<'_>) -> Option<Self> {
        let time = |key: &str, low: Duration, high: Duration, default: Duration| {
            reader.or_default(key, values::duration(low, high), default)
        };
        let linger = time("linger", Duration::ZERO, Duration::from_secs(1), DEFAULT_LINGER);
        let idle = time("idle", Duration::from_secs(1), Duration::from_secs(86_400), DEFAULT_IDLE);
        reader.finish();
        Some(Self { linger: linger?, idle: idle? })
    }
}

impl BridgeConsumer {
    fn parse(reader: Reader<'_>) -> Option<Self> {
        let bounds = values::duration(Duration::from_secs(1), Duration::from_secs(43_200));
        let idle = reader.or_default("idle", bounds, DEFAULT_CONSUMER_IDLE);
        reader.finish();
        Some(Self { idle: idle? })
    }
}

impl BridgeLimits {
    fn parse(reader: Reader<'_>) -> Option<Self> {
        let bytes = |key: &str, low: usize, high: usize, default: usize| {
            reader.or_default(key, values::bytes(low, high), default)
        };
        let time = |key: &str, high: u64, default: Duration| {
            let bounds = values::duration(Duration::from_millis(100), Duration::from_secs(high));
            reader.or_default(key, bounds, default)
        };
        let count = |key: &str, high: i64, default: usize| {
            let read = |text: &str| {
                let value = values::number(1, high)(text)?;
                usize::try_from(value).map_err(|_| Refusal::new("out of bounds", "write a smaller number"))
            };
            reader.or_default(key, read, default)
        };
        let max_body_bytes = bytes("max_body_bytes", 1 << 10, 1 << 30, DEFAULT_MAX_BODY_BYTES);
        let body = max_body_bytes.unwrap_or(DEFAULT_MAX_BODY_BYTES);
        let limits = (
            bytes("max_record_bytes", 1 << 10, 1 << 30, DEFAULT_MAX_RECORD_BYTES),
            bytes("max_header_bytes", 8 << 10, 1 << 20, DEFAULT_MAX_HEADER_BYTES),
            time("body_timeout", 3600, DEFAULT_BODY_TIMEOUT),
            time("request_timeout", 3600, DEFAULT_REQUEST_TIMEOUT),
            bytes("max_memory_bytes", body, 1 << 40, DEFAULT_MAX_MEMORY_BYTES.max(body)),
            count("max_queued_records", 10_000_000, DEFAULT_MAX_QUEUED_RECORDS),
            count("max_producers", 100_000, DEFAULT_MAX_PRODUCERS),
            count("max_consumers", 100_000, DEFAULT_MAX_CONSUMERS),
            count("max_readers", 1_000_000, DEFAULT_MAX_READERS),
        );
        reader.finish();
        Some(Self {
            max_body_bytes: max_body_bytes?,
            max_record_bytes: limits.0?,
            max_header_bytes: limits.1?,
            body_timeout: limits.2?,
            request_timeout: limits.3?,
            max_memory_bytes: limits.4?,
            max_queued_records: limits.5?,
            max_producers: limits.6?,
            max_consumers: limits.7?,
            max_readers: limits.8?,
        })
    }
}

/// `https://host[:port][/path]`, without a slash at its end.
fn url(text: &str) -> Result<String, Refusal> {
    let trimmed = text.trim_end_matches('/');
    let rest = trimmed.strip_prefix("https://").or_else(|| trimmed.strip_prefix("http://"));
    let sound = rest.is_some_and(|rest| {
        let authority = rest.split('/').next().unwrap_or_default();
        !authority.is_empty() && !rest.contains(['?', '#', '@']) && !rest.chars().any(char::is_whitespace)
    });
    if !sound {
        return Err(Refusal::new(
            format!("`{text}` is not an address of this bridge"),
            "write https://HOST[:PORT][/PATH]",
        ));
    }
    Ok(trimmed.to_owned())
}

/// `scheme://host[:port]` as a browser sends it, or `*`.
fn origin(text: &str) -> Result<String, Refusal> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let sound =
        rest.is_some_and(|rest| !rest.is_empty() && rest.is_ascii() && !rest.contains(['/', '?', '#', '@', ' ']));
    if text != "*" && !sound {
        return Err(Refusal::new(
            format!("`{text}` is not an origin"),
            "write https://HOST[:PORT] without a path, or `*`",
        ));
    }
    Ok(text.to_ascii_lowercase())
}

/// Long enough that concurrent callers share a batch, short enough that a single one hardly sees it.
pub const DEFAULT_LINGER: Duration = Duration::from_millis(2);

/// A device that reports every few minutes keeps its producer.
pub const DEFAULT_IDLE: Duration = Duration::from_secs(600);

/// Sixteen records of the largest size that brokers take by default.
pub const DEFAULT_MAX_BODY_BYTES: usize = 16 << 20;

/// A broker's own default (`message.max.bytes`), less what sealing and framing add.
pub const DEFAULT_MAX_RECORD_BYTES: usize = 1_000_000;

/// Room for several large tokens; a body is also read in pieces of this size.
pub const DEFAULT_MAX_HEADER_BYTES: usize = 64 << 10;

/// The largest default body at 13 Mbit/s.
pub const DEFAULT_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// As Kafka's own clients wait for an answer.
pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// With what is made of a body this is three times as much in all.
pub const DEFAULT_MAX_MEMORY_BYTES: usize = 256 << 20;

/// What one principal may have waiting while brokers are slow; more is answered with 429.
pub const DEFAULT_MAX_QUEUED_RECORDS: usize = 100_000;

/// Each takes some tens of KiB, and what it has not read yet.
pub const DEFAULT_MAX_READERS: usize = 4_000;

/// A producer holds some threads and a connection to each broker that it writes to.
pub const DEFAULT_MAX_PRODUCERS: usize = 200;

/// As the other bridges have it: a reader that comes every minute stays.
pub const DEFAULT_CONSUMER_IDLE: Duration = Duration::from_secs(300);

/// A consumer holds some threads and a connection to each broker that it reads from.
pub const DEFAULT_MAX_CONSUMERS: usize = 200;

pub(super) const KEYS: &[Key] = &[
    key("rest", Kind::Entries, "none", "Where HTTPS clients connect: [its chapter](../rest/README.md)."),
    key("rest[].name", Kind::Text, "required", "The name in logs and metrics; unique."),
    key("rest[].bind", Kind::Text, "required", "Address, IP and port: `127.0.0.1:8443`, `[::]:8443`."),
    key(
        "rest[].advertised_url",
        Kind::Text,
        "what the caller asked for",
        "What callers are told to come back to, where a load balancer stands before: `https://kafka.example.com`.",
    ),
    key("rest[].cluster", Kind::Text, "required", "The name of the upstream cluster."),
    key(
        "rest[].tls",
        Kind::SectionOrOff,
        "required",
        "TLS towards callers, or `off` for plaintext; as `listeners[].tls`.",
    ),
    key(
        "rest[].tls.certificate",
        Kind::Path,
        "required",
        "Certificate chain, PEM, own certificate first. Reloaded when it changes.",
    ),
    key("rest[].tls.private_key", Kind::Path, "required", "Private key, PEM. Reloaded when it changes."),
    key(
        "rest[].tls.more_certificates",
        Kind::Entries,
        "none",
        "Further certificates, chosen by the host name that the caller asks for.",
    ),
    key("rest[].tls.more_certificates[].certificate", Kind::Path, "required", "Certificate chain, PEM."),
    key("rest[].tls.more_certificates[].private_key", Kind::Path, "required", "Private key, PEM."),
    key(
        "rest[].tls.client_auth",
        Kind::Choice,
        "required",
        "`required`, `optional` or `off`: whether callers show a certificate.",
    ),
    key(
        "rest[].tls.client_ca",
        Kind::Path,
        "required unless `client_auth: off`",
        "Authorities of client certificates, PEM. Reloaded when it changes.",
    ),
    key("rest[].tls.crls", Kind::List, "none", "Revocation lists, PEM or DER. Reloaded when one changes."),
    key("rest[].tls.min_version", Kind::Choice, "`1.2`", "`1.2` or `1.3`."),
    key("rest[].tls.handshake_timeout", Kind::Duration, "`10s`", "A handshake that takes longer is ended."),
    key("rest[].principal", Kind::Section, "the whole subject", "How a client certificate becomes a principal."),
    key("rest[].principal.from", Kind::Choice, "`subject`", "`subject`, `san_uri`, `san_dns` or `san_email`."),
    key("rest[].principal.mapping_rules", Kind::List, "`DEFAULT`", "As `listeners[].principal.mapping_rules`."),
    key("rest[].cors", Kind::Section, "none", "Which web pages may call."),
    key("rest[].cors.origins", Kind::List, "none", "Origins such as `https://app.example.com`, or `*`."),
    key("rest[].producer", Kind::Section, "its defaults", "How records are sent."),
    key(
        "rest[].producer.linger",
        Kind::Duration,
        "`2ms`",
        "How long a record waits for others, while a request of its principal is under way.",
    ),
    key(
        "rest[].producer.idle",
        Kind::Duration,
        "`10m`",
        "A principal's producer is closed when nothing was sent for so long.",
    ),
    key("rest[].consumer", Kind::Section, "its defaults", "How consumer instances live."),
    key("rest[].consumer.idle", Kind::Duration, "`5m`", "An instance that nobody has called for so long is closed."),
    key("rest[].limits", Kind::Section, "its defaults", "What bounds memory and waiting."),
    key(
        "rest[].limits.max_body_bytes",
        Kind::Bytes,
        "`16 MiB`",
        "The largest body of a request; a larger one is answered with 413.",
    ),
    key(
        "rest[].limits.max_record_bytes",
        Kind::Bytes,
        "`1000000`",
        "The largest record, key, value and headers together; more than brokers take makes no sense.",
    ),
    key(
        "rest[].limits.max_header_bytes",
        Kind::Bytes,
        "`64 KiB`",
        "The largest head of a request; a larger one is answered with 431.",
    ),
    key("rest[].limits.body_timeout", Kind::Duration, "`10s`", "How long a body may take to arrive; then 408."),
    key("rest[].limits.request_timeout", Kind::Duration, "`30s`", "How long Kafka is waited for; then 503."),
    key(
        "rest[].limits.max_memory_bytes",
        Kind::Bytes,
        "`256 MiB`",
        "What the bodies of all requests may hold together; then 429. At least `max_body_bytes`.",
    ),
    key(
        "rest[].limits.max_queued_records",
        Kind::Number,
        "`100000`",
        "Records of one principal that wait for their acknowledgement; then 429.",
    ),
    key("rest[].limits.max_producers", Kind::Number, "`200`", "Principals that send at once; then 429."),
    key("rest[].limits.max_consumers", Kind::Number, "`200`", "Consumer instances at once; then 429."),
    key("rest[].limits.max_readers", Kind::Number, "`4000`", "Readers of streams at once; then 429."),
];
