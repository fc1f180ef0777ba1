//! `barnabas audit`: the audit log for those who check it. A log's folder or a bundle arrives, a verdict, an entry or a proof leaves.
//! Nothing of the gateway is needed, neither its configuration nor a broker, and nothing is written into a log.

mod logs;
mod topic;
mod progress;
mod verify;
mod told;
mod trusted;
mod against;
mod crossing;
mod prove;
mod query;
mod tail;
mod report;
mod export;
mod keys;

#[cfg(test)]
mod tests;

use std::path::Path;

use clap::Subcommand;

use super::{Exit, Failure};
use crate::audit::log::note::{KeyKind, NoteKey};
use crate::audit::log::{AUDIT_SECRET, Error, Signer};
use crate::config::Config;
use crate::gateway::open_keystore;

/// Check the audit log, prove that an entry is in it, read it, hand it to an auditor
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = HELP, subcommand_required = true)]
pub enum AuditCommand {
    Verify(verify::VerifyArgs),
    Prove(prove::ProveArgs),
    VerifyProof(prove::VerifyProofArgs),
    Query(query::QueryArgs),
    Tail(tail::TailArgs),
    Report(report::ReportArgs),
    Export(export::ExportArgs),
    Keys(keys::KeysArgs),
}

pub(super) fn run(command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Verify(args) => verify::run(args),
        AuditCommand::Prove(args) => prove::run(args),
        AuditCommand::VerifyProof(args) => prove::run_verify(args),
        AuditCommand::Query(args) => query::run(args),
        AuditCommand::Tail(args) => tail::run(args),
        AuditCommand::Report(args) => report::run(args),
        AuditCommand::Export(args) => export::run(args),
        AuditCommand::Keys(args) => keys::run(args),
    }
}

/// A key out of an argument, or out of the file that the argument names.
fn read_key(text: &str, kind: KeyKind) -> Result<NoteKey, Failure> {
    let text = if Path::new(text).is_file() { std::fs::read_to_string(text)? } else { text.to_owned() };
    let key: NoteKey = text.parse().map_err(failed)?;
    if key.kind() != kind {
        let wanted = if kind == KeyKind::Log { "a log" } else { "a witness" };
        return Err(Failure::new(Exit::Data, format!("`{key}` is not the key of {wanted}")));
    }
    Ok(key)
}

/// The log's signer out of a gateway's keystore.
fn signer(config: &Config) -> Result<Signer, Failure> {
    let keystore = config.keystore.as_ref().ok_or_else(|| denied("the configuration names no keystore"))?;
    let keystore = open_keystore(keystore).map_err(|error| denied(&error.to_string()))?;
    let seed = keystore.secret(AUDIT_SECRET).map_err(|error| denied(&error.to_string()))?;
    Signer::from_seed(&seed).map_err(failed)
}

fn denied(text: &str) -> Failure {
    Failure::new(Exit::Denied, text)
}

fn failed(error: Error) -> Failure {
    let exit = if matches!(error, Error::Io { .. } | Error::Export { .. }) { Exit::Failed } else { Exit::Data };
    Failure::new(exit, error.to_string())
}

const HELP: &str = "\
Examples:
  barnabas audit verify /var/lib/barnabas/audit --key audit.vkey
  barnabas audit prove /var/lib/barnabas/audit 4711 > refusal.tlog-proof
  barnabas audit verify-proof refusal.tlog-proof --key audit.vkey
  barnabas audit query /var/lib/barnabas/audit --topic orders --outcome DENIED
  barnabas audit tail /var/lib/barnabas/audit
  barnabas audit report /var/lib/barnabas/audit --html march.html
  barnabas audit export /var/lib/barnabas/audit --bundle march.bundle --config barnabas.yaml";
