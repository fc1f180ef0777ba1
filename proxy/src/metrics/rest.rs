//! What the HTTP bridge counts: by the template of a route, never by a path.
//! Routes are a closed set in the code; what is counted for each request is looked up once for each route.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::latency::Latency;

/// The metrics of all bridges.
#[derive(Clone)]
pub struct RestMetrics {
    /// Principals with a producer.
    pub principals: Gauge,
    /// Records that brokers have acknowledged.
    pub written: Counter,
    /// Records that were not written.
    pub refused: Counter,
    /// Idempotency keys that are known.
    pub keys: Gauge,
    keyed: Family<KeyedLabel, Counter>,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabel, Latency>,
    routes: Arc<RwLock<HashMap<&'static str, Arc<Route>>>>,
}

/// One route, looked up.
struct Route {
    by_class: [Counter; 6],
    duration: Latency,
}

impl RestMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Self {
            principals: Gauge::default(),
            written: Counter::default(),
            refused: Counter::default(),
            keys: Gauge::default(),
            keyed: Family::default(),
            requests: Family::default(),
            durations: Family::default(),
            routes: Arc::default(),
        };
        let registry = registry.sub_registry_with_prefix("rest");
        registry.register("requests", "Requests over HTTP, by route and class of status", all.requests.clone());
        let help = "Time from the head of a request over HTTP to the head of its answer, by route";
        registry.register_with_unit("request_duration", help, Unit::Seconds, all.durations.clone());
        registry.register("records_written", "Records posted and acknowledged by the brokers", all.written.clone());
        registry.register("records_refused", "Records posted and not written", all.refused.clone());
        registry.register("principals", "Principals that have a producer or questions open", all.principals.clone());
        let help = "Requests with an Idempotency-Key, by what became of them";
        registry.register("keyed_requests", help, all.keyed.clone());
        registry.register(
            "idempotency_keys",
            "Idempotency keys whose answers are kept, as far as known here",
            all.keys.clone(),
        );
        all
    }

    /// Counts a request with an `Idempotency-Key`. `outcome` must come from a closed set.
    pub fn keyed(&self, outcome: &'static str) {
        self.keyed.get_or_create(&KeyedLabel { outcome }).inc();
    }

    /// Counts a request. `route` must come from a closed set.
    pub fn request(&self, route: &'static str, status: u16, duration: Duration) {
        let known = self.routes.read().unwrap_or_else(PoisonError::into_inner).get(route).cloned();
        let found = known.unwrap_or_else(|| self.look_up(route));
        found.duration.observe(duration);
        if let Some(counter) = found.by_class.get(usize::from(status / 100)) {
            counter.inc();
        }
    }

    fn look_up(&self, route: &'static str) -> Arc<Route> {
        let counter = |class| self.requests.get_or_create(&RequestLabels { route, status: class }).clone();
        let found = Arc::new(Route {
            by_class: CLASSES.map(counter),
            duration: self.durations.get_or_create(&RouteLabel { route }).clone(),
        });
        self.routes.write().unwrap_or_else(PoisonError::into_inner).insert(route, found.clone());
        found
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct KeyedLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

const CLASSES: [&str; 6] = ["other", "1xx", "2xx", "3xx", "4xx", "5xx"];
