//! Checkpoints of one log in the entries of another: gateways write each other's checkpoints into their own logs.
//! A folder of another log arrives, the notes in it that claim to be checkpoints of this log leave. They need no trust: what
//! this log's key did not sign is refused when they are held against it.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::failed;
use crate::audit::log::checkpoint::Checkpoint;
use crate::audit::log::note::NoteKey;
use crate::audit::log::reader::Reader;
use crate::cli::Failure;

/// The checkpoints of a key's log that another log's entries hold; of several over one size, each that differs.
pub(super) fn checkpoints(folder: &Path, key: &NoteKey) -> Result<Vec<Vec<u8>>, Failure> {
    let other = Reader::open(folder, None).map_err(failed)?;
    let mut found = BTreeMap::new();
    for entry in other.entries(0..other.size()) {
        let (_, entry) = entry.map_err(failed)?;
        // Most entries speak of something else, and need not be parsed.
        let name = key.name().as_bytes();
        if !entry.windows(name.len()).any(|part| part == name) {
            continue;
        }
        if let Ok(value) = serde_json::from_slice::<Value>(&entry) {
            collect(&value, key, &mut found);
        }
    }
    Ok(found.into_values().collect())
}

fn collect(value: &Value, key: &NoteKey, found: &mut BTreeMap<(u64, [u8; 32]), Vec<u8>>) {
    match value {
        Value::String(text) => {
            let parsed = Checkpoint::parse_note(text.as_bytes());
            // A client may have put such text into a name of its own: only what is signed counts.
            if let Some((checkpoint, note)) = parsed
                && checkpoint.origin == key.name()
                && note.is_signed_by(key)
            {
                found.insert((checkpoint.size, checkpoint.root), text.clone().into_bytes());
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, key, found)),
        Value::Object(fields) => fields.values().for_each(|value| collect(value, key, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
