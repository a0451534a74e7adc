//! Who looks on. Pure: time and the sending are arguments.
//!
//! A client that says hello is owed the model of every host, and from then on each message
//! of an agent as it comes. What a client does not take at once waits on the one
//! [`Tape`] that all share, so that a message is kept once however many are behind; who
//! falls behind the tape's beginning has lost what was there. Nobody waits for a client.
//!
//! One that asks for it is told which hosts do not report, after the models of each
//! answer, and when a host comes or goes.

use std::sync::Arc;
use std::time::Instant;

use super::client::{Client, Send};
use super::tape::Tape;
use super::vocabulary::{Counts, Event, Hello, Kind, Models, Timing, Who};
use crate::collector::hosts::Viewers;
use crate::curve::keys::PublicKey;
use crate::curve::router::RoutingIdBytes;
use crate::protocol::message::GridKind;

/// Most clients at a time: people who look, not machines by the thousand.
pub const MAX_CLIENTS: usize = 100;

/// Most of these with one key: a person's screens. A key that opens ever more connections
/// keeps nobody else out.
pub const MAX_CLIENTS_OF_KEY: usize = 10;

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
        let who = who();
        let of_key = self.clients.iter().filter(|client| is_of(client, who.key));
        let (among, full) = match who.key {
            Some(key) if of_key.count() >= MAX_CLIENTS_OF_KEY => (who.key, Hello::KeyFull(key)),
            _ if self.clients.len() >= MAX_CLIENTS => (None, Hello::Full),
            _ => {
                self.add(now, who.clone());
                return Hello::Came(who);
            }
        };
        let Some(place) = self.longest_silent(now, among) else {
            return full;
        };
        let other = self.clients.swap_remove(place).who;
        self.add(now, who.clone());
        Hello::InsteadOf { who, other }
    }

    fn add(&mut self, now: Instant, who: Who) {
        self.clients.push(Client::new(now, who, self.tape.end()));
    }

    /// The client that was not heard from for longest, of this key or of all, where it should
    /// have been.
    fn longest_silent(&self, now: Instant, key: Option<PublicKey>) -> Option<usize> {
        let clients = self.clients.iter().enumerate();
        let clients = clients.filter(|(_, client)| key.is_none() || is_of(client, key));
        let (place, client) = clients.min_by_key(|(_, client)| client.heard)?;
        let silence = now.saturating_duration_since(client.heard);
        (silence >= self.timing.hello).then_some(place)
    }

    /// Hands a message of an agent to everybody who has all before it.
    pub fn forward(
        &mut self,
        now: Instant,
        host: &Arc<str>,
        kind: GridKind,
        grid: &[u8],
        send: &mut impl Send,
    ) {
        self.pass(now, host, Kind::Grid(kind), grid, send);
    }

    /// Hands a model to those of these clients who have all before it.
    pub fn forward_model(
        &mut self,
        now: Instant,
        host: &Arc<str>,
        viewers: Viewers,
        grid: &[u8],
        send: &mut impl Send,
    ) {
        self.pass(now, host, Kind::ModelFor(viewers), grid, send);
    }

    /// Whether anybody wants to be told of a host's state.
    #[must_use]
    pub fn wants_states(&self) -> bool {
        self.clients.iter().any(|client| client.wants(Kind::State))
    }

    /// Tells those who want to know that a host's state has changed.
    pub fn forward_state(
        &mut self,
        now: Instant,
        host: &Arc<str>,
        grid: &[u8],
        send: &mut impl Send,
    ) {
        self.pass(now, host, Kind::State, grid, send);
    }

    fn pass(
        &mut self,
        now: Instant,
        host: &Arc<str>,
        kind: Kind,
        grid: &[u8],
        send: &mut impl Send,
    ) {
        let message = kind.message(host, grid);
        let mut missed = false;
        let wanting = self.clients.iter_mut().filter(|client| client.wants(kind));
        for client in wanting {
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

    /// Lets go of those for whose keys `allowed` does not hold: who they were. A client
    /// without a key is nobody's.
    pub fn review(&mut self, allowed: &mut impl FnMut(PublicKey) -> bool) -> Vec<Who> {
        let mut refused = Vec::new();
        self.clients.retain(|client| {
            let keep = client.who.key.is_some_and(&mut *allowed);
            if !keep {
                refused.push(client.who.clone());
            }
            keep
        });
        refused
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
        send: &mut impl Send,
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

fn is_of(client: &Client, key: Option<PublicKey>) -> bool {
    client.who.key == key
}

#[cfg(test)]
mod tests;
