//! Viewers: a second ROUTER, whose peers watch what the agents report.
//!
//! Its viewers are on a list, which is asked for each key that connects and for each message. What
//! they are sent is decided in [`table`]; this shell
//! receives, sends without waiting, and reports what happened. While there are no viewers, a
//! message of an agent costs a look at an empty list.

use std::future::pending;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use thiserror::Error;

use super::events;
use super::hosts::{Hosts, ViewerKind};
use super::refusal::Sender;
use crate::base::throttle::PeerThrottle;
use crate::collector::access::Listener;
use crate::curve::keys::{KeyPair, PublicKey};
use crate::curve::router::{
    Arrived, Listen, Load, Origin, Router, RouterOptions, RoutingIdBytes, Verdict,
};
use crate::curve::zmtp::message::{Message as Frames, Received};
use crate::curve::{SendError, TransportError};
use crate::protocol::message::{GridKind, Malformed, Message, decode_from_viewer};
use crate::protocol::state::StateGrid;

mod fleet;
mod replay;
pub mod table;
mod types;
mod viewer;

use fleet::Fleet;
pub use table::{MAX_VIEWERS, MAX_VIEWERS_OF_KEY, Table};
pub use types::{Counts, Event, Hello, Models, Timing, Who};

/// Most messages of viewers in one turn: they say hello, a few times a minute each.
const BATCH: usize = 64;

/// The viewers, or that there are none.
pub struct Viewers {
    router: Option<Router>,
    /// Where it listens, as people read it.
    endpoint: Option<String>,
    table: Table,
    refused: u64,
    throttle: PeerThrottle<(Sender, &'static str)>,
}

/// Why a message of a viewer was refused.
#[derive(Clone, Copy, Debug, Error)]
enum Refusal {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("a message of {0} frames")]
    TooManyFrames(u32),
    #[error("its key is not on the list of viewers (any more)")]
    NotAllowed,
    #[error("too many viewers (limit {MAX_VIEWERS})")]
    Full,
    #[error("too many viewers with this key (limit {MAX_VIEWERS_OF_KEY})")]
    KeyFull,
}

impl Refusal {
    /// Its kind: the limit on log lines is separate for each kind.
    fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::TooManyFrames(_) => "form",
            Self::NotAllowed => "access",
            Self::Full | Self::KeyFull => "places",
        }
    }
}

/// What only the list of viewers can tell.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// May this peer come in?
    Knock(&'a Origin),
    /// May what was sent with this key be heard (still)?
    Message(PublicKey),
}

impl Viewers {
    /// Viewers are not served.
    #[must_use]
    pub fn off() -> Self {
        Self::with(None, None)
    }

    /// Listens for viewers.
    ///
    /// # Errors
    ///
    /// [`TransportError::Bind`] where the address cannot be had.
    pub fn bind(
        listen: Listen,
        keys: &KeyPair,
        connections: usize,
    ) -> Result<Self, TransportError> {
        let router = Router::bind_for_viewers(RouterOptions {
            listen,
            keys,
            connections,
        })?;
        let endpoint = listen.at_port(router.address().port()).to_string();
        events::listening_for_viewers(&endpoint);
        Ok(Self::with(Some(router), Some(endpoint)))
    }

    fn with(router: Option<Router>, endpoint: Option<String>) -> Self {
        Self {
            router,
            endpoint,
            table: Table::new(Timing::PROTOCOL),
            refused: 0,
            throttle: PeerThrottle::default(),
        }
    }

    /// Where it listens, as people read it; None for nowhere.
    #[must_use]
    pub fn endpoint(&self) -> Option<&str> {
        self.endpoint.as_deref()
    }

    /// How the socket fares; None where viewers are not served.
    #[must_use]
    pub fn load(&self) -> Option<Load> {
        self.router.as_ref().map(Router::load)
    }

