//! What the data path asks: may this client write here, read here, open this session?
//!
//! Arrives: a principal and a topic, or a key id. Leaves: a decision with what is needed to carry it out. Policy says
//! what is sealed; identities, epochs, grants and announcements in the keyring say who can do it; what policy allows
//! and the keyring has not yet is asked of the steward. Every wait is bounded, and what cannot be decided is refused
//! with a code that clients retry. What must never happen here: `Pass` for a topic that policy or keyring calls sealed.

mod reading;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use barnabas_crypto::{
    Custodian, Error as CryptoError, Grant, HeadState, Identity, IdentityId, KeyId, Keyring, Right, Session,
    SessionLimits, SessionPlan, SessionReader, Stream, UnixMillis, Writer,
};

use super::access::{ReadAccess, WriteAccess};
use super::client_sealed::AnnouncedSessions;
use super::live::{LiveKeyring, now};
use super::sealing::{STEWARD_WAIT, Sealing};
use crate::audit::event::{Audit, Event};
use crate::chain::refusal::Reason;
use crate::config::{Compress, IDEMPOTENCY_TOPIC, OnUnreadable, Policy, StreamRule};
use crate::custody::Changes;
use crate::identity::Principal;
use crate::metrics::Metrics;
use crate::steward::{BY_POLICY, Need};

/// Keys and policy as the data path sees them.
pub struct Keys {
    policy: ArcSwap<Policy>,
    live: Arc<LiveKeyring>,
    /// What only a gateway that can seal has.
    sealing: Option<Sealing>,
    metrics: Arc<Metrics>,
    passing: Mutex<PassingTime>,
    /// Whether the keyring was vouched for when the connections last decided.
    vouched: AtomicBool,
}

impl Keys {
    /// A gateway under `policy`; `sealing` is there whenever the policy can seal.
    pub fn new(policy: Policy, live: Arc<LiveKeyring>, sealing: Option<Sealing>, metrics: Arc<Metrics>) -> Self {
        let (policy, passing) = (ArcSwap::from_pointee(policy), Mutex::default());
        Self { policy, live, sealing, metrics, passing, vouched: AtomicBool::new(false) }
    }

    /// The audit log.
    pub fn audit(&self) -> &Audit {
        self.live.audit()
    }

    /// Rises when a decision may have changed.
    pub fn generation(&self) -> u64 {
        self.live.generation()
    }

    /// Puts another policy in force, for every connection from its next request on.
    pub fn replace_policy(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
        self.live.bump();
    }

    /// The keyring's topic, when there is one.
    pub fn keyring_topic(&self) -> Option<&str> {
        self.sealing.as_ref().map(|sealing| sealing.topic.as_str())
    }

    /// Whether a topic is the keyring.
    pub fn is_keyring(&self, topic: &str) -> bool {
        self.keyring_topic() == Some(topic)
    }

    /// The topics that only the gateways write, and nobody changes through them.
    pub fn own_topics(&self) -> Vec<String> {
        let audit = self.policy.load().audit_topics().to_vec();
        let keyring = self.keyring_topic().map(str::to_owned);
        keyring.into_iter().chain(audit).chain([IDEMPOTENCY_TOPIC.to_owned()]).collect()
    }

    /// Tells this installation from others on the same cluster: its keyring's name.
    pub fn installation(&self) -> String {
        self.policy.load().keyring_topic().to_owned()
    }

    /// Whether keys may be made for a topic when it is written to.
    pub fn may_seal(&self, topic: &str) -> bool {
        let by_policy = matches!(self.policy.load().stream(topic), StreamRule::Seal(_));
        let by_keyring =
            || self.live.read(|keyring| keyring.stream_of_topic(topic).is_some_and(|stream| stream.sealed));
        !self.is_keyring(topic) && (by_policy || by_keyring())
    }

