//! How a token hides 32 bytes, bound to a context: by AES-GCM, or by AES key wrap where a token has no GCM.
//!
//! AES-GCM: the token encrypts, the context is the associated data. AES key wrap (RFC 3394, SP 800-38F 6.2) has no place
//! for a context. So a key is drawn that is used once, the token wraps that key, and we seal the secret under it by
//! AES-256-GCM with the context and everything before it as associated data. Who cannot use the token's key cannot make the
//! token accept another one-time key; and under that key, nothing opens in another context. Plaintexts are wiped.

use barnabas_crypto::{Secret, Wiped};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::{Zeroize, Zeroizing};

use super::refusal::Refusal;
use super::token::{FoundKey, MAX_ID, Open};

/// How a blob was made. The numbers stand in blobs: none may change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sealing {
    AesGcm = 1,
    AesKeyWrap = 2,
}

/// Version (1) ‖ mechanism (1) ‖ length of the id (1) ‖ id ‖ body. The body of AES-GCM is nonce (12) ‖ ciphertext and tag
/// (48); that of AES key wrap is the wrapped key (40) ‖ ciphertext and tag (48).
pub(super) struct Blob<'a> {
    pub(super) mechanism: Sealing,
    pub(super) id: &'a [u8],
    /// All before the body.
    head: &'a [u8],
    body: &'a [u8],
}

impl<'a> Blob<'a> {
    /// None for what no version of this adapter made.
    pub(super) fn parse(wrapped: &'a [u8]) -> Option<Self> {
        let ([BLOB_VERSION, mechanism, length], rest) = wrapped.split_first_chunk()? else { return None };
        let (id, body) = rest.split_at_checked(usize::from(*length))?;
        let (mechanism, body_len) = match mechanism {
            1 => (Sealing::AesGcm, NONCE_LEN + SEALED_LEN),
            2 => (Sealing::AesKeyWrap, WRAPPED_LEN + SEALED_LEN),
            _ => return None,
        };
        let head = wrapped.get(..HEAD_LEN + id.len())?;
        (body.len() == body_len).then_some(Self { mechanism, id, head, body })
    }
}

/// Hides a secret under a key of the token; gives the blob.
pub(super) fn seal(open: &Open, key: &FoundKey, secret: &Secret<32>, context: &[u8]) -> Result<Vec<u8>, Refusal> {
    seal_by(open.sealing, open, key, secret, context)
}

fn seal_by(
    sealing: Sealing,
    open: &Open,
    key: &FoundKey,
    secret: &Secret<32>,
    context: &[u8],
) -> Result<Vec<u8>, Refusal> {
    let length = u8::try_from(key.id.len()).map_err(|_| Refusal::Nonsense("a key id of such a length"))?;
    debug_assert!(key.id.len() <= MAX_ID);
    let mut blob = vec![BLOB_VERSION, sealing as u8, length];
    blob.extend_from_slice(&key.id);
    match sealing {
        Sealing::AesGcm => {
            let mut nonce = [0; NONCE_LEN];
            SystemRandom::new().fill(&mut nonce).map_err(|_| Refusal::Entropy)?;
            let bound = [&blob, context].concat();
            let params = GcmParams::new(&mut nonce, &bound, TAG_BITS.into())?;
            let sealed = open.session.encrypt(&Mechanism::AesGcm(params), key.handle, secret.expose())?;
            if sealed.len() != SEALED_LEN {
                return Err(Refusal::Nonsense("a ciphertext of another length"));
            }
            // A token that draws its own nonce has put it into the place of ours.
            blob.extend_from_slice(&nonce);
            blob.extend_from_slice(&sealed);
        }
        Sealing::AesKeyWrap => {
            let once = Secret::<32>::draw().map_err(|_| Refusal::Entropy)?;
            let wrapped = wrap_once(open, key, &once)?;
            blob.extend_from_slice(&wrapped);
            let bound = [&blob, context].concat();
            let sealed = seal_under(&once, secret, &bound).ok_or(Refusal::Entropy)?;
            blob.extend_from_slice(&sealed);
        }
    }
    Ok(blob)
}

/// Opens a blob that was made under this key.
pub(super) fn open(open: &Open, key: &FoundKey, blob: &Blob<'_>, context: &[u8]) -> Result<Secret<32>, Refusal> {
    match blob.mechanism {
        Sealing::AesGcm => {
            let (nonce, sealed) = blob.body.split_first_chunk::<NONCE_LEN>().ok_or(Refusal::Wrapped)?;
            let mut nonce = *nonce;
            let bound = [blob.head, context].concat();
            let params = GcmParams::new(&mut nonce, &bound, TAG_BITS.into())?;
            let plain = Zeroizing::new(open.session.decrypt(&Mechanism::AesGcm(params), key.handle, sealed)?);
            Secret::from_slice(&plain).ok_or(Refusal::Nonsense("a plaintext of another length"))
        }
        Sealing::AesKeyWrap => {
            let (wrapped, sealed) = blob.body.split_at_checked(WRAPPED_LEN).ok_or(Refusal::Wrapped)?;
            let once = unwrap_once(open, key, wrapped)?;
            let bound = [blob.head, wrapped, context].concat();
            open_under(&once, sealed, &bound).ok_or(Refusal::Wrapped)
        }
    }
}

