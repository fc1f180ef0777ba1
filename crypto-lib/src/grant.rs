//! A grant: the right of one identity to a range of a stream's epochs (object kind 5).
//!
//! A grant to read carries the seeds of the epochs, wrapped by HPKE to the reader's identity in one piece; a grant to
//! write carries nothing, since writers need public keys only. Signed by the steward. Revocation is a new version with
//! `revoked_at`: the wrap stays as it is. What a reader could already open it could have copied.

use zeroize::Zeroizing;

use crate::epoch::EpochSecret;
use crate::identity::{IdentityPublic, IdentitySecret};
use crate::kem::KemSuite;
use crate::memory::Secret;
use crate::wire::{Put, Take};
use crate::{EpochNumber, Error, IdentityId, StreamId, UnixMillis};

/// A grant's entry in the keyring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Who may.
    pub identity: IdentityId,
    /// What: the stream.
    pub stream: StreamId,
    /// To do what.
    pub right: Right,
    /// First epoch of the range.
    pub first: EpochNumber,
    /// Last epoch of the range, included.
    pub last: EpochNumber,
    /// The grant counts from this time,
    pub valid_from: UnixMillis,
    /// until before this one.
    pub valid_to: UnixMillis,
    /// Set by a revocation: the grant ends there.
    pub revoked_at: Option<UnixMillis>,
    /// The seeds of `first..=last`, 32 bytes each, wrapped; empty for a grant to write.
    pub wrapped_seeds: Vec<u8>,
}

impl Grant {
    /// A grant to read the epochs from `first` on, one for each seed.
    ///
    /// # Errors
    /// `Malformed` for no seed, more than [`MAX_EPOCHS`], or a public key that is none; `Entropy`.
    pub fn to_read(
        reader: &IdentityPublic,
        (stream, first): (StreamId, EpochNumber),
        seeds: &[&EpochSecret],
        (valid_from, valid_to): (UnixMillis, UnixMillis),
    ) -> Result<Self, Error> {
        let last = last_epoch(first, seeds.len())?;
        let mut grant = Self {
            identity: reader.id(),
            stream,
            right: Right::Read,
            first,
            last,
            valid_from,
            valid_to,
            revoked_at: None,
            wrapped_seeds: Vec::new(),
        };
        let mut plain = Zeroizing::new(Vec::with_capacity(seeds.len() * SEED_LEN));
        seeds.iter().for_each(|seed| plain.extend_from_slice(seed.seed().expose()));
        grant.wrapped_seeds = reader.kem.wrap(GRANT_INFO, &grant.scope(), &plain)?;
        Ok(grant)
    }

    /// The same grant with its seeds wrapped anew, one for each epoch of the range; none for an epoch that was destroyed.
    /// Validity and revocation stay as they are.
    ///
    /// # Errors
    /// `Missing` for a grant to write; `Unwrap` when the reader is another one; `Malformed` for another number of seeds.
    pub fn rewrapped(&self, reader: &IdentityPublic, seeds: &[Option<&EpochSecret>]) -> Result<Self, Error> {
        if self.right != Right::Read {
            return Err(Error::Missing("epoch seeds in a grant to write"));
        }
        if reader.id() != self.identity {
            return Err(Error::Unwrap);
        }
        if last_epoch(self.first, seeds.len())? != self.last {
            return Err(Error::Malformed("a grant carries another number of epoch seeds"));
        }
        let mut plain = Zeroizing::new(Vec::with_capacity(seeds.len() * SEED_LEN));
        for seed in seeds {
            plain.extend_from_slice(seed.map_or(&DESTROYED, |seed| seed.seed().expose()));
        }
        Ok(Self { wrapped_seeds: reader.kem.wrap(GRANT_INFO, &self.scope(), &plain)?, ..self.clone() })
    }

    /// A grant to write the epochs of a range. `EpochNumber::new(u32::MAX)` leaves the range open.
    #[must_use]
    pub fn to_write(
        writer: IdentityId,
        stream: StreamId,
        (first, last): (EpochNumber, EpochNumber),
        (valid_from, valid_to): (UnixMillis, UnixMillis),
    ) -> Self {
        let (right, revoked_at, wrapped_seeds) = (Right::Write, None, Vec::new());
        Self { identity: writer, stream, right, first, last, valid_from, valid_to, revoked_at, wrapped_seeds }
    }

    /// Whether the grant counts at this time.
    #[must_use]
    pub fn is_valid(&self, at: UnixMillis) -> bool {
        self.valid_from <= at && at < self.valid_to && self.revoked_at.is_none_or(|revoked| at < revoked)
    }

    /// Whether the epoch is in the range.
    #[must_use]
    pub fn covers(&self, epoch: EpochNumber) -> bool {
        self.first <= epoch && epoch <= self.last
    }

