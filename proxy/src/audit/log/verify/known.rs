//! A log against what others know of it: checkpoints that were kept elsewhere, cosignatures of witnesses.
//! A checkpoint that was once signed must be a beginning of the tree. One that is longer than the log shows that the log was
//! rolled back; one with another root shows two histories under one name.

use super::super::Error;
use super::super::checkpoint::Checkpoint;
use super::super::note::{Note, NoteKey};
use super::super::proof::Prover;
use super::super::stored::Stored;
use super::{Fault, FaultKind, Report, Verification};

pub(super) fn check_known(
    asked: &Verification,
    stored: &Stored,
    key: &NoteKey,
    checkpoint: &Checkpoint,
    report: &mut Report,
) -> Result<(), Error> {
    let mut prover = Prover::new(stored, checkpoint.size);
    for bytes in &asked.known {
        match check_one(bytes, key, checkpoint, &mut prover)? {
            None => report.known += 1,
            Some(fault) => report.add(fault),
        }
    }
    Ok(())
}

/// Holds a checkpoint of a verified log that was found somewhere against it, and tells what is wrong in its report. One that
/// the log's key has not signed says nothing.
///
/// # Errors
/// `Io`, `Key`.
pub fn hold(stored: &Stored, report: &mut Report, bytes: &[u8]) -> Result<(), Error> {
    let key: NoteKey = report.key.parse()?;
    let Some((latest, _)) = Checkpoint::parse_note(report.checkpoint.as_bytes()) else { return Ok(()) };
    let Some((_, note)) = Checkpoint::parse_note(bytes) else { return Ok(()) };
    if !note.is_signed_by(&key) {
        return Ok(());
    }
    match check_one(bytes, &key, &latest, &mut Prover::new(stored, latest.size))? {
        None => report.known += 1,
        Some(fault) => {
            // One is enough for each thing that is wrong: a log that was rolled back is so for all that came later.
            if !report.faults.iter().any(|known| known.kind == fault.kind) {
                report.add(fault);
                report.settle();
            }
        }
    }
    Ok(())
}

fn check_one(
    bytes: &[u8],
    key: &NoteKey,
    checkpoint: &Checkpoint,
    prover: &mut Prover<'_>,
) -> Result<Option<Fault>, Error> {
    let fault = |kind, what: String| Ok(Some(Fault::of_log(kind, what)));
    let Some((known, note)) = Checkpoint::parse_note(bytes) else {
        return fault(FaultKind::Checkpoint, "a checkpoint that was given is not one".to_owned());
    };
    if known.origin != key.name() {
        let what = format!("a checkpoint that was given is of the log `{}`, not of `{}`", known.origin, key.name());
        return fault(FaultKind::OtherLog, what);
    }
    if !note.is_signed_by(key) {
        return fault(FaultKind::Checkpoint, format!("a checkpoint that was given is not signed by `{key}`"));
    }
    if known.size > checkpoint.size {
        let what = format!(
            "the log has {} entries, and a checkpoint over {} is known: entries were cut off or all of it was rolled back",
            checkpoint.size, known.size
        );
        return Ok(Some(Fault::of_entry(checkpoint.size, FaultKind::RolledBack, what)));
    }
    match prover.root_at(known.size) {
        Ok(root) if root == known.root => Ok(None),
        Ok(_) => {
            let what = format!("the log's first {} entries are not those of a checkpoint that is known", known.size);
            fault(FaultKind::Forked, what)
        }
        Err(Error::Missing(tile)) => {
            fault(FaultKind::Tile, format!("`{tile}` is missing: a known checkpoint cannot be held against it"))
        }
        Err(error) => Err(error),
    }
}

/// The witnesses that cosigned the checkpoint, or the last one that they were shown.
pub(super) fn check_witnesses(
    asked: &Verification,
    stored: &Stored,
    note: &Note,
    report: &mut Report,
) -> Result<(), Error> {
    let witnessed = stored.file(WITNESSED)?.and_then(|bytes| Note::parse(&bytes));
    for witness in &asked.witnesses {
        let notes = [Some(note), witnessed.as_ref()];
        if notes.iter().flatten().any(|note| note.names(witness) && !note.is_signed_by(witness)) {
            let what = format!("the cosignature of `{}` is not valid", witness.name());
            report.add(Fault::of_log(FaultKind::Witness, what));
            continue;
        }
        let cosigned = notes.iter().flatten().filter(|note| note.is_signed_by(witness));
        let sizes = cosigned.filter_map(|note| Checkpoint::parse(&note.text)).map(|checkpoint| checkpoint.size);
        if let Some(size) = sizes.max() {
            let least = if report.witnesses.is_empty() { size } else { report.witnessed.min(size) };
            report.witnessed = least;
            report.witnesses.push(witness.name().to_owned());
        }
    }
    if report.witnesses.len() < asked.quorum {
        let what = format!("{} of {} witnesses have cosigned", report.witnesses.len(), asked.quorum);
        report.add(Fault::of_log(FaultKind::Witness, what));
    }
    // What was witnessed is a checkpoint like any other that is known.
    if let Some(bytes) = stored.file(WITNESSED)? {
        let key: NoteKey = report.key.parse()?;
        let Some((latest, _)) = Checkpoint::parse_note(report.checkpoint.as_bytes()) else { return Ok(()) };
        let mut prover = Prover::new(stored, latest.size);
        if let Some(fault) = check_one(&bytes, &key, &latest, &mut prover)? {
            report.add(fault);
        }
    }
    Ok(())
}

/// The last checkpoint that witnesses have cosigned, with their cosignatures.
pub const WITNESSED: &str = "witnessed";
