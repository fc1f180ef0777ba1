//! Blobs, settings and the meaning of refusals; the real server is in the conformance suite.

#![allow(clippy::unwrap_used)]

use barnabas_crypto::IdentityId;
use barnabas_crypto::custody::CustodyCause;

use super::connection::ConnectionError;
use super::message::{Answer, Reason};
use super::*;
use crate::tls::ClientCertificate;

fn settings(address: &str) -> KmipSettings {
    let own = ClientCertificate { certificate: "own.pem".into(), private_key: "own.key".into() };
    KmipSettings::new(address, TlsSettings { ca: None, client_certificate: Some(own) })
}

#[test]
fn a_blob_names_the_key_that_made_it() {
    let sealed = || Sealed { nonce: [1; 12], tag: [2; 16], ciphertext: [3; 32] };
    let bytes = Blob { id: "1f-7", sealed: sealed() }.to_bytes();
    let kmip = Kmip::new(settings("127.0.0.1:5696")).unwrap();
    assert_eq!(kmip.version_of(&bytes).as_deref(), Some("1f-7"));
    assert_eq!(kmip.describe(), "kmip 127.0.0.1:5696");
    for end in 0..bytes.len() {
        assert!(Blob::parse(bytes.get(..end).unwrap()).is_none(), "cut at {end}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(Blob::parse(&longer).is_none());
    let mut other = bytes;
    *other.first_mut().unwrap() = 2;
    assert!(Blob::parse(&other).is_none());
    assert!(Blob::parse(&Blob { id: "", sealed: sealed() }.to_bytes()).is_none());
}

#[test]
fn settings_that_cannot_work_are_refused_before_any_call() {
    let refused = |change: &dyn Fn(&mut KmipSettings)| {
        let mut settings = settings("kms.example:5696");
        change(&mut settings);
        Kmip::new(settings).err().map(|e| e.to_string())
    };
    assert_eq!(refused(&|_| ()), None);
    assert!(refused(&|s| s.address = "kms.example".into()).unwrap().contains("5696"));
    assert!(refused(&|s| s.address = "kms example:1".into()).unwrap().contains("host name"));
    assert!(refused(&|s| s.tls.client_certificate = None).unwrap().contains("certificate"));
    assert!(refused(&|s| s.connections = 0).unwrap().contains("1 to 64"));
    assert_eq!(refused(&|s| s.address = "[::1]:5696".into()), None);
}

#[test]
fn the_key_name_is_bound_behind_the_context() {
    let context = CustodyContext::IdentitySeed(IdentityId::from_bytes([7; 16]));
    assert!(bound_to(&context, "a").starts_with(&context.associated_data()));
    assert_ne!(bound_to(&context, "a"), bound_to(&context, "b"));
    assert!(!PROBE.starts_with(&context.associated_data()));
}

#[test]
fn only_what_speaks_of_the_key_stops_a_client() {
    let refused = |reason| Refusal::Answer(Answer::Refused { reason, message: "text".into() });
    let table = [
        (refused(Reason::NOT_FOUND), CustodyCause::NotFound),
        (refused(Reason::AUTHENTICATION), CustodyCause::Unauthenticated),
        (refused(Reason::PERMISSION_DENIED), CustodyCause::Denied),
        (refused(Reason::LIFECYCLE_STATE), CustodyCause::Disabled),
        (refused(Reason::SERVER_LIMIT), CustodyCause::Throttled),
        (refused(Reason::GENERAL_FAILURE), CustodyCause::Unreachable),
        (refused(Reason(0x7777)), CustodyCause::Unreachable),
        (Refusal::Answer(Answer::Count), CustodyCause::Unreachable),
        (Refusal::Connection(ConnectionError::Refused("x".into())), CustodyCause::Unauthenticated),
        (Refusal::Connection(ConnectionError::Certificate("x".into())), CustodyCause::Unreachable),
        (Refusal::Off, CustodyCause::Disabled),
        (Refusal::Destroyed, CustodyCause::NotFound),
        (Refusal::Wrapped, CustodyCause::Corrupt),
        (Refusal::Ambiguous, CustodyCause::Invalid),
    ];
    for (refusal, cause) in table {
        let error = refusal.into_error("orders");
        assert_eq!(error.cause, cause, "{error}");
        assert!(error.message.contains("orders"), "{error}");
    }
}
