//! Requests and responses of KMIP 1.4, one operation each: what an adapter asks and what it is told.
//!
//! Arrives: an operation with its payload, or the bytes of an answer. Leaves: the bytes of a request, or the payload of
//! the answer, or the server's refusal. An answer is believed only if it is one answer, to the operation that was asked.

use zeroize::Zeroizing;

use super::ttlv::{Items, Malformed, Tag, Value, Writer};

/// What is asked of the server (KMIP 1.4, 9.1.3.2.27).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Activate,
    Create,
    Decrypt,
    Encrypt,
    GetAttributes,
    Locate,
}

impl Operation {
    const fn code(self) -> u32 {
        match self {
            Self::Create => 0x01,
            Self::Locate => 0x08,
            Self::GetAttributes => 0x0B,
            Self::Activate => 0x12,
            Self::Encrypt => 0x1F,
            Self::Decrypt => 0x20,
        }
    }

    /// Whether doing it twice is as good as doing it once.
    pub(super) const fn is_repeatable(self) -> bool {
        !matches!(self, Self::Activate | Self::Create)
    }
}

/// The bytes of a request with one operation.
pub(super) fn request(operation: Operation, payload: impl FnOnce(&mut Writer)) -> Zeroizing<Vec<u8>> {
    let mut out = Writer::default();
    out.structure(REQUEST_MESSAGE, |out| {
        out.structure(REQUEST_HEADER, |out| {
            out.structure(PROTOCOL_VERSION, |out| {
                out.integer(PROTOCOL_VERSION_MAJOR, 1);
                out.integer(PROTOCOL_VERSION_MINOR, 4);
            });
            out.integer(MAXIMUM_RESPONSE_SIZE, MAX_RESPONSE as i32);
            out.integer(BATCH_COUNT, 1);
        });
        out.structure(BATCH_ITEM, |out| {
            out.enumeration(OPERATION, operation.code());
            out.structure(REQUEST_PAYLOAD, payload);
        });
    });
    out.into_bytes()
}

/// The payload of an answer to one operation.
///
/// # Errors
/// `Malformed` for what is no such answer, `Refused` for an operation that failed.
pub(super) fn payload(answer: &[u8], operation: Operation) -> Result<Items<'_>, Answer> {
    let message = Items::new(answer).structure(RESPONSE_MESSAGE)?;
    let header = message.structure(RESPONSE_HEADER)?;
    if header.integer(BATCH_COUNT)? != 1 {
        return Err(Answer::Count);
    }
    let item = message.structure(BATCH_ITEM)?;
    match item.enumeration(RESULT_STATUS)? {
        STATUS_SUCCESS if item.enumeration(OPERATION)? == operation.code() => Ok(item.structure(RESPONSE_PAYLOAD)?),
        STATUS_SUCCESS => Err(Answer::OtherOperation),
        STATUS_FAILED => {
            let reason = Reason(item.enumeration(RESULT_REASON)?);
            let message = item.text(RESULT_MESSAGE).unwrap_or_default().to_owned();
            Err(Answer::Refused { reason, message })
        }
        // Pending and undone: neither was asked for.
        other => Err(Answer::Status(other)),
    }
}

/// Why an answer has no payload for us.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Answer {
    #[error("the server answered more or less than the one thing that was asked")]
    Count,
    #[error("the answer is not KMIP: {0}")]
    Malformed(#[from] Malformed),
    #[error("the server answered another operation than the one that was asked")]
    OtherOperation,
    #[error("{}: {message}", reason.name())]
    Refused { reason: Reason, message: String },
    #[error("the server answered with status {0}, neither success nor failure")]
    Status(u32),
}

/// A result reason (KMIP 1.4, 9.1.3.2.29; those from 0x19 on are of KMIP 2.0, and servers use them earlier).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Reason(pub(super) u32);

impl Reason {
    pub(super) const NOT_FOUND: Self = Self(0x01);
    pub(super) const AUTHENTICATION: Self = Self(0x03);
    pub(super) const OPERATION_NOT_SUPPORTED: Self = Self(0x05);
    pub(super) const FEATURE_NOT_SUPPORTED: Self = Self(0x08);
    pub(super) const CRYPTOGRAPHIC_FAILURE: Self = Self(0x0A);
    pub(super) const ILLEGAL_OPERATION: Self = Self(0x0B);
    pub(super) const PERMISSION_DENIED: Self = Self(0x0C);
    pub(super) const ARCHIVED: Self = Self(0x0D);
    pub(super) const USAGE_LIMIT: Self = Self(0x1A);
    pub(super) const USAGE_MASK: Self = Self(0x29);
    pub(super) const INTERNAL: Self = Self(0x2A);
    pub(super) const DESTROYED: Self = Self(0x36);
    pub(super) const OBJECT_NOT_FOUND: Self = Self(0x37);
    pub(super) const NOT_AUTHORISED: Self = Self(0x39);
    pub(super) const SERVER_LIMIT: Self = Self(0x3A);
    pub(super) const LIFECYCLE_STATE: Self = Self(0x43);
    pub(super) const STORAGE_UNAVAILABLE: Self = Self(0x44);
    pub(super) const GENERAL_FAILURE: Self = Self(0x100);

