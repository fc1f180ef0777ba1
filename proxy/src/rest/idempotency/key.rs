//! The key of a request, and what tells the request itself from another one.
//!
//! Arrives: header fields, and the whole request. Leaves: an [`Id`] under which the answer is kept, and a digest of the request. What
//! must never happen here: a key or a body kept as it is; a digest that can be tried out without the key.
//!
//! Source: draft-ietf-httpapi-idempotency-key-header-07.

use axum::http::HeaderMap;
use axum::http::request::Parts;
use ring::{digest, hmac};

use crate::identity::Principal;
use crate::rest::{Code, Error};

/// What a caller calls its request.
pub struct Key(String);

/// Under which an answer is kept: whose, and which. Callers' words cannot be found in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id {
    /// Of the installation: others on the same cluster use the same topic.
    pub installation: Installation,
    /// Of installation and principal.
    pub principal: [u8; PRINCIPAL_BYTES],
    /// Of installation, principal and key.
    pub key: [u8; KEY_BYTES],
}

/// Tells an installation from others on the same cluster.
pub type Installation = [u8; INSTALLATION_BYTES];

/// Tells a request from another one.
pub type Digest = [u8; 32];

impl Key {
    /// The key in these header fields; `None` without one.
    ///
    /// # Errors
    /// `BadRequest` for what is no key.
    pub fn of(headers: &HeaderMap) -> Option<Result<Self, Error>> {
        let mut given = headers.get_all(HEADER).into_iter();
        let first = given.next()?;
        if given.next().is_some() {
            return Some(Err(Code::BadRequest.with("Idempotency-Key is given twice")));
        }
        let text = first.to_str().ok().map(unquoted).filter(|text| (1..=MOST_LETTERS).contains(&text.len()));
        let refused = || Code::BadRequest.with("an Idempotency-Key has 1 to 255 visible ASCII letters, such as a UUID");
        Some(text.map(|text| Self(text.to_owned())).ok_or_else(refused))
    }

    /// Under which the answer to a request of this principal is kept.
    pub fn id(&self, installation: &str, principal: &Principal) -> Id {
        let whose = [installation, principal.as_str()];
        let key = hash(&[installation, principal.as_str(), &self.0]);
        Id { installation: hash(&[installation]), principal: hash(&whose), key }
    }

    /// The digest of a request: of all that decides about what it does. The key goes into it as the key of an HMAC, so nobody who
    /// reads digests can try out short bodies.
    pub fn digest(&self, parts: &Parts, body: &[u8]) -> Digest {
        let mut signed = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, self.0.as_bytes()));
        let mut add = |part: &[u8]| {
            signed.update(&part.len().to_be_bytes());
            signed.update(part);
        };
        add(parts.method.as_str().as_bytes());
        add(parts.uri.path().trim_end_matches('/').as_bytes());
        add(parts.uri.query().unwrap_or_default().as_bytes());
        let counts = |name: &str| name == "content-type" || name.starts_with("kafka-") || name.starts_with("ce-");
        let mut fields: Vec<(&str, &[u8])> = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .filter(|(name, _)| counts(name))
            .collect();
        // Proxies may change their order, but not that of fields of one name.
        fields.sort_by_key(|(name, _)| *name);
        for (name, value) in fields {
            add(name.as_bytes());
            add(value);
        }
        add(body);
        let tag = signed.sign();
        let mut digest = Digest::default();
        digest.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        digest
    }
}

impl Id {
    /// The id in a record's key.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (installation, rest) = bytes.split_first_chunk()?;
        let (principal, key) = rest.split_first_chunk()?;
        Some(Self { installation: *installation, principal: *principal, key: key.try_into().ok()? })
    }

    /// As a record's key.
    pub fn bytes(&self) -> Vec<u8> {
        [&self.installation[..], &self.principal[..], &self.key[..]].concat()
    }

    /// The slot of its principal that it belongs to. Requests in one slot follow each other, on whatever replica.
    pub fn slot(&self) -> u16 {
        u16::from_be_bytes([self.key[0], self.key[1]]) % SLOTS
    }

    /// The partition of the topic that its slot belongs to. Slots of one principal are spread evenly.
    pub fn partition(&self) -> i32 {
        let first = u16::from_be_bytes([self.principal[0], self.principal[1]]);
        i32::from(first.wrapping_add(self.slot()) % PARTITIONS)
    }
}

/// The draft has it in quotation marks, most clients have it without.
fn unquoted(text: &str) -> &str {
    text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text.trim())
}

