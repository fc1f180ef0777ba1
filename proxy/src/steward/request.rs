//! Asking a steward that runs elsewhere, and answering as one.
//!
//! Arrives: needs of a gateway whose `steward.run` is `off`, as JSON records in the keyring topic. Leaves: the delegate's
//! objects there, and a tombstone in the request's place. Requests are not signed and need not be: the delegate
//! looks into its own policy, whoever asks. What must never happen here: a request that counts as a permission.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use barnabas_crypto::Right;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::{Answer, Delegate, Need, Steward};
use crate::chain::refusal::Reason;
use crate::identity::Principal;
use crate::keyring::{KeyringProducer, KeyringTopic, LiveKeyring, Pace, REQUEST_PREFIX};

/// Asks through the keyring topic.
pub struct Asker {
    producer: KeyringProducer,
    /// When what was asked: the steward needs a moment, and a thousand connections of a client one request.
    asked: Mutex<HashMap<Need, Instant>>,
}

impl Asker {
    /// Publishes requests by `producer` into the keyring topic.
    pub fn new(producer: KeyringProducer) -> Self {
        Self { producer, asked: Mutex::default() }
    }

    /// Whether it is time to ask (again).
    fn is_due(&self, need: &Need) -> Result<bool, Reason> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.get(need).is_some_and(|at| at.elapsed() < ASK_AGAIN) {
            return Ok(false);
        }
        if asked.len() >= MOST_ASKED {
            asked.retain(|_, at| at.elapsed() < ASK_AGAIN);
        }
        if asked.len() >= MOST_ASKED {
            return Err(Reason::Unavailable("too many requests wait for the steward"));
        }
        asked.insert(need.clone(), Instant::now());
        Ok(true)
    }
}

impl Steward for Asker {
    fn ask(self: Arc<Self>, need: Need) -> Answer {
        Box::pin(async move {
            if !self.is_due(&need)? {
                return Ok(());
            }
            let unavailable = Reason::Unavailable("the keyring topic cannot be written");
            let (key, value) = written(&need).ok_or(unavailable)?;
            match self.producer.send(key, Some(&value)).await {
                Ok(()) => {
                    tracing::info!(event = "steward_asked", ?need);
                    Ok(())
                }
                Err(error) => {
                    self.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&need);
                    tracing::warn!(event = "steward_not_asked", ?need, %error);
                    Err(unavailable)
                }
            }
        })
    }
}

/// Answers requests of other gateways by the delegate's own policy, for ever.
pub async fn answer_requests(delegate: Arc<Delegate>, live: Arc<LiveKeyring>, topic: Arc<KeyringTopic>) {
    let producer = match topic.publish() {
        Ok(producer) => producer,
        Err(error) => {
            tracing::error!(event = "steward_cannot_answer", %error);
            return;
        }
    };
    let pace = Arc::new(Pace::default());
    loop {
        let standing = |live: &LiveKeyring| {
            let requests = live.requests();
            (live.is_caught_up() && !requests.is_empty()).then_some(requests)
        };
        let Some(requests) = live.wait_for(LOOK_AGAIN, standing).await else { continue };
        let mut answers = JoinSet::new();
        for (key, value) in requests {
            let (delegate, live, producer) = (delegate.clone(), live.clone(), producer.clone());
            let pace = pace.clone();
            answers.spawn(async move {
                answer(&delegate, &pace, &key, &value).await && clear(&live, &producer, &key).await
            });
        }
        let answered = answers.join_all().await;
        if answered.contains(&false) {
            tokio::time::sleep(PAUSE_AFTER_ERROR).await;
        }
    }
}

/// True when nothing is left to be done for a request, met or refused.
async fn answer(delegate: &Arc<Delegate>, pace: &Pace, key: &str, value: &[u8]) -> bool {
    let Some(need) = read(value) else {
        tracing::warn!(event = "steward_request_refused", key, "not a request that this version knows");
        return true;
    };
    // The steward cannot ask whether the topic exists: it may be in another cluster.
    if let Need::Stream { topic } = &need
        && !pace.allows(ANY_GATEWAY, topic, Instant::now())
    {
        return false;
    }
    match delegate.clone().ask(need.clone()).await {
        Ok(()) => true,
        Err(reason) if reason.is_retriable() => false,
        Err(reason) => {
            tracing::warn!(event = "steward_request_refused", ?need, %reason);
            true
        }
    }
}

