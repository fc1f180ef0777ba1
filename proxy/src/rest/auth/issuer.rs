//! Whoever issues tokens: their keys arrive by OpenID Connect Discovery over HTTPS, tokens that they have signed leave as claims.
//!
//! Keys are fetched at the start and now and then; a token that names an unknown key makes for one more fetch, by one request for all
//! who wait, and not more often than an allowance says: a flood of invented names is not a flood at the issuer. While the issuer
//! is silent the keys that are known go on, up to a stated age. Nothing that a token says decides where anything is fetched.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use barnabas_kms::Documents;
use serde::Deserialize;
use tokio::time::timeout;

use super::attempts::Spent;
use super::jwk::{KeyMark, KeySet, KeySetError};
use super::jwt::{Claims, Token, TokenRefusal};
use crate::config::TokenIssuer;

/// One issuer and its keys.
pub struct Issuer {
    settings: TokenIssuer,
    state: Mutex<State>,
    /// One fetch at a time.
    flight: tokio::sync::Mutex<()>,
}

struct State {
    known: Option<Known>,
    /// Counts changes of the keys.
    version: u64,
    tried: Option<Instant>,
    /// How often in a row it has failed.
    failures: u32,
    looks: Spent,
}

#[derive(Clone)]
struct Known {
    keys: Arc<KeySet>,
    /// When the issuer last said so.
    said: Instant,
}

impl Issuer {
    /// Fetches nothing yet.
    pub fn new(settings: TokenIssuer) -> Self {
        let looks = Spent::nothing(Instant::now());
        let state = State { known: None, version: 0, tried: None, failures: 0, looks };
        Self { settings, state: Mutex::new(state), flight: tokio::sync::Mutex::default() }
    }

    /// As configured.
    pub fn settings(&self) -> &TokenIssuer {
        &self.settings
    }

    /// Checks a token that says to be this issuer's.
    pub async fn verify(&self, token: &Token<'_>, now: SystemTime) -> Result<(Claims, KeyMark), IssuerRefusal> {
        if !self.settings.algorithms.contains(&token.algorithm()) {
            return Err(TokenRefusal::Algorithm.into());
        }
        let known = self.known();
        let signer = match known.as_ref().map(|known| signer(known, token)) {
            Some(Signer::Found(mark)) => mark,
            Some(Signer::Wrong) => return Err(TokenRefusal::Signature.into()),
            Some(Signer::Unknown) | None => {
                self.look_again(known.as_ref()).await;
                let known = self.known().ok_or(IssuerRefusal::Unavailable)?;
                match signer(&known, token) {
                    Signer::Found(mark) => mark,
                    Signer::Wrong => return Err(TokenRefusal::Signature.into()),
                    // It may be a new key that we could not hear of.
                    Signer::Unknown if self.state().failures > 0 => return Err(IssuerRefusal::Unavailable),
                    Signer::Unknown => return Err(TokenRefusal::Signature.into()),
                }
            }
        };
        Ok((token.claims(&self.settings, now)?, signer))
    }

    /// Whether a key is still one of the issuer's.
    pub fn has(&self, key: KeyMark) -> bool {
        self.known().is_some_and(|known| known.has(key))
    }

    /// Changes whenever other keys count than before.
    pub fn version(&self) -> (u64, bool) {
        let version = self.state().version;
        (version, self.known().is_some())
    }