    /// What becomes of records that `who` writes to `topic`.
    pub async fn writer(&self, who: &Principal, topic: &str) -> Result<WriteAccess, Reason> {
        if let Some(sealing) = self.sealing.as_ref().filter(|_| self.is_keyring(topic)) {
            return self.keyring_writer(sealing, who);
        }
        if self.policy.load().is_audit_topic(topic) {
            tracing::warn!(event = "audit_write_refused", principal = %who, topic);
            return Err(Reason::NotWriter);
        }
        if topic == IDEMPOTENCY_TOPIC {
            tracing::warn!(event = "idempotency_write_refused", principal = %who, topic);
            return Err(Reason::NotWriter);
        }
        let Some(sealing) = self.sealed(topic)? else {
            return Ok(WriteAccess::Pass);
        };
        let identity = self.identity(sealing, who).await?;
        let stream = self.stream(sealing, who, topic).await?;
        self.right(sealing, &identity, &stream, Right::Write, topic, who).await?;
        if identity.custody == Custodian::Client {
            let rules = AnnouncedSessions::new(self.live.clone(), identity.id(), stream.id);
            return Ok(WriteAccess::SealedByClient(Arc::new(rules)));
        }
        let session = self.session_of(sealing, &identity, &stream, who, None).await?;
        Ok(WriteAccess::Seal(session, self.compress(topic)))
    }

    /// Clients with keys of their own announce their sessions in the keyring. Nobody else has anything to say there:
    /// garbage under an object's key would make compaction drop the object, and the topic is read from its start.
    fn keyring_writer(&self, sealing: &Sealing, who: &Principal) -> Result<WriteAccess, Reason> {
        if !self.live.is_caught_up() {
            return Err(Reason::Unavailable("the keyring is still being read"));
        }
        let own_keys = |identity: &Identity| identity.custody == Custodian::Client;
        let announces = self.live.read(|keyring| keyring.identity_of(who.as_str()).is_some_and(own_keys));
        if announces {
            Ok(WriteAccess::Pass)
        } else {
            tracing::warn!(event = "keyring_write_refused", principal = %who, topic = sealing.topic);
            Err(Reason::NotWriter)
        }
    }

    /// The same after the session `spent` has come to one of its limits.
    pub async fn rotated(&self, who: &Principal, topic: &str, spent: KeyId) -> Result<WriteAccess, Reason> {
        let Some(sealing) = self.sealed(topic)? else {
            return Err(Reason::Unavailable("stream changed"));
        };
        let identity = self.identity(sealing, who).await?;
        let stream = self.stream(sealing, who, topic).await?;
        let session = self.session_of(sealing, &identity, &stream, who, Some(spent)).await?;
        Ok(WriteAccess::Seal(session, self.compress(topic)))
    }

    /// What becomes of records that `who` reads from `topic`.
    pub async fn reader(&self, who: &Principal, topic: &str) -> Result<ReadAccess, Reason> {
        if topic == IDEMPOTENCY_TOPIC {
            return Err(Reason::NoGrant);
        }
        let Some(sealing) = self.sealed(topic)? else {
            return Ok(ReadAccess::Pass);
        };
        let identity = self.identity(sealing, who).await?;
        let stream = self.stream(sealing, who, topic).await?;
        self.right(sealing, &identity, &stream, Right::Read, topic, who).await?;
        let on_unreadable = on_unreadable(&stream, self.policy.load().stream(topic));
        Ok(match identity.custody {
            Custodian::Gateway(_) => ReadAccess::Open { stream: stream.id, on_unreadable },
            Custodian::Client => ReadAccess::SealedForClient { stream: stream.id, on_unreadable },
        })
    }

    /// Publishes again what a refused record under the same key would make compaction drop.
    pub async fn repair(&self) {
        let Some(sealing) = &self.sealing else { return };
        for (key, wire) in self.live.to_repair() {
            match sealing.publisher.send(key.clone(), Some(&wire)).await {
                Ok(()) => tracing::info!(event = "keyring_object_republished", key = %String::from_utf8_lossy(&key)),
                Err(error) => tracing::warn!(event = "keyring_repair_failed", %error),
            }
        }
    }

    /// `None`: the topic is not sealed. A stream in the keyring is sealed whatever the policy says of it.
    fn sealed(&self, topic: &str) -> Result<Option<&Sealing>, Reason> {
        let policy = self.policy.load();
        let rule = policy.stream(topic);
        let standing = self.live.read(|keyring| keyring.stream_of_topic(topic).map(|stream| stream.sealed));
        let by_keyring = standing == Some(true);
        match rule {
            StreamRule::Refuse if !by_keyring => Err(Reason::Unlisted),
            StreamRule::Pass if !by_keyring => self.check_passing(topic, standing.is_some()).map(|()| None),
            _ => match &self.sealing {
                Some(_) if !self.live.is_caught_up() => Err(Reason::Unavailable("the keyring is still being read")),
                Some(sealing) => Ok(Some(sealing)),
                None => Err(Reason::Unavailable("this gateway has no keystore")),
            },
        }
    }

