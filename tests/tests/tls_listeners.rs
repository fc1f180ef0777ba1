//! Promise: who a client is comes from its certificate, is checked as the listener says, and changes (a revocation list, a new certificate)
//! take effect without a restart.

use std::fs;

use rcgen::SanType;
use rdkafka::error::RDKafkaErrorCode;

use barnabas_tests::broker::Broker;
use barnabas_tests::certs::Authority;
use barnabas_tests::clients::record::{assert_same, numbered};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::gateway::{ClientAuth, Rule, Settings, Tls};
use barnabas_tests::scratch::Scratch;
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wait;
use barnabas_tests::wire::Connection;

fn answers(endpoint: &Endpoint) -> bool {
    let files = endpoint.tls.as_ref().expect("a TLS client");
    Connection::open_tls(&endpoint.bootstrap, files).and_then(|mut c| c.metadata(Some(&[]))).is_ok()
}

fn client_auth(auth: ClientAuth) -> impl FnOnce(Settings) -> Settings {
    move |settings| {
        let tls = settings.tls.clone().expect("a TLS listener");
        Settings { tls: Some(Tls { client_auth: auth, ..tls }), ..settings }
    }
}

#[test]
fn required_lets_nobody_in_without_a_certificate_of_the_right_authority() {
    let mut site = Site::new();
    site.gateway.expect_in_log("certificate");
    site.gateway.expect_in_log("handshake");
    assert!(answers(&site.client("alice")));
    assert!(!answers(&site.endpoint(&site.authority.anonymous())));
    let folder = Scratch::new("stranger");
    let stranger = Authority::new(folder.path()).client("alice").own;
    let files = barnabas_tests::certs::ClientFiles { ca: site.authority.ca(), own: stranger };
    assert!(!answers(&site.endpoint(&files)));
    assert!(
        Connection::open(&site.gateway.bootstrap()).and_then(|mut c| c.metadata(Some(&[]))).is_err(),
        "no TLS, no answer"
    );
}

#[test]
fn optional_lets_an_anonymous_client_in_but_gives_it_no_key() {
    let mut site = Site::with(Broker::shared(), client_auth(ClientAuth::Optional));
    site.gateway.expect_in_log("User:ANONYMOUS");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let anonymous = site.endpoint(&site.authority.anonymous());
    assert!(answers(&anonymous));
    assert!(rd::try_produce(&anonymous, &topic, &numbered(&secret, 0, 0)).is_err());
    let alice = site.client("alice");
    let records = [numbered(&secret, 0, 0)];
    rd::produce(&alice, &topic, &records, &[]);
    assert_same(&records, &rd::read_all(&alice, &topic));
    let reading = rd::read(&anonymous, &topic, &[]);
    assert_eq!(reading.error, Some(RDKafkaErrorCode::TopicAuthorizationFailed));
    site.assert_sealed(&topic, 1, &secret);
}

#[test]
fn off_asks_nobody_and_open_topics_pass() {
    let site = Site::with(Broker::shared(), client_auth(ClientAuth::Off));
    let topic = site.open_topic(1);
    let anonymous = site.endpoint(&site.authority.anonymous());
    let records = [numbered("in the open", 0, 0)];
    rd::produce(&anonymous, &topic, &records, &[]);
    assert_same(&records, &rd::read_all(&anonymous, &topic));
}

#[test]
fn a_certificate_on_the_revocation_list_is_refused_after_a_reload() {
    let folder = Scratch::new("crl");
    let mut site = Site::new();
    site.gateway.expect_in_log("certificate");
    site.gateway.expect_in_log("handshake");
    let (alice, bob) = (site.authority.client("alice"), site.authority.client("bob"));
    let (at_alice, at_bob) = (site.endpoint(&alice), site.endpoint(&bob));
    assert!(answers(&at_alice) && answers(&at_bob));
    let list = site.authority.revoke(&[&bob]);
    site.gateway.reload(|settings| {
        if let Some(tls) = &mut settings.tls {
            tls.crls = vec![list];
        }
    });
    wait::until_true("bob's certificate is refused", || !answers(&at_bob));
    assert!(answers(&at_alice), "the others stay");
    drop(folder);
}

#[test]
fn a_list_that_grows_takes_effect_without_a_signal() {
    let broker = Broker::shared();
    let folder = Scratch::new("crl");
    let mut authority = Authority::new(folder.path());
    let server = authority.server("gateway", &[]);
    let (alice, bob) = (authority.client("alice"), authority.client("bob"));
    let list = authority.revoke(&[]);
    let home = barnabas_tests::gateway::Home::new();
    let mut settings = Settings::new(broker.address()).with_tls(&server);
    settings.tls = Some(Tls { server, client_auth: ClientAuth::Required, crls: vec![list] });
    let mut gateway = barnabas_tests::gateway::Gateway::start(&home, settings);
    gateway.expect_in_log("certificate");
    gateway.expect_in_log("handshake");
    let (at_alice, at_bob) = (Endpoint::tls(&gateway.bootstrap(), &alice), Endpoint::tls(&gateway.bootstrap(), &bob));
    assert!(answers(&at_alice) && answers(&at_bob));
    authority.revoke(&[&bob]);
    wait::until_true("bob's certificate is refused", || !answers(&at_bob));
    assert!(answers(&at_alice));
}

