//! Promise: an HTTP caller is who its certificate, its password or its token says, for as long as that holds, and no credential shows anywhere.

use std::process::Command;
use std::time::{Duration, Instant};

use barnabas_tests::broker::Broker;
use barnabas_tests::certs::Authority;
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::gateway::{ClientAuth, Settings, Tls};
use barnabas_tests::issuer::{Issuer, SigningKey, seconds};
use barnabas_tests::kms::http;
use barnabas_tests::ports;
use barnabas_tests::process::{Finished, Process};
use barnabas_tests::rest::{Answer, Http, Lines, Socket};
use barnabas_tests::scratch::{Scratch, root, target};
use barnabas_tests::site::{Site, key_id, secret};
use barnabas_tests::wait::{self, PATIENCE};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const BINARY: &str = "application/vnd.kafka.binary.v2+json";
const EVENTS: (&str, &str) = ("accept", "text/event-stream");
const RECORD: &str = r#"{"records":[{"value":"AAEC"}]}"#;

/// A bridge that takes certificates, passwords and tokens, with its issuer.
struct Desk {
    site: Site,
    issuer: Issuer,
    folder: Scratch,
}

fn desk() -> Desk {
    desk_with("")
}

fn desk_with(bearer: &str) -> Desk {
    let folder = Scratch::new("issuer");
    let issuers = Authority::new(folder.path()).server("issuer", &[]);
    let issuer = Issuer::start(&issuers);
    let credentials = format!("basic: {{ credentials: '{}' }}", folder.join("people").display());
    let bearer = issuer.as_bearer(&issuers, bearer);
    let site = Site::with(Broker::shared(), |settings| optional(settings.with_rest(&[&credentials, &bearer])));
    Desk { site, issuer, folder }
}

fn optional(settings: Settings) -> Settings {
    let tls = settings.tls.clone().expect("a TLS listener");
    Settings { tls: Some(Tls { client_auth: ClientAuth::Optional, ..tls }), ..settings }
}

impl Desk {
    /// `barnabas credential add`: the password that was drawn.
    fn add(&self, name: &str) -> String {
        let added = self.site.gateway.command(&["credential", "add", name]).ok();
        let password = added.stdout.trim().to_owned();
        assert!(password.len() >= 32, "{}", added.text());
        password
    }

    fn remove(&self, name: &str) {
        self.site.gateway.command(&["credential", "remove", name]).ok();
    }

    /// A connection without a certificate.
    fn bare(&self) -> Http {
        Http::tls(&self.site.gateway.rest(), &self.site.authority.anonymous())
    }

    fn certified(&mut self, name: &str) -> Http {
        let files = self.site.authority.client(name);
        Http::tls(&self.site.gateway.rest(), &files)
    }

    fn log_shows(&self, text: &str) -> bool {
        self.site.gateway.events().iter().any(|event| event.line.contains(text))
    }
}

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn get(http: &mut Http, authorization: &str) -> Answer {
    http.ask("GET", "/topics", &[("authorization", authorization)], b"")
}

fn post(http: &mut Http, topic: &str, authorization: &str, body: &str) -> Answer {
    let headers = [("authorization", authorization), ("content-type", BINARY)];
    http.ask("POST", &format!("/topics/{topic}"), &headers, body.as_bytes())
}

fn challenge(answer: &Answer) -> &str {
    answer.header("www-authenticate").unwrap_or_default()
}

