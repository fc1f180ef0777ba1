//! The keys of an issuer (RFC 7517, RFC 7518 section 6, RFC 8037): a JSON document arrives, keys that verify signatures leave.
//! A key belongs to one family of algorithms, so that none can be taken for another; symmetric keys, keys for encryption and
//! keys of kinds that are not known are left out. A document without one usable key is none.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

use crate::config::TokenAlgorithm;

/// The keys of one issuer at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet(Vec<Key>);

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    id: Option<String>,
    /// The only algorithm that its owner uses it with, where that was said.
    algorithm: Option<TokenAlgorithm>,
    public: Public,
    mark: KeyMark,
}

/// Tells a key from every other; the hash of what it is and of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyMark([u8; 32]);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Public {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// Points on a curve, uncompressed (SEC 1, section 2.3.3).
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl KeySet {
    /// Reads a JWK set.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        let Document { keys } = serde_json::from_slice(document).map_err(|_| KeySetError::Malformed)?;
        if keys.len() > MAX_KEYS {
            return Err(KeySetError::TooMany(keys.len()));
        }
        // What is not a key of ours in form is left out like one in kind: issuers publish keys for others, too.
        let keys = keys.into_iter().filter_map(|key| Key::new(serde_json::from_value(key).ok()?));
        let set = Self(keys.collect());
        if set.0.is_empty() { Err(KeySetError::Empty) } else { Ok(set) }
    }

    /// Those that a token may mean: by name when it names one, else all that fit.
    pub fn candidates<'s>(&'s self, id: Option<&'s str>, algorithm: TokenAlgorithm) -> impl Iterator<Item = &'s Key> {
        let named = move |key: &&Key| id.is_none() || key.id.as_deref() == id;
        self.0.iter().filter(named).filter(move |key| key.fits(algorithm))
    }

    /// Whether a key is still among them.
    pub fn has(&self, mark: KeyMark) -> bool {
        self.0.iter().any(|key| key.mark == mark)
    }
}

impl Key {
    fn new(jwk: Jwk) -> Option<Self> {
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        if jwk.operations.is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
            return None;
        }
        // An algorithm that we do not know must not become any algorithm.
        let algorithm = match &jwk.algorithm {
            Some(name) => Some(TokenAlgorithm::parse(name)?),
            None => None,
        };
        let decode = |text: Option<String>| BASE64_URL_SAFE_NO_PAD.decode(text?).ok();
        let public = match (jwk.kind.as_str(), jwk.curve.as_deref()) {
            ("RSA", _) => Public::rsa(&decode(jwk.n)?, &decode(jwk.e)?)?,
            ("EC", Some("P-256")) => Public::P256(point(&decode(jwk.x)?, &decode(jwk.y)?, 32)?),
            ("EC", Some("P-384")) => Public::P384(point(&decode(jwk.x)?, &decode(jwk.y)?, 48)?),
            ("OKP", Some("Ed25519")) => Public::Ed25519(decode(jwk.x).filter(|x| x.len() == 32)?),
            _ => return None,
        };
        let mark = public.mark(jwk.id.as_deref());
        let key = Self { id: jwk.id, algorithm, public, mark };
        // One that says `alg` of another kind fits nothing.
        TokenAlgorithm::ALL.iter().any(|algorithm| key.fits(*algorithm)).then_some(key)
    }

    fn fits(&self, algorithm: TokenAlgorithm) -> bool {
        use TokenAlgorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        let by_kind = match &self.public {
            Public::Rsa { .. } => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512),
            Public::P256(_) => algorithm == Es256,
            Public::P384(_) => algorithm == Es384,
            Public::Ed25519(_) => algorithm == EdDsa,
        };
        by_kind && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Whether a signature is this key's, by an algorithm that it fits.
    pub fn verifies(&self, algorithm: TokenAlgorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.fits(algorithm) {
            return false;
        }
        let verified = match &self.public {
            Public::Rsa { modulus, exponent } => {
                let key = RsaPublicKeyComponents { n: modulus, e: exponent };
                let by = match algorithm {
                    TokenAlgorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    TokenAlgorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    TokenAlgorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    TokenAlgorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    TokenAlgorithm::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
                    TokenAlgorithm::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
                    TokenAlgorithm::Es256 | TokenAlgorithm::Es384 | TokenAlgorithm::EdDsa => return false,
                };
                key.verify(by, message, signature)
            }
            Public::P256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Public::P384(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(message, signature)
            }
            Public::Ed25519(point) => UnparsedPublicKey::new(&signature::ED25519, point).verify(message, signature),
        };
        verified.is_ok()
    }

    /// What tells it from others.
    pub fn mark(&self) -> KeyMark {
        self.mark
    }
}

