//! Promise: memory per connection is bounded, whatever a peer sends, and no byte a peer can send makes us panic. The other connections
//! feel nothing: after each attack an ordinary client works.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest, ProduceRequest};

use barnabas_tests::batch::Batch;
use barnabas_tests::broker::Broker;
use barnabas_tests::clients::record::{assert_same, numbered};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::evil::Evil;
use barnabas_tests::gateway::{Gateway, Home, Settings};
use barnabas_tests::scratch::unique;
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wire::{Connection, encode, topic_name};

/// Runs an attack on connections of mallory's, then lets alice work and looks at the process.
fn attack(attack: impl Fn(&dyn Fn() -> Connection)) {
    let mut site = Site::new();
    site.gateway.expect_in_log("User:mallory");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let alice = site.client("alice");
    rd::produce(&alice, &topic, &[numbered(&secret, 0, 0)], &[]);
    let pid = site.gateway.pid();
    let before = site.gateway.resident_bytes();
    let mallory = site.authority.client("mallory");
    let open = || Connection::open_tls(&site.gateway.bootstrap(), &mallory).expect("mallory may connect");
    for _ in 0..2 {
        attack(&open);
    }
    let grown = site.gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB more memory", grown >> 20);
    let records = [numbered(&secret, 0, 0), numbered(&secret, 1, 0)];
    rd::produce(&alice, &topic, &records[1..], &[]);
    assert_same(&records, &rd::read_all(&alice, &topic));
    assert!(site.gateway.is_running() && site.gateway.pid() == pid);
    assert!(!site.gateway.events().iter().any(|event| event.line.contains("panicked")));
    site.assert_sealed(&topic, 2, &secret);
}

#[test]
fn garbage_ends_the_connection() {
    attack(|open| {
        let connection = &mut open();
        let _ = connection.send_raw(b"GET / HTTP/1.1\r\nhost: kafka\r\n\r\n");
        assert!(connection.is_closed_by_peer());
    });
}

#[test]
fn a_giant_or_negative_length_ends_the_connection() {
    for length in [i32::MAX, -1, i32::MIN] {
        attack(|open| {
            let connection = &mut open();
            let _ = connection.send_raw(&length.to_be_bytes());
            let _ = connection.send_raw(&[0; 64]);
            assert!(connection.is_closed_by_peer());
        });
    }
}

#[test]
fn giant_counts_in_a_small_frame_are_refused() {
    let produce = |mut body: BytesMut| {
        body.put_i16(-1);
        body.put_i16(-1);
        body.put_i32(1000);
        body.put_i32(i32::MAX); // topics
        body
    };
    let metadata = |mut body: BytesMut| {
        body.put_i32(0x7fff_fff0); // topics
        body
    };
    let fetch = |mut body: BytesMut| {
        [-1, 500, 1].into_iter().for_each(|number| body.put_i32(number));
        body.put_i32(1 << 30);
        body.put_i8(0);
        body.put_i32(0);
        body.put_i32(-1);
        body.put_i32(i32::MAX); // topics
        body
    };
    attack(|open| {
        let connection = &mut open();
        let _ = connection.send_frame(&produce(head(0, 7)));
        assert!(connection.is_closed_by_peer());
    });
    attack(|open| {
        let connection = &mut open();
        let _ = connection.send_frame(&fetch(head(1, 11)));
        assert!(connection.is_closed_by_peer());
    });
    attack(|open| {
        let connection = &mut open();
        // The broker itself refuses this one; what matters is that we live.
        let _ = connection.send_frame(&metadata(head(3, 4)));
        let _ = connection.is_closed_by_peer();
    });
}

#[test]
fn every_cut_of_a_request_is_harmless() {
    let whole = encode(1, 7, &kafka_protocol::messages::ProduceRequest::default().with_acks(-1).with_timeout_ms(1000));
    attack(|open| {
        let connection = &mut open();
        let _ = connection.call(0, &ApiVersionsRequest::default());
        for cut in 0..whole.len() {
            if connection.send_frame(&whole[..cut]).is_err() {
                break;
            }
        }
        assert!(connection.is_closed_by_peer());
    });
}

