//! How a client reaches one broker through a listener: a port for each broker, or a host name for each broker.
//! `brokers` of a listener arrives, [`Brokers`] leaves; both directions (node id to address, address to node id) live here
//! and nowhere else, so that they cannot disagree.

use super::mistake::Refusal;
use super::reader::Reader;
use super::values;

/// How a broker is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Brokers {
    /// A port for each broker.
    Port(PortRange),
    /// A host name for each broker, on one port.
    Sni(SniNames),
}

/// `count` ports, one for each node id from `first_node_id` on. No port of it exceeds 65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first_port: u16,
    first_node_id: i32,
    count: u16,
}

impl PortRange {
    /// `None` when the range is empty or leaves the valid ports or node ids.
    pub fn new(first_port: u16, first_node_id: i32, count: u16) -> Option<Self> {
        let last = first_port.checked_add(count.checked_sub(1)?)?;
        let last_node = first_node_id.checked_add(i32::from(count) - 1)?;
        (first_port > 0 && first_node_id >= 0 && last >= first_port && last_node >= 0).then_some(Self {
            first_port,
            first_node_id,
            count,
        })
    }

    /// The port of a broker; `None` when its node id lies outside.
    pub fn port(&self, node_id: i32) -> Option<u16> {
        let index = u16::try_from(node_id.checked_sub(self.first_node_id)?).ok()?;
        (index < self.count).then(|| self.first_port + index)
    }

    /// The broker behind a port.
    pub fn node_id(&self, port: u16) -> Option<i32> {
        let index = port.checked_sub(self.first_port)?;
        (index < self.count).then(|| self.first_node_id + i32::from(index))
    }

    /// All ports.
    pub fn ports(&self) -> std::ops::RangeInclusive<u16> {
        self.first_port..=self.first_port + (self.count - 1)
    }
}

/// The host names of a listener that tells brokers apart by the name that the client asks for (RFC 6066, section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SniNames {
    bootstrap_host: String,
    before: String,
    after: String,
    advertised_port: Option<u16>,
}

impl SniNames {
    /// The host name of the bootstrap address, in lower case.
    pub fn bootstrap_host(&self) -> &str {
        &self.bootstrap_host
    }

    /// Whether a requested name is the bootstrap name.
    pub fn is_bootstrap(&self, host: &str) -> bool {
        self.bootstrap_host.eq_ignore_ascii_case(host)
    }

    /// The port that clients are told; `None` is the port of `bind`.
    pub fn advertised_port(&self) -> Option<u16> {
        self.advertised_port
    }

    /// The host name of a broker.
    pub fn host(&self, node_id: i32) -> String {
        format!("{}{node_id}{}", self.before, self.after)
    }

    /// The broker that a requested name means. Only the one spelling that [`SniNames::host`] makes is accepted.
    pub fn node_id(&self, host: &str) -> Option<i32> {
        let host = host.to_ascii_lowercase();
        let digits = host.strip_prefix(&self.before)?.strip_suffix(&self.after)?;
        let node_id = digits.parse::<i32>().ok().filter(|node_id| *node_id >= 0)?;
        (self.host(node_id) == host).then_some(node_id)
    }
}

pub(super) fn parse(reader: Reader<'_>) -> Option<Brokers> {
    let by = reader.required("by", values::choice(&[("port", By::Port), ("sni", By::Sni)]), "write port or sni");
    let port_keys = ["first_port", "first_node_id", "count"];
    let sni_keys = ["bootstrap_host", "host_pattern", "advertised_port"];
    let brokers = match by {
        Some(By::Port) => parse_ports(&reader),
        Some(By::Sni) => parse_names(&reader),
        None => None,
    };
    let foreign = match by {
        Some(By::Port) => sni_keys,
        Some(By::Sni) => port_keys,
        None => {
            // Without `by` nothing can be said about the others, so they are accepted and `by` alone is the mistake.
            for key in port_keys.iter().chain(&sni_keys) {
                reader.node(key);
            }
            reader.finish();
            return None;
        }
    };
    for key in foreign.into_iter().filter(|key| reader.node(key).is_some()) {
        reader.refuse(key, Refusal::new(format!("`{key}` does not belong to this `by`"), "remove it"));
    }
    reader.finish();
    brokers
}

fn parse_ports(reader: &Reader<'_>) -> Option<Brokers> {
    let first_port = reader.required("first_port", values::number(1, 65_535), "write the port of the first broker");
    let first_node_id = reader.or_default("first_node_id", values::number(0, i64::from(i32::MAX)), 0);
    let count = reader.required(
        "count",
        values::number(1, MAX_BROKERS),
        "write how many brokers there may ever be, such as 64",
    );
    let (first_port, first_node_id, count) = (first_port?, first_node_id?, count?);
    let range =
        PortRange::new(u16::try_from(first_port).ok()?, i32::try_from(first_node_id).ok()?, u16::try_from(count).ok()?);
    if range.is_none() {
        let text = format!("{count} ports from {first_port} on do not fit below 65536");
        reader.refuse("count", Refusal::new(text, "lower `first_port` or `count`"));
    }
    range.map(Brokers::Port)
}

