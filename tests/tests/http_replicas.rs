//! Promise: behind a load balancer every gateway answers for every consumer instance, as the caller that has made it and as nobody else; one that is
//! gone is a clear error.

use barnabas_tests::audit::AuditLog;
use barnabas_tests::broker::Broker;
use barnabas_tests::certs::{Authority, ClientFiles};
use barnabas_tests::clients::rd;
use barnabas_tests::clients::record::sample;
use barnabas_tests::gateway::{Gateway, Ports, Settings};
use barnabas_tests::rest::{Answer, Http};
use barnabas_tests::scratch::{Scratch, unique};
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wait;
use serde_json::{Value, json};

const V2: &str = "application/vnd.kafka.v2+json";
const BINARY: &str = "application/vnd.kafka.binary.v2+json";

/// Two replicas of one address, beside a gateway without a bridge.
struct Replicas {
    site: Site,
    a: Gateway,
    b: Gateway,
    /// The certificate of replica `a`.
    replica: ClientFiles,
    audit: AuditLog,
    _folder: Scratch,
}

fn replicas() -> Replicas {
    let mut site = Site::with(Broker::shared(), |settings| settings);
    let folder = Scratch::new("replicas");
    let ports = [Ports::take(), Ports::take()];
    let certificates = ["a", "b"].map(|id| site.authority.client(&format!("gateway-{id}")));
    let bridge = |own: usize| {
        let files = certificates[own].own.as_ref().expect("a certificate");
        let members = ["a", "b"].iter().zip(ports).map(|(id, ports)| {
            format!("{{ id: {id}, url: \"https://localhost:{}\", principal: \"User:gateway-{id}\" }}", ports.rest)
        });
        [
            "advertised_url: https://bridge.example.com".to_owned(),
            "limits: { request_timeout: 20s }".to_owned(),
            "replicas:".to_owned(),
            format!("  id: {}", ["a", "b"][own]),
            format!(
                "  tls: {{ ca: {}, certificate: {}, private_key: {} }}",
                certificates[own].ca.display(),
                files.certificate.display(),
                files.private_key.display()
            ),
            format!("  members: [{}]", members.collect::<Vec<_>>().join(", ")),
        ]
    };
    let start = |own: usize| {
        site.second_gateway_with(|settings| {
            let keys = bridge(own);
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            let log = folder.join(["a", "b"][own]);
            Settings { ports: ports[own], ..settings }.with_rest(&keys).with_audit(&log, &[])
        })
    };
    let (a, b) = (start(0), start(1));
    let audit = AuditLog::at(folder.join("a"));
    let [replica, _] = certificates;
    Replicas { a, b, replica, audit, site, _folder: folder }
}

impl Replicas {
    fn authority(&mut self) -> &mut Authority {
        &mut self.site.authority
    }

    /// Callers of this name at both.
    fn caller(&mut self, name: &str) -> (Http, Http) {
        let files = self.authority().client(name);
        (Http::tls(&self.a.rest(), &files), Http::tls(&self.b.rest(), &files))
    }
}

#[track_caller]
fn create(http: &mut Http, group: &str, settings: &Value) -> Answer {
    http.post(&format!("/consumers/{group}"), V2, settings.to_string())
}

/// The path of an instance, out of the answer that tells of it.
#[track_caller]
fn path(made: &Value) -> String {
    let (base, id) = (made["base_uri"].as_str().expect("an address"), made["instance_id"].as_str().expect("an id"));
    assert!(base.ends_with(&format!("/{id}")), "{made}");
    let below = base.strip_prefix("https://bridge.example.com").expect("the address of the load balancer");
    below.to_owned()
}

fn settings() -> Value {
    json!({ "format": "binary", "auto.offset.reset": "earliest", "auto.commit.enable": "false" })
}