    /// Opens the seeds of a grant to read; the caller checks validity. `kem` is the suite of the epochs.
    ///
    /// # Errors
    /// `Unwrap` when the grant is another's; `Malformed` when it carries another number of seeds; `Missing` for a grant to
    /// write.
    pub fn open(&self, reader: &IdentitySecret) -> Result<EpochSeeds, Error> {
        if self.right != Right::Read {
            return Err(Error::Missing("epoch seeds in a grant to write"));
        }
        let plain = reader.kem().unwrap(GRANT_INFO, &self.scope(), &self.wrapped_seeds)?;
        let (seeds, rest) = plain.as_chunks::<SEED_LEN>();
        if !rest.is_empty() || seeds.is_empty() || last_epoch(self.first, seeds.len()) != Ok(self.last) {
            return Err(Error::Malformed("a grant carries another number of epoch seeds"));
        }
        let seeds = seeds.iter().filter_map(|seed| Secret::from_slice(seed)).collect();
        Ok(EpochSeeds { first: self.first, seeds })
    }

    /// What the wrap is bound to: everything but validity, which a revocation changes.
    fn scope(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(41);
        out.put_raw(self.identity.as_bytes());
        out.put_raw(self.stream.as_bytes());
        out.put_u8(self.right as u8);
        out.put_raw(&self.first.to_bytes());
        out.put_raw(&self.last.to_bytes());
        out
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_raw(&self.scope());
        out.put_time(self.valid_from);
        out.put_time(self.valid_to);
        out.put_option(self.revoked_at.as_ref(), |out, time| out.put_time(*time));
        out.put_bytes(&self.wrapped_seeds);
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Self, Error> {
        let grant = Self {
            identity: IdentityId::from_bytes(take.array()?),
            stream: StreamId::from_bytes(take.array()?),
            right: Right::from_number(take.u8()?)?,
            first: EpochNumber::new(take.u32()?),
            last: EpochNumber::new(take.u32()?),
            valid_from: take.time()?,
            valid_to: take.time()?,
            revoked_at: take.option(Take::time)?,
            wrapped_seeds: take.bytes(MAX_EPOCHS * SEED_LEN + WRAP_OVERHEAD)?.to_vec(),
        };
        if grant.last < grant.first {
            return Err(Error::Malformed("a grant's range is turned round"));
        }
        if (grant.right == Right::Write) != grant.wrapped_seeds.is_empty() {
            return Err(Error::Malformed("seeds belong into a grant to read, and only there"));
        }
        Ok(grant)
    }
}

/// What a grant allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Right {
    /// To open records.
    Read = 1,
    /// To announce sessions.
    Write = 2,
}

impl Right {
    /// `read` or `write`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    fn from_number(number: u8) -> Result<Self, Error> {
        match number {
            1 => Ok(Self::Read),
            2 => Ok(Self::Write),
            _ => Err(Error::Malformed("unknown right")),
        }
    }
}

/// The opened seeds of a grant. No `Debug`, no `Clone`; wiped when dropped.
pub struct EpochSeeds {
    first: EpochNumber,
    seeds: Vec<Secret<32>>,
}

impl EpochSeeds {
    /// The secret half of one epoch of the range, whose object names the suite.
    ///
    /// # Errors
    /// `NotGranted` outside of the range; `Missing` when the epoch was destroyed.
    pub fn epoch(&self, number: EpochNumber, kem: KemSuite) -> Result<EpochSecret, Error> {
        let index = number.number().checked_sub(self.first.number()).map(|index| index as usize);
        let seed = index.and_then(|index| self.seeds.get(index));
        let seed = seed.and_then(|seed| Secret::from_slice(seed.expose()));
        let seed = seed.ok_or(Error::NotGranted { right: "read", epoch: number })?;
        if seed.expose() == &DESTROYED {
            return Err(Error::Missing("seed of this epoch: it was destroyed"));
        }
        Ok(EpochSecret::from_seed(seed, kem))
    }
}

fn last_epoch(first: EpochNumber, count: usize) -> Result<EpochNumber, Error> {
    let steps = u32::try_from(count).ok().filter(|count| (1..=MAX_EPOCHS as u32).contains(count));
    let last = steps.and_then(|count| first.number().checked_add(count - 1));
    last.map(EpochNumber::new).ok_or(Error::Malformed("a grant covers 1 to 4,096 epochs"))
}

