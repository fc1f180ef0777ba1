//! Promise: when something is missing (a key, a rule, the keyring, the broker) the client hears an error within a bounded time; it never
//! gets plaintext stored, an empty topic or silence.

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiVersionsRequest, FetchRequest, ProduceRequest};
use rdkafka::error::RDKafkaErrorCode;
use uuid::Uuid;

use barnabas_tests::batch::{Batch, Record};
use barnabas_tests::broker::Broker;
use barnabas_tests::clients::record::{assert_same, numbered};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::evil::Evil;
use barnabas_tests::gateway::{Rule, Settings};
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wait;
use barnabas_tests::wire::Connection;

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

/// Clients name topics by ids that the gateway has made from name and id together. A broker that calls an id by another name after a
/// restart of the gateway leads nobody to the other topic, and its own ids are worth nothing to clients.
#[test]
fn a_false_name_for_a_topic_id_leaks_nothing() {
    let broker = Broker::shared();
    let evil = Evil::start(broker.detour());
    let mut site = Site::behind(&evil);
    let (sealed, open) = (site.sealed_topic(1), broker.topic("opened", 1));
    let alice = site.authority.client("alice");
    let bootstrap = site.gateway.bootstrap();
    let connect = || Connection::open_tls(&bootstrap, &alice).expect("alice may connect");
    let offered = connect().call(2, &ApiVersionsRequest::default()).expect("an answer").api_keys;
    let newest = |key: i16| offered.iter().find(|api| api.api_key == key).map(|api| api.max_version);
    assert_eq!((newest(PRODUCE), newest(FETCH)), (Some(13), Some(18)));

    let given = broker.wire().metadata(Some(&[&sealed])).expect("metadata").topics[0].topic_id;
    let shown = connect().metadata(Some(&[&sealed])).expect("metadata").topics[0].topic_id;
    assert_ne!(shown, given, "the broker's own id reached a client");
    let secret = secret();
    assert_eq!(produce_by_id(&mut connect(), shown, &secret), 0);
    let (error, records) = fetch_by_id(&mut connect(), shown);
    assert_eq!(error, 0);
    assert!(memchr::memmem::find(&records, secret.as_bytes()).is_some(), "what was sealed does not come back");
    site.assert_sealed(&sealed, 1, &secret);

    // The broker's own id is nobody's.
    assert_eq!(produce_by_id(&mut connect(), given, &secret), UNKNOWN_TOPIC_ID);
    site.gateway.terminate();
    site.gateway.restart();
    let (true_name, false_name) = (sealed.clone(), open.clone());
    evil.on_answer(METADATA, move |frame| renamed(frame, &true_name, &false_name));
    assert_eq!(produce_by_id(&mut connect(), shown, &secret), UNKNOWN_TOPIC_ID);
    assert!(evil.told() > 0, "nothing was said of any name");
    assert!(!evil.has_passed(secret.as_bytes()), "plaintext of a sealed topic went to the broker");
    assert!(!broker.disk_holds(secret.as_bytes()));
    let (error, records) = fetch_by_id(&mut connect(), shown);
    assert_eq!(error, UNKNOWN_TOPIC_ID);
    assert!(records.is_empty());
    evil.be_honest();
    // The gateway has heard two names for one id: what it heard first stays, until it is started anew.
    site.gateway.terminate();
    site.gateway.restart();
    assert_eq!(produce_by_id(&mut connect(), shown, &secret), 0);
    site.assert_sealed(&sealed, 2, &secret);
}

/// The error code for one record by topic id.
fn produce_by_id(connection: &mut Connection, id: Uuid, value: &str) -> i16 {
    let data = PartitionProduceData::default().with_records(Some(Batch::of_value(value)));
    let topic = TopicProduceData::default().with_topic_id(id).with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(5_000).with_topic_data(vec![topic]);
    let answer = connection.call(13, &request).expect("an answer").responses;
    assert_eq!((answer.len(), answer[0].topic_id), (1, id), "the answer is about another topic");
    answer[0].partition_responses[0].error_code
}

