//! `proc.count`, `proc.state` and, if requested, the processes that use most, from /proc/PID/stat.
//!
//! The walk runs beside the loop, because reading about a process may wait for one of its locks.
//! Each state is reported, even if no process is in it. If not all processes are visible, the
//! counts are left out, because they would be too small: a count within a sandbox is a wrong count.
//! A value of a process that makes no sense costs only itself.

pub mod scan;
pub mod stat;
pub mod top;

use std::{sync::Arc, time::Instant};

use super::{Context, Grid, Sink, Source, background::BackgroundJob, error::CollectError};
use crate::base::monitor::Lock;
use crate::metrics::table::{PROC_COUNT, PROC_STATE};
use scan::Scanner;
use stat::STATES;
use top::Top;

const UNFINISHED: &str = "reading /proc/PID/stat of every process takes too long: there are very \
                          many, or one does not answer";

/// A walk, and what came of it.
struct Walk {
    scanner: Scanner,
    outcome: Result<(), CollectError>,
}

/// Counts processes, and compares them.
pub struct ProcessesSource {
    walk: Arc<Lock<Walk>>,
    job: BackgroundJob,
    top: Option<Top>,
}

impl ProcessesSource {
    /// One that looks below the context's root; with the processes that use most where the
    /// options say how many.
    #[must_use]
    pub fn open(context: &Context) -> Self {
        let limit = context.options.processes.top;
        let top = (limit > 0).then(|| {
            let kilobytes = rustix::param::page_size() as u64 / 1024;
            Top::new(limit, rustix::param::clock_ticks_per_second(), kilobytes)
        });
        let walk = Walk {
            scanner: Scanner::new(&context.root, top.is_some()),
            outcome: Ok(()),
        };
        Self {
            walk: Arc::new(Lock::new(walk)),
            job: BackgroundJob::new(context.prober.clone(), UNFINISHED),
            top,
        }
    }
}

impl Source for ProcessesSource {
    fn prepare(&mut self, grid: Grid, now: Instant) {
        if grid == Grid::Model || self.job.is_underway() {
            return;
        }
        let walk = Arc::clone(&self.walk);
        let job = move || {
            let mut walk = walk.lock();
            walk.outcome = walk.scanner.walk();
        };
        self.job.begin(job, now);
    }

    fn ready(&self) -> bool {
        self.job.ready()
    }

    fn collect(&mut self, _scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        if sink.grid() == Grid::Model {
            return Ok(());
        }
        if !self.job.is_done()? {
            return Ok(());
        }
        let Some(mut walk) = self.walk.try_lock() else {
            return Err(self.job.hangs());
        };
        if walk.outcome.is_err() {
            // Who asks again before the next walk gets nothing.
            self.job.forget();
        }
        std::mem::replace(&mut walk.outcome, Ok(()))?;
        sink.left_out_all(&mut walk.scanner.take_left_out());
        let scan = walk.scanner.scan();
        sink.unsigned(&PROC_COUNT, scan.count);
        if scan.unread > 0 {
            sink.cut(scan.unread);
            return Ok(());
        }
        for (state, count) in STATES.iter().zip(scan.states) {
            sink.unsigned_of(&PROC_STATE, state, count);
        }
        if let Some(top) = &mut self.top {
            top.report(scan, sink);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
