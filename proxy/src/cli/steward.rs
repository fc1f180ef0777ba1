//! `barnabas steward`: the online delegate alone, where it shall not live inside a gateway.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigArg, Exit, Failure, load_sound, serve};
use crate::config::Config;
use crate::gateway::{Error, OpenKeyring, open_custody};
use crate::logging::{self, LevelHandle};
use crate::metrics::Metrics;
use crate::steward::{Delegate, answer_requests};

/// Run the steward's online delegate alone: enrolments, epochs, grants, heads
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct StewardArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
}

pub(super) fn run(args: StewardArgs) -> Result<(), Failure> {
    let config = args.config.load()?;
    let level = logging::install(config.log).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(work(&args.config.config, config, level));
    // Blocking calls of the client library may still be waiting for brokers that are gone.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn work(path: &Path, config: Config, level: LevelHandle) -> Result<(), Failure> {
    // Before anything is opened: a signal that comes early must not be lost.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = signal(SignalKind::hangup())?;
    let opened = tokio::select! {
        opened = open(&config) => opened.map_err(serve::failure)?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    let (keyring, delegate) = opened;
    tracing::info!(event = "steward_started", version = env!("CARGO_PKG_VERSION"));
    let routine = tokio::spawn(delegate.clone().run());
    let answering = tokio::spawn(answer_requests(delegate.clone(), keyring.live.clone(), keyring.topic.clone()));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload(path, &delegate, &level),
        }
    }
    routine.abort();
    answering.abort();
    tracing::info!(event = "steward_ended");
    Ok(())
}

async fn open(config: &Config) -> Result<(OpenKeyring, Arc<Delegate>), Error> {
    let settings = config.clone();
    let systems = tokio::task::spawn_blocking(move || open_custody(&settings)).await.map_err(|_| Error::Stopped)??;
    let keyring = OpenKeyring::open(config, Arc::new(Metrics::default())).await?;
    keyring.caught_up(CATCH_UP_LIMIT).await?;
    let delegate = keyring.delegate(config, &systems).await?;
    Ok((keyring, delegate))
}

/// A mistake in the new configuration changes nothing.
fn reload(path: &Path, delegate: &Delegate, level: &LevelHandle) {
    match load_sound(path) {
        Ok(config) => {
            level.set(config.log.level);
            delegate.replace_policy(config.policy);
            tracing::info!(event = "configuration_reloaded");
        }
        Err(mistakes) => {
            for mistake in mistakes {
                tracing::error!(event = "configuration_refused", %mistake, "what is in force stays in force");
            }
        }
    }
}

/// A cluster that is starting takes longer than a keyring that is long.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(120);

const HELP: &str = "\
Example:
  barnabas steward --config /etc/barnabas/barnabas.yaml

Gateways beside it say `steward: { run: \"off\" }`. Two delegates at once do no harm.
It obeys the `streams` and `clients` of its own configuration, whatever a gateway asks for; SIGHUP loads them anew.";
