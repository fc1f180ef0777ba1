//! Wrapping secrets to public keys: HPKE (RFC 9180) in base mode, HKDF-SHA256, AES-256-GCM.
//!
//! Arrives: a KEM public key out of a keyring object, or a 32-byte seed. Leaves: `encapsulated key | ciphertext | tag`, or
//! the secret that it hides. `info` names the purpose and `aad` the object, so that a wrap cannot be moved.
//! Costs 70-200 us a call: per session and per grant, never per record.

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::rand_core::{TryCryptoRng, TryRng};
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use zeroize::Zeroizing;

use crate::Error;
use crate::memory::{Secret, fill_random};

/// Which key encapsulation a key pair is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum KemSuite {
    /// DHKEM(X25519, HKDF-SHA256), RFC 9180 number 0x0020. Public key and encapsulated key: 32 bytes.
    X25519 = 1,
    /// X-Wing: X25519 with ML-KEM-768, number 0x647a. Public key 1,216 bytes, encapsulated key 1,120. The default.
    XWing = 2,
}

impl KemSuite {
    /// The number on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Length in bytes of a public key.
    #[must_use]
    pub const fn public_key_len(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::XWing => 1216,
        }
    }

    pub(crate) fn from_number(number: u8) -> Result<Self, Error> {
        match number {
            1 => Ok(Self::X25519),
            2 => Ok(Self::XWing),
            _ => Err(Error::Malformed("unknown KEM suite")),
        }
    }

    const fn encapsulated_len(self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::XWing => 1120,
        }
    }
}

/// A KEM public key of one suite, its length checked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct KemPublicKey {
    suite: KemSuite,
    bytes: Vec<u8>,
}

impl KemPublicKey {
    /// Takes the bytes of a public key.
    ///
    /// # Errors
    /// `Malformed` when the length is not the suite's.
    pub fn from_bytes(suite: KemSuite, bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() != suite.public_key_len() {
            return Err(Error::Malformed("a public key has the wrong length"));
        }
        Ok(Self { suite, bytes: bytes.to_vec() })
    }