    /// The reason in the specification's words, or its number.
    pub(super) fn name(self) -> String {
        let known = match self {
            Self::NOT_FOUND => "Item Not Found",
            Self::AUTHENTICATION => "Authentication Not Successful",
            Self::OPERATION_NOT_SUPPORTED => "Operation Not Supported",
            Self::FEATURE_NOT_SUPPORTED => "Feature Not Supported",
            Self::CRYPTOGRAPHIC_FAILURE => "Cryptographic Failure",
            Self::ILLEGAL_OPERATION => "Illegal Operation",
            Self::PERMISSION_DENIED => "Permission Denied",
            Self::ARCHIVED => "Object Archived",
            Self::USAGE_LIMIT => "Usage Limit Exceeded",
            Self::USAGE_MASK => "Incompatible Cryptographic Usage Mask",
            Self::INTERNAL => "Internal Server Error",
            Self::DESTROYED => "Object Destroyed",
            Self::OBJECT_NOT_FOUND => "Object Not Found",
            Self::NOT_AUTHORISED => "Not Authorised",
            Self::SERVER_LIMIT => "Server Limit Exceeded",
            Self::LIFECYCLE_STATE => "Wrong Key Lifecycle State",
            Self::STORAGE_UNAVAILABLE => "Protection Storage Unavailable",
            Self::GENERAL_FAILURE => "General Failure",
            Self(other) => return format!("result reason 0x{other:x}"),
        };
        known.to_owned()
    }
}

/// The state of a key (KMIP 1.4, 3.22).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Active,
    Destroyed,
    /// Pre-active, deactivated, compromised, or one that we do not know: not to be used.
    Off,
}

impl State {
    /// The state in a payload of Get Attributes.
    pub(super) fn of(payload: Items<'_>) -> Result<Self, Malformed> {
        for item in payload {
            let item = item?;
            let Value::Structure(attribute) = item.value else { continue };
            if item.tag == ATTRIBUTE && attribute.text(ATTRIBUTE_NAME)? == STATE {
                return Ok(match attribute.enumeration(ATTRIBUTE_VALUE)? {
                    2 => Self::Active,
                    5 | 6 => Self::Destroyed,
                    _ => Self::Off,
                });
            }
        }
        Err(Malformed::Missing(ATTRIBUTE))
    }
}

/// Largest answer that is read, in bytes. Ours are below 1 KiB; the rest is room for a server's long messages.
pub(super) const MAX_RESPONSE: usize = 64 * 1024;

pub(super) const ATTRIBUTE: Tag = Tag(0x42_0008);
pub(super) const ATTRIBUTE_NAME: Tag = Tag(0x42_000A);
pub(super) const ATTRIBUTE_VALUE: Tag = Tag(0x42_000B);
pub(super) const AUTHENTICATED_DATA: Tag = Tag(0x42_00FE);
pub(super) const AUTHENTICATION_TAG: Tag = Tag(0x42_00FF);
pub(super) const BATCH_COUNT: Tag = Tag(0x42_000D);
pub(super) const BATCH_ITEM: Tag = Tag(0x42_000F);
pub(super) const BLOCK_CIPHER_MODE: Tag = Tag(0x42_0011);
pub(super) const CRYPTOGRAPHIC_ALGORITHM: Tag = Tag(0x42_0028);
pub(super) const CRYPTOGRAPHIC_PARAMETERS: Tag = Tag(0x42_002B);
pub(super) const DATA: Tag = Tag(0x42_00C2);
pub(super) const MAXIMUM_ITEMS: Tag = Tag(0x42_004F);
const MAXIMUM_RESPONSE_SIZE: Tag = Tag(0x42_0050);
pub(super) const NAME_TYPE: Tag = Tag(0x42_0054);
pub(super) const NAME_VALUE: Tag = Tag(0x42_0055);
pub(super) const NONCE: Tag = Tag(0x42_003D);
pub(super) const OBJECT_TYPE: Tag = Tag(0x42_0057);
pub(super) const OPERATION: Tag = Tag(0x42_005C);
const PROTOCOL_VERSION: Tag = Tag(0x42_0069);
const PROTOCOL_VERSION_MAJOR: Tag = Tag(0x42_006A);
const PROTOCOL_VERSION_MINOR: Tag = Tag(0x42_006B);
const REQUEST_HEADER: Tag = Tag(0x42_0077);
const REQUEST_MESSAGE: Tag = Tag(0x42_0078);
const REQUEST_PAYLOAD: Tag = Tag(0x42_0079);
pub(super) const RESPONSE_HEADER: Tag = Tag(0x42_007A);
pub(super) const RESPONSE_MESSAGE: Tag = Tag(0x42_007B);
pub(super) const RESPONSE_PAYLOAD: Tag = Tag(0x42_007C);
const RESULT_MESSAGE: Tag = Tag(0x42_007D);
pub(super) const RESULT_REASON: Tag = Tag(0x42_007E);
pub(super) const RESULT_STATUS: Tag = Tag(0x42_007F);
pub(super) const TAG_LENGTH: Tag = Tag(0x42_00CE);
pub(super) const TEMPLATE_ATTRIBUTE: Tag = Tag(0x42_0091);
pub(super) const UNIQUE_IDENTIFIER: Tag = Tag(0x42_0094);

