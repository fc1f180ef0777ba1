//! Export and import: the whole keyring in one file, so that losing the topic does not lose the data.
//!
//! Layout: magic `BNBK`, format 1, count 4, then for each object its length 4 and its bytes, sorted by place, and at the end
//! SHA-256 over all before. The digest finds damage; forgery is found by the signatures, which are checked again.

use super::{Keyring, Refusal};
use crate::object::{MAX_OBJECT, SignedObject, Slot};
use crate::signing::VerifyingKey;
use crate::wire::{Put, Take, sha256};
use crate::{Error, UnixMillis};

impl Keyring {
    /// Writes all objects that count, removals included, into one file's bytes.
    #[must_use]
    pub fn export(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.put_u8(FORMAT);
        out.put_u32(u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        self.entries.values().for_each(|entry| out.put_bytes(entry.wire()));
        Self::seal_export(out)
    }

    /// Puts the digest behind the content of an export. For tools that edit one, and for the fuzzer; the digest finds damage,
    /// it does not vouch for anything.
    #[must_use]
    pub fn seal_export(mut content: Vec<u8>) -> Vec<u8> {
        let digest = sha256(&[&content]);
        content.put_raw(&digest);
        content
    }

    /// Reads an export and judges every object again, as if it came from the topic. Gives the keyring and what was refused.
    ///
    /// # Errors
    /// `Damaged` when the file is not as it was written.
    pub fn import(
        root: VerifyingKey,
        file: &[u8],
        now: UnixMillis,
    ) -> Result<(Self, Vec<(Slot, Refusal)>), ImportError> {
        let mut keyring = Self::new(root);
        let mut refused = Vec::new();
        for object in read_file(file)? {
            let signed = match SignedObject::parse(object) {
                Ok(signed) => signed,
                Err(error) => return Err(ImportError::Object(error)),
            };
            let slot = signed.body().slot();
            match keyring.apply(slot.to_string().as_bytes(), Some(object), now) {
                Ok(change) => {
                    let failed = change
                        .follow_ups
                        .into_iter()
                        .filter_map(|(slot, outcome)| outcome.err().map(|why| (slot, why)));
                    refused.extend(failed);
                }
                Err(refusal) => refused.push((slot, refusal)),
            }
        }
        Ok((keyring, refused))
    }

    /// The accepted objects, sorted by place: what has to be published to fill an empty topic.
    pub fn objects(&self) -> impl Iterator<Item = &SignedObject> {
        self.entries.values().map(|entry| &**entry)
    }
}

/// Why a file is not an export of a keyring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The digest at the end is not that of the file.
    #[error("the file is damaged or cut short: its digest does not match")]
    Damaged,
    /// It does not begin as an export does.
    #[error("not a keyring export")]
    NotAnExport,
    /// An object in it cannot be read.
    #[error("an object in the file cannot be read: {0}")]
    Object(Error),
    /// A later format.
    #[error("export format {0} is unknown, this library reads format 1")]
    UnknownFormat(u8),
}

fn read_file(file: &[u8]) -> Result<Vec<&[u8]>, ImportError> {
    if !file.starts_with(MAGIC) {
        return Err(ImportError::NotAnExport);
    }
    let (content, digest) = file.split_last_chunk::<32>().ok_or(ImportError::Damaged)?;
    if sha256(&[content]) != *digest {
        return Err(ImportError::Damaged);
    }
    let mut take = Take::new(content);
    let (_, format) = (take.array::<4>().map_err(ImportError::Object)?, take.u8().map_err(ImportError::Object)?);
    if format != FORMAT {
        return Err(ImportError::UnknownFormat(format));
    }
    let count = take.u32().map_err(ImportError::Object)? as usize;
    if count > take.remaining() / 4 {
        return Err(ImportError::Object(Error::Malformed("more objects announced than bytes present")));
    }
    let mut objects = Vec::with_capacity(count);
    for _ in 0..count {
        objects.push(take.bytes(MAX_OBJECT).map_err(ImportError::Object)?);
    }
    take.finish().map_err(ImportError::Object)?;
    Ok(objects)
}

const MAGIC: &[u8; 4] = b"BNBK";
const FORMAT: u8 = 1;
