//! What a key management system must do for us: hide 32 bytes under a named key, and give them back.
//!
//! The trait that the KMS adapters implement. It names no runtime: a call is a boxed future. Every wrap is bound to its
//! context (what the secret is, whose it is), so that a wrapped seed cannot be passed off as another one. An error says
//! whose fault it is and whether asking again can help; it must never carry secret bytes.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;

use crate::memory::Secret;
use crate::wire::{Put, Take};
use crate::{EpochNumber, Error, IdentityId, KeyId, SignerId, StreamId};

/// A custody call under way.
pub type CustodyFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, CustodyError>> + Send + 'a>>;

/// A key management system. Calls may take seconds and fail; callers cache what they unwrap, bounded and expiring.
pub trait Custody: Send + Sync {
    /// Makes sure that the named key exists. A key that exists already is left as it is.
    fn ensure_key<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, ()>;

    /// Makes sure that all of the named keys exist. One by one, unless the KMS can do better.
    fn ensure_keys<'a>(&'a self, keys: &'a [String]) -> CustodyFuture<'a, ()> {
        Box::pin(async move {
            for key in keys {
                self.ensure_key(key).await?;
            }
            Ok(())
        })
    }

    /// Hides a secret under the named key, bound to the context.
    fn wrap<'a>(
        &'a self,
        key: &'a str,
        secret: &'a Secret<32>,
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Vec<u8>>;

    /// Gives back what `wrap` hid under the same key and context.
    fn unwrap<'a>(
        &'a self,
        key: &'a str,
        wrapped: &'a [u8],
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Secret<32>>;

    /// One line for an operator: which vendor, at which address. Holds no secret and asks nobody.
    fn describe(&self) -> String {
        String::from("key management system")
    }

    /// The version of the key that made a wrapped secret, in the vendor's words; none where the blob does not tell.
    fn version_of(&self, wrapped: &[u8]) -> Option<String> {
        let _ = wrapped;
        None
    }

    /// The version that `wrap` would use now, in the words of [`Custody::version_of`]; none where keys have no versions
    /// or the vendor does not tell.
    fn current_version<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, Option<String>> {
        let _ = key;
        Box::pin(async { Ok(None) })
    }

    /// Keeps short texts that are no secrets, where no broker can take them away: which topics were sealed. What is kept
    /// already stays as it is. A backend that can keep nothing does nothing.
    fn remember<'a>(&'a self, _texts: &'a [String]) -> CustodyFuture<'a, ()> {
        Box::pin(async { Ok(()) })
    }

    /// What `remember` has kept; the backend's other names may be among it.
    fn remembered(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a wrapped secret is and whose it is. Part of every wrap as associated data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CustodyContext {
    /// The seed of an epoch's key pair.
    EpochSeed(StreamId, EpochNumber),
    /// The seed of a client identity.
    IdentitySeed(IdentityId),
    /// A session secret (wrap kind 2 of an announcement).
    SessionSecret(KeyId),
    /// The seed of a steward's or delegate's signing key.
    SigningSeed(SignerId),
}

impl CustodyContext {
    /// Associated data: label ‖ purpose (1 byte) ‖ the ids, all of fixed length.
    #[must_use]
    pub fn associated_data(&self) -> Vec<u8> {
        let mut out = CONTEXT_LABEL.to_vec();
        match self {
            Self::IdentitySeed(identity) => {
                out.put_u8(1);
                out.put_raw(identity.as_bytes());
            }
            Self::EpochSeed(stream, epoch) => {
                out.put_u8(2);
                out.put_raw(stream.as_bytes());
                out.put_raw(&epoch.to_bytes());
            }
            Self::SessionSecret(key_id) => {
                out.put_u8(3);
                out.put_raw(key_id.as_bytes());
            }
            Self::SigningSeed(signer) => {
                out.put_u8(4);
                out.put_raw(signer.as_bytes());
            }
        }
        out
    }
}

/// A seed that custody hides, as keyring objects carry it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrappedSeed {
    /// The name of the key in the KMS.
    pub key: String,
    /// What the KMS gave; only it knows the form.
    pub blob: Vec<u8>,
}

impl WrappedSeed {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_bytes(self.key.as_bytes());
        out.put_bytes(&self.blob);
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Self, Error> {
        Ok(Self { key: take.text(MAX_KEY_NAME)?, blob: take.bytes(MAX_BLOB)?.to_vec() })
    }
}

/// Why a custody call failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CustodyError {
    /// What happened.
    pub cause: CustodyCause,
    /// For the operator: names the key and the remedy, never a secret.
    pub message: String,
    /// How long the KMS asks to be left alone, if it said so.
    pub retry_after: Option<Duration>,
}

