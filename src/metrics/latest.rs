//! What a host's metrics messages say together: the latest values of each family of metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serializer as _;

use crate::metrics::families::{Family, FamilyBytes, FamilySet};
use crate::metrics::is_count;
use crate::metrics::table::SYS_UPTIME;
use crate::protocol::grid::{Grid, Value};

/// A family that was not repeated for so many of its own intervals is not current any more: the
/// agent cannot read it now, or does not any longer.
const MISSED: u32 = 3;

/// What was said stays current for so long at least, and for so long where it was said
/// once only: the longest interval that agents have by default is a minute.
const CURRENT_AT_LEAST: Duration = Duration::from_secs(90);

/// Most bytes of a host's metrics: twice what the largest message takes. A host that says
/// something else each time loses what it said first.
const MAX_HOST_BYTES: usize = 4 * 1024 * 1024;

/// What something costs, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// In memory, as [`grid_bytes`] counts.
    pub memory: usize,
    /// At `/metrics`, at most.
    pub text: usize,
}

impl Weight {
    pub(crate) const NONE: Self = Self { memory: 0, text: 0 };

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            memory: self.memory + other.memory,
            text: self.text + other.text,
        }
    }

    /// Never below nothing.
    pub(crate) fn minus(self, other: Self) -> Self {
        Self {
            memory: self.memory.saturating_sub(other.memory),
            text: self.text.saturating_sub(other.text),
        }
    }
}

/// What a grid takes in memory, in bytes, at most: the text of the message, and its
/// entries.
#[must_use]
pub fn grid_bytes(grid: &Grid, wire_bytes: usize) -> usize {
    const ENTRY_BYTES: usize = 24;
    wire_bytes + ENTRY_BYTES * grid.len()
}

/// A host's metrics, in grids or in what a grid is handed on in.
#[derive(Clone, Debug)]
pub struct LatestMetrics<G = Grid> {
    /// The latest message last. Each family is in one of them.
    parts: Vec<Part<G>>,
    /// By family: the time between the last two messages that held it, in seconds.
    intervals: Option<Box<[u16; 64]>>,
}

impl<G> Default for LatestMetrics<G> {
    fn default() -> Self {
        Self {
            parts: Vec::new(),
            intervals: None,
        }
    }
}

/// A grid of a message, and the families for which it is the latest. A host has some twenty of them.
#[derive(Clone, Debug)]
pub struct Part<G = Grid> {
    grid: Arc<G>,
    families: FamilySet,
    /// What each of its families takes at `/metrics`, where that is counted.
    texts: FamilyBytes,
    message: Arc<Message>,
    bytes: u32,
    /// True if these are all that the grid has.
    whole: bool,
}

/// What the grids of one message have in common.
#[derive(Clone, Copy, Debug)]
struct Message {
    heard: Instant,
    /// It has several grids, which are told together.
    together: bool,
    /// What they say then of the time since boot.
    uptime: Option<Value<'static>>,
}

/// What a message says in one grid.
#[derive(Clone, Debug)]
pub(crate) struct Said<G> {
    pub(crate) grid: Arc<G>,
    pub(crate) families: FamilySet,
    /// What it takes in memory.
    pub(crate) bytes: usize,
    /// What it takes at `/metrics`, where that is counted.
    pub(crate) texts: FamilyBytes,
}

/// A number, which borrows from nothing.
fn number(value: Value<'_>) -> Option<Value<'static>> {
    match value {
        Value::Unsigned(number) => Some(Value::Unsigned(number)),
        Value::Signed(number) => Some(Value::Signed(number)),
        Value::Float(number) => Some(Value::Float(number)),
        Value::Text(_) => None,
    }
}

impl<G: AsRef<Grid>> Part<G> {
    /// Each of its metrics for which it is the latest, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.numbered().map(|(_, metric)| metric)
    }

    /// The same, each with its place in the [`grid`](Self::grid).
    pub fn numbered(&self) -> impl Iterator<Item = (usize, (&str, Value<'_>))> {
        self.said()
            .numbered()
            .filter(|(_, (name, _))| self.whole || self.families.contains(Family::of(name)))
    }

    /// Returns true if it is the latest value of this metric.
    #[must_use]
    pub fn is_last_word_on(&self, name: &str) -> bool {
        self.whole || self.families.contains(Family::of(name))
    }

    /// All that the message said, latest or not.
    #[must_use]
    pub fn grid(&self) -> &Arc<G> {
        &self.grid
    }

    fn said(&self) -> &Grid {
        (*self.grid).as_ref()
    }

    /// When it was said.
    #[must_use]
    pub fn heard(&self) -> Instant {
        self.message.heard
    }

    /// What its message said of the time since boot.
    fn uptime(&self) -> Option<Value<'_>> {
        self.said().get(SYS_UPTIME.name).or(self.message.uptime)
    }
}

