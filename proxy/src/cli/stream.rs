//! `barnabas stream`: topics under sealing. A topic arrives, a stream with an id and a first epoch is made or shown.

use clap::{Args, Subcommand};

use super::{ConfigArg, Failure, OutputArg};

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
    let _config = args.config.load()?;
    let _topic = args.topic;
    Err(Failure::not_built("stream seal"))
}

fn list(args: ListArgs) -> Result<(), Failure> {
    let _config = args.config.load()?;
    let _printer = args.output.printer();
    Err(Failure::not_built("stream list"))
}

fn show(args: ShowArgs) -> Result<(), Failure> {
    let _config = args.config.load()?;
    let (_topic, _printer) = (args.topic, args.output.printer());
    Err(Failure::not_built("stream show"))
}

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
