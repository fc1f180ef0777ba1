//! What the memory of large frames tells: holds and waits arrive, two metrics leave. Nothing is counted for small frames.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// What large frames hold, of `limits.max_memory_bytes`.
#[derive(Clone)]
pub struct MemoryMetrics {
    /// Bytes held now.
    pub held: Gauge,
    /// Frames that had to wait for room.
    pub waits: Counter,
}

impl MemoryMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let all = Self { held: Gauge::default(), waits: Counter::default() };
        let help = "Memory that large frames hold, of limits.max_memory_bytes";
        registry.register_with_unit("frame_memory", help, Unit::Bytes, all.held.clone());
        registry.register("frame_memory_waits", "Large frames that had to wait for memory", all.waits.clone());
        all
    }
}
