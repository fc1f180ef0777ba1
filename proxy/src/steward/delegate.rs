//! The delegate at work: one change after another, each decided from the newest keyring and written whole.
//!
//! Arrives: needs of the data path and commands. Leaves: their objects in the keyring, or a reason why not. When
//! another delegate was faster, the keyring is read again and the change decided again. What must never happen here:
//! a change that was decided from an old keyring being written.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use barnabas_crypto::{
    Custody, EpochNumber, IdentityId, IdentityPublic, KemSuite, Right, SigningKey, Slot, StreamId, Suite, UnixMillis,
};
use tokio::sync::Mutex;

use super::plan::{CLOCK_SKEW_MILLIS, GrantRange, Plan, PlanError, StreamTerms};
use super::publish::{ExclusivePublisher, PublishError};
use super::{Answer, Need, Steward};
use crate::chain::refusal::Reason;
use crate::config::{Kem, OnUnreadable, Policy, RecordSuite, StreamRule};
use crate::keyring::{KeyringTopic, LiveKeyring, now};

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
    /// A new epoch before its time.
    Rotate {
        /// Of which stream.
        stream: StreamId,
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
    kms: Arc<dyn Custody>,
    key: SigningKey,
    policy: ArcSwap<Policy>,
    publisher: Mutex<ExclusivePublisher>,
    /// What is being fulfilled now.
    asked: std::sync::Mutex<HashSet<Need>>,
}

impl Delegate {
    /// A delegate that signs with `key`, which the root has certified in the keyring.
    pub fn new(
        settings: DelegateSettings,
        live: Arc<LiveKeyring>,
        topic: Arc<KeyringTopic>,
        kms: Arc<dyn Custody>,
        key: SigningKey,
        policy: Policy,
    ) -> Self {
        let publisher = Mutex::new(ExclusivePublisher::new(topic, live.clone()));
        Self { settings, live, kms, key, policy: ArcSwap::from_pointee(policy), publisher, asked: std::sync::Mutex::default() }
    }

    /// Puts another policy in force.
    pub fn replace_policy(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
    }

    /// Makes one change; `Ok` when the keyring here has it.
    pub async fn make(&self, change: &Change) -> Result<(), ChangeError> {
        let mut publisher = self.publisher.lock().await;
        for attempt in 0..MOST_ATTEMPTS {
            match self.attempt(&mut publisher, change).await {
                Err(ChangeError::Publish(PublishError::Fenced)) if attempt + 1 < MOST_ATTEMPTS => {
                    tracing::info!(event = "steward_fenced", attempt, "another steward was faster; reading again");
                }
                outcome => return outcome,
            }
        }
        Err(PublishError::Fenced.into())
    }

    async fn attempt(&self, publisher: &mut ExclusivePublisher, change: &Change) -> Result<(), ChangeError> {
        publisher.take().await?;
        let mut plan = Plan::new(&self.live, &*self.kms, &self.key);
        self.decide(&mut plan, change).await?;
        let objects = plan.finish();
        for object in &objects {
            tracing::debug!(event = "keyring_object_signed", key = object.record_key());
        }
        Ok(publisher.publish(&objects).await?)
    }

