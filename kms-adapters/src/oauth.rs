//! Bearer tokens of cloud vendors: asked for with a form or a signed assertion, kept until shortly before they end.
//!
//! Arrives: a credential, for one call. Leaves: an access token that is shared by all calls until it is stale. One request
//! for a token is under way at a time. While the token endpoint is silent, the token that is still good goes on. Neither
//! a token nor what it was asked with may reach a message.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use barnabas_crypto::custody::CustodyCause;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE};
use ring::rand::{SecureRandom, SystemRandom};
use ring::rsa::KeyPair;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::{Deserialize, Deserializer, de};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use zeroize::Zeroizing;

use crate::http::{Client, HttpSettings, Request, Response};
use crate::{Error, SecretSource, SecretText, VendorError};

/// The token that all calls of an adapter share.
#[derive(Default)]
pub(crate) struct TokenCache(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    token: Option<Arc<Token>>,
    /// A renewal failed: the next is not tried before.
    pause_until: Option<Instant>,
    /// When and how the last request failed, for those who waited for it.
    failure: Option<(Instant, VendorError)>,
}

impl Kept {
    fn replaced(&mut self, fetched: Result<Token, Error>) -> Result<Arc<Token>, Error> {
        match fetched {
            Ok(token) => {
                let token = Arc::new(token);
                *self = Self { token: Some(Arc::clone(&token)), ..Self::default() };
                Ok(token)
            }
            Err(error) => {
                if let Error::Vendor(failure) = &error {
                    self.failure = Some((Instant::now(), VendorError::clone(failure)));
                }
                Err(error)
            }
        }
    }
}

impl TokenCache {
    /// The kept token; a new one by `fetch` when there is none or it will soon end.
    ///
    /// # Errors
    /// Those of `fetch`, when no token is good any more.
    pub(crate) async fn current(&self, fetch: impl Future<Output = Result<Token, Error>>) -> Result<Arc<Token>, Error> {
        let began = Instant::now();
        let mut kept = self.0.lock().await;
        let now = Instant::now();
        let good = kept.token.clone().filter(|token| now < token.ends);
        if let Some(token) = &good
            && (now < token.stale || kept.pause_until.is_some_and(|until| now < until))
        {
            return Ok(Arc::clone(token));
        }
        if let (Some((failed, failure)), None) = (&kept.failure, &good)
            && began < *failed
        {
            // It failed while we waited for it: asking again at once would only make a queue of failures.
            return Err(failure.clone().into());
        }
        let Some(token) = good else {
            return kept.replaced(fetch.await);
        };
        // Nobody waits long for what is not needed yet.
        match timeout(RENEWAL_PATIENCE, fetch).await {
            Ok(Ok(fresh)) => kept.replaced(Ok(fresh)),
            Ok(Err(_)) | Err(_) => {
                kept.pause_until = Some(Instant::now() + RENEWAL_PAUSE);
                Ok(token)
            }
        }
    }

    /// Forgets a token that the service did not take. One that another call has brought in the meantime stays.
    pub(crate) async fn forget(&self, refused: &Arc<Token>) {
        let mut kept = self.0.lock().await;
        if kept.token.as_ref().is_some_and(|token| Arc::ptr_eq(token, refused)) {
            *kept = Kept::default();
        }
    }
}

/// An access token. No `Debug`, no `Clone`; wiped when dropped.
pub(crate) struct Token {
    text: SecretText,
    stale: Instant,
    ends: Instant,
}

impl Token {
    /// A token that is good for `lifetime` from now. It is stale for the last quarter, five minutes at most.
    pub(crate) fn new(text: SecretText, lifetime: Duration) -> Self {
        let now = Instant::now();
        let lifetime = lifetime.min(LONGEST_LIFETIME);
        let early = (lifetime / 4).min(STALE_BEFORE_END);
        Self { text, stale: now + (lifetime - early), ends: now + lifetime }
    }

    /// The value of an `Authorization` header.
    pub(crate) fn authorization(&self) -> Zeroizing<String> {
        let text = self.text.expose();
        let mut value = Zeroizing::new(String::with_capacity(BEARER.len() + text.len()));
        value.push_str(BEARER);
        value.push_str(text);
        value
    }
}

