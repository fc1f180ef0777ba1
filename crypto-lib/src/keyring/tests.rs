//! The keyring's promises: what counts, what is refused and why, and that the order of the log does not matter.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::fixture::{NOW, STREAM, THEN, TOMORROW, World, key, put, sign};
use crate::object::{Object, Removal};
use crate::{
    Delegate, EpochNumber, Error, Grant, KemSuite, Place, Powers, Reader, Right, SessionPlan, SigningKey, Stream,
    StreamFloor, StreamId, Writer,
};

fn world() -> World {
    World::new(KemSuite::X25519)
}

#[test]
fn a_writer_and_a_reader_meet_through_the_keyring_alone() {
    for kem in [KemSuite::X25519, KemSuite::XWing] {
        let world = World::new(kem);
        let mut keyring = world.keyring();
        let pending = Writer::new(world.writer.clone()).prepare(&keyring, &SessionPlan::new(STREAM), NOW).unwrap();
        assert_eq!(put(&mut keyring, pending.announcement()).unwrap().effect, Effect::Added);
        let key_id = pending.key_id();
        let mut lane = pending.acknowledged().lane().unwrap();
        let (place, mut sealed) = (Place { partition: 1, record_key: Some(b"k") }, Vec::new());
        lane.seal(&place, b"value", &mut sealed).unwrap();
        let reader = Reader::new(world.reader.clone());
        assert_eq!(reader.open(&keyring, key_id, NOW).unwrap().open(&sealed, &place).unwrap(), b"value");
        // The writer has no grant to read: a stolen writer cannot read the topic.
        let stolen = Reader::new(world.writer.clone()).open(&keyring, key_id, NOW);
        assert_eq!(stolen.err(), Some(Error::NotGranted { right: "read", epoch: EpochNumber::FIRST }));
    }
}

#[test]
fn a_revoked_reader_opens_nothing_more() {
    let world = world();
    let mut keyring = world.keyring();
    let pending = Writer::new(world.writer.clone()).prepare(&keyring, &SessionPlan::new(STREAM), NOW).unwrap();
    put(&mut keyring, pending.announcement()).unwrap();
    let reader = Reader::new(world.reader.clone());
    let seeds = reader.seeds(&keyring, (STREAM, EpochNumber::FIRST), NOW).unwrap();
    assert!(reader.open_with(&keyring, pending.key_id(), &seeds, NOW).is_ok());
    let granted = keyring.granted(world.reader.id(), (STREAM, EpochNumber::FIRST), Right::Read, NOW).unwrap();
    let revoked = Grant { revoked_at: Some(NOW), ..granted.clone() };
    assert_eq!(put(&mut keyring, &sign(&world.delegate, Body::Grant(revoked), 2)).unwrap().effect, Effect::Replaced);
    let refused = Some(Error::NotGranted { right: "read", epoch: EpochNumber::FIRST });
    assert_eq!(reader.open(&keyring, pending.key_id(), NOW).err(), refused);
    assert_eq!(reader.open_with(&keyring, pending.key_id(), &seeds, NOW).err(), refused);
}

#[test]
fn an_announcement_of_a_writer_without_a_grant_is_not_opened() {
    let world = world();
    let mut keyring = world.keyring();
    let pending = Writer::new(world.writer.clone()).prepare(&keyring, &SessionPlan::new(STREAM), NOW).unwrap();
    put(&mut keyring, pending.announcement()).unwrap();
    let never = Grant { revoked_at: Some(THEN), ..world.write_grant() };
    put(&mut keyring, &sign(&world.delegate, Body::Grant(never), 2)).unwrap();
    let refused = Error::NotGranted { right: "write", epoch: EpochNumber::FIRST };
    assert_eq!(Reader::new(world.reader.clone()).open(&keyring, pending.key_id(), NOW).err(), Some(refused.clone()));
    let begun = Writer::new(world.writer.clone()).prepare(&keyring, &SessionPlan::new(STREAM), NOW);
    assert_eq!(begun.err(), Some(refused));
}

