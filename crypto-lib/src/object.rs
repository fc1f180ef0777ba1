//! The signed envelope of every keyring object.
//!
//! Arrives: a Kafka record's key and value, from anyone who can write to the keyring topic. Leaves: an object whose encoding
//! is canonical and whose id follows from what it is about; its signature is judged by the keyring, which knows the
//! signers. Layout: magic `BNBO`, format 1, kind, id 16, version 8, issued at 8, not after 8, signer 16, body length 4,
//! body, signature 64. Nothing may follow.

use core::fmt;
use std::sync::OnceLock;

use crate::announcement::Announcement;
use crate::epoch::Epoch;
use crate::escrow::Escrow;
use crate::grant::Grant;
use crate::head::Head;
use crate::identity::Identity;
use crate::signing::{SigningKey, VerifyingKey};
use crate::steward::Delegate;
use crate::stream::{Stream, StreamFloor};
use crate::wire::{Put, Take, sha256, short_digest};
use crate::{EpochNumber, Error, ObjectId, SignerId, StreamId, UnixMillis};

/// A keyring object without its signature.
#[derive(Clone, Debug)]
pub struct Object {
    /// Rises with every change of the object; the higher one counts.
    pub version: u64,
    /// When it was signed, as the signer says.
    pub issued_at: UnixMillis,
    /// When it stops to count; [`UnixMillis::NEVER`] for most.
    pub not_after: UnixMillis,
    /// What it says.
    pub body: Body,
}

impl Object {
    /// An object without an end.
    #[must_use]
    pub const fn new(body: Body, version: u64, issued_at: UnixMillis) -> Self {
        Self { version, issued_at, not_after: UnixMillis::NEVER, body }
    }

    /// Signs the object and gives it with its bytes, ready to be published.
    ///
    /// # Errors
    /// `Malformed` when a field is beyond its limit: what no reader would accept is not signed.
    pub fn sign(self, key: &SigningKey) -> Result<SignedObject, Error> {
        let mut wire = Vec::with_capacity(256);
        wire.put_raw(MAGIC);
        wire.put_u8(FORMAT);
        wire.put_u8(self.body.kind().number());
        wire.put_raw(self.body.object_id().as_bytes());
        wire.put_u64(self.version);
        wire.put_time(self.issued_at);
        wire.put_time(self.not_after);
        wire.put_raw(key.signer_id().as_bytes());
        let mut body = Vec::new();
        self.body.encode(&mut body);
        wire.put_bytes(&body);
        let signature = key.sign(SIGNATURE_LABEL, &wire);
        wire.put_raw(&signature);
        SignedObject::parse(&wire)
    }
}

/// A keyring object as it stands on the wire. Parsed, not yet verified: see [`SignedObject::verify`].
#[derive(Clone, Debug)]
pub struct SignedObject {
    object: Object,
    signer: SignerId,
    wire: Vec<u8>,
    /// See [`Self::digest`].
    digest: OnceLock<[u8; 32]>,
}

impl SignedObject {
    /// Reads an object.
    ///
    /// # Errors
    /// `Malformed`, `UnknownSuite`: everything that is not the one encoding of a known object.
    pub fn parse(wire: &[u8]) -> Result<Self, Error> {
        if wire.len() > MAX_OBJECT {
            return Err(Error::Malformed("an object has at most 900,000 bytes"));
        }
        let mut take = Take::new(wire);
        if take.array::<4>()? != *MAGIC {
            return Err(Error::Malformed("not a keyring object"));
        }
        if take.u8()? != FORMAT {
            return Err(Error::Malformed("unknown object format"));
        }
        let kind = Kind::from_number(take.u8()?)?;
        let id = ObjectId::from_bytes(take.array()?);
        let (version, issued_at, not_after) = (take.u64()?, take.time()?, take.time()?);
        let signer = SignerId::from_bytes(take.array()?);
        let mut inner = Take::new(take.bytes(MAX_OBJECT)?);
        let body = Body::decode(kind, id, &mut inner)?;
        inner.finish()?;
        if take.remaining() == 0 {
            return Err(Error::Malformed(UNSIGNED));
        }
        take.array::<SIGNATURE_LEN>()?;
        take.finish()?;
        if body.object_id() != id {
            return Err(Error::Malformed("the object's id does not follow from its body"));
        }
        Ok(Self {
            object: Object { version, issued_at, not_after, body },
            signer,
            wire: wire.to_vec(),
            digest: OnceLock::new(),
        })
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// `Signature`, also when `key` is not the one that the object names.
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), Error> {
        if key.signer_id() != self.signer {
            return Err(Error::Signature);
        }
        let (message, signature) = self.wire.split_last_chunk::<SIGNATURE_LEN>().ok_or(Error::Signature)?;
        key.verify(SIGNATURE_LABEL, message, signature)
    }

