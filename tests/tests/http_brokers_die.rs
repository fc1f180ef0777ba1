//! Promise: while brokers are killed and come back one after another, with their partitions' leaders and the coordinators of the bridge's
//! transactions, every post with an `Idempotency-Key` is carried out exactly once, and its retries get one answer, on every replica.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use barnabas_tests::certs::{Authority, ClientFiles};
use barnabas_tests::clients::record::shows;
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::cluster::Cluster;
use barnabas_tests::gateway::{Gateway, Home, Rule, Settings};
use barnabas_tests::rest::{Answer, Http};
use barnabas_tests::scratch::{Scratch, unique};
use barnabas_tests::site::secret;
use barnabas_tests::wait;
use barnabas_tests::wire::Connection;
use serde_json::json;

const TEXT: &str = "application/vnd.kafka.text.v2+json";

#[test]
fn posts_with_a_key_are_written_once_while_one_broker_after_another_dies() {
    let mut cluster = Cluster::start(3);
    let folder = Scratch::new("brokers-die");
    let mut authority = Authority::new(folder.path());
    let (mut one, mut two) = gateways(&cluster, &mut authority);
    let (alice, reader) = (authority.client("alice"), authority.client("reader"));
    let (topic, secret) = (unique("sealed"), secret());
    let mut direct = Connection::open(&cluster.address(1)).expect("a connection");
    direct.create_topic(&topic, 6, 3, &[]).expect("a topic");
    let addresses = [one.rest(), two.rest()];
    let (posted, over) = (Posted::default(), AtomicBool::new(false));
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (addresses, alice, topic, secret) = (&addresses, &alice, &topic, &secret);
            let (posted, over) = (&posted, &over);
            scope.spawn(move || posted.work(worker, (addresses, alice), (topic, secret), over));
        }
        posted.wait_for_more(20);
        for id in 1..=3 {
            cluster.node(id).kill();
            posted.wait_for_more(20);
            cluster.node(id).restart();
            cluster.node(id).wait_ready(3);
            posted.wait_for_more(10);
        }
        over.store(true, Ordering::SeqCst);
    });
    let answers = posted.answers.into_inner().expect("no worker panicked");
    assert!(answers.len() >= 110, "{} posts", answers.len());
    // Any replica knows all of them, long after.
    for (n, (key, first)) in answers.iter().enumerate() {
        let again = carried_out(&addresses[n % 2], &alice, &topic, (key, &body(&secret, key)));
        assert_eq!(again.header("idempotency-replayed"), Some("true"), "{key}");
        assert_eq!(again.text(), first.text(), "{key}");
    }
    let through = Endpoint::tls(&two.bootstrap(), &reader);
    let read = wait::until("all of it can be read", wait::PATIENCE, || {
        let read = rd::read_all(&through, &topic);
        (read.len() >= answers.len() * 2).then_some(read)
    });
    let mut values: Vec<String> = read
        .iter()
        .map(|got| String::from_utf8_lossy(&got.record.value.as_ref().expect("a value").0).into_owned())
        .collect();
    let mut wanted: Vec<String> = answers.keys().flat_map(|key| values_of(&secret, key)).collect();
    values.sort();
    wanted.sort();
    assert_eq!(values, wanted, "each record exactly once");
    let stored = rd::read_all(&Endpoint::plain(&cluster.bootstrap()), &topic);
    assert!(stored.len() == wanted.len() && !stored.iter().any(|got| shows(&got.record, &secret)));
    assert!(!cluster.disk_holds(secret.as_bytes()));
    one.terminate();
    two.terminate();
}

/// Two of one installation. That brokers are away is told.
fn gateways(cluster: &Cluster, authority: &mut Authority) -> (Gateway, Gateway) {
    let (home, server) = (Home::new(), authority.server("gateway", &[]));
    let rule = Rule::sealed_pattern("sealed.*", "User:alice", "User:(alice|reader)");
    let settings = Settings::new(&cluster.bootstrap()).with_tls(&server).with_rule(rule).with_rest(&[]);
    let other = Settings { steward_embedded: false, ..settings.clone().on_other_ports() };
    let mut both = (Gateway::start(&home, settings), Gateway::start(&home, other));
    for gateway in [&mut both.0, &mut both.1] {
        ["broker", "upstream", "keyring", "idempotency"].iter().for_each(|text| gateway.expect_in_log(text));
    }
    both
}

/// What was carried out: the first answer of each key.
#[derive(Default)]
struct Posted {
    answers: Mutex<BTreeMap<String, Answer>>,
}

impl Posted {
    fn work(
        &self,
        worker: usize,
        (addresses, alice): (&[String; 2], &ClientFiles),
        (topic, secret): (&str, &str),
        over: &AtomicBool,
    ) {
        for n in 0.. {
            if over.load(Ordering::SeqCst) {
                return;
            }
            let key = format!("{worker}-{n}");
            let answer = carried_out(&addresses[(worker + n) % 2], alice, topic, (&key, &body(secret, &key)));
            self.answers.lock().expect("no worker panicked").insert(key, answer);
        }
    }

    fn wait_for_more(&self, more: usize) {
        let count = || self.answers.lock().expect("no worker panicked").len();
        let wanted = count() + more;
        wait::until("posts go on", 2 * wait::PATIENCE, || (count() >= wanted).then_some(()));
    }
}

/// As a client does it: again, until an answer says that it is done. Each attempt by a connection of its own.
fn carried_out(address: &str, files: &ClientFiles, topic: &str, (key, body): (&str, &str)) -> Answer {
    wait::until(&format!("{key} is carried out"), 2 * wait::PATIENCE, || {
        let mut http = Http::tls(address, files);
        let headers = [("content-type", TEXT), ("idempotency-key", key)];
        let answer = http.ask("POST", &format!("/topics/{topic}"), &headers, body.as_bytes());
        assert!(matches!(answer.status, 200 | 409 | 503), "{} {}", answer.status, answer.text());
        let offsets = answer.json()["offsets"].clone();
        let is_done = offsets.as_array().is_some_and(|all| all.iter().all(|one| one["offset"].is_u64()));
        (answer.status == 200 && is_done).then_some(answer)
    })
}

/// Two records, mostly of two partitions. Record keys are not sealed here.
fn body(secret: &str, key: &str) -> String {
    let records: Vec<_> = values_of(secret, key)
        .iter()
        .enumerate()
        .map(|(n, value)| json!({ "key": format!("{key} {n}"), "value": value }))
        .collect();
    json!({ "records": records }).to_string()
}

fn values_of(secret: &str, key: &str) -> [String; 2] {
    ["a", "b"].map(|part| format!("{secret} {key} {part}"))
}

const WORKERS: usize = 4;
