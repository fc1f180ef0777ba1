//! What needs no server: settings, names, versions, and what Vault's words mean. The rest runs on a real OpenBao in the
//! conformance suite.

#![allow(clippy::unwrap_used)]

use hyper::HeaderMap;
use zeroize::Zeroizing;

use super::*;

fn vault(keys: VaultKeys) -> Result<Vault, Error> {
    let auth = VaultAuth::Token(SecretSource::Environment("UNSET".into()));
    Vault::new(VaultSettings { keys, ..VaultSettings::new("https://vault.example.com:8200", auth) })
}

fn per_client() -> Vault {
    vault(VaultKeys::PerClient { prefix: "barnabas-".into() }).unwrap()
}

#[test]
fn settings_that_cannot_be_are_named() {
    assert!(vault(VaultKeys::One { name: String::new() }).is_err());
    assert!(vault(VaultKeys::PerClient { prefix: "a/".into() }).is_err());
    let auth = || VaultAuth::Token(SecretSource::Environment("UNSET".into()));
    for mount in ["", "/transit", "transit/", "a//b", "../sys", "a?b"] {
        let settings = VaultSettings { mount: mount.into(), ..VaultSettings::new("https://vault", auth()) };
        let error = Vault::new(settings).err().unwrap().to_string();
        assert!(error.starts_with("mount"), "{error}");
    }
}

#[test]
fn a_key_name_cannot_leave_its_place_in_the_path() {
    let vault = per_client();
    assert_eq!(vault.0.name("client-1").unwrap(), "barnabas-client-1");
    for key in ["", "a/b", "../sys", "a?b", "a b", "ä"] {
        assert!(vault.0.name(key).is_err(), "{key}");
    }
}

#[test]
fn the_version_stands_in_the_ciphertext() {
    let vault = per_client();
    assert_eq!(vault.version_of(b"vault:v12:AAAA").as_deref(), Some("v12"));
    for other in [&b"vault:v:AAAA"[..], b"vault:12:AAAA", b"vault:v1", b"\xff", b""] {
        assert_eq!(vault.version_of(other), None);
    }
}

#[test]
fn words_of_vault_become_causes() {
    let vault = per_client();
    for (status, words, cause) in [
        (400, "cipher: message authentication failed", CustodyCause::Corrupt),
        (400, "invalid ciphertext: no prefix", CustodyCause::Corrupt),
        (400, "encryption key not found", CustodyCause::NotFound),
        (400, "refusing to use soft-deleted key", CustodyCause::Disabled),
        (400, "ciphertext or signature version is disallowed by policy (too old)", CustodyCause::Disabled),
        (400, "something else", CustodyCause::Invalid),
        (403, "permission denied", CustodyCause::Denied),
        (404, "no handler for route", CustodyCause::NotFound),
        (412, "required index state not present", CustodyCause::Unreachable),
        (429, "request path rate limit quota exceeded", CustodyCause::Throttled),
        (500, "internal error", CustodyCause::Unreachable),
        (503, "Vault is sealed", CustodyCause::Unreachable),
    ] {
        let body = Zeroizing::new(format!("{{\"errors\":[\"{words}\"]}}").into_bytes());
        let error = vault.0.refusal("k", &Response { status, headers: HeaderMap::new(), body });
        assert_eq!(error.cause, cause, "{status} {words}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_at_two_thirds() {
    let lease = Lease::new(90, true).unwrap();
    assert_eq!(lease.renew_at - Instant::now(), Duration::from_secs(60));
    assert!(Lease::new(0, true).is_none());
    assert!(Lease::new(u64::MAX, true).is_some());
}