/// The error code and the records of a topic id from its first offset on.
fn fetch_by_id(connection: &mut Connection, id: Uuid) -> (i16, Bytes) {
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic_id(id).with_partitions(vec![partition]);
    let request = FetchRequest::default().with_max_wait_ms(500).with_min_bytes(1).with_max_bytes(1 << 20);
    let answer = connection.call(18, &request.with_topics(vec![topic])).expect("an answer").responses;
    assert_eq!((answer.len(), answer[0].topic_id), (1, id), "the answer is about another topic");
    let partition = &answer[0].partitions[0];
    (partition.error_code, partition.records.clone().unwrap_or_default())
}

/// A stream that stands in the keyring alone: no rule names its topic any more. The broker withholds its object from a gateway that
/// starts. What the keystore remembers is sealed all the same, and the loss is told.
#[test]
fn a_stream_that_the_broker_withholds_does_not_let_its_topic_pass() {
    let broker = Broker::shared();
    let evil = Evil::start(broker.detour());
    let mut site = Site::behind(&evil);
    site.gateway.expect_in_log("steward_sealed_again");
    site.gateway.expect_in_log("may not write");
    site.gateway.expect_in_log("keys are not available");
    let (topic, open, secret) = (site.sealed_topic(1), site.open_topic(1), secret());
    let alice = site.client("alice");
    let records = [numbered(&secret, 0, 0)];
    rd::produce(&alice, &topic, &records, &[]);
    site.gateway.reload(|settings| settings.rules.clear());
    site.gateway.wait_for_log("configuration_reloaded");
    site.gateway.terminate();
    withhold_streams(&evil, &site);
    site.gateway.restart();
    let outcome = rd::try_produce(&alice, &topic, &numbered(&secret, 1, 0));
    assert!(outcome.is_err(), "plaintext was taken: {outcome:?}");
    assert!(evil.told() > 0, "nothing was withheld");
    site.gateway.wait_for_log("steward_sealed_again");
    site.assert_sealed(&topic, 1, &secret);
    rd::produce(&alice, &open, &[numbered("open", 0, 0)], &[]);
}

/// Nobody vouches for the keyring, or what the head says is not what the broker shows: no topic passes, and what is refused is asked again
/// until a head is there.
#[test]
fn nothing_passes_before_a_signed_head_vouches_for_the_keyring() {
    let broker = Broker::shared();
    let evil = Evil::start(broker.detour());
    let upstream = evil.address();
    let alone = |settings| Settings { steward_embedded: false, upstream: upstream.clone(), ..settings };
    let mut site = Site::with(broker, alone);
    site.gateway.expect_in_log("keys are not available");
    let (topic, open, secret) = (site.sealed_topic(1), site.open_topic(1), secret());
    let alice = site.client("alice");
    let outcome = quickly(&alice, &open, &secret);
    assert!(outcome.is_err(), "no steward has ever run: {outcome:?}");
    let mut steward = site.second_gateway();
    let files = site.authority.client("alice");
    let at_steward = Endpoint::tls(&steward.bootstrap(), &files);
    rd::produce(&at_steward, &topic, &[numbered(&secret, 0, 0)], &[]);
    rd::produce(&alice, &open, &[numbered("open", 0, 0)], &[]);
    // A steward that begins signs a head: it says that the stream is there.
    steward.terminate();
    steward.restart();

    site.gateway.terminate();
    withhold_streams(&evil, &site);
    site.gateway.restart();
    let outcome = quickly(&alice, &open, &secret);
    assert!(outcome.is_err(), "the keyring was not whole: {outcome:?}");
    assert!(!evil.has_passed(secret.as_bytes()) && !broker.disk_holds(secret.as_bytes()));
    site.gateway.wait_for_log("not what its signed head says");
    evil.be_honest();
    site.gateway.terminate();
    site.gateway.restart();
    rd::produce(&alice, &open, &[numbered("open", 1, 0)], &[]);
    steward.terminate();
}

