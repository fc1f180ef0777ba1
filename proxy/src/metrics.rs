//! What the gateway counts, for Prometheus: events from all parts arrive, OpenMetrics text leaves.
//! Labels come from closed sets only, never from a client. What is counted for each request or batch is an atomic that
//! was looked up before: no lock and no label look-up on the data path; nothing at all is counted for each record.

mod audit;
mod latency;
mod memory;
mod rest;
mod systems;
#[cfg(test)]
mod named;

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

pub use self::audit::AuditMetrics;
use self::latency::Latency;
pub use self::memory::MemoryMetrics;
pub use self::rest::RestMetrics;
pub use self::systems::CustodyMetrics;
use self::systems::SystemMetrics;
use crate::frame::{Call, api};

/// All metrics of one gateway process.
pub struct Metrics {
    registry: Registry,
    connections: Connections,
    requests: Family<RequestLabels, Counter>,
    request_slots: Vec<RequestSlot>,
    request_added: Latency,
    response_added: PerClass,
    request_duration: PerClass,
    records: Records,
    /// What large frames hold.
    pub memory: MemoryMetrics,
    /// The cache of opened and own sessions.
    pub sessions: CacheMetrics,
    /// Clients' secrets, and those that could not be had.
    pub keys: CustodyMetrics,
    /// The keyring.
    pub keyring: KeyringMetrics,
    /// The HTTP bridges.
    pub rest: RestMetrics,
    systems: SystemMetrics,
    /// The audit log.
    pub audit: AuditMetrics,
}

impl Metrics {
    /// Counts a request that was read. `known` is whether the gateway offers that API in that version.
    pub fn request(&self, call: Call, known: bool) {
        // Keys are small; whatever is not in the table shares the last slot.
        let index = usize::try_from(call.api_key.0).unwrap_or(usize::MAX);
        let last = self.request_slots.len().saturating_sub(1);
        let name = api::find(call.api_key).map_or("unknown", |api| api.name);
        let index = if name == "unknown" { last } else { index.min(last) };
        let Some(slot) = self.request_slots.get(index) else {
            return;
        };
        let (cell, outcome) = if known { (&slot.taken, "taken") } else { (&slot.refused, "refused") };
        let counter = cell.get_or_init(|| {
            let labels = RequestLabels { api: name, outcome };
            self.requests.get_or_create(&labels).clone()
        });
        counter.inc();
    }

    /// The time from the last byte of a request to its last byte towards the broker.
    pub fn request_added(&self, added: Duration) {
        self.request_added.observe(added);
    }

    /// `added`: the time from the last byte of a broker's answer to its last byte towards the client. `total`: the time
    /// since the request was read, the broker's own included.
    pub fn response_added(&self, call: Call, added: Duration, total: Duration) {
        self.response_added.of(call).observe(added);
        self.request_duration.of(call).observe(total);
    }

    /// Counts the records of a batch that were sealed, and the bytes of their values before.
    pub fn sealed(&self, records: u64, bytes: u64) {
        self.records.sealed.inc_by(records);
        self.records.sealed_bytes.inc_by(bytes);
    }

    /// Counts the records of a batch that were opened, the bytes of their values after, and the numbers that were missing
    /// before them in the order of their writers.
    pub fn opened(&self, records: u64, bytes: u64, holes: u64) {
        self.records.holes.inc_by(holes);
        self.records.opened.inc_by(records);
        self.records.opened_bytes.inc_by(bytes);
    }

    /// Counts a refused record or batch. `reason` must come from a closed set. Refusals are rare: this looks up a label.
    pub fn refused_record(&self, reason: &'static str) {
        self.records.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    /// Whether a key management system answers. `name` is one of the configuration.
    pub fn key_system(&self, name: &str, answers: bool) {
        self.systems.set(name, answers);
    }

    /// Counts a connection that was ended, or never begun, for a reason of its own.
    pub fn connection_refused(&self, refusal: ConnectionRefusal) {
        self.connections.refused.get_or_create(&ReasonLabel { reason: refusal.label() }).inc();
    }

    /// Counts an accepted connection, which is open until the value is dropped.
    pub fn connection_opened(self: &Arc<Self>) -> OpenConnection {
        self.connections.accepted.inc();
        self.connections.open.inc();
        OpenConnection { open: self.connections.open.clone() }
    }

    /// Waits until no connection is open, at most `limit`.
    pub async fn wait_until_closed(&self, limit: Duration) {
        let closed = async {
            while self.connections.open.get() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(limit, closed).await.ok();
    }

    /// The OpenMetrics text of everything.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("barnabas");
        let requests = Family::default();
        registry.register("downstream_requests", "Requests read from clients, by API and outcome", requests.clone());
        let request_added = Latency::default();
        registry.register_with_unit(
            "request_added",
            "Time from the end of a request to its end towards the broker",
            Unit::Seconds,
            request_added.clone(),
        );
        let response_added = PerClass::register(
            &mut registry,
            "response_added",
            "Time from the end of a broker's answer to its end towards the client",
        );
        let request_duration = PerClass::register(
            &mut registry,
            "request_duration",
            "Time from the end of a request to the end of its answer, the broker's included",
        );
        let last_key = api::all().map(|api| api.key.0).max().and_then(|key| usize::try_from(key).ok()).unwrap_or(0);
        Self {
            connections: Connections::register(&mut registry),
            requests,
            request_slots: (0..last_key + 2).map(|_| RequestSlot::default()).collect(),
            request_added,
            response_added,
            request_duration,
            records: Records::register(&mut registry),
            memory: MemoryMetrics::register(&mut registry),
            sessions: CacheMetrics::register(&mut registry, "sessions"),
            keys: CustodyMetrics::register(&mut registry),
            keyring: KeyringMetrics::register(&mut registry),
            rest: RestMetrics::register(&mut registry),
            systems: SystemMetrics::register(&mut registry),
            audit: AuditMetrics::register(&mut registry),
            registry,
        }
    }
}

/// Why a connection was ended by the gateway, or never begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionRefusal {
    /// `limits.max_connections`.
    Limit,
    /// TLS, a certificate without a principal, or an unknown host name.
    Handshake,
    /// No broker to connect to.
    Upstream,
    /// Bytes that are not Kafka's protocol, or an API that the gateway refuses.
    Protocol,
    /// A certificate that was accepted and is so no longer.
    Revoked,
    /// A broker that did not answer within `limits.answer_timeout`.
    Silent,
    /// `limits.max_memory_bytes`, `limits.max_connection_bytes`.
    Memory,
}

