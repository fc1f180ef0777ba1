//! Names, blobs and the meaning of Microsoft's errors. The calls themselves run against a contract server.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use barnabas_crypto::{CustodyError, IdentityId};
use proptest::prelude::*;

use super::*;
use crate::SecretSource;

const CONTEXT: CustodyContext = CustodyContext::IdentitySeed(IdentityId::from_bytes([1; 16]));

fn settings() -> AzureSettings {
    let identity = AzureIdentity::new("tenant", "client");
    let secret = SecretSource::File("secret".into());
    AzureSettings::new("https://barnabas.vault.azure.net", AzureCredentials::ClientSecret(identity, secret))
}

fn sealed(kek: &Secret<32>, secret: &Secret<32>) -> Vec<u8> {
    let bound = bound("client-1", &CONTEXT);
    let key = "client-1/0123456789abcdef0123456789abcdef".to_owned();
    Envelope::seal(Algorithm::RsaOaep256, key, &[9; 384], kek, secret, &bound).unwrap()
}

#[test]
fn settings_that_cannot_be_are_refused() {
    for key in ["", "a/b", "a_b", "é", &"k".repeat(128)] {
        let keys = AzureKeys::One { name: key.into() };
        assert!(Azure::new(AzureSettings { keys, ..settings() }).is_err(), "{key}");
        let error = CustodyError::from(Azure::new(settings()).unwrap().name(key).err().unwrap());
        assert_eq!(error.cause, CustodyCause::Invalid, "{error}");
    }
    let http = HttpSettings::new("http://barnabas.vault.azure.net");
    assert!(Azure::new(AzureSettings { http, ..settings() }).is_err(), "plaintext");
    let identity = AzureIdentity { authority: "http://login.example".into(), ..AzureIdentity::new("t", "c") };
    let credentials = AzureCredentials::WorkloadIdentity(identity, "token".into());
    assert!(Azure::new(AzureSettings { credentials, ..settings() }).is_err(), "a plaintext authority");
}

#[test]
fn tokens_are_for_the_service_of_the_host_alone() {
    for (host, resource) in [
        ("a.vault.azure.net", "https://vault.azure.net"),
        ("a.managedhsm.azure.net:443", "https://managedhsm.azure.net"),
        ("A.Vault.UsGovCloudApi.net", "https://vault.usgovcloudapi.net"),
    ] {
        assert_eq!(resource_of(host).unwrap(), resource);
    }
    for host in ["vault", "127.0.0.1:8080", "a.storage.azure.net", "vault.azure.net"] {
        assert!(resource_of(host).is_err(), "{host}");
    }
}

#[test]
fn a_blob_opens_with_everything_it_is_bound_to_and_only_so() {
    let (kek, secret) = (Secret::draw().unwrap(), Secret::draw().unwrap());
    let blob = sealed(&kek, &secret);
    let envelope = Envelope::parse(&blob).unwrap();
    assert_eq!((envelope.version().len(), envelope.wrapped), (32, &[9; 384][..]));
    assert!(envelope.open(&kek, &bound("client-1", &CONTEXT)).unwrap().matches(&secret));
    assert!(envelope.open(&kek, &bound("client-2", &CONTEXT)).is_none(), "another key's name");
    let other = CustodyContext::IdentitySeed(IdentityId::from_bytes([2; 16]));
    assert!(envelope.open(&kek, &bound("client-1", &other)).is_none(), "another context");
    assert!(envelope.open(&Secret::draw().unwrap(), &bound("client-1", &CONTEXT)).is_none(), "another key");
}

#[test]
fn no_byte_of_a_blob_can_be_exchanged() {
    let (kek, secret) = (Secret::draw().unwrap(), Secret::draw().unwrap());
    let blob = sealed(&kek, &secret);
    for place in 0..blob.len() {
        let mut flipped = blob.clone();
        flipped[place] ^= 1;
        let opened = Envelope::parse(&flipped).and_then(|it| it.open(&kek, &bound("client-1", &CONTEXT)));
        assert!(opened.is_none(), "byte {place}");
        assert!(Envelope::parse(&blob[..place]).is_none(), "cut at {place}");
    }
    assert!(Envelope::parse(&[&blob[..], &[0]].concat()).is_none(), "a byte too many");
}

