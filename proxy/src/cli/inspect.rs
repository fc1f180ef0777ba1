//! `barnabas inspect`: what a sealed record is. Bytes arrive, the fields of its header leave, and its value when a key is
//! at hand.

use std::path::PathBuf;

use clap::Args;

use super::{ConfigArg, Failure, OutputArg};

/// Read a record or a log segment: magic, suite, key id, lane, sequence; open it when given a key
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct InspectArgs {
    /// A record's value or a broker's .log segment; - is standard input
    #[arg(default_value = "-")]
    pub(super) file: PathBuf,
    /// The input is hexadecimal text
    #[arg(long)]
    pub(super) hex: bool,
    /// Open the records with the grants of this principal, whose identity is in the gateway's custody
    #[arg(long, value_name = "User:NAME", requires = "topic")]
    pub(super) open_as: Option<String>,
    /// The topic of the record, which opening needs
    #[arg(long)]
    pub(super) topic: Option<String>,
    #[command(flatten)]
    pub(super) config: ConfigArg,
    #[command(flatten)]
    pub(super) output: OutputArg,
}

pub(super) fn run(args: InspectArgs) -> Result<(), Failure> {
    let _input = (args.file, args.hex, args.open_as, args.topic, args.config, args.output.printer());
    Err(Failure::not_built("inspect"))
}

const HELP: &str = "\
Examples:
  barnabas inspect 00000000000000000000.log
  barnabas inspect --hex value.hex --output json
  barnabas inspect segment.log --topic orders --open-as User:CN=billing --config barnabas.yaml";
