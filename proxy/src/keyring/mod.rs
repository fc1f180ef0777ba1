//! The keyring topic, followed and written, and what the data path may ask of it.
//!
//! Arrives: signed objects from Kafka; questions of connections. Leaves: decisions, sessions, announcements. No other
//! database is needed: whoever has the topic, the pinned root key and the KMS has everything.

mod topic;
mod producer;
mod requests;
mod sealed_topics;
mod told;
mod live;
mod client_sealed;
mod access;
mod sealing;
mod pace;
mod keys;
mod lag;

pub use access::{ReadAccess, WriteAccess};
pub use keys::Keys;
pub use lag::measure_lag;
pub use live::{LiveKeyring, now};
pub use pace::Pace;
pub use producer::{KeyValue, KeyringProducer};
pub use requests::REQUEST_PREFIX;
pub use sealing::{Sealing, WriterSessions};
pub use told::Told;
pub use topic::{ANSWER_TIMEOUT, KeyringConsumer, KeyringTopic, QuietContext, TopicError, client_config};
