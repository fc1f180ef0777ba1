//! A signed token (RFC 7519 in the compact form of RFC 7515): a stranger's text arrives, its parts leave, and after its signature
//! and its claims have been checked, who it speaks of. Which algorithm may be used is decided by the configuration and by the
//! key, never by the token alone; `none` and symmetric algorithms have no name here. RFC 8725 and RFC 9068 are followed where
//! they say what a resource server checks. Nothing of a token may be logged or shown.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::jwk::Key;
use crate::config::{TokenAlgorithm, TokenIssuer};

/// A token whose parts are well-formed. Nothing of it is true before [`Token::is_signed_by`] says so.
pub struct Token<'t> {
    /// What the signature is over.
    signed: &'t str,
    signature: Vec<u8>,
    algorithm: TokenAlgorithm,
    key_id: Option<String>,
    claims: Map<String, Value>,
}

/// What a checked token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The claim that names the caller.
    pub name: String,
    /// When the token ends: its `exp` and the clock skew.
    pub expires: SystemTime,
    /// The client certificate that it is bound to (RFC 8705, section 3.1).
    pub bound_to: Option<[u8; 32]>,
}

impl<'t> Token<'t> {
    /// Splits and decodes a token.
    pub fn parse(text: &'t str) -> Result<Self, TokenRefusal> {
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenRefusal::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenRefusal::Malformed)?;
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenRefusal::Malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenRefusal::Malformed)?;
        // RFC 7515, section 4.1.11: what must be understood and is not.
        if header.critical.is_some() {
            return Err(TokenRefusal::Critical);
        }
        if !header.kind.as_deref().is_none_or(is_access_token) {
            return Err(TokenRefusal::Kind);
        }
        let algorithm = TokenAlgorithm::parse(&header.algorithm).ok_or(TokenRefusal::Algorithm)?;
        let claims = serde_json::from_slice(&decode(claims)?).map_err(|_| TokenRefusal::Malformed)?;
        Ok(Self { signed, signature: decode(signature)?, algorithm, key_id: header.key_id, claims })
    }

    /// Who says to have issued it.
    pub fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }

    /// How it says to be signed.
    pub fn algorithm(&self) -> TokenAlgorithm {
        self.algorithm
    }

    /// The name of the key that it says to be signed with.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Whether a key has signed it.
    pub fn is_signed_by(&self, key: &Key) -> bool {
        key.verifies(self.algorithm, self.signed.as_bytes(), &self.signature)
    }

    /// What it says, as its issuer's settings want it. To be asked only after its signature.
    pub fn claims(&self, issuer: &TokenIssuer, now: SystemTime) -> Result<Claims, TokenRefusal> {
        if self.issuer() != Some(issuer.issuer.as_str()) {
            return Err(TokenRefusal::Issuer);
        }
        let skew = issuer.clock_skew;
        let ends = self.moment("exp")?.ok_or(TokenRefusal::NoEnd)?;
        let expires = ends.checked_add(skew).ok_or(TokenRefusal::Malformed)?;
        if expires <= now {
            return Err(TokenRefusal::Expired);
        }
        let latest = now.checked_add(skew).unwrap_or(now);
        for begins in ["nbf", "iat"] {
            if self.moment(begins)?.is_some_and(|begins| begins > latest) {
                return Err(TokenRefusal::NotYet);
            }
        }
        if !self.is_for(&issuer.audiences) {
            return Err(TokenRefusal::Audience);
        }
        let name = self.claims.get(&issuer.principal_claim).and_then(Value::as_str).ok_or(TokenRefusal::NoName)?;
        if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
            return Err(TokenRefusal::NoName);
        }
        Ok(Claims { name: name.to_owned(), expires, bound_to: self.bound_to()? })
    }

    /// A NumericDate (RFC 7519, section 2): seconds since 1970, perhaps with a fraction, which is cut off.
    fn moment(&self, claim: &str) -> Result<Option<SystemTime>, TokenRefusal> {
        let Some(value) = self.claims.get(claim) else { return Ok(None) };
        let seconds = match (value.as_u64(), value.as_f64()) {
            (Some(seconds), _) => seconds,
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            (None, Some(seconds)) if seconds >= 0.0 && seconds < MAX_SECONDS as f64 => seconds as u64,
            _ => return Err(TokenRefusal::Malformed),
        };
        let moment = (seconds < MAX_SECONDS).then(|| UNIX_EPOCH.checked_add(Duration::from_secs(seconds))).flatten();
        moment.ok_or(TokenRefusal::Malformed).map(Some)
    }

    fn is_for(&self, audiences: &[String]) -> bool {
        let is_ours = |value: &Value| value.as_str().is_some_and(|text| audiences.iter().any(|ours| ours == text));
        match self.claims.get("aud") {
            Some(Value::Array(several)) => several.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        }
    }

    /// A token that is bound to something that we cannot check is not a bearer token: taking it would undo what its issuer wanted.
    fn bound_to(&self) -> Result<Option<[u8; 32]>, TokenRefusal> {
        let Some(confirmation) = self.claims.get("cnf") else { return Ok(None) };
        let confirmation = confirmation.as_object().ok_or(TokenRefusal::Malformed)?;
        let mut members = confirmation.iter();
        let (Some((name, thumbprint)), None) = (members.next(), members.next()) else {
            return Err(TokenRefusal::Confirmation);
        };
        if name != "x5t#S256" {
            return Err(TokenRefusal::Confirmation);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(thumbprint.as_str().unwrap_or_default());
        bytes.ok().and_then(|bytes| bytes.try_into().ok()).map(Some).ok_or(TokenRefusal::Malformed)
    }
}

