//! Writes a snapshot of all hosts in the text format, piece by piece.
//!
//! [`Exposition::begin`] sorts all series by family, and takes 12 bytes for each; the grids
//! stay where they are. [`Exposition::fill`] then writes as much as there is room for, so
//! that who sends it needs no more memory than for one piece. Both are work for a thread
//! of its own: a thousand hosts are tens of megabytes.
//!
//! A host that does not report has its presence and when it was last heard from, and
//! nothing else: its last values would pass for current ones.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::naming::{Family, LAST_SEEN, Naming, Series, UP, is_in_metrics};
use super::own::{Figure, LEFT_OUT, of_snapshot, since_1970};
use super::text::{escaped, head, host_series, own_series, plain_host_series};
use crate::collector::hosts::snapshot::{HostSnapshot, Presence, Snapshot};

/// How much is written before who sends it gets its turn. Large enough that handing it
/// over costs nothing, small enough that several wait without being noticed.
pub const PIECE_BYTES: usize = 64 * 1024;

/// All that there is to scrape, and how much of it is written. Clones share the series, and go on
/// from where the original was.
#[derive(Clone, Debug)]
pub struct Exposition {
    all: Arc<All>,
    /// The group that is being written.
    group: usize,
    /// How many series of it are.
    written: usize,
}

/// The series.
#[derive(Debug)]
struct All {
    snapshot: Snapshot,
    /// The names of the hosts, as they stand between quotes.
    hosts: Vec<String>,
    figures: Vec<Figure>,
    /// Sorted by family.
    entries: Vec<Entry>,
    /// Sorted by name.
    groups: Vec<Group>,
}

/// A metric of a host.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The number of its family: in order of appearance, later by name.
    family: u32,
    host: u32,
    part: Part,
    place: u16,
}

/// Which of a host's grids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Model,
    Metrics(u8),
}

/// The series of one family.
#[derive(Debug)]
struct Group {
    family: Cow<'static, Family>,
    series: Which,
}

#[derive(Clone, Debug)]
enum Which {
    Up,
    LastSeen,
    /// Of the entries.
    Metrics(Range<usize>),
    /// Of the figures.
    Own(Range<usize>),
}

impl Exposition {
    /// What this snapshot holds, and what the collector says of itself.
    #[must_use]
    pub fn begin(snapshot: Snapshot, mut figures: Vec<Figure>) -> Self {
        let Index {
            families,
            mut entries,
            left_out,
            ..
        } = Index::of(&snapshot);
        figures.extend(of_snapshot(&snapshot));
        figures.push(Figure::plain(&LEFT_OUT, left_out));
        let mut groups = groups_of(families, &mut entries);
        groups.extend(own_groups(&mut figures));
        if !snapshot.hosts.is_empty() {
            groups.extend([(&*UP, Which::Up), (&*LAST_SEEN, Which::LastSeen)].map(
                |(family, series)| Group {
                    family: Cow::Borrowed(family),
                    series,
                },
            ));
        }
        groups.sort_by(|a, b| a.family.name.cmp(&b.family.name));
        let all = All {
            hosts: snapshot
                .hosts
                .iter()
                .map(|host| escaped(&host.name))
                .collect(),
            snapshot,
            figures,
            entries,
            groups,
        };
        Self {
            all: Arc::new(all),
            group: 0,
            written: 0,
        }
    }

    /// Writes more of it behind what is in `out`, a piece at most; whether that was all.
    pub fn fill(&mut self, out: &mut Vec<u8>) -> bool {
        let all = Arc::clone(&self.all);
        while let Some(group) = all.groups.get(self.group) {
            let series = all.series(group);
            if self.written == 0 {
                let Family { name, kind, help } = &*group.family;
                head(out, name, *kind, help);
            }
            while self.written < series {
                all.write(out, group, self.written);
                self.written += 1;
                if out.len() >= PIECE_BYTES {
                    return false;
                }
            }
            self.group += 1;
            self.written = 0;
        }
        true
    }
}

impl All {
    /// How many series a family has.
    fn series(&self, group: &Group) -> usize {
        match &group.series {
            Which::Up | Which::LastSeen => self.snapshot.hosts.len(),
            Which::Metrics(range) | Which::Own(range) => range.len(),
        }
    }