#[test]
fn a_new_server_certificate_is_shown_without_a_restart_and_a_broken_one_is_not() {
    let mut site = Site::new();
    site.gateway.expect_in_log("certificate");
    let alice = site.client("alice");
    assert!(answers(&alice));
    let other_folder = Scratch::new("other");
    let mut other = Authority::new(other_folder.path());
    let fresh = other.server("gateway", &[]);
    fs::copy(&fresh.private_key, &site.server.private_key).expect("copied");
    fs::copy(&fresh.certificate, &site.server.certificate).expect("copied");
    site.gateway.reload(|_| {});
    let trusting_new =
        |own| Endpoint::tls(&site.gateway.bootstrap(), &barnabas_tests::certs::ClientFiles { ca: other.ca(), own });
    let own = alice.tls.as_ref().and_then(|files| files.own.clone());
    wait::until_true("the new certificate is shown", || answers(&trusting_new(own.clone())));
    fs::write(&site.server.certificate, "not a certificate").expect("written");
    site.gateway.signal(barnabas_tests::process::Signal::HUP);
    site.gateway.wait_for_log("certificate");
    let trusting_new =
        Endpoint::tls(&site.gateway.bootstrap(), &barnabas_tests::certs::ClientFiles { ca: other.ca(), own });
    assert!(answers(&trusting_new), "the old one stays in use");
}

#[test]
fn a_spiffe_id_is_a_principal() {
    let id = "spiffe://example.org/orders";
    let change = |settings: Settings| Settings {
        principal_from: Some("san_uri".to_owned()),
        mapping_rules: vec![],
        rules: vec![Rule::sealed_pattern("sealed.*", &format!("User:{id}"), &format!("User:{id}"))],
        ..settings
    };
    let mut site = Site::with(Broker::shared(), change);
    site.gateway.expect_in_log("spiffe://example.org/other");
    site.gateway.expect_in_log("may not write");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let uri = |text: &str| vec![SanType::URI(text.try_into().expect("a URI"))];
    let orders = site.authority.client_with("whoever", uri(id));
    let other = site.authority.client_with("whoever", uri("spiffe://example.org/other"));
    let records = [numbered(&secret, 0, 0)];
    rd::produce(&site.endpoint(&orders), &topic, &records, &[]);
    assert!(rd::try_produce(&site.endpoint(&other), &topic, &numbered(&secret, 1, 0)).is_err());
    assert_same(&records, &rd::read_all(&site.endpoint(&orders), &topic));
    site.assert_sealed(&topic, 1, &secret);
}

#[test]
fn tls_and_a_client_certificate_work_towards_the_broker() {
    let broker = Broker::shared();
    let change = |settings: Settings| Settings {
        upstream: broker.site().tls_address.clone(),
        upstream_tls: Some(broker.tls_client()),
        ..settings
    };
    let mut site = Site::with(broker, change);
    let (topic, secret) = (site.sealed_topic(1), secret());
    let records = [numbered(&secret, 0, 0)];
    let alice = site.client("alice");
    rd::produce(&alice, &topic, &records, &[]);
    assert_same(&records, &rd::read_all(&alice, &topic));
    site.assert_sealed(&topic, 1, &secret);
}

#[test]
fn sasl_of_the_client_passes_to_the_broker_untouched() {
    let broker = Broker::shared();
    let password = Scratch::new("sasl");
    let file = password.write("password", "alice-secret");
    let change = |settings: Settings| Settings {
        upstream: broker.site().sasl_address.clone(),
        upstream_client: vec![
            "sasl.mechanism: SCRAM-SHA-256".to_owned(),
            "sasl.username: alice".to_owned(),
            format!("sasl.password: {{ file: {} }}", file.display()),
        ],
        ..settings
    };
    let mut site = Site::with(broker, change);
    site.gateway.expect_in_log("SASL");
    let (topic, secret) = (site.sealed_topic(1), secret());
    let alice = site.client("alice");
    let records: Vec<_> = (0..10).map(|n| numbered(&secret, n, 0)).collect();
    for (n, mechanism) in ["PLAIN", "SCRAM-SHA-256"].into_iter().enumerate() {
        let sasl = |password| {
            [
                ("security.protocol", "sasl_ssl"),
                ("sasl.mechanism", mechanism),
                ("sasl.username", "alice"),
                ("sasl.password", password),
                ("message.timeout.ms", "20000"),
            ]
        };
        rd::produce(&alice, &topic, &records[5 * n..5 * n + 5], &sasl("alice-secret"));
        let reading = rd::read(&alice, &topic, &sasl("alice-secret"));
        assert_eq!(reading.error, None);
        assert_same(&records[..5 * n + 5], &reading.records);
        let mut wrong = rd::Producer::new(&alice, &sasl("not the password"));
        wrong.send(&topic, &numbered(&secret, 99, 0));
        assert!(wrong.outcomes()[0].is_err(), "the broker decides about passwords");
    }
    site.assert_sealed(&topic, records.len(), &secret);
}
