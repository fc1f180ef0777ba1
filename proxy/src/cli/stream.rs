//! `barnabas stream`: topics under sealing. A topic arrives, a stream with an id and a first epoch is made or shown.

use barnabas_crypto::{Keyring, OnUnreadable, Stream, StreamId, Suite, UnixMillis};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::desk::{self, Desk};
use super::epoch::{self, EpochRow};
use super::grant::{self, GrantRow};
use super::{ConfigArg, Exit, Failure, OutputArg, Row, moment};
use crate::config::{Policy, StreamRule};
use crate::keyring::now;
use crate::steward::Change;

/// Put a topic under sealing, list streams, show one
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = HELP, subcommand_required = true)]
pub enum StreamCommand {
    Seal(SealArgs),
    List(ListArgs),
    Show(ShowArgs),
}

/// Make the stream of a topic: its id and its first epoch
#[derive(Clone, Debug, Args)]
#[command(after_help = SEAL_HELP)]
pub struct SealArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The topic; a rule of `streams` must seal it
    #[arg(long)]
    pub(super) topic: String,
}

/// List streams: topic, id, current epoch, writers and readers by grant
#[derive(Clone, Debug, Args)]
#[command(after_help = LIST_HELP)]
pub struct ListArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    #[command(flatten)]
    pub(super) output: OutputArg,
}

/// Show one stream: its rule, its epochs, its grants
#[derive(Clone, Debug, Args)]
#[command(after_help = SHOW_HELP)]
pub struct ShowArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The topic
    #[arg(long)]
    pub(super) topic: String,
    #[command(flatten)]
    pub(super) output: OutputArg,
}

pub(super) fn run(command: StreamCommand) -> Result<(), Failure> {
    match command {
        StreamCommand::Seal(args) => seal(args),
        StreamCommand::List(args) => list(args),
        StreamCommand::Show(args) => show(args),
    }
}

fn seal(args: SealArgs) -> Result<(), Failure> {
    let config = args.config.load()?;
    if !matches!(config.policy.stream(&args.topic), StreamRule::Seal(_)) {
        let line = format!("no rule of `streams` seals `{}`; add one first: gateways obey the rule", args.topic);
        return Err(Failure::new(Exit::Failed, line));
    }
    let desk = Desk::to_change(config)?;
    desk::check_certificate(&desk)?;
    let known = desk.read(|keyring| is_open(keyring, &args.topic, now()))?;
    if !known {
        desk.make(&Change::Seal { topic: args.topic.clone() })?;
    }
    let stream = desk.stream(&args.topic)?.id;
    let done = if known { "is sealed already" } else { "is sealed from now on" };
    println!("`{}` {done}: stream {stream}", args.topic);
    Ok(())
}

fn is_open(keyring: &Keyring, topic: &str, at: UnixMillis) -> bool {
    keyring.stream_of_topic(topic).is_some_and(|stream| stream.sealed && keyring.current_epoch(stream.id, at).is_some())
}

fn list(args: ListArgs) -> Result<(), Failure> {
    let desk = Desk::to_read(args.config.load()?)?;
    let rows = desk.read(|keyring| {
        let mut rows: Vec<StreamRow> = keyring.streams().map(|stream| StreamRow::new(keyring, stream, now())).collect();
        rows.sort_by(|a, b| (&a.topic, &a.stream).cmp(&(&b.topic, &b.stream)));
        rows
    })?;
    Ok(args.output.printer().list(&rows)?)
}

fn show(args: ShowArgs) -> Result<(), Failure> {
    let desk = Desk::to_read(args.config.load()?)?;
    let stream = desk.stream(&args.topic)?;
    let shown = desk.read(|keyring| Shown::new(keyring, &stream, &desk.config().policy, now()))?;
    Ok(args.output.printer().one(&shown)?)
}

#[derive(Debug, Serialize)]
struct StreamRow {
    topic: String,
    stream: String,
    sealed: bool,
    /// Null: no epoch is open, so nothing can be sealed.
    epoch: Option<u32>,
    writers: Vec<String>,
    readers: Vec<String>,
}

impl StreamRow {
    fn new(keyring: &Keyring, stream: &Stream, at: UnixMillis) -> Self {
        let grants = grant::rows(keyring, Some(stream.id), at);
        Self {
            topic: stream.topic.clone(),
            stream: stream.id.to_string(),
            sealed: stream.sealed,
            epoch: current(keyring, stream.id, at),
            writers: holders(&grants, "write"),
            readers: holders(&grants, "read"),
        }
    }
}

