//! Promise: who has no Kafka library needs none. curl, Python's requests and a web page use the bridge as they are, and what they write is
//! read by Kafka's own consumer; the broker has only sealed records, under the poster's own key.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use barnabas_tests::broker::Broker;
use barnabas_tests::browser::Browser;
use barnabas_tests::certs::ClientFiles;
use barnabas_tests::clients::java::Java;
use barnabas_tests::clients::record::numbered;
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::process::Finished;
use barnabas_tests::relay::Relay;
use barnabas_tests::rest::Http;
use barnabas_tests::scratch::{Scratch, root, target, unique};
use barnabas_tests::site::{Site, key_id, secret};

#[test]
fn what_curl_posts_is_read_by_kafkas_own_consumer_under_the_posters_key() {
    let mut site = Site::with(Broker::shared(), |settings| settings.with_rest(&[]));
    let (topic, secret) = (site.sealed_topic(1), secret());
    let alice = site.authority.client("alice");
    let url = format!("https://{}/v1/topics/{topic}/records?key=k", site.gateway.rest());
    for n in 0..3 {
        let posted = curl(&alice, &["--data-binary", &format!("{secret} {n}"), &url]);
        assert_eq!(posted["offset"], n, "{posted}");
    }
    let java = Java::new(&site.client("reader-one"));
    let arguments = ["--bootstrap-server", "{bootstrap}", "--topic", &topic, "--command-config", "{config}"];
    let all = ["--from-beginning", "--max-messages", "3"];
    let consumed =
        java.run("org.apache.kafka.tools.consumer.ConsoleConsumer", &[&arguments[..], &all].concat(), b"").ok();
    assert_eq!(consumed.stdout, format!("{secret} 0\n{secret} 1\n{secret} 2\n"));

    // The envelope's writer is who posted: a Kafka client with her certificate has the same session's key, another has not.
    rd::produce(&site.endpoint(&alice), &topic, &[numbered(&secret, 3, 0)], &[]);
    rd::produce(&site.client("writer-one"), &topic, &[numbered(&secret, 4, 0)], &[]);
    let stored = rd::read_all(&Endpoint::direct(site.broker()), &topic);
    let keys: Vec<_> = stored.iter().map(|got| key_id(&got.record)).collect();
    assert_eq!(keys[0], keys[3]);
    assert_ne!(keys[0], keys[4]);
    site.assert_sealed(&topic, 5, &secret);
}

#[test]
fn python_requests_makes_the_calls_of_the_documents_with_a_certificate() {
    let mut site = Site::with(Broker::shared(), |settings| settings.with_rest(&[]));
    let topic = site.sealed_topic(1);
    let alice = site.authority.client("alice");
    let own = alice.own.as_ref().expect("a certificate");
    let folder = Scratch::new("requests");
    let run = |arguments: &[&str]| {
        let mut command = Command::new(root().join("tests/requests/run.sh"));
        command.args(arguments).current_dir(folder.path()).env("CLIENTS", target().join("clients"));
        command.env("CA", &alice.ca).env("CERTIFICATE", &own.certificate).env("KEY", &own.private_key);
        Finished::run("requests", &command, b"", Duration::from_secs(300), folder.path()).ok()
    };
    run(&["install"]);
    let done = run(&[&format!("https://{}", site.gateway.rest()), &topic, &unique("group")]);
    assert_eq!(done.stdout.trim(), r#"{"posted": 8}"#);
    assert_eq!(rd::read_all(&site.client("reader-one"), &topic).len(), 8);
    site.assert_sealed(&topic, 8, "\"foo\"");
}

#[test]
fn a_web_page_is_sent_records_as_they_come() {
    let mut site = Site::with(Broker::shared(), |settings| settings.with_rest(&[]));
    let (topic, secret) = (site.sealed_topic(1), secret());
    let [alice, reader] = ["alice", "reader-one"].map(|name| site.authority.client(name));
    let mut http = Http::tls(&site.gateway.rest(), &alice);
    let records = format!("/v1/topics/{topic}/records");
    http.post(&records, "text/plain", format!("{secret} 0")).is(200);

    let port = site.gateway.rest().rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port");
    let relay = Relay::start(port, &reader);
    let mut browser = Browser::start();
    // A page of the bridge's own origin, as an application behind it would be.
    browser.open(&relay.url("/docs"));
    browser.eval(&format!(
        "window.seen = []; window.source = new EventSource('/v1/topics/{topic}/events?from=beginning&format=text'); \
         window.source.onmessage = (event) => window.seen.push(JSON.parse(event.data).value); true"
    ));
    browser.wait_for("window.seen.length === 1");
    http.post(&records, "text/plain", format!("{secret} 1")).is(200);
    browser.wait_for("window.seen.length === 2");
    assert_eq!(browser.eval("window.seen"), serde_json::json!([format!("{secret} 0"), format!("{secret} 1")]));
    browser.eval("window.source.close(); true");
    site.assert_sealed(&topic, 2, &secret);
}

fn curl(files: &ClientFiles, arguments: &[&str]) -> Value {
    let own = files.own.as_ref().expect("a certificate");
    let file = |path: &Path| path.display().to_string();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail-with-body", "--max-time", "60"]);
    command.args(["--cacert", &file(&files.ca), "--cert", &file(&own.certificate), "--key", &file(&own.private_key)]);
    let output = command.args(arguments).output().expect("curl runs: install Debian's package curl");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).expect("JSON")
}
