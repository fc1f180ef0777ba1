//! `barnabas credential`: names and passwords for the HTTP bridge. A name arrives, a line in the bridge's file of credentials leaves.
//! A password is never an argument, which everybody on the machine can read, and never stands in the file: it is drawn here and shown
//! once, asked for without echo, or read from a file. A gateway that runs takes a change within a second or two.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{ConfigArg, Exit, Failure, OutputArg, Row, prompt};
use crate::config::{BasicAuth, Config, SecretRef};
use crate::rest::auth::credentials::{self, Credential, CredentialError, CredentialName, CredentialSet};
use crate::rest::auth::scram::{Stored, Stretching};

/// Passwords for the HTTP bridge: add a name, list names, remove one
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = HELP, subcommand_required = true)]
pub enum CredentialCommand {
    Add(AddArgs),
    List(ListArgs),
    Remove(RemoveArgs),
}

/// Add a name: its password is drawn and shown once, unless you bring one
#[derive(Clone, Debug, Args)]
#[command(after_help = ADD_HELP)]
pub struct AddArgs {
    #[command(flatten)]
    place: Place,
    /// The name that the client sends
    name: String,
    /// Ask for the password, without echo
    #[arg(long, conflicts_with = "password_file")]
    ask: bool,
    /// Read the password from the first line of a file; - is standard input
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Give a name that is there a new password
    #[arg(long)]
    replace: bool,
    /// Keep a password that you bring in the form that a SCRAM exchange can use; guesses at a stolen file are cheaper then
    #[arg(long)]
    scram: bool,
}

/// List names: how the password is kept, whose principal it is, since when
#[derive(Clone, Debug, Args)]
#[command(after_help = LIST_HELP)]
pub struct ListArgs {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    output: OutputArg,
}

/// Remove a name: its requests are refused, its open streams end
#[derive(Clone, Debug, Args)]
#[command(after_help = REMOVE_HELP)]
pub struct RemoveArgs {
    #[command(flatten)]
    place: Place,
    /// The name
    name: String,
}

/// Which file is meant.
#[derive(Clone, Debug, Args)]
struct Place {
    #[command(flatten)]
    config: ConfigArg,
    /// The bridge (rest[].name), where several have files of their own
    #[arg(long, value_name = "NAME")]
    bridge: Option<String>,
}

impl Place {
    fn basic(&self) -> Result<BasicAuth, Failure> {
        choose(&self.config.load()?, self.bridge.as_deref())
    }
}

pub(super) fn run(command: CredentialCommand) -> Result<(), Failure> {
    match command {
        CredentialCommand::Add(args) => add(&args),
        CredentialCommand::List(args) => list(&args),
        CredentialCommand::Remove(args) => remove(&args),
    }
}

fn add(args: &AddArgs) -> Result<(), Failure> {
    let name = CredentialName::parse(&args.name).map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let basic = args.place.basic()?;
    basic.mapping_rules.principal(name.as_str()).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    // Before anybody is asked for a password.
    refuse_known(&CredentialSet::read(&basic.credentials)?, &name, args.replace)?;
    let (password, stretching) = match (&args.password_file, args.ask) {
        (None, false) => (draw()?, Stretching::FOR_GENERATED),
        (file, _) => {
            let password = chosen(file.as_deref())?;
            (password, if args.scram { Stretching::FOR_CHOSEN_SCRAM } else { Stretching::FOR_CHOSEN })
        }
    };
    let stored = Stored::new(&password, stretching).map_err(CredentialError::Scram)?;
    let added = jiff::Timestamp::now().round(jiff::Unit::Second).map_err(|error| failed(&error))?.to_string();
    credentials::change::<_, Failure>(&basic.credentials, |set| {
        refuse_known(set, &name, args.replace)?;
        set.put(name.clone(), Credential { stored, added });
        Ok(())
    })?;
    if args.password_file.is_none() && !args.ask {
        eprintln!("barnabas: the password of {} is shown only now:", name.as_str());
        println!("{}", password.as_str());
    }
    Ok(())
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let basic = args.place.basic()?;
    let set = CredentialSet::read(&basic.credentials)?;
    let rows: Vec<CredentialRow> = set
        .iter()
        .map(|(name, credential)| CredentialRow {
            name: name.to_owned(),
            principal: basic.mapping_rules.principal(name).map_or("none".to_owned(), |principal| principal.to_string()),
            kept: credential.stored.stretching().to_string(),
            added: credential.added.clone(),
        })
        .collect();
    Ok(args.output.printer().list(&rows)?)
}

fn remove(args: &RemoveArgs) -> Result<(), Failure> {
    let basic = args.place.basic()?;
    credentials::change(&basic.credentials, |set| {
        if set.remove(&args.name) {
            return Ok(());
        }
        Err(Failure::new(
            Exit::Failed,
            format!("there is no name `{}`; `barnabas credential list` shows all", args.name),
        ))
    })
}

