//! What Kafka says no with, in the words of the v3 API.
//!
//! Arrives: a [`Verdict`]. Leaves: an error, with the broker's own words where it judged the request.

use crate::rest::kafka::verdict::Verdict;
use crate::rest::{Code, Error, refusal};

/// Whether a broker did what it was asked for; `subject` says to what.
///
/// # Errors
/// What the broker says no with.
pub fn check(verdict: &Verdict, subject: &str) -> Result<(), Error> {
    match verdict.error_code {
        0 => Ok(()),
        UNKNOWN_TOPIC_OR_PARTITION => Err(unknown_topic_or_partition()),
        other => {
            let mut error = refusal::of_answer(other, subject);
            if let (Code::KafkaBadRequest, Some(words)) = (error.code, &verdict.message) {
                error.message = format!("{subject}: {words}").into();
            }
            Err(error)
        }
    }
}

/// The same for a bare code.
///
/// # Errors
/// What the broker says no with.
pub fn check_code(error_code: i16, subject: &str) -> Result<(), Error> {
    check(&Verdict::bare(error_code), subject)
}

/// There is no such topic, or no such partition. Clients of v3 know the one number, which in v2 is that of a consumer instance.
pub fn unknown_topic_or_partition() -> Error {
    Code::ConsumerNotFound.with("This server does not host this topic-partition.")
}

/// There is nothing of this kind and name.
pub fn not_found(kind: &str, name: &str) -> Error {
    Code::NotFound.with(format!("{kind} {name} cannot be found."))
}

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
