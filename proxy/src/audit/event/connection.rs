//! Events of a connection: who it is, what it may do, what of it is refused as a whole.

use super::content::{AuthenticationInfo, AuthorizationInfo, Crypto, Outcome, Request, RequestMetadata, Status, Text};
use super::{Api, Event, Kind, Peer};
use crate::identity::CertificateNames;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// To be given records.
    Read,
    /// To add records.
    Write,
}

impl Operation {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "Read",
            Self::Write => "Write",
        }
    }
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The topic is not sealed: the broker decides.
    Passed,
    /// Allowed; the gateway seals and opens, or checks what the client seals and opens itself.
    Granted(&'static str),
    /// Refused: how, why in a word of a closed list, and in a sentence.
    Refused(Status, &'static str, Text),
}

impl Verdict {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Passed => Outcome { reason: Some("not_sealed_topic"), ..Outcome::default() },
            Self::Granted(how) => Outcome { reason: Some(how), ..Outcome::default() },
            Self::Refused(status, reason, message) => Outcome {
                status: *status,
                reason: Some(reason),
                message: Some(message.clone()).filter(|text| !text.as_str().is_empty()),
                repeated: None,
            },
        }
    }
}

/// A client's certificate, DER.
#[derive(Clone, Copy, Debug)]
pub struct ClientCertificate<'a>(pub &'a [u8]);

impl ClientCertificate<'_> {
    fn put(self, into: &mut AuthenticationInfo) {
        into.mechanism = Some("mTLS");
        let digest = ring::digest::digest(&ring::digest::SHA256, self.0);
        into.fingerprint = Some(hex::encode(digest.as_ref()));
        if let Some(names) = CertificateNames::of(self.0) {
            into.subject = Some(Text::from(names.subject));
            into.issuer = Some(Text::from(names.issuer));
            into.serial = Some(Text::from(names.serial));
        }
    }
}

impl Event {
    /// A client has connected.
    pub fn authenticated(peer: &Peer, certificate: Option<ClientCertificate<'_>>) -> Self {
        let mut event = Self::of_client(Kind::Authentication, peer, certificate);
        event.content.result.status = Status::Success;
        event
    }

    /// A client has failed to connect. Who it would have been is known only in part.
    pub fn not_authenticated(
        peer: &Peer,
        certificate: Option<ClientCertificate<'_>>,
        reason: &'static str,
        message: &str,
    ) -> Self {
        let mut event = Self::of_client(Kind::Authentication, peer, certificate);
        event.content.resource_name = Text::from(format!("listener={}", peer.listener));
        if let Some(who) = &mut event.content.authentication_info {
            who.principal = None;
        }
        event.content.result = failed(Status::Unauthenticated, reason, message);
        event
    }

    /// A client's certificate is not accepted any more.
    pub fn disowned(peer: &Peer, certificate: Option<ClientCertificate<'_>>, message: &str) -> Self {
        let mut event = Self::of_client(Kind::Disowned, peer, certificate);
        event.content.result = failed(Status::Unauthenticated, "certificate", message);
        event
    }

    /// What was decided about a topic.
    pub fn authorization(
        peer: &Peer,
        api: Api,
        correlation_id: i32,
        (topic, operation): (&str, Operation),
        verdict: &Verdict,
    ) -> Self {
        let mut event = Self::of_request(Kind::Authorization, peer, api.name(), Some(correlation_id));
        event.content.resource_name = Text::from(format!("topic={topic}"));
        event.content.authorization_info = Some(authorization_info(topic, operation, verdict));
        event.content.result = verdict.outcome();
        event
    }

    /// A partition, or a record in it, was refused. `place` is partition and offset, -1 where that is not known.
    pub fn record_refused(
        peer: &Peer,
        api: Api,
        correlation_id: i32,
        (topic, operation): (&str, Operation),
        (partition, offset): (i32, i64),
        verdict: &Verdict,
    ) -> Self {
        let mut event = Self::of_request(Kind::RecordRefused, peer, api.name(), Some(correlation_id));
        event.content.resource_name = Text::from(format!("topic={topic}"));
        event.content.authorization_info = Some(authorization_info(topic, operation, verdict));
        event.content.result = verdict.outcome();
        event.content.crypto = Some(Crypto {
            topic: Some(Text::from(topic)),
            partition: Some(partition),
            offset: Some(offset),
            ..Crypto::default()
        });
        event
    }

    /// A request was refused as a whole, whatever it asked for.
    pub fn request_refused(peer: &Peer, api: &str, reason: &'static str, message: &str) -> Self {
        let mut event = Self::of_request(Kind::RequestRefused, peer, api, None);
        event.content.resource_name = Text::from("gateway");
        event.content.result = failed(Status::Denied, reason, message);
        event
    }

    fn of_client(kind: Kind, peer: &Peer, certificate: Option<ClientCertificate<'_>>) -> Self {
        let mut event = Self::new(kind, format!("client={}", peer.principal));
        let mut who = principal(peer);
        match certificate {
            Some(certificate) => certificate.put(&mut who),
            None => who.mechanism = Some("none"),
        }
        event.content.authentication_info = Some(who);
        event.content.request_metadata = Some(metadata(peer));
        event
    }

    pub(super) fn of_request(kind: Kind, peer: &Peer, api: &str, correlation_id: Option<i32>) -> Self {
        let mut event = Self::new(kind, "");
        event.method = format!("kafka.{api}").into();
        event.content.authentication_info = Some(principal(peer));
        event.content.request =
            Some(Request { api: Some(Text::from(api)), correlation_id, client_id: peer.client_id() });
        event.content.request_metadata = Some(metadata(peer));
        event
    }
}

pub(super) fn principal(peer: &Peer) -> AuthenticationInfo {
    AuthenticationInfo { principal: Some(Text::from(peer.principal.as_str())), ..AuthenticationInfo::default() }
}

pub(super) fn metadata(peer: &Peer) -> RequestMetadata {
    RequestMetadata {
        client_address: peer.address.map(|address| Text::from(address.ip().to_canonical().to_string())),
        client_port: peer.address.map(|address| address.port()),
        listener: Some(Text::from(&peer.listener)).filter(|name| !name.as_str().is_empty()),
        connection: Some(peer.connection).filter(|number| *number > 0),
    }
}

pub(super) fn failed(status: Status, reason: &'static str, message: &str) -> Outcome {
    let message = Some(Text::from(message)).filter(|text| !text.as_str().is_empty());
    Outcome { status, reason: Some(reason), message, repeated: None }
}

fn authorization_info(topic: &str, operation: Operation, verdict: &Verdict) -> AuthorizationInfo {
    AuthorizationInfo {
        granted: !matches!(verdict, Verdict::Refused(..)),
        operation: operation.name(),
        resource_type: "Topic",
        resource_name: Text::from(topic),
        pattern_type: "LITERAL",
    }
}