    /// The suite.
    #[must_use]
    pub const fn suite(&self) -> KemSuite {
        self.suite
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Seals `plain` so that only the holder of the secret half opens it.
    pub(crate) fn wrap(&self, info: &[u8], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, Error> {
        match self.suite {
            KemSuite::X25519 => wrap::<X25519HkdfSha256>(&self.bytes, info, aad, plain),
            KemSuite::XWing => wrap::<XWing>(&self.bytes, info, aad, plain),
        }
    }
}

/// A KEM secret key: the seed, which is the private key of both suites as they serialise it.
pub(crate) struct KemSecretKey {
    suite: KemSuite,
    seed: Secret<32>,
}

impl KemSecretKey {
    pub(crate) const fn new(suite: KemSuite, seed: Secret<32>) -> Self {
        Self { suite, seed }
    }

    pub(crate) const fn seed(&self) -> &Secret<32> {
        &self.seed
    }

    pub(crate) fn public(&self) -> Result<KemPublicKey, Error> {
        let bytes = match self.suite {
            KemSuite::X25519 => public_of::<X25519HkdfSha256>(&self.seed)?,
            KemSuite::XWing => public_of::<XWing>(&self.seed)?,
        };
        KemPublicKey::from_bytes(self.suite, &bytes)
    }

    /// Opens what [`KemPublicKey::wrap`] sealed.
    pub(crate) fn unwrap(&self, info: &[u8], aad: &[u8], wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let split = wrapped.split_at_checked(self.suite.encapsulated_len());
        let (encapsulated, ciphertext) = split.ok_or(Error::Malformed("a wrapped key is too short"))?;
        match self.suite {
            KemSuite::X25519 => unwrap::<X25519HkdfSha256>(&self.seed, encapsulated, info, aad, ciphertext),
            KemSuite::XWing => unwrap::<XWing>(&self.seed, encapsulated, info, aad, ciphertext),
        }
    }
}

fn wrap<K: Kem>(public: &[u8], info: &[u8], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, Error> {
    let public = K::PublicKey::from_bytes(public).map_err(|_| Error::Malformed("not a public key of its suite"))?;
    let mut random = DrawnRandom::draw(DRAWN)?;
    let mode = OpModeS::Base;
    let sealed =
        hpke::single_shot_seal_with_rng::<AesGcm256, HkdfSha256, K>(&mode, &public, info, plain, aad, &mut random);
    let (encapsulated, ciphertext) = sealed.map_err(|_| Error::Malformed("not a public key of its suite"))?;
    if random.is_exhausted() {
        return Err(Error::Entropy);
    }
    Ok([&encapsulated.to_bytes()[..], &ciphertext].concat())
}

fn unwrap<K: Kem>(
    seed: &Secret<32>,
    encapsulated: &[u8],
    info: &[u8],
    aad: &[u8],
    ciphertext: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let secret = K::PrivateKey::from_bytes(seed.expose()).map_err(|_| Error::Unwrap)?;
    let encapsulated = K::EncappedKey::from_bytes(encapsulated).map_err(|_| Error::Unwrap)?;
    let mode = OpModeR::Base;
    hpke::single_shot_open::<AesGcm256, HkdfSha256, K>(&mode, &secret, &encapsulated, info, ciphertext, aad)
        .map(Zeroizing::new)
        .map_err(|_| Error::Unwrap)
}

fn public_of<K: Kem>(seed: &Secret<32>) -> Result<Vec<u8>, Error> {
    let secret =
        K::PrivateKey::from_bytes(seed.expose()).map_err(|_| Error::Malformed("not a private key of its suite"))?;
    Ok(K::sk_to_pk(&secret).to_bytes().to_vec())
}

/// Random bytes drawn beforehand, because what consumes them has no way to report that the random source failed.
pub(crate) struct DrawnRandom {
    bytes: Zeroizing<Vec<u8>>,
    used: usize,
    exhausted: bool,
}

impl DrawnRandom {
    /// Draws so many bytes.
    pub(crate) fn draw(count: usize) -> Result<Self, Error> {
        let mut bytes = Zeroizing::new(vec![0; count]);
        fill_random(&mut bytes)?;
        Ok(Self { bytes, used: 0, exhausted: false })
    }

    /// Whether more was asked for than there was: what came of it must not be used.
    pub(crate) const fn is_exhausted(&self) -> bool {
        self.exhausted
    }
}

impl TryRng for DrawnRandom {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Self::Error> {
        match self.bytes.get(self.used..self.used.saturating_add(out.len())) {
            Some(fresh) => out.copy_from_slice(fresh),
            None => self.exhausted = true,
        }
        self.used = self.used.saturating_add(out.len());
        Ok(())
    }
}

impl TryCryptoRng for DrawnRandom {}

/// X-Wing takes 64 bytes, X25519 32; twice that is room for a library that draws in other pieces.
const DRAWN: usize = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_wrap_opens_with_its_key_purpose_and_object_only() {
        for suite in [KemSuite::X25519, KemSuite::XWing] {
            let key = KemSecretKey::new(suite, Secret::draw().unwrap());
            let public = key.public().unwrap();
            let wrapped = public.wrap(b"info", b"aad", b"secret").unwrap();
            assert_ne!(wrapped, public.wrap(b"info", b"aad", b"secret").unwrap());
            assert_eq!(&*key.unwrap(b"info", b"aad", &wrapped).unwrap(), b"secret");
            let other = KemSecretKey::new(suite, Secret::draw().unwrap());
            assert_eq!(other.unwrap(b"info", b"aad", &wrapped).err(), Some(Error::Unwrap));
            assert_eq!(key.unwrap(b"else", b"aad", &wrapped).err(), Some(Error::Unwrap));
            assert_eq!(key.unwrap(b"info", b"else", &wrapped).err(), Some(Error::Unwrap));
            for len in [0, 31, 32, wrapped.len() - 1] {
                assert!(key.unwrap(b"info", b"aad", &wrapped[..len]).is_err());
            }
        }
    }

    #[test]
    fn a_public_key_of_another_length_is_refused() {
        assert!(KemPublicKey::from_bytes(KemSuite::XWing, &[1; 32]).is_err());
        assert!(KemPublicKey::from_bytes(KemSuite::X25519, &[1; 1216]).is_err());
    }

    #[test]
    fn random_bytes_that_run_out_are_noticed() {
        let mut random = DrawnRandom::draw(DRAWN).unwrap();
        random.try_fill_bytes(&mut [0; DRAWN]).unwrap();
        assert!(!random.exhausted);
        random.try_next_u32().unwrap();
        assert!(random.exhausted);
    }
}
