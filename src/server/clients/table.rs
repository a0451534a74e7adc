//! Who looks on, and what each of them is owed. Pure: time and the sending are arguments.
//!
//! A client that says hello is owed the model of every host, and from then on each message
//! of an agent as it comes. What a client does not take at once waits on the one
//! [`Tape`] that all share, so that a message is kept once however many are behind; who
//! falls behind the tape's beginning has lost what was there. Nobody waits for a client.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::tape::{Tape, Taped};
use crate::curve::keys::PublicKey;
use crate::curve::router::{RoutingIdBytes, SendError};
use crate::protocol::message::{Control, GridKind, Message};
use crate::server::complaints::TELL_INTERVAL;

/// Most clients at a time: people who look, not machines by the thousand.
pub const MAX_CLIENTS: usize = 100;

/// What one client is handed in one turn at most, so that ten thousand models do not keep
/// the loop from the agents: some milliseconds of encoding.
const MODELS_IN_A_TURN: usize = 64;

/// The same for what waits on the tape: as much as libzmq's queue for it takes.
const TAPED_IN_A_TURN: usize = 64;

/// A ROUTER does not tell when a peer has room again, so it is tried again after this: with
/// a queue of 64 messages a client that keeps up gets 6,400 a second, three times what
/// 10,000 hosts say that report every 5 s.
const RETRY: Duration = Duration::from_millis(10);

/// The wait doubles up to this while a client takes nothing at all.
const RETRY_MAX: Duration = Duration::from_millis(640);

/// How long a client may take, and has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A client that was sent nothing for this long is sent a ping.
    pub silence: Duration,
    /// A client that was not heard from for this long is dropped.
    pub patience: Duration,
    /// From the beginning of one answer to the next.
    pub answer: Duration,
}

impl Timing {
    /// The protocol's: clients are pinged after 20 s, and say hello at least every 30 s. One
    /// hello that got lost is forgiven. Answers with all models are at least 5 s apart, as
    /// the models of one agent are: a flood of hellos costs no more than that.
    pub const PROTOCOL: Self = Self {
        silence: Duration::from_secs(20),
        patience: Duration::from_secs(60),
        answer: Duration::from_secs(5),
    };
}

/// Who a client is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Its connection.
    pub routing_id: RoutingIdBytes,
    /// Where it is, without a port.
    pub address: Option<String>,
    /// The key that it was let in with.
    pub key: Option<PublicKey>,
}

/// What became of a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// A new client.
    Came(Who),
    /// One that is known.
    Again,
    /// There are [`MAX_CLIENTS`] already.
    Full,
}

/// What is worth saying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was not heard from for too long.
    Silent {
        /// Who.
        who: Who,
        /// For how long.
        silence: Duration,
    },
    /// Its connection has ended.
    Left {
        /// Who.
        who: Who,
    },
    /// It does not keep up.
    Lost {
        /// Who.
        who: Who,
        /// Messages that it missed since this was last said.
        messages: u64,
    },
}

/// The models of hosts, as a client gets them.
pub trait Models {
    /// The hosts that there are.
    fn names(&self) -> Vec<Arc<str>>;

    /// Writes the model of a host as JSON into `out`, which is empty; false where there is
    /// none.
    fn write(&self, host: &str, out: &mut Vec<u8>) -> bool;
}

/// Messages handed to clients and not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed to a client's queue.
    pub sent: u64,
    /// Missed by a client that did not keep up.
    pub lost: u64,
}

