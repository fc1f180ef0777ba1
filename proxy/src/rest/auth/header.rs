//! The `Authorization` header (RFC 9110, section 11.6.2): a peer's bytes arrive, a Basic pair (RFC 7617) or a Bearer token
//! (RFC 6750) leaves, both bounded. Credentials are taken from this header and from nowhere else: one in the query or in front of
//! the host stands in every log between the client and us, and is refused. Nothing here may be logged or shown.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Uri};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

/// What a request brings to say who sends it.
pub enum Presented<'h> {
    /// A name and a password.
    Basic(Basic),
    /// A token, as it was sent.
    Bearer(&'h str),
}

/// A name and a password, out of one header. No `Debug`; the password is wiped when dropped.
pub struct Basic {
    /// What was before the first colon: 1 to 256 bytes, no control characters.
    pub name: String,
    /// What was behind it: at most 1024 bytes.
    pub password: Zeroizing<String>,
}

impl<'h> Presented<'h> {
    /// Reads one value: a scheme in any case, one or more spaces, the credentials.
    pub fn parse(value: &'h [u8]) -> Result<Self, HeaderRefusal> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(HeaderRefusal::TooLong);
        }
        // Both schemes carry token68 (RFC 9110, section 11.2), which is ASCII.
        let text = std::str::from_utf8(value).map_err(|_| HeaderRefusal::Scheme)?;
        let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
        let credentials = rest.trim_matches(' ');
        if scheme.eq_ignore_ascii_case("basic") {
            return parse_basic(credentials).map(Self::Basic).ok_or(HeaderRefusal::Basic);
        }
        if scheme.eq_ignore_ascii_case("bearer") {
            let plain = !credentials.is_empty() && credentials.bytes().all(is_token68);
            return if plain { Ok(Self::Bearer(credentials)) } else { Err(HeaderRefusal::Bearer) };
        }
        Err(HeaderRefusal::Scheme)
    }
}

/// The value of the only `Authorization` header, if there is one.
pub fn only(headers: &HeaderMap) -> Result<Option<&[u8]>, HeaderRefusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let first = values.next().map(|value| value.as_bytes());
    if values.next().is_some() { Err(HeaderRefusal::Several) } else { Ok(first) }
}

/// Refuses a credential in the address: `access_token` in the query (RFC 6750, section 2.3; forbidden by RFC 9700, section
/// 4.3.2), or a name and password in front of the host (RFC 9110, section 4.2.4).
pub fn refuse_in_address(uri: &Uri) -> Result<(), HeaderRefusal> {
    let before_host = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
    let query = uri.query().unwrap_or_default();
    let named = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        SECRET_PARAMETERS.iter().any(|secret| is_same_name(name, secret))
    };
    if before_host || query.split(['&', ';']).any(named) { Err(HeaderRefusal::InAddress) } else { Ok(()) }
}

/// Why a header, or an address, is not taken. The texts hold nothing of what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderRefusal {
    /// Not the base64 of a name, a colon and a password.
    #[error("the Basic credentials are not the base64 of name:password")]
    Basic,
    /// Not a token.
    #[error("the Bearer token is empty or has characters that no token has")]
    Bearer,
    /// In the address.
    #[error("credentials in the address are not taken, and should be replaced: send them in the Authorization header")]
    InAddress,
    /// Neither Basic nor Bearer.
    #[error("the Authorization header has neither the scheme Basic nor Bearer")]
    Scheme,
    /// More than one header.
    #[error("there is more than one Authorization header")]
    Several,
    /// Over the bound.
    #[error("the Authorization header has more than {MAX_VALUE_BYTES} bytes")]
    TooLong,
}

fn parse_basic(credentials: &str) -> Option<Basic> {
    if credentials.len() > MAX_BASIC_BYTES {
        return None;
    }
    // Of its final size from the start: nothing is left behind by a buffer that grew.
    let mut bytes = Zeroizing::new(vec![0; credentials.len()]);
    let length = BASE64_STANDARD.decode_slice(credentials, &mut bytes).ok()?;
    let pair = std::str::from_utf8(bytes.get(..length)?).ok()?;
    let (name, password) = pair.split_once(':')?;
    let plain = !pair.chars().any(char::is_control);
    let bounded = (1..=MAX_NAME_BYTES).contains(&name.len()) && password.len() <= MAX_PASSWORD_BYTES;
    (plain && bounded).then(|| Basic { name: name.to_owned(), password: Zeroizing::new(password.to_owned()) })
}

/// token68, which the `b64token` of RFC 6750 also is.
fn is_token68(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

/// Whether a parameter's name, with its percent encoding, is `name` in any case.
fn is_same_name(encoded: &str, name: &str) -> bool {
    let mut wanted = name.bytes();
    let mut rest = encoded.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = (*first == b'%').then(|| after.split_at_checked(2)).flatten();
        let decoded = escape.and_then(|(digits, after)| {
            let value = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
            Some((value, after))
        });
        let (byte, after) = decoded.unwrap_or((*first, after));
        if !wanted.next().is_some_and(|expected| expected.eq_ignore_ascii_case(&byte)) {
            return false;
        }
        rest = after;
    }
    wanted.next().is_none()
}

