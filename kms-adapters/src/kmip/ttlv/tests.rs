//! The codec against the specification's own examples, against itself for any tree, and against any bytes.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;

use super::*;

/// An item that owns what it holds, for making random messages.
#[derive(Clone, PartialEq, Debug)]
enum Tree {
    BigInteger(Vec<u8>),
    Boolean(bool),
    ByteString(Vec<u8>),
    DateTime(i64),
    Enumeration(u32),
    Integer(i32),
    Interval(u32),
    LongInteger(i64),
    Structure(Vec<(u32, Tree)>),
    TextString(String),
}

impl Tree {
    fn write(&self, tag: Tag, out: &mut Writer) {
        match self {
            Self::BigInteger(value) => out.big_integer(tag, value),
            Self::Boolean(value) => out.boolean(tag, *value),
            Self::ByteString(value) => out.bytes(tag, value),
            Self::DateTime(value) => out.date_time(tag, *value),
            Self::Enumeration(value) => out.enumeration(tag, *value),
            Self::Integer(value) => out.integer(tag, *value),
            Self::Interval(value) => out.interval(tag, *value),
            Self::LongInteger(value) => out.long_integer(tag, *value),
            Self::Structure(items) => {
                out.structure(tag, |out| items.iter().for_each(|(tag, item)| item.write(Tag(*tag), out)));
            }
            Self::TextString(value) => out.text(tag, value),
        }
    }

    fn read(value: Value<'_>) -> Result<Self, Malformed> {
        Ok(match value {
            Value::BigInteger(value) => Self::BigInteger(value.to_vec()),
            Value::Boolean(value) => Self::Boolean(value),
            Value::ByteString(value) => Self::ByteString(value.to_vec()),
            Value::DateTime(value) => Self::DateTime(value),
            Value::Enumeration(value) => Self::Enumeration(value),
            Value::Integer(value) => Self::Integer(value),
            Value::Interval(value) => Self::Interval(value),
            Value::LongInteger(value) => Self::LongInteger(value),
            Value::Structure(items) => {
                let owned = items.map(|item| item.and_then(|item| Ok((item.tag.0, Self::read(item.value)?))));
                Self::Structure(owned.collect::<Result<_, _>>()?)
            }
            Value::TextString(value) => Self::TextString(value.to_owned()),
        })
    }
}

fn trees() -> impl Strategy<Value = Tree> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    let leaf = prop_oneof![
        prop::collection::vec(any::<[u8; 8]>(), 1..4).prop_map(|words| Tree::BigInteger(words.concat())),
        any::<bool>().prop_map(Tree::Boolean),
        bytes().prop_map(Tree::ByteString),
        any::<i64>().prop_map(Tree::DateTime),
        any::<u32>().prop_map(Tree::Enumeration),
        any::<i32>().prop_map(Tree::Integer),
        any::<u32>().prop_map(Tree::Interval),
        any::<i64>().prop_map(Tree::LongInteger),
        "\\PC{0,20}".prop_map(Tree::TextString),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| prop::collection::vec((0..1u32 << 24, inner), 0..6).prop_map(Tree::Structure))
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(tag in 0..1u32 << 24, tree in trees()) {
        let mut out = Writer::default();
        tree.write(Tag(tag), &mut out);
        let bytes = out.into_bytes();
        prop_assert_eq!(bytes.len() % 8, 0);
        let mut items = Items::new(&bytes);
        let item = items.next().unwrap().unwrap();
        prop_assert!(items.next().is_none());
        prop_assert_eq!(item.tag, Tag(tag));
        prop_assert_eq!(Tree::read(item.value).unwrap(), tree);
        let mut again = Writer::default();
        again.copy(&item);
        let again = again.into_bytes();
        prop_assert_eq!(again.as_slice(), bytes.as_slice());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut budget = bytes.len();
        for item in Items::new(&bytes).flatten() {
            budget = budget.checked_sub(HEADER).expect("every item costs its header");
            let _ = Tree::read(item.value);
        }
    }

    #[test]
    fn a_message_that_is_cut_short_is_never_whole(tree in trees(), cut in any::<prop::sample::Index>()) {
        let mut out = Writer::default();
        tree.write(Tag(0x42_0078), &mut out);
        let bytes = out.into_bytes();
        let short = bytes.get(..cut.index(bytes.len())).unwrap();
        let items: Result<Vec<_>, _> = Items::new(short).collect();
        prop_assert!(short.is_empty() || matches!(items, Err(Malformed::Truncated)));
    }
}

