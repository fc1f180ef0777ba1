//! Escrow: a key that opens every session, and that nobody holds alone (object kind 10, wrap kind 4).
//!
//! The public half stands in the keyring, signed by the root; from then on every announcement carries one more wrap. The
//! secret half exists for a moment when it is made: it is split into n shares of which any m give it back (Shamir over
//! GF(2^8)), each sealed to the key of one custodian. Arrives: custodians' keys, or m shares. Leaves: sealed shares, or
//! opened sessions. What must never happen here: the secret half kept anywhere, or fewer than m shares telling anything.

use blahaj::{Share as Point, Sharks};
use zeroize::Zeroizing;

use crate::identity::{decode_kem_key, encode_kem_key};
use crate::kem::{DrawnRandom, KemPublicKey, KemSecretKey, KemSuite};
use crate::keyring::Keyring;
use crate::memory::Secret;
use crate::reader::trusted_announcement;
use crate::wire::{Put, Take, short_digest};
use crate::{Error, EscrowId, HolderId, KeyId, SessionReader, UnixMillis};

/// An escrow's entry in the keyring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Escrow {
    /// Session secrets are wrapped to this key.
    pub public: KemPublicKey,
    /// So many custodians together open it.
    pub threshold: u8,
    /// So many shares were made.
    pub shares: u8,
    /// When it was made.
    pub created: UnixMillis,
    /// Who holds the shares, for people: what the operator wrote down.
    pub custodians: String,
}

impl Escrow {
    /// Names the key.
    #[must_use]
    pub fn id(&self) -> EscrowId {
        escrow_id(&self.public)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        encode_kem_key(&self.public, out);
        out.put_u8(self.threshold);
        out.put_u8(self.shares);
        out.put_time(self.created);
        out.put_bytes(self.custodians.as_bytes());
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Self, Error> {
        let public = decode_kem_key(take)?;
        let (threshold, shares) = (take.u8()?, take.u8()?);
        check_quorum(threshold, shares.into())?;
        Ok(Self { public, threshold, shares, created: take.time()?, custodians: take.text(MAX_CUSTODIANS)? })
    }
}

/// The secret half of an escrow. No `Debug`, no `Clone`; wiped when dropped. Not to be stored: [`EscrowSecret::split`] it.
pub struct EscrowSecret {
    kem: KemSecretKey,
    public: KemPublicKey,
}

impl EscrowSecret {
    /// Draws a new escrow key.
    ///
    /// # Errors
    /// `Entropy`.
    pub fn draw(kem: KemSuite) -> Result<Self, Error> {
        Self::from_seed(Secret::draw()?, kem)
    }

    fn from_seed(seed: Secret<32>, kem: KemSuite) -> Result<Self, Error> {
        let kem = KemSecretKey::new(kem, seed);
        Ok(Self { public: kem.public()?, kem })
    }

    /// The public half, for the [`Escrow`] object.
    #[must_use]
    pub const fn public(&self) -> &KemPublicKey {
        &self.public
    }

    /// Splits the secret half: one share for each custodian, sealed to the custodian's key; any `threshold` of them give it
    /// back, fewer tell nothing about it.
    ///
    /// # Errors
    /// `Malformed` for no custodian, more than [`MAX_SHARES`], the same one twice, or a threshold that they cannot reach;
    /// `Entropy`.
    pub fn split(&self, threshold: u8, custodians: &[KemPublicKey]) -> Result<Vec<SealedShare>, Error> {
        check_quorum(threshold, custodians.len())?;
        let twice = |(at, key): (usize, &KemPublicKey)| custodians.iter().skip(at + 1).any(|other| other == key);
        if custodians.iter().enumerate().any(twice) {
            return Err(Error::Malformed("a custodian has one share"));
        }
        let mut random = DrawnRandom::draw(SECRET_LEN * DRAWN_A_COEFFICIENT * usize::from(threshold))?;
        let points: Vec<Point> =
            Sharks(threshold).dealer_rng(self.kem.seed().expose(), &mut random).take(custodians.len()).collect();
        if random.is_exhausted() {
            return Err(Error::Entropy);
        }
        let of = ShareTerms { escrow: escrow_id(&self.public), threshold, shares: checked(custodians.len()), index: 0 };
        points
            .iter()
            .zip(custodians)
            .map(|(point, custodian)| Share::from_point(of, point)?.seal_to(custodian))
            .collect()
    }

