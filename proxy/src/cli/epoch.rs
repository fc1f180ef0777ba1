//! `barnabas epoch`: the periods of a stream's key pair. A topic arrives, a new epoch or the list of them leaves, and an
//! old one is destroyed.

mod destroy;
mod retained;

use barnabas_crypto::{Epoch, Keyring, Stream, StreamId, UnixMillis};
use clap::{Args, Subcommand};
use serde::Serialize;

use destroy::DestroyArgs;

use super::desk::{self, Desk};
use super::{ConfigArg, Failure, OutputArg, Row, moment};
use crate::keyring::now;
use crate::steward::Change;

/// Begin a new epoch of a stream, list epochs, destroy old ones
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = HELP, subcommand_required = true)]
pub enum EpochCommand {
    Rotate(RotateArgs),
    List(ListArgs),
    Destroy(DestroyArgs),
}

/// Begin a new epoch: writers change to it at once, readers get it by their grants
#[derive(Clone, Debug, Args)]
#[command(after_help = ROTATE_HELP)]
pub struct RotateArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The stream's topic
    #[arg(long)]
    pub(super) topic: String,
}

/// List epochs: topic, number, since when, destroyed or not
#[derive(Clone, Debug, Args)]
#[command(after_help = LIST_HELP)]
pub struct ListArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// Only of this topic
    #[arg(long)]
    pub(super) topic: Option<String>,
    #[command(flatten)]
    pub(super) output: OutputArg,
}

pub(super) fn run(command: EpochCommand) -> Result<(), Failure> {
    match command {
        EpochCommand::Rotate(args) => rotate(args),
        EpochCommand::List(args) => list(args),
        EpochCommand::Destroy(args) => destroy::run(args),
    }
}

fn rotate(args: RotateArgs) -> Result<(), Failure> {
    let desk = Desk::to_change(args.config.load()?)?;
    desk::check_certificate(&desk)?;
    let stream = desk.stream(&args.topic)?.id;
    desk.make(&Change::Rotate { stream })?;
    let number = desk.read(|keyring| keyring.current_epoch(stream, now()).map(|epoch| epoch.number))?;
    let number = number.map(|number| number.to_string()).unwrap_or_default();
    println!("`{}` is sealed in epoch {number} from now on", args.topic);
    Ok(())
}

fn list(args: ListArgs) -> Result<(), Failure> {
    let desk = Desk::to_read(args.config.load()?)?;
    let stream = args.topic.as_deref().map(|topic| desk.stream(topic)).transpose()?.map(|stream| stream.id);
    let rows = desk.read(|keyring| rows(keyring, stream, now()))?;
    Ok(args.output.printer().list(&rows)?)
}

/// All epochs, or those of one stream.
pub(super) fn rows(keyring: &Keyring, stream: Option<StreamId>, at: UnixMillis) -> Vec<EpochRow> {
    let wanted = |known: &&Stream| stream.is_none_or(|stream| known.id == stream);
    let mut streams: Vec<&Stream> = keyring.streams().filter(wanted).collect();
    streams.sort_by(|a, b| (&a.topic, a.id).cmp(&(&b.topic, b.id)));
    let rows_of = |stream: &Stream| {
        let current = keyring.current_epoch(stream.id, at).map(|epoch| epoch.number);
        let minimum = keyring.minimum_epoch(stream.id);
        let row = |epoch: &Epoch| EpochRow {
            topic: stream.topic.clone(),
            stream: stream.id.to_string(),
            epoch: epoch.number.number(),
            since: moment::written(epoch.not_before),
            until: moment::written(epoch.not_after),
            state: match epoch {
                _ if current == Some(epoch.number) => "current",
                _ if epoch.number < minimum => "closed",
                _ if epoch.is_open(at) => "open",
                _ => "over",
            },
            seed: moment::seed(epoch.custody.as_ref()),
        };
        keyring.epochs(stream.id).map(row).collect::<Vec<_>>()
    };
    streams.into_iter().flat_map(rows_of).collect()
}

/// One epoch as `list` prints it.
#[derive(Debug, Serialize)]
pub(super) struct EpochRow {
    topic: String,
    pub(super) epoch: u32,
    since: Option<String>,
    until: Option<String>,
    /// `current`: sealed in now. `open`: could be. `closed`: below the floor that a revocation set. `over`: by time.
    pub(super) state: &'static str,
    /// `kept`: new readers can be granted it. `destroyed`: nobody can.
    seed: &'static str,
    stream: String,
}

impl Row for EpochRow {
    const COLUMNS: &'static [&'static str] = &["topic", "epoch", "since", "until", "state", "seed"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.topic.clone(),
            self.epoch.to_string(),
            self.since.clone().unwrap_or_default(),
            self.until.clone().unwrap_or_default(),
            self.state.to_owned(),
            self.seed.to_owned(),
        ]
    }
}

const HELP: &str = "\
Example:
  barnabas epoch rotate --topic orders

The delegate begins a new epoch by itself every `steward.epoch_lifetime`.";

const ROTATE_HELP: &str = "\
Example:
  barnabas epoch rotate --topic orders";

const LIST_HELP: &str = "\
Examples:
  barnabas epoch list --topic orders
  barnabas epoch list --output json";
