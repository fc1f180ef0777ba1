//! Promise: when something is missing (a key, a rule, the keyring, the broker) the client hears an error within a bounded time; it never
//! gets plaintext stored, an empty topic or silence.

use rdkafka::error::RDKafkaErrorCode;

use barnabas_tests::broker::Broker;
use barnabas_tests::clients::record::{assert_same, numbered};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::evil::Evil;
use barnabas_tests::gateway::{Rule, Settings};
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wait;

#[test]
fn plaintext_that_was_in_the_topic_before_is_refused_and_not_delivered() {
    let mut site = Site::new();
    site.gateway.expect_in_log("not sealed");
    let topic = site.sealed_topic(1);
    rd::produce(&Endpoint::direct(site.broker()), &topic, &[numbered("past the gateway", 0, 0)], &[]);
    let reading = rd::read(&site.client("reader"), &topic, &[]);
    assert_eq!(reading.error, Some(RDKafkaErrorCode::InvalidRecord));
    assert!(reading.records.is_empty());
    let event = site.gateway.wait_for_log("not sealed");
    assert!(event.line.contains(&topic), "the log names the topic: {}", event.line);
}

#[test]
fn a_topic_that_no_rule_names_is_refused_when_the_operator_said_so() {
    let mut site = Site::with(Broker::shared(), |settings| Settings { default: "refuse".to_owned(), ..settings });
    site.gateway.expect_in_log("not listed");
    let (topic, secret) = (site.open_topic(1), secret());
    let alice = site.client("alice");
    let outcome = rd::try_produce(&alice, &topic, &numbered(&secret, 0, 0));
    assert_eq!(outcome, Err(RDKafkaErrorCode::TopicAuthorizationFailed));
    rd::produce(&Endpoint::direct(site.broker()), &topic, &[numbered("past the gateway", 0, 0)], &[]);
    let reading = rd::read(&alice, &topic, &[]);
    assert_eq!(reading.error, Some(RDKafkaErrorCode::TopicAuthorizationFailed));
    assert!(reading.records.is_empty());
    assert!(!site.broker().disk_holds(secret.as_bytes()));
}

#[test]
fn an_anonymous_client_gets_no_key_and_leaves_no_plaintext() {
    let mut site = Site::with(Broker::shared(), |settings| Settings { tls: None, ..settings });
    site.gateway.expect_in_log("User:ANONYMOUS");
    site.gateway.expect_in_log("may not write");
    site.gateway.expect_in_log("no identity");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let outcome = rd::try_produce(&Endpoint::plain(&site.gateway.bootstrap()), &topic, &numbered(&secret, 0, 0));
    assert!(outcome.is_err());
    site.assert_sealed(&topic, 0, &secret);
}

#[test]
fn an_idle_broker_is_an_error_for_the_client_and_everything_works_when_it_is_back() {
    let broker = Broker::shared();
    let evil = Evil::start(broker.detour());
    let mut site = Site::behind(&evil);
    site.gateway.expect_in_log("broker");
    site.gateway.expect_in_log("upstream");
    site.gateway.expect_in_log("keyring");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let alice = site.client("alice");
    let records = [numbered(&secret, 0, 0), numbered(&secret, 1, 0)];
    rd::produce(&alice, &topic, &records[..1], &[]);
    evil.cut();
    let mut producer = rd::Producer::new(&alice, &[("message.timeout.ms", "4000")]);
    producer.send(&topic, &numbered(&secret, 7, 0));
    assert!(producer.outcomes()[0].is_err());
    evil.mend();
    rd::produce(&alice, &topic, &records[1..], &[]);
    assert_same(&records, &rd::read_all(&site.client("reader"), &topic));
    site.assert_sealed(&topic, 2, &secret);
}

#[test]
fn a_reload_with_a_mistake_changes_nothing() {
    let mut site = Site::new();
    site.gateway.expect_in_log("streams");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let alice = site.client("alice");
    site.gateway.reload(|settings| settings.default = "perhaps".to_owned());
    site.gateway.wait_for_log("perhaps");
    let records = [numbered(&secret, 0, 0)];
    rd::produce(&alice, &topic, &records, &[]);
    assert_same(&records, &rd::read_all(&alice, &topic));
    site.assert_sealed(&topic, 1, &secret);
}

#[test]
fn a_topic_that_becomes_sealed_by_reload_takes_no_more_plaintext() {
    let mut site = Site::new();
    let (topic, secret) = (site.open_topic(1), secret());
    let alice = site.client("alice");
    rd::produce(&alice, &topic, &[numbered("still open", 0, 0)], &[]);
    let name = topic.clone();
    site.gateway.reload(move |settings| settings.rules.push(Rule::sealed(&name, "User:alice", "User:alice")));
    let direct = Endpoint::direct(site.broker());
    wait::until_true("the rule is in force", || {
        rd::produce(&alice, &topic, &[numbered("between", 1, 0)], &[]);
        let stored = rd::read_all(&direct, &topic);
        stored.last().is_some_and(|got| barnabas_tests::site::is_sealed(&got.record))
    });
    rd::produce(&alice, &topic, &[numbered(&secret, 2, 0)], &[]);
    assert!(!site.broker().disk_holds(secret.as_bytes()));
}

#[test]
fn readiness_says_no_while_the_keyring_cannot_be_reached_and_liveness_stays() {
    let broker = Broker::shared();
    let evil = Evil::start(broker.detour());
    let mut site = Site::behind(&evil);
    site.gateway.expect_in_log("");
    assert_eq!(site.gateway.admin("/livez").0, 200);
    assert_eq!(site.gateway.admin("/readyz").0, 200);
    evil.cut();
    wait::until_true("not ready", || site.gateway.admin("/readyz").0 == 503);
    assert_eq!(site.gateway.admin("/livez").0, 200);
    evil.mend();
    wait::until_true("ready again", || site.gateway.admin("/readyz").0 == 200);
}
