//! A thread that does one job after the other for the loop: files may be slow.

use std::io;
use std::sync::mpsc as blocking;
use std::thread;

use tokio::sync::mpsc;

/// Does jobs `J`, each with a result `R`. Ends when dropped, after the current job.
#[derive(Debug)]
pub(super) struct Worker<J, R> {
    jobs: blocking::Sender<J>,
    outcomes: mpsc::Receiver<R>,
    busy: bool,
}

impl<J: Send + 'static, R: Send + 'static> Worker<J, R> {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub(super) fn start(
        name: &str,
        mut work: impl FnMut(J) -> R + Send + 'static,
    ) -> io::Result<Self> {
        // One at a time, see `give`.
        let (jobs, waiting) = blocking::channel();
        let (done, outcomes) = mpsc::channel(1);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                while let Ok(job) = waiting.recv() {
                    if done.blocking_send(work(job)).is_err() {
                        break;
                    }
                }
            })?;
        Ok(Self {
            jobs,
            outcomes,
            busy: false,
        })
    }

    /// Returns true if a job is running.
    pub(super) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Starts a job. Must not be called while another is running.
    pub(super) fn give(&mut self, job: J) {
        debug_assert!(!self.busy, "one job at a time");
        // The thread ends only when this does, or at a bug, which ends the process.
        self.busy = self.jobs.send(job).is_ok();
    }

    /// Waits for the result of the current job; never returns if there is none. Cancel safe.
    pub(super) async fn done(&mut self) -> R {
        if self.busy
            && let Some(outcome) = self.outcomes.recv().await
        {
            self.busy = false;
            return outcome;
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn jobs_are_done_one_by_one_on_another_thread() {
        let here = thread::current().id();
        let mut count = 0;
        let mut worker = Worker::start("test", move |step: u32| {
            assert_ne!(thread::current().id(), here);
            count += step;
            count
        })
        .unwrap();
        for (step, sum) in [(1, 1), (2, 3), (3, 6)] {
            assert!(!worker.is_busy());
            worker.give(step);
            assert!(worker.is_busy());
            assert_eq!(worker.done().await, sum);
        }
        let nothing = tokio::time::timeout(Duration::ZERO, worker.done()).await;
        assert!(nothing.is_err());
    }
}
