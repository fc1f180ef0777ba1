//! `barnabas escrow`: a key that opens every session and that no one holds alone. Custodians' keys arrive, shares and a signed
//! object leave; later shares arrive, and records leave.
//!
//! What happens offline (keys, shares, the root's signature) touches no cluster; `install` and `list` need no secret. What must
//! never happen here: the escrow's secret key in a file.

mod files;
mod ceremony;
mod open;

use std::path::PathBuf;

use barnabas_crypto::{Body, Escrow, Kind, SignedObject, VerifyingKey};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::desk::{self, Desk};
use super::{ConfigArg, Exit, Failure, OutputArg, Row, moment};

/// Recover records by a quorum of custodians when keys or the keystore are lost
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = HELP, subcommand_required = true)]
pub enum EscrowCommand {
    Custodian(ceremony::CustodianArgs),
    Create(ceremony::CreateArgs),
    Install(InstallArgs),
    List(ListArgs),
    Pass(ceremony::PassArgs),
    Open(open::OpenArgs),
    Retire(ceremony::RetireArgs),
}

/// Publish what `create` or `retire` signed: sessions that begin from now on are wrapped to it
#[derive(Clone, Debug, Args)]
#[command(after_help = INSTALL_HELP)]
pub struct InstallArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The signed object
    pub(super) file: PathBuf,
}

/// List escrows: quorum, custodians, since when
#[derive(Clone, Debug, Args)]
#[command(after_help = LIST_HELP)]
pub struct ListArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    #[command(flatten)]
    pub(super) output: OutputArg,
}

pub(super) fn run(command: EscrowCommand) -> Result<(), Failure> {
    match command {
        EscrowCommand::Custodian(args) => ceremony::custodian(&args),
        EscrowCommand::Create(args) => ceremony::create(&args),
        EscrowCommand::Install(args) => install(args),
        EscrowCommand::List(args) => list(args),
        EscrowCommand::Pass(args) => ceremony::pass(&args),
        EscrowCommand::Open(args) => open::run(args),
        EscrowCommand::Retire(args) => ceremony::retire(&args),
    }
}

fn install(args: InstallArgs) -> Result<(), Failure> {
    let config = args.config.load()?;
    let unfit = |reason: String| Failure::new(Exit::Data, format!("{}: {reason}", args.file.display()));
    let bytes = std::fs::read(&args.file).map_err(|error| unfit(error.to_string()))?;
    let object = SignedObject::parse(&bytes).map_err(|error| unfit(error.to_string()))?;
    let slot = object.body().slot();
    if slot.kind != Kind::Escrow {
        return Err(unfit("neither an escrow nor the end of one".to_owned()));
    }
    let root = config.steward.root_public_key.map(VerifyingKey::from_bytes);
    let by_root = root.is_some_and(|root| object.verify(&root).is_ok());
    if !by_root {
        return Err(unfit("not signed by the root key that steward.root_public_key names".to_owned()));
    }
    let desk = Desk::to_fill(config)?;
    if desk.read(|keyring| keyring.next_version(slot) > object.object().version)? {
        println!("the keyring has it already, or what came after it");
        return Ok(());
    }
    let mut publisher = desk.publisher()?;
    let published = desk.wait(async {
        publisher.take().await?;
        publisher.publish(std::slice::from_ref(&object)).await
    })?;
    published.map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
    match object.body() {
        Body::Escrow(escrow) => println!(
            "escrow {}: {} of {} custodians open every session that begins from now on; `barnabas epoch rotate` makes \
             running writers begin new ones",
            escrow.id(),
            escrow.threshold,
            escrow.shares
        ),
        _ => println!("escrow {} is retired: it opens what it could open until now", slot.id),
    }
    Ok(())
}

fn list(args: ListArgs) -> Result<(), Failure> {
    let desk = Desk::to_read(args.config.load()?)?;
    let mut rows: Vec<EscrowRow> = desk.read(|keyring| keyring.escrows().map(EscrowRow::new).collect())?;
    rows.sort_by(|a, b| (&a.created, &a.escrow).cmp(&(&b.created, &b.escrow)));
    if rows.is_empty() {
        desk::warn("there is no escrow: when keys and keystore are lost, so are the records");
    }
    Ok(args.output.printer().list(&rows)?)
}

#[derive(Debug, Serialize)]
struct EscrowRow {
    escrow: String,
    /// So many shares are needed.
    threshold: u8,
    /// Of so many.
    shares: u8,
    created: Option<String>,
    custodians: String,
    kem: &'static str,
}

impl EscrowRow {
    fn new(escrow: &Escrow) -> Self {
        Self {
            escrow: escrow.id().to_string(),
            threshold: escrow.threshold,
            shares: escrow.shares,
            created: moment::written(escrow.created),
            custodians: escrow.custodians.clone(),
            kem: files::kem_name(escrow.public.suite()),
        }
    }
}

impl Row for EscrowRow {
    const COLUMNS: &'static [&'static str] = &["escrow", "quorum", "created", "custodians", "kem"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.escrow.clone(),
            format!("{} of {}", self.threshold, self.shares),
            self.created.clone().unwrap_or_default(),
            self.custodians.clone(),
            self.kem.to_owned(),
        ]
    }
}

const HELP: &str = "\
Example, two of three:
  barnabas escrow custodian --dir anna
  barnabas escrow create --root gateway/root --custodian anna/custodian.pub --custodian ben/custodian.pub --custodian carl/custodian.pub --threshold 2 --dir escrow
  barnabas escrow install escrow/escrow.object --config gateway/barnabas.yaml
  barnabas escrow open --holder anna --holder ben --share escrow/1-anna.share --share escrow/2-ben.share --keyring keyring.export --sessions

Each custodian makes a key on a machine of their own and hands over the .pub file only.";

const INSTALL_HELP: &str = "\
Example:
  barnabas escrow install escrow/escrow.object --config gateway/barnabas.yaml

No secret is needed, and the root key stays where it is: what it signed is checked and published.";

const LIST_HELP: &str = "\
Example:
  barnabas escrow list --output json";