#[test]
fn a_version_in_a_blob_cannot_lead_elsewhere() {
    for version in ["", "..", "a/b", "x?y", "a%2fb", &"a".repeat(65)] {
        let key = format!("client-1/{version}");
        let kek = Secret::draw().unwrap();
        let blob = Envelope::seal(Algorithm::A256Kw, key, &[1; 40], &kek, &kek, b"").unwrap();
        let parsed = Envelope::parse(&blob);
        assert!(parsed.is_none_or(|it| it.version() == "b"), "{version}");
    }
}

fn meaning(status: u16, code: &str, inner: &str, operation: Option<Operation>) -> VendorError {
    let body = format!(r#"{{"error":{{"code":"{code}","message":"m","innererror":{{"code":"{inner}"}}}}}}"#);
    answered(status, &body, operation)
}

fn answered(status: u16, body: &str, operation: Option<Operation>) -> VendorError {
    let body = Zeroizing::new(body.as_bytes().to_vec());
    refused(&Response { status, headers: hyper::HeaderMap::new(), body }, "client-1", operation)
}

#[test]
fn microsofts_errors_mean_what_they_mean() {
    let unwrap = Some(Operation::Unwrap(Algorithm::RsaOaep256));
    let wrap = Some(Operation::Wrap(Algorithm::RsaOaep256));
    for (status, code, inner, operation, cause) in [
        (400, "BadParameter", "", unwrap, CustodyCause::Corrupt),
        (400, "BadParameter", "", wrap, CustodyCause::Invalid),
        (401, "Unauthorized", "", wrap, CustodyCause::Unauthenticated),
        (403, "Forbidden", "KeyDisabled", unwrap, CustodyCause::Disabled),
        (403, "Forbidden", "KeyExpired", wrap, CustodyCause::Disabled),
        (403, "Forbidden", "ForbiddenByRbac", unwrap, CustodyCause::Denied),
        (403, "Forbidden", "", unwrap, CustodyCause::Denied),
        (404, "KeyNotFound", "", unwrap, CustodyCause::NotFound),
        (409, "Conflict", "ObjectIsDeletedButRecoverable", None, CustodyCause::Disabled),
        (429, "Throttled", "", unwrap, CustodyCause::Throttled),
        (500, "InternalServerError", "", unwrap, CustodyCause::Unreachable),
        (503, "ServiceUnavailable", "", unwrap, CustodyCause::Unreachable),
    ] {
        let error = meaning(status, code, inner, operation);
        assert_eq!(error.cause, cause, "{status} {code} {inner}");
        let text = error.to_string();
        assert!(text.contains("client-1") && text.contains(code) && text.contains(inner), "{text}");
    }
    let other_case = r#"{"error":{"code":"Forbidden","innerError":{"code":"KeyDisabled"}}}"#;
    assert_eq!(answered(403, other_case, unwrap).cause, CustodyCause::Disabled);
    assert_eq!(answered(403, r#"{"error":{"code":"Forbidden","innererror":null}}"#, None).cause, CustodyCause::Denied);
}

#[test]
fn a_page_of_somebody_else_stops_no_client() {
    for status in [400, 403, 404, 407, 500, 503] {
        for body in ["", "<html>", "{}", r#"{"error":"no"}"#] {
            assert_eq!(answered(status, body, None).cause, CustodyCause::Unreachable, "{status} {body}");
        }
    }
    assert_eq!(answered(429, "slow down", None).cause, CustodyCause::Throttled);
}

proptest! {
    #[test]
    fn no_blob_makes_us_panic(blob in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Some(envelope) = Envelope::parse(&blob) {
            prop_assert!(envelope.open(&Secret::draw().unwrap(), b"").is_none());
        }
    }

    #[test]
    fn a_blob_gives_back_what_it_was_made_of(
        name in "[a-zA-Z0-9-]{1,127}",
        version in "[0-9a-f]{1,64}",
        wrapped in proptest::collection::vec(any::<u8>(), 0..1025),
    ) {
        let kek = Secret::draw().unwrap();
        let key = format!("{name}/{version}");
        let blob = Envelope::seal(Algorithm::A256Kw, key.clone(), &wrapped, &kek, &kek, b"bound").unwrap();
        let envelope = Envelope::parse(&blob).unwrap();
        prop_assert_eq!((envelope.key, envelope.version()), (key.as_str(), version.as_str()));
        prop_assert_eq!((envelope.wrapped, envelope.algorithm), (&wrapped[..], Algorithm::A256Kw));
        prop_assert!(envelope.open(&kek, b"bound").unwrap().matches(&kek));
    }
}
