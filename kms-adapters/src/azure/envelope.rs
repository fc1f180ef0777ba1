//! What stands in a blob: a wrapped key, and the secret that is sealed under it with its context.
//!
//! `wrapKey` has no associated data, so the context is bound by construction. A fresh 32-byte key is wrapped by the vault;
//! a key derived from it (HKDF-SHA256, RFC 5869) seals the secret by AES-256-GCM. Associated data: every byte of the blob
//! before the nonce, then the context. So neither the algorithm nor the key's name and version nor the wrapped key can be
//! exchanged. What it cannot give: RSA-OAEP is public, so whoever reads the public key can make a blob of a secret of his
//! choice; whose secret it is, signed objects of the keyring say.

use barnabas_crypto::{Secret, Wiped};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use super::Algorithm;
use crate::Error;

/// A blob taken apart: format (1 byte) ‖ algorithm (1) ‖ length (1) ‖ key's name `/` version ‖ length (2) ‖ wrapped key ‖
/// nonce (12) ‖ sealed secret (32) ‖ tag (16).
pub(super) struct Envelope<'a> {
    pub(super) algorithm: Algorithm,
    /// `name/version`.
    pub(super) key: &'a str,
    pub(super) wrapped: &'a [u8],
    head: &'a [u8],
    nonce: [u8; NONCE_LEN],
    sealed: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Makes a blob.
    ///
    /// # Errors
    /// `Entropy`; `Name` when the key's name or what the vault gave is longer than a blob can hold.
    pub(super) fn seal(
        algorithm: Algorithm,
        key: String,
        wrapped: &[u8],
        kek: &Secret<32>,
        secret: &Secret<32>,
        bound: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let key_length = u8::try_from(key.len()).map_err(|_| Error::Name)?;
        let length = u16::try_from(wrapped.len()).ok().filter(|length| *length <= MOST_WRAPPED).ok_or(Error::Name)?;
        let mut blob = vec![BLOB_FORMAT, algorithm as u8, key_length];
        blob.extend_from_slice(key.as_bytes());
        blob.extend(length.to_be_bytes());
        blob.extend_from_slice(wrapped);
        let mut nonce = [0u8; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| Error::Entropy)?;
        let aad = Aad::from([&blob, bound].concat());
        let mut body = Zeroizing::new(*secret.expose());
        let cipher = cipher(kek).ok_or(Error::Entropy)?;
        let tag = cipher.lend().seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut *body);
        let tag = tag.map_err(|_| Error::Entropy)?;
        blob.extend(nonce);
        blob.extend_from_slice(&*body);
        blob.extend_from_slice(tag.as_ref());
        Ok(blob)
    }

    /// Takes a blob apart; none if it is not whole. Authenticates nothing yet.
    pub(super) fn parse(blob: &'a [u8]) -> Option<Self> {
        let rest = blob.strip_prefix(&[BLOB_FORMAT])?;
        let ([algorithm, key_length], rest) = rest.split_first_chunk()?;
        let (key, rest) = rest.split_at_checked(usize::from(*key_length))?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = Some(u16::from_be_bytes(*length)).filter(|length| *length <= MOST_WRAPPED)?;
        let (wrapped, rest) = rest.split_at_checked(usize::from(length))?;
        let (nonce, sealed) = rest.split_first_chunk()?;
        let head = blob.get(..blob.len() - rest.len())?;
        let algorithm = Algorithm::of_number(*algorithm)?;
        let key = core::str::from_utf8(key).ok()?;
        let is_whole =
            sealed.len() == SEALED_LEN && key.rsplit_once('/').is_some_and(|(_, version)| is_version(version));
        is_whole.then_some(Self { algorithm, key, wrapped, head, nonce: *nonce, sealed })
    }

    /// The version of the key that wrapped, fit to stand in a path.
    pub(super) fn version(&self) -> &'a str {
        self.key.rsplit('/').next().unwrap_or_default()
    }

    /// The secret, if the key and everything it is bound to are the ones of `seal`.
    pub(super) fn open(&self, kek: &Secret<32>, bound: &[u8]) -> Option<Secret<32>> {
        let aad = Aad::from([self.head, bound].concat());
        let mut body = Zeroizing::new(self.sealed.to_vec());
        let nonce = Nonce::assume_unique_for_key(self.nonce);
        Secret::from_slice(cipher(kek)?.lend().open_in_place(nonce, aad, &mut body).ok()?)
    }
}

/// Versions are 32 hexadecimal digits; a managed HSM's as well.
pub(super) fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_alphanumeric())
}

/// The key for one blob: derived, so that the wrapped key itself is used for nothing else.
fn cipher(kek: &Secret<32>) -> Option<Wiped<LessSafeKey>> {
    struct Length;
    impl KeyType for Length {
        fn len(&self) -> usize {
            32
        }
    }
    let mut derived = Zeroizing::new([0u8; 32]);
    let prk = Salt::new(HKDF_SHA256, &[]).extract(kek.expose());
    prk.expand(&[KEY_LABEL], Length).ok()?.fill(&mut *derived).ok()?;
    Some(Wiped::new(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*derived).ok()?)))
}

const BLOB_FORMAT: u8 = 1;
const KEY_LABEL: &[u8] = b"barnabas v1 azure envelope";
const SEALED_LEN: usize = 32 + 16;
/// RSA-4096 gives 512 bytes.
const MOST_WRAPPED: u16 = 1024;
