//! Checkpoints (C2SP tlog-checkpoint): the origin, the size and the root of a log, as the text of a signed note.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::note::Note;
use super::tree::Hash;

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name.
    pub origin: String,
    /// How many entries the log has.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
    /// Further lines; the log writes none.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without further lines.
    #[must_use]
    pub const fn new(origin: String, size: u64, root: Hash) -> Self {
        Self { origin, size, root, extensions: Vec::new() }
    }

    /// Parses the text of a note; none if it is not a checkpoint.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let origin = lines.next().filter(|origin| !origin.is_empty())?.to_owned();
        let size = parse_number(lines.next()?)?;
        let root = parse_hash(lines.next()?)?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        (!extensions.iter().any(String::is_empty)).then_some(Self { origin, size, root, extensions })
    }

    /// Parses a signed note whose text is a checkpoint. Its signatures are not verified.
    #[must_use]
    pub fn parse_note(bytes: &[u8]) -> Option<(Self, Note)> {
        let note = Note::parse(bytes)?;
        Some((Self::parse(&note.text)?, note))
    }
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, BASE64.encode(self.root))?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// A decimal number without leading zeros, below 2^63.
#[must_use]
pub fn parse_number(text: &str) -> Option<u64> {
    let plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = text.parse::<i64>().ok().filter(|_| plain)?;
    u64::try_from(number).ok()
}

/// A hash in base64.
#[must_use]
pub fn parse_hash(text: &str) -> Option<Hash> {
    BASE64.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEXT: &str = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn the_example_of_the_specification_reads_back() {
        let checkpoint = Checkpoint::parse(TEXT).unwrap();
        assert_eq!((checkpoint.origin.as_str(), checkpoint.size), ("example.com/behind-the-sofa", 20_852_163));
        assert_eq!(checkpoint.to_string(), TEXT);
    }

    #[test]
    fn what_is_not_a_checkpoint_is_none() {
        let text = |size: &str| TEXT.replace("20852163", size);
        for wrong in ["00", "01", "-1", "+1", "", "9223372036854775808", "1 "] {
            assert!(Checkpoint::parse(&text(wrong)).is_none(), "{wrong}");
        }
        assert!(Checkpoint::parse(&text("0")).is_some());
        assert!(Checkpoint::parse(TEXT.trim_end()).is_none());
        assert!(Checkpoint::parse(&format!("{TEXT}\n")).is_none());
        assert!(Checkpoint::parse(&TEXT.replace('=', "")).is_none());
    }
}
