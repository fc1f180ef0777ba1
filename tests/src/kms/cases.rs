//! The cases themselves: what an adapter is asked, and the only answers that are right.
//!
//! Each case makes its own keys and adapters, so that none depends on the one before. A case that puts something wrong in
//! the way also shows that all is well when it is gone: an adapter that has to be made anew would need a restart.

use std::sync::Arc;

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{
    Custody, CustodyContext, CustodyError, EpochNumber, IdentityId, KeyId, Secret, SignerId, StreamId,
};

use super::fault::{Fault, FaultProxy};
use super::{Bench, Case, Via, block_on};
use crate::certs::Authority;
use crate::scratch::Scratch;

/// Runs one case.
///
/// # Panics
/// When the adapter does not do what the case says.
pub fn run<B: Bench>(case: Case, bench: &mut B) {
    match case {
        Case::RoundTrip => round_trip(bench),
        Case::WrongContext => wrong_context(bench),
        Case::UnknownKey => unknown_key(bench),
        Case::DisabledKey => disabled_key(bench),
        Case::ExpiredCredential => expired_credential(bench),
        Case::Forbidden => forbidden(bench),
        Case::Throttling => {
            let answer = bench.throttled();
            with_fault(bench, Fault::Answer(answer), CustodyCause::Throttled);
        }
        Case::ServerError => {
            let answer = bench.broken();
            with_fault(bench, Fault::Answer(answer), CustodyCause::Unreachable);
        }
        Case::SlowAnswer => with_fault(bench, Fault::Stall, CustodyCause::Unreachable),
        Case::HalfAnswer => with_fault(bench, Fault::Half, CustodyCause::Unreachable),
        Case::WrongCertificate => wrong_certificate(bench),
        Case::GoneAndBack => gone_and_back(bench),
    }
}

fn round_trip<B: Bench>(bench: &mut B) {
    let key = bench.make_key();
    let via = Via::port(bench.port());
    let (one, other) = (bench.adapter(&via), bench.adapter(&via));
    assert!(!one.describe().is_empty() && !one.describe().contains('\n'), "{}", one.describe());
    block_on(one.ensure_key(&key)).expect("a key that exists is left as it is");
    for context in contexts() {
        let secret = Secret::<32>::draw().expect("random bytes");
        let wrapped = wrap(&one, &key, &secret, &context).unwrap_or_else(|e| panic!("{context:?}: {e}"));
        assert!(!wrapped.windows(32).any(|window| window == secret.expose()), "the secret stands in the clear");
        assert!(!wrapped.is_empty() && wrapped.len() <= 8192, "{} bytes", wrapped.len());
        for adapter in [&one, &other] {
            let opened = unwrap(adapter, &key, &wrapped, &context).unwrap_or_else(|e| panic!("{context:?}: {e}"));
            assert!(opened.matches(&secret), "another secret came back");
        }
        let current = block_on(one.current_version(&key)).expect("the current version is told");
        if let (Some(current), Some(used)) = (current, one.version_of(&wrapped)) {
            assert_eq!(current, used, "a fresh wrap has the current version");
        }
    }
}

fn wrong_context<B: Bench>(bench: &mut B) {
    let (key, other_key) = (bench.make_key(), bench.make_key());
    let adapter = bench.adapter(&Via::port(bench.port()));
    let (secret, [context, ..]) = (drawn(), contexts());
    let wrapped = wrap(&adapter, &key, &secret, &context).expect("wraps");
    for other in &contexts()[1..] {
        let error = refused(&adapter, &key, &wrapped, other);
        assert_eq!(error.cause, CustodyCause::Corrupt, "context {other:?}: {error}");
    }
    let error = refused(&adapter, &other_key, &wrapped, &context);
    assert!(!error.is_retryable(), "under another key: {error}");
    let mut spoilt = Vec::new();
    for place in [0, wrapped.len() / 2, wrapped.len() - 1] {
        let mut flipped = wrapped.clone();
        flipped[place] ^= 1;
        spoilt.push(flipped);
    }
    spoilt.extend([vec![], vec![0], vec![0xff; 60], wrapped[..wrapped.len() / 2].to_vec(), wrapped[1..].to_vec()]);
    for blob in spoilt {
        let error = refused(&adapter, &key, &blob, &context);
        assert!(!error.is_retryable(), "a spoilt wrap is no outage: {error}");
    }
    let opened = unwrap(&adapter, &key, &wrapped, &context).expect("the right one opens still");
    assert!(opened.matches(&secret));
}

