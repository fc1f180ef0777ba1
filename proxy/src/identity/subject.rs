//! The subject of a certificate as text, byte for byte as Java's `X500Principal.getName()` prints it, since Kafka's
//! mapping rules and existing ACLs were written against that text: RFC 2253, most specific part first, nine known
//! attribute types by keyword, all others by number with the value in hexadecimal. A value that is not the string that it
//! claims to be is refused: replaced characters could make two subjects one.

use x509_parser::asn1_rs::{Any, Tag, ToDer};
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The text of a name; `None` when a value cannot be decoded.
pub(super) fn print(name: &X509Name<'_>) -> Option<String> {
    let mut parts = Vec::new();
    for set in name.iter_rdn() {
        let values: Option<Vec<String>> = set.iter().map(print_one).collect();
        parts.push(values?.join("+"));
    }
    parts.reverse();
    Some(parts.join(","))
}

fn print_one(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let oid = attribute.attr_type().to_id_string();
    let value = attribute.attr_value();
    let keyword = KEYWORDS.iter().find(|(known, _)| *known == oid).map(|(_, keyword)| *keyword);
    match (keyword, is_string(value)) {
        (Some(keyword), true) => Some(format!("{keyword}={}", escape(&decode(value)?))),
        _ => {
            let der = value.to_der_vec().ok()?;
            Some(format!("{}=#{}", keyword.unwrap_or(&oid), hex::encode(der)))
        }
    }
}

/// The types that Java prints as text; a NumericString is not among them.
fn is_string(value: &Any<'_>) -> bool {
    matches!(
        value.tag(),
        Tag::PrintableString | Tag::Utf8String | Tag::Ia5String | Tag::T61String | Tag::GeneralString | Tag::BmpString
    )
}

fn decode(value: &Any<'_>) -> Option<String> {
    match value.tag() {
        Tag::T61String => Some(value.data.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let (pairs, rest) = value.data.as_chunks::<2>();
            let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            String::from_utf16(&units).ok().filter(|_| rest.is_empty())
        }
        _ => std::str::from_utf8(value.data).ok().map(str::to_owned),
    }
}

fn escape(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '\0' => plain.push_str("\\00"),
            c if SPECIAL.contains(c) => plain.extend(['\\', c]),
            c => plain.push(c),
        }
    }
    let blank = |c: &char| matches!(c, ' ' | '\r');
    let count = plain.chars().count();
    let leading = plain.chars().take_while(blank).count();
    let trailing = plain.chars().rev().take_while(blank).count();
    let mut out = String::with_capacity(plain.len());
    for (index, c) in plain.chars().enumerate() {
        if index < leading || index >= count - trailing {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// RFC 2253, section 2.3, with Java's `UID`.
const KEYWORDS: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// What Java escapes wherever it stands; RFC 2253 asks for `=` nowhere and for `#` only at the start.
const SPECIAL: &str = ",=+<>#;\"\\";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn subject(pem: &str) -> String {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        print(pem.parse_x509().unwrap().subject()).unwrap()
    }

    /// The certificates were made with OpenSSL 3; the texts are what OpenJDK 17 prints for them.
    #[test]
    fn subjects_are_printed_as_java_prints_them() {
        assert_eq!(
            subject(include_str!("certificates/multivalued.pem")),
            r"CN=alice,OU=Dev+OU=Ops,O=Acme\, Inc.,L=München,ST=Bayern,C=DE"
        );
        assert_eq!(subject(include_str!("certificates/components.pem")), r"CN=\#lead,UID=u1,DC=example,DC=com");
        assert_eq!(
            subject(include_str!("certificates/escaped.pem")),
            r#"O=x\+y\"q\<z\>\;\\w\=e,1.2.840.113549.1.9.1=#16056140622e63,2.5.4.5=#13023737,STREET=Weg 1,CN=\ lead and trail\ \ "#
        );
        assert_eq!(
            subject(include_str!("certificates/unknown_types.pem")),
            "CN=a/b,2.5.4.4=#0c0142,2.5.4.42=#0c0141,2.5.4.12=#0c024472"
        );
        assert_eq!(subject(include_str!("certificates/unicode.pem")), r"CN=ü😀\#,O=\ \ ");
    }

    #[test]
    fn escapes_at_the_edges() {
        assert_eq!(escape(" "), r"\ ");
        assert_eq!(escape("a b"), "a b");
        assert_eq!(escape("a\0b"), r"a\00b");
        assert_eq!(escape(""), "");
        assert_eq!(escape("#x#"), r"\#x\#");
    }
}