/// What an OAuth 2.0 token endpoint answers (RFC 6749, section 5.1). Managed identities write the lifetime as text.
#[derive(Deserialize)]
pub(crate) struct TokenAnswer {
    access_token: SecretText,
    #[serde(deserialize_with = "number_or_text")]
    expires_in: u64,
}

impl From<TokenAnswer> for Token {
    fn from(answer: TokenAnswer) -> Self {
        Self::new(answer.access_token, Duration::from_secs(answer.expires_in))
    }
}

/// A 64-bit number, which JSON of Protocol Buffers (and Microsoft's metadata service) writes as text.
pub(crate) fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
    .ok_or_else(|| de::Error::custom("not a number"))
}

/// [`client_of`] for a URL that a credential names: that it cannot be spoken to is the credential's fault.
///
/// # Errors
/// `Credential`.
pub(crate) fn client_named_in(place: &SecretSource, url: &str, http: &HttpSettings) -> Result<(Client, String), Error> {
    let what = "names an address that may not be spoken to";
    client_of(url, http).map_err(|_| Error::Credential { place: place.place(), what })
}

/// A client for a whole URL, under the same rules as the service itself; and the URL's path.
///
/// # Errors
/// `Setting`, when the URL may not be spoken to.
pub(crate) fn client_of(url: &str, settings: &HttpSettings) -> Result<(Client, String), Error> {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let path = url.get(authority..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| authority + at);
    let (endpoint, path) = url.split_at_checked(path).unwrap_or((url, ""));
    let client = Client::new(HttpSettings { endpoint: endpoint.to_owned(), ..settings.clone() })?;
    Ok((client, if path.is_empty() { "/".to_owned() } else { path.to_owned() }))
}

/// A form for a token endpoint.
pub(crate) fn form_request(path: String, fields: &[(&str, &str)]) -> Request {
    let length = fields.iter().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
    let mut form = Zeroizing::new(Vec::with_capacity(length));
    for (name, value) in fields {
        if !form.is_empty() {
            form.push(b'&');
        }
        form.extend_from_slice(name.as_bytes());
        form.push(b'=');
        push_encoded(&mut form, value);
    }
    let request = Request::new(Method::POST, path).header(ACCEPT, "application/json");
    request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
}

/// A value as it stands in a query (RFC 3986, section 2.3: all but unreserved characters escaped).
pub(crate) fn encoded(value: &str) -> String {
    let mut out = Vec::with_capacity(value.len());
    push_encoded(&mut out, value);
    String::from_utf8(out).unwrap_or_default()
}

