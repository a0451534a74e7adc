//! A value as 64 bits that are few where it has changed little.

use std::collections::HashMap;

use super::wire::{Sample, Type};

/// What a value is coded as, after the value `before` of the same series in the same message.
#[must_use]
pub fn code(kind: Type, before: u64, value: u64) -> u64 {
    match kind {
        Type::Unsigned | Type::Signed => zigzag(value.wrapping_sub(before).cast_signed()),
        // What two floats have in common is in their first bits; a varint is short where the last are
        // zero.
        Type::Float => (value ^ before).swap_bytes(),
    }
}

/// The value of that code.
#[must_use]
pub fn value(kind: Type, before: u64, code: u64) -> u64 {
    match kind {
        Type::Unsigned | Type::Signed => before.wrapping_add(unzigzag(code).cast_unsigned()),
        Type::Float => code.swap_bytes() ^ before,
    }
}

/// As protobuf's sint64.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn unzigzag(code: u64) -> i64 {
    (code >> 1).cast_signed() ^ -(code & 1).cast_signed()
}

/// The latest value of each series, and the boot of the latest sample, of a run of samples that are
/// coded as differences: those of one message, or of one chunk of a log.
#[derive(Clone, Debug, Default)]
pub struct Run {
    values: HashMap<u32, u64>,
    boot: Vec<u8>,
    began: bool,
}

/// The ids and types of a schema's series, in their order.
pub type Layout = [(u32, Type)];

/// A sample of ours cannot be coded again, as its schema is not known or does not fit: a bug, or
/// damage on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sample does not fit its schemas")]
pub struct Unfit;

impl Run {
    /// Forgets everything: the next sample is whole.
    pub fn clear(&mut self) {
        self.values.clear();
        self.boot.clear();
        self.began = false;
    }

    /// Decodes a sample in place, whose turn it is in this run: its values are complete afterwards,
    /// and its boot is there. `layout` gives the series of a schema.
    ///
    /// # Errors
    ///
    /// [`Unfit`]; the run is of no more use then.
    pub fn decode<'a>(
        &mut self,
        sample: &mut Sample,
        layout: impl Fn(u32) -> Option<&'a Layout>,
    ) -> Result<(), Unfit> {
        if sample.whole {
            self.clear();
        }
        if sample.boot.is_empty() {
            sample.boot.clone_from(&self.boot);
        } else {
            self.boot.clone_from(&sample.boot);
        }
        let values = &mut self.values;
        each(sample, layout, |id, kind, coded| {
            let before = values.entry(id).or_default();
            *before = value(kind, *before, *coded);
            *coded = *before;
        })?;
        sample.whole = true;
        Ok(())
    }

    /// Codes a complete sample in place, as the next of this run. The first one is whole.
    ///
    /// # Errors
    ///
    /// [`Unfit`]; the run is of no more use then.
    pub fn encode<'a>(
        &mut self,
        sample: &mut Sample,
        layout: impl Fn(u32) -> Option<&'a Layout>,
    ) -> Result<(), Unfit> {
        sample.whole = !std::mem::replace(&mut self.began, true);
        if !sample.whole && self.boot == sample.boot {
            sample.boot.clear();
        } else {
            self.boot.clone_from(&sample.boot);
        }
        let values = &mut self.values;
        each(sample, layout, |id, kind, complete| {
            let before = values.entry(id).or_default();
            let now = *complete;
            *complete = code(kind, *before, now);
            *before = now;
        })
    }
}

