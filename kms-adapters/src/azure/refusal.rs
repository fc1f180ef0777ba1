//! What Key Vault and Managed HSM mean when they say no.
//!
//! Arrives: an answer that is not 200. Leaves: the cause, Microsoft's codes and words, and what the operator should do. A
//! page that is not the service's own is an outage: a proxy in between must not be able to stop a client for good.

use barnabas_crypto::custody::CustodyCause;
use serde::Deserialize;

use super::{Operation, VENDOR, strange};
use crate::http::Response;
use crate::{Error, VendorError};

/// The vendor's error for an answer on a key; `operation` when it was one with the key.
pub(super) fn refused(response: &Response, key: &str, operation: Option<Operation>) -> VendorError {
    let Ok(Refusal { error }) = serde_json::from_slice::<Refusal>(&response.body) else {
        return match (response.status, strange(key, "an error page that is not the vault's")) {
            (401 | 429 | 500.., _) => response.refusal(VENDOR).about(key),
            (_, Error::Vendor(error)) => *error,
            _ => response.refusal(VENDOR).about(key),
        };
    };
    let inner = error.inner.map(|inner| inner.code).unwrap_or_default();
    let (cause, remedy) = meaning(response, &error.code, &inner, operation);
    let code = format!("HTTP {} {} {inner}", response.status, error.code);
    let refusal = VendorError::new(VENDOR, cause).about(key).coded(code.trim_end()).saying(&error.message);
    let refusal = refusal.after(response.retry_after());
    if let Some(remedy) = remedy { refusal.advising(remedy) } else { refusal }
}

#[derive(Deserialize)]
struct Refusal {
    error: Reason,
}

#[derive(Deserialize)]
struct Reason {
    code: String,
    #[serde(default)]
    message: String,
    /// Written in both ways by the service.
    #[serde(default, rename = "innererror", alias = "innerError")]
    inner: Option<Inner>,
}

#[derive(Deserialize)]
struct Inner {
    #[serde(default)]
    code: String,
}

/// The cause, and the remedy where a better one than the usual is known.
fn meaning(
    response: &Response,
    code: &str,
    inner: &str,
    operation: Option<Operation>,
) -> (CustodyCause, Option<&'static str>) {
    match (response.status, inner) {
        (403, "KeyDisabled" | "KeyExpired" | "KeyNotYetValid") => (CustodyCause::Disabled, None),
        (403, "KeyOperationForbidden") => {
            (CustodyCause::Denied, Some("allow wrapKey and unwrapKey in the key's own list of operations"))
        }
        (403, "ForbiddenByFirewall" | "ForbiddenByConnection") => {
            (CustodyCause::Denied, Some("let the gateway's network through the vault's firewall"))
        }
        (403, _) => (
            CustodyCause::Denied,
            Some("grant Key Vault Crypto Service Encryption User on the key, or take the client away"),
        ),
        (400, _) if matches!(operation, Some(Operation::Unwrap(_))) && code == "BadParameter" => {
            (CustodyCause::Corrupt, None)
        }
        (404, _) => (CustodyCause::NotFound, Some("create the key or recover it, or name the right one")),
        // A name that a deleted key still holds.
        (409, _) => {
            (CustodyCause::Disabled, Some("recover the deleted key, or purge it if its client shall not come back"))
        }
        (429, _) => (CustodyCause::Throttled, Some("spread clients over several vaults if this lasts")),
        _ => (response.usual_cause(), None),
    }
}
