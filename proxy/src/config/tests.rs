//! The whole tree at once: what is accepted, and that every mistake of a file is told in one run.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::identity::Principal;

/// Two listeners and two clusters that use every key between them.
const EVERYTHING: &str = r#"
listeners:
  - name: ports
    bind: 127.0.0.1:9192
    advertised_host: localhost
    cluster: primary
    brokers: { by: port, first_port: 9193, first_node_id: 1, count: 64 }
    tls: off
  - name: names
    bind: "[::1]:9443"
    cluster: second
    brokers: { by: sni, bootstrap_host: kafka.example.com, host_pattern: "b$(node_id).kafka.example.com", advertised_port: 443 }
    tls:
      certificate: file
      private_key: file
      more_certificates: [{ certificate: file, private_key: file }]
      client_auth: required
      client_ca: file
      crls: [file]
      min_version: 1.3
      handshake_timeout: 5s
    principal: { from: subject, mapping_rules: ["RULE:^CN=(.*?),.*$/$1/L", "DEFAULT"] }
rest:
  - name: web
    bind: 127.0.0.1:8443
    advertised_url: https://kafka.example.com/
    cluster: primary
    tls:
      certificate: file
      private_key: file
      more_certificates: [{ certificate: file, private_key: file }]
      client_auth: optional
      client_ca: file
      crls: [file]
      min_version: 1.3
      handshake_timeout: 5s
    principal: { from: san_uri, mapping_rules: ["DEFAULT"] }
    anonymous: accept
    credentials_without_tls: accept
    basic: { credentials: not-there-yet, mapping_rules: ["RULE:^device-(.*)$/$1/"] }
    bearer:
      - issuer: https://issuer.example.com/realms/a
        audience: [kafka, bridge]
        jwks_url: https://keys.example.com/a?b=c
        algorithms: [ES256, Ed25519]
        principal_claim: client_id
        mapping_rules: ["RULE:^(.*)$/a:$1/"]
        clock_skew: 30s
        keys_refresh: 1m
        keys_max_age: 2d
        ca: file
        plaintext: loopback
    cors: { origins: ["https://App.example.com", "*"] }
    replicas:
      id: a
      tls: { ca: file, certificate: file, private_key: file, server_name: replicas.internal }
      members: [{ id: a, url: "https://a.internal:8443", principal: "User:gateway" }]
    schema_registry:
      url: https://registry.example.com
      tls: { ca: file, certificate: file, private_key: file, server_name: registry.internal }
      basic: { username: barnabas, password: { file: file } }
      timeout: 1s
      max_schemas: 10
    producer: { linger: 1ms, idle: 1m }
    consumer: { idle: 2m }
    limits:
      max_body_bytes: 1 MiB
      max_record_bytes: 10000
      max_header_bytes: 16 KiB
      body_timeout: 3s
      request_timeout: 4s
      max_memory_bytes: 2 MiB
      max_queued_records: 10
      max_producers: 3
      max_consumers: 4
clusters:
  - name: primary
    bootstrap_servers: ["127.0.0.1:9092"]
    tls: off
  - name: second
    bootstrap_servers: [kafka-1:9093, "[::1]:9093"]
    tls: { ca: file, certificate: file, private_key: file, server_name: kafka.internal }
    client: { sasl.mechanism: SCRAM-SHA-512, sasl.username: barnabas, sasl.password: { file: file } }
keyring: { cluster: second, topic: _keys, replication_factor: 3, max_head_age: 2h, head_interval: 30s }
keystore: { type: local, path: folder, unlock: { passphrase: { env: PASSPHRASE } } }
custody: { max_age: 10m, outage_grace: 2h }
steward: { root_public_key: "0101010101010101010101010101010101010101010101010101010101010101", run: embedded, epoch_lifetime: 7d, certificate: file }
streams:
  default: refuse
  settings: { suite: aes-256-gcm, kem: x25519, on_unreadable: skip, compress: record, epoch_lifetime: 12h, destroy_after: 40d, writers: ["User:*"], readers: ["User:audit"] }
  rules:
    - { topic: orders, seal: true, suite: chacha20-poly1305, kem: x-wing, writers: ["User:CN=alice"], readers: ["User:CN=(bob|carol)"], on_unreadable: opaque, compress: none, epoch_lifetime: 1h, destroy_after: 8d }
    - { pattern: "pay\\..*", seal: true }
    - { topic: logs, seal: false }
