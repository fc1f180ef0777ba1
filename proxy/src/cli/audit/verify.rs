//! `barnabas audit verify`: are logs whole? Folders and bundles, and what is known of them, arrive; exit code 0 or 1 and the first
//! bad entry leave. Of several logs it also says which one is missing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;

use super::crossing::hold_against_each_other;
use super::logs::{Logs, LogsArgs, Source};
use super::progress::progress;
use super::told::Findings;
use super::trusted::TrustedState;
use super::{against, failed, read_key, signer};
use crate::audit::log::checkpoint::Checkpoint;
use crate::audit::log::export::{Checked, WITNESSES};
use crate::audit::log::note::{KeyKind, NoteKey};
use crate::audit::log::verify::{Report, Verification, verify};
use crate::cli::{Exit, Failure, Format, OutputArg, load_sound};

/// Check that no entry was changed, removed, inserted or moved; exit code 0 when the log is whole, 1 when not
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct VerifyArgs {
    #[command(flatten)]
    logs: LogsArgs,
    /// A checkpoint of one of these logs that was kept elsewhere; may be given several times
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// The folder of another log, not to be verified, whose entries may hold checkpoints of these; may be given several times
    #[arg(long, value_name = "FOLDER")]
    against: Vec<PathBuf>,
    /// Of several logs: one that the others speak of and that is not there any more; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    without: Vec<String>,
    /// Remember the log's key and checkpoint in this file, and hold the log against it the next time
    #[arg(long, value_name = "FILE")]
    trusted_state: Option<PathBuf>,
    /// The public key of a witness, or a file that holds it; may be given several times
    #[arg(long, value_name = "VKEY")]
    witness: Vec<String>,
    /// How many of these witnesses must have cosigned each log; without it, all of them
    #[arg(long, value_name = "COUNT")]
    witnesses: Option<usize>,
    /// Take a bundle whose manifest nobody has signed
    #[arg(long)]
    allow_unsigned: bool,
    /// A gateway's configuration, whose keystore has the secret for the entries after the last checkpoint
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArg,
}

pub(super) fn run(args: VerifyArgs) -> Result<(), Failure> {
    let logs = args.logs.open()?;
    if args.trusted_state.is_some() && logs.sources.len() > 1 {
        let text = "--trusted-state is for one log; keep a file for each";
        return Err(Failure::new(Exit::Usage, text));
    }
    let bundles = check_bundles(&logs, args.allow_unsigned)?;
    let trusted = args.trusted_state.as_deref().map(TrustedState::read).transpose()?;
    let (mut reports, mut trusted) = (Vec::new(), trusted);
    for source in &logs.sources {
        let mut asked = asked_of(&args, source, logs.sources.len() > 1)?;
        trusted = trusted.map(|state| state.apply(&mut asked)).transpose()?;
        for folder in &args.against {
            let key = asked.key.clone().map_or_else(|| own_key(source), Ok)?;
            asked.known.extend(against::checkpoints(folder, &key)?);
        }
        let is_key_given = asked.key.is_some();
        reports.push((source, verify(&asked, &progress("entries")).map_err(failed)?, is_key_given));
    }
    let is_given: Vec<bool> = reports.iter().map(|(.., given)| *given).collect();
    let mut held: Vec<(&Source, Report)> = reports.into_iter().map(|(source, report, _)| (source, report)).collect();
    let missing = if held.len() > 1 { hold_against_each_other(&mut held, &args.without)? } else { BTreeMap::new() };
    let findings = Findings {
        bundles,
        topics: logs.topic_faults(),
        logs: held.into_iter().map(|(_, report)| report).zip(is_given).collect(),
        missing,
    };
    if args.output.output == Format::Json {
        println!("{}", findings.json().map_err(std::io::Error::from)?);
    }
    if !findings.are_good() {
        return Err(Failure { exit: Exit::Failed, lines: findings.wrong() });
    }
    if let (Some(trusted), Some((report, _))) = (trusted, findings.logs.first()) {
        trusted.write(report)?;
    }
    if args.output.output == Format::Table {
        findings.tell();
    }
    Ok(())
}

/// What is known of a log.
fn asked_of(args: &VerifyArgs, source: &Source, is_one_of_several: bool) -> Result<Verification, Failure> {
    let mut asked = Verification {
        log: source.stored.clone(),
        key: source.key.clone(),
        known: source.known.clone(),
        quorum: args.witnesses.unwrap_or(args.witness.len()),
        ..Verification::default()
    };
    for path in &args.checkpoint {
        let bytes =
            std::fs::read(path).map_err(|error| Failure::new(Exit::Failed, format!("{}: {error}", path.display())))?;
        let is_of_another = Checkpoint::parse_note(&bytes).is_some_and(|(known, _)| known.origin != source.name);
        if !(is_one_of_several && is_of_another) {
            asked.known.push(bytes);
        }
    }
    for text in &args.witness {
        asked.witnesses.push(read_key(text, KeyKind::Witness)?);
    }
    if args.witness.is_empty() {
        // None is demanded; those that are there are told.
        let keys = source.stored.file(WITNESSES).map_err(failed)?.unwrap_or_default();
        let keys = String::from_utf8_lossy(&keys).lines().filter_map(|key| key.parse().ok()).collect::<Vec<NoteKey>>();
        asked.witnesses.extend(keys.into_iter().filter(|key| key.kind() == KeyKind::Witness));
    }
    if let Some(path) = &args.config {
        let config = load_sound(path).map_err(Failure::mistakes)?;
        asked.ratchet_root = Some(signer(&config)?.ratchet_root().map_err(failed)?);
    }
    Ok(asked)
}

/// Bundles by their paths, and what is wrong with them.
pub(super) fn check_bundles(logs: &Logs, allow_unsigned: bool) -> Result<Vec<(String, Checked)>, Failure> {
    let mut bundles = Vec::new();
    for archive in &logs.archives {
        let mut checked = archive.check(&progress("bytes of the bundle")).map_err(failed)?;
        if checked.signed_by.is_empty() && !allow_unsigned {
            let what = "nobody whose log is in it has signed its manifest; --allow-unsigned takes it all the same";
            checked.faults.push(what.to_owned());
        }
        bundles.push((archive.path().display().to_string(), checked));
    }
    Ok(bundles)
}

/// The key that a log has with it.
fn own_key(source: &Source) -> Result<NoteKey, Failure> {
    let text = source.stored.file("vkey").map_err(failed)?.unwrap_or_default();
    read_key(&String::from_utf8_lossy(&text), KeyKind::Log)
}

const HELP: &str = "\
Examples:
  barnabas audit verify /var/lib/barnabas/audit --key audit.vkey
  barnabas audit verify march.bundle --key audit.vkey
  barnabas audit verify gateway-1/audit gateway-2/audit          (several logs: each one, and none is missing)
  barnabas audit verify topic:_barnabas_audit --topic-config barnabas.yaml --key gateway-1.vkey --key gateway-2.vkey
  barnabas audit verify audit --trusted-state auditor.state      (remembers; notices a log that is older than last time)
  barnabas audit verify audit --checkpoint january.checkpoint    (a checkpoint that was kept elsewhere)
  barnabas audit verify audit --against other-gateway/audit
  barnabas audit verify audit --witness w1.vkey --witness w2.vkey --witnesses 2

A log alone cannot show that it is the latest one. --trusted-state, --checkpoint, other gateways' logs or
witnesses do.";
