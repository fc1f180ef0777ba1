//! An announcement: a writer's session, made known before its first use (object kind 6).
//!
//! It says who seals what and for how long, commits to the session secret, and carries the secret wrapped for those who
//! may open it. Any one wrap opens the session; the commitment proves that all hide the same secret. Signed by the
//! writer's identity. The key id in every record is made of it, so a record names its announcement and no other.

use crate::envelope::Suite;
use crate::epoch::{Epoch, EpochSecret};
use crate::escrow::{Escrow, EscrowSecret, escrow_id};
use crate::identity::{IdentityPublic, IdentitySecret, MAX_PRINCIPAL};
use crate::kem::KemPublicKey;
use crate::memory::Secret;
use crate::open::SessionReader;
use crate::schedule::Commitment;
use crate::wire::{Put, Take};
use crate::{EpochNumber, Error, IdentityId, KeyId, StreamId, UnixMillis};

/// A session's entry in the keyring.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// Who seals what, and for how long.
    pub terms: AnnouncementTerms,
    /// Proves which secret the wraps hide.
    pub commitment: Commitment,
    /// The secret, wrapped. Kinds unknown to a reader are passed over.
    pub wraps: Vec<Wrap>,
}

impl Announcement {
    /// An announcement without a wrap.
    #[must_use]
    pub const fn new(terms: AnnouncementTerms, commitment: Commitment) -> Self {
        Self { terms, commitment, wraps: Vec::new() }
    }

    /// The id that every record header of this session carries.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        KeyId::derive(&self.terms.header(), &self.commitment)
    }

    /// Opens the session with the secret of its epoch (wrap kind 1).
    ///
    /// # Errors
    /// `Missing` without such a wrap, `Unwrap`, `CommitmentMismatch`.
    pub fn open_with_epoch(&self, epoch: &EpochSecret) -> Result<SessionReader, Error> {
        let wrap = self.wraps.iter().find(|wrap| wrap.kind == WRAP_EPOCH);
        let wrap = wrap.ok_or(Error::Missing("epoch wrap in the announcement"))?;
        let plain = epoch.kem().unwrap(SESSION_INFO, &self.context(WRAP_EPOCH), &wrap.bytes)?;
        self.reader(&plain)
    }

    /// Opens the session with an identity to which it was wrapped directly (wrap kind 3).
    ///
    /// # Errors
    /// `Missing` without such a wrap, `Unwrap`, `CommitmentMismatch`.
    pub fn open_with_identity(&self, identity: &IdentitySecret) -> Result<SessionReader, Error> {
        let id = identity.id();
        let wrap = self.wraps.iter().find(|wrap| wrap.kind == WRAP_READER && wrap.recipient == id.as_bytes());
        let wrap = wrap.ok_or(Error::Missing("direct wrap in the announcement"))?;
        let plain = identity.kem().unwrap(SESSION_INFO, &self.context(WRAP_READER), &wrap.bytes)?;
        self.reader(&plain)
    }

    /// Opens the session with a secret that custody unwrapped (wrap kind 2).
    ///
    /// # Errors
    /// `CommitmentMismatch`.
    pub fn open_with_secret(&self, secret: &Secret<32>) -> Result<SessionReader, Error> {
        self.reader(secret.expose())
    }

    /// Opens the session with an escrow (wrap kind 4).
    pub(crate) fn open_with_escrow(&self, escrow: &EscrowSecret) -> Result<SessionReader, Error> {
        let id = escrow_id(escrow.public());
        let wrap = self.wraps.iter().find(|wrap| wrap.kind == WRAP_ESCROW && wrap.recipient == id.as_bytes());
        let wrap = wrap.ok_or(Error::Missing("wrap for this escrow in the announcement"))?;
        let plain = escrow.kem().unwrap(SESSION_INFO, &self.context(WRAP_ESCROW), &wrap.bytes)?;
        self.reader(&plain)
    }

    pub(crate) fn add_epoch_wrap(&mut self, epoch: &Epoch, secret: &Secret<32>) -> Result<(), Error> {
        self.add_kem_wrap(WRAP_EPOCH, epoch.number.to_bytes().to_vec(), &epoch.public, secret)
    }

    pub(crate) fn add_reader_wrap(&mut self, reader: &IdentityPublic, secret: &Secret<32>) -> Result<(), Error> {
        self.add_kem_wrap(WRAP_READER, reader.id().as_bytes().to_vec(), &reader.kem, secret)
    }

    pub(crate) fn add_escrow_wrap(&mut self, escrow: &Escrow, secret: &Secret<32>) -> Result<(), Error> {
        self.add_kem_wrap(WRAP_ESCROW, escrow.id().as_bytes().to_vec(), &escrow.public, secret)
    }

    fn add_kem_wrap(
        &mut self,
        kind: u8,
        recipient: Vec<u8>,
        key: &KemPublicKey,
        secret: &Secret<32>,
    ) -> Result<(), Error> {
        let bytes = key.wrap(SESSION_INFO, &self.context(kind), secret.expose())?;
        self.wraps.push(Wrap { kind, recipient, bytes });
        Ok(())
    }

    fn reader(&self, secret: &[u8]) -> Result<SessionReader, Error> {
        let secret = Secret::from_slice(secret).ok_or(Error::Malformed("a session secret has 32 bytes"))?;
        let AnnouncementTerms { stream, epoch, suite, .. } = self.terms;
        SessionReader::from_unwrapped(&secret, &self.commitment, (stream, epoch, suite), self.key_id())
    }

    /// What a wrap is bound to: its kind, and all that the key id is made of.
    fn context(&self, kind: u8) -> Vec<u8> {
        let mut out = vec![kind];
        out.put_raw(&self.terms.header());
        out.put_raw(self.commitment.as_bytes());
        out
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_raw(&self.terms.header());
        out.put_raw(self.commitment.as_bytes());
        out.put_u32(u32::try_from(self.wraps.len()).unwrap_or(u32::MAX));
        for wrap in &self.wraps {
            out.put_u8(wrap.kind);
            out.put_bytes(&wrap.recipient);
            out.put_bytes(&wrap.bytes);
        }
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Self, Error> {
        let terms = AnnouncementTerms::decode(take)?;
        let commitment = Commitment::from_bytes(take.array()?);
        let count = take.u32()? as usize;
        if count > MAX_WRAPS || count > take.remaining() / SHORTEST_WRAP {
            return Err(Error::Malformed("more wraps announced than bytes present"));
        }
        let mut wraps = Vec::with_capacity(count);
        for _ in 0..count {
            let kind = take.u8()?;
            let recipient = take.bytes(MAX_RECIPIENT)?.to_vec();
            wraps.push(Wrap { kind, recipient, bytes: take.bytes(MAX_WRAP)?.to_vec() });
        }
        Ok(Self { terms, commitment, wraps })
    }
}

