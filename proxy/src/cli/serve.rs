//! `barnabas serve`: the gateway itself. The configuration arrives, connections are served until SIGTERM.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use notify::{RecursiveMode, Watcher};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::{ConfigArg, Exit, Failure, load_sound};
use crate::config::Config;
use crate::gateway::{self, Gateway, Reloader};
use crate::logging::{self, LevelHandle};

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
    let files = files_of(&config);
    let built = tokio::select! {
        built = Gateway::build(config) => built.map_err(failure)?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    for line in built.addresses() {
        println!("{line}");
    }
    tracing::info!(event = "started", version = env!("CARGO_PKG_VERSION"));
    let reloading = tokio::spawn(reload(path, files, Arc::new(built.reloader()), level));
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

/// Loads the configuration anew on SIGHUP, and when a file that it names has changed. A mistake changes nothing.
async fn reload(path: PathBuf, files: Vec<PathBuf>, reloader: Arc<Reloader>, level: LevelHandle) -> Result<(), Failure> {
    let mut hangup = signal(SignalKind::hangup())?;
    let (tell, mut changed) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // One waiting word is enough for any number of changes.
            tell.try_send(()).ok();
        }
    })
    .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    // Folders, not files: certificates are replaced by renaming, and a watched file that is renamed away stays silent.
    let mut folders: Vec<PathBuf> = files.iter().chain([&path]).filter_map(|file| folder_of(file)).collect();
    folders.sort();
    folders.dedup();
    for folder in &folders {
        if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
            tracing::warn!(event = "files_not_watched", folder = %folder.display(), %error, remedy = "send SIGHUP");
        }
    }
    let mut seen = stamps(&files, &path);
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            _ = changed.recv() => false,
        };
        // A certificate and its key are two files: both are there after a moment.
        tokio::time::sleep(SETTLE).await;
        let now = stamps(&files, &path);
        if !asked && now == seen {
            continue;
        }
        seen = now;
        match load_sound(&path) {
            Ok(config) => {
                level.set(config.log.level);
                reloader.apply(&config);
            }
            Err(mistakes) => {
                for mistake in mistakes {
                    tracing::error!(event = "configuration_refused", %mistake, "what is in force stays in force");
                }
            }
        }
    }
}

/// Every file whose change can be taken over while the gateway runs.
fn files_of(config: &Config) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for tls in config.listeners.iter().filter_map(|listener| listener.tls.as_ref()) {
        for own in std::iter::once(&tls.certificate).chain(&tls.more_certificates) {
            files.extend([own.certificate.clone(), own.private_key.clone()]);
        }
        files.extend(tls.trust().map(|trust| trust.client_ca.clone()));
        files.extend(tls.trust().into_iter().flat_map(|trust| trust.crls.clone()));
    }
    for tls in config.clusters.iter().filter_map(|cluster| cluster.tls.as_ref()) {
        files.push(tls.ca.clone());
        files.extend(tls.certificate.iter().flat_map(|own| [own.certificate.clone(), own.private_key.clone()]));
    }
    files
}

fn folder_of(file: &std::path::Path) -> Option<PathBuf> {
    let folder = file.parent()?;
    Some(if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() })
}

type Stamp = Option<(std::time::SystemTime, u64)>;

fn stamps(files: &[PathBuf], path: &std::path::Path) -> Vec<Stamp> {
    let stamp = |file: &std::path::Path| {
        let found = std::fs::metadata(file).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    files.iter().map(PathBuf::as_path).chain([path]).map(stamp).collect()
}

/// Why a gateway did not start, for scripts and for people.
pub(super) fn failure(error: gateway::Error) -> Failure {
    use gateway::Error;
    let exit = match &error {
        Error::Bind { .. } | Error::KeyringUnread(_) | Error::Publish(_) | Error::Topic(_) => Exit::Unavailable,
        Error::Keystore(_) | Error::Passphrase(_) => Exit::Denied,
        Error::Certificate { .. } | Error::Tls(_) => Exit::Data,
        Error::NoCertificate | Error::NoRootKey => Exit::Configuration,
        Error::Crypto(_) | Error::Stopped => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

/// How long files may take to be replaced.
const SETTLE: Duration = Duration::from_millis(300);

const HELP: &str = "\
Examples:
  barnabas serve --config /etc/barnabas/barnabas.yaml
  barnabas serve      (reads barnabas.yaml of this folder)

Any key of the file can be set by a variable with double underscores between its parts:
  BARNABAS__LOG__LEVEL=debug barnabas serve";