    /// Fetches the keys when it is time to; failures are tried again soon, and then less and less soon.
    pub async fn keep_up(&self) {
        let is_due = {
            let state = self.state();
            let pause = match state.failures {
                0 => self.settings.keys_refresh,
                failures => LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(failures.min(10) - 1)),
            };
            state.tried.is_none_or(|tried| tried.elapsed() >= pause.min(self.settings.keys_refresh))
        };
        if is_due && let Ok(_flight) = self.flight.try_lock() {
            self.fetch().await;
        }
    }

    /// Fetches the keys because something needs one that is not among `seen`, unless somebody else has just done so.
    async fn look_again(&self, seen: Option<&Arc<KeySet>>) {
        let Ok(_flight) = self.flight.try_lock() else {
            // Whoever is fetching does it for all of us; how long that takes is the issuer's doing, not the caller's.
            timeout(PATIENCE, self.flight.lock()).await.ok();
            return;
        };
        let is_other = match (&self.known(), seen) {
            (Some(known), Some(seen)) => !Arc::ptr_eq(known, seen),
            (known, _) => known.is_some(),
        };
        let allowed = is_other || self.state().looks.take(LOOKS, LOOK_PAUSE, Instant::now()).is_ok();
        if !is_other && allowed && timeout(PATIENCE, self.fetch()).await.is_err() {
            self.failed("no answer in time");
        }
    }

    async fn fetch(&self) {
        self.state().tried = Some(Instant::now());
        match self.fetched().await {
            Ok(keys) => {
                let mut state = self.state();
                let is_same = state.known.as_ref().is_some_and(|known| *known.keys == keys);
                let keys = match &state.known {
                    Some(known) if is_same => known.keys.clone(),
                    _ => Arc::new(keys),
                };
                state.known = Some(Known { keys, said: Instant::now() });
                let recovered = std::mem::take(&mut state.failures) > 0;
                if !is_same {
                    state.version += 1;
                }
                drop(state);
                if !is_same || recovered {
                    tracing::info!(event = "issuer_keys_known", issuer = self.settings.issuer, changed = !is_same);
                }
            }
            Err(error) => self.failed(&error.to_string()),
        }
    }

    fn failed(&self, why: &str) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        let (failures, has_keys) = (state.failures, state.known.is_some());
        drop(state);
        // Once for each outage: what follows is the same.
        if failures == 1 {
            tracing::warn!(event = "issuer_unreachable", issuer = self.settings.issuer, error = why, has_keys);
        }
    }

    async fn fetched(&self) -> Result<KeySet, IssuerError> {
        let keys = match &self.settings.jwks_url {
            Some(url) => url.clone(),
            None => self.discovered().await?,
        };
        KeySet::parse(&self.document(&keys).await?).map_err(|source| IssuerError::Keys { url: keys, source })
    }

    /// Where the keys are (OpenID Connect Discovery 1.0, section 4).
    async fn discovered(&self) -> Result<String, IssuerError> {
        let issuer = &self.settings.issuer;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let document = self.document(&url).await?;
        let found: Configuration =
            serde_json::from_slice(&document).map_err(|_| IssuerError::Discovery { url: url.clone() })?;
        // Section 4.3: else one issuer could speak for another.
        if found.issuer != *issuer {
            return Err(IssuerError::Other { found: found.issuer.chars().take(200).collect() });
        }
        Ok(found.jwks_uri)
    }

    async fn document(&self, url: &str) -> Result<zeroize::Zeroizing<Vec<u8>>, IssuerError> {
        let (origin, path) =
            split(url).ok_or_else(|| IssuerError::Discovery { url: url.chars().take(200).collect() })?;
        Ok(Documents::new(self.settings.http(origin))?.fetch(path, "the issuer").await?)
    }

    /// The keys that count: none that are over age.
    fn known(&self) -> Option<Arc<KeySet>> {
        let state = self.state();
        let known = state.known.as_ref().filter(|known| known.said.elapsed() < self.settings.keys_max_age)?;
        Some(known.keys.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a token that says to be an issuer's does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IssuerRefusal {
    /// It is wrong.
    Token(TokenRefusal),
    /// Whether it is right cannot be said: the issuer's keys cannot be had.
    Unavailable,
}

impl From<TokenRefusal> for IssuerRefusal {
    fn from(refusal: TokenRefusal) -> Self {
        Self::Token(refusal)
    }
}

enum Signer {
    Found(KeyMark),
    /// No key that the token may mean.
    Unknown,
    /// There are such keys, and none has signed it.
    Wrong,
}

fn signer(keys: &KeySet, token: &Token<'_>) -> Signer {
    let mut outcome = Signer::Unknown;
    for key in keys.candidates(token.key_id(), token.algorithm()).take(MOST_CANDIDATES) {
        if token.is_signed_by(key) {
            return Signer::Found(key.mark());
        }
        outcome = Signer::Wrong;
    }
    outcome
}

/// Why the keys could not be fetched. Goes to the log.
#[derive(Debug, thiserror::Error)]
enum IssuerError {
    #[error("`{url}` is not a discovery document with an address of keys")]
    Discovery { url: String },
    #[error(transparent)]
    Http(#[from] barnabas_kms::Error),
    #[error("`{url}` gives no keys: {source}")]
    Keys { url: String, source: KeySetError },
    #[error("its discovery document is of `{found}`; write `issuer` exactly as it says, if that is right")]
    Other { found: String },
}

#[derive(Deserialize)]
struct Configuration {
    issuer: String,
    jwks_uri: String,
}

/// `https://host:port` and the path with its query.
fn split(url: &str) -> Option<(&str, &str)> {
    let host = url.find("://")? + 3;
    match url.get(host..)?.find('/') {
        Some(slash) => url.split_at_checked(host + slash),
        None => Some((url, "/")),
    }
}

/// Tokens without the name of a key are tried with those that fit.
const MOST_CANDIDATES: usize = 8;
/// Fetches for unknown keys: so many at once, and then one each pause.
const LOOKS: u32 = 4;
const LOOK_PAUSE: Duration = Duration::from_secs(10);
/// What a request waits for an issuer.
const PATIENCE: Duration = Duration::from_secs(5);
/// After failures: doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
