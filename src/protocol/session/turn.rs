//! What one event changes in a session, and what is to be done for it.

use std::time::{Duration, Instant};

use super::delivery::{Delivery, UNACKNOWLEDGED_LIMIT, Verdict, Watch};
use super::{
    Action, Actions, Dialogue, Event, LinkDown, OpenFailure, Phase, Reason, Session, later,
};
use crate::protocol::message::{Control, GridKind};

/// A collector that was heard this long after the last sign that something arrives is there.
const HEARD_AFTER: Duration = Duration::from_secs(UNACKNOWLEDGED_LIMIT.as_secs() / 2);

/// One event's turn: the session, the time, and the actions found so far.
pub(super) struct Turn<'a> {
    pub(super) session: &'a mut Session,
    pub(super) now: Instant,
    pub(super) actions: &'a mut Actions,
}

impl Turn<'_> {
    pub(super) fn take(&mut self, event: Event, random: &mut impl FnMut() -> f64) {
        if matches!(self.session.phase, Phase::Stopped) {
            return;
        }
        match event {
            Event::Start | Event::Tick => self.look_at_the_clock(random),
            Event::Opened => self.opened(),
            Event::OpenFailed(cause) => self.open_failed(cause, random),
            Event::ConnectFailed => self.fail(Reason::Unreachable, random),
            Event::LinkUp => self.link_up(),
            Event::LinkDown(down) => self.link_down(down, random),
            Event::Received(Ok(Control::Refused)) => self.refused(random),
            Event::Received(message) => self.received(message),
            Event::Heard => {
                if let Phase::Linked { silent_since, .. } = &mut self.session.phase {
                    *silent_since = self.now;
                    self.session.last_received = Some(self.now);
                }
            }
            Event::SampleReady => {
                self.look_at_the_clock(random);
                if self.session.wants_metrics() {
                    self.actions.push(Action::SendMetrics);
                    self.grid_sent(GridKind::Metrics);
                }
            }
            Event::Looked(found) => self.looked(found, random),
            Event::Reconnect => {
                self.close();
                self.session.failure = None;
                self.session.undelivered = None;
                self.session.refused = false;
                self.open(true);
            }
            Event::TryNext => {
                if let Phase::BackingOff { before, .. } = self.session.phase {
                    self.session.backoff = before;
                    self.open(false);
                }
            }
            Event::Configure(settings) => {
                self.session.settings = settings;
                self.look_at_the_clock(random);
            }
            Event::Stop => {
                self.close();
                self.session.phase = Phase::Stopped;
            }
        }
    }

    /// Does what is due where the deadline has come.
    fn look_at_the_clock(&mut self, random: &mut impl FnMut() -> f64) {
        if self.session.deadline().is_none_or(|due| self.now < due) {
            return;
        }
        match self.session.phase {
            Phase::New { .. } | Phase::BackingOff { .. } => self.open(false),
            Phase::Opening { since, .. } | Phase::Connecting { since } => {
                let after = self.now.saturating_duration_since(since);
                self.fail(Reason::ConnectTimedOut { after }, random);
            }
            Phase::Linked {
                silent_since,
                ref mut delivery,
                ..
            } => {
                let lasting = self.now.saturating_duration_since(silent_since);
                if self.now >= later(silent_since, self.session.settings.stale_interval) {
                    self.fail(Reason::Silent { lasting }, random);
                } else {
                    delivery.looking(self.now);
                    self.actions.push(Action::Look);
                }
            }
            Phase::Stopped => {}
        }
    }

    fn grid_sent(&mut self, kind: GridKind) {
        if let Phase::Linked { delivery, .. } = &mut self.session.phase {
            delivery.sent(self.now, kind);
        }
    }

    fn looked(&mut self, found: Option<Delivery>, random: &mut impl FnMut() -> f64) {
        let Phase::Linked {
            silent_since,
            delivery,
            ..
        } = &mut self.session.phase
        else {
            return;
        };
        let verdict = if let Some(found) = found {
            delivery.look(self.now, found)
        } else {
            // It cannot be found out: then nothing counts against the path.
            *delivery = Watch::default();
            Verdict::Delivered
        };
        match verdict {
            Verdict::Delivered if self.session.undelivered.take().is_some() => {
                self.session.failure = self.session.refused.then_some(Reason::Refused);
                self.session.backoff.reset();
            }
            // A collector that is not heard either is silent, or its host is gone.
            Verdict::Stuck { since }
                if delivery.heard(*silent_since) >= later(since, HEARD_AFTER) =>
            {
                let lasting = self.now.saturating_duration_since(since);
                self.session.undelivered = Some(lasting);
                self.fail(Reason::Unacknowledged { lasting }, random);
            }
            Verdict::Delivered | Verdict::Open | Verdict::Stuck { .. } => {}
        }
    }

    fn open(&mut self, ordered: bool) {
        self.actions.push(Action::Open);
        self.session.phase = Phase::Opening {
            since: self.now,
            ordered,
        };
    }

    fn opened(&mut self) {
        if let Phase::Opening { .. } = self.session.phase {
            self.session.phase = Phase::Connecting { since: self.now };
        }
    }

    fn open_failed(&mut self, cause: OpenFailure, random: &mut impl FnMut() -> f64) {
        match self.session.phase {
            // There is no socket to close.
            Phase::Opening { .. } => self.back_off(Reason::OpenFailed(cause), random),
            _ => self.fail(Reason::OpenFailed(cause), random),
        }
    }

    fn link_up(&mut self) {
        let silent_since = match self.session.phase {
            // A link implies a socket, even if we have no event for it.
            Phase::Opening { .. } => self.now,
            Phase::Connecting { since } => since,
            // The transport reconnected by itself: a new link, on which nothing was said
            // yet. It is no sign of life: one that flaps must not put off staleness.
            Phase::Linked { silent_since, .. } => silent_since,
            Phase::New { .. } | Phase::BackingOff { .. } | Phase::Stopped => return,
        };
        self.stop_metrics();
        self.actions.push(Action::SendHello);
        self.session.phase = Phase::Linked {
            up_since: self.now,
            silent_since,
            dialogue: Dialogue::Unanswered,
            delivery: Watch::default(),
        };
    }

    fn link_down(&mut self, down: LinkDown, random: &mut impl FnMut() -> f64) {
        let reason = match (down, self.session.phase) {
            (LinkDown::Disconnected, Phase::Linked { delivery, .. }) => {
                match delivery.ended(self.now) {
                    Some(lasting) => {
                        self.session.undelivered = Some(lasting);
                        Reason::Unacknowledged { lasting }
                    }
                    None => Reason::LinkLost,
                }
            }
            // A collector drops a connection whose handshake names another key: from here that is a
            // link that went before it was up.
            (LinkDown::HandshakeFailed | LinkDown::Disconnected, _) => Reason::HandshakeFailed,
        };
        self.fail(reason, random);
    }

    fn received(&mut self, message: Result<Control, ()>) {
        let before;
        match &mut self.session.phase {
            Phase::Linked {
                silent_since,
                dialogue,
                ..
            } => {
                *silent_since = self.now;
                before = *dialogue;
                *dialogue = match before {
                    Dialogue::Unanswered | Dialogue::Alive => Dialogue::Alive,
                    // Whom it refuses it says nothing else.
                    Dialogue::Judging | Dialogue::Asked => Dialogue::Asked,
                };
            }
            // Heard before the monitor reported the link. The collector is alive, but hello was not
            // said: nothing is answered, and the hello will bring the request again.
            Phase::Connecting { since } => {
                *since = self.now;
                before = Dialogue::Unanswered;
            }
            _ => return,
        }
        self.session.last_received = Some(self.now);
        // After a refusal only what follows the request for the model shows that this host is heard.
        let asked = matches!(before, Dialogue::Judging | Dialogue::Asked);
        self.session.refused &= !asked;
        // What is small gets through, and proves nothing of the rest.
        let undelivered = self.session.undelivered;
        self.session.failure = undelivered
            .map(|lasting| Reason::Unacknowledged { lasting })
            .or(self.session.refused.then_some(Reason::Refused));
        if self.session.failure.is_none() {
            self.session.backoff.reset();
        }
        if message == Ok(Control::Model) {
            self.model_requested(before);
        }
    }

    /// The collector does not hear this host. It may once an administrator has put that right.
    fn refused(&mut self, random: &mut impl FnMut() -> f64) {
        if let Phase::Linked { .. } = self.session.phase {
            self.session.last_received = Some(self.now);
            self.fail(Reason::Refused, random);
            self.session.refused = true;
        }
    }

    fn model_requested(&mut self, before: Dialogue) {
        let Phase::Linked { dialogue, .. } = &mut self.session.phase else {
            return;
        };
        let starts = matches!(before, Dialogue::Unanswered | Dialogue::Alive);
        *dialogue = match before {
            Dialogue::Alive => Dialogue::Judging,
            Dialogue::Unanswered | Dialogue::Judging | Dialogue::Asked => Dialogue::Asked,
        };
        let window = self.session.settings.model_min_interval;
        let answered = self.session.last_model;
        if answered.is_none_or(|at| self.now.saturating_duration_since(at) >= window) {
            self.session.last_model = Some(self.now);
            self.actions.push(Action::SendModel);
            self.grid_sent(GridKind::Model);
        }
        if starts {
            self.actions.push(Action::StartMetrics);
        }
    }

    /// The connection failed: what is open is closed, and the next one waits.
    fn fail(&mut self, reason: Reason, random: &mut impl FnMut() -> f64) {
        if self.session.holds_socket() {
            self.close();
            self.back_off(reason, random);
        }
    }

    fn back_off(&mut self, reason: Reason, random: &mut impl FnMut() -> f64) {
        let before = self.session.backoff;
        let mut delay = self.session.backoff.delay(random);
        match reason {
            // The next model is what the collector judges by.
            Reason::Refused => delay = delay.max(self.session.settings.model_min_interval),
            Reason::Silent { .. } => self.session.refused = false,
            _ => {}
        }
        self.actions.push(Action::BackOff { reason, delay });
        self.session.failure = Some(reason);
        self.session.phase = Phase::BackingOff {
            until: later(self.now, delay),
            before,
        };
    }

    fn close(&mut self) {
        self.stop_metrics();
        if self.session.holds_socket() {
            self.actions.push(Action::Close);
        }
    }

    fn stop_metrics(&mut self) {
        if self.session.wants_metrics() {
            self.actions.push(Action::StopMetrics);
        }
    }
}
