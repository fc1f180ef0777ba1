//! Kafka's messages as bytes: header, primitive types, the table of APIs, edits.
//!
//! Arrives: frames from a socket. Leaves: frames, mostly the same bytes. Messages are walked, not
//! decoded: what nobody asked for goes through untouched, unknown fields included. Nothing here
//! imports another module of ours.

pub mod header;
pub mod api;
pub mod wire;
pub mod put;
pub mod splice;
pub mod batch;
pub mod error;

#[cfg(test)]
mod tests;

pub use api::{Api, Treatment};
pub use error::WireError;
pub use header::{ApiKey, ApiVersion, Call, CorrelationId, RequestHeader, ResponseHeader};
pub use splice::{Segments, Splices};
pub use wire::{Cursor, Encoding, Span};
