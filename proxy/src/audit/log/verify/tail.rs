//! The write-ahead files of a log: they must continue the tree, and what they repeat of it must be the same.
//! Their last record may be torn in a log that runs or was killed; that is no fault. Without the ratchet's root only their
//! form can be checked.

use std::io::ErrorKind;

use super::super::Error;
use super::super::checkpoint::Checkpoint;
use super::super::folder::{CHECKPOINT, SEGMENTS};
use super::super::note::NoteKey;
use super::super::proof::Prover;
use super::super::recover::list_segments;
use super::super::segment::{self, Piece, Segment};
use super::super::stored::Stored;
use super::super::tree::leaf_hash;
use super::{Fault, FaultKind, Report, Verification};

pub(super) fn check_tail(
    asked: &Verification,
    stored: &Stored,
    key: &NoteKey,
    checkpoint: &Checkpoint,
    report: &mut Report,
) -> Result<(), Error> {
    let segments = read_segments(asked, stored, key, report)?;
    report.is_tail_checked = asked.ratchet_root.is_some();
    let Some(first) = segments.first().map(|segment| segment.header.first) else { return Ok(()) };
    // A log that runs moves on: its files are held against the checkpoint of now.
    let latest = stored.file(CHECKPOINT)?.and_then(|bytes| Checkpoint::parse_note(&bytes)).map(|(found, _)| found.size);
    let latest = latest.unwrap_or_default().max(checkpoint.size);
    if first > latest {
        let what =
            format!("the write-ahead files begin at entry {first}, the checkpoint ends at {latest}: it is an old one");
        report.add(Fault::of_log(FaultKind::RolledBack, what));
        return Ok(());
    }
    let mut prover = Prover::new(stored, checkpoint.size);
    let mut end = checkpoint.size;
    let mut ends = segments.iter().skip(1).map(|next| next.header.first).chain([u64::MAX]);
    for segment in &segments {
        let until = ends.next().unwrap_or(u64::MAX);
        let mut index = segment.header.first;
        for piece in &segment.pieces {
            match piece {
                Piece::Entry(entry) if index < until => {
                    if index < checkpoint.size {
                        check_repeated(&mut prover, index, entry, report);
                    }
                    index += 1;
                    end = end.max(index);
                }
                Piece::Entry(_) => break,
                Piece::Hole(missing) => {
                    let what = format!("{missing} records of the write-ahead file are damaged");
                    report.add(Fault::of_entry(index, FaultKind::WriteAhead, what));
                    index += missing;
                }
            }
        }
        if until != u64::MAX && index < until && index >= checkpoint.size {
            report.add(Fault::of_entry(
                index,
                FaultKind::WriteAhead,
                "the write-ahead file ends before the next begins",
            ));
        }
    }
    report.tail = end - checkpoint.size;
    Ok(())
}

fn check_repeated(prover: &mut Prover<'_>, index: u64, entry: &[u8], report: &mut Report) {
    // A tile that is missing is a fault already.
    if prover.leaf(index).is_ok_and(|leaf| leaf != leaf_hash(entry)) {
        let what = "the write-ahead file has other bytes for it than the tree";
        report.add(Fault::of_entry(index, FaultKind::WriteAhead, what));
    }
}

fn read_segments(
    asked: &Verification,
    stored: &Stored,
    key: &NoteKey,
    report: &mut Report,
) -> Result<Vec<Segment>, Error> {
    let mut segments = Vec::new();
    // An export ends with its checkpoint.
    let Some(folder) = stored.folder() else { return Ok(segments) };
    for path in list_segments(&folder.join(SEGMENTS))? {
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            // A running log drops files that its checkpoints made needless.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(source) => return Err(Error::Io { path, source }),
        };
        match segment::read(&bytes, key.name(), asked.ratchet_root.as_ref()) {
            Ok(segment) => segments.push(segment),
            Err(error) => {
                let what = format!("`{}`: {error}", path.display());
                report.add(Fault::of_log(FaultKind::WriteAhead, what));
            }
        }
    }
    Ok(segments)
}
