//! Vectors of the keyring: `vectors/keyring-x25519.json` and `vectors/keyring-x-wing.json`. Each is a script: objects that
//! arrive one after the other, and sessions that are opened in between.

use std::sync::Arc;

use serde_json::{Value, json};

use super::check;
use crate::fixture::{FixedRandom, NOW, STREAM, THEN, TOMORROW, World, key, seed, sign};
use crate::object::{Body, Object, Removal, SignedObject};
use crate::wire::sha256;
use crate::{
    Announcement, Delegate, Effect, EpochNumber, Escrow, EscrowSecret, Grant, HolderSecret, IdentitySecret, KemSuite,
    KeyId, Keyring, Place, Powers, Reader, SealedShare, SessionPlan, SigningKey, Stream, StreamFloor, StreamId,
    UnixMillis, Writer,
};

/// A keyring under test, and what was done with it.
struct Script {
    keyring: Keyring,
    steps: Vec<Value>,
}

impl Script {
    fn object(&mut self, name: &str, object: &SignedObject, expected: &str) {
        self.raw(name, &object.record_key(), Some(object.wire()), NOW, expected);
    }

    fn raw(&mut self, name: &str, record_key: &str, value: Option<&[u8]>, now: UnixMillis, expected: &str) {
        let outcome = match self.keyring.apply(record_key.as_bytes(), value, now) {
            Ok(change) => effect_name(change.effect),
            Err(refusal) => refusal.reason(),
        };
        assert_eq!(outcome, expected, "{name}");
        self.steps.push(json!({
            "do": "apply", "name": name, "record_key": record_key, "value": value.map(hex::encode), "now": now.millis(), "outcome": outcome,
        }));
    }

    /// Opens a session as a reader and, if that succeeds, a record.
    fn open(&mut self, name: &str, who: &(u8, Arc<IdentitySecret>), session: &Sealed, now: UnixMillis, expected: &str) {
        let opened = Reader::new(Arc::clone(&who.1)).open(&self.keyring, session.key_id, now);
        let outcome = match opened {
            Ok(reader) => {
                assert_eq!(reader.open(&session.record, &PLACE).unwrap(), VALUE);
                "ok"
            }
            Err(error) => error.reason(),
        };
        assert_eq!(outcome, expected, "{name}");
        self.steps.push(json!({
            "do": "open", "name": name, "identity_seed": hex::encode([who.0; 32]), "key_id": session.key_id.to_string(), "now": now.millis(),
            "record": hex::encode(&session.record), "partition": PLACE.partition, "record_key": PLACE.record_key.map(hex::encode),
            "outcome": outcome, "plain": hex::encode(VALUE),
        }));
    }

    fn caught_up(&mut self) {
        self.keyring.mark_caught_up();
        self.steps.push(json!({ "do": "caught_up" }));
    }

    /// The export file, which a reader makes of what it accepted.
    fn export(&mut self) {
        let digest = sha256(&[&self.keyring.export()]);
        self.steps.push(json!({ "do": "export", "sha256": hex::encode(digest) }));
    }

    /// The digest that a head signed now would carry.
    fn digest(&mut self) {
        let head = self.keyring.head_of_now(NOW, -1);
        self.steps.push(json!({ "do": "digest", "count": head.count, "root": hex::encode(head.root) }));
    }
}

/// A session with a record that it sealed.
struct Sealed {
    announcement: SignedObject,
    key_id: KeyId,
    record: Vec<u8>,
}

impl Sealed {
    fn new(keyring: &Keyring, writer: &Arc<IdentitySecret>) -> Self {
        let plan = SessionPlan { on_behalf_of: Some("CN=plain"), ..SessionPlan::new(STREAM) };
        let pending = Writer::new(Arc::clone(writer)).prepare(keyring, &plan, NOW).unwrap();
        let (announcement, key_id) = (pending.announcement().clone(), pending.key_id());
        let mut record = Vec::new();
        pending.acknowledged().lane().unwrap().seal(&PLACE, VALUE, &mut record).unwrap();
        Self { announcement, key_id, record }
    }
}

const PLACE: Place<'static> = Place { partition: 0, record_key: Some(b"k") };
const VALUE: &[u8] = b"a letter";

#[test]
fn keyring_with_x25519_is_as_published() {
    run("keyring-x25519.json", KemSuite::X25519);
}

#[test]
fn keyring_with_x_wing_is_as_published() {
    run("keyring-x-wing.json", KemSuite::XWing);
}

