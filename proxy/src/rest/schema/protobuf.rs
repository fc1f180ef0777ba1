//! Protobuf: JSON by Protobuf's own mapping to bytes and back, led by the text of a `.proto` file.
//!
//! A value is a message of the file, named by its place. Imports are the references that the registry names, and
//! Google's own types. What must never happen here: a file of this machine that is opened for an import.

use std::collections::HashMap;
use std::io;

use bytes::{Buf, BufMut, BytesMut};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FileDescriptor, MessageDescriptor, SerializeOptions};
use protox::file::{File, FileResolver, GoogleFileResolver};

use super::wire;
use crate::rest::Code;
use crate::rest::formats::FormatError;

/// A compiled file.
#[derive(Debug)]
pub struct ProtobufSchema {
    file: FileDescriptor,
    first: MessageDescriptor,
}

impl ProtobufSchema {
    /// Compiles a file with its imports: name and text. It may take long; call it where that hurts nobody.
    ///
    /// # Errors
    /// `InvalidSchema`, when it does not compile or has no message.
    pub fn parse(text: &str, references: &[(String, String)]) -> Result<Self, FormatError> {
        let texts = references.iter().map(|(_, text)| text.as_str()).chain([text]);
        if !texts.into_iter().all(is_shallow) {
            return Err(refused("is nested too deep"));
        }
        let mut sources: HashMap<_, _> = references.iter().cloned().collect();
        sources.insert(ROOT.to_owned(), text.to_owned());
        let mut compiler = protox::Compiler::with_file_resolver(Sources(sources));
        compiler.include_imports(true).open_file(ROOT).map_err(|_| refused("does not compile"))?;
        let pool = DescriptorPool::from_file_descriptor_set(compiler.file_descriptor_set());
        let file = pool.ok().and_then(|pool| pool.get_file_by_name(ROOT)).ok_or_else(|| refused("does not compile"))?;
        let first = file.messages().next().ok_or_else(|| refused("has no message"))?;
        Ok(Self { file, first })
    }

    /// The full name of the file's first message.
    #[must_use]
    pub fn record_name(&self) -> &str {
        self.first.full_name()
    }

    /// Appends the place of the file's first message and the bytes of one JSON value of it.
    ///
    /// # Errors
    /// `JsonConversion`, with the byte at which the value leaves the schema.
    pub fn write(&self, json: &[u8], out: &mut BytesMut) -> Result<(), FormatError> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let message = DynamicMessage::deserialize(self.first.clone(), &mut deserializer);
        let message = message.and_then(|message| deserializer.end().map(|()| message)).map_err(|error| {
            // The error's own text may repeat the value.
            let (line, column) = (error.line(), error.column());
            let text = format!("line {line}, column {column} of the value does not fit the protobuf message");
            FormatError::new(Code::JsonConversion, text)
        })?;
        wire::push_place(out, &[0]);
        message.encode(out).map_err(|_| FormatError::new(Code::NotSerialisable, "the protobuf message is too long"))
    }

    /// Appends the JSON of the place and bytes of one message. `max_text` bounds the text.
    ///
    /// # Errors
    /// `Serialization`, when the bytes are not of the schema.
    pub fn read(&self, bytes: &[u8], max_text: usize, out: &mut BytesMut) -> Result<(), FormatError> {
        let (place, bytes) = wire::split_place(bytes).ok_or_else(|| foreign("does not say which message it is"))?;
        let message = self.message_at(&place).ok_or_else(|| foreign("is a message that its schema does not have"))?;
        let message = DynamicMessage::decode(message, bytes).map_err(|_| foreign("is not of its message"))?;
        let options = SerializeOptions::new().skip_default_fields(false);
        let mut serializer = serde_json::Serializer::new(Bounded { out, remaining: max_text });
        let written = message.serialize_with_options(&mut serializer, &options);
        written.map_err(|_| foreign("is too long as text, or has no JSON"))
    }

    fn message_at(&self, place: &[usize]) -> Option<MessageDescriptor> {
        let (&first, inner) = place.split_first()?;
        let mut message = self.file.messages().nth(first)?;
        for &index in inner {
            let child = message.child_messages().nth(index)?;
            message = child;
        }
        Some(message)
    }
}

/// What imports may name.
struct Sources(HashMap<String, String>);

impl FileResolver for Sources {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        match self.0.get(name) {
            Some(text) => File::from_source(name, text),
            None => GoogleFileResolver::new().open_file(name),
        }
    }
}

/// A buffer that takes so much and no more.
struct Bounded<'a> {
    out: &'a mut BytesMut,
    remaining: usize,
}

