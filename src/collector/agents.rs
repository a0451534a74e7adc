//! The connections of agents: receives from them and sends to them. Limits the rate of requests
//! for models.

use std::time::Instant;

use super::events;
use super::history::History;
use super::pacer::{Asked, Pacer};
use crate::base::throttle::Throttle;
use crate::curve::TransportError;
use crate::curve::keys::PublicKey;
use crate::curve::router::{Arrived, Load, Origin, Router, RoutingIdBytes, Verdict};
use crate::protocol::data::{Acknowledged, Word};
use crate::protocol::message::{Control, Message, TAG_CONTROL};

/// Maximum number of delayed requests for models that are sent in one turn.
const BATCH_ASKED: usize = 256;

/// Maximum number of receipts that are sent in one turn.
const BATCH_RECEIPTS: usize = 256;

/// The ROUTER that agents connect to.
pub(super) struct Agents {
    router: Router,
    pacer: Pacer,
    /// Requests for models that were refused.
    unasked: Throttle,
    /// What is known of connections that were offered the second wire.
    pub(super) history: History,
    /// What a receipt means.
    acknowledged: Acknowledged,
}

impl Agents {
    pub(super) fn new(router: Router, now: Instant) -> Self {
        Self {
            router,
            pacer: Pacer::new(now),
            unasked: Throttle::default(),
            history: History::default(),
            acknowledged: Acknowledged::default(),
        }
    }

    /// How the socket fares.
    pub(super) fn load(&self) -> Load {
        self.router.load()
    }

    /// Waits for what arrives next. Cancel safe.
    pub(super) async fn receive(&mut self) -> Result<Arrived, TransportError> {
        self.router.receive().await
    }

    /// What arrives next, if it is there now.
    pub(super) fn try_receive(&mut self) -> Result<Option<Arrived>, TransportError> {
        self.router.try_receive()
    }

    /// Lets an agent in that has proved its key, or not.
    pub(super) fn answer(&mut self, now: Instant, knock: &Origin, verdict: Verdict) {
        self.router.answer(now, knock, verdict);
    }

    /// Ends the connections of all keys that are not allowed (any more).
    pub(super) fn review(&mut self, allowed: &mut impl FnMut(&PublicKey) -> bool) {
        self.router.review(allowed);
    }

    /// Sends a message. A peer that does not read, or that has gone, misses it.
    pub(super) fn send(&mut self, to: &RoutingIdBytes, control: Control) {
        if let Err(error) = self
            .router
            .try_send(to, &Message::Control(control).frames())
        {
            events::sending_failed(to, control.word(), &error);
        }
    }

    /// Asks for a model, now or when it is that connection's turn. `may_refuse`: the collector
    /// may refuse what the agent sends next.
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

    /// Sends the delayed requests that are due.
    pub(super) fn ask_waiting(&mut self, now: Instant, may_refuse: bool) {
        for _ in 0..BATCH_ASKED {
            match self.pacer.take_due(now) {
                Some(of) => self.send_request(&of, may_refuse),
                None => break,
            }
        }
    }

    /// When [`ask_waiting`](Self::ask_waiting) or [`send_receipts`](Self::send_receipts) has something to
    /// do; None while nothing waits.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = [self.pacer.next_due(), self.history.next_due()];
        due.into_iter().flatten().min()
    }

    /// Asks for a model. If what the agent sends next may be refused, a ping goes first: it
    /// tells the agent that a message which is accepted will be followed by another one from
    /// the collector.
    fn send_request(&mut self, of: &RoutingIdBytes, may_refuse: bool) {
        if may_refuse {
            self.send(of, Control::Ping);
        }
        self.send(of, Control::Model);
        self.offer(of);
    }

    /// Makes a connection the offer of the second wire as it is now.
    pub(super) fn offer(&mut self, of: &RoutingIdBytes) {
        if let Some(offer) = self.history.offer(of, self.acknowledged) {
            self.say(of, Word::Offer(offer));
        }
    }

    /// A connection says hello, of a fleet of so many hosts: it will be offered the second wire. Engines
    /// may or may not have room for more now. Others may have to do with less from now on, and are told.
    pub(super) fn began(&mut self, id: &RoutingIdBytes, hosts: usize, has_room: bool) {
        let router = &self.router;
        let less = self
            .history
            .began(id, (hosts, has_room), |id| router.knows(id));
        for id in less {
            self.offer(&id);
        }
    }

    /// From now on receipts mean this. All connections are told.
    pub(super) fn acknowledge(&mut self, acknowledged: Acknowledged) {
        if std::mem::replace(&mut self.acknowledged, acknowledged) == acknowledged {
            return;
        }
        for (to, offer) in self.history.offers(acknowledged) {
            self.say(&to, Word::Offer(offer));
        }
    }

    /// Sends the receipts that are due; `told` gets the host of each.
    pub(super) fn send_receipts(&mut self, now: Instant, mut told: impl FnMut(&str)) {
        for _ in 0..BATCH_RECEIPTS {
            let Some((host, to, receipt)) = self.history.take_receipt(now) else {
                break;
            };
            if self.say(&to, Word::Receipt(receipt)) {
                told(&host);
            }
        }
    }

    /// Sends all receipts that wait: the collector stops.
    pub(super) fn send_last_receipts(&mut self, now: Instant) {
        for (to, receipt) in self.history.last_receipts(now) {
            self.say(&to, Word::Receipt(receipt));
        }
        self.router.flush_all();
    }

    /// Sends a word of the second wire; whether it is on its way. Who has gone misses it, and is told again
    /// when it comes back.
    fn say(&mut self, to: &RoutingIdBytes, word: Word) -> bool {
        let text = match word {
            Word::Offer(offer) => offer.to_string(),
            Word::Receipt(receipt) => receipt.to_string(),
        };
        let frames = [TAG_CONTROL.as_bytes(), text.as_bytes()];
        let sent = self.router.try_send(to, &frames);
        if let Err(error) = &sent {
            let word = text.split(' ').next().unwrap_or_default();
            events::sending_failed(to, word, error);
        }
        sent.is_ok()
    }
}
