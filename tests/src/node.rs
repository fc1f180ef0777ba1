//! One Kafka node: its folder, its ports, its settings, its process. It can be killed and started again on the same data.
//!
//! Beside the plain listener a node has three more: TLS with a client certificate required, SASL, and a row of *detours*. A
//! detour is a listener that the broker advertises at another port than its own: whoever sits on that other port (a broker
//! that lies, a cut cable) sees all the traffic of a client that bootstraps there, since Metadata never shows the way round.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use crate::process::{Finished, Process};
use crate::wait::{self, PATIENCE};
use crate::{certs, kafka, ports, wire};

/// One broker process with its data.
pub struct Node {
    plan: Plan,
    process: Option<Process>,
}

/// What does not change over the node's life.
#[derive(Clone)]
pub struct Plan {
    /// `node.id`.
    pub id: i32,
    /// Port of the plain listener.
    pub port: u16,
    /// Port of the controller's listener.
    pub controller_port: u16,
    /// Whether the node votes in the controller quorum; one that joins later does not.
    pub votes: bool,
    /// Number of nodes in the cluster that were there from the start.
    pub nodes: usize,
    /// `controller.quorum.voters`.
    pub voters: String,
    /// The cluster's id, the same for all nodes.
    pub cluster_id: String,
    /// Where everything of the node lies.
    pub folder: PathBuf,
    /// Further lines of `server.properties`.
    pub extra: Vec<(String, String)>,
    /// The further listeners; only a single broker has them.
    pub doors: Option<Doors>,
}

/// The further listeners of a single broker.
#[derive(Clone)]
pub struct Doors {
    /// TLS, client certificate required.
    pub tls_port: u16,
    /// SASL PLAIN and SCRAM-SHA-256, no TLS; user `alice`, password `alice-secret`.
    pub sasl_port: u16,
    /// The broker's certificate.
    pub server: certs::ServerFiles,
    /// (port the broker listens at, port it advertises).
    pub detours: Vec<(u16, u16)>,
}

impl Doors {
    /// Ports and certificate for the further listeners.
    pub fn new(authority: &mut certs::Authority) -> Self {
        let first = ports::block(2 + 2 * DETOURS);
        let detour = |n: u16| (first + 2 + 2 * n, first + 3 + 2 * n);
        Self {
            tls_port: first,
            sasl_port: first + 1,
            server: authority.server("broker", &[]),
            detours: (0..DETOURS).map(detour).collect(),
        }
    }
}

impl Node {
    /// Formats the data folder and starts the node; does not wait until it is ready.
    pub fn start(plan: Plan) -> Self {
        let mut node = Self { plan, process: None };
        fs::create_dir_all(&node.plan.folder).unwrap_or_else(|e| panic!("cannot make a broker's folder: {e}"));
        fs::write(node.properties(), node.plan.properties()).unwrap_or_else(|e| panic!("cannot write settings: {e}"));
        let mut format = kafka::tool("kafka.tools.StorageTool");
        format.args(["format", "-t", &node.plan.cluster_id, "-c"]).arg(node.properties());
        if node.plan.doors.is_some() {
            format.args(["--add-scram", "SCRAM-SHA-256=[name=alice,password=alice-secret]"]);
        }
        Finished::run("format", &format, b"", PATIENCE, &node.plan.folder).ok();
        node.launch();
        node
    }

    /// `127.0.0.1:<port>` of the plain listener.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.plan.port)
    }

    /// What the node was started with.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Where the partitions' folders lie.
    pub fn data(&self) -> PathBuf {
        self.plan.folder.join("data")
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts a killed node again on its data.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "node {} runs already", self.plan.id);
        self.launch();
    }

    /// Waits until the node answers and names at least `brokers` brokers.
    ///
    /// # Panics
    /// When it ends before, or takes too long; its last output is in the text.
    pub fn wait_ready(&mut self, brokers: usize) {
        let address = self.address();
        wait::until(&format!("the broker at {address} is ready"), PATIENCE, || {
            let process = self.process.as_mut().expect("a killed node is never ready");
            assert!(process.is_running(), "node {} ended\n{}", self.plan.id, process.tail());
            wire::is_ready(&address, brokers).then_some(())
        });
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    fn properties(&self) -> PathBuf {
        self.plan.folder.join("server.properties")
    }

    fn launch(&mut self) {
        let mut command = kafka::server("kafka.Kafka");
        command.arg(self.properties());
        self.process =
            Some(Process::start(&format!("broker {}", self.plan.id), &command, &self.plan.folder.join("log")));
    }
}