pub(super) const STATE: &str = "State";
const STATUS_SUCCESS: u32 = 0;
const STATUS_FAILED: u32 = 1;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(count: i32, item: impl FnOnce(&mut Writer)) -> Zeroizing<Vec<u8>> {
        let mut out = Writer::default();
        out.structure(RESPONSE_MESSAGE, |out| {
            out.structure(RESPONSE_HEADER, |out| out.integer(BATCH_COUNT, count));
            out.structure(BATCH_ITEM, item);
        });
        out.into_bytes()
    }

    fn success(operation: Operation) -> Zeroizing<Vec<u8>> {
        answer(1, |out| {
            out.enumeration(OPERATION, operation.code());
            out.enumeration(RESULT_STATUS, STATUS_SUCCESS);
            out.structure(RESPONSE_PAYLOAD, |out| out.text(UNIQUE_IDENTIFIER, "7"));
        })
    }

    #[test]
    fn only_one_answer_to_what_was_asked_is_believed() {
        let asked = Operation::Encrypt;
        let bytes = success(asked);
        assert_eq!(payload(&bytes, asked).ok().unwrap().text(UNIQUE_IDENTIFIER), Ok("7"));
        assert_eq!(payload(&success(Operation::Decrypt), asked).err(), Some(Answer::OtherOperation));
        assert_eq!(payload(&answer(2, |_| ()), asked).err(), Some(Answer::Count));
        let pending = answer(1, |out| out.enumeration(RESULT_STATUS, 2));
        assert_eq!(payload(&pending, asked).err(), Some(Answer::Status(2)));
        assert!(matches!(payload(b"HTTP/1.1 400 Bad Request", asked), Err(Answer::Malformed(_))));
    }

    #[test]
    fn a_refusal_has_its_reason_and_its_text() {
        let refused = answer(1, |out| {
            out.enumeration(RESULT_STATUS, STATUS_FAILED);
            out.enumeration(RESULT_REASON, 0x0C);
            out.text(RESULT_MESSAGE, "no");
        });
        let error = payload(&refused, Operation::Encrypt).err().unwrap();
        assert_eq!(error, Answer::Refused { reason: Reason::PERMISSION_DENIED, message: "no".into() });
        assert_eq!(error.to_string(), "Permission Denied: no");
    }

    #[test]
    fn a_state_that_is_not_known_is_not_active() {
        let state = |value| {
            let mut out = Writer::default();
            out.structure(ATTRIBUTE, |out| {
                out.text(ATTRIBUTE_NAME, STATE);
                out.enumeration(ATTRIBUTE_VALUE, value);
            });
            State::of(Items::new(&out.into_bytes()))
        };
        assert_eq!(state(2), Ok(State::Active));
        assert_eq!(state(6), Ok(State::Destroyed));
        for off in [0, 1, 3, 4, 7, 1000] {
            assert_eq!(state(off), Ok(State::Off));
        }
    }

    #[test]
    fn a_request_says_its_version_and_how_much_it_reads() {
        let bytes = request(Operation::Locate, |out| out.text(UNIQUE_IDENTIFIER, "x"));
        let header = Items::new(&bytes).structure(REQUEST_MESSAGE).unwrap().structure(REQUEST_HEADER).unwrap();
        assert_eq!(header.structure(PROTOCOL_VERSION).unwrap().integer(PROTOCOL_VERSION_MINOR), Ok(4));
        assert_eq!(header.integer(MAXIMUM_RESPONSE_SIZE), Ok(65_536));
    }
}
