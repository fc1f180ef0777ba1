//! Names and values of attributes, and how they stand in HTTP headers.
//!
//! What must never happen here: bytes that are not UTF-8 as a value, a name that no event can have.

use crate::rest::Code;
use crate::rest::formats::FormatError;

/// The attributes of an event that are looked at; all others only pass through.
#[derive(Default)]
pub(super) struct Required {
    id: bool,
    source: bool,
    specversion: bool,
    type_: bool,
}

impl Required {
    /// Looks at one attribute.
    pub(super) fn see(&mut self, name: &str, value: &str) -> Result<(), FormatError> {
        let wrong = |text: &'static str| Err(refused(text));
        if !is_name(name) {
            return wrong("the name of an attribute has other characters than a-z and 0-9");
        }
        match name {
            "id" => self.id = true,
            "source" => self.source = true,
            "type" => self.type_ = true,
            "specversion" if value == "1.0" => self.specversion = true,
            "specversion" => return wrong("specversion is none that is known: 1.0"),
            "time" if value.parse::<jiff::Timestamp>().is_err() => return wrong("time is not as RFC 3339 writes it"),
            "data" => return wrong("data is no attribute"),
            _ => {}
        }
        if value.is_empty() && matches!(name, "id" | "source" | "type" | "subject" | "dataschema" | "datacontenttype") {
            return Err(refused(format!("{name} may not be empty")));
        }
        if value.chars().any(char::is_control) {
            return Err(refused("an attribute has a control character"));
        }
        Ok(())
    }

    /// All attributes were seen.
    pub(super) fn check(&self) -> Result<(), FormatError> {
        let all = [("specversion", self.specversion), ("id", self.id), ("source", self.source), ("type", self.type_)];
        match all.into_iter().find(|(_, is_there)| !is_there) {
            Some((name, _)) => Err(refused(format!("an event needs the attribute {name}"))),
            None => Ok(()),
        }
    }
}

/// An event that is none.
pub(super) fn refused(text: impl Into<std::borrow::Cow<'static, str>>) -> FormatError {
    FormatError::new(Code::Unprocessable, text)
}

/// Lower-case letters and digits (specification, "Naming conventions").
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The value that an HTTP header stands for: quotes first, then one round of percent-decoding (HTTP binding 3.1.3.2).
/// Nothing for a value that is not UTF-8 then.
pub(super) fn decode(value: &[u8]) -> Option<String> {
    let value = value.trim_ascii();
    let unquoted = match value {
        [b'"', inside @ .., b'"'] => unquote(inside)?,
        _ => value.to_vec(),
    };
    let mut decoded = Vec::with_capacity(unquoted.len());
    let mut rest = unquoted.as_slice();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = tail.first_chunk().filter(|_| byte == b'%').and_then(hex);
        decoded.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8(decoded).ok()
}

/// A value as an HTTP header writes it: nothing but visible ASCII.
pub(super) fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'"' | b'%' | 0..=0x20 | 0x7f.. => {
                encoded.push('%');
                for digit in [byte >> 4, byte & 15] {
                    encoded.extend(char::from_digit(digit.into(), 16).map(|digit| digit.to_ascii_uppercase()));
                }
            }
            plain => encoded.push(plain.into()),
        }
    }
    encoded
}

fn unquote(inside: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => plain.push(*bytes.next()?),
            b'"' => return None,
            byte => plain.push(byte),
        }
    }
    Some(plain)
}

fn hex(digits: &[u8; 2]) -> Option<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let [high, low] = *digits;
    Some(value(high)? << 4 | value(low)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn header_values_are_decoded_as_the_binding_says() {
        assert_eq!(encode("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        for (header, value) in [
            (&b"Euro%20%E2%82%AC%20%F0%9F%98%80"[..], "Euro € 😀"),
            (b"%e2%82%ac", "€"),
            (b"\"a \\\"b\\\" c\"", "a \"b\" c"),
            (b"\"100%25 \\\\\"", "100% \\"),
            (b"%41bc", "Abc"),
            (b"100%", "100%"),
            (b"%zz", "%zz"),
            (b"", ""),
            ("grün".as_bytes(), "grün"),
        ] {
            assert_eq!(decode(header).unwrap(), value);
        }
        for wrong in [&b"%C0%A0"[..], b"%ff", b"\"a\"b\"", b"\"a\\\"", b"\xff"] {
            assert_eq!(decode(wrong), None);
        }
    }

    proptest! {
        #[test]
        fn every_value_goes_through_a_header(value in any::<String>()) {
            let encoded = encode(&value);
            prop_assert!(encoded.bytes().all(|byte| (0x21..0x7f).contains(&byte)));
            prop_assert_eq!(decode(encoded.as_bytes()), Some(value));
        }
    }
}
