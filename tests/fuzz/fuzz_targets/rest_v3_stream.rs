//! Streams of the v3 API: cut anywhere, they are the same records, and no record makes its reader panic.
#![no_main]

use barnabas::rest::formats::{Limits, Piece, Splitter, parse_v3};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: (u8, &[u8])| {
    let (size, stream) = data;
    let limits = Limits { max_depth: 20, max_record_bytes: 500, ..Limits::default() };
    let cut = split(stream, usize::from(size) + 1, limits);
    assert_eq!(cut, split(stream, 1, limits));
    for piece in &cut.0 {
        let _ = parse_v3(&piece.text, piece.position, &limits);
    }
});

/// The pieces, where the stream broke, and whether it ended between two records.
fn split(stream: &[u8], size: usize, limits: Limits) -> (Vec<Piece>, bool, bool) {
    let mut splitter = Splitter::new(limits);
    let mut pieces = Vec::new();
    for chunk in stream.chunks(size) {
        splitter.push(Bytes::copy_from_slice(chunk));
        loop {
            match splitter.take() {
                Ok(Some(piece)) => pieces.push(piece),
                Ok(None) => break,
                Err(_) => return (pieces, true, false),
            }
        }
    }
    let is_whole = splitter.finish().is_ok();
    (pieces, false, is_whole)
}
