//! The viewers that are connected. Pure: time and the sending are arguments.
//!
//! A viewer that says hello is sent the model of every host, and from then on each message of
//! an agent as it arrives. What a viewer does not take at once waits on the one
//! [`ReplayBuffer`] that all share, so that a message is kept once however many are behind; a
//! viewer that falls behind the replay's beginning has lost what was there. The collector never
//! waits for a viewer.
//!
//! On request it is also sent which hosts do not report, after the models of each answer, and
//! when a host appears or goes; and once, after the first answer, the latest values of those that
//! report. These are let pass by live messages.

use std::sync::Arc;
use std::time::Instant;

use super::replay::ReplayBuffer;
use super::types::{Counts, Event, Hello, Kind, Models, Timing, Who};
use super::viewer::{Send, Viewer};
use crate::collector::hosts::ViewerKind;
use crate::curve::keys::PublicKey;
use crate::curve::router::RoutingIdBytes;
use crate::protocol::message::GridKind;

/// Most viewers at a time: people who look, not machines by the thousand.
pub const MAX_VIEWERS: usize = 100;

/// Maximum number of these with one key: a person's screens. A key that opens more and more
/// connections does not keep other viewers out.
pub const MAX_VIEWERS_OF_KEY: usize = 10;

/// The viewers.
#[derive(Debug)]
pub struct Table {
    timing: Timing,
    viewers: Vec<Viewer>,
    replay: ReplayBuffer,
    counts: Counts,
    /// A model on its way; keeps its room.
    buffer: Vec<u8>,
}

impl Table {
    /// No viewer is connected yet.
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            viewers: Vec::new(),
            replay: ReplayBuffer::default(),
            counts: Counts::default(),
            buffer: Vec::new(),
        }
    }

    /// How many viewers are connected.
    #[must_use]
    pub fn len(&self) -> usize {
        self.viewers.len()
    }

    /// Returns true if there are no viewers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.viewers.is_empty()
    }

    /// What was handed to them.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What waits for those who are behind, in bytes.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.replay.bytes()
    }

    /// Returns true if this viewer is known.
    #[must_use]
    pub fn knows(&self, id: &RoutingIdBytes) -> bool {
        self.viewers
            .iter()
            .any(|viewer| viewer.who.routing_id == *id)
    }

    /// A viewer says hello; `who` is asked for where it is a new one.
    pub fn hello(&mut self, now: Instant, id: &RoutingIdBytes, who: impl FnOnce() -> Who) -> Hello {
        let known = self
            .viewers
            .iter_mut()
            .find(|viewer| viewer.who.routing_id == *id);
        if let Some(viewer) = known {
            viewer.heard = now;
            viewer.asks = true;
            // It may be a new connection under the old name.
            viewer.left = false;
            return Hello::Again;
        }
        let who = who();
        let of_key = self.viewers.iter().filter(|viewer| is_of(viewer, who.key));
        let (among, full) = match who.key {
            Some(key) if of_key.count() >= MAX_VIEWERS_OF_KEY => (who.key, Hello::KeyFull(key)),
            _ if self.viewers.len() >= MAX_VIEWERS => (None, Hello::Full),
            _ => {
                self.add(now, who.clone());
                return Hello::Came(who);
            }
        };
        let Some(place) = self.longest_silent(now, among) else {
            return full;
        };
        let other = self.viewers.swap_remove(place).who;
        self.add(now, who.clone());
        Hello::InsteadOf { who, other }
    }

    fn add(&mut self, now: Instant, who: Who) {
        self.viewers.push(Viewer::new(now, who, self.replay.end()));
    }

    /// The viewer that was not heard from for longest, of this key or of all, where it should
    /// have been.
    fn longest_silent(&self, now: Instant, key: Option<PublicKey>) -> Option<usize> {
        let viewers = self.viewers.iter().enumerate();
        let viewers = viewers.filter(|(_, viewer)| key.is_none() || is_of(viewer, key));
        let (place, viewer) = viewers.min_by_key(|(_, viewer)| viewer.heard)?;
        let silence = now.saturating_duration_since(viewer.heard);
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

    /// Hands a model to those of these viewers who have all before it.
    pub fn forward_model(
        &mut self,
        now: Instant,
        host: &Arc<str>,
        viewers: ViewerKind,
        grid: &[u8],
        send: &mut impl Send,
    ) {
        self.pass(now, host, Kind::ModelFor(viewers), grid, send);
    }

    /// Returns true if any viewer wants the states of hosts.
    #[must_use]
    pub fn wants_states(&self) -> bool {
        self.viewers.iter().any(|viewer| viewer.wants(Kind::State))
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
        let wanting = self.viewers.iter_mut().filter(|viewer| viewer.wants(kind));
        for viewer in wanting {
            if viewer.behind.is_none() && viewer.hand(now, &message, send, &mut self.counts) {
                continue;
            }
            if !viewer.left {
                viewer.behind.get_or_insert(self.replay.end());
                if viewer.again.is_none() {
                    viewer.try_later(now);
                }
                missed = true;
            }
        }
        if missed {
            self.replay.push(host, kind, grid);
        }
    }

    /// Removes and returns viewers whose keys are not `allowed`. A viewer without a key is not
    /// allowed.
    pub fn review(&mut self, allowed: &mut impl FnMut(PublicKey) -> bool) -> Vec<Who> {
        let mut refused = Vec::new();
        self.viewers.retain(|viewer| {
            let keep = viewer.who.key.is_some_and(&mut *allowed);
            if !keep {
                refused.push(viewer.who.clone());
            }
            keep
        });
        refused
    }

    /// When [`attend`](Self::attend) has something to do next; None without viewers.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.viewers
            .iter()
            .map(|viewer| viewer.next_due(self.timing))
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
        for viewer in &mut self.viewers {
            viewer.begin_answer(now, self.timing, models);
            if viewer.again.is_some_and(|again| again <= now) {
                viewer.again = None;
                viewer.catch_up(
                    now,
                    &self.replay,
                    models,
                    &mut self.buffer,
                    send,
                    &mut self.counts,
                );
            }
            viewer.ping(now, self.timing, send, &mut self.counts);
            events.extend(viewer.complain(now));
        }
        let patience = self.timing.patience;
        self.viewers.retain(|viewer| {
            let silence = now.saturating_duration_since(viewer.heard);
            let who = || viewer.who.clone();
            if viewer.left {
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
        let needed = self.viewers.iter().filter_map(|viewer| viewer.behind).min();
        self.replay.forget_before(needed);
        if self.viewers.is_empty() {
            self.buffer = Vec::new();
        }
        events
    }
}

fn is_of(viewer: &Viewer, key: Option<PublicKey>) -> bool {
    viewer.who.key == key
}

#[cfg(test)]
mod tests;
