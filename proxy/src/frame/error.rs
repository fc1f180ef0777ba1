//! Why bytes are not the message they should be.
//!
//! Every variant names the field and the place. What must never happen here: bytes of the message
//! in the text; records and passwords pass through these readers.

/// Why bytes are not the message they should be. `at` counts bytes from the start of the frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// An array or tag count that the remaining bytes cannot hold, or a null where none is allowed.
    #[error("{field}: count {count} at byte {at} does not fit the {remaining} bytes that remain")]
    BadCount {
        /// Name of the field.
        field: &'static str,
        /// Count as it was sent.
        count: i64,
        /// Position of the count's end.
        at: usize,
        /// Bytes left in the frame.
        remaining: usize,
    },
    /// A negative length, a null where none is allowed, or more than this type can have.
    #[error("{field}: length {length} at byte {at} is not allowed")]
    BadLength {
        /// Name of the field.
        field: &'static str,
        /// Length as it was sent.
        length: i64,
        /// Position of the length's end.
        at: usize,
    },
    /// Text that is not UTF-8.
    #[error("{field}: text at byte {at} is not utf-8")]
    BadText {
        /// Name of the field.
        field: &'static str,
        /// Position of the text.
        at: usize,
    },
    /// A variable-length integer that does not end, or overflows.
    #[error("{field}: variable-length integer at byte {at} overflows")]
    BadVarint {
        /// Name of the field.
        field: &'static str,
        /// Position of the integer.
        at: usize,
    },
    /// Edits that overlap, or lie outside the frame: a mistake of ours, never a peer's.
    #[error("edit of bytes {start}..{end} does not fit a frame of {length} bytes or overlaps another edit")]
    BadEdit {
        /// First byte.
        start: usize,
        /// Byte after the last.
        end: usize,
        /// Length of the frame.
        length: usize,
    },
    /// More elements than this gateway keeps for one message.
    #[error("{field}: more than {limit} elements in one message")]
    TooMany {
        /// Name of the field.
        field: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A message that would exceed what a frame can carry.
    #[error("{field}: {length} bytes do not fit a kafka message")]
    TooLong {
        /// Name of the field.
        field: &'static str,
        /// Its length.
        length: usize,
    },
    /// Bytes after the end of a message or a tagged field.
    #[error("{field}: {remaining} bytes too many from byte {at} on")]
    Trailing {
        /// Name of the message or field.
        field: &'static str,
        /// Position of the first of them.
        at: usize,
        /// How many.
        remaining: usize,
    },
    /// The message ends inside a field.
    #[error("{field}: message ends at byte {at}, {wanted} bytes were expected there")]
    Truncated {
        /// Name of the field.
        field: &'static str,
        /// Where the field starts.
        at: usize,
        /// How many bytes it needs.
        wanted: usize,
    },
    /// An API or a version that `frame::api` does not list.
    #[error("api key {api_key} version {version} is not served")]
    UnknownVersion {
        /// API key.
        api_key: i16,
        /// Its version.
        version: i16,
    },
}
