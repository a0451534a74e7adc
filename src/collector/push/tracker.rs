//! From messages to samples: which series a host has, and which it has no longer. Pure.
//!
//! Not every message holds every family of metrics, so what a host's series are is the last
//! word on each family, as in the table of hosts: grids are shared with it, no names are
//! kept. A series that its family is said again without, and every series of a host that is
//! gone, ends with one stale marker, so that engines don't show it for minutes.
//!
//! Of a host, each message has a later time than the one before, in whole milliseconds; so the
//! samples of each series have, too. Two messages of the same millisecond are 1 ms apart then:
//! none is dropped, and 1 ms makes no difference. It never runs ahead of the clock by more than
//! [`MAX_AHEAD`], however fast a host reports, and never sends one series twice within one
//! message, whatever its metrics are called: a receiver would refuse everything that was sent
//! with it.
//!
//! Samples of the second wire (history) have the time of their host, and come late where they
//! waited. None is dropped; what would go back in time is moved to 1 ms after its predecessor.
//! That such a host is up, or down, is the collector's own word, by its own clock, apart from
//! history. When the host is gone, its series end 1 ms after its last sample: what it brings later
//! is newer than that.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::queue::Item;
use super::telling::{Sample, Telling, Unique, cut, up};
use crate::collector::hosts::MAX_HOSTS;
use crate::collector::schemas::HostGrid;
use crate::metrics::families::{Family, FamilySet};
use crate::metrics::table::METRICS;
use crate::protocol::grid::{Grid, Value};
use crate::protocol::message::GridKind;

/// How often what a host said of itself is said again. It is sent once by an agent, and
/// engines forget a sample after 5 minutes.
const MODEL_AGAIN: i64 = 60_000;

/// What was said of a family so long ago needs no end: engines have forgotten it.
const FORGOTTEN: i64 = 5 * 60_000;

/// How far a host's time may be ahead of the clock. Messages of a host that reports a
/// thousand times a second for long, or of a clock that was set back a little, are dropped.
pub(super) const MAX_AHEAD: Duration = Duration::from_secs(1);

/// A clock that is back by so much was set. Samples have the new time from then on; it is
/// for the receiver to take or refuse them.
const SET_BACK: Duration = Duration::from_secs(60);

/// The result of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It was made into samples.
    Sampled,
    /// It was, at a later time than its own, by more than an interval of its host.
    Moved,
    /// It was not: its host is ahead of its time.
    Overtaken,
}

/// The series of all hosts.
#[derive(Debug, Default)]
pub(super) struct Tracker {
    hosts: HashMap<Arc<str>, Host>,
    /// The latest time that a host went: a host that appears later, the same one included, has
    /// a later time.
    floor: i64,
    /// Where the series of hosts have ended that went, as many as there may be hosts: history
    /// that comes later begins there.
    left: HashMap<Arc<str>, Left>,
    unique: Unique,
}

/// The end of a host's series.
#[derive(Clone, Copy, Debug)]
struct Left {
    last: i64,
    up: i64,
    history: bool,
}

#[derive(Debug)]
struct Host {
    /// The time of its last message.
    last: i64,
    /// When it was last said to be up.
    up: i64,
    /// Where its samples come on the second wire.
    history: Option<History>,
    model: Option<Model>,
    /// Each family is in one of them, or in several of one sample.
    parts: Vec<Part>,
}

/// What is known of a host on the second wire.
#[derive(Debug, Default)]
struct History {
    /// The time of its last sample as it came, and how much later it was than the one before.
    came: Option<i64>,
    interval: i64,
    /// A model, to be said with the next sample.
    waiting: Option<Arc<HostGrid>>,
}

#[derive(Debug)]
struct Model {
    grid: Arc<HostGrid>,
    /// When it was last sent.
    sent: i64,
    /// Whether it was sent as it came, with what metrics messages have again.
    whole: bool,
}

impl Model {
    /// Returns true if it may have said this metric of its own.
    fn has_said(&self, name: &str) -> bool {
        self.whole || steady(name)
    }
}

/// A message, and the families of which it is the last word.
#[derive(Debug)]
struct Part {
    grid: Arc<HostGrid>,
    families: FamilySet,
    time: i64,
}

