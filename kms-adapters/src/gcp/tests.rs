//! Names, blobs, checksums and the meaning of Google's errors. The calls themselves run against a contract server.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use barnabas_crypto::{CustodyError, IdentityId};
use proptest::prelude::*;

use super::*;
use crate::SecretSource;

const RING: &str = "projects/example.com:p/locations/europe-west3/keyRings/barnabas";

fn settings() -> GcpSettings {
    GcpSettings::new(RING, GcpCredentials::File(SecretSource::File("key.json".into())))
}

#[test]
fn names_that_cloud_kms_does_not_know_are_refused() {
    for ring in ["", "projects/p", "projects//locations/l/keyRings/r", "projects/p/locations/l/keyRings/r/cryptoKeys/k"]
    {
        let error = Gcp::new(GcpSettings { key_ring: ring.into(), ..settings() }).err().unwrap();
        assert!(error.to_string().starts_with("key_ring: "), "{error}");
    }
    for key in ["", "a/b", "a b", "é", &"k".repeat(64)] {
        let keys = GcpKeys::One { name: key.into() };
        assert!(Gcp::new(GcpSettings { keys, ..settings() }).is_err(), "{key}");
        let error = CustodyError::from(Gcp::new(settings()).unwrap().resource(key).err().unwrap());
        assert_eq!(error.cause, CustodyCause::Invalid, "{error}");
    }
    let http = HttpSettings::new("http://cloudkms.googleapis.com");
    assert!(Gcp::new(GcpSettings { http, ..settings() }).is_err(), "plaintext");
}

#[test]
fn each_client_has_its_key_unless_one_is_for_all() {
    let own = Gcp::new(settings()).unwrap();
    assert_eq!(own.resource("client-1").unwrap(), format!("{RING}/cryptoKeys/barnabas-client-1"));
    let keys = GcpKeys::One { name: "all".into() };
    let shared = Gcp::new(GcpSettings { keys, ..settings() }).unwrap();
    assert_eq!(shared.resource("client-1").unwrap(), format!("{RING}/cryptoKeys/all"));
    let context = CustodyContext::IdentitySeed(IdentityId::from_bytes([1; 16]));
    assert_ne!(bound("client-1", &context), bound("client-2", &context));
}

#[test]
fn the_checksum_is_castagnolis() {
    // RFC 3720, appendix B.4: 32 bytes of zero; and the check value of the catalogue of CRCs.
    assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}

#[test]
fn a_damaged_blob_is_seen_before_anybody_is_asked() {
    let fresh = Fresh { version: format!("{RING}/cryptoKeys/k/cryptoKeyVersions/3"), ciphertext: vec![7; 60] };
    let blob = fresh.to_blob().unwrap();
    let sealed = Sealed::of_blob(&blob).unwrap();
    assert_eq!((sealed.version, sealed.ciphertext), (fresh.version.as_str(), &[7; 60][..]));
    for place in 0..blob.len() {
        let mut flipped = blob.clone();
        flipped[place] ^= 0x10;
        assert!(Sealed::of_blob(&flipped).is_none(), "byte {place}");
        assert!(Sealed::of_blob(&blob[..place]).is_none(), "cut at {place}");
    }
    assert!(Fresh { version: "v".repeat(513), ciphertext: vec![] }.to_blob().is_none());
}

fn meaning(status: u16, body: &str, act: Act) -> VendorError {
    let body = Zeroizing::new(body.as_bytes().to_vec());
    refused(&Response { status, headers: hyper::HeaderMap::new(), body }, "client-1", act)
}

fn status(code: &str, message: &str, details: &str) -> String {
    format!(r#"{{"error":{{"code":1,"message":"{message}","status":"{code}","details":[{details}]}}}}"#)
}

#[test]
fn googles_errors_mean_what_they_mean() {
    let disabled = r#"{"@type":"x","violations":[{"type":"KEY_DISABLED","subject":"s"}]}"#;
    let pending = r#"{"violations":[{"type":"KEY_PENDING_GENERATION"}]}"#;
    for (http, code, message, details, act, cause) in [
        (400, "FAILED_PRECONDITION", "m", disabled, Act::Decrypt, CustodyCause::Disabled),
        (
            400,
            "FAILED_PRECONDITION",
            "k is not enabled, current state is: DESTROYED.",
            "",
            Act::Encrypt,
            CustodyCause::Disabled,
        ),
        (400, "FAILED_PRECONDITION", "m", pending, Act::Encrypt, CustodyCause::Unreachable),
        (400, "FAILED_PRECONDITION", "the organisation forbids it", "", Act::Encrypt, CustodyCause::Denied),
        (400, "INVALID_ARGUMENT", "Decryption failed", "", Act::Decrypt, CustodyCause::Corrupt),
        (400, "INVALID_ARGUMENT", "m", "", Act::Encrypt, CustodyCause::Invalid),
        (400, "INVALID_ARGUMENT", "The checksum in field x did not match", "", Act::Decrypt, CustodyCause::Unreachable),
        (401, "UNAUTHENTICATED", "m", "", Act::Decrypt, CustodyCause::Unauthenticated),
        (403, "PERMISSION_DENIED", "m", "", Act::Decrypt, CustodyCause::Denied),
        (404, "NOT_FOUND", "m", "", Act::Decrypt, CustodyCause::NotFound),
        (429, "RESOURCE_EXHAUSTED", "m", "", Act::Decrypt, CustodyCause::Throttled),
        (503, "UNAVAILABLE", "m", "", Act::Decrypt, CustodyCause::Unreachable),
        (500, "INTERNAL", "m", "", Act::Decrypt, CustodyCause::Unreachable),
    ] {
        let error = meaning(http, &status(code, message, details), act);
        assert_eq!(error.cause, cause, "{code} {message}");
        assert!(error.to_string().contains("client-1") && error.to_string().contains(code), "{error}");
    }
    let off = meaning(403, &status("PERMISSION_DENIED", "m", r#"{"reason":"SERVICE_DISABLED"}"#), Act::Decrypt);
    assert!(off.to_string().contains("SERVICE_DISABLED") && off.remedy.contains("cloudkms.googleapis.com"), "{off}");
}

#[test]
fn a_page_of_somebody_else_stops_no_client() {
    for http in [400, 403, 404, 407, 500, 503] {
        for body in ["", "<html>", "{}", r#"{"error":"no"}"#] {
            assert_eq!(meaning(http, body, Act::Decrypt).cause, CustodyCause::Unreachable, "{http} {body}");
        }
    }
    assert_eq!(meaning(429, "slow down", Act::Decrypt).cause, CustodyCause::Throttled);
}

proptest! {
    #[test]
    fn no_blob_makes_us_panic(blob in proptest::collection::vec(any::<u8>(), 0..300)) {
        let gcp = Gcp::new(settings()).unwrap();
        prop_assert!(gcp.version_of(&blob).is_none() || Sealed::of_blob(&blob).is_some());
    }

    #[test]
    fn a_blob_gives_back_what_it_was_made_of(version in "[a-z/]{1,512}", ciphertext in proptest::collection::vec(any::<u8>(), 0..200)) {
        let fresh = Fresh { version, ciphertext };
        let blob = fresh.to_blob().unwrap();
        let sealed = Sealed::of_blob(&blob).unwrap();
        prop_assert_eq!((sealed.version, sealed.ciphertext), (fresh.version.as_str(), &fresh.ciphertext[..]));
    }
}