impl io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.remaining = self.remaining.checked_sub(bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        self.out.put_slice(bytes);
        Ok(bytes.remaining())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The compiler calls itself for every bracket: what a text could nest is bounded before it sees it. Brackets in
/// comments and strings count too; no file has so many.
fn is_shallow(text: &str) -> bool {
    let mut depth = 0usize;
    text.bytes().all(|byte| {
        match byte {
            b'{' | b'[' | b'(' | b'<' => depth += 1,
            b'}' | b']' | b')' | b'>' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth <= MAX_DEPTH
    })
}

fn refused(what: &'static str) -> FormatError {
    FormatError::new(Code::InvalidSchema, format!("the protobuf schema {what}"))
}

fn foreign(what: &'static str) -> FormatError {
    FormatError::new(Code::Serialization, format!("the protobuf value {what}"))
}

/// No import can have this name by chance.
const ROOT: &str = "barnabas/root.proto";
const MAX_DEPTH: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    const TEXT: &str = r#"
        syntax = "proto3";
        package shop;
        import "other/money.proto";
        import "google/protobuf/timestamp.proto";
        message Order {
            message Line { string article = 1; int32 count = 2; }
            int64 id = 1;
            repeated Line lines = 2;
            shop.Money total = 3;
            google.protobuf.Timestamp at = 4;
            enum State { NEW = 0; SENT = 1; }
            State state = 5;
            bytes raw = 6;
        }
        message Cancel { int64 id = 1; }
    "#;

    fn schema() -> ProtobufSchema {
        let money = r#"syntax = "proto3"; package shop; message Money { string currency = 1; int64 cents = 2; }"#;
        ProtobufSchema::parse(TEXT, &[("other/money.proto".to_owned(), money.to_owned())]).unwrap()
    }

    #[test]
    fn a_message_goes_through_and_comes_back() {
        let schema = schema();
        let json = r#"{"id":"7","lines":[{"article":"bolt","count":3}],"total":{"currency":"EUR","cents":"120"},
            "at":"2026-01-02T03:04:05Z","state":"SENT","raw":"AQI="}"#;
        let mut bytes = BytesMut::new();
        schema.write(json.as_bytes(), &mut bytes).unwrap();
        // The first message of the file, and field 1 with 7.
        assert_eq!(&bytes[..3], [0, 8, 7]);
        let mut text = BytesMut::new();
        schema.read(&bytes, 10_000, &mut text).unwrap();
        let (back, sent): (serde_json::Value, serde_json::Value) =
            (serde_json::from_slice(&text).unwrap(), serde_json::from_str(json).unwrap());
        assert_eq!(back, sent);
        assert_eq!(schema.record_name(), "shop.Order");
    }

    #[test]
    fn other_messages_of_the_file_are_read_by_their_place() {
        let mut text = BytesMut::new();
        schema().read(&[2, 2, 8, 5], 1000, &mut text).unwrap();
        assert_eq!(&text[..], br#"{"id":"5"}"#);
        text.clear();
        schema().read(&[4, 0, 0, 16, 4], 1000, &mut text).unwrap();
        assert_eq!(&text[..], br#"{"article":"","count":4}"#);
        for wrong in [&[2, 4, 8, 5][..], &[4, 0, 2], &[], &[0, 8], &[0, 0xff]] {
            assert_eq!(schema().read(wrong, 1000, &mut BytesMut::new()).unwrap_err().code(), Code::Serialization);
        }
        assert!(schema().read(&[2, 2, 8, 5], 5, &mut BytesMut::new()).is_err());
    }

    #[test]
    fn what_does_not_fit_is_refused_without_its_text() {
        for json in [r#"{"id":"secret"}"#, r#"{"unknown":1}"#, "[]", r#"{"state":"LOST"}"#, r#"{"id":1} 2"#] {
            let error = schema().write(json.as_bytes(), &mut BytesMut::new()).unwrap_err();
            assert_eq!(error.code(), Code::JsonConversion, "{json}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn schemas_that_are_none_are_refused() {
        let deep = format!("syntax=\"proto3\"; {}", "message A { ".repeat(100_000));
        for text in [
            "",
            "message",
            "syntax = \"proto3\";",
            "import \"/etc/hostname\"; message A {}",
            "import \"x.proto\";",
            &deep,
        ] {
            let refused = ProtobufSchema::parse(text, &[]).unwrap_err();
            assert_eq!(refused.code(), Code::InvalidSchema, "{refused}");
        }
    }
}
