//! What Cloud KMS means when it says no: its error model (google.rpc.Status) in terms of custody.
//!
//! Arrives: an answer that is not 200. Leaves: the cause, Google's code and words, and what the operator should do. A page
//! that is not Google's error model is an outage: a proxy in between must not be able to stop a client for good.

use barnabas_crypto::custody::CustodyCause;
use serde::Deserialize;

use super::{Act, VENDOR, strange};
use crate::http::Response;
use crate::{Error, VendorError};

/// The vendor's error for an answer on a key.
pub(super) fn refused(response: &Response, key: &str, act: Act) -> VendorError {
    let Ok(Refusal { error }) = serde_json::from_slice::<Refusal>(&response.body) else {
        return match (response.status, strange(key, "an error page that is not Cloud KMS's")) {
            (429 | 500.., _) => response.refusal(VENDOR).about(key),
            (_, Error::Vendor(error)) => *error,
            _ => response.refusal(VENDOR).about(key),
        };
    };
    let (cause, remedy) = error.meaning(response, act);
    let refusal = VendorError::new(VENDOR, cause).about(key).coded(error.code(response.status)).saying(&error.message);
    let refusal = refusal.after(response.retry_after());
    if let Some(remedy) = remedy { refusal.advising(remedy) } else { refusal }
}

#[derive(Deserialize)]
struct Refusal {
    error: Status,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
    status: String,
    #[serde(default)]
    details: Vec<Detail>,
}

/// ErrorInfo has a reason, PreconditionFailure has violations; other details have neither.
#[derive(Deserialize)]
struct Detail {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    violations: Vec<Violation>,
}

#[derive(Deserialize)]
struct Violation {
    #[serde(default, rename = "type")]
    kind: String,
}

impl Status {
    fn code(&self, status: u16) -> String {
        let violation = self.violations().next();
        let more = violation.or_else(|| self.reasons().next()).map(|name| format!(" {name}")).unwrap_or_default();
        format!("HTTP {status} {}{more}", self.status)
    }

    fn violations(&self) -> impl Iterator<Item = &str> {
        self.details.iter().flat_map(|detail| &detail.violations).map(|violation| violation.kind.as_str())
    }

    fn reasons(&self) -> impl Iterator<Item = &str> {
        self.details.iter().map(|detail| detail.reason.as_str()).filter(|reason| !reason.is_empty())
    }

    /// The cause, and the remedy where a better one than the usual is known.
    fn meaning(&self, response: &Response, act: Act) -> (CustodyCause, Option<&'static str>) {
        match self.status.as_str() {
            "FAILED_PRECONDITION" => self.state_of_key(),
            "INVALID_ARGUMENT" if self.message.contains("checksum") => {
                (CustodyCause::Unreachable, Some("the request was damaged on the way: if it lasts, look there"))
            }
            "INVALID_ARGUMENT" if act == Act::Decrypt => (CustodyCause::Corrupt, None),
            "PERMISSION_DENIED" => (CustodyCause::Denied, Some(self.remedy_for_denial())),
            "ABORTED" | "CANCELLED" | "DEADLINE_EXCEEDED" | "INTERNAL" | "UNAVAILABLE" | "UNKNOWN" => {
                (CustodyCause::Unreachable, None)
            }
            "RESOURCE_EXHAUSTED" => {
                (CustodyCause::Throttled, Some("raise the quota of cryptographic requests if this lasts"))
            }
            "UNAUTHENTICATED" => (CustodyCause::Unauthenticated, None),
            _ => (response.usual_cause(), None),
        }
    }

    /// A version that is not ENABLED. One that is being generated will be soon.
    fn state_of_key(&self) -> (CustodyCause, Option<&'static str>) {
        if self.violations().any(|kind| kind == "KEY_PENDING_GENERATION") || self.message.contains("PENDING_GENERATION")
        {
            return (CustodyCause::Unreachable, Some("wait until the key version is generated"));
        }
        let is_about_state = self.violations().any(|kind| kind.starts_with("KEY_"));
        if is_about_state || self.message.contains("is not enabled") {
            return (CustodyCause::Disabled, Some("enable or restore the key version if the client shall go on"));
        }
        (CustodyCause::Denied, None)
    }

    fn remedy_for_denial(&self) -> &'static str {
        match self.reasons().next() {
            Some("SERVICE_DISABLED") => "enable the API cloudkms.googleapis.com in the project of the keys",
            Some("ACCESS_TOKEN_SCOPE_INSUFFICIENT") => "give the instance the scope cloudkms or cloud-platform",
            Some("BILLING_DISABLED") => "enable billing in the project of the keys",
            _ => "grant roles/cloudkms.cryptoKeyEncrypterDecrypter on the key, or take the client away",
        }
    }
}