/// A broker that shows an old keyring could hide a revocation. The steward signs heads all the time: who sees no recent one refuses
/// writers, with a code that they retry, and goes on when the keyring is whole again.
#[test]
fn a_keyring_that_the_broker_sets_back_stops_writers_for_want_of_a_recent_head() {
    let broker = Broker::shared();
    let evil = Evil::start(broker.detour());
    let upstream = evil.address();
    let often = || {
        let keys = [("max_head_age", "3s"), ("head_interval", "1s")];
        keys.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
    };
    let alone =
        |settings| Settings { steward_embedded: false, upstream: upstream.clone(), keyring: often(), ..settings };
    let mut site = Site::with(broker, alone);
    for text in ["keys are not available", "keyring_head_trouble"] {
        site.gateway.expect_in_log(text);
    }
    let mut steward = site.second_gateway_with(|settings| Settings { keyring: often(), ..settings });
    let (topic, secret) = (site.sealed_topic(1), secret());
    let alice = site.client("alice");
    rd::produce(&alice, &topic, &[numbered(&secret, 0, 0)], &[]);

    let keyring = site.home.keyring_topic().to_owned();
    let shown = rd::read_all(&Endpoint::direct(broker), &keyring).last().map(|got| got.offset).expect("a keyring");
    let of_keyring = keyring.clone();
    evil.on_fetch(move |fetched| {
        if fetched.topic == of_keyring {
            fetched.batches.retain(|batch| batch.base_offset <= shown);
        }
    });
    site.gateway.terminate();
    // The head that the broker shows must have become old; the steward goes on signing meanwhile.
    wait::until_true("the steward has signed several heads since", || {
        let now = rd::read_all(&Endpoint::direct(broker), &keyring).last().map(|got| got.offset);
        now.is_some_and(|now| now > shown + 8)
    });
    site.gateway.begin();
    site.gateway.wait_for_log("keyring_head_trouble");
    let outcome = quickly(&alice, &topic, &secret);
    assert!(outcome.is_err(), "written under a keyring that was set back: {outcome:?}");
    assert!(evil.told() > 0, "nothing was withheld");
    site.assert_sealed(&topic, 1, &secret);

    evil.be_honest();
    site.gateway.terminate();
    site.gateway.restart();
    rd::produce(&alice, &topic, &[numbered(&secret, 1, 0)], &[]);
    site.assert_sealed(&topic, 2, &secret);
    steward.terminate();
}

/// From now on the broker leaves out the streams that the keyring has now.
fn withhold_streams(evil: &Evil<'_>, site: &Site) {
    let keyring = site.home.keyring_topic().to_owned();
    let stored = rd::read_all(&Endpoint::direct(site.broker()), &keyring);
    let keys = stored.into_iter().filter_map(|got| Some(got.record.key?.0));
    let streams: Vec<Vec<u8>> = keys.filter(|key| key.starts_with(b"stream/")).collect();
    assert!(!streams.is_empty(), "the keyring has no stream");
    evil.on_fetch(move |fetched| {
        if fetched.topic == keyring {
            for batch in fetched.batches.iter_mut().filter(|batch| !batch.is_control()) {
                let is_shown =
                    |record: &Record| !record.key.as_ref().is_some_and(|key| streams.iter().any(|s| s == key));
                batch.records_mut().retain(is_shown);
            }
        }
    });
}

/// One record, given up after seconds.
fn quickly(client: &Endpoint, topic: &str, text: &str) -> rd::Outcome {
    let mut producer = rd::Producer::new(client, &[("message.timeout.ms", "5000")]);
    producer.send(topic, &numbered(text, 0, 0));
    producer.outcomes().remove(0)
}

/// The frame with one name in the place of another one of the same length.
fn renamed(mut frame: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<usize> = memchr::memmem::find_iter(&frame, from.as_bytes()).collect();
    places.into_iter().for_each(|at| frame[at..at + to.len()].copy_from_slice(to.as_bytes()));
    frame
}

/// Kafka's error code.
const UNKNOWN_TOPIC_ID: i16 = 100;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const METADATA: i16 = 3;
