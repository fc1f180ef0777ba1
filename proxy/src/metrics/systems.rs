//! Whether key management systems answer. The names are those of the configuration: a closed set.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// One gauge for each system of `kms:`.
#[derive(Clone, Default)]
pub(super) struct SystemMetrics(Family<SystemLabel, Gauge>);

impl SystemMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let help = "1 while the key management system answers, 0 while it gives no usable answer";
        registry.register("kms_up", help, metrics.0.clone());
        metrics
    }

    pub(super) fn set(&self, system: &str, answers: bool) {
        self.0.get_or_create(&SystemLabel { kms: system.to_owned() }).set(i64::from(answers));
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SystemLabel {
    kms: String,
}