fn parse_names(reader: &Reader<'_>) -> Option<Brokers> {
    let bootstrap_host =
        reader.required("bootstrap_host", values::host, "write the host name of the bootstrap address");
    let pattern = reader.required("host_pattern", read_pattern, "write a host name with $(node_id) in it");
    let advertised_port = reader.optional("advertised_port", values::number(1, 65_535));
    let (bootstrap_host, (before, after)) = (bootstrap_host?, pattern?);
    let advertised_port = advertised_port?.and_then(|port| u16::try_from(port).ok());
    let names = SniNames { bootstrap_host, before, after, advertised_port };
    if names.node_id(&names.bootstrap_host).is_some() {
        let remedy = "choose a bootstrap name that no node id can produce";
        reader.refuse("bootstrap_host", Refusal::new("`bootstrap_host` is also the name of a broker", remedy));
        return None;
    }
    Some(Brokers::Sni(names))
}

fn read_pattern(text: &str) -> Result<(String, String), Refusal> {
    let refusal = || {
        let text = format!("`{text}` is not a host name with one $(node_id) in it");
        Refusal::new(text, "write it like b$(node_id).kafka.example.com")
    };
    let (before, after) = text.split_once(NODE_ID).ok_or_else(refusal)?;
    let digits_around =
        before.ends_with(|c: char| c.is_ascii_digit()) || after.starts_with(|c: char| c.is_ascii_digit());
    values::host(&format!("{before}2147483647{after}")).map_err(|_| refusal())?;
    if digits_around {
        return Err(Refusal::new(
            format!("`{text}` has a digit beside $(node_id)"),
            "put a letter or a dash between them",
        ));
    }
    Ok((before.to_ascii_lowercase(), after.to_ascii_lowercase()))
}

#[derive(Clone, Copy)]
enum By {
    Port,
    Sni,
}

/// The placeholder in `host_pattern`.
const NODE_ID: &str = "$(node_id)";

/// Each broker costs a listening socket; the largest known clusters have a few thousand brokers.
const MAX_BROKERS: i64 = 10_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ports_and_node_ids_are_each_others_inverse() {
        let range = PortRange::new(9193, 1, 3).unwrap();
        assert_eq!(range.ports().collect::<Vec<_>>(), [9193, 9194, 9195]);
        for port in range.ports() {
            assert_eq!(range.port(range.node_id(port).unwrap()), Some(port));
        }
        assert_eq!(range.port(0), None);
        assert_eq!(range.port(4), None);
        assert_eq!(range.port(i32::MIN), None);
        assert_eq!(range.node_id(9192), None);
        assert_eq!(range.node_id(9196), None);
    }

    #[test]
    fn impossible_ranges_do_not_exist() {
        assert!(PortRange::new(65_535, 0, 1).is_some());
        assert!(PortRange::new(65_535, 0, 2).is_none());
        assert!(PortRange::new(9193, 0, 0).is_none());
        assert!(PortRange::new(0, 0, 1).is_none());
        assert!(PortRange::new(1, i32::MAX, 2).is_none());
        assert!(PortRange::new(1, -1, 2).is_none());
    }

    #[test]
    fn names_and_node_ids_are_each_others_inverse() {
        let (before, after) = read_pattern("B$(node_id).Kafka.Example.com").unwrap();
        let names = SniNames { bootstrap_host: "kafka.example.com".to_owned(), before, after, advertised_port: None };
        assert_eq!(names.host(12), "b12.kafka.example.com");
        assert_eq!(names.node_id("B12.kafka.EXAMPLE.com"), Some(12));
        assert_eq!(names.node_id("b012.kafka.example.com"), None);
        assert_eq!(names.node_id("b+1.kafka.example.com"), None);
        assert_eq!(names.node_id("b-1.kafka.example.com"), None);
        assert_eq!(names.node_id("kafka.example.com"), None);
        assert!(names.is_bootstrap("Kafka.example.com"));
    }

    #[test]
    fn a_pattern_has_one_node_id_that_stands_alone() {
        assert!(read_pattern("kafka.example.com").is_err());
        assert!(read_pattern("b1$(node_id).x").is_err());
        assert!(read_pattern("b$(node_id)$(node_id).x").is_err());
        assert!(read_pattern("b$(node_id) .x").is_err());
    }
}