    /// A topic that no rule seals may have been sealed by a command. Nothing but the keyring says so, so it passes only
    /// while the keyring is certainly whole; and one that was sealed once, only when a signed object says that it is not
    /// any more (`stands`).
    fn check_passing(&self, topic: &str, stands: bool) -> Result<(), Reason> {
        let Some(sealing) = &self.sealing else { return Ok(()) };
        // Read by those with keys of their own, who check what they read.
        if self.is_keyring(topic) {
            return Ok(());
        }
        self.check_vouched(sealing)?;
        if !stands && self.live.was_sealed(topic) {
            return Err(Reason::Unavailable("the topic was sealed, and the keyring does not say so any more"));
        }
        Ok(())
    }

    /// Whether topics may pass, as far as the keyring is concerned.
    pub fn is_vouched(&self) -> bool {
        self.sealing.as_ref().is_none_or(|sealing| self.check_vouched(sealing).is_ok())
    }

    /// The newest head says exactly what was read, and is recent: nothing that was signed before it is withheld.
    fn check_vouched(&self, sealing: &Sealing) -> Result<(), Reason> {
        if !self.live.is_caught_up() {
            return Err(Reason::Unavailable("the keyring is still being read"));
        }
        let (state, age) = self.live.read(|keyring| (keyring.head_state(), keyring.head_age(now())));
        vouched(state, age.map(Duration::from_millis), sealing.max_head_age)
    }

    fn compress(&self, topic: &str) -> Compress {
        match self.policy.load().stream(topic) {
            StreamRule::Seal(rule) => rule.compress,
            _ => Compress::None,
        }
    }

    async fn identity(&self, sealing: &Sealing, who: &Principal) -> Result<Identity, Reason> {
        let find = |live: &LiveKeyring| live.read(|keyring| keyring.identity_of(who.as_str()).cloned());
        if let Some(identity) = find(&self.live) {
            return Ok(identity);
        }
        if self.policy.load().enrolment(who) != Some(crate::config::Custody::Gateway) {
            return Err(Reason::NoIdentity);
        }
        sealing.ask(Need::Identity { principal: who.clone() }).await?;
        self.live
            .wait_for(STEWARD_WAIT, find)
            .await
            .ok_or(Reason::Unavailable("the steward has not enrolled the client"))
    }

    async fn stream(&self, sealing: &Sealing, who: &Principal, topic: &str) -> Result<Stream, Reason> {
        let find = |live: &LiveKeyring| {
            live.read(|keyring| {
                let stream = keyring.stream_of_topic(topic)?;
                keyring.current_epoch(stream.id, now())?;
                Some(stream.clone())
            })
        };
        if let Some(stream) = find(&self.live) {
            return Ok(stream);
        }
        // Whoever may do nothing here has no business making keys either.
        let allowed = match self.policy.load().stream(topic) {
            StreamRule::Seal(rule) => rule.may_read(who) || rule.may_write(who),
            _ => false,
        };
        let known = self.live.read(|keyring| keyring.stream_of_topic(topic).is_some());
        if !allowed && !known {
            return Err(Reason::NotWriter);
        }
        if !known && !sealing.pace.allows(who.as_str(), topic, std::time::Instant::now()) {
            return Err(Reason::Unavailable("too many new streams for this principal"));
        }
        sealing.ask(Need::Stream { topic: topic.to_owned() }).await?;
        self.live.wait_for(STEWARD_WAIT, find).await.ok_or(Reason::Unavailable("the stream has no open epoch"))
    }

