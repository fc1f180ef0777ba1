//! What has to be written for a need or a command: decided from the keyring as it is, signed, not yet published.
//!
//! Arrives: the keyring, the KMS, what is wanted. Leaves: signed objects with their next versions. What must never
//! happen here: a secret seed in an object that is not wrapped, by the KMS or to a reader.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use barnabas_crypto::{
    Body, Custodian, Custody, CustodyContext, CustodyError, Epoch, EpochNumber, EpochSecret, Error as CryptoError,
    Grant, Identity, IdentityId, IdentityPublic, IdentitySecret, KemSuite, Keyring, Object, Right, SignedObject,
    SigningKey, Slot, Stream, StreamFloor, StreamId, UnixMillis, WrappedSeed,
};

use crate::custody::KeySystems;
use crate::keyring::{LiveKeyring, now};

/// Why something cannot be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The KMS.
    #[error("kms: {0}")]
    Custody(#[from] CustodyError),
    /// The cryptography.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// What is named is not there, or not as it should be.
    #[error("{0}")]
    Refused(String),
}

/// Which epochs a grant to read covers, and when it counts.
#[derive(Debug, Clone, Copy)]
pub struct GrantRange {
    /// First epoch; `None` is the current one.
    pub first: Option<EpochNumber>,
    /// From this time.
    pub valid_from: UnixMillis,
    /// Until before this time.
    pub valid_to: UnixMillis,
}

/// Makes objects for one change. What it has made already counts for what it makes next.
pub struct Plan<'a> {
    pub(super) live: &'a LiveKeyring,
    pub(super) kms: &'a KeySystems,
    key: &'a SigningKey,
    made: Vec<SignedObject>,
    /// Epochs that were unwrapped for this plan: a thousand readers of one stream ask the KMS once.
    opened: HashMap<(StreamId, EpochNumber), Arc<EpochSecret>>,
    /// Identities that were drawn together, with the names of their keys, which the KMS has.
    drawn: Vec<(KemSuite, IdentitySecret, String)>,
}

impl<'a> Plan<'a> {
    /// An empty plan.
    pub fn new(live: &'a LiveKeyring, kms: &'a KeySystems, key: &'a SigningKey) -> Self {
        Self { live, kms, key, made: Vec::new(), opened: HashMap::new(), drawn: Vec::new() }
    }

    /// How much has been made so far, for [`Self::undo_to`].
    pub fn mark(&self) -> usize {
        self.made.len()
    }

    /// Forgets what was made since `mark`.
    pub fn undo_to(&mut self, mark: usize) {
        self.made.truncate(mark);
    }

    /// What has to be published.
    pub fn finish(self) -> Vec<SignedObject> {
        self.made
    }

    /// Draws the secrets of `count` identities and has the KMS make their keys in one call: a local keystore writes
    /// its whole file for each call.
    pub async fn draw_identities(&mut self, count: usize, kem: KemSuite) -> Result<(), PlanError> {
        let draw = |_| {
            let secret = IdentitySecret::draw(kem)?;
            let key = self.kms.new_key(&key_of_client(&secret));
            Ok((kem, secret, key))
        };
        let drawn: Vec<(KemSuite, IdentitySecret, String)> =
            (0..count).map(draw).collect::<Result<_, CryptoError>>()?;
        let keys: Vec<String> = drawn.iter().map(|(_, _, key)| key.clone()).collect();
        self.kms.ensure_keys(&keys).await?;
        self.drawn = drawn;
        Ok(())
    }

    /// An identity in the gateway's custody, unless the principal has one.
    pub async fn identity(&mut self, principal: &str, kem: KemSuite, by: &str) -> Result<(), PlanError> {
        if self.live.read(|keyring| keyring.identity_of(principal).is_some()) {
            return Ok(());
        }
        let (secret, key) = match self.drawn.pop() {
            Some((suite, secret, key)) if suite == kem => (secret, key),
            _ => {
                let secret = IdentitySecret::draw(kem)?;
                let key = self.kms.new_key(&key_of_client(&secret));
                self.kms.ensure_key(&key).await?;
                (secret, key)
            }
        };
        let id = secret.id();
        let blob = self.kms.wrap(&key, secret.seed(), &CustodyContext::IdentitySeed(id)).await?;
        self.register(principal, secret.public().clone(), Custodian::Gateway(WrappedSeed { key, blob }), by)
    }

    /// An identity whose secrets the client keeps.
    pub fn register(
        &mut self,
        principal: &str,
        public: IdentityPublic,
        custody: Custodian,
        by: &str,
    ) -> Result<(), PlanError> {
        let identity =
            Identity { principal: principal.to_owned(), public, custody, created: now(), enrolled_by: by.to_owned() };
        self.sign(Body::Identity(identity))
    }

