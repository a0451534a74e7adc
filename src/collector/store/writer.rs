//! Writes the hosts from a thread of its own: a disk may be slow, and the collector's task
//! waits for none.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::FILE_NAME;
use super::file::replace;
use super::pace::Pace;
use crate::base::durable::FileError;
use crate::base::monitor::Monitor;
use crate::collector::hosts::snapshot::Snapshot;
use crate::metrics::LatestMetrics;

/// Keeps what the collector knows of its hosts.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Monitor<State>>,
    pace: Pace,
    /// The last writing has failed, and that was told.
    failing: bool,
    path: PathBuf,
}

/// What there is to tell of a writing: the first that fails, and the first that does not
/// any more.
#[derive(Debug)]
pub enum Outcome {
    /// The hosts were not written.
    Failed(FileError),
    /// They are again.
    KeptAgain,
}

#[derive(Debug, Default)]
struct State {
    /// To be written next.
    wanted: Option<Snapshot>,
    writing: bool,
    ended: Option<Result<(), FileError>>,
    last: bool,
}

impl Writer {
    /// Keeps the hosts in this directory from now on.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub fn start(directory: PathBuf, now: Instant) -> io::Result<Self> {
        let shared = Arc::<Monitor<State>>::default();
        let writer = Self {
            shared: Arc::clone(&shared),
            pace: Pace::new(now),
            failing: false,
            path: directory.join(FILE_NAME),
        };
        thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || write_all(&shared, &directory))?;
        Ok(writer)
    }

    /// A host was heard from.
    pub fn seen(&mut self) {
        self.pace.seen();
    }

    /// Records that a host appeared, moved, went, or sent its model.
    pub fn changed(&mut self) {
        self.pace.changed();
    }

    /// When [`keep`](Self::keep) is to be called next, as things are.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.pace.next_due()
    }

    /// Begins to write these hosts.
    pub fn keep(&mut self, now: Instant, snapshot: Snapshot) {
        self.pace.begun(now);
        self.shared.lock().wanted = Some(snapshot);
        self.shared.notify();
    }

    /// What has come of the last writing, where it is to be told; to be asked now and then.
    pub fn outcome(&mut self) -> Option<Outcome> {
        let ended = self.shared.lock().ended.take()?;
        self.pace.ended(ended.is_ok());
        let failed_before = std::mem::replace(&mut self.failing, ended.is_err());
        match ended {
            Err(error) if !failed_before => Some(Outcome::Failed(error)),
            Ok(()) if failed_before => Some(Outcome::KeptAgain),
            Ok(()) | Err(_) => None,
        }
    }

    /// Returns true if something has changed since the file was written.
    #[must_use]
    pub fn anything_new(&self) -> bool {
        self.pace.anything_new()
    }

    /// Writes these hosts, if any, for the last time, and waits until all is written, for
    /// at most this long: what is kept then is what was kept before.
    #[must_use]
    pub fn finish(mut self, last: Option<Snapshot>, patience: Duration) -> Option<Outcome> {
        let mut state = self.shared.lock();
        state.wanted = last.or(state.wanted.take());
        state.last = true;
        self.shared.notify();
        let unwritten = |state: &mut State| state.writing || state.wanted.is_some();
        let (state, in_time) = self.shared.wait_while_for(state, patience, unwritten);
        drop(state);
        if !in_time {
            let source = io::Error::new(io::ErrorKind::TimedOut, "it takes too long");
            return Some(Outcome::Failed(FileError {
                path: self.path.clone(),
                action: "write it in time",
                source,
            }));
        }
        self.outcome()
    }
}

impl Drop for Writer {
    /// The thread ends, once it has written what it was given.
    fn drop(&mut self) {
        self.shared.lock().last = true;
        self.shared.notify();
    }
}

/// The thread.
fn write_all(shared: &Monitor<State>, directory: &Path) {
    let mut state = shared.lock();
    loop {
        state = shared.wait_while(state, |state| state.wanted.is_none() && !state.last);
        let Some(mut snapshot) = state.wanted.take() else {
            return;
        };
        state.writing = true;
        drop(state);
        for host in &mut snapshot.hosts {
            // Not kept, and not to be held while a slow disk takes the rest.
            host.metrics = LatestMetrics::default();
        }
        let ended = replace(directory, &snapshot);
        drop(snapshot);
        state = shared.lock();
        (state.writing, state.ended) = (false, Some(ended));
        shared.notify();
    }
}
