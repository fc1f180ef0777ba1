//! The broker: one real Apache Kafka for each lane of a run, shared by its tests, each of which has topics of its own.
//!
//! `make test` starts one for each lane of the `blackbox` program and hands its description to the tests by environment. A test binary that runs
//! alone starts one for itself; it ends with the binary. A test that must kill its broker starts a private one.

use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, OnceLock};
use std::{env, fs, io};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::batch::{self, Batch};
use crate::certs::{Authority, ClientFiles};
use crate::node::{Doors, Node, Plan};
use crate::scratch::Scratch;
use crate::{ports, wire};

/// A running single-node broker, ours or somebody else's.
pub struct Broker {
    site: Site,
    node: Option<Mutex<Node>>,
    detours: Mutex<Vec<Detour>>,
    returned: Condvar,
    _folder: Option<Scratch>,
}

/// What a test process needs to know about a broker that another process started.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Site {
    /// Plain listener.
    pub address: String,
    /// TLS listener, client certificate required.
    pub tls_address: String,
    /// SASL listener.
    pub sasl_address: String,
    /// The authority of the TLS listener.
    pub ca: PathBuf,
    /// A client certificate that the TLS listener accepts.
    pub client_certificate: PathBuf,
    /// Its key.
    pub client_key: PathBuf,
    /// Key and certificate in one file.
    pub client_store: PathBuf,
    /// Where the partitions' folders lie.
    pub data: PathBuf,
    /// (port the broker listens at, port it advertises).
    pub detours: Vec<(u16, u16)>,
}

/// A listener of the broker that is advertised at another port. See [`crate::node`].
#[derive(Clone, Copy, Debug)]
pub struct Detour {
    /// Where the broker really listens.
    pub broker: u16,
    /// Where it says that it listens: free, for whoever wants to sit between.
    pub advertised: u16,
}

/// A detour in use; given back at the end of the test.
pub struct Borrowed<'a> {
    broker: &'a Broker,
    detour: Detour,
}

