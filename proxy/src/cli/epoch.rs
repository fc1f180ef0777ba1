//! `barnabas epoch`: the periods of a stream's key pair. A topic arrives, a new epoch or the list of them leaves.

use clap::{Args, Subcommand};

use super::{ConfigArg, Failure, OutputArg};

/// Begin a new epoch of a stream, list epochs
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = HELP, subcommand_required = true)]
pub enum EpochCommand {
    Rotate(RotateArgs),
    List(ListArgs),
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
    }
}

fn rotate(args: RotateArgs) -> Result<(), Failure> {
    let _config = args.config.load()?;
    let _topic = args.topic;
    Err(Failure::not_built("epoch rotate"))
}

fn list(args: ListArgs) -> Result<(), Failure> {
    let _config = args.config.load()?;
    let _listed = (args.topic, args.output.printer());
    Err(Failure::not_built("epoch list"))
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
