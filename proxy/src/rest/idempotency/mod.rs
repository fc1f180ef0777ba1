//! `Idempotency-Key`: a request that is made again within the window is not carried out again, and gets the first answer, on
//! whatever replica it comes.
//!
//! Arrives: a request with a key. Leaves: the answer to the first one with this key, or a [`Turn`], in which records and answer are written
//! in one transaction. What must never happen here: records written whose answer is not, or the other way round; two replicas in the same
//! slot at once. How: `rest/README.md`.

pub mod key;
pub mod outcome;
pub mod page;
pub mod batch;
pub mod topic;
pub mod ledger;
pub mod turn;
mod written;

pub use key::{HEADER, Key};
pub use ledger::{Begun, Ledger};
pub use turn::{Settled, Turn};

use std::time::Duration;

use crate::pause::Pause;
use crate::rest::{Code, Error, refusal};

/// What a broker says when another replica has taken over: the transaction was taken back.
fn is_fenced(error_code: i16) -> bool {
    matches!(error_code, INVALID_PRODUCER_EPOCH | INVALID_TXN_STATE | INVALID_PRODUCER_ID_MAPPING | PRODUCER_FENCED)
}

/// What a coordinator says when a step may have been done or not, or is to be done at another one. Who begins again finds out.
fn is_in_doubt(error_code: i16) -> bool {
    let passing = matches!(
        error_code,
        UNKNOWN_SERVER_ERROR | REQUEST_TIMED_OUT | COORDINATOR_NOT_AVAILABLE | NOT_COORDINATOR | TRANSACTION_ABORTABLE
    );
    passing || is_fenced(error_code)
}

/// What a broker says of a step of a transaction.
fn refused(error_code: i16) -> Error {
    match error_code {
        CONCURRENT_TRANSACTIONS => Code::KafkaRetriable.with("Kafka is still ending a transaction; try again"),
        TRANSACTIONAL_ID_AUTHORIZATION_FAILED => Code::Kafka
            .with("the brokers do not let the gateway use transactions: it needs the right to write transactional ids"),
        other => refusal::of_answer(other, "the transaction"),
    }
}

/// The moments between attempts.
pub fn pause() -> Pause {
    Pause::new(SHORTEST_PAUSE, MOST_DOUBLINGS)
}

/// A broker ends a transaction within a few milliseconds.
const SHORTEST_PAUSE: Duration = Duration::from_millis(8);
/// Up to half a second.
const MOST_DOUBLINGS: u32 = 6;

/// Kafka's error codes.
const UNKNOWN_SERVER_ERROR: i16 = -1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const REQUEST_TIMED_OUT: i16 = 7;
const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const NOT_COORDINATOR: i16 = 16;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const INVALID_TXN_STATE: i16 = 48;
const INVALID_PRODUCER_ID_MAPPING: i16 = 49;
const CONCURRENT_TRANSACTIONS: i16 = 51;
const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
const PRODUCER_FENCED: i16 = 90;
const TRANSACTION_ABORTABLE: i16 = 120;

/// How often is asked again about what should pass soon: some twenty seconds.
const MOST_LOOKS: u32 = 40;
