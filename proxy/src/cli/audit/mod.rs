//! `barnabas audit`: the audit log for those who check it. A log's folder arrives, a verdict, an entry or a proof leaves.
//! Nothing of the gateway is needed, neither its configuration nor a broker, and nothing is written into a log.

mod verify;
mod prove;
mod query;
mod tail;
mod report;
mod trusted;
mod against;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::{Exit, Failure};
use crate::audit::log::note::{KeyKind, NoteKey};
use crate::audit::log::{AUDIT_SECRET, Error, Signer};
use crate::config::Config;
use crate::gateway::open_keystore;

/// Check the audit log, prove that an entry is in it, read it
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = HELP, subcommand_required = true)]
pub enum AuditCommand {
    Verify(verify::VerifyArgs),
    Prove(prove::ProveArgs),
    VerifyProof(prove::VerifyProofArgs),
    Query(query::QueryArgs),
    Tail(tail::TailArgs),
    Report(report::ReportArgs),
}

pub(super) fn run(command: AuditCommand) -> Result<(), Failure> {
    match command {
        AuditCommand::Verify(args) => verify::run(args),
        AuditCommand::Prove(args) => prove::run(args),
        AuditCommand::VerifyProof(args) => prove::run_verify(args),
        AuditCommand::Query(args) => query::run(args),
        AuditCommand::Tail(args) => tail::run(args),
        AuditCommand::Report(args) => report::run(args),
    }
}

/// A log's folder and its key.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// The log's folder
    pub(super) folder: PathBuf,
    /// The log's public key, or a file that holds it; without it the folder's own `vkey` is believed
    #[arg(long, value_name = "VKEY")]
    pub(super) key: Option<String>,
}

impl LogArgs {
    /// The key, if one was given.
    fn key(&self) -> Result<Option<NoteKey>, Failure> {
        self.key.as_deref().map(|text| read_key(text, KeyKind::Log)).transpose()
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
    let exit = if matches!(error, Error::Io { .. }) { Exit::Failed } else { Exit::Data };
    Failure::new(exit, error.to_string())
}

const HELP: &str = "\
Examples:
  barnabas audit verify /var/lib/barnabas/audit --key audit.vkey
  barnabas audit prove /var/lib/barnabas/audit 4711 > refusal.tlog-proof
  barnabas audit verify-proof refusal.tlog-proof --key audit.vkey
  barnabas audit query /var/lib/barnabas/audit --topic orders --outcome DENIED
  barnabas audit tail /var/lib/barnabas/audit
  barnabas audit report /var/lib/barnabas/audit --html march.html";