#[test]
fn a_password_and_a_token_write_under_the_key_of_their_principal() {
    let mut desk = desk();
    let (topic, secret) = (desk.site.sealed_topic(1), secret());
    let password = desk.add("alice");
    let body = |n: u8| json!({ "records": [{ "value": STANDARD.encode(format!("{secret} {n}")) }] }).to_string();
    let mut http = desk.bare();
    let known = basic("alice", &password);
    wait::until_true("the new password is taken", || get(&mut http, &known).status == 200);
    post(&mut http, &topic, &known, &body(0)).is(200);
    post(&mut http, &topic, &bearer(&desk.issuer.token("alice", &json!({}))), &body(1)).is(200);
    post(&mut http, &topic, &bearer(&desk.issuer.token("writer-7", &json!({}))), &body(2)).is(200);
    desk.certified("alice").post(&format!("/topics/{topic}"), BINARY, body(3)).is(200);

    assert_eq!(rd::read_all(&desk.site.client("reader"), &topic).len(), 4);
    let stored = rd::read_all(&Endpoint::direct(desk.site.broker()), &topic);
    let ids: Vec<_> = stored.iter().map(|got| key_id(&got.record)).collect();
    assert!(ids[0].is_some() && ids[0] == ids[1] && ids[0] == ids[3], "one principal has one key");
    assert_ne!(ids[0], ids[2], "two principals share a key");
    desk.site.assert_sealed(&topic, 4, &secret);
    assert!(!desk.log_shows(&password) && !desk.log_shows(known.trim_start_matches("Basic ")));
}

#[test]
fn a_password_that_is_wrong_or_removed_is_refused_on_a_connection_that_is_open() {
    let desk = desk();
    let (password, bobs) = (desk.add("alice"), desk.add("bob"));
    let (mut http, known) = (desk.bare(), basic("alice", &password));
    wait::until_true("the new password is taken", || get(&mut http, &known).status == 200);
    for wrong in [basic("alice", "wrong"), basic("mallory", &password), basic("alice", &bobs)] {
        let answer = get(&mut http, &wrong);
        assert!(challenge(&answer).starts_with("Basic realm="), "{answer:?}");
        answer.is_error(401, 40101);
    }
    let nothing = http.get("/topics");
    assert!(challenge(&nothing).contains("Basic realm=") && challenge(&nothing).contains("Bearer realm="));
    nothing.is_error(401, 40101);
    for broken in ["Basic", "Basic !", "Basic YWxpY2U="] {
        get(&mut http, broken).is_error(400, 400);
    }
    desk.remove("alice");
    wait::until_true("the removed password is refused", || get(&mut http, &known).status == 401);
    get(&mut http, &basic("bob", &bobs)).is(200);
    let again = desk.add("alice");
    assert_ne!(again, password);
    wait::until_true("the new password is taken", || get(&mut http, &basic("alice", &again)).status == 200);
    get(&mut http, &known).is_error(401, 40101);
}

#[test]
fn guessing_is_stopped_and_stops_nobody_who_is_known() {
    let desk = desk();
    let (mut http, known) = (desk.bare(), basic("alice", &desk.add("alice")));
    wait::until_true("the password is taken", || get(&mut http, &known).status == 200);
    let stopped = (0..40).map(|n| get(&mut http, &basic("alice", &format!("guess {n}")))).find(|a| a.status != 401);
    let stopped = stopped.expect("guessing goes on for ever");
    assert!(stopped.header("retry-after").is_some(), "{stopped:?}");
    stopped.is_error(429, 429);
    get(&mut http, &known).is(200);
    // Another credential changes; who is known stays known.
    let bobs = desk.add("bob");
    wait::until_true("bob's password is taken", || get(&mut desk.bare(), &basic("bob", &bobs)).status == 200);
    get(&mut http, &known).is(200);
}

