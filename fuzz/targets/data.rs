//! Bodies of DATA messages, one after the other on one connection, as a collector gets them from an agent.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use metrics_agent::protocol::data::reader::Defined;
use metrics_agent::protocol::data::wire::{Series, Type};
use metrics_agent::protocol::data::{Item, Keep, Reader, Scratch};
use metrics_agent_fuzz::assert_loggable;

/// Keeps what distinguishes a series, and how many a schema has.
struct Lengths;

impl Keep for Lengths {
    type Series = Series;
    type Schema = usize;

    fn series(&mut self, series: &Series, usable: bool) -> Series {
        let mut series = series.clone();
        if !usable {
            series.name.clear();
        }
        series
    }

    fn is(kept: &Series, series: &Series) -> bool {
        kept == series
    }

    fn is_usable(kept: &Series) -> bool {
        !kept.name.is_empty()
    }

    fn kind(kept: &Series) -> Type {
        kept.r#type()
    }

    fn schema(&mut self, _: &str, series: &[&Series]) -> Option<usize> {
        Some(series.len())
    }

    fn share(&mut self, _: &mut Arc<Defined<Series, usize>>) {}
}

fuzz_target!(|input: &[u8]| {
    let mut reader = Reader::<Lengths>::default();
    let mut scratch = Scratch::default();
    // Bodies are told apart by a byte that protobuf does not begin a field with.
    for body in input.split(|byte| *byte == 0x07) {
        match reader.read(body, &mut Lengths, &mut scratch) {
            Err(fault) => assert_loggable(&fault),
            Ok(body) => {
                let mut last = 0;
                for item in &body.items {
                    let (from, to) = item.range();
                    assert!(from > last && to >= from);
                    last = to;
                    let Item::Sample(sample) = item else { continue };
                    for part in &sample.parts {
                        assert_eq!(part.values.len(), part.schema.kept);
                        assert!(part.absent.is_sorted_by(|a, b| a < b));
                        let within = |place: &u32| (*place as usize) < part.values.len();
                        assert!(part.absent.iter().all(within));
                    }
                }
                for fault in &body.faults {
                    assert_loggable(fault);
                }
            }
        }
    }
});