/// Tokens do not agree on how to say that a tag does not match, and some say only that something failed. A key that opens
/// what it closes leaves the blob at fault; else it is the token.
pub(super) fn explain(token: &Open, key: &FoundKey, sealing: Sealing, refusal: Refusal) -> Refusal {
    let probe = || {
        let secret = Secret::draw().map_err(|_| Refusal::Entropy)?;
        let bytes = seal_by(sealing, token, key, &secret, PROBE)?;
        let blob = Blob::parse(&bytes).ok_or(Refusal::Nonsense("another blob than was made"))?;
        Ok::<_, Refusal>(open(token, key, &blob, PROBE)?.matches(&secret))
    };
    match probe() {
        Ok(true) => Refusal::Wrapped,
        Ok(false) => Refusal::Nonsense("another plaintext than was encrypted"),
        Err(other) if other.may_mean_wrapped() => refusal,
        Err(other) => other,
    }
}

/// Lends the one-time key to the token for the length of a wrap.
fn wrap_once(open: &Open, key: &FoundKey, once: &Secret<32>) -> Result<Vec<u8>, Refusal> {
    let mut template = passing_key();
    template.push(Attribute::Value(once.expose().to_vec()));
    let created = open.session.create_object(&template);
    template.iter_mut().for_each(wipe);
    let passing = PassingObject { open, handle: created? };
    let wrapped = open.session.wrap_key(&Mechanism::AesKeyWrap, key.handle, passing.handle)?;
    if wrapped.len() == WRAPPED_LEN { Ok(wrapped) } else { Err(Refusal::Nonsense("a wrapped key of another length")) }
}

fn unwrap_once(open: &Open, key: &FoundKey, wrapped: &[u8]) -> Result<Secret<32>, Refusal> {
    let handle = open.session.unwrap_key(&Mechanism::AesKeyWrap, key.handle, wrapped, &passing_key())?;
    let passing = PassingObject { open, handle };
    let mut attributes = open.session.get_attributes(passing.handle, &[AttributeType::Value])?;
    let once = attributes.iter().find_map(|attribute| match attribute {
        Attribute::Value(value) => Secret::from_slice(value),
        _ => None,
    });
    attributes.iter_mut().for_each(wipe);
    once.ok_or(Refusal::Nonsense("an unwrapped key of another length"))
}

/// A key that is known to us anyway: it lives in the session, may be read, and does nothing there.
fn passing_key() -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(false),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
    ]
}

/// An object of the session that goes when it is dropped.
struct PassingObject<'a> {
    open: &'a Open,
    handle: ObjectHandle,
}

impl Drop for PassingObject<'_> {
    fn drop(&mut self) {
        // Else it goes with the session.
        let _ = self.open.session.destroy_object(self.handle);
    }
}

fn wipe(attribute: &mut Attribute) {
    if let Attribute::Value(value) = attribute {
        value.zeroize();
    }
}

/// The key is used once, so the nonce may be constant.
fn seal_under(once: &Secret<32>, secret: &Secret<32>, bound: &[u8]) -> Option<Vec<u8>> {
    let key = Wiped::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, once.expose()).ok()?));
    let mut body = Zeroizing::new(*secret.expose());
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    let tag = key.lend().seal_in_place_separate_tag(nonce, Aad::from(bound), &mut *body).ok()?;
    Some([&body[..], tag.as_ref()].concat())
}

fn open_under(once: &Secret<32>, sealed: &[u8], bound: &[u8]) -> Option<Secret<32>> {
    let key = Wiped::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, once.expose()).ok()?));
    let mut body = Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    Secret::from_slice(key.lend().open_in_place(nonce, Aad::from(bound), &mut body).ok()?)
}

/// What a probe is bound to: no context begins like this.
const PROBE: &[u8] = b"barnabas v1 pkcs11 probe";

const BLOB_VERSION: u8 = 1;
const HEAD_LEN: usize = 3;
const TAG_BITS: u64 = 128;
/// A secret of 32 bytes with its tag.
const SEALED_LEN: usize = 48;
/// RFC 3394: 8 bytes more than the key.
const WRAPPED_LEN: usize = 40;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_blob_that_is_cut_or_of_another_kind_is_none() {
        let blob = |mechanism, body: usize| [&[1, mechanism, 2, 0, 7][..], &vec![9; body]].concat();
        for (mechanism, body, sealing) in [(1, 60, Sealing::AesGcm), (2, 88, Sealing::AesKeyWrap)] {
            let bytes = blob(mechanism, body);
            let parsed = Blob::parse(&bytes).unwrap();
            assert_eq!((parsed.mechanism, parsed.id, parsed.head.len()), (sealing, &[0, 7][..], 5));
            for end in 0..bytes.len() {
                assert!(Blob::parse(bytes.get(..end).unwrap()).is_none(), "cut at {end}");
            }
            assert!(Blob::parse(&blob(mechanism, body + 1)).is_none());
            assert!(Blob::parse(&blob(mechanism + 2, body)).is_none());
        }
        assert!(Blob::parse(&[2, 1, 0]).is_none());
        assert!(Blob::parse(&[1, 1, 255, 0]).is_none());
    }

    #[test]
    fn under_the_one_time_key_nothing_opens_in_another_context() {
        let (once, secret) = (Secret::draw().unwrap(), Secret::draw().unwrap());
        let sealed = seal_under(&once, &secret, b"here").unwrap();
        assert_eq!(sealed.len(), SEALED_LEN);
        assert!(open_under(&once, &sealed, b"here").unwrap().matches(&secret));
        assert!(open_under(&once, &sealed, b"there").is_none());
        assert!(open_under(&secret, &sealed, b"here").is_none());
    }
}
