//! Records as every client of the tests says them: in JSON, binary parts in base64, nothing left out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes that are base64 in JSON.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Blob(pub Vec<u8>);

/// A record to be produced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Where it goes: chosen by the test, so that the order is known.
    pub partition: i32,
    /// Record key.
    pub key: Option<Blob>,
    /// Record value; `None` is a tombstone, which is not the empty value.
    pub value: Option<Blob>,
    /// Headers in their order; a name may come twice, a value may be null.
    #[serde(default)]
    pub headers: Vec<(String, Option<Blob>)>,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

/// A record that was consumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Its offset in the partition.
    pub offset: i64,
    /// The rest.
    #[serde(flatten)]
    pub record: Sent,
}

/// Where the broker put a produced record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Placed {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// `count` records over `partitions` partitions that together have every shape a record can have. Each value and each header
/// that is not null or empty holds `secret`, so that a search for it on the broker's disk finds any plaintext.
pub fn sample(secret: &str, count: usize, partitions: i32) -> Vec<Sent> {
    (0..count).map(|n| shaped(secret, n, (n as i32) % partitions)).collect()
}

/// A plain record: key `k<n>`, value with the secret and `n` in it.
pub fn numbered(secret: &str, n: usize, partition: i32) -> Sent {
    let value = format!("{secret} number {n} of the plain records");
    let timestamp = FIRST_TIMESTAMP + n as i64;
    Sent { partition, key: Some(blob(format!("k{n}"))), value: Some(blob(value)), headers: vec![], timestamp }
}

/// What `received` must be when `sent` was produced in this order and nothing else is in the topic: record by record, with the
/// offsets of each partition counted from `0`.
#[track_caller]
pub fn assert_same(sent: &[Sent], received: &[Received]) {
    let partitions: std::collections::BTreeSet<i32> = sent.iter().map(|record| record.partition).collect();
    for partition in partitions {
        let wanted: Vec<&Sent> = sent.iter().filter(|record| record.partition == partition).collect();
        let got: Vec<&Received> = received.iter().filter(|record| record.record.partition == partition).collect();
        for (n, (wanted, got)) in wanted.iter().zip(&got).enumerate() {
            assert_eq!(got.record, **wanted, "record {n} of partition {partition} came back changed");
            assert_eq!(got.offset, n as i64, "record {n} of partition {partition} has another offset");
        }
        assert_eq!(got.len(), wanted.len(), "partition {partition} has another number of records");
    }
    assert_eq!(received.len(), sent.len(), "records came out of partitions where none went in");
}

/// True when a record, in any of its parts but the key, shows these bytes.
pub fn shows(record: &Sent, needle: &str) -> bool {
    let part = |blob: &Option<Blob>| blob.as_ref().is_some_and(|blob| crate::broker::holds(&blob.0, needle.as_bytes()));
    part(&record.value) || record.headers.iter().any(|(_, value)| part(value))
}

/// Bytes of a text.
pub fn blob(text: impl AsRef<[u8]>) -> Blob {
    Blob(text.as_ref().to_vec())
}

fn shaped(secret: &str, n: usize, partition: i32) -> Sent {
    let mut record = numbered(secret, n, partition);
    match n % 10 {
        1 => record.key = None,
        2 => record.value = None,
        3 => record.value = Some(blob("")),
        4 => record.headers = vec![header("one", "1"), header("two", "2")],
        5 => record.headers = vec![header("twice", "a"), ("between".to_owned(), None), header("twice", "b")],
        6 => record.headers = vec![("empty".to_owned(), Some(blob("")))],
        7 => record.value = Some(blob(format!("{secret} ").repeat(700))),
        8 => record.value = Some(Blob([secret.as_bytes(), &(0..=255).collect::<Vec<u8>>()].concat())),
        9 => record.key = Some(Blob(vec![0, 0xff, n as u8])),
        _ => {}
    }
    record
}

fn header(name: &str, value: &str) -> (String, Option<Blob>) {
    (name.to_owned(), Some(blob(value)))
}

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = String::from_utf8_lossy(&self.0);
        let short: String = shown.chars().take(80).collect();
        write!(f, "{short:?}({} bytes)", self.0.len())
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// In 2024, so that no broker finds it too far from now to take it.
const FIRST_TIMESTAMP: i64 = 1_719_800_000_000;
