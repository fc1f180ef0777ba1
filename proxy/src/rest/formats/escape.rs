//! Strings of JSON: what must be escaped and what an escape means (RFC 8259 section 7).
//!
//! Bytes between quotes arrive, characters leave, and the reverse. Both directions copy whole runs. What must never
//! happen here: bytes that are not UTF-8 in a string, half of a surrogate pair as a character.

use bytes::BytesMut;

/// How many bytes from the start need no look: neither quote, backslash nor control character.
pub(super) fn plain_length(bytes: &[u8]) -> usize {
    // Long runs in steps that the compiler makes vector instructions of.
    let (steps, _) = bytes.as_chunks::<64>();
    let plain =
        steps.iter().take_while(|step| !step.iter().fold(false, |found, &byte| found | is_special(byte))).count();
    let (passed, bytes) = bytes.split_at_checked(plain * 64).unwrap_or((bytes, &[]));
    passed.len() + short_plain_length(bytes)
}

/// The same, eight bytes at a time.
fn short_plain_length(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The highest bit of each byte that is special. A borrow can set it above one that is, never below the first.
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let found = (control | zero(word ^ (ONES * 0x22)) | zero(word ^ (ONES * 0x5c))) & (ONES * 0x80);
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    bytes.len() - rest.len() + rest.iter().position(|&byte| is_special(byte)).unwrap_or(rest.len())
}

/// The length of the escape that the bytes begin with, backslash included; `None` when JSON has no such escape.
pub(super) fn escape_length(bytes: &[u8]) -> Option<usize> {
    match bytes.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => hex(bytes.get(2..6)?).map(|_| 6),
        _ => None,
    }
}

/// Gives the characters that a string's inside stands for to `push`, in UTF-8. `None` for what is no string's inside,
/// and for half of a surrogate pair: what was pushed until there is then to be thrown away.
pub(super) fn unescape(mut raw: &[u8], mut push: impl FnMut(&[u8])) -> Option<()> {
    while !raw.is_empty() {
        let plain = plain_length(raw);
        let (run, rest) = raw.split_at_checked(plain)?;
        push(run);
        raw = rest;
        if raw.is_empty() {
            break;
        }
        let (character, length) = unescape_one(raw)?;
        push(character.encode_utf8(&mut [0; 4]).as_bytes());
        raw = raw.get(length..)?;
    }
    Some(())
}

/// Appends a string with its quotes.
pub fn push_string(out: &mut BytesMut, text: &str) {
    out.extend_from_slice(b"\"");
    push_inside(out, text.as_bytes());
    out.extend_from_slice(b"\"");
}

/// Appends UTF-8 bytes as the inside of a string.
fn push_inside(out: &mut BytesMut, mut bytes: &[u8]) {
    loop {
        let (run, rest) = bytes.split_at_checked(plain_length(bytes)).unwrap_or((bytes, &[]));
        out.extend_from_slice(run);
        let Some((&special, rest)) = rest.split_first() else { return };
        match special {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => {
                let digit = |value: u8| char::from_digit(u32::from(value), 16).map_or(b'0', |digit| digit as u8);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(control >> 4), digit(control & 15)]);
            }
        }
        bytes = rest;
    }
}

/// The character of the escape that the bytes begin with, and the escape's length.
fn unescape_one(bytes: &[u8]) -> Option<(char, usize)> {
    let character = match bytes.get(..2)? {
        b"\\\"" => '"',
        b"\\\\" => '\\',
        b"\\/" => '/',
        b"\\b" => '\u{8}',
        b"\\f" => '\u{c}',
        b"\\n" => '\n',
        b"\\r" => '\r',
        b"\\t" => '\t',
        b"\\u" => return unescape_unicode(bytes),
        _ => return None,
    };
    Some((character, 2))
}

fn unescape_unicode(bytes: &[u8]) -> Option<(char, usize)> {
    let first = hex(bytes.get(2..6)?)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Some((char::from_u32(first)?, 6));
    }
    if bytes.get(6..8)? != b"\\u" {
        return None;
    }
    let second = hex(bytes.get(8..12)?)?;
    if !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    Some((char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))?, 12))
}

fn hex(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, &digit| Some((value << 4) | char::from(digit).to_digit(16)?))
}

const fn is_special(byte: u8) -> bool {
    // Without a branch, so that many bytes are looked at together.
    (byte == b'"') | (byte == b'\\') | (byte < 0x20)
}

/// The highest bit of bytes that are zero.
const fn zero(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word
}

/// One in each byte of a word.
const ONES: u64 = u64::MAX / 255;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    fn unescaped(raw: &str) -> Option<String> {
        let mut out = Vec::new();
        unescape(raw.as_bytes(), |run| out.extend_from_slice(run))?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn escapes_are_the_characters_they_stand_for() {
        assert_eq!(unescaped(r#"a\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac"#).unwrap(), "a\"\\/\u{8}\u{c}\n\r\tAé€");
        assert_eq!(unescaped(r"\ud83d\uDE00!").unwrap(), "😀!");
        for wrong in [r"\ud83d", r"\ud83dx", r"\ud83d\n", r"\ud83d\u0041", r"\ude00", r"\x", r"\u12", r"\u+123", "\\"] {
            assert_eq!(unescaped(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn control_characters_never_leave_bare() {
        let mut out = BytesMut::new();
        push_string(&mut out, "\u{0}\u{1f}\u{7f}\"\\/\n");
        assert_eq!(&out[..], "\"\\u0000\\u001f\u{7f}\\\"\\\\/\\n\"".as_bytes());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_by_us_and_by_others(text in any::<String>()) {
            let mut out = BytesMut::new();
            push_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text.clone());
            let inside = std::str::from_utf8(&out[1..out.len() - 1]).unwrap();
            prop_assert_eq!(unescaped(inside), Some(text));
        }

        #[test]
        fn a_run_ends_at_the_first_special_byte(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let expected = bytes.iter().position(|&byte| is_special(byte)).unwrap_or(bytes.len());
            prop_assert_eq!(plain_length(&bytes), expected);
        }
    }
}