fn run(file: &str, kem: KemSuite) {
    let _fixed = FixedRandom::start();
    let world = World::new(kem);
    let reader = (4, Arc::clone(&world.reader));
    let writer = (3, Arc::clone(&world.writer));
    let mut script = Script { keyring: Keyring::new(*world.root.public()), steps: Vec::new() };
    let objects = world.objects();
    script.object("a stream, before the certificate of its signer", &objects[1], "waiting");
    script.object("the certificate", &objects[0], "added");
    for object in &objects[2..] {
        script.object(object.body().kind().to_string().as_str(), object, "added");
    }
    script.digest();
    script.object("the same again", &objects[2], "unchanged");
    forgeries(&mut script, &world);
    let session = Sealed::new(&script.keyring, &world.writer);
    script.open("before its announcement", &reader, &session, NOW, "missing");
    announcements(&mut script, &world, &session);
    script.open("by the reader", &reader, &session, NOW, "ok");
    script.open("by the writer, who may not read", &writer, &session, NOW, "not_granted");
    script.open("when the grant is over", &reader, &session, TOMORROW, "not_granted");
    wrong_secret(&mut script, &world, &reader);
    powers_and_scopes(&mut script, &world);
    escrows(&mut script, &world, kem);
    destroyed(&mut script, &world, &reader);
    later(&mut script, &world, &session, &reader);
    script.digest();
    script.export();
    let made = json!({
        "format": "ENVELOPE.md, sections 7 to 12",
        "root": world.root.public().to_string(),
        "kem_suite": kem.number(),
        "identities": [identity_json(3, &world.writer), identity_json(4, &world.reader)],
        "steps": script.steps,
    });
    check(file, &made);
}

fn identity_json(byte: u8, identity: &IdentitySecret) -> Value {
    json!({
        "seed": hex::encode(seed(byte).expose()),
        "signing_key": identity.public().signing.to_string(),
        "kem_key": hex::encode(identity.public().kem.as_bytes()),
        "id": identity.id().to_string(),
    })
}

fn forgeries(script: &mut Script, world: &World) {
    let renamed = || Body::Stream(Stream { topic: "orders2".into(), ..world.stream() });
    let good = sign(&world.delegate, renamed(), 2);
    let key_of = good.record_key();
    script.raw("a bare tombstone", &key_of, None, NOW, "bare_tombstone");
    script.raw("under another record key", "stream/00", Some(good.wire()), NOW, "key_mismatch");
    let changed = |at: usize, bit: u8| {
        let mut wire = good.wire().to_vec();
        let at = at.min(wire.len() - 1);
        wire[at] ^= bit;
        wire
    };
    script.raw("signature changed", &key_of, Some(&changed(usize::MAX, 1)), NOW, "bad_signature");
    script.raw("version changed", &key_of, Some(&changed(29, 4)), NOW, "bad_signature");
    script.raw("topic changed", &key_of, Some(&changed(good.wire().len() - 64 - 12, 1)), NOW, "bad_signature");
    script.raw("id changed", &key_of, Some(&changed(6, 1)), NOW, "malformed");
    script.raw("unknown kind", &key_of, Some(&changed(5, 0x40)), NOW, "unknown_kind");
    script.raw("unknown format", &key_of, Some(&changed(4, 2)), NOW, "malformed");
    let wire = good.wire();
    script.raw("unsigned", &key_of, Some(&wire[..wire.len() - 64]), NOW, "unsigned");
    script.raw("cut short", &key_of, Some(&wire[..wire.len() - 1]), NOW, "malformed");
    script.raw("a byte appended", &key_of, Some(&[wire, b"\0"].concat()), NOW, "malformed");
    script.raw("empty", &key_of, Some(b""), NOW, "malformed");
    script.object("signed by a client", &sign(world.writer.signing_key(), renamed(), 2), "wrong_signer");
    script.object("signed by no one known", &sign(&key(77), renamed(), 2), "waiting");
    script.object("same version, other content", &sign(&world.delegate, renamed(), 1), "conflict");
    let issued = |at: UnixMillis| Object::new(renamed(), 2, at).sign(&world.delegate).unwrap();
    script.object("before the certificate's time", &issued(UnixMillis::new(THEN.millis() - 1)), "expired_delegate");
    script.object("issued in the future", &issued(NOW.plus_millis(300_001)), "from_the_future");
    script.object("a new version", &good, "replaced");
    script.object("the old version again", &world.objects()[1], "older");
    let back = Body::Stream(world.stream());
    script.object("and back, by the root", &sign(&world.root, back, 3), "replaced");
}

fn announcements(script: &mut Script, world: &World, session: &Sealed) {
    let body = || session.announcement.body().clone();
    script.object(
        "an announcement signed by another client",
        &sign(world.reader.signing_key(), body(), 1),
        "wrong_signer",
    );
    script.object("an announcement signed by the root", &sign(&world.root, body(), 1), "wrong_signer");
    let other = Sealed::new(&script.keyring, &world.writer);
    let key_of = session.announcement.record_key();
    script.raw(
        "another announcement under this key id's record key",
        &key_of,
        Some(other.announcement.wire()),
        NOW,
        "key_mismatch",
    );
    let mut colliding = other.announcement.wire().to_vec();
    colliding[6..22].copy_from_slice(session.key_id.as_bytes());
    script.raw("another announcement that claims this key id", &key_of, Some(&colliding), NOW, "malformed");
    script.object("the announcement", &session.announcement, "added");
}