    /// A stream for a topic, with its first epoch, unless it has one; an epoch, unless one is open.
    pub async fn stream(&mut self, topic: &str, terms: &StreamTerms) -> Result<StreamId, PlanError> {
        let known = self.live.read(|keyring| keyring.stream_of_topic(topic).cloned());
        let stream = match known {
            Some(stream) if stream.sealed => stream,
            Some(stream) => {
                let stream = Stream { sealed: true, ..stream };
                self.sign(Body::Stream(stream.clone()))?;
                stream
            }
            None => {
                let stream = Stream {
                    id: StreamId::draw()?,
                    topic: topic.to_owned(),
                    sealed: true,
                    suite: terms.suite,
                    on_unreadable: terms.on_unreadable,
                    created: now(),
                };
                self.sign(Body::Stream(stream.clone()))?;
                stream
            }
        };
        if self.live.read(|keyring| keyring.current_epoch(stream.id, now()).is_none()) {
            self.epoch(stream.id, terms).await?;
        }
        Ok(stream.id)
    }

    /// The next epoch of a stream. Readers of the one before are given it too; whoever was revoked is not.
    pub async fn epoch(&mut self, stream: StreamId, terms: &StreamTerms) -> Result<EpochNumber, PlanError> {
        self.epoch_without(stream, &HashSet::new(), terms).await
    }

    /// The same, where this plan ends some grants: nobody goes on reading by one of those.
    async fn epoch_without(
        &mut self,
        stream: StreamId,
        ended: &HashSet<Slot>,
        terms: &StreamTerms,
    ) -> Result<EpochNumber, PlanError> {
        let (number, readers) = self.live.read(|keyring| next_epoch(keyring, stream, ended, &self.made))?;
        let secret = EpochSecret::draw(terms.kem)?;
        let key = self.kms.new_key(&format!("stream-{stream}"));
        self.kms.ensure_key(&key).await?;
        let blob = self.kms.wrap(&key, secret.seed(), &CustodyContext::EpochSeed(stream, number)).await?;
        let at = now();
        let epoch = Epoch {
            stream,
            number,
            public: secret.public()?,
            // Gateways' clocks differ; an epoch that is "not open yet" for one of them would stop its writers.
            not_before: UnixMillis::new(at.millis().saturating_sub(CLOCK_SKEW_MILLIS)),
            not_after: at.plus_millis(terms.epoch_lifetime_millis),
            custody: Some(WrappedSeed { key, blob }),
        };
        self.sign(Body::Epoch(epoch))?;
        for (range, public) in readers {
            let next = Grant::to_read(&public, (stream, number), &[&secret], range)?;
            self.sign(Body::Grant(next))?;
        }
        self.opened.insert((stream, number), Arc::new(secret));
        Ok(number)
    }

    /// A grant to write, from the current epoch on. One that has ended is left as it is, since records that were
    /// written under it need it: the new one begins with a new epoch.
    pub async fn grant_to_write(
        &mut self,
        identity: IdentityId,
        stream: StreamId,
        (valid_from, valid_to): (UnixMillis, UnixMillis),
        terms: &StreamTerms,
    ) -> Result<(), PlanError> {
        let at = now();
        let (mut first, before) = self.live.read(|keyring| {
            let made = self.made_epochs(stream).last().map(|epoch| epoch.number);
            let current = keyring.current_epoch(stream, at).map(|epoch| epoch.number);
            let first = made.or(current).unwrap_or(EpochNumber::FIRST);
            let same = |grant: &&Grant| grant.right == Right::Write && grant.first == first;
            (first, keyring.grants(identity, stream).find(same).map(|grant| (grant.is_valid(at), grant.valid_from)))
        });
        let mut valid_from = valid_from;
        match before {
            Some((true, since)) => valid_from = valid_from.min(since),
            Some((false, _)) => first = self.epoch(stream, terms).await?,
            None => {}
        }
        let range = (first, EpochNumber::new(u32::MAX));
        self.sign(Body::Grant(Grant::to_write(identity, stream, range, (valid_from, valid_to))))
    }

    /// A grant to read the epochs from `range.first` to the newest one.
    pub async fn grant_to_read(
        &mut self,
        identity: IdentityId,
        stream: StreamId,
        range: GrantRange,
    ) -> Result<(), PlanError> {
        let (public, epochs) = self.live.read(|keyring| {
            let public = keyring.identity(identity).map(|identity| identity.public.clone());
            let current = keyring.current_epoch(stream, now()).map(|epoch| epoch.number);
            let first = range.first.or(current).unwrap_or(EpochNumber::FIRST);
            let epochs = keyring.epochs(stream).chain(self.made_epochs(stream));
            (public, epochs.filter(|epoch| epoch.number >= first).cloned().collect::<Vec<Epoch>>())
        });
        let public = public.ok_or_else(|| PlanError::Refused(format!("there is no identity {identity}")))?;
        // Epochs whose seed was destroyed leave holes; a grant covers one run of epochs without a hole.
        let mut run: Vec<(EpochNumber, Arc<EpochSecret>)> = Vec::new();
        for epoch in epochs {
            let follows = run.last().is_none_or(|(last, _)| last.next() == Some(epoch.number));
            if !follows || run.len() >= MOST_EPOCHS_A_GRANT {
                self.grant_run(&public, stream, &run, range)?;
                run.clear();
            }
            if let Some(secret) = self.epoch_secret(&epoch).await? {
                run.push((epoch.number, secret));
            }
        }
        if run.is_empty() {
            return Err(PlanError::Refused("the stream has no epoch that could be granted".to_owned()));
        }
        self.grant_run(&public, stream, &run, range)
    }

