//! Asks many things, any of which may not answer.
//!
//! A [`Survey`] lists what there is to ask and asks it, one after the other, on the [`Prober`]'s
//! thread: file systems, sensors. One that does not answer is left with the thread and not asked
//! again until the thread comes back, so that at most one thread is ever lost to it; the same goes
//! for all that can only be reached through it. All others are still asked, if only for the next
//! sample. Does not know what an answer is.

mod table;

use std::{mem, sync::Arc, time::Instant};

use super::{
    Grid, Sink, Source,
    background::{ProbeError, Prober, Pulse, Ticket},
    error::CollectError,
    odd::LeftOut,
};
use crate::base::monitor::Lock;
use crate::metrics::Definition;
use table::Table;

/// What there is to ask.
pub(super) trait Targets: Send + 'static {
    /// What is asked.
    type Target: Target;

    /// Lists what there is to ask; None if nothing has changed since the last time. May block.
    fn list(&mut self) -> Result<Option<Listing<Self::Target>>, CollectError>;
}

/// A source that is a survey: the metrics that what it finds makes.
pub(super) trait Reported: Targets {
    /// One of them. A grid without it needs no survey.
    const METRIC: &'static Definition;

    /// Reports what is known of one target.
    fn tell(
        sink: &mut Sink<'_>,
        name: &str,
        target: &Self::Target,
        found: Found<<Self::Target as Target>::Answer>,
    );
}

/// Something to ask that may not answer.
pub(super) trait Target: Send + Sync + 'static {
    /// What it answers.
    type Answer: Copy + Send;

    /// Asks. May block for good.
    fn ask(&self) -> Self::Answer;
}

/// What there is to ask, in that order.
pub(super) struct Listing<T> {
    pub(super) subjects: Vec<Subject<T>>,
    /// How many more there are beyond the limit.
    pub(super) cut: usize,
    /// What could not be listed.
    pub(super) left_out: LeftOut,
}

/// Something that is asked.
pub(super) struct Subject<T> {
    /// Tells it from all others of every source, also from those that had its name before.
    pub(super) key: Arc<str>,
    /// What it is called.
    pub(super) name: String,
    /// What others are got to through it, and is in their `ways`.
    pub(super) way: Option<u64>,
    /// What it is got to through.
    pub(super) ways: Vec<u64>,
    pub(super) target: Arc<T>,
}

/// What is known of one after a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found<A> {
    Answer(A),
    /// It does not answer, or is only reached through one that does not.
    Stuck,
}

/// What the log should say about one target, once. Each has its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It does not answer.
    Stuck(String),
    /// It answers again.
    Answers(String),
    /// It no longer exists, and did not answer until then.
    Gone(String),
}

/// Asks all of them when that is wanted; the loop's end of it.
pub(super) struct Survey<S: Targets> {
    prober: Prober,
    shared: Arc<Shared<S>>,
    job: Option<Ticket>,
    /// Why the last job could not be begun.
    refused: Option<ProbeError>,
    /// True if a caller waits for the pass.
    wanted: bool,
    news: Vec<News>,
}

struct Shared<S: Targets> {
    /// Only jobs lock this, and keep it for as long as listing takes.
    targets: Lock<S>,
    /// Never locked while anything may block.
    table: Lock<Table<S::Target>>,
}

impl<S: Targets> Shared<S> {
    /// A job: lists, if a pass begins, and asks all that were not asked yet in this pass.
    fn go_through(&self, job: u64, begins: bool, pulse: &Pulse<'_>) {
        if begins {
            let listing = self.targets.lock().list();
            self.table.lock().begin(job, listing);
        }
        loop {
            let Some((row, key, target)) = self.table.lock().take(job) else {
                return;
            };
            if !pulse.begins(&key) {
                self.table.lock().give_back(job, row);
                return;
            }
            let answer = target.ask();
            self.table.lock().put(job, row, answer);
        }
    }
}

impl<S: Targets> Survey<S> {
    pub(super) fn new(prober: Prober, targets: S) -> Self {
        let mut table = Table::new();
        // An earlier job may have asked, and hang.
        table.note_lost(prober.lost_to());
        Self {
            prober,
            shared: Arc::new(Shared {
                targets: Lock::new(targets),
                table: Lock::new(table),
            }),
            job: None,
            refused: None,
            wanted: false,
            news: Vec::new(),
        }
    }

