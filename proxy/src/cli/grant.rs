//! `barnabas grant`: who may read which stream, from when to when. A principal and a topic arrive, a signed grant or its
//! end leaves.

use clap::{Args, Subcommand};

use super::{ConfigArg, Failure, OutputArg};

/// Let a principal read a stream, list grants, end one
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = HELP, subcommand_required = true)]
pub enum GrantCommand {
    Add(AddArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Let a principal read a stream
#[derive(Clone, Debug, Args)]
#[command(after_help = ADD_HELP)]
pub struct AddArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The stream's topic
    #[arg(long)]
    pub(super) topic: String,
    /// Who may read
    #[arg(long, value_name = "User:NAME")]
    pub(super) principal: String,
    /// The first epoch, by number; without it, the current one
    #[arg(long, value_name = "EPOCH", conflicts_with = "from")]
    pub(super) from_epoch: Option<u32>,
    /// The first epoch, by a time that it covers (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(super) from: Option<jiff::Timestamp>,
    /// When the grant ends (RFC 3339); without it, it goes on
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<jiff::Timestamp>,
}

/// List grants: principal, topic, epochs, end
#[derive(Clone, Debug, Args)]
#[command(after_help = LIST_HELP)]
pub struct ListArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// Only of this topic
    #[arg(long)]
    pub(super) topic: Option<String>,
    /// Only of this principal
    #[arg(long, value_name = "User:NAME")]
    pub(super) principal: Option<String>,
    #[command(flatten)]
    pub(super) output: OutputArg,
}

/// End a grant: a new epoch begins at once, without this reader
#[derive(Clone, Debug, Args)]
#[command(after_help = REVOKE_HELP)]
pub struct RevokeArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The stream's topic
    #[arg(long)]
    pub(super) topic: String,
    /// Who may no longer read
    #[arg(long, value_name = "User:NAME")]
    pub(super) principal: String,
}

pub(super) fn run(command: GrantCommand) -> Result<(), Failure> {
    match command {
        GrantCommand::Add(args) => add(args),
        GrantCommand::List(args) => list(args),
        GrantCommand::Revoke(args) => revoke(args),
    }
}

fn add(args: AddArgs) -> Result<(), Failure> {
    let _config = args.config.load()?;
    let _grant = (args.topic, args.principal, args.from_epoch, args.from, args.until);
    Err(Failure::not_built("grant add"))
}

fn list(args: ListArgs) -> Result<(), Failure> {
    let _config = args.config.load()?;
    let _listed = (args.topic, args.principal, args.output.printer());
    Err(Failure::not_built("grant list"))
}

fn revoke(args: RevokeArgs) -> Result<(), Failure> {
    let _config = args.config.load()?;
    let _grant = (args.topic, args.principal);
    Err(Failure::not_built("grant revoke"))
}

const HELP: &str = "\
Example:
  barnabas grant add --topic orders --principal User:CN=billing

Readers that a rule of `streams` names get their grant by themselves; this is for everyone else.";

const ADD_HELP: &str = "\
Examples:
  barnabas grant add --topic orders --principal User:CN=billing
  barnabas grant add --topic orders --principal User:audit --from 2026-01-01T00:00:00Z --until 2026-12-31T00:00:00Z";

const LIST_HELP: &str = "\
Examples:
  barnabas grant list --topic orders
  barnabas grant list --principal User:audit --output json";

const REVOKE_HELP: &str = "\
Example:
  barnabas grant revoke --topic orders --principal User:CN=billing

What the reader could read before, it may have copied; nothing sealed from now on opens for it.";
