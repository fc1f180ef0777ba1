//! `barnabas steward`: the online delegate alone, where it shall not live inside a gateway.

use clap::Args;

use super::{ConfigArg, Failure};

/// Run the steward's online delegate alone: enrolments, epochs, grants, heads
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct StewardArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
}

pub(super) fn run(args: StewardArgs) -> Result<(), Failure> {
    args.config.load()?;
    Err(Failure::not_built("steward"))
}

const HELP: &str = "\
Example:
  barnabas steward --config /etc/barnabas/barnabas.yaml

Gateways beside it say `steward: { run: \"off\" }`. Two delegates at once do no harm.";