#[test]
fn every_way_to_forge_has_its_own_refusal() {
    let world = world();
    let mut keyring = world.keyring();
    let stream = |topic: &str| Body::Stream(Stream { topic: topic.into(), ..world.stream() });
    let good = sign(&world.delegate, stream("orders2"), 2);

    assert_eq!(keyring.apply(good.record_key().as_bytes(), None, NOW), Err(Refusal::BareTombstone));
    assert_eq!(keyring.apply(b"stream/00", Some(good.wire()), NOW), Err(Refusal::KeyMismatch));
    let mut changed = good.wire().to_vec();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(keyring.apply(good.record_key().as_bytes(), Some(&changed), NOW), Err(Refusal::BadSignature));
    let unsigned = &good.wire()[..good.wire().len() - 64];
    assert_eq!(keyring.apply(good.record_key().as_bytes(), Some(unsigned), NOW), Err(Refusal::Unsigned));
    let mut unknown = good.wire().to_vec();
    unknown[5] = 99;
    assert_eq!(keyring.apply(good.record_key().as_bytes(), Some(&unknown), NOW), Err(Refusal::UnknownKind));
    let by_writer = sign(world.writer.signing_key(), stream("mine"), 2);
    assert_eq!(put(&mut keyring, &by_writer), Err(Refusal::WrongSigner));
    let conflict = sign(&world.delegate, stream("other"), 1);
    assert_eq!(put(&mut keyring, &conflict), Err(Refusal::Conflict { version: 1 }));
    let early = Object::new(stream("early"), 2, UnixMillis::new(THEN.millis() - 1)).sign(&world.delegate).unwrap();
    assert_eq!(put(&mut keyring, &early), Err(Refusal::ExpiredDelegate));
    let ahead = Object::new(stream("ahead"), 2, NOW.plus_millis(300_001)).sign(&world.delegate).unwrap();
    assert_eq!(put(&mut keyring, &ahead), Err(Refusal::FromTheFuture { ahead_millis: 300_001 }));

    assert_eq!(put(&mut keyring, &good).unwrap().effect, Effect::Replaced);
    assert_eq!(put(&mut keyring, &good).unwrap().effect, Effect::Unchanged);
    assert_eq!(put(&mut keyring, &world.objects()[1]), Err(Refusal::Older { accepted: 2, found: 1 }));
    assert!(keyring.stream_of_topic("orders").is_none());
    assert_eq!(keyring.stream_of_topic("orders2").unwrap().id, STREAM);
}

#[test]
fn an_announcement_counts_only_under_its_writers_signature() {
    let world = world();
    let mut keyring = world.keyring();
    let pending = Writer::new(world.writer.clone()).prepare(&keyring, &SessionPlan::new(STREAM), NOW).unwrap();
    let forged = sign(world.reader.signing_key(), pending.announcement().body().clone(), 1);
    assert_eq!(put(&mut keyring, &forged), Err(Refusal::WrongSigner));
    let by_steward = sign(&world.root, pending.announcement().body().clone(), 1);
    assert_eq!(put(&mut keyring, &by_steward), Err(Refusal::WrongSigner));
}

#[test]
fn a_delegate_is_bounded_by_power_scope_and_time() {
    let world = world();
    let delegate = |byte: u8, powers, scope: Option<&str>| {
        let signer = key(byte);
        let certificate =
            Delegate { key: *signer.public(), powers, scope: scope.map(str::to_owned), ..world.certificate() };
        (signer, certificate)
    };
    let mut keyring = world.keyring();
    let enrol = |keyring: &mut Keyring, signer: SigningKey, certificate| {
        put(keyring, &sign(&world.root, Body::Delegate(certificate), 1)).unwrap();
        signer
    };
    let (signer, certificate) = delegate(20, Powers::ENROLL, None);
    let weak = enrol(&mut keyring, signer, certificate);
    let stream = Body::Stream(world.stream());
    assert_eq!(put(&mut keyring, &sign(&weak, stream, 2)), Err(Refusal::NotPermitted(Kind::Stream)));
    let certificate = Body::Delegate(world.certificate());
    assert_eq!(put(&mut keyring, &sign(&weak, certificate, 2)), Err(Refusal::WrongSigner));

    let (signer, certificate) = delegate(21, Powers::ALL, Some("eu.*"));
    let scoped = enrol(&mut keyring, signer, certificate);
    let other = Stream { id: StreamId::from_bytes([7; 16]), topic: "eu.orders".into(), ..world.stream() };
    put(&mut keyring, &sign(&scoped, Body::Stream(other), 1)).unwrap();
    let taken_over = Stream { topic: "eu.stolen".into(), ..world.stream() };
    assert_eq!(put(&mut keyring, &sign(&scoped, Body::Stream(taken_over), 2)), Err(Refusal::OutOfScope));
    let grant = Body::Grant(Grant { revoked_at: Some(THEN), ..world.write_grant() });
    assert_eq!(put(&mut keyring, &sign(&scoped, grant, 2)), Err(Refusal::OutOfScope));

    // Once the history is read, an expired delegate's back-dated object is refused.
    keyring.mark_caught_up();
    let dated_back = sign(&world.delegate, Body::Stream(world.stream()), 9);
    let late = keyring.apply(dated_back.record_key().as_bytes(), Some(dated_back.wire()), TOMORROW);
    assert_eq!(late, Err(Refusal::ExpiredDelegate));
}

