//! The connections of agents: what is read from them, and what is said to them. Models are asked
//! for at a pace.

use std::time::Instant;

use super::events;
use super::pacer::{Asked, Pacer};
use super::throttle::Throttle;
use crate::curve::context::TransportError;
use crate::curve::frames::Received;
use crate::curve::router::{Router, RoutingIdBytes};
use crate::protocol::message::{Control, Message};

/// Most models asked for in one turn, of those that had to wait.
const BATCH_ASKED: usize = 256;

/// The ROUTER that agents connect to.
pub(super) struct Agents {
    router: Router,
    pacer: Pacer,
    /// Requests for models that were refused.
    unasked: Throttle,
}

impl Agents {
    pub(super) fn new(router: Router, now: Instant) -> Self {
        Self {
            router,
            pacer: Pacer::new(now),
            unasked: Throttle::default(),
        }
    }

    /// Waits for the next message. Cancel safe.
    pub(super) async fn receive(&mut self) -> Result<(RoutingIdBytes, Received), TransportError> {
        self.router.receive().await
    }

    /// The next message, where there is one now.
    pub(super) fn try_receive(
        &mut self,
    ) -> Result<Option<(RoutingIdBytes, Received)>, TransportError> {
        self.router.try_receive()
    }

    /// Sends a word. A peer that does not read what is sent to it, or that has gone, misses it.
    pub(super) fn send(&mut self, to: &RoutingIdBytes, control: Control) {
        if let Err(error) = self
            .router
            .try_send(to, &Message::Control(control).frames())
        {
            events::sending_failed(to, control.word(), &error);
        }
    }

    /// Asks for a model, now or when it is that connection's turn. `may_refuse`: what is sent then
    /// may be refused.
    pub(super) fn ask_model(&mut self, now: Instant, of: &RoutingIdBytes, may_refuse: bool) {
        match self.pacer.ask(now, of) {
            Asked::Now => self.send_request(of, may_refuse),
            Asked::Later => {}
            Asked::Refused => {
                if let Some(untold) = self.unasked.note(now) {
                    events::models_not_asked_for(untold);
                }
            }
        }
    }

    /// Asks those whose turn has come.
    pub(super) fn ask_waiting(&mut self, now: Instant, may_refuse: bool) {
        for _ in 0..BATCH_ASKED {
            match self.pacer.take_due(now) {
                Some(of) => self.send_request(&of, may_refuse),
                None => break,
            }
        }
    }

    /// When [`ask_waiting`](Self::ask_waiting) has something to do; None while nothing waits.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.pacer.next_due()
    }

    /// Asks for a model. Where what is sent may be refused a ping goes before: it says that another
    /// message will follow what is taken.
    fn send_request(&mut self, of: &RoutingIdBytes, may_refuse: bool) {
        if may_refuse {
            self.send(of, Control::Ping);
        }
        self.send(of, Control::Model);
    }
}
