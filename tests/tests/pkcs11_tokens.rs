//! What the conformance suite does not ask of a token: PINs that must not be tried twice, tokens without AES-GCM, slow ones, ones
//! that are pulled out, keys that could leave, versions, keys made by the gateway. All on SoftHSM2.

use std::sync::Arc;
use std::time::Duration;

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{Custody, CustodyContext, CustodyError, IdentityId, Secret};
use barnabas_kms::{Pkcs11, Pkcs11Mechanism};
use barnabas_tests::kms::softhsm::{DEVICE_REMOVED, SoftHsm};
use barnabas_tests::kms::{Bench, block_on};
use barnabas_tests::scratch::unique;

#[test]
fn a_wrong_pin_is_shown_to_the_token_once() {
    let mut bench = SoftHsm::start();
    let key = bench.make_key();
    let token = bench.pkcs11(bench.settings());
    bench.write_pin("not-the-pin");
    for _ in 0..10 {
        let error = wrap(&token, &key).expect_err("nobody is logged in");
        assert_eq!(error.cause, CustodyCause::Unauthenticated, "{error}");
    }
    assert_eq!(bench.logins(), [PIN_INCORRECT]);
    bench.renew_credentials();
    wrap(&token, &key).expect("the right PIN is taken without a new adapter");
    assert_eq!(bench.logins(), [PIN_INCORRECT, 0]);
}

#[test]
fn a_token_without_gcm_binds_the_context_too() {
    let bench = SoftHsm::start();
    let key = unique("client");
    bench.operate(&["create", &key, "01", "both"]);
    bench.put("nogcm");
    let token = bench.pkcs11(bench.settings());
    let secret = drawn();
    let wrapped = block_on(token.wrap(&key, &secret, &CONTEXT)).expect("wraps by AES key wrap");
    assert_eq!(wrapped[1], 2, "the mechanism stands in the blob");
    assert!(block_on(token.unwrap(&key, &wrapped, &CONTEXT)).expect("opens").matches(&secret));
    let refused = |token: &Pkcs11, blob: &[u8], context| block_on(token.unwrap(&key, blob, context)).err();
    assert_eq!(refused(&token, &wrapped, &OTHER).expect("another context").cause, CustodyCause::Corrupt);
    for place in 4..wrapped.len() {
        let mut flipped = wrapped.clone();
        flipped[place] ^= 1;
        let error = refused(&token, &flipped, &CONTEXT).expect("a changed blob");
        assert_eq!(error.cause, CustodyCause::Corrupt, "byte {place}: {error}");
    }
    bench.heal();
    let other = bench.pkcs11(bench.settings());
    assert_eq!(wrap(&other, &key).expect("by AES-GCM now")[1], 1);
    assert!(block_on(other.unwrap(&key, &wrapped, &CONTEXT)).expect("opens whatever is set now").matches(&secret));
}

#[test]
fn a_slow_token_is_an_outage_and_its_queue_is_bounded() {
    let mut bench = SoftHsm::start();
    let key = bench.make_key();
    let mut settings = bench.settings();
    settings.call_timeout = Duration::from_millis(300);
    let token = Arc::new(bench.pkcs11(settings));
    wrap(&token, &key).expect("wraps");
    bench.put("sleep 900");
    let error = wrap(&token, &key).expect_err("too slow");
    assert_eq!(error.cause, CustodyCause::Unreachable, "{error}");
    let calls: Vec<_> = (0..100).map(|_| (Arc::clone(&token), key.clone())).collect();
    let causes = block_on(async {
        let asked =
            |(token, key): (Arc<Pkcs11>, String)| tokio::spawn(async move { token.current_version(&key).await });
        let mut causes = Vec::new();
        for call in calls.into_iter().map(asked).collect::<Vec<_>>() {
            causes.push(call.await.expect("no panic").expect_err("too slow").cause);
        }
        causes
    });
    assert!(causes.contains(&CustodyCause::Throttled), "more than 64 waited");
    assert!(causes.iter().all(|cause| matches!(cause, CustodyCause::Throttled | CustodyCause::Unreachable)));
    bench.heal();
    barnabas_tests::wait::until_true("the token answers again", || wrap(&token, &key).is_ok());
}