#[test]
fn what_a_removed_delegate_signed_counts_no_more() {
    let world = world();
    let mut keyring = world.keyring();
    let target = Body::Delegate(world.certificate()).slot();
    let removal = |version| sign(&world.root, Body::Removal(Removal { target, reason: "stolen".into() }), version);
    let by_itself = Body::Removal(Removal { target, reason: String::new() });
    assert_eq!(put(&mut keyring, &sign(&world.delegate, by_itself, 2)), Err(Refusal::WrongSigner));
    let change = put(&mut keyring, &removal(2)).unwrap();
    assert_eq!(change.effect, Effect::Removed);
    assert_eq!(change.follow_ups.len(), 6);
    assert!(change.follow_ups.iter().all(|(_, outcome)| *outcome == Err(Refusal::RemovedDelegate)));
    assert!(keyring.stream(STREAM).is_none() && keyring.identity_of("reader").is_none());
    assert_eq!(put(&mut keyring, &world.objects()[1]), Err(Refusal::RemovedDelegate));
}

#[test]
fn a_certificate_that_is_cut_short_takes_what_was_signed_after_its_end() {
    let world = world();
    let mut keyring = world.keyring();
    let later = Object::new(Body::Stream(Stream { topic: "later".into(), ..world.stream() }), 2, NOW);
    put(&mut keyring, &later.sign(&world.delegate).unwrap()).unwrap();
    let cut = Delegate { not_after: NOW, ..world.certificate() };
    let change = put(&mut keyring, &sign(&world.root, Body::Delegate(cut), 2)).unwrap();
    let lost: Vec<_> = change.follow_ups.iter().filter(|(_, outcome)| outcome.is_err()).collect();
    assert_eq!(lost.len(), 1);
    assert!(keyring.stream(STREAM).is_none() && keyring.identity_of("reader").is_some());
}

#[test]
fn a_minimum_epoch_rises_and_never_falls() {
    let world = world();
    let mut keyring = world.keyring();
    let floor = |minimum| Body::Floor(StreamFloor { stream: STREAM, minimum: EpochNumber::new(minimum) });
    let early = Writer::new(world.writer.clone()).prepare(&keyring, &SessionPlan::new(STREAM), NOW).unwrap();
    put(&mut keyring, &sign(&world.delegate, floor(1), 1)).unwrap();
    assert_eq!(put(&mut keyring, &sign(&world.delegate, floor(0), 2)), Err(Refusal::FloorLowered));
    assert!(keyring.current_epoch(STREAM, NOW).is_none());
    keyring.mark_caught_up();
    assert_eq!(put(&mut keyring, early.announcement()), Err(Refusal::StaleEpoch));
    assert!(!early.is_accepted(&keyring), "its writer must not begin to seal");
}

#[test]
fn a_head_vouches_for_exactly_what_was_read() {
    let world = world();
    let mut keyring = world.keyring();
    assert_eq!((keyring.head_state(), keyring.head_age(NOW)), (HeadState::Missing, None));
    let head = keyring.head_of_now(THEN, 6);
    assert_eq!(head.count, 7);
    put(&mut keyring, &sign(&world.delegate, Body::Head(head.clone()), 1)).unwrap();
    assert_eq!((keyring.head_state(), keyring.head_age(NOW)), (HeadState::Verified, Some(60_000)));
    // A broker that hides the grant is noticed.
    let mut hidden = Keyring::new(*world.root.public());
    world.objects()[..6].iter().for_each(|object| drop(put(&mut hidden, object)));
    put(&mut hidden, &sign(&world.delegate, Body::Head(head), 1)).unwrap();
    assert_eq!(hidden.head_state(), HeadState::Differs);
}

