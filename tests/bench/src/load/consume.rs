//! Consume at full speed: every connection fetches its partition from the start, and from the start again when it reached the
//! end. The first answer of each connection is opened and compared with what `produce` wrote; later ones are only counted.

use super::{Figures, Shape, Target, Watch, drive};
use crate::batch;
use crate::error::Error;
use crate::payload::Payload;
use crate::wire::fetch::{self, Fetched, Wish};

/// Runs the load and measures its window.
pub fn run(target: &Target, shape: &Shape, watch: Watch) -> Result<Figures, Error> {
    let leaders = target.leaders(&shape.topic)?;
    let expected = Payload::new(shape.kind).value(shape.value_bytes);
    drive(shape, watch, |index, gauge| {
        let Some(leader) = leaders.get(index % leaders.len()) else {
            return Ok(());
        };
        let mut link = target.connect(leader)?;
        let mut wish = Wish {
            topic: &shape.topic,
            partition: leader.partition,
            offset: 0,
            max_wait_ms: 500,
            max_bytes: shape.fetch_bytes,
        };
        let first = fetch::answer(link.call(&mut fetch::request(&wish))?)?;
        prove(&first, &wish, &expected)?;
        gauge.arrive();
        while !gauge.stopped() {
            let fetched = fetch::answer(link.call(&mut fetch::request(&wish))?)?;
            let walked = batch::walk(fetched.records)?;
            let Some(next) = walked.next_offset else {
                return Err(Error::Mismatch(format!(
                    "fetch at offset {} brought no whole batch: raise --fetch-bytes",
                    wish.offset
                )));
            };
            wish.offset = if next < fetched.high_watermark { next } else { 0 };
            gauge.count(walked.records);
        }
        Ok(())
    })
}

/// Refuses to measure when what came is not what was produced, for example because it came sealed.
fn prove(fetched: &Fetched<'_>, wish: &Wish<'_>, expected: &[u8]) -> Result<(), Error> {
    let mut first = None;
    batch::each_value(fetched.records, |value| {
        if value.len() != expected.len() {
            return Err(Error::Mismatch(format!("a value has {} bytes, {} were written", value.len(), expected.len())));
        }
        first.get_or_insert_with(|| value == expected);
        Ok(())
    })?;
    match first {
        Some(true) => Ok(()),
        Some(false) => Err(Error::Mismatch("the first value is not the one that was written".into())),
        None => Err(Error::Mismatch(format!(
            "partition {} of {} is empty: run `produce` with as many connections as partitions first",
            wish.partition, wish.topic
        ))),
    }
}
