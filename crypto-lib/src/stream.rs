//! A stream: a logical topic under sealing, with the settings that gateways and libraries obey (object kind 2), and the
//! lowest epoch that may still be used on it (kind 7).
//!
//! Arrives from the keyring, signed by a steward. The stream keeps its id when a mirror renames the topic.

use crate::envelope::Suite;
use crate::wire::{Put, Take};
use crate::{EpochNumber, Error, StreamId, UnixMillis};

/// A stream's entry in the keyring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stream {
    /// Its id.
    pub id: StreamId,
    /// The topic's name on the cluster of this keyring. Of several streams with one topic the first created is meant.
    pub topic: String,
    /// Whether records must be sealed. A stream that is switched off stays known, for the records that are sealed already.
    pub sealed: bool,
    /// The suite of new sessions.
    pub suite: Suite,
    /// What happens with a record that cannot be read.
    pub on_unreadable: OnUnreadable,
    /// When it was made.
    pub created: UnixMillis,
}

impl Stream {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_raw(self.id.as_bytes());
        out.put_bytes(self.topic.as_bytes());
        out.put_u8(u8::from(self.sealed));
        out.put_u8(self.suite.number());
        out.put_u8(self.on_unreadable as u8);
        out.put_time(self.created);
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Self, Error> {
        Ok(Self {
            id: StreamId::from_bytes(take.array()?),
            topic: take.text(MAX_TOPIC)?,
            sealed: take.bool()?,
            suite: Suite::from_number(take.u8()?)?,
            on_unreadable: OnUnreadable::from_number(take.u8()?)?,
            created: take.time()?,
        })
    }
}

/// What a reader gets in place of a record that cannot be opened. Never the other partitions' concern.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum OnUnreadable {
    /// An error for that partition, at that record.
    Fail = 0,
    /// Nothing: the record is left out.
    Skip = 1,
    /// The sealed bytes as they are.
    Opaque = 2,
}

impl OnUnreadable {
    fn from_number(number: u8) -> Result<Self, Error> {
        match number {
            0 => Ok(Self::Fail),
            1 => Ok(Self::Skip),
            2 => Ok(Self::Opaque),
            _ => Err(Error::Malformed("unknown setting for unreadable records")),
        }
    }
}

/// The lowest epoch that may still be used on a stream. Rises at a revocation, never falls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamFloor {
    /// The stream.
    pub stream: StreamId,
    /// New sessions and new announcements below this epoch are refused.
    pub minimum: EpochNumber,
}

impl StreamFloor {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_raw(self.stream.as_bytes());
        out.put_raw(&self.minimum.to_bytes());
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Self, Error> {
        Ok(Self { stream: StreamId::from_bytes(take.array()?), minimum: EpochNumber::new(take.u32()?) })
    }
}

/// Longest topic name: Kafka allows 249 characters.
pub(crate) const MAX_TOPIC: usize = 249;
