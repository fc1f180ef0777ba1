//! `barnabas keyring`: the topic that holds every identity, epoch and grant. Losing it loses data: this is its back-up.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ConfigArg, Failure, OutputArg};

/// Verify, back up and restore the keyring
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = HELP, subcommand_required = true)]
pub enum KeyringCommand {
    Verify(VerifyArgs),
    Export(ExportArgs),
    Import(ImportArgs),
}

/// Read the whole keyring and verify every object against the pinned root key
#[derive(Clone, Debug, Args)]
#[command(after_help = VERIFY_HELP)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// Verify an export instead of the topic
    #[arg(long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) output: OutputArg,
}

/// Write all verified objects into a file; it holds no secret in the clear
#[derive(Clone, Debug, Args)]
#[command(after_help = EXPORT_HELP)]
pub struct ExportArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The file; an existing one is not overwritten
    pub(super) file: PathBuf,
}

/// Publish the objects of an export that the keyring does not have
#[derive(Clone, Debug, Args)]
#[command(after_help = IMPORT_HELP)]
pub struct ImportArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The file that `export` made
    pub(super) file: PathBuf,
}

pub(super) fn run(command: KeyringCommand) -> Result<(), Failure> {
    match command {
        KeyringCommand::Verify(args) => verify(args),
        KeyringCommand::Export(args) => export(args),
        KeyringCommand::Import(args) => import(args),
    }
}

fn verify(args: VerifyArgs) -> Result<(), Failure> {
    let _config = args.config.load()?;
    let _verified = (args.file, args.output.printer());
    Err(Failure::not_built("keyring verify"))
}

fn export(args: ExportArgs) -> Result<(), Failure> {
    let _config = args.config.load()?;
    let _file = args.file;
    Err(Failure::not_built("keyring export"))
}

fn import(args: ImportArgs) -> Result<(), Failure> {
    let _config = args.config.load()?;
    let _file = args.file;
    Err(Failure::not_built("keyring import"))
}

const HELP: &str = "\
Example:
  barnabas keyring export keyring-2026-11-21.export

Without the keyring no sealed record can be opened: export it regularly.";

const VERIFY_HELP: &str = "\
Examples:
  barnabas keyring verify
  barnabas keyring verify --file keyring.export --output json";

const EXPORT_HELP: &str = "\
Example:
  barnabas keyring export keyring.export";

const IMPORT_HELP: &str = "\
Example:
  barnabas keyring import keyring.export

Objects that are not signed, or older than what the keyring has, are left out and named.";