    /// SHA-256 of the object's bytes, made once: every head is about all of them.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        self.digest.get_or_init(|| sha256(&[&self.wire]))
    }

    /// The object.
    #[must_use]
    pub const fn object(&self) -> &Object {
        &self.object
    }

    /// What it says.
    #[must_use]
    pub const fn body(&self) -> &Body {
        &self.object.body
    }

    /// The key that signed it, as it claims.
    #[must_use]
    pub const fn signer(&self) -> SignerId {
        self.signer
    }

    /// The value of its Kafka record.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// The key of its Kafka record.
    #[must_use]
    pub fn record_key(&self) -> String {
        self.object.body.slot().to_string()
    }
}

/// What a keyring object says.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // held behind an Arc by the keyring; boxing would only add a hop
pub enum Body {
    /// A delegate's certificate.
    Delegate(Delegate),
    /// A stream.
    Stream(Stream),
    /// An epoch of a stream.
    Epoch(Epoch),
    /// A client identity.
    Identity(Identity),
    /// A grant, also a revoked one.
    Grant(Grant),
    /// A writer's session.
    Announcement(Announcement),
    /// The minimum epoch of a stream.
    Floor(StreamFloor),
    /// A head.
    Head(Head),
    /// The removal of another object.
    Removal(Removal),
    /// A key that a quorum of custodians holds.
    Escrow(Escrow),
}

impl Body {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Delegate(_) => Kind::Delegate,
            Self::Stream(_) => Kind::Stream,
            Self::Epoch(_) => Kind::Epoch,
            Self::Identity(_) => Kind::Identity,
            Self::Grant(_) => Kind::Grant,
            Self::Announcement(_) => Kind::Announcement,
            Self::Floor(_) => Kind::Floor,
            Self::Head(_) => Kind::Head,
            Self::Removal(_) => Kind::Removal,
            Self::Escrow(_) => Kind::Escrow,
        }
    }

    /// The id that follows from what the object is about.
    #[must_use]
    pub fn object_id(&self) -> ObjectId {
        self.slot().id
    }

    /// The place that the object takes in the keyring; a removal takes that of what it removes.
    #[must_use]
    pub fn slot(&self) -> Slot {
        let id = match self {
            Self::Delegate(delegate) => *delegate.key.signer_id().as_bytes(),
            Self::Stream(stream) => *stream.id.as_bytes(),
            Self::Epoch(epoch) => return epoch_slot(epoch.stream, epoch.number),
            Self::Identity(identity) => *identity.id().as_bytes(),
            Self::Grant(grant) => {
                let parts: [&[u8]; 4] =
                    [grant.identity.as_bytes(), grant.stream.as_bytes(), &[grant.right as u8], &grant.first.to_bytes()];
                derive(Kind::Grant, &parts)
            }
            Self::Announcement(announcement) => *announcement.key_id().as_bytes(),
            Self::Floor(floor) => derive(Kind::Floor, &[floor.stream.as_bytes()]),
            Self::Head(_) => derive(Kind::Head, &[]),
            Self::Removal(removal) => return removal.target,
            Self::Escrow(escrow) => *escrow.id().as_bytes(),
        };
        Slot { kind: self.kind(), id: ObjectId::from_bytes(id) }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Delegate(body) => body.encode(out),
            Self::Stream(body) => body.encode(out),
            Self::Epoch(body) => body.encode(out),
            Self::Identity(body) => body.encode(out),
            Self::Grant(body) => body.encode(out),
            Self::Announcement(body) => body.encode(out),
            Self::Floor(body) => body.encode(out),
            Self::Head(body) => body.encode(out),
            Self::Removal(body) => body.encode(out),
            Self::Escrow(body) => body.encode(out),
        }
    }

    fn decode(kind: Kind, id: ObjectId, take: &mut Take<'_>) -> Result<Self, Error> {
        Ok(match kind {
            Kind::Delegate => Self::Delegate(Delegate::decode(take)?),
            Kind::Stream => Self::Stream(Stream::decode(take)?),
            Kind::Epoch => Self::Epoch(Epoch::decode(take)?),
            Kind::Identity => Self::Identity(Identity::decode(take)?),
            Kind::Grant => Self::Grant(Grant::decode(take)?),
            Kind::Announcement => Self::Announcement(Announcement::decode(take)?),
            Kind::Floor => Self::Floor(StreamFloor::decode(take)?),
            Kind::Head => Self::Head(Head::decode(take)?),
            Kind::Removal => Self::Removal(Removal::decode(id, take)?),
            Kind::Escrow => Self::Escrow(Escrow::decode(take)?),
        })
    }
}