    /// Puts the secret half together from shares. More than are needed may be given: a wrong one among them is then got
    /// round.
    ///
    /// # Errors
    /// `Quorum` with fewer different shares of this escrow than its threshold; `Unwrap` when they do not give the key that
    /// the escrow's object names.
    pub fn recover(escrow: &Escrow, shares: &[Share]) -> Result<Self, Error> {
        Self::recover_as(escrow.id(), escrow.threshold, escrow.public.suite(), shares)
    }

    /// The same for an escrow whose object is not in the keyring any more. The shares themselves say how many are needed; that
    /// it is the right key is told by its id, which is a digest of the public half.
    ///
    /// # Errors
    /// Those of [`EscrowSecret::recover`].
    pub fn recover_retired(id: EscrowId, kem: KemSuite, shares: &[Share]) -> Result<Self, Error> {
        let of_it = shares.iter().filter(|share| share.terms.escrow == id).map(|share| share.terms.threshold);
        Self::recover_as(id, of_it.max().unwrap_or(1).max(1), kem, shares)
    }

    fn recover_as(id: EscrowId, threshold: u8, kem: KemSuite, shares: &[Share]) -> Result<Self, Error> {
        let mut fitting: Vec<&Share> = Vec::new();
        for share in shares.iter().filter(|share| share.terms.escrow == id) {
            if !fitting.iter().any(|known| known.terms.index == share.terms.index) {
                fitting.push(share);
            }
        }
        let needed = usize::from(threshold);
        if fitting.len() < needed || fitting.len() > MAX_SHARES {
            return Err(Error::Quorum { needed: threshold, given: fitting.len() });
        }
        // A bit for each share that is tried: all sets of `needed` shares, at most 12,870.
        let tries = (0u32..1 << fitting.len()).filter(|set| set.count_ones() as usize == needed);
        for set in tries {
            let chosen = fitting.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1).map(|(_, share)| *share);
            let seed = join(threshold, chosen)?;
            let found = Self::from_seed(seed, kem)?;
            if escrow_id(&found.public) == id {
                return Ok(found);
            }
        }
        Err(Error::Unwrap)
    }

    /// Opens the session that a record header names. No grant to read is asked for: a quorum of custodians is the right. The
    /// writer's right is checked, as for every reader.
    ///
    /// # Errors
    /// `Missing` announcement, or wrap for this escrow in it; `NotGranted` to write; `Unwrap`; `CommitmentMismatch`.
    pub fn open(&self, keyring: &Keyring, key_id: KeyId) -> Result<SessionReader, Error> {
        trusted_announcement(keyring, key_id)?.open_with_escrow(self)
    }

    pub(crate) const fn kem(&self) -> &KemSecretKey {
        &self.kem
    }
}

/// What a share is a share of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShareTerms {
    /// Of which escrow.
    pub escrow: EscrowId,
    /// So many are needed.
    pub threshold: u8,
    /// So many were made.
    pub shares: u8,
    /// Which one, from 1.
    pub index: u8,
}

impl ShareTerms {
    /// What the sealed form is bound to.
    fn context(&self, holder: HolderId) -> Vec<u8> {
        let mut out = Vec::with_capacity(35);
        out.put_raw(self.escrow.as_bytes());
        out.put_u8(self.threshold);
        out.put_u8(self.shares);
        out.put_u8(self.index);
        out.put_raw(holder.as_bytes());
        out
    }
}

/// An opened share. No `Debug`, no `Clone`; wiped when dropped.
pub struct Share {
    terms: ShareTerms,
    value: Secret<SECRET_LEN>,
}

impl Share {
    /// What it is a share of.
    #[must_use]
    pub const fn terms(&self) -> &ShareTerms {
        &self.terms
    }

    /// Seals the share to a key: a custodian's, or the one of whoever puts the shares together.
    ///
    /// # Errors
    /// `Malformed` for a public key that is none; `Entropy`.
    pub fn seal_to(&self, holder: &KemPublicKey) -> Result<SealedShare, Error> {
        let id = holder_id(holder);
        let wrapped = holder.wrap(SHARE_INFO, &self.terms.context(id), self.value.expose())?;
        Ok(SealedShare { terms: self.terms, holder: id, wrapped })
    }

    fn from_point(of: ShareTerms, point: &Point) -> Result<Self, Error> {
        let bytes = Zeroizing::new(Vec::from(point));
        let (index, value) = bytes.split_first().ok_or(Error::Malformed("a share without content"))?;
        let value = Secret::from_slice(value).ok_or(Error::Malformed("a share has 32 bytes"))?;
        Ok(Self { terms: ShareTerms { index: *index, ..of }, value })
    }
}