#[test]
fn each_thing_that_can_be_wrong_with_a_token_is_refused_with_its_reason() {
    let desk = desk();
    let mut http = desk.bare();
    let issuer = &desk.issuer;
    let now = seconds();
    get(&mut http, &bearer(&issuer.token("alice", &json!({})))).is(200);
    get(&mut http, &bearer(&issuer.token("alice", &json!({ "aud": ["x", "bridge"], "exp": now - 1 })))).is(200);
    let stranger = SigningKey::new("key-0", false);
    let unsigned = {
        let signed = issuer.token("alice", &json!({}));
        let claims = signed.split('.').nth(1).expect("claims").to_owned();
        format!("eyJhbGciOiJub25lIn0.{claims}.")
    };
    for (token, reason) in [
        (issuer.token("alice", &json!({ "aud": "another" })), "audience"),
        (issuer.token("alice", &json!({ "aud": null })), "audience"),
        (issuer.token("alice", &json!({ "exp": now - 10 })), "expired"),
        (issuer.token("alice", &json!({ "exp": null })), "no end"),
        (issuer.token("alice", &json!({ "nbf": now + 30 })), "not valid yet"),
        (issuer.token("alice", &json!({ "iss": "https://localhost/other" })), "issuer"),
        (issuer.token("alice", &json!({ "sub": null })), "claim"),
        (stranger.token(&issuer.claims("alice", &json!({}))), "signature"),
        (stranger.token_with(json!({ "alg": "HS256" }), &issuer.claims("alice", &json!({}))), "algorithm"),
        (unsigned, "algorithm"),
        ("a.b.c".to_owned(), "not a signed JWT"),
    ] {
        let answer = get(&mut http, &bearer(&token));
        let told = challenge(&answer).to_owned();
        assert!(told.contains(r#"error="invalid_token""#) && told.contains(reason), "{reason}: {told}");
        answer.is_error(401, 40101);
        let signature = token.rsplit('.').next().unwrap_or_default();
        assert!(signature.len() < 10 || !desk.log_shows(signature), "a token is in the log");
    }
    get(&mut http, "Bearer a b").is_error(400, 400);
    get(&mut http, &bearer(&issuer.token("ANONYMOUS", &json!({})))).is_error(403, 40301);
}

/// Another project's issuer, with RSA keys and its own idea of a token.
#[test]
fn tokens_of_an_issuer_that_is_not_ours_are_taken() {
    let folder = Scratch::new("oidc");
    let script = root().join("tests/oidc/run.sh");
    let command = |what: &str| {
        let mut command = Command::new(&script);
        command.arg(what).env("CLIENTS", target().join("clients"));
        command
    };
    Finished::run("oidc", &command("install"), b"", Duration::from_secs(300), folder.path()).ok();
    let port = ports::one();
    let _server = Process::start("oidc", &command(&port.to_string()), &folder.join("oidc.log"));
    let ask = |body: &str| {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let (status, answer) = http::exchange(port, "POST", "/token", &headers, body).ok()?;
        (status == 200).then(|| serde_json::from_str::<Value>(&answer).expect("the issuer answers JSON"))
    };
    // It names no subject for this grant; what it does carry is the scope.
    let grant = "grant_type=client_credentials&scope=alice&aud=";
    let answered = wait::until("the issuer answers", PATIENCE, || ask(&format!("{grant}bridge")));
    let keys = format!(
        "bearer: [{{ issuer: 'http://localhost:{port}', audience: bridge, plaintext: loopback, principal_claim: scope }}]"
    );
    let site = Site::with(Broker::shared(), |settings| optional(settings.with_rest(&[&keys])));
    let mut http = Http::tls(&site.gateway.rest(), &site.authority.anonymous());
    let token = answered["access_token"].as_str().expect("a token");
    get(&mut http, &bearer(token)).is(200);
    let other = ask(&format!("{grant}another")).expect("another token");
    get(&mut http, &bearer(other["access_token"].as_str().expect("a token"))).is_error(401, 40101);
}

#[test]
fn a_token_ends_with_its_time_on_a_connection_that_is_open() {
    let desk = desk();
    let mut http = desk.bare();
    let short = bearer(&desk.issuer.token("alice", &json!({ "exp": seconds() + 2 })));
    get(&mut http, &short).is(200);
    wait::until_true("the token has expired", || get(&mut http, &short).status == 401);
    get(&mut http, &bearer(&desk.issuer.token("alice", &json!({})))).is(200);
}

#[test]
fn streams_of_every_kind_end_when_their_password_is_removed_and_no_others_do() {
    let mut desk = desk();
    let topic = desk.site.open_topic(1);
    let known = basic("alice", &desk.add("alice"));
    let mut http = desk.bare();
    wait::until_true("the new password is taken", || get(&mut http, &known).status == 200);
    let streams = desk.streams(&topic, &known);
    let files = desk.site.authority.client("bob");
    let bobs = Http::tls(&desk.site.gateway.rest(), &files);
    let (answer, mut bobs) = bobs.read_on(&format!("/v1/topics/{topic}/events"), &[EVENTS]).expect("an answer");
    assert_eq!(answer.status, 200);
    bobs.line().expect("the stream is open");
    desk.remove("alice");
    streams.are_ended();
    desk.certified("bob").post(&format!("/topics/{topic}"), BINARY, RECORD).is(200);
    assert!(bobs.event().expect("an event").data.contains("AAEC"));
}

#[test]
fn streams_of_every_kind_end_when_their_token_expires() {
    let mut desk = desk();
    let topic = desk.site.open_topic(1);
    // Long enough to open them all on this machine, however slow it is.
    let began = Instant::now();
    drop(desk.streams(&topic, &bearer(&desk.issuer.token("alice", &json!({})))));
    let ends = seconds() + 10 + 5 * began.elapsed().as_secs();
    let short = bearer(&desk.issuer.token("alice", &json!({ "exp": ends })));
    let streams = desk.streams(&topic, &short);
    streams.are_ended();
    assert!(seconds() >= ends, "they ended before their time");
}

/// A stream of each kind: events, lines, a web socket, records of v3.
struct Streams {
    events: Lines,
    lines: Lines,
    socket: Socket,
    records: Http,
}

impl Desk {
    fn streams(&mut self, topic: &str, authorization: &str) -> Streams {
        let own = ("authorization", authorization);
        let open = |accept| {
            let path = format!("/v1/topics/{topic}/events");
            let (answer, lines) = self.bare().read_on(&path, &[own, accept]).expect("an answer");
            assert_eq!(answer.status, 200);
            lines
        };
        let (events, lines) = (open(EVENTS), open(("accept", "application/x-ndjson")));
        let socket = self.bare().socket(&format!("/v1/topics/{topic}/socket?group=g-{topic}"), &[own]);
        let mut records = self.bare();
        let clusters = records.ask("GET", "/v3/clusters", &[own], b"").is(200).json();
        let cluster = clusters.pointer("/data/0/cluster_id").and_then(Value::as_str).expect("a cluster");
        let path = format!("/v3/clusters/{cluster}/topics/{topic}/records");
        let mut stream = records.open("POST", &path, &[own, ("content-type", "application/json")]);
        stream.write(br#"{"value":{"type":"STRING","data":"first"}}"#).expect("the gateway reads");
        assert_eq!(stream.read_head().expect("an answer").status, 200);
        let line = String::from_utf8(stream.read().expect("a line")).expect("text");
        assert!(line.contains(r#""error_code":200"#), "{line}");
        Streams { events, lines, socket: socket.expect("a socket"), records }
    }
}

impl Streams {
    /// Each ends, and says why. Reading waits with a bound.
    fn are_ended(mut self) {
        // First, since it has pings to answer.
        let mut said = Vec::new();
        let end = loop {
            match self.socket.read() {
                Ok(message) => said.push(message.to_string()),
                Err(error) => break error,
            }
        };
        assert!(said.iter().any(|text| text.contains("40101")), "{said:?}, {end}");
        let mut event = self.events.event().expect("an event");
        while event.name.is_empty() {
            event = self.events.event().expect("an event");
        }
        assert!(event.name == "error" && event.data.contains("40101"), "{event:?}");
        assert!(self.events.event().is_none(), "the stream goes on");
        let mut line = self.lines.json().expect("a line");
        while line.get("error_code").is_none() {
            line = self.lines.json().expect("a line");
        }
        assert_eq!(line["error_code"], 40101);
        assert!(self.lines.json().is_none(), "the stream goes on");
        let line = String::from_utf8(self.records.piece().expect("a line")).expect("text");
        assert!(line.contains(r#""error_code":40101"#), "{line}");
        assert!(self.records.piece().is_ok_and(|end| end.is_empty()), "the stream goes on");
    }
}

#[test]
fn keys_rotate_without_a_refused_request_and_a_withdrawn_key_counts_no_more() {
    let mut desk = desk_with(", keys_refresh: 1s");
    let mut http = desk.bare();
    let first = bearer(&desk.issuer.token("alice", &json!({})));
    get(&mut http, &first).is(200);
    desk.issuer.rotate(true);
    let second = bearer(&desk.issuer.token("alice", &json!({})));
    get(&mut http, &second).is(200);
    get(&mut http, &first).is(200);
    desk.issuer.rotate(false);
    get(&mut http, &bearer(&desk.issuer.token("alice", &json!({})))).is(200);
    wait::until_true("the withdrawn keys count no more", || {
        get(&mut http, &first).status == 401 && get(&mut http, &second).status == 401
    });
}

#[test]
fn a_flood_of_unknown_keys_is_no_flood_at_the_issuer() {
    let desk = desk();
    let mut http = desk.bare();
    get(&mut http, &bearer(&desk.issuer.token("alice", &json!({})))).is(200);
    let before = desk.issuer.fetches();
    for n in 0..200 {
        let invented = SigningKey::new(&format!("invented-{n}"), false);
        get(&mut http, &bearer(&invented.token(&desk.issuer.claims("alice", &json!({}))))).is_error(401, 40101);
    }
    // Four at once and one each ten seconds, and what time brings by itself.
    let asked = desk.issuer.fetches() - before;
    assert!((1..20).contains(&asked), "{asked} fetches for 200 tokens");
}

#[test]
fn an_issuer_that_is_silent_stops_nobody_with_a_token_of_a_known_key() {
    let mut desk = desk_with(", keys_refresh: 1s");
    desk.site.gateway.expect_in_log("issuer_unreachable");
    let mut http = desk.bare();
    get(&mut http, &bearer(&desk.issuer.token("alice", &json!({})))).is(200);
    desk.issuer.be_silent(true);
    desk.site.gateway.wait_for_log("issuer_unreachable");
    get(&mut http, &bearer(&desk.issuer.token("bob", &json!({})))).is(200);
    desk.issuer.rotate(true);
    let fresh = bearer(&desk.issuer.token("alice", &json!({})));
    let told = get(&mut http, &fresh);
    assert!(told.header("retry-after").is_some(), "{told:?}");
    told.is_error(503, 503);
    desk.issuer.be_silent(false);
    wait::until("the issuer is heard again", Duration::from_secs(120), || {
        (get(&mut http, &fresh).status == 200).then_some(())
    });
}

#[test]
fn an_issuer_of_another_authority_is_not_believed() {
    let folder = Scratch::new("issuer");
    let (own, other) = (folder.join("own"), folder.join("other"));
    let shown = Authority::new(&own).server("issuer", &[]);
    let trusted = Authority::new(&other).server("issuer", &[]);
    let issuer = Issuer::start(&shown);
    let bearer_line = issuer.as_bearer(&trusted, "");
    let mut site = Site::with(Broker::shared(), |settings| optional(settings.with_rest(&[&bearer_line])));
    site.gateway.expect_in_log("issuer_unreachable");
    let mut http = Http::tls(&site.gateway.rest(), &site.authority.anonymous());
    get(&mut http, &bearer(&issuer.token("alice", &json!({})))).is_error(503, 503);
    assert_eq!(issuer.fetches(), 0);
}

#[test]
fn a_certificate_and_a_header_must_name_the_same_principal() {
    let mut desk = desk();
    let password = desk.add("alice");
    let (mut alice, mut bob) = (desk.certified("alice"), desk.certified("bob"));
    alice.get("/topics").is(200);
    let known = basic("alice", &password);
    wait::until_true("the new password is taken", || get(&mut alice, &known).status == 200);
    let token = bearer(&desk.issuer.token("alice", &json!({})));
    get(&mut alice, &token).is(200);
    for authorization in [&known, &token] {
        get(&mut bob, authorization).is_error(400, 400);
    }
    // A wrong credential is wrong, whatever certificate there is.
    get(&mut alice, &basic("alice", "wrong")).is_error(401, 40101);
    get(&mut alice, &bearer(&desk.issuer.token("alice", &json!({ "aud": "another" })))).is_error(401, 40101);
    bob.get("/topics").is(200);
}

#[test]
fn a_revoked_certificate_ends_its_connection() {
    let mut desk = desk();
    let files = desk.site.authority.client("alice");
    let mut alice = Http::tls(&desk.site.gateway.rest(), &files);
    let mut bob = desk.certified("bob");
    alice.get("/topics").is(200);
    let list = desk.site.authority.revoke(&[&files]);
    desk.site.gateway.reload(|settings| {
        if let Some(tls) = &mut settings.tls {
            tls.crls = vec![list];
        }
    });
    wait::until_true("the connection is ended", || alice.try_ask("GET", "/topics", &[], b"").is_err());
    let again = Http::try_tls(&desk.site.gateway.rest(), &files);
    assert!(again.and_then(|mut http| http.try_ask("GET", "/topics", &[], b"")).is_err());
    bob.get("/topics").is(200);
}

#[test]
fn a_credential_in_the_address_is_refused_and_does_not_reach_the_log() {
    let desk = desk();
    let mut http = desk.bare();
    let token = desk.issuer.token("alice", &json!({}));
    for path in [format!("/topics?access_token={token}"), format!("/topics?x=1&Access%5FToken={token}")] {
        http.get(&path).is_error(400, 400);
        http.ask("GET", &path, &[("authorization", &bearer(&token))], b"").is_error(400, 400);
    }
    let twice = [("authorization", bearer(&token)), ("authorization", basic("alice", "x"))];
    let twice = twice.each_ref().map(|(name, value)| (*name, value.as_str()));
    http.ask("GET", "/topics", &twice, b"").is_error(400, 400);
    http.ask("GET", "/topics", &[("authorization", &format!("Bearer {}", "a".repeat(20_000)))], b"").is_error(400, 400);
    assert!(!desk.log_shows(&token));
    http.get("/livez").is(200);
}

#[test]
fn a_bridge_that_asks_for_certificates_only_takes_nothing_else() {
    let site = Site::with(Broker::shared(), |settings| optional(settings.with_rest(&[])));
    let mut http = Http::tls(&site.gateway.rest(), &site.authority.anonymous());
    let nothing = http.get("/topics");
    assert!(!challenge(&nothing).is_empty());
    nothing.is_error(401, 40101);
    for authorization in [basic("alice", "x"), bearer("a.b.c"), "Negotiate YII".to_owned()] {
        get(&mut http, &authorization).is_error(401, 40101);
    }
}

#[test]
fn a_file_of_credentials_that_others_can_read_is_not_used() {
    use std::os::unix::fs::PermissionsExt;
    let mut desk = desk();
    desk.site.gateway.expect_in_log("credentials_refused");
    let (mut http, known) = (desk.bare(), basic("alice", &desk.add("alice")));
    wait::until_true("the password is taken", || get(&mut http, &known).status == 200);
    let people = desk.folder.join("people");
    std::fs::set_permissions(&people, std::fs::Permissions::from_mode(0o644)).expect("its mode can be changed");
    desk.site.gateway.wait_for_log("credentials_refused");
    get(&mut http, &known).is(200);
    let listed = desk.site.gateway.command(&["credential", "list"]);
    assert!(!listed.status.success() && listed.text().contains("chmod"), "{}", listed.text());
    post(&mut http, "nowhere", &basic("alice", "wrong"), RECORD).is_error(401, 40101);
}
