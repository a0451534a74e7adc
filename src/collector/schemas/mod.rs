//! Schemas of hosts: names that were said once, and what the collector knows of them.
//!
//! - [`Described`]: a schema with what follows from its names alone, found once;
//! - [`HostGrid`]: a host's grid as the collector keeps it and hands it on;
//! - [`Schemas`]: which are known, so that hosts with the same metrics share one.
//!
//! Keeps no schema that nothing else holds, and reads nothing of a peer: names are checked before.

mod described;
mod host_grid;
mod interner;

pub use described::Described;
pub use host_grid::HostGrid;
pub use interner::{MAX_SHARED_BYTES, MAX_SHARED_BYTES_OF_KEY, Schemas};

#[cfg(test)]
mod tests;