    fn grant_run(
        &mut self,
        public: &IdentityPublic,
        stream: StreamId,
        run: &[(EpochNumber, Arc<EpochSecret>)],
        range: GrantRange,
    ) -> Result<(), PlanError> {
        let Some((first, _)) = run.first() else { return Ok(()) };
        let seeds: Vec<&EpochSecret> = run.iter().map(|(_, secret)| &**secret).collect();
        let grant = Grant::to_read(public, (stream, *first), &seeds, (range.valid_from, range.valid_to))?;
        self.sign(Body::Grant(grant))
    }

    /// Ends grants of an identity on a stream. A revoked reader is shut out of what comes by a new epoch, below which
    /// no gateway seals any more.
    pub async fn revoke(
        &mut self,
        identity: IdentityId,
        stream: StreamId,
        right: Option<Right>,
        terms: &StreamTerms,
    ) -> Result<usize, PlanError> {
        let at = now();
        let ended: Vec<Grant> = self.live.read(|keyring| {
            let wanted = |grant: &&Grant| grant.revoked_at.is_none() && right.is_none_or(|right| grant.right == right);
            keyring.grants(identity, stream).filter(wanted).cloned().collect()
        });
        let count = ended.len();
        let ended = ended.into_iter().map(|grant| Grant { revoked_at: Some(at), ..grant }).collect();
        self.end(stream, ended, terms).await?;
        Ok(count)
    }

    /// Says by name that an identity does not have a right that it was never given, so that no rule gives it.
    pub fn bar(&mut self, identity: IdentityId, stream: StreamId, right: Right) -> Result<(), PlanError> {
        let at = now();
        let (public, current) = self.live.read(|keyring| {
            let public = keyring.identity(identity).map(|identity| identity.public.clone());
            (public, keyring.current_epoch(stream, at).map_or(EpochNumber::FIRST, |epoch| epoch.number))
        });
        let never = (at, at);
        let grant = match right {
            Right::Write => Grant::to_write(identity, stream, (current, current), never),
            Right::Read => {
                let public = public.ok_or_else(|| PlanError::Refused(format!("there is no identity {identity}")))?;
                // A grant to read carries a seed; this one is of no epoch.
                let nothing = EpochSecret::draw(public.kem.suite())?;
                Grant::to_read(&public, (stream, current), &[&nothing], never)?
            }
        };
        self.sign(Body::Grant(Grant { revoked_at: Some(at), ..grant }))
    }

    /// Ends grants that a policy gave and does not give any more. That they end and are not revoked is the difference:
    /// a policy that names the principal again gives them again.
    pub async fn withdraw(&mut self, stream: StreamId, grants: &[Slot], terms: &StreamTerms) -> Result<(), PlanError> {
        let at = now();
        let ended: Vec<Grant> = self.live.read(|keyring| {
            let given = keyring.all_grants().filter(|grant| grant.stream == stream && grant.is_valid(at));
            given.filter(|grant| grants.contains(&Body::Grant((*grant).clone()).slot())).cloned().collect()
        });
        let ended = ended.into_iter().map(|grant| Grant { valid_to: at, ..grant }).collect();
        self.end(stream, ended, terms).await
    }

    async fn end(&mut self, stream: StreamId, ended: Vec<Grant>, terms: &StreamTerms) -> Result<(), PlanError> {
        let reads = ended.iter().any(|grant| grant.right == Right::Read);
        let mut slots = HashSet::new();
        for grant in ended {
            let body = Body::Grant(grant);
            slots.insert(body.slot());
            self.sign(body)?;
        }
        if reads {
            let number = self.epoch_without(stream, &slots, terms).await?;
            self.sign(Body::Floor(StreamFloor { stream, minimum: number }))?;
        }
        Ok(())
    }

    /// A head over the keyring as it is.
    pub fn head(&mut self) -> Result<(), PlanError> {
        let position = self.live.applied_to();
        let head = self.live.read(|keyring| keyring.head_of_now(now(), position));
        self.sign(Body::Head(head))
    }

