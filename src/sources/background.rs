//! Work beside the loop: reading what may hang.
//!
//! A [`Prober`] is one thread that does, one after the other, what may block: statfs on a mount
//! whose server is gone, a sensor whose bus hangs. A job that does not end is abandoned with its
//! thread, and the others go on with a new one; so the loop never waits for any of them, and a
//! thread is lost only to what hangs, [`MAX_LOST`] at most. The thread begins with the first job. A
//! job of many steps reports the start of each, so that each has its time, and it is known what a
//! thread was lost to.
//!
//! A [`BackgroundJob`] is one that is done for one sample after the other; one that hangs is not
//! begun again. A [`Wakeup`] wakes the loop when something that it waits for is there.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::error::CollectError;
use crate::base::monitor::Monitor;

/// How long a sample waits for what was begun for it.
pub const PATIENCE: Duration = Duration::from_millis(500);

/// How long a job, or a step of one, may keep those behind it waiting before it is abandoned. A
/// caller that has waited for [`PATIENCE`] sees that this time is over, however late the thread
/// woke.
pub const OVERDUE: Duration = Duration::from_millis(400);

/// Most threads that hang at a time. Each costs a stack and a task of the unit's
/// `TasksMax=`; a host with more dead mounts than this has said what is wrong with it.
pub const MAX_LOST: usize = 8;

/// Most jobs that wait: each source submits one at a time.
const MAX_WAITING: usize = 32;

/// Room for a system call and a path, many times over.
const STACK_BYTES: usize = 256 * 1024;

/// Wakes the tasks that wait for news of what runs beside the loop.
#[derive(Debug, Clone, Default)]
pub struct Wakeup(Arc<Notify>);

impl Wakeup {
    /// Wakes the waiting task, or the next one that waits.
    pub fn ring(&self) {
        self.0.notify_one();
    }

    /// Until it is rung. Cancel safe.
    pub async fn rung(&self) {
        self.0.notified().await;
    }
}

/// A job could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// Too many threads hang.
    #[error("{MAX_LOST} threads wait for devices or file systems that do not answer")]
    AllStuck,
    /// Too many jobs wait.
    #[error("{MAX_WAITING} jobs wait for a thread already")]
    Full,
    /// No thread could be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}

type Job = Box<dyn FnOnce(&Pulse<'_>) + Send>;

/// Runs jobs that may block, one after the other, on one thread that is replaced where a
/// job hangs. Clones share the thread; it ends when the last of them is dropped.
#[derive(Clone)]
pub struct Prober {
    shared: Arc<Shared>,
    _end: Arc<End>,
}

struct Shared {
    state: Monitor<State>,
    wakeup: Wakeup,
}

/// Its drop is the end of the last clone.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.state.notify();
    }
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Job, Ticket)>,
    /// What the thread in service does now.
    running: Option<Running>,
    /// True if there is a thread in service. Any other thread ends with its job.
    staffed: bool,
    /// Threads that hang in an abandoned job.
    lost: usize,
    /// The steps that threads were lost to.
    lost_to: Vec<(Arc<str>, Ticket)>,
    /// True if no submitter is left.
    closed: bool,
}

struct Running {
    ticket: Ticket,
    /// The job began, or its latest step.
    since: Instant,
    step: Option<Arc<str>>,
}

/// What a job of many steps has to say while it runs.
pub struct Pulse<'p> {
    shared: &'p Shared,
    ticket: &'p Ticket,
}

impl Pulse<'_> {
    /// A step begins, and has [`OVERDUE`] for itself. Returns false if the job was abandoned
    /// before: another thread does the rest.
    #[must_use]
    pub fn begins(&self, step: &Arc<str>) -> bool {
        let mut state = self.shared.state.lock();
        let running = state.running.as_mut();
        let Some(running) = running.filter(|running| running.ticket.is(self.ticket)) else {
            return false;
        };
        running.since = Instant::now();
        running.step = Some(Arc::clone(step));
        true
    }
}

/// A job that was taken.
#[derive(Debug, Clone)]
pub struct Ticket(Arc<AtomicU8>);

const WAITING: u8 = 0;
const FINISHED: u8 = 1;
const ABANDONED: u8 = 2;

impl Ticket {
    fn new() -> Self {
        Self(Arc::new(AtomicU8::new(WAITING)))
    }

    /// Returns true if the job has ended, even if it was abandoned before.
    #[must_use]
    pub fn finished(&self) -> bool {
        self.0.load(Ordering::Acquire) == FINISHED
    }

