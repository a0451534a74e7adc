//! What the collector's loop and the thread of one target share: the queue, and what became
//! of its samples. The lock is held for moments only, never while encoding or sending.

use std::sync::MutexGuard;
use std::time::{Duration, Instant, SystemTime};

use super::batch::MAX_BATCH_SAMPLES;
use super::queue::{Item, Limits, Pushed, Queue};
use crate::base::monitor::Monitor;

/// How long the first sample waits for others to go with it: a request for each message
/// would cost receivers more than its samples.
const GATHER: Duration = Duration::from_secs(1);

/// What both sides know.
#[derive(Debug)]
pub(super) struct Shared {
    /// Changes are for the thread, and at its end for who waits for that.
    state: Monitor<State>,
}

#[derive(Debug)]
pub(super) struct State {
    queue: Queue,
    pub(super) counts: Counts,
    pub(super) failing: bool,
    pub(super) last_error: Option<String>,
    pub(super) last_success: Option<SystemTime>,
    /// Samples that the thread has taken and not sent yet.
    in_hand: usize,
    /// Files are to be read again.
    reload: bool,
    /// To stop, sending what waits by then.
    stop: Option<Instant>,
    ended: bool,
}

/// What happened to samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) failed: u64,
    pub(super) dropped: u64,
}

/// What the thread is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Send what it was given.
    Send,
    /// Nothing waits, and there will be no more.
    End,
}

impl Shared {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            state: Monitor::new(State {
                queue: Queue::new(limits),
                counts: Counts::default(),
                failing: false,
                last_error: None,
                last_success: None,
                in_hand: 0,
                reload: false,
                stop: None,
                ended: false,
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Puts something into the queue.
    pub(super) fn push(&self, item: Item) -> Pushed {
        let mut state = self.lock();
        let before = state.queue.samples();
        let empty = state.queue.is_empty();
        let pushed = state.queue.push(item);
        state.counts.dropped += pushed.dropped;
        let full = before < MAX_BATCH_SAMPLES && state.queue.samples() >= MAX_BATCH_SAMPLES;
        drop(state);
        if empty || full {
            self.state.notify();
        }
        pushed
    }

    /// Files are to be read again.
    pub(super) fn reload(&self) {
        self.lock().reload = true;
        self.state.notify();
    }

    /// The thread is to stop, at this time at the latest.
    pub(super) fn stop(&self, deadline: Instant) {
        self.lock().stop = Some(deadline);
        self.state.notify();
    }

    /// Waits until the thread has ended, no longer than this; how many samples it leaves
    /// where it has not.
    pub(super) fn wait_for_end(&self, deadline: Instant) -> Option<usize> {
        let state = self.lock();
        let patience = deadline.saturating_duration_since(Instant::now());
        let runs = |state: &mut State| !state.ended;
        let (mut state, _) = self.state.wait_while_for(state, patience, runs);
        if state.ended {
            return None;
        }
        // Whatever the thread finds out now, it is too late to say.
        state.ended = true;
        Some(state.waiting())
    }

    /// Waits until the thread has ended, no longer than this.
    pub(super) fn let_end(&self, deadline: Instant) {
        let state = self.lock();
        let patience = deadline.saturating_duration_since(Instant::now());
        // Whatever the outcome: it has had its time.
        let runs = |state: &mut State| !state.ended;
        let _ = self.state.wait_while_for(state, patience, runs);
    }

    /// Returns true if the thread has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// The thread: waits for a batch's worth, and takes it.
    pub(super) fn take(&self, items: &mut Vec<Item>) -> Work {
        let mut state = self.lock();
        loop {
            let idle = |state: &mut State| state.queue.is_empty() && state.stop.is_none();
            state = self.state.wait_while(state, idle);
            let few = |state: &mut State| {
                state.queue.samples() < MAX_BATCH_SAMPLES && state.stop.is_none()
            };
            (state, _) = self.state.wait_while_for(state, GATHER, few);
            let mut samples = 0;
            while samples < MAX_BATCH_SAMPLES {
                let Some(item) = state.queue.pop() else {
                    break;
                };
                samples += item.samples();
                items.push(item);
            }
            state.in_hand = samples;
            if !items.is_empty() {
                return Work::Send;
            }
            if state.stop.is_some() {
                return Work::End;
            }
        }
    }

    /// The thread: waits before it tries again; less where it is to stop, or files are to be
    /// read again.
    pub(super) fn pause(&self, time: Duration) {
        let state = self.lock();
        let quiet = |state: &mut State| state.stop.is_none() && !state.reload;
        // Whatever the outcome: it is tried again.
        let _ = self.state.wait_while_for(state, time, quiet);
    }

    /// The thread: has ended; how many samples are left, where that is for it to say.
    pub(super) fn end(&self) -> Option<usize> {
        let mut state = self.lock();
        let left = state.waiting();
        state.counts.dropped += left as u64;
        state.queue.clear();
        state.in_hand = 0;
        let told = std::mem::replace(&mut state.ended, true);
        drop(state);
        self.state.notify();
        (!told && left > 0).then_some(left)
    }
}

impl State {
    /// Samples that are neither sent nor given up.
    pub(super) fn waiting(&self) -> usize {
        self.queue.samples() + self.in_hand
    }

    /// Returns true, once, if files must be read again.
    pub(super) fn take_reload(&mut self) -> bool {
        std::mem::take(&mut self.reload)
    }

    /// By when to stop, if at all.
    pub(super) fn stopping(&self) -> Option<Instant> {
        self.stop
    }

    /// So many samples that were taken are settled.
    pub(super) fn settle(&mut self, samples: usize) {
        self.in_hand = self.in_hand.saturating_sub(samples);
    }

    /// All samples that were taken are settled; how many the queue dropped, where it has
    /// room again.
    pub(super) fn settle_all(&mut self) -> Option<u64> {
        self.in_hand = 0;
        self.queue.room_again()
    }
}