    /// Writes the series that has this number in its family.
    fn write(&self, out: &mut Vec<u8>, group: &Group, at: usize) -> Option<()> {
        let host = |at: usize| self.snapshot.hosts.get(at).zip(self.hosts.get(at));
        match &group.series {
            Which::Up => {
                let (host, name) = host(at)?;
                let up = u64::from(host.presence == Presence::Reporting);
                plain_host_series(out, &group.family, name, up.into());
            }
            Which::LastSeen => {
                let (host, name) = host(at)?;
                let time = self.snapshot.taken.checked_sub(host.silence)?;
                plain_host_series(out, &group.family, name, since_1970(time));
            }
            Which::Metrics(range) => {
                let entry = self.entries.get(range.clone())?.get(at)?;
                let (host, name) = host(entry.host as usize)?;
                host_series(out, name, &entry.of(host)?);
            }
            Which::Own(range) => {
                let figure = self.figures.get(range.clone())?.get(at)?;
                let values = figure.instances.iter().map(|value| &**value);
                let labels: Vec<_> = figure.of.labels.iter().copied().zip(values).collect();
                own_series(out, figure.of.name, &labels, figure.number);
            }
        }
        Some(())
    }
}

impl Entry {
    /// What it stands for.
    fn of(self, host: &HostSnapshot) -> Option<Series<'_>> {
        let grid = match self.part {
            Part::Model => host.model.as_ref()?,
            Part::Metrics(part) => host.metrics.parts().get(usize::from(part))?.grid(),
        };
        let place = self.place.into();
        grid.series(place, grid.at(place)?)
    }
}

/// Every series of the hosts that report.
#[derive(Default)]
struct Index {
    /// In order of appearance.
    families: Vec<Cow<'static, Family>>,
    numbers: HashMap<Cow<'static, str>, u32>,
    entries: Vec<Entry>,
    left_out: u64,
}

impl Index {
    fn of(snapshot: &Snapshot) -> Self {
        let mut index = Self::default();
        let mut naming = Naming::default();
        for (number, host) in (0_u32..).zip(&snapshot.hosts) {
            if host.presence != Presence::Reporting {
                continue;
            }
            naming.begin();
            for (part, said) in (0_u8..).zip(host.metrics.parts()) {
                for (place, metric) in said.numbered() {
                    let series = naming.first(said.grid().series(place, metric));
                    index.add(number, (Part::Metrics(part), place), series);
                }
            }
            for (place, (name, value)) in host.model.iter().flat_map(|model| model.numbered()) {
                // What both kinds of messages have is current in the metrics alone.
                if !is_in_metrics(name) && host.metrics.get(name).is_none() {
                    let series = naming.series(name, value);
                    index.add(number, (Part::Model, place), series);
                }
            }
        }
        index.left_out = naming.clashes();
        index
    }

    fn add(&mut self, host: u32, (part, place): (Part, usize), series: Option<Series<'_>>) {
        let Some(series) = series else {
            return;
        };
        let family = match self.numbers.get(series.family.name.as_str()) {
            Some(number) => *number,
            None => self.new_family(series.family.into_static()),
        };
        // A grid has at most MAX_METRICS.
        if let Ok(place) = place.try_into() {
            self.entries.push(Entry {
                family,
                host,
                part,
                place,
            });
        }
    }

    fn new_family(&mut self, family: Cow<'static, Family>) -> u32 {
        // The table of hosts is bounded far below that in bytes.
        let number = u32::try_from(self.families.len()).unwrap_or(u32::MAX);
        let name = match &family {
            Cow::Borrowed(family) => Cow::Borrowed(family.name.as_str()),
            Cow::Owned(family) => Cow::Owned(family.name.clone()),
        };
        self.numbers.insert(name, number);
        self.families.push(family);
        number
    }
}

/// The groups of these families, and the entries in their order.
fn groups_of(families: Vec<Cow<'static, Family>>, entries: &mut [Entry]) -> Vec<Group> {
    let mut order: Vec<_> = (0_u32..).zip(families).collect();
    order.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    let mut ranks = vec![0; order.len()];
    for (rank, (number, _)) in (0..).zip(&order) {
        if let Some(place) = ranks.get_mut(*number as usize) {
            *place = rank;
        }
    }
    for entry in entries.iter_mut() {
        entry.family = ranks.get(entry.family as usize).copied().unwrap_or(0);
    }
    // Stable: hosts stay in their order, and so do the instances of each.
    entries.sort_by_key(|entry| entry.family);
    let mut runs = entries.chunk_by(|a, b| a.family == b.family);
    let mut end = 0;
    // Every family came with an entry.
    order
        .into_iter()
        .map(|(_, family)| {
            let start = end;
            end += runs.next().map_or(0, <[Entry]>::len);
            Group {
                family,
                series: Which::Metrics(start..end),
            }
        })
        .collect()
}

/// The groups of the collector's own figures, and those in their order.
fn own_groups(figures: &mut [Figure]) -> Vec<Group> {
    figures.sort_by_key(|figure| figure.of.name);
    let mut end = 0;
    figures
        .chunk_by(|a, b| a.of == b.of)
        .filter_map(|run| {
            let start = end;
            end += run.len();
            let own = run.first()?.of;
            let family = Family {
                name: own.name.to_owned(),
                kind: own.kind,
                help: own.help,
            };
            Some(Group {
                family: Cow::Owned(family),
                series: Which::Own(start..end),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
