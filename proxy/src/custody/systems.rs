//! The key management systems of one gateway, as one.
//!
//! Arrives: a key's full name, `SYSTEM/KEY`, or the name alone for the local keystore. Leaves: the call, made to the
//! system that the name says. New secrets go to the system that `custody.kms` names; the others go on opening what they
//! have hidden until `barnabas kms rotate` has moved it. What must never happen here: a secret that was meant for one
//! system handed to another.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use barnabas_crypto::custody::{CustodyCause, CustodyFuture};
use barnabas_crypto::{Custody, CustodyContext, CustodyError, Secret};
use barnabas_kms::{GuardSettings, Guarded, LocalKeystore};

use crate::audit::event::{Audit, Event, KmsOperation};

/// The name of the local keystore where systems are listed.
pub const LOCAL: &str = "local";

/// The local keystore, and every system of `kms:` behind a guard.
pub struct KeySystems {
    local: Arc<LocalKeystore>,
    others: BTreeMap<String, Guarded<dyn Custody>>,
    chosen: Option<String>,
    /// Opened after the keystore, which has the log's key.
    audit: OnceLock<Audit>,
}

/// How one system stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name in the configuration.
    pub name: String,
    /// For how long it has given no usable answer, and the last failure; `None` while it answers.
    pub outage: Option<(Duration, String)>,
}

impl KeySystems {
    /// The keystore and `others`; new secrets are hidden by `chosen`, which is one of them, or by the keystore.
    pub fn new(local: Arc<LocalKeystore>, others: Vec<(String, Arc<dyn Custody>)>, chosen: Option<String>) -> Self {
        let guarded = |(name, adapter)| (name, Guarded::new(adapter, GuardSettings::default()));
        Self { local, others: others.into_iter().map(guarded).collect(), chosen, audit: OnceLock::new() }
    }

    /// Every call from here on is told to the audit log.
    pub fn tell(&self, audit: Audit) {
        self.audit.get_or_init(|| audit);
    }

    /// The audit log, when there is one.
    pub fn audit(&self) -> Option<&Audit> {
        self.audit.get().filter(|audit| audit.is_on())
    }

    /// As [`Custody::unwrap`], for a caller that tells the audit log itself.
    pub async fn unwrap_untold(
        &self,
        key: &str,
        wrapped: &[u8],
        context: &CustodyContext,
    ) -> Result<Secret<32>, CustodyError> {
        let (system, key) = self.at(key)?;
        system.unwrap(key, wrapped, context).await
    }

    async fn told<T>(
        &self,
        (operation, full): (KmsOperation, &str),
        context: Option<&CustodyContext>,
        call: impl Future<Output = Result<T, CustodyError>>,
    ) -> Result<T, CustodyError> {
        let Some(audit) = self.audit() else { return call.await };
        let asked = Instant::now();
        let answer = call.await;
        let error = answer.as_ref().err();
        audit.record(Event::kms_call(operation, self.parts(full), context, error, asked.elapsed()));
        answer
    }

    /// The local keystore, which also keeps the delegate's own key.
    pub fn local(&self) -> &Arc<LocalKeystore> {
        &self.local
    }

    /// The full name that a new key gets.
    pub fn new_key(&self, key: &str) -> String {
        self.key_in(self.chosen.as_deref().unwrap_or(LOCAL), key)
    }

    /// The full name of a key in a system.
    pub fn key_in(&self, system: &str, key: &str) -> String {
        if system == LOCAL { key.to_owned() } else { format!("{system}{SEPARATOR}{key}") }
    }

    /// System and short name of a key.
    pub fn parts<'k>(&self, full: &'k str) -> (&'k str, &'k str) {
        full.split_once(SEPARATOR).unwrap_or((LOCAL, full))
    }

    /// The system that new secrets go to.
    pub fn chosen(&self) -> &str {
        self.chosen.as_deref().unwrap_or(LOCAL)
    }

    /// All systems, the local keystore first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(LOCAL).chain(self.others.keys().map(String::as_str))
    }

    /// One system by its name.
    pub fn system(&self, name: &str) -> Option<&dyn Custody> {
        if name == LOCAL {
            return Some(&*self.local);
        }
        self.others.get(name).map(|system| system as &dyn Custody)
    }

    /// How the systems of `kms:` stand.
    pub fn standings(&self) -> Vec<Standing> {
        let standing = |(name, system): (&String, &Guarded<dyn Custody>)| Standing {
            name: name.clone(),
            outage: system.outage().map(|outage| (outage.since.elapsed(), outage.error.to_string())),
        };
        self.others.iter().map(standing).collect()
    }

    /// Asks a system for something small, so that its standing is true also when nobody needs it.
    pub async fn probe(&self, name: &str) {
        if let Some(system) = self.others.get(name) {
            // Any answer is one, also that there is no such key.
            system.current_version(PROBE).await.ok();
        }
    }

    fn at<'k>(&self, full: &'k str) -> Result<(&dyn Custody, &'k str), CustodyError> {
        let (name, key) = self.parts(full);
        let absent = || {
            let remedy = "name it under `kms` until `barnabas kms rotate` has moved what it hides";
            CustodyError::new(CustodyCause::NotFound, format!("key {key} is in the system `{name}`: {remedy}"))
        };
        self.system(name).map(|system| (system, key)).ok_or_else(absent)
    }
}

impl Custody for KeySystems {
    fn ensure_key<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, ()> {
        Box::pin(self.told((KmsOperation::EnsureKey, key), None, async move {
            let (system, key) = self.at(key)?;
            system.ensure_key(key).await
        }))
    }

    fn ensure_keys<'a>(&'a self, keys: &'a [String]) -> CustodyFuture<'a, ()> {
        Box::pin(async move {
            let mut by_system: BTreeMap<&str, Vec<String>> = BTreeMap::new();
            for full in keys {
                let (name, key) = self.parts(full);
                self.at(full)?;
                by_system.entry(name).or_default().push(key.to_owned());
            }
            for (name, keys) in by_system {
                if let Some(system) = self.system(name) {
                    let all = self.key_in(name, &keys.join(","));
                    self.told((KmsOperation::EnsureKey, &all), None, system.ensure_keys(&keys)).await?;
                }
            }
            Ok(())
        })
    }

    fn wrap<'a>(
        &'a self,
        key: &'a str,
        secret: &'a Secret<32>,
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Vec<u8>> {
        Box::pin(self.told((KmsOperation::Wrap, key), Some(context), async move {
            let (system, key) = self.at(key)?;
            system.wrap(key, secret, context).await
        }))
    }

    fn unwrap<'a>(
        &'a self,
        key: &'a str,
        wrapped: &'a [u8],
        context: &'a CustodyContext,
    ) -> CustodyFuture<'a, Secret<32>> {
        let asked = self.unwrap_untold(key, wrapped, context);
        Box::pin(self.told((KmsOperation::Unwrap, key), Some(context), asked))
    }

    fn describe(&self) -> String {
        self.system(self.chosen()).map_or_else(String::new, Custody::describe)
    }

    fn current_version<'a>(&'a self, key: &'a str) -> CustodyFuture<'a, Option<String>> {
        Box::pin(self.told((KmsOperation::Version, key), None, async move {
            let (system, key) = self.at(key)?;
            system.current_version(key).await
        }))
    }
}

/// Between a system's name and a key's; neither may have it.
const SEPARATOR: char = '/';

/// The key that a probe asks about. It need not exist.
const PROBE: &str = "check";
