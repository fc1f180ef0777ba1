//! Events of the keyring: what stewards and commands, here or anywhere, have changed.
//!
//! Arrives: a place of the keyring that a record has changed. Leaves: the event, with who signed. Commands write to no log
//! of their own: what they change they sign, and each gateway that follows the keyring tells it. What must never happen here:
//! an object told that the keyring has not accepted.

use barnabas_crypto::{
    Announcement, Body, Custodian, Delegate, Effect, EpochNumber, Escrow, Grant, Identity, Keyring, Kind as ObjectKind,
    Refusal, SignedObject, Slot, Stream, StreamId, UnixMillis,
};

use super::connection::failed;
use super::content::{Crypto, DelegateTerms, EscrowTerms, GrantTerms, KeyringObject, KmsCall, Status, Text};
use super::encode::moment_of_millis;
use super::{Event, Kind};
use crate::steward::BY_POLICY;

/// When an object was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// As it came.
    Live,
    /// At the start: it came while this gateway was away.
    Late,
    /// At the first start: it was there before the log.
    Baseline,
}

impl Found {
    fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Late => "late",
            Self::Baseline => "baseline",
        }
    }
}

impl Event {
    /// What stands at a place now. `None` for heads, which are signed every minute, and for what changed nothing.
    pub fn of_keyring(
        keyring: &Keyring,
        slot: Slot,
        effect: Effect,
        offset: Option<i64>,
        found: Found,
    ) -> Option<Self> {
        if !matches!(effect, Effect::Added | Effect::Replaced | Effect::Removed) {
            return None;
        }
        let signed = keyring.accepted(slot.to_string().as_bytes())?;
        let fresh = effect == Effect::Added;
        let mut event = match signed.body() {
            Body::Announcement(announcement) => announced(keyring, announcement),
            Body::Delegate(delegate) => certified(delegate),
            Body::Epoch(epoch) => {
                let (kind, key) = match &epoch.custody {
                    None => (Kind::EpochDestroyed, None),
                    Some(_) if fresh => (Kind::EpochBegun, None),
                    Some(seed) => (Kind::SeedRewrapped, Some(Text::from(&seed.key))),
                };
                let mut event = Self::of_stream(kind, keyring, epoch.stream);
                event.crypto().epoch = Some(epoch.number.number());
                if kind == Kind::EpochBegun {
                    event.content.grant = Some(span(epoch.not_before, epoch.not_after));
                }
                event.content.kms = key.map(|key| KmsCall { key: Some(key), ..KmsCall::default() });
                event
            }
            Body::Escrow(escrow) => installed(escrow),
            Body::Floor(floor) => {
                let mut event = Self::of_stream(Kind::FloorRaised, keyring, floor.stream);
                event.crypto().epoch = Some(floor.minimum.number());
                event
            }
            Body::Grant(grant) => granted(keyring, grant),
            Body::Head(_) => return None,
            Body::Identity(identity) => enrolled(identity, fresh),
            Body::Removal(removal) => {
                let kind = match removal.target.kind {
                    ObjectKind::Escrow => Kind::EscrowRetired,
                    _ => Kind::ObjectRemoved,
                };
                let mut event = Self::new(kind, removal.target.to_string());
                event.content.result = failed(Status::Success, "removed", &removal.reason);
                event
            }
            Body::Stream(stream) => sealed(stream),
        };
        if effect == Effect::Replaced {
            event.content.result.reason = Some("replaced");
        }
        event.content.keyring = Some(object(keyring, slot, signed, offset, found));
        Some(event)
    }

    /// A record of the keyring's topic that changed nothing, since it must not.
    pub fn keyring_refused(key: &str, offset: i64, refusal: &Refusal, reason: &'static str) -> Self {
        let mut event = Self::new(Kind::ObjectRefused, "keyring");
        event.content.keyring =
            Some(KeyringObject { object: Text::from(key), offset: Some(offset), ..KeyringObject::default() });
        event.content.result = failed(Status::Failure, reason, &refusal.to_string());
        event
    }

    fn of_stream(kind: Kind, keyring: &Keyring, stream: StreamId) -> Self {
        let topic = keyring.stream(stream).map(|stream| stream.topic.as_str());
        let resource = topic.map_or_else(|| format!("stream={stream}"), |topic| format!("topic={topic}"));
        let mut event = Self::new(kind, resource);
        *event.crypto() =
            Crypto { topic: topic.map(Text::from), stream: Some(stream.to_string()), ..Crypto::default() };
        event
    }

    fn crypto(&mut self) -> &mut Crypto {
        self.content.crypto.get_or_insert_default()
    }
}