    /// A grant that the client holds, or one that policy lets the steward give.
    async fn right(
        &self,
        sealing: &Sealing,
        identity: &Identity,
        stream: &Stream,
        right: Right,
        topic: &str,
        who: &Principal,
    ) -> Result<(), Reason> {
        let id = identity.id();
        let denied = if right == Right::Read { Reason::NoGrant } else { Reason::NotWriter };
        let named = match self.policy.load().stream(topic) {
            StreamRule::Seal(rule) if right == Right::Read => Some(rule.may_read(who)),
            StreamRule::Seal(rule) => Some(rule.may_write(who)),
            _ => None,
        };
        let unnamed = named == Some(false);
        let granted = |live: &LiveKeyring| {
            live.read(|keyring| {
                let at = now();
                let current = keyring.current_epoch(stream.id, at).map(|epoch| epoch.number);
                let covers = |grant: &Grant| match right {
                    // A reader whose grants are about older epochs still reads those.
                    Right::Read => true,
                    Right::Write => current.is_some_and(|epoch| grant.covers(epoch)),
                };
                let counts = |grant: &barnabas_crypto::Grant| {
                    // A grant by policy ends here at once; the steward ends it for everyone a moment later.
                    grant.right == right && grant.is_valid(at) && !(unnamed && grant.valid_to == BY_POLICY)
                };
                keyring.grants(id, stream.id).any(|grant| counts(grant) && covers(grant)).then_some(())
            })
        };
        if granted(&self.live).is_some() {
            return Ok(());
        }
        let by_policy = named == Some(true);
        // A grant that was revoked by name is not given again by rule.
        let revoked = self.live.read(|keyring| {
            keyring.grants(id, stream.id).any(|grant| grant.right == right && grant.revoked_at.is_some())
        });
        if !by_policy || revoked {
            return Err(denied);
        }
        sealing.ask(Need::Grant { identity: id, stream: stream.id, right }).await?;
        self.live
            .wait_for(STEWARD_WAIT, granted)
            .await
            .ok_or(Reason::Unavailable("the steward has not given the grant"))
    }

    /// The client's session on the stream's current epoch: the one there is, or a new one, announced.
    async fn session_of(
        &self,
        sealing: &Sealing,
        identity: &Identity,
        stream: &Stream,
        who: &Principal,
        spent: Option<KeyId>,
    ) -> Result<Arc<Session>, Reason> {
        let slot = sealing.sessions.slot(identity.id(), stream.id);
        let mut held = slot.lock().await;
        let current = self.live.read(|keyring| keyring.current_epoch(stream.id, now()).map(|epoch| epoch.number));
        if let Some(session) = held.as_ref()
            && spent != Some(session.key_id())
            && Some(session.epoch()) == current
            && session.observe_time(now())
            && !session.nears_its_end(now(), RENEWAL_MARGIN_MILLIS)
            && sealing.custody.stands(identity.id())
        {
            return Ok(session.clone());
        }
        self.check_head(sealing)?;
        let secret = sealing.custody.secret(identity).await?;
        let (records, bytes) = sealing.session_limits;
        let plan = SessionPlan {
            limits: Some(SessionLimits::of(stream.suite).at_most(records, bytes)),
            max_age_millis: u64::try_from(sealing.max_session_age.as_millis()).unwrap_or(u64::MAX),
            on_behalf_of: Some(who.as_str()),
            ..SessionPlan::new(stream.id)
        };
        let writer = Writer::new(secret);
        let pending =
            self.live.read(|keyring| writer.prepare(keyring, &plan, now())).map_err(|error| refused(&error))?;
        let object = pending.announcement();
        if let Err(error) = sealing.publisher.send(object.record_key(), Some(object.wire())).await {
            tracing::warn!(event = "announcement_failed", principal = %who, topic = stream.topic, %error);
            return Err(Reason::Unavailable("the keyring topic cannot be written"));
        }
        // Acknowledged is not accepted: a minimum epoch that was raised just before it makes every gateway refuse the
        // announcement, and records sealed under it could be read by no one.
        let accepted = |live: &LiveKeyring| live.read(|keyring| pending.is_accepted(keyring)).then_some(());
        if self.live.wait_for(ANNOUNCEMENT_WAIT, accepted).await.is_none() {
            return Err(Reason::Unavailable("the announcement of the session was not accepted"));
        }
        // The KMS may have said no meanwhile, and what it says ends the sessions that there are.
        sealing.custody.secret(identity).await?;
        let session = pending.acknowledged();
        if self.audit().is_on() {
            let (place, key) = ((stream.topic.as_str(), stream.id), (session.epoch(), session.key_id()));
            self.audit().commit(Event::session_begun(who.as_str(), place, key, session.suite())).await?;
        }
        tracing::info!(
            event = "session_announced",
            principal = %who,
            topic = stream.topic,
            key_id = %session.key_id(),
            epoch = %session.epoch(),
        );
        *held = Some(session.clone());
        Ok(session)
    }

