//! What a measurement needs around its load: ApiVersions 3 as a sign of life, Metadata 9 to find leaders, CreateTopics 7 and
//! DeleteTopics 6 for topics of its own.

use super::{Reader, frame};
use crate::error::Error;

/// A partition's leader: the address that the answerer wants clients to use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Leader {
    /// Partition index.
    pub partition: i32,
    /// Host as advertised.
    pub host: String,
    /// Port as advertised.
    pub port: u16,
}

/// An ApiVersions frame.
pub fn api_versions() -> Vec<u8> {
    frame(18, 3, |body| {
        body.compact_string("barnabas-bench");
        body.compact_string(env!("CARGO_PKG_VERSION"));
        body.no_tags();
    })
}

/// Refuses an ApiVersions answer that holds an error code (its header has no tags, KIP-511).
pub fn api_versions_ok(answer: &[u8]) -> Result<(), Error> {
    accept("ApiVersions", Reader::new(answer).int16()?)
}

/// A Metadata frame for one topic, which is not created by asking.
pub fn metadata(topic: &str) -> Vec<u8> {
    frame(3, 9, |body| {
        body.compact_count(1);
        body.compact_string(topic);
        body.no_tags();
        body.int8(0);
        body.int8(0);
        body.int8(0);
        body.no_tags();
    })
}

/// The leaders of the topic's partitions, by partition; `None` while the topic or a leader is not known.
pub fn leaders(answer: &[u8]) -> Result<Option<Vec<Leader>>, Error> {
    let mut reader = Reader::new(answer);
    reader.skip_tags()?;
    reader.int32()?;
    let mut brokers = Vec::new();
    for _ in 0..reader.compact_count()? {
        let node = reader.int32()?;
        let host = reader.compact_string()?.to_owned();
        let port = u16::try_from(reader.int32()?).unwrap_or(0);
        reader.compact_string()?;
        reader.skip_tags()?;
        brokers.push((node, host, port));
    }
    reader.compact_string()?;
    reader.int32()?;
    if reader.compact_count()? == 0 {
        return Ok(None);
    }
    match reader.int16()? {
        0 => {}
        3 | 5 => return Ok(None),
        code => {
            return Err(Error::Kafka { api: "Metadata", code });
        }
    }
    reader.compact_string()?;
    reader.int8()?;
    let mut leaders = Vec::new();
    for _ in 0..reader.compact_count()? {
        reader.int16()?;
        let partition = reader.int32()?;
        let leader = reader.int32()?;
        reader.int32()?;
        for _ in 0..3 {
            let replicas = reader.compact_count()?;
            reader.take(replicas.saturating_mul(4))?;
        }
        reader.skip_tags()?;
        let Some((_, host, port)) = brokers.iter().find(|(node, ..)| *node == leader) else {
            return Ok(None);
        };
        leaders.push(Leader { partition, host: host.clone(), port: *port });
    }
    leaders.sort_by_key(|leader| leader.partition);
    Ok((!leaders.is_empty()).then_some(leaders))
}

/// A CreateTopics frame for one unreplicated topic whose files go away at once when it is deleted.
pub fn create_topic(topic: &str, partitions: i32) -> Vec<u8> {
    frame(19, 7, |body| {
        body.compact_count(1);
        body.compact_string(topic);
        body.int32(partitions);
        body.int16(1);
        body.compact_count(0);
        body.compact_count(1);
        body.compact_string("file.delete.delay.ms");
        body.compact_string("0");
        body.no_tags();
        body.no_tags();
        body.int32(TIMEOUT_MS);
        body.int8(0);
        body.no_tags();
    })
}

/// A topic that is there already is as good as one that was created.
pub fn topic_created(answer: &[u8]) -> Result<(), Error> {
    let mut reader = Reader::new(answer);
    reader.skip_tags()?;
    reader.int32()?;
    reader.compact_count()?;
    reader.compact_string()?;
    reader.take(16)?;
    match reader.int16()? {
        36 => Ok(()),
        code => accept("CreateTopics", code),
    }
}

/// A DeleteTopics frame for one topic.
pub fn delete_topic(topic: &str) -> Vec<u8> {
    frame(20, 6, |body| {
        body.compact_count(1);
        body.compact_string(topic);
        body.raw(&[0; 16]);
        body.no_tags();
        body.int32(TIMEOUT_MS);
        body.no_tags();
    })
}

fn accept(api: &'static str, code: i16) -> Result<(), Error> {
    match code {
        0 => Ok(()),
        code => Err(Error::Kafka { api, code }),
    }
}

const TIMEOUT_MS: i32 = 30_000;
