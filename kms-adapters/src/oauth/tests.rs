//! Tokens: renewed in time, asked for once, kept through a silent endpoint; and what a refusal means.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::atomic::{AtomicUsize, Ordering};

use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};

use super::*;
use crate::Plaintext;

/// Made for these tests and used nowhere else.
const KEY: &str = include_str!("test-key.pem");

fn token(text: &str, seconds: u64) -> Token {
    Token::new(SecretText::new(text.to_owned()), Duration::from_secs(seconds))
}

fn answered(status: u16, body: &str) -> Response {
    Response { status, headers: hyper::HeaderMap::new(), body: Zeroizing::new(body.as_bytes().to_vec()) }
}

async fn shown(cache: &TokenCache, fetch: Result<Token, Error>) -> String {
    cache.current(async { fetch }).await.unwrap().authorization().to_string()
}

fn silent() -> Result<Token, Error> {
    Err(VendorError::new("gcp", CustodyCause::Unreachable).into())
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_ends_and_survives_a_silent_endpoint() {
    let cache = TokenCache::default();
    assert!(cache.current(async { silent() }).await.is_err());
    assert_eq!(shown(&cache, Ok(token("one", 3600))).await, "Bearer one");
    tokio::time::advance(Duration::from_secs(3299)).await;
    assert_eq!(shown(&cache, Ok(token("two", 3600))).await, "Bearer one");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(shown(&cache, silent()).await, "Bearer one");
    // The endpoint is left alone for a while, since the old token is good still.
    assert_eq!(shown(&cache, Ok(token("two", 3600))).await, "Bearer one");
    tokio::time::advance(RENEWAL_PAUSE).await;
    assert_eq!(shown(&cache, Ok(token("two", 3600))).await, "Bearer two");
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert!(cache.current(async { silent() }).await.is_err(), "a token that is over goes nowhere");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_long_for_a_renewal_that_is_not_needed_yet() {
    let cache = TokenCache::default();
    assert_eq!(shown(&cache, Ok(token("one", 3600))).await, "Bearer one");
    tokio::time::advance(Duration::from_secs(3400)).await;
    let asked = Instant::now();
    let hanging = std::future::pending::<Result<Token, Error>>();
    assert_eq!(cache.current(hanging).await.unwrap().authorization().as_str(), "Bearer one");
    assert_eq!(asked.elapsed(), RENEWAL_PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn many_calls_ask_for_one_token() {
    let (cache, asked) = (TokenCache::default(), AtomicUsize::new(0));
    let fetch = || async {
        asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(token("one", 60))
    };
    let (a, b, c) = tokio::join!(cache.current(fetch()), cache.current(fetch()), cache.current(fetch()));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let (a, b) = (a.unwrap(), b.unwrap());
    assert!(Arc::ptr_eq(&a, &b) && Arc::ptr_eq(&a, &c.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_a_request_that_failed_does_not_queue_behind_it() {
    let (cache, asked) = (TokenCache::default(), AtomicUsize::new(0));
    let fetch = || async {
        asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(10)).await;
        silent()
    };
    let (a, b, c) = tokio::join!(cache.current(fetch()), cache.current(fetch()), cache.current(fetch()));
    assert!(a.is_err() && b.is_err() && c.is_err());
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(shown(&cache, Ok(token("later", 60))).await, "Bearer later");
}

#[tokio::test]
async fn only_the_refused_token_is_forgotten() {
    let cache = TokenCache::default();
    let old = cache.current(async { Ok(token("old", 60)) }).await.unwrap();
    cache.forget(&old).await;
    assert_eq!(shown(&cache, Ok(token("new", 60))).await, "Bearer new");
    cache.forget(&old).await;
    assert_eq!(shown(&cache, silent()).await, "Bearer new");
}

#[test]
fn a_refusal_is_the_gateways_fault_and_an_outage_is_not() {
    let cause = |status, body| refused_token("gcp", &answered(status, body)).cause;
    assert_eq!(cause(400, r#"{"error":"invalid_grant","error_description":"gone"}"#), CustodyCause::Unauthenticated);
    assert_eq!(cause(403, r#"{"error":{"status":"PERMISSION_DENIED","message":"m"}}"#), CustodyCause::Unauthenticated);
    assert_eq!(cause(404, r#"{"error":"not_found"}"#), CustodyCause::Unauthenticated);
    assert_eq!(cause(400, r#"{"error":"temporarily_unavailable"}"#), CustodyCause::Unreachable);
    assert_eq!(cause(429, r#"{"error":"slow_down"}"#), CustodyCause::Throttled);
    assert_eq!(cause(503, "<html>"), CustodyCause::Unreachable);
    assert_eq!(cause(403, "<html>a proxy</html>"), CustodyCause::Unreachable);
    let text =
        refused_token("gcp", &answered(400, r#"{"error":"invalid_grant","error_description":"gone"}"#)).to_string();
    assert!(text.contains("HTTP 400 invalid_grant") && text.contains("gone"), "{text}");
}

#[test]
fn an_answer_without_a_token_is_no_token() {
    for body in ["", "{}", r#"{"access_token":7,"expires_in":1}"#, r#"{"access_token":"x","expires_in":"soon"}"#] {
        let error = token_of("azure", &answered(200, body)).err().unwrap();
        assert!(matches!(error, Error::Vendor(error) if error.cause == CustodyCause::Unreachable), "{body}");
    }
    for body in [r#"{"access_token":"x","expires_in":"3599"}"#, r#"{"access_token":"x","expires_in":3599}"#] {
        assert_eq!(token_of("azure", &answered(200, body)).ok().unwrap().authorization().as_str(), "Bearer x");
    }
}

#[test]
fn a_signed_token_verifies_and_says_how_it_was_signed() {
    let pem = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let pair = KeyPair::from_pkcs8(pem.secret_der()).unwrap();
    let public = pair.public().as_ref();
    for (algorithm, name) in [(JwtAlgorithm::Ps256, "PS256"), (JwtAlgorithm::Rs256, "RS256")] {
        let token = signed_jwt(algorithm, ("kid", "k1"), &json!({"iss": "me"}), KEY, "file key").unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
        let header: Value = serde_json::from_slice(&decoded(parts[0])).unwrap();
        assert_eq!(header, json!({"alg": name, "typ": "JWT", "kid": "k1"}));
        assert_eq!(decoded(parts[1]), br#"{"iss":"me"}"#);
        let key = match algorithm {
            JwtAlgorithm::Ps256 => UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, public),
            JwtAlgorithm::Rs256 => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public),
        };
        let signed = format!("{}.{}", parts[0], parts[1]);
        key.verify(signed.as_bytes(), &decoded(parts[2])).unwrap();
    }
    let error = signed_jwt(JwtAlgorithm::Rs256, ("kid", ""), &json!({}), "no key", "file key").err().unwrap();
    assert!(error.to_string().contains("file key"), "{error}");
}

#[test]
fn a_url_is_cut_into_service_and_path() {
    let settings = HttpSettings { plaintext: Plaintext::Loopback, ..HttpSettings::new("https://unused") };
    for (url, endpoint, path) in [
        ("https://oauth2.googleapis.com/token", "https://oauth2.googleapis.com", "/token"),
        ("http://127.0.0.1:80/a/b?c=d", "http://127.0.0.1:80", "/a/b?c=d"),
        ("https://host", "https://host", "/"),
    ] {
        let (client, found) = client_of(url, &settings).unwrap();
        assert_eq!((client.endpoint(), found.as_str()), (endpoint, path));
    }
    let refused = HttpSettings::new("https://unused");
    for url in ["http://example.com/token", "ftp://example.com/", "", "/token"] {
        assert!(client_of(url, &refused).is_err(), "{url}");
    }
}

#[test]
fn what_is_not_unreserved_is_escaped() {
    assert_eq!(encoded("https://a b/ü~"), "https%3A%2F%2Fa%20b%2F%C3%BC~");
}
