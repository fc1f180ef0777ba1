//! The delegate at work: one change after another, each decided from the newest keyring and written whole.
//!
//! Arrives: needs of the data path and commands. Leaves: their objects in the keyring, or a reason why not. When
//! another delegate was faster, the keyring is read again and the change decided again. What must never happen here:
//! a change that was decided from an old keyring being written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use barnabas_crypto::{EpochNumber, IdentityId, IdentityPublic, KemSuite, Right, SigningKey, Slot, StreamId, Suite};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::sync::{Mutex, Notify};

use super::plan::{GrantRange, Plan, PlanError, StreamTerms};
use super::publish::{ExclusivePublisher, PublishError};
use super::reminder::Reminder;
use super::rewrap::Rewrapped;
use super::{Answer, Need, Steward};
use super::{destroy, mandate, schedule};
use crate::chain::refusal::Reason;
use crate::config::{Kem, OnUnreadable, Policy, RecordSuite, StreamRule};
use crate::custody::KeySystems;
use crate::keyring::{KeyringTopic, LiveKeyring, now};
use crate::pause::Pause;

/// How a delegate works.
#[derive(Debug, Clone, Copy)]
pub struct DelegateSettings {
    /// How long an epoch lasts.
    pub epoch_lifetime: Duration,
    /// How often a head is signed.
    pub head_interval: Duration,
}

/// One change to the keyring.
#[derive(Debug, Clone)]
pub enum Change {
    /// An identity in the gateway's custody.
    Enroll {
        /// Whose.
        principal: String,
        /// Who or what asked for it, for the auditor.
        by: String,
    },
    /// An identity whose secrets the client keeps.
    Register {
        /// Whose.
        principal: String,
        /// What the client has shown.
        public: IdentityPublic,
        /// Who asked for it.
        by: String,
    },
    /// A topic is put under sealing.
    Seal {
        /// Which.
        topic: String,
    },
    /// A grant.
    Grant {
        /// To whom.
        identity: IdentityId,
        /// On what.
        stream: StreamId,
        /// To do what.
        right: Right,
        /// Epochs and time.
        range: GrantRange,
    },
    /// The end of grants.
    Revoke {
        /// Of whom.
        identity: IdentityId,
        /// On what.
        stream: StreamId,
        /// Of which right; `None` is both.
        right: Option<Right>,
    },
    /// The end of all grants of a client, on every stream; rules give it none there any more.
    RevokeAll {
        /// Of whom.
        identities: Vec<IdentityId>,
    },
    /// Seeds in custody are hidden anew: by the newest version of their key, or by another system.
    Rewrap {
        /// Which, and how.
        anew: Vec<Rewrapped>,
    },
    /// The end of grants that the policy does not give any more.
    Withdraw {
        /// Their places, by stream.
        grants: BTreeMap<StreamId, Vec<Slot>>,
    },
    /// A new epoch before its time.
    Rotate {
        /// Of which stream.
        stream: StreamId,
    },
    /// The end of an epoch's seed.
    Destroy {
        /// Of which stream.
        stream: StreamId,
        /// Which epoch.
        epoch: EpochNumber,
    },
    /// An object counts no more.
    Remove {
        /// Which.
        target: Slot,
        /// Why, for the auditor.
        reason: String,
    },
    /// What is due by time: epochs that end soon, and a head.
    Routine,
}

/// A seed in custody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seed {
    /// Of a client's identity.
    Identity(IdentityId),
    /// Of an epoch.
    Epoch(StreamId, EpochNumber),
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// It cannot be decided.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// It cannot be written.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// The delegate of one keyring.
pub struct Delegate {
    settings: DelegateSettings,
    live: Arc<LiveKeyring>,
    kms: Arc<KeySystems>,
    reminder: Reminder,
    key: SigningKey,
    policy: ArcSwap<Policy>,
    publisher: Mutex<ExclusivePublisher>,
    /// Needs that wait for their turn. Whoever has the publisher next answers all of them in one transaction.
    asked: std::sync::Mutex<Vec<Asked>>,
    /// Policies that were in force before and whose grants have not been looked through yet.
    superseded: std::sync::Mutex<Vec<Arc<Policy>>>,
    policy_replaced: Notify,
}

struct Asked {
    need: Need,
    tell: oneshot::Sender<Result<(), Reason>>,
}