/// Why a token is not taken. The texts go to its bearer (RFC 6750, section 3: `error_description`), and hold nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenRefusal {
    /// An algorithm that nobody allowed.
    #[error("the token's algorithm is not accepted here")]
    Algorithm,
    /// It is for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// It is bound to another certificate, or there is none on this connection.
    #[error("the token is bound to a client certificate that this connection does not have")]
    Bound,
    /// It is bound in a way that cannot be checked here.
    #[error("the token is bound to a key in a way that is not supported here")]
    Confirmation,
    /// It has critical header parameters.
    #[error("the token has critical header parameters that are not supported here")]
    Critical,
    /// It has ended.
    #[error("the token has expired")]
    Expired,
    /// Nobody trusts who issued it.
    #[error("the token's issuer is not accepted here")]
    Issuer,
    /// A token of another kind.
    #[error("the token is not an access token")]
    Kind,
    /// Not the form of a token.
    #[error("the token is not a signed JWT, or one of its claims has the wrong form")]
    Malformed,
    /// Its time has not come.
    #[error("the token is not valid yet")]
    NotYet,
    /// No `exp`.
    #[error("the token has no end")]
    NoEnd,
    /// No claim to take the principal from.
    #[error("the token does not have the claim that names the caller")]
    NoName,
    /// Nobody's signature.
    #[error("the token's signature is not one of its issuer's keys")]
    Signature,
}

impl TokenRefusal {
    /// The word in logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::Algorithm => "token_algorithm",
            Self::Audience => "token_audience",
            Self::Bound | Self::Confirmation => "token_bound",
            Self::Critical | Self::Kind | Self::Malformed => "token_malformed",
            Self::Expired | Self::NoEnd => "token_expired",
            Self::Issuer => "token_issuer",
            Self::NotYet => "token_not_yet_valid",
            Self::NoName => "token_without_name",
            Self::Signature => "token_signature",
        }
    }
}

#[derive(Deserialize)]
struct Header {
    #[serde(rename = "alg")]
    algorithm: String,
    #[serde(rename = "kid")]
    key_id: Option<String>,
    #[serde(rename = "typ")]
    kind: Option<String>,
    #[serde(rename = "crit")]
    critical: Option<Value>,
}

/// RFC 9068, section 2.1, or no more than "a JWT". A proof or a security event signed by the same issuer is none (RFC 8725, 3.11).
fn is_access_token(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    matches!(kind.strip_prefix("application/").unwrap_or(&kind), "jwt" | "at+jwt")
}

/// What a principal's name may have.
const MAX_NAME_BYTES: usize = 256;
/// The year 10000: later moments are mistakes, and could not be added to.
const MAX_SECONDS: u64 = 253_402_300_800;

#[cfg(test)]
mod tests;
