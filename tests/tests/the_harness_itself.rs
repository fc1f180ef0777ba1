//! The harness proves itself against the broker alone: what a test later says about the gateway is worth what is shown here.

use barnabas_tests::broker::Broker;
use barnabas_tests::clients::java::Java;
use barnabas_tests::clients::record::{assert_same, blob, sample};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::cluster::Cluster;
use barnabas_tests::evil::Evil;
use barnabas_tests::scratch::unique;
use barnabas_tests::wire::Connection;

#[test]
fn the_shared_broker_answers_on_all_its_listeners() {
    let broker = Broker::shared();
    assert_eq!(broker.wire().metadata(Some(&[])).expect("an answer").brokers.len(), 1);
    let mut tls = Connection::open_tls(&broker.site().tls_address, &broker.tls_client()).expect("a TLS connection");
    assert_eq!(tls.metadata(Some(&[])).expect("an answer over TLS").brokers.len(), 1);
    let detour = broker.detour();
    let mut behind = Connection::open(&format!("127.0.0.1:{}", detour.broker)).expect("a connection to the detour");
    let told = behind.metadata(Some(&[])).expect("an answer").brokers[0].port;
    assert_eq!(told, i32::from(detour.advertised), "who comes by the detour is told the detour's port");
}

#[test]
fn the_tls_listener_refuses_a_client_without_a_certificate() {
    let broker = Broker::shared();
    let anonymous = barnabas_tests::certs::ClientFiles { own: None, ..broker.tls_client() };
    let answer = Connection::open_tls(&broker.site().tls_address, &anonymous).and_then(|mut c| c.metadata(Some(&[])));
    assert!(answer.is_err());
}

#[test]
fn a_killed_broker_comes_back_with_its_topics() {
    let broker = Broker::start(&[]);
    let topic = broker.topic("stays", 2);
    broker.kill();
    assert!(Connection::open(broker.address()).is_err());
    broker.restart();
    let answer = broker.wire().metadata(Some(&[&topic])).expect("an answer");
    assert_eq!(answer.topics[0].partitions.len(), 2);
}

#[test]
fn a_fourth_broker_joins_three() {
    let mut cluster = Cluster::start(3);
    let id = cluster.add_broker();
    let mut first = Connection::open(&cluster.address(1)).expect("a connection");
    let brokers = first.metadata(Some(&[])).expect("an answer").brokers;
    assert_eq!(brokers.len(), 4);
    assert!(brokers.iter().any(|broker| broker.node_id.0 == id));
}

#[test]
fn a_lie_about_fetched_records_reaches_the_client() {
    let broker = Broker::shared();
    let topic = broker.topic("lies", 1);
    let records = sample("plain", 20, 1);
    rd::produce(&Endpoint::direct(broker), &topic, &records, &[]);
    let evil = Evil::start(broker.detour());
    let behind = Endpoint::plain(&evil.address());
    assert_same(&records, &rd::read_all(&behind, &topic));
    let target = topic.clone();
    evil.on_fetch(move |fetched| {
        if fetched.topic == target {
            for record in fetched.batches.iter_mut().flat_map(|batch| batch.records_mut()) {
                record.value = Some("a lie".into());
            }
        }
    });
    let lied = rd::read_all(&behind, &topic);
    assert_eq!(lied.len(), records.len());
    assert!(lied.iter().all(|got| got.record.value == Some(blob("a lie"))));
    assert!(evil.told() > 0);
    evil.be_honest();
    assert_same(&records, &rd::read_all(&behind, &topic));
}

#[test]
fn plaintext_on_the_disk_and_on_the_wire_is_found() {
    let broker = Broker::shared();
    let secret = unique("finds");
    let topic = broker.topic("plain", 1);
    let evil = Evil::start(broker.detour());
    rd::produce(&Endpoint::plain(&evil.address()), &topic, &sample(&secret, 20, 1), &[]);
    assert!(broker.disk_holds(secret.as_bytes()));
    assert!(evil.has_passed(secret.as_bytes()));
    let stored = broker.batches(&topic, 0);
    assert_eq!(stored.iter().map(|batch| batch.records().len()).sum::<usize>(), 20);
    assert!(!broker.disk_holds(unique("other").as_bytes()));
}

#[test]
fn javas_tools_run_over_tls() {
    let broker = Broker::shared();
    let topic = broker.topic("java", 1);
    let java = Java::new(&Endpoint::tls(&broker.site().tls_address, &broker.tls_client()));
    let produce = ["--bootstrap-server", "{bootstrap}", "--topic", &topic, "--command-config", "{config}"];
    java.run("org.apache.kafka.tools.ConsoleProducer", &produce, b"one\ntwo\n").ok();
    let consume = [&produce[..], &["--from-beginning", "--max-messages", "2"]].concat();
    let consumed = java.run("org.apache.kafka.tools.consumer.ConsoleConsumer", &consume, b"").ok();
    assert_eq!(consumed.stdout, "one\ntwo\n");
}
