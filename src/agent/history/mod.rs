//! The history: every sample that some collector has not acknowledged, in memory and on disk.
//!
//! Owns the agent's one log of samples, with a cursor for each `[collector.NAME]`, and its files.
//! Refuses to send anything, to know a connection, and to wait: [`History`] is asked what is next for a
//! collector, and told what became of it.
//!
//! - [`definition`]: what values mean, encoded once;
//! - `recorder`, `chunk`, `log`, `cursor`: samples, what becomes of them, and how far each collector is;
//! - `spill`, `restore`: what goes to disk and when, and how the next start goes on with it;
//! - `frame_writer`, `reading`: how it is written, and what is read back;
//! - [`segment`], [`scan`]: the format of a file;
//! - `files`: the directory, on a thread of its own;
//! - [`types`]: what it tells.

mod chunk;
mod cursor;
pub mod definition;
mod files;
mod frame_writer;
mod log;
mod reading;
mod recorder;
mod restore;
pub mod scan;
pub mod segment;
mod spill;
#[cfg(test)]
mod tests;
pub mod types;

use std::future::pending;
use std::path::{Path, PathBuf};

use self::definition::FirstIds;
use self::files::{Done, Files};
use self::log::Log;
use self::recorder::Recorder;
use self::restore::Found;
use self::spill::Job;
use self::types::{Batch, HistoryEvent, Limits, Moment, Status, Usage};
use crate::agent::settings::MAX_COLLECTORS;
use crate::base::worker::Worker;
use crate::protocol::data::dictionary::Sampled;

/// Jobs with files at a time: a batch, a removal, and a reading for each collector. The log asks
/// for no more.
const JOBS: usize = 2 + MAX_COLLECTORS;

/// How a job with files ended, for [`History::finished`].
#[derive(Debug)]
pub struct Finished(Done);

/// The samples that collectors have not acknowledged.
///
/// # How to use it
///
/// It belongs to the agent's task. No method waits, but for [`finished_job`](Self::finished_job) and
/// [`stopped`](Self::stopped), which are cancel safe; [`open`](Self::open) alone touches files itself.
///
/// For each sample: [`append`](Self::append), if it is [`wanted`](Self::wanted). For each link:
/// [`offered`](Self::offered) when the collector says that it takes history, or
/// [`declined`](Self::declined) when it has answered and says no such thing; then
/// [`next_batch`](Self::next_batch) until there is none; [`acked`](Self::acked) for each receipt;
/// [`link_lost`](Self::link_lost) at the end. There may be another batch for any collector after each
/// of: `append`, `offered`, `acked`, `finished`, `link_lost`.
///
/// What was handed out counts as sent: it comes again only after `link_lost`. So each collector is told each
/// number exactly once on a link, in order, from the first that it has not acknowledged, either with its sample
/// or as lost.
///
/// The loop waits for [`finished_job`](Self::finished_job) and gives what it returns to
/// [`finished`](Self::finished); at [`deadline`](Self::deadline) it calls [`tick`](Self::tick). Every
/// method that is given the time starts what is due with files. What an administrator should know
/// is in [`take_events`](Self::take_events).
#[derive(Debug)]
pub struct History {
    recorder: Recorder,
    /// The state directory, if there is one.
    directory: Option<PathBuf>,
    /// The thread for files, while there is something for it to do.
    worker: Option<Worker<Job, Done>>,
}

