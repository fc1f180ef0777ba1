//! The escrow's promises: any m shares open every session, fewer open nothing, and only the root installs one.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::fixture::{NOW, STREAM, THEN, World, put, sign};
use crate::object::{Body, Removal};
use crate::{Place, Refusal, SessionPlan, Writer};

struct Ceremony {
    secret: EscrowSecret,
    escrow: Escrow,
    holders: Vec<HolderSecret>,
    sealed: Vec<SealedShare>,
}

fn ceremony(threshold: u8, shares: u8, kem: KemSuite) -> Ceremony {
    let holders: Vec<HolderSecret> = (0..shares).map(|_| HolderSecret::draw(kem).unwrap()).collect();
    let keys: Vec<KemPublicKey> = holders.iter().map(|holder| holder.public().clone()).collect();
    let secret = EscrowSecret::draw(kem).unwrap();
    let sealed = secret.split(threshold, &keys).unwrap();
    let public = secret.public().clone();
    let escrow = Escrow { public, threshold, shares, created: THEN, custodians: "anna, ben".to_owned() };
    Ceremony { secret, escrow, holders, sealed }
}

impl Ceremony {
    fn shares(&self, which: &[usize]) -> Vec<Share> {
        which.iter().map(|at| self.sealed[*at].open(&self.holders[*at]).unwrap()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_quorum_gives_the_key_back_and_one_share_less_does_not(
        (shares, threshold, seed) in (1u8..=16).prop_flat_map(|shares| (Just(shares), 1..=shares, any::<u64>())),
    ) {
        let made = ceremony(threshold, shares, KemSuite::X25519);
        // Some set of shares, in some order.
        let mut order: Vec<usize> = (0..usize::from(shares)).collect();
        order.sort_by_key(|at| (seed ^ (*at as u64)).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let quorum = &order[..usize::from(threshold)];
        let found = EscrowSecret::recover(&made.escrow, &made.shares(quorum)).unwrap();
        prop_assert!(found.kem().seed().matches(made.secret.kem().seed()));
        let short = made.shares(&quorum[1..]);
        let given = short.len();
        prop_assert_eq!(EscrowSecret::recover(&made.escrow, &short).err(), Some(Error::Quorum { needed: threshold, given }));
        // An object that asks for fewer than there are needed opens nothing either.
        if threshold > 1 {
            let lenient = Escrow { threshold: threshold - 1, ..made.escrow.clone() };
            prop_assert_eq!(EscrowSecret::recover(&lenient, &short).err(), Some(Error::Unwrap));
        }
    }

    #[test]
    fn the_same_share_twice_counts_once(threshold in 2u8..=5) {
        let made = ceremony(threshold, 5, KemSuite::X25519);
        let given = usize::from(threshold) - 1;
        let mut which: Vec<usize> = (0..given).collect();
        which.push(0);
        prop_assert_eq!(
            EscrowSecret::recover(&made.escrow, &made.shares(&which)).err(),
            Some(Error::Quorum { needed: threshold, given })
        );
    }
}

#[test]
fn a_wrong_share_among_enough_right_ones_is_got_round() {
    let (made, other) = (ceremony(2, 4, KemSuite::XWing), ceremony(2, 4, KemSuite::XWing));
    let mut shares = made.shares(&[0, 1, 3]);
    shares[1].value = Secret::draw().unwrap();
    assert!(EscrowSecret::recover(&made.escrow, &shares).is_ok());
    shares.pop();
    assert_eq!(EscrowSecret::recover(&made.escrow, &shares).err(), Some(Error::Unwrap));
    let foreign = EscrowSecret::recover(&made.escrow, &other.shares(&[0, 1, 2]));
    assert_eq!(foreign.err(), Some(Error::Quorum { needed: 2, given: 0 }));
}

#[test]
fn a_share_opens_with_its_holders_key_and_terms_only_and_can_be_passed_on() {
    let made = ceremony(2, 3, KemSuite::XWing);
    assert_eq!(made.sealed[0].open(&made.holders[1]).err(), Some(Error::Unwrap));
    for terms in [
        ShareTerms { index: 2, ..made.sealed[0].terms },
        ShareTerms { threshold: 1, ..made.sealed[0].terms },
        ShareTerms { shares: 4, ..made.sealed[0].terms },
        ShareTerms { escrow: EscrowId::from_bytes([7; 16]), ..made.sealed[0].terms },
    ] {
        let changed = SealedShare { terms, ..made.sealed[0].clone() };
        assert_eq!(changed.open(&made.holders[0]).err(), Some(Error::Unwrap));
    }
    let numbered =
        |index| SealedShare { terms: ShareTerms { index, ..made.sealed[0].terms }, ..made.sealed[0].clone() };
    for index in [0, 4, 255] {
        assert!(matches!(numbered(index).open(&made.holders[0]).err(), Some(Error::Malformed(_))));
    }
    let id = made.escrow.id();
    assert!(EscrowSecret::recover_retired(id, KemSuite::XWing, &made.shares(&[1, 2])).is_ok());
    let short = EscrowSecret::recover_retired(id, KemSuite::XWing, &made.shares(&[1]));
    assert_eq!(short.err(), Some(Error::Quorum { needed: 2, given: 1 }));
    let room = HolderSecret::draw(KemSuite::XWing).unwrap();
    let passed: Vec<Share> =
        made.shares(&[0, 2]).iter().map(|share| share.seal_to(room.public()).unwrap().open(&room).unwrap()).collect();
    assert!(EscrowSecret::recover(&made.escrow, &passed).is_ok());
}

#[test]
fn a_quorum_that_cannot_be_is_refused() {
    let secret = EscrowSecret::draw(KemSuite::X25519).unwrap();
    let key = || HolderSecret::draw(KemSuite::X25519).unwrap().public().clone();
    let keys: Vec<KemPublicKey> = (0..17).map(|_| key()).collect();
    for (threshold, count) in [(0, 3), (4, 3), (1, 0), (2, 17)] {
        assert!(secret.split(threshold, &keys[..count]).is_err(), "{threshold} of {count}");
    }
    assert!(secret.split(1, &[keys[0].clone(), keys[0].clone()]).is_err(), "one custodian with two shares");
    let mut bytes = Vec::new();
    let public = secret.public().clone();
    Escrow { public, threshold: 3, shares: 2, created: THEN, custodians: String::new() }.encode(&mut bytes);
    assert!(Escrow::decode(&mut Take::new(&bytes)).is_err());
}

#[test]
fn a_quorum_opens_what_was_sealed_after_the_escrow_and_nothing_from_before() {
    for kem in [KemSuite::X25519, KemSuite::XWing] {
        let (world, made) = (World::new(kem), ceremony(2, 3, kem));
        let mut keyring = world.keyring();
        let writer = Writer::new(world.writer.clone());
        let begin = |keyring: &mut Keyring| {
            let pending = writer.prepare(keyring, &SessionPlan::new(STREAM), NOW).unwrap();
            put(keyring, pending.announcement()).unwrap();
            let key_id = pending.key_id();
            let (place, mut sealed) = (Place { partition: 1, record_key: None }, Vec::new());
            pending.acknowledged().lane().unwrap().seal(&place, b"value", &mut sealed).unwrap();
            (key_id, place, sealed)
        };
        let before = begin(&mut keyring);
        put(&mut keyring, &sign(&world.root, Body::Escrow(made.escrow.clone()), 1)).unwrap();
        let after = begin(&mut keyring);
        let quorum = EscrowSecret::recover(keyring.escrow(made.escrow.id()).unwrap(), &made.shares(&[0, 2])).unwrap();
        assert_eq!(quorum.open(&keyring, after.0).unwrap().open(&after.2, &after.1).unwrap(), b"value");
        assert_eq!(
            quorum.open(&keyring, before.0).err(),
            Some(Error::Missing("wrap for this escrow in the announcement"))
        );
        let stranger = EscrowSecret::draw(kem).unwrap();
        assert!(matches!(stranger.open(&keyring, after.0).err(), Some(Error::Missing(_))));
        // Retired: what was wrapped to it stays, what comes is not wrapped to it any more.
        let removal = Removal { target: Body::Escrow(made.escrow.clone()).slot(), reason: "a custodian left".into() };
        put(&mut keyring, &sign(&world.root, Body::Removal(removal), 2)).unwrap();
        assert_eq!(keyring.escrows().count(), 0);
        let later = begin(&mut keyring);
        assert!(quorum.open(&keyring, after.0).is_ok() && quorum.open(&keyring, later.0).is_err());
    }
}

#[test]
fn only_the_root_installs_or_retires_an_escrow() {
    let (world, made) = (World::new(KemSuite::X25519), ceremony(2, 3, KemSuite::X25519));
    let mut keyring = world.keyring();
    let body = || Body::Escrow(made.escrow.clone());
    assert_eq!(put(&mut keyring, &sign(&world.delegate, body(), 1)).err(), Some(Refusal::WrongSigner));
    assert_eq!(put(&mut keyring, &sign(world.writer.signing_key(), body(), 1)).err(), Some(Refusal::WrongSigner));
    put(&mut keyring, &sign(&world.root, body(), 1)).unwrap();
    let removal = || Body::Removal(Removal { target: body().slot(), reason: String::new() });
    assert_eq!(put(&mut keyring, &sign(&world.delegate, removal(), 2)).err(), Some(Refusal::WrongSigner));
    assert_eq!(keyring.escrow(made.escrow.id()), Some(&made.escrow));
    // A head vouches for it: a broker that hides it is found out.
    let head = keyring.head_of_now(NOW, -1);
    let mut hidden = world.keyring();
    put(&mut hidden, &sign(&world.delegate, Body::Head(head), 1)).unwrap();
    assert_eq!(hidden.head_state(), crate::HeadState::Differs);
}