/// Tokens with many claims have 2 to 4 KiB; servers in front of us cut at 8 to 16.
const MAX_VALUE_BYTES: usize = 16 * 1024;
/// The base64 of the longest name and password.
const MAX_BASIC_BYTES: usize = (MAX_NAME_BYTES + 1 + MAX_PASSWORD_BYTES).div_ceil(3) * 4;
/// Names become principals, which stand in every audit record.
pub(super) const MAX_NAME_BYTES: usize = 256;
/// Far beyond what anybody types, and it bounds what is hashed for a stranger.
pub(super) const MAX_PASSWORD_BYTES: usize = 1024;

/// Names under which credentials are known to travel in addresses.
const SECRET_PARAMETERS: [&str; 5] = ["access_token", "id_token", "authorization", "password", "sasl_password"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    fn refusal(value: &str) -> Option<HeaderRefusal> {
        Presented::parse(value.as_bytes()).err()
    }

    #[test]
    fn the_example_of_rfc_7617_is_read() {
        let Ok(Presented::Basic(basic)) = Presented::parse(b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==") else {
            panic!("not taken for Basic");
        };
        assert_eq!((basic.name.as_str(), basic.password.as_str()), ("Aladdin", "open sesame"));
        // Section 2.1: UTF-8, and the password may have colons.
        let Ok(Presented::Basic(basic)) = Presented::parse("bAsIc  dGVzdDoxMjPCow==".as_bytes()) else {
            panic!("not taken for Basic");
        };
        assert_eq!((basic.name.as_str(), basic.password.as_str()), ("test", "123\u{a3}"));
    }

    #[test]
    fn the_example_of_rfc_6750_is_read() {
        assert!(matches!(Presented::parse(b"Bearer mF_9.B5f-4.1JqM"), Ok(Presented::Bearer("mF_9.B5f-4.1JqM"))));
        assert!(matches!(Presented::parse(b"BEARER a.b.c"), Ok(Presented::Bearer("a.b.c"))));
    }

    #[test]
    fn what_is_not_sound_is_refused_with_its_reason() {
        let long = format!("Bearer {}", "a".repeat(MAX_VALUE_BYTES));
        let basic = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
        for (value, reason) in [
            ("", HeaderRefusal::Scheme),
            ("Negotiate YII", HeaderRefusal::Scheme),
            ("Basicx QTpi", HeaderRefusal::Scheme),
            ("Basic", HeaderRefusal::Basic),
            ("Basic QTpi!", HeaderRefusal::Basic),
            ("Basic QTpi QTpi", HeaderRefusal::Basic),
            (&basic("no colon"), HeaderRefusal::Basic),
            (&basic(":nobody"), HeaderRefusal::Basic),
            (&basic("a\n:b"), HeaderRefusal::Basic),
            (&basic(&format!("{}:b", "a".repeat(257))), HeaderRefusal::Basic),
            (&basic(&format!("a:{}", "b".repeat(1025))), HeaderRefusal::Basic),
            ("Bearer", HeaderRefusal::Bearer),
            ("Bearer a b", HeaderRefusal::Bearer),
            ("Bearer a,b", HeaderRefusal::Bearer),
            (&long, HeaderRefusal::TooLong),
        ] {
            assert_eq!(refusal(value), Some(reason), "{value:.40}");
        }
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, "Bearer a".parse().unwrap());
        headers.append(AUTHORIZATION, "Bearer b".parse().unwrap());
        assert_eq!(only(&headers).err(), Some(HeaderRefusal::Several));
        assert_eq!(only(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn credentials_in_the_address_are_refused_however_they_are_written() {
        let refused = |uri: &str| refuse_in_address(&uri.parse().unwrap()).is_err();
        for uri in [
            "/topics/a?access_token=x",
            "/topics/a?timeout=1&ACCESS_TOKEN",
            "/topics/a?%61ccess%5Ftoken=x",
            "/topics/a?x=1;password=x",
            "http://alice:secret@localhost/topics",
        ] {
            assert!(refused(uri), "{uri}");
        }
        for uri in ["/topics/a", "/topics/a?timeout=1&key=access_token", "/topics/access_token?%zz=1", "/?%61"] {
            assert!(!refused(uri), "{uri}");
        }
    }

    proptest! {
        #[test]
        fn every_sound_pair_comes_back(name in "[^:\\p{Cc}]{1,64}", password in "[^\\p{Cc}]{0,128}") {
            let value = format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}")));
            let Ok(Presented::Basic(basic)) = Presented::parse(value.as_bytes()) else { panic!("refused") };
            prop_assert_eq!(basic.name, name);
            prop_assert_eq!(basic.password.as_str(), password);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512), basic: bool) {
            let mut value = if basic { b"Basic ".to_vec() } else { Vec::new() };
            value.extend(bytes);
            if let Ok(Presented::Basic(basic)) = Presented::parse(&value) {
                prop_assert!(!basic.name.is_empty() && !basic.name.contains(':'));
            }
        }

        #[test]
        fn a_parameter_is_found_however_it_is_escaped(escaped in proptest::collection::vec(any::<bool>(), 12)) {
            let name: String = "access_token".bytes().zip(escaped)
                .map(|(byte, escape)| if escape { format!("%{byte:02x}") } else { char::from(byte).to_string() })
                .collect();
            prop_assert!(is_same_name(&name, "access_token"));
            prop_assert!(!is_same_name(&name, "access_tokens"));
        }
    }
}
