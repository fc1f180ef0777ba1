//! The control of the client matrix: every foreign client against the bare broker. What fails here is the client's own limit and belongs
//! in its allow list; only what works here is asked of the gateway, and all of it.

use barnabas_tests::broker::Broker;
use barnabas_tests::clients::foreign::{ALL, Foreign};
use barnabas_tests::clients::record::{assert_same, sample};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::scratch::unique;

#[test]
fn every_client_carries_every_shape_of_record_in_every_codec_it_has() {
    let broker = Broker::shared();
    let mut wrong = Vec::new();
    for name in ALL {
        let client = Foreign::new(name);
        for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
            if !client.can(&format!("codec.{codec}")) {
                continue;
            }
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| round_trip(broker, &client, codec)));
            if done.is_err() {
                wrong.push(format!("{name} {codec}"));
            }
        }
    }
    assert!(wrong.is_empty(), "not on a bare Apache Kafka: {wrong:?}");
}

fn round_trip(broker: &Broker, client: &Foreign, codec: &str) {
    let topic = broker.topic("control", 2);
    let records = client.sayable(&sample("no secret here", 40, 2));
    let direct = Endpoint::direct(broker);
    let placed = client.produce(&direct, &topic, codec, &records);
    assert_eq!(placed.len(), records.len());
    assert_same(&records, &rd::read_all(&direct, &topic));
    assert_same(&records, &client.consume(&direct, &topic, &unique("group"), records.len()));
}
