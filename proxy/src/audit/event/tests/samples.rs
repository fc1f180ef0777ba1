//! Events of every kind, made by the constructors that the gateway uses.

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{CustodyContext, CustodyError, EpochNumber, IdentityId, KeyId, StreamId, Suite};

use super::*;
use crate::audit::log::{Expired, Gap, GapReason};
use crate::config::{Changes, Config};

/// At least one of each kind, and together with every field.
pub(super) fn all() -> Vec<Event> {
    let mut events = of_connections();
    events.extend(of_keys());
    events.extend(of_gateways());
    events.extend(of_logs());
    events.extend(super::ring::events());
    events
}

fn peer() -> Peer {
    let peer = Peer::new(Principal::user("alice"), Some("192.0.2.7:40000".parse().unwrap()), Arc::from("main"), 4);
    peer.call_itself(b"billing");
    peer
}

fn certificate() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "alice");
    parameters.self_signed(&key).unwrap().der().to_vec()
}

fn of_connections() -> Vec<Event> {
    let (peer, certificate) = (peer(), certificate());
    let certificate = Some(ClientCertificate(&certificate));
    let verdict = Verdict::Refused(Status::Denied, "no_grant", Text::from("client has no grant"));
    let place = ("orders", Operation::Read);
    let time = Timestamp::from_second(1_800_000_000).unwrap();
    let counts = Counts { records: 3, bytes: 30, batches: 1, offsets: Some((5, 7)) };
    let opened = Use { status: Status::Success, reason: "opened" };
    let key_id = Some(KeyId::from_bytes([3; 16]));
    let outcome = |status, reason| RecordOutcome {
        first: 0,
        count: 1,
        status,
        reason,
        partition: Some(1),
        first_offset: Some(9),
    };
    vec![
        Event::authenticated(&peer, certificate),
        Event::not_authenticated(&peer, None, "handshake", "no certificate"),
        Event::disowned(&peer, certificate, "revoked"),
        Event::authorization(&peer, Api::Fetch, 12, place, &verdict),
        Event::authorization(&peer, Api::Produce, 12, ("orders", Operation::Write), &Verdict::Granted("sealed")),
        Event::record_refused(&peer, Api::Fetch, 12, place, (0, 77), &verdict),
        Event::request_refused(&peer, "DeleteTopics", "keyring", "the keyring topic is changed at the brokers only"),
        Event::records(&peer, (Api::Fetch, opened), ("orders", 0), key_id, &counts, (time, time)),
        Event::folded(&peer, 7, &counts, (time, time)),
        Event::http_request(
            &peer,
            &HttpRequest {
                mechanism: Mechanism::Bearer,
                method: "POST",
                path: "/topics/orders",
                topic: Some("orders"),
                status: 200,
                records: &(0..300)
                    .map(|first| RecordOutcome { first: first * 2, ..outcome(Status::Denied, Some("no_grant")) })
                    .collect::<Vec<_>>(),
                outcome: (Status::Success, None),
            },
        ),
    ]
}

fn of_keys() -> Vec<Event> {
    let (identity, stream) = (IdentityId::from_bytes([1; 16]), StreamId::from_bytes([2; 16]));
    let (epoch, key_id) = (EpochNumber::new(4), KeyId::from_bytes([3; 16]));
    let opened = Opened {
        principal: "User:bob",
        identity,
        key_id,
        stream,
        topic: Some("orders"),
        epoch: Some(epoch),
        writer: Some(IdentityId::from_bytes([4; 16])),
    };
    let error = CustodyError::new(CustodyCause::Disabled, "key orders is disabled");
    let took = Duration::from_millis(12);
    vec![
        Event::session_begun("User:alice", ("orders", stream), (epoch, key_id), Suite::Aes256Gcm),
        Event::session_opened(&opened, None),
        Event::session_opened(&opened, Some(&refused("no_grant"))),
        Event::custody_unwrap(("User:alice", identity), ("vault", "alice"), Some(&error), took),
        Event::custody_ended(("User:alice", identity), ("vault", "alice"), "disabled"),
        Event::kms_call(
            KmsOperation::Wrap,
            ("vault", "orders"),
            Some(&CustodyContext::EpochSeed(stream, epoch)),
            None,
            took,
        ),
    ]
}

fn of_gateways() -> Vec<Event> {
    let config = |default: &str| {
        let text = format!(
            "listeners: [{{ name: a, bind: 127.0.0.1:9192, cluster: one, brokers: {{ by: port, first_port: 9193, count: 8 }}, \
             tls: off }}]\nclusters: [{{ name: one, bootstrap_servers: [a:1], tls: off }}]\nstreams: {{ default: {default} }}\n"
        );
        Config::parse(&text, Path::new(""), &[]).unwrap()
    };
    let (before, after) = (config("pass"), config("refuse"));
    let changes = Changes { in_place: vec!["streams".to_owned()], needs_restart: vec!["limits".to_owned()] };
    vec![
        Event::started(&Run { unclean: true, on_failure: OnFailure::Block }, &before),
        Event::stopped(false),
        Event::configuration_changed(&before, &after, &changes),
        Event::configuration_refused(&before, &Config::parse("", Path::new(""), &[]).unwrap_err()),
        Event::policy_changed(&before.policy, &after.policy).unwrap(),
        Event::clock_offset(ClockReference::Head, -40),
    ]
}

fn of_logs() -> Vec<Event> {
    let time = Timestamp::from_second(1_800_000_000).unwrap();
    vec![
        Event::gap(&Gap { reason: GapReason::Refused, first: 10, entries: 3, since: time }),
        Event::expired(&Expired { first: 0, end: 256, written_before: time }),
        Event::log_read(&peer(), (0, 99), "topic=orders"),
        Event::cross_checkpoint(
            "audit.example/gateway-2",
            1000,
            "qqqq",
            "audit.example/gateway-2+0a0b0c0d",
            "note\n".to_owned(),
        ),
        Event::witness_alarm(
            "audit.example/gateway-2",
            WitnessAlarm::Shorter { size: 3, seen: 9 },
            "audit.example/gateway-3",
        ),
        Event::sink_lost("kafka", 17, time),
    ]
}
