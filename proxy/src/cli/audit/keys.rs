//! `barnabas audit keys`: the public keys of a gateway's audit log. A configuration arrives, two verifier keys leave: that of the
//! log, for auditors and for who witnesses it, and that of the gateway as a witness of others.

use clap::Args;

use super::{denied, failed, signer};
use crate::cli::{ConfigArg, Failure};
use crate::gateway::witness_name;

/// Print the public keys of a gateway's audit log: the log's own, and the one by which the gateway witnesses others
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct KeysArgs {
    #[command(flatten)]
    config: ConfigArg,
}

pub(super) fn run(args: KeysArgs) -> Result<(), Failure> {
    let config = args.config.load()?;
    let audit = config.audit.as_ref().ok_or_else(|| denied("the configuration has no audit log"))?;
    let signer = signer(&config)?;
    println!("log      {}", signer.log_pen(&audit.origin).map_err(failed)?.key());
    println!("witness  {}", signer.witness_pen(&witness_name(&audit.origin)).map_err(failed)?.key());
    Ok(())
}

const HELP: &str = "\
Example:
  barnabas audit keys --config barnabas.yaml

The log's key is for auditors (--key), and for audit.witness_for of the gateways that witness this log. The
witness key is for audit.witnesses[].key of the gateways that this one witnesses, and for --witness.";