fn object(keyring: &Keyring, slot: Slot, signed: &SignedObject, offset: Option<i64>, found: Found) -> KeyringObject {
    let signed_by = match signed.body() {
        Body::Announcement(_) => "writer",
        _ if signed.signer() == keyring.root().signer_id() => "root",
        _ => "delegate",
    };
    KeyringObject {
        object: Text::from(slot.to_string()),
        version: Some(signed.object().version),
        signer: Some(signed.signer().to_string()),
        signed_by: Some(signed_by),
        issued_at: moment_of_millis(signed.object().issued_at.millis()),
        offset,
        found: Some(found.name()),
    }
}

fn announced(keyring: &Keyring, announcement: &Announcement) -> Event {
    let terms = &announcement.terms;
    let mut event = Event::of_stream(Kind::SessionAnnounced, keyring, terms.stream);
    let client = keyring.identity(terms.writer).map(|identity| identity.principal.as_str());
    let escrows = announcement.wraps.iter().filter(|wrap| wrap.kind == ESCROW_WRAP).count() as u64;
    let crypto = event.crypto();
    crypto.client = client.or(terms.on_behalf_of.as_deref()).map(Text::from);
    crypto.writer = Some(terms.writer.to_string());
    crypto.epoch = Some(terms.epoch.number());
    crypto.key_id = Some(announcement.key_id().to_string());
    crypto.suite = Some(terms.suite.to_string());
    crypto.escrows = Some(escrows).filter(|count| *count > 0);
    event.content.grant = Some(span(terms.not_before, terms.not_after));
    event
}

fn certified(delegate: &Delegate) -> Event {
    let mut event = Event::new(Kind::DelegateCertified, format!("delegate={}", delegate.key.signer_id()));
    event.content.delegate = Some(DelegateTerms {
        key: delegate.key.to_string(),
        powers: delegate.powers.bits(),
        scope: delegate.scope.as_ref().map(Text::from),
        not_before: moment_of_millis(delegate.not_before.millis()).unwrap_or_default(),
        not_after: moment_of_millis(delegate.not_after.millis()).unwrap_or_default(),
    });
    event
}

fn installed(escrow: &Escrow) -> Event {
    let mut event = Event::new(Kind::EscrowInstalled, format!("escrow={}", escrow.id()));
    event.content.escrow = Some(EscrowTerms {
        threshold: escrow.threshold,
        shares: escrow.shares,
        custodians: Text::from(&escrow.custodians),
    });
    event
}

fn granted(keyring: &Keyring, grant: &Grant) -> Event {
    let kind = if grant.revoked_at.is_some() { Kind::GrantRevoked } else { Kind::GrantGiven };
    let mut event = Event::of_stream(kind, keyring, grant.stream);
    let client = keyring.identity(grant.identity).map(|identity| Text::from(&identity.principal));
    event.crypto().client = client;
    event.crypto().identity = Some(grant.identity.to_string());
    event.content.grant = Some(GrantTerms {
        right: Some(grant.right.name()),
        first_epoch: Some(grant.first.number()),
        last_epoch: Some(grant.last).filter(|last| *last != OPEN_END).map(EpochNumber::number),
        revoked_at: grant.revoked_at.and_then(|at| moment_of_millis(at.millis())),
        by: Some(if grant.valid_to == BY_POLICY { "policy" } else { "name" }),
        ..span(grant.valid_from, grant.valid_to)
    });
    event
}

fn enrolled(identity: &Identity, fresh: bool) -> Event {
    let (custody, key) = match &identity.custody {
        Custodian::Gateway(seed) => ("gateway", Some(Text::from(&seed.key))),
        Custodian::Client => ("client", None),
    };
    let kind = if fresh { Kind::ClientEnrolled } else { Kind::SeedRewrapped };
    let mut event = Event::new(kind, format!("client={}", identity.principal));
    let crypto = event.crypto();
    crypto.client = Some(Text::from(&identity.principal));
    crypto.identity = Some(identity.id().to_string());
    if fresh {
        crypto.custody = Some(custody);
        crypto.enrolled_by = Some(Text::from(&identity.enrolled_by));
    } else {
        event.content.kms = key.map(|key| KmsCall { key: Some(key), ..KmsCall::default() });
    }
    event
}

fn sealed(stream: &Stream) -> Event {
    let mut event = Event::new(Kind::StreamChanged, format!("topic={}", stream.topic));
    *event.crypto() = Crypto {
        topic: Some(Text::from(&stream.topic)),
        stream: Some(stream.id.to_string()),
        suite: Some(stream.suite.to_string()),
        sealed: Some(stream.sealed),
        ..Crypto::default()
    };
    event
}

fn span(from: UnixMillis, to: UnixMillis) -> GrantTerms {
    GrantTerms {
        valid_from: moment_of_millis(from.millis()),
        valid_to: moment_of_millis(to.millis()),
        ..GrantTerms::default()
    }
}

/// The last epoch of a grant without one.
const OPEN_END: EpochNumber = EpochNumber::new(u32::MAX);

/// Wrap kind 4 (ENVELOPE.md): to an escrow key.
const ESCROW_WRAP: u8 = 4;