#[test]
fn unknown_apis_and_versions_get_an_answer_or_an_end_and_no_way_to_the_broker() {
    attack(|open| {
        for (key, version) in UNKNOWN {
            let mut connection = open();
            let _ = connection.send_frame(&head(key, version));
            // Either an error answer or the end; silence would be a client that hangs.
            let answer = connection.read_frame();
            let is_silent = answer.is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
            assert!(!is_silent, "API {key} version {version} got neither an answer nor an end");
        }
    });
}

#[test]
fn a_slow_drip_holds_up_nobody() {
    attack(|open| {
        let connection = &mut open();
        let frame = encode(1, 4, &MetadataRequest::default());
        let _ = connection.send_raw(&(frame.len() as i32).to_be_bytes());
        let _ = connection.send_raw(&frame[..frame.len() / 2]);
    });
}

#[test]
fn a_decompression_bomb_is_refused() {
    let mut site = Site::new();
    site.gateway.expect_in_log("inflated");
    let topic = site.sealed_topic(1);
    let alice = site.client("alice");
    let before = site.gateway.resident_bytes();
    // 200 MB of zeroes are a few kB of zstd and a few hundred kB of gzip: within any frame limit, beyond the inflated limit.
    let bomb: Vec<_> = (0..200)
        .map(|n| {
            let mut record = numbered("zero", n, 0);
            record.value = Some(barnabas_tests::clients::record::Blob(vec![0; 1_000_000]));
            record
        })
        .collect();
    let settings = [
        ("compression.type", "zstd"),
        ("linger.ms", "3000"),
        ("batch.size", "500000000"),
        ("message.max.bytes", "500000000"),
        ("message.timeout.ms", "60000"),
        ("retries", "0"),
    ];
    let mut producer = rd::Producer::new(&alice, &settings);
    bomb.iter().for_each(|record| producer.send(&topic, record));
    let outcomes = producer.outcomes();
    assert!(outcomes.iter().any(Result::is_err), "200 MB in one batch were taken");
    let grown = site.gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 256 << 20, "{} MiB more memory", grown >> 20);
}

#[test]
fn a_thousand_clients_that_come_at_once_are_all_served_and_cost_little() {
    let mut site = Site::new();
    let mallory = site.authority.client("mallory");
    let before = site.gateway.resident_bytes();
    let bootstrap = site.gateway.bootstrap();
    let started = std::time::Instant::now();
    // Every handshake is whole, none is resumed: the storm after a gateway was started anew.
    let open = || {
        let mut connection = Connection::open_tls(&bootstrap, &mallory).expect("open");
        connection.call(0, &ApiVersionsRequest::default()).expect("an answer");
        connection
    };
    let clients: Vec<Connection> = std::thread::scope(|scope| {
        let storms: Vec<_> = (0..50).map(|_| scope.spawn(|| (0..20).map(|_| open()).collect::<Vec<_>>())).collect();
        storms.into_iter().flat_map(|storm| storm.join().expect("every client is served")).collect()
    });
    let grown = site.gateway.resident_bytes().saturating_sub(before);
    println!("1000 TLS clients in {:?}, {} KiB each", started.elapsed(), grown / 1000 / 1024);
    assert_eq!(clients.len(), 1000);
    assert!(grown / 1000 < 256 << 10, "{} KiB for a connection", grown / 1000 / 1024);
    assert!(site.gateway.metric("barnabas_downstream_connections_open") >= 1000.0);
    let topic = site.open_topic(1);
    let records = [numbered("still here", 0, 0)];
    rd::produce(&site.client("alice"), &topic, &records, &[]);
    assert_same(&records, &rd::read_all(&Endpoint::direct(site.broker()), &topic));
    drop(clients);
    barnabas_tests::wait::until("the connections are given back", Duration::from_secs(60), || {
        (site.gateway.metric("barnabas_downstream_connections_open") < 50.0).then_some(())
    });
}

