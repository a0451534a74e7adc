//! What the collector's loop and the thread of one target share: the queue, and what became
//! of its samples. The lock is held for moments only, never while encoding or sending.

use std::sync::{Arc, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Notify;

use super::batch::MAX_BATCH_SAMPLES;
use super::queue::{Item, Limits, Pushed, Queue};
use super::receipts::Progress;
use crate::base::monitor::Monitor;

/// How long the first sample waits for others to go with it: a request for each message
/// would cost receivers more than its samples.
const GATHER: Duration = Duration::from_secs(1);

/// What both sides know.
#[derive(Debug)]
pub(super) struct Shared {
    /// Changes are for the thread, and at its end for who waits for that.
    state: Monitor<State>,
    /// Wakes the collector's loop where there are receipts.
    progressed: Arc<Notify>,
}

#[derive(Debug)]
pub(super) struct State {
    queue: Queue,
    pub(super) counts: Counts,
    pub(super) failing: bool,
    pub(super) last_error: Option<String>,
    pub(super) last_success: Option<SystemTime>,
    /// What was settled since the loop last asked.
    progress: Progress,
    /// Samples that the thread has taken and not sent yet.
    in_hand: usize,
    /// What of that must not be lost.
    hand: Vec<Item>,
    rest: Rest,
    /// Files are to be read again.
    reload: bool,
    /// To stop, sending what waits by then.
    stop: Option<Instant>,
    ended: bool,
}

/// What becomes of samples of the second wire that are not sent at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    Dropped,
    /// Another thread goes on with them.
    HandedOver,
}

/// What happened to samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) failed: u64,
    pub(super) dropped: u64,
    /// Samples of history that were moved forward by more than an interval.
    pub(super) moved: u64,
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
    /// With `keeps`, history is not dropped.
    pub(super) fn new(limits: Limits, keeps: bool, progressed: Arc<Notify>) -> Self {
        Self {
            progressed,
            state: Monitor::new(State {
                queue: Queue::new(limits, keeps),
                counts: Counts::default(),
                failing: false,
                last_error: None,
                last_success: None,
                progress: Progress::new(),
                in_hand: 0,
                hand: Vec::new(),
                rest: Rest::Dropped,
                reload: false,
                stop: None,
                ended: false,
            }),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Puts something into the queue; with `keep`, it is history.
    pub(super) fn push(&self, item: Item, keep: bool) -> Pushed {
        let mut state = self.lock();
        let before = state.queue.samples();
        let empty = state.queue.is_empty();
        let pushed = state.queue.push(item, keep);
        state.counts.dropped += pushed.dropped;
        let full = before < MAX_BATCH_SAMPLES && state.queue.samples() >= MAX_BATCH_SAMPLES;
        drop(state);
        if empty || full {
            self.state.notify();
        }
        pushed
    }

    /// Returns true if more history should be put in.
    pub(super) fn has_room(&self) -> bool {
        self.lock().queue.has_room()
    }

    /// What was settled since the last time.
    pub(super) fn take_progress(&self) -> Progress {
        std::mem::take(&mut self.lock().progress)
    }

    /// The thread: everything up to these is settled.
    pub(super) fn settled(&self, tickets: Progress) {
        if tickets.is_empty() {
            return;
        }
        self.lock().progress.extend(tickets);
        self.progressed.notify_one();
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

    /// Another thread will go on with what of the second wire is not sent when this one stops.
    pub(super) fn hand_over(&self) {
        self.lock().rest = Rest::HandedOver;
    }

    /// The thread that goes on: takes what the one before has left, and what it has settled.
    /// What that one still has under way may be sent twice.
    pub(super) fn take_over(&self, before: &Self) -> Vec<Item> {
        let mut old = before.lock();
        if old.rest == Rest::Dropped {
            return Vec::new();
        }
        let mut items = std::mem::take(&mut old.hand);
        items.extend(old.queue.take_all_kept());
        let progress = std::mem::take(&mut old.progress);
        drop(old);
        self.settled(progress);
        let samples = items.iter().map(Item::samples).sum();
        self.lock().take_in_hand(&items, samples);
        items
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
            if !items.is_empty() {
                state.take_in_hand(items, samples);
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
        let mut left = state.waiting();
        if state.rest == Rest::HandedOver {
            let hand: usize = state.hand.iter().map(Item::samples).sum();
            left = left.saturating_sub(state.queue.kept_samples() + hand);
            state.queue.clear_dropping();
        } else {
            state.queue.clear();
        }
        state.counts.dropped += left as u64;
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

    fn take_in_hand(&mut self, items: &[Item], samples: usize) {
        self.in_hand = samples;
        let kept = items.iter().filter(|item| item.ticket().is_some());
        self.hand.extend(kept.cloned());
    }

    /// Returns true, once, if files must be read again.
    pub(super) fn take_reload(&mut self) -> bool {
        std::mem::take(&mut self.reload)
    }

    /// Returns true if files must be read again.
    pub(super) fn has_reload(&self) -> bool {
        self.reload
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
        self.hand.clear();
        self.queue.room_again()
    }
}