impl Plan {
    fn properties(&self) -> String {
        let factor = self.nodes.min(3).to_string();
        let in_sync = if self.nodes >= 3 { "2" } else { "1" };
        let mut text = String::new();
        let mut line = |key: &str, value: &str| writeln!(text, "{key}={value}").expect("memory can be written");
        line("process.roles", if self.votes { "broker,controller" } else { "broker" });
        line("node.id", &self.id.to_string());
        line("controller.quorum.voters", &self.voters);
        line("controller.listener.names", "CONTROLLER");
        line("inter.broker.listener.name", "PLAINTEXT");
        line("log.dirs", &self.folder.join("data").display().to_string());
        line("default.replication.factor", &factor);
        line("offsets.topic.replication.factor", &factor);
        line("offsets.topic.num.partitions", "5");
        line("transaction.state.log.replication.factor", &factor);
        line("transaction.state.log.num.partitions", "5");
        line("share.coordinator.state.topic.replication.factor", &factor);
        line("share.coordinator.state.topic.num.partitions", "5");
        for key in ["min.insync.replicas", "transaction.state.log.min.isr", "share.coordinator.state.topic.min.isr"] {
            line(key, in_sync);
        }
        line("group.initial.rebalance.delay.ms", "0");
        line("num.partitions", "4");
        line("log.cleaner.backoff.ms", "200");
        // The tests' records have timestamps of their own, long past any retention.
        line("log.retention.ms", "-1");
        line("auto.create.topics.enable", "true");
        line("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer");
        line("allow.everyone.if.no.acl.found", "true");
        line("super.users", "User:ANONYMOUS");
        line("broker.rack", &format!("r{}", self.id));
        line("replica.selector.class", "org.apache.kafka.common.replica.RackAwareReplicaSelector");
        self.listeners(&mut line);
        for (key, value) in &self.extra {
            line(key, value);
        }
        text
    }

    fn listeners(&self, line: &mut impl FnMut(&str, &str)) {
        let mut listeners = vec![format!("PLAINTEXT://127.0.0.1:{}", self.port)];
        let mut advertised = listeners.clone();
        let mut protocols = String::from("CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,TLS:SSL,SASL:SASL_PLAINTEXT");
        if self.votes {
            listeners.push(format!("CONTROLLER://127.0.0.1:{}", self.controller_port));
        }
        if let Some(doors) = &self.doors {
            for (name, port) in [("TLS", doors.tls_port), ("SASL", doors.sasl_port)] {
                listeners.push(format!("{name}://127.0.0.1:{port}"));
                advertised.push(format!("{name}://127.0.0.1:{port}"));
            }
            for (n, (port, other)) in doors.detours.iter().enumerate() {
                listeners.push(format!("DETOUR{n}://127.0.0.1:{port}"));
                advertised.push(format!("DETOUR{n}://127.0.0.1:{other}"));
                write!(protocols, ",DETOUR{n}:PLAINTEXT").expect("memory can be written");
            }
            line("listener.name.tls.ssl.client.auth", "required");
            line("listener.name.tls.ssl.keystore.type", "PEM");
            line("listener.name.tls.ssl.keystore.location", &doors.server.key_store.display().to_string());
            line("listener.name.tls.ssl.truststore.type", "PEM");
            line("listener.name.tls.ssl.truststore.location", &doors.server.ca.display().to_string());
            line("listener.name.sasl.sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256");
            line("listener.name.sasl.plain.sasl.jaas.config", PLAIN_USERS);
            line("listener.name.sasl.scram-sha-256.sasl.jaas.config", SCRAM_USERS);
        }
        line("listeners", &listeners.join(","));
        line("advertised.listeners", &advertised.join(","));
        line("listener.security.protocol.map", &protocols);
    }
}

const PLAIN_USERS: &str =
    "org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"alice-secret\";";
const SCRAM_USERS: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required;";

/// Detours of a single broker: as many tests of one binary may have one at the same time.
const DETOURS: u16 = 6;
