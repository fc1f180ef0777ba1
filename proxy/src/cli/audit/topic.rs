//! The logs that are in a topic, as the sink of type `kafka` has written them: a topic arrives, a folder for each log leaves, below a
//! temporary one that goes with the command. The topic holds no hashes and no keys: the trees are computed from the entries,
//! and who asks has to know the keys.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::failed;
use super::progress::progress;
use crate::audit::log::export::MOST_LOGS;
use crate::audit::log::rebuild::Rebuilt;
use crate::cli::{Exit, Failure, load_sound};
use crate::config::{Cluster, Config, SinkTarget};
use crate::keyring::{QuietContext, client_config};

/// The logs of a topic.
pub(super) struct TopicLogs {
    /// By their origins, each with the folder that it now lies in.
    pub(super) logs: BTreeMap<String, (PathBuf, Rebuilt)>,
    /// Goes when this goes.
    pub(super) spool: Spool,
}

/// A temporary folder.
pub(super) struct Spool(PathBuf);

impl Drop for Spool {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever looks after temporary files.
        std::fs::remove_dir_all(&self.0).ok();
    }
}

impl TopicLogs {
    /// Reads a topic from its beginning to where it ended when this began.
    pub(super) fn read(topic: &str, config: Option<&Path>) -> Result<Self, Failure> {
        let config = config.ok_or_else(|| {
            let text = "name a gateway's configuration by --config: the cluster of the topic is there";
            Failure::new(Exit::Usage, text)
        })?;
        let config = load_sound(config).map_err(Failure::mistakes)?;
        let cluster = cluster_of(&config, topic)
            .ok_or_else(|| Failure::new(Exit::Configuration, "the configuration has no such cluster"))?;
        let mut logs = Self { logs: BTreeMap::new(), spool: Spool::new()? };
        logs.fill(topic, cluster)?;
        Ok(logs)
    }

    fn fill(&mut self, topic: &str, cluster: &Cluster) -> Result<(), Failure> {
        let unavailable = |what: String| Failure::new(Exit::Unavailable, format!("topic {topic}: {what}"));
        let kafka = |error: KafkaError| unavailable(error.to_string());
        let mut config = client_config(cluster).map_err(|error| unavailable(error.to_string()))?;
        config.set("group.id", "barnabas-audit");
        config.set("enable.auto.commit", "false");
        config.set("allow.auto.create.topics", "false");
        config.set("auto.offset.reset", "error");
        let consumer: BaseConsumer<QuietContext> = config.create_with_context(QuietContext).map_err(kafka)?;
        let metadata = consumer.fetch_metadata(Some(topic), ANSWER).map_err(kafka)?;
        let partitions = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        if partitions != 1 {
            let what = format!("it has {partitions} partitions; the topic of an audit log has one, for its order");
            return Err(unavailable(what));
        }
        let (first, end) = consumer.fetch_watermarks(topic, 0, ANSWER).map_err(kafka)?;
        let mut from = TopicPartitionList::new();
        from.add_partition_offset(topic, 0, Offset::Offset(first)).map_err(kafka)?;
        consumer.assign(&from).map_err(kafka)?;
        let (progress, mut next, mut last) = (progress("records of the topic"), first, Instant::now());
        let count = |number: i64| u64::try_from(number - first).unwrap_or_default();
        while next < end {
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    next = message.offset() + 1;
                    last = Instant::now();
                    if let (Some(key), Some(value)) = (message.key(), message.payload()) {
                        self.take(key, value)?;
                    }
                }
                Some(Err(error)) => return Err(kafka(error)),
                // What ends the log may be marks of transactions, which are no records.
                None => next = next.max(position(&consumer, topic)),
            }
            if last.elapsed() > PATIENCE {
                return Err(unavailable(format!("nothing came for {PATIENCE:?}; {next} of {end} are read")));
            }
            progress(count(next), count(end));
        }
        for (origin, (_, log)) in &mut self.logs {
            if !log.finish().map_err(failed)? {
                log.faults.push(format!("there is no checkpoint of `{origin}` whose entries are all there"));
            }
        }
        Ok(())
    }

    /// A record under `ORIGIN/INDEX` or `ORIGIN/checkpoint`.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let Some((origin, what)) = std::str::from_utf8(key).ok().and_then(|key| key.rsplit_once('/')) else {
            return Ok(());
        };
        if !self.logs.contains_key(origin) {
            if self.logs.len() >= MOST_LOGS {
                return Ok(());
            }
            let folder = self.spool.0.join(self.logs.len().to_string());
            self.logs.insert(origin.to_owned(), (folder.clone(), Rebuilt::new(folder)));
        }
        let Some((_, log)) = self.logs.get_mut(origin) else { return Ok(()) };
        if what == "checkpoint" {
            log.checkpoint(&String::from_utf8_lossy(value));
        } else if let Ok(index) = what.parse() {
            log.entry(index, value).map_err(failed)?;
        }
        Ok(())
    }
}

impl Spool {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("barnabas-audit-{}", uuid::Uuid::new_v4()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

/// The cluster of the sink that writes into the topic, or that of the keyring.
fn cluster_of<'c>(config: &'c Config, topic: &str) -> Option<&'c Cluster> {
    let sinks = config.audit.iter().flat_map(|audit| &audit.sinks);
    let named = sinks.filter_map(|sink| match &sink.to {
        SinkTarget::Kafka { cluster, topic: written } if written == topic => Some(cluster.as_deref()),
        _ => None,
    });
    match named.flatten().next() {
        Some(name) => config.cluster(name),
        None => config.keyring_cluster(),
    }
}

fn position(consumer: &BaseConsumer<QuietContext>, topic: &str) -> i64 {
    let position = consumer.position().ok();
    let found = position.and_then(|list| list.find_partition(topic, 0).map(|partition| partition.offset()));
    match found {
        Some(Offset::Offset(offset)) => offset,
        _ => 0,
    }
}

const ANSWER: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(500);

/// Brokers that are started again come back sooner.
const PATIENCE: Duration = Duration::from_secs(60);