    /// Begins a pass, unless one is under way.
    pub(super) fn begin(&mut self, now: Instant) {
        self.wanted = true;
        self.settle(now);
        // What the last pass did not get to, this one asks.
        if self.job.is_none() {
            let mut table = self.shared.table.lock();
            table.pass += 1;
            drop(table);
            self.submit(true, now);
        }
    }

    /// Returns true if the pass that is waited for is over, or cannot go on.
    pub(super) fn ready(&self) -> bool {
        let over = |job: &Ticket| job.finished() || job.abandoned();
        !self.wanted || self.job.as_ref().is_none_or(over)
    }

    /// What could not be listed the last time; returned once.
    pub(super) fn take_left_out(&self) -> LeftOut {
        mem::take(&mut self.shared.table.lock().left_out)
    }

    /// Tells what is known of each by now. Those whose turn has not come yet are left out;
    /// they have it after this. Returns how many there was no room for.
    pub(super) fn report(
        &mut self,
        now: Instant,
        mut each: impl FnMut(&str, &S::Target, Found<<S::Target as Target>::Answer>),
    ) -> Result<usize, CollectError> {
        self.wanted = false;
        self.settle(now);
        if self.job.is_none() && !self.shared.table.lock().is_through() {
            self.submit(false, now);
        }
        let shared = Arc::clone(&self.shared);
        let mut table = shared.table.lock();
        if let Some(fault) = table.fault.take() {
            return Err(fault);
        }
        if let Some(refused) = self.refused.take() {
            // Who does not answer is why, and worth knowing.
            let known = table.rows.iter().any(|row| table.is_stuck(&row.subject));
            if !known || !matches!(refused, ProbeError::AllStuck) {
                return Err(refused.into());
            }
        }
        let gone = table.gone.drain(..).map(News::Gone);
        self.news.extend(gone);
        let mut rows = mem::take(&mut table.rows);
        for row in &mut rows {
            let subject = &row.subject;
            let answer = row.answer.filter(|(pass, _)| *pass == table.pass);
            let stuck = table.is_stuck(subject);
            if stuck {
                each(&subject.name, &subject.target, Found::Stuck);
            } else if let Some((_, answer)) = answer {
                each(&subject.name, &subject.target, Found::Answer(answer));
            }
            // Those behind it are not logged.
            let told = stuck && table.lost.iter().any(|lost| lost.key == subject.key);
            if told && !row.told {
                row.told = true;
                self.news.push(News::Stuck(subject.name.clone()));
            } else if row.told && !stuck && answer.is_some() {
                row.told = false;
                self.news.push(News::Answers(subject.name.clone()));
            }
        }
        table.rows = rows;
        Ok(table.cut)
    }

    /// What the log should say, once.
    pub(super) fn news(&mut self) -> Vec<News> {
        mem::take(&mut self.news)
    }

    /// Abandons a job that hangs.
    fn settle(&mut self, now: Instant) {
        self.prober.pass_by(now);
        let Some(job) = &self.job else {
            return;
        };
        if !job.finished() && !job.abandoned() {
            return;
        }
        self.job = None;
        let lost = self.prober.lost_to();
        let mut table = self.shared.table.lock();
        table.note_lost(lost);
        // Should it come back, it has no more business here.
        table.job += 1;
    }

    fn submit(&mut self, begins: bool, now: Instant) {
        let mut table = self.shared.table.lock();
        table.job += 1;
        let job = table.job;
        if begins {
            // Until there is a new list, there is nothing to ask.
            table.next = table.rows.len();
        }
        drop(table);
        let shared = Arc::clone(&self.shared);
        let task = move |pulse: &Pulse<'_>| shared.go_through(job, begins, pulse);
        match self.prober.submit_steps(task, now) {
            Ok(ticket) => {
                self.job = Some(ticket);
                self.refused = None;
            }
            Err(error) => self.refused = Some(error),
        }
    }
}

impl<S: Reported> Source for Survey<S> {
    fn prepare(&mut self, grid: Grid, now: Instant) {
        if grid.admits(S::METRIC) {
            self.begin(now);
        }
    }

    fn ready(&self) -> bool {
        self.ready()
    }

    fn news(&mut self) -> Vec<News> {
        self.news()
    }

    fn collect(&mut self, _scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        if !sink.grid().admits(S::METRIC) {
            return Ok(());
        }
        let cut = self.report(Instant::now(), |name, target, found| {
            S::tell(sink, name, target, found);
        })?;
        sink.left_out_all(&mut self.take_left_out());
        sink.cut(cut);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
