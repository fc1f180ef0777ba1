//! Primitive types, splices, headers and the table, against models and an independent codec.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey as OracleKey, RequestHeader as OracleRequestHeader, ResponseHeader as OracleResponseHeader,
};
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::prelude::*;

use super::api::{self, Treatment};
use super::put::{put_unsigned_varint, put_varint, put_varlong};
use super::*;

fn cursor(bytes: &[u8], encoding: Encoding) -> Cursor<'_> {
    Cursor::new(bytes, 0, encoding)
}

proptest! {
    #[test]
    fn integers_are_read_as_they_were_written(unsigned: u32, signed: i32, long: i64) {
        let mut out = BytesMut::new();
        put_unsigned_varint(&mut out, unsigned);
        put_varint(&mut out, signed);
        put_varlong(&mut out, long);
        let mut read = cursor(&out, Encoding::Classic);
        prop_assert_eq!(read.unsigned_varint("u").unwrap(), unsigned);
        prop_assert_eq!(read.varint("v").unwrap(), signed);
        prop_assert_eq!(read.varlong("l").unwrap(), long);
        read.finish("all").unwrap();
    }

    #[test]
    fn strings_and_lengths_are_read_as_they_were_written(text in ".{0,300}", compact: bool, length in 0usize..5000) {
        let encoding = Encoding::from_flexible(compact);
        let mut out = BytesMut::new();
        encoding.put_string(&mut out, &text).unwrap();
        encoding.put_nullable_string(&mut out, None).unwrap();
        encoding.put_nullable_string(&mut out, Some(&text)).unwrap();
        encoding.put_null(&mut out);
        encoding.put_length(&mut out, length).unwrap();
        out.extend_from_slice(&vec![9; length]);
        encoding.put_no_tags(&mut out);
        let mut read = cursor(&out, encoding);
        prop_assert_eq!(read.string("s").unwrap(), text.as_str());
        prop_assert_eq!(read.nullable_string("n").unwrap(), None);
        prop_assert_eq!(read.nullable_string("m").unwrap(), Some(text.as_str()));
        prop_assert_eq!(read.nullable_bytes("b").unwrap(), None);
        let span = read.nullable_bytes("c").unwrap().unwrap();
        prop_assert_eq!(span.of(&out).unwrap(), vec![9; length]);
        read.skip_tags().unwrap();
        read.finish("all").unwrap();
    }

    #[test]
    fn a_splice_is_what_the_same_edit_of_a_copy_is(
        original in prop::collection::vec(any::<u8>(), 0..80),
        cuts in prop::collection::btree_set(0usize..80, 0..8),
        piece in prop::collection::vec(any::<u8>(), 0..10),
    ) {
        let cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= original.len()).collect();
        let mut splices = Splices::new(Bytes::from(original.clone()));
        let mut expected = original.clone();
        // From the back, so that the model's positions stay true.
        for (turn, pair) in cuts.chunks_exact(2).enumerate().collect::<Vec<_>>().into_iter().rev() {
            let span = Span::new(pair[0], pair[1]).unwrap();
            match turn % 3 {
                0 => splices.remove(span),
                1 => splices.replace(span, Bytes::from(piece.clone())),
                _ => {
                    let write = |out: &mut BytesMut| {
                        out.extend_from_slice(&piece);
                        Ok::<(), WireError>(())
                    };
                    prop_assert_eq!(splices.write(span, write).unwrap(), piece.len());
                }
            }
            let new = if turn % 3 == 0 { Vec::new() } else { piece.clone() };
            expected.splice(span.range(), new);
        }
        let segments = splices.finish().unwrap();
        prop_assert_eq!(segments.len(), expected.len());
        let mut read = segments.clone();
        let mut copied = Vec::new();
        while read.has_remaining() {
            let step = read.chunk().len().min(3);
            copied.extend_from_slice(&read.chunk()[..step]);
            read.advance(step);
        }
        prop_assert_eq!(&copied, &expected);
        let framed = segments.framed().unwrap().into_bytes();
        prop_assert_eq!(&framed[..4], (expected.len() as u32).to_be_bytes());
        prop_assert_eq!(&framed[4..], expected);
    }
}

