//! Promise, for the client that defines what a Kafka client is: Kafka's own tools run unmodified through the gateway.

use barnabas_tests::clients::java::Java;
use barnabas_tests::clients::rd;
use barnabas_tests::clients::record::{assert_same, numbered};
use barnabas_tests::site::{Site, secret};

#[test]
fn the_console_producer_and_consumer_exchange_sealed_records() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let java = Java::new(&site.client("alice"));
    let produce = ["--bootstrap-server", "{bootstrap}", "--topic", &topic, "--command-config", "{config}"];
    let keyed = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=|"];
    let lines: String = (0..50).map(|n| format!("key{n}|{secret} {n}\n")).collect();
    java.run("org.apache.kafka.tools.ConsoleProducer", &[&produce[..], &keyed].concat(), lines.as_bytes()).ok();
    let more = [
        "--from-beginning",
        "--max-messages",
        "50",
        "--formatter-property",
        "print.key=true",
        "--formatter-property",
        "key.separator=|",
    ];
    let consumed =
        java.run("org.apache.kafka.tools.consumer.ConsoleConsumer", &[&produce[..], &more].concat(), b"").ok();
    assert_eq!(consumed.stdout, lines);
    site.assert_sealed(&topic, 50, &secret);
}

#[test]
fn the_verifiable_producer_and_consumer_count_the_same() {
    let mut site = Site::new();
    let topic = site.sealed_topic(2);
    let java = Java::new(&site.client("alice"));
    let produce = [
        "--bootstrap-server",
        "{bootstrap}",
        "--topic",
        &topic,
        "--command-config",
        "{config}",
        "--max-messages",
        "500",
        "--acks",
        "-1",
        "--value-prefix",
        "5",
    ];
    let produced = java.run("org.apache.kafka.tools.VerifiableProducer", &produce, b"").ok();
    assert_eq!(produced.stdout.matches("producer_send_success").count(), 500, "{}", produced.stdout);
    let consume = [
        "--bootstrap-server",
        "{bootstrap}",
        "--topic",
        &topic,
        "--command-config",
        "{config}",
        "--max-messages",
        "500",
        "--group-id",
        &topic,
        "--reset-policy",
        "earliest",
    ];
    let consumed = java.run("org.apache.kafka.tools.VerifiableConsumer", &consume, b"").ok();
    assert!(consumed.stdout.contains("records_consumed"), "{}", consumed.text());
    let read = rd::read_all(&site.client("reader"), &topic);
    assert_eq!(read.len(), 500);
    assert!(read.iter().all(|got| { got.record.value.as_ref().is_some_and(|value| value.0.starts_with(b"5.")) }));
}

#[test]
fn the_performance_tools_run_in_every_codec() {
    let mut site = Site::new();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = site.sealed_topic(2);
        let java = Java::new(&site.client("alice")).with("compression.type", codec);
        let produce = [
            "--bootstrap-server",
            "{bootstrap}",
            "--topic",
            &topic,
            "--command-config",
            "{config}",
            "--num-records",
            "3000",
            "--record-size",
            "512",
            "--throughput",
            "-1",
        ];
        java.run("org.apache.kafka.tools.ProducerPerformance", &produce, b"").ok();
        let consume = [
            "--bootstrap-server",
            "{bootstrap}",
            "--topic",
            &topic,
            "--command-config",
            "{config}",
            "--num-records",
            "3000",
        ];
        let consumed = java.run("org.apache.kafka.tools.ConsumerPerformance", &consume, b"").ok();
        assert!(consumed.stdout.contains(", 3000, "), "{codec}: {}", consumed.text());
        let stored = rd::read_all(&barnabas_tests::clients::Endpoint::direct(site.broker()), &topic);
        assert!(stored.len() == 3000 && stored.iter().all(|got| barnabas_tests::site::is_sealed(&got.record)));
    }
}

#[test]
fn topics_groups_and_offsets_are_administered_as_ever() {
    let mut site = Site::new();
    let alice = site.client("alice");
    let host = alice.bootstrap.split(':').next().expect("a host");
    let java = Java::new(&alice);
    let topic = barnabas_tests::scratch::unique("sealed");
    let at = ["--bootstrap-server", "{bootstrap}", "--command-config", "{config}"];
    let tool = |class: &str, arguments: &[&str]| java.run(class, &[&at[..], arguments].concat(), b"").ok().text();
    tool("org.apache.kafka.tools.TopicCommand", &["--create", "--topic", &topic, "--partitions", "3"]);
    let described = tool("org.apache.kafka.tools.TopicCommand", &["--describe", "--topic", &topic]);
    assert!(described.contains("PartitionCount: 3"), "{described}");
    let records: Vec<_> = (0..30).map(|n| numbered("administered", n, n as i32 % 3)).collect();
    rd::produce(&alice, &topic, &records, &[]);
    let offsets = tool("org.apache.kafka.tools.GetOffsetShell", &["--topic", &topic]);
    assert!(offsets.contains(&format!("{topic}:2:10")), "{offsets}");
    assert_same(&records, &rd::consume(&alice, &topic, &topic, records.len()));
    let group = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
    let listed = tool(group, &["--describe", "--group", &topic]);
    assert!(listed.contains(&topic), "{listed}");
    tool(group, &["--reset-offsets", "--to-earliest", "--execute", "--group", &topic, "--topic", &topic]);
    let versions = tool("org.apache.kafka.tools.BrokerApiVersionsCommand", &[]);
    assert!(versions.contains("Produce(0)") && versions.contains(host), "{versions}");
    tool("org.apache.kafka.tools.TopicCommand", &["--delete", "--topic", &topic]);
}
