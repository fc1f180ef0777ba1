//! `barnabas serve`: the gateway itself. The configuration arrives, connections are served until SIGTERM.
//! Nothing is bound before every mistake of the configuration has been told.

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigArg, Exit, Failure, load_sound};
use crate::config::Config;
use crate::gateway::{Error, Gateway};
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
    runtime.block_on(serve(args, config, level))
}

async fn serve(args: ServeArgs, config: Config, level: LevelHandle) -> Result<(), Failure> {
    // Taken before anything is bound, so that a signal during the start is not lost.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let gateway = tokio::select! {
        built = Gateway::build(config.clone()) => built.map_err(Failure::from)?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    for line in gateway.addresses() {
        println!("{line}");
    }
    let reloader = gateway.reloader();
    let apply = move |next: &Config| {
        reloader.apply(next);
        level.set(next.log.level);
    };
    let following = tokio::spawn(async move {
        if let Err(error) = reload::follow(args.config.config, config, load_sound, apply).await {
            tracing::error!(event = "reload_ended", %error);
        }
    });
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    gateway.run(stop).await;
    following.abort();
    Ok(())
}

impl From<Error> for Failure {
    /// What an operator must do differs: unlock a key, mend a file, or wait for a broker.
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::Keystore(_) | Error::Passphrase(_) => Exit::Denied,
            Error::Certificate { .. } | Error::Crypto(_) | Error::Tls(_) => Exit::Data,
            Error::NoCertificate | Error::NoRootKey => Exit::Configuration,
            Error::Bind { .. } | Error::KeyringUnread(_) | Error::Publish(_) | Error::Topic(_) => Exit::Unavailable,
            Error::Stopped => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}

const HELP: &str = "\
Examples:
  barnabas serve --config /etc/barnabas/barnabas.yaml
  barnabas serve      (reads barnabas.yaml of this folder)

Any key of the file can be set by a variable with double underscores between its parts:
  BARNABAS__LOG__LEVEL=debug barnabas serve";
