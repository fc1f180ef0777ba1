//! Signed notes (C2SP signed-note) and the keys that sign them: text arrives, checked signatures leave.
//! A note without a valid signature of a known key says nothing. Signatures by unknown keys are ignored, a wrong signature
//! by a known key refuses the whole note. Cosignatures of witnesses (C2SP tlog-cosignature, Ed25519) are of this file too.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{ED25519, UnparsedPublicKey};

use super::Error;
use super::tree::sha256;

/// The public key of a log or a witness, with its name: a *vkey*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteKey {
    name: String,
    kind: KeyKind,
    public: [u8; 32],
}

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Notes: checkpoints by their log.
    Log = 0x01,
    /// Checkpoints of others: cosignatures by a witness.
    Witness = 0x04,
}

impl NoteKey {
    /// A key with its name.
    ///
    /// # Errors
    /// `Name`.
    pub fn new(name: &str, kind: KeyKind, public: [u8; 32]) -> Result<Self, Error> {
        check_name(name)?;
        Ok(Self { name: name.to_owned(), kind, public })
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    #[must_use]
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// The first four bytes of SHA-256(name ‖ LF ‖ kind ‖ public key).
    #[must_use]
    pub fn id(&self) -> [u8; 4] {
        let text = [self.name.as_bytes(), b"\n", &[self.kind as u8], &self.public].concat();
        let [a, b, c, d, ..] = sha256(&text);
        [a, b, c, d]
    }

    /// Whether a line of a note claims to be by this key.
    fn claims(&self, line: &NoteSignature) -> bool {
        line.name == self.name && line.key_id == self.id()
    }

    fn verify(&self, text: &str, signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, &self.public);
        match self.kind {
            KeyKind::Log => key.verify(text.as_bytes(), signature).is_ok(),
            KeyKind::Witness => signature.split_first_chunk::<8>().is_some_and(|(time, signature)| {
                let time = u64::from_be_bytes(*time);
                time <= i64::MAX as u64 && key.verify(cosigned(text, time).as_bytes(), signature).is_ok()
            }),
        }
    }
}

/// The message that a witness signs at a time, in seconds since 1970.
#[must_use]
pub fn cosigned(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

impl fmt::Display for NoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = BASE64.encode([&[self.kind as u8][..], &self.public].concat());
        write!(f, "{}+{}+{key}", self.name, hex::encode(self.id()))
    }
}

impl FromStr for NoteKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let malformed = || Error::Key("a verifier key is `name+id+key` as C2SP signed-note has it");
        let mut parts = text.trim().splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(malformed());
        };
        let key = BASE64.decode(key).map_err(|_| malformed())?;
        let (kind, public) = key.split_first().ok_or_else(malformed)?;
        let kind = match kind {
            0x01 => KeyKind::Log,
            0x04 => KeyKind::Witness,
            _ => return Err(Error::Key("a verifier key of another kind than Ed25519 notes and cosignatures")),
        };
        let key = Self::new(name, kind, public.try_into().map_err(|_| malformed())?)?;
        if hex::encode(key.id()) != id {
            return Err(Error::Key("a verifier key whose id is not that of its name and bytes"));
        }
        Ok(key)
    }
}

/// A note as it was read; nothing in it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The text with its last newline.
    pub text: String,
    /// The signature lines.
    pub signatures: Vec<NoteSignature>,
}

/// A signature line of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The name of the key.
    pub name: String,
    /// The id of the key.
    pub key_id: [u8; 4],
    /// What the key made; its form is the key's affair.
    pub signature: Vec<u8>,
}

impl Note {
    /// Parses a note; none if it has not the form of one, or is larger than any sensible note.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let whole = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_NOTE)?;
        if whole.chars().any(|c| c.is_ascii_control() && c != '\n' && c != '\u{7f}') {
            return None;
        }
        // The last empty line separates text and signatures.
        let at = whole.rfind("\n\n")?;
        let (text, lines) = whole.split_at_checked(at + 1)?;
        let lines = lines.strip_prefix('\n')?.strip_suffix('\n')?;
        let signatures = lines.split('\n').map(NoteSignature::parse).collect::<Option<Vec<_>>>()?;
        let fits = !text.is_empty() && signatures.len() <= MAX_SIGNATURES;
        fits.then(|| Self { text: text.to_owned(), signatures })
    }

    /// Whether a key signed the note. A line that claims to be by the key and is not valid counts more than one that is.
    #[must_use]
    pub fn is_signed_by(&self, key: &NoteKey) -> bool {
        let mut claimed = self.signatures.iter().filter(|line| key.claims(line)).peekable();
        claimed.peek().is_some() && claimed.all(|line| key.verify(&self.text, &line.signature))
    }

    /// Whether a line claims to be by a key, valid or not.
    #[must_use]
    pub fn names(&self, key: &NoteKey) -> bool {
        self.signatures.iter().any(|line| key.claims(line))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl NoteSignature {
    /// Parses a line without its newline.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
        check_name(name).ok()?;
        let bytes = BASE64.decode(signature).ok()?;
        let (key_id, signature) = bytes.split_first_chunk::<4>()?;
        let found = Self { name: name.to_owned(), key_id: *key_id, signature: signature.to_vec() };
        (!found.signature.is_empty()).then_some(found)
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = BASE64.encode([&self.key_id[..], &self.signature].concat());
        write!(f, "\u{2014} {} {bytes}", self.name)
    }
}

/// Names of keys have no space, no `+`, and are one line.
pub(super) fn check_name(name: &str) -> Result<(), Error> {
    let wrong = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(wrong) {
        return Err(Error::Name(name.chars().take(MAX_NAME).collect()));
    }
    Ok(())
}

const MAX_NAME: usize = 255;

/// Notes of others may be large: signatures that resist quantum computers have five kilobytes.
pub const MAX_NOTE: usize = 1 << 20;

/// The specification asks for 16 at least.
const MAX_SIGNATURES: usize = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The example of C2SP signed-note.
    const KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";

    #[test]
    fn the_example_of_the_specification_verifies() {
        let key: NoteKey = KEY.parse().unwrap();
        assert_eq!(key.to_string(), KEY);
        let note = Note::parse(NOTE.as_bytes()).unwrap();
        assert!(note.is_signed_by(&key));
        assert_eq!(note.to_string(), NOTE);
    }

    #[test]
    fn a_changed_text_and_a_wrong_line_beside_a_right_one_are_refused() {
        let key: NoteKey = KEY.parse().unwrap();
        assert!(!Note::parse(NOTE.replace("an", "no").as_bytes()).unwrap().is_signed_by(&key));
        let mut note = Note::parse(NOTE.as_bytes()).unwrap();
        let mut second = note.signatures.first().cloned().unwrap();
        second.signature.reverse();
        note.signatures.push(second);
        assert!(!note.is_signed_by(&key));
    }

    #[test]
    fn what_is_not_a_note_is_none() {
        for wrong in
            ["", "text\n", "text\n\n", "text\n\nname sig\n", "\n\u{2014} a AAAAAAA=\n", "t\r\n\n\u{2014} a AAAAAAA=\n"]
        {
            assert!(Note::parse(wrong.as_bytes()).is_none(), "{wrong:?}");
        }
        assert!(Note::parse(&[0xff, 0xfe]).is_none());
        for wrong in
            ["a", "a+b", "a b+530d903a+AAAA", "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"]
        {
            assert!(wrong.parse::<NoteKey>().is_err(), "{wrong}");
        }
    }
}
