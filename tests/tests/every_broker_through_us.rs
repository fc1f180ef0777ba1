//! Promise: every broker is reachable through us, also one that appears later, and nothing that we tell a client lets it go round us.

use std::sync::Mutex;
use std::sync::OnceLock;

use kafka_protocol::messages::{ApiVersionsRequest, DescribeClusterRequest, FindCoordinatorRequest};
use kafka_protocol::protocol::StrBytes;

use barnabas_tests::certs::Authority;
use barnabas_tests::clients::Endpoint;
use barnabas_tests::clients::rd;
use barnabas_tests::clients::record::{Sent, assert_same, numbered, shows};
use barnabas_tests::cluster::Cluster;
use barnabas_tests::gateway::{Gateway, Home, Rule, Settings};
use barnabas_tests::scratch::{Scratch, unique};
use barnabas_tests::site::secret;
use barnabas_tests::wait;
use barnabas_tests::wire::Connection;

/// One cluster for the tests of this file, one after the other.
fn cluster() -> std::sync::MutexGuard<'static, Cluster> {
    static CLUSTER: OnceLock<Mutex<Cluster>> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| Mutex::new(Cluster::start(3)));
    cluster.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

struct Three {
    gateway: Gateway,
    authority: Authority,
    _folder: Scratch,
}

impl Three {
    fn before(cluster: &Cluster, change: impl FnOnce(Settings) -> Settings) -> Self {
        let folder = Scratch::new("three");
        let mut authority = Authority::new(folder.path());
        let server = authority.server("gateway", &["*.kafka.test", "kafka.test"]);
        let rule = Rule::sealed_pattern("sealed.*", "User:alice", "User:alice");
        let settings = change(Settings::new(&cluster.bootstrap()).with_tls(&server).with_rule(rule));
        Self { gateway: Gateway::start(&Home::new(), settings), authority, _folder: folder }
    }

    fn alice(&mut self) -> Endpoint {
        Endpoint::tls(&self.gateway.bootstrap(), &self.authority.client("alice"))
    }
}

fn make_topic(cluster: &Cluster, partitions: i32) -> String {
    let topic = unique("sealed");
    let mut direct = Connection::open(&cluster.address(1)).expect("a connection");
    direct.create_topic(&topic, partitions, 3, &[]).expect("a topic");
    topic
}

#[test]
fn leaders_on_three_brokers_are_all_written_and_read_through_us() {
    let cluster = cluster();
    let mut three = Three::before(&cluster, |settings| settings);
    let (topic, secret) = (make_topic(&cluster, 6), secret());
    let records: Vec<Sent> = (0..120).map(|n| numbered(&secret, n, n as i32 % 6)).collect();
    let alice = three.alice();
    rd::produce(&alice, &topic, &records, &[]);
    assert_same(&records, &rd::read_all(&alice, &topic));
    assert_same(&records, &rd::consume(&alice, &topic, &topic, records.len()));
    let stored = rd::read_all(&Endpoint::plain(&cluster.bootstrap()), &topic);
    assert!(stored.len() == 120 && !stored.iter().any(|got| shows(&got.record, &secret)));
    assert!(!cluster.disk_holds(secret.as_bytes()));
}

#[test]
fn no_answer_names_a_brokers_own_address() {
    let cluster = cluster();
    let mut three = Three::before(&cluster, |settings| settings);
    let topic = make_topic(&cluster, 3);
    let alice = three.authority.client("alice");
    let mut connection = Connection::open_tls(&three.gateway.bootstrap(), &alice).expect("a connection");
    let ours = three.gateway.client_ports();
    let is_ours = |host: &str, port: i32| {
        assert!(host == "localhost" && ours.contains(&(port as u16)), "a client is told {host}:{port}");
    };
    for version in 0..=13 {
        let Ok(answer) = connection.call(version, &metadata_request(&topic, version)) else {
            continue;
        };
        assert!(answer.brokers.len() >= 3, "metadata {version}");
        answer.brokers.iter().for_each(|broker| is_ours(&broker.host, broker.port));
    }
    for version in 0..=6 {
        let key = StrBytes::from_static_str("some-group");
        let request = match version {
            0..=3 => FindCoordinatorRequest::default().with_key(key),
            _ => FindCoordinatorRequest::default().with_coordinator_keys(vec![key]),
        };
        wait::until("a coordinator", wait::PATIENCE, || {
            let answer = connection.call(version, &request).expect("an answer");
            if version < 4 {
                (answer.error_code == 0).then(|| is_ours(&answer.host, answer.port))
            } else {
                let one = answer.coordinators.first()?;
                (one.error_code == 0).then(|| is_ours(&one.host, one.port))
            }
        });
    }
    let answer = connection.call(0, &DescribeClusterRequest::default()).expect("an answer");
    assert!(answer.brokers.len() >= 3);
    answer.brokers.iter().for_each(|broker| is_ours(&broker.host, broker.port));
    let versions =
        connection.call(3, &ApiVersionsRequest::default().with_client_software_name(StrBytes::from_static_str("t")));
    let refused = [4, 5, 6, 7, 52, 53, 54, 56, 58, 59, 62, 63, 67, 70];
    let offered = versions.expect("an answer").api_keys;
    assert!(!offered.iter().any(|api| refused.contains(&api.api_key)), "an inter-broker API is offered to clients");
}

