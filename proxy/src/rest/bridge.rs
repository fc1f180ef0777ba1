//! What all requests of one bridge share.
//!
//! Arrives: the bridge's section of the configuration, and the inner listener. Leaves: one value that every handler is given. What must
//! never happen here: a state that belongs to one principal.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};

use super::auth::Callers;
use super::body::Room;
use super::cors::Cors;
use super::formats;
use super::inner::Inner;
use super::pool::Pool;
use super::streams::Feeds;
use crate::admin::Readiness;
use crate::config;
use crate::metrics::RestMetrics;

/// One bridge.
pub struct Bridge {
    /// As configured.
    pub settings: config::Bridge,
    /// Who may call.
    pub callers: Callers,
    /// What principals have.
    pub pool: Arc<Pool>,
    /// Tails of topics that readers share.
    pub feeds: Feeds,
    /// Readers that stay, at once.
    pub readers: Arc<Semaphore>,
    /// Room for bodies.
    pub room: Room,
    /// Web pages that may call.
    pub cors: Cors,
    /// What a body may be.
    pub formats: formats::Limits,
    /// Counters.
    pub metrics: RestMetrics,
    /// Whether callers should be sent here.
    pub readiness: Arc<Readiness>,
    /// True once the gateway is to end: streams that stay open end by themselves.
    pub draining: watch::Receiver<bool>,
}

impl Bridge {
    /// Builds a bridge. Must be called within a runtime.
    pub fn new(
        settings: config::Bridge,
        callers: Callers,
        inner: Arc<Inner>,
        metrics: RestMetrics,
        readiness: Arc<Readiness>,
        draining: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let pool = Arc::new(Pool::new(inner, settings.producer, settings.limits, metrics.clone()));
        tokio::spawn(pool.clone().close_idle());
        let formats =
            formats::Limits { max_record_bytes: settings.limits.max_record_bytes, ..formats::Limits::default() };
        Arc::new(Self {
            callers,
            pool,
            feeds: Feeds::default(),
            readers: Arc::new(Semaphore::new(settings.limits.max_readers)),
            room: Room::new(&settings.limits),
            cors: Cors::new(&settings.cors_origins),
            formats,
            metrics,
            readiness,
            draining,
            settings,
        })
    }
}
