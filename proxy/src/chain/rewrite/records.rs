//! The RECORDS field of a partition: where it lies, and how other records are put in its place.

use bytes::Bytes;

use super::RewriteError;
use crate::frame::{Cursor, Encoding, Span, Splices, WireError};

/// A RECORDS field: its length prefix, in the encoding of its message, and the record batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordsField {
    /// Length prefix and content.
    pub whole: Span,
    /// The record batches; `None` if the field is null.
    pub content: Option<Span>,
}

impl RecordsField {
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Self, WireError> {
        let start = cursor.position();
        let content = cursor.nullable_bytes("records")?;
        Ok(Self { whole: cursor.span_from(start)?, content })
    }

    fn prefix(self) -> Result<Span, WireError> {
        Span::new(self.whole.start(), self.content.map_or(self.whole.end(), Span::start))
    }

    /// Puts `records` in place of what is there.
    pub(super) fn replace(self, splices: &mut Splices, encoding: Encoding, records: Bytes) -> Result<(), WireError> {
        splices.write(self.prefix()?, |out| encoding.put_length(out, records.len()))?;
        let content = self.content.map_or(Span::new(self.whole.end(), self.whole.end()), Ok)?;
        splices.replace(content, records);
        Ok(())
    }

    /// Keeps the first `kept` bytes of what is there. Null stays null if nothing is to be kept.
    pub(super) fn shrink(self, splices: &mut Splices, encoding: Encoding, kept: usize) -> Result<(), RewriteError> {
        let Some(content) = self.content.filter(|content| kept <= content.len()) else {
            return match kept {
                0 => Ok(()),
                _ => Err(RewriteError::BadShrink { kept, length: self.content.map_or(0, Span::len) }),
            };
        };
        if kept < content.len() {
            splices.write(self.prefix()?, |out| encoding.put_length(out, kept))?;
            splices.remove(Span::new(content.start() + kept, content.end())?);
        }
        Ok(())
    }
}