clients: { enroll: [{ principal: "User:svc-.*", custody: gateway }, { principal: "User:lib", custody: client }] }
admin:
  bind: "127.0.0.1:9644"
  secure:
    bind: "127.0.0.1:9645"
    tls: { certificate: file, private_key: file, more_certificates: [{ certificate: file, private_key: file }], client_auth: required, client_ca: file, crls: [file], min_version: 1.3, handshake_timeout: 5s }
    principal: { from: subject, mapping_rules: [DEFAULT] }
    roles: { auditor: ["User:auditor", "User:CN=(a|b),.*"], operator: "User:ops" }
audit:
  directory: audit
  origin: audit.example.com/gateway-1
  on_failure: alarm
  window: 5s
  checkpoint: { interval: 2s, entries: 500 }
  queue: { entries: 10000, bytes: 16 MiB }
  retention: 400d
  compress_after: 7d
  sinks:
    - { name: lines, type: stdout, format: ocsf }
    - { name: topic, type: kafka, cluster: second, topic: _audit }
    - { name: siem, type: syslog, address: "siem:6514", tls: { ca: file, certificate: file, private_key: file, server_name: siem } }
  witnesses:
    - { url: "https://two:9645/witness", key: "audit.example/2/witness+1bdd26f5+BAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH", tls: { ca: file, certificate: file, private_key: file, server_name: two } }
  witness_interval: 30s
  witness_for: ["audit.example/2+87c1cee8+AQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"]
limits:
  max_frame_bytes: 50 MiB
  max_first_frame_bytes: 64 KiB
  max_memory_bytes: 400 MiB
  max_connection_bytes: 100 MiB
  max_inflated_bytes: 32MiB
  max_in_flight_requests: 32
  max_connections: 500
  connect_timeout: 3s
  answer_timeout: 90s
  drain_timeout: 0s
  max_cached_sessions: 1000
  max_session_age: 30m
log: { format: json, level: debug }
"#;

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "secret\n").unwrap();
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    dir
}

fn env() -> Vec<(String, String)> {
    vec![("PASSPHRASE".to_owned(), "x".to_owned())]
}

fn mistakes(text: &str, dir: &Path) -> Vec<String> {
    Config::parse(text, dir, &env()).unwrap_err().iter().map(ToString::to_string).collect()
}

#[test]
fn every_key_is_read_into_its_type() {
    let dir = folder();
    let config = Config::parse(EVERYTHING, dir.path(), &env()).unwrap_or_else(|m| panic!("{m:#?}"));
    let [ports, names] = config.listeners.as_slice() else { panic!("two listeners") };
    assert_eq!(ports.tls, None);
    assert_eq!(ports.brokers, Brokers::Port(PortRange::new(9193, 1, 64).unwrap()));
    assert_eq!(names.advertised_host, "::1");
    let tls = names.tls.as_ref().unwrap();
    assert_eq!(tls.min_version, TlsVersion::Tls13);
    assert_eq!(tls.handshake_timeout, Duration::from_secs(5));
    let ClientAuth::Required(trust) = &tls.client_auth else { panic!("required") };
    assert_eq!(trust.crls, [dir.path().join("file")]);
    assert_eq!(names.principal.mapping_rules.apply("CN=Bob,O=x").as_deref(), Some("bob"));
    let [web] = config.rest.as_slice() else { panic!("one bridge") };
    assert_eq!(web.advertised_url.as_deref(), Some("https://kafka.example.com"));
    assert_eq!(web.cors_origins, ["https://app.example.com", "*"]);
    assert!(web.auth.anonymous && web.auth.in_the_clear);
    assert_eq!(web.auth.basic.as_ref().unwrap().credentials, dir.path().join("not-there-yet"));
    let [issuer] = web.auth.bearer.as_slice() else { panic!("one issuer") };
    assert_eq!(issuer.audiences, ["kafka", "bridge"]);
    assert_eq!(issuer.algorithms, [TokenAlgorithm::Es256, TokenAlgorithm::EdDsa]);
    assert_eq!(issuer.mapping_rules.apply("x").as_deref(), Some("a:x"));
    assert_eq!((issuer.clock_skew, issuer.keys_max_age), (Duration::from_secs(30), Duration::from_secs(172_800)));
    assert_eq!((web.limits.max_body_bytes, web.limits.max_record_bytes), (1 << 20, 10_000));
    let second = config.keyring_cluster().unwrap();
    assert_eq!(second.bootstrap_servers.last().unwrap().to_string(), "[::1]:9093");
    assert_eq!(second.client.len(), 3);
    let ClientProperty::Secret(password) = &second.client.last().unwrap().1 else { panic!("secret") };
    assert_eq!(password.read().unwrap().as_str(), "secret");
    assert_eq!(config.keyring.replication_factor, Some(3));
    assert_eq!(config.steward.root_public_key, Some([1; 32]));
    assert_eq!(config.steward.epoch_lifetime, Duration::from_secs(7 * 86_400));
    assert_eq!(config.limits.max_frame_bytes, 50 << 20);
    assert_eq!((config.limits.max_memory_bytes, config.limits.max_connection_bytes), (400 << 20, 100 << 20));
    assert_eq!(config.limits.answer_timeout, Duration::from_secs(90));
    assert_eq!(config.limits.drain_timeout, Duration::ZERO);
    assert_eq!(config.log.level, LogLevel::Debug);
    let audit = config.audit.unwrap();
    assert_eq!((audit.origin.as_str(), audit.window), ("audit.example.com/gateway-1", Duration::from_secs(5)));
    assert_eq!((audit.checkpoint.entries, audit.queue.bytes), (500, 16 << 20));
    let Keystore { backend: KeystoreBackend::Local { unlock, .. } } = config.keystore.unwrap();
    assert_eq!(unlock, Unlock::Passphrase(SecretRef::Env("PASSPHRASE".to_owned())));
}