fn unknown_key<B: Bench>(bench: &mut B) {
    let (key, missing) = (bench.make_key(), bench.missing_key());
    let adapter = bench.adapter(&Via::port(bench.port()));
    let (secret, [context, ..]) = (drawn(), contexts());
    let wrapped = wrap(&adapter, &key, &secret, &context).expect("wraps");
    let absent = |error: CustodyError| {
        let is_absent = matches!(error.cause, CustodyCause::NotFound | CustodyCause::Denied);
        assert!(is_absent && error.message.contains(&missing), "{error}");
    };
    // Twice: the first refusal must not have made the key.
    for _ in 0..2 {
        absent(not_wrapped(&adapter, &missing, &secret, &context));
        absent(refused(&adapter, &missing, &wrapped, &context));
    }
}

fn disabled_key<B: Bench>(bench: &mut B) {
    let (key, untouched) = (bench.make_key(), bench.make_key());
    let adapter = bench.adapter(&Via::port(bench.port()));
    let (secret, [context, ..]) = (drawn(), contexts());
    let wrapped = wrap(&adapter, &key, &secret, &context).expect("wraps");
    let kept = wrap(&adapter, &untouched, &secret, &context).expect("wraps");
    bench.disable_key(&key);
    let stopped = |error: CustodyError| {
        let is_stopped = matches!(error.cause, CustodyCause::Disabled | CustodyCause::NotFound);
        assert!(is_stopped && error.message.contains(&key), "{error}");
    };
    stopped(refused(&adapter, &key, &wrapped, &context));
    stopped(not_wrapped(&adapter, &key, &secret, &context));
    unwrap(&adapter, &untouched, &kept, &context).expect("another client's key is not concerned");
}

fn expired_credential<B: Bench>(bench: &mut B) {
    let key = bench.make_key();
    let adapter = bench.adapter(&Via::port(bench.port()));
    let (secret, [context, ..]) = (drawn(), contexts());
    let wrapped = wrap(&adapter, &key, &secret, &context).expect("wraps");
    bench.end_credentials();
    let error = refused(&adapter, &key, &wrapped, &context);
    assert_eq!(error.cause, CustodyCause::Unauthenticated, "{error}");
    assert!(error.is_retryable() && error.cause.fault() == "gateway", "{error}");
    bench.renew_credentials();
    let opened = unwrap(&adapter, &key, &wrapped, &context).expect("the new credential is found");
    assert!(opened.matches(&secret));
}

fn forbidden<B: Bench>(bench: &mut B) {
    let (key, forbidden) = (bench.make_key(), bench.make_forbidden_key());
    let adapter = bench.adapter(&Via::port(bench.port()));
    let (secret, [context, ..]) = (drawn(), contexts());
    let wrapped = wrap(&adapter, &key, &secret, &context).expect("wraps");
    for error in
        [not_wrapped(&adapter, &forbidden, &secret, &context), refused(&adapter, &forbidden, &wrapped, &context)]
    {
        assert_eq!(error.cause, CustodyCause::Denied, "{error}");
        assert!(!error.is_retryable() && error.message.contains(&forbidden), "{error}");
    }
    unwrap(&adapter, &key, &wrapped, &context).expect("a refusal disturbs nothing else");
}