/// Each value of a sample, with the id and type of its series.
fn each<'a>(
    sample: &mut Sample,
    layout: impl Fn(u32) -> Option<&'a Layout>,
    mut change: impl FnMut(u32, Type, &mut u64),
) -> Result<(), Unfit> {
    let mut absent = sample.absent.iter().copied().peekable();
    let mut values = sample.values.iter_mut();
    let mut place = 0;
    for schema in &sample.schemas {
        for (id, kind) in layout(*schema).ok_or(Unfit)? {
            if absent.next_if_eq(&place).is_none() {
                change(*id, *kind, values.next().ok_or(Unfit)?);
            }
            place += 1;
        }
    }
    if values.next().is_some() || absent.next().is_some() {
        return Err(Unfit);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TYPES: [Type; 3] = [Type::Unsigned, Type::Signed, Type::Float];

    #[test]
    fn what_changes_little_is_small() {
        assert_eq!(code(Type::Unsigned, 5, 5), 0);
        assert_eq!(code(Type::Unsigned, 5, 6), 2);
        assert_eq!(code(Type::Unsigned, 6, 5), 1);
        assert_eq!(code(Type::Signed, 0, (-1_i64).cast_unsigned()), 1);
        assert_eq!(code(Type::Float, 0, 12.5_f64.to_bits()), 0x2940);
        assert_eq!(code(Type::Unsigned, 0, u64::MAX), 1);
    }

    fn sample(values: Vec<u64>, absent: Vec<u32>, boot: u8) -> Sample {
        Sample {
            boot: vec![boot; 16],
            schemas: vec![1, 2],
            absent,
            values,
            whole: true,
            ..Sample::default()
        }
    }

    proptest! {
        #[test]
        fn every_value_survives(kind in 0..3_usize, before: u64, now: u64) {
            let kind = TYPES[kind];
            prop_assert_eq!(value(kind, before, code(kind, before, now)), now);
        }

        /// A run read from its beginning is what was put in; a run may begin at any sample.
        #[test]
        fn a_run_is_read_as_it_was_written(
            rows in prop::collection::vec((prop::collection::vec(any::<u64>(), 4), prop::option::of(0..4_u32), 0..2_u8), 1..9),
            at in any::<prop::sample::Index>(),
        ) {
            let layouts: [&Layout; 2] = [
                &[(7, Type::Unsigned), (9, Type::Float)],
                &[(8, Type::Signed), (10, Type::Unsigned)],
            ];
            let layout = |id: u32| layouts.get(id as usize - 1).copied();
            let rows: Vec<_> = rows.into_iter().map(|(mut values, absent, boot)| {
                if let Some(absent) = absent {
                    values.remove(absent as usize);
                }
                sample(values, absent.into_iter().collect(), boot)
            }).collect();
            let mut run = Run::default();
            let coded: Vec<_> = rows.iter().cloned().map(|mut row| {
                run.encode(&mut row, layout).unwrap();
                row
            }).collect();
            prop_assert!(coded[0].whole && coded[1..].iter().all(|row| !row.whole));
            let mut run = Run::default();
            let mut read = Vec::new();
            for mut row in coded {
                run.decode(&mut row, layout).unwrap();
                read.push(row);
            }
            prop_assert_eq!(&read, &rows);
            let (mut from, mut to) = (Run::default(), Run::default());
            for mut row in rows[at.index(rows.len())..].iter().cloned() {
                let expected = row.clone();
                from.encode(&mut row, layout).unwrap();
                to.decode(&mut row, layout).unwrap();
                prop_assert_eq!(row, expected);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_said() {
        let layout = |id: u32| (id < 3).then_some(&[(1_u32, Type::Float)] as &Layout);
        for (values, absent) in [
            (vec![1], vec![]),
            (vec![1, 2, 3], vec![]),
            (vec![1, 2], vec![1]),
            (vec![1, 2], vec![2]),
            (vec![1], vec![1, 0]),
        ] {
            let mut sample = sample(values, absent, 0);
            assert_eq!(Run::default().decode(&mut sample, layout), Err(Unfit));
        }
        let mut unknown = sample(vec![1, 2], vec![], 0);
        unknown.schemas = vec![1, 3];
        assert_eq!(Run::default().decode(&mut unknown, layout), Err(Unfit));
        assert_eq!(
            Run::default().decode(&mut sample(vec![1], vec![1], 0), layout),
            Ok(())
        );
    }
}