/// The encoding examples of the KMIP specification, 9.1.2.
#[test]
fn the_examples_of_the_specification() {
    let tag = Tag(0x42_0020);
    let written = |fill: &dyn Fn(&mut Writer)| {
        let mut out = Writer::default();
        fill(&mut out);
        hex(&out.into_bytes())
    };
    assert_eq!(written(&|w| w.integer(tag, 8)), "42002002000000040000000800000000");
    assert_eq!(written(&|w| w.long_integer(tag, 123_456_789_000_000_000)), "420020030000000801b69b4ba5749200");
    assert_eq!(written(&|w| w.enumeration(tag, 255)), "4200200500000004000000ff00000000");
    assert_eq!(written(&|w| w.boolean(tag, true)), "42002006000000080000000000000001");
    assert_eq!(written(&|w| w.text(tag, "Hello World")), "420020070000000b48656c6c6f20576f726c640000000000");
    assert_eq!(written(&|w| w.bytes(tag, &[1, 2, 3])), "42002008000000030102030000000000");
    assert_eq!(written(&|w| w.date_time(tag, 0x47DA_67F8)), "42002009000000080000000047da67f8");
    assert_eq!(written(&|w| w.interval(tag, 864_000)), "4200200a00000004000d2f0000000000");
    let nested = written(&|w| {
        w.structure(tag, |w| {
            w.enumeration(Tag(0x42_0004), 254);
            w.integer(Tag(0x42_0005), 255);
        });
    });
    let inner = "4200040500000004000000fe000000004200050200000004000000ff00000000";
    assert_eq!(nested, format!("4200200100000020{inner}"));
}

#[test]
fn each_kind_of_malformed_item_is_named() {
    let first = |bytes: &[u8]| Items::new(bytes).next().unwrap().err();
    assert_eq!(first(&[0x42, 0, 0x20]), Some(Malformed::Truncated));
    assert_eq!(first(&[0x42, 0, 0x20, 8, 0xFF, 0xFF, 0xFF, 0xFF, 1]), Some(Malformed::Truncated));
    // The value is there, its padding is not.
    assert_eq!(first(&[0x42, 0, 0x20, 8, 0, 0, 0, 1, 1]), Some(Malformed::Truncated));
    let tag = Tag(0x42_0020);
    let item = |kind, body: [u8; 8], length| {
        let mut bytes = vec![0x42, 0, 0x20, kind, 0, 0, 0, length];
        bytes.extend(body);
        first(&bytes)
    };
    assert_eq!(item(0x0C, [0; 8], 8), Some(Malformed::Type(tag, 0x0C)));
    assert_eq!(item(BOOLEAN, [2; 8], 8), Some(Malformed::Boolean(tag)));
    assert_eq!(item(TEXT_STRING, [0xFF; 8], 8), Some(Malformed::Text(tag)));
    assert_eq!(item(INTEGER, [0; 8], 8), Some(Malformed::Length(tag)));
    assert_eq!(item(STRUCTURE, [0; 8], 4), Some(Malformed::Length(tag)));
    assert_eq!(item(BIG_INTEGER, [0; 8], 7), Some(Malformed::Length(tag)));
}

#[test]
fn what_is_asked_for_has_to_be_there_in_its_type() {
    let (tag, other) = (Tag(0x42_0020), Tag(0x42_0021));
    let mut out = Writer::default();
    out.integer(tag, 7);
    let bytes = out.into_bytes();
    let items = Items::new(&bytes);
    assert_eq!(items.integer(tag), Ok(7));
    assert_eq!(items.text(tag).err(), Some(Malformed::OtherType(tag)));
    assert_eq!(items.bytes(other).err(), Some(Malformed::Missing(other)));
    assert!(matches!(items.find(other), Ok(None)));
}

#[test]
fn a_wrong_length_ends_the_walk() {
    let mut items = Items::new(&[0xFF; 64]);
    assert!(items.next().unwrap().is_err());
    assert!(items.next().is_none());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