/// The file that is meant: of the bridge that was named, or the only one there is.
fn choose(config: &Config, bridge: Option<&str>) -> Result<BasicAuth, Failure> {
    let meant = config.rest.iter().filter(|candidate| bridge.is_none_or(|bridge| candidate.name == bridge));
    let mut basics: Vec<&BasicAuth> = meant.filter_map(|bridge| bridge.auth.basic.as_ref()).collect();
    basics.dedup_by(|a, b| a == b);
    match basics.as_slice() {
        [only] => Ok((*only).clone()),
        [] => {
            let line = match bridge {
                Some(name) => format!("no bridge `{name}` has `basic`; write rest[].basic.credentials"),
                None => "no bridge has `basic`; write rest[].basic.credentials".to_owned(),
            };
            Err(Failure::new(Exit::Failed, line))
        }
        _ => Err(Failure::new(Exit::Usage, "several bridges have files of their own: name one with --bridge")),
    }
}

fn refuse_known(set: &CredentialSet, name: &CredentialName, replace: bool) -> Result<(), Failure> {
    if replace || set.find(name.as_str()).is_none() {
        return Ok(());
    }
    let line = format!("`{}` has a password; --replace gives it a new one", name.as_str());
    Err(Failure::new(Exit::CannotCreate, line))
}

/// 192 random bits in characters that every client sends alike.
fn draw() -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new([0; 24]);
    let drawn = SystemRandom::new().fill(&mut bytes[..]);
    drawn.map_err(|_| Failure::new(Exit::Failed, "the operating system's random source failed"))?;
    Ok(Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(&bytes[..])))
}

/// A password that a person, or a program, has chosen; without a file it is asked for twice.
fn chosen(file: Option<&Path>) -> Result<Zeroizing<String>, Failure> {
    let password = match file {
        Some(path) if path == Path::new("-") => {
            let mut text = Zeroizing::new(String::with_capacity(MAX_INPUT));
            std::io::stdin().take(MAX_INPUT as u64).read_to_string(&mut text)?;
            Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())
        }
        Some(path) => SecretRef::File(path.to_owned()).read()?,
        None => {
            let first = prompt::secret("Password: ")?;
            if *first != *prompt::secret("Again: ")? {
                return Err(Failure::new(Exit::Failed, "the two passwords differ; nothing was changed"));
            }
            first
        }
    };
    check(&password).map_err(|line| Failure::new(Exit::Failed, line))?;
    Ok(password)
}

fn check(password: &str) -> Result<(), &'static str> {
    if !password.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return Err("a password has visible ASCII characters only: clients disagree on how to send others");
    }
    match password.len() {
        0..MIN_PASSWORD => {
            Err("a password that you choose has at least 12 characters; leave it away to have one drawn")
        }
        MIN_PASSWORD..=MAX_PASSWORD => Ok(()),
        _ => Err("a password has at most 1024 characters"),
    }
}

fn failed(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Exit::Failed, error.to_string())
}

impl From<CredentialError> for Failure {
    fn from(error: CredentialError) -> Self {
        let exit = match &error {
            CredentialError::Io { .. } => Exit::CannotCreate,
            CredentialError::Name => Exit::Usage,
            CredentialError::OpenToOthers { .. } => Exit::Denied,
            CredentialError::Line { .. } | CredentialError::Scram(_) | CredentialError::TooLong(_) => Exit::Data,
        };
        Self::new(exit, error.to_string())
    }
}

#[derive(Debug, Serialize)]
struct CredentialRow {
    name: String,
    principal: String,
    kept: String,
    added: String,
}

impl Row for CredentialRow {
    const COLUMNS: &'static [&'static str] = &["name", "principal", "kept", "added"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.principal.clone(), self.kept.clone(), self.added.clone()]
    }
}

const MIN_PASSWORD: usize = 12;
const MAX_PASSWORD: usize = 1024;
/// One line of standard input, and what may follow it.
const MAX_INPUT: usize = 4096;

const HELP: &str = "\
Examples:
  barnabas credential add sensor-7 > sensor-7.password    a drawn password, shown once
  barnabas credential list
  barnabas credential remove sensor-7

The file is rest[].basic.credentials of the configuration. A running gateway takes a change by itself.";

const ADD_HELP: &str = "\
Examples:
  barnabas credential add sensor-7                               a password of 192 bits, on standard output
  barnabas credential add alice --ask
  barnabas credential add alice --replace --password-file -      from standard input

A password that you bring is kept by Argon2id: each guess at a stolen file costs memory as well as time. With --scram, or drawn, it is kept
as SCRAM-SHA-256 (RFC 7677).";

const LIST_HELP: &str = "\
Examples:
  barnabas credential list
  barnabas credential list --bridge devices --output json";

const REMOVE_HELP: &str = "\
Example:
  barnabas credential remove sensor-7";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn drawn_passwords_are_long_plain_and_never_the_same() {
        let (first, second) = (draw().unwrap(), draw().unwrap());
        assert_ne!(*first, *second);
        assert_eq!((first.len(), check(&first)), (32, Ok(())));
    }

    #[test]
    fn passwords_that_would_not_arrive_or_not_protect_are_refused() {
        for password in ["", "short", "with a tab\tin it", "gr\u{fc}n gr\u{fc}n gr\u{fc}n", &"x".repeat(1025)] {
            assert!(check(password).is_err(), "{password}");
        }
        assert_eq!(check("correct horse battery"), Ok(()));
    }
}
