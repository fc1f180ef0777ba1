//! A guarded adapter on a real server that is killed, sealed and slowed down: calls end in time, an outage is known while it lasts,
//! and everything works again by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{Custody, CustodyContext, IdentityId, Secret};
use barnabas_kms::{BreakerSettings, GuardSettings, Guarded, Vault};
use barnabas_tests::kms::fault::{Fault, FaultProxy};
use barnabas_tests::kms::openbao::OpenBao;
use barnabas_tests::kms::{Bench, Via, block_on};
use barnabas_tests::wait;

#[test]
fn calls_end_in_time_while_the_server_is_gone_and_work_again_when_it_is_back() {
    let mut bao = OpenBao::start();
    let key = bao.make_key();
    let guarded = guarded(&bao, bao.port());
    let wrapped = block_on(guarded.wrap(&key, &drawn(), &CONTEXT)).expect("wraps");
    assert!(guarded.outage().is_none());
    bao.stop();
    for _ in 0..3 {
        let begun = Instant::now();
        let error = block_on(guarded.unwrap(&key, &wrapped, &CONTEXT)).err().expect("nobody answers");
        assert_eq!(error.cause, CustodyCause::Unreachable, "{error}");
        assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    }
    assert_eq!(guarded.outage().expect("it lasts").error.cause, CustodyCause::Unreachable);
    bao.restart();
    wait::until_true("the server is found again", || block_on(guarded.unwrap(&key, &wrapped, &CONTEXT)).is_ok());
    assert!(guarded.outage().is_none());
    bao.seal();
    assert!(block_on(guarded.unwrap(&key, &wrapped, &CONTEXT)).is_err());
    assert!(guarded.outage().expect("it lasts").error.message.contains("unseal"));
    bao.unseal();
    wait::until_true("the server is found again", || block_on(guarded.unwrap(&key, &wrapped, &CONTEXT)).is_ok());
}

#[test]
fn a_call_that_is_asked_to_slow_down_comes_through_later() {
    let mut bao = OpenBao::start();
    let key = bao.make_key();
    let proxy = Arc::new(FaultProxy::start(bao.port()));
    let guarded = guarded(&bao, proxy.port());
    let wrapped = block_on(guarded.wrap(&key, &drawn(), &CONTEXT)).expect("wraps");
    proxy.put(Fault::Answer(bao.throttled()));
    let mending = Arc::clone(&proxy);
    let mender = std::thread::spawn(move || {
        wait::until_true("the call was refused once", || mending.met() > 0);
        mending.put(Fault::Pass);
    });
    block_on(guarded.unwrap(&key, &wrapped, &CONTEXT)).expect("tried again after the pause that was asked for");
    mender.join().expect("the proxy passes again");
}

fn guarded(bao: &OpenBao, port: u16) -> Guarded<Vault> {
    let vault = Vault::new(bao.settings(&Via::port(port))).expect("the settings are right");
    let breaker = BreakerSettings { failures: 3, pause: Duration::from_millis(200) };
    Guarded::new(Arc::new(vault), GuardSettings { breaker, ..GuardSettings::default() })
}

fn drawn() -> Secret<32> {
    Secret::draw().expect("random bytes")
}

const CONTEXT: CustodyContext = CustodyContext::IdentitySeed(IdentityId::from_bytes([1; 16]));