impl Broker {
    /// The run's one broker.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| match env::var(SITE_VARIABLE) {
            Ok(json) => {
                let site = serde_json::from_str(&json).unwrap_or_else(|e| panic!("{SITE_VARIABLE} is not a site: {e}"));
                Self::of(site, None, None)
            }
            Err(_) => Self::start(&[]),
        })
    }

    /// A private broker with these further settings.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let folder = Scratch::new("broker");
        let mut authority = Authority::new(&folder.join("certs"));
        let client = authority.client("gateway").own.expect("a client with a certificate");
        let first = ports::block(2);
        let doors = Doors::new(&mut authority);
        let plan = Plan {
            id: 1,
            port: first,
            controller_port: first + 1,
            votes: true,
            nodes: 1,
            voters: format!("1@127.0.0.1:{}", first + 1),
            cluster_id: cluster_id(),
            folder: folder.join("node"),
            extra: settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            doors: Some(doors.clone()),
        };
        let mut node = Node::start(plan);
        node.wait_ready(1);
        let site = Site {
            address: node.address(),
            tls_address: format!("127.0.0.1:{}", doors.tls_port),
            sasl_address: format!("127.0.0.1:{}", doors.sasl_port),
            ca: authority.ca(),
            client_certificate: client.certificate,
            client_key: client.private_key,
            client_store: client.key_store,
            data: node.data(),
            detours: doors.detours,
        };
        Self::of(site, Some(node), Some(folder))
    }

    /// Where the broker is and what lies on its disk.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// `127.0.0.1:<port>` of the plain listener: what the tests use to look past the gateway.
    pub fn address(&self) -> &str {
        &self.site.address
    }

    /// The files of a client that the TLS listener accepts.
    pub fn tls_client(&self) -> ClientFiles {
        let own = crate::certs::OwnFiles {
            certificate: self.site.client_certificate.clone(),
            private_key: self.site.client_key.clone(),
            key_store: self.site.client_store.clone(),
            serial: 0,
        };
        ClientFiles { ca: self.site.ca.clone(), own: Some(own) }
    }

    /// A listener that is advertised at a port of the test's own; waits until one is free.
    pub fn detour(&self) -> Borrowed<'_> {
        let mut free = self.detours.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        loop {
            if let Some(detour) = free.pop() {
                return Borrowed { broker: self, detour };
            }
            free = self.returned.wait(free).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// Makes a topic with a name of its own and gives the name.
    pub fn topic(&self, prefix: &str, partitions: i32) -> String {
        self.topic_with(prefix, partitions, &[])
    }

    /// The same with topic settings.
    pub fn topic_with(&self, prefix: &str, partitions: i32, configs: &[(&str, &str)]) -> String {
        let name = crate::scratch::unique(prefix);
        self.wire().create_topic(&name, partitions, 1, configs).unwrap_or_else(|e| panic!("cannot make {name}: {e}"));
        name
    }

    /// A connection to the plain listener.
    pub fn wire(&self) -> wire::Connection {
        wire::Connection::open(self.address()).unwrap_or_else(|e| panic!("no way to the broker: {e}"))
    }

    /// `kill -9`; only for a private broker.
    pub fn kill(&self) {
        self.own_node().kill();
    }

    /// Starts a killed private broker again and waits until it is ready.
    pub fn restart(&self) {
        let mut node = self.own_node();
        node.restart();
        node.wait_ready(1);
    }

    /// The bytes of all segment files of one partition, in order, as they lie on the disk.
    pub fn segments(&self, topic: &str, partition: i32) -> Bytes {
        segments(&self.site.data.join(format!("{topic}-{partition}")))
            .unwrap_or_else(|e| panic!("no segments of {topic}-{partition}: {e}"))
    }

    /// The batches of one partition as they lie on the disk.
    pub fn batches(&self, topic: &str, partition: i32) -> Vec<Batch> {
        batch::read_all(self.segments(topic, partition))
    }

    /// True when any file of the broker, of whatever topic, holds these bytes.
    pub fn disk_holds(&self, needle: &[u8]) -> bool {
        folder_holds(&self.site.data, needle)
    }

    fn of(site: Site, node: Option<Node>, folder: Option<Scratch>) -> Self {
        let detours =
            site.detours.iter().map(|(broker, advertised)| Detour { broker: *broker, advertised: *advertised });
        let detours = Mutex::new(detours.collect());
        Self { site, node: node.map(Mutex::new), detours, returned: Condvar::new(), _folder: folder }
    }

    fn own_node(&self) -> std::sync::MutexGuard<'_, Node> {
        let node = self.node.as_ref().expect("the shared broker is not to be killed: start a private one");
        node.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl std::ops::Deref for Borrowed<'_> {
    type Target = Detour;

    fn deref(&self) -> &Detour {
        &self.detour
    }
}

impl Drop for Borrowed<'_> {
    fn drop(&mut self) {
        self.broker.detours.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(self.detour);
        self.broker.returned.notify_one();
    }
}

/// A fresh cluster id, as Kafka writes them: 16 bytes in base64, of which none begins with a dash, since its own tools
/// would take that for an option.
pub fn cluster_id() -> String {
    use base64::Engine;
    let mut bytes = *uuid::Uuid::new_v4().as_bytes();
    bytes[0] &= 0x7f;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// True when any file under `folder`, but the indexes of segments, holds these bytes.
pub fn folder_holds(folder: &Path, needle: &[u8]) -> bool {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("cannot read {}: {e}", folder.display()));
    entries.flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return folder_holds(&path, needle);
        }
        if path.extension().is_some_and(|end| end == "index" || end == "timeindex") {
            return false; // offsets and times only, and ten megabytes long before anything is in them
        }
        // A file may be renamed or removed by the broker between listing and reading.
        fs::read(&path).is_ok_and(|bytes| holds(&bytes, needle))
    })
}

/// True when `bytes` contains `needle`.
pub fn holds(bytes: &[u8], needle: &[u8]) -> bool {
    assert!(!needle.is_empty(), "everything holds the empty text");
    memchr::memmem::find(bytes, needle).is_some()
}

/// All segment files of one partition's folder, in order.
pub fn segments(folder: &Path) -> io::Result<Bytes> {
    let entries: io::Result<Vec<_>> = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths: Vec<_> =
        entries?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    paths.sort();
    let mut bytes = Vec::new();
    for path in paths {
        bytes.extend(fs::read(path)?);
    }
    Ok(bytes.into())
}

/// By this variable the `blackbox` program tells the tests where the run's broker is.
pub const SITE_VARIABLE: &str = "BARNABAS_KAFKA";
