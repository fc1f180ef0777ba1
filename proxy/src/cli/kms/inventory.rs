//! `barnabas kms inventory`: which client and which epoch is hidden under which key. Asks the keyring only.

use barnabas_crypto::UnixMillis;
use clap::Args;
use serde::Serialize;

use super::{Hidden, hidden, version};
use crate::cli::desk::Desk;
use crate::cli::{ConfigArg, Failure, OutputArg, Row, moment, serve};
use crate::custody::KeySystems;
use crate::gateway::open_custody;
use crate::keyring::now;

/// List what is hidden where: client or epoch, system, key, version, age
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct InventoryArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Only what this system of `kms:` hides, or `local`
    #[arg(long)]
    kms: Option<String>,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: InventoryArgs) -> Result<(), Failure> {
    let desk = Desk::to_read(args.config.load()?)?;
    let systems = desk.wait(async { open_custody(desk.config()) })?.map_err(serve::failure)?;
    let at = now();
    let rows: Vec<InventoryRow> = desk
        .read(hidden)?
        .iter()
        .map(|hidden| InventoryRow::new(hidden, &systems, at))
        .filter(|row| args.kms.as_deref().is_none_or(|only| only == row.kms))
        .collect();
    Ok(args.output.printer().list(&rows)?)
}

/// One seed as `inventory` prints it.
#[derive(Debug, Serialize)]
struct InventoryRow {
    /// `client` or `epoch`.
    kind: &'static str,
    of: String,
    kms: String,
    key: String,
    /// In the system's words; null where it has none or is not configured any more.
    version: Option<String>,
    created: Option<String>,
    age_days: u64,
}

impl InventoryRow {
    fn new(hidden: &Hidden, systems: &KeySystems, at: UnixMillis) -> Self {
        let (kms, key) = systems.parts(&hidden.wrapped.key);
        Self {
            kind: hidden.kind,
            of: hidden.of.clone(),
            kms: kms.to_owned(),
            key: key.to_owned(),
            version: version(systems, &hidden.wrapped),
            created: moment::written(hidden.created),
            age_days: at.millis().saturating_sub(hidden.created.millis()) / 86_400_000,
        }
    }
}

impl Row for InventoryRow {
    const COLUMNS: &'static [&'static str] = &["kind", "of", "kms", "key", "version", "created", "days"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.kind.to_owned(),
            self.of.clone(),
            self.kms.clone(),
            self.key.clone(),
            self.version.clone().unwrap_or_default(),
            self.created.clone().unwrap_or_default(),
            self.age_days.to_string(),
        ]
    }
}

const HELP: &str = "\
Examples:
  barnabas kms inventory
  barnabas kms inventory --kms local --output json";