#[test]
fn a_stranger_may_announce_little_and_a_known_client_what_a_broker_takes() {
    let home = Home::new();
    let mut gateway = Gateway::start(&home, Settings::new(Broker::shared().address()));
    gateway.expect_in_log("limits.max_first_frame_bytes");
    let large = (8i32 << 20).to_be_bytes();
    let mut stranger = Connection::open(&gateway.bootstrap()).expect("open");
    let _ = stranger.send_raw(&large);
    assert!(stranger.is_closed_by_peer(), "8 MiB were taken from a client that nobody knows");
    let mut known = Connection::open(&gateway.bootstrap()).expect("open");
    known.call(0, &ApiVersionsRequest::default()).expect("ApiVersions is answered");
    let _ = known.send_raw(&large);
    barnabas_tests::wait::until_true("the frame has its room", || gateway.metric("barnabas_frame_memory_bytes") > 0.0);
    drop(known);
    barnabas_tests::wait::until_true("the room is given back", || gateway.metric("barnabas_frame_memory_bytes") == 0.0);
}

#[test]
fn many_half_sent_giants_hold_no_more_than_the_memory_and_ordinary_clients_go_on() {
    let limits = [("max_frame_bytes", "8 MiB"), ("max_memory_bytes", "64 MiB"), ("max_connection_bytes", "32 MiB")];
    let mut site = Site::with(Broker::shared(), |settings| {
        let limits = limits.map(|(key, value)| (key.to_owned(), value.to_owned()));
        Settings { limits: limits.to_vec(), ..settings }
    });
    // Whoever stands still while others wait is ended.
    site.gateway.expect_in_log("stands still within a large frame");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let mallory = site.authority.client("mallory");
    let giants: Vec<Connection> = (0..40)
        .map(|_| {
            let mut connection = Connection::open_tls(&site.gateway.bootstrap(), &mallory).expect("open");
            let _ = connection.send_raw(&(8i32 << 20).to_be_bytes());
            let _ = connection.send_raw(&[0; 1000]);
            connection
        })
        .collect();
    barnabas_tests::wait::until_true("giants wait", || site.gateway.metric("barnabas_frame_memory_waits_total") > 30.0);
    let held = site.gateway.metric("barnabas_frame_memory_bytes");
    assert!(held > 0.0 && held <= f64::from(64 << 20), "{held} bytes are held");
    let alice = site.client("alice");
    let records: Vec<_> = (0..200).map(|n| numbered(&secret, n, 0)).collect();
    rd::produce(&alice, &topic, &records, &[]);
    assert_same(&records, &rd::read_all(&alice, &topic));
    site.gateway.wait_for_log("stands still within a large frame");
    drop(giants);
    barnabas_tests::wait::until_true("all is given back", || site.gateway.metric("barnabas_frame_memory_bytes") == 0.0);
}

#[test]
fn topics_and_partitions_that_do_not_exist_make_no_keys() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let files = site.authority.client("alice");
    let alice = site.endpoint(&files);
    rd::produce(&alice, &topic, &[numbered(&secret, 0, 0)], &[]);
    let streams = |site: &Site| site.gateway.command(&["stream", "list", "--output", "json"]).ok().stdout;
    let made = |site: &Site| {
        let is_made = |line: &str| line.contains("session_announced") || line.contains("steward_granted");
        site.gateway.events().iter().filter(|event| is_made(&event.line)).count()
    };
    let before = made(&site);
    let mut connection = Connection::open_tls(&site.gateway.bootstrap(), &files).expect("open");
    let invented = unique("sealed-invented");
    for n in 0..20 {
        let name = format!("{invented}-{n}");
        assert_eq!(produce_to(&mut connection, &name, 0), UNKNOWN_TOPIC_OR_PARTITION);
    }
    for index in [1, 99, -1, i32::MAX] {
        assert_eq!(produce_to(&mut connection, &topic, index), UNKNOWN_TOPIC_OR_PARTITION, "partition {index}");
    }
    assert!(!streams(&site).contains(&invented), "a topic that does not exist has a stream");
    assert_eq!(made(&site), before, "the keyring has grown");
    // What a broker makes when a client asks for it exists from then on.
    let made = unique("sealed-made");
    let records = [numbered(&secret, 1, 0)];
    rd::produce(&alice, &made, &records, &[]);
    assert_same(&records, &rd::read_all(&alice, &made));
    assert!(streams(&site).contains(&made));
    site.assert_sealed(&made, 1, &secret);
}

