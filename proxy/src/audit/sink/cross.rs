//! Checkpoints of other gateways' logs, out of the topic that all of them write to.
//!
//! Arrives: records under the key `ORIGIN/checkpoint`. Leaves: an event with the other log's name, size and root hash, so that
//! this log binds the other one: whoever rolls one of them back contradicts all the others. The signature is not judged here, as
//! the other key is not known here; the whole note is told, and an auditor who has the key checks. What must never happen
//! here: entries that grow with what somebody writes into the topic.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::task::JoinHandle;

use super::kafka::CHECKPOINT;
use crate::audit::event::{Audit, Event};
use crate::keyring::QuietContext;

/// Follows a topic until it is dropped.
pub struct CrossCheckpoints(JoinHandle<()>);

impl Drop for CrossCheckpoints {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a checkpoint says.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    origin: String,
    size: u64,
    root: String,
    signer: String,
    /// The note with the log's own signature alone.
    note: String,
}

impl CrossCheckpoints {
    /// From the end of the topic on.
    pub fn follow(config: &ClientConfig, topic: &str, own: Arc<str>, audit: Audit) -> Result<Self, String> {
        let mut config = config.clone();
        config.set("group.id", "barnabas-audit");
        config.set("enable.auto.commit", "false");
        config.set("allow.auto.create.topics", "false");
        let consumer: StreamConsumer<QuietContext> =
            config.create_with_context(QuietContext).map_err(|error| error.to_string())?;
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(topic, 0, Offset::End).map_err(|error| error.to_string())?;
        consumer.assign(&partitions).map_err(|error| error.to_string())?;
        Ok(Self(tokio::spawn(take(consumer, own, audit))))
    }
}

async fn take(consumer: StreamConsumer<QuietContext>, own: Arc<str>, audit: Audit) {
    let mut told: HashMap<String, (u64, Instant)> = HashMap::new();
    loop {
        let Ok(message) = consumer.recv().await else {
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            continue;
        };
        let key = message.key().and_then(|key| std::str::from_utf8(key).ok()).unwrap_or_default();
        let Some((origin, CHECKPOINT)) = key.rsplit_once('/') else { continue };
        let Some(seen) = message.payload().and_then(parse) else { continue };
        if seen.origin != origin || seen.origin == *own {
            continue;
        }
        let before = told.get(&seen.origin).map(|(size, _)| *size);
        if !is_due(&mut told, &seen) {
            continue;
        }
        if let Some(before) = before.filter(|before| *before > seen.size) {
            let (origin, size) = (&seen.origin, seen.size);
            tracing::error!(event = "audit_other_log_shorter", origin, size, before, "was it rolled back?");
        }
        audit.record(Event::cross_checkpoint(&seen.origin, seen.size, &seen.root, &seen.signer, seen.note));
    }
}

/// A checkpoint of each log now and then is enough: the later one stands for those before.
fn is_due(told: &mut HashMap<String, (u64, Instant)>, seen: &Seen) -> bool {
    let due = match told.get(&seen.origin) {
        // A log that has become shorter is what this is for: told at once.
        Some((size, at)) => seen.size < *size || (seen.size > *size && at.elapsed() >= EACH),
        None => told.len() < MOST_LOGS,
    };
    if due {
        told.insert(seen.origin.clone(), (seen.size, Instant::now()));
    }
    due
}

/// Reads a signed note with a checkpoint (C2SP signed-note, tlog-checkpoint), as far as it is told.
fn parse(note: &[u8]) -> Option<Seen> {
    let note = std::str::from_utf8(note).ok().filter(|note| note.len() <= MOST_NOTE)?;
    let (text, signatures) = note.split_once("\n\n")?;
    let mut lines = text.lines();
    let (origin, size, root) = (lines.next()?, lines.next()?.parse().ok()?, lines.next()?);
    let root_bytes = STANDARD.decode(root).ok().filter(|root| root.len() == 32)?;
    let own = |line: &&str| line.strip_prefix("\u{2014} ").is_some_and(|line| line.split(' ').next() == Some(origin));
    let line = signatures.lines().find(own)?;
    let signature = STANDARD.decode(line.rsplit(' ').next()?).ok()?;
    let signer = format!("{origin}+{}", hex::encode(signature.first_chunk::<4>()?));
    let note = format!("{text}\n\n{line}\n");
    let fits = note.len() <= MOST_TOLD;
    fits.then(|| Seen { origin: origin.to_owned(), size, root: STANDARD.encode(root_bytes), signer, note })
}

/// How often one log is told.
const EACH: Duration = Duration::from_secs(10);

/// Gateways of one installation.
const MOST_LOGS: usize = 256;

/// A checkpoint with the cosignatures of a hundred witnesses.
const MOST_NOTE: usize = 16 * 1024;

/// Of such a note what is told: a text of three lines and one signature, with the longest name twice.
const MOST_TOLD: usize = 1_024;

/// The client library reconnects by itself.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn note(origin: &str, size: u64) -> String {
        let (root, signature) = (STANDARD.encode([7; 32]), STANDARD.encode([1; 68]));
        format!("{origin}\n{size}\n{root}\n\n\u{2014} {origin} {signature}\n")
    }

    #[test]
    fn a_checkpoint_is_read_and_what_is_none_is_not() {
        let seen = parse(note("audit.test/a", 9).as_bytes()).unwrap();
        assert_eq!(
            (seen.origin.as_str(), seen.size, seen.signer.as_str()),
            ("audit.test/a", 9, "audit.test/a+01010101")
        );
        let whole = note("audit.test/a", 9);
        assert_eq!(seen.note, whole);
        let cosigned = format!("{whole}\u{2014} witness.test AAAA\n");
        assert_eq!(parse(cosigned.as_bytes()).unwrap().note, whole);
        for cut in 0..whole.len() - 90 {
            assert_eq!(parse(whole.as_bytes().get(..cut).unwrap()), None, "{cut}");
        }
    }

    #[test]
    fn one_log_is_told_now_and_then_and_at_once_when_it_has_become_shorter() {
        let mut told = HashMap::new();
        let seen = |size| parse(note("o", size).as_bytes()).unwrap();
        assert!(is_due(&mut told, &seen(10)));
        assert!(!is_due(&mut told, &seen(11)) && !is_due(&mut told, &seen(10)));
        assert!(is_due(&mut told, &seen(9)));
    }
}