/// A share as a custodian keeps it: opened by the custodian's key alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealedShare {
    /// What it is a share of.
    pub terms: ShareTerms,
    /// To whose key it is sealed.
    pub holder: HolderId,
    /// The share, wrapped.
    pub wrapped: Vec<u8>,
}

impl SealedShare {
    /// Opens the share.
    ///
    /// # Errors
    /// `Unwrap` with another key, or when anything of it was changed; `Malformed`.
    pub fn open(&self, holder: &HolderSecret) -> Result<Share, Error> {
        if self.terms.index == 0 || self.terms.index > self.terms.shares {
            return Err(Error::Malformed("shares are numbered from 1 to their count"));
        }
        let plain = holder.kem.unwrap(SHARE_INFO, &self.terms.context(self.holder), &self.wrapped)?;
        let value = Secret::from_slice(&plain).ok_or(Error::Malformed("a share has 32 bytes"))?;
        Ok(Share { terms: self.terms, value })
    }
}

/// The key of a custodian, or of whoever puts shares together. No `Debug`, no `Clone`; wiped when dropped.
pub struct HolderSecret {
    kem: KemSecretKey,
    public: KemPublicKey,
}

impl HolderSecret {
    /// Draws a new key.
    ///
    /// # Errors
    /// `Entropy`.
    pub fn draw(kem: KemSuite) -> Result<Self, Error> {
        Self::from_seed(Secret::draw()?, kem)
    }

    /// The key of a seed that was kept.
    ///
    /// # Errors
    /// `Malformed` if the seed is no key of its suite.
    pub fn from_seed(seed: Secret<32>, kem: KemSuite) -> Result<Self, Error> {
        let kem = KemSecretKey::new(kem, seed);
        Ok(Self { public: kem.public()?, kem })
    }

    /// The seed, to be kept where nobody else comes.
    #[must_use]
    pub const fn seed(&self) -> &Secret<32> {
        self.kem.seed()
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &KemPublicKey {
        &self.public
    }

    /// Names the public half.
    #[must_use]
    pub fn id(&self) -> HolderId {
        holder_id(&self.public)
    }
}

impl HolderId {
    /// The id of a custodian's public key.
    #[must_use]
    pub fn of(key: &KemPublicKey) -> Self {
        holder_id(key)
    }
}

/// The id of an escrow key, as wraps name their recipient.
pub(crate) fn escrow_id(key: &KemPublicKey) -> EscrowId {
    EscrowId::from_bytes(short_digest(&[ESCROW_LABEL, key.as_bytes()]))
}

fn holder_id(key: &KemPublicKey) -> HolderId {
    HolderId::from_bytes(short_digest(&[HOLDER_LABEL, &[key.suite().number()], key.as_bytes()]))
}

fn check_quorum(threshold: u8, shares: usize) -> Result<(), Error> {
    if threshold == 0 || usize::from(threshold) > shares || shares > MAX_SHARES {
        return Err(Error::Malformed("an escrow has 1 to 16 shares, and a threshold that they can reach"));
    }
    Ok(())
}

fn checked(count: usize) -> u8 {
    u8::try_from(count).unwrap_or(u8::MAX)
}

/// The value at 0 of the polynomials through these shares.
fn join<'a>(threshold: u8, shares: impl Iterator<Item = &'a Share>) -> Result<Secret<SECRET_LEN>, Error> {
    let mut points = Vec::new();
    for share in shares {
        let mut bytes = Zeroizing::new(Vec::with_capacity(1 + SECRET_LEN));
        bytes.push(share.terms.index);
        bytes.extend_from_slice(share.value.expose());
        points.push(Point::try_from(bytes.as_slice()).map_err(|_| Error::Malformed("a share has 32 bytes"))?);
    }
    let seed = Zeroizing::new(Sharks(threshold).recover(&points).map_err(|_| Error::Unwrap)?);
    Secret::from_slice(&seed).ok_or(Error::Malformed("a share has 32 bytes"))
}

/// Most shares of one escrow: more people than that are not brought together.
pub const MAX_SHARES: usize = 16;
const SECRET_LEN: usize = 32;
/// Random bytes for one coefficient of one polynomial: libraries draw a byte as a 32-bit number; twice that is room.
const DRAWN_A_COEFFICIENT: usize = 8;
const MAX_CUSTODIANS: usize = 1024;
const SHARE_INFO: &[u8] = b"barnabas v1 escrow share";
const ESCROW_LABEL: &[u8] = b"barnabas v1 escrow";
const HOLDER_LABEL: &[u8] = b"barnabas v1 escrow holder";

#[cfg(test)]
mod tests;
