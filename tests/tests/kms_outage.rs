//! Promise: a running data path does not notice that the key management system is gone. Clients, also those that connect anew, go on for
//! `custody.outage_grace`; then they are refused with a code that they retry; when it is back, everything goes on without a restart.
//! All of it with a real OpenBao, killed, sealed, throttled and slow, which lets the gateway do no more than the documented policies say.

use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use serde_json::{Value, json};

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{CustodyContext, Identity, WrappedSeed};
use barnabas_tests::clients::Endpoint;
use barnabas_tests::clients::rd::{self, Outcome, Producer};
use barnabas_tests::clients::record::{Sent, assert_same, numbered};
use barnabas_tests::kms::fault::Fault;
use barnabas_tests::kms::openbao::OpenBao;
use barnabas_tests::kms::stand::{MAX_AGE, Stand};
use barnabas_tests::kms::{Bench, Via, block_on};
use barnabas_tests::site::{Site, secret};
use barnabas_tests::traffic::Traffic;
use barnabas_tests::wait;

#[test]
fn clients_notice_nothing_while_the_kms_is_killed_sealed_throttled_slow_and_takes_no_credential() {
    let mut stand = stand("outage_grace: 15m");
    let (topic, other, secret) = (stand.site.broker().topic("sealed", 2), stand.site.sealed_topic(1), secret());
    let [alice, writer, reader] = ["alice", "writer-one", "reader-one"].map(|name| stand.site.client(name));
    let mut fresh = Fresh::new(&mut stand.site, &other, &secret);
    let traffic = Traffic::start(&topic, &secret, &[alice, writer], &[reader]);

    stand.bao.kill();
    survives(&stand, &traffic, &mut fresh, "killed");
    stand.bao.restart();
    recovers(&stand, &traffic);

    stand.bao.seal();
    survives(&stand, &traffic, &mut fresh, "sealed");
    stand.bao.unseal();
    recovers(&stand, &traffic);

    let answers = [Fault::Answer(stand.bao.throttled()), Fault::Answer(stand.bao.broken())];
    for fault in answers.into_iter().chain([Fault::Stall, Fault::Half]) {
        let what = format!("{fault:?}");
        stand.proxy.put(fault);
        survives(&stand, &traffic, &mut fresh, &what);
        stand.proxy.put(Fault::Pass);
        recovers(&stand, &traffic);
    }

    stand.proxy.put(Fault::Slow(Duration::from_secs(1)));
    fresh.come_and_go();
    traffic.goes_on();
    stand.proxy.put(Fault::Pass);
    recovers(&stand, &traffic);

    stand.bao.end_credentials();
    survives(&stand, &traffic, &mut fresh, "credentials ended");
    stand.bao.renew_credentials();
    recovers(&stand, &traffic);

    let written = traffic.end();
    assert_eq!(stand.site.gateway.metric("barnabas_records_refused_total"), 0.0);
    stand.site.assert_sealed(&topic, written, &secret);
    stand.site.assert_sealed(&other, fresh.written, &secret);
}

#[test]
fn after_the_grace_clients_are_refused_and_go_on_when_the_kms_is_back() {
    let mut stand = stand("outage_grace: 1s");
    for text in ["custody_ended", "keys are not available now", "custody_unwrap_failed"] {
        stand.site.gateway.expect_in_log(text);
    }
    let (topic, secret) = (stand.site.sealed_topic(1), secret());
    let [alice, reader] = ["alice", "reader-one"].map(|name| stand.site.client(name));
    let mut sent = vec![numbered(&secret, 0, 0)];
    rd::produce(&alice, &topic, &sent, &[]);
    assert_same(&sent, &rd::read_all(&reader, &topic));
    let mut connected = Producer::new(&alice, &[("message.timeout.ms", "300000")]);
    sent.push(numbered(&secret, 1, 0));
    connected.send(&topic, &sent[1]);
    connected.placed();

    stand.proxy.put(Fault::Refuse);
    wait::until_true("a write is refused with a code that producers retry", || {
        let record = numbered(&secret, sent.len(), 0);
        match try_once(&stand.site.client("alice"), &topic, &record) {
            Ok(_) => sent.push(record),
            Err(code) => return code == RDKafkaErrorCode::NotEnoughReplicas,
        }
        false
    });
    // Sessions that are open end with the next look of the gateway at what is over, a second later at most.
    wait::until_true("the gateway has ended the client's sessions", || {
        let events = stand.site.gateway.events();
        events.iter().any(|one| one.line.contains("custody_ended") && one.line.contains("User:alice"))
    });
    let late = numbered(&secret, sent.len(), 0);
    connected.send(&topic, &late);
    let reading = rd::read(&stand.site.client("reader-one"), &topic, &[]);
    assert!(reading.error.is_some() && reading.records.is_empty(), "{:?}", reading.records);
    stand.site.assert_sealed(&topic, sent.len(), &secret);
    let told = stand.site.gateway.events().iter().filter(|one| one.line.contains("custody_unwrap_failed")).count();
    assert!(told >= 2, "of the writer, and of the reader");
    assert!(stand.site.gateway.metric("barnabas_custody_failed_unwraps_total") >= told as f64);
    assert_eq!(connected.so_far().last(), Some(&None), "a producer that was connected tries on");

    stand.proxy.put(Fault::Pass);
    connected.placed();
    sent.push(late);
    assert_same(&sent, &rd::read_all(&reader, &topic));
    stand.site.assert_sealed(&topic, sent.len(), &secret);
}

