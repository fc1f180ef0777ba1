//! Reload without a restart: SIGHUP, or a change of a file that the configuration names, arrives; a new checked
//! configuration leaves for whoever applies it, with a log line about what changes and what waits for a restart.
//! A configuration with a mistake changes nothing. A burst of changes is one reload, after the last of them: files are
//! written one after the other, and a half of them must not be taken for a mistake.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::signal::unix::Signal;
use tokio::sync::Notify;

use crate::audit::event::{Audit, Event};
use crate::config::{Changes, Config, Mistake, SecureAdmin};

/// Follows `hangup` (SIGHUP) and files until it is dropped. `load` reads and checks everything anew (it may block); `apply` puts a
/// configuration in force.
pub async fn follow<L, A>(
    mut hangup: Signal,
    path: PathBuf,
    mut current: Config,
    load: L,
    apply: A,
    audit: Audit,
) -> std::io::Result<()>
where
    L: Fn(&Path) -> Result<Config, Vec<Mistake>> + Clone + Send + 'static,
    A: Fn(&Config),
{
    let touched = Arc::new(Notify::new());
    let mut _watcher = watch(files(&path, &current), &touched);
    loop {
        let cause = tokio::select! {
            received = hangup.recv() => match received {
                Some(()) => "signal",
                None => return Ok(()),
            },
            () = touched.notified() => {
                settle(&touched).await;
                "file"
            }
        };
        let (load, path_again) = (load.clone(), path.clone());
        let loaded = tokio::task::spawn_blocking(move || load(&path_again)).await;
        match loaded.map_err(std::io::Error::other)? {
            Ok(next) => {
                let changes = Changes::between(&current, &next);
                // What needs a restart is not applied, and is told again at the next reload.
                let before = current.clone();
                current = in_force(current, next);
                // Told before it is in force: no decision by a policy stands in the log before the policy.
                audit.record(Event::configuration_changed(&before, &current, &changes));
                if let Some(event) = Event::policy_changed(&before.policy, &current.policy) {
                    audit.record(event);
                }
                apply(&current);
                tell(cause, &changes);
                _watcher = watch(files(&path, &current), &touched);
            }
            Err(mistakes) => {
                audit.record(Event::configuration_refused(&current, &mistakes));
                for mistake in mistakes {
                    tracing::error!(
                        event = "configuration_refused",
                        cause,
                        path = mistake.path,
                        text = mistake.text,
                        remedy = mistake.remedy
                    );
                }
            }
        }
    }
}

/// Waits until no file has changed for a moment.
async fn settle(touched: &Notify) {
    while tokio::time::timeout(QUIET, touched.notified()).await.is_ok() {}
}

fn tell(cause: &'static str, changes: &Changes) {
    tracing::info!(event = "reloaded", cause, in_place = changes.in_place.join(", "));
    if !changes.needs_restart.is_empty() {
        tracing::warn!(event = "reload_incomplete", needs_restart = changes.needs_restart.join(", "));
    }
}

/// The old configuration with the parts of the new one that are in force.
fn in_force(old: Config, new: Config) -> Config {
    let mut now = old;
    now.policy = new.policy.for_keyring(now.keyring.topic.clone());
    now.log.level = new.log.level;
    if let Some(secure) = now.admin.as_mut().and_then(|admin| admin.secure.as_mut())
        && let Some(next) = new.admin.as_ref().and_then(|admin| admin.secure.as_ref())
    {
        *secure = SecureAdmin { bind: secure.bind, ..next.clone() };
    }
    for listener in &mut now.listeners {
        if let Some(next) = new.listeners.iter().find(|next| next.name == listener.name)
            && next.tls.is_some() == listener.tls.is_some()
        {
            listener.tls = next.tls.clone();
            listener.principal = next.principal.clone();
        }
    }
    for bridge in &mut now.rest {
        if let Some(next) = new.rest.iter().find(|next| next.name == bridge.name)
            && next.tls.is_some() == bridge.tls.is_some()
        {
            bridge.tls = next.tls.clone();
            bridge.principal = next.principal.clone();
        }
    }
    for cluster in &mut now.clusters {
        if let Some(next) = new.clusters.iter().find(|next| next.name == cluster.name)
            && next.tls.is_some() == cluster.tls.is_some()
        {
            cluster.tls = next.tls.clone();
        }
    }
    now
}

/// The files whose change means a reload. Keystores are not among them: they change by themselves.
fn files(path: &Path, config: &Config) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::from([path.to_owned()]);
    let of_listeners = config.listeners.iter().filter_map(|listener| listener.tls.as_ref());
    let of_bridges = config.rest.iter().filter_map(|bridge| bridge.tls.as_ref());
    let secure = config.admin.as_ref().and_then(|admin| admin.secure.as_ref());
    for tls in of_listeners.chain(of_bridges).chain(secure.map(|secure| &secure.tls)) {
        for own in std::iter::once(&tls.certificate).chain(&tls.more_certificates) {
            files.extend([own.certificate.clone(), own.private_key.clone()]);
        }
        if let Some(trust) = tls.trust() {
            files.insert(trust.client_ca.clone());
            files.extend(trust.crls.iter().cloned());
        }
    }
    for tls in config.clusters.iter().filter_map(|cluster| cluster.tls.as_ref()) {
        files.insert(tls.ca.clone());
        if let Some(own) = &tls.certificate {
            files.extend([own.certificate.clone(), own.private_key.clone()]);
        }
    }
    files
}

