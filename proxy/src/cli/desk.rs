//! What every administrative command works at: the keyring of a configuration, read to its end, and the steward's
//! delegate where something is to be changed.
//!
//! Arrives: a checked configuration. Leaves: look-ups, and changes that running gateways see within a second. A command
//! that only reads opens no secret and creates nothing. What must never happen here: an answer from half a keyring.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use barnabas_crypto::{Identity, Keyring, Stream};
use tokio::runtime::Runtime;

use super::{Exit, Failure, serve};
use crate::config::Config;
use crate::custody::CustodyStore;
use crate::gateway::{OpenKeyring, open_custody};
use crate::identity::Principal;
use crate::keyring::now;
use crate::metrics::Metrics;
use crate::steward::{Change, ChangeError, Delegate, ExclusivePublisher, PlanError};

/// The opened keyring, and whoever may change it.
pub(super) struct Desk {
    config: Config,
    delegate: Option<Arc<Delegate>>,
    custody: Option<CustodyStore>,
    keyring: Option<OpenKeyring>,
    runtime: Option<Runtime>,
}

impl Desk {
    /// Opens the keyring to look at it.
    pub(super) fn to_read(config: Config) -> Result<Self, Failure> {
        Self::without_secrets(config, false)
    }

    /// Opens the keyring to put signed objects into it. The topic is made when it is not there; no secret is needed.
    pub(super) fn to_fill(config: Config) -> Result<Self, Failure> {
        Self::without_secrets(config, true)
    }

    fn without_secrets(config: Config, make: bool) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let opened = runtime.block_on(async {
            let metrics = Arc::new(Metrics::default());
            let opening = if make {
                OpenKeyring::open(&config, metrics).await
            } else {
                OpenKeyring::existing(&config, metrics).await
            };
            let keyring = opening?;
            caught_up(&keyring).await?;
            Ok(keyring)
        });
        let keyring = opened.map_err(serve::failure)?;
        Ok(Self { config, delegate: None, custody: None, keyring: Some(keyring), runtime: Some(runtime) })
    }

    /// Opens keystore and keyring to act as the steward's delegate. The keyring topic is made when it is not there.
    pub(super) fn to_change(config: Config) -> Result<Self, Failure> {
        let runtime = runtime()?;
        let systems = runtime.block_on(async { open_custody(&config) }).map_err(serve::failure)?;
        let opened = runtime.block_on(async {
            let keyring = OpenKeyring::open(&config, Arc::new(Metrics::default())).await?;
            caught_up(&keyring).await?;
            let delegate = keyring.delegate(&config, &systems).await?;
            Ok((keyring, delegate))
        });
        let (keyring, delegate) = opened.map_err(serve::failure)?;
        let custody = CustodyStore::new(systems, (&config.custody).into(), Metrics::default().keys);
        let keyring = Some(keyring);
        Ok(Self { config, delegate: Some(delegate), custody: Some(custody), keyring, runtime: Some(runtime) })
    }

    /// Opens the keyring to look at it, and the keystore to open records with clients' keys.
    pub(super) fn with_custody(config: Config) -> Result<Self, Failure> {
        let mut desk = Self::to_read(config)?;
        let systems = desk.wait(async { open_custody(&desk.config) })?.map_err(serve::failure)?;
        desk.custody = Some(CustodyStore::new(systems, (&desk.config.custody).into(), Metrics::default().keys));
        Ok(desk)
    }

    /// The configuration.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Asks the keyring.
    pub(super) fn read<T>(&self, ask: impl FnOnce(&Keyring) -> T) -> Result<T, Failure> {
        let keyring = self.keyring.as_ref().ok_or_else(closed)?;
        Ok(keyring.live.read(ask))
    }

    /// Who writes to the keyring alone as long as it lives.
    pub(super) fn publisher(&self) -> Result<ExclusivePublisher, Failure> {
        let keyring = self.keyring.as_ref().ok_or_else(closed)?;
        Ok(ExclusivePublisher::new(keyring.topic.clone(), keyring.live.clone()))
    }

    /// Clients' secrets; only after [`Self::with_custody`] or [`Self::to_change`].
    pub(super) fn custody(&self) -> Result<&CustodyStore, Failure> {
        self.custody.as_ref().ok_or_else(no_keystore)
    }

    /// Runs something that waits.
    pub(super) fn wait<F: Future>(&self, work: F) -> Result<F::Output, Failure> {
        Ok(self.runtime.as_ref().ok_or_else(closed)?.block_on(work))
    }

    /// Makes a change; when this returns the keyring has it.
    pub(super) fn make(&self, change: &Change) -> Result<(), Failure> {
        let delegate = self.delegate.as_ref().ok_or_else(closed)?;
        self.wait(delegate.make(change))?.map_err(|error| refused(&error))
    }

    /// The current identity of a principal.
    pub(super) fn identity(&self, principal: &Principal) -> Result<Identity, Failure> {
        self.read(|keyring| keyring.identity_of(principal.as_str()).cloned())?.ok_or_else(|| {
            let line =
                format!("{principal} has no identity; `barnabas client add --principal '{principal}'` makes one");
            Failure::new(Exit::Failed, line)
        })
    }

    /// The stream of a topic.
    pub(super) fn stream(&self, topic: &str) -> Result<Stream, Failure> {
        self.read(|keyring| keyring.stream_of_topic(topic).cloned())?.ok_or_else(|| {
            let line = format!("topic `{topic}` has no stream; `barnabas stream seal --topic {topic}` makes one");
            Failure::new(Exit::Failed, line)
        })
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        // The client library's threads end with what uses them; calls of theirs may still wait for a broker.
        self.delegate = None;
        self.keyring = None;
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(1));
        }
    }
}