impl CustodyError {
    /// An error with its text.
    #[must_use]
    pub fn new(cause: CustodyCause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into(), retry_after: None }
    }

    /// The same error, with the pause that the KMS asked for.
    #[must_use]
    pub fn with_retry_after(self, pause: Option<Duration>) -> Self {
        Self { retry_after: pause, ..self }
    }

    /// Whether the same call may succeed later: the error says nothing about the key, so what was unwrapped before may be
    /// used on for a while.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.cause, CustodyCause::Throttled | CustodyCause::Unauthenticated | CustodyCause::Unreachable)
    }
}

impl fmt::Display for CustodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause, self.message)
    }
}

impl core::error::Error for CustodyError {}

/// What happened in a custody call, as a closed list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CustodyCause {
    /// The wrapped bytes do not open with this key and context: damaged, or another's.
    Corrupt,
    /// The KMS does not let us use the key.
    Denied,
    /// The key exists and is switched off: this client stops.
    Disabled,
    /// The caller asked for something that cannot be: a key name that is not allowed.
    Invalid,
    /// No such key.
    NotFound,
    /// The KMS asks to slow down.
    Throttled,
    /// The KMS does not take the gateway's own credential (expired, revoked, wrong): a new one may come any moment.
    Unauthenticated,
    /// No answer: survived for a while from the caches, then fails closed.
    Unreachable,
}

impl CustodyCause {
    /// Who is at fault: `caller`, `gateway` (its credential), `kms` or `network`. A metric label.
    #[must_use]
    pub const fn fault(self) -> &'static str {
        match self {
            Self::Corrupt | Self::Invalid => "caller",
            Self::Denied | Self::Disabled | Self::NotFound | Self::Throttled => "kms",
            Self::Unauthenticated => "gateway",
            Self::Unreachable => "network",
        }
    }
}

impl fmt::Display for CustodyCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "wrapped key is damaged or bound to something else",
            Self::Denied => "use of the key is denied",
            Self::Disabled => "key is disabled",
            Self::Invalid => "invalid request",
            Self::NotFound => "no such key",
            Self::Throttled => "key management system asks to slow down",
            Self::Unauthenticated => "key management system does not take the gateway's credential",
            Self::Unreachable => "key management system does not answer",
        })
    }
}

const CONTEXT_LABEL: &[u8] = b"barnabas v1 custody";
/// Longest key name in bytes: cloud KMS resource names stay below it.
pub(crate) const MAX_KEY_NAME: usize = 1024;
/// Longest wrapped seed in bytes: RSA-4096 wraps and KMS envelopes stay below it.
pub(crate) const MAX_BLOB: usize = 8192;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn contexts_of_different_purpose_never_coincide() {
        let id = [1; 16];
        let contexts = [
            CustodyContext::IdentitySeed(IdentityId::from_bytes(id)),
            CustodyContext::EpochSeed(StreamId::from_bytes(id), EpochNumber::FIRST),
            CustodyContext::EpochSeed(StreamId::from_bytes(id), EpochNumber::new(1)),
            CustodyContext::SessionSecret(KeyId::from_bytes(id)),
            CustodyContext::SigningSeed(SignerId::from_bytes(id)),
        ];
        let distinct: HashSet<_> = contexts.iter().map(CustodyContext::associated_data).collect();
        assert_eq!(distinct.len(), contexts.len());
    }

    #[test]
    fn what_says_nothing_about_the_key_is_worth_another_try() {
        for cause in [
            CustodyCause::Corrupt,
            CustodyCause::Denied,
            CustodyCause::Disabled,
            CustodyCause::Invalid,
            CustodyCause::NotFound,
        ] {
            assert!(!CustodyError::new(cause, "").is_retryable());
        }
        for cause in [CustodyCause::Throttled, CustodyCause::Unauthenticated, CustodyCause::Unreachable] {
            assert!(CustodyError::new(cause, "").is_retryable());
        }
        assert_eq!(CustodyCause::Unreachable.fault(), "network");
    }
}
