//! One viewer: what it is owed, and when. Pure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::replay::{ReplayBuffer, Taped};
use super::types::{Counts, Event, Kind, Models, Timing, Who};
use crate::base::throttle::TELL_INTERVAL;
use crate::curve::SendError;
use crate::curve::router::RoutingIdBytes;
use crate::metrics::families::FamilySet;
use crate::protocol::message::{Control, GridKind, Message};

/// What of an answer one viewer is handed in one turn at most, so that ten thousand models
/// do not keep the loop from the agents: some milliseconds of encoding.
const OWED_IN_A_TURN: usize = 64;

/// The same for what waits on the replay: some milliseconds of work.
const TAPED_IN_A_TURN: usize = 64;

/// A ROUTER does not tell when a peer has room again, so it is tried again after this: with
/// 64 messages each time a viewer that keeps up gets 6,400 a second, three times what 10,000
/// hosts say that report every 5 s.
pub(super) const RETRY: Duration = Duration::from_millis(10);

/// The wait doubles up to this while a viewer takes nothing at all.
pub(super) const RETRY_MAX: Duration = Duration::from_millis(640);

/// A ping that found no room is tried again after this: a viewer must not wait for a whole
/// silence more.
const PING_RETRY: Duration = Duration::from_secs(1);

/// Sends a message to a viewer, without waiting.
pub trait Send: FnMut(&RoutingIdBytes, &Message<'_>) -> Result<(), SendError> {}

impl<F: FnMut(&RoutingIdBytes, &Message<'_>) -> Result<(), SendError>> Send for F {}

/// A message of an answer; it is written when it is its turn.
#[derive(Debug)]
enum Owed {
    /// The model of this host.
    Model(Arc<str>),
    /// Since when this host does not report.
    State(Arc<str>),
    /// The latest values of this host that came before the viewer did, beside these families.
    Metrics(Arc<str>, FamilySet),
}

#[derive(Debug)]
pub(super) struct Viewer {
    pub(super) who: Who,
    /// When it came: it gets what came since as it is.
    since: Instant,
    pub(super) heard: Instant,
    /// When it was last handed something.
    fed: Instant,
    /// When the last answer with all models began.
    answered: Option<Instant>,
    /// It has asked since.
    pub(super) asks: bool,
    /// What is left of the answer, the next one last.
    owed: Vec<Owed>,
    /// No live message goes before the models and states of the first answer.
    newcomer: bool,
    /// The message of the replay that it is to have next; None where it has all.
    pub(super) behind: Option<u64>,
    /// When to try again, where something could not be sent or was left for later.
    pub(super) again: Option<Instant>,
    /// How long to wait then.
    retry: Duration,
    pub(super) left: bool,
    lost: u64,
    told: Option<Instant>,
}

impl Viewer {
    /// One that has just said hello; `end` is that of the replay.
    pub(super) fn new(now: Instant, who: Who, end: u64) -> Self {
        Self {
            who,
            since: now,
            heard: now,
            fed: now,
            answered: None,
            asks: true,
            owed: Vec::new(),
            newcomer: true,
            behind: Some(end),
            again: Some(now),
            retry: RETRY,
            left: false,
            lost: 0,
            told: None,
        }
    }

    /// Returns true if it is sent live messages of this kind.
    pub(super) fn wants(&self, kind: Kind) -> bool {
        match kind {
            Kind::Grid(_) => true,
            Kind::ModelFor(viewers) => viewers == self.who.viewers(),
            Kind::State => self.who.wants_states(),
        }
    }

    /// Sends a message; whether that worked.
    pub(super) fn hand(
        &mut self,
        now: Instant,
        message: &Message<'_>,
        send: &mut impl Send,
        counts: &mut Counts,
    ) -> bool {
        if self.left {
            return false;
        }
        match send(&self.who.routing_id, message) {
            Ok(()) => {
                self.fed = now;
                self.retry = RETRY;
                counts.sent += 1;
                true
            }
            Err(SendError::UnknownPeer) => {
                self.left = true;
                false
            }
            Err(_) => false,
        }
    }

    pub(super) fn begin_answer(&mut self, now: Instant, timing: Timing, models: &impl Models) {
        if self.answer_due(timing).is_none_or(|due| due > now) {
            return;
        }
        self.asks = false;
        let is_first = self.answered.replace(now).is_none();
        let owed = models
            .names(self.who.viewers())
            .into_iter()
            .map(Owed::Model);
        self.owed = owed.collect();
        if self.wants(Kind::State) {
            self.owed
                .extend(models.absent().into_iter().map(Owed::State));
        }
        if is_first && self.who.wants_latest() {
            let told = FamilySet::default();
            let heard = models.heard().into_iter();
            self.owed
                .extend(heard.map(|host| Owed::Metrics(host, told)));
        }
        self.owed.reverse();
        self.again = Some(now);
    }

    /// When the next answer may begin.
    fn answer_due(&self, timing: Timing) -> Option<Instant> {
        let free = self.asks && self.owed.is_empty();
        free.then(|| {
            self.answered
                .map_or(self.heard, |answered| answered + timing.answer)
        })
    }

    /// Hands over what it is owed and what waits for it, as much as a turn allows.
    pub(super) fn catch_up(
        &mut self,
        now: Instant,
        replay: &ReplayBuffer,
        models: &impl Models,
        buffer: &mut Vec<u8>,
        send: &mut impl Send,
        counts: &mut Counts,
    ) {
        let mut all = true;
        if self.newcomer {
            all = self.hand_owed(now, models, buffer, send, counts);
            self.newcomer = !all;
        }
        all = all && self.hand_taped(now, replay, send, counts);
        if all && !self.newcomer {
            self.hand_owed(now, models, buffer, send, counts);
        }
    }

    /// Returns true if nothing is left to send.
    fn hand_owed(
        &mut self,
        now: Instant,
        models: &impl Models,
        buffer: &mut Vec<u8>,
        send: &mut impl Send,
        counts: &mut Counts,
    ) -> bool {
        let viewers = self.who.viewers();
        for _ in 0..OWED_IN_A_TURN {
            let next = self.owed.last();
            if self.newcomer && matches!(next, Some(Owed::Metrics(..))) {
                // A large fleet has so much of it that live messages would be lost meanwhile.
                return true;
            }
            let Some(owed) = self.owed.pop() else {
                return true;
            };
            buffer.clear();
            let mut rest = None;
            let (kind, host, written) = match &owed {
                Owed::Model(host) => {
                    let kind = Kind::Grid(GridKind::Model);
                    (kind, host, models.write(host, viewers, buffer))
                }
                Owed::State(host) => (Kind::State, host, models.write_state(host, buffer)),
                Owed::Metrics(host, told) => {
                    let written = models.write_metrics(host, self.since, *told, buffer);
                    rest = written.map(|more| Owed::Metrics(Arc::clone(host), told.with(more)));
                    (Kind::Grid(GridKind::Metrics), host, rest.is_some())
                }
            };
            if !written {
                // It has gone since, or has come.
                continue;
            }
            if !self.hand(now, &kind.message(host, buffer), send, counts) {
                self.owed.push(owed);
                self.try_later(now);
                return false;
            }
            self.owed.extend(rest);
        }
        let all = self.owed.is_empty();
        if !all {
            self.again = Some(now);
        }
        all
    }

    /// Returns true if nothing waits any more.
    fn hand_taped(
        &mut self,
        now: Instant,
        replay: &ReplayBuffer,
        send: &mut impl Send,
        counts: &mut Counts,
    ) -> bool {
        let Some(next) = self.behind else {
            return true;
        };
        let mut next = next;
        if let Some(lost) = replay.start().checked_sub(next).filter(|lost| *lost > 0) {
            self.lost += lost;
            counts.lost += lost;
            next = replay.start();
        }
        for _ in 0..TAPED_IN_A_TURN {
            let Some(Taped { host, kind, grid }) = replay.get(next) else {
                break;
            };
            if self.wants(*kind) && !self.hand(now, &kind.message(host, grid), send, counts) {
                self.behind = Some(next);
                self.try_later(now);
                return false;
            }
            next += 1;
        }
        let all = next >= replay.end();
        self.behind = (!all).then_some(next);
        if !all {
            self.again = Some(now);
        }
        all
    }

    pub(super) fn try_later(&mut self, now: Instant) {
        self.again = Some(now + self.retry);
        self.retry = (2 * self.retry).min(RETRY_MAX);
    }

    pub(super) fn ping(
        &mut self,
        now: Instant,
        timing: Timing,
        send: &mut impl Send,
        counts: &mut Counts,
    ) {
        if now.saturating_duration_since(self.fed) < timing.silence {
            return;
        }
        if !self.hand(now, &Message::Control(Control::Ping), send, counts) {
            // As if it had been sent something so long ago that it is tried again soon.
            let fed = (now + PING_RETRY).checked_sub(timing.silence);
            self.fed = fed.unwrap_or(now);
        }
    }

    pub(super) fn complain(&mut self, now: Instant) -> Option<Event> {
        let told_lately = self
            .told
            .is_some_and(|told| now.saturating_duration_since(told) < TELL_INTERVAL);
        if self.lost == 0 || told_lately {
            return None;
        }
        self.told = Some(now);
        Some(Event::Lost {
            who: self.who.clone(),
            messages: std::mem::take(&mut self.lost),
        })
    }

    pub(super) fn next_due(&self, timing: Timing) -> Instant {
        if self.left {
            return self.heard;
        }
        let dues = [
            Some(self.heard + timing.patience),
            Some(self.fed + timing.silence),
            self.again,
            self.answer_due(timing),
        ];
        dues.into_iter().flatten().min().unwrap_or(self.heard)
    }
}
