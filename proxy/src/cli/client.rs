//! `barnabas client`: identities. A principal arrives, an identity with keys of its own is registered or removed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{ConfigArg, Failure, OutputArg};

/// Give a principal an identity with keys of its own, list identities, remove one
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = HELP, subcommand_required = true)]
pub enum ClientCommand {
    Add(AddArgs),
    List(ListArgs),
    Remove(RemoveArgs),
}

/// Register an identity for a principal
#[derive(Clone, Debug, Args)]
#[command(after_help = ADD_HELP)]
pub struct AddArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The principal as the listener makes it from the certificate, such as User:CN=alice
    #[arg(long, value_name = "User:NAME")]
    pub(super) principal: String,
    /// Where the private keys live
    #[arg(long, value_enum, default_value_t = CustodyChoice::Gateway)]
    pub(super) custody: CustodyChoice,
    /// The client's public identity, made by the client library; needed for custody client
    #[arg(long, value_name = "FILE", required_if_eq("custody", "client"))]
    pub(super) public_identity: Option<PathBuf>,
}

/// Where the private keys of an identity live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CustodyChoice {
    /// In the gateway, wrapped by the keystore
    Gateway,
    /// With the client; the gateway cannot read what this client reads
    Client,
}

/// List identities: principal, custody, since when
#[derive(Clone, Debug, Args)]
#[command(after_help = LIST_HELP)]
pub struct ListArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    #[command(flatten)]
    pub(super) output: OutputArg,
}

/// Remove an identity: its grants end, new epochs follow, it reads nothing sealed afterwards
#[derive(Clone, Debug, Args)]
#[command(after_help = REMOVE_HELP)]
pub struct RemoveArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The principal
    #[arg(long, value_name = "User:NAME")]
    pub(super) principal: String,
}

pub(super) fn run(command: ClientCommand) -> Result<(), Failure> {
    match command {
        ClientCommand::Add(args) => add(args),
        ClientCommand::List(args) => list(args),
        ClientCommand::Remove(args) => remove(args),
    }
}

fn add(args: AddArgs) -> Result<(), Failure> {
    let _config = args.config.load()?;
    let (_principal, _custody, _public) = (args.principal, args.custody, args.public_identity);
    Err(Failure::not_built("client add"))
}

fn list(args: ListArgs) -> Result<(), Failure> {
    let _config = args.config.load()?;
    let _printer = args.output.printer();
    Err(Failure::not_built("client list"))
}

fn remove(args: RemoveArgs) -> Result<(), Failure> {
    let _config = args.config.load()?;
    let _principal = args.principal;
    Err(Failure::not_built("client remove"))
}

const HELP: &str = "\
Example:
  barnabas client list --output json

Principals that match `clients.enroll` get an identity by themselves when they first connect.";

const ADD_HELP: &str = "\
Examples:
  barnabas client add --principal User:CN=alice
  barnabas client add --principal User:billing --custody client --public-identity billing.identity";

const LIST_HELP: &str = "\
Examples:
  barnabas client list
  barnabas client list --output json";

const REMOVE_HELP: &str = "\
Example:
  barnabas client remove --principal User:CN=alice

What the client could read before, it may have copied; nothing sealed after the removal opens for it.";