#[test]
fn raw_bytes_of_the_answers_hold_no_broker_port_in_text_either() {
    let cluster = cluster();
    let mut three = Three::before(&cluster, |settings| settings);
    let alice = three.authority.client("alice");
    let mut connection = Connection::open_tls(&three.gateway.bootstrap(), &alice).expect("a connection");
    connection.send(12, &metadata_request("any", 12)).expect("sent");
    let answer = connection.read_frame().expect("an answer");
    for port in cluster.ports() {
        assert!(!barnabas_tests::broker::holds(&answer, &i32::from(port).to_be_bytes()), "port {port} in an answer");
    }
}

#[test]
fn a_broker_that_appears_later_is_reachable_without_a_restart() {
    let mut cluster = cluster();
    let mut three = Three::before(&cluster, |settings| settings);
    let alice = three.alice();
    rd::produce(&alice, &make_topic(&cluster, 3), &[numbered("before", 0, 0)], &[]);
    let id = cluster.add_broker();
    let secret = secret();
    let topic = unique("sealed");
    // A partition that only the new broker has.
    let java = barnabas_tests::clients::java::Java::new(&Endpoint::plain(&cluster.bootstrap()));
    let only =
        ["--bootstrap-server", "{bootstrap}", "--create", "--topic", &topic, "--replica-assignment", &id.to_string()];
    java.run("org.apache.kafka.tools.TopicCommand", &[&only[..], &["--config", "min.insync.replicas=1"]].concat(), b"")
        .ok();
    let records: Vec<Sent> = (0..20).map(|n| numbered(&secret, n, 0)).collect();
    rd::produce(&alice, &topic, &records, &[]);
    assert_same(&records, &rd::read_all(&alice, &topic));
    assert!(!cluster.disk_holds(secret.as_bytes()));
}

#[test]
fn one_port_is_enough_when_host_names_tell_the_brokers_apart() {
    let cluster = cluster();
    let sni = ("localhost".to_owned(), "b$(node_id).kafka.test".to_owned());
    let mut three = Three::before(&cluster, |settings| Settings { sni: Some(sni), ..settings });
    three.gateway.expect_in_log("no broker with node id 99");
    let alice = three.authority.client("alice");
    let mut connection = Connection::open_tls(&three.gateway.bootstrap(), &alice).expect("a connection");
    let brokers = connection.metadata(Some(&[])).expect("an answer").brokers;
    let port = three.gateway.client_ports().start;
    for broker in &brokers {
        assert_eq!(broker.host.as_str(), format!("b{}.kafka.test", broker.node_id.0));
        assert_eq!(broker.port, i32::from(port), "one port for all");
    }
    // The names resolve nowhere here, so the connection is made by address with the broker's name in the handshake.
    for broker in &brokers {
        let mut to_broker =
            Connection::open_tls_as(&three.gateway.bootstrap(), &broker.host, &alice).expect("a connection");
        assert!(to_broker.metadata(Some(&[])).is_ok());
    }
    assert!(
        Connection::open_tls_as(&three.gateway.bootstrap(), "b99.kafka.test", &alice)
            .and_then(|mut connection| connection.metadata(Some(&[])))
            .is_err()
    );
}

#[test]
fn a_consumer_that_names_its_rack_reads_from_the_nearest_replica_and_opens_it() {
    let cluster = cluster();
    let mut three = Three::before(&cluster, |settings| settings);
    let (topic, secret) = (make_topic(&cluster, 3), secret());
    let records: Vec<Sent> = (0..60).map(|n| numbered(&secret, n, n as i32 % 3)).collect();
    let alice = three.alice();
    rd::produce(&alice, &topic, &records, &[]);
    for rack in ["r1", "r2", "r3"] {
        // A follower that has the records shows them when its leader has told it that the others have them, too.
        let read = wait::until("the replica shows all records", wait::PATIENCE, || {
            let reading = rd::read(&alice, &topic, &[("client.rack", rack)]);
            assert_eq!(reading.error, None);
            (reading.records.len() >= records.len()).then_some(reading.records)
        });
        assert_same(&records, &read);
    }
    assert!(!cluster.disk_holds(secret.as_bytes()));
}

fn metadata_request(topic: &str, version: i16) -> kafka_protocol::messages::MetadataRequest {
    use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
    let one = MetadataRequestTopic::default().with_name(Some(barnabas_tests::wire::topic_name(topic)));
    let request = kafka_protocol::messages::MetadataRequest::default().with_topics(Some(vec![one]));
    if version >= 4 { request.with_allow_auto_topic_creation(false) } else { request }
}