    /// Returns true if the job was abandoned with its thread, and has not ended yet.
    #[must_use]
    pub fn abandoned(&self) -> bool {
        self.0.load(Ordering::Acquire) == ABANDONED
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Prober {
    /// One whose jobs ring `wakeup` as they end.
    #[must_use]
    pub fn new(wakeup: Wakeup) -> Self {
        let shared = Arc::new(Shared {
            state: Monitor::default(),
            wakeup,
        });
        Self {
            _end: Arc::new(End(Arc::clone(&shared))),
            shared,
        }
    }

    /// Takes a job. A job that has been running for longer than [`OVERDUE`] is abandoned, so that
    /// it does not delay this one.
    pub fn submit(
        &self,
        job: impl FnOnce() + Send + 'static,
        now: Instant,
    ) -> Result<Ticket, ProbeError> {
        self.submit_steps(move |_| job(), now)
    }

    /// Takes a job of many steps, which says when it begins each of them.
    pub fn submit_steps(
        &self,
        job: impl FnOnce(&Pulse<'_>) + Send + 'static,
        now: Instant,
    ) -> Result<Ticket, ProbeError> {
        self.pass_by(now);
        let mut state = self.shared.state.lock();
        if state.lost >= MAX_LOST {
            return Err(ProbeError::AllStuck);
        }
        if state.waiting.len() >= MAX_WAITING {
            return Err(ProbeError::Full);
        }
        let ticket = Ticket::new();
        state.waiting.push_back((Box::new(job), ticket.clone()));
        if let Err(error) = self.staff(&mut state) {
            state.waiting.pop_back();
            return Err(ProbeError::Thread(error));
        }
        Ok(ticket)
    }

    /// The steps that threads are lost to now, each with the job that it is a step of.
    #[must_use]
    pub fn lost_to(&self) -> Vec<(Arc<str>, Ticket)> {
        let mut state = self.shared.state.lock();
        state.lost_to.retain(|(_, ticket)| !ticket.finished());
        state.lost_to.clone()
    }

    /// Abandons a job if it, or its latest step, has been running for longer than [`OVERDUE`];
    /// those that wait behind it go on with a new thread.
    pub fn pass_by(&self, now: Instant) {
        let mut state = self.shared.state.lock();
        let Some(Running { ticket, step, .. }) = state
            .running
            .take_if(|running| now.saturating_duration_since(running.since) >= OVERDUE)
        else {
            return;
        };
        // A job that finishes at this very moment is not lost; its thread will see that it is no
        // longer in service, and end.
        ticket.0.store(ABANDONED, Ordering::Release);
        state.lost_to.retain(|(_, ticket)| !ticket.finished());
        state.lost_to.extend(step.map(|step| (step, ticket)));
        state.lost += 1;
        state.staffed = false;
        if !state.waiting.is_empty() && state.lost < MAX_LOST {
            // If no thread can be started, the next submission reports that.
            let _ = self.staff(&mut state);
        }
    }

    /// Makes sure that there is a thread for the jobs that wait.
    fn staff(&self, state: &mut State) -> io::Result<()> {
        if !state.staffed {
            let shared = Arc::clone(&self.shared);
            thread::Builder::new()
                .name("prober".to_owned())
                .stack_size(STACK_BYTES)
                .spawn(move || work(&shared))?;
            state.staffed = true;
        }
        self.shared.state.notify();
        Ok(())
    }
}

impl fmt::Debug for Prober {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prober").finish_non_exhaustive()
    }
}

impl Shared {
    /// The next job; None once there will be none.
    fn next(&self) -> Option<(Job, Ticket)> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some((job, ticket)) = state.waiting.pop_front() {
                state.running = Some(Running {
                    ticket: ticket.clone(),
                    since: Instant::now(),
                    step: None,
                });
                return Some((job, ticket));
            }
            let idle = |state: &mut State| state.waiting.is_empty() && !state.closed;
            state = self.state.wait_while(state, idle);
        }
    }
}

/// A thread's life: job after job, until another thread is in service or no submitter is left.
fn work(shared: &Shared) {
    while let Some((job, ticket)) = shared.next() {
        job(&Pulse {
            shared,
            ticket: &ticket,
        });
        let mut state = shared.state.lock();
        let left_alone = ticket.0.swap(FINISHED, Ordering::AcqRel) == ABANDONED;
        let relieved = left_alone && state.staffed;
        if left_alone {
            state.lost -= 1;
            state.staffed = true;
        } else {
            state.running = None;
        }
        drop(state);
        shared.wakeup.ring();
        if relieved {
            return;
        }
    }
}

