//! The `Authorization` header of a request and what may stand in it: nothing may panic, what is read is within its bounds, and a token
//! that parses has an algorithm that can be written in a configuration.
#![no_main]

use barnabas::config::TokenAlgorithm;
use barnabas::rest::auth::header::Presented;
use barnabas::rest::auth::jwt::Token;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match Presented::parse(bytes) {
        Ok(Presented::Basic(basic)) => {
            assert!((1..=256).contains(&basic.name.len()) && !basic.name.contains(':'));
            assert!(basic.password.len() <= 1024);
        }
        Ok(Presented::Bearer(token)) => look_at(token),
        Err(_) => {}
    }
    // Without the scheme, so that the parser behind it is reached more often.
    if let Ok(text) = std::str::from_utf8(bytes) {
        look_at(text);
    }
});

fn look_at(text: &str) {
    if let Ok(token) = Token::parse(text) {
        assert!(TokenAlgorithm::ALL.contains(&token.algorithm()));
        let _ = (token.issuer(), token.key_id());
    }
}