    /// The removal of an object.
    pub fn remove(&mut self, target: barnabas_crypto::Slot, reason: &str) -> Result<(), PlanError> {
        self.sign(Body::Removal(barnabas_crypto::Removal { target, reason: reason.to_owned() }))
    }

    pub(super) async fn epoch_secret(&mut self, epoch: &Epoch) -> Result<Option<Arc<EpochSecret>>, PlanError> {
        let Some(wrapped) = &epoch.custody else { return Ok(None) };
        if let Some(known) = self.opened.get(&(epoch.stream, epoch.number)) {
            return Ok(Some(known.clone()));
        }
        let context = CustodyContext::EpochSeed(epoch.stream, epoch.number);
        let seed = self.kms.unwrap(&wrapped.key, &wrapped.blob, &context).await?;
        let secret = Arc::new(EpochSecret::from_seed(seed, epoch.public.suite()));
        self.opened.insert((epoch.stream, epoch.number), secret.clone());
        Ok(Some(secret))
    }

    /// Epochs of a stream that are in this plan and not yet in the keyring.
    fn made_epochs(&self, stream: StreamId) -> impl Iterator<Item = &Epoch> {
        self.made.iter().filter_map(move |object| match object.body() {
            Body::Epoch(epoch) if epoch.stream == stream => Some(epoch),
            _ => None,
        })
    }

    pub(super) fn sign(&mut self, body: Body) -> Result<(), PlanError> {
        let slot = body.slot();
        let known = self.live.read(|keyring| keyring.next_version(slot));
        let made =
            self.made.iter().filter(|object| object.body().slot() == slot).map(|object| object.object().version + 1);
        let version = made.max().unwrap_or(known).max(known);
        self.made.push(Object::new(body, version, now()).sign(self.key)?);
        Ok(())
    }
}

/// How streams and epochs are made.
#[derive(Debug, Clone, Copy)]
pub struct StreamTerms {
    /// The suite of records.
    pub suite: barnabas_crypto::Suite,
    /// The suite of wraps.
    pub kem: KemSuite,
    /// What becomes of unreadable records.
    pub on_unreadable: barnabas_crypto::OnUnreadable,
    /// How long an epoch lasts.
    pub epoch_lifetime_millis: u64,
}

/// Readers of an epoch: for how long, and to which key their seeds are wrapped.
type Readers = Vec<((UnixMillis, UnixMillis), IdentityPublic)>;

/// The number of the next epoch, and the readers of the newest one so far, who go on reading or will begin to: each as
/// long as its grants follow each other without a gap.
fn next_epoch(
    keyring: &Keyring,
    stream: StreamId,
    ended: &HashSet<Slot>,
    made: &[SignedObject],
) -> Result<(EpochNumber, Readers), PlanError> {
    let Some(newest) = keyring.epochs(stream).next_back() else {
        return Ok((EpochNumber::FIRST, Vec::new()));
    };
    let number = newest.number.next().ok_or_else(|| PlanError::Refused("the stream is out of epochs".to_owned()))?;
    let at = now();
    let goes_on = |grant: &&Grant| {
        grant.stream == stream
            && grant.right == Right::Read
            && at < grant.valid_to
            && grant.revoked_at.is_none_or(|revoked| at < revoked)
            && grant.covers(newest.number)
            && !ended.contains(&Body::Grant((*grant).clone()).slot())
    };
    let made = made.iter().filter_map(|object| match object.body() {
        Body::Grant(grant) => Some(grant),
        _ => None,
    });
    let mut going_on: Vec<&Grant> = keyring.all_grants().chain(made).filter(goes_on).collect();
    going_on.sort_by_key(|grant| grant.valid_from);
    let mut by_reader: HashMap<IdentityId, (UnixMillis, UnixMillis)> = HashMap::new();
    for grant in going_on {
        let (_, until) = by_reader.entry(grant.identity).or_insert((grant.valid_from, grant.valid_to));
        if grant.valid_from <= *until {
            *until = grant.valid_to.max(*until);
        }
    }
    let public = |(identity, range)| Some((range, keyring.identity(identity)?.public.clone()));
    Ok((number, by_reader.into_iter().filter_map(public).collect()))
}

/// The name of a client's key in the KMS.
fn key_of_client(secret: &IdentitySecret) -> String {
    format!("client-{}", secret.id())
}

/// The end of a grant that a policy gave, so that one can tell it from a grant by command: the last moment before
/// [`UnixMillis::NEVER`]. The grants of later epochs take it over.
pub const BY_POLICY: UnixMillis = UnixMillis::new(u64::MAX - 1);

/// What clocks of gateways may differ by.
pub const CLOCK_SKEW_MILLIS: u64 = 60_000;

/// A year of daily epochs: about 13 KiB.
const MOST_EPOCHS_A_GRANT: usize = 366;
