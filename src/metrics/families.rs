//! Families of metrics: what an agent reads, and reports, together.
//!
//! Not every message holds every metric: an agent reads file systems less often than CPU time. So
//! what a message says of a family replaces what was known of that family, and of no other. A
//! metric of the table belongs to the family of the agent's source that reads it; any other to the
//! family named by the part before its first dot.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::sync::{Arc, LazyLock};

use crate::metrics::table::METRICS;
use crate::protocol::grid::Grid;

/// How many families can be distinguished. Those that are not in the table share the remaining
/// bits: two with the same bit are kept together.
const FAMILIES: usize = u64::BITS as usize;

/// The family of a metric: a number below 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family(u8);

impl Family {
    /// The family of the metric with this name, with or without an instance.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let known = &*KNOWN;
        let plain = plain(name);
        if let Some(family) = known.by_name.get(plain) {
            return *family;
        }
        let prefix = plain.split_once('.').map_or(plain, |(prefix, _)| prefix);
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(prefix);
        let rest = (FAMILIES - known.count) as u64;
        Self(u8::try_from(known.count as u64 + hash % rest).unwrap_or(0))
    }

    /// Its number, from 0 to 63.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.into()
    }

    const fn bit(self) -> u64 {
        1 << self.0
    }
}

/// A set of families.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FamilySet(u64);

impl FamilySet {
    /// The families of a grid's metrics.
    #[must_use]
    pub fn of(grid: &Grid) -> Self {
        let mut families = 0;
        let mut last = None;
        for (name, _) in grid.iter() {
            // Instances of one metric are adjacent.
            let plain = plain(name);
            if last != Some(plain) {
                families |= Family::of(plain).bit();
                last = Some(plain);
            }
        }
        Self(families)
    }

    /// Returns true if the set contains the family.
    #[must_use]
    pub fn contains(self, family: Family) -> bool {
        self.0 & family.bit() != 0
    }

    /// Returns true if the set is empty.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that are in both.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that are not in the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are in either.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Each family.
    pub fn iter(self) -> impl Iterator<Item = Family> {
        (0..64)
            .map(Family)
            .filter(move |family| self.contains(*family))
    }
}

impl FromIterator<Family> for FamilySet {
    fn from_iter<T: IntoIterator<Item = Family>>(families: T) -> Self {
        Self(
            families
                .into_iter()
                .fold(0, |set, family| set | family.bit()),
        )
    }
}

fn plain(name: &str) -> &str {
    name.split_once('[').map_or(name, |(plain, _)| plain)
}

struct Known {
    by_name: HashMap<&'static str, Family>,
    count: usize,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let mut sources: Vec<&str> = Vec::new();
    let mut by_name = HashMap::with_capacity(METRICS.len());
    for metric in METRICS {
        let found = sources.iter().position(|name| *name == metric.source);
        let index = found.unwrap_or_else(|| {
            sources.push(metric.source);
            sources.len() - 1
        });
        let family = Family(u8::try_from(index).unwrap_or(u8::MAX));
        by_name.insert(metric.name, family);
    }
    Known {
        by_name,
        count: sources.len(),
    }
});

/// Bytes that the metrics of families take, each family's.
#[derive(Clone, Debug, Default)]
pub struct FamilyBytes {
    /// The same for all who report the same names. There are some twenty of them for each host, so they are
    /// small.
    families: Arc<Box<[OfFamily]>>,
    /// What each metric takes besides.
    each: u32,
}

/// The metrics of a family.
#[derive(Clone, Copy, Debug)]
struct OfFamily {
    family: Family,
    metrics: u32,
    bytes: u32,
}

impl FamilyBytes {
    /// The same where each metric takes so much more.
    #[must_use]
    pub(crate) fn with_each(&self, bytes: usize) -> Self {
        Self {
            families: Arc::clone(&self.families),
            each: u32::try_from(bytes).unwrap_or(u32::MAX),
        }
    }

    /// Which families they are.
    #[must_use]
    pub fn families(&self) -> FamilySet {
        self.families.iter().map(|of| of.family).collect()
    }

    /// What those of these families take together.
    #[must_use]
    pub fn within(&self, families: FamilySet) -> usize {
        let within = |of: &&OfFamily| families.contains(of.family);
        self.sum(self.families.iter().filter(within))
    }

    /// What all take together.
    #[must_use]
    pub fn total(&self) -> usize {
        self.sum(self.families.iter())
    }

    /// What it takes in memory, in bytes.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&**self.families)
    }

    fn sum<'a>(&self, families: impl Iterator<Item = &'a OfFamily>) -> usize {
        let one = |of: &OfFamily| of.bytes as usize + of.metrics as usize * self.each as usize;
        families.map(one).sum()
    }
}

/// Adds them up, metric by metric.
#[derive(Debug, Default)]
pub(crate) struct FamilyBytesBuilder(Vec<OfFamily>);

impl FamilyBytesBuilder {
    /// Adds a metric of that family, which takes so many bytes. Those of one family mostly come one
    /// after the other.
    pub(crate) fn add(&mut self, family: Family, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        match self.0.iter_mut().rev().find(|of| of.family == family) {
            Some(of) => {
                of.metrics += 1;
                of.bytes = of.bytes.saturating_add(bytes);
            }
            None => self.0.push(OfFamily {
                family,
                metrics: 1,
                bytes,
            }),
        }
    }

    /// What it amounts to.
    pub(crate) fn done(self) -> FamilyBytes {
        FamilyBytes {
            families: Arc::new(self.0.into()),
            each: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::GridKind;

    #[test]
    fn what_a_source_reads_is_one_family() {
        assert_eq!(Family::of("mem.free"), Family::of("mem.total"));
        // By the source, not by the name.
        assert_ne!(Family::of("mem.free"), Family::of("mem.faults.total"));
        assert_eq!(
            Family::of("unit.restarts.total[a.service]"),
            Family::of("systemd.jobs")
        );
        assert_ne!(
            Family::of("unit.restarts.total[a.service]"),
            Family::of("unit.memory[a.service]")
        );
    }

    #[test]
    fn what_is_not_in_the_table_goes_by_its_beginning() {
        assert_eq!(
            Family::of("nginx.requests"),
            Family::of("nginx.errors[a.b]")
        );
        let known = Family::of("cpu.percent");
        for name in ["nginx.requests", "cpu", "cpu.made.up", "", "a[b.c]"] {
            assert_ne!(Family::of(name), known, "{name}");
            assert!(Family::of(name).index() < FAMILIES);
        }
        // The table leaves room for others.
        assert!(KNOWN.count < FAMILIES / 2);
    }

    #[test]
    fn a_grid_has_the_families_of_its_metrics() {
        let json = br#"{"cpu.percent": 1, "fs.size[/]": 1, "fs.size[/a]": 2, "x.y": 3}"#;
        let set = FamilySet::of(&Grid::parse(json, GridKind::Metrics).unwrap());
        let expected = ["cpu.percent", "fs.free", "x.z"].map(Family::of);
        assert_eq!(set, expected.into_iter().collect());
        assert_eq!(set.iter().count(), 3);
        assert!(!set.contains(Family::of("mem.free")));
        let cpu = FamilySet::from_iter([Family::of("cpu.percent")]);
        assert_eq!(set.common(cpu), cpu);
        assert!(!set.without(cpu).contains(Family::of("cpu.percent")));
        assert!(cpu.without(set).is_empty());
    }
}