    /// A broker that serves an old keyring, or part of one, could hide a revocation: no new session is begun then.
    fn check_head(&self, sealing: &Sealing) -> Result<(), Reason> {
        let age = self.live.read(|keyring| keyring.head_age(now()));
        if self.live.head_differs() {
            return Err(Reason::Unavailable(OTHER_HEAD));
        }
        let age = age.map_or_else(|| sealing.started.elapsed(), Duration::from_millis);
        if age > sealing.max_head_age {
            return Err(Reason::Unavailable(OLD_HEAD));
        }
        Ok(())
    }

    /// Why writers have to stop and readers should know: the keyring's head is old, or says something else.
    pub fn head_trouble(&self) -> Option<Reason> {
        self.sealing.as_ref().and_then(|sealing| self.check_head(sealing).err())
    }

    /// Tells every session the time, ends those whose epoch is not the current one any more, and drops opened
    /// sessions whose grant has ended. Called every second, and after every change of generation.
    pub fn tick(&self) {
        let Some(sealing) = &self.sealing else { return };
        let at = now();
        let mut readers = sealing.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.sweep(at);
        self.live.read(|keyring| {
            readers.retain(|(identity, key_id), reader| still_opens(keyring, *identity, *key_id, reader, at));
        });
        self.metrics.sessions.entries.set(i64::try_from(readers.len()).unwrap_or(i64::MAX));
        drop(readers);
        // Writers stop when the head is too old, not only at the end of the session that they have.
        let headless = self.check_head(sealing).is_err();
        sealing.sessions.for_each(|session| {
            session.observe_time(at);
            if headless || self.live.read(|keyring| session.epoch() < keyring.minimum_epoch(session.stream())) {
                session.retire();
            }
        });
        sealing.sessions.forget_ended(at);
        let vouched = self.check_vouched(sealing).is_ok();
        if self.vouched.swap(vouched, Ordering::AcqRel) != vouched {
            self.live.bump();
        }
        self.tell_time(at);
    }

    /// Has the KMS asked again about the clients in custody, and ends what those have that it says no about. Called every
    /// second; waits for nobody.
    pub fn renew_custody(&self) {
        let Some(sealing) = &self.sealing else { return };
        let live = self.live.clone();
        let Changes { ended, allowed } =
            sealing.custody.refresh(move |id| live.read(|keyring| keyring.identity(id).cloned()));
        if !ended.is_empty() {
            let mut readers = sealing.readers.lock().unwrap_or_else(PoisonError::into_inner);
            readers.retain(|(identity, _), _| !ended.contains(identity));
            drop(readers);
            sealing.sessions.retire(&ended);
        }
        if allowed || !ended.is_empty() {
            self.live.bump();
        }
    }

    /// Grants begin and end by the clock, which no record of the keyring announces: connections decide anew then too.
    fn tell_time(&self, at: UnixMillis) {
        let mut passing = self.passing.lock().unwrap_or_else(PoisonError::into_inner);
        let generation = self.live.generation();
        if passing.generation != generation {
            let told = passing.told;
            passing.next = self.live.read(|keyring| next_change(keyring.all_grants(), told));
            passing.generation = generation;
        }
        if passing.next.is_some_and(|next| next <= at) {
            self.live.bump();
            passing.next = self.live.read(|keyring| next_change(keyring.all_grants(), at));
        }
        passing.told = at;
    }
}

/// Whether a session that was opened before may be used on: its grant counts, and nobody has taken it out since.
fn still_opens(keyring: &Keyring, identity: IdentityId, key_id: KeyId, reader: &SessionReader, at: UnixMillis) -> bool {
    keyring.announcement(key_id).is_some()
        && keyring.granted(identity, (reader.stream(), reader.epoch()), Right::Read, at).is_ok()
}

