//! A request with a key that is being carried out.
//!
//! Arrives: records, at most once, and then the answer. Leaves: both in one transaction, or neither. For a request without records the
//! answer alone is written. What must never happen here: an answer given whose transaction was not committed; a transaction left open.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, Limited};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::key::{Digest, Id};
use super::ledger::{Claim, Ledger, Slot, now_millis};
use super::outcome::{FIELDS, Outcome};
use super::page::Place;
use super::written::{Load, write};
use super::{
    CONCURRENT_TRANSACTIONS, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, MOST_LOOKS, NOT_COORDINATOR,
    UNKNOWN_TOPIC_OR_PARTITION, is_in_doubt, pause, refused,
};
use crate::config::IDEMPOTENCY_TOPIC;
use crate::rest::kafka::add_partitions_to_txn::AddPartitionsToTxn;
use crate::rest::kafka::end_txn::EndTxn;
use crate::rest::kafka::groups::{Coordinated, FindCoordinator};
use crate::rest::pool::{Delivery, Entry, Hold, Refusal};
use crate::rest::record::Record;
use crate::rest::{Code, Error};

/// The right to carry out one request.
pub struct Turn {
    ledger: Arc<Ledger>,
    entry: Arc<Entry>,
    id: Id,
    digest: Digest,
    /// Another replica has taken over, or what became of a step is not known: what counts must be looked at.
    again: AtomicBool,
    /// Something of the request was refused: it is not to be kept as carried out.
    refused: AtomicBool,
    topic: OnceLock<String>,
    work: Mutex<Work>,
}

struct Work {
    claim: Claim,
    /// A transaction is open.
    open: bool,
    slot: Option<OwnedMutexGuard<Slot>>,
}

/// How a turn has ended.
pub enum Settled {
    /// With this answer.
    Done(Response),
    /// What was done, here or by another replica, must be looked at first. The answer of a request without records is given back: what
    /// it did is done, and is not to be done again.
    Again(Option<Response>),
}

impl Turn {
    /// A turn that nothing was done with.
    pub fn new(
        (ledger, entry): (Arc<Ledger>, Arc<Entry>),
        (id, digest): (Id, Digest),
        claim: Claim,
        slot: OwnedMutexGuard<Slot>,
    ) -> Self {
        let work = Mutex::new(Work { claim, open: false, slot: Some(slot) });
        let (again, refused) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { ledger, entry, id, digest, again, refused, topic: OnceLock::new(), work }
    }

    /// The topic that records were written to.
    pub fn topic(&self) -> Option<&str> {
        self.topic.get().map(String::as_str)
    }

    /// Something of the request was refused before it could be written.
    pub fn refuse(&self) {
        self.refused.store(true, Ordering::Release);
    }

    /// Writes records, all or none of them; they count when the turn is settled. `hold` is kept as long as the delivery.
    ///
    /// # Errors
    /// That nothing was written.
    pub async fn send(
        &self,
        topic: &str,
        partition: Option<i32>,
        records: &[Record],
        hold: Hold,
    ) -> Result<Delivery, Error> {
        if topic == IDEMPOTENCY_TOPIC {
            return Err(Code::Forbidden.with("not authorized to write to this topic"));
        }
        self.topic.set(topic.to_owned()).map_err(|_| Code::Internal.with("a request that writes twice"))?;
        let leaders = self.ledger.leaders_of(&self.entry, topic).await?;
        let load = Load::of(topic, partition, records, leaders.len());
        let mut work = self.work.lock().await;
        self.begin(&mut work, &[(topic, load.partitions()), own_partition(&self.id)]).await?;
        let mut outcomes = self.tell_doubt(write(&self.ledger, &self.entry, &work.claim, &load).await)?;
        if let Some(first) = outcomes.iter().find_map(|outcome| outcome.err()) {
            // One of them is not written, so none is.
            self.refuse();
            self.end(&mut work, false).await.ok();
            let others =
                if crate::rest::refusal::of_record(first).0 == Code::KafkaRetriable { first } else { WITH_OTHERS };
            outcomes.iter_mut().filter(|outcome| outcome.is_ok()).for_each(|outcome| *outcome = Err(others));
        }
        Ok(Delivery::settled(outcomes, hold))
    }

    /// Keeps the answer, together with the records, if it is one of success.
    pub async fn settle(&self, response: Response) -> Settled {
        if self.again.load(Ordering::Acquire) {
            return Settled::Again(None);
        }
        if !response.status().is_success() || self.refused.load(Ordering::Acquire) {
            let mut work = self.work.lock().await;
            self.end(&mut work, false).await.ok();
            return Settled::Done(response);
        }
        let (parts, body) = response.into_parts();
        let Ok(body) = Limited::new(body, MOST_ANSWER_BYTES).collect().await else {
            let text = "the answer is too large to be kept; post fewer records at once with an Idempotency-Key";
            return Settled::Done(Code::TooLarge.with(text).into_response());
        };
        let body = body.to_bytes();
        let fields: [Option<HeaderValue>; 2] = FIELDS.map(|name| parts.headers.get(name).cloned());
        let outcome = Outcome { digest: self.digest, status: parts.status, fields, body: body.clone() };
        let committed = self.commit(&outcome).await;
        let response = Response::from_parts(parts, Body::from(body));
        match committed {
            Ok(()) => Settled::Done(response),
            Err(_) if self.again.load(Ordering::Acquire) => {
                Settled::Again(Some(response).filter(|_| self.topic.get().is_none()))
            }
            Err(error) => Settled::Done(error.into_response()),
        }
    }

