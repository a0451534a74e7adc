//! Which devices, interfaces, ... are part of a sample.
//!
//! Owns the choice: those whose name the administrator's filter admits, each once, up to a bound,
//! in the order in which the kernel lists them. Keeps data about each from one sample to the next,
//! and drops it with the first sample that it is not part of. An instance that stays is neither
//! allocated nor filtered again.
//!
//! A list of the kernel's that takes several reads can have a name twice, if a device was removed
//! and made again in between: the first is taken.

use std::collections::HashMap;

use super::options::Filter;
use crate::base::text::is_plain;

/// What is kept about each instance that was met.
#[derive(Debug)]
pub struct Instances<T> {
    filter: Filter,
    max: usize,
    entries: HashMap<Box<str>, Entry<T>>,
    /// The number of the sample that is being made.
    sample: u64,
    /// How many names were met in it.
    met: usize,
    /// How many of them are part of it.
    chosen: usize,
    /// How many there would be without the bound.
    cut: usize,
    /// True if there is a name that was not in the previous sample.
    new: bool,
}

#[derive(Debug)]
struct Entry<T> {
    /// The last sample that it was met in.
    sample: u64,
    /// True if that sample is to have it, and has not taken it yet.
    waits: bool,
    admitted: bool,
    /// There while it is part of samples.
    kept: Option<T>,
}

impl<T> Instances<T> {
    /// None yet; at most `max` of those that `filter` admits will be part of a sample.
    #[must_use]
    pub fn new(filter: Filter, max: usize) -> Self {
        Self {
            filter,
            max,
            entries: HashMap::new(),
            sample: 0,
            met: 0,
            chosen: 0,
            cut: 0,
            new: false,
        }
    }

    /// Begins a sample.
    pub fn begin(&mut self) {
        self.sample += 1;
        self.met = 0;
        self.chosen = 0;
        self.cut = 0;
        self.new = false;
    }

    /// Adds an instance from the kernel's list to the sample. Returns the data that is kept about
    /// it, if it is to be part of the sample; `new` makes the data if the instance was not in the
    /// previous one.
    ///
    /// None for a name that is [not valid](is_name), which the caller reports.
    pub fn meet(&mut self, name: &[u8], new: impl FnOnce(&str) -> T) -> Option<&mut T> {
        let name = self.meet_name(name)?;
        let entry = self.entries.get_mut(name)?;
        entry.waits = entry.admitted && self.chosen < self.max;
        if entry.waits {
            self.chosen += 1;
            return Some(entry.kept.get_or_insert_with(|| new(name)));
        }
        if entry.admitted {
            self.cut += 1;
        }
        entry.kept = None;
        None
    }

    /// As [`meet`](Self::meet), for instances of which only those that are `wanted` may be part
    /// of a sample; gives the name, too, and leaves nothing to be taken. What is known about
    /// the others is kept as well.
    pub fn meet_where<'n>(
        &mut self,
        name: &'n [u8],
        new: impl FnOnce(&str) -> T,
        wanted: impl FnOnce(&str, &mut T) -> bool,
    ) -> Option<(&'n str, &mut T)> {
        let name = self.meet_name(name)?;
        let entry = self.entries.get_mut(name)?;
        if !entry.admitted {
            return None;
        }
        let kept = entry.kept.get_or_insert_with(|| new(name));
        if !wanted(name, kept) {
            return None;
        }
        if self.chosen >= self.max {
            self.cut += 1;
            return None;
        }
        self.chosen += 1;
        Some((name, kept))
    }

    /// The name as text, of an instance that was not met in this sample before and has an
    /// entry now.
    fn meet_name<'n>(&mut self, name: &'n [u8]) -> Option<&'n str> {
        let name = printable(name)?;
        let (filter, new) = (&self.filter, &mut self.new);
        if !self.entries.contains_key(name) {
            let entry = Entry {
                sample: 0,
                waits: false,
                admitted: filter.admits(name),
                kept: None,
            };
            self.entries.insert(name.into(), entry);
            *new = true;
        }
        let entry = self.entries.get_mut(name)?;
        if entry.sample == self.sample {
            return None;
        }
        entry.sample = self.sample;
        entry.waits = false;
        self.met += 1;
        Some(name)
    }

    /// Drops what was not in this sample. Returns true if the names differ from those of the
    /// previous sample.
    pub fn forget_others(&mut self) -> bool {
        let sample = self.sample;
        let gone = self.met < self.entries.len();
        if gone {
            self.entries.retain(|_, entry| entry.sample == sample);
        }
        gone || self.new
    }

    /// What is kept about an instance that is part of the sample; once.
    pub fn take<'n>(&mut self, name: &'n [u8]) -> Option<(&'n str, &mut T)> {
        let name = printable(name)?;
        let entry = self.entries.get_mut(name)?;
        if !std::mem::take(&mut entry.waits) {
            return None;
        }
        Some((name, entry.kept.as_mut()?))
    }

    /// How many instances the sample would have without the bound.
    #[must_use]
    pub fn cut(&self) -> usize {
        self.cut
    }

    /// All that is kept, in no order: once others are forgotten, what is part of the sample.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut T)> {
        let entries = self.entries.iter_mut();
        entries.filter_map(|(name, entry)| Some((&**name, entry.kept.as_mut()?)))
    }

    /// What is kept under a name.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        self.entries.get_mut(name)?.kept.as_mut()
    }
}