#[test]
fn a_gateway_that_starts_without_its_kms_says_so_and_serves_when_it_is_there() {
    let mut stand = stand("outage_grace: 1h");
    stand.site.gateway.expect_in_log("keys are not available now");
    stand.site.gateway.expect_in_log("custody_unwrap_failed");
    let (topic, secret) = (stand.site.sealed_topic(1), secret());
    let [alice, reader] = ["alice", "reader-one"].map(|name| stand.site.client(name));
    let sent = [0, 1].map(|n| numbered(&secret, n, 0));
    rd::produce(&alice, &topic, &sent[..1], &[]);
    assert_same(&sent[..1], &rd::read_all(&reader, &topic));
    stand.site.gateway.terminate();
    stand.bao.stop();
    stand.site.gateway.begin();
    let report = wait::until("the gateway says what it waits for", wait::PATIENCE, || {
        let (status, body) = stand.site.gateway.admin("/readyz");
        (status == 503 && body.contains("no usable answer")).then_some(body)
    });
    let report: Value = serde_json::from_str(&report).expect("one JSON document");
    let kms = report["conditions"].as_array().and_then(|all| all.iter().find(|one| one["name"] == "kms"));
    assert!(kms.is_some_and(|kms| kms["ok"] == false), "{report}");
    assert_eq!(stand.site.gateway.metric("barnabas_kms_up"), 0.0);
    let mut waiting = Producer::new(&alice, &[("message.timeout.ms", "300000")]);
    waiting.send(&topic, &sent[1]);
    stand.site.gateway.wait_for_log("custody_unwrap_failed");
    stand.bao.restart();
    waiting.placed();
    stand.site.gateway.wait_until_ready();
    assert_eq!(stand.site.gateway.metric("barnabas_kms_up"), 1.0);
    assert_same(&sent, &rd::read_all(&reader, &topic));
    stand.site.assert_sealed(&topic, 2, &secret);
}

#[test]
fn a_client_whose_key_is_denied_or_disabled_stops_and_the_others_feel_nothing() {
    let mut stand = stand("outage_grace: 1h");
    for text in ["custody_denied", "custody_unwrap_failed", "has no identity"] {
        stand.site.gateway.expect_in_log(text);
    }
    let (busy, topic, secret) = (stand.site.sealed_topic(1), stand.site.sealed_topic(1), secret());
    let [alice, writer, reader] = ["alice", "writer-one", "reader-one"].map(|name| stand.site.client(name));
    let traffic = Traffic::start(&busy, &secret, &[writer], &[reader]);
    let mut sent = vec![];
    let mut connected = Producer::new(&alice, &[("topic.metadata.refresh.interval.ms", "1000")]);
    let key = |stand: &Stand, who: &str| stand.row(&format!("User:{who}"))["key"].as_str().expect("a name").to_owned();
    for way in [Stop::Deny, Stop::Disable] {
        let before = numbered(&secret, sent.len(), 0);
        connected.send(&topic, &before);
        wait::until_true("the client writes", || matches!(connected.so_far().last(), Some(Some(Ok(_)))));
        sent.push(before);
        assert_same(&sent, &rd::read_all(&alice, &topic));

        let key = key(&stand, "alice");
        let stopped = Instant::now();
        way.stop(&mut stand.bao, &key);
        let mut probes = vec![];
        wait::until("the connected client is refused", STOPPED_WITHIN, || {
            let record = numbered(&secret, sent.len() + probes.len(), 0);
            connected.send(&topic, &record);
            wait::until_true("an answer", || matches!(connected.so_far().last(), Some(Some(_))));
            match connected.so_far().pop().flatten() {
                Some(Err(code)) => {
                    assert_eq!(code, RDKafkaErrorCode::TopicAuthorizationFailed);
                    Some(())
                }
                _ => {
                    probes.push(record);
                    None
                }
            }
        });
        assert!(stopped.elapsed() < STOPPED_WITHIN, "{:?}", stopped.elapsed());
        sent.extend(probes);
        let again = stand.site.client("alice");
        let refused = Err(RDKafkaErrorCode::TopicAuthorizationFailed);
        assert_eq!(try_once(&again, &topic, &numbered(&secret, sent.len(), 0)), refused);
        let reading = rd::read(&again, &topic, &[]);
        assert_eq!(reading.error, Some(RDKafkaErrorCode::TopicAuthorizationFailed));
        assert!(reading.records.is_empty(), "{:?}", reading.records);
        traffic.goes_on();

        way.allow(&stand.bao, &key);
        wait::until_true("the client that is connected writes again", || {
            let record = numbered(&secret, sent.len(), 0);
            connected.send(&topic, &record);
            wait::until_true("an answer", || matches!(connected.so_far().last(), Some(Some(_))));
            let taken = matches!(connected.so_far().last(), Some(Some(Ok(_))));
            sent.extend(taken.then_some(record));
            taken
        });
        assert_same(&sent, &rd::read_all(&again, &topic));
    }
    let written = traffic.end();
    stand.site.assert_sealed(&busy, written, &secret);
    stand.site.assert_sealed(&topic, sent.len(), &secret);
}