/// A call works, then the fault is put in the way, then it is taken away: without a new adapter.
fn with_fault<B: Bench>(bench: &mut B, fault: Fault, cause: CustodyCause) {
    let key = bench.make_key();
    let proxy = FaultProxy::start(bench.port());
    let adapter = bench.adapter(&Via::port(proxy.port()));
    let (secret, [context, ..]) = (drawn(), contexts());
    let wrapped = wrap(&adapter, &key, &secret, &context).expect("wraps");
    proxy.put(fault);
    for error in [refused(&adapter, &key, &wrapped, &context), not_wrapped(&adapter, &key, &secret, &context)] {
        assert_eq!(error.cause, cause, "{error}");
        assert!(error.is_retryable(), "{error}");
    }
    assert!(proxy.met() > 0, "the fault was never met");
    proxy.put(Fault::Pass);
    let opened = unwrap(&adapter, &key, &wrapped, &context).expect("all is well again");
    assert!(opened.matches(&secret));
}

fn wrong_certificate<B: Bench>(bench: &mut B) {
    let key = bench.make_key();
    let scratch = Scratch::new("impostor");
    let mut theirs = Authority::new(&scratch.join("theirs"));
    let ours = Authority::new(&scratch.join("ours"));
    let proxy = FaultProxy::start(bench.port());
    proxy.put(Fault::Impostor(theirs.server("impostor", &[])));
    let adapter = bench.adapter(&Via { port: proxy.port(), ca: Some(ours.ca()) });
    let error = not_wrapped(&adapter, &key, &drawn(), &contexts()[0]);
    assert_eq!(error.cause, CustodyCause::Unreachable, "{error}");
    let text = error.to_string().to_lowercase();
    assert!(text.contains("certificate") || text.contains("trust"), "{error}");
    assert!(proxy.met() > 0, "the impostor was never met");
}

fn gone_and_back<B: Bench>(bench: &mut B) {
    let key = bench.make_key();
    let adapter = bench.adapter(&Via::port(bench.port()));
    let (secret, [context, ..]) = (drawn(), contexts());
    let wrapped = wrap(&adapter, &key, &secret, &context).expect("wraps");
    bench.stop();
    let error = refused(&adapter, &key, &wrapped, &context);
    assert_eq!(error.cause, CustodyCause::Unreachable, "{error}");
    bench.restart();
    let opened = unwrap(&adapter, &key, &wrapped, &context).expect("the server is back");
    assert!(opened.matches(&secret));
}

type Adapter = Arc<dyn Custody>;

fn wrap(adapter: &Adapter, key: &str, secret: &Secret<32>, context: &CustodyContext) -> Result<Vec<u8>, CustodyError> {
    block_on(adapter.wrap(key, secret, context))
}

fn unwrap(adapter: &Adapter, key: &str, wrapped: &[u8], context: &CustodyContext) -> Result<Secret<32>, CustodyError> {
    block_on(adapter.unwrap(key, wrapped, context))
}

#[track_caller]
fn refused(adapter: &Adapter, key: &str, wrapped: &[u8], context: &CustodyContext) -> CustodyError {
    unwrap(adapter, key, wrapped, context).err().expect("this must not open")
}

#[track_caller]
fn not_wrapped(adapter: &Adapter, key: &str, secret: &Secret<32>, context: &CustodyContext) -> CustodyError {
    match wrap(adapter, key, secret, context) {
        Ok(_) => panic!("this must not be wrapped"),
        Err(error) => error,
    }
}

fn drawn() -> Secret<32> {
    Secret::draw().expect("random bytes")
}

fn contexts() -> [CustodyContext; 5] {
    let id = [7; 16];
    [
        CustodyContext::IdentitySeed(IdentityId::from_bytes(id)),
        CustodyContext::IdentitySeed(IdentityId::from_bytes([8; 16])),
        CustodyContext::EpochSeed(StreamId::from_bytes(id), EpochNumber::FIRST),
        CustodyContext::SessionSecret(KeyId::from_bytes(id)),
        CustodyContext::SigningSeed(SignerId::from_bytes(id)),
    ]
}