impl<G: AsRef<Grid>> LatestMetrics<G> {
    /// What these messages say together, which came at that time one after the other.
    #[must_use]
    pub fn of(now: Instant, grids: impl IntoIterator<Item = Arc<G>>) -> Self {
        let mut merged = Self::default();
        for grid in grids {
            let families = FamilySet::of((*grid).as_ref());
            merged.take(now, grid, families, 0);
        }
        merged
    }

    /// Takes a message's grid, which has these families and takes `bytes` of memory.
    pub(crate) fn take(&mut self, now: Instant, grid: Arc<G>, families: FamilySet, bytes: usize) {
        let texts = FamilyBytes::default();
        let said = Said {
            grid,
            families,
            bytes,
            texts,
        };
        self.take_all(now, vec![said]);
    }

    /// Takes what one message says in several grids.
    pub(crate) fn take_all(&mut self, now: Instant, said: Vec<Said<G>>) {
        let families = said
            .iter()
            .fold(FamilySet::default(), |all, said| all.with(said.families));
        for part in &mut self.parts {
            let again = part.families.common(families);
            if again.is_empty() {
                continue;
            }
            let passed = now.saturating_duration_since(part.heard()).as_secs_f64();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "`as` saturates, which is what is wanted; the time is not negative"
            )]
            let passed = passed.ceil() as u16;
            let intervals = self.intervals.get_or_insert_with(|| Box::new([0; 64]));
            for family in again.iter() {
                if let Some(interval) = intervals.get_mut(family.index()) {
                    *interval = passed;
                }
            }
            part.families = part.families.without(again);
            part.whole = false;
        }
        self.parts.retain(|part| !part.families.is_empty());
        let mut uptimes = said.iter();
        let uptime = uptimes.find_map(|said| (*said.grid).as_ref().get(SYS_UPTIME.name));
        let together = said.len() > 1;
        let uptime = uptime.and_then(number).filter(|_| together);
        let message = Arc::new(Message {
            heard: now,
            together,
            uptime,
        });
        // Most hosts say the same grids each time.
        self.parts.reserve_exact(said.len());
        for said in said {
            if !said.families.is_empty() {
                self.parts.push(Part {
                    grid: said.grid,
                    families: said.families,
                    texts: said.texts,
                    message: Arc::clone(&message),
                    bytes: u32::try_from(said.bytes).unwrap_or(u32::MAX),
                    whole: true,
                });
            }
        }
        while self.bytes() > MAX_HOST_BYTES && self.parts.len() > 1 {
            self.parts.remove(0);
        }
    }

    /// Takes from another's part all values of these families for which that part is the latest
    /// there.
    pub(crate) fn take_part(&mut self, part: &Part<G>, families: FamilySet) {
        let whole = part.whole && part.families == families;
        let (grid, bytes) = (Arc::clone(&part.grid), part.bytes as usize);
        self.take(part.heard(), grid, families, bytes);
        if let Some(taken) = self.parts.last_mut() {
            taken.whole = whole;
            taken.message = Arc::clone(&part.message);
        }
    }

    /// What a message with these families replaces: each message that is the latest for some of
    /// them now, with those.
    pub(crate) fn replaced_by(
        &self,
        families: FamilySet,
    ) -> impl Iterator<Item = (&Part<G>, FamilySet)> {
        let again = move |part: &Part<G>| part.families.common(families);
        self.parts
            .iter()
            .map(move |part| (part, again(part)))
            .filter(|(_, again)| !again.is_empty())
    }

    /// Lets go of what is not current any more.
    pub(crate) fn expire(&mut self, now: Instant) {
        let intervals = self.intervals.as_deref();
        for part in &mut self.parts {
            let age = now.saturating_duration_since(part.heard());
            if age <= CURRENT_AT_LEAST {
                continue;
            }
            let over = part.families.iter().filter(|family| {
                let interval = intervals.and_then(|all| all.get(family.index()).copied());
                age > MISSED * Duration::from_secs(interval.unwrap_or(0).into())
            });
            let over: FamilySet = over.collect();
            if !over.is_empty() {
                part.families = part.families.without(over);
                part.whole = false;
            }
        }
        self.parts.retain(|part| !part.families.is_empty());
    }

    /// The messages that are the latest for some family, the newest last.
    #[must_use]
    pub fn parts(&self) -> &[Part<G>] {
        &self.parts
    }

    /// Each metric, in the order of the parts, there sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.parts.iter().flat_map(Part::iter)
    }

    /// The value of a metric.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        let family = Family::of(name);
        let mut parts = self.parts.iter();
        // Several grids of one message may have the same family.
        parts.find_map(|part| {
            let known = part.families.contains(family);
            known.then(|| part.said().get(name)).flatten()
        })
    }

    /// Writes as JSON into `out` what the oldest message before that time is the latest for, beside
    /// families that are `told` already. Returns its families; None where there is no such message.
    /// Counts are left out if a later message has come since: its receiver compares them with a
    /// wrong time.
    pub(crate) fn write_next(
        &self,
        before: Instant,
        told: FamilySet,
        out: &mut Vec<u8>,
    ) -> Option<FamilySet> {
        let is_next =
            |part: &&Part<G>| part.heard() < before && part.families.common(told).is_empty();
        let first = self.parts.iter().find(is_next)?;
        let message = || {
            self.parts.iter().filter(is_next).filter(|part| {
                let (this, that) = (&part.message, &first.message);
                let with_first = that.together && this.together && this.heard == that.heard;
                with_first || std::ptr::eq(*part, first)
            })
        };
        let families = message().fold(FamilySet::default(), |all, part| all.with(part.families));
        let mut json = serde_json::Serializer::new(out);
        // Writing to a vector does not fail, and values of a grid can always be serialized.
        let _ = if self.parts.iter().all(|part| part.heard() < before) {
            // For somebody who was told nothing after it: with the uptime of its sender, by which counts
            // are compared.
            let latest = message().any(|part| {
                part.is_last_word_on(SYS_UPTIME.name) && part.said().get(SYS_UPTIME.name).is_some()
            });
            let uptime = first.uptime().filter(|_| !latest);
            let uptime = uptime.map(|uptime| (SYS_UPTIME.name, uptime));
            json.collect_map(message().flat_map(Part::iter).chain(uptime))
        } else {
            let all = message().flat_map(Part::iter);
            json.collect_map(all.filter(|(name, _)| !is_count(name)))
        };
        Some(families)
    }

    /// The same without what only later messages need.
    pub(crate) fn shown(&self) -> Self
    where
        G: Clone,
    {
        Self {
            parts: self.parts.clone(),
            intervals: None,
        }
    }

    /// What the messages would still take once these families are said again.
    pub(crate) fn weight_without(&self, families: FamilySet) -> Weight {
        let mut weight = Weight::NONE;
        for part in &self.parts {
            let stay = part.families.without(families);
            if !stay.is_empty() {
                weight.memory += part.bytes as usize;
                weight.text += part.texts.within(stay);
            }
        }
        weight
    }

    /// What the messages take.
    pub(crate) fn weight(&self) -> Weight {
        self.weight_without(FamilySet::default())
    }

    /// What the messages take in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.bytes as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::GridKind;

    fn grid(text: &str) -> Arc<Grid> {
        Arc::new(Grid::parse(text.as_bytes(), GridKind::Metrics).unwrap())
    }

    fn take(merged: &mut LatestMetrics, now: Instant, text: &str, bytes: usize) {
        let grid = grid(text);
        let families = FamilySet::of(&grid);
        let without = merged.weight_without(families).memory;
        merged.take(now, grid, families, bytes);
        let kept = if families.is_empty() { 0 } else { bytes };
        assert_eq!(merged.bytes(), without + kept);
    }

    fn names(merged: &LatestMetrics) -> Vec<String> {
        let mut names: Vec<_> = merged.iter().map(|(name, _)| name.to_owned()).collect();
        names.sort();
        names
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_message_replaces_its_families_and_no_other() {
        let start = Instant::now();
        let mut merged = LatestMetrics::default();
        take(
            &mut merged,
            start,
            r#"{"cpu.percent":1,"fs.size[/]":1,"fs.size[/mnt]":2}"#,
            100,
        );
        take(&mut merged, start + 5 * SECOND, r#"{"cpu.percent":2}"#, 30);
        assert_eq!(
            names(&merged),
            ["cpu.percent", "fs.size[/]", "fs.size[/mnt]"]
        );
        assert_eq!(merged.get("cpu.percent"), Some(Value::Unsigned(2)));
        assert_eq!(merged.get("fs.size[/mnt]"), Some(Value::Unsigned(2)));
        assert_eq!(merged.bytes(), 130);
        // A mount that is not there any more.
        take(
            &mut merged,
            start + 15 * SECOND,
            r#"{"cpu.percent":3,"fs.size[/]":1}"#,
            50,
        );
        assert_eq!(names(&merged), ["cpu.percent", "fs.size[/]"]);
        assert_eq!(merged.get("fs.size[/mnt]"), None);
        assert_eq!(merged.bytes(), 50);
        assert_eq!(merged.parts().len(), 1);
    }

    #[test]
    fn what_is_not_said_again_is_not_current() {
        let start = Instant::now();
        let mut merged = LatestMetrics::default();
        take(&mut merged, start, r#"{"fs.size[/]":1,"mem.free":1}"#, 1);
        let later = start + 60 * SECOND;
        take(&mut merged, later, r#"{"fs.size[/]":1}"#, 1);
        // Said once, and not for the time that anything stays.
        merged.expire(start + CURRENT_AT_LEAST);
        assert_eq!(names(&merged), ["fs.size[/]", "mem.free"]);
        merged.expire(start + CURRENT_AT_LEAST + SECOND);
        assert_eq!(names(&merged), ["fs.size[/]"]);
        // Every minute so far.
        merged.expire(later + 180 * SECOND);
        assert_eq!(names(&merged), ["fs.size[/]"]);
        merged.expire(later + 181 * SECOND);
        assert!(names(&merged).is_empty());
        assert_eq!(merged.bytes(), 0);
    }

    /// Each message that is written, with the families of those before left out.
    fn written(merged: &LatestMetrics, before: Instant) -> Vec<String> {
        let mut told = FamilySet::default();
        let mut all = Vec::new();
        loop {
            let mut text = Vec::new();
            let Some(families) = merged.write_next(before, told, &mut text) else {
                return all;
            };
            told = told.with(families);
            all.push(String::from_utf8(text).unwrap());
        }
    }

    #[test]
    fn the_latest_of_all_is_written_with_the_time_that_it_is_of() {
        let start = Instant::now();
        let mut merged = LatestMetrics::default();
        let fast = |number: u32| {
            format!(
                r#"{{"cpu.percent":{number},"net.rx.bytes.total[eth0]":{number},"sys.uptime":{number}}}"#
            )
        };
        let all = r#"{"cpu.percent":1,"disk.reads.total[sda]":7,"fs.size[/]":9,"sys.uptime":1}"#;
        take(&mut merged, start, all, 1);
        take(&mut merged, start + SECOND, &fast(2), 1);
        take(&mut merged, start + 2 * SECOND, &fast(3), 1);
        let slow = r#"{"disk.reads.total[sda]":7,"fs.size[/]":9,"sys.uptime":1}"#;
        let before = start + 3 * SECOND;
        assert_eq!(written(&merged, before), [slow, &fast(3)]);
        assert_eq!(written(&LatestMetrics::default(), before), [""; 0]);
        assert_eq!(written(&merged, start), [""; 0]);
        // It has seen a later one already: no count goes with the time of another message.
        take(&mut merged, before, &fast(4), 1);
        assert_eq!(written(&merged, before), [r#"{"fs.size[/]":9}"#]);
    }

    #[test]
    fn an_empty_message_says_nothing() {
        let mut merged = LatestMetrics::default();
        take(&mut merged, Instant::now(), "{}", 10);
        assert_eq!(merged.bytes(), 0);
        assert_eq!(merged.iter().count(), 0);
    }

    #[test]
    fn ever_new_families_are_bounded() {
        let start = Instant::now();
        let mut merged = LatestMetrics::default();
        for number in 0..1000 {
            let text = format!(r#"{{"made{number}.up":1}}"#);
            take(&mut merged, start, &text, 10);
            assert!(merged.parts().len() <= 64);
        }
        for number in 0..20 {
            let families = FamilySet::from_iter([Family::of(&format!("made{number}"))]);
            merged.take(start, Arc::default(), families, MAX_HOST_BYTES / 3);
            assert!(merged.bytes() <= MAX_HOST_BYTES);
        }
        merged.take(
            start,
            Arc::default(),
            FamilySet::of(&grid(r#"{"a": 1}"#)),
            MAX_HOST_BYTES + 1,
        );
        assert_eq!(merged.parts().len(), 1);
    }
}
