//! Why a request has no caller, and how it is told: a reason arrives, a status, a code, a text and the schemes that are accepted
//! leave (RFC 9110, section 11.6.1; RFC 7617; RFC 6750, section 3). A wrong name and a wrong password are told alike.

use std::time::Duration;

use axum::http::HeaderValue;

use super::header::HeaderRefusal;
use super::issuer::IssuerRefusal;
use super::jwt::TokenRefusal;
use crate::config::BridgeAuth;
use crate::identity::NameRefusal;
use crate::rest::{Code, Error};

/// Why nobody is known to make a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The certificate says one principal, the header another.
    Disagree,
    /// The header, or the address, is not one.
    Header(HeaderRefusal),
    /// Sent without TLS from another machine.
    InTheClear,
    /// What was proved is nobody's name by the rules.
    Name(NameRefusal),
    /// Neither certificate nor credential.
    Nothing,
    /// The name or the password is wrong.
    Password,
    /// The token is wrong.
    Token(TokenRefusal),
    /// Too many wrong passwords, or too many at once.
    TooMany(Duration),
    /// Credentials of a kind that is not configured.
    Unasked,
    /// It cannot be found out now.
    Unavailable,
}

impl From<HeaderRefusal> for Refusal {
    fn from(refusal: HeaderRefusal) -> Self {
        Self::Header(refusal)
    }
}

impl From<IssuerRefusal> for Refusal {
    fn from(refusal: IssuerRefusal) -> Self {
        match refusal {
            IssuerRefusal::Token(refusal) => Self::Token(refusal),
            IssuerRefusal::Unavailable => Self::Unavailable,
        }
    }
}

impl Refusal {
    /// The error for the caller. `schemes` is what is accepted here.
    pub(super) fn told(&self, schemes: &HeaderValue, settings: &BridgeAuth) -> Error {
        let unauthenticated = |text: String| Code::Unauthenticated.with(text).challenge(schemes.clone());
        match self {
            Self::Disagree => Code::BadRequest.with(
                "the client certificate and the Authorization header name two principals: send only one of them",
            ),
            Self::Header(HeaderRefusal::Scheme) => unauthenticated(HeaderRefusal::Scheme.to_string()),
            Self::Header(HeaderRefusal::Bearer) => {
                let text = HeaderRefusal::Bearer.to_string();
                let challenge = bearer_error("invalid_request", &text);
                with_challenge(Code::BadRequest.with(text), challenge)
            }
            Self::Header(refusal) => Code::BadRequest.with(refusal.to_string()),
            Self::InTheClear => Code::BadRequest.with(
                "credentials are not taken without TLS: use https, and replace these, since they were sent in the clear",
            ),
            Self::Name(refusal) => Code::Forbidden.with(format!("who was authenticated has no principal: {refusal}")),
            Self::Nothing => unauthenticated(format!("nobody is anonymous here: {}", accepted(settings))),
            Self::Password => unauthenticated("the name or the password is wrong".to_owned()),
            Self::Token(refusal) => {
                let text = refusal.to_string();
                let challenge = bearer_error("invalid_token", &text);
                with_challenge(Code::Unauthenticated.with(text), challenge)
            }
            Self::TooMany(pause) => {
                let text = "too many passwords were tried: wait, and see that every client has the current one";
                Code::TooManyRequests.with(text).after((*pause).max(Duration::from_secs(1)))
            }
            Self::Unasked => {
                unauthenticated(format!("credentials of this kind are not taken here: {}", accepted(settings)))
            }
            Self::Unavailable => {
                let text = "who is calling cannot be found out now: the issuer of the token does not answer";
                Code::AuthenticationUnavailable.with(text).after(RETRY)
            }
        }
    }

    /// The word in logs.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Disagree => "certificate_and_header_disagree",
            Self::Header(HeaderRefusal::InAddress) => "credentials_in_address",
            Self::Header(_) => "malformed_header",
            Self::InTheClear => "credentials_without_tls",
            Self::Name(_) => "no_principal",
            Self::Nothing => "no_credentials",
            Self::Password => "wrong_password",
            Self::Token(refusal) => refusal.word(),
            Self::TooMany(_) => "too_many_attempts",
            Self::Unasked => "scheme_not_configured",
            Self::Unavailable => "issuer_unavailable",
        }
    }

    /// Clients ask without credentials first, to hear what is accepted: that is no event.
    pub(super) fn is_worth_a_line(&self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

/// The schemes that a bridge takes. Where it takes certificates only there is no registered scheme to name, and the header must
/// be there: what is named then tells people.
pub(super) fn challenge(settings: &BridgeAuth) -> HeaderValue {
    HeaderValue::from_static(match (settings.basic.is_some(), settings.bearer.is_empty()) {
        (true, true) => r#"Basic realm="barnabas", charset="UTF-8""#,
        (true, false) => r#"Basic realm="barnabas", charset="UTF-8", Bearer realm="barnabas""#,
        (false, false) => r#"Bearer realm="barnabas""#,
        (false, true) => r#"ClientCertificate realm="barnabas""#,
    })
}

fn accepted(settings: &BridgeAuth) -> &'static str {
    match (settings.basic.is_some(), settings.bearer.is_empty()) {
        (true, true) => "show a client certificate, or a name and a password",
        (true, false) => "show a client certificate, a name and a password, or a token",
        (false, false) => "show a client certificate or a token",
        (false, true) => "show a client certificate",
    }
}

/// RFC 6750, section 3. The texts have neither quotes nor backslashes.
fn bearer_error(error: &str, text: &str) -> Option<HeaderValue> {
    let text = format!(r#"Bearer realm="barnabas", error="{error}", error_description="{text}""#);
    HeaderValue::try_from(text).ok()
}

fn with_challenge(error: Error, challenge: Option<HeaderValue>) -> Error {
    match challenge {
        Some(challenge) => error.challenge(challenge),
        None => error,
    }
}

/// Issuers that restart are back by then.
const RETRY: Duration = Duration::from_secs(5);
