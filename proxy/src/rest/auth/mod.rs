//! Makes a [`Caller`] of a request: by client certificate, Basic or Bearer.
//!
//! Arrives: what is known of the connection, and the headers. Leaves: a caller, or 401. What is in the headers is judged first, and
//! a wrong credential is wrong whatever else is there; beside a certificate it must speak of the same principal. What was
//! verified is kept for a while (`verified.rs`); a task of each bridge's own looks for changes of credentials and keys every second,
//! as long as the bridge lives. What must never happen here: a credential that is wrong falling back to a weaker proof; a
//! credential in a log.

pub mod header;
pub mod scram;
pub mod credentials;
mod attempts;
mod verified;
pub mod jwt;
mod jwk;
mod issuer;
mod refusal;
#[cfg(test)]
mod scene;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use axum::http::{HeaderMap, HeaderValue, Uri};
use ring::digest::{SHA256, digest};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use self::attempts::Attempts;
use self::credentials::{CredentialSet, CredentialStore};
use self::header::{Basic, Presented};
use self::issuer::Issuer;
pub use self::jwk::KeyMark;
use self::jwt::{Token, TokenRefusal};
use self::refusal::Refusal;
use self::scram::Stored;
use self::verified::{Kind, Mark, Proven, Verified};
use super::{Caller, Connection, Error, Proof};
use crate::config::{BasicAuth, BridgeAuth};

/// Decides who is calling, for one bridge.
pub struct Callers(Arc<Inner>);

struct Inner {
    settings: BridgeAuth,
    basic: Option<(BasicAuth, Arc<CredentialStore>)>,
    issuers: Vec<Arc<Issuer>>,
    verified: Verified,
    attempts: Attempts,
    /// Passwords that are stretched at once.
    stretching: Arc<Semaphore>,
    /// What a name is checked against when the file holds nobody.
    nobody: Option<Stored>,
    challenge: HeaderValue,
    changed: watch::Sender<()>,
}

/// What a caller's proof rests on, to be asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ground {
    /// The connection: its certificate, or nothing. It ends with that.
    Connection,
    /// A password.
    Credential {
        /// Whose.
        name: Arc<str>,
        /// Tells it from a later one of the same name.
        mark: Option<Mark>,
    },
    /// A token.
    Token {
        /// The issuer's place in the configuration.
        issuer: usize,
        /// The key that signed it.
        key: KeyMark,
    },
}

impl Callers {
    /// The callers of a bridge. Inside a runtime, changes are looked for from now on. A file of credentials that cannot be used is
    /// logged, and lets nobody in until it can.
    pub fn new(settings: BridgeAuth) -> Self {
        let basic = settings.basic.clone().map(|basic| {
            let store = CredentialStore::new(basic.credentials.clone());
            (basic, Arc::new(store))
        });
        let inner = Inner {
            basic,
            issuers: settings.bearer.iter().cloned().map(Issuer::new).map(Arc::new).collect(),
            verified: Verified::new(),
            attempts: Attempts::new(),
            stretching: Arc::new(Semaphore::new(stretched_at_once())),
            nobody: Stored::new("", credentials::usual_costs()).ok(),
            challenge: refusal::challenge(&settings),
            settings,
            changed: watch::Sender::new(()),
        };
        let inner = Arc::new(inner);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(follow(Arc::downgrade(&inner)));
        }
        Self(inner)
    }

    /// Who makes a request. A credential in the headers counts before the certificate of the connection; one in the address refuses
    /// the request.
    ///
    /// # Errors
    /// [`super::Code::Unauthenticated`], with the schemes that are accepted in `WWW-Authenticate`; `BadRequest` for what is no
    /// credential or contradicts the certificate, `TooManyRequests` after too many wrong passwords, `AuthenticationUnavailable`
    /// when a token's issuer does not answer.
    pub async fn caller(&self, connection: &Connection, address: &Uri, headers: &HeaderMap) -> Result<Caller, Error> {
        self.0.caller(connection, address, headers).await.map_err(|refusal| {
            if refusal.is_worth_a_line() {
                tracing::info!(event = "caller_refused", peer = %connection.peer, reason = refusal.word());
            }
            refusal.told(&self.0.challenge, &self.0.settings)
        })
    }

    /// Whether a caller would be accepted now: asked for streams that are open, after a change.
    pub fn still_accepts(&self, caller: &Caller) -> bool {
        self.0.holds(caller) && !caller.is_expired(SystemTime::now())
    }

    /// Tells of every change of credentials.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// Ends when a caller is not accepted any more: for streams that stay open.
    pub async fn gone(&self, caller: &Caller) {
        let mut changes = self.changes();
        while self.still_accepts(caller) {
            // Clocks are set: nobody sleeps through the end of a token that way.
            let left = caller.expires.and_then(|expires| expires.duration_since(SystemTime::now()).ok());
            let pause = left.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
            timeout(pause, changes.changed()).await.ok();
        }
    }
}