/// A writer whose wrap hides another secret than the one it committed to.
fn wrong_secret(script: &mut Script, world: &World, reader: &(u8, Arc<IdentitySecret>)) {
    let plan = SessionPlan::new(STREAM);
    let draft = Writer::new(Arc::clone(&world.writer)).draft(&script.keyring, &plan, NOW).unwrap();
    let pending = draft.sign().unwrap();
    let Body::Announcement(honest) = pending.announcement().body() else { unreachable!("a session is announced") };
    let mut lying = Announcement::new(honest.terms.clone(), honest.commitment);
    lying.add_epoch_wrap(&world.epoch(), &seed(0x66)).unwrap();
    let key_id = lying.key_id();
    let announcement = sign(world.writer.signing_key(), Body::Announcement(lying), 1);
    script.object("an announcement whose wrap hides another secret", &announcement, "added");
    let mut record = Vec::new();
    pending.acknowledged().lane().unwrap().seal(&PLACE, VALUE, &mut record).unwrap();
    script.open("which is noticed", reader, &Sealed { announcement, key_id, record }, NOW, "commitment_mismatch");
}

fn powers_and_scopes(script: &mut Script, world: &World) {
    let mut delegate = |byte: u8, powers, scope: Option<&str>| -> SigningKey {
        let signer = key(byte);
        let body = Delegate { key: *signer.public(), powers, scope: scope.map(str::to_owned), ..world.certificate() };
        script.object("another delegate", &sign(&world.root, Body::Delegate(body), 1), "added");
        signer
    };
    let (weak, scoped) = (delegate(20, Powers::ENROLL, None), delegate(21, Powers::ALL, Some("eu.*")));
    let stream = |id: u8, topic: &str| {
        Body::Stream(Stream { id: StreamId::from_bytes([id; 16]), topic: topic.into(), ..world.stream() })
    };
    script.object("no power over streams", &sign(&weak, stream(0x5A, "x"), 9), "not_permitted");
    script.object(
        "no delegate signs certificates",
        &sign(&weak, Body::Delegate(world.certificate()), 9),
        "wrong_signer",
    );
    script.object("a topic in scope", &sign(&scoped, stream(0x60, "eu.orders"), 1), "added");
    script.object("a topic out of scope", &sign(&scoped, stream(0x61, "us.orders"), 1), "out_of_scope");
    script.object("a stream taken over", &sign(&scoped, stream(0x5A, "eu.stolen"), 9), "out_of_scope");
    let floor =
        |id: u8| Body::Floor(StreamFloor { stream: StreamId::from_bytes([id; 16]), minimum: EpochNumber::new(1) });
    script.object("a floor of a stream not known yet", &sign(&scoped, floor(0x62), 1), "waiting");
    script.object("a floor out of scope", &sign(&scoped, floor(0x5A), 1), "out_of_scope");
}