/// The error code of one partition without records worth mentioning.
fn produce_to(connection: &mut Connection, topic: &str, index: i32) -> i16 {
    let partition = PartitionProduceData::default().with_index(index).with_records(Some(Batch::of_value("x")));
    let data = TopicProduceData::default().with_name(topic_name(topic)).with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(5000).with_topic_data(vec![data]);
    let answer = connection.call(9, &request).expect("an answer");
    answer.responses[0].partition_responses[0].error_code
}

/// Kafka's error code.
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;

#[test]
fn a_broker_that_says_nothing_is_given_up_and_the_client_hears_of_it() {
    let broker = Broker::shared();
    let evil = Evil::start(broker.detour());
    let address = evil.address();
    let mut site = Site::with(broker, |settings| {
        let limits = vec![("answer_timeout".to_owned(), "1s".to_owned())];
        Settings { upstream: address, limits, ..settings }
    });
    site.gateway.expect_in_log("");
    let topic = site.open_topic(1);
    let files = site.authority.client("alice");
    let mut connection = Connection::open_tls(&site.gateway.bootstrap(), &files).expect("open");
    connection.metadata(Some(&[&topic])).expect("the broker is honest");
    evil.on_answer(3, |_| Vec::new());
    assert!(connection.metadata(Some(&[&topic])).is_err());
    assert!(connection.is_closed_by_peer(), "the client waits for ever");
    site.gateway.wait_for_log("limits.answer_timeout");
    evil.be_honest();
    let records = [numbered(&secret(), 0, 0)];
    rd::produce(&site.endpoint(&files), &topic, &records, &[]);
}

fn head(key: i16, version: i16) -> BytesMut {
    let mut body = BytesMut::new();
    body.put_i16(key);
    body.put_i16(version);
    body.put_i32(1);
    body.put_i16(-1);
    body
}

/// Inter-broker APIs, APIs that do not exist, versions that do not exist.
const UNKNOWN: [(i16, i16); 9] =
    [(4, 0), (7, 0), (58, 0), (99, 0), (-1, 0), (0, 99), (1, 99), (3, -1), (i16::MAX, i16::MAX)];

#[test]
fn a_broker_that_answers_garbage_ends_that_connection_and_no_other() {
    let lies: [fn(Vec<u8>) -> Vec<u8>; 5] = [
        |_| b"\x7f\xff\xff\xff giant".to_vec(),
        |_| vec![0xff; 4],
        |frame| frame[..frame.len() / 2].to_vec(),
        |mut frame| {
            let middle = frame.len() / 2;
            frame[middle..].fill(0xff);
            frame
        },
        |mut frame| {
            frame[4..8].fill(0x7f); // an answer to a request that nobody sent
            frame
        },
    ];
    let broker = Broker::shared();
    for key in [0, 1, 3] {
        let evil = Evil::start(broker.detour());
        let mut site = Site::behind(&evil);
        site.gateway.expect_in_log("");
        let (topic, secret) = (site.sealed_topic(1), secret());
        let alice = site.client("alice");
        rd::produce(&alice, &topic, &[numbered(&secret, 0, 0)], &[]);
        let pid = site.gateway.pid();
        for lie in lies {
            evil.on_answer(key, lie);
            let mut producer = rd::Producer::new(&alice, &[("message.timeout.ms", "2000")]);
            producer.send(&topic, &numbered(&secret, 1, 0));
            let _ = producer.outcomes();
            evil.be_honest();
        }
        assert!(!rd::read_all(&site.client("reader"), &topic).is_empty());
        assert!(site.gateway.is_running() && site.gateway.pid() == pid);
        let events = site.gateway.events();
        assert!(!events.iter().any(|event| event.line.contains("panicked")));
    }
}
