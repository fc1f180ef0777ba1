//! `keyring`: the topic that holds identities, epochs, grants and announcements, and how fresh its head must be.
//! A mapping arrives, a [`Keyring`] leaves. Freshness is a security setting: a broker could otherwise hide a revocation.

use std::time::Duration;

use super::key::{Key, Kind, key};
use super::mistake::Refusal;
use super::reader::Reader;
use super::values;

/// Where the keyring is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    /// The cluster that holds it; `None` is the first cluster of the file.
    pub cluster: Option<String>,
    /// The topic's name.
    pub topic: String,
    /// The replicas that the topic is created with; `None` is the cluster's own default.
    pub replication_factor: Option<i16>,
    /// Writers stop and readers warn when the signed head is older.
    pub max_head_age: Duration,
    /// How often the steward's delegate signs a head; always shorter than `max_head_age`.
    pub head_interval: Duration,
}

impl Keyring {
    pub(super) fn parse(reader: Reader<'_>) -> Option<Self> {
        let cluster = reader.optional("cluster", values::name);
        let topic = reader.or_default("topic", values::topic, DEFAULT_TOPIC.to_owned());
        let replicas = |text: &str| match text {
            "auto" => Ok(None),
            _ => values::number(1, i64::from(i16::MAX))(text)
                .map(|count| i16::try_from(count).ok())
                .map_err(|refusal| Refusal::new(refusal.text, "write auto or a number")),
        };
        let replication_factor = reader.or_default("replication_factor", replicas, None);
        let bounds = || values::duration(Duration::from_secs(1), Duration::from_secs(30 * 86_400));
        let max_head_age = reader.or_default("max_head_age", bounds(), DEFAULT_MAX_HEAD_AGE);
        let head_interval = reader.or_default("head_interval", bounds(), DEFAULT_HEAD_INTERVAL);
        if let (Some(age), Some(interval)) = (max_head_age, head_interval)
            && interval.saturating_mul(2) > age
        {
            let remedy = "make it at most half of `max_head_age`, so that one missed head does not stop writers";
            reader.refuse("head_interval", Refusal::new("`head_interval` is too long for `max_head_age`", remedy));
        }
        reader.finish();
        Some(Self {
            cluster: cluster?,
            topic: topic?,
            replication_factor: replication_factor?,
            max_head_age: max_head_age?,
            head_interval: head_interval?,
        })
    }
}

/// Starts with one underscore: visibly not an application's, and not one of Kafka's own (two underscores).
pub const DEFAULT_TOPIC: &str = "_barnabas_keyring";

/// The longest time for which a dishonest broker can hide a revocation, unless the operator says otherwise.
pub const DEFAULT_MAX_HEAD_AGE: Duration = Duration::from_secs(3600);

/// Sixty heads fit into the default age, so that an hour of a stopped delegate is survived.
pub const DEFAULT_HEAD_INTERVAL: Duration = Duration::from_secs(60);

pub(super) const KEYS: &[Key] = &[
    key("keyring", Kind::Section, "its defaults", "The topic with identities, epochs, grants and announcements."),
    key("keyring.cluster", Kind::Text, "the first cluster", "The cluster that holds the topic."),
    key("keyring.topic", Kind::Text, "`_barnabas_keyring`", "The topic's name."),
    key(
        "keyring.replication_factor",
        Kind::Text,
        "`auto`",
        "Replicas when the topic is created; `auto` takes the cluster's default.",
    ),
    key(
        "keyring.max_head_age",
        Kind::Duration,
        "`1h`",
        "Writers stop and readers warn when the signed head is older: no broker can hide a revocation longer.",
    ),
    key(
        "keyring.head_interval",
        Kind::Duration,
        "`1m`",
        "How often the delegate signs a head; at most half of `max_head_age`.",
    ),
];