#[test]
fn the_policy_answers_by_the_first_match() {
    let dir = folder();
    let policy = Config::parse(EVERYTHING, dir.path(), &env()).unwrap().policy;
    let StreamRule::Seal(orders) = policy.stream("orders") else { panic!("sealed") };
    assert_eq!(orders.suite, RecordSuite::ChaCha20Poly1305);
    assert_eq!(orders.epoch_lifetime, Some(Duration::from_secs(3600)));
    assert!(orders.may_write(&Principal::user("CN=alice")) && !orders.may_write(&Principal::user("CN=bob")));
    assert!(orders.may_read(&Principal::user("CN=carol")) && !orders.may_read(&Principal::user("audit")));
    let StreamRule::Seal(pay) = policy.stream("pay.eu") else { panic!("sealed") };
    assert_eq!(pay.epoch_lifetime, Some(Duration::from_secs(12 * 3600)));
    assert_eq!((pay.kem, pay.on_unreadable, pay.compress), (Kem::X25519, OnUnreadable::Skip, Compress::Record));
    assert!(pay.may_read(&Principal::user("audit")) && pay.may_write(&Principal::anonymous()));
    assert_eq!(policy.stream("logs"), &StreamRule::Pass);
    assert_eq!(policy.stream("xpay.eu"), &StreamRule::Refuse);
    assert_eq!(policy.stream("_keys"), &StreamRule::Pass);
    assert_eq!(policy.enrolment(&Principal::user("svc-1")), Some(Custody::Gateway));
    assert_eq!(policy.enrolment(&Principal::user("lib")), Some(Custody::Client));
    assert_eq!(policy.enrolment(&Principal::user("other")), None);
}

#[test]
fn rules_are_tried_in_order_and_brokers_own_topics_are_never_sealed() {
    let dir = folder();
    let with = |streams: &str| {
        let at = EVERYTHING.find("streams:").unwrap();
        let after = EVERYTHING.find("clients:").unwrap();
        let text = format!("{}{streams}\n{}", &EVERYTHING[..at], &EVERYTHING[after..]);
        Config::parse(&text, dir.path(), &env()).unwrap_or_else(|m| panic!("{m:#?}")).policy
    };
    let policy = with(
        "streams: { default: pass, rules: [{pattern: 'a.*', seal: false}, {pattern: 'ab.*', seal: true}, {topic: b, seal: true}, {pattern: '.*b', seal: false}] }",
    );
    assert_eq!(policy.stream("abc"), &StreamRule::Pass);
    assert!(matches!(policy.stream("b"), StreamRule::Seal(_)));
    assert_eq!(policy.stream("xb"), &StreamRule::Pass);
    assert_eq!(policy.stream("__consumer_offsets"), &StreamRule::Pass);
    let policy = with("streams: { default: seal }");
    assert_eq!(policy.stream("__consumer_offsets"), &StreamRule::Refuse);
    assert!(matches!(policy.stream("anything"), StreamRule::Seal(rule) if !rule.may_write(&Principal::user("x"))));
    assert!(policy.may_seal());
    let policy = with("streams: { default: seal, rules: [{pattern: '__.*', seal: false}] }");
    assert_eq!(policy.stream("__consumer_offsets"), &StreamRule::Pass);
}

