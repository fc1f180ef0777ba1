//! A client's identity: one Ed25519 key that signs its announcements, one KEM key that grants are wrapped to.
//!
//! Both halves come from one 32-byte seed, so that custody wraps one thing. Arrives: a seed, drawn here or unwrapped by
//! custody. Leaves: public keys for the keyring, signatures, unwrapped grants. The seed must leave by `seed` alone, for a
//! custody wrap. An identity object is never removed while records of its writer are kept: they would become unreadable.

use ring::hkdf::{HKDF_SHA256, KeyType, Salt};

use crate::custody::{CustodyContext, WrappedSeed};
use crate::kem::{KemPublicKey, KemSecretKey, KemSuite};
use crate::memory::{Secret, Wiped};
use crate::signing::{SigningKey, VerifyingKey};
use crate::wire::{Put, Take, short_digest};
use crate::{Error, IdentityId, UnixMillis};

/// The secret half of a client identity. No `Debug`, no `Clone`; wiped when dropped.
pub struct IdentitySecret {
    seed: Secret<32>,
    signing: SigningKey,
    kem: KemSecretKey,
    public: IdentityPublic,
}

impl IdentitySecret {
    /// Draws a new identity.
    ///
    /// # Errors
    /// `Entropy`.
    pub fn draw(kem: KemSuite) -> Result<Self, Error> {
        Self::from_seed(Secret::draw()?, kem)
    }

    /// The identity of a seed that custody unwrapped.
    ///
    /// # Errors
    /// `Unsupported` if the provider refuses the derived keys.
    pub fn from_seed(seed: Secret<32>, kem: KemSuite) -> Result<Self, Error> {
        let signing = SigningKey::from_seed(&derive(&seed, SIGNING_LABEL)?)?;
        let kem = KemSecretKey::new(kem, derive(&seed, KEM_LABEL)?);
        let public = IdentityPublic { signing: *signing.public(), kem: kem.public()? };
        Ok(Self { seed, signing, kem, public })
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &IdentityPublic {
        &self.public
    }

    /// Names the public half.
    #[must_use]
    pub fn id(&self) -> IdentityId {
        self.public.id()
    }

    /// The seed, to be wrapped by custody.
    #[must_use]
    pub const fn seed(&self) -> &Secret<32> {
        &self.seed
    }

    /// Signs this identity's announcements.
    #[must_use]
    pub const fn signing_key(&self) -> &SigningKey {
        &self.signing
    }

    pub(crate) const fn kem(&self) -> &KemSecretKey {
        &self.kem
    }
}

/// The public half of a client identity.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityPublic {
    /// Verifies the identity's announcements.
    pub signing: VerifyingKey,
    /// Grants are wrapped to this key.
    pub kem: KemPublicKey,
}

impl IdentityPublic {
    /// The first 16 bytes of SHA-256("barnabas v1 identity" ‖ signing key ‖ KEM suite ‖ KEM key).
    #[must_use]
    pub fn id(&self) -> IdentityId {
        let suite = [self.kem.suite().number()];
        IdentityId::from_bytes(short_digest(&[ID_LABEL, self.signing.as_bytes(), &suite, self.kem.as_bytes()]))
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_raw(self.signing.as_bytes());
        encode_kem_key(&self.kem, out);
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Self, Error> {
        Ok(Self { signing: VerifyingKey::from_bytes(take.array()?), kem: decode_kem_key(take)? })
    }
}

/// A client's entry in the keyring (object kind 4).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The principal's name, as the listener's rules give it.
    pub principal: String,
    /// Its public keys.
    pub public: IdentityPublic,
    /// Where its secret half lives.
    pub custody: Custodian,
    /// When it was enrolled. Of several identities of one principal the latest is the current one.
    pub created: UnixMillis,
    /// Who or what enrolled it, for the auditor.
    pub enrolled_by: String,
}

impl Identity {
    /// Names the key pair.
    #[must_use]
    pub fn id(&self) -> IdentityId {
        self.public.id()
    }

    /// What a custody wrap of the seed is bound to.
    #[must_use]
    pub fn custody_context(&self) -> CustodyContext {
        CustodyContext::IdentitySeed(self.id())
    }

