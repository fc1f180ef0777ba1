//! How the audit log is doing. What it says is nowhere here: metrics have no authentication.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::audit::log::State;

/// What the audit log tells.
#[derive(Clone, Default)]
pub struct AuditMetrics {
    /// Events that the log has taken.
    pub entries: Counter,
    /// Events that it has refused. Each is counted in a gap entry, too.
    pub lost: Counter,
    durable: Gauge,
    checkpoint: Gauge,
    queued: Gauge,
    queued_bytes: Gauge,
    failing: Gauge,
    sink_lag: Family<SinkLabel, Gauge>,
    witnessed: Family<WitnessLabel, Gauge>,
    witness_alarm: Family<WitnessLabel, Gauge>,
    other_log_alarms: Family<LogLabel, Counter>,
}

impl AuditMetrics {
    /// Takes the log's own figures over.
    pub fn observe(&self, state: &State) {
        let gauge = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        // The log counts also what it had taken and could not write.
        self.lost.inc_by(state.refused.saturating_sub(self.lost.get()));
        self.durable.set(gauge(state.durable));
        self.checkpoint.set(gauge(state.checkpoint));
        self.queued.set(gauge(state.queued_entries as u64));
        self.queued_bytes.set(gauge(state.queued_bytes as u64));
        self.failing.set(i64::from(state.failing.is_some()));
    }

    /// How many entries a sink does not have yet. `sink` is a name of the configuration: a closed set.
    pub fn sink_lag(&self, sink: &str) -> Gauge {
        self.sink_lag.get_or_create(&SinkLabel { sink: sink.to_owned() }).clone()
    }

    /// How many entries a witness has cosigned. `witness` is a name of the configuration: a closed set.
    pub fn witnessed(&self, witness: &str) -> Gauge {
        self.witnessed.get_or_create(&WitnessLabel { witness: witness.to_owned() }).clone()
    }

    /// Whether a witness says that the log was rolled back or has two histories.
    pub fn witness_alarm(&self, witness: &str) -> Gauge {
        self.witness_alarm.get_or_create(&WitnessLabel { witness: witness.to_owned() }).clone()
    }

    /// How often a log that is witnessed here was shown as one that is not what it was. `log` is a name of the configuration.
    pub fn other_log_alarms(&self, log: &str) -> Counter {
        self.other_log_alarms.get_or_create(&LogLabel { log: log.to_owned() }).clone()
    }

    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Self::default();
        let registry = registry.sub_registry_with_prefix("audit");
        registry.register("entries", "Events that the audit log has taken", all.entries.clone());
        registry.register("lost", "Events that the audit log could not take", all.lost.clone());
        registry.register("durable_entries", "Entries of the audit log that are on disk", all.durable.clone());
        registry.register("checkpoint_entries", "Entries under the last signed checkpoint", all.checkpoint.clone());
        registry.register("queued_entries", "Entries that wait for the disk", all.queued.clone());
        registry.register("queued_bytes", "Bytes of entries that wait for the disk", all.queued_bytes.clone());
        registry.register("failing", "1 while the audit log cannot be written", all.failing.clone());
        registry.register("sink_lag_entries", "Entries that a sink does not have yet", all.sink_lag.clone());
        let help = "Entries that a witness has cosigned";
        registry.register("witnessed_entries", help, all.witnessed.clone());
        let help = "1 while a witness says that the log was rolled back or has two histories";
        registry.register("witness_alarm", help, all.witness_alarm.clone());
        let help = "How often a log that is witnessed here was shown shorter than it was, or forked";
        registry.register("other_log_alarms", help, all.other_log_alarms.clone());
        all
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SinkLabel {
    sink: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WitnessLabel {
    witness: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LogLabel {
    log: String,
}