#[test]
fn an_empty_file_names_everything_that_must_be_written() {
    let dir = folder();
    let found = mistakes("", dir.path());
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found.iter().any(|m| m.starts_with("listeners: there is no listener")));
    assert!(found.iter().any(|m| m.starts_with("clusters: there is no cluster")));
    assert!(
        found.iter().any(|m| { m.starts_with("streams.default: `default` is missing; write pass, refuse or seal") })
    );
}

#[test]
fn all_mistakes_of_a_file_are_told_in_one_run() {
    let dir = folder();
    let found = mistakes(
        r#"
listeners:
  - { name: a, bind: 127.0.0.1:9192, cluster: nowhere, brokers: { by: port, first_port: 9190, count: 8 }, tls: off }
  - { name: a, bind: 0.0.0.0:9195, cluster: one, brokers: { by: port, first_port: 65000, count: 1000 }, tls: off }
  - { name: c, bind: localhost:1, cluster: one, brokers: { by: sni, bootstrap_host: k, host_pattern: "k" }, tls: off, client_auth: required }
  - { name: d, bind: 127.0.0.1:9300, cluster: one, brokers: { by: sni, bootstrap_host: k, host_pattern: "b$(node_id)" }, tls: off }
  - name: e
    bind: 127.0.0.1:9301
    cluster: one
    brokers: { by: port, first_port: 9400, count: 4, host_pattern: x }
    tls: { certificate: none.pem, private_key: file, client_auth: off, crls: [file] }
    principal: { from: subjekt, mapping_rules: ["RULE:^CN=(.*)$/$1"] }
clusters:
  - { name: one, bootstrap_servers: [], tls: on, client: { sasl.password: hunter2, bootstrap.servers: x } }
keyring: { max_head_age: 1m, head_interval: 1m, replication_factor: many }
keystore: { type: vault, path: none, unlock: { key_file: file, passphrase: { env: UNSET } } }
steward: { root_public_key: abc }
streams:
  rules:
    - { topic: a, pattern: b, seal: true }
    - { pattern: "(", seal: maybe }
    - { pattern: "o.*", seal: false, writers: ["User:x"] }
    - { topic: orders, seal: true, readers: [alice] }
    - { topic: __consumer_offsets, seal: true }
clients: { enroll: [{ principal: "User:ANONYMOUS", custody: gateway }] }
admin: { bind: 127.0.0.1:9192 }
limits: { max_connections: 0, max_frame_bytes: 1 }
log: { level: loud, colour: yes }
extra: 1
"#,
        dir.path(),
    );
    for expected in [
        "admin.bind",
        "listeners[0].cluster",
        "listeners[1].brokers.count (line 4): 1000 ports from 65000 on do not fit",
        "listeners[2].bind (line 5): `localhost:1` is not an address",
        "listeners[2].client_auth (line 5): unknown key",
        "listeners[2].brokers.host_pattern (line 5)",
        "listeners[3].brokers (line 6): brokers by host name (SNI) need TLS",
        "listeners[4].brokers.host_pattern (line 10): `host_pattern` does not belong",
        "listeners[4].tls.certificate (line 11): `",
        "listeners[4].tls.crls (line 11): `crls` has no effect",
        "listeners[4].principal.from (line 12): `subjekt` is not a choice here; write one of subject",
        "listeners[4].principal.mapping_rules[0] (line 12): `RULE:^CN=(.*)$/$1` is neither",
        "clusters[0].bootstrap_servers (line 14): `bootstrap_servers` is missing",
        "clusters[0].tls (line 14): `on` is not a choice",
        "clusters[0].client.sasl.password (line 14): a secret is written out",
        "clusters[0].client.bootstrap.servers (line 14): `bootstrap.servers` is set by the gateway itself",
        "keyring.head_interval (line 15)",
        "keyring.replication_factor (line 15)",
        "keystore.type (line 16): `vault` is not a choice here",
        "keystore.path (line 16)",
        "keystore.unlock.passphrase.env (line 16): the environment variable `UNSET` is not set",
        "keystore.unlock (line 16): a keystore is opened by exactly one thing",
        "steward.root_public_key (line 17)",
        "streams.default (line 19): `default` is missing",
        "streams.rules[0] (line 20): a rule names its topics in exactly one way",
        "streams.rules[1].pattern (line 21): `(` is not a regular expression",
        "streams.rules[1].seal (line 21): `maybe` is not a choice",
        "streams.rules[2].writers (line 22): `writers` has no effect",
        "streams.rules[3].readers[0] (line 23): `alice` is not a principal",
        "streams.rules[4] (line 24): `__consumer_offsets` is written by the brokers",
        "clients.enroll[0].principal (line 25): anonymous clients",
        "limits.max_connections (line 27)",
        "limits.max_frame_bytes (line 27)",
        "log.level (line 28)",
        "log.colour (line 28): unknown key `colour`; known here: format, level",
        "extra (line 29): unknown key `extra`",
    ] {
        let met = found.iter().any(|mistake| mistake.starts_with(expected));
        assert!(met || is_cross_check(expected), "missing: {expected}\n{found:#?}");
    }
    assert!(!found.iter().any(|mistake| mistake.contains("hunter2")), "a secret is repeated: {found:#?}");
}

