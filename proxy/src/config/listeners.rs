//! `listeners`: where clients connect, what they are told, how they prove who they are.
//! A mapping arrives, a [`Listener`] leaves. A listener that asks for certificates without TLS, or for host names without
//! TLS, cannot be expressed by the types: SNI and client certificates live inside the TLS part or are refused here.

use std::net::SocketAddr;

use super::brokers::{self, Brokers};
use super::key::{Key, Kind, key};
use super::listener_tls::{self, ListenerTls};
use super::mistake::Refusal;
use super::node::Tree;
use super::reader::Reader;
use super::values::{self, Places};
use crate::identity::{MappingRules, PrincipalRule, PrincipalSource};

/// One address on which clients bootstrap, with the addresses of the brokers behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// The name in logs and metrics, unique.
    pub name: String,
    /// The bootstrap address.
    pub bind: SocketAddr,
    /// The host that clients are told for every broker when brokers go by port.
    pub advertised_host: String,
    /// The name of the upstream cluster.
    pub cluster: String,
    /// How a broker is found.
    pub brokers: Brokers,
    /// `None` is plaintext.
    pub tls: Option<ListenerTls>,
    /// How a certificate becomes a principal.
    pub principal: PrincipalRule,
}

impl Listener {
    pub(super) fn parse(reader: Reader<'_>, places: &Places<'_>) -> Option<Self> {
        let name = reader.required("name", values::name, "name it, for logs and metrics");
        let bind =
            reader.required("bind", values::listen_address, "write the bootstrap address, such as 127.0.0.1:9192");
        let advertised_host = reader.optional("advertised_host", values::host);
        let cluster = reader.required("cluster", values::name, "name one of `clusters`");
        let brokers = match reader.node("brokers") {
            Some(_) => reader.section("brokers").and_then(brokers::parse),
            None => {
                let remedy = "write { by: port, first_port: 9193, first_node_id: 0, count: 64 } or { by: sni, .. }";
                reader.refuse("brokers", Refusal::new("`brokers` does not say how a broker is found", remedy));
                None
            }
        };
        let tls = listener_tls::parse(&reader, places);
        let principal = parse_principal(&reader);
        if let (Some(Brokers::Sni(_)), Some(None)) = (&brokers, &tls) {
            let remedy = "configure `tls`, or find brokers by port";
            reader.refuse(
                "brokers",
                Refusal::new("brokers by host name (SNI) need TLS: plaintext carries no name", remedy),
            );
        }
        if let Some(None) = &tls
            && reader.node("principal").is_some()
        {
            let remedy = "configure `tls`, or remove `principal`";
            let text = "a plaintext listener sees no client certificate to take a principal from";
            reader.refuse("principal", Refusal::new(text, remedy));
        }
        let bind_host = bind.map(|bind| bind.ip());
        let advertised_host = match (advertised_host, bind_host) {
            (Some(Some(host)), _) => Some(host),
            (Some(None), Some(ip)) if !ip.is_unspecified() => Some(ip.to_string()),
            (Some(None), Some(_)) => {
                let remedy = "write the host name that clients reach this gateway by";
                reader.refuse(
                    "advertised_host",
                    Refusal::new("`advertised_host` is missing and `bind` is every address", remedy),
                );
                None
            }
            _ => None,
        };
        reader.finish();
        Some(Self {
            name: name?,
            bind: bind?,
            advertised_host: advertised_host?,
            cluster: cluster?,
            brokers: brokers?,
            tls: tls?,
            principal: principal?,
        })
    }
}

/// The rule by which certificates become principals; the whole subject when none is written. Also for bridges and the secure admin listener.
pub(super) fn parse_principal(reader: &Reader<'_>) -> Option<PrincipalRule> {
    let Some(node) = reader.node("principal") else {
        return Some(PrincipalRule::default());
    };
    if !matches!(node.tree, Tree::Map(_)) {
        reader.refuse(
            "principal",
            Refusal::new(format!("expected a mapping, found {}", node.kind()), "write { from: subject }"),
        );
        return None;
    }
    let section = reader.section("principal")?;
    let from = section.or_default("from", values::choice(SOURCES), PrincipalSource::Subject);
    let rules = section.list("mapping_rules", |text| {
        let remedy = "see Kafka's documentation of ssl.principal.mapping.rules";
        MappingRules::parse(text).map_err(|refusal| Refusal::new(refusal.to_string(), remedy))
    });
    section.finish();
    Some(PrincipalRule { from: from?, mapping_rules: MappingRules::join(rules?) })
}