    /// How many viewers are connected.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns true if there are no viewers.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// What was handed to them, and what they missed.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.table.counts()
    }

    /// Messages of theirs that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Waits for what arrives next of viewers; for ever where viewers are not served. Cancel
    /// safe.
    ///
    /// # Errors
    ///
    /// epoll(7) fails as it never should.
    pub async fn receive(&mut self) -> Result<Arrived, TransportError> {
        match &mut self.router {
            Some(router) => router.receive().await,
            None => pending().await,
        }
    }

    /// Deals with what [`receive`](Self::receive) gave, and with a batch of what else is
    /// there. A key for which `allowed` does not hold (any more) is not heard: its connection
    /// may be older than the list.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive).
    pub fn handle(
        &mut self,
        now: Instant,
        first: Arrived,
        allowed: &mut impl FnMut(Asked<'_>) -> bool,
    ) -> Result<(), TransportError> {
        let mut next = Some(first);
        for _ in 0..BATCH {
            let Some(router) = &mut self.router else {
                break;
            };
            let arrived = match next.take() {
                Some(arrived) => Some(arrived),
                None => router.try_receive()?,
            };
            match arrived {
                None => break,
                Some(Arrived::Knock(peer)) => {
                    let verdict = if allowed(Asked::Knock(&peer)) {
                        Verdict::Allow
                    } else {
                        Verdict::Deny
                    };
                    router.answer(now, &peer, verdict);
                }
                Some(Arrived::Failed {
                    origin,
                    address,
                    why,
                }) => {
                    let key = origin.map(|origin| origin.key);
                    let address = address.to_string();
                    let peer = Sender::of(key, Some(&address));
                    let tell = self.throttle.note(now, &(peer, "connection"));
                    events::connection_failed(Listener::Viewers, key, &address, &why, tell);
                }
                Some(Arrived::Message(from, Received::TooManyFrames { found })) => {
                    self.refuse(now, &from, Refusal::TooManyFrames(found));
                }
                Some(Arrived::Message(from, Received::Message(frames))) => {
                    if let Err(refusal) = self.understand(now, &from, &frames, allowed) {
                        self.refuse(now, &from, refusal);
                    }
                }
            }
        }
        Ok(())
    }

    fn understand(
        &mut self,
        now: Instant,
        from: &Origin,
        frames: &Frames,
        allowed: &mut impl FnMut(Asked<'_>) -> bool,
    ) -> Result<(), Refusal> {
        decode_from_viewer(&frames.as_slices())?;
        if !allowed(Asked::Message(from.key)) {
            return Err(Refusal::NotAllowed);
        }
        let hello = self.table.hello(now, &from.id, || Who {
            routing_id: from.id.clone(),
            address: Some(from.address.to_string()),
            key: Some(from.key),
        });
        match hello {
            Hello::Came(who) => {
                events::viewer_came(&who);
                Ok(())
            }
            Hello::InsteadOf { who, other } => {
                events::viewer_made_room(&other);
                events::viewer_came(&who);
                Ok(())
            }
            Hello::Again => Ok(()),
            Hello::Full => Err(Refusal::Full),
            Hello::KeyFull(_) => Err(Refusal::KeyFull),
        }
    }

    /// Counts a refusal, and logs it unless the rate limit is reached: by key or address,
    /// because a peer stays the same when it reconnects.
    fn refuse(&mut self, now: Instant, from: &Origin, refusal: Refusal) {
        self.refused += 1;
        let tell = self
            .throttle
            .note(now, &(Sender::Key(from.key), refusal.kind()));
        let address = from.address.to_string();
        events::viewer_refused(&from.id, Some(&from.key), Some(&address), &refusal, tell);
    }

    /// Hands a message of an agent to all viewers: the grid as the agent sent it.
    pub fn forward(&mut self, now: Instant, host: &Arc<str>, kind: GridKind, grid: &[u8]) {
        if self.table.is_empty() {
            return;
        }
        let Some(router) = &mut self.router else {
            return;
        };
        self.table
            .forward(now, host, kind, grid, &mut |to, message| {
                send(router, to, message)
            });
    }

    /// Hands the model of a host to the viewers that take it in this form.
    pub fn forward_model(
        &mut self,
        now: Instant,
        host: &Arc<str>,
        viewers: ViewerKind,
        grid: &[u8],
    ) {
        let Some(router) = &mut self.router else {
            return;
        };
        self.table
            .forward_model(now, host, viewers, grid, &mut |to, message| {
                send(router, to, message)
            });
    }

    /// Tells those who want to know that a host's state has changed; `state` is asked for
    /// where there is one.
    pub fn forward_state(
        &mut self,
        now: Instant,
        host: &Arc<str>,
        state: impl FnOnce() -> Option<StateGrid>,
    ) {
        if !self.table.wants_states() {
            return;
        }
        let Some(router) = &mut self.router else {
            return;
        };
        let mut grid = Vec::new();
        if state().is_some_and(|state| state.encode(&mut grid).is_ok()) {
            self.table
                .forward_state(now, host, &grid, &mut |to, message| {
                    send(router, to, message)
                });
        }
    }

    /// Ends the connections of those for whose keys `allowed` does not hold any more: to be
    /// called when the list of viewers has changed.
    pub fn review(&mut self, allowed: &mut impl FnMut(PublicKey) -> bool) {
        for who in self.table.review(allowed) {
            events::viewer_not_allowed(&who);
        }
        if let Some(router) = &mut self.router {
            router.review(&mut |key| allowed(*key));
        }
    }

    /// When [`attend`](Self::attend) has something to do; None without viewers.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.table.next_due()
    }

    /// Does what is due: models, what waits, pings, and lets go of those who are gone.
    pub fn attend(&mut self, now: Instant, hosts: &Hosts) {
        if self.next_due().is_none_or(|due| due > now) {
            return;
        }
        let Some(router) = &mut self.router else {
            return;
        };
        let fleet = Fleet {
            hosts,
            now,
            wall: SystemTime::now(),
        };
        let happened = self
            .table
            .attend(now, &fleet, &mut |to, message| send(router, to, message));
        for event in happened {
            match event {
                Event::Silent { who, silence } => events::viewer_silent(&who, silence),
                Event::Left { who } => events::viewer_left(&who),
                Event::Lost { who, messages } => events::viewer_slow(&who, messages),
            }
        }
    }
}

fn send(router: &mut Router, to: &RoutingIdBytes, message: &Message<'_>) -> Result<(), SendError> {
    let sent = router.try_send(to, &message.frames());
    if let Err(error @ SendError::Empty) = &sent {
        events::viewer_not_sent(to, error);
    }
    sent
}