/// How far the connections know the time.
struct PassingTime {
    told: UnixMillis,
    /// When the next grant begins or ends, as of `generation`.
    next: Option<UnixMillis>,
    generation: u64,
}

impl Default for PassingTime {
    fn default() -> Self {
        Self { told: now(), next: None, generation: 0 }
    }
}

/// The first time after `told` at which a grant begins or ends.
fn next_change<'k>(grants: impl Iterator<Item = &'k Grant>, told: UnixMillis) -> Option<UnixMillis> {
    grants.flat_map(|grant| [grant.valid_from, grant.valid_to]).filter(|time| *time > told).min()
}

/// Whether a head of this state and age says that the keyring is whole.
fn vouched(state: HeadState, age: Option<Duration>, limit: Duration) -> Result<(), Reason> {
    match (state, age) {
        (HeadState::Verified, Some(age)) if age <= limit => Ok(()),
        (HeadState::Verified, Some(_)) => Err(Reason::Unavailable(OLD_HEAD)),
        (HeadState::Differs, _) => Err(Reason::Unavailable(OTHER_HEAD)),
        _ => Err(Reason::Unavailable("no steward has signed a head of the keyring yet; does one run?")),
    }
}

/// What a failure of the cryptography means for the client.
fn refused(error: &CryptoError) -> Reason {
    match error {
        CryptoError::NotGranted { right: "read", .. } => Reason::NoGrant,
        CryptoError::NotGranted { .. } => Reason::NotWriter,
        CryptoError::Missing(_) => Reason::Unavailable("the stream has no open epoch"),
        CryptoError::Entropy => Reason::Unavailable("no randomness"),
        _ => Reason::Forged,
    }
}

/// The rule of the configuration counts where there is one; a stream sealed by command brings its own.
fn on_unreadable(stream: &Stream, rule: &StreamRule) -> OnUnreadable {
    use barnabas_crypto::OnUnreadable as Signed;
    match (rule, stream.on_unreadable) {
        (StreamRule::Seal(rule), _) => rule.on_unreadable,
        (_, Signed::Fail) => OnUnreadable::Fail,
        (_, Signed::Skip) => OnUnreadable::Skip,
        (_, Signed::Opaque) => OnUnreadable::Opaque,
    }
}

const OTHER_HEAD: &str = "the keyring is not what its signed head says";
const OLD_HEAD: &str = "the signed head of the keyring is older than keyring.max_head_age";

/// Records may overtake their announcement by the time that one keyring record takes through Kafka.
const ANNOUNCEMENT_WAIT: Duration = Duration::from_secs(3);
/// A session is renewed this long before its end, so that no request meets the end itself.
const RENEWAL_MARGIN_MILLIS: u64 = 5_000;

#[cfg(test)]
mod tests {
    use barnabas_crypto::{EpochNumber, StreamId};

    use super::*;

    #[test]
    fn only_a_verified_and_recent_head_vouches() {
        let seconds = Duration::from_secs;
        assert_eq!(vouched(HeadState::Verified, Some(seconds(60)), seconds(60)), Ok(()));
        let refused = [
            (HeadState::Verified, Some(seconds(61))),
            (HeadState::Verified, None),
            (HeadState::Differs, Some(seconds(0))),
            (HeadState::Missing, None),
        ];
        for (state, age) in refused {
            assert!(vouched(state, age, seconds(60)).is_err_and(|reason| reason.is_retriable()), "{state:?} {age:?}");
        }
    }

    #[test]
    fn a_grant_that_begins_or_ends_is_a_change() {
        let time = UnixMillis::new;
        let grant = |from, to| {
            let (identity, stream) = (IdentityId::from_bytes([1; 16]), StreamId::from_bytes([2; 16]));
            Grant::to_write(identity, stream, (EpochNumber::FIRST, EpochNumber::FIRST), (time(from), time(to)))
        };
        let grants = [grant(10, 50), grant(20, 40)];
        let next = |told| next_change(grants.iter(), time(told)).map(|at| at.millis());
        assert_eq!([next(0), next(10), next(20), next(40), next(50)], [Some(10), Some(20), Some(40), Some(50), None]);
    }
}