#[test]
fn renewing_a_certificate_raises_no_alarm() {
    let world = world();
    let mut keyring = world.keyring();
    let head = keyring.head_of_now(THEN, 6);
    put(&mut keyring, &sign(&world.delegate, Body::Head(head), 1)).unwrap();
    let renewed = Body::Delegate(Delegate { not_after: UnixMillis::NEVER, ..world.certificate() });
    let change = put(&mut keyring, &sign(&world.root, renewed, 2)).unwrap();
    assert!(change.follow_ups.iter().all(|(_, outcome)| outcome.is_ok()));
    assert_eq!(keyring.head_state(), HeadState::Verified);
    let target = Body::Delegate(world.certificate()).slot();
    put(&mut keyring, &sign(&world.root, Body::Removal(Removal { target, reason: String::new() }), 3)).unwrap();
    assert_eq!((keyring.head_state(), keyring.head_age(NOW)), (HeadState::Missing, None));
}

#[test]
fn an_accepted_object_is_found_by_its_record_key() {
    let world = world();
    let keyring = world.keyring();
    for object in world.objects() {
        let found = keyring.accepted(object.record_key().as_bytes()).unwrap();
        assert_eq!(found.body().slot(), object.body().slot());
    }
    for absent in [&b"stream/00"[..], b"nothing/00112233445566778899aabbccddeeff", b"\xFF", b""] {
        assert!(keyring.accepted(absent).is_none());
    }
    let again = keyring.propose(Body::Stream(world.stream()), NOW);
    assert_eq!(again.version, 2);
}

#[test]
fn export_reads_back_and_damage_is_found() {
    let world = world();
    let keyring = world.keyring();
    let file = keyring.export();
    let (again, refused) = Keyring::import(*world.root.public(), &file, NOW).unwrap();
    assert!(refused.is_empty());
    assert_eq!(again.export(), file);
    for at in [0, 5, file.len() / 2, file.len() - 1] {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        assert!(Keyring::import(*world.root.public(), &damaged, NOW).is_err());
    }
    assert_eq!(Keyring::import(*world.root.public(), &file[..60], NOW).err(), Some(ImportError::Damaged));
    let (stranger, _) = Keyring::import(*key(99).public(), &file, NOW).unwrap();
    // Under another root the certificate is refused, and the rest waits for one for ever.
    assert!(stranger.is_empty());
    assert_eq!(stranger.unresolved().count(), world.objects().len() - 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn the_order_of_the_log_does_not_matter(order in Just((0..8usize).collect::<Vec<_>>()).prop_shuffle()) {
        let world = world();
        let sorted = world.keyring();
        let mut objects = world.objects();
        let announced = Writer::new(world.writer.clone()).prepare(&sorted, &SessionPlan::new(STREAM), NOW).unwrap();
        objects.push(announced.announcement().clone());
        let load = |order: &[usize]| {
            let mut keyring = Keyring::new(*world.root.public());
            order.iter().for_each(|at| { put(&mut keyring, &objects[*at]).unwrap(); });
            keyring
        };
        let (straight, shuffled) = (load(&[0, 1, 2, 3, 4, 5, 6, 7]), load(&order));
        prop_assert_eq!(straight.export(), shuffled.export());
        prop_assert_eq!(shuffled.unresolved().count(), 0);
    }

    #[test]
    fn any_bytes_apply_without_panic(key in "[a-z/0-9]{0,40}", mut bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0u8..11) {
        let mut keyring = Keyring::new(*key_of_root().public());
        prop_assert!(keyring.apply(key.as_bytes(), Some(&bytes), NOW).is_err());
        let marked = [&b"BNBO\x01"[..], &[kind]].concat();
        bytes.splice(0..0, marked);
        prop_assert!(keyring.apply(key.as_bytes(), Some(&bytes), NOW).is_err());
    }
}

fn key_of_root() -> SigningKey {
    key(1)
}