    async fn commit(&self, outcome: &Outcome) -> Result<(), Error> {
        let record =
            Record { key: Some(self.id.bytes().into()), value: Some(outcome.write().into()), ..Record::default() };
        let mut work = self.work.lock().await;
        if !work.open {
            self.begin(&mut work, &[own_partition(&self.id)]).await?;
        }
        let records = std::slice::from_ref(&record);
        let load = Load::of(IDEMPOTENCY_TOPIC, Some(self.id.partition()), records, 0);
        let written = self.tell_doubt(write(&self.ledger, &self.entry, &work.claim, &load).await)?;
        let Some(Ok(placed)) = written.into_iter().next() else {
            self.end(&mut work, false).await.ok();
            return Err(Code::KafkaRetriable.with("the answer cannot be kept, so nothing was written; try again"));
        };
        self.end(&mut work, true).await?;
        let place = Place { offset: placed.offset, at: placed.timestamp.unwrap_or_else(now_millis) };
        self.ledger.note(self.id, place);
        Ok(())
    }

    /// Opens the transaction.
    async fn begin(&self, work: &mut Work, topics: &[(&str, Vec<i32>)]) -> Result<(), Error> {
        let Work { claim, open, .. } = work;
        // From here on the brokers may have it.
        *open = true;
        let question =
            AddPartitionsToTxn { transactional_id: &claim.transactional_id, producer: claim.producer, topics };
        let mut pause = pause();
        loop {
            let answer = self.entry.own.ask_node(claim.coordinator, &question).await;
            match answer.map_err(|_| self.note_doubt(NOT_COORDINATOR))? {
                0 => return Ok(()),
                // The one before is still being ended.
                CONCURRENT_TRANSACTIONS | COORDINATOR_LOAD_IN_PROGRESS => pause.wait().await,
                // A topic that was just made is not known to all brokers yet.
                UNKNOWN_TOPIC_OR_PARTITION if pause.count() < MOST_LOOKS => pause.wait().await,
                error_code => return Err(self.note_doubt(error_code)),
            }
        }
    }

    /// Ends the transaction. Where there is no answer, the turn is to begin again: that finds out.
    async fn end(&self, work: &mut Work, commit: bool) -> Result<(), Error> {
        if !work.open {
            return Ok(());
        }
        let ended = end(&self.entry, &mut work.claim, commit).await;
        if matches!(ended, Ok(0)) || commit {
            // A commit that is in doubt is not taken back here: it may have been done.
            work.open = false;
        }
        match ended {
            Ok(0) => Ok(()),
            Ok(error_code) => Err(self.note_doubt(error_code)),
            Err(_) => Err(self.note_doubt(NOT_COORDINATOR)),
        }
    }

    /// What may have been done or not is looked at by whoever begins again.
    fn note_doubt(&self, error_code: i16) -> Error {
        if is_in_doubt(error_code) {
            self.again.store(true, Ordering::Release);
        }
        refused(error_code)
    }

    fn tell_doubt<T>(&self, written: Result<T, i16>) -> Result<T, Error> {
        written.map_err(|error_code| self.note_doubt(error_code))
    }
}

/// A caller that goes away, or an answer that took too long, leaves nothing open: readers of committed records wait behind it.
impl Drop for Turn {
    fn drop(&mut self) {
        let work = self.work.get_mut();
        let (Some(slot), Ok(runtime)) = (work.slot.take(), tokio::runtime::Handle::try_current()) else { return };
        if !work.open {
            return;
        }
        let claim = &work.claim;
        let mut claim = Claim { transactional_id: claim.transactional_id.clone(), ..*claim };
        let entry = self.entry.clone();
        runtime.spawn(async move {
            tokio::time::timeout(LAST_WORD, end(&entry, &mut claim, false)).await.ok();
            drop(slot);
        });
    }
}

/// Ends a transaction at its coordinator, wherever that is now. The broker's last word: an error code, 0 for none.
async fn end(entry: &Entry, claim: &mut Claim, commit: bool) -> Result<i16, Error> {
    let mut pause = pause();
    let transactional_id = claim.transactional_id.clone();
    loop {
        let question = EndTxn { transactional_id: &transactional_id, producer: claim.producer, commit };
        match entry.own.ask_node(claim.coordinator, &question).await? {
            CONCURRENT_TRANSACTIONS | COORDINATOR_LOAD_IN_PROGRESS => {}
            COORDINATOR_NOT_AVAILABLE | NOT_COORDINATOR => {
                let question = FindCoordinator { key: &transactional_id, kind: Coordinated::Transaction };
                let (verdict, node_id) = entry.own.ask(&question).await?;
                if verdict.error_code == 0 {
                    claim.coordinator = node_id;
                }
            }
            last => return Ok(last),
        }
        pause.wait().await;
    }
}

fn own_partition(id: &Id) -> (&'static str, Vec<i32>) {
    (IDEMPOTENCY_TOPIC, vec![id.partition()])
}

/// Stands for a record that is not written because another one is not.
pub const WITH_OTHERS: Refusal = Refusal::Conflict;

/// With its transaction's first record it fits into one that brokers take by default.
const MOST_ANSWER_BYTES: usize = 900_000;

/// Then the brokers end it by themselves.
const LAST_WORD: std::time::Duration = std::time::Duration::from_secs(10);
