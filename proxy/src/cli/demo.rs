//! `barnabas demo`: the whole thing on one machine, with nothing installed.

use clap::Args;

use super::Failure;

/// Show sealing at work: an in-process broker, certificates, the gateway, two clients; then wait for yours
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct DemoArgs {
    /// End after the show instead of waiting for Ctrl-C
    #[arg(long)]
    pub(super) once: bool,
    /// The gateway's first port; the following ones stand for brokers
    #[arg(long, value_name = "PORT", default_value_t = 9192)]
    pub(super) port: u16,
}

pub(super) fn run(args: DemoArgs) -> Result<(), Failure> {
    let _shown = (args.once, args.port);
    Err(Failure::not_built("demo"))
}

const HELP: &str = "\
Examples:
  barnabas demo
  barnabas demo --once --port 19192";