impl Public {
    /// Between 2048 and 8192 bits, with a small odd exponent: what ring verifies, checked when the key comes and not with each token.
    fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<Self> {
        let modulus = without_zeros(modulus);
        let exponent = without_zeros(exponent);
        let bits = modulus.len() * 8 - usize::try_from(modulus.first()?.leading_zeros()).ok()?;
        let odd = exponent.last().is_some_and(|byte| byte % 2 == 1);
        let sound = (2048..=8192).contains(&bits) && odd && exponent.len() <= 4;
        sound.then(|| Self::Rsa { modulus: modulus.to_vec(), exponent: exponent.to_vec() })
    }

    fn mark(&self, id: Option<&str>) -> KeyMark {
        let mut all = Vec::new();
        let (kind, parts): (u8, [&[u8]; 2]) = match self {
            Self::Rsa { modulus, exponent } => (1, [modulus, exponent]),
            Self::P256(point) => (2, [point, &[]]),
            Self::P384(point) => (3, [point, &[]]),
            Self::Ed25519(point) => (4, [point, &[]]),
        };
        all.push(kind);
        for part in parts.into_iter().chain([id.unwrap_or_default().as_bytes()]) {
            all.extend((part.len() as u64).to_be_bytes());
            all.extend(part);
        }
        let mut mark = [0; 32];
        mark.copy_from_slice(digest(&SHA256, &all).as_ref());
        KeyMark(mark)
    }
}

/// Why a document gives no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// No key of a kind that is used here.
    #[error("it has no RSA (2048 to 8192 bits), P-256, P-384 or Ed25519 key for signatures")]
    Empty,
    /// Not a JWK set.
    #[error("it is not a JWK set (RFC 7517)")]
    Malformed,
    /// Over the bound.
    #[error("it has {0} keys, at most {MAX_KEYS} are taken")]
    TooMany(usize),
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    #[serde(rename = "kty")]
    kind: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    #[serde(rename = "key_ops")]
    operations: Option<Vec<String>>,
    #[serde(rename = "alg")]
    algorithm: Option<String>,
    #[serde(rename = "kid")]
    id: Option<String>,
    #[serde(rename = "crv")]
    curve: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

fn point(x: &[u8], y: &[u8], size: usize) -> Option<Vec<u8>> {
    // RFC 7518, section 6.2.1.2: the full size of a coordinate.
    (x.len() == size && y.len() == size).then(|| [&[4], x, y].concat())
}

fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// Issuers have two or three at a time; shared ones some dozens.
const MAX_KEYS: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;

    fn set(keys: &[String]) -> Result<KeySet, KeySetError> {
        KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes())
    }

    #[test]
    fn keys_that_are_not_for_us_are_left_out() {
        for more in [
            r#","use":"enc"}"#,
            r#","alg":"HS256"}"#,
            r#","alg":"none"}"#,
            r#","alg":"RS256"}"#,
            r#","key_ops":["sign"]}"#,
        ] {
            assert_eq!(set(&[format!("{ED25519}{more}")]), Err(KeySetError::Empty), "{more}");
        }
        for other in [
            r#"{"kty":"oct","k":"AAAA","kid":"a"}"#,
            r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#,
            r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}"#,
            r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#,
            r#"{"kty":7}"#,
            "7",
        ] {
            assert_eq!(set(&[other.to_owned()]), Err(KeySetError::Empty), "{other}");
            let beside = set(&[other.to_owned(), format!(r#"{ED25519},"use":"sig","key_ops":["verify"]}}"#)]).unwrap();
            assert_eq!(beside.candidates(None, TokenAlgorithm::EdDsa).count(), 1);
            assert_eq!(beside.candidates(None, TokenAlgorithm::Rs256).count(), 0);
        }
    }

    #[test]
    fn documents_that_are_none_are_refused() {
        for broken in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[{}]"#] {
            assert_eq!(KeySet::parse(broken.as_bytes()), Err(KeySetError::Malformed), "{broken}");
        }
        let many = vec![format!("{ED25519}}}"); MAX_KEYS + 1];
        assert_eq!(set(&many), Err(KeySetError::TooMany(MAX_KEYS + 1)));
    }

    #[test]
    fn a_key_is_known_by_its_name_and_itself() {
        let first = set(&[format!(r#"{ED25519},"kid":"a"}}"#)]).unwrap();
        let renamed = set(&[format!(r#"{ED25519},"kid":"b"}}"#)]).unwrap();
        let mark = first.candidates(Some("a"), TokenAlgorithm::EdDsa).next().unwrap().mark();
        assert!(first.has(mark) && !renamed.has(mark));
        assert_eq!(first.candidates(Some("b"), TokenAlgorithm::EdDsa).count(), 0);
    }
}
