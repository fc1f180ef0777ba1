//! Tokens: the examples of the RFCs, and each way in which one can be wrong.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;
use serde_json::json;

use super::super::jwk::KeySet;
use super::super::scene::{SigningKey, claims, jwks, seconds, settings};
use super::*;

const ISSUER: &str = "https://issuer.example.com";

fn keys(document: &str) -> KeySet {
    KeySet::parse(document.as_bytes()).unwrap()
}

/// RFC 7515, appendix A.2.
const RS256_KEY: &str = r#"{"keys":[{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}]}"#;
const RS256_TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

/// RFC 7515, appendix A.3.
const ES256_KEY: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
const ES256_TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

#[test]
fn the_examples_of_rfc_7515_verify_under_their_own_key_only() {
    for (document, text) in [(RS256_KEY, RS256_TOKEN), (ES256_KEY, ES256_TOKEN)] {
        let token = Token::parse(text).unwrap();
        assert_eq!(token.issuer(), Some("joe"));
        let set = keys(document);
        let signers: Vec<bool> = set.candidates(None, token.algorithm()).map(|key| token.is_signed_by(key)).collect();
        assert_eq!(signers, [true]);
        // One character of the claims.
        let changed = text.replacen("eyJpc3MiOiJqb2Ui", "eyJpc3MiOiJqb2Uj", 1);
        assert_eq!(Token::parse(&changed).err(), Some(TokenRefusal::Malformed));
        let changed = text.replacen("MTkzODAs", "MTkzODEs", 1);
        let token = Token::parse(&changed).unwrap();
        assert!(!set.candidates(None, token.algorithm()).any(|key| token.is_signed_by(key)));
    }
    let (rsa, token) = (keys(RS256_KEY), Token::parse(ES256_TOKEN).unwrap());
    assert_eq!(rsa.candidates(None, token.algorithm()).count(), 0);
}