impl History {
    /// Goes on with what an earlier run has left below the state directory, for these collectors.
    /// Without a directory, samples are kept in memory alone. Blocks while files are read: some
    /// milliseconds, but for a disk that is slow.
    #[must_use]
    pub fn open<'a>(
        state_directory: Option<&Path>,
        limits: Limits,
        collectors: impl Iterator<Item = &'a str> + Clone,
        now: Moment,
    ) -> Self {
        let stream = fastrand::u64(1..);
        let found = match state_directory {
            Some(directory) => Files::new(directory).take_over(),
            None => Ok(Found::default()),
        };
        let (found, failed) = match found {
            Ok(found) => (found, None),
            // What is there may be found by a later start, but is not told by this one.
            Err(error) => {
                let killed = true;
                let found = Found {
                    killed,
                    ..Found::default()
                };
                (found, Some(error))
            }
        };
        let mut log = Log::restore(&found, stream, limits, collectors, now);
        log.spill.enabled = state_directory.is_some();
        if let Some(error) = failed {
            log.spill.cannot_be_read(now);
            log.events
                .push(HistoryEvent::DiskFailing(error.to_string()));
        }
        let mut history = Self {
            recorder: Recorder::new(log),
            directory: state_directory.map(Path::to_owned),
            worker: None,
        };
        history.tick(now);
        history
    }

    /// The number by which collectors know what this run takes: random. Samples of an earlier run keep theirs.
    #[must_use]
    pub fn stream(&self) -> u64 {
        self.recorder.log.stream
    }

    /// The highest ids of series and schemas that this log has. A dictionary must give higher ones
    /// ([`Dictionary::after`](crate::protocol::data::Dictionary::after)).
    #[must_use]
    pub fn last_ids(&self) -> (u32, u32) {
        self.recorder.log.last_ids()
    }

    /// Puts settings in force. A new collector begins at the end; one that is gone holds nothing back any
    /// more.
    pub fn configure<'a>(
        &mut self,
        limits: Limits,
        collectors: impl Iterator<Item = &'a str> + Clone,
        now: Moment,
    ) {
        self.recorder.log.set_limits(limits);
        self.recorder.log.set_collectors(collectors);
        self.tick(now);
    }

    /// Returns true if some collector needs the samples to come. Without one, [`append`](Self::append)
    /// keeps nothing.
    #[must_use]
    pub fn wanted(&self) -> bool {
        self.recorder.log.wanted()
    }

    /// Keeps a sample that was taken now, and returns its number. Its values are complete; `boot` is the id of
    /// this boot. `first` are the lowest ids to which this sample and later ones refer. None if
    /// its values do not fit its schemas, which is a bug of the caller.
    pub fn append(
        &mut self,
        sampled: Sampled,
        boot: [u8; 16],
        first: FirstIds,
        now: Moment,
    ) -> Option<u64> {
        let seq = self.recorder.append(sampled, boot, first, now);
        self.tick(now);
        seq
    }

    /// A link of this collector takes history, with at most so many bytes under way. A later offer
    /// on the same link changes that.
    pub fn offered(&mut self, collector: &str, window: usize, now: Moment) {
        self.recorder.log.offered(collector, window, now);
        self.tick(now);
    }

    /// The collector has answered and does not take history: nothing is kept for it any more, until it
    /// does. Until either is known, samples are kept for it in memory.
    pub fn declined(&mut self, collector: &str, now: Moment) {
        self.recorder.log.declined(collector);
        self.tick(now);
    }

    /// The link is down. What was under way is handed out again on the next one.
    pub fn link_lost(&mut self, collector: &str) {
        self.recorder.log.link_lost(collector);
    }

    /// What is next for a collector, with samples of at most so many bytes; a sample that is larger comes
    /// alone. None if there is nothing, if the window is full, or if it has to be read from disk
    /// first.
    pub fn next_batch(&mut self, collector: &str, most: usize, now: Moment) -> Option<Batch> {
        let batch = self.recorder.log.next_batch(collector, most);
        self.tick(now);
        batch
    }

    /// The batch that a collector was given last takes so many bytes of its window.
    pub fn sent(&mut self, collector: &str, bytes: usize) {
        self.recorder.log.sent(collector, bytes);
    }

    /// Everything up to `seq` has arrived. Returns false, and does nothing, if the receipt is of another log
    /// or of what was never sent; one that comes late or twice is fine.
    pub fn acked(&mut self, collector: &str, stream: u64, seq: u64, now: Moment) -> bool {
        let known = self.recorder.log.acked(collector, stream, seq);
        self.tick(now);
        known
    }

    /// Memory is short: lets go of what is on disk as well.
    pub fn spare_memory(&mut self) {
        self.recorder.log.spare_memory();
    }

    /// Starts what is due with files.
    pub fn tick(&mut self, now: Moment) {
        for job in self.recorder.log.jobs(now) {
            self.submit(job, now);
        }
        if !self.recorder.log.uses_disk() {
            // A thread costs memory on every host. It ends once it has done what it was given.
            self.worker.take_if(|worker| !worker.is_busy());
        }
    }

    /// When [`tick`](Self::tick) is to be called if nothing happens before, in µs since boot.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.recorder.log.deadline()
    }

    fn submit(&mut self, job: Job, now: Moment) {
        let Some(directory) = &self.directory else {
            return;
        };
        if self.worker.is_none() {
            let mut files = Files::new(directory);
            let work = move |job| files.work(job);
            match Worker::start("history", JOBS, work) {
                Ok(worker) => self.worker = Some(worker),
                Err(error) => {
                    let failed = match job {
                        Job::Write(_) => {
                            Done::Wrote(Err(format!("cannot start a thread: {error}")))
                        }
                        Job::Remove(_) | Job::End => Done::Removed,
                        Job::Read(read) => Done::Read(read, Err(error.to_string())),
                    };
                    self.apply(failed, now);
                    return;
                }
            }
        }
        if let Some(worker) = &mut self.worker {
            worker.submit(job);
        }
    }

    /// Waits until a job with files has ended; never returns if there is none. Cancel safe.
    pub async fn finished_job(&mut self) -> Finished {
        match &mut self.worker {
            Some(worker) => Finished(worker.done().await),
            None => pending().await,
        }
    }

    /// A job with files has ended.
    pub fn finished(&mut self, job: Finished, now: Moment) {
        self.apply(job.0, now);
        self.tick(now);
    }

    fn apply(&mut self, done: Done, now: Moment) {
        match done {
            Done::Wrote(result) => self.recorder.log.wrote(result, now),
            Done::Removed => self.recorder.log.removed(),
            Done::Read(read, result) => self.recorder.log.have_read(read, result),
        }
    }

    /// Ends the history: what somebody still needs is on disk when this returns, as far as the
    /// disk can be used, and nothing if no collector needs anything. `clock` says what time it is. Nothing may
    /// be appended any more.
    pub async fn stopped(&mut self, clock: impl Fn() -> Moment) {
        self.recorder.log.stop();
        self.tick(clock());
        while self.worker.is_some() && !self.recorder.log.is_stopped() {
            let job = self.finished_job().await;
            self.finished(job, clock());
        }
        if self.recorder.log.is_all_kept() {
            self.submit(Job::End, clock());
            if self.worker.is_some() {
                let _ = self.finished_job().await;
            }
        }
    }

    /// How far a collector is; None if it is not in the settings.
    #[must_use]
    pub fn status(&self, collector: &str) -> Option<Status> {
        self.recorder.log.status(collector)
    }

    /// How far each collector is that is in the settings.
    pub fn statuses(&self) -> impl Iterator<Item = (&str, Status)> {
        let log = &self.recorder.log;
        let names = log.cursors.keys();
        names.filter_map(|name| Some((name.as_str(), log.status(name)?)))
    }

    /// What is kept for all collectors together.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.recorder.log.usage()
    }

    /// What happened since this was asked for last.
    #[must_use]
    pub fn take_events(&mut self) -> Vec<HistoryEvent> {
        std::mem::take(&mut self.recorder.log.events)
    }
}
