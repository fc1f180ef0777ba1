//! Events of keys in use: sessions begun and opened, seeds asked of key management systems.

use std::time::Duration;

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{CustodyContext, CustodyError, EpochNumber, IdentityId, KeyId, StreamId, Suite};

use super::connection::failed;
use super::content::{AuthenticationInfo, Crypto, KmsCall, Outcome, Status, Text};
use super::{Event, Kind, Verdict};

/// A session that a reader has asked for.
#[derive(Clone, Copy, Debug)]
pub struct Opened<'a> {
    /// Who reads.
    pub principal: &'a str,
    /// With which identity.
    pub identity: IdentityId,
    /// Which session.
    pub key_id: KeyId,
    /// Of which stream.
    pub stream: StreamId,
    /// That is this topic, when it is known.
    pub topic: Option<&'a str>,
    /// In which epoch; unknown for a session that nobody has announced.
    pub epoch: Option<EpochNumber>,
    /// Whose identity seals in it.
    pub writer: Option<IdentityId>,
}

/// What is asked of a key management system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KmsOperation {
    /// A key is made, unless it is there.
    EnsureKey,
    /// A secret is given back.
    Unwrap,
    /// The version in use is named.
    Version,
    /// A secret is hidden.
    Wrap,
}

impl KmsOperation {
    fn name(self) -> &'static str {
        match self {
            Self::EnsureKey => "ensure_key",
            Self::Unwrap => "unwrap",
            Self::Version => "version",
            Self::Wrap => "wrap",
        }
    }
}

impl Event {
    /// This gateway begins to seal with a session of its own making.
    pub fn session_begun(
        principal: &str,
        (topic, stream): (&str, StreamId),
        (epoch, key_id): (EpochNumber, KeyId),
        suite: Suite,
    ) -> Self {
        let mut event = Self::by(Kind::SessionBegun, principal, format!("topic={topic}"));
        event.content.crypto = Some(Crypto {
            topic: Some(Text::from(topic)),
            stream: Some(stream.to_string()),
            epoch: Some(epoch.number()),
            key_id: Some(key_id.to_string()),
            suite: Some(suite.to_string()),
            ..Crypto::default()
        });
        event
    }

    /// A reader's session was unwrapped, or was not.
    pub fn session_opened(opened: &Opened<'_>, refused: Option<&Verdict>) -> Self {
        let resource = match opened.topic {
            Some(topic) => format!("topic={topic}"),
            None => format!("stream={}", opened.stream),
        };
        let mut event = Self::by(Kind::SessionOpened, opened.principal, resource);
        if let Some(Verdict::Refused(status, reason, message)) = refused {
            event.content.result = failed(*status, reason, message.as_str());
        }
        event.content.crypto = Some(Crypto {
            identity: Some(opened.identity.to_string()),
            writer: opened.writer.map(|writer| writer.to_string()),
            topic: opened.topic.map(Text::from),
            stream: Some(opened.stream.to_string()),
            epoch: opened.epoch.map(EpochNumber::number),
            key_id: Some(opened.key_id.to_string()),
            ..Crypto::default()
        });
        event
    }

    /// The seed of a client was asked of its system.
    pub fn custody_unwrap(
        (principal, identity): (&str, IdentityId),
        (system, key): (&str, &str),
        error: Option<&CustodyError>,
        took: Duration,
    ) -> Self {
        let mut event = Self::of_identity(Kind::CustodyUnwrap, principal, identity);
        event.content.kms = Some(KmsCall {
            system: Some(Text::from(system)),
            key: Some(Text::from(key)),
            operation: Some(KmsOperation::Unwrap.name()),
            purpose: Some("identity"),
            millis: Some(millis(took)),
        });
        event.content.result = of_custody(error);
        event
    }

    /// The secret of a client is used no more.
    pub fn custody_ended((principal, identity): (&str, IdentityId), (system, key): (&str, &str), why: &str) -> Self {
        let mut event = Self::of_identity(Kind::CustodyEnded, principal, identity);
        let (system, key) = (Some(Text::from(system)), Some(Text::from(key)));
        event.content.kms = Some(KmsCall { system, key, ..KmsCall::default() });
        event.content.result = failed(Status::Success, "custody_ended", why);
        event
    }

    /// Any other call to a system.
    pub fn kms_call(
        operation: KmsOperation,
        (system, key): (&str, &str),
        context: Option<&CustodyContext>,
        error: Option<&CustodyError>,
        took: Duration,
    ) -> Self {
        let mut event = Self::new(Kind::KmsCall, format!("kms={system}"));
        event.content.kms = Some(KmsCall {
            system: Some(Text::from(system)),
            key: Some(Text::from(key)),
            operation: Some(operation.name()),
            purpose: context.map(purpose),
            millis: Some(millis(took)),
        });
        event.content.result = of_custody(error);
        event
    }

    fn by(kind: Kind, principal: &str, resource: String) -> Self {
        let mut event = Self::new(kind, resource);
        let principal = Some(Text::from(principal));
        event.content.authentication_info = Some(AuthenticationInfo { principal, ..AuthenticationInfo::default() });
        event
    }

    fn of_identity(kind: Kind, principal: &str, identity: IdentityId) -> Self {
        let mut event = Self::new(kind, format!("client={principal}"));
        let (client, identity) = (Some(Text::from(principal)), Some(identity.to_string()));
        event.content.crypto = Some(Crypto { client, identity, ..Crypto::default() });
        event
    }
}

fn of_custody(error: Option<&CustodyError>) -> Outcome {
    let Some(error) = error else { return Outcome::default() };
    let (status, reason) = match error.cause {
        CustodyCause::Denied => (Status::Denied, "denied"),
        CustodyCause::Disabled => (Status::Denied, "disabled"),
        CustodyCause::NotFound => (Status::Denied, "not_found"),
        CustodyCause::Corrupt => (Status::Failure, "corrupt"),
        CustodyCause::Invalid => (Status::Failure, "invalid"),
        CustodyCause::Throttled => (Status::Unavailable, "throttled"),
        CustodyCause::Unauthenticated => (Status::Unavailable, "unauthenticated"),
        _ => (Status::Unavailable, "unreachable"),
    };
    failed(status, reason, &error.to_string())
}

fn purpose(context: &CustodyContext) -> &'static str {
    match context {
        CustodyContext::EpochSeed(..) => "epoch",
        CustodyContext::IdentitySeed(_) => "identity",
        CustodyContext::SessionSecret(_) => "session",
        CustodyContext::SigningSeed(_) => "signing",
    }
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
