//! What hosts cost: memory for what they say, and room at `/metrics`.
//!
//! Both are bounded for all together, for each key and for each connection, so that nobody
//! who may report can take what the others need.

use std::fmt;

use thiserror::Error;

use crate::collector::prometheus::naming;
use crate::curve::keys::PublicKey;
use crate::metrics::families::{Family, FamilySet};
use crate::protocol::grid::Grid;

const MIB: usize = 1024 * 1024;

/// What the hosts of one key may take, in memory and as text at `/metrics`: an eighth of
/// what all may take. A relay's thousand hosts with 50 KiB each have room in it, and a
/// scrape of that size takes a part of a second.
pub const KEY_SHARE: Weight = Weight {
    memory: 64 * MIB,
    text: 64 * MIB,
};

/// The same for one connection: the hundred hosts that it may report have room, and so has
/// one host that says as much as a host may.
pub const CONNECTION_SHARE: Weight = Weight {
    memory: 16 * MIB,
    text: 16 * MIB,
};

/// What something costs, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// In memory, as [`grid_bytes`](super::grid_bytes) counts.
    pub memory: usize,
    /// At `/metrics`, at most.
    pub text: usize,
}

impl Weight {
    pub(super) const NONE: Self = Self { memory: 0, text: 0 };

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            memory: self.memory + other.memory,
            text: self.text + other.text,
        }
    }

    /// Never below nothing.
    pub(super) fn minus(self, other: Self) -> Self {
        Self {
            memory: self.memory.saturating_sub(other.memory),
            text: self.text.saturating_sub(other.text),
        }
    }

    /// What of it goes beyond a share, if anything does.
    pub(super) fn beyond(self, share: Self) -> Option<Resource> {
        if self.memory > share.memory {
            Some(Resource::Memory)
        } else if self.text > share.text {
            Some(Resource::Text)
        } else {
            None
        }
    }
}

/// What there is a share of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Memory for what hosts say.
    Memory,
    /// Room at `/metrics`.
    Text,
}

/// Who has a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// All hosts of a key.
    Key,
    /// All hosts over a connection.
    Connection,
}

/// A report that would take more than the share of who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub struct OverShare {
    /// Whose share it is.
    pub holder: Holder,
    /// What it is a share of.
    pub resource: Resource,
    /// The key of who sent it.
    pub key: Option<PublicKey>,
}

impl fmt::Display for OverShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (holder, share) = match self.holder {
            Holder::Key => ("key", KEY_SHARE),
            Holder::Connection => ("connection", CONNECTION_SHARE),
        };
        let (bytes, of) = match self.resource {
            Resource::Memory => (share.memory, "of memory"),
            Resource::Text => (share.text, "at /metrics"),
        };
        let mib = bytes / MIB;
        write!(
            f,
            "a grid beyond the {mib} MiB {of} that the hosts of one {holder} may take"
        )
    }
}

/// What a grid's families take at `/metrics`, in bytes, each.
#[derive(Clone, Debug, Default)]
pub(crate) struct FamilyTexts(Box<[(Family, u32)]>);

impl FamilyTexts {
    /// Those of what a host reports.
    pub(super) fn of(host: &str, grid: &Grid) -> Self {
        let mut texts: Vec<(Family, u32)> = Vec::new();
        let mut at = 0;
        naming::for_each_text(host, grid, |name, bytes| {
            // Instances of one metric stand together, and mostly those of one family.
            if let Some(name) = name {
                let family = Family::of(name);
                at = texts
                    .iter()
                    .position(|(known, _)| *known == family)
                    .unwrap_or_else(|| {
                        texts.push((family, 0));
                        texts.len() - 1
                    });
            }
            if let Some((_, sum)) = texts.get_mut(at) {
                *sum = sum.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
            }
        });
        Self(texts.into())
    }

    /// Which families they are.
    pub(super) fn families(&self) -> FamilySet {
        self.0.iter().map(|(family, _)| *family).collect()
    }

    /// What those of these families take together.
    pub(super) fn within(&self, families: FamilySet) -> usize {
        let within = self
            .0
            .iter()
            .filter(|(family, _)| families.contains(*family));
        within.map(|(_, bytes)| *bytes as usize).sum()
    }

    /// What all take together.
    pub(super) fn total(&self) -> usize {
        self.0.iter().map(|(_, bytes)| *bytes as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::GridKind;

    #[test]
    fn a_refusal_names_the_share() {
        let key = PublicKey::from_bytes([7; 32]);
        let refusal = OverShare {
            holder: Holder::Key,
            resource: Resource::Text,
            key: Some(key),
        };
        assert_eq!(
            refusal.to_string(),
            "a grid beyond the 64 MiB at /metrics that the hosts of one key may take"
        );
        let refusal = OverShare {
            holder: Holder::Connection,
            resource: Resource::Memory,
            key: None,
        };
        assert_eq!(
            refusal.to_string(),
            "a grid beyond the 16 MiB of memory that the hosts of one connection may take"
        );
    }

    #[test]
    fn texts_are_counted_by_family() {
        let text = br#"{"cpu.percent": 1, "mem.free": 2, "mem.total": 3, "x.a": 4, "x.b[c]": 5}"#;
        let grid = Grid::parse(text, GridKind::Metrics).unwrap();
        let texts = FamilyTexts::of("web1", &grid);
        let families = FamilySet::of(&grid);
        assert_eq!(texts.families(), families);
        assert_eq!(texts.within(families), texts.total());
        let parts: usize = families
            .iter()
            .map(|family| texts.within([family].into_iter().collect()))
            .sum();
        assert_eq!(parts, texts.total());
        let mem = texts.within([Family::of("mem.free")].into_iter().collect());
        assert!(mem > 2 * "metrics_agent_mem_free_bytes{host=\"web1\"} 2\n".len());
    }
}
