//! Batches of a transaction to the leaders of their partitions, until each has its outcome.
//!
//! Arrives: records of one request, divided. Leaves: the outcome of each, in their order. A batch that is sent again has the same numbers,
//! so a broker that has it already does not write it twice. What must never happen here: an outcome that no broker has given.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::batch::{Part, divide, encode};
use super::ledger::{Claim, Ledger, leader, now_millis};
use super::{is_fenced, pause};
use crate::config::IDEMPOTENCY_TOPIC;
use crate::pause::random;
use crate::rest::formats::Placed;
use crate::rest::kafka::AskError;
use crate::rest::kafka::produce::{Produce, Produced};
use crate::rest::pool::{Entry, Refusal};
use crate::rest::producer::verdict::refusal;
use crate::rest::record::Record;
use crate::rest::record_batch::Place;

/// Records of one request, and where they go.
pub struct Load<'a> {
    topic: &'a str,
    records: &'a [Record],
    rounds: Vec<Vec<Part>>,
}

impl<'a> Load<'a> {
    /// Divides records over `count` partitions.
    pub fn of(topic: &'a str, partition: Option<i32>, records: &'a [Record], count: usize) -> Self {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let keyless = any_of(random(), count);
        Self { topic, records, rounds: divide(records, partition, (count, keyless)) }
    }

    /// The partitions that they go to.
    pub fn partitions(&self) -> Vec<i32> {
        self.rounds.first().into_iter().flatten().map(|part| part.partition).collect()
    }
}

/// Writes records. The error is Kafka's code when another replica has taken over.
pub async fn write(
    ledger: &Ledger,
    entry: &Arc<Entry>,
    claim: &Claim,
    load: &Load<'_>,
) -> Result<Vec<Result<Placed, Refusal>>, i16> {
    let mut outcomes: Vec<Result<Placed, Refusal>> = vec![Err(Refusal::RequestTimedOut); load.records.len()];
    let now = now_millis();
    let until = Instant::now() + std::time::Duration::from_millis(u64::try_from(ledger.limit_ms()).unwrap_or(0));
    for round in &load.rounds {
        let mut waiting: Vec<(&Part, Bytes)> = Vec::with_capacity(round.len());
        for part in round {
            let records: Vec<&Record> = part.indices.iter().filter_map(|index| load.records.get(*index)).collect();
            let place = Place { producer: claim.producer, sequence: part.before };
            match encode(&records, place, now) {
                Ok(batch) => waiting.push((part, batch)),
                Err(_) => settle(&mut outcomes, part, Err(Refusal::InvalidMessageSize)),
            }
        }
        let mut pause = pause();
        while !waiting.is_empty() {
            let answers = ask(ledger, entry, (claim, load.topic), &waiting).await;
            let mut again = false;
            waiting.retain(|(part, _)| {
                let error = match answers.iter().find(|answer| answer.partition == part.partition) {
                    Some(answer) if answer.error_code == 0 => {
                        placed(&mut outcomes, part, answer, load.records, now);
                        return false;
                    }
                    Some(answer) => answer.error_code,
                    None => NETWORK_EXCEPTION,
                };
                settle(&mut outcomes, part, Err(refusal(error)));
                again |= is_passing(error);
                is_passing(error)
            });
            if let Some(fenced) = answers.iter().find(|answer| is_fenced(answer.error_code)) {
                return Err(fenced.error_code);
            }
            if again {
                if Instant::now() >= until {
                    break;
                }
                ledger.forget_leaders(load.topic).await;
                pause.wait().await;
            }
        }
        if outcomes_of(round, &outcomes).any(Result::is_err) {
            break;
        }
    }
    Ok(outcomes)
}

/// Asks all leaders at once. Those that do not answer are not among the answers.
async fn ask(
    ledger: &Ledger,
    entry: &Arc<Entry>,
    (claim, topic): (&Claim, &str),
    waiting: &[(&Part, Bytes)],
) -> Vec<Produced> {
    let leaders = match topic {
        IDEMPOTENCY_TOPIC => ledger.leaders().await,
        _ => ledger.leaders_of(entry, topic).await,
    };
    let Ok(leaders) = leaders else { return Vec::new() };
    let mut by_leader: std::collections::BTreeMap<i32, Vec<(i32, Bytes)>> = std::collections::BTreeMap::new();
    for (part, batch) in waiting {
        if let Ok(leader) = leader(&leaders, part.partition) {
            by_leader.entry(leader).or_default().push((part.partition, batch.clone()));
        }
    }
    let timeout_ms = ledger.limit_ms();
    let mut asked: JoinSet<Result<Vec<Produced>, AskError>> = JoinSet::new();
    for (leader, batches) in by_leader {
        let (entry, topic, transactional_id) = (entry.clone(), topic.to_owned(), claim.transactional_id.clone());
        asked.spawn(async move {
            let question =
                Produce { transactional_id: &transactional_id, timeout_ms, topic: &topic, batches: &batches };
            entry.own.ask_node(leader, &question).await
        });
    }
    let mut answers = Vec::with_capacity(waiting.len());
    while let Some(answer) = asked.join_next().await {
        if let Ok(Ok(produced)) = answer {
            answers.extend(produced);
        }
    }
    answers
}

fn placed(outcomes: &mut [Result<Placed, Refusal>], part: &Part, answer: &Produced, records: &[Record], now: i64) {
    for (delta, index) in (0..).zip(&part.indices) {
        let own = records.get(*index).and_then(|record| record.timestamp).unwrap_or(now);
        let placed = Placed {
            partition: part.partition,
            offset: answer.base_offset.saturating_add(delta),
            timestamp: Some(answer.append_time.unwrap_or(own)),
        };
        if let Some(outcome) = outcomes.get_mut(*index) {
            *outcome = Ok(placed);
        }
    }
}

fn settle(outcomes: &mut [Result<Placed, Refusal>], part: &Part, outcome: Result<Placed, Refusal>) {
    for index in &part.indices {
        if let Some(slot) = outcomes.get_mut(*index) {
            *slot = outcome;
        }
    }
}

fn outcomes_of<'o>(
    round: &'o [Part],
    outcomes: &'o [Result<Placed, Refusal>],
) -> impl Iterator<Item = &'o Result<Placed, Refusal>> {
    round.iter().flat_map(|part| &part.indices).filter_map(|index| outcomes.get(*index))
}

/// The partition that records without a key go to, all of one request to one; every one of `count` is as likely.
fn any_of(chance: u32, count: i32) -> i32 {
    let among = u32::try_from(count).unwrap_or(0);
    chance.checked_rem(among).and_then(|partition| i32::try_from(partition).ok()).unwrap_or(0)
}

/// What Kafka's own producers try again: the leader has moved, replicas or keys are not there now.
fn is_passing(error_code: i16) -> bool {
    matches!(error_code, 3 | 5 | 6 | 7 | 8 | 13 | 14 | 19 | 20 | 51 | 56 | 74 | 75)
}

/// Kafka's error code for an answer that did not come.
const NETWORK_EXCEPTION: i16 = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_is_as_likely_over_the_whole_range_of_chance() {
        let top = u32::MAX;
        assert_eq!([top - 3, top - 2, top - 1].map(|chance| any_of(chance, 3)), [0, 1, 2]);
        assert_eq!([0, 1, 2].map(|chance| any_of(chance, 3)), [0, 1, 2]);
        assert_eq!([any_of(7, 0), any_of(7, -1), any_of(u32::MAX, i32::MAX)], [0, 0, 1]);
    }
}
