//! The HTTP bridge: clients that speak HTTPS instead of Kafka's protocol.
//!
//! Arrives: HTTP requests, with a certificate or a credential. Leaves: answers as the REST APIs of Kafka give them. The bridge has
//! no sealing code: it is a Kafka client of this same gateway, over an inner listener that only it can use, so policy, keys, audit
//! and limits are the same chain for both. What must never happen here: two principals that share a producer, a consumer or a
//! connection; an acknowledgement that is not the broker's.

pub mod server;
pub mod front;
pub mod replicas;
pub mod caller;
pub mod auth;
pub mod cors;
pub mod accept;
pub mod routes;
pub mod operations;
pub mod operation;
pub mod openapi;
pub mod docs;
pub mod body;
pub mod record;
pub mod formats;
pub mod cloud_events;
pub mod view;
#[cfg(feature = "schemas")]
pub mod schema;
pub mod v2;
pub mod v3;
pub mod raw;
pub mod bridge;
pub mod send;
pub mod record_batch;
pub mod producer;
pub mod idempotency;
pub mod pool;
pub mod kafka;
pub mod inner;
pub mod refusal;
pub mod error;
pub mod audit;

pub use bridge::Bridge;
pub mod streams;

pub use caller::{Caller, Connection, Proof};
pub use error::{Code, Error};
pub use server::{PROTOCOLS, Server};