    async fn decide(&self, plan: &mut Plan<'_>, change: &Change) -> Result<(), PlanError> {
        match change {
            Change::Enroll { principal, by } => plan.identity(principal, KemSuite::XWing, by).await,
            Change::Register { principal, public, by } => {
                plan.register(principal, public.clone(), barnabas_crypto::Custodian::Client, by)
            }
            Change::Seal { topic } => plan.stream(topic, &self.terms(topic)).await.map(|_| ()),
            Change::Grant { identity, stream, right: Right::Write, range } => {
                plan.grant_to_write(*identity, *stream, (range.valid_from, range.valid_to))
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
            Change::Rotate { stream } => plan.epoch(*stream, &self.terms_of(*stream)).await.map(|_| ()),
            Change::Remove { target, reason } => plan.remove(*target, reason),
            Change::Routine => self.routine(plan).await,
        }
    }

    /// The next epoch is made when a tenth of the present one is left, so that every gateway has heard of it in time.
    async fn routine(&self, plan: &mut Plan<'_>) -> Result<(), PlanError> {
        let margin = u64::try_from(self.settings.epoch_lifetime.as_millis() / 10).unwrap_or(u64::MAX);
        let soon = now().plus_millis(margin);
        let due: Vec<StreamId> = self.live.read(|keyring| {
            let ends = |stream: &&barnabas_crypto::Stream| {
                stream.sealed && keyring.epochs(stream.id).next_back().is_none_or(|epoch| epoch.not_after <= soon)
            };
            keyring.streams().filter(ends).map(|stream| stream.id).collect()
        });
        for stream in &due {
            // What stops one stream (its KMS key, the identity of a reader) must not stop the others, nor the heads
            // without which every writer stops.
            let before = plan.len();
            if let Err(error) = plan.epoch(*stream, &self.terms_of(*stream)).await {
                plan.truncate(before);
                tracing::error!(event = "steward_epoch_failed", %stream, %error);
            }
        }
        // A head vouches for what it has read; the new epochs are in the next one.
        if plan.len() == 0 { plan.head() } else { Ok(()) }
    }

    /// Does what is due by time, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(self.settings.head_interval.min(LONGEST_PAUSE));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.make(&Change::Routine).await {
                tracing::warn!(event = "steward_routine_failed", %error);
            }
        }
    }

    fn terms_of(&self, stream: StreamId) -> StreamTerms {
        let topic = self.live.read(|keyring| keyring.stream(stream).map(|stream| stream.topic.clone()));
        self.terms(&topic.unwrap_or_default())
    }

    fn terms(&self, topic: &str) -> StreamTerms {
        use barnabas_crypto::OnUnreadable as Signed;
        let lifetime = u64::try_from(self.settings.epoch_lifetime.as_millis()).unwrap_or(u64::MAX);
        let mut terms = StreamTerms {
            suite: Suite::Aes256Gcm,
            kem: KemSuite::XWing,
            on_unreadable: Signed::Fail,
            epoch_lifetime_millis: lifetime,
        };
        if let StreamRule::Seal(rule) = self.policy.load().stream(topic) {
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

    /// Checks a need against the policy in force: whoever asks may be mistaken, or not honest.
    fn change_for(&self, need: Need) -> Result<Change, Reason> {
        let policy = self.policy.load();
        match need {
            Need::Identity { principal } => {
                if policy.enrolment(&principal) != Some(crate::config::Custody::Gateway) {
                    return Err(Reason::NoIdentity);
                }
                Ok(Change::Enroll { principal: principal.as_str().to_owned(), by: "policy".to_owned() })
            }
            Need::Stream { topic } => {
                let known = self.live.read(|keyring| keyring.stream_of_topic(&topic).is_some_and(|s| s.sealed));
                match policy.stream(&topic) {
                    StreamRule::Seal(_) => Ok(Change::Seal { topic }),
                    _ if known => Ok(Change::Seal { topic }),
                    _ => Err(Reason::Unlisted),
                }
            }
            Need::Grant { identity, stream, right } => {
                let (principal, topic) = self.live.read(|keyring| {
                    let principal = keyring.identity(identity).map(|identity| identity.principal.clone());
                    (principal, keyring.stream(stream).map(|stream| stream.topic.clone()))
                });
                let principal = principal.as_deref().and_then(crate::identity::Principal::parse);
                let allowed = match (policy.stream(topic.as_deref().unwrap_or_default()), principal) {
                    (StreamRule::Seal(rule), Some(who)) if right == Right::Read => rule.may_read(&who),
                    (StreamRule::Seal(rule), Some(who)) => rule.may_write(&who),
                    _ => false,
                };
                // A grant that was revoked by name is not given again by rule.
                let revoked = self.live.read(|keyring| {
                    keyring.grants(identity, stream).any(|grant| grant.right == right && grant.revoked_at.is_some())
                });
                if !allowed || revoked {
                    return Err(if right == Right::Read { Reason::NoGrant } else { Reason::NotWriter });
                }
                // Whom the policy names may read what the stream holds, from its first epoch on.
                let range = GrantRange {
                    first: Some(EpochNumber::FIRST),
                    valid_from: UnixMillis::new(now().millis().saturating_sub(CLOCK_SKEW_MILLIS)),
                    valid_to: UnixMillis::NEVER,
                };
                Ok(Change::Grant { identity, stream, right, range })
            }
        }
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

    /// Makes the change that a need asks for, unless it is met.
    async fn fulfil(&self, need: &Need) -> Result<(), Reason> {
        let mut publisher = self.publisher.lock().await;
        for _ in 0..MOST_ATTEMPTS {
            // Decided from everything that was written until now: while this waited its turn, the need may have
            // been met, or the right that it asks for may have been taken away.
            let written = match publisher.take().await {
                Ok(()) if self.is_met(need) => return Ok(()),
                Ok(()) => {
                    let change = self.change_for(need.clone())?;
                    self.attempt(&mut publisher, &change).await
                }
                Err(error) => Err(error.into()),
            };
            match written {
                Ok(()) => {
                    tracing::info!(event = "steward_granted", ?need);
                    return Ok(());
                }
                Err(ChangeError::Publish(PublishError::Fenced)) => {}
                Err(error) => {
                    tracing::warn!(event = "steward_failed", ?need, %error);
                    return Err(Reason::Unavailable("the steward cannot write to the keyring"));
                }
            }
        }
        Err(Reason::Unavailable("other stewards are writing to the keyring"))
    }
}

impl Steward for Delegate {
    fn ask(self: Arc<Self>, need: Need) -> Answer {
        Box::pin(async move {
            self.change_for(need.clone())?;
            // Asked by another connection already: the caller waits for the keyring to have it.
            let Some(asked) = Asked::begin(&self, &need) else { return Ok(()) };
            // A task of its own: a client that goes away, or a request that has waited long enough, must neither cut a
            // transaction in two nor make the next one begin from the start.
            let work = tokio::spawn(async move {
                let outcome = asked.delegate.fulfil(&asked.need).await;
                drop(asked);
                outcome
            });
            work.await.unwrap_or(Err(Reason::Unavailable("the steward has stopped")))
        })
    }
}

/// A need that is being fulfilled, once however many connections have it.
struct Asked {
    delegate: Arc<Delegate>,
    need: Need,
}

impl Asked {
    fn begin(delegate: &Arc<Delegate>, need: &Need) -> Option<Self> {
        let first = delegate.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(need.clone());
        first.then(|| Self { delegate: delegate.clone(), need: need.clone() })
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.delegate.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.need);
    }
}

/// Each attempt means that another delegate has just written.
const MOST_ATTEMPTS: usize = 8;

/// Epochs are looked at this often whatever the interval of heads.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
