//! A small world for tests: a root, a delegate, a stream with an epoch, a writer and a reader with their grants. Everything
//! comes from fixed seeds, so that the parts that can be deterministic are.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use crate::keyring::Keyring;
use crate::memory::Secret;
use crate::object::{Body, Object, SignedObject};
use crate::{
    Custodian, Delegate, Epoch, EpochNumber, EpochSecret, Grant, Identity, IdentitySecret, KemSuite, OnUnreadable,
    Powers, SigningKey, Stream, StreamId, Suite, UnixMillis,
};

/// The time at which everything was issued.
pub(crate) const THEN: UnixMillis = UnixMillis::new(1_800_000_000_000);
/// A minute later.
pub(crate) const NOW: UnixMillis = UnixMillis::new(1_800_000_060_000);
/// A day after `THEN`.
pub(crate) const TOMORROW: UnixMillis = UnixMillis::new(1_800_086_400_000);
pub(crate) const STREAM: StreamId = StreamId::from_bytes([0x5A; 16]);

pub(crate) struct World {
    pub(crate) root: SigningKey,
    pub(crate) delegate: SigningKey,
    pub(crate) writer: Arc<IdentitySecret>,
    pub(crate) reader: Arc<IdentitySecret>,
    pub(crate) epoch: EpochSecret,
}

impl World {
    pub(crate) fn new(kem: KemSuite) -> Self {
        Self {
            root: key(1),
            delegate: key(2),
            writer: Arc::new(IdentitySecret::from_seed(seed(3), kem).unwrap()),
            reader: Arc::new(IdentitySecret::from_seed(seed(4), kem).unwrap()),
            epoch: EpochSecret::from_seed(seed(5), kem),
        }
    }

    pub(crate) fn certificate(&self) -> Delegate {
        Delegate {
            key: *self.delegate.public(),
            powers: Powers::ALL,
            not_before: THEN,
            not_after: TOMORROW,
            scope: None,
        }
    }

    pub(crate) fn stream(&self) -> Stream {
        let (suite, on_unreadable) = (Suite::Aes256Gcm, OnUnreadable::Fail);
        Stream { id: STREAM, topic: "orders".into(), sealed: true, suite, on_unreadable, created: THEN }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        let (number, public) = (EpochNumber::FIRST, self.epoch.public().unwrap());
        Epoch { stream: STREAM, number, public, not_before: THEN, not_after: TOMORROW, custody: None }
    }

    pub(crate) fn identity(&self, principal: &str, secret: &IdentitySecret) -> Identity {
        Identity {
            principal: principal.into(),
            public: secret.public().clone(),
            custody: Custodian::Client,
            created: THEN,
            enrolled_by: "test".into(),
        }
    }

    pub(crate) fn write_grant(&self) -> Grant {
        Grant::to_write(self.writer.id(), STREAM, (EpochNumber::FIRST, EpochNumber::new(u32::MAX)), (THEN, TOMORROW))
    }

    pub(crate) fn read_grant(&self) -> Grant {
        Grant::to_read(self.reader.public(), (STREAM, EpochNumber::FIRST), &[&self.epoch], (THEN, TOMORROW)).unwrap()
    }

    /// Everything that a keyring needs, the delegate's certificate by the root and the rest by the delegate.
    pub(crate) fn objects(&self) -> Vec<SignedObject> {
        let by_delegate = [
            Body::Stream(self.stream()),
            Body::Epoch(self.epoch()),
            Body::Identity(self.identity("writer", &self.writer)),
            Body::Identity(self.identity("reader", &self.reader)),
            Body::Grant(self.write_grant()),
            Body::Grant(self.read_grant()),
        ];
        let mut objects = vec![sign(&self.root, Body::Delegate(self.certificate()), 1)];
        objects.extend(by_delegate.into_iter().map(|body| sign(&self.delegate, body, 1)));
        objects
    }

    pub(crate) fn keyring(&self) -> Keyring {
        let mut keyring = Keyring::new(*self.root.public());
        self.objects().iter().for_each(|object| {
            put(&mut keyring, object).unwrap();
        });
        keyring
    }
}

pub(crate) fn seed(byte: u8) -> Secret<32> {
    Secret::take(&mut [byte; 32])
}

pub(crate) fn key(byte: u8) -> SigningKey {
    SigningKey::from_seed(&seed(byte)).unwrap()
}

pub(crate) fn sign(key: &SigningKey, body: Body, version: u64) -> SignedObject {
    Object::new(body, version, THEN).sign(key).unwrap()
}

pub(crate) fn put(keyring: &mut Keyring, object: &SignedObject) -> Result<crate::Change, crate::Refusal> {
    keyring.apply(object.record_key().as_bytes(), Some(object.wire()), NOW)
}

/// While this lives, the thread's random bytes are SHA-256 of a counter.
pub(crate) struct FixedRandom;

impl FixedRandom {
    pub(crate) fn start() -> Self {
        COUNTER.set(Some(0));
        Self
    }
}

impl Drop for FixedRandom {
    fn drop(&mut self) {
        COUNTER.set(None);
    }
}

thread_local! {
    static COUNTER: core::cell::Cell<Option<u64>> = const { core::cell::Cell::new(None) };
}

/// Fills the buffer if the thread's random bytes are fixed.
pub(crate) fn fill_fixed(buffer: &mut [u8]) -> bool {
    let Some(mut counter) = COUNTER.get() else {
        return false;
    };
    for chunk in buffer.chunks_mut(32) {
        let block = crate::wire::sha256(&[b"not random", &counter.to_be_bytes()]);
        chunk.iter_mut().zip(block).for_each(|(to, from)| *to = from);
        counter += 1;
    }
    COUNTER.set(Some(counter));
    true
}