#[test]
fn an_instance_made_at_one_replica_is_used_through_the_other() {
    let mut both = replicas();
    let (topic, group) = (both.site.sealed_topic(2), unique("group"));
    let sent = sample(&secret(), 12, 2);
    rd::produce(&both.site.client("alice"), &topic, &sent, &[]);

    let (mut at_a, mut at_b) = both.caller("reader");
    let path = path(&create(&mut at_a, &group, &settings()).is(200).json());
    assert!(path.contains("/instances/a~"), "the owner stands in the id: {path}");
    // With a key, which goes along: the owner keeps the answer, for whoever asks again through whichever.
    let (key, topics) = (unique("key"), json!({ "topics": [topic] }).to_string());
    let named = [("content-type", V2), ("idempotency-key", key.as_str())];
    for (nth, http) in [(0, &mut at_b), (1, &mut at_a)] {
        let answer = http.ask("POST", &format!("{path}/subscription"), &named, topics.as_bytes()).is(204);
        assert_eq!(answer.header("idempotency-replayed"), (nth > 0).then_some("true"));
    }
    let again = at_b.ask("POST", &format!("{path}/subscription"), &named, topics.as_bytes()).is(204);
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    assert_eq!(at_b.get(&format!("{path}/subscription")).is(200).json(), json!({ "topics": [topic] }));
    assert_eq!(at_a.get(&format!("{path}/subscription")).is(200).json(), json!({ "topics": [topic] }));
    let mut seen = 0;
    wait::until_true("records come through the other", || {
        let answer = at_b.ask("GET", &format!("{path}/records?timeout=5000"), &[("accept", BINARY)], b"").is(200);
        assert_eq!(answer.header("content-type"), Some(BINARY));
        seen += answer.json().as_array().expect("a list").len();
        seen >= sent.len()
    });
    assert_eq!(seen, sent.len());
    at_b.post(&format!("{path}/offsets"), V2, "{}").is(200);
    let asked = json!({ "partitions": [{ "topic": topic, "partition": 0 }, { "topic": topic, "partition": 1 }] });
    let committed =
        at_b.ask("GET", &format!("{path}/offsets"), &[("content-type", V2)], asked.to_string().as_bytes()).is(200);
    let offsets = committed.json()["offsets"].as_array().expect("a list").clone();
    assert_eq!(offsets.iter().map(|one| one["offset"].as_i64().unwrap()).collect::<Vec<_>>(), [6, 6]);
    // Errors are the owner's, in the form that the caller accepts.
    at_b.get(&format!("{path}/records?timeout=x")).is(400);
    at_b.ask("GET", &format!("{path}/records"), &[("accept", "text/html")], b"").is_error(406, 40601);
    let problem = at_b.ask("POST", &format!("{path}/assignments"), &[("accept", "application/problem+json")], b"{}");
    assert_eq!((problem.status, problem.header("content-type")), (422, Some("application/problem+json")));
    at_b.post(&format!("{path}/subscription"), V2, "x".repeat(300_000)).is(413);

    // Another principal has no such instance, at neither of them.
    let (mut other_a, mut other_b) = both.caller("alice");
    other_a.get(&format!("{path}/subscription")).is_error(404, 40403);
    other_b.get(&format!("{path}/subscription")).is_error(404, 40403);
    other_b.ask("DELETE", &path, &[], b"").is_error(404, 40403);

    at_b.ask("DELETE", &path, &[], b"").is(204);
    at_a.get(&format!("{path}/subscription")).is_error(404, 40403);

    // The owner tells of the caller, by name and by the address that it came from.
    let told = both.audit.wait_for("http.request", |event| {
        event.pointer("/data/http/path").and_then(Value::as_str).is_some_and(|path| path.ends_with("/records"))
    });
    assert_eq!(told.pointer("/data/authenticationInfo/principal"), Some(&json!("User:reader")), "{told}");
    assert_eq!(told.pointer("/data/authenticationInfo/mechanism"), Some(&json!("mTLS")), "{told}");
}

