//! The gateway as a whole: everything that a configuration asks for, built, run, drained.
//!
//! Arrives: a checked configuration. Leaves: nothing but log and metrics, until a signal ends it. Nothing is bound
//! before the configuration has been checked as a whole and every file that it names has been read.

mod audit;
mod witnesses;
mod bridges;
mod keys;
mod kms;
mod reload;
mod systems;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use barnabas_crypto::{ExpiringCache, VerifyingKey};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

pub use audit::OpenAudit;
pub use keys::{DELEGATE_SECRET, OpenKeyring, open_custody, open_keystore};
pub use kms::adapter;
pub use reload::Reloader;
pub use witnesses::witness_name;

use crate::admin::{self, Condition, Readiness, Secure};
use crate::audit::event::Audit;
use crate::audit::log::witness;
use crate::audit::page::{Door, LISTENER, Page};
use crate::config::{Config, StewardRun};
use crate::connection::Shared;
use crate::connection::memory::Memory;
use crate::custody::CustodyStore;
use crate::keyring::{Keys, LiveKeyring, Pace, Sealing, TopicError, WriterSessions, measure_lag};
use crate::listener::{self, Bound, Serving};
use crate::metrics::Metrics;
use crate::rest::inner::InnerBook;
use crate::router::{Cluster, ListenerBook, discovery};
use crate::steward::{Asker, PublishError, Reminder, Steward, answer_requests};
use crate::tls::{ServerTls, TlsError, UpstreamTlsSource};

use self::witnesses::Rounds;

