//! Promise: programs that speak the v3 API of Kafka's REST proxies work on us as they are, and write under their own keys.
//!
//! Long, because an API has many resources and each is shown here once.

use barnabas_tests::broker::Broker;
use barnabas_tests::certs::ClientFiles;
use barnabas_tests::clients::record::{blob, numbered};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::rest::{Answer, Http};
use barnabas_tests::site::{Site, key_id, secret};
use barnabas_tests::wait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rdkafka::consumer::{CommitMode, Consumer as _};
use serde_json::{Value, json};

const JSON: &str = "application/json";

fn site() -> Site {
    Site::with(Broker::shared(), |settings| settings.with_rest(&["cors: { origins: [\"https://app.example.com\"] }"]))
}

fn caller(site: &mut Site, name: &str) -> (ClientFiles, Http) {
    let files = site.authority.client(name);
    let http = Http::tls(&site.gateway.rest(), &files);
    (files, http)
}

/// `/v3/clusters/{id}` of the one cluster.
fn cluster(http: &mut Http) -> String {
    let id = http.get("/v3/clusters").is(200).json()["data"][0]["cluster_id"].as_str().unwrap().to_owned();
    format!("/v3/clusters/{id}")
}

/// The lines of an answer to a stream.
fn lines(answer: &Answer) -> Vec<Value> {
    answer
        .text()
        .split("\r\n")
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn codes(answer: &Answer) -> Vec<i64> {
    lines(answer).iter().map(|line| line["error_code"].as_i64().unwrap()).collect()
}

#[test]
fn the_cluster_and_its_brokers_are_shown_with_addresses_that_lead_back() {
    let mut site = site();
    let (_, mut alice) = caller(&mut site, "alice");
    let list = alice.get("/v3/clusters").is(200).json();
    assert_eq!((&list["kind"], &list["metadata"]["next"]), (&json!("KafkaClusterList"), &Value::Null));
    let shown = &list["data"][0];
    let (id, host) = (shown["cluster_id"].as_str().unwrap().to_owned(), site.gateway.rest());
    assert_eq!(shown["kind"], "KafkaCluster");
    assert_eq!(shown["metadata"]["self"], format!("https://{host}/v3/clusters/{id}"));
    assert_eq!(shown["metadata"]["resource_name"], format!("crn:///kafka={id}"));
    // Every link of a resource leads to an answer.
    for link in ["controller", "brokers", "topics", "consumer_groups", "broker_configs", "partition_reassignments"] {
        let related = shown[link]["related"].as_str().unwrap();
        alice.get(related.strip_prefix(&format!("https://{host}")).unwrap()).is(200);
    }
    let broker = alice.get(&format!("/v3/clusters/{id}/brokers/1")).is(200).json();
    assert_eq!(
        (&broker["kind"], &broker["broker_id"], &broker["host"]),
        (&json!("KafkaBroker"), &json!(1), &Value::Null)
    );
    assert!(!alice.get(&format!("/v3/clusters/{id}/brokers")).text().contains("127.0.0.1"));
    // The same below /kafka, with links that stay there.
    let other = alice.get(&format!("/kafka/v3/clusters/{id}")).is(200).json();
    assert_eq!(other["topics"]["related"], format!("https://{host}/kafka/v3/clusters/{id}/topics"));
    alice.get("/v3/clusters/another").is_error(404, 404);
    alice.get(&format!("/v3/clusters/{id}/brokers/7")).is_error(404, 404);
    alice.get(&format!("/v3/clusters/{id}/brokers/x")).is_error(404, 404);
}

#[test]
fn a_topic_is_made_shown_grown_configured_and_deleted() {
    let mut site = site();
    let (_, mut alice) = caller(&mut site, "alice");
    let name = barnabas_tests::scratch::unique("open-v3");
    let topics = format!("{}/topics", cluster(&mut alice));
    let body = |more: Value| {
        let mut body = json!({ "topic_name": name, "partitions_count": 2, "replication_factor": 1 });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string()
    };
    let looked = alice.post(&topics, JSON, body(json!({ "validate_only": true }))).is(200).json();
    assert_eq!(looked["partitions_count"], 2);
    alice.get(&format!("{topics}/{name}")).is_error(404, 40403);
    let configs = json!({ "configs": [{ "name": "cleanup.policy", "value": "compact" }] });
    let made = alice.post(&topics, JSON, body(configs.clone())).is(201);
    assert_eq!(made.header("location"), made.json()["metadata"]["self"].as_str());
    alice.post(&topics, JSON, body(configs)).is_error(400, 40002);

    let topic = format!("{topics}/{name}");
    // The controller says yes; the broker that is asked may hear of it later. So below.
    wait::until_true("the topic is shown", || alice.get(&topic).status == 200);
    let shown = alice.get(&topic).is(200).json();
    assert_eq!((&shown["kind"], &shown["topic_name"]), (&json!("KafkaTopic"), &json!(name)));
    let counts = |shown: &Value| (shown["partitions_count"].clone(), shown["replication_factor"].clone());
    assert_eq!((counts(&shown), &shown["is_internal"]), ((json!(2), json!(1)), &json!(false)));
    let listed = alice.get(&topics).is(200).json();
    assert!(listed["data"].as_array().unwrap().contains(&shown));

    let grown = alice.ask("PATCH", &topic, &[("content-type", JSON)], br#"{"partitions_count":3}"#).is(200).json();
    assert_eq!(counts(&grown), (json!(3), json!(1)));
    alice.ask("PATCH", &topic, &[("content-type", JSON)], br#"{"partitions_count":1}"#).is_error(400, 40002);
    let mut partitions = Value::Null;
    wait::until_true("the new partition is shown", || {
        partitions = alice.get(&format!("{topic}/partitions")).is(200).json();
        partitions["data"].as_array().is_some_and(|shown| shown.len() == 3)
    });
    let partition = alice.get(&format!("{topic}/partitions/2")).is(200).json();
    assert_eq!(partition, partitions["data"][2]);
    assert!(partition["leader"]["related"].as_str().unwrap().ends_with("/partitions/2/replicas/1"));
    let replica = alice.get(&format!("{topic}/partitions/2/replicas/1")).is(200).json();
    assert_eq!((&replica["is_leader"], &replica["is_in_sync"]), (&json!(true), &json!(true)));
    assert_eq!(alice.get(&format!("{topic}/partitions/2/replicas")).is(200).json()["data"], json!([replica]));
    assert_eq!(alice.get(&format!("{topic}/partitions/-/reassignment")).is(200).json()["data"], json!([]));
    alice.get(&format!("{topic}/partitions/2/reassignment")).is_error(404, 404);
    alice.get(&format!("{topic}/partitions/3")).is_error(404, 40403);
    alice.get(&format!("{topic}/partitions/2/replicas/9")).is_error(404, 404);

    alice.ask("DELETE", &topic, &[], b"").is(204);
    wait::until_true("the topic is gone", || alice.get(&topic).status == 404);
    alice.get(&topic).is_error(404, 40403);
    alice.ask("DELETE", &topic, &[], b"").is_error(404, 40403);
}

#[test]
fn settings_are_shown_set_taken_away_and_changed_together() {
    let mut site = site();
    let topic = site.open_topic(1);
    let (_, mut alice) = caller(&mut site, "alice");
    let cluster = cluster(&mut alice);
    let configs = format!("{cluster}/topics/{topic}/configs");
    let one = format!("{configs}/delete.retention.ms");
    let shown = alice.get(&one).is(200).json();
    assert_eq!(
        (&shown["kind"], &shown["is_default"], &shown["source"]),
        (&json!("KafkaTopicConfig"), &json!(true), &json!("DEFAULT_CONFIG"))
    );
    assert_eq!((&shown["name"], &shown["topic_name"]), (&json!("delete.retention.ms"), &json!(topic)));
    alice.ask("PUT", &one, &[("content-type", JSON)], br#"{"value":"12345"}"#).is(204);
    let value = |http: &mut Http| http.get(&one).is(200).json();
    wait::until_true("the setting is the broker's", || value(&mut alice)["value"] == "12345");
    assert_eq!(value(&mut alice)["source"], "DYNAMIC_TOPIC_CONFIG");
    alice.ask("DELETE", &one, &[], b"").is(204);
    wait::until_true("the default applies", || value(&mut alice)["is_default"] == true);
    let changes = json!({ "data": [
        { "name": "delete.retention.ms", "value": "777" },
        { "name": "cleanup.policy", "value": "compact", "operation": "SET" },
        { "name": "segment.ms", "operation": "DELETE" },
    ] });
    alice.post(&format!("{configs}:alter"), JSON, changes.to_string()).is(204);
    wait::until_true("both are the broker's", || {
        alice.get(&format!("{configs}/cleanup.policy")).json()["value"] == "compact"
    });
    // Looked at only.
    let mut looked = changes.clone();
    looked["validate_only"] = json!(true);
    looked["data"] = json!([{ "name": "delete.retention.ms", "value": "778" }]);
    alice.post(&format!("{configs}:alter"), JSON, looked.to_string()).is(204);
    assert_eq!(value(&mut alice)["value"], "777");
    let wrong = json!({ "data": [{ "name": "delete.retention.ms", "value": "soon" }] });
    alice.post(&format!("{configs}:alter"), JSON, wrong.to_string()).is_error(400, 40002);
    let list = alice.get(&configs).is(200).json();
    assert!(list["data"].as_array().unwrap().len() > 10);
    alice.get(&format!("{configs}/no.such.setting")).is_error(404, 404);
    alice.get(&format!("{cluster}/topics/nobody-made-this/configs")).is_error(404, 40403);

    // Several topics at once; of what does not work each topic is told.
    let other = site.open_topic(1);
    let of = |topic: &str, value: &str| json!({ "topic_name": topic, "configs": [{ "name": "segment.ms", "value": value }] });
    let several = format!("{cluster}/topics/-/configs:alter");
    let both = json!({ "data": [of(&topic, "100000"), of(&other, "200000")] });
    alice.post(&several, JSON, both.to_string()).is(204);
    for (topic, value) in [(&topic, "100000"), (&other, "200000")] {
        let path = format!("{cluster}/topics/{topic}/configs/segment.ms");
        barnabas_tests::wait::until_true("it is the broker's", || alice.get(&path).json()["value"] == value);
    }
    let some = json!({ "data": [of(&topic, "100001"), of("nobody-made-this", "1"), of(&other, "soon")] });
    let failures = alice.post(&several, JSON, some.to_string()).is(207).json()["failures"].clone();
    let told = |index: usize| (failures[index]["topic_name"].clone(), failures[index]["error_code"].clone());
    assert_eq!(told(0), (json!("nobody-made-this"), json!(40403)));
    assert_eq!(told(1), (json!(other), json!(40002)));
    assert_eq!(failures.as_array().map(Vec::len), Some(2));

    let broker = alice.get(&format!("{cluster}/brokers/1/configs/num.io.threads")).is(200).json();
    assert_eq!((&broker["kind"], &broker["broker_id"]), (&json!("KafkaBrokerConfig"), &json!(1)));
    assert!(!broker["synonyms"].as_array().unwrap().is_empty());
    alice.get(&format!("{cluster}/brokers/1/configs")).is(200);
    alice.get(&format!("{cluster}/brokers/-/configs")).is(200);
    alice.get(&format!("{cluster}/topics/-/configs")).is(200);
    alice.get(&format!("{cluster}/brokers/8/configs")).is_error(404, 404);
    let all = format!("{cluster}/broker-configs/log.cleaner.threads");
    let wanted = json!({ "data": [{ "name": "log.cleaner.threads", "value": "1" }], "validate_only": true });
    alice.post(&format!("{cluster}/broker-configs:alter"), JSON, wanted.to_string()).is(204);
    alice.ask("PUT", &all, &[("content-type", JSON)], br#"{"value":"1"}"#).is(204);
    wait::until_true("all brokers have it", || alice.get(&all).status == 200);
    assert_eq!(alice.get(&all).json()["source"], "DYNAMIC_DEFAULT_BROKER_CONFIG");
    alice.ask("DELETE", &all, &[], b"").is(204);
}

#[test]
fn records_are_sealed_under_the_posters_own_key_and_told_line_by_line() {
    let mut site = site();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let (alices, mut alice) = caller(&mut site, "alice");
    let records = format!("{}/topics/{topic}/records", cluster(&mut alice));
    let id = records.split('/').nth(3).unwrap().to_owned();

    let one = json!({
        "partition_id": 0, "timestamp": "2026-02-05T19:14:42.123Z",
        "headers": [{ "name": "h", "value": STANDARD.encode("v") }, { "name": "n", "value": null }],
        "key": { "type": "BINARY", "data": STANDARD.encode("k1") },
        "value": { "type": "JSON", "data": { "secret": secret, "n": 1.50 } },
    });
    let answer = alice.post(&records, JSON, one.to_string()).is(200);
    assert_eq!(answer.header("content-type"), Some(JSON));
    let size = json!({ "secret": secret, "n": 1.50 }).to_string().len();
    assert_eq!(
        lines(&answer),
        [json!({
            "error_code": 200, "cluster_id": id, "topic_name": topic, "partition_id": 0, "offset": 0,
            "timestamp": "2026-02-05T19:14:42.123Z",
            "key": { "type": "BINARY", "size": 2 }, "value": { "type": "JSON", "size": size },
        })]
    );
    // Several, with and without anything between them.
    let text = |n: usize| json!({ "value": { "type": "STRING", "data": format!("{secret} {n}") } }).to_string();
    let several = format!(
        "{}{}\n {}\r\n{}",
        text(1),
        text(2),
        text(3),
        json!({ "key": { "type": "STRING", "data": "t" }, "value": null })
    );
    let answer = alice.post(&records, JSON, several).is(200);
    let offsets: Vec<_> = lines(&answer).iter().map(|line| line["offset"].as_i64()).collect();
    assert_eq!(offsets, [Some(1), Some(2), Some(3), Some(4)]);
    let below = format!("/kafka{records}");
    let entry =
        |id: &str, n: usize| json!({ "id": id, "value": { "type": "STRING", "data": format!("{secret} {n}") } });
    let bad = json!({ "id": "bad", "value": { "type": "BINARY", "data": "*" } });
    let batch = json!({ "entries": [entry("a", 5), bad, entry("b", 6)] });
    let answer = alice.post(&format!("{below}:batch"), JSON, batch.to_string()).is(207).json();
    let ids = |list: &str| answer[list].as_array().unwrap().iter().map(|one| one["id"].clone()).collect::<Vec<_>>();
    assert_eq!((ids("successes"), ids("failures")), (vec![json!("a"), json!("b")], vec![json!("bad")]));
    assert_eq!(answer["failures"][0]["error_code"], 422);

    let read = rd::read_all(&site.client("reader"), &topic);
    assert_eq!(read.len(), 7);
    assert_eq!((read[0].record.key.clone(), read[0].record.timestamp), (Some(blob("k1")), 1_770_318_882_123));
    assert_eq!(read[0].record.headers, [("h".to_owned(), Some(blob("v"))), ("n".to_owned(), None)]);
    assert_eq!(read[2].record.value, Some(blob(format!("{secret} 2"))));
    assert_eq!((read[4].record.key.clone(), read[4].record.value.clone()), (Some(blob("t")), None));
    // A Kafka client of the same name has the same key.
    rd::produce(&site.endpoint(&alices), &topic, &[numbered(&secret, 7, 0)], &[]);
    let stored = rd::read_all(&Endpoint::direct(site.broker()), &topic);
    assert_eq!(key_id(&stored[0].record), key_id(&stored[7].record));
    site.assert_sealed(&topic, 8, &secret);
}

#[test]
fn a_stream_stays_open_and_answers_while_it_is_written() {
    let mut site = site();
    let topic = site.open_topic(3);
    let (_, mut alice) = caller(&mut site, "alice");
    let records = format!("{}/topics/{topic}/records", cluster(&mut alice));
    let mut stream = alice.open("POST", &records, &[("content-type", JSON)]);
    let record = |n: usize| json!({ "value": { "type": "STRING", "data": n.to_string() } }).to_string();
    assert_eq!(stream.read_head().unwrap().status, 200);
    let mut told = String::new();
    for n in 0..5 {
        let text = record(n);
        // In two pieces: a record that is not whole is not answered.
        let (begin, end) = text.split_at(7);
        stream.write(begin.as_bytes()).unwrap();
        stream.write(end.as_bytes()).unwrap();
        while told.matches("\r\n").count() <= n {
            told += &String::from_utf8(stream.read().unwrap()).unwrap();
        }
    }
    // Many at once.
    let many: String = (5..2005).map(record).collect();
    stream.write(many.as_bytes()).unwrap();
    stream.finish().unwrap();
    loop {
        let more = stream.read().unwrap();
        if more.is_empty() {
            break;
        }
        told += &String::from_utf8(more).unwrap();
    }
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), 2005);
    let read = rd::read_all(&Endpoint::direct(site.broker()), &topic);
    assert_eq!(read.len(), 2005);
    // Every line speaks of its own record.
    for got in read {
        let n: usize = String::from_utf8(got.record.value.unwrap().0).unwrap().parse().unwrap();
        assert_eq!(
            (told[n]["partition_id"].as_i64(), told[n]["offset"].as_i64()),
            (Some(got.record.partition.into()), Some(got.offset))
        );
    }
    // The connection can be used again.
    alice.get("/v3/clusters").is(200);
}

#[test]
fn a_stream_ends_with_a_line_when_the_password_of_its_caller_is_taken_away() {
    let folder = barnabas_tests::scratch::Scratch::new("people");
    let credentials = format!("basic: {{ credentials: '{}' }}", folder.join("people").display());
    let site = Site::with(Broker::shared(), |settings| {
        let mut settings = settings.with_rest(&[&credentials]);
        settings.tls.as_mut().unwrap().client_auth = barnabas_tests::gateway::ClientAuth::Optional;
        settings
    });
    let added = site.gateway.command(&["credential", "add", "alice"]).ok().stdout;
    let password = added.trim().lines().last().unwrap().trim().to_owned();
    let topic = site.open_topic(1);
    let authorization = format!("Basic {}", STANDARD.encode(format!("alice:{password}")));
    let anonymous = site.authority.anonymous();
    let mut http = Http::tls(&site.gateway.rest(), &anonymous);
    let authorized = [("authorization", authorization.as_str()), ("content-type", JSON)];
    let list = http.ask("GET", "/v3/clusters", &authorized, b"").is(200).json();
    let records = format!("/v3/clusters/{}/topics/{topic}/records", list["data"][0]["cluster_id"].as_str().unwrap());
    let mut stream = http.open("POST", &records, &authorized);
    let good = r#"{"value":{"type":"BINARY","data":"AAEC"}}"#;
    stream.write(good.as_bytes()).unwrap();
    assert_eq!(stream.read_head().unwrap().status, 200);
    assert!(String::from_utf8(stream.read().unwrap()).unwrap().starts_with(r#"{"error_code":200"#));
    site.gateway.command(&["credential", "remove", "alice"]).ok();
    let last: Value = serde_json::from_slice(&stream.read().unwrap()).unwrap();
    assert_eq!(last["error_code"], 40101);
    assert!(stream.read().unwrap().is_empty(), "the answer has ended");
}

#[test]
fn when_the_gateway_goes_down_all_that_was_taken_is_told_and_then_why() {
    let mut site = site();
    let topic = site.open_topic(1);
    let (_, mut alice) = caller(&mut site, "alice");
    let records = format!("{}/topics/{topic}/records", cluster(&mut alice));
    let mut stream = alice.open("POST", &records, &[("content-type", JSON)]);
    let good = r#"{"value":{"type":"BINARY","data":"AAEC"}}"#;
    stream.write(good.repeat(100).as_bytes()).unwrap();
    assert_eq!(stream.read_head().unwrap().status, 200);
    let mut told = stream.read().unwrap();
    site.gateway.terminate();
    loop {
        match stream.read().unwrap() {
            more if more.is_empty() => break,
            more => told.extend(more),
        }
    }
    let told: Vec<Value> =
        String::from_utf8(told).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (last, of_records) = told.split_last().unwrap();
    assert_eq!(last["error_code"], 50003);
    assert!(of_records.iter().all(|line| line["error_code"] == 200), "{of_records:?}");
    assert_eq!(rd::read_all(&Endpoint::direct(site.broker()), &topic).len(), of_records.len());
}

#[test]
fn more_than_the_queue_holds_is_slowed_down_and_not_refused() {
    let mut site = Site::with(Broker::shared(), |settings| settings.with_rest(&["limits: { max_queued_records: 50 }"]));
    let topic = site.open_topic(2);
    let (_, mut alice) = caller(&mut site, "alice");
    let records = format!("{}/topics/{topic}/records", cluster(&mut alice));
    let good = r#"{"value":{"type":"BINARY","data":"AAEC"}}"#;
    let answer = alice.post(&records, JSON, good.repeat(2000)).is(200);
    assert_eq!(codes(&answer), vec![200; 2000]);
}

#[test]
fn where_a_partition_ends_and_what_may_be_done_with_a_topic_are_told() {
    let mut site = site();
    let topic = site.open_topic(2);
    let (_, mut alice) = caller(&mut site, "alice");
    let cluster = cluster(&mut alice);
    let good = r#"{"partition_id":1,"value":{"type":"BINARY","data":"AAEC"}}"#;
    assert_eq!(
        codes(&alice.post(&format!("{cluster}/topics/{topic}/records"), JSON, format!("{good}{good}"))),
        [200, 200]
    );
    let offset = format!("{cluster}/topics/{topic}/partitions/1/offset");
    for path in [offset.clone(), format!("{offset}?offset_type=earliest_and_latest")] {
        let told = alice.get(&path).is(200).json();
        assert_eq!((&told["earliest_offset"], &told["latest_offset"]), (&json!(0), &json!(2)), "{told}");
        assert_eq!((&told["partition_id"], &told["topic_name"]), (&json!(1), &json!(topic)));
        assert!(told["metadata"]["self"].as_str().is_some_and(|address| address.ends_with("/partitions/1/offset")));
    }
    alice.get(&format!("{offset}?offset_type=latest")).is_error(400, 400);
    alice.get(&format!("{cluster}/topics/{topic}/partitions/2/offset")).is_error(404, 40403);

    let path = format!("{cluster}/topics/{topic}");
    assert!(alice.get(&path).is(200).json().get("authorized_operations").is_none());
    let told = alice.get(&format!("{path}?include_authorized_operations=true")).is(200).json();
    let operations = told["authorized_operations"].as_array().expect("a list").clone();
    assert!(operations.contains(&json!("READ")) && operations.contains(&json!("ALTER_CONFIGS")), "{told}");
    let all = alice.get(&format!("{cluster}/topics?include_authorized_operations=true")).is(200).json();
    assert!(all["data"].as_array().expect("a list").iter().all(|one| one["authorized_operations"].is_array()), "{all}");
    alice.get(&format!("{path}?include_authorized_operations=maybe")).is_error(400, 400);
}

#[test]
fn a_bad_record_has_its_line_and_text_that_is_no_json_ends_the_stream() {
    let mut site = site();
    let topic = site.open_topic(2);
    let (_, mut alice) = caller(&mut site, "alice");
    let records = format!("{}/topics/{topic}/records", cluster(&mut alice));
    let good = r#"{"value":{"type":"BINARY","data":"AAEC"}}"#;
    let bad = [
        (r#"{"value":{"type":"BINARY","data":"*"}}"#, 422),
        (r#"{"value":{"type":"WHAT","data":"x"}}"#, 422),
        (r#"{"value":{"data":"x"}}"#, 422),
        (r#"{"value":{"type":"AVRO","data":1}}"#, 422),
        (r#"{"partition_id":2,"value":{"type":"BINARY","data":"AAEC"}}"#, 40402),
        (r#"{"what":1}"#, 422),
    ];
    let body: String = bad.iter().flat_map(|(text, _)| [good, text, "\n"]).collect();
    let wanted: Vec<i64> = bad.iter().flat_map(|(_, code)| [200, *code]).collect();
    assert_eq!(codes(&alice.post(&records, JSON, body).is(200)), wanted);
    assert_eq!(codes(&alice.post(&records, JSON, format!("{good}[]{good}")).is(200)), [200, 400]);
    let (_, mut alice) = caller(&mut site, "alice");
    assert_eq!(codes(&alice.post(&records, JSON, format!("{good}{{\"value\":nothing}}{good}")).is(200)), [200, 400]);
    let (_, mut alice) = caller(&mut site, "alice");
    assert_eq!(codes(&alice.post(&records, JSON, format!("{good}{{\"value\":")).is(200)), [200, 400]);
    // The truth as a status, for who prefers it.
    let strict = [("content-type", JSON), ("prefer", "strict-status")];
    for (text, code) in bad {
        let answer = alice.ask("POST", &records, &strict, text.as_bytes());
        assert_eq!((answer.status, codes(&answer)), (if code == 40402 { 404 } else { 422 }, vec![code]), "{text}");
    }
    assert_eq!(alice.ask("POST", &records, &strict, good.as_bytes()).status, 200);
    let several = alice.ask("POST", &records, &strict, format!("{good}{}{good}", bad[4].0).as_bytes());
    assert_eq!((several.status, codes(&several)), (404, vec![200, 40402, 200]));
    // A stream: the status is that of its first lines, and it goes on.
    for (first, status, code) in [(good, 200, 200), (bad[4].0, 404, 40402)] {
        let mut stream = alice.open("POST", &records, &strict);
        stream.write(first.as_bytes()).expect("the gateway reads");
        assert_eq!(stream.read_head().expect("an answer").status, status);
        let shows =
            |line: Vec<u8>, code: i64| String::from_utf8_lossy(&line).contains(&format!("\"error_code\":{code}"));
        assert!(shows(stream.read().expect("a line"), code));
        stream.write(good.as_bytes()).expect("the gateway reads");
        assert!(shows(stream.read().expect("a line"), 200));
        stream.finish().expect("the gateway reads");
        assert!(stream.read().expect("an end").is_empty());
    }
    alice.open("POST", &records, &strict).finish().expect("the gateway reads");
    assert_eq!(alice.answer().expect("an answer").status, 400);
}

#[test]
fn what_cannot_be_sent_at_all_is_told_by_the_status() {
    let mut site = site();
    let topic = site.open_topic(1);
    let (_, mut alice) = caller(&mut site, "alice");
    let cluster = cluster(&mut alice);
    let records = format!("{cluster}/topics/{topic}/records");
    let good = r#"{"value":{"type":"BINARY","data":"AAEC"}}"#;
    alice.post(&format!("{cluster}/topics/nobody-made-this/records"), JSON, good).is_error(404, 40403);
    alice.post(&format!("{cluster}/topics/not%20a%20name/records"), JSON, good).is_error(404, 40403);
    alice.post(&format!("/v3/clusters/another/topics/{topic}/records"), JSON, good).is_error(404, 404);
    alice.post(&records, "text/plain", good).is_error(415, 415);
    alice.post(&records, JSON, "").is_error(400, 400);
    alice.post(&records, JSON, " \n").is_error(400, 400);
    alice.post(&format!("{records}:batch"), JSON, "{}").is_error(422, 42208);
    alice.post(&format!("{records}:batch"), JSON, "{").is_error(400, 400);
    let topics = format!("{cluster}/topics");
    alice.post(&topics, JSON, "{").is_error(400, 400);
    alice.post(&topics, JSON, "{}").is_error(422, 422);
    alice.post(&topics, JSON, r#"{"topic_name":"x","what":1}"#).is_error(422, 422);
    alice.post(&topics, JSON, r#"{"topic_name":"open x"}"#).is_error(400, 40002);
    alice.post(&topics, JSON, r#"{"topic_name":"open-x","replication_factor":9}"#).is_error(400, 40002);
    alice.ask("PATCH", &topics, &[], b"").is_error(405, 405);
    alice.get(&format!("{cluster}/nothing")).is_error(404, 404);
    let problem = alice.ask("GET", "/v3/clusters/another", &[("accept", "application/problem+json")], b"");
    assert_eq!((problem.status, problem.header("content-type")), (404, Some("application/problem+json")));
}

#[test]
fn who_may_not_write_hears_it_in_the_line_and_nothing_is_stored() {
    let mut site = site();
    let topic = site.sealed_topic(1);
    site.gateway.expect_in_log("produce_refused");
    site.gateway.expect_in_log("keyring_request_refused");
    let (_, mut mallory) = caller(&mut site, "mallory");
    let records = format!("{}/topics/{topic}/records", cluster(&mut mallory));
    let good = r#"{"value":{"type":"BINARY","data":"AAEC"}}"#;
    assert_eq!(codes(&mallory.post(&records, JSON, good).is(200)), [40301]);
    let strict = [("content-type", JSON), ("prefer", "strict-status")];
    assert_eq!(mallory.ask("POST", &records, &strict, good.as_bytes()).status, 403);
    let (_, mut alice) = caller(&mut site, "alice");
    assert_eq!(codes(&alice.post(&records, JSON, good).is(200)), [200]);
    assert_eq!(rd::read_all(&Endpoint::direct(site.broker()), &topic).len(), 1);
    // The gateway's own topic is nobody's to delete.
    let keyring = format!("{}/topics/{}", cluster(&mut mallory), site.home.keyring_topic());
    mallory.ask("DELETE", &keyring, &[], b"").is_error(403, 40301);
    let retention = format!("{keyring}/configs/retention.ms");
    mallory.ask("PUT", &retention, &[("content-type", JSON)], br#"{"value":"1"}"#).is_error(403, 40301);
}

#[test]
fn groups_their_members_and_their_lags_are_shown() {
    let mut site = site();
    let topic = site.open_topic(2);
    let (_, mut alice) = caller(&mut site, "alice");
    let groups = format!("{}/consumer-groups", cluster(&mut alice));
    let direct = Endpoint::direct(site.broker());
    let sent: Vec<_> = (0..10).map(|n| numbered("x", n, (n % 2) as i32)).collect();
    rd::produce(&direct, &topic, &sent, &[]);
    for protocol in ["classic", "consumer"] {
        let group = format!("{} /ü", barnabas_tests::scratch::unique(protocol));
        let encoded = group.replace(' ', "%20").replace('/', "%2F").replace('ü', "%C3%BC");
        let settings = [("group.protocol", protocol), ("client.id", "reader-7")];
        let consumer = rd::consumer(&direct, &group, &settings);
        consumer.subscribe(&[&topic]).unwrap();
        let got = rd::take(&consumer, 10);
        assert_eq!(got.len(), 10);
        let mut offsets = rdkafka::TopicPartitionList::new();
        offsets.add_partition_offset(&topic, 0, rdkafka::Offset::Offset(5)).unwrap();
        offsets.add_partition_offset(&topic, 1, rdkafka::Offset::Offset(2)).unwrap();
        consumer.commit(&offsets, CommitMode::Sync).unwrap();

        let one = format!("{groups}/{encoded}");
        let shown = alice.get(&one).is(200).json();
        let kind = if protocol == "classic" { "CLASSIC" } else { "CONSUMER" };
        assert_eq!(
            (&shown["kind"], &shown["type"], &shown["state"]),
            (&json!("KafkaConsumerGroup"), &json!(kind), &json!("STABLE"))
        );
        assert_eq!(shown["consumer_group_id"], group);
        assert!(alice.get(&groups).is(200).json()["data"].as_array().unwrap().contains(&shown));
        let members = alice.get(&format!("{one}/consumers")).is(200).json();
        let member = members["data"][0].clone();
        assert_eq!((members["data"].as_array().unwrap().len(), &member["client_id"]), (1, &json!("reader-7")));
        let id = member["consumer_id"].as_str().unwrap();
        let path = format!("{one}/consumers/{}", id.replace('/', "%2F"));
        assert_eq!(alice.get(&path).is(200).json(), member);
        let assigned = alice.get(&format!("{path}/assignments")).is(200).json();
        assert_eq!(assigned["data"].as_array().unwrap().len(), 2);
        let single = alice.get(&format!("{path}/assignments/{topic}/partitions/1")).is(200).json();
        assert_eq!((&single["topic_name"], &single["partition_id"]), (&json!(topic), &json!(1)));

        let lags = alice.get(&format!("{one}/lags")).is(200).json();
        let of =
            |n: usize| ["current_offset", "log_end_offset", "lag"].map(|name| lags["data"][n][name].as_i64().unwrap());
        assert_eq!((of(0), of(1)), ([5, 5, 0], [2, 5, 3]));
        assert_eq!(lags["data"][1]["consumer_id"], id);
        assert_eq!(alice.get(&format!("{one}/lags/{topic}/partitions/1")).is(200).json(), lags["data"][1]);
        let summary = alice.get(&format!("{one}/lag-summary")).is(200).json();
        assert_eq!(
            (&summary["max_lag"], &summary["total_lag"], &summary["max_lag_partition_id"]),
            (&json!(3), &json!(3), &json!(1))
        );
        alice.get(&format!("{path}x")).is_error(404, 404);
        alice.get(&format!("{one}/lags/{topic}/partitions/7")).is_error(404, 404);
    }
    alice.get(&format!("{groups}/nobody")).is_error(404, 40405);
    alice.get(&format!("{groups}/nobody/lags")).is_error(404, 40405);
}

#[test]
fn access_rules_of_the_brokers_are_made_found_and_taken_away() {
    let mut site = site();
    let (_, mut http) = caller(&mut site, "alice");
    let carol = format!("User:{}", barnabas_tests::scratch::unique("carol"));
    let acls = format!("{}/acls", cluster(&mut http));
    let rule = |name: &str| {
        json!({
            "resource_type": "TOPIC", "resource_name": name, "pattern_type": "PREFIXED", "principal": carol,
            "host": "*", "operation": "READ", "permission": "ALLOW",
        })
    };
    let made = http.post(&acls, JSON, rule("carols").to_string()).is(201);
    let batch = json!({ "data": [rule("one"), rule("two")] });
    http.post(&format!("{acls}:batch"), JSON, batch.to_string()).is(201);
    let all = format!("?principal={carol}");
    let count = |http: &mut Http, query: &str| {
        http.get(&format!("{acls}{query}")).is(200).json()["data"].as_array().unwrap().len()
    };
    wait::until_true("all rules are there", || count(&mut http, &all) == 3);
    // Location finds the rule, and no other.
    let location = made.header("location").unwrap().to_owned();
    let path = &location[location.find("/v3/").unwrap()..];
    let found = http.get(path).is(200).json();
    assert_eq!((found["data"].as_array().unwrap().len(), &found["data"][0]["resource_name"]), (1, &json!("carols")));
    assert_eq!(found["data"][0]["kind"], "KafkaAcl");
    assert_eq!(count(&mut http, "?principal=User:dave"), 0);
    assert_eq!(count(&mut http, &format!("{}&operation=read", all.replace(':', "%3A"))), 3);
    http.ask("DELETE", &acls, &[], b"").is_error(400, 400);
    http.get(&format!("{acls}?operation=FLY")).is_error(400, 400);
    let gone = http.ask("DELETE", path, &[], b"").is(200).json();
    assert_eq!(gone["data"], found["data"]);
    wait::until_true("one rule is gone", || count(&mut http, &all) == 2);
    http.post(&acls, JSON, r#"{"resource_type":"TOPIC"}"#).is_error(422, 422);
    let mut any = rule("x");
    any["operation"] = json!("ANY");
    http.post(&acls, JSON, any.to_string()).is_error(400, 400);
}

#[test]
fn web_pages_of_the_listed_origins_may_call_every_route_and_see_every_error() {
    let mut site = site();
    let (_, mut alice) = caller(&mut site, "alice");
    let origin = ("origin", "https://app.example.com");
    for path in [
        "/v3/clusters",
        "/v3/clusters/another",
        "/v3/nowhere",
        "/topics",
        "/topics/nobody-made-this",
        "/livez",
        "/openapi.json",
    ] {
        let asked = [origin, ("access-control-request-method", "GET"), ("access-control-request-headers", "prefer")];
        let preflight = alice.ask("OPTIONS", path, &asked, b"").is(204);
        assert_eq!(preflight.header("access-control-allow-origin"), Some(origin.1), "{path}");
        assert_eq!(preflight.header("access-control-allow-headers"), Some("prefer"), "{path}");
        let answer = alice.ask("GET", path, &[origin], b"");
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin.1), "{path}: {}", answer.status);
        let other = alice.ask("GET", path, &[("origin", "https://evil.example.com")], b"");
        assert_eq!(other.header("access-control-allow-origin"), None, "{path}");
    }
    let refused = alice.ask("POST", "/v3/clusters", &[origin], b"");
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (405, Some(origin.1)));
}
