//! The key schedule: from the session secret to the record key and the commitment.
//!
//! Arrives: 32 random bytes K_s with the suite and the stream. Leaves: the expanded AEAD key of the provider and the
//! commitment, by HKDF-SHA256 (RFC 5869): one Extract, one Expand each. K_s itself must never seal anything.
//! The commitment exists because GCM is not key-committing: one tag can verify under two keys.

use ring::aead::{AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::digest::{Context, SHA256};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use subtle::ConstantTimeEq;

use crate::envelope::{NONCE_LEN, Suite, TAG_LEN};
use crate::memory::{Secret, Wiped};
use crate::{Error, KeyId, StreamId};

/// Proves which session secret an announcement means, without giving it away. Public.
#[derive(Clone, Copy, Debug)]
pub struct Commitment([u8; 32]);

impl Commitment {
    /// Takes the bytes of an announcement.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, as an announcement carries them.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl KeyId {
    /// The key id of a session: the first 16 bytes of SHA-256(announcement header ‖ commitment).
    #[must_use]
    pub fn derive(announcement_header: &[u8], commitment: &Commitment) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(announcement_header);
        context.update(commitment.as_bytes());
        let digest = context.finish();
        Self::from_bytes(digest.as_ref().first_chunk().copied().unwrap_or_default())
    }
}

/// What the session secret expands to.
pub(crate) struct Schedule {
    pub(crate) key: RecordKey,
    pub(crate) commitment: Commitment,
}

/// Runs the key schedule. Refuses suites that this library does not implement.
pub(crate) fn derive(secret: &Secret<32>, suite: Suite, stream: StreamId) -> Result<Schedule, Error> {
    let prk = Wiped::new(Salt::new(HKDF_SHA256, SESSION_SALT).extract(secret.expose()));
    let context = [&[suite.number()][..], stream.as_bytes()];
    let mut record_key = Secret::<32>::zeroed();
    expand(prk.lend(), RECORD_KEY_LABEL, &context, record_key.expose_mut())?;
    let mut commitment = [0u8; 32];
    expand(prk.lend(), COMMITMENT_LABEL, &context, &mut commitment)?;
    Ok(Schedule { key: RecordKey::new(&record_key, suite)?, commitment: Commitment(commitment) })
}

fn expand(prk: &Prk, label: &[u8], context: &[&[u8]; 2], out: &mut [u8; 32]) -> Result<(), Error> {
    let [suite, stream] = *context;
    prk.expand(&[label, suite, stream], ThirtyTwo)
        .and_then(|okm| okm.fill(out))
        .map_err(|_| Error::Unsupported("key derivation of this length"))
}

struct ThirtyTwo;

impl KeyType for ThirtyTwo {
    fn len(&self) -> usize {
        32
    }
}

/// A record key, expanded by the provider; wiped when dropped.
pub(crate) struct RecordKey(Wiped<LessSafeKey>);

impl RecordKey {
    fn new(bytes: &Secret<32>, suite: Suite) -> Result<Self, Error> {
        let algorithm = match suite {
            Suite::Aes256Gcm | Suite::Aes256GcmRandomNonce => &AES_256_GCM,
            Suite::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            Suite::XAes256Gcm => return Err(Error::Unsupported("suite 3, XAES-256-GCM")),
        };
        let unbound = UnboundKey::new(algorithm, bytes.expose()).map_err(|_| Error::Unsupported("key length"))?;
        Ok(Self(Wiped::new(LessSafeKey::new(unbound))))
    }

    /// Seals in place and gives the tag.
    pub(crate) fn seal(&self, nonce: [u8; NONCE_LEN], aad: &[u8], in_out: &mut [u8]) -> Result<[u8; TAG_LEN], Error> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.lend().seal_in_place_separate_tag(nonce, Aad::from(aad), in_out);
        let tag = tag.map_err(|_| Error::Unsupported("values of this length"))?;
        tag.as_ref().try_into().map_err(|_| Error::Unsupported("tags of this length"))
    }

    /// Opens `in_out[from..]` (ciphertext ‖ tag), the plaintext lands at the start; gives its length.
    pub(crate) fn open(
        &self,
        nonce: [u8; NONCE_LEN],
        aad: &[u8],
        in_out: &mut [u8],
        from: usize,
    ) -> Result<usize, Error> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let plain = self.0.lend().open_within(nonce, Aad::from(aad), in_out, from..);
        plain.map(|plain| plain.len()).map_err(|_| Error::Authentication)
    }
}

const SESSION_SALT: &[u8] = b"barnabas v1 session";
const RECORD_KEY_LABEL: &[u8] = b"barnabas v1 record key";
const COMMITMENT_LABEL: &[u8] = b"barnabas v1 commitment";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn commitment(secret: u8, suite: Suite, stream: u8) -> [u8; 32] {
        let secret = Secret::take(&mut [secret; 32]);
        *derive(&secret, suite, StreamId::from_bytes([stream; 16])).unwrap().commitment.as_bytes()
    }

    #[test]
    fn commitment_depends_on_secret_suite_and_stream() {
        let base = commitment(1, Suite::Aes256Gcm, 1);
        assert_eq!(base, commitment(1, Suite::Aes256Gcm, 1));
        assert_ne!(base, commitment(2, Suite::Aes256Gcm, 1));
        assert_ne!(base, commitment(1, Suite::ChaCha20Poly1305, 1));
        assert_ne!(base, commitment(1, Suite::Aes256Gcm, 2));
    }

    #[test]
    fn suite_three_is_refused_by_name() {
        let refused = derive(&Secret::take(&mut [1; 32]), Suite::XAes256Gcm, StreamId::from_bytes([1; 16]));
        assert_eq!(refused.err().unwrap().to_string(), "not supported by this library: suite 3, XAES-256-GCM");
    }
}