impl Inner {
    async fn caller(&self, connection: &Connection, address: &Uri, headers: &HeaderMap) -> Result<Caller, Refusal> {
        header::refuse_in_address(address)?;
        let Some(value) = header::only(headers)? else {
            return match &connection.certificate {
                Some(principal) => Ok(Caller::certified(principal.clone())),
                None if self.settings.anonymous => Ok(Caller::anonymous()),
                None => Err(Refusal::Nothing),
            };
        };
        if !connection.encrypted && !self.settings.in_the_clear && !connection.peer.ip().to_canonical().is_loopback() {
            return Err(Refusal::InTheClear);
        }
        let now = SystemTime::now();
        let mark = self.verified.mark(Kind::Header, value);
        let proven = match self.known(mark, now) {
            Some(proven) => proven,
            None => match Presented::parse(value)? {
                Presented::Basic(basic) => self.basic(connection, basic, mark).await?,
                Presented::Bearer(token) => self.bearer(token, mark, now).await?,
            },
        };
        if proven.bound_to.is_some() && proven.bound_to != connection.thumbprint {
            return Err(Refusal::Token(TokenRefusal::Bound));
        }
        match &connection.certificate {
            Some(principal) if *principal != proven.caller.principal => Err(Refusal::Disagree),
            _ => Ok(proven.caller),
        }
    }

    async fn basic(&self, connection: &Connection, basic: Basic, mark: Option<Mark>) -> Result<Proven, Refusal> {
        let Some((settings, store)) = &self.basic else { return Err(Refusal::Unasked) };
        let peer = connection.peer.ip();
        let name_mark = self.verified.mark(Kind::Name, basic.name.as_bytes()).ok_or(Refusal::Unavailable)?;
        self.attempts.take(name_mark, peer, Instant::now()).map_err(Refusal::TooMany)?;
        let turn = timeout(PATIENCE, self.stretching.clone().acquire_owned()).await;
        let Ok(Ok(turn)) = turn else {
            self.attempts.give_back(name_mark, peer);
            return Err(Refusal::TooMany(PATIENCE));
        };
        // Somebody with the same header may have been before us.
        if let Some(proven) = self.known(mark, SystemTime::now()) {
            self.attempts.give_back(name_mark, peer);
            return Ok(proven);
        }
        let generation = self.verified.generation();
        let (store, nobody) = (store.clone(), self.nobody.clone());
        let (name, password) = (basic.name.clone(), basic.password);
        let checked = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            // What was added a moment ago counts: its client's first requests must not use its attempts up.
            store.refresh();
            let (stored, is_known) = stored(&store.current(), &name, &name_mark, nobody)?;
            (stored.is_made_of(&password) && is_known).then_some(stored).ok_or(Refusal::Password)
        });
        let stored = checked.await.map_err(|_| Refusal::Unavailable)??;
        self.attempts.give_back(name_mark, peer);
        let principal = settings.mapping_rules.principal(&basic.name).map_err(Refusal::Name)?;
        let ground = Ground::Credential { name: basic.name.into(), mark: self.credential_mark(&stored) };
        let caller = Caller::new(principal, Proof::Basic, None, ground);
        Ok(self.keep(mark, Proven { caller, bound_to: None }, generation))
    }

    async fn bearer(&self, token: &str, mark: Option<Mark>, now: SystemTime) -> Result<Proven, Refusal> {
        if self.issuers.is_empty() {
            return Err(Refusal::Unasked);
        }
        let generation = self.verified.generation();
        let token = Token::parse(token).map_err(Refusal::Token)?;
        let by_name = |issuer: &Arc<Issuer>| token.issuer() == Some(issuer.settings().issuer.as_str());
        let place = self.issuers.iter().position(by_name);
        let (place, issuer) = place
            .and_then(|place| Some((place, self.issuers.get(place)?)))
            .ok_or(Refusal::Token(TokenRefusal::Issuer))?;
        let (claims, key) = issuer.verify(&token, now).await?;
        let principal = issuer.settings().mapping_rules.principal(&claims.name).map_err(Refusal::Name)?;
        let ground = Ground::Token { issuer: place, key };
        let caller = Caller::new(principal, Proof::Bearer, Some(claims.expires), ground);
        Ok(self.keep(mark, Proven { caller, bound_to: claims.bound_to }, generation))
    }

    fn known(&self, mark: Option<Mark>, now: SystemTime) -> Option<Proven> {
        self.verified.find(&mark?, now, |caller| self.holds(caller))
    }

    fn keep(&self, mark: Option<Mark>, proven: Proven, generation: verified::Generation) -> Proven {
        if let Some(mark) = mark {
            self.verified.put(mark, proven.clone(), generation, SystemTime::now());
        }
        proven
    }

    /// Whether what a proof rests on is still there.
    fn holds(&self, caller: &Caller) -> bool {
        match &caller.ground {
            Ground::Connection => true,
            Ground::Credential { name, mark } => self.basic.as_ref().is_some_and(|(_, store)| {
                let credentials = store.current();
                let stored = credentials.find(name).map(|credential| &credential.stored);
                stored.is_some_and(|stored| mark.is_some() && self.credential_mark(stored) == *mark)
            }),
            Ground::Token { issuer, key } => self.issuers.get(*issuer).is_some_and(|issuer| issuer.has(*key)),
        }
    }

    fn credential_mark(&self, stored: &Stored) -> Option<Mark> {
        self.verified.mark(Kind::Credential, stored.to_string().as_bytes())
    }

    /// Changes with whatever a proof can rest on.
    fn versions(&self) -> (Option<u64>, Vec<(u64, bool)>) {
        let issuers = self.issuers.iter().map(|issuer| issuer.version());
        (self.basic.as_ref().map(|(_, store)| store.version()), issuers.collect())
    }

    /// Has everybody looked at again, open streams included.
    fn doubt(&self) {
        self.verified.doubt();
        self.changed.send_replace(());
    }
}