const SOURCES: &[(&str, PrincipalSource)] = &[
    ("subject", PrincipalSource::Subject),
    ("san_uri", PrincipalSource::SanUri),
    ("san_dns", PrincipalSource::SanDns),
    ("san_email", PrincipalSource::SanEmail),
];

pub(super) const KEYS: &[Key] = &[
    key("listeners", Kind::Entries, "required", "Where clients connect. At least one."),
    key("listeners[].name", Kind::Text, "required", "The name in logs and metrics; unique."),
    key("listeners[].bind", Kind::Text, "required", "Bootstrap address, IP and port: `127.0.0.1:9192`, `[::]:9192`."),
    key(
        "listeners[].advertised_host",
        Kind::Text,
        "the address in `bind`",
        "The host that clients are told; required when `bind` is every address.",
    ),
    key("listeners[].cluster", Kind::Text, "required", "The name of the upstream cluster."),
    key("listeners[].brokers", Kind::Section, "required", "How a client reaches one broker through the gateway."),
    key(
        "listeners[].brokers.by",
        Kind::Choice,
        "required",
        "`port`: a port for each broker. `sni`: one port, a host name for each broker; needs TLS.",
    ),
    key(
        "listeners[].brokers.first_port",
        Kind::Number,
        "required by port",
        "The port of the broker `first_node_id`; the next broker has the next port.",
    ),
    key(
        "listeners[].brokers.first_node_id",
        Kind::Number,
        "`0`",
        "By port: the lowest node id of the cluster's brokers.",
    ),
    key(
        "listeners[].brokers.count",
        Kind::Number,
        "required by port",
        "By port: how many ports are kept, so that brokers that appear later are reachable.",
    ),
    key(
        "listeners[].brokers.bootstrap_host",
        Kind::Text,
        "required by sni",
        "By SNI: the host name of the bootstrap address.",
    ),
    key(
        "listeners[].brokers.host_pattern",
        Kind::Text,
        "required by sni",
        "By SNI: the host name of a broker, with `$(node_id)` in it.",
    ),
    key(
        "listeners[].brokers.advertised_port",
        Kind::Number,
        "the port in `bind`",
        "By SNI: the port that clients are told, where a load balancer listens on another one.",
    ),
    key("listeners[].tls", Kind::SectionOrOff, "required", "TLS towards clients, or `off` for plaintext."),
    key(
        "listeners[].tls.certificate",
        Kind::Path,
        "required",
        "Certificate chain, PEM, own certificate first. Reloaded when it changes.",
    ),
    key("listeners[].tls.private_key", Kind::Path, "required", "Private key, PEM. Reloaded when it changes."),
    key(
        "listeners[].tls.more_certificates",
        Kind::Entries,
        "none",
        "Further certificates, chosen by the host name that the client asks for.",
    ),
    key("listeners[].tls.more_certificates[].certificate", Kind::Path, "required", "Certificate chain, PEM."),
    key("listeners[].tls.more_certificates[].private_key", Kind::Path, "required", "Private key, PEM."),
    key(
        "listeners[].tls.client_auth",
        Kind::Choice,
        "required",
        "`required`, `optional` or `off`: whether clients show a certificate.",
    ),
    key(
        "listeners[].tls.client_ca",
        Kind::Path,
        "required unless `client_auth: off`",
        "Authorities of client certificates, PEM. Reloaded when it changes.",
    ),
    key(
        "listeners[].tls.crls",
        Kind::List,
        "none",
        "Revocation lists, PEM or DER. With any, a certificate whose issuer has no list, or only one past its next update, is refused. Reloaded when one changes.",
    ),
    key("listeners[].tls.min_version", Kind::Choice, "`1.2`", "`1.2` or `1.3`."),
    key("listeners[].tls.handshake_timeout", Kind::Duration, "`10s`", "A handshake that takes longer is ended."),
    key("listeners[].principal", Kind::Section, "the whole subject", "How a client certificate becomes a principal."),
    key("listeners[].principal.from", Kind::Choice, "`subject`", "`subject`, `san_uri`, `san_dns` or `san_email`."),
    key(
        "listeners[].principal.mapping_rules",
        Kind::List,
        "`DEFAULT`",
        "Kafka's `ssl.principal.mapping.rules`: `RULE:pattern/replacement/[L\\|U]` and `DEFAULT`, first match wins; no match refuses the client.",
    ),
];
