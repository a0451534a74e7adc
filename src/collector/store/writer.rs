//! Writes the hosts from a thread of its own: a disk may be slow, and the collector's task
//! waits for none.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::FILE_NAME;
use super::Pace;
use super::file::replace;
use crate::base::durable::FileError;
use crate::base::worker::Worker;
use crate::collector::hosts::snapshot::Snapshot;
use crate::metrics::LatestMetrics;

/// Keeps what the collector knows of its hosts.
#[derive(Debug)]
pub struct Writer {
    worker: Worker<Snapshot, Result<(), FileError>>,
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

/// Most snapshots at a time: the one that is being written, and the last one.
const SNAPSHOTS: usize = 2;

impl Writer {
    /// Keeps the hosts in this directory from now on.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub fn start(directory: PathBuf, now: Instant) -> io::Result<Self> {
        let path = directory.join(FILE_NAME);
        let write = move |snapshot| write(snapshot, &directory);
        Ok(Self {
            worker: Worker::start("state", SNAPSHOTS, write)?,
            pace: Pace::new(now),
            failing: false,
            path,
        })
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
        self.worker.submit(snapshot);
    }

    /// What has come of the last writing, where it is to be told; to be asked now and then.
    pub fn outcome(&mut self) -> Option<Outcome> {
        let ended = self.worker.try_done()?;
        self.ended(ended)
    }

    fn ended(&mut self, ended: Result<(), FileError>) -> Option<Outcome> {
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
    pub async fn finish(mut self, last: Option<Snapshot>, patience: Duration) -> Option<Outcome> {
        if let Some(last) = last {
            self.worker.submit(last);
        }
        let mut ended = None;
        let all = async {
            while self.worker.is_busy() {
                ended = Some(self.worker.done().await);
            }
        };
        if timeout(patience, all).await.is_err() {
            let source = io::Error::new(io::ErrorKind::TimedOut, "it takes too long");
            return Some(Outcome::Failed(FileError {
                path: self.path,
                action: "write it in time",
                source,
            }));
        }
        ended.and_then(|ended| self.ended(ended))
    }
}

/// The thread's part.
fn write(mut snapshot: Snapshot, directory: &Path) -> Result<(), FileError> {
    for host in &mut snapshot.hosts {
        // Not kept, and not to be held while a slow disk takes the rest.
        host.metrics = LatestMetrics::default();
    }
    replace(directory, &snapshot)
}
