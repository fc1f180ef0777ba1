//! Whether key management systems answer, and what they did not give. The names are those of the configuration: a closed set.

use barnabas_crypto::custody::CustodyCause;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::CacheMetrics;

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

/// Clients' secrets in the gateway's custody.
#[derive(Clone)]
pub struct CustodyMetrics {
    /// The cache of unwrapped secrets.
    pub cache: CacheMetrics,
    failed: Family<FailureLabels, Counter>,
}

impl CustodyMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self { cache: CacheMetrics::register(registry, "custody_keys"), failed: Family::default() };
        let help =
            "Clients' secrets that a key management system was asked for and did not give, by whose fault it was";
        registry.register("custody_failed_unwraps", help, metrics.failed.clone());
        metrics
    }

    /// Counts a secret that `system` did not give. The name is one of the configuration, or `unknown`.
    pub fn failed(&self, system: &str, cause: CustodyCause) {
        let labels = FailureLabels { kms: system.to_owned(), fault: cause.fault() };
        self.failed.get_or_create(&labels).inc();
    }

    /// How often [`CustodyMetrics::failed`] was called so.
    #[cfg(test)]
    pub fn failures(&self, system: &str, cause: CustodyCause) -> u64 {
        self.failed.get_or_create(&FailureLabels { kms: system.to_owned(), fault: cause.fault() }).get()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SystemLabel {
    kms: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    kms: String,
    fault: &'static str,
}