impl Delegate {
    /// A delegate that signs with `key`, which the root has certified in the keyring.
    pub fn new(
        settings: DelegateSettings,
        live: Arc<LiveKeyring>,
        topic: Arc<KeyringTopic>,
        kms: Arc<KeySystems>,
        key: SigningKey,
        policy: Policy,
    ) -> Self {
        let publisher = Mutex::new(ExclusivePublisher::new(topic, live.clone()));
        Self {
            settings,
            live,
            reminder: Reminder::new(kms.local().clone()),
            kms,
            key,
            policy: ArcSwap::from_pointee(policy),
            publisher,
            asked: std::sync::Mutex::default(),
            superseded: std::sync::Mutex::default(),
            policy_replaced: Notify::new(),
        }
    }

    /// Puts another policy in force. Grants that only the old one gave are ended by [`Self::run`].
    pub fn replace_policy(&self, policy: Policy) {
        let policy = Arc::new(policy);
        let old = self.policy.swap(policy.clone());
        if *old != *policy {
            self.superseded.lock().unwrap_or_else(PoisonError::into_inner).push(old);
            self.policy_replaced.notify_one();
        }
    }

    /// Makes one change; `Ok` when the keyring here has it.
    pub async fn make(&self, change: &Change) -> Result<(), ChangeError> {
        let mut publisher = self.publisher.lock().await;
        let mut pause = Pause::new(FIRST_PAUSE, MOST_ATTEMPTS);
        loop {
            match self.attempt(&mut publisher, change).await {
                Err(ChangeError::Publish(PublishError::Fenced)) if pause.count() + 1 < MOST_ATTEMPTS => {
                    let attempt = pause.count();
                    tracing::info!(event = "steward_fenced", attempt, "another steward was faster; reading again");
                    pause.wait().await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt(&self, publisher: &mut ExclusivePublisher, change: &Change) -> Result<(), ChangeError> {
        publisher.take().await?;
        let mut plan = Plan::new(&self.live, &self.kms, &self.key);
        self.decide(&mut plan, change).await?;
        let objects = plan.finish();
        for object in &objects {
            tracing::debug!(event = "keyring_object_signed", key = object.record_key());
        }
        publisher.publish(&objects).await?;
        self.reminder.keep(&objects).await;
        Ok(())
    }

    async fn decide(&self, plan: &mut Plan<'_>, change: &Change) -> Result<(), PlanError> {
        match change {
            Change::Enroll { principal, by } => plan.identity(principal, KemSuite::XWing, by).await,
            Change::Register { principal, public, by } => {
                plan.register(principal, public.clone(), barnabas_crypto::Custodian::Client, by)
            }
            Change::Seal { topic } => plan.stream(topic, &self.terms(topic)).await.map(|_| ()),
            Change::Grant { identity, stream, right: Right::Write, range } => {
                plan.grant_to_write(*identity, *stream, (range.valid_from, range.valid_to), &self.terms_of(*stream))
                    .await
            }
            Change::Grant { identity, stream, right: Right::Read, range } => {
                plan.grant_to_read(*identity, *stream, *range).await
            }
            Change::Revoke { identity, stream, right } => {
                match plan.revoke(*identity, *stream, *right, &self.terms_of(*stream)).await? {
                    0 => Err(PlanError::Refused("there is no such grant that is not revoked already".to_owned())),
                    _ => Ok(()),
                }
            }
            Change::RevokeAll { identities } => self.revoke_all(plan, identities).await,
            Change::Rewrap { anew } => plan.rewrap(anew),
            Change::Withdraw { grants } => {
                for (stream, grants) in grants {
                    plan.withdraw(*stream, grants, &self.terms_of(*stream)).await?;
                }
                Ok(())
            }
            Change::Rotate { stream } => plan.epoch(*stream, &self.terms_of(*stream)).await.map(|_| ()),
            Change::Destroy { stream, epoch } => plan.destroy(*stream, *epoch).await,
            Change::Remove { target, reason } => plan.remove(*target, reason),
            Change::Routine => self.routine(plan).await,
        }
    }

    /// Rights that the identities hold end; those that a rule would give them are barred.
    async fn revoke_all(&self, plan: &mut Plan<'_>, identities: &[IdentityId]) -> Result<(), PlanError> {
        let streams: Vec<StreamId> = self.live.read(|keyring| keyring.streams().map(|stream| stream.id).collect());
        for identity in identities {
            self.revoke_on(plan, *identity, &streams).await?;
        }
        Ok(())
    }

    async fn revoke_on(
        &self,
        plan: &mut Plan<'_>,
        identity: IdentityId,
        streams: &[StreamId],
    ) -> Result<(), PlanError> {
        let policy = self.policy.load_full();
        for stream in streams.iter().copied() {
            let (held, barred) = self.live.read(|keyring| {
                let has = |right| keyring.grants(identity, stream).any(|grant| grant.right == right);
                let named = |right: &Right| mandate::is_named(keyring, &policy, (identity, stream, *right));
                let barred = [Right::Read, Right::Write].into_iter().filter(|right| named(right) && !has(*right));
                (has(Right::Read) || has(Right::Write), barred.collect::<Vec<_>>())
            });
            if held {
                plan.revoke(identity, stream, None, &self.terms_of(stream)).await?;
            }
            for right in barred {
                plan.bar(identity, stream, right)?;
            }
        }
        Ok(())
    }

    /// Streams that need their next epoch.
    fn due_streams(&self) -> Vec<StreamId> {
        let policy = self.policy.load_full();
        self.live.read(|keyring| schedule::due(keyring, &policy, self.settings.epoch_lifetime, now()))
    }

    async fn routine(&self, plan: &mut Plan<'_>) -> Result<(), PlanError> {
        let due = self.due_streams();
        for stream in &due {
            // What stops one stream (its KMS key, the identity of a reader) must not stop the others, nor the heads
            // without which every writer stops.
            let mark = plan.mark();
            if let Err(error) = plan.epoch(*stream, &self.terms_of(*stream)).await {
                plan.undo_to(mark);
                tracing::error!(event = "steward_epoch_failed", %stream, %error);
            }
        }
        self.destroy_due(plan).await;
        // A head vouches for what it has read; the new epochs are in the next one.
        if plan.mark() == 0 { plan.head() } else { Ok(()) }
    }

    /// Destroys epochs whose time has come by policy.
    async fn destroy_due(&self, plan: &mut Plan<'_>) {
        let policy = self.policy.load_full();
        let after = |topic: &str| match policy.stream(topic) {
            StreamRule::Seal(rule) => {
                rule.destroy_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
            }
            _ => None,
        };
        for (stream, epoch) in self.live.read(|keyring| destroy::due(keyring, after, now())) {
            let mark = plan.mark();
            match plan.destroy(stream, epoch).await {
                Ok(()) => tracing::info!(event = "steward_destroys_epoch", %stream, %epoch),
                Err(error) => {
                    plan.undo_to(mark);
                    tracing::error!(event = "steward_destruction_failed", %stream, %epoch, %error);
                }
            }
        }
    }

    /// Does what is due by time and by a change of policy, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(self.settings.head_interval.min(LONGEST_PAUSE));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The policy may have changed while no delegate ran.
        let mut unsettled = true;
        let mut complete = false;
        // What cannot be rotated now waits for the next head, so that a KMS that is away is not asked all the time.
        let mut in_vain = false;
        loop {
            tokio::select! {
                _ = ticks.tick() => if !self.is_complete(&mut complete).await {
                    tracing::warn!(event = "steward_head_withheld");
                } else {
                    self.do_routine().await;
                    in_vain = false;
                },
                _ = looks.tick(), if complete && !in_vain => if !self.due_streams().is_empty() {
                    self.do_routine().await;
                    in_vain = !self.due_streams().is_empty();
                },
                () = self.policy_replaced.notified() => unsettled = true,
            }
            if unsettled {
                match self.settle_policy().await {
                    Ok(()) => unsettled = false,
                    Err(error) => tracing::warn!(event = "steward_withdrawal_failed", %error, "tried again soon"),
                }
            }
        }
    }

    async fn do_routine(&self) {
        match self.make(&Change::Routine).await {
            Ok(()) => {}
            // Whoever was faster each time does the same, and what is left is done at the next turn.
            Err(ChangeError::Publish(PublishError::Fenced)) => tracing::info!(event = "steward_routine_put_off"),
            Err(error) => tracing::warn!(event = "steward_routine_failed", %error),
        }
    }

    /// No head before: it would vouch for a keyring that streams were taken out of.
    async fn is_complete(&self, complete: &mut bool) -> bool {
        if !*complete {
            match self.complete().await {
                Ok(()) => *complete = true,
                Err(error) => tracing::error!(event = "steward_streams_missing", %error, "tried again soon"),
            }
        }
        *complete
    }

    /// Seals again what the keystore knows to have been sealed and the keyring does not name: the topic was lost, or a
    /// broker shows an old one. Without this a keyring that was cut would be vouched for as whole.
    async fn complete(&self) -> Result<(), ChangeError> {
        for topic in self.reminder.missing(&self.live, self.key.public()) {
            tracing::error!(
                event = "steward_sealed_again",
                topic,
                "the keyring does not have its stream; import an export"
            );
            self.make(&Change::Seal { topic }).await?;
        }
        self.reminder.keep_all(&self.live).await;
        Ok(())
    }

    /// Ends the grants that a policy gave and the one in force does not give.
    async fn settle_policy(&self) -> Result<(), ChangeError> {
        let looked_through = self.superseded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let policy = self.policy.load_full();
        let grants = self.live.read(|keyring| mandate::withdrawn(keyring, &policy, &looked_through, now()));
        if !grants.is_empty() {
            let count: usize = grants.values().map(Vec::len).sum();
            self.make(&Change::Withdraw { grants }).await?;
            tracing::info!(event = "steward_withdrew", grants = count, "the policy does not give them any more");
        }
        self.superseded.lock().unwrap_or_else(PoisonError::into_inner).drain(..looked_through.len());
        Ok(())
    }

    fn terms_of(&self, stream: StreamId) -> StreamTerms {
        let topic = self.live.read(|keyring| keyring.stream(stream).map(|stream| stream.topic.clone()));
        self.terms(&topic.unwrap_or_default())
    }

    fn terms(&self, topic: &str) -> StreamTerms {
        use barnabas_crypto::OnUnreadable as Signed;
        let policy = self.policy.load();
        let mut terms = StreamTerms {
            suite: Suite::Aes256Gcm,
            kem: KemSuite::XWing,
            on_unreadable: Signed::Fail,
            epoch_lifetime_millis: schedule::lifetime_millis(&policy, topic, self.settings.epoch_lifetime),
        };
        if let StreamRule::Seal(rule) = policy.stream(topic) {
            terms.suite = match rule.suite {
                RecordSuite::Aes256Gcm => Suite::Aes256Gcm,
                RecordSuite::ChaCha20Poly1305 => Suite::ChaCha20Poly1305,
            };
            terms.kem = match rule.kem {
                Kem::XWing => KemSuite::XWing,
                Kem::X25519 => KemSuite::X25519,
            };
            terms.on_unreadable = match rule.on_unreadable {
                OnUnreadable::Fail => Signed::Fail,
                OnUnreadable::Skip => Signed::Skip,
                OnUnreadable::Opaque => Signed::Opaque,
            };
        }
        terms
    }

    /// Whether a need was met while it waited its turn.
    fn is_met(&self, need: &Need) -> bool {
        let at = now();
        self.live.read(|keyring| match need {
            Need::Identity { principal } => keyring.identity_of(principal.as_str()).is_some(),
            Need::Stream { topic } => keyring
                .stream_of_topic(topic)
                .is_some_and(|stream| stream.sealed && keyring.current_epoch(stream.id, at).is_some()),
            Need::Grant { identity, stream, right } => {
                keyring.grants(*identity, *stream).any(|grant| grant.right == *right && grant.is_valid(at))
            }
        })
    }
}

impl Delegate {
    /// Answers needs together. Each is answered by itself: one that cannot be decided does not stop the others.
    async fn answer(&self, publisher: &mut ExclusivePublisher, batch: Vec<Asked>) {
        let mut pause = Pause::new(FIRST_PAUSE, MOST_ATTEMPTS);
        let outcome = loop {
            match self.attempt_all(publisher, &batch).await {
                Err(PublishError::Fenced) if pause.count() + 1 < MOST_ATTEMPTS => pause.wait().await,
                outcome => break outcome,
            }
        };
        let answers = outcome.unwrap_or_else(|error| {
            tracing::warn!(event = "steward_failed", needs = batch.len(), %error);
            vec![Err(Reason::Unavailable("the steward cannot write to the keyring")); batch.len()]
        });
        for (asked, answer) in batch.into_iter().zip(answers) {
            // Whoever does not wait any more finds the keyring changed all the same.
            asked.tell.send(answer).ok();
        }
    }

    async fn attempt_all(
        &self,
        publisher: &mut ExclusivePublisher,
        batch: &[Asked],
    ) -> Result<Vec<Result<(), Reason>>, PublishError> {
        publisher.take().await?;
        let mut plan = Plan::new(&self.live, &self.kms, &self.key);
        let mut decided: HashMap<&Need, Result<(), Reason>> = HashMap::new();
        self.draw_for(&mut plan, batch).await;
        for Asked { need, .. } in batch {
            if !decided.contains_key(need) {
                let decision = self.decide_need(&mut plan, need).await;
                decided.insert(need, decision);
            }
        }
        let objects = plan.finish();
        publisher.publish(&objects).await?;
        self.reminder.keep(&objects).await;
        for (need, _) in decided.iter().filter(|(_, answer)| answer.is_ok()) {
            tracing::info!(event = "steward_granted", ?need);
        }
        let unknown = Err(Reason::Unavailable("the steward has not decided this need"));
        Ok(batch.iter().map(|asked| decided.get(&asked.need).copied().unwrap_or(unknown)).collect())
    }
}

impl Delegate {
    /// Clients that come together get their keys from the KMS together. Where that fails each is tried by itself.
    async fn draw_for(&self, plan: &mut Plan<'_>, batch: &[Asked]) {
        let new: HashSet<&Need> =
            batch.iter().map(|asked| &asked.need).filter(|need| self.is_enrolment(need)).collect();
        if new.len() > 1
            && let Err(error) = plan.draw_identities(new.len(), KemSuite::XWing).await
        {
            tracing::debug!(event = "steward_keys_not_drawn", count = new.len(), %error);
        }
    }

    /// Whether a need will be met by a new identity in custody.
    fn is_enrolment(&self, need: &Need) -> bool {
        let change = || self.live.read(|keyring| mandate::change_for(keyring, &self.policy.load(), need));
        !self.is_met(need) && matches!(change(), Ok(Change::Enroll { .. }))
    }

    /// Decided from everything that was written until now: while a need waited its turn it may have been met, or the
    /// right that it asks for may have been taken away.
    async fn decide_need(&self, plan: &mut Plan<'_>, need: &Need) -> Result<(), Reason> {
        if self.is_met(need) {
            return Ok(());
        }
        let change = self.live.read(|keyring| mandate::change_for(keyring, &self.policy.load(), need))?;
        let mark = plan.mark();
        self.decide(plan, &change).await.map_err(|error| {
            tracing::warn!(event = "steward_failed", ?need, %error);
            plan.undo_to(mark);
            Reason::Unavailable("the steward cannot decide this need")
        })
    }

    async fn meet(&self, need: Need) -> Result<(), Reason> {
        for _ in 0..MOST_ATTEMPTS {
            let (tell, mut told) = oneshot::channel();
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(Asked { need: need.clone(), tell });
            loop {
                let mut publisher = self.publisher.lock().await;
                match told.try_recv() {
                    Ok(answer) => return answer,
                    // Whoever had taken it along went away in the middle.
                    Err(TryRecvError::Closed) => break,
                    Err(TryRecvError::Empty) => {}
                }
                let batch = {
                    let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
                    let count = asked.len().min(MOST_NEEDS_AT_ONCE);
                    asked.drain(..count).collect()
                };
                self.answer(&mut publisher, batch).await;
            }
        }
        Err(Reason::Unavailable("other stewards are writing to the keyring"))
    }
}

impl Steward for Delegate {
    fn ask(self: Arc<Self>, need: Need) -> Answer {
        Box::pin(async move {
            self.live.read(|keyring| mandate::change_for(keyring, &self.policy.load(), &need))?;
            // A task of its own: a client that goes away, or a request that has waited long enough, must neither cut a
            // transaction in two nor make the next one begin from the start.
            let work = tokio::spawn(async move { self.meet(need).await });
            work.await.unwrap_or(Err(Reason::Unavailable("the steward has stopped")))
        })
    }
}

/// Each attempt means that another delegate has just written.
const MOST_ATTEMPTS: u32 = 8;

/// Two stewards that both have work would fence each other again and again. About as long as one transaction takes on an idle
/// broker.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// What is due is done this often whatever the interval of heads.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often is looked whether an epoch ends soon: well within the margin of the shortest one.
const LOOK: Duration = Duration::from_secs(3);

/// Below what a transaction's time allows for, with a KMS that takes its time.
const MOST_NEEDS_AT_ONCE: usize = 500;
