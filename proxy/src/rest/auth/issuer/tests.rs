//! An issuer that rotates its keys, is flooded, fails, and comes back.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::super::scene::{IssuerServer, SigningKey, claims, jwks, settings};
use super::*;

async fn verified(issuer: &Issuer, text: &str) -> Result<KeyMark, IssuerRefusal> {
    let token = Token::parse(text).unwrap();
    issuer.verify(&token, SystemTime::now()).await.map(|(_, mark)| mark)
}

const UNKNOWN: Result<KeyMark, IssuerRefusal> = Err(IssuerRefusal::Token(TokenRefusal::Signature));

#[tokio::test]
async fn keys_are_found_by_discovery_and_a_rotated_one_at_its_first_token() {
    let (first, second) = (SigningKey::new("first"), SigningKey::new("second"));
    let server = IssuerServer::start(jwks(&[&first])).await;
    let issuer = Issuer::new(settings(&server.address));
    let by = |key: &SigningKey| key.token(&claims(&server.address, &json!({})));
    let old = verified(&issuer, &by(&first)).await.unwrap();
    assert_eq!(verified(&issuer, &by(&first)).await, Ok(old));
    assert_eq!((server.fetches(), issuer.version()), (1, (1, true)));
    server.show(Some(jwks(&[&second])));
    let new = verified(&issuer, &by(&second)).await.unwrap();
    assert_eq!((server.fetches(), issuer.version()), (2, (2, true)));
    assert!(issuer.has(new) && !issuer.has(old));
    assert_eq!(verified(&issuer, &by(&first)).await, UNKNOWN);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_does_not_reach_the_issuer() {
    let key = SigningKey::new("known");
    let server = IssuerServer::start(jwks(&[&key])).await;
    let issuer = Arc::new(Issuer::new(settings(&server.address)));
    issuer.keep_up().await;
    let stranger = Arc::new(SigningKey::new("invented"));
    let text = stranger.token(&claims(&server.address, &json!({})));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let (issuer, text) = (issuer.clone(), text.clone());
        asking.spawn(async move { verified(&issuer, &text).await });
    }
    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer.unwrap(), UNKNOWN);
    }
    assert!(server.fetches() <= 1 + LOOKS as usize, "{}", server.fetches());
    // A known name over another key's signature asks for nothing.
    let before = server.fetches();
    let forged = SigningKey::new("known").token(&claims(&server.address, &json!({})));
    assert_eq!(verified(&issuer, &forged).await, UNKNOWN);
    assert_eq!(server.fetches(), before);
}

#[tokio::test]
async fn keys_outlive_an_outage_of_the_issuer_up_to_their_age() {
    let (key, other) = (SigningKey::new("a"), SigningKey::new("b"));
    let server = IssuerServer::start(jwks(&[&key])).await;
    let by = |key: &SigningKey| key.token(&claims(&server.address, &json!({})));
    let issuer = Issuer::new(TokenIssuer { keys_refresh: Duration::ZERO, ..settings(&server.address) });
    let mark = verified(&issuer, &by(&key)).await.unwrap();
    server.show(None);
    issuer.keep_up().await;
    assert_eq!(issuer.state().failures, 1);
    assert_eq!(verified(&issuer, &by(&key)).await, Ok(mark));
    // It may be a new key: whether cannot be said.
    assert_eq!(verified(&issuer, &by(&other)).await, Err(IssuerRefusal::Unavailable));
    server.show(Some("{}".to_owned()));
    issuer.fetch().await;
    assert!(issuer.has(mark));
    server.show(Some(jwks(&[&key, &other])));
    issuer.fetch().await;
    assert!(verified(&issuer, &by(&other)).await.is_ok() && issuer.has(mark));

    let short = Issuer::new(TokenIssuer { keys_max_age: Duration::from_millis(1), ..settings(&server.address) });
    short.keep_up().await;
    server.show(None);
    while short.known().is_some() {
        tokio::task::yield_now().await;
    }
    assert_eq!(short.version(), (1, false));
    assert_eq!(verified(&short, &by(&key)).await, Err(IssuerRefusal::Unavailable));
}

#[tokio::test]
async fn an_issuer_that_says_to_be_another_is_not_taken() {
    let key = SigningKey::new("a");
    let server = IssuerServer::start(jwks(&[&key])).await;
    let named = format!("{}/", server.address);
    let issuer = Issuer::new(settings(&named));
    let text = key.token(&claims(&named, &json!({})));
    assert_eq!(verified(&issuer, &text).await, Err(IssuerRefusal::Unavailable));
    assert_eq!(server.fetches(), 0);
    // Without discovery there is nothing to contradict.
    let jwks_url = Some(format!("{}/keys?v=1", server.address));
    let issuer = Issuer::new(TokenIssuer { jwks_url, ..settings(&named) });
    assert!(verified(&issuer, &text).await.is_ok());
}

#[tokio::test]
async fn an_algorithm_that_was_not_allowed_is_refused_before_anything_is_asked() {
    let server = IssuerServer::start(String::new()).await;
    let algorithms = vec![crate::config::TokenAlgorithm::Rs256];
    let issuer = Issuer::new(TokenIssuer { algorithms, ..settings(&server.address) });
    let text = SigningKey::new("a").token(&claims(&server.address, &json!({})));
    assert_eq!(verified(&issuer, &text).await, Err(TokenRefusal::Algorithm.into()));
    assert_eq!(server.fetches(), 0);
}

#[test]
fn addresses_are_split_behind_the_host() {
    assert_eq!(split("https://a:1/b/c?d"), Some(("https://a:1", "/b/c?d")));
    assert_eq!(split("https://a"), Some(("https://a", "/")));
    assert_eq!(split("a"), None);
}