/// The part of an announcement that does not depend on the secret: the announcement header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnouncementTerms {
    /// The suite that seals.
    pub suite: Suite,
    /// The stream.
    pub stream: StreamId,
    /// The epoch.
    pub epoch: EpochNumber,
    /// The identity that seals and signs.
    pub writer: IdentityId,
    /// The principal for which a gateway seals, by name.
    pub on_behalf_of: Option<String>,
    /// The session begins at this time,
    pub not_before: UnixMillis,
    /// and ends before this one.
    pub not_after: UnixMillis,
}

impl AnnouncementTerms {
    /// The announcement header in its one encoding.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        let mut out = vec![self.suite.number()];
        out.put_raw(self.stream.as_bytes());
        out.put_raw(&self.epoch.to_bytes());
        out.put_raw(self.writer.as_bytes());
        out.put_option(self.on_behalf_of.as_ref(), |out, name| out.put_bytes(name.as_bytes()));
        out.put_time(self.not_before);
        out.put_time(self.not_after);
        out
    }

    fn decode(take: &mut Take<'_>) -> Result<Self, Error> {
        Ok(Self {
            suite: Suite::from_number(take.u8()?)?,
            stream: StreamId::from_bytes(take.array()?),
            epoch: EpochNumber::new(take.u32()?),
            writer: IdentityId::from_bytes(take.array()?),
            on_behalf_of: take.option(|take| take.text(MAX_PRINCIPAL))?,
            not_before: take.time()?,
            not_after: take.time()?,
        })
    }
}

/// The session secret, wrapped for someone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrap {
    /// 1 epoch, 2 KMS, 3 a reader, 4 escrow; 5 is reserved for proxy re-encryption; others are passed over.
    pub kind: u8,
    /// For whom: epoch number, KMS key name, identity id, digest of the escrow key.
    pub recipient: Vec<u8>,
    /// The wrapped secret.
    pub bytes: Vec<u8>,
}

/// Wrap kind 1: HPKE to the epoch's public key.
pub const WRAP_EPOCH: u8 = 1;
/// Wrap kind 2: a KMS key.
pub const WRAP_KMS: u8 = 2;
/// Wrap kind 3: HPKE to one reader's identity.
pub const WRAP_READER: u8 = 3;
/// Wrap kind 4: HPKE to an escrow key.
pub const WRAP_ESCROW: u8 = 4;

const SESSION_INFO: &[u8] = b"barnabas v1 session wrap";
/// Most wraps in one announcement.
const MAX_WRAPS: usize = 256;
/// Kind and two empty fields.
const SHORTEST_WRAP: usize = 9;
const MAX_RECIPIENT: usize = 1024;
/// An X-Wing wrap takes 1,168 bytes; KMS blobs stay below this.
const MAX_WRAP: usize = 8192;