#[test]
fn integers_that_do_not_end_or_overflow_are_refused() {
    for bytes in [&[0xff, 0xff, 0xff, 0xff, 0x1f][..], &[0x80; 6], &[0x80, 0x80]] {
        assert!(cursor(bytes, Encoding::Classic).unsigned_varint("u").is_err());
    }
    for bytes in [&[0xff; 11][..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]] {
        assert!(cursor(bytes, Encoding::Classic).varlong("l").is_err());
    }
    let largest = [0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(cursor(&largest, Encoding::Classic).unsigned_varint("u").unwrap(), u32::MAX);
}

#[test]
fn lengths_and_counts_are_held_to_the_bytes_that_remain() {
    let classic = |bytes: &'static [u8]| cursor(bytes, Encoding::Classic);
    assert!(matches!(classic(b"\xff\xfe").string("s"), Err(WireError::BadLength { length: -2, .. })));
    assert!(matches!(classic(b"\xff\xff").string("s"), Err(WireError::BadLength { length: -1, .. })));
    assert!(matches!(classic(b"\0\x02\xff\xff").string("s"), Err(WireError::BadText { at: 2, .. })));
    assert!(matches!(classic(b"\0\x03ab").string("s"), Err(WireError::Truncated { wanted: 3, .. })));
    let oversized = classic(b"\0\0\0\x02abc").count("c", 2);
    assert!(matches!(oversized, Err(WireError::BadCount { count: 2, remaining: 3, .. })));
    assert_eq!(classic(b"\0\0\0\x02abcd").count("c", 2).unwrap(), 2);
    assert!(classic(b"\xff\xff\xff\xff").count("c", 1).is_err());
    assert_eq!(classic(b"\xff\xff\xff\xff").nullable_count("c", 1).unwrap(), None);
    assert!(classic(b"\x80\0\0\0").nullable_bytes("b").is_err());
    let mut long = cursor(&[0x81, 0x80, 0x02, 0, 0], Encoding::Compact);
    assert!(matches!(long.string("s"), Err(WireError::BadLength { length: 32_768, .. })));
}

#[test]
fn tagged_fields_are_shown_at_their_place_and_read_to_their_end() {
    // Two fields: tag 0 holding an INT16, tag 300 holding three bytes; then one byte that follows.
    let bytes = [2, 0, 2, 0x12, 0x34, 0xac, 0x02, 3, 7, 7, 7, 0xee];
    let mut seen = Vec::new();
    let mut read = cursor(&bytes, Encoding::Compact);
    let visit = |tag, value: &mut Cursor<'_>| {
        seen.push((tag, value.position(), value.remaining()));
        if tag == 0 {
            assert_eq!(value.i16("v")?, 0x1234);
        }
        Ok::<_, WireError>(tag == 0)
    };
    read.tags(visit).unwrap();
    assert_eq!(seen, [(0, 3, 2), (300, 8, 3)]);
    assert_eq!(read.i8("next").unwrap(), 0xee_u8 as i8);

    let known = |_, value: &mut Cursor<'_>| value.i8("v").map(|_| true);
    let unread = cursor(&bytes, Encoding::Compact).tags(known).unwrap_err();
    assert_eq!(unread, WireError::Trailing { field: "tagged field", at: 4, remaining: 1 });
    let beyond = |_, value: &mut Cursor<'_>| value.i64("v").map(|_| true);
    assert!(cursor(&bytes, Encoding::Compact).tags(beyond).is_err());
    assert!(cursor(&[0xff, 0xff, 0x03, 0, 0], Encoding::Compact).skip_tags().is_err());
}

#[test]
fn edits_that_overlap_or_lie_outside_are_refused() {
    let spans = |pairs: &[(usize, usize)]| {
        let mut splices = Splices::new(Bytes::from_static(b"0123456789"));
        for (start, end) in pairs {
            splices.remove(Span::new(*start, *end).unwrap());
        }
        splices.finish().map(Segments::into_bytes)
    };
    assert!(spans(&[(2, 5), (4, 6)]).is_err());
    assert!(spans(&[(4, 11)]).is_err());
    assert_eq!(spans(&[(4, 10), (0, 4)]).unwrap(), Bytes::new());
    assert!(Span::new(5, 4).is_err());
}