/// What belongs where a name is none.
pub const EXPECTED_NAME: &str = "a name of characters that can be seen";

/// Returns true if an instance may have this name: a name that is not printable text cannot be told
/// from others once it is escaped.
#[must_use]
pub fn is_name(name: &[u8]) -> bool {
    printable(name).is_some()
}

fn printable(name: &[u8]) -> Option<&str> {
    let name = std::str::from_utf8(name).ok()?;
    (!name.is_empty() && is_plain(name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(instances: &mut Instances<u32>, names: &[&[u8]]) -> Vec<(String, u32)> {
        instances.begin();
        for name in names {
            if let Some(count) = instances.meet(name, |_| 0) {
                *count += 1;
            }
        }
        instances.forget_others();
        let taken = names.iter().filter_map(|name| {
            let (name, count) = instances.take(name)?;
            Some((name.to_owned(), *count))
        });
        taken.collect()
    }

    fn pairs(expected: &[(&str, u32)]) -> Vec<(String, u32)> {
        let pairs = expected.iter();
        pairs
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    }

    #[test]
    fn what_is_gone_is_forgotten_and_what_returns_is_new() {
        let mut instances = Instances::new(Filter::default(), 9);
        assert_eq!(
            sample(&mut instances, &[b"a", b"b"]),
            pairs(&[("a", 1), ("b", 1)])
        );
        assert_eq!(sample(&mut instances, &[b"b"]), pairs(&[("b", 2)]));
        assert_eq!(
            sample(&mut instances, &[b"b", b"a"]),
            pairs(&[("b", 3), ("a", 1)])
        );
        assert_eq!(instances.iter_mut().count(), 2);
        assert_eq!(instances.get_mut("b"), Some(&mut 3));
    }

    #[test]
    fn what_is_not_wanted_takes_no_room_and_is_known_all_the_same() {
        let mut instances = Instances::new(Filter::without(&["x"]), 2);
        for round in 1..3 {
            instances.begin();
            let mut chosen = Vec::new();
            for name in ["a1", "b", "x", "a2", "c", "c", "d"] {
                let new = |_: &str| 0;
                let wanted = |name: &str, count: &mut u32| {
                    *count += 1;
                    !name.starts_with('a')
                };
                let met = instances.meet_where(name.as_bytes(), new, wanted);
                chosen.extend(met.map(|(name, _)| name));
            }
            instances.forget_others();
            assert_eq!((chosen, instances.cut()), (vec!["b", "c"], 1));
            assert_eq!(instances.get_mut("a1").copied(), Some(round));
            assert_eq!(instances.get_mut("x"), None);
        }
    }

    #[test]
    fn names_that_come_and_go_are_told() {
        let mut instances = Instances::new(Filter::default(), 9);
        let mut moved = |names: &[&[u8]]| {
            instances.begin();
            for name in names {
                instances.meet(name, |_| 0);
            }
            instances.forget_others()
        };
        assert!(moved(&[b"a", b"b"]));
        assert!(!moved(&[b"b", b"a"]));
        assert!(moved(&[b"a"]));
        assert!(moved(&[b"a", b"c"]));
        assert!(moved(&[b"a", b"d"]));
        assert!(!moved(&[b"a", b"d"]));
    }

    #[test]
    fn a_name_that_is_listed_twice_is_there_once() {
        let mut instances = Instances::new(Filter::default(), 2);
        let names: [&[u8]; 4] = [b"a", b"b", b"a", b"b"];
        assert_eq!(sample(&mut instances, &names), pairs(&[("a", 1), ("b", 1)]));
        assert_eq!(instances.cut(), 0);
    }

    #[test]
    fn those_beyond_the_bound_are_cut_and_those_without_a_text_for_a_name_are_not_met() {
        let mut instances = Instances::new(Filter::without(&["x*"]), 2);
        let names: [&[u8]; 7] = [b"x1", b"\xff", b"a", b"a\n", b"b", b"c", b""];
        for _ in 0..2 {
            let taken = sample(&mut instances, &names);
            assert_eq!(taken.len(), 2);
            assert_eq!((&*taken[0].0, &*taken[1].0), ("a", "b"));
            assert_eq!(instances.cut(), 1);
        }
        // An instance that was left out is included once there is room.
        assert_eq!(sample(&mut instances, &[b"c"]), pairs(&[("c", 1)]));
        assert_eq!(instances.cut(), 0);
    }
}