/// What a password is checked against, and whether that can succeed. A name that is not there is checked against somebody else's,
/// always the same one, so that it takes as long.
fn stored(
    credentials: &CredentialSet,
    name: &str,
    mark: &Mark,
    nobody: Option<Stored>,
) -> Result<(Stored, bool), Refusal> {
    if let Some(credential) = credentials.find(name) {
        return Ok((credential.stored.clone(), true));
    }
    let draw = mark.first_chunk().map_or(0, |first| u64::from_be_bytes(*first));
    let decoy = credentials.decoy(draw).map(|credential| credential.stored.clone()).or(nobody);
    decoy.map(|stored| (stored, false)).ok_or(Refusal::Unavailable)
}

/// Looks for changes as long as somebody has the callers.
async fn follow(callers: Weak<Inner>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let Some(mut versions) = callers.upgrade().map(|inner| inner.versions()) else { return };
    loop {
        ticks.tick().await;
        let Some(inner) = callers.upgrade() else { return };
        for issuer in &inner.issuers {
            let issuer = issuer.clone();
            // An issuer that is slow must not keep us from seeing a credential go.
            tokio::spawn(async move { issuer.keep_up().await });
        }
        let looked = inner.clone();
        let refresh = move || looked.basic.iter().for_each(|(_, store)| store.refresh());
        tokio::task::spawn_blocking(refresh).await.ok();
        let now = inner.versions();
        if now != versions {
            inner.doubt();
        }
        versions = now;
    }
}

/// What tells a client certificate (DER) from others: its SHA-256 (RFC 8705, section 3.1).
pub fn thumbprint(certificate: &[u8]) -> [u8; 32] {
    let mut thumbprint = [0; 32];
    thumbprint.copy_from_slice(digest(&SHA256, certificate).as_ref());
    thumbprint
}

/// Half the processors at most: the other half has records to seal.
fn stretched_at_once() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| (processors.get() / 2).max(1))
}

/// A credential that was taken away counts for so long at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What a request waits for its password to be looked at.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a stream goes without looking at the clock.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
