//! Bytes that anybody may have written: no parser panics, and what reads reads back.

use proptest::prelude::*;

use super::super::checkpoint::Checkpoint;
use super::super::note::{Note, NoteKey};
use super::super::segment;
use super::super::statement::StatementList;
use super::super::tile::{add_to_bundle, parse_bundle, parse_hashes};
use super::super::tlog_proof::TlogProof;
use super::super::verify::diagnose;
use super::super::witness::AddCheckpoint;
use super::*;

fn root() -> Secret<32> {
    Secret::from_slice(&[9; 32]).unwrap()
}

fn key() -> NoteKey {
    signer().log_pen(ORIGIN).unwrap().key().clone()
}

/// A note with one byte changed.
fn nearly(text: &str, at: usize, byte: u8) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let length = bytes.len();
    bytes[at % length] = byte;
    bytes
}

proptest! {
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), text in "\\PC{0,200}") {
        for bytes in [&bytes[..], text.as_bytes()] {
            drop(Note::parse(bytes));
            drop(Checkpoint::parse_note(bytes));
            drop(TlogProof::parse(bytes));
            drop(AddCheckpoint::parse(bytes));
            drop(StatementList::parse(bytes, &key()));
            drop(parse_bundle(bytes));
            drop(parse_hashes(bytes, 3));
            drop(segment::read(bytes, ORIGIN, Some(&root())));
            let framed = [b"BARNWAL1", &super::super::tree::sha256(ORIGIN.as_bytes())[..], &[0; 60], bytes].concat();
            drop(segment::read(&framed, ORIGIN, None));
        }
        drop(text.parse::<NoteKey>());
        drop(Checkpoint::parse(&text));
    }

    #[test]
    fn bundles_read_back(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..40)) {
        let mut bundle = Vec::new();
        entries.iter().for_each(|entry| add_to_bundle(&mut bundle, entry));
        prop_assert_eq!(parse_bundle(&bundle).unwrap(), entries);
    }

    #[test]
    fn a_note_with_any_byte_changed_is_not_what_was_signed(at in 0usize..400, byte in any::<u8>()) {
        let note = signer().log_pen(ORIGIN).unwrap().sign(format!("{ORIGIN}\n7\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"));
        let bytes = nearly(&note.to_string(), at, byte);
        let parsed = Note::parse(&bytes).filter(|parsed| parsed.is_signed_by(&key()));
        prop_assert!(parsed.is_none_or(|parsed| parsed == note));
    }

    #[test]
    fn a_diagnosis_names_the_first_place_that_differs(good in prop::collection::vec(0u8..9, 1..30), bad in prop::collection::vec(0u8..9, 0..30)) {
        let hashes = |bytes: &[u8]| bytes.iter().map(|byte| [*byte; 32]).collect::<Vec<_>>();
        let first = good.iter().zip(&bad).take_while(|(a, b)| a == b).count() as u64;
        let fault = diagnose(1_000, &hashes(&bad), &hashes(&good));
        prop_assert_eq!(fault.map(|fault| fault.entry), (good != bad).then_some(Some(1_000 + first)));
    }
}
