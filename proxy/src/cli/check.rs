//! `barnabas check`: every mistake of a configuration in one run. Nothing is bound, nothing is connected to.
//! Beyond the tree itself it looks into the files that it names: certificates that do not fit their keys, secrets that
//! cannot be read, host names that no certificate carries. `serve` starts with the same look.

mod kms;

use std::path::Path;

use clap::Args;
use serde::Serialize;

use super::output::{Format, Row};
use super::{ConfigArg, Exit, Failure, OutputArg};
use crate::config::{Brokers, ClientProperty, Config, Keystore, KeystoreBackend, Listener, Mistake, Unlock};
use crate::tls::{ServerTls, UpstreamTlsSource};

/// Tell every mistake of a configuration at once, each with its path; exit 64 when there is any; bind nothing
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct CheckArgs {
    #[command(flatten)]
    config: ConfigArg,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: CheckArgs) -> Result<(), Failure> {
    let checked = load_sound(&args.config.config);
    let mut printer = args.output.printer();
    match checked {
        Ok(config) => {
            if args.output.output == Format::Json {
                printer.list::<MistakeRow>(&[])?;
            }
            let sealed = if config.policy.may_seal() { "streams may be sealed" } else { "nothing is sealed" };
            printer.line(&format!(
                "{}: no mistake; listeners: {}, clusters: {}, {sealed}",
                args.config.config.display(),
                config.listeners.len(),
                config.clusters.len()
            ))?;
            Ok(())
        }
        Err(mistakes) if args.output.output == Format::Json => {
            printer.list(&mistakes.into_iter().map(MistakeRow::from).collect::<Vec<_>>())?;
            Err(Failure { exit: Exit::Configuration, lines: Vec::new() })
        }
        Err(mistakes) => Err(Failure::mistakes(mistakes)),
    }
}

/// Loads a configuration with the environment of this process and looks into the files that it names.
pub fn load_sound(path: &Path) -> Result<Config, Vec<Mistake>> {
    let env: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let config = Config::load(path, &env)?;
    let mistakes = look_into_files(&config);
    if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
}

fn look_into_files(config: &Config) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (index, listener) in config.listeners.iter().enumerate() {
        look_at_listener(&format!("listeners[{index}]"), listener, &mut mistakes);
    }
    for (index, bridge) in config.rest.iter().enumerate() {
        let place = format!("rest[{index}].tls");
        let tls = bridge.tls.clone().map(|tls| ServerTls::new(tls, bridge.principal.clone()));
        if let Some(Err(error)) = tls {
            mistakes.push(mistake(&place, error.to_string(), "correct the file that it names"));
        }
    }
    for (index, cluster) in config.clusters.iter().enumerate() {
        let place = format!("clusters[{index}]");
        if let Some(Err(error)) = cluster.tls.clone().map(UpstreamTlsSource::new) {
            mistakes.push(mistake(&format!("{place}.tls"), error.to_string(), "correct the file that it names"));
        }
        for (name, value) in &cluster.client {
            if let ClientProperty::Secret(secret) = value
                && let Err(error) = secret.read()
            {
                mistakes.push(mistake(
                    &format!("{place}.client.{name}"),
                    error.to_string(),
                    "make the secret readable",
                ));
            }
        }
    }
    for system in &config.kms {
        kms::look_at(system, &mut mistakes);
    }
    if let Some(Keystore { backend: KeystoreBackend::Local { unlock: Unlock::Passphrase(secret), .. } }) =
        &config.keystore
        && let Err(error) = secret.read()
    {
        mistakes.push(mistake("keystore.unlock.passphrase", error.to_string(), "make the secret readable"));
    }
    mistakes
}

fn look_at_listener(place: &str, listener: &Listener, mistakes: &mut Vec<Mistake>) {
    let Some(settings) = &listener.tls else { return };
    let tls = match ServerTls::new(settings.clone(), listener.principal.clone()) {
        Ok(tls) => tls.snapshot(),
        Err(error) => {
            mistakes.push(mistake(&format!("{place}.tls"), error.to_string(), "correct the file that it names"));
            return;
        }
    };
    let Brokers::Sni(names) = &listener.brokers else { return };
    for (key, host) in [("bootstrap_host", names.bootstrap_host().to_owned()), ("host_pattern", names.host(0))] {
        if !tls.covers(&host) {
            let text = format!("no certificate of this listener carries the name `{host}`");
            mistakes.push(mistake(
                &format!("{place}.brokers.{key}"),
                text,
                "issue one, with a wildcard for the brokers",
            ));
        }
    }
}

fn mistake(path: &str, text: String, remedy: &str) -> Mistake {
    Mistake { path: path.to_owned(), line: None, text, remedy: remedy.to_owned() }
}

#[derive(Serialize)]
struct MistakeRow {
    path: String,
    line: Option<u64>,
    text: String,
    remedy: String,
}

impl From<Mistake> for MistakeRow {
    fn from(mistake: Mistake) -> Self {
        Self { path: mistake.path, line: mistake.line, text: mistake.text, remedy: mistake.remedy }
    }
}

impl Row for MistakeRow {
    const COLUMNS: &'static [&'static str] = &["path", "line", "mistake", "remedy"];

    fn cells(&self) -> Vec<String> {
        let line = self.line.map(|line| line.to_string()).unwrap_or_default();
        vec![self.path.clone(), line, self.text.clone(), self.remedy.clone()]
    }
}

const HELP: &str = "\
Examples:
  barnabas check --config barnabas.yaml
  barnabas check --config barnabas.yaml --output json";
