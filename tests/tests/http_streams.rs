//! Promise: a reader over HTTP gets every record that its principal may read, once and in order, as soon as it is there; when it comes
//! back it goes on where it was; and it is cut off when it may read no more.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use barnabas_tests::broker::Broker;
use barnabas_tests::certs::{Authority, ClientFiles};
use barnabas_tests::clients::rd;
use barnabas_tests::clients::record::{Sent, numbered};
use barnabas_tests::gateway::{Gateway, Home, Settings};
use barnabas_tests::rest::{Http, Lines, Socket};
use barnabas_tests::scratch::Scratch;
use barnabas_tests::site::{Site, secret};

const EVENTS: (&str, &str) = ("accept", "text/event-stream");
const LINES: (&str, &str) = ("accept", "application/x-ndjson");
const JSON: &str = "application/vnd.kafka.json.v2+json";

#[test]
fn a_reader_of_events_gets_what_is_there_and_what_comes_and_resumes_where_it_was() {
    let mut site = site();
    let (topic, secret) = (site.sealed_topic(2), secret());
    let (alice, reader) = (site.client("alice"), site.authority.client("reader-1"));
    let mut sent: Vec<Sent> = (0..6).map(|n| numbered(&secret, n, n as i32 % 2)).collect();
    rd::produce(&alice, &topic, &sent, &[]);

    let mut lines = open(&site, &reader, &format!("/v1/topics/{topic}/events?from=beginning"), &[EVENTS]);
    let first: Vec<_> = (0..4).map(|_| lines.event().expect("an event")).collect();
    let last_id = first.last().expect("four").id.clone();
    drop(lines);

    let path = format!("/v1/topics/{topic}/events");
    let mut lines = open(&site, &reader, &path, &[EVENTS, ("last-event-id", &last_id)]);
    let mut got: Vec<Value> = first.iter().map(|event| serde_json::from_str(&event.data).expect("JSON")).collect();
    for _ in 4..6 {
        got.push(serde_json::from_str(&lines.event().expect("an event").data).expect("JSON"));
    }
    // What comes while it waits; by Kafka and by HTTP.
    sent.push(numbered(&secret, 6, 0));
    rd::produce(&alice, &topic, &sent[6..], &[]);
    got.push(serde_json::from_str(&lines.event().expect("an event").data).expect("JSON"));
    assert_delivered(&got, &sent, &topic);
    let writer = site.authority.client("alice");
    let posted = format!("/v1/topics/{topic}/records?partition=1");
    Http::tls(&site.gateway.rest(), &writer).post(&posted, "text/plain", format!("{secret} posted")).is(200);
    let event: Value = serde_json::from_str(&lines.event().expect("an event").data).expect("JSON");
    assert_eq!(decoded(&event["value"]), format!("{secret} posted").as_bytes());
    site.assert_sealed(&topic, 8, &secret);
}