fn push_encoded(out: &mut Vec<u8>, value: &str) {
    const HEX: [u8; 16] = *b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte);
        } else {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or_default();
            out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

/// Reads a token out of an answer.
///
/// # Errors
/// `Unauthenticated` when the endpoint refuses, whatever its status: a token that is not given says nothing about a key.
/// `Throttled` and `Unreachable` as elsewhere.
pub(crate) fn token_of(vendor: &'static str, response: &Response) -> Result<Token, Error> {
    if response.status != 200 {
        return Err(refused_token(vendor, response).into());
    }
    let answer: TokenAnswer = serde_json::from_slice(&response.body).map_err(|_| strange_token(vendor))?;
    Ok(answer.into())
}

/// Why no token was given.
pub(crate) fn refused_token(vendor: &'static str, response: &Response) -> VendorError {
    #[derive(Deserialize)]
    struct Refusal {
        error: Value,
        #[serde(default)]
        error_description: String,
    }
    let Ok(refusal) = serde_json::from_slice::<Refusal>(&response.body) else {
        let error = response.refusal(vendor);
        // A page of a proxy in between is no verdict on the credential.
        let is_verdict = response.status == 401 || response.status == 429;
        let cause = if is_verdict { error.cause } else { CustodyCause::Unreachable };
        return VendorError { cause, ..error }.advising(TOKEN_REMEDY);
    };
    // Google's own interfaces answer with an object, OAuth endpoints with a code.
    let code = refusal.error.as_str().or_else(|| refusal.error.get("status")?.as_str()).unwrap_or("error");
    let said = refusal.error.get("message").and_then(Value::as_str).unwrap_or(&refusal.error_description);
    let cause = match (response.usual_cause(), code) {
        (_, "temporarily_unavailable" | "server_error") => CustodyCause::Unreachable,
        (cause @ (CustodyCause::Throttled | CustodyCause::Unreachable), _) => cause,
        _ => CustodyCause::Unauthenticated,
    };
    let error = VendorError::new(vendor, cause).coded(format!("token endpoint: HTTP {} {code}", response.status));
    error.saying(said).after(response.retry_after()).advising(TOKEN_REMEDY)
}

/// A token endpoint said yes with something that is no token.
pub(crate) fn strange_token(vendor: &'static str) -> Error {
    let error = VendorError::new(vendor, CustodyCause::Unreachable).coded("token endpoint: no token in the answer");
    error.advising("see whether the address is the token endpoint's and whether a proxy stands between").into()
}

/// How a JSON web token is signed.
#[derive(Clone, Copy)]
pub(crate) enum JwtAlgorithm {
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

/// A signed JSON web token (RFC 7519) with the header `alg`, `typ` and one name more, from a PEM key.
///
/// # Errors
/// `Credential`, when the key is no RSA key in PEM of at least 2048 bits; `Entropy`.
pub(crate) fn signed_jwt(
    algorithm: JwtAlgorithm,
    named: (&str, &str),
    claims: &Value,
    pem: &str,
    place: &str,
) -> Result<Zeroizing<String>, Error> {
    let unfit = |what| Error::Credential { place: place.to_owned(), what };
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| unfit("has no private key in PEM"))?;
    let pair = match &key {
        PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
        _ => return Err(unfit("has a private key that is not RSA")),
    };
    let pair = pair.map_err(|_| unfit("has a private key that is not RSA of 2048 bits or more"))?;
    let (name, padding): (_, &'static dyn RsaEncoding) = match algorithm {
        JwtAlgorithm::Ps256 => ("PS256", &RSA_PSS_SHA256),
        JwtAlgorithm::Rs256 => ("RS256", &RSA_PKCS1_SHA256),
    };
    let header = json!({ "alg": name, "typ": "JWT", named.0: named.1 });
    let mut token = Zeroizing::new(String::with_capacity(JWT_LENGTH));
    URL_SAFE_NO_PAD.encode_string(header.to_string(), &mut token);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut token);
    let mut signature = vec![0; pair.public().modulus_len()];
    let signed = pair.sign(padding, &SystemRandom::new(), token.as_bytes(), &mut signature);
    signed.map_err(|_| Error::Entropy)?;
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(&signature, &mut token);
    Ok(token)
}

/// An identifier that no other token has.
pub(crate) fn unique_id() -> Result<String, Error> {
    let mut id = [0u8; 16];
    SystemRandom::new().fill(&mut id).map_err(|_| Error::Entropy)?;
    Ok(URL_SAFE_NO_PAD.encode(id))
}

/// Seconds since 1970, as JSON web tokens count.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

const BEARER: &str = "Bearer ";
const TOKEN_REMEDY: &str = "see that the gateway's credential is current and that its identity exists";
/// Tokens of an hour are renewed five minutes before they end: clocks differ, and a renewal may need several tries.
const STALE_BEFORE_END: Duration = Duration::from_secs(300);
/// While a good token is left, a token endpoint that failed is asked no sooner.
const RENEWAL_PAUSE: Duration = Duration::from_secs(15);
/// Token endpoints answer in a fraction of it, or later.
const RENEWAL_PATIENCE: Duration = Duration::from_secs(2);
/// Beyond what any vendor gives; bounds what a strange answer can make us believe.
const LONGEST_LIFETIME: Duration = Duration::from_secs(48 * 3600);
const JWT_LENGTH: usize = 2048;

#[cfg(test)]
mod tests;
