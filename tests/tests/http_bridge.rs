//! Promise: who speaks HTTPS writes under a key of its own, like any Kafka client, and hears the truth about every record.

use barnabas_tests::broker::Broker;
use barnabas_tests::certs::ClientFiles;
use barnabas_tests::clients::record::blob;
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::evil::Evil;
use barnabas_tests::rest::Http;
use barnabas_tests::site::{Site, key_id, secret};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

const BINARY: &str = "application/vnd.kafka.binary.v2+json";
const JSON: &str = "application/vnd.kafka.json.v2+json";
const TEXT: &str = "application/vnd.kafka.text.v2+json";
const V2: &str = "application/vnd.kafka.v2+json";

fn site() -> Site {
    site_with(&[])
}

fn site_with(keys: &[&str]) -> Site {
    Site::with(Broker::shared(), |settings| settings.with_rest(keys))
}

fn caller(site: &mut Site, name: &str) -> (ClientFiles, Http) {
    let files = site.authority.client(name);
    let http = Http::tls(&site.gateway.rest(), &files);
    (files, http)
}

#[test]
fn what_is_posted_is_sealed_under_the_posters_own_key_and_read_by_kafka_clients() {
    let mut site = site();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let (alices, mut alice) = caller(&mut site, "alice");
    let (_, mut writer) = caller(&mut site, "writer-2");

    let record = json!({ "key": STANDARD.encode("k1"), "value": STANDARD.encode(format!("{secret} binary")) });
    let answer = alice.post(&format!("/topics/{topic}"), BINARY, json!({ "records": [record] }).to_string()).is(200);
    assert_eq!(answer.header("content-type"), Some(V2));
    assert_eq!(
        answer.text(),
        r#"{"offsets":[{"partition":0,"offset":0,"error_code":null,"error":null}],"key_schema_id":null,"value_schema_id":null}"#
    );
    let value = json!({ "secret": secret, "n": 1.50 });
    let records = json!({ "records": [{ "value": value, "headers": [{ "key": "h", "value": STANDARD.encode("v") }] }, { "key": "k", "value": null }] });
    let answer = alice.post(&format!("/topics/{topic}/partitions/0"), JSON, records.to_string()).is(200).json();
    assert_eq!(answer["offsets"][1]["offset"], 2);
    let text =
        json!({ "records": [{ "key": "tk", "value": format!("{secret} text"), "timestamp": 1_700_000_000_000i64 }] });
    writer.post(&format!("/topics/{topic}"), TEXT, text.to_string()).is(200);
    let raw = writer
        .post(&format!("/v1/topics/{topic}/records?key=rk"), "text/plain", format!("{secret} raw"))
        .is(200)
        .json();
    assert_eq!(raw["offset"], 4);
    assert_eq!(raw["topic"], topic);

    let read = rd::read_all(&site.client("reader"), &topic);
    let values: Vec<Option<String>> = read
        .iter()
        .map(|got| got.record.value.as_ref().map(|value| String::from_utf8_lossy(&value.0).into_owned()))
        .collect();
    assert_eq!(values[0].as_deref(), Some(format!("{secret} binary").as_str()));
    assert_eq!(values[1].as_deref().map(|json| json.contains("1.5")), Some(true));
    assert_eq!(values[2], None, "null is a tombstone");
    assert_eq!(values[3].as_deref(), Some(format!("{secret} text").as_str()));
    assert_eq!(values[4].as_deref(), Some(format!("{secret} raw").as_str()));
    assert_eq!(read[1].record.headers, [("h".to_owned(), Some(blob("v")))]);
    assert_eq!(read[3].record.timestamp, 1_700_000_000_000);
    assert_eq!((read[3].record.key.clone(), read[4].record.key.clone()), (Some(blob("tk")), Some(blob("rk"))));

    // A Kafka client of the same name has the same key; another caller has another.
    rd::produce(&site.endpoint(&alices), &topic, &[barnabas_tests::clients::record::numbered(&secret, 5, 0)], &[]);
    let stored = rd::read_all(&Endpoint::direct(site.broker()), &topic);
    let ids: Vec<_> = [0, 1, 3, 4, 5].map(|at: usize| key_id(&stored[at].record)).into_iter().collect();
    assert_eq!((ids[0], ids[2]), (ids[1], ids[3]));
    assert_ne!(ids[0], ids[2], "two callers share a key");
    site.assert_sealed(&topic, 6, &secret);
}

