//! The weight of hosts: memory for their reports, and room at `/metrics`.
//!
//! Both are limited for all hosts together, for each key and for each connection, so that no
//! admitted agent can use up what the others need.

use std::fmt;

use thiserror::Error;

use crate::collector::prometheus::naming;
use crate::collector::schemas::HostGrid;
use crate::curve::keys::PublicKey;
use crate::metrics::families::{Family, FamilyBytes, FamilyBytesBuilder};
pub use crate::metrics::latest::Weight;
use crate::metrics::latest::grid_bytes;
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

/// What a small grid takes besides: its place among the latest metrics of its host, and what
/// allocating its parts takes.
const PART_BYTES: usize = 128;

/// The resource that exceeds a share, if any.
pub(super) fn beyond(weight: Weight, share: Weight) -> Option<Resource> {
    if weight.memory > share.memory {
        Some(Resource::Memory)
    } else if weight.text > share.text {
        Some(Resource::Text)
    } else {
        None
    }
}

/// A resource that has shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Memory for what hosts say.
    Memory,
    /// Room at `/metrics`.
    Text,
}

/// The holder of a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// All hosts of a key.
    Key,
    /// All hosts over a connection.
    Connection,
}

/// A report that would exceed the share of its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub struct OverShare {
    /// Whose share it is.
    pub holder: Holder,
    /// What it is a share of.
    pub resource: Resource,
    /// The sender's key.
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
            "the hosts of this {holder} have too many values (limit {mib} MiB {of})"
        )
    }
}

/// What a report of a host takes, with so many bytes on the wire; and at `/metrics`, by family.
pub(super) fn weigh(host: &str, grid: &HostGrid, wire_bytes: usize) -> (Weight, FamilyBytes) {
    let (memory, texts) = match grid.described() {
        Some(described) => (grid.bytes() + PART_BYTES, described.texts(host)),
        None => (grid_bytes(grid, wire_bytes), texts(host, grid)),
    };
    let text = texts.total();
    (Weight { memory, text }, texts)
}

/// What the families of what a host reports take at `/metrics`.
pub(super) fn texts(host: &str, grid: &Grid) -> FamilyBytes {
    let mut texts = FamilyBytesBuilder::default();
    let mut family = None;
    naming::for_each_text(host, grid, |name, bytes| {
        family = name.map(Family::of).or(family);
        if let Some(family) = family {
            texts.add(family, bytes);
        }
    });
    texts.done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::families::FamilySet;
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
            "the hosts of this key have too many values (limit 64 MiB at /metrics)"
        );
        let refusal = OverShare {
            holder: Holder::Connection,
            resource: Resource::Memory,
            key: None,
        };
        assert_eq!(
            refusal.to_string(),
            "the hosts of this connection have too many values (limit 16 MiB of memory)"
        );
    }

    #[test]
    fn texts_are_counted_by_family() {
        let text = br#"{"cpu.percent": 1, "mem.free": 2, "mem.total": 3, "x.a": 4, "x.b[c]": 5}"#;
        let grid = Grid::parse(text, GridKind::Metrics).unwrap();
        let texts = texts("web1", &grid);
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