fn hash<const N: usize>(parts: &[&str]) -> [u8; N] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(DOMAIN);
    for part in parts {
        context.update(&part.len().to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut out = [0; N];
    out.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    out
}

/// The field, in lower case.
pub const HEADER: &str = "idempotency-key";

/// How many requests of one principal can be under way at once, all replicas together. Two replicas with different numbers would both
/// write: it is no setting.
const SLOTS: u16 = 64;

/// Partitions of the topic; as with slots, all replicas must agree. A divisor of the number of slots.
pub const PARTITIONS: u16 = 16;

const INSTALLATION_BYTES: usize = 8;
const PRINCIPAL_BYTES: usize = 8;
const KEY_BYTES: usize = 16;

/// As much as other APIs with this header take.
const MOST_LETTERS: usize = 255;

/// Hashes of other things are never the same.
const DOMAIN: &[u8] = b"barnabas idempotency key 1";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use axum::http::{HeaderValue, Request};

    use super::*;

    fn key(values: &[&'static str]) -> Option<Result<String, Error>> {
        let mut headers = HeaderMap::new();
        values.iter().for_each(|value| {
            headers.append(HEADER, HeaderValue::from_static(value));
        });
        Key::of(&headers).map(|key| key.map(|key| key.0))
    }

    #[test]
    fn a_key_is_a_word_with_quotation_marks_or_without() {
        assert!(key(&[]).is_none());
        assert_eq!(key(&["8e03"]).unwrap().unwrap(), "8e03");
        assert_eq!(key(&["\"8e03\""]).unwrap().unwrap(), "8e03");
        for wrong in [&[""][..], &["\"\""], &["a", "a"]] {
            assert_eq!(key(wrong).unwrap().unwrap_err().code, Code::BadRequest, "{wrong:?}");
        }
        let long: &'static str = "x".repeat(256).leak();
        assert!(key(&[long]).unwrap().is_err());
    }

    #[test]
    fn an_id_belongs_to_one_key_of_one_principal_of_one_installation() {
        let of =
            |installation: &str, name: &str, key: &str| Key(key.to_owned()).id(installation, &Principal::user(name));
        let one = of("a", "alice", "k");
        assert_eq!(one, of("a", "alice", "k"));
        assert_eq!(Id::parse(&one.bytes()), Some(one));
        assert_eq!((Id::parse(b""), Id::parse(&[0; 31]), Id::parse(&[0; 33])), (None, None, None));
        for other in [of("b", "alice", "k"), of("a", "bob", "k"), of("a", "alice", "k2")] {
            assert_ne!(one.key, other.key);
        }
        assert_eq!(one.principal, of("a", "alice", "k2").principal);
        assert_eq!(one.installation, of("a", "bob", "k").installation);
        assert_ne!(one.installation, of("b", "alice", "k").installation);
        let spread: HashSet<i32> = (0..1000).map(|n| of("a", "alice", &n.to_string()).partition()).collect();
        assert_eq!(spread.len(), usize::from(PARTITIONS));
    }

    #[test]
    fn a_digest_is_of_all_that_decides_and_of_nothing_else() {
        let parts = |uri: &str, fields: &[(&'static str, &'static str)]| {
            let mut request = Request::builder().method("POST").uri(uri);
            for (name, value) in fields {
                request = request.header(*name, *value);
            }
            request.body(()).unwrap().into_parts().0
        };
        let of = |key: &str, parts: &Parts, body: &str| Key(key.to_owned()).digest(parts, body.as_bytes());
        let first = of("k", &parts("/a?q", &[("kafka-key", "1"), ("ce-id", "2")]), "x");
        let same = of("k", &parts("/a/?q", &[("ce-id", "2"), ("accept", "y"), ("kafka-key", "1")]), "x");
        assert_eq!(first, same);
        let fields: &[_] = &[("kafka-key", "1"), ("ce-id", "2")];
        for other in [
            of("k2", &parts("/a?q", fields), "x"),
            of("k", &parts("/b?q", fields), "x"),
            of("k", &parts("/a?r", fields), "x"),
            of("k", &parts("/a?q", fields), "y"),
            of("k", &parts("/a?q", &[("kafka-key", "1"), ("ce-id", "3")]), "x"),
            of("k", &parts("/a?q", &[("kafka-key", "1"), ("ce-id", "2"), ("content-type", "t")]), "x"),
        ] {
            assert_ne!(first, other);
        }
    }
}