#[test]
fn segments_are_written_as_slices_without_a_copy() {
    let original = Bytes::from_static(b"0123456789");
    let mut splices = Splices::new(original.clone());
    splices.replace(Span::new(2, 4).unwrap(), Bytes::from_static(b"new"));
    let segments = splices.finish().unwrap();
    let mut slices = [IoSlice::new(&[]); 8];
    assert_eq!(segments.chunks_vectored(&mut slices), 3);
    assert_eq!((&*slices[0], &*slices[1], &*slices[2]), (&b"01"[..], &b"new"[..], &b"456789"[..]));
    assert_eq!(slices[2].as_ptr(), original[4..].as_ptr());
    assert_eq!(Splices::new(original).finish().unwrap().iter().count(), 1);
}

#[test]
fn the_table_is_dense_and_has_a_reason_for_every_api() {
    assert_eq!(api::all().count(), 93);
    for (position, api) in api::all().enumerate() {
        assert_eq!(usize::try_from(api.key.0).unwrap(), position);
        assert_eq!(api::find(api.key), Some(api));
        assert!(api.reason.len() > 5);
        assert_eq!(api.offered().is_none(), api.treatment == Treatment::Refuse);
    }
    assert_eq!((api::find(ApiKey(93)), api::find(ApiKey(-1))), (None, None));
}

#[test]
fn headers_have_the_version_that_kafka_gives_them() {
    for key in 0..93 {
        let (Ok(oracle), Some(api)) = (OracleKey::try_from(key), api::find(ApiKey(key))) else {
            continue;
        };
        for version in oracle.valid_versions().min..=oracle.valid_versions().max {
            if api.treatment != Treatment::Refuse {
                let capped = [(17, 0), (22, 6), (55, 2)].contains(&(key, version));
                let removed = api.knows(ApiVersion(version)) == capped;
                assert!(!removed, "{} {version}", api.name);
            }
            let flexible = api.is_flexible(ApiVersion(version));
            let expected = (flexible, flexible && key != 18);
            let headers = (oracle.request_header_version(version) == 2, oracle.response_header_version(version) == 1);
            assert_eq!(headers, expected, "{} {version}", api.name);
        }
    }
}

#[test]
fn headers_are_read_and_written_in_every_version() {
    for key in 0..93 {
        let (Ok(oracle), Some(api)) = (OracleKey::try_from(key), api::find(ApiKey(key))) else {
            continue;
        };
        for version in oracle.valid_versions().min..=oracle.valid_versions().max {
            let call = Call { api_key: api.key, version: ApiVersion(version), correlation_id: CorrelationId(5) };
            let mut frame = BytesMut::new();
            let header = OracleRequestHeader::default()
                .with_request_api_key(key)
                .with_request_api_version(version)
                .with_correlation_id(5)
                .with_client_id(Some(StrBytes::from_static_str("me")));
            header.encode(&mut frame, oracle.request_header_version(version)).unwrap();
            assert_eq!(Call::peek(&frame).unwrap(), call);
            if !api.knows(ApiVersion(version)) {
                assert!(RequestHeader::parse(&frame).is_err());
                continue;
            }
            let read = RequestHeader::parse(&frame).unwrap();
            assert_eq!((read.call, read.client_id_text().as_ref(), read.body), (call, "me", frame.len()));
            for end in 0..frame.len() {
                assert!(RequestHeader::parse(&frame[..end]).is_err());
            }
            let mut ours = BytesMut::new();
            call.put_request_header(&mut ours, "me").unwrap();
            assert_eq!(ours, frame);

            let mut frame = BytesMut::new();
            let header = OracleResponseHeader::default().with_correlation_id(5);
            header.encode(&mut frame, oracle.response_header_version(version)).unwrap();
            assert_eq!(ResponseHeader::parse(&frame, call).unwrap().body, frame.len());
            let mut ours = BytesMut::new();
            call.put_response_header(&mut ours).unwrap();
            assert_eq!(ours, frame);
        }
    }
}
