//! `barnabas serve`: the gateway itself. The configuration arrives, connections are served until SIGTERM.

use clap::Args;

use super::{ConfigArg, Failure};

/// Run the gateway until SIGTERM or Ctrl-C; SIGHUP loads certificates, revocation lists and policy anew
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct ServeArgs {
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) fn run(args: ServeArgs) -> Result<(), Failure> {
    args.config.load()?;
    Err(Failure::not_built("serve"))
}

const HELP: &str = "\
Examples:
  barnabas serve --config /etc/barnabas/barnabas.yaml
  barnabas serve      (reads barnabas.yaml of this folder)

Any key of the file can be set by a variable with double underscores between its parts:
  BARNABAS__LOG__LEVEL=debug barnabas serve";