/// A job that is done again and again.
#[derive(Debug)]
pub(super) struct BackgroundJob {
    prober: Prober,
    /// Why nothing comes of it while the job has not ended.
    unfinished: &'static str,
    begun: Option<Result<Ticket, ProbeError>>,
}

impl BackgroundJob {
    /// One that was never begun.
    pub(super) fn new(prober: Prober, unfinished: &'static str) -> Self {
        Self {
            prober,
            unfinished,
            begun: None,
        }
    }

    /// Returns true if the job was begun and has not ended.
    pub(super) fn is_underway(&self) -> bool {
        matches!(&self.begun, Some(Ok(ticket)) if !ticket.finished())
    }

    /// Begins the job, in place of the one before, which has ended.
    pub(super) fn begin(&mut self, job: impl FnOnce() + Send + 'static, now: Instant) {
        self.begun = Some(self.prober.submit(job, now));
    }

    /// Returns true if there is nothing to wait for; a job that hangs is not waited for.
    pub(super) fn ready(&self) -> bool {
        match &self.begun {
            Some(Ok(ticket)) => ticket.finished() || ticket.abandoned(),
            _ => true,
        }
    }

    /// Returns true if the job was done since the last call that returned false. A failure to start
    /// it is reported once.
    pub(super) fn is_done(&mut self) -> Result<bool, CollectError> {
        if self.is_underway() {
            return Err(self.hangs());
        }
        match self.begun.take_if(|begun| begun.is_err()) {
            Some(Err(error)) => Err(error.into()),
            _ => Ok(self.begun.is_some()),
        }
    }

    /// The error while the job has not ended.
    pub(super) fn hangs(&self) -> CollectError {
        CollectError::Refused(self.unfinished.to_owned())
    }

    /// Nothing came of it: until it is begun again it is not done.
    pub(super) fn forget(&mut self) {
        self.begun = None;
    }

    #[cfg(test)]
    pub(super) fn ticket(&self) -> Option<&Ticket> {
        self.begun.as_ref()?.as_ref().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, Sender, channel};

    /// Far longer than anything takes here.
    const LONG: Duration = Duration::from_secs(30);

    fn prober() -> Prober {
        Prober::new(Wakeup::default())
    }

    /// A job that hangs until the sender is used or dropped, and reports that it has begun.
    fn hang(prober: &Prober, now: Instant) -> (Ticket, Sender<()>, Receiver<()>) {
        let (release, released) = channel::<()>();
        let (beginning, begun) = channel();
        let job = move || {
            beginning.send(()).unwrap();
            let _ = released.recv();
        };
        (prober.submit(job, now).unwrap(), release, begun)
    }

    fn run(prober: &Prober, now: Instant) -> (Ticket, Receiver<thread::ThreadId>) {
        let (done, seen) = channel();
        let job = move || done.send(thread::current().id()).unwrap();
        (prober.submit(job, now).unwrap(), seen)
    }