/// The clients.
#[derive(Debug)]
pub struct Table {
    timing: Timing,
    clients: Vec<Client>,
    tape: Tape,
    counts: Counts,
    /// A model on its way; keeps its room.
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Client {
    who: Who,
    heard: Instant,
    /// When it was last handed something.
    fed: Instant,
    /// When the last answer with all models began.
    answered: Option<Instant>,
    /// It has asked since.
    asks: bool,
    /// Whose models it is owed, the next one last.
    owed: Vec<Arc<str>>,
    /// No live message goes before the models of the first answer.
    newcomer: bool,
    /// The message of the tape that it is to have next; None where it has all.
    behind: Option<u64>,
    /// When to try again, where something could not be sent or was left for later.
    again: Option<Instant>,
    /// How long to wait then.
    retry: Duration,
    left: bool,
    lost: u64,
    told: Option<Instant>,
}

impl Table {
    /// Nobody looks on yet.
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            clients: Vec::new(),
            tape: Tape::default(),
            counts: Counts::default(),
            buffer: Vec::new(),
        }
    }

    /// How many look on.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether nobody does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// What was handed to them.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What waits for those who are behind, in bytes.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.tape.bytes()
    }

    /// Whether this client is known.
    #[must_use]
    pub fn knows(&self, id: &RoutingIdBytes) -> bool {
        self.clients
            .iter()
            .any(|client| client.who.routing_id == *id)
    }

    /// A client says hello; `who` is asked for where it is a new one.
    pub fn hello(&mut self, now: Instant, id: &RoutingIdBytes, who: impl FnOnce() -> Who) -> Hello {
        let known = self
            .clients
            .iter_mut()
            .find(|client| client.who.routing_id == *id);
        if let Some(client) = known {
            client.heard = now;
            client.asks = true;
            // It may be a new connection under the old name.
            client.left = false;
            return Hello::Again;
        }
        if self.clients.len() >= MAX_CLIENTS {
            return Hello::Full;
        }
        let who = who();
        self.clients.push(Client {
            who: who.clone(),
            heard: now,
            fed: now,
            answered: None,
            asks: true,
            owed: Vec::new(),
            newcomer: true,
            behind: Some(self.tape.end()),
            again: Some(now),
            retry: RETRY,
            left: false,
            lost: 0,
            told: None,
        });
        Hello::Came(who)
    }

    /// Hands a message of an agent to everybody who has all before it.
    pub fn forward(
        &mut self,
        now: Instant,
        host: &Arc<str>,
        kind: GridKind,
        grid: &[u8],
        send: &mut impl FnMut(&RoutingIdBytes, &Message<'_>) -> Result<(), SendError>,
    ) {
        let message = Message::Grid { host, grid, kind };
        let mut missed = false;
        for client in &mut self.clients {
            if client.behind.is_none() && client.hand(now, &message, send, &mut self.counts) {
                continue;
            }
            if !client.left {
                client.behind.get_or_insert(self.tape.end());
                if client.again.is_none() {
                    client.try_later(now);
                }
                missed = true;
            }
        }
        if missed {
            self.tape.push(host, kind, grid);
        }
    }

    /// When [`attend`](Self::attend) has something to do next; None while nobody looks on.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.clients
            .iter()
            .map(|client| client.next_due(self.timing))
            .min()
    }

    /// Does what is due: answers, what waits, pings, and lets go of those who are gone.
    pub fn attend(
        &mut self,
        now: Instant,
        models: &impl Models,
        send: &mut impl FnMut(&RoutingIdBytes, &Message<'_>) -> Result<(), SendError>,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        for client in &mut self.clients {
            client.begin_answer(now, self.timing, models);
            if client.again.is_some_and(|again| again <= now) {
                client.again = None;
                client.catch_up(
                    now,
                    &self.tape,
                    models,
                    &mut self.buffer,
                    send,
                    &mut self.counts,
                );
            }
            client.ping(now, self.timing, send, &mut self.counts);
            events.extend(client.complain(now));
        }
        let patience = self.timing.patience;
        self.clients.retain(|client| {
            let silence = now.saturating_duration_since(client.heard);
            let who = || client.who.clone();
            if client.left {
                events.push(Event::Left { who: who() });
            } else if silence >= patience {
                events.push(Event::Silent {
                    who: who(),
                    silence,
                });
            } else {
                return true;
            }
            false
        });
        let needed = self.clients.iter().filter_map(|client| client.behind).min();
        self.tape.forget_before(needed);
        if self.clients.is_empty() {
            self.buffer = Vec::new();
        }
        events
    }
}

