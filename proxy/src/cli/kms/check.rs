//! `barnabas kms check`: each configured system is asked to hide 32 random bytes and to give them back.

use std::time::Instant;

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{Custody, CustodyContext, CustodyError, IdentityId, Secret};
use clap::Args;
use serde::Serialize;

use crate::cli::{ConfigArg, Exit, Failure, OutputArg, Row, desk, serve};
use crate::custody::KeySystems;
use crate::gateway::open_custody;

/// Ask each system to hide something and to give it back: reachable, allowed, round trip, latency
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct CheckArgs {
    #[command(flatten)]
    config: ConfigArg,
    /// Only this system of `kms:`, or `local`
    #[arg(long)]
    kms: Option<String>,
    /// The key to use, as clients' keys are named; it is made where the system lets us
    #[arg(long, default_value = "check", value_name = "KEY")]
    key: String,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: CheckArgs) -> Result<(), Failure> {
    let config = args.config.load()?;
    let runtime = desk::runtime()?;
    let systems = runtime.block_on(async { open_custody(&config) }).map_err(serve::failure)?;
    if let Some(name) = &args.kms
        && systems.system(name).is_none()
    {
        return Err(unknown(&systems, name));
    }
    let wanted = |name: &&str| args.kms.as_deref().is_none_or(|only| only == *name);
    let names: Vec<String> = systems.names().filter(wanted).map(str::to_owned).collect();
    let mut rows = Vec::new();
    for name in names {
        let mut progress = desk::Progress::new("asking");
        progress.at(&name);
        let Some(system) = systems.system(&name) else { continue };
        let began = Instant::now();
        let outcome = runtime.block_on(round_trip(system, &args.key));
        rows.push(CheckRow::new(&name, name == systems.chosen(), system.describe(), began.elapsed(), outcome));
    }
    args.output.printer().list(&rows)?;
    match rows.iter().find(|row| row.result != "ok") {
        None => Ok(()),
        Some(row) if row.retry => Err(Failure::new(Exit::Unavailable, format!("{}: {}", row.kms, row.detail))),
        Some(row) => Err(Failure::new(Exit::Denied, format!("{}: {}", row.kms, row.detail))),
    }
}

/// The system is not one of the configuration.
pub(super) fn unknown(systems: &KeySystems, name: &str) -> Failure {
    let known: Vec<&str> = systems.names().collect();
    Failure::new(Exit::Usage, format!("`{name}` is no system of `kms:`; there are: {}", known.join(", ")))
}

async fn round_trip(system: &dyn Custody, key: &str) -> Result<(), CustodyError> {
    let random = || CustodyError::new(CustodyCause::Invalid, "the operating system's random source failed");
    let secret = Secret::<32>::draw().map_err(|_| random())?;
    let context = CustodyContext::IdentitySeed(IdentityId::from_bytes([0; 16]));
    let other = CustodyContext::IdentitySeed(IdentityId::from_bytes([1; 16]));
    system.ensure_key(key).await?;
    let blob = system.wrap(key, &secret, &context).await?;
    let back = system.unwrap(key, &blob, &context).await?;
    if !back.matches(&secret) {
        return Err(CustodyError::new(CustodyCause::Corrupt, "gave back other bytes than it was given"));
    }
    // A system that does not bind what it hides to whose it is would let one client's secret pass for another's.
    match system.unwrap(key, &blob, &other).await {
        Ok(_) => Err(CustodyError::new(CustodyCause::Corrupt, "does not bind a secret to whose it is")),
        Err(error) if error.cause == CustodyCause::Corrupt => Ok(()),
        Err(error) => Err(error),
    }
}

/// One system as `check` prints it.
#[derive(Debug, Serialize)]
struct CheckRow {
    kms: String,
    /// Whether new secrets go there.
    chosen: bool,
    system: String,
    /// `ok`, or the fault: `caller`, `gateway`, `kms`, `network`.
    result: &'static str,
    /// Milliseconds of all calls of the round trip.
    millis: u64,
    detail: String,
    #[serde(skip)]
    retry: bool,
}

impl CheckRow {
    fn new(
        name: &str,
        chosen: bool,
        system: String,
        took: std::time::Duration,
        outcome: Result<(), CustodyError>,
    ) -> Self {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let (result, detail, retry) = match outcome {
            Ok(()) => ("ok", String::new(), false),
            Err(error) => (error.cause.fault(), error.to_string(), error.is_retryable()),
        };
        Self { kms: name.to_owned(), chosen, system, result, millis, detail, retry }
    }
}

impl Row for CheckRow {
    const COLUMNS: &'static [&'static str] = &["kms", "new keys", "system", "result", "ms", "detail"];

    fn cells(&self) -> Vec<String> {
        let chosen = if self.chosen { "here" } else { "" };
        vec![
            self.kms.clone(),
            chosen.to_owned(),
            self.system.clone(),
            self.result.to_owned(),
            self.millis.to_string(),
            self.detail.clone(),
        ]
    }
}

const HELP: &str = "\
Exit codes: 0 all answer and are allowed, 69 one does not answer, 77 one says no.

Examples:
  barnabas kms check
  barnabas kms check --kms cloud --output json
  barnabas kms check --kms hsm --key client-of-a-test";
