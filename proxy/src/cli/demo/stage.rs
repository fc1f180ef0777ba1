//! The stage: everything that the show needs, in one process and one temporary folder, on 127.0.0.1.
//!
//! Arrives: nothing, or a wished port. Leaves: an in-process cluster with its topics, keys and certificates, a written
//! configuration, a gateway that serves. The folder stays; the rest ends with the stage. What must never happen here:
//! an address other than loopback.

use std::fs::OpenOptions;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::RDKafkaApiKey;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::settings;
use crate::cli::{Exit, Failure, init, load_sound, serve};
use crate::config::Config;
use crate::gateway::{self, Gateway};
use crate::logging;

/// Everything that runs.
pub(super) struct Stage {
    folder: PathBuf,
    ports: Ports,
    brokers: MockCluster<'static, DefaultProducerContext>,
    gateway: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

/// A row of ports: bootstrap, one for each broker, admin, the HTTP bridge.
#[derive(Clone, Copy)]
pub(super) struct Ports {
    /// `bootstrap.servers` of the clients.
    pub(super) bootstrap: u16,
}

impl Stage {
    /// Builds and starts everything; a failure says what could not be had.
    pub(super) async fn build(port: Option<u16>) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("barnabas-demo-{}", uuid::Uuid::new_v4().simple()));
        init::private_folder(&folder)?;
        let root_public_key = init::make_keys(&folder, &CLIENTS.map(str::to_owned))?;
        let brokers = start_brokers()?;
        let mut first = port.unwrap_or(FIRST_PORT);
        let mut log_installed = false;
        loop {
            let ports = if port.is_some() { Ports { bootstrap: first } } else { Ports::free_from(first)? };
            let text = settings::text(&ports, &brokers.bootstrap_servers(), &root_public_key);
            let path = folder.join(CONFIGURATION);
            std::fs::write(&path, text)?;
            let config = load_sound(&path).map_err(Failure::mistakes)?;
            if !log_installed {
                install_log(&config, &folder)?;
                log_installed = true;
            }
            match Gateway::build(config).await {
                Ok(built) => {
                    let (stop, stopped) = oneshot::channel();
                    let gateway = tokio::spawn(built.run(async {
                        stopped.await.ok();
                    }));
                    return Ok(Self { folder, ports, brokers, gateway, stop });
                }
                // Somebody took a port between our look and the gateway's.
                Err(gateway::Error::Bind { .. }) if port.is_none() => first = ports.rest().saturating_add(1),
                Err(error) => return Err(serve::failure(error)),
            }
        }
    }

    /// The temporary folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The gateway's log.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join(LOG)
    }

    /// The configuration that the gateway runs with.
    pub(super) fn configuration(&self) -> PathBuf {
        self.folder.join(CONFIGURATION)
    }

    /// Where clients connect.
    pub(super) fn bootstrap(&self) -> String {
        format!("localhost:{}", self.ports.bootstrap)
    }

    /// The brokers themselves, for what goes past the gateway.
    pub(super) fn upstream(&self) -> String {
        self.brokers.bootstrap_servers()
    }

    /// The admin pages.
    pub(super) fn admin(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.admin())
    }

    /// The HTTP bridge.
    pub(super) fn bridge(&self) -> String {
        format!("https://localhost:{}", self.ports.rest())
    }

    /// The folder of the audit log.
    pub(super) fn audit(&self) -> PathBuf {
        self.folder.join("audit")
    }

    /// A file of a client or of the authority: `alice.pem`, `alice.key`, `ca.pem`.
    pub(super) fn tls_file(&self, name: &str) -> PathBuf {
        self.folder.join("tls").join(name)
    }

    /// Drains the gateway, then ends the brokers.
    pub(super) async fn end(self) {
        self.stop.send(()).ok();
        if let Err(error) = self.gateway.await {
            tracing::error!(event = "gateway_failed", %error);
        }
    }
}

impl Ports {
    fn free_from(first: u16) -> Result<Self, Failure> {
        let free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        (first..LAST_PORT)
            .step_by(usize::from(BROKERS) + 3)
            .map(|bootstrap| Self { bootstrap })
            .find(|ports| (ports.bootstrap..=ports.rest()).all(free))
            .ok_or_else(|| {
                Failure::new(Exit::Unavailable, "there is no row of free ports on 127.0.0.1; choose by --port")
            })
    }

    /// The port of the first broker; the others follow.
    pub(super) fn first_broker(&self) -> u16 {
        self.bootstrap + 1
    }

    /// The port of the admin pages.
    pub(super) fn admin(&self) -> u16 {
        self.bootstrap + BROKERS + 1
    }

    /// The port of the HTTP bridge.
    pub(super) fn rest(&self) -> u16 {
        self.bootstrap + BROKERS + 2
    }
}

/// The client library's own broker: real sockets, real batches, nothing on disk. It cannot create topics by request.
fn start_brokers() -> Result<MockCluster<'static, DefaultProducerContext>, Failure> {
    let failed = |error| Failure::new(Exit::Failed, format!("in-process broker: {error}"));
    let brokers = MockCluster::new(i32::from(BROKERS)).map_err(failed)?;
    for (api, newest) in NEWEST_VERSIONS {
        brokers.apiversion(*api, Some(0), Some(*newest)).map_err(failed)?;
    }
    for topic in [KEYRING, ORDERS, LETTERS] {
        brokers.create_topic(topic, 1, 1).map_err(failed)?;
    }
    Ok(brokers)
}

fn install_log(config: &Config, folder: &Path) -> Result<(), Failure> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(folder.join(LOG))?;
    let installed = logging::install_to_file(config.log, file);
    installed.map(|_| ()).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

/// The in-process broker ends messages of flexible versions (KIP-482) with a byte too many, which clients overlook and the
/// gateway refuses; its LeaveGroup v3 has no list of members. So it may offer only what comes before: the same records in
/// the same batches.
const NEWEST_VERSIONS: &[(RDKafkaApiKey, i16)] = &[
    (RDKafkaApiKey::Produce, 8),
    (RDKafkaApiKey::Fetch, 11),
    (RDKafkaApiKey::ListOffsets, 5),
    (RDKafkaApiKey::Metadata, 8),
    (RDKafkaApiKey::OffsetCommit, 7),
    (RDKafkaApiKey::OffsetFetch, 5),
    (RDKafkaApiKey::FindCoordinator, 2),
    (RDKafkaApiKey::JoinGroup, 5),
    (RDKafkaApiKey::Heartbeat, 3),
    (RDKafkaApiKey::LeaveGroup, 2),
    (RDKafkaApiKey::SyncGroup, 3),
    (RDKafkaApiKey::InitProducerId, 1),
    (RDKafkaApiKey::TxnOffsetCommit, 2),
];

/// The topic of the show.
pub(super) const ORDERS: &str = "orders";

/// The topic for the user's own client: the show leaves a forged record in the other one.
pub(super) const LETTERS: &str = "letters";

/// How many brokers: more than one, so that clients have to find their way through the gateway.
pub(super) const BROKERS: u16 = 3;

/// alice writes, bob reads, eve has nothing but a certificate.
const CLIENTS: [&str; 3] = ["alice", "bob", "eve"];

const KEYRING: &str = "_barnabas_keyring";

const CONFIGURATION: &str = "barnabas.yaml";

const LOG: &str = "gateway.log";

/// Below the ports that systems give to outgoing connections.
const FIRST_PORT: u16 = 19_192;

const LAST_PORT: u16 = 32_000;
