//! `barnabas serve`: the gateway itself. The configuration arrives, connections are served until SIGTERM.
//! Nothing is bound before every mistake of the configuration has been told.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigArg, Exit, Failure, load_sound};
use crate::config::Config;
use crate::gateway::{self, Gateway};
use crate::logging::{self, LevelHandle};
use crate::reload;

/// Run the gateway until SIGTERM or Ctrl-C; SIGHUP loads certificates, revocation lists and policy anew
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct ServeArgs {
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) fn run(args: ServeArgs) -> Result<(), Failure> {
    let config = args.config.load()?;
    let level = logging::install(config.log).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(serve(args.config.config, config, level));
    // Blocking calls of the client library may still be waiting for brokers that are gone.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

async fn serve(path: PathBuf, config: Config, level: LevelHandle) -> Result<(), Failure> {
    // Before anything is built: a signal that comes early must not kill half a gateway.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let hangup = signal(SignalKind::hangup())?;
    let built = tokio::select! {
        built = Gateway::build(config.clone()) => built.map_err(failure)?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    for line in built.addresses() {
        println!("{line}");
    }
    tracing::info!(event = "started", version = env!("CARGO_PKG_VERSION"));
    let reloader = built.reloader();
    let apply = move |next: &Config| {
        level.set(next.log.level);
        reloader.apply(next);
    };
    let audit = built.audit().clone();
    let reloading = tokio::spawn(async move {
        if let Err(error) = reload::follow(hangup, path, config, load_sound, apply, audit).await {
            tracing::error!(event = "reload_ended", %error);
        }
    });
    built
        .run(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await;
    reloading.abort();
    tracing::info!(event = "ended");
    Ok(())
}

/// Why a gateway did not start, for scripts and for people.
pub(super) fn failure(error: gateway::Error) -> Failure {
    use gateway::Error;
    let exit = match &error {
        Error::Bind { .. } | Error::KeyringUnread(_) | Error::Publish(_) | Error::Topic(_) => Exit::Unavailable,
        Error::Keystore(_) | Error::Passphrase(_) => Exit::Denied,
        Error::Certificate { .. } | Error::Tls(_) => Exit::Data,
        Error::Bridge { .. }
        | Error::Kms { .. }
        | Error::NoCertificate
        | Error::NoKeystore
        | Error::NoRootKey
        | Error::Witness(_) => Exit::Configuration,
        Error::Audit(_) => Exit::CannotCreate,
        Error::Crypto(_) | Error::Stopped => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

const HELP: &str = "\
Examples:
  barnabas serve --config /etc/barnabas/barnabas.yaml
  barnabas serve      (reads barnabas.yaml of this folder)

Any key of the file can be set by a variable with double underscores between its parts:
  BARNABAS__LOG__LEVEL=debug barnabas serve";
