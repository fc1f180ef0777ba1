//! Produce at full speed: every connection sends the same prepared frame again and again and keeps its number of requests in
//! flight. A produce that was refused ends the measurement.

use super::{Figures, Shape, Target, Watch, drive};
use crate::batch;
use crate::error::Error;
use crate::payload::Payload;
use crate::wire;

/// Runs the load and measures its window.
pub fn run(target: &Target, shape: &Shape, watch: Watch) -> Result<Figures, Error> {
    let leaders = target.leaders(&shape.topic)?;
    let values = Payload::new(shape.kind).values(shape.records, shape.value_bytes);
    let batch = batch::build(&values, shape.codec)?;
    drive(shape, watch, |index, gauge| {
        let Some(leader) = leaders.get(index % leaders.len()) else {
            return Ok(());
        };
        let mut link = target.connect(leader)?;
        let mut frame = wire::produce::request(&shape.topic, leader.partition, shape.acks, &batch);
        gauge.arrive();
        loop {
            while link.in_flight() < shape.in_flight && !gauge.stopped() {
                link.send(&mut frame)?;
            }
            if link.in_flight() == 0 {
                return Ok(());
            }
            wire::produce::base_offset(link.receive()?)?;
            gauge.count(shape.records as u64);
        }
    })
}