/// Checks between sections need both sides to be sound; they have their own test.
fn is_cross_check(expected: &str) -> bool {
    matches!(expected, "admin.bind" | "listeners[0].cluster")
}

#[test]
fn contradictions_between_sections_are_mistakes() {
    let dir = folder();
    let found = mistakes(
        r#"
listeners:
  - { name: a, bind: 127.0.0.1:9192, cluster: nowhere, brokers: { by: port, first_port: 9190, count: 8 }, tls: off }
  - { name: a, bind: 0.0.0.0:9300, advertised_host: k, cluster: one, brokers: { by: port, first_port: 9196, count: 8 }, tls: off }
  - { name: c, bind: "[::]:9400", cluster: one, brokers: { by: port, first_port: 9500, count: 8 }, tls: off, principal: { from: subject } }
clusters: [{ name: one, bootstrap_servers: [a:1], tls: off }, { name: one, bootstrap_servers: [a:1], tls: off }]
keyring: { cluster: two }
streams: { default: pass, rules: [{ pattern: "o.*", seal: true }, { topic: orders, seal: false }] }
admin: { bind: 127.0.0.1:9300 }
"#,
        dir.path(),
    );
    for expected in [
        "listeners[0].cluster (line 3): no cluster is named `nowhere`; defined are one",
        "listeners[0].brokers (line 3): ports 9190 to 9197 are also claimed by listeners[0].bind",
        "listeners[1].name (line 4): the name `a` is taken",
        "listeners[1].bind (line 4): port 9300 is also claimed by admin.bind",
        "listeners[1].brokers (line 4): ports 9196 to 9203 are also claimed by listeners[0].brokers",
        "listeners[2].advertised_host (line 5): `advertised_host` is missing and `bind` is every address",
        "listeners[2].principal (line 5): a plaintext listener sees no client certificate",
        "clusters[1].name (line 6): the name `one` is taken",
        "keyring.cluster (line 7): no cluster is named `two`",
        "keystore: streams may be sealed but there is no keystore",
        "steward.root_public_key: streams may be sealed but no root key is pinned",
        "streams.rules[1] (line 8): rules[0] already decides about `orders`",
    ] {
        assert!(found.iter().any(|mistake| mistake.starts_with(expected)), "missing: {expected}\n{found:#?}");
    }
    assert_eq!(found.len(), 12, "{found:#?}");
}

#[test]
fn the_environment_overrides_the_file() {
    let dir = folder();
    let mut env = env();
    env.push(("BARNABAS__LISTENERS__0__BIND".to_owned(), "127.0.0.2:7000".to_owned()));
    env.push(("BARNABAS__STREAMS__DEFAULT".to_owned(), "pass".to_owned()));
    let config = Config::parse(EVERYTHING, dir.path(), &env).unwrap_or_else(|m| panic!("{m:#?}"));
    assert_eq!(config.listeners.first().unwrap().bind.to_string(), "127.0.0.2:7000");
    assert_eq!(config.policy.stream("unknown"), &StreamRule::Pass);
    env.push(("BARNABAS__LOG__LEVEL".to_owned(), "loud".to_owned()));
    let found = Config::parse(EVERYTHING, dir.path(), &env).unwrap_err();
    assert_eq!(found.iter().map(|m| m.path.as_str()).collect::<Vec<_>>(), ["log.level"]);
}

