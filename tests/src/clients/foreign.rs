//! Clients in other languages: each is a small script under `tests/compat/<client>/` that produces what it is told and prints
//! what it consumed, in the form of [`super::record`]. `run.sh` there installs the client, pinned, at the first use.
//!
//! What a client cannot do even without a gateway stands in its `allow.txt`, each with the reason; everything else must work.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use super::Endpoint;
use super::record::{Blob, Placed, Received, Sent};
use crate::process::Finished;
use crate::scratch::{Scratch, root, target};

/// A client of the matrix.
pub struct Foreign {
    name: String,
    allowed: BTreeMap<String, String>,
    folder: Scratch,
}

impl Foreign {
    /// The client in `tests/compat/<name>/`; installs it when it is not there yet.
    ///
    /// # Panics
    /// When it cannot be installed; the text is the installer's.
    pub fn new(name: &str) -> Self {
        let folder = Scratch::new(name);
        let text = std::fs::read_to_string(root().join("tests/compat").join(name).join("allow.txt"))
            .unwrap_or_else(|e| panic!("tests/compat/{name} has no allow.txt: {e}"));
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let allowed = lines.map(|line| {
            let (what, reason) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            assert!(!reason.trim().is_empty(), "tests/compat/{name}/allow.txt: {what} has no reason");
            (what.to_owned(), reason.trim().to_owned())
        });
        let client = Self { name: name.to_owned(), allowed: allowed.collect(), folder };
        // Two tests may want the same client at once, in two processes too.
        let lock = File::create(target().join("compat.lock")).expect("a lock file can be written");
        lock.lock().expect("a file can be locked");
        let command = client.command("install");
        Finished::run(name, &command, b"", INSTALL_BOUND, client.folder.path()).ok();
        client
    }

    /// The client's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True when the client has this ability; the allow list names those that it has not (`codec.zstd`, `headers.twice`...).
    pub fn can(&self, ability: &str) -> bool {
        !self.allowed.contains_key(ability)
    }

    /// Takes out of the records what the client itself cannot say, so that the rest can be compared exactly.
    pub fn sayable(&self, records: &[Sent]) -> Vec<Sent> {
        let mut records = records.to_vec();
        for record in &mut records {
            if !self.can("headers.null") {
                record.headers.retain(|(_, value)| value.is_some());
            }
            if !self.can("headers.twice") {
                let mut seen = std::collections::BTreeSet::new();
                record.headers.retain(|(name, _)| seen.insert(name.clone()));
            }
            if !self.can("value.empty") && record.value == Some(Blob(vec![])) {
                record.value = Some(Blob(b"not empty".to_vec()));
            }
        }
        records
    }

    /// Produces these records with this codec and says where they went.
    #[track_caller]
    pub fn produce(&self, endpoint: &Endpoint, topic: &str, codec: &str, records: &[Sent]) -> Vec<Placed> {
        let lines =
            records.iter().map(|record| serde_json::to_string(record).expect("a record has a JSON form") + "\n");
        let input: String = lines.collect();
        let mut command = self.at("produce", endpoint, topic);
        command.env("KAFKA_CODEC", codec);
        self.lines::<Placed>(&command, input.as_bytes())
    }

    /// Consumes `count` records with a group, from the beginning.
    #[track_caller]
    pub fn consume(&self, endpoint: &Endpoint, topic: &str, group: &str, count: usize) -> Vec<Received> {
        let mut command = self.at("consume", endpoint, topic);
        command.env("KAFKA_GROUP", group).env("KAFKA_COUNT", count.to_string());
        self.lines::<Received>(&command, b"")
    }

    fn at(&self, what: &str, endpoint: &Endpoint, topic: &str) -> Command {
        let mut command = self.command(what);
        command.env("KAFKA_BOOTSTRAP", &endpoint.bootstrap).env("KAFKA_TOPIC", topic);
        if let Some(files) = &endpoint.tls {
            command.env("KAFKA_CA", &files.ca);
            if let Some(own) = &files.own {
                command.env("KAFKA_CERTIFICATE", &own.certificate).env("KAFKA_KEY", &own.private_key);
            }
        }
        command
    }

    fn command(&self, what: &str) -> Command {
        let mut command = Command::new(root().join("tests/compat").join(&self.name).join("run.sh"));
        command.arg(what).env("CLIENTS", crate::scratch::target().join("clients"));
        command
    }

    #[track_caller]
    fn lines<T: for<'a> Deserialize<'a>>(&self, command: &Command, input: &[u8]) -> Vec<T> {
        let done = Finished::run(&self.name, command, input, RUN_BOUND, self.folder.path()).ok();
        let lines = done.stdout.lines().filter(|line| line.starts_with('{'));
        lines.map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}: {line}", self.name))).collect()
    }
}

/// All clients of the matrix.
pub const ALL: [&str; 5] = ["confluent-kafka", "kafka-python", "aiokafka", "kafkajs", "franz-go"];

const INSTALL_BOUND: Duration = Duration::from_secs(600);
const RUN_BOUND: Duration = Duration::from_secs(120);
