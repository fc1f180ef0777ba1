//! Events of a small keyring in which everything happens once.

use std::sync::Arc;

use barnabas_crypto::{
    Body, Custodian, Delegate, Epoch, EpochNumber, EpochSecret, Escrow, EscrowSecret, Grant, Identity, IdentitySecret,
    KemSuite, Keyring, Object, OnUnreadable, Powers, Removal, Secret, SessionPlan, SignedObject, SigningKey, Stream,
    StreamFloor, StreamId, Suite, UnixMillis, WrappedSeed, Writer,
};

use super::*;

const THEN: UnixMillis = UnixMillis::new(1_800_000_000_000);
const TOMORROW: UnixMillis = UnixMillis::new(1_800_086_400_000);
const STREAM: StreamId = StreamId::from_bytes([0x5a; 16]);

struct Ring {
    keyring: Keyring,
    root: SigningKey,
    delegate: SigningKey,
    events: Vec<Event>,
}

impl Ring {
    fn new() -> Self {
        let key = |byte| SigningKey::from_seed(&Secret::take(&mut [byte; 32])).unwrap();
        let root = key(1);
        Self { keyring: Keyring::new(*root.public()), root, delegate: key(2), events: Vec::new() }
    }

    fn put(&mut self, body: Body, by_root: bool) {
        let object = self.keyring.propose(body, THEN);
        let signed = object.sign(if by_root { &self.root } else { &self.delegate }).unwrap();
        self.apply(&signed);
    }

    fn apply(&mut self, signed: &SignedObject) {
        let change = self.keyring.apply(signed.record_key().as_bytes(), Some(signed.wire()), THEN).unwrap();
        let event = Event::of_keyring(&self.keyring, change.slot, change.effect, Some(9), Found::Live);
        self.events.push(event.unwrap_or_else(|| panic!("no event of {}", signed.record_key())));
    }
}

pub(super) fn events() -> Vec<Event> {
    let mut ring = Ring::new();
    let secret = Arc::new(IdentitySecret::from_seed(Secret::take(&mut [3; 32]), KemSuite::X25519).unwrap());
    let epoch_secret = EpochSecret::draw(KemSuite::X25519).unwrap();
    let seed = |key: &str| WrappedSeed { key: key.to_owned(), blob: vec![1] };
    let delegate = Delegate {
        key: *ring.delegate.public(),
        powers: Powers::ALL,
        not_before: THEN,
        not_after: TOMORROW,
        scope: Some("or*".to_owned()),
    };
    let stream = Stream {
        id: STREAM,
        topic: "orders".to_owned(),
        sealed: true,
        suite: Suite::Aes256Gcm,
        on_unreadable: OnUnreadable::Fail,
        created: THEN,
    };
    let epoch = Epoch {
        stream: STREAM,
        number: EpochNumber::FIRST,
        public: epoch_secret.public().unwrap(),
        not_before: THEN,
        not_after: TOMORROW,
        custody: Some(seed("stream-orders")),
    };
    let identity = Identity {
        principal: "User:alice".to_owned(),
        public: secret.public().clone(),
        custody: Custodian::Gateway(seed("vault/alice")),
        created: THEN,
        enrolled_by: "policy".to_owned(),
    };
    let all = (EpochNumber::FIRST, EpochNumber::new(3));
    let grant = Grant::to_write(secret.id(), STREAM, all, (THEN, TOMORROW));
    let escrow = EscrowSecret::draw(KemSuite::X25519).unwrap();
    let escrow = Escrow {
        public: escrow.public().clone(),
        threshold: 2,
        shares: 3,
        created: THEN,
        custodians: "anna, ben, carl".to_owned(),
    };
    let escrow_slot = Body::Escrow(escrow.clone()).slot();
    ring.put(Body::Delegate(delegate), true);
    ring.put(Body::Stream(stream), false);
    ring.put(Body::Epoch(epoch.clone()), false);
    ring.put(Body::Identity(identity.clone()), false);
    ring.put(Body::Grant(grant.clone()), false);
    ring.put(Body::Escrow(escrow), true);
    let announcement = Writer::new(secret).prepare(&ring.keyring, &SessionPlan::new(STREAM), THEN).unwrap();
    ring.apply(announcement.announcement());
    ring.put(Body::Identity(Identity { custody: Custodian::Gateway(seed("kms/alice")), ..identity.clone() }), false);
    ring.put(Body::Epoch(Epoch { custody: Some(seed("kms/orders")), ..epoch.clone() }), false);
    ring.put(Body::Grant(Grant { revoked_at: Some(THEN), ..grant }), false);
    ring.put(Body::Floor(StreamFloor { stream: STREAM, minimum: EpochNumber::new(1) }), false);
    ring.put(Body::Epoch(Epoch { custody: None, ..epoch }), false);
    let removal = |target, reason: &str| Body::Removal(Removal { target, reason: reason.to_owned() });
    ring.put(removal(escrow_slot, "retired"), true);
    let client = Body::Identity(identity).slot();
    ring.put(removal(client, "left the company"), false);
    let forged = Object::new(removal(client, "forged"), 99, THEN)
        .sign(&SigningKey::from_seed(&Secret::take(&mut [9; 32])).unwrap());
    let forged = forged.unwrap();
    let refusal = ring.keyring.apply(b"grant/00", Some(forged.wire()), THEN).unwrap_err();
    ring.events.push(Event::keyring_refused("grant/00", 12, &refusal, "other"));
    ring.events
}