    /// The secret half, from the seed that custody unwrapped.
    ///
    /// # Errors
    /// `Unwrap` when the seed is not this identity's.
    pub fn unlock(&self, seed: Secret<32>) -> Result<IdentitySecret, Error> {
        let secret = IdentitySecret::from_seed(seed, self.public.kem.suite())?;
        if secret.public == self.public { Ok(secret) } else { Err(Error::Unwrap) }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_bytes(self.principal.as_bytes());
        self.public.encode(out);
        match &self.custody {
            Custodian::Client => out.put_u8(0),
            Custodian::Gateway(seed) => {
                out.put_u8(1);
                seed.encode(out);
            }
        }
        out.put_time(self.created);
        out.put_bytes(self.enrolled_by.as_bytes());
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Self, Error> {
        Ok(Self {
            principal: take.text(MAX_PRINCIPAL)?,
            public: IdentityPublic::decode(take)?,
            custody: match take.u8()? {
                0 => Custodian::Client,
                1 => Custodian::Gateway(WrappedSeed::decode(take)?),
                _ => return Err(Error::Malformed("unknown custody")),
            },
            created: take.time()?,
            enrolled_by: take.text(MAX_PRINCIPAL)?,
        })
    }
}

/// Where the secret half of an identity lives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Custodian {
    /// With the client: the gateway cannot open or seal for it.
    Client,
    /// With the gateway, wrapped by the KMS under a key of this client.
    Gateway(WrappedSeed),
}

pub(crate) fn encode_kem_key(key: &KemPublicKey, out: &mut Vec<u8>) {
    out.put_u8(key.suite().number());
    out.put_bytes(key.as_bytes());
}

pub(crate) fn decode_kem_key(take: &mut Take<'_>) -> Result<KemPublicKey, Error> {
    let suite = KemSuite::from_number(take.u8()?)?;
    KemPublicKey::from_bytes(suite, take.bytes(suite.public_key_len())?)
}

/// HKDF-SHA256 from the identity seed: one Expand per purpose.
fn derive(seed: &Secret<32>, label: &[u8]) -> Result<Secret<32>, Error> {
    struct ThirtyTwo;
    impl KeyType for ThirtyTwo {
        fn len(&self) -> usize {
            32
        }
    }
    let prk = Wiped::new(Salt::new(HKDF_SHA256, SEED_SALT).extract(seed.expose()));
    let mut out = Secret::zeroed();
    let filled = prk.lend().expand(&[label], ThirtyTwo).and_then(|okm| okm.fill(out.expose_mut()));
    filled.map_err(|_| Error::Unsupported("key derivation of this length"))?;
    Ok(out)
}

const ID_LABEL: &[u8] = b"barnabas v1 identity";
const SEED_SALT: &[u8] = b"barnabas v1 identity seed";
const SIGNING_LABEL: &[u8] = b"signing";
const KEM_LABEL: &[u8] = b"kem";
/// Longest principal name in bytes: a distinguished name with room to spare.
pub(crate) const MAX_PRINCIPAL: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_seed_gives_the_same_identity_again() {
        for suite in [KemSuite::X25519, KemSuite::XWing] {
            let one = IdentitySecret::draw(suite).unwrap();
            let two = IdentitySecret::from_seed(Secret::from_slice(one.seed().expose()).unwrap(), suite).unwrap();
            assert!(one.id() == two.id());
            assert!(one.id() != IdentitySecret::draw(suite).unwrap().id());
        }
    }

    #[test]
    fn only_the_own_seed_unlocks_an_identity() {
        let secret = IdentitySecret::draw(KemSuite::X25519).unwrap();
        let identity = Identity {
            principal: "a".into(),
            public: secret.public().clone(),
            custody: Custodian::Client,
            created: UnixMillis::new(5),
            enrolled_by: String::new(),
        };
        let seed = Secret::from_slice(secret.seed().expose()).unwrap();
        assert!(identity.unlock(seed).unwrap().id() == identity.id());
        assert_eq!(identity.unlock(Secret::draw().unwrap()).err(), Some(Error::Unwrap));
    }

    #[test]
    fn identity_reads_back() {
        let secret = IdentitySecret::draw(KemSuite::XWing).unwrap();
        let identity = Identity {
            principal: "CN=orders,O=Example".into(),
            public: secret.public().clone(),
            custody: Custodian::Gateway(WrappedSeed { key: "client/orders".into(), blob: vec![1, 2, 3] }),
            created: UnixMillis::new(5),
            enrolled_by: "steward".into(),
        };
        let mut bytes = Vec::new();
        identity.encode(&mut bytes);
        let mut take = Take::new(&bytes);
        assert_eq!(Identity::decode(&mut take).unwrap(), identity);
        take.finish().unwrap();
    }
}
