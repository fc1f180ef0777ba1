//! An epoch: one KEM key pair of a stream, for a period (object kind 3).
//!
//! Writers wrap their session secrets to the public half; granted readers hold the seed of the secret half. Arrives: a
//! seed from the random source, a grant or custody. Leaves: unwrapped session secrets. A destroyed seed makes every
//! record of the epoch noise: nothing here may keep one longer than its owner does.

use crate::custody::{CustodyContext, WrappedSeed};
use crate::identity::{decode_kem_key, encode_kem_key};
use crate::kem::{KemPublicKey, KemSecretKey, KemSuite};
use crate::memory::Secret;
use crate::wire::{Put, Take};
use crate::{EpochNumber, Error, StreamId, UnixMillis};

/// An epoch's entry in the keyring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Epoch {
    /// The stream.
    pub stream: StreamId,
    /// The number, rising by one.
    pub number: EpochNumber,
    /// Session secrets are wrapped to this key.
    pub public: KemPublicKey,
    /// Sessions of this epoch begin at this time or later,
    pub not_before: UnixMillis,
    /// and end before this one.
    pub not_after: UnixMillis,
    /// The seed for the steward's own use (grants to new readers), hidden by custody; none once it was destroyed.
    pub custody: Option<WrappedSeed>,
}

impl Epoch {
    /// Whether sessions may be begun in this epoch now.
    #[must_use]
    pub fn is_open(&self, now: UnixMillis) -> bool {
        self.not_before <= now && now < self.not_after
    }

    /// What a custody wrap of the seed is bound to.
    #[must_use]
    pub const fn custody_context(&self) -> CustodyContext {
        CustodyContext::EpochSeed(self.stream, self.number)
    }

    /// The secret half, from the seed that custody unwrapped.
    ///
    /// # Errors
    /// `Unwrap` when the seed is not this epoch's.
    pub fn unlock(&self, seed: Secret<32>) -> Result<EpochSecret, Error> {
        let secret = EpochSecret::from_seed(seed, self.public.suite());
        if secret.public()? == self.public { Ok(secret) } else { Err(Error::Unwrap) }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_raw(self.stream.as_bytes());
        out.put_raw(&self.number.to_bytes());
        encode_kem_key(&self.public, out);
        out.put_time(self.not_before);
        out.put_time(self.not_after);
        out.put_option(self.custody.as_ref(), |out, seed| seed.encode(out));
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Self, Error> {
        Ok(Self {
            stream: StreamId::from_bytes(take.array()?),
            number: EpochNumber::new(take.u32()?),
            public: decode_kem_key(take)?,
            not_before: take.time()?,
            not_after: take.time()?,
            custody: take.option(WrappedSeed::decode)?,
        })
    }
}

/// The secret half of an epoch. No `Debug`, no `Clone`; wiped when dropped.
pub struct EpochSecret {
    kem: KemSecretKey,
}

impl EpochSecret {
    /// Draws the key pair of a new epoch.
    ///
    /// # Errors
    /// `Entropy`.
    pub fn draw(kem: KemSuite) -> Result<Self, Error> {
        Ok(Self::from_seed(Secret::draw()?, kem))
    }

    /// The key pair of a seed that custody or a grant gave.
    #[must_use]
    pub const fn from_seed(seed: Secret<32>, kem: KemSuite) -> Self {
        Self { kem: KemSecretKey::new(kem, seed) }
    }

    /// The seed, to be wrapped by custody or put into a grant.
    #[must_use]
    pub const fn seed(&self) -> &Secret<32> {
        self.kem.seed()
    }

    /// The public half.
    ///
    /// # Errors
    /// `Malformed` if the seed is no key of its suite.
    pub fn public(&self) -> Result<KemPublicKey, Error> {
        self.kem.public()
    }

    pub(crate) const fn kem(&self) -> &KemSecretKey {
        &self.kem
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_the_own_seed_unlocks_an_epoch() {
        for kem in [KemSuite::X25519, KemSuite::XWing] {
            let secret = EpochSecret::draw(kem).unwrap();
            let epoch = Epoch {
                stream: StreamId::from_bytes([1; 16]),
                number: EpochNumber::FIRST,
                public: secret.public().unwrap(),
                not_before: UnixMillis::new(10),
                not_after: UnixMillis::new(20),
                custody: None,
            };
            let seed = Secret::from_slice(secret.seed().expose()).unwrap();
            assert!(epoch.unlock(seed).unwrap().seed().matches(secret.seed()));
            assert_eq!(epoch.unlock(Secret::draw().unwrap()).err(), Some(Error::Unwrap));
            assert!([9, 10, 19, 20].map(|at| epoch.is_open(UnixMillis::new(at))) == [false, true, true, false]);
        }
    }
}