    fn wait(until: impl Fn() -> bool) {
        let deadline = Instant::now() + LONG;
        while !until() {
            assert!(Instant::now() < deadline);
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn jobs_run_in_their_order_on_one_thread() {
        let prober = prober();
        let now = Instant::now();
        let (first, one) = run(&prober, now);
        let (second, two) = run(&prober, now);
        let thread = one.recv_timeout(LONG).unwrap();
        assert_eq!(two.recv_timeout(LONG).unwrap(), thread);
        assert_ne!(thread, thread::current().id());
        wait(|| first.finished() && second.finished());
    }

    #[test]
    fn what_hangs_is_left_alone_and_the_others_go_on() {
        let prober = prober();
        let now = Instant::now();
        let (stuck, release, begun) = hang(&prober, now);
        let (behind, seen) = run(&prober, now);
        begun.recv_timeout(LONG).unwrap();
        prober.pass_by(Instant::now());
        assert!(!stuck.abandoned(), "it has had no time yet");
        prober.pass_by(Instant::now() + PATIENCE);
        assert!(stuck.abandoned() && !stuck.finished());
        seen.recv_timeout(LONG).unwrap();
        wait(|| behind.finished());

        drop(release);
        wait(|| stuck.finished());
        assert!(!stuck.abandoned());
        assert_eq!(prober.shared.state.lock().lost, 0);
        let (after, _seen) = run(&prober, Instant::now());
        wait(|| after.finished());
    }

    #[test]
    fn threads_are_lost_up_to_a_bound_and_come_back() {
        let prober = prober();
        let mut stuck = Vec::new();
        for _ in 0..MAX_LOST {
            let (ticket, release, begun) = hang(&prober, Instant::now());
            begun.recv_timeout(LONG).unwrap();
            prober.pass_by(Instant::now() + PATIENCE);
            assert!(ticket.abandoned());
            stuck.push((ticket, release));
        }
        assert!(matches!(
            prober.submit(|| (), Instant::now()),
            Err(ProbeError::AllStuck)
        ));
        let (ticket, release) = stuck.pop().unwrap();
        drop(release);
        wait(|| ticket.finished());
        let (after, seen) = run(&prober, Instant::now());
        seen.recv_timeout(LONG).unwrap();
        wait(|| after.finished());
    }

    /// Those that waited behind the last thread to be lost are done by the first to return.
    #[test]
    fn a_thread_that_returns_does_what_waits() {
        let prober = prober();
        let mut stuck = Vec::new();
        for _ in 1..MAX_LOST {
            let (_, release, begun) = hang(&prober, Instant::now());
            begun.recv_timeout(LONG).unwrap();
            prober.pass_by(Instant::now() + PATIENCE);
            stuck.push(release);
        }
        let (_, last, begun) = hang(&prober, Instant::now());
        begun.recv_timeout(LONG).unwrap();
        let (behind, seen) = run(&prober, Instant::now());
        prober.pass_by(Instant::now() + PATIENCE);
        assert!(!behind.finished());
        drop(last);
        seen.recv_timeout(LONG).unwrap();
        wait(|| behind.finished());
    }

    fn step(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    #[test]
    fn each_step_has_its_time_and_the_one_that_hangs_is_known() {
        let prober = prober();
        let (go_on, told) = channel::<()>();
        let (beginning, begun) = channel();
        let job = move |pulse: &Pulse<'_>| {
            for name in ["first", "second"] {
                beginning.send(pulse.begins(&step(name))).unwrap();
                let _ = told.recv();
            }
            beginning.send(pulse.begins(&step("third"))).unwrap();
        };
        let before = Instant::now();
        let ticket = prober.submit_steps(job, before).unwrap();
        assert!(begun.recv_timeout(LONG).unwrap());
        go_on.send(()).unwrap();
        assert!(begun.recv_timeout(LONG).unwrap());
        prober.pass_by(before + OVERDUE);
        assert!(!ticket.abandoned(), "the second began later");
        assert!(prober.lost_to().is_empty());

        prober.pass_by(Instant::now() + OVERDUE);
        assert!(ticket.abandoned());
        let lost = prober.lost_to();
        assert_eq!(lost.len(), 1);
        assert_eq!(&*lost[0].0, "second");
        go_on.send(()).unwrap();
        assert!(
            !begun.recv_timeout(LONG).unwrap(),
            "no more of its business"
        );
        wait(|| ticket.finished());
        assert!(prober.lost_to().is_empty());
    }

    #[test]
    fn jobs_that_wait_are_bounded() {
        let prober = prober();
        let (_, _release, begun) = hang(&prober, Instant::now());
        begun.recv_timeout(LONG).unwrap();
        for _ in 0..MAX_WAITING {
            prober.submit(|| (), Instant::now()).unwrap();
        }
        assert!(matches!(
            prober.submit(|| (), Instant::now()),
            Err(ProbeError::Full)
        ));
    }

    #[test]
    fn the_thread_ends_with_the_last_clone() {
        let prober = prober();
        let (ticket, _seen) = run(&prober, Instant::now());
        wait(|| ticket.finished());
        let shared = Arc::downgrade(&prober.shared);
        let clone = prober.clone();
        drop(prober);
        assert!(!clone.shared.state.lock().closed);
        drop(clone);
        wait(|| shared.strong_count() == 0);
    }

    #[tokio::test]
    async fn the_end_of_a_job_rings_the_bell() {
        let wakeup = Wakeup::default();
        let prober = Prober::new(wakeup.clone());
        let (ticket, _seen) = run(&prober, Instant::now());
        tokio::time::timeout(LONG, wakeup.rung()).await.unwrap();
        assert!(ticket.finished());
    }
}