impl ConnectionRefusal {
    /// The metric label, a word of a closed list.
    pub fn label(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Handshake => "handshake",
            Self::Upstream => "upstream",
            Self::Protocol => "protocol",
            Self::Revoked => "revoked",
            Self::Silent => "silent",
            Self::Memory => "memory",
        }
    }
}

/// An open connection; dropping it closes the count.
pub struct OpenConnection {
    open: Gauge,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// What one bounded cache tells.
#[derive(Clone)]
pub struct CacheMetrics {
    /// Entries now.
    pub entries: Gauge,
    /// Look-ups that found something.
    pub hits: Counter,
    /// Look-ups that did not.
    pub misses: Counter,
}

impl CacheMetrics {
    fn register(registry: &mut Registry, name: &str) -> Self {
        let cache = Self { entries: Gauge::default(), hits: Counter::default(), misses: Counter::default() };
        let registry = registry.sub_registry_with_prefix(name);
        registry.register("cached", "Entries in the cache", cache.entries.clone());
        registry.register("cache_hits", "Look-ups that found an entry", cache.hits.clone());
        registry.register("cache_misses", "Look-ups that found none", cache.misses.clone());
        cache
    }
}

/// What the follower of the keyring tells.
#[derive(Clone)]
pub struct KeyringMetrics {
    /// Objects that are verified and in use.
    pub objects: Gauge,
    /// Offsets between what has been read and the end of the topic.
    pub lag: Gauge,
    /// When the newest head was signed, seconds since 1970: its age is `time() - this`, also when nothing updates it.
    pub head_signed_at: Gauge,
    /// 1 while the newest head is older than `keyring.max_head_age`, or says something else than what was read.
    pub head_trouble: Gauge,
    refused: Family<ReasonLabel, Counter>,
}

impl KeyringMetrics {
    /// Counts an object that was refused. `reason` must come from a closed set.
    pub fn refused(&self, reason: &'static str) {
        self.refused.get_or_create(&ReasonLabel { reason }).inc();
    }

