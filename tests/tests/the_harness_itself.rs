//! The harness proves itself against the broker alone: what a test later says about the gateway is worth what is shown here.

use barnabas_tests::broker::Broker;
use barnabas_tests::cluster::Cluster;
use barnabas_tests::wire::Connection;

#[test]
fn the_shared_broker_answers_on_all_its_listeners() {
    let broker = Broker::shared();
    assert_eq!(
        broker
            .wire()
            .metadata(Some(&[]))
            .expect("an answer")
            .brokers
            .len(),
        1
    );
    let mut tls = Connection::open_tls(&broker.site().tls_address, &broker.tls_client())
        .expect("a TLS connection");
    assert_eq!(
        tls.metadata(Some(&[]))
            .expect("an answer over TLS")
            .brokers
            .len(),
        1
    );
    let detour = broker.detour();
    let mut behind = Connection::open(&format!("127.0.0.1:{}", detour.broker))
        .expect("a connection to the detour");
    let told = behind.metadata(Some(&[])).expect("an answer").brokers[0].port;
    assert_eq!(
        told,
        i32::from(detour.advertised),
        "who comes by the detour is told the detour's port"
    );
}

#[test]
fn the_tls_listener_refuses_a_client_without_a_certificate() {
    let broker = Broker::shared();
    let anonymous = barnabas_tests::certs::ClientFiles {
        own: None,
        ..broker.tls_client()
    };
    let answer = Connection::open_tls(&broker.site().tls_address, &anonymous)
        .and_then(|mut c| c.metadata(Some(&[])));
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