/// A small runtime: a command waits for one thing after the other.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Reads a principal as Kafka writes it.
pub(super) fn principal(text: &str) -> Result<Principal, Failure> {
    Principal::parse(text).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("`{text}` is not a principal; write User:NAME, such as User:CN=alice"))
    })
}

/// Says what the operator should know although the command went well.
pub(super) fn warn(line: &str) {
    eprintln!("barnabas: {line}");
}

/// A line on the terminal that is written over while something takes long. Nothing where no one looks.
pub(super) struct Progress {
    what: &'static str,
    shown: bool,
}

impl Progress {
    /// Nothing is shown yet.
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, shown: false }
    }

    /// Shows how far it is.
    pub(super) fn at(&mut self, count: impl std::fmt::Display) {
        let mut out = std::io::stderr();
        if out.is_terminal() {
            self.shown = true;
            write!(out, "\r{}: {count} ", self.what).and_then(|()| out.flush()).ok();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

async fn caught_up(keyring: &OpenKeyring) -> Result<(), crate::gateway::Error> {
    let mut progress = Progress::new("reading the keyring, records so far");
    let reading = keyring.caught_up(READ_LIMIT);
    tokio::pin!(reading);
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + FIRST_WORD, NEXT_WORD);
    loop {
        tokio::select! {
            read = &mut reading => return read,
            _ = ticks.tick() => progress.at(keyring.live.applied_to()),
        }
    }
}

fn refused(error: &ChangeError) -> Failure {
    let exit = match error {
        ChangeError::Plan(PlanError::Custody(error)) if error.is_retryable() => Exit::Unavailable,
        ChangeError::Plan(PlanError::Custody(_)) => Exit::Denied,
        ChangeError::Plan(_) => Exit::Failed,
        ChangeError::Publish(_) => Exit::Unavailable,
    };
    Failure::new(exit, error.to_string())
}

/// Fails when the delegate's certificate is over: nothing that it signs would count.
pub(super) fn check_certificate(desk: &Desk) -> Result<(), Failure> {
    let path = desk.config().steward.certificate.clone().unwrap_or_default();
    let over = desk.read(|keyring| !keyring.delegates().any(|delegate| delegate.is_valid(now())))?;
    if over { Err(expired(&path)) } else { Ok(()) }
}

fn expired(path: &Path) -> Failure {
    let line = format!("the delegate's certificate {} is over; sign a new one with the root key", path.display());
    Failure::new(Exit::Denied, line)
}

fn no_keystore() -> Failure {
    Failure::new(Exit::Configuration, "keystore: is not configured; `barnabas init` makes one")
}

fn closed() -> Failure {
    Failure::new(Exit::Failed, "the keyring is not open")
}

/// A keyring of a hundred thousand objects is read in seconds.
pub(super) const READ_LIMIT: Duration = Duration::from_secs(30);

/// What is faster than this needs no word.
const FIRST_WORD: Duration = Duration::from_secs(1);

const NEXT_WORD: Duration = Duration::from_millis(200);
