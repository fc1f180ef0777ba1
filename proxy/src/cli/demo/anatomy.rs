//! A sealed record, taken apart for the eye: stored bytes arrive, lines of hexadecimal digits with their meaning leave.
//! The layout is that of ENVELOPE.md; whether it holds is asked of the format's own parser, never assumed.

use std::io::{self, Write};

use barnabas_crypto::envelope::{Header, TAG_LEN, VERSION};

use super::screen::{Ink, Screen};

/// The parts of a sealed value, all of them, in order.
pub(super) struct Anatomy {
    parts: Vec<Part>,
}

struct Part {
    bytes: Vec<u8>,
    name: &'static str,
    meaning: String,
    ink: Ink,
}

impl Anatomy {
    /// Takes a value apart.
    pub(super) fn of(value: &[u8]) -> Result<Self, String> {
        let header = Header::parse(value).map_err(|error| error.to_string())?;
        let body = value.get(header.len()..).unwrap_or_default();
        let (ciphertext, tag) = body.split_last_chunk::<TAG_LEN>().ok_or("the record has no room for its tag")?;
        let suite = format!("{}; every session draws a key of its own", header.suite());
        let lane = format!("{}: one connection's order of records in one partition", header.lane());
        let sequence = format!("{}: lane and sequence are the nonce, never used twice", header.sequence());
        let version = format!("{VERSION}, and the type: {}", header.record_type());
        let bound = match (header.flags().key_bound(), header.flags().partition_bound()) {
            (true, true) => "the tag also covers the record's key and its partition",
            (true, false) => "the tag also covers the record's key",
            (false, true) => "the tag also covers the record's partition",
            (false, false) => "nothing else is covered by the tag",
        };
        let mut parts = Parts { rest: value, parts: Vec::new() };
        parts.take(1, "magic", "a sealed record: no text begins like this", Ink::Open);
        parts.take(1, "version", version, Ink::Open);
        parts.take(1, "suite", suite, Ink::Open);
        parts.take(1, "flags", bound, Ink::Open);
        parts.take(16, "key id", "which session; says nothing about the key", Ink::Open);
        parts.take(2, "lane", lane, Ink::Open);
        parts.take(6, "sequence", sequence, Ink::Open);
        parts.take(header.len().saturating_sub(parts.taken(value)), "more", "subject key, nonce", Ink::Open);
        parts.take(
            ciphertext.len(),
            "ciphertext",
            format!("{} bytes, as many as the value has", ciphertext.len()),
            Ink::Sealed,
        );
        parts.take(tag.len(), "tag", "authenticates all of the above", Ink::Sealed);
        Ok(Self { parts: parts.parts })
    }

    /// Where the ciphertext begins.
    pub(super) fn ciphertext_at(&self) -> usize {
        self.parts.iter().take_while(|part| part.name != "ciphertext").map(|part| part.bytes.len()).sum()
    }

    /// Prints the parts, long ones on several lines.
    pub(super) fn show<W: Write>(&self, screen: &mut Screen<W>) -> io::Result<()> {
        for part in &self.parts {
            for (index, bytes) in part.bytes.chunks(BYTES_A_LINE).enumerate() {
                let digits = format!("     {:<width$}  ", hex::encode(bytes), width = 2 * BYTES_A_LINE);
                if index == 0 {
                    let name = format!("{:<11}", part.name);
                    screen.spans(&[(part.ink, &digits), (Ink::Bold, &name), (Ink::Dim, &part.meaning)])?;
                } else {
                    screen.spans(&[(part.ink, digits.trim_end())])?;
                }
            }
        }
        Ok(())
    }
}

/// Whether any piece of `plain` of at least [`SHORTEST_PIECE`] bytes stands in `stored`.
pub(super) fn gives_away(plain: &[u8], stored: &[u8]) -> bool {
    let piece = SHORTEST_PIECE.min(plain.len()).max(1);
    plain.windows(piece).any(|piece| stored.windows(piece.len()).any(|window| window == piece))
}

/// Cuts a value from its front.
struct Parts<'a> {
    rest: &'a [u8],
    parts: Vec<Part>,
}

impl Parts<'_> {
    fn take(&mut self, len: usize, name: &'static str, meaning: impl Into<String>, ink: Ink) {
        let (bytes, rest) = self.rest.split_at_checked(len).unwrap_or((self.rest, &[]));
        self.rest = rest;
        if !bytes.is_empty() {
            self.parts.push(Part { bytes: bytes.to_vec(), name, meaning: meaning.into(), ink });
        }
    }

    fn taken(&self, value: &[u8]) -> usize {
        value.len() - self.rest.len()
    }
}

/// So many random bytes are not the same by chance.
pub(super) const SHORTEST_PIECE: usize = 6;

const BYTES_A_LINE: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_byte_is_shown_once_and_in_order() {
        let mut value = vec![0xFB, 0x11, 0x01, 0x30];
        value.extend(4..28u8);
        value.extend([0xCC; 21]);
        value.extend([0xDD; TAG_LEN]);
        let anatomy = Anatomy::of(&value).unwrap();
        assert_eq!(anatomy.ciphertext_at(), 28);
        let mut out = Vec::new();
        anatomy.show(&mut Screen::new(&mut out, false)).unwrap();
        let text = String::from_utf8(out).unwrap();
        let digits: String = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(digits, hex::encode(&value));
        assert!(Anatomy::of(b"{}").is_err());
        assert!(Anatomy::of(value.get(..40).unwrap()).is_err());
    }

    #[test]
    fn a_piece_of_the_value_is_found_wherever_it_stands() {
        assert!(gives_away(b"a secret value", b"\0\0\0secret\0"));
        assert!(!gives_away(b"a secret value", b"\0\0\0ecre\0t va\0"));
        assert!(gives_away(b"abc", b"--abc--"));
    }
}