    fn register(registry: &mut Registry) -> Self {
        let keyring = Self {
            objects: Gauge::default(),
            lag: Gauge::default(),
            head_signed_at: Gauge::default(),
            head_trouble: Gauge::default(),
            refused: Family::default(),
        };
        let registry = registry.sub_registry_with_prefix("keyring");
        registry.register("objects", "Verified objects in use", keyring.objects.clone());
        registry.register("lag_offsets", "Offsets of the keyring topic that are not read yet", keyring.lag.clone());
        let help = "When the newest head was signed, since 1970";
        registry.register_with_unit("head_timestamp", help, Unit::Seconds, keyring.head_signed_at.clone());
        let help = "1 while the newest head is too old, or differs from what was read: writers stop";
        registry.register("head_trouble", help, keyring.head_trouble.clone());
        registry.register("refused_objects", "Objects that were refused, by reason", keyring.refused.clone());
        keyring
    }
}

struct Connections {
    open: Gauge,
    accepted: Counter,
    refused: Family<ReasonLabel, Counter>,
}

impl Connections {
    fn register(registry: &mut Registry) -> Self {
        let all = Self { open: Gauge::default(), accepted: Counter::default(), refused: Family::default() };
        let registry = registry.sub_registry_with_prefix("downstream");
        registry.register("connections_open", "Client connections that are open", all.open.clone());
        registry.register("connections_accepted", "Client connections that were accepted", all.accepted.clone());
        let help = "Client connections that the gateway refused or ended, by reason";
        registry.register("connections_refused", help, all.refused.clone());
        all
    }
}

struct Records {
    sealed: Counter,
    sealed_bytes: Counter,
    opened: Counter,
    opened_bytes: Counter,
    holes: Counter,
    refused: Family<ReasonLabel, Counter>,
}

impl Records {
    fn register(registry: &mut Registry) -> Self {
        let all = Self {
            sealed: Counter::default(),
            sealed_bytes: Counter::default(),
            opened: Counter::default(),
            opened_bytes: Counter::default(),
            holes: Counter::default(),
            refused: Family::default(),
        };
        registry.register("records_sealed", "Records sealed", all.sealed.clone());
        registry.register_with_unit(
            "sealed_value",
            "Bytes of values before sealing",
            Unit::Bytes,
            all.sealed_bytes.clone(),
        );
        registry.register("records_opened", "Records opened", all.opened.clone());
        registry.register_with_unit(
            "opened_value",
            "Bytes of values after opening",
            Unit::Bytes,
            all.opened_bytes.clone(),
        );
        let help =
            "Records missing before others of the same writer: compaction, retention, failed batches, or removal";
        registry.register("records_missing", help, all.holes.clone());
        let help = "Partitions refused on the way in or out, by the reason of the first bad record";
        registry.register("records_refused", help, all.refused.clone());
        all
    }
}

/// One latency for each class of APIs.
struct PerClass {
    produce: Latency,
    fetch: Latency,
    other: Latency,
}

impl PerClass {
    fn register(registry: &mut Registry, name: &str, help: &str) -> Self {
        let family: Family<ClassLabel, Latency> = Family::default();
        registry.register_with_unit(name, help, Unit::Seconds, family.clone());
        let of = |class| family.get_or_create(&ClassLabel { class }).clone();
        Self { produce: of("produce"), fetch: of("fetch"), other: of("other") }
    }

    fn of(&self, call: Call) -> &Latency {
        match call.api_key {
            api::PRODUCE => &self.produce,
            api::FETCH | api::SHARE_FETCH => &self.fetch,
            _ => &self.other,
        }
    }
}

/// Made when the first request of an API comes, so that only APIs in use are exported.
#[derive(Default)]
struct RequestSlot {
    taken: OnceLock<Counter>,
    refused: OnceLock<Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    api: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ClassLabel {
    class: &'static str,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::frame::{ApiKey, ApiVersion, CorrelationId};

    fn call(key: i16) -> Call {
        Call { api_key: ApiKey(key), version: ApiVersion(9), correlation_id: CorrelationId(1) }
    }

    #[test]
    fn what_happened_is_in_the_text() {
        let metrics = Arc::new(Metrics::default());
        metrics.request(call(0), true);
        metrics.request(call(0), true);
        metrics.request(call(1), true);
        metrics.request(call(4), false);
        metrics.request(call(i16::MAX), false);
        metrics.request(call(-1), false);
        metrics.request_added(Duration::from_micros(30));
        metrics.response_added(call(1), Duration::from_micros(7), Duration::from_millis(400));
        metrics.sealed(500, 512_000);
        metrics.opened(20, 20_480, 3);
        metrics.refused_record("forged");
        metrics.connection_refused(ConnectionRefusal::Limit);
        metrics.sessions.hits.inc();
        metrics.keyring.head_signed_at.set(1_800_000_000);
        metrics.keyring.refused("older");
        let open = metrics.connection_opened();
        let text = metrics.encode().unwrap();
        for line in [
            "barnabas_downstream_requests_total{api=\"Produce\",outcome=\"taken\"} 2",
            "barnabas_downstream_requests_total{api=\"Fetch\",outcome=\"taken\"} 1",
            "barnabas_downstream_requests_total{api=\"unknown\",outcome=\"refused\"} 2",
            "barnabas_request_added_seconds_count 1",
            "barnabas_response_added_seconds_bucket{le=\"0.00001\",class=\"fetch\"} 1",
            "barnabas_request_duration_seconds_bucket{le=\"0.25\",class=\"fetch\"} 0",
            "barnabas_request_duration_seconds_bucket{le=\"0.5\",class=\"fetch\"} 1",
            "barnabas_records_sealed_total 500",
            "barnabas_sealed_value_bytes_total 512000",
            "barnabas_opened_value_bytes_total 20480",
            "barnabas_records_missing_total 3",
            "barnabas_records_refused_total{reason=\"forged\"} 1",
            "barnabas_downstream_connections_refused_total{reason=\"limit\"} 1",
            "barnabas_downstream_connections_open 1",
            "barnabas_sessions_cache_hits_total 1",
            "barnabas_keyring_head_timestamp_seconds 1800000000",
            "barnabas_keyring_refused_objects_total{reason=\"older\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "missing: {line}\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
        drop(open);
        assert!(metrics.encode().unwrap().contains("barnabas_downstream_connections_open 0"));
    }

    #[test]
    fn no_client_can_make_a_new_series() {
        let metrics = Metrics::default();
        for key in i16::MIN..=i16::MAX {
            metrics.request(call(key), false);
        }
        let text = metrics.encode().unwrap();
        let series = text.lines().filter(|line| line.starts_with("barnabas_downstream_requests_total")).count();
        assert_eq!(series, api::all().count() + 1);
    }
}