/// Watches the folders of the files: a file that is replaced by a rename is another file, its folder stays. Without a
/// watcher SIGHUP still works, so a failure here is a warning.
fn watch(files: BTreeSet<PathBuf>, touched: &Arc<Notify>) -> Option<RecommendedWatcher> {
    let files: BTreeSet<PathBuf> = files.into_iter().filter_map(|file| std::path::absolute(file).ok()).collect();
    let folders: BTreeSet<PathBuf> = files.iter().filter_map(|file| file.parent().map(Path::to_owned)).collect();
    let touched = touched.clone();
    let on_event = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| concerns(&event, &files)) {
            touched.notify_one();
        }
    };
    let watching = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        folders.iter().try_for_each(|folder| watcher.watch(folder, RecursiveMode::NonRecursive))?;
        Ok(watcher)
    });
    match watching {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(event = "files_not_watched", %error, remedy = "send SIGHUP after a change");
            None
        }
    }
}

/// Reading a file is an event, too, and ours; only changes count. Orchestrators swap whole folders of mounted files by a
/// link whose name starts with two dots.
fn concerns(event: &notify::Event, files: &BTreeSet<PathBuf>) -> bool {
    let changes = !matches!(event.kind, EventKind::Access(_));
    let swapped = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
    changes && event.paths.iter().any(|path| files.contains(path) || swapped(path))
}

/// Longer than a program takes between two files of one renewal, shorter than an operator's patience.
const QUIET: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
    use tokio::signal::unix::{SignalKind, signal};
    use tokio::sync::mpsc;

    use super::*;

    const FILE: &str = "
listeners: [{ name: a, bind: 127.0.0.1:9192, cluster: one, brokers: { by: port, first_port: 9193, count: 8 }, tls: off }]
clusters: [{ name: one, bootstrap_servers: [a:1], tls: off }]
";

    #[test]
    fn only_changes_of_named_files_and_swapped_folders_count() {
        let files = BTreeSet::from([PathBuf::from("/etc/b/barnabas.yaml")]);
        let event = |kind, path: &str| notify::Event::new(kind).add_path(PathBuf::from(path));
        let changed = EventKind::Modify(ModifyKind::Any);
        assert!(concerns(&event(changed, "/etc/b/barnabas.yaml"), &files));
        assert!(concerns(&event(EventKind::Create(CreateKind::Any), "/etc/b/..data"), &files));
        assert!(!concerns(&event(changed, "/etc/b/keystore"), &files));
        let closed = EventKind::Access(AccessKind::Close(AccessMode::Read));
        assert!(!concerns(&event(closed, "/etc/b/barnabas.yaml"), &files));
    }

    #[test]
    fn what_needs_a_restart_is_not_in_force() {
        let parse = |text: &str| Config::parse(&format!("{FILE}{text}"), Path::new(""), &[]).unwrap();
        let old = parse("streams: { default: pass }\n");
        let new = parse("streams: { default: refuse }\nlimits: { max_connections: 7 }\nkeyring: { topic: other }\n");
        let now = in_force(old.clone(), new.clone());
        assert_eq!(now.policy.streams(), new.policy.streams());
        assert_eq!(now.policy.stream("_barnabas_keyring"), &crate::config::StreamRule::Pass);
        assert_eq!(now.policy.stream("other"), &crate::config::StreamRule::Refuse);
        assert_eq!(now.limits, old.limits);
        assert_eq!(Changes::between(&now, &new).needs_restart, ["keyring", "limits"]);
    }

    #[tokio::test]
    async fn a_changed_file_is_loaded_and_a_mistake_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("barnabas.yaml");
        let write = |streams: &str| std::fs::write(&path, format!("{FILE}streams: {{ {streams} }}\n")).unwrap();
        write("default: pass");
        let load = |path: &Path| Config::load(path, &[]);
        let (loads, mut loaded) = mpsc::channel(16);
        let watched = move |path: &Path| {
            let result = load(path);
            loads.blocking_send(result.is_ok()).unwrap();
            result
        };
        let (applies, mut applied) = mpsc::channel(16);
        let apply = move |config: &Config| applies.try_send(config.clone()).unwrap();
        let hangup = signal(SignalKind::hangup()).unwrap();
        let following = tokio::spawn(follow(hangup, path.clone(), load(&path).unwrap(), watched, apply, Audit::off()));
        // The watcher may not be in place yet: written again until the change is seen.
        let mut seen = None;
        while seen.is_none() {
            write("default: refuse");
            seen = tokio::time::timeout(Duration::from_secs(2), loaded.recv()).await.unwrap_or(None);
        }
        assert_eq!(seen, Some(true));
        assert_eq!(applied.recv().await.unwrap(), load(&path).unwrap());
        write("default: perhaps");
        while loaded.recv().await.unwrap() {}
        while let Ok(config) = applied.try_recv() {
            assert_eq!(config.policy.streams().default, crate::config::StreamRule::Refuse);
        }
        following.abort();
    }
}
