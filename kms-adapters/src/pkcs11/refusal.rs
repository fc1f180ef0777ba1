//! What a token's return code means: for the session it came over, and for the client whose key it is.
//!
//! Arrives: an error of the module. Leaves: whether to open a new session and ask again, and the error for the operator.
//! What is not known must never be taken for a statement about a key.

use barnabas_crypto::CustodyError;
use barnabas_crypto::custody::CustodyCause;
use cryptoki::error::{Error as ModuleError, RvError};

use crate::VendorError;

/// Why a call did not succeed.
pub(super) enum Refusal {
    /// The threads are all busy, and as many calls wait as may.
    Busy,
    /// Several keys have one label and one id.
    Ambiguous,
    /// The token says no, or nothing.
    Code(RvError),
    /// The PIN cannot be read.
    Credential(crate::Error),
    Entropy,
    /// The key could leave the token.
    Extractable,
    /// The module cannot be loaded or used.
    Module(String),
    NoSuchKey,
    /// The module answered what cannot be.
    Nonsense(&'static str),
    /// The key is not allowed to encrypt and decrypt.
    Off,
    /// The token refused this very PIN before.
    PinRefusedBefore,
    Slow,
    /// No token of this label.
    TokenAbsent,
    /// The mechanism that is set or needed is none of the token's.
    Unable(&'static str),
    /// The blob does not open.
    Wrapped,
}

impl Refusal {
    /// Whether the session is of no use any more, and a new one may be.
    pub(super) const fn ends_session(&self) -> bool {
        matches!(
            self,
            Self::Code(
                RvError::CryptokiNotInitialized
                    | RvError::DeviceError
                    | RvError::DeviceRemoved
                    | RvError::KeyHandleInvalid
                    | RvError::ObjectHandleInvalid
                    | RvError::OperationActive
                    | RvError::OperationNotInitialized
                    | RvError::SessionClosed
                    | RvError::SessionHandleInvalid
                    | RvError::SlotIdInvalid
                    | RvError::TokenNotPresent
                    | RvError::UserNotLoggedIn
            )
        )
    }

    /// Whether the session may be in an unknown state: it is closed, and the call is not repeated.
    pub(super) const fn taints_session(&self) -> bool {
        matches!(self, Self::Code(_) | Self::Module(_) | Self::Nonsense(_))
    }

    /// Whether the token may mean that a blob does not open; some say it with a general failure.
    pub(super) const fn may_mean_wrapped(&self) -> bool {
        matches!(
            self,
            Self::Code(
                RvError::DataInvalid
                    | RvError::DataLenRange
                    | RvError::EncryptedDataInvalid
                    | RvError::EncryptedDataLenRange
                    | RvError::FunctionFailed
                    | RvError::GeneralError
                    | RvError::SignatureInvalid
                    | RvError::SignatureLenRange
                    | RvError::UnknownErrorCode(AEAD_DECRYPT_FAILED)
                    | RvError::VendorDefined(_)
                    | RvError::WrappedKeyInvalid
                    | RvError::WrappedKeyLenRange
            )
        )
    }

    fn cause(&self) -> CustodyCause {
        match self {
            Self::Busy => CustodyCause::Throttled,
            Self::Ambiguous | Self::Extractable | Self::Unable(_) => CustodyCause::Invalid,
            Self::Credential(_) | Self::PinRefusedBefore => CustodyCause::Unauthenticated,
            Self::NoSuchKey => CustodyCause::NotFound,
            Self::Off => CustodyCause::Disabled,
            Self::Wrapped => CustodyCause::Corrupt,
            Self::Entropy | Self::Module(_) | Self::Nonsense(_) | Self::Slow | Self::TokenAbsent => {
                CustodyCause::Unreachable
            }
            Self::Code(code) => cause_of(*code),
        }
    }

    pub(super) fn into_error(self, key: &str) -> CustodyError {
        let error = VendorError::new("pkcs11", self.cause()).about(key);
        let error = match self {
            Self::Busy => {
                error.saying("all sessions are busy").advising("allow more sessions, or see what the token does")
            }
            Self::Ambiguous => error
                .saying("several keys have this label and id")
                .advising("give each its own CKA_ID, or remove all but one"),
            Self::Code(code) => {
                let error = error.coded(name(code));
                if let Some(advice) = advice(code) { error.advising(advice) } else { error }
            }
            Self::Credential(unread) => error.saying(&unread.to_string()),
            Self::Entropy => error.saying("the operating system's random source failed"),
            Self::Extractable => error
                .saying("this key can leave the token")
                .advising("make a key with CKA_SENSITIVE true and CKA_EXTRACTABLE false"),
            Self::Module(why) => error.saying(&why).advising("install the vendor's module, and name its path"),
            Self::NoSuchKey => error.advising("make an AES-256 key with this label on the token"),
            Self::Nonsense(what) => error
                .saying(&format!("the module answered with {what}"))
                .advising("see the vendor's notes on its module"),
            Self::Off => error.advising("the key may not be used: set CKA_ENCRYPT and CKA_DECRYPT (CKA_WRAP and CKA_UNWRAP) if the client shall go on"),
            Self::PinRefusedBefore => error.saying("the token refused this PIN before").advising(
                "it is not tried again, since that locks the token: put the right one there, or touch the file",
            ),
            Self::Slow => {
                error.saying("the call takes too long").advising("see what the token does, or allow more time")
            }
            Self::TokenAbsent => error.saying("no token has this label").advising("insert or connect the token"),
            Self::Unable(what) => error.saying(what).advising("set another mechanism, or use another token"),
            Self::Wrapped => error.saying("the wrapped bytes do not open under this key in this context"),
        };
        error.into()
    }
}

impl From<ModuleError> for Refusal {
    fn from(error: ModuleError) -> Self {
        match error {
            ModuleError::Pkcs11(RvError::KeyFunctionNotPermitted, _) => Self::Off,
            ModuleError::Pkcs11(code, _) => Self::Code(code),
            other => Self::Module(other.to_string()),
        }
    }
}

fn cause_of(code: RvError) -> CustodyCause {
    match code {
        RvError::PinExpired
        | RvError::PinIncorrect
        | RvError::PinInvalid
        | RvError::PinLenRange
        | RvError::PinLocked
        | RvError::UserPinNotInitialized => CustodyCause::Unauthenticated,
        RvError::ActionProhibited
        | RvError::FunctionRejected
        | RvError::SessionReadOnly
        | RvError::TokenWriteProtected => CustodyCause::Denied,
        RvError::FunctionNotSupported
        | RvError::KeySizeRange
        | RvError::KeyTypeInconsistent
        | RvError::MechanismInvalid
        | RvError::MechanismParamInvalid => CustodyCause::Invalid,
        RvError::SessionCount => CustodyCause::Throttled,
        _ => CustodyCause::Unreachable,
    }
}

fn advice(code: RvError) -> Option<&'static str> {
    match code {
        RvError::PinLocked => Some("the security officer has to unlock the PIN"),
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => {
            Some("put the right PIN there; this one is not tried again, since that locks the token")
        }
        RvError::UserPinNotInitialized => Some("the security officer has to set the user's PIN"),
        RvError::SessionCount => Some("the token has no session left: use fewer, or end another program's"),
        RvError::MechanismInvalid | RvError::MechanismParamInvalid | RvError::FunctionNotSupported => {
            Some("the token needs CKM_AES_GCM with associated data, or CKM_AES_KEY_WRAP")
        }
        _ => None,
    }
}

/// `PinIncorrect` is `CKR_PIN_INCORRECT` in every manual.
fn name(code: RvError) -> String {
    match code {
        RvError::VendorDefined(code) | RvError::UnknownErrorCode(code) => format!("CKR 0x{code:x}"),
        other => {
            let mut name = String::from("CKR");
            for letter in format!("{other:?}").chars() {
                if letter.is_ascii_uppercase() {
                    name.push('_');
                }
                name.push(letter.to_ascii_uppercase());
            }
            name
        }
    }
}

/// `CKR_AEAD_DECRYPT_FAILED` of PKCS#11 3.0.
const AEAD_DECRYPT_FAILED: u64 = 0x35;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_speaks_of_the_key_stops_a_client() {
        let table = [
            (Refusal::Code(RvError::PinIncorrect), CustodyCause::Unauthenticated),
            (Refusal::Code(RvError::DeviceRemoved), CustodyCause::Unreachable),
            (Refusal::Code(RvError::GeneralError), CustodyCause::Unreachable),
            (Refusal::Code(RvError::VendorDefined(0x8000_0001)), CustodyCause::Unreachable),
            (Refusal::Off, CustodyCause::Disabled),
            (Refusal::Code(RvError::ActionProhibited), CustodyCause::Denied),
            (Refusal::Code(RvError::SessionCount), CustodyCause::Throttled),
            (Refusal::Code(RvError::MechanismInvalid), CustodyCause::Invalid),
            (Refusal::Module("gone".into()), CustodyCause::Unreachable),
            (Refusal::NoSuchKey, CustodyCause::NotFound),
            (Refusal::Extractable, CustodyCause::Invalid),
            (Refusal::PinRefusedBefore, CustodyCause::Unauthenticated),
            (Refusal::TokenAbsent, CustodyCause::Unreachable),
            (Refusal::Wrapped, CustodyCause::Corrupt),
        ];
        for (refusal, cause) in table {
            let error = refusal.into_error("orders");
            assert_eq!(error.cause, cause, "{error}");
            assert!(error.message.contains("orders"), "{error}");
        }
    }

    #[test]
    fn codes_are_named_as_in_the_manuals() {
        assert_eq!(name(RvError::PinIncorrect), "CKR_PIN_INCORRECT");
        assert_eq!(name(RvError::SessionHandleInvalid), "CKR_SESSION_HANDLE_INVALID");
        assert_eq!(name(RvError::VendorDefined(0x8000_0005)), "CKR 0x80000005");
    }
}
