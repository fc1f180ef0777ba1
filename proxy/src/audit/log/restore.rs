//! From what recovery found to a log that can go on: the tree and its tail arrive, all of it under one checkpoint leaves.
//! What is missing is said in an entry at its place. Where something is missing it happens in one step, because later entries
//! change their indices: a crash in the middle of it finds the folder as it was before.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::folder::{Folder, PUBLIC_KEY, read_if_there};
use super::published::Published;
use super::recover::{Found, Tree};
use super::signer::Pen;
use super::statement::{Item, ItemKind, STATEMENTS, StatementList};
use super::tree::{Edge, leaf_hash};
use super::writer::gap_entry;
use super::{Error, Gap, GapReason, Statements};

/// Gives the published tree with everything that was found, and its checkpoint.
pub fn restore(
    folder: &Arc<Folder>,
    pen: Pen,
    tree: Option<Tree>,
    tail: Vec<Found>,
    statements: &dyn Statements,
) -> Result<(Published, Arc<str>), Error> {
    let Some(tree) = tree else {
        folder.put(&[(PUBLIC_KEY.into(), format!("{}\n", pen.key()).into_bytes())])?;
        let mut published = Published::new(folder.clone(), pen, Edge::default(), Vec::new());
        let checkpoint = published.publish(&[])?;
        return Ok((published, checkpoint));
    };
    folder.put(&tree.repairs)?;
    let mut published = Published::new(folder.clone(), pen, tree.edge, tree.bundle);
    if tail.is_empty() {
        return Ok((published, tree.note.into()));
    }
    // Without a hole each step can be the last one: a gateway that is killed again and again gets on nevertheless.
    let is_whole = tail.iter().all(|found| matches!(found, Found::Entry(_)));
    let (entries, items) = told(tail, published.size(), statements);
    let step = if is_whole { STEP } else { entries.len() };
    let mut checkpoint: Arc<str> = tree.note.into();
    for entries in entries.chunks(step) {
        checkpoint = published.publish(entries)?;
    }
    if !items.is_empty() {
        let bytes = read_if_there(&folder.path(STATEMENTS))?.unwrap_or_default();
        let mut list = StatementList::parse(&bytes, published.pen().key()).unwrap_or_default();
        list.items.extend(items);
        let note = published.pen().sign(list.text(published.pen().key().name()));
        folder.put(&[(STATEMENTS.into(), note.to_string().into_bytes())])?;
    }
    Ok((published, checkpoint))
}

/// The entries of a tail, with a statement wherever some are missing, and what the signed list has to say.
fn told(tail: Vec<Found>, size: u64, statements: &dyn Statements) -> (Vec<Bytes>, Vec<Item>) {
    let (mut entries, mut items) = (Vec::new(), Vec::new());
    for found in tail {
        let index = size + entries.len() as u64;
        let (reason, first, missing) = match found {
            Found::Entry(entry) => {
                entries.push(entry);
                continue;
            }
            // Others take the indices of what was lost; what cannot be read keeps its own.
            Found::Missing(GapReason::Unreadable, first, missing) => (GapReason::Unreadable, first, missing),
            Found::Missing(reason, _, missing) => (reason, index, missing),
        };
        let since = Timestamp::now();
        tracing::error!(event = "audit_entries_missing", reason = reason.name(), first, entries = missing);
        let entry = gap_entry(statements, &Gap { reason, first, entries: missing, since });
        if reason == GapReason::Unreadable {
            let leaf = leaf_hash(&entry);
            items.push(Item { kind: ItemKind::Unreadable, first, end: first + missing, entry: index, leaf });
        }
        entries.push(entry.into());
    }
    (entries, items)
}

/// The number for the next write-ahead file's name.
pub fn next_sequence(segments: &[PathBuf]) -> u64 {
    let numbers = segments.iter().filter_map(|path| path.file_name()?.to_str()?.split_once('-')?.1.parse::<u64>().ok());
    numbers.max().map_or(0, |number| number.saturating_add(1))
}

/// Entries that go under one checkpoint while a log is opened.
const STEP: usize = 16_384;