#[test]
fn what_hides_the_seed_of_one_client_opens_for_no_other() {
    let mut stand = stand("outage_grace: 1h");
    let (topic, secret) = (stand.site.sealed_topic(1), secret());
    for name in ["alice", "writer-one"] {
        rd::produce(&stand.site.client(name), &topic, &[numbered(&secret, 0, 0)], &[]);
    }
    let hidden = ["User:alice", "User:writer-one"].map(|principal| stand.hidden_seed(principal));
    let adapter = stand.bao.adapter(&Via::port(stand.bao.port()));
    let unwrap = |seed: &WrappedSeed, key: &str, whose: &Identity| {
        let key = key.strip_prefix("bao/").expect("the key is in OpenBao");
        block_on(adapter.unwrap(key, &seed.blob, &CustodyContext::IdentitySeed(whose.id()))).map(|_| ())
    };
    for (one, other) in [(0, 1), (1, 0)] {
        let ((own, seed), (another, taken)) = (&hidden[one], &hidden[other]);
        unwrap(seed, &seed.key, own).expect("the client's own opens");
        for (seed, key, whose) in [(taken, &taken.key, own), (taken, &seed.key, own), (seed, &seed.key, another)] {
            let error = unwrap(seed, key, whose).expect_err("moved to another client");
            assert_eq!(error.cause, CustodyCause::Corrupt, "{error}");
        }
    }
}

/// Keys in OpenBao from the start, and what must be expected of a system that is disturbed.
fn stand(grace: &str) -> Stand {
    let mut stand = Stand::new(&format!("kms: bao, {grace}"));
    stand.site.gateway.expect_in_log("custody_not_renewed");
    stand
}

/// The KMS gives no usable answer, for much longer than a key is used without asking it; clients go on all the time, and new
/// connections of theirs are served.
#[track_caller]
fn survives(stand: &Stand, traffic: &Traffic, fresh: &mut Fresh, what: &str) {
    let begun = Instant::now();
    let missed = || stand.site.gateway.events().iter().filter(|one| one.line.contains("custody_not_renewed")).count();
    let before = missed();
    while begun.elapsed() < 3 * MAX_AGE || missed() == before {
        traffic.goes_on();
        assert!(begun.elapsed() < wait::PATIENCE, "{what}: the gateway has not asked");
    }
    fresh.come_and_go();
    traffic.goes_on();
}

#[track_caller]
fn recovers(stand: &Stand, traffic: &Traffic) {
    wait::until_true("the KMS counts as up", || stand.site.gateway.metric("barnabas_kms_up") == 1.0);
    traffic.goes_on();
}

/// Clients that connect, write or read, and go.
struct Fresh {
    writer: Endpoint,
    reader: Endpoint,
    topic: String,
    secret: String,
    written: usize,
}

impl Fresh {
    /// They have been there once: the gateway has their keys.
    fn new(site: &mut Site, topic: &str, secret: &str) -> Self {
        let [writer, reader] = ["alice", "reader-one"].map(|name| site.client(name));
        let mut fresh = Self { writer, reader, topic: topic.to_owned(), secret: secret.to_owned(), written: 0 };
        fresh.come_and_go();
        fresh
    }

    #[track_caller]
    fn come_and_go(&mut self) {
        let all: Vec<Sent> = (0..=self.written).map(|n| numbered(&self.secret, n, 0)).collect();
        rd::produce(&self.writer, &self.topic, &all[self.written..], &[]);
        self.written += 1;
        assert_same(&all, &rd::read_all(&self.reader, &self.topic));
    }
}

/// How an operator stops one client at the KMS.
#[derive(Clone, Copy)]
enum Stop {
    /// The policy takes the key away.
    Deny,
    /// The key is switched off.
    Disable,
}

impl Stop {
    fn stop(self, bao: &mut OpenBao, key: &str) {
        match self {
            Self::Deny => bao.deny_key(key),
            Self::Disable => bao.disable_key(key),
        }
    }

    fn allow(self, bao: &OpenBao, key: &str) {
        match self {
            Self::Deny => bao.put_policy("vault"),
            Self::Disable => {
                bao.operate("POST", &format!("transit/keys/barnabas-{key}/soft-delete-restore"), &json!({}));
            }
        }
    }
}

/// One try, without the retries that a producer makes by itself.
fn try_once(endpoint: &Endpoint, topic: &str, record: &Sent) -> Outcome {
    let mut producer = Producer::new(endpoint, &[("retries", "0")]);
    producer.send(topic, record);
    producer.outcomes().remove(0)
}

/// `custody.max_age`, and what the documentation adds to it for the question and the answer.
const STOPPED_WITHIN: Duration = Duration::from_secs(2 + 5);