/// The statement that an object counts no more. A bare Kafka tombstone removes nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Removal {
    /// The removed object's place. Its version must be lower than the removal's.
    pub target: Slot,
    /// Why, for the auditor.
    pub reason: String,
}

impl Removal {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u8(self.target.kind.number());
        out.put_bytes(self.reason.as_bytes());
    }

    fn decode(id: ObjectId, take: &mut Take<'_>) -> Result<Self, Error> {
        let kind = Kind::from_number(take.u8()?)?;
        if matches!(kind, Kind::Removal | Kind::Head) {
            return Err(Error::Malformed("heads and removals are not removed"));
        }
        Ok(Self { target: Slot { kind, id }, reason: take.text(MAX_REASON)? })
    }
}

/// An object's place in the keyring: one version of it counts. `Display` gives the key of its Kafka record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Slot {
    /// The kind.
    pub kind: Kind,
    /// The id within the kind.
    pub id: ObjectId,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

impl core::str::FromStr for Slot {
    type Err = Error;

    /// Reads the key of a Kafka record of the keyring topic.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (kind, id) = text.split_once('/').ok_or(Error::Malformed("not the key of a keyring object"))?;
        let kind = (1..=10).filter_map(|number| Kind::from_number(number).ok()).find(|known| known.to_string() == kind);
        let kind = kind.ok_or(Error::Malformed(UNKNOWN_KIND))?;
        Ok(Self { kind, id: id.parse()? })
    }
}

/// The kinds of keyring objects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Kind {
    /// A delegate's certificate.
    Delegate = 1,
    /// A stream.
    Stream = 2,
    /// An epoch.
    Epoch = 3,
    /// An identity.
    Identity = 4,
    /// A grant.
    Grant = 5,
    /// An announcement.
    Announcement = 6,
    /// A minimum epoch.
    Floor = 7,
    /// A head.
    Head = 8,
    /// A removal.
    Removal = 9,
    /// An escrow.
    Escrow = 10,
}

impl Kind {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    fn from_number(number: u8) -> Result<Self, Error> {
        Ok(match number {
            1 => Self::Delegate,
            2 => Self::Stream,
            3 => Self::Epoch,
            4 => Self::Identity,
            5 => Self::Grant,
            6 => Self::Announcement,
            7 => Self::Floor,
            8 => Self::Head,
            9 => Self::Removal,
            10 => Self::Escrow,
            _ => return Err(Error::Malformed(UNKNOWN_KIND)),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delegate => "delegate",
            Self::Stream => "stream",
            Self::Epoch => "epoch",
            Self::Identity => "identity",
            Self::Grant => "grant",
            Self::Announcement => "announcement",
            Self::Floor => "floor",
            Self::Head => "head",
            Self::Removal => "removal",
            Self::Escrow => "escrow",
        })
    }
}

/// The place of an epoch's object.
pub(crate) fn epoch_slot(stream: StreamId, number: EpochNumber) -> Slot {
    let id = derive(Kind::Epoch, &[stream.as_bytes(), &number.to_bytes()]);
    Slot { kind: Kind::Epoch, id: ObjectId::from_bytes(id) }
}

/// First 16 bytes of SHA-256(label ‖ kind ‖ parts); the parts of each kind have fixed lengths.
fn derive(kind: Kind, parts: &[&[u8]]) -> [u8; 16] {
    short_digest(&[&[ID_LABEL, &[kind.number()]], parts].concat())
}

pub(crate) const UNKNOWN_KIND: &str = "unknown kind of object";
pub(crate) const UNSIGNED: &str = "an object without a signature";
const MAGIC: &[u8; 4] = b"BNBO";
const FORMAT: u8 = 1;
const SIGNATURE_LABEL: &[u8] = b"barnabas v1 object";
const ID_LABEL: &[u8] = b"barnabas v1 object id";
const SIGNATURE_LEN: usize = 64;
/// Below Kafka's default `message.max.bytes` with room for the record around it.
pub const MAX_OBJECT: usize = 900_000;
const MAX_REASON: usize = 1024;
