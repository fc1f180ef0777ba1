//! KMIP's tag-type-length-value bytes as a server sends them: the walk ends, goes no deeper than the bytes are, and what it
//! understood is the same after being written and read again.
#![no_main]

use barnabas_kms::kmip::ttlv::{HEADER, Items, Tag, Value, Writer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut budget = input.len();
    for item in Items::new(input) {
        let Ok(item) = item else { break };
        budget = budget.checked_sub(HEADER).expect("every item costs its header");
        let mut out = Writer::default();
        out.copy(&item);
        let bytes = out.into_bytes();
        let again = Items::new(&bytes).next().expect("an item was written").expect("and can be read");
        assert!(again == item);
        walk(item.value);
    }
});

/// Without recursion: a structure in a structure costs only 8 bytes of input.
fn walk(value: Value<'_>) {
    let mut waiting = vec![value];
    while let Some(value) = waiting.pop() {
        if let Value::Structure(items) = value {
            let _ = (items.find(TAG), items.text(TAG), items.bytes(TAG), items.integer(TAG), items.enumeration(TAG));
            waiting.extend(items.flatten().map(|item| item.value));
        }
    }
}

const TAG: Tag = Tag(0x42_0094);