#[test]
fn a_name_that_a_caller_has_chosen_is_one_instance_everywhere() {
    let mut both = replicas();
    let topic = both.site.open_topic(1);
    let (mut at_a, mut at_b) = both.caller("bob");
    let mut owners = std::collections::BTreeSet::new();
    for number in 0..16 {
        let group = unique("group");
        let mut wanted = settings();
        wanted["name"] = json!(format!("device-{number}"));
        let (one, other) = if number % 2 == 0 { (&mut at_a, &mut at_b) } else { (&mut at_b, &mut at_a) };
        let made = create(one, &group, &wanted).is(200).json();
        path(&made);
        owners.insert(made["instance_id"].as_str().unwrap().split('~').next().unwrap().to_owned());
        create(other, &group, &wanted).is_error(409, 40902);
        // As the documents of the API do: the address is put together of the name.
        let by_name = format!("/consumers/{group}/instances/device-{number}");
        other.post(&format!("{by_name}/subscription"), V2, json!({ "topics": [topic] }).to_string()).is(204);
        assert_eq!(one.get(&format!("{by_name}/subscription")).is(200).json(), json!({ "topics": [topic] }));
        one.ask("DELETE", &by_name, &[], b"").is(204);
        other.get(&format!("{by_name}/subscription")).is_error(404, 40403);
    }
    assert_eq!(owners.len(), 2, "names belong to both");
    create(&mut at_a, "group", &json!({ "name": "a~b" })).is_error(422, 42204);
}

#[test]
fn who_is_no_replica_cannot_speak_for_others() {
    let mut both = replicas();
    let (mut at_a, _) = both.caller("bob");
    let path = path(&create(&mut at_a, &unique("group"), &settings()).is(200).json());
    let subscription = format!("{path}/subscription");
    // "User:bob", as a replica would write it.
    let claim = [("barnabas-caller", "certificate 127.0.0.1:1 VXNlcjpib2I=")];

    let (mut mallory, mut through) = both.caller("mallory");
    mallory.ask("GET", &subscription, &claim, b"").is_error(403, 40301);
    through.ask("GET", &subscription, &claim, b"").is_error(403, 40301);
    mallory.ask("DELETE", &path, &claim, b"").is_error(403, 40301);
    mallory.ask("POST", "/topics/sealed-of-bob", &claim, b"{}").is_error(403, 40301);
    let (mut named_alike, _) = both.caller("gateway-a2");
    named_alike.ask("GET", &subscription, &claim, b"").is_error(403, 40301);

    // A replica's certificate: for consumers, whoever they belong to, and for nothing else. The call does not go on.
    let mut replica = Http::tls(&both.b.rest(), &both.replica);
    replica.ask("GET", &subscription, &claim, b"").is_error(404, 40403);
    replica.ask("POST", "/topics/sealed-of-bob", &claim, b"{}").is(400);
    replica.ask("GET", "/topics", &claim, b"").is(400);
    let twice = [claim[0], claim[0]];
    replica.ask("GET", &subscription, &twice, b"").is(400);
    let both_proofs = [claim[0], ("authorization", "Basic YTpi")];
    replica.ask("GET", &subscription, &both_proofs, b"").is(400);
    // At the owner itself it is a stranger: `a` passes nothing on to `a`.
    Http::tls(&both.a.rest(), &both.replica).ask("GET", &subscription, &claim, b"").is_error(403, 40301);
    at_a.get(&subscription).is(200);
}

#[test]
fn an_owner_that_is_gone_is_a_clear_error() {
    let mut both = replicas();
    let (mut at_a, mut at_b) = both.caller("bob");
    let path = path(&create(&mut at_a, &unique("group"), &settings()).is(200).json());
    at_b.get(&format!("{path}/subscription")).is(200);
    let (owned, elsewhere) = (path.clone(), path.replace("/a~", "/z~"));
    let told = at_b.get(&format!("{elsewhere}/subscription")).is(404).json()["message"].to_string();
    assert!(told.contains("`z`"), "{told}");

    // Killed between two calls: the connection that was kept is of no use, and a new one cannot be made.
    both.a.expect_in_log("audit_");
    both.a.kill();
    let told = at_b.get(&format!("{owned}/subscription")).is(503).json()["message"].to_string();
    assert!(told.contains("`a`"), "{told}");
    at_b.post(&format!("{owned}/subscription"), V2, json!({ "topics": ["t"] }).to_string()).is_error(503, 50003);
    // The other goes on.
    create(&mut at_b, &unique("group"), &settings()).is(200);

    // Back again, it has no such consumer any more.
    both.a.restart();
    at_b.get(&format!("{owned}/subscription")).is_error(404, 40403);
}
