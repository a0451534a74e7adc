//! What the collector still knows after a restart: its hosts and their models.
//!
//! One file, [`FILE_NAME`], in the state directory. It is replaced whole: a crash or a
//! power cut leaves the old one or the new one ([`mod@file`]). Reading it is bounded and total:
//! a line that is no good costs that host, a file that is no good costs the hosts, and
//! neither the start ([`mod@format`]). A thread writes it ([`writer`]), when
//! [`Pace`] says so.
//!
//! Refuses to keep what hosts measured: that is old after a restart. Without a state
//! directory, as in a run by hand, nothing is kept.

pub mod file;
pub mod format;
pub mod writer;

use std::path::PathBuf;
use std::{
    ffi::OsString,
    time::{Duration, Instant},
};

pub use file::restore;
pub use writer::{Outcome, Writer};

/// The file's name in the state directory.
pub const FILE_NAME: &str = "hosts";

/// Where the state is kept: the first of `STATE_DIRECTORY`, which has several, joined by
/// colons, where the unit names several (systemd.exec(5)).
#[must_use]
pub fn directory(variable: Option<OsString>) -> Option<PathBuf> {
    std::env::split_paths(&variable?).find(|path| path.is_absolute())
}

/// Minimum interval between two writings: a host that appears or goes just after one waits this
/// long, and a crash loses its change.
pub const CHANGED_INTERVAL: Duration = Duration::from_secs(60);

/// Between two writings where nothing has changed but when hosts were last heard from. A
/// large fleet's file has 50 MB, and a disk is not worn out for that.
pub const SEEN_INTERVAL: Duration = Duration::from_secs(3600);

/// When to write next.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    written: Instant,
    changed: bool,
    seen: bool,
    busy: bool,
}

impl Pace {
    /// What is kept is what there is.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self {
            written: now,
            changed: false,
            seen: false,
            busy: false,
        }
    }

    /// A host was heard from.
    pub fn seen(&mut self) {
        self.seen = true;
    }

    /// Records that a host appeared, moved, went, or sent its model.
    pub fn changed(&mut self) {
        self.changed = true;
    }

    /// When to write next, as things are.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let interval = match self {
            Self { busy: true, .. } => return None,
            Self { changed: true, .. } => CHANGED_INTERVAL,
            Self { seen: true, .. } => SEEN_INTERVAL,
            Self { .. } => return None,
        };
        Some(self.written + interval)
    }

    /// Returns true if something has changed since the file was written.
    #[must_use]
    pub fn anything_new(&self) -> bool {
        self.changed || self.seen
    }

    /// Writing has begun.
    pub fn begun(&mut self, now: Instant) {
        *self = Self {
            busy: true,
            ..Self::new(now)
        };
    }

    /// Writing has ended. Where it failed there is as much to write as before.
    pub fn ended(&mut self, kept: bool) {
        self.busy = false;
        self.changed |= !kept;
    }
}

#[cfg(test)]
mod tests;