async fn clear(live: &LiveKeyring, producer: &KeyringProducer, key: &str) -> bool {
    if let Err(error) = producer.send(key, None).await {
        tracing::warn!(event = "steward_request_not_cleared", key, %error);
        return false;
    }
    let gone = |live: &LiveKeyring| (!live.is_requested(key)).then_some(());
    live.wait_for(PUBLISH_WAIT, gone).await.is_some()
}

/// A need as it stands in a request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "need", rename_all = "lowercase", deny_unknown_fields)]
enum Request {
    Identity { principal: String },
    Stream { topic: String },
    Grant { identity: String, stream: String, right: String },
}

/// Key and value of the record.
fn written(need: &Need) -> Option<(String, Vec<u8>)> {
    let (key, request) = match need {
        Need::Identity { principal } => {
            let principal = principal.as_str().to_owned();
            (format!("identity/{principal}"), Request::Identity { principal })
        }
        Need::Stream { topic } => (format!("stream/{topic}"), Request::Stream { topic: topic.clone() }),
        Need::Grant { identity, stream, right } => {
            let (identity, stream, right) = (identity.to_string(), stream.to_string(), right.name().to_owned());
            (format!("grant/{identity}/{stream}/{right}"), Request::Grant { identity, stream, right })
        }
    };
    Some((format!("{REQUEST_PREFIX}{key}"), serde_json::to_vec(&request).ok()?))
}

fn read(value: &[u8]) -> Option<Need> {
    Some(match serde_json::from_slice(value).ok()? {
        Request::Identity { principal } => Need::Identity { principal: Principal::parse(&principal)? },
        Request::Stream { topic } => Need::Stream { topic },
        Request::Grant { identity, stream, right } => Need::Grant {
            identity: identity.parse().ok()?,
            stream: stream.parse().ok()?,
            right: [Right::Read, Right::Write].into_iter().find(|known| known.name() == right)?,
        },
    })
}

/// Whoever asks through the topic is nobody that could be told from others.
const ANY_GATEWAY: &str = "";

/// A need that was asked for is asked for again after this time, if it still is one.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Principals and topics of one gateway that wait at the same time.
const MOST_ASKED: usize = 10_000;

/// Below a producer's request timeout.
const PUBLISH_WAIT: Duration = Duration::from_secs(10);

/// Nothing is missed in between: every new record wakes the wait.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Kafka or the KMS may need a moment.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use barnabas_crypto::{IdentityId, StreamId};

    use super::*;

    #[test]
    fn every_need_reads_back_from_its_request() {
        let grant = |right| Need::Grant {
            identity: IdentityId::from_bytes([1; 16]),
            stream: StreamId::from_bytes([2; 16]),
            right,
        };
        let needs = [
            Need::Identity { principal: Principal::user("CN=a \"b\",O=c") },
            Need::Stream { topic: "orders".to_owned() },
            grant(Right::Read),
            grant(Right::Write),
        ];
        let mut keys = std::collections::HashSet::new();
        for need in needs {
            let (key, value) = written(&need).unwrap();
            assert!(key.starts_with(REQUEST_PREFIX));
            assert!(keys.insert(key));
            assert_eq!(read(&value), Some(need));
        }
    }

    #[test]
    fn what_is_not_a_request_is_none() {
        for wrong in [
            &b""[..],
            b"{}",
            b"{\"need\":\"everything\"}",
            b"{\"need\":\"identity\",\"principal\":\"alice\"}",
            b"{\"need\":\"grant\",\"identity\":\"00\",\"stream\":\"00\",\"right\":\"read\"}",
            b"{\"need\":\"stream\",\"topic\":\"t\",\"sealed\":false}",
            b"\xff",
        ] {
            assert_eq!(read(wrong), None, "{}", String::from_utf8_lossy(wrong));
        }
    }
}