/// Most epochs in one grant to read: eleven years of daily epochs, 128 KiB.
pub const MAX_EPOCHS: usize = 4096;
const SEED_LEN: usize = 32;
/// What stands in a grant in the place of the seed of an epoch that was destroyed.
const DESTROYED: [u8; SEED_LEN] = [0; SEED_LEN];
/// Encapsulated key of X-Wing and tag.
const WRAP_OVERHEAD: usize = 1120 + 16;
const GRANT_INFO: &[u8] = b"barnabas v1 grant";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const STREAM: StreamId = StreamId::from_bytes([1; 16]);
    const ALWAYS: (UnixMillis, UnixMillis) = (UnixMillis::new(10), UnixMillis::new(20));

    #[test]
    fn the_reader_opens_every_epoch_of_the_range_and_none_besides() {
        let reader = IdentitySecret::draw(KemSuite::XWing).unwrap();
        let epochs: Vec<_> = (0..3).map(|_| EpochSecret::draw(KemSuite::X25519).unwrap()).collect();
        let first = EpochNumber::new(7);
        let grant =
            Grant::to_read(reader.public(), (STREAM, first), &epochs.iter().collect::<Vec<_>>(), ALWAYS).unwrap();
        assert_eq!(grant.last, EpochNumber::new(9));
        let seeds = grant.open(&reader).unwrap();
        for (number, epoch) in (7..).zip(&epochs) {
            assert!(seeds.epoch(EpochNumber::new(number), KemSuite::X25519).unwrap().seed().matches(epoch.seed()));
        }
        assert!(seeds.epoch(EpochNumber::new(6), KemSuite::X25519).is_err());
        assert!(seeds.epoch(EpochNumber::new(10), KemSuite::X25519).is_err());
        let other = IdentitySecret::draw(KemSuite::XWing).unwrap();
        assert_eq!(grant.open(&other).err(), Some(Error::Unwrap));
        let widened = Grant { last: EpochNumber::new(10), ..grant };
        assert_eq!(widened.open(&reader).err(), Some(Error::Unwrap));
    }

    #[test]
    fn a_destroyed_epoch_is_out_of_the_grant_and_the_others_stay() {
        let reader = IdentitySecret::draw(KemSuite::XWing).unwrap();
        let epochs: Vec<_> = (0..3).map(|_| EpochSecret::draw(KemSuite::X25519).unwrap()).collect();
        let whole = epochs.iter().collect::<Vec<_>>();
        let mut grant = Grant::to_read(reader.public(), (STREAM, EpochNumber::new(7)), &whole, ALWAYS).unwrap();
        grant.revoked_at = Some(UnixMillis::new(15));
        let cut = grant.rewrapped(reader.public(), &[Some(&epochs[0]), None, Some(&epochs[2])]).unwrap();
        assert_eq!(Grant { wrapped_seeds: grant.wrapped_seeds.clone(), ..cut.clone() }, grant);
        let seeds = cut.open(&reader).unwrap();
        let opened = |number| seeds.epoch(EpochNumber::new(number), KemSuite::X25519);
        assert!(opened(7).unwrap().seed().matches(epochs[0].seed()));
        assert!(matches!(opened(8).err(), Some(Error::Missing(_))));
        assert!(opened(9).unwrap().seed().matches(epochs[2].seed()));
        let other = IdentitySecret::draw(KemSuite::XWing).unwrap();
        assert_eq!(grant.rewrapped(other.public(), &[None; 3]).err(), Some(Error::Unwrap));
        assert!(grant.rewrapped(reader.public(), &[None; 2]).is_err());
    }

    #[test]
    fn a_year_of_daily_epochs_is_one_grant_of_13_kilobytes() {
        let reader = IdentitySecret::draw(KemSuite::XWing).unwrap();
        let epoch = EpochSecret::draw(KemSuite::X25519).unwrap();
        let grant = Grant::to_read(reader.public(), (STREAM, EpochNumber::FIRST), &[&epoch; 365], ALWAYS).unwrap();
        let mut bytes = Vec::new();
        grant.encode(&mut bytes);
        assert!((12_000..14_000).contains(&bytes.len()), "{}", bytes.len());
        assert_eq!(Grant::decode(&mut Take::new(&bytes)).unwrap(), grant);
    }

    #[test]
    fn validity_ends_at_revocation() {
        let mut grant = Grant::to_write(
            IdentityId::from_bytes([2; 16]),
            STREAM,
            (EpochNumber::FIRST, EpochNumber::new(u32::MAX)),
            ALWAYS,
        );
        assert!([9, 10, 19, 20].map(|at| grant.is_valid(UnixMillis::new(at))) == [false, true, true, false]);
        grant.revoked_at = Some(UnixMillis::new(15));
        assert!([14, 15].map(|at| grant.is_valid(UnixMillis::new(at))) == [true, false]);
    }

    #[test]
    fn a_grant_of_no_epoch_or_too_many_is_refused() {
        let reader = IdentitySecret::draw(KemSuite::X25519).unwrap();
        assert!(Grant::to_read(reader.public(), (STREAM, EpochNumber::FIRST), &[], ALWAYS).is_err());
        assert!(last_epoch(EpochNumber::FIRST, MAX_EPOCHS + 1).is_err());
        assert!(last_epoch(EpochNumber::new(u32::MAX), 2).is_err());
    }
}
