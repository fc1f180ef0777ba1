//! Record batches as a peer sends them: the walk over entries, every codec, the walk over records, and opening, which
//! must refuse what it cannot prove and never panic.
#![no_main]

use barnabas::chain::open::{Opener, Opening, Scratch, Source};
use barnabas::config::OnUnreadable;
use barnabas::frame::batch::{BATCH_OVERHEAD, BatchHeader, Entry, Records, entries, inflate};
use barnabas_crypto::OrderCheck;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for entry in entries(input).flatten() {
        let Entry::Batch(range) = entry else { continue };
        let batch = &input[range];
        let (Ok(header), Some(body)) = (BatchHeader::parse(batch), batch.get(BATCH_OVERHEAD..)) else { continue };
        let mut plain = Vec::new();
        if let Ok(codec) = header.attributes.codec()
            && inflate(codec, body, LIMIT, &mut plain).is_ok()
        {
            assert!(plain.len() <= LIMIT);
            let mut walk = Records::new(0, header.record_count);
            while let Ok(Some(record)) = walk.next(&plain) {
                assert!(record.headers.end <= plain.len());
                let _ = record.first_header(&plain);
            }
        }
    }
    let (mut order, mut scratch, mut page) = (OrderCheck::default(), Scratch::default(), input.to_vec());
    let source = Source {
        partition: 0,
        fetch_offset: 0,
        on_unreadable: OnUnreadable::Skip,
        max_inflated: LIMIT,
        opener: Opener::Client,
    };
    Opening::new(&mut page, &mut order, &mut scratch).run(&source);
});

const LIMIT: usize = 1 << 20;