impl Row for StreamRow {
    const COLUMNS: &'static [&'static str] = &["topic", "stream", "sealed", "epoch", "writers", "readers"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.topic.clone(),
            self.stream.clone(),
            yes(self.sealed),
            self.epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string()),
            few(&self.writers),
            few(&self.readers),
        ]
    }
}

#[derive(Debug, Serialize)]
struct Shown {
    topic: String,
    stream: String,
    sealed: bool,
    /// What this configuration says of the topic.
    rule: &'static str,
    suite: &'static str,
    on_unreadable: &'static str,
    created: Option<String>,
    /// Nothing is sealed below it.
    floor: u32,
    epoch: Option<u32>,
    epochs: Vec<EpochRow>,
    grants: Vec<GrantRow>,
}

impl Shown {
    fn new(keyring: &Keyring, stream: &Stream, policy: &Policy, at: UnixMillis) -> Self {
        Self {
            topic: stream.topic.clone(),
            stream: stream.id.to_string(),
            sealed: stream.sealed,
            rule: match policy.stream(&stream.topic) {
                StreamRule::Seal(_) => "seal",
                StreamRule::Pass => "pass",
                StreamRule::Refuse => "refuse",
            },
            suite: suite_name(stream.suite),
            on_unreadable: match stream.on_unreadable {
                OnUnreadable::Fail => "fail",
                OnUnreadable::Skip => "skip",
                OnUnreadable::Opaque => "opaque",
            },
            created: moment::written(stream.created),
            floor: keyring.minimum_epoch(stream.id).number(),
            epoch: current(keyring, stream.id, at),
            epochs: epoch::rows(keyring, Some(stream.id), at),
            grants: grant::rows(keyring, Some(stream.id), at),
        }
    }
}

impl Row for Shown {
    const COLUMNS: &'static [&'static str] = &[
        "topic", "stream", "sealed", "rule", "suite", "on unreadable", "created", "floor", "epoch", "epochs", "writers",
        "readers",
    ];

    fn cells(&self) -> Vec<String> {
        let epochs: Vec<String> = self.epochs.iter().map(|row| format!("{} {}", row.epoch, row.state)).collect();
        vec![
            self.topic.clone(),
            self.stream.clone(),
            yes(self.sealed),
            self.rule.to_owned(),
            self.suite.to_owned(),
            self.on_unreadable.to_owned(),
            self.created.clone().unwrap_or_default(),
            self.floor.to_string(),
            self.epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string()),
            epochs.join(", "),
            holders(&self.grants, "write").join(", "),
            holders(&self.grants, "read").join(", "),
        ]
    }
}

fn current(keyring: &Keyring, stream: StreamId, at: UnixMillis) -> Option<u32> {
    keyring.current_epoch(stream, at).map(|epoch| epoch.number.number())
}

/// The principals whose grant of this right counts now.
fn holders(grants: &[GrantRow], right: &str) -> Vec<String> {
    let valid = grants.iter().filter(|row| row.right == right && row.state == "valid");
    let mut names: Vec<String> = valid.map(|row| row.principal.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// A cell of a table stays a cell: the first names, and how many more.
fn few(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN_NAMES).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN_NAMES) {
        0 if shown.is_empty() => "-".to_owned(),
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn yes(truth: bool) -> String {
    if truth { "yes" } else { "no" }.to_owned()
}

/// The name of a record suite, as the configuration writes it.
pub(super) fn suite_name(suite: Suite) -> &'static str {
    match suite {
        Suite::Aes256Gcm => "aes-256-gcm",
        Suite::Aes256GcmRandomNonce => "aes-256-gcm-random-nonce",
        Suite::ChaCha20Poly1305 => "chacha20-poly1305",
        _ => "unknown",
    }
}

const SHOWN_NAMES: usize = 3;

const HELP: &str = "\
Example:
  barnabas stream list

Whether a topic is sealed is for the configuration to say; with `steward.run: embedded` its stream is made by itself
when the first client writes.";

const SEAL_HELP: &str = "\
Example:
  barnabas stream seal --topic orders

Records that are in the topic already stay as they are: readers are refused them. Start with an empty topic.";

const LIST_HELP: &str = "\
Examples:
  barnabas stream list
  barnabas stream list --output json";

const SHOW_HELP: &str = "\
Example:
  barnabas stream show --topic orders";


#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_counted_and_none_is_a_dash() {
        let names = |count: usize| (0..count).map(|n| format!("User:{n}")).collect::<Vec<_>>();
        assert_eq!(few(&names(0)), "-");
        assert_eq!(few(&names(3)), "User:0, User:1, User:2");
        assert_eq!(few(&names(5)), "User:0, User:1, User:2 and 2 more");
    }
}