/// Why a gateway does not start or a command cannot work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] crate::audit::log::Error),
    /// An address cannot be bound.
    #[error("listener {listener} cannot bind {address}: {source}")]
    Bind {
        /// The listener's name.
        listener: String,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// An HTTP bridge cannot be built.
    #[error("bridge {name}: {reason}")]
    Bridge {
        /// Its name in the configuration.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The delegate's certificate.
    #[error("steward certificate {}: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A key.
    #[error(transparent)]
    Crypto(#[from] barnabas_crypto::Error),
    /// The keystore.
    #[error("keystore: {0}")]
    Keystore(#[from] barnabas_kms::Error),
    /// The adapter to a KMS.
    #[error("kms {name}: {source}")]
    Kms {
        /// Its name in the configuration.
        name: String,
        /// What is wrong.
        source: barnabas_kms::Error,
    },
    /// The history of the keyring was not read in time.
    #[error("the keyring topic was not read to its end within {0:?}; is the cluster reachable?")]
    KeyringUnread(Duration),
    /// Nothing is configured to sign with.
    #[error("steward.certificate is not configured; `barnabas init` makes one")]
    NoCertificate,
    /// Nothing is configured to trust.
    #[error("steward.root_public_key is not configured; `barnabas init` prints it")]
    NoRootKey,
    /// A command or a gateway needs keys, and the configuration has none.
    #[error("keystore: is not configured; `barnabas init` makes one")]
    NoKeystore,
    /// The keystore's passphrase cannot be read.
    #[error("keystore.unlock.passphrase: {0}")]
    Passphrase(#[source] io::Error),
    /// The keyring cannot be written.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A witness of the audit log cannot be asked.
    #[error(transparent)]
    Witness(#[from] crate::audit::log::witness::WitnessError),
    /// A thread of ours has died.
    #[error("a worker stopped")]
    Stopped,
    /// Certificates and keys for TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The keyring topic.
    #[error(transparent)]
    Topic(#[from] TopicError),
}

/// What is bound and built, ready to run.
pub struct Gateway {
    config: Config,
    metrics: Arc<Metrics>,
    readiness: Arc<Readiness>,
    live: Arc<LiveKeyring>,
    keys: Arc<Keys>,
    keyring: Option<OpenKeyring>,
    delegate: Option<Arc<crate::steward::Delegate>>,
    custody: Option<Arc<CustodyStore>>,
    audit: OpenAudit,
    listeners: Vec<(Arc<Serving>, Vec<Bound>)>,
    bridges: Vec<bridges::Opened>,
    admin: Option<TcpListener>,
    secure: Option<(Arc<Secure>, TcpListener)>,
    page: Option<Arc<Page>>,
    rounds: Option<Rounds>,
    draining: watch::Sender<bool>,
    /// The bridges' own way in stays until their last request is answered.
    inner_draining: watch::Sender<bool>,
}

impl Gateway {
    /// Builds everything and binds every address; serves nobody yet.
    pub async fn build(config: Config) -> Result<Self, Error> {
        let metrics = Arc::new(Metrics::default());
        let readiness = Arc::new(Readiness::default());
        let (draining, inner_draining) = (watch::Sender::new(false), watch::Sender::new(false));
        let parts = KeyParts::open(&config, metrics.clone()).await?;
        let permits = Arc::new(Semaphore::new(config.limits.max_connections));
        let limits = Arc::new(config.limits);
        let memory = Arc::new(Memory::new(limits.max_memory_bytes, metrics.clone()));
        let mut clusters = BTreeMap::new();
        let mut upstream_tls = BTreeMap::new();
        for cluster in &config.clusters {
            clusters.insert(cluster.name.clone(), Arc::new(Cluster::new(cluster.clone())));
            if let Some(tls) = &cluster.tls {
                upstream_tls.insert(cluster.name.clone(), Arc::new(UpstreamTlsSource::new(tls.clone())?));
            }
        }
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            let Some(cluster) = clusters.get(&listener.cluster).cloned() else { continue };
            let tls = listener.tls.clone().map(|tls| ServerTls::new(tls, listener.principal.clone()));
            let tls = tls.transpose()?.map(Arc::new);
            let shared = Shared {
                keys: parts.keys.clone(),
                topic_ids: cluster.topic_ids.clone(),
                partitions: cluster.partitions.clone(),
                book: Arc::new(ListenerBook::new(listener.clone(), cluster.clone())),
                limits: limits.clone(),
                memory: memory.clone(),
                metrics: metrics.clone(),
                audit: parts.audit.audit().clone(),
                draining: draining.subscribe(),
                own: false,
            };
            let sockets = listener::bind(listener).await.map_err(|(address, source)| Error::Bind {
                listener: listener.name.clone(),
                address,
                source,
            })?;
            let serving = Serving {
                listener: listener.clone(),
                upstream_tls: upstream_tls.get(&listener.cluster).cloned(),
                cluster,
                tls,
                shared,
                permits: permits.clone(),
            };
            listeners.push((Arc::new(serving), sockets));
        }
        let mut bridges = Vec::new();
        for bridge in &config.rest {
            let Some(cluster) = clusters.get(&bridge.cluster).cloned() else { continue };
            let book = Arc::new(InnerBook::new(cluster.clone()));
            let shared = Shared {
                keys: parts.keys.clone(),
                topic_ids: cluster.topic_ids.clone(),
                partitions: cluster.partitions.clone(),
                book: book.clone(),
                limits: limits.clone(),
                memory: memory.clone(),
                metrics: metrics.clone(),
                audit: parts.audit.audit().clone(),
                draining: inner_draining.subscribe(),
                own: false,
            };
            let needed = bridges::Parts {
                upstream_tls: upstream_tls.get(&bridge.cluster).cloned(),
                cluster,
                book,
                shared,
                permits: permits.clone(),
                readiness: readiness.clone(),
                draining: draining.subscribe(),
            };
            bridges.push(bridges::open(bridge.clone(), needed).await?);
        }
        let admin = match &config.admin {
            Some(admin) => Some(bind_admin("admin", admin.bind).await?),
            None => None,
        };
        let page = config.audit.as_ref().filter(|_| parts.audit.audit().is_on());
        let page = page.map(|audit| Arc::new(Page::new(&audit.directory, parts.audit.audit().clone())));
        let secure = match config.admin.as_ref().and_then(|admin| admin.secure.as_ref()) {
            Some(settings) => {
                let secure = Secure::new(settings, page.clone(), Door::new(parts.audit.audit().clone()))?;
                let secure = secure.with_witness(parts.audit.witness().map(witness::router));
                Some((Arc::new(secure), bind_admin(LISTENER, settings.bind).await?))
            }
            None => None,
        };
        let KeyParts { live, keys, keyring, delegate, custody, mut audit } = parts;
        audit.started(&config);
        audit.follow(&config)?;
        let rounds = audit.rounds(&config)?;
        Ok(Self {
            config,
            metrics,
            readiness,
            live,
            keys,
            keyring,
            delegate,
            custody,
            audit,
            listeners,
            bridges,
            admin,
            secure,
            page,
            rounds,
            draining,
            inner_draining,
        })
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        self.audit.audit()
    }

    /// One line for each address that clients can use.
    pub fn addresses(&self) -> Vec<String> {
        let line = |(serving, _): &(Arc<Serving>, Vec<Bound>)| {
            let listener = &serving.listener;
            let tls = if listener.tls.is_some() { "TLS" } else { "plaintext" };
            format!("listener {} on {} ({tls}) for cluster {}", listener.name, listener.bind, listener.cluster)
        };
        let mut lines: Vec<String> = self.listeners.iter().map(line).collect();
        lines.extend(self.config.rest.iter().map(|bridge| {
            let scheme = if bridge.tls.is_some() { "https" } else { "http" };
            format!("bridge {} on {scheme}://{} for cluster {}", bridge.name, bridge.bind, bridge.cluster)
        }));
        if let Some(admin) = &self.config.admin {
            lines.push(format!("admin on http://{} (/livez /readyz /metrics)", admin.bind));
            let page = if self.page.is_some() { "/audit/ " } else { "" };
            let secure = admin.secure.iter();
            lines.extend(
                secure.map(|secure| format!("admin on https://{} ({page}/livez /readyz /metrics)", secure.bind)),
            );
        }
        lines
    }

    /// What may be changed while the gateway runs.
    pub fn reloader(&self) -> reload::Reloader {
        reload::Reloader {
            keys: self.keys.clone(),
            delegate: self.delegate.clone(),
            listeners: self.listeners.iter().map(|(serving, _)| serving.clone()).collect(),
            bridges: self.bridges.iter().map(|opened| opened.server.clone()).collect(),
            secure: self.secure.as_ref().map(|(secure, _)| secure.clone()),
        }
    }

    /// Serves until `stop` resolves, then drains: no new connection, every request that was taken is answered.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let (ended, admin_end) = watch::channel(false);
        let mut background = JoinSet::new();
        let operations = admin::operations(self.metrics.clone(), self.readiness.clone());
        if let Some((secure, socket)) = self.secure {
            background.spawn(secure.serve(socket, operations.clone(), admin_end.clone()));
        }
        let operations = match self.audit.witness() {
            Some(witness) => operations.nest(admin::WITNESS, witness::router(witness)),
            None => operations,
        };
        if let Some(rounds) = self.rounds {
            background.spawn(rounds.run());
        }
        if let Some(socket) = self.admin {
            background.spawn(async move {
                if let Err(error) = admin::serve(socket, operations, admin_end).await {
                    tracing::error!(event = "admin_failed", %error);
                }
            });
        }
        if let Some(page) = &self.page {
            background.spawn(page.clone().keep_telling());
        }
        let keyring_read = self.keyring.is_some().then(|| self.readiness.condition("keyring"));
        let serving = self.readiness.condition("serving");
        // The first head is this gateway's own; who waits for another steward's would never be ready without one.
        let with_head = self.delegate.is_some();
        background.spawn(tick(self.live.clone(), self.keys.clone(), self.metrics.clone(), keyring_read, with_head));
        if let Some(keyring) = &self.keyring {
            let metrics = self.metrics.clone();
            background.spawn(measure_lag(keyring.topic.clone(), keyring.live.clone(), metrics));
        }
        if let Some(custody) = &self.custody {
            background.spawn(systems::renew_custody(self.keys.clone()));
            if !self.config.kms.is_empty() {
                let watch = systems::Watch {
                    systems: custody.systems().clone(),
                    metrics: self.metrics.clone(),
                    outage_grace: self.config.custody.outage_grace,
                };
                background.spawn(watch.run(self.readiness.condition("kms")));
            }
        }
        if let Some(delegate) = &self.delegate {
            background.spawn(delegate.clone().run());
            if let Some(keyring) = &self.keyring {
                background.spawn(answer_requests(delegate.clone(), keyring.live.clone(), keyring.topic.clone()));
            }
        }
        let topic = self.keyring.as_ref().map(|keyring| keyring.topic.name().to_owned());
        if self.audit.audit().is_on()
            && let Some(upkeep) = self.audit.upkeep(self.live.clone(), topic, self.readiness.condition("audit"))
        {
            background.spawn(upkeep.run());
        }
        let mut listeners = JoinSet::new();
        for (serving, _) in &self.listeners {
            let reachable = self.readiness.condition("brokers");
            background.spawn(discovery::follow(serving.cluster.clone(), serving.upstream_tls.clone(), reachable));
        }
        for (serving, sockets) in self.listeners {
            listeners.spawn(listener::accept_all(serving, sockets));
        }
        for opened in self.bridges {
            let reachable = self.readiness.condition("brokers");
            background.spawn(discovery::follow(opened.cluster, opened.upstream_tls, reachable));
            listeners.spawn(opened.server.accept_all(opened.socket));
        }
        serving.met();
        stop.await;
        tracing::info!(event = "draining", limit_seconds = self.config.limits.drain_timeout.as_secs());
        serving.failed("draining");
        self.draining.send_replace(true);
        let drained = tokio::time::timeout(self.config.limits.drain_timeout, async {
            while listeners.join_next().await.is_some() {}
        });
        let drained = drained.await.is_ok();
        if drained {
            tracing::info!(event = "drained");
        } else {
            tracing::warn!(event = "drain_cut_short", remedy = "raise limits.drain_timeout");
            // What the connections have counted is told when they end.
            listeners.shutdown().await;
            self.metrics.wait_until_closed(LAST_WORDS).await;
        }
        self.inner_draining.send_replace(true);
        ended.send_replace(true);
        background.abort_all();
        if let Some(page) = &self.page {
            page.finish();
        }
        self.audit.close(drained, &self.config).await;
    }
}

async fn bind_admin(listener: &str, address: SocketAddr) -> Result<TcpListener, Error> {
    let refused = |source| Error::Bind { listener: listener.to_owned(), address, source };
    TcpListener::bind(address).await.map_err(refused)
}

/// Everything about keys that listeners share.
struct KeyParts {
    live: Arc<LiveKeyring>,
    keys: Arc<Keys>,
    keyring: Option<OpenKeyring>,
    delegate: Option<Arc<crate::steward::Delegate>>,
    custody: Option<Arc<CustodyStore>>,
    audit: OpenAudit,
}

impl KeyParts {
    async fn open(config: &Config, metrics: Arc<Metrics>) -> Result<Self, Error> {
        // Without a keystore nothing can be sealed, and the configuration has said that nothing is to be.
        if config.keystore.is_none() {
            let live = Arc::new(LiveKeyring::new(VerifyingKey::from_bytes([0; 32]), metrics.clone()));
            let keys = Arc::new(Keys::new(config.policy.clone(), live.clone(), None, metrics));
            let audit = OpenAudit::off();
            return Ok(Self { live, keys, keyring: None, delegate: None, custody: None, audit });
        }
        let settings = config.clone();
        let opened = tokio::task::spawn_blocking(move || open_custody(&settings)).await;
        let systems = opened.map_err(|_| Error::Stopped)??;
        let custody = Arc::new(CustodyStore::new(systems.clone(), (&config.custody).into(), metrics.keys.clone()));
        let (settings, keystore, counters) = (config.clone(), systems.local().clone(), metrics.audit.clone());
        let opened = tokio::task::spawn_blocking(move || OpenAudit::open(&settings, &keystore, counters)).await;
        let audit = opened.map_err(|_| Error::Stopped)??;
        systems.tell(audit.audit().clone());
        let told = audit.told(&config.keyring.topic);
        let keyring = OpenKeyring::telling(config, metrics.clone(), told).await?;
        // What a broker could withhold from a gateway that has just started.
        let reminder = Reminder::new(systems.local().clone());
        reminder.topics().into_iter().for_each(|topic| keyring.live.remember_sealed(topic));
        let delegate = match config.steward.run {
            StewardRun::Embedded => {
                keyring.caught_up(CATCH_UP_LIMIT).await?;
                Some(keyring.delegate(config, &systems).await?)
            }
            StewardRun::Off => None,
        };
        let steward: Arc<dyn Steward> = match &delegate {
            Some(delegate) => delegate.clone(),
            None => Arc::new(Asker::new(keyring.topic.publish()?)),
        };
        let age = config.limits.max_session_age;
        let age_millis = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let sealing = Sealing {
            custody: custody.clone(),
            publisher: keyring.topic.publish()?,
            topic: keyring.topic.name().to_owned(),
            pace: Pace::default(),
            steward,
            max_session_age: age,
            session_limits: (config.limits.max_session_records, config.limits.max_session_bytes),
            max_head_age: config.keyring.max_head_age,
            started: Instant::now(),
            max_cached_sessions: config.limits.max_cached_sessions,
            sessions: WriterSessions::default(),
            readers: Mutex::new(ExpiringCache::new(config.limits.max_cached_sessions, age_millis)),
        };
        let live = keyring.live.clone();
        let keys = Arc::new(Keys::new(config.policy.clone(), live.clone(), Some(sealing), metrics));
        Ok(Self { live, keys, keyring: Some(keyring), delegate, custody: Some(custody), audit })
    }
}

/// What is due every second: sessions that end, gauges, readiness.
async fn tick(
    live: Arc<LiveKeyring>,
    keys: Arc<Keys>,
    metrics: Arc<Metrics>,
    keyring_read: Option<Condition>,
    with_head: bool,
) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut troubled = false;
    loop {
        ticks.tick().await;
        keys.tick();
        keys.repair().await;
        let trouble = keys.head_trouble().filter(|_| live.is_caught_up());
        metrics.keyring.head_trouble.set(i64::from(trouble.is_some()));
        if let (Some(reason), false) = (&trouble, troubled) {
            tracing::warn!(event = "keyring_head_trouble", %reason, remedy = "is a steward running, and can it write?");
        }
        troubled = trouble.is_some();
        if let Some(condition) = &keyring_read {
            if let Some(reason) = &trouble {
                // Readers go on: whoever sends them elsewhere helps nobody, since all gateways follow the same keyring.
                condition.met_with(format!("writers are refused: {reason}"));
            } else if !live.is_caught_up() {
                condition.failed("the keyring topic is still being read");
            } else if with_head && !keys.is_vouched() {
                condition.failed("no recent signed head vouches for the keyring");
            } else {
                condition.met();
            }
        }
        let (objects, head) =
            live.read(|keyring| (keyring.len(), keyring.head().map(|head| head.time.millis() / 1000)));
        metrics.keyring.objects.set(i64::try_from(objects).unwrap_or(i64::MAX));
        if let Some(head) = head {
            metrics.keyring.head_signed_at.set(i64::try_from(head).unwrap_or(i64::MAX));
        }
    }
}

/// Connections that are cut off end as soon as they are looked at.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A keyring of a hundred thousand objects is read in seconds; a cluster that is starting takes longer.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(120);
