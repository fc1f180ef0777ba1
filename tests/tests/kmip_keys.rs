//! What the conformance suite does not ask of a KMIP server: keys made by the gateway, names that move on, destroyed keys.

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{Custody, CustodyContext, IdentityId, Secret};
use barnabas_tests::kms::pykmip::PyKmip;
use barnabas_tests::kms::{Bench, Via, block_on};
use barnabas_tests::scratch::unique;

#[test]
fn keys_on_a_kmip_server() {
    let bench = PyKmip::start();
    a_missing_key_is_made_only_where_that_is_allowed(&bench);
    a_name_that_moves_on_keeps_what_was_wrapped(&bench);
    a_destroyed_key_is_not_found(&bench);
}

fn a_missing_key_is_made_only_where_that_is_allowed(bench: &PyKmip) {
    let via = Via::port(bench.port());
    let (careful, maker) = (bench.kmip(&via, false), bench.kmip(&via, true));
    let key = unique("made");
    let error = block_on(careful.ensure_key(&key)).expect_err("nobody made it");
    assert_eq!(error.cause, CustodyCause::NotFound, "{error}");
    block_on(maker.ensure_key(&key)).expect("it is made");
    let made = block_on(maker.current_version(&key)).expect("it is there");
    block_on(maker.ensure_key(&key)).expect("it is left as it is");
    assert_eq!(block_on(careful.current_version(&key)).expect("it is there still"), made);
    let secret = drawn();
    let wrapped = block_on(careful.wrap(&key, &secret, &CONTEXT)).expect("it is active");
    assert!(block_on(maker.unwrap(&key, &wrapped, &CONTEXT)).expect("opens").matches(&secret));
}

fn a_name_that_moves_on_keeps_what_was_wrapped(bench: &PyKmip) {
    let kmip = bench.kmip(&Via::port(bench.port()), false);
    let (key, secret) = (unique("moved"), drawn());
    let first = bench.create(&key, "gateway");
    let old = block_on(kmip.wrap(&key, &secret, &CONTEXT)).expect("wraps");
    assert_eq!(kmip.version_of(&old), Some(first.clone()));
    let second = bench.create(&key, "gateway");
    let error = block_on(kmip.wrap(&key, &secret, &CONTEXT)).expect_err("which of the two is meant?");
    assert_eq!(error.cause, CustodyCause::Invalid, "{error}");
    assert!(block_on(kmip.unwrap(&key, &old, &CONTEXT)).expect("the blob says which").matches(&secret));
    bench.deactivate(&first);
    let new = block_on(kmip.wrap(&key, &secret, &CONTEXT)).expect("one is active");
    assert_eq!(kmip.version_of(&new), Some(second.clone()));
    assert_eq!(block_on(kmip.current_version(&key)).expect("is told"), Some(second));
    let error = block_on(kmip.unwrap(&key, &old, &CONTEXT)).err().expect("its key is off");
    assert_eq!(error.cause, CustodyCause::Disabled, "{error}");
}

fn a_destroyed_key_is_not_found(bench: &PyKmip) {
    let kmip = bench.kmip(&Via::port(bench.port()), false);
    let key = unique("destroyed");
    bench.create(&key, "gateway");
    let wrapped = block_on(kmip.wrap(&key, &drawn(), &CONTEXT)).expect("wraps");
    bench.destroy(&key);
    let error = block_on(kmip.unwrap(&key, &wrapped, &CONTEXT)).err().expect("nothing opens it");
    assert_eq!(error.cause, CustodyCause::NotFound, "{error}");
}

fn drawn() -> Secret<32> {
    Secret::draw().expect("random bytes")
}

const CONTEXT: CustodyContext = CustodyContext::IdentitySeed(IdentityId::from_bytes([7; 16]));