#[test]
fn a_token_in_trouble_is_an_outage_and_comes_back() {
    let mut bench = SoftHsm::start();
    let key = bench.make_key();
    let token = bench.pkcs11(bench.settings());
    let secret = drawn();
    let wrapped = block_on(token.wrap(&key, &secret, &CONTEXT)).expect("wraps");
    // Removed, device error, general error, function failed, not present, session handle invalid, not initialised, vendor's own.
    for fault in [DEVICE_REMOVED, "rv 48", "rv 5", "rv 6", "rv 224", "rv 179", "rv 400", "rv 2147483650"] {
        bench.put(fault);
        let error = block_on(token.unwrap(&key, &wrapped, &CONTEXT)).err().expect("no token");
        assert_eq!(error.cause, CustodyCause::Unreachable, "{fault}: {error}");
        bench.heal();
        let opened = block_on(token.unwrap(&key, &wrapped, &CONTEXT));
        assert!(opened.unwrap_or_else(|e| panic!("after {fault}: {e}")).matches(&secret));
    }
    for fault in ["lost", "logout", "restart"] {
        bench.put(fault);
        let opened = block_on(token.unwrap(&key, &wrapped, &CONTEXT));
        assert!(opened.unwrap_or_else(|e| panic!("during {fault}: {e}")).matches(&secret));
    }
}

#[test]
fn a_key_that_could_leave_the_token_is_refused() {
    let bench = SoftHsm::start();
    let key = unique("loose");
    bench.operate(&["extractable", &key, "01"]);
    let error = wrap(&bench.pkcs11(bench.settings()), &key).expect_err("refused");
    assert_eq!(error.cause, CustodyCause::Invalid, "{error}");
    assert!(error.message.contains("CKA_EXTRACTABLE"), "{error}");
}

#[test]
fn the_greatest_id_wraps_and_every_id_opens() {
    let bench = SoftHsm::start();
    let key = unique("client");
    let token = bench.pkcs11(bench.settings());
    bench.operate(&["create", &key, "09", "gcm"]);
    let secret = drawn();
    let old = block_on(token.wrap(&key, &secret, &CONTEXT)).expect("wraps");
    bench.operate(&["create", &key, "0100", "gcm"]);
    let new = wrap(&token, &key).expect("wraps");
    assert_eq!(block_on(token.current_version(&key)).expect("is told").as_deref(), Some("0100"));
    assert_eq!((token.version_of(&old).as_deref(), token.version_of(&new).as_deref()), (Some("09"), Some("0100")));
    assert!(block_on(token.unwrap(&key, &old, &CONTEXT)).expect("opens").matches(&secret));
    bench.operate(&["destroy", &key]);
    let error = block_on(token.unwrap(&key, &old, &CONTEXT)).err().expect("nothing opens it");
    assert_eq!(error.cause, CustodyCause::NotFound, "{error}");
}

#[test]
fn a_missing_key_is_made_only_where_that_is_allowed() {
    let bench = SoftHsm::start();
    for mechanism in [Pkcs11Mechanism::AesGcm, Pkcs11Mechanism::AesKeyWrap] {
        let key = unique("made");
        let mut settings = bench.settings();
        settings.mechanism = mechanism;
        let careful = bench.pkcs11(settings.clone());
        let error = block_on(careful.ensure_key(&key)).expect_err("nobody made it");
        assert_eq!(error.cause, CustodyCause::NotFound, "{error}");
        settings.create_keys = true;
        let maker = bench.pkcs11(settings);
        block_on(maker.ensure_key(&key)).expect("it is made");
        let made = block_on(maker.current_version(&key)).expect("it is there");
        block_on(maker.ensure_key(&key)).expect("it is left as it is");
        assert_eq!(block_on(careful.current_version(&key)).expect("it is there still"), made);
        let wrapped = wrap(&maker, &key).expect("wraps");
        block_on(careful.unwrap(&key, &wrapped, &CONTEXT)).map(|_| ()).expect("opens");
    }
}

fn wrap(token: &Pkcs11, key: &str) -> Result<Vec<u8>, CustodyError> {
    block_on(token.wrap(key, &drawn(), &CONTEXT))
}

fn drawn() -> Secret<32> {
    Secret::draw().expect("random bytes")
}

const CONTEXT: CustodyContext = CustodyContext::IdentitySeed(IdentityId::from_bytes([7; 16]));
const OTHER: CustodyContext = CustodyContext::IdentitySeed(IdentityId::from_bytes([8; 16]));
/// `CKR_PIN_INCORRECT`.
const PIN_INCORRECT: u64 = 0xA0;
