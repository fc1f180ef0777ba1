//! What all requests of one bridge share.
//!
//! Arrives: the bridge's section of the configuration, and the inner listener. Leaves: one value that every handler is given. What must
//! never happen here: a state that belongs to one principal.

use std::sync::{Arc, OnceLock};

use tokio::sync::{Semaphore, watch};

use super::auth::Callers;
use super::body::Room;
use super::cors::Cors;
use super::formats;
use super::idempotency::Ledger;
use super::inner::Inner;
use super::pool::Pool;
use super::replicas::Replicas;
use super::streams::Feeds;
use super::v2::consumers::Consumers;
use crate::admin::Readiness;
use crate::audit::event::Audit;
use crate::config;
use crate::metrics::RestMetrics;

/// One bridge.
pub struct Bridge {
    /// Its name in logs, metrics and the audit log.
    pub name: Arc<str>,
    /// As configured.
    pub settings: config::Bridge,
    /// Where requests are told.
    pub audit: Audit,
    /// Who may call.
    pub callers: Callers,
    /// What principals have.
    pub pool: Arc<Pool>,
    /// Answers to requests with an `Idempotency-Key`.
    pub ledger: Arc<Ledger>,
    /// Consumer instances of the v2 API.
    pub consumers: Arc<Consumers>,
    /// Who else serves this address; `None`: nobody.
    pub replicas: Option<Replicas>,
    /// Tails of topics that readers share.
    pub feeds: Feeds,
    /// Readers that stay, at once.
    pub readers: Arc<Semaphore>,
    /// Room for bodies.
    pub room: Room,
    /// Web pages that may call.
    pub cors: Cors,
    /// Where schemas are.
    #[cfg(feature = "schemas")]
    pub schemas: Option<super::schema::Schemas>,
    /// What a body may be.
    pub formats: formats::Limits,
    /// The cluster's id, once a broker has told it.
    pub cluster_id: OnceLock<String>,
    /// Counters.
    pub metrics: RestMetrics,
    /// Whether callers should be sent here.
    pub readiness: Arc<Readiness>,
    /// True once the gateway is to end: streams that stay open end by themselves.
    pub draining: watch::Receiver<bool>,
}

impl Bridge {
    /// Builds a bridge. Must be called within a runtime.
    ///
    /// # Errors
    /// A sentence about the settings of the schema registry, or about the certificates towards replicas.
    pub fn new(
        settings: config::Bridge,
        callers: Callers,
        inner: Arc<Inner>,
        (metrics, audit): (RestMetrics, Audit),
        readiness: Arc<Readiness>,
        draining: watch::Receiver<bool>,
    ) -> Result<Arc<Self>, String> {
        let limit = settings.limits.request_timeout;
        let ledger = Ledger::new(&inner, settings.idempotency, limit, metrics.clone());
        let pool = Arc::new(Pool::new(inner, settings.producer, settings.limits, metrics.clone()));
        tokio::spawn(pool.clone().close_idle());
        let replicas = settings.replicas.as_ref().map(|replicas| Replicas::new(replicas, &settings.limits));
        let replicas = replicas.transpose().map_err(|error| error.to_string())?;
        let formats =
            formats::Limits { max_record_bytes: settings.limits.max_record_bytes, ..formats::Limits::default() };
        #[cfg(feature = "schemas")]
        let schemas = schemas(&settings)?;
        Ok(Arc::new(Self {
            #[cfg(feature = "schemas")]
            schemas,
            name: settings.name.as_str().into(),
            audit,
            callers,
            pool,
            ledger,
            consumers: Consumers::new(settings.limits.max_consumers, settings.consumer.idle),
            replicas,
            feeds: Feeds::default(),
            readers: Arc::new(Semaphore::new(settings.limits.max_readers)),
            room: Room::new(&settings.limits),
            cors: Cors::new(&settings.cors_origins),
            formats,
            cluster_id: OnceLock::new(),
            metrics,
            readiness,
            draining,
            settings,
        }))
    }
}

#[cfg(feature = "schemas")]
fn schemas(settings: &config::Bridge) -> Result<Option<super::schema::Schemas>, String> {
    use super::schema::{RegistryCredential, RegistrySettings, Schemas};
    use crate::config::SchemaRegistryCredential as Credential;

    let Some(registry) = settings.schema_registry.clone() else { return Ok(None) };
    let credential = registry.credential.map(|credential| match credential {
        Credential::Basic(username, password) => RegistryCredential::Basic { username, password },
        Credential::Bearer(token) => RegistryCredential::Bearer(token),
    });
    let registry = RegistrySettings {
        url: registry.url,
        tls: registry.tls,
        credential,
        timeout: registry.timeout,
        max_schemas: registry.max_schemas,
    };
    Schemas::new(&registry, settings.limits.max_record_bytes).map(Some).map_err(|error| error.to_string())
}
