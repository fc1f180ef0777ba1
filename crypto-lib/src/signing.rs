//! Ed25519 signatures (RFC 8032): stewards, delegates and client identities.
//!
//! Arrives: a 32-byte seed, or a public key out of a keyring object. Leaves: signatures, or the statement that one
//! verifies. Every signed message begins with a label of its own, so that no signature is valid for two purposes.

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::memory::{Secret, Wiped};
use crate::wire::short_digest;
use crate::{Error, SignerId};

/// A signing key. No `Debug`, no `Clone`; wiped when dropped.
pub struct SigningKey {
    pair: Wiped<Ed25519KeyPair>,
    public: VerifyingKey,
}

impl SigningKey {
    /// The key of a seed (RFC 8032 5.1.5).
    ///
    /// # Errors
    /// `Unsupported` if the provider refuses the seed.
    pub fn from_seed(seed: &Secret<32>) -> Result<Self, Error> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose());
        let pair = Wiped::new(pair.map_err(|_| Error::Unsupported("signing seeds of this form"))?);
        let public = pair.lend().public_key().as_ref().try_into();
        let public = VerifyingKey(public.map_err(|_| Error::Unsupported("public keys of this length"))?);
        Ok(Self { pair, public })
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// Names the public half.
    #[must_use]
    pub fn signer_id(&self) -> SignerId {
        self.public.signer_id()
    }

    pub(crate) fn sign(&self, label: &[u8], message: &[u8]) -> [u8; 64] {
        let signature = self.pair.lend().sign(&[label, message].concat());
        signature.as_ref().try_into().unwrap_or([0; 64])
    }
}

/// An Ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// Takes the bytes of a public key.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 16 bytes of SHA-256("barnabas v1 signer" ‖ public key).
    #[must_use]
    pub fn signer_id(&self) -> SignerId {
        SignerId::from_bytes(short_digest(&[SIGNER_LABEL, &self.0]))
    }

    pub(crate) fn verify(&self, label: &[u8], message: &[u8], signature: &[u8; 64]) -> Result<(), Error> {
        let key = UnparsedPublicKey::new(&ED25519, &self.0);
        key.verify(&[label, message].concat(), signature).map_err(|_| Error::Signature)
    }
}

impl core::fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        crate::id::write_hex(f, &self.0)
    }
}

impl core::str::FromStr for VerifyingKey {
    type Err = Error;

    /// Reads the hex form that `Display` writes.
    fn from_str(text: &str) -> Result<Self, Error> {
        crate::id::read_hex(text).map(Self).ok_or(Error::Identifier { expected: 32 })
    }
}

const SIGNER_LABEL: &[u8] = b"barnabas v1 signer";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn signs_as_rfc_8032_test_1_says() {
        let seed: [u8; 32] = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
            .unwrap()
            .try_into()
            .unwrap();
        let key = SigningKey::from_seed(&Secret::from_slice(&seed).unwrap()).unwrap();
        assert_eq!(key.public().to_string(), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let signature = key.sign(b"", b"");
        assert!(hex::encode(signature).starts_with("e5564300c360ac729086e2cc806e828a"));
        key.public().verify(b"", b"", &signature).unwrap();
        assert_eq!(key.public().verify(b"", b"x", &signature), Err(Error::Signature));
    }
}