#[test]
fn who_may_not_write_is_refused_and_nothing_is_stored() {
    let mut site = site();
    let topic = site.sealed_topic(1);
    site.gateway.expect_in_log("produce_refused");
    let (_, mut mallory) = caller(&mut site, "mallory");
    let answer = mallory.post(&format!("/topics/{topic}"), BINARY, r#"{"records":[{"value":"AAEC"}]}"#).is(403).json();
    assert_eq!(answer["offsets"][0]["error_code"], 40301);
    assert_eq!(answer["offsets"][0]["offset"], serde_json::Value::Null);
    mallory.post(&format!("/v1/topics/{topic}/records"), "text/plain", "x").is_error(403, 40301);
    let (_, mut alice) = caller(&mut site, "alice");
    alice.post(&format!("/topics/{topic}"), BINARY, r#"{"records":[{"value":"AAEC"}]}"#).is(200);
    // Who was refused is not so for ever, and has hindered nobody.
    let open = site.open_topic(1);
    mallory.post(&format!("/topics/{open}"), BINARY, r#"{"records":[{"value":"AAEC"}]}"#).is(200);
    assert_eq!(rd::read_all(&Endpoint::direct(site.broker()), &topic).len(), 1);
}

#[test]
fn without_a_certificate_there_is_no_connection() {
    let site = site();
    let anonymous = site.authority.anonymous();
    let refused = Http::try_tls(&site.gateway.rest(), &anonymous)
        .and_then(|mut http| http.try_ask("GET", "/topics", &[], b""))
        .expect_err("a caller without a certificate is refused");
    assert!(!refused.to_string().is_empty());
}

#[test]
fn topics_partitions_and_offsets_are_shown() {
    let mut site = site();
    let topic = site.open_topic(3);
    let (_, mut alice) = caller(&mut site, "alice");
    let topics = alice.get("/topics").is(200);
    assert_eq!(topics.header("content-type"), Some(V2));
    assert!(topics.json().as_array().unwrap().contains(&json!(topic)));
    assert_eq!(alice.get("/brokers/").is(200).json(), json!({ "brokers": [1] }));
    let replica = json!({ "broker": 1, "leader": true, "in_sync": true });
    let partition = |n: i32| json!({ "partition": n, "leader": 1, "replicas": [replica] });
    let described = alice.get(&format!("/topics/{topic}")).is(200).json();
    assert_eq!(described["name"], topic);
    assert_eq!(described["partitions"], json!([partition(0), partition(1), partition(2)]));
    assert_eq!(described["configs"]["cleanup.policy"], "delete");
    assert_eq!(alice.get(&format!("/topics/{topic}/partitions")).is(200).json(), described["partitions"]);
    assert_eq!(alice.get(&format!("/topics/{topic}/partitions/2")).is(200).json(), partition(2));
    let two = r#"{"records":[{"partition":1,"value":"AA=="},{"partition":1,"value":""}]}"#;
    alice.post(&format!("/topics/{topic}"), BINARY, two).is(200);
    let offsets = alice.get(&format!("/topics/{topic}/partitions/1/offsets")).is(200).json();
    assert_eq!(offsets, json!({ "beginning_offset": 0, "end_offset": 2 }));
    assert_eq!(alice.get("/").is(200).text(), "{}");
    assert_eq!(alice.get("/livez").is(200).text(), "ok\n");
    alice.get("/readyz").is(200);
}

#[test]
fn every_mistake_has_its_documented_code() {
    let mut site = site();
    let topic = site.open_topic(2);
    let (_, mut alice) = caller(&mut site, "alice");
    let path = format!("/topics/{topic}");
    let good = r#"{"records":[{"value":"AAEC"}]}"#;
    for (body, status, code) in [
        ("{", 400, 400),
        ("", 400, 400),
        (r#"{"records":[]}"#, 422, 422),
        (r#"{"recards":[]}"#, 422, 422),
        (r#"{"records":[{"value":"*"}]}"#, 422, 42206),
        (r#"{"records":[{"partition":-1,"value":"AAEC"}]}"#, 422, 422),
        (r#"{"records":[{"partition":2,"value":"AAEC"}]}"#, 404, 40402),
    ] {
        let answer = alice.post(&path, BINARY, body);
        assert_eq!(
            (answer.status, answer.json()["error_code"].as_u64()),
            (status, Some(code)),
            "{body}: {}",
            answer.text()
        );
    }
    alice.post(&path, "text/html", good).is_error(415, 415);
    alice.post("/topics/nobody-made-this", BINARY, good).is_error(404, 40401);
    alice.post("/topics/not%20a%20name", BINARY, good).is_error(404, 40401);
    alice.post(&format!("{path}/partitions/7"), BINARY, good).is_error(404, 40402);
    alice.get("/topics/nobody-made-this").is_error(404, 40401);
    alice.get("/topics/nobody-made-this/partitions").is_error(404, 40401);
    alice.get(&format!("{path}/partitions/7")).is_error(404, 40402);
    alice.get(&format!("{path}/partitions/7/offsets")).is_error(404, 40402);
    alice.get("/nowhere").is_error(404, 404);
    alice.ask("PATCH", "/topics", &[], b"").is_error(405, 405);
    alice.ask("POST", &path, &[("content-type", BINARY), ("accept", "text/html")], good.as_bytes()).is_error(406, 406);
    alice.ask("POST", &path, &[("content-type", BINARY), ("content-encoding", "gzip")], b"x").is_error(415, 415);
    alice.ask("GET", "/topics", &[("authorization", "Basic YTpi")], b"").is_error(401, 40101);
    let problem = alice.ask("GET", "/topics/nobody-made-this", &[("accept", "application/problem+json")], b"");
    assert_eq!(problem.header("content-type"), Some("application/problem+json"));
    assert_eq!(
        (problem.status, &problem.json()["status"], &problem.json()["error_code"]),
        (404, &json!(404), &json!(40401))
    );
    // The connection has outlived all of it.
    alice.post(&path, BINARY, good).is(200);
}

#[test]
fn what_is_too_large_is_refused_before_it_takes_memory() {
    let mut site = site_with(&[
        "limits: { max_body_bytes: 64 KiB, max_record_bytes: 20000, max_header_bytes: 16 KiB, body_timeout: 1s }",
    ]);
    let topic = site.open_topic(1);
    let (files, mut alice) = caller(&mut site, "alice");
    let path = format!("/v1/topics/{topic}/records");
    alice.post(&path, "text/plain", vec![b'x'; 20_000]).is(200);
    alice.post(&path, "text/plain", vec![b'x'; 20_001]).is_error(413, 413);
    let large = json!({ "records": [{ "value": "x".repeat(20_001) }] }).to_string();
    alice.post(&format!("/topics/{topic}"), TEXT, large).is_error(413, 413);
    let address = site.gateway.rest();
    let mut http = Http::tls(&address, &files);
    http.post(&path, "text/plain", vec![b'x'; 70_000]).is_error(413, 413);
    let mut http = Http::tls(&address, &files);
    // Announced only.
    http.send(format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n").as_bytes()).unwrap();
    http.answer().unwrap().is_error(413, 413);
    let mut http = Http::tls(&address, &files);
    let long = "x".repeat(20_000);
    assert_eq!(http.ask("GET", "/topics", &[("x-long", &long)], b"").status, 431);
    let mut http = Http::tls(&address, &files);
    http.send(format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc").as_bytes()).unwrap();
    http.answer().unwrap().is_error(408, 408);
}

#[test]
fn a_broker_that_is_gone_is_told_in_time_and_nothing_is_acknowledged() {
    let broker = Broker::shared();
    let evil = Evil::start(broker.detour());
    let address = evil.address();
    let mut site = Site::with(broker, |settings| barnabas_tests::gateway::Settings {
        upstream: address,
        ..settings.with_rest(&["limits: { request_timeout: 10s }"])
    });
    let topic = site.open_topic(1);
    let (_, mut alice) = caller(&mut site, "alice");
    let good = r#"{"records":[{"value":"AAEC"},{"value":"AAEC"}]}"#;
    alice.post(&format!("/topics/{topic}"), BINARY, good).is(200);
    evil.cut();
    site.gateway.expect_in_log("unreachable");
    site.gateway.expect_in_log("brokers_unknown");
    site.gateway.expect_in_log("keyring");
    let asked = std::time::Instant::now();
    alice.post(&format!("/topics/{topic}"), BINARY, good).is_error(503, 50003);
    alice.post(&format!("/v1/topics/{topic}/records"), "text/plain", "x").is_error(503, 50003);
    assert!(asked.elapsed().as_secs() < 40, "{:?}", asked.elapsed());
    alice.get("/topics").is_error(503, 50003);
    evil.mend();
    barnabas_tests::wait::until_true("records are taken again", || {
        alice.post(&format!("/topics/{topic}"), BINARY, good).status == 200
    });
    let stored = rd::read_all(&Endpoint::direct(broker), &topic).len();
    assert!(stored >= 4, "what was acknowledged is there: {stored}");
}

#[test]
fn too_much_at_once_is_told_to_come_back_later() {
    let broker = Broker::shared();
    let evil = Evil::start(broker.detour());
    let address = evil.address();
    let limits =
        "limits: { request_timeout: 10s, max_queued_records: 10, max_body_bytes: 64 KiB, max_memory_bytes: 128 KiB }";
    let mut site = Site::with(broker, |settings| barnabas_tests::gateway::Settings {
        upstream: address,
        ..settings.with_rest(&[limits])
    });
    let topic = site.open_topic(1);
    let (files, mut alice) = caller(&mut site, "alice");
    let path = format!("/topics/{topic}");
    let eleven = json!({ "records": vec![json!({ "value": "AAEC" }); 11] }).to_string();
    let refused = alice.post(&path, BINARY, &eleven);
    assert!(refused.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok_and(|after| after >= 1)));
    refused.is_error(429, 429);
    alice.post(&path, BINARY, r#"{"records":[{"value":"AAEC"}]}"#).is(200);
    assert_eq!(rd::read_all(&Endpoint::direct(broker), &topic).len(), 1, "nothing of what was refused is written");

    // Bodies that wait for a broker hold their memory, and no more than there is.
    evil.cut();
    for text in ["unreachable", "brokers_unknown", "keyring"] {
        site.gateway.expect_in_log(text);
    }
    let address = site.gateway.rest();
    let posts: Vec<_> = (0..4)
        .map(|_| {
            let (mut http, path) = (Http::tls(&address, &files), format!("/v1/topics/{topic}/records"));
            std::thread::spawn(move || http.post(&path, "text/plain", vec![b'x'; 60_000]).status)
        })
        .collect();
    let mut statuses: Vec<u16> = posts.into_iter().map(|post| post.join().unwrap()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [429, 429, 503, 503]);
    evil.mend();
    barnabas_tests::wait::until_true("there is room again", || {
        alice.post(&format!("/v1/topics/{topic}/records"), "text/plain", vec![b'x'; 60_000]).status == 200
    });
}

#[test]
fn a_revoked_certificate_ends_its_connection() {
    let broker = Broker::shared();
    let folder = barnabas_tests::scratch::Scratch::new("bridge-crl");
    let mut authority = barnabas_tests::certs::Authority::new(folder.path());
    let server = authority.server("gateway", &[]);
    let list = authority.revoke(&[]);
    let home = barnabas_tests::gateway::Home::new();
    let mut settings = barnabas_tests::gateway::Settings::new(broker.address()).with_tls(&server).with_rest(&[]);
    settings.tls.as_mut().unwrap().crls = vec![list];
    let gateway = barnabas_tests::gateway::Gateway::start(&home, settings);
    let (alice, bob) = (authority.client("alice"), authority.client("bob"));
    let (mut as_alice, mut as_bob) = (Http::tls(&gateway.rest(), &alice), Http::tls(&gateway.rest(), &bob));
    as_alice.get("/topics").is(200);
    as_bob.get("/topics").is(200);
    authority.revoke(&[&bob]);
    barnabas_tests::wait::until_true("bob's connection is ended", || {
        as_bob.try_ask("GET", "/topics", &[], b"").is_err()
    });
    let again = Http::try_tls(&gateway.rest(), &bob).and_then(|mut http| http.try_ask("GET", "/topics", &[], b""));
    assert!(again.is_err(), "a revoked certificate opens no connection");
    as_alice.get("/topics").is(200);
}

#[test]
fn http_2_and_metrics_by_route() {
    let mut site = site();
    let topic = site.open_topic(1);
    let (files, mut alice) = caller(&mut site, "alice");
    let own = files.own.clone().expect("alice has a certificate");
    let url = format!("https://{}/topics/{topic}", site.gateway.rest());
    let mut curl = std::process::Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--http2",
        "--max-time",
        "30",
        "--write-out",
        " %{http_version} %{http_code}",
    ])
    .arg("--cacert")
    .arg(&files.ca)
    .arg("--cert")
    .arg(&own.certificate)
    .arg("--key")
    .arg(&own.private_key)
    .args(["--header", &format!("content-type: {JSON}"), "--data", r#"{"records":[{"value":{"n":1}}]}"#, &url]);
    let said = curl.output().expect("curl runs");
    let said = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.ends_with("} 2 200"), "{said}");
    alice.get("/topics/nobody-made-this").is_error(404, 40401);
    alice.get("/a/path/of/nobody").is_error(404, 404);
    let (_, metrics) = site.gateway.admin("/metrics");
    let lines: Vec<&str> = metrics.lines().filter(|line| line.starts_with("barnabas_rest_requests_total")).collect();
    assert!(lines.contains(&r#"barnabas_rest_requests_total{route="/topics/{topic}",status="2xx"} 1"#), "{lines:#?}");
    assert!(lines.contains(&r#"barnabas_rest_requests_total{route="/topics/{topic}",status="4xx"} 1"#), "{lines:#?}");
    assert!(lines.contains(&r#"barnabas_rest_requests_total{route="unmatched",status="4xx"} 1"#), "{lines:#?}");
    assert!(!metrics.contains(&topic) && !metrics.contains("alice"));
    assert_eq!(site.gateway.metric("barnabas_rest_records_written_total"), 1.0);
}

#[test]
fn a_drain_loses_no_answer() {
    let mut site = site();
    let topic = site.open_topic(2);
    let (files, mut alice) = caller(&mut site, "alice");
    alice.post(&format!("/topics/{topic}"), BINARY, r#"{"records":[{"value":"AAEC"}]}"#).is(200);
    let address = site.gateway.rest();
    let path = format!("/v1/topics/{topic}/records");
    let posting = std::thread::spawn(move || {
        let (mut acknowledged, mut http) = (0, Http::tls(&address, &files));
        while let Ok(answer) = http.try_ask("POST", &path, &[], b"x") {
            acknowledged += usize::from(answer.status == 200);
            if answer.header("connection") == Some("close") {
                break;
            }
        }
        acknowledged
    });
    barnabas_tests::wait::until_true("posts flow", || {
        site.gateway.metric("barnabas_rest_records_written_total") > 50.0
    });
    assert!(site.gateway.terminate().success());
    let acknowledged = posting.join().unwrap();
    let stored = rd::read_all(&Endpoint::direct(site.broker()), &topic).len();
    assert_eq!(stored, acknowledged + 1, "every record that is there was acknowledged, and the other way round");
}

#[test]
fn the_calls_of_the_chapter_do_what_it_says() {
    let mut site = site();
    let topic = site.sealed_topic(1);
    let (files, _) = caller(&mut site, "alice");
    let own = files.own.clone().expect("alice has a certificate");
    let (ca, certificate, key) = (files.ca.display(), own.certificate.display(), own.private_key.display());
    let tls = format!("--cacert {ca} --cert {certificate} --key {key}");
    let chapter = barnabas_tests::scratch::root().join("proxy/src/rest/README.md");
    let chapter = std::fs::read_to_string(chapter).expect("the chapter can be read");
    let block = |mark: &str, name: &str| {
        let (_, rest) = chapter.split_once(&format!("<!-- {mark}: {name} -->\n```"))?;
        Some(rest.split_once('\n')?.1.split_once("\n```")?.0.to_owned())
    };
    let names: Vec<&str> = chapter.split("<!-- call: ").skip(1).filter_map(|rest| rest.split(" -->").next()).collect();
    assert_eq!(
        names,
        ["json", "raw", "event", "tombstone", "offsets", "once", "consumer", "v3", "v3-stream", "v3-topic"]
    );
    for name in names {
        let mut shell = std::process::Command::new("sh");
        shell.arg("-c").arg(block("call", name).expect("a block follows the mark"));
        shell.env("URL", format!("https://{}", site.gateway.rest())).env("TOPIC", &topic).env("TLS", &tls);
        shell.env("GROUP", barnabas_tests::scratch::unique("group"));
        let done = shell.output().expect("a shell runs");
        let (said, mistakes) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success(), "{name}: {said}{mistakes}");
        match block("answer", name) {
            Some(answer) => assert_eq!(said, answer, "{name}"),
            None if name == "v3-topic" => assert!(said.contains(r#""partitions_count":3"#), "{name}: {said}"),
            None => assert!(said.contains(r#""offset":"#), "{name}: {said}"),
        }
    }
    let read = rd::read_all(&site.client("reader"), &topic);
    assert_eq!(read[0].record.value, Some(blob(r#"{"bar": 2.4}"#)));
    assert_eq!(read[2].record.headers, [("unit".to_owned(), Some(blob("bar")))]);
    assert!(read[3].record.headers.contains(&("ce_type".to_owned(), Some(blob("reading")))));
    assert_eq!((read[4].record.key.clone(), read[4].record.value.clone()), (Some(blob("pump-7")), None));
    assert_eq!(read.iter().filter(|got| got.record.key == Some(blob("pump-8"))).count(), 1, "written once");
}
