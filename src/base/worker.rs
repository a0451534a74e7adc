//! A thread that does one job after the other for a loop, which never waits for it: a disk may be
//! slow.
//!
//! Owns the thread, the jobs that wait for it and their results. What may wait is counted in jobs;
//! queues that are bounded in bytes or samples, or that put newer ones in place of older ones, are
//! their owners' ([`monitor`](super::monitor)). For a single piece of work there is
//! [`offload`](super::offload).

use std::future::pending;
use std::io;
use std::sync::mpsc as blocking;

use tokio::sync::mpsc;

use super::offload::on_a_thread;

/// Does jobs `J`, each with a result `R`. Once it is dropped, the thread ends after the jobs that
/// it was given.
#[derive(Debug)]
pub(crate) struct Worker<J, R> {
    jobs: blocking::SyncSender<J>,
    results: mpsc::Receiver<R>,
    /// Jobs whose results were not taken yet.
    unfinished: usize,
    most: usize,
}

impl<J: Send + 'static, R: Send + 'static> Worker<J, R> {
    /// Starts a thread that has `most` jobs at a time, the running one among them.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub(crate) fn start(
        thread: &'static str,
        most: usize,
        mut work: impl FnMut(J) -> R + Send + 'static,
    ) -> io::Result<Self> {
        // There is room for all in both, so neither side ever waits to send.
        let (jobs, waiting) = blocking::sync_channel(most);
        let (done, results) = mpsc::channel(most);
        on_a_thread(thread, move || {
            for job in waiting {
                // The loop may have ended; what it wanted done is done all the same.
                let _ = done.blocking_send(work(job));
            }
        })?;
        Ok(Self {
            jobs,
            results,
            unfinished: 0,
            most,
        })
    }

    /// Returns true if there is a job whose result was not taken yet.
    pub(crate) fn is_busy(&self) -> bool {
        self.unfinished > 0
    }

    /// Queues a job. Returns false, and drops it, if there are as many as may be already; never
    /// so while the worker is not busy.
    pub(crate) fn submit(&mut self, job: J) -> bool {
        // The thread ends only when this does, or at a bug, which ends the process.
        let taken = self.unfinished < self.most && self.jobs.try_send(job).is_ok();
        self.unfinished += usize::from(taken);
        taken
    }

    /// Waits for the result of the next job; never returns if there is none. Cancel safe.
    pub(crate) async fn done(&mut self) -> R {
        if self.is_busy()
            && let Some(result) = self.results.recv().await
        {
            self.unfinished -= 1;
            return result;
        }
        pending().await
    }

    /// The result of the next job, if that has ended.
    pub(crate) fn try_done(&mut self) -> Option<R> {
        let result = self.results.try_recv().ok()?;
        self.unfinished -= 1;
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn jobs_are_done_one_by_one_on_another_thread() {
        let here = thread::current().id();
        let mut count = 0;
        let mut worker = Worker::start("test", 1, move |step: u32| {
            assert_ne!(thread::current().id(), here);
            assert_eq!(thread::current().name(), Some("test"));
            count += step;
            count
        })
        .unwrap();
        for (step, sum) in [(1, 1), (2, 3), (3, 6)] {
            assert!(!worker.is_busy());
            assert!(worker.submit(step));
            assert!(worker.is_busy());
            assert_eq!(worker.done().await, sum);
        }
        let nothing = tokio::time::timeout(Duration::ZERO, worker.done()).await;
        assert!(nothing.is_err());
        assert_eq!(worker.try_done(), None);
    }

    #[tokio::test]
    async fn what_finds_no_room_is_refused_and_what_was_taken_is_done() {
        let (go, wait) = blocking::channel();
        let (written, lines) = blocking::channel();
        let mut worker = Worker::start("test", 2, move |line: &str| {
            wait.recv().unwrap();
            written.send(line).unwrap();
            line
        })
        .unwrap();
        assert!(worker.submit("one") && worker.submit("two"));
        assert!(!worker.submit("three"));
        assert_eq!(worker.try_done(), None);
        go.send(()).unwrap();
        assert_eq!(worker.done().await, "one");
        assert!(worker.is_busy() && worker.submit("four"));
        // Without one who takes the results.
        drop(worker);
        go.send(()).unwrap();
        go.send(()).unwrap();
        assert_eq!(lines.iter().collect::<Vec<_>>(), ["one", "two", "four"]);
    }
}