#[test]
fn the_example_of_rfc_8037_verifies() {
    let set = keys(r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#);
    let key = set.candidates(None, TokenAlgorithm::EdDsa).next().unwrap();
    let message = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    assert!(key.verifies(TokenAlgorithm::EdDsa, message, &signature));
    assert!(!key.verifies(TokenAlgorithm::EdDsa, b"another", &signature));
    assert!(!key.verifies(TokenAlgorithm::Es256, message, &signature));
}

fn said(key: &SigningKey, changes: &Value) -> Result<Claims, TokenRefusal> {
    let text = key.token(&claims(ISSUER, changes));
    let token = Token::parse(&text)?;
    let set = keys(&jwks(&[key]));
    assert!(set.candidates(Some(key.id), token.algorithm()).any(|key| token.is_signed_by(key)));
    token.claims(&settings(ISSUER), SystemTime::now())
}

#[test]
fn each_claim_is_checked() {
    let key = SigningKey::new("a");
    let now = seconds(SystemTime::now());
    let good = said(&key, &json!({})).unwrap();
    assert_eq!((good.name.as_str(), good.bound_to), ("alice", None));
    assert_eq!(seconds(good.expires), now + 65);
    for (changes, wrong) in [
        (json!({ "iss": "https://issuer.example.com/" }), TokenRefusal::Issuer),
        (json!({ "iss": null }), TokenRefusal::Issuer),
        (json!({ "aud": "another" }), TokenRefusal::Audience),
        (json!({ "aud": ["another", "third"] }), TokenRefusal::Audience),
        (json!({ "aud": null }), TokenRefusal::Audience),
        (json!({ "exp": now - 6 }), TokenRefusal::Expired),
        (json!({ "exp": null }), TokenRefusal::NoEnd),
        (json!({ "exp": "soon" }), TokenRefusal::Malformed),
        (json!({ "exp": -1 }), TokenRefusal::Malformed),
        (json!({ "exp": 1e300 }), TokenRefusal::Malformed),
        (json!({ "exp": u64::MAX }), TokenRefusal::Malformed),
        (json!({ "nbf": now + 30 }), TokenRefusal::NotYet),
        (json!({ "iat": now + 30 }), TokenRefusal::NotYet),
        (json!({ "sub": null }), TokenRefusal::NoName),
        (json!({ "sub": "" }), TokenRefusal::NoName),
        (json!({ "sub": 7 }), TokenRefusal::NoName),
        (json!({ "sub": "a\nb" }), TokenRefusal::NoName),
        (json!({ "sub": "a".repeat(257) }), TokenRefusal::NoName),
        (json!({ "cnf": { "jkt": "x" } }), TokenRefusal::Confirmation),
        (json!({ "cnf": { "jkt": "x", "x5t#S256": "x" } }), TokenRefusal::Confirmation),
        (json!({ "cnf": { "x5t#S256": "AAAA" } }), TokenRefusal::Malformed),
        (json!({ "cnf": "x" }), TokenRefusal::Malformed),
    ] {
        assert_eq!(said(&key, &changes), Err(wrong), "{changes}");
    }
    for changes in [
        json!({ "aud": ["another", "bridge"] }),
        json!({ "exp": now - 2 }),
        json!({ "exp": now as f64 + 9.5 }),
        json!({ "nbf": now + 2 }),
        json!({ "iat": null }),
    ] {
        assert!(said(&key, &changes).is_ok(), "{changes}");
    }
    let bound = said(&key, &json!({ "cnf": { "x5t#S256": BASE64_URL_SAFE_NO_PAD.encode([7; 32]) } })).unwrap();
    assert_eq!(bound.bound_to, Some([7; 32]));
}

#[test]
fn headers_that_ask_for_more_or_for_less_are_refused() {
    let key = SigningKey::new("a");
    let refused = |header: Value| Token::parse(&key.token_with(&header, &claims(ISSUER, &json!({})))).err();
    for (header, wrong) in [
        (json!({ "alg": "none" }), TokenRefusal::Algorithm),
        (json!({ "alg": "HS256" }), TokenRefusal::Algorithm),
        (json!({ "alg": "eddsa" }), TokenRefusal::Algorithm),
        (json!({ "kid": "a" }), TokenRefusal::Malformed),
        (json!({ "alg": "EdDSA", "crit": ["exp"], "exp": 1 }), TokenRefusal::Critical),
        (json!({ "alg": "EdDSA", "crit": [] }), TokenRefusal::Critical),
        (json!({ "alg": "EdDSA", "typ": "dpop+jwt" }), TokenRefusal::Kind),
        (json!({ "alg": "EdDSA", "typ": "logout+jwt" }), TokenRefusal::Kind),
        (json!([]), TokenRefusal::Malformed),
    ] {
        assert_eq!(refused(header.clone()), Some(wrong), "{header}");
    }
    for header in [json!({ "alg": "EdDSA" }), json!({ "alg": "Ed25519", "typ": "application/at+JWT", "jku": "x" })] {
        assert_eq!(refused(header.clone()), None, "{header}");
    }
    for text in ["", ".", "..", "a.b", "a.b.c", "e30.e30.", "e30.e30.AA.AA", "e30=.e30.AA"] {
        assert_eq!(Token::parse(text).err(), Some(TokenRefusal::Malformed), "{text}");
    }
    // Two algorithms in one header: whoever reads the first and whoever reads the second must not differ.
    let doubled = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"EdDSA","alg":"RS256"}"#);
    assert_eq!(Token::parse(&format!("{doubled}.e30.AA")).err(), Some(TokenRefusal::Malformed));
}

proptest! {
    #[test]
    fn no_text_panics(text in "[A-Za-z0-9_.-]{0,200}", header in ".{0,60}", payload in ".{0,60}") {
        let _ = Token::parse(&text);
        let [header, payload] = [header, payload].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        let _ = Token::parse(&format!("{header}.{payload}.AAAA"));
    }

    #[test]
    fn a_token_that_was_cut_or_changed_is_not_signed(at in 0_usize..1000, cut: bool) {
        let key = SigningKey::new("a");
        let text = key.token(&claims(ISSUER, &json!({})));
        let at = at % text.len();
        let changed = if cut {
            text[..at].to_owned()
        } else {
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            format!("{}{other}{}", &text[..at], &text[at + 1..])
        };
        let set = keys(&jwks(&[&key]));
        if let Ok(token) = Token::parse(&changed) {
            prop_assert!(!set.candidates(None, token.algorithm()).any(|key| token.is_signed_by(key)));
        }
    }
}