impl Tracker {
    /// The samples that something amounts to, given to `out` one by one. An error of `out`
    /// ends it.
    pub(super) fn take<E>(
        &mut self,
        item: &Item,
        out: &mut impl FnMut(&Sample<'_>) -> Result<(), E>,
    ) -> Result<Taken, E> {
        self.unique.clear();
        match item {
            Item::Gone { host, time } => self.end(host, *time, out).map(|()| Taken::Sampled),
            Item::Message {
                host,
                kind,
                grid,
                time,
            } => self.message(host, *kind, grid, *time, out),
            Item::History {
                host, grids, time, ..
            } => self.history(host, grids, *time, out),
            Item::Up { host, time } => self.up(host, *time, out).map(|()| Taken::Sampled),
        }
    }

    fn message<E>(
        &mut self,
        host: &Arc<str>,
        kind: GridKind,
        grid: &Arc<HostGrid>,
        time: i64,
        out: &mut impl FnMut(&Sample<'_>) -> Result<(), E>,
    ) -> Result<Taken, E> {
        // The table of hosts has no more either; those beyond get no stale markers.
        let room = self.hosts.len() < MAX_HOSTS;
        let (floor, left) = (self.floor, &mut self.left);
        let known = self
            .hosts
            .entry(Arc::clone(host))
            .or_insert_with(|| match left.remove(host) {
                Some(left) if left.history => Host::new(floor.max(left.last), left.up),
                _ => Host::new(floor, floor),
            });
        match (&mut known.history, kind) {
            (Some(history), GridKind::Model) => {
                history.waiting = Some(Arc::clone(grid));
                return Ok(Taken::Sampled);
            }
            (history, _) => *history = None,
        }
        let Some(time) = later(known.last.max(known.up), time) else {
            return Ok(Taken::Overtaken);
        };
        known.last = time;
        known.up = time;
        let mut told = Telling {
            host,
            time,
            unique: &mut self.unique,
            out,
        };
        let done = told.up(true).and_then(|()| match kind {
            GridKind::Metrics => known.metrics(std::slice::from_ref(grid), None, &mut told),
            GridKind::Model => known.model(grid, &mut told),
        });
        if !room && self.hosts.len() > MAX_HOSTS {
            self.floor = self.floor.max(time);
            self.hosts.remove(host);
        }
        done.map(|()| Taken::Sampled)
    }

    /// A sample of the second wire.
    fn history<E>(
        &mut self,
        host: &Arc<str>,
        grids: &[Arc<HostGrid>],
        time: i64,
        out: &mut impl FnMut(&Sample<'_>) -> Result<(), E>,
    ) -> Result<Taken, E> {
        // One that was lost on its way.
        if grids.is_empty() {
            return Ok(Taken::Sampled);
        }
        let known = self.on_history(host);
        let history = known.history.get_or_insert_default();
        let interval = history.interval;
        let passed = history
            .came
            .replace(time)
            .map(|before| time.saturating_sub(before));
        if let Some(passed) = passed.filter(|passed| *passed > 0) {
            history.interval = passed;
        }
        let back = known.last.saturating_sub(time);
        let (time, taken) = match back {
            ..0 => (time, Taken::Sampled),
            _ if back > interval => (known.last.saturating_add(1), Taken::Moved),
            _ => (known.last.saturating_add(1), Taken::Sampled),
        };
        known.last = time;
        let waiting = history.waiting.take();
        let mut told = Telling {
            host,
            time,
            unique: &mut self.unique,
            out,
        };
        if let Some(known) = self.hosts.get_mut(host) {
            known.metrics(grids, waiting.as_ref(), &mut told)?;
        }
        self.bound(host);
        Ok(taken)
    }

    /// A host on the second wire was heard.
    fn up<E>(
        &mut self,
        host: &Arc<str>,
        time: i64,
        out: &mut impl FnMut(&Sample<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let known = self.on_history(host);
        let ahead = known.up.saturating_sub(time);
        let done = if (0..millis(SET_BACK)).contains(&ahead) {
            // It is said to be up at this time, or soon after.
            Ok(())
        } else {
            known.up = time;
            out(&up(host, true, time))
        };
        self.bound(host);
        done
    }

    fn on_history(&mut self, host: &Arc<str>) -> &mut Host {
        let left = &mut self.left;
        let known = self.hosts.entry(Arc::clone(host)).or_insert_with(|| {
            let left = left.remove(host);
            left.map_or(Host::new(i64::MIN, i64::MIN), |left| {
                Host::new(left.last, left.up)
            })
        });
        known.history.get_or_insert_default();
        known
    }

    /// The table of hosts has no more either; those beyond get no stale markers.
    fn bound(&mut self, host: &Arc<str>) {
        if self.hosts.len() > MAX_HOSTS {
            self.hosts.remove(host);
        }
    }

    /// A host is gone, and all of its series with it.
    fn end<E>(
        &mut self,
        name: &Arc<str>,
        time: i64,
        out: &mut impl FnMut(&Sample<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(host) = self.hosts.remove(name) else {
            return Ok(());
        };
        let history = host.history.is_some();
        // Its own samples may be later than what was last said of it by the collector's clock.
        let last = if history {
            host.up
        } else {
            host.up.max(host.last)
        };
        let down = later(last, time).unwrap_or(last.saturating_add(1));
        let time = if history {
            host.last.saturating_add(1)
        } else {
            self.floor = if down < self.floor.saturating_sub(millis(SET_BACK)) {
                down
            } else {
                self.floor.max(down)
            };
            down
        };
        if self.left.len() < MAX_HOSTS {
            let left = Left {
                last: time,
                up: down,
                history,
            };
            self.left.insert(Arc::clone(name), left);
        }
        out(&up(name, false, down))?;
        let mut told = Telling {
            host: name,
            time,
            unique: &mut self.unique,
            out,
        };
        for (number, part) in host.parts.iter().enumerate() {
            for (name, value) in part.iter() {
                if !is_in(&host.parts, number, name) {
                    told.stale(name, value)?;
                }
            }
        }
        let model = host.model.iter();
        let model =
            model.flat_map(|model| model.grid.iter().filter(|(name, _)| model.has_said(name)));
        for (name, value) in model {
            if !host.parts.iter().any(|part| part.has(name)) {
                told.stale(name, value)?;
            }
        }
        Ok(())
    }
}

impl Host {
    fn new(last: i64, up: i64) -> Self {
        Self {
            last,
            up,
            history: None,
            model: None,
            parts: Vec::new(),
        }
    }

    /// What changes: replaces the families that these hold together. With another model, that
    /// is said with them, but for what they say.
    fn metrics<E, F>(
        &mut self,
        grids: &[Arc<HostGrid>],
        model: Option<&Arc<HostGrid>>,
        told: &mut Telling<'_, F>,
    ) -> Result<(), E>
    where
        F: FnMut(&Sample<'_>) -> Result<(), E>,
    {
        let mut families = FamilySet::default();
        for (number, grid) in grids.iter().enumerate() {
            let own = FamilySet::of(grid);
            // Sources share no family; where they do, each metric is said once.
            let before = if families.common(own).is_empty() {
                &[]
            } else {
                grids.get(..number).unwrap_or_default()
            };
            told.all(grid, before)?;
            families = families.with(own);
        }
        let time = told.time;
        if let Some(model) = model {
            self.replace_model(model, false, grids, told)?;
        }
        for (number, part) in self.parts.iter().enumerate() {
            let again = part.families.common(families);
            // Nearly all messages that follow each other have the same.
            if again.is_empty() || grids.iter().any(|grid| part.grid.has_names_of(grid)) {
                continue;
            }
            let model = self.model.as_ref();
            let stays = |name: &str| {
                grids.iter().any(|grid| grid.get(name).is_some())
                    || model.is_some_and(|model| steady(name) && model.grid.get(name).is_some())
            };
            for (name, value) in within(&part.grid, again) {
                if !stays(name) && !is_in(&self.parts, number, name) {
                    told.stale(name, value)?;
                }
            }
        }
        for part in &mut self.parts {
            part.families = part.families.without(families);
        }
        // A clock that was set back makes a part look old; it is said again soon.
        self.parts
            .retain(|part| !part.families.is_empty() && (time - part.time).abs() < FORGOTTEN);
        for grid in grids {
            let families = FamilySet::of(grid);
            if !families.is_empty() {
                self.parts.push(Part {
                    grid: Arc::clone(grid),
                    families,
                    time,
                });
            }
        }
        self.model_again(told)
    }

    /// What the host said of itself is said again from time to time, but for what messages
    /// have again.
    fn model_again<E, F>(&mut self, told: &mut Telling<'_, F>) -> Result<(), E>
    where
        F: FnMut(&Sample<'_>) -> Result<(), E>,
    {
        let Some(model) = &mut self.model else {
            return Ok(());
        };
        if told.time.saturating_sub(model.sent).saturating_abs() < MODEL_AGAIN {
            return Ok(());
        }
        model.sent = told.time;
        for (name, value) in model.grid.iter() {
            if steady(name) && !self.parts.iter().any(|part| part.has(name)) {
                told.value(name, value)?;
            }
        }
        Ok(())
    }

    /// What rarely changes: replaces all that was.
    fn model<E, F>(&mut self, grid: &Arc<HostGrid>, told: &mut Telling<'_, F>) -> Result<(), E>
    where
        F: FnMut(&Sample<'_>) -> Result<(), E>,
    {
        told.all(grid, &[])?;
        self.replace_model(grid, true, &[], told)
    }

    /// Another model, which was sent just now as a whole, or is to be said next. What these say
    /// is not ended.
    fn replace_model<E, F>(
        &mut self,
        grid: &Arc<HostGrid>,
        whole: bool,
        said: &[Arc<HostGrid>],
        told: &mut Telling<'_, F>,
    ) -> Result<(), E>
    where
        F: FnMut(&Sample<'_>) -> Result<(), E>,
    {
        let old = self.model.take();
        for (name, value) in old.iter().flat_map(|old| old.grid.iter()) {
            let stays = match (value, grid.get(name)) {
                // Another text is another series.
                (Value::Text(old), Some(Value::Text(new))) => cut(old) == cut(new),
                (Value::Text(_), _) | (_, Some(Value::Text(_)) | None) => false,
                (_, Some(_)) => true,
            };
            let stays = stays && (whole || steady(name))
                || said.iter().any(|grid| grid.get(name).is_some())
                || !old.as_ref().is_some_and(|old| old.has_said(name));
            if !stays && !self.parts.iter().any(|part| part.has(name)) {
                told.stale(name, value)?;
            }
        }
        self.model = Some(Model {
            grid: Arc::clone(grid),
            sent: if whole {
                told.time
            } else {
                told.time.saturating_sub(MODEL_AGAIN)
            },
            whole,
        });
        Ok(())
    }
}

impl Part {
    /// Each metric of which it is the last word.
    fn iter(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        within(&self.grid, self.families)
    }

    fn has(&self, name: &str) -> bool {
        self.grid.get(name).is_some() && self.families.contains(Family::of(name))
    }
}

/// Returns true if one of the parts before this one is the last word on a metric, too.
fn is_in(parts: &[Part], number: usize, name: &str) -> bool {
    let before = parts.get(..number).unwrap_or_default();
    let families = parts
        .get(number)
        .map_or_else(FamilySet::default, |part| part.families);
    before
        .iter()
        .any(|part| !part.families.common(families).is_empty() && part.has(name))
}

/// The time of a host's next message, or None where it is too far ahead already.
fn later(last: i64, time: i64) -> Option<i64> {
    let ahead = last.saturating_sub(time);
    if ahead < 0 || ahead >= millis(SET_BACK) {
        Some(time)
    } else if ahead < millis(MAX_AHEAD) {
        Some(last + 1)
    } else {
        None
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// A grid's metrics of these families.
fn within(grid: &Grid, families: FamilySet) -> impl Iterator<Item = (&str, Value<'_>)> {
    let mut last: Option<(&str, bool)> = None;
    grid.iter().filter(move |(name, _)| {
        // Instances of one metric stand together.
        let plain = name.split_once('[').map_or(*name, |(plain, _)| plain);
        match last {
            Some((known, within)) if known == plain => within,
            _ => {
                let within = families.contains(Family::of(plain));
                last = Some((plain, within));
                within
            }
        }
    })
}

/// Whether a metric of a model holds until the next one: not what metrics messages have
/// again, such as the time since boot.
fn steady(name: &str) -> bool {
    static CHANGING: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        let changing = METRICS.iter().filter(|metric| metric.in_metrics);
        changing.map(|metric| metric.name).collect()
    });
    let plain = name.split_once('[').map_or(name, |(plain, _)| plain);
    !CHANGING.contains(plain)
}

#[cfg(test)]
mod tests;