#[test]
fn lines_of_json_say_the_same_and_a_record_of_another_form_is_told_and_not_left_out() {
    let mut site = site();
    let topic = site.open_topic(1);
    let files = site.authority.client("alice");
    let mut alice = Http::tls(&site.gateway.rest(), &files);
    alice.post(&format!("/topics/{topic}"), JSON, r#"{"records":[{"value":{"n":1.50}},{"value":null}]}"#).is(200);
    alice.post(&format!("/v1/topics/{topic}/records"), "text/plain", "no JSON").is(200);
    alice.post(&format!("/topics/{topic}"), JSON, r#"{"records":[{"key":"k","value":[3]}]}"#).is(200);

    let path = format!("/v1/topics/{topic}/events?from=0:0&format=json&partitions=0");
    let mut lines = open(&site, &files, &path, &[LINES]);
    let got: Vec<Value> = (0..4).map(|_| lines.json().expect("a line")).collect();
    assert_eq!((got[0]["offset"].clone(), got[0]["value"].to_string()), (json!(0), r#"{"n":1.5}"#.to_owned()));
    assert_eq!(got[1]["value"], Value::Null);
    assert_eq!(got[2]["unreadable"]["offset"], 2);
    assert_eq!((&got[3]["key"], &got[3]["value"]), (&json!("k"), &json!([3])));
}

#[test]
fn events_that_were_posted_come_back_as_events_in_whatever_way_they_are_read() {
    let mut site = site();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let files = site.authority.client("alice");
    let mut alice = Http::tls(&site.gateway.rest(), &files);
    let path = format!("/v1/topics/{topic}/records");
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "1"),
        ("ce-type", "reading"),
        ("ce-source", "/pump/7"),
        ("content-type", "application/json"),
    ];
    let event = |id: &str| {
        let data = json!({ "bar": 2.5, "note": secret });
        json!({
            "specversion": "1.0", "id": id, "type": "reading", "source": "/pump/7", "datacontenttype": "application/json",
            "data": data,
        })
    };
    let data = event("1")["data"].to_string();
    alice.ask("POST", &path, &binary, data.as_bytes()).is(200);
    alice.post(&path, "application/cloudevents+json", event("2").to_string()).is(200);
    alice.post(&path, "application/cloudevents-batch+json", json!([event("3"), event("4")]).to_string()).is(200);
    alice.post(&path, "text/plain", format!("{secret} is no event")).is(200);
    let sent: Vec<Value> = ["1", "2", "3", "4"].map(event).to_vec();

    // Once, as a batch: up to what is none; there it is named.
    let batch = ("accept", "application/cloudevents-batch+json");
    let read = format!("/topics/{topic}/partitions/0/records?timeout=10000&offset=");
    let answer = alice.ask("GET", &format!("{read}0"), &[batch], b"").is(200);
    assert_eq!((answer.header("content-type"), answer.header("kafka-next-offset")), (Some(batch.1), Some("4")));
    assert_eq!(answer.json(), json!(sent));
    let refused = alice.ask("GET", &format!("{read}4"), &[batch], b"");
    assert!(refused.text().contains("offset 4"), "{}", refused.text());
    refused.is_error(406, 40601);

    // As they come: each is one event, and the stream goes on behind what is none.
    let path = format!("/v1/topics/{topic}/events?from=beginning&format=cloudevents");
    let mut events = open(&site, &files, &path, &[EVENTS]);
    let mut lines = open(&site, &files, &path, &[LINES]);
    for (offset, sent) in sent.iter().enumerate() {
        let got = events.event().expect("an event");
        assert_eq!((got.id.as_str(), got.name.as_str()), (format!("0:{}", offset + 1).as_str(), ""));
        assert_eq!(serde_json::from_str::<Value>(&got.data).expect("JSON"), *sent);
        assert_eq!(lines.json().expect("a line"), *sent);
    }
    assert_eq!(events.event().expect("an event").name, "unreadable");
    assert_eq!(lines.json().expect("a line")["unreadable"]["offset"], 4);
    alice.post(&format!("/v1/topics/{topic}/records"), "application/cloudevents+json", event("5").to_string()).is(200);
    assert_eq!(lines.json().expect("a line"), event("5"));

    // By a consumer of the v2 API.
    let v2 = "application/vnd.kafka.v2+json";
    let made = alice.post(&format!("/consumers/g-{topic}"), v2, r#"{"auto.offset.reset":"earliest"}"#).is(200).json();
    let own = format!("/consumers/g-{topic}/instances/{}", made["instance_id"].as_str().expect("an id"));
    let one = json!({ "partitions": [{ "topic": topic, "partition": 0 }] }).to_string();
    alice.post(&format!("{own}/assignments"), v2, one).is(204);
    let mut got = Vec::new();
    barnabas_tests::wait::until_true("events come", || {
        let answer = alice.ask("GET", &format!("{own}/records?timeout=5000"), &[batch], b"").is(200);
        got.extend(answer.json().as_array().expect("a list").clone());
        got.len() >= 4
    });
    assert_eq!(got, sent);
    alice.ask("GET", &format!("{own}/records?timeout=5000"), &[batch], b"").is_error(406, 40601);
    alice.ask("DELETE", &own, &[], b"").is(204);
    site.assert_sealed(&topic, 6, &secret);
}

#[test]
fn who_may_not_read_is_refused_before_a_stream_begins() {
    let mut site = site();
    site.gateway.expect_in_log("fetch_refused");
    let (topic, secret) = (site.sealed_topic(1), secret());
    rd::produce(&site.client("alice"), &topic, &[numbered(&secret, 0, 0)], &[]);
    let mallory = site.authority.client("mallory");
    let mut http = Http::tls(&site.gateway.rest(), &mallory);
    http.ask("GET", &format!("/v1/topics/{topic}/events?from=beginning"), &[EVENTS], b"").is_error(403, 40301);
    http.get(&format!("/topics/{topic}/partitions/0/records?offset=0")).is_error(403, 40301);
    let path = format!("/v1/topics/{topic}/events");
    for (query, status, code) in [
        ("?from=yesterday", 400, 400),
        ("?partitions=7", 404, 40402),
        ("?format=avro", 400, 400),
        ("?from=9:9", 404, 40402),
    ] {
        http.ask("GET", &format!("{path}{query}"), &[EVENTS], b"").is_error(status, code);
    }
    http.ask("GET", &path, &[("accept", "image/png")], b"").is_error(406, 406);
    http.ask("GET", "/v1/topics/absent/events", &[EVENTS], b"").is_error(404, 40401);
}

#[test]
fn a_reader_is_cut_off_when_its_grant_is_revoked() {
    let mut site = site();
    site.gateway.expect_in_log("fetch_refused");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let alice = site.client("alice");
    rd::produce(&alice, &topic, &[numbered(&secret, 0, 0)], &[]);
    let reader = site.authority.client("reader-1");
    let mut lines = open(&site, &reader, &format!("/v1/topics/{topic}/events?from=beginning"), &[EVENTS]);
    lines.event().expect("it may read");
    site.gateway.command(&["grant", "revoke", "--topic", &topic, "--principal", "User:reader-1"]).ok();
    rd::produce(&alice, &topic, &[numbered(&secret, 1, 0)], &[]);
    let event = lines.event().expect("it is told");
    assert_eq!(event.name, "error");
    assert!(event.data.contains("40301"), "{}", event.data);
    assert!(lines.line().is_none_or(|line| line.is_empty()), "the stream goes on");
}

#[test]
fn a_reader_is_cut_off_when_its_certificate_is_revoked() {
    let folder = Scratch::new("streams-crl");
    let mut authority = Authority::new(folder.path());
    let server = authority.server("gateway", &[]);
    let list = authority.revoke(&[]);
    let mut settings = Settings::new(Broker::shared().address()).with_tls(&server).with_rest(&[]);
    settings.tls.as_mut().expect("just set").crls = vec![list];
    let gateway = Gateway::start(&Home::new(), settings);
    let topic = Broker::shared().topic("open", 1);
    let bob = authority.client("bob");
    let path = format!("/v1/topics/{topic}/events");
    let (answer, mut lines) = Http::tls(&gateway.rest(), &bob).read_on(&path, &[EVENTS]).expect("an answer");
    assert_eq!(answer.status, 200);
    authority.revoke(&[&bob]);
    while lines.line().is_some() {}
    Http::try_tls(&gateway.rest(), &bob)
        .and_then(|mut http| http.try_ask("GET", "/topics", &[], b""))
        .expect_err("revoked");
}

#[test]
fn a_single_read_returns_at_once_with_a_tag_and_names_a_record_that_is_too_large() {
    let mut site = site();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let sent: Vec<Sent> = (0..3).map(|n| numbered(&secret, n, 0)).collect();
    rd::produce(&site.client("alice"), &topic, &sent, &[]);
    let reader = site.authority.client("reader-1");
    let mut http = Http::tls(&site.gateway.rest(), &reader);
    let path = format!("/topics/{topic}/partitions/0/records");
    let answer = http.get(&format!("{path}?offset=1&timeout=20000")).is(200);
    let records = answer.json();
    assert_delivered(records.as_array().expect("an array"), &sent[1..], &topic);
    assert_eq!((answer.header("etag"), answer.header("kafka-next-offset")), (Some("\"0-1-3\""), Some("3")));
    let known = [("if-none-match", "\"0-1-3\"")];
    assert!(http.ask("GET", &format!("{path}?offset=1"), &known, b"").is(304).body.is_empty());
    assert_eq!(http.get(&format!("{path}?offset=3&timeout=0")).is(200).text(), "[]");
    http.get(&format!("{path}?offset=9&timeout=0")).is_error(416, 416);
    let too_large = http.get(&format!("{path}?offset=2&max_bytes=1"));
    assert!(too_large.text().contains("offset 2"), "{}", too_large.text());
    too_large.is_error(413, 413);
    let accept = [("accept", "application/vnd.kafka.text.v2+json")];
    assert!(http.ask("GET", &format!("{path}?offset=0"), &accept, b"").is(200).text().contains(&secret));
}

#[test]
fn a_drain_ends_streams_and_loses_nothing() {
    let mut site = site();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let alice = site.client("alice");
    rd::produce(&alice, &topic, &[numbered(&secret, 0, 0)], &[]);
    let reader = site.authority.client("reader-1");
    let path = format!("/v1/topics/{topic}/events?from=beginning");
    let mut lines = open(&site, &reader, &path, &[EVENTS]);
    let event = lines.event().expect("an event");
    site.gateway.terminate();
    assert!(lines.line().is_none_or(|line| line.is_empty()));
    site.gateway.restart();
    rd::produce(&site.client("alice"), &topic, &[numbered(&secret, 1, 0)], &[]);
    let mut lines = open(&site, &reader, &path, &[EVENTS, ("last-event-id", &event.id)]);
    let next: Value = serde_json::from_str(&lines.event().expect("an event").data).expect("JSON");
    assert_eq!(next["offset"], 1);
}

fn site() -> Site {
    Site::with(Broker::shared(), |settings| settings.with_rest(&[]))
}

#[track_caller]
fn open(site: &Site, who: &ClientFiles, path: &str, headers: &[(&str, &str)]) -> Lines {
    let (answer, lines) = Http::tls(&site.gateway.rest(), who).read_on(path, headers).expect("an answer");
    assert_eq!(answer.status, 200, "{path}");
    lines
}

/// The records of each partition, in their order, with content and offset.
#[track_caller]
fn assert_delivered(got: &[Value], sent: &[Sent], topic: &str) {
    assert_eq!(got.len(), sent.len());
    for partition in 0..2 {
        let of = |record: &&Value| record["partition"] == partition;
        let wanted = sent.iter().filter(|record| record.partition == partition);
        let first = got.iter().find(of).map_or(0, |record| record["offset"].as_i64().expect("a number"));
        for ((offset, record), sent) in (first..).zip(got.iter().filter(of)).zip(wanted) {
            assert_eq!((&record["topic"], &record["offset"]), (&json!(topic), &json!(offset)));
            let value = sent.value.as_ref().map(|value| value.0.clone());
            assert_eq!(Some(decoded(&record["value"])), value);
        }
    }
}

fn decoded(value: &Value) -> Vec<u8> {
    STANDARD.decode(value.as_str().expect("a string")).expect("base64")
}

#[test]
fn what_a_socket_acknowledges_is_committed_and_the_rest_is_delivered_again() {
    let mut site = site();
    let (topic, secret) = (site.sealed_topic(1), secret());
    let sent: Vec<Sent> = (0..5).map(|n| numbered(&secret, n, 0)).collect();
    rd::produce(&site.client("alice"), &topic, &sent, &[]);
    let reader = site.authority.client("reader-1");
    let path = format!("/v1/topics/{topic}/socket?group=g-{topic}&from=beginning&max_unacknowledged=3");
    let connect = || Http::tls(&site.gateway.rest(), &reader).socket(&path, &[]).expect("a socket");

    let mut socket = connect();
    let got: Vec<Value> = (0..3).map(|_| record(&mut socket)).collect();
    assert_delivered(&got, &sent[..3], &topic);
    // Three are under way: more come after acknowledgements only, and one of what was not delivered is none.
    say(&mut socket, &json!({ "ack": { "partition": 0, "offset": 3 } }));
    assert_eq!(hear(&mut socket)["error_code"], 409);
    say(&mut socket, &json!({ "ack": { "partition": 0, "offset": 1 } }));
    let mut heard = vec![hear(&mut socket), hear(&mut socket), hear(&mut socket)];
    let committed = heard.iter().position(|said| said.get("committed").is_some()).expect("the commit is told");
    assert_eq!(heard.remove(committed), json!({ "committed": [{ "partition": 0, "offset": 2 }] }));
    assert_delivered(&heard, &sent[3..], &topic);
    socket.close(None).expect("closes");
    while socket.read().is_ok() {}

    let mut socket = connect();
    let got: Vec<Value> = (0..3).map(|_| record(&mut socket)).collect();
    assert_delivered(&got, &sent[2..], &topic);
    site.assert_sealed(&topic, 5, &secret);
}

#[test]
fn a_socket_is_not_opened_for_a_foreign_page_nor_without_a_group_and_a_foreign_page_posts_nothing() {
    let mut site = site();
    let topic = site.open_topic(1);
    let alice = site.authority.client("alice");
    let path = format!("/v1/topics/{topic}/socket?group=g");
    let refused = |path: &str, headers: &[(&str, &str)], status: u16| match Http::tls(&site.gateway.rest(), &alice)
        .socket(path, headers)
    {
        Err(error) => match *error {
            tungstenite::Error::Http(answer) => assert_eq!(answer.status().as_u16(), status, "{path}"),
            other => panic!("{other}"),
        },
        Ok(_) => panic!("{path} is opened"),
    };
    refused(&path, &[("origin", "https://evil.example")], 403);
    refused(&format!("/v1/topics/{topic}/socket"), &[], 400);
    refused("/v1/topics/absent/socket?group=g", &[], 404);
    let mut http = Http::tls(&site.gateway.rest(), &alice);
    http.get(&path).is_error(400, 400);
    let foreign = [("origin", "https://evil.example"), ("content-type", "text/plain")];
    http.ask("POST", &format!("/v1/topics/{topic}/records"), &foreign, b"x").is_error(403, 40301);
    assert!(rd::read_all(&barnabas_tests::clients::Endpoint::direct(site.broker()), &topic).is_empty());
}

fn say(socket: &mut Socket, what: &Value) {
    socket.send(tungstenite::Message::text(what.to_string())).expect("sends");
}

/// The next text, whatever it is.
#[track_caller]
fn hear(socket: &mut Socket) -> Value {
    // Pings come all the time.
    for _ in 0..6 {
        if let tungstenite::Message::Text(text) = socket.read().expect("a message") {
            return serde_json::from_str(&text).expect("JSON");
        }
    }
    panic!("nothing is heard");
}

/// The next record; what the group says is passed over.
#[track_caller]
fn record(socket: &mut Socket) -> Value {
    loop {
        let said = hear(socket);
        assert!(said.get("error_code").is_none(), "{said}");
        if said.get("offset").is_some() {
            return said;
        }
    }
}