#[test]
fn the_table_of_keys_and_the_code_know_the_same_keys() {
    let dir = folder();
    let (env, mistakes) = (env(), Mistakes::default());
    let everything = format!("{EVERYTHING}{}{}", kms::tests::EVERY_SYSTEM, kms::tests::TOKEN.trim_start_matches('\n'));
    let parsed = parse_all(&everything, &Places { base: dir.path().to_path_buf(), env: &env }, &mistakes);
    assert_eq!(parsed.is_some(), cfg!(feature = "pkcs11"), "{:#?}", mistakes.into_list());
    // What is below them is not in the table: the kind says it.
    let closed = |key: &&key::Key| matches!(key.kind, key::Kind::Free | key::Kind::Secret);
    let free: Vec<&str> = key::all().filter(closed).map(|key| key.path).collect();
    let in_code: BTreeSet<String> = mistakes
        .asked()
        .into_iter()
        .filter(|path| !free.iter().any(|free| path.strip_prefix(free).is_some_and(|rest| rest.starts_with('.'))))
        .collect();
    let in_table: BTreeSet<String> = key::all().map(|key| key.path.to_owned()).collect();
    assert_eq!(in_code, in_table);
}

#[test]
fn the_documentation_holds_the_table_of_keys() {
    let rows: Vec<String> = key::all()
        .map(|key| format!("| `{}` | {} | {} | {} |", key.path, key.kind.name(), key.default, key.meaning))
        .collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, _) = text.split_once(TABLE_HEAD).unwrap();
    let wanted = format!("{before}{TABLE_HEAD}{}\n", rows.join("\n"));
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(found == wanted, "run this test with UPDATE_README=1 to write the table anew");
}

const TABLE_HEAD: &str = "| key | type | default | meaning |\n|---|---|---|---|\n";

#[test]
fn the_defaults_in_the_table_are_the_defaults_in_the_code() {
    let dir = folder();
    let bare = "listeners: [{ name: a, bind: 127.0.0.1:9192, cluster: one, brokers: { by: port, first_port: 9193, count: 8 }, tls: off }]\n\
                clusters: [{ name: one, bootstrap_servers: [a:1], tls: off }]\nstreams: { default: pass }\n";
    let config = Config::parse(bare, dir.path(), &[]).unwrap_or_else(|m| panic!("{m:#?}"));
    let written: String = key::all()
        .filter(|key| {
            matches!(key.path.split_once('.'), Some(("limits" | "log" | "keyring", _))) && key.default.starts_with('`')
        })
        .map(|key| {
            let (section, name) = key.path.split_once('.').unwrap();
            format!("BARNABAS__{}__{}={}\n", section.to_uppercase(), name.to_uppercase(), key.default.trim_matches('`'))
        })
        .collect();
    let env: Vec<(String, String)> =
        written.lines().map(|line| line.split_once('=').map(|(n, v)| (n.to_owned(), v.to_owned())).unwrap()).collect();
    assert!(env.len() > 10);
    assert_eq!(Config::parse(bare, dir.path(), &env).unwrap_or_else(|m| panic!("{m:#?}")), config);
}

#[test]
fn every_example_loads() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples");
    let mut seen = 0;
    for entry in std::fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        for file in [
            "tls/gateway.pem",
            "tls/gateway.key",
            "tls/clients-ca.pem",
            "tls/clients.crl",
            "tls/brokers-ca.pem",
            "secrets/kafka-password",
            "keystore.key",
            "delegate.certificate",
            "keystore",
            "tls/siem-ca.pem",
            "tls/kms-ca.pem",
            "tls/kms-client.pem",
            "tls/kms-client.key",
            "secrets/vault-secret-id",
            "secrets/pin",
            "libsofthsm2.so",
        ] {
            let file = dir.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "x").unwrap();
        }
        let text = std::fs::read_to_string(&path).unwrap().replace("/usr/lib/softhsm/", "");
        match Config::parse(&text, dir.path(), &[]) {
            Ok(_) => {}
            Err(mistakes) if needs_another_build(&mistakes) => {}
            Err(mistakes) => panic!("{}: {mistakes:#?}", path.display()),
        }
        seen += 1;
    }
    assert!(seen >= 10);
}

/// PKCS#11 in a build without it, and nothing else.
fn needs_another_build(mistakes: &[Mistake]) -> bool {
    let is_the_only = matches!(mistakes, [only] if only.text.contains("built without PKCS#11"));
    is_the_only && !cfg!(feature = "pkcs11")
}
