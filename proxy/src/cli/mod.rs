//! The command line: arguments arrive, an exit code leaves.
//! One file for each command: its arguments, its help with an example, its `run`. A command never ends silently when it
//! did nothing: what is not there yet says so and fails. Secrets are never arguments: everybody on a machine can read those.

mod exit;
mod output;
mod desk;
mod moment;
mod history;
mod serve;
mod check;
mod init;
mod client;
mod credential;
mod prompt;
mod stream;
mod grant;
mod epoch;
mod keyring;
mod escrow;
mod kms;
mod steward;
mod inspect;
mod demo;
mod completions;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use check::load_sound;
pub use exit::{Exit, Failure};
pub use output::{Format, OutputArg, Printer, Row};

use crate::config::Config;

/// Runs a whole command line and says how the process should end. Errors go to standard error.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are "errors" of clap that belong on standard output with success.
            error.print().ok();
            return if error.use_stderr() { Exit::Usage } else { Exit::Ok };
        }
    };
    match cli.command.run() {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            for line in &failure.lines {
                eprintln!("barnabas: {line}");
            }
            failure.exit
        }
    }
}

/// The whole command line, for completions and for tests.
#[derive(Debug, Parser)]
#[command(
    name = "barnabas",
    version,
    about = "Encryption gateway for Apache Kafka: clients keep their protocol, brokers keep only sealed records",
    after_help = FIRST_STEPS,
    max_term_width = 120
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::ServeArgs),
    Check(check::CheckArgs),
    Init(init::InitArgs),
    #[command(subcommand)]
    Client(client::ClientCommand),
    #[command(subcommand)]
    Credential(credential::CredentialCommand),
    #[command(subcommand)]
    Stream(stream::StreamCommand),
    #[command(subcommand)]
    Grant(grant::GrantCommand),
    #[command(subcommand)]
    Epoch(epoch::EpochCommand),
    #[command(subcommand)]
    Keyring(keyring::KeyringCommand),
    #[command(subcommand)]
    Escrow(escrow::EscrowCommand),
    #[command(subcommand)]
    Kms(kms::KmsCommand),
    Steward(steward::StewardArgs),
    Inspect(inspect::InspectArgs),
    Demo(demo::DemoArgs),
    Completions(completions::CompletionsArgs),
}

impl Command {
    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Serve(args) => serve::run(args),
            Self::Check(args) => check::run(args),
            Self::Init(args) => init::run(args),
            Self::Client(command) => client::run(command),
            Self::Credential(command) => credential::run(command),
            Self::Stream(command) => stream::run(command),
            Self::Grant(command) => grant::run(command),
            Self::Epoch(command) => epoch::run(command),
            Self::Keyring(command) => keyring::run(command),
            Self::Escrow(command) => escrow::run(command),
            Self::Kms(command) => kms::run(command),
            Self::Steward(args) => steward::run(args),
            Self::Inspect(args) => inspect::run(args),
            Self::Demo(args) => demo::run(args),
            Self::Completions(args) => completions::run(args),
        }
    }
}

/// The configuration that a command works with.
#[derive(Clone, Debug, Args)]
pub struct ConfigArg {
    /// The configuration file; BARNABAS__... variables override single keys of it
    #[arg(long, value_name = "FILE", env = "BARNABAS_CONFIG", default_value = "barnabas.yaml")]
    pub config: PathBuf,
}

impl ConfigArg {
    /// The configuration without a mistake, or all of its mistakes and exit code 64.
    pub fn load(&self) -> Result<Config, Failure> {
        load_sound(&self.config).map_err(Failure::mistakes)
    }
}

const FIRST_STEPS: &str = "\
First steps:
  barnabas demo                                   see it work, nothing to install
  barnabas init --dir gateway --dev-ca            keys, certificates, a commented configuration
  barnabas check --config gateway/barnabas.yaml   every mistake at once
  barnabas serve --config gateway/barnabas.yaml   the gateway

Exit codes: 0 done, 1 failed, 2 wrong usage, 64 mistakes in the configuration,
65 data that cannot be right, 69 something needed is unavailable,
73 a file cannot be written, 77 denied.";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::CommandFactory;

    use super::*;

    fn every_command(command: &clap::Command, path: &str, see: &mut dyn FnMut(&str, &clap::Command)) {
        see(path, command);
        for below in command.get_subcommands() {
            every_command(below, &format!("{path} {}", below.get_name()), see);
        }
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_by_an_example_of_itself() {
        let mut seen = 0;
        every_command(&Cli::command(), "barnabas", &mut |path, command| {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(command.get_about().is_some(), "{path} does not say what it does");
            let whole = if command.has_subcommands() { "barnabas" } else { path };
            assert!(help.contains(whole), "{path} has no example of itself: {help}");
            seen += 1;
        });
        assert!(seen > 24);
    }

    #[test]
    fn every_example_is_a_valid_command_line() {
        let mut seen = 0;
        every_command(&Cli::command(), "barnabas", &mut |path, command| {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = |line: &&str| line.trim_start().starts_with("barnabas ");
            for line in help.lines().filter(example) {
                let words = line.split("   ").find(|part| !part.trim().is_empty()).unwrap();
                let words = words.split(" > ").next().unwrap().split_whitespace();
                let parsed = Cli::try_parse_from(words.map(|word| word.trim_matches('\'')));
                assert!(parsed.is_ok(), "{path}: {line}: {}", parsed.err().map(|e| e.to_string()).unwrap_or_default());
                seen += 1;
            }
        });
        assert!(seen > 24);
    }

    #[test]
    fn wrong_usage_and_help_end_as_scripts_expect() {
        let run = |words: &[&str]| run(words.iter().map(OsString::from));
        assert_eq!(run(&["barnabas", "no-such-command"]), Exit::Usage);
        assert_eq!(run(&["barnabas", "--version"]), Exit::Ok);
        assert_eq!(run(&["barnabas", "grant", "add", "--help"]), Exit::Ok);
        assert_eq!(run(&["barnabas", "check", "--config", "/nonexistent/barnabas.yaml"]), Exit::Configuration);
    }
}