impl Client {
    /// Sends a message; whether that worked.
    fn hand(
        &mut self,
        now: Instant,
        message: &Message<'_>,
        send: &mut impl FnMut(&RoutingIdBytes, &Message<'_>) -> Result<(), SendError>,
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

    fn begin_answer(&mut self, now: Instant, timing: Timing, models: &impl Models) {
        if self.answer_due(timing).is_none_or(|due| due > now) {
            return;
        }
        self.asks = false;
        self.answered = Some(now);
        self.owed = models.names();
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
    fn catch_up(
        &mut self,
        now: Instant,
        tape: &Tape,
        models: &impl Models,
        buffer: &mut Vec<u8>,
        send: &mut impl FnMut(&RoutingIdBytes, &Message<'_>) -> Result<(), SendError>,
        counts: &mut Counts,
    ) {
        let mut all = true;
        if self.newcomer {
            all = self.hand_models(now, models, buffer, send, counts);
            self.newcomer = !all;
        }
        all = all && self.hand_taped(now, tape, send, counts);
        if all && !self.newcomer {
            self.hand_models(now, models, buffer, send, counts);
        }
    }

    /// Whether no model is owed any more.
    fn hand_models(
        &mut self,
        now: Instant,
        models: &impl Models,
        buffer: &mut Vec<u8>,
        send: &mut impl FnMut(&RoutingIdBytes, &Message<'_>) -> Result<(), SendError>,
        counts: &mut Counts,
    ) -> bool {
        for _ in 0..MODELS_IN_A_TURN {
            let Some(host) = self.owed.pop() else {
                return true;
            };
            buffer.clear();
            if !models.write(&host, buffer) {
                // It has gone since.
                continue;
            }
            let message = Message::Grid {
                host: &host,
                grid: buffer,
                kind: GridKind::Model,
            };
            if !self.hand(now, &message, send, counts) {
                self.owed.push(host);
                self.try_later(now);
                return false;
            }
        }
        let all = self.owed.is_empty();
        if !all {
            self.again = Some(now);
        }
        all
    }

    /// Whether nothing waits any more.
    fn hand_taped(
        &mut self,
        now: Instant,
        tape: &Tape,
        send: &mut impl FnMut(&RoutingIdBytes, &Message<'_>) -> Result<(), SendError>,
        counts: &mut Counts,
    ) -> bool {
        let Some(next) = self.behind else {
            return true;
        };
        let mut next = next;
        if let Some(lost) = tape.start().checked_sub(next).filter(|lost| *lost > 0) {
            self.lost += lost;
            counts.lost += lost;
            next = tape.start();
        }
        for _ in 0..TAPED_IN_A_TURN {
            let Some(Taped { host, kind, grid }) = tape.get(next) else {
                break;
            };
            let message = Message::Grid {
                host,
                grid,
                kind: *kind,
            };
            if !self.hand(now, &message, send, counts) {
                self.behind = Some(next);
                self.try_later(now);
                return false;
            }
            next += 1;
        }
        let all = next >= tape.end();
        self.behind = (!all).then_some(next);
        if !all {
            self.again = Some(now);
        }
        all
    }

    fn try_later(&mut self, now: Instant) {
        self.again = Some(now + self.retry);
        self.retry = (2 * self.retry).min(RETRY_MAX);
    }

    fn ping(
        &mut self,
        now: Instant,
        timing: Timing,
        send: &mut impl FnMut(&RoutingIdBytes, &Message<'_>) -> Result<(), SendError>,
        counts: &mut Counts,
    ) {
        if now.saturating_duration_since(self.fed) >= timing.silence {
            self.hand(now, &Message::Control(Control::Ping), send, counts);
            // One that finds no room has enough to read, and is tried again later.
            self.fed = now;
        }
    }

    fn complain(&mut self, now: Instant) -> Option<Event> {
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

    fn next_due(&self, timing: Timing) -> Instant {
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

#[cfg(test)]
mod tests;
