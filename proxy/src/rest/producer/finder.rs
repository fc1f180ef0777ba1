//! Finds out who leads partitions that have something to send, and asks again until somebody does.
//!
//! Arrives: the queue's partitions without a known leader, and those whose leader has refused or gone. Leaves: the same partitions at
//! the way to their leader. Ends when nothing is searched. What must never happen here: a question without a pause after one in vain.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::delivery::Refusal;
use super::{CONNECT_TIME, Shared};
use crate::rest::kafka::metadata::{Cluster, Metadata};

/// Searches until every partition is found or given up.
pub(super) async fn run(shared: Arc<Shared>) {
    while !shared.has_ended() {
        let mut settled = Vec::new();
        let (searched, deadline) = {
            let mut queue = shared.queue();
            (queue.searched(&mut settled), queue.earliest_deadline())
        };
        shared.tell(settled);
        match searched {
            None => return,
            Some(Err(until)) => tokio::select! {
                () = sleep_until(until) => {}
                () = shared.searching.notified() => {}
            },
            Some(Ok(topics)) => {
                let limit = Instant::now() + CONNECT_TIME;
                let limit = deadline.map_or(limit, |deadline| deadline.min(limit));
                let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
                let question = Metadata { topics: Some(&names) };
                let asked = timeout_at(limit, shared.ask(&question)).await;
                found(&shared, asked.ok().and_then(Result::ok));
            }
        }
    }
}

fn found(shared: &Arc<Shared>, cluster: Option<Cluster>) {
    let mut leaders: HashMap<(&str, i32), i32> = HashMap::new();
    let mut refused: Vec<&str> = Vec::new();
    for topic in cluster.iter().flat_map(|cluster| &cluster.topics) {
        if topic.error_code == TOPIC_AUTHORIZATION_FAILED {
            refused.push(&topic.name);
        }
        // A partition may have a leader and an error that is none for who writes.
        leaders.extend(topic.partitions.iter().map(|one| ((topic.name.as_str(), one.index), one.leader)));
    }
    let leader = |topic: &str, index: i32| {
        if refused.contains(&topic) {
            return Err(Refusal::TopicAuthorizationFailed);
        }
        Ok(leaders.get(&(topic, index)).copied().unwrap_or(NOBODY))
    };
    let mut settled = Vec::new();
    let calls = shared.queue().found(leader, &mut settled);
    shared.tell(settled);
    shared.call(calls);
}

/// Kafka's error code.
const TOPIC_AUTHORIZATION_FAILED: i16 = 29;

/// No broker.
const NOBODY: i32 = -1;