/// Two of three custodians open what is sealed after the root has installed their escrow.
fn escrows(script: &mut Script, world: &World, kem: KemSuite) {
    let holders = [40, 41, 42].map(|byte| (byte, HolderSecret::from_seed(seed(byte), kem).unwrap()));
    let keys = [0, 1, 2].map(|at: usize| holders[at].1.public().clone());
    let secret = EscrowSecret::draw(kem).unwrap();
    let sealed = secret.split(2, &keys).unwrap();
    let public = secret.public().clone();
    let escrow = Escrow { public, threshold: 2, shares: 3, created: THEN, custodians: "anna, ben, carl".into() };
    let body = || Body::Escrow(escrow.clone());
    let before = Sealed::new(&script.keyring, &world.writer);
    script.object("an announcement before the escrow", &before.announcement, "added");
    script.object("an escrow signed by a delegate", &sign(&world.delegate, body(), 1), "wrong_signer");
    let beyond = Escrow { threshold: 4, ..escrow.clone() };
    let mut wire = sign(&world.root, body(), 1).wire().to_vec();
    let at = wire.len() - 64 - 8 - 4 - escrow.custodians.len() - 2;
    wire[at] = beyond.threshold;
    script.raw("more needed than there are shares", &body().slot().to_string(), Some(&wire), NOW, "malformed");
    script.object("the escrow", &sign(&world.root, body(), 1), "added");
    let after = Sealed::new(&script.keyring, &world.writer);
    script.object("an announcement after the escrow", &after.announcement, "added");
    let mut open = |name: &str, which: &[usize], session: &Sealed, expected: &str| {
        let given = || which.iter().map(|at| sealed[*at].open(&holders[*at].1).unwrap()).collect::<Vec<_>>();
        let standing = script.keyring.escrow(escrow.id()).unwrap();
        let opened =
            EscrowSecret::recover(standing, &given()).and_then(|key| key.open(&script.keyring, session.key_id));
        let outcome = match opened {
            Ok(reader) => {
                assert_eq!(reader.open(&session.record, &PLACE).unwrap(), VALUE);
                "ok"
            }
            Err(error) => error.reason(),
        };
        assert_eq!(outcome, expected, "{name}");
        let shares = which.iter().map(|at| {
            let SealedShare { terms, holder, wrapped } = &sealed[*at];
            json!({
                "threshold": terms.threshold, "shares": terms.shares, "index": terms.index, "holder": holder.to_string(),
                "wrapped": hex::encode(wrapped), "holder_seed": hex::encode([holders[*at].0; 32]),
            })
        });
        let shares: Vec<Value> = shares.collect();
        script.steps.push(json!({
            "do": "escrow", "name": name, "escrow": escrow.id().to_string(), "shares": shares,
            "key_id": session.key_id.to_string(), "record": hex::encode(&session.record), "partition": PLACE.partition,
            "record_key": PLACE.record_key.map(hex::encode), "outcome": outcome, "plain": hex::encode(VALUE),
        }));
    };
    open("two custodians", &[0, 2], &after, "ok");
    open("two others, in another order", &[2, 1], &after, "ok");
    open("one custodian", &[1], &after, "quorum");
    open("one custodian twice", &[1, 1], &after, "quorum");
    open("what was announced before", &[0, 1], &before, "missing");
    let removal = Removal { target: body().slot(), reason: "replaced".into() };
    script.object(
        "a delegate retires the escrow",
        &sign(&world.delegate, Body::Removal(removal.clone()), 2),
        "wrong_signer",
    );
    script.object("the root retires the escrow", &sign(&world.root, Body::Removal(removal), 2), "removed");
}

/// The first of two epochs is destroyed.
fn destroyed(script: &mut Script, world: &World, reader: &(u8, Arc<IdentitySecret>)) {
    let session = Sealed::new(&script.keyring, &world.writer);
    script.object("an announcement in the epoch", &session.announcement, "added");
    script.open("before the epoch is destroyed", reader, &session, NOW, "ok");
    let whole = world.read_grant();
    let cut = whole.rewrapped(world.reader.public(), &[None]).unwrap();
    script.object("the grant without the seed", &sign(&world.delegate, Body::Grant(cut), 2), "replaced");
    script.open("after the epoch was destroyed", reader, &session, NOW, "missing");
    script.object("and the grant as it was, anew", &sign(&world.delegate, Body::Grant(whole), 3), "replaced");
}

fn later(script: &mut Script, world: &World, session: &Sealed, reader: &(u8, Arc<IdentitySecret>)) {
    let head = script.keyring.head_of_now(NOW, 41);
    script.object("a head", &sign(&world.delegate, Body::Head(head), 1), "added");
    let floor = |minimum| Body::Floor(StreamFloor { stream: STREAM, minimum: EpochNumber::new(minimum) });
    let stale = Sealed::new(&script.keyring, &world.writer);
    script.object("a floor", &sign(&world.delegate, floor(1), 1), "added");
    script.object("a lower floor", &sign(&world.delegate, floor(0), 2), "floor_lowered");
    script.open("what was sealed before the floor stays readable", reader, session, NOW, "ok");
    script.caught_up();
    script.object("a new announcement below the floor", &stale.announcement, "stale_epoch");
    let dated_back = sign(&world.delegate, Body::Stream(world.stream()), 9);
    let (key_of, wire) = (dated_back.record_key(), dated_back.wire());
    script.raw("dated back by an expired delegate", &key_of, Some(wire), TOMORROW, "expired_delegate");
    let granted = world.read_grant();
    let revoked = Body::Grant(Grant { revoked_at: Some(NOW), ..granted });
    script.object("the reader's grant revoked", &sign(&world.delegate, revoked, 4), "replaced");
    script.open("after the revocation", reader, session, NOW, "not_granted");
    let target = Body::Delegate(world.certificate()).slot();
    let removal = || Body::Removal(Removal { target, reason: "stolen".into() });
    script.object("a delegate removes itself", &sign(&world.delegate, removal(), 2), "wrong_signer");
    script.object("the root removes the delegate", &sign(&world.root, removal(), 2), "removed");
    script.object("what it signed counts no more", &world.objects()[2], "removed_delegate");
}

const fn effect_name(effect: Effect) -> &'static str {
    match effect {
        Effect::Added => "added",
        Effect::Removed => "removed",
        Effect::Replaced => "replaced",
        Effect::Unchanged => "unchanged",
        Effect::Waiting(_) => "waiting",
    }
}
