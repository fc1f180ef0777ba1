//! Promise: the OpenAPI document that a bridge serves is all that it serves, and every answer is as the document says.

use std::collections::BTreeSet;
use std::process::Command;

use barnabas_tests::broker::Broker;
use barnabas_tests::gateway::{Gateway, Home, Settings};
use barnabas_tests::process::Finished;
use barnabas_tests::rest::Http;
use barnabas_tests::scratch::{Scratch, root, target};
use serde_json::Value;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// A gateway whose bridge takes everybody, in the clear.
fn open_bridge(broker: &Broker) -> Gateway {
    let settings = Settings::new(broker.address());
    Gateway::start(&Home::new(), settings.with_rest(&["anonymous: accept", "limits: { request_timeout: 10s }"]))
}

fn document(http: &mut Http) -> Value {
    let answer = http.get("/openapi.json").is(200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

/// A path with something in the place of every parameter.
fn filled(path: &str, cluster: &str) -> String {
    let mut filled = path.replace("{cluster_id}", cluster);
    while let (Some(start), Some(end)) = (filled.find('{'), filled.find('}')) {
        filled.replace_range(start..=end, "7");
    }
    filled
}

#[test]
fn what_is_described_is_served_and_nothing_else_is() {
    let gateway = open_bridge(Broker::shared());
    let mut http = Http::plain(&gateway.rest());
    let document = document(&mut http);
    let cluster = http.get("/v3/clusters").is(200).json()["data"][0]["cluster_id"].as_str().unwrap().to_owned();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() >= 60, "{} paths", paths.len());
    for (path, operations) in paths {
        let places =
            if path.starts_with("/v3/") { vec![path.clone(), format!("/kafka{path}")] } else { vec![path.clone()] };
        for (place, method) in places.iter().flat_map(|place| METHODS.map(|method| (place, method))) {
            let mut http = Http::plain(&gateway.rest());
            let answer = http.ask(method, &filled(place, &cluster), &[("accept", "*/*")], b"");
            if operations.get(method.to_lowercase()).is_none() {
                assert_eq!(answer.status, 405, "{method} {place} is served and not described: {}", answer.text());
                continue;
            }
            let text = answer.text();
            assert!(
                answer.status != 405 && !text.contains("HTTP 404 Not Found"),
                "{method} {place} is not served: {text}"
            );
            assert!(answer.status < 500, "{method} {place}: {} {text}", answer.status);
        }
    }
}

#[test]
fn the_document_holds_together() {
    let gateway = open_bridge(Broker::shared());
    let mut http = Http::plain(&gateway.rest());
    let document = document(&mut http);
    let mut ids = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap().iter().filter(|(name, _)| *name != "servers") {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{method} {path}");
            let wanted = path.matches('{').count();
            let named = operation["parameters"]
                .as_array()
                .map_or(0, |all| all.iter().filter(|one| one["in"] == "path").count());
            assert_eq!(wanted, named, "{method} {path}");
            let takes_key = operation.to_string().contains("#/components/parameters/IdempotencyKey");
            assert_eq!(takes_key, method == "post", "{method} {path}");
        }
    }
    let mut left = vec![&document];
    while let Some(value) = left.pop() {
        match value {
            Value::Object(members) => {
                if let Some(place) = members.get("$ref").and_then(Value::as_str) {
                    assert!(document.pointer(place.trim_start_matches('#')).is_some(), "{place} leads nowhere");
                }
                left.extend(members.values());
            }
            Value::Array(elements) => left.extend(elements),
            _ => {}
        }
    }
}

#[test]
fn the_documentation_page_needs_no_other_host() {
    let gateway = open_bridge(Broker::shared());
    let mut http = Http::plain(&gateway.rest());
    let page = http.get("/docs").is(200);
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let program = http.get("/docs/page.js").is(200);
    for text in [page.text(), program.text()] {
        assert!(!text.contains("//cdn") && !text.contains("http://") && !text.contains("https://"), "{text}");
    }
    assert!(page.text().contains("docs/page.js") && program.text().contains("openapi.json"));
}

#[test]
fn calls_by_the_document_and_against_it_find_no_server_error() {
    // Its own: the calls change settings of brokers and delete topics.
    let broker = Broker::start(&[]);
    let mut gateway = open_bridge(&broker);
    gateway.expect_in_log("_refused");
    let topic = broker.topic("open", 1);
    let url = format!("http://{}", gateway.rest());
    let mut http = Http::plain(&gateway.rest());
    let cluster = http.get("/v3/clusters").is(200).json()["data"][0]["cluster_id"].as_str().unwrap().to_owned();
    let folder = Scratch::new("schemathesis");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(root().join("tests/schemathesis/run.sh"));
        command.args(arguments).current_dir(folder.path()).env("CLIENTS", target().join("clients"));
        Finished::run("schemathesis", &command, b"", std::time::Duration::from_secs(1200), folder.path())
    };
    run(&["install"]).ok();
    let done = run(&[&url, &cluster, &topic]);
    assert!(done.status.success(), "{}\n{}", done.stdout, done.stderr);
    assert!(done.stdout.contains("Tested: ") && !done.stdout.contains("Tested: 0"), "{}", done.stdout);
}
