//! The end that listens: a ROUTER with CURVE for tokio.
//!
//! It owns the listening socket and every connection on it, all of them with one epoll(7) and no
//! task of their own, and what each may cost: memory, handshakes, descriptors. It decides on no
//! key: a peer that has proved one knocks ([`Arrived::Knock`]) and is heard once it was let in. It
//! ends a connection when it is told to.

mod accept;
mod admission;
mod ended;
mod listen;
mod peer;
mod poller;
mod slots;
mod turn;
mod types;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

use super::error::{SendError, TransportError};
use super::keys::{KeyPair, PublicKey};
use super::timing::{HEARTBEAT_TIMEOUT, HEARTBEAT_TTL};
use super::zmtp::connection::{HeartbeatOptions, STATUS_REFUSED};
use super::zmtp::message::Bounds;
use crate::base::waiting::until;
use admission::Admission;
use peer::{Peer, Standing};
use poller::Poller;
use slots::Slots;
use turn::Turn;

pub use ended::{Ending, Endings};
pub use listen::Listen;
pub use peer::{Origin, RoutingIdBytes};
pub use types::{Arrived, Failure, Load, RouterOptions, Verdict};

/// The largest frame received from an agent, in bytes. A larger one ends the connection.
pub const MAX_FRAME_BYTES: usize = 1024 * 1024;

/// The largest frame received from a viewer: control words have five bytes.
pub const MAX_VIEWER_FRAME_BYTES: usize = 4096;

/// What is not the grid of a message: a tag, a host's name, a kind.
const OTHER_FRAMES_BYTES: usize = 4096;

/// Agents ask for signs of life, and say how long they may be silent ([`HEARTBEAT_TTL`]): asking
/// each of 10,000 would double what arrives.
const HEARTBEAT: HeartbeatOptions = HeartbeatOptions {
    interval: None,
    timeout: HEARTBEAT_TIMEOUT,
    ttl: HEARTBEAT_TTL,
};

/// Read of one connection in its turn, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// What all peers of a socket together may have begun to send and not ended, in bytes: whole
/// messages of thousands of agents, or the largest ones of 64.
const MAX_UNFINISHED: usize = 64 * 1024 * 1024;

/// Turns in which nothing arrives before a caller that asks what is there now is told that there is
/// nothing: the largest frame takes fewer reads.
const MAX_TURNS: usize = 32;

/// Sent at once when so much waits, in bytes; less is sent when the caller's turn is over.
const FLUSH_BYTES: usize = 64 * 1024;

/// What a socket of ours holds for its peers.
#[derive(Clone, Copy, Debug)]
struct Limits {
    bounds: Bounds,
    /// Bytes that wait to be sent to one peer, one message more or less.
    send_bytes: usize,
}

/// Agents are sent control words.
const AGENTS: Limits = Limits {
    bounds: Bounds {
        frame_bytes: MAX_FRAME_BYTES,
        message_bytes: MAX_FRAME_BYTES + OTHER_FRAMES_BYTES,
    },
    send_bytes: 16 * 1024,
};

/// Viewers say little and are sent much: each whole messages of agents, a hiccup of 30 ms at
/// 2,000 messages a second. What finds no room is the caller's to keep once for all.
const VIEWERS: Limits = Limits {
    bounds: Bounds {
        frame_bytes: MAX_VIEWER_FRAME_BYTES,
        message_bytes: 4 * MAX_VIEWER_FRAME_BYTES,
    },
    send_bytes: 256 * 1024,
};

/// The listening socket's place among the tokens; those of connections are lower.
const LISTENER: u64 = u64::MAX;

/// A CURVE ROUTER that listens on one address. Dropping it ends every connection at once.
pub struct Router {
    poller: Poller,
    listener: TcpListener,
    address: SocketAddr,
    keys: KeyPair,
    limits: Limits,
    /// Connections at a time.
    most: usize,
    endings: Endings,
    peers: Slots<Peer>,
    admission: Admission,
    /// What all peers together have begun to send and have not ended, in bytes.
    unfinished: usize,
    arrived: VecDeque<Arrived>,
    arrived_bytes: usize,
    /// Tokens of peers to which something was written and not sent.
    dirty: Vec<u64>,
    /// When to look at a peer's heartbeat; each peer is there at most once.
    timers: BinaryHeap<Reverse<(Instant, u64)>>,
    /// Set while the system has no room for another connection.
    accept_again: Option<Instant>,
    /// What one read gave.
    buffer: Box<[u8]>,
}

impl Router {
    /// Listens for agents. To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`TransportError::Bind`] where the address cannot be had.
    pub fn bind(options: RouterOptions<'_>) -> Result<Self, TransportError> {
        Self::bind_within(options, AGENTS)
    }

    /// Listens for those who say little and are sent much.
    ///
    /// # Errors
    ///
    /// As [`Router::bind`].
    pub fn bind_for_viewers(options: RouterOptions<'_>) -> Result<Self, TransportError> {
        Self::bind_within(options, VIEWERS)
    }

    fn bind_within(options: RouterOptions<'_>, limits: Limits) -> Result<Self, TransportError> {
        let failed = |source| TransportError::Bind {
            address: options.listen.to_string(),
            source,
        };
        let listener = listen::listen(options.listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let poller = Poller::new().map_err(TransportError::Reactor)?;
        poller
            .add(&listener, LISTENER)
            .map_err(TransportError::Reactor)?;
        Ok(Self {
            poller,
            listener,
            address,
            keys: options.keys.clone(),
            limits,
            most: options.connections.max(1),
            endings: Endings::default(),
            peers: Slots::default(),
            admission: Admission::default(),
            unfinished: 0,
            arrived: VecDeque::new(),
            arrived_bytes: 0,
            dirty: Vec::new(),
            timers: BinaryHeap::new(),
            accept_again: None,
            buffer: vec![0; READ_BYTES].into(),
        })
    }

    /// Where it listens, with the port that was chosen for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns true if this peer is connected.
    #[must_use]
    pub fn knows(&self, peer: &RoutingIdBytes) -> bool {
        self.peers.has(peer.token)
    }

    /// How many connections there are, strangers included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.peers.len()
    }

    /// How it fares.
    #[must_use]
    pub fn load(&self) -> Load {
        Load {
            connections: self.peers.len(),
            handshakes: self.admission.half_open(),
            limit: self.most,
            endings: self.endings,
        }
    }

    /// Waits for what arrives next, fairly among all peers. Sends what is written meanwhile.
    ///
    /// Cancel safe, and gives other tasks their turn.
    ///
    /// # Errors
    ///
    /// [`TransportError::Reactor`] where epoll(7) fails as it never should.
    pub async fn receive(&mut self) -> Result<Arrived, TransportError> {
        tokio::task::consume_budget().await;
        self.flush_all();
        loop {
            if let Some(arrived) = self.pop() {
                return Ok(arrived);
            }
            let more = self.turn(Instant::now());
            if !self.arrived.is_empty() {
                continue;
            }
            if more? != Turn::Idle {
                // Strangers and signs of life, and perhaps no end of them.
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.next_due();
            tokio::select! {
                waited = self.poller.wait() => waited.map_err(TransportError::Reactor)?,
                () = until(due) => {}
            }
        }
    }

    /// Takes what arrives next if it is there: after [`Router::receive`], for a batch. The caller
    /// bounds the batch, so that its other tasks have a turn.
    ///
    /// # Errors
    ///
    /// As [`Router::receive`].
    pub fn try_receive(&mut self) -> Result<Option<Arrived>, TransportError> {
        for _ in 0..MAX_TURNS {
            // A large message takes several; signs of life may have no end.
            if !self.arrived.is_empty() || self.turn(Instant::now())? != Turn::Heard {
                break;
            }
        }
        Ok(self.pop())
    }

    fn pop(&mut self) -> Option<Arrived> {
        let arrived = self.arrived.pop_front()?;
        if let Arrived::Message(_, received) = &arrived {
            self.arrived_bytes -= received.bytes();
        }
        Some(arrived)
    }

    /// Sends what was written since the last time, as far as sockets take it. [`Router::receive`] does so as
    /// well: this is for what is said last.
    pub fn flush_all(&mut self) {
        for token in std::mem::take(&mut self.dirty) {
            if let Some(peer) = self.peers.get_mut(token) {
                peer.is_dirty = false;
                self.flush(token);
            }
        }
    }

    /// Answers a peer that knocked. One that has gone in between needs no answer.
    pub fn answer(&mut self, now: Instant, knock: &Origin, verdict: Verdict) {
        let token = knock.id.token;
        let Some(peer) = self.peers.get_mut(token) else {
            return;
        };
        if !matches!(peer.standing, Standing::Knocking) {
            return;
        }
        let refused = match verdict {
            Verdict::Allow if self.admission.enter(knock.key) => None,
            Verdict::Allow => {
                self.arrived.push_back(Arrived::Failed {
                    origin: Some(knock.clone()),
                    address: knock.address,
                    why: Failure::KeyFull,
                });
                Some(Ending::KeyFull)
            }
            Verdict::Deny => Some(Ending::NotAuthorized),
        };
        match refused {
            None => {
                peer.standing = Standing::Known(knock.clone());
                peer.connection.accept(now, &HEARTBEAT, peer.outgoing.end());
                self.admission.left(token);
                self.written(token);
            }
            Some(ending) => {
                peer.connection.refuse(STATUS_REFUSED, peer.outgoing.end());
                // As much of it as the kernel takes; the end follows in any case.
                let _ = peer.flush();
                self.end(token, ending);
            }
        }
    }

    /// Sends a message to one peer without waiting, whole or not at all. It leaves when the
    /// caller waits for what arrives next.
    ///
    /// # Errors
    ///
    /// [`SendError::UnknownPeer`] for a peer that is not connected (any more),
    /// [`SendError::WouldBlock`] for one that does not take what is sent to it,
    /// [`SendError::Empty`] for no frame at all.
    pub fn try_send(&mut self, to: &RoutingIdBytes, frames: &[&[u8]]) -> Result<(), SendError> {
        if frames.is_empty() {
            return Err(SendError::Empty);
        }
        let token = to.token;
        let peer = self.peers.get_mut(token).ok_or(SendError::UnknownPeer)?;
        let bytes: usize = frames.iter().map(|frame| frame.len()).sum();
        let waiting = peer.outgoing.pending();
        if waiting > 0 && waiting + bytes > self.limits.send_bytes {
            return Err(SendError::WouldBlock);
        }
        match peer.connection.send(frames, peer.outgoing.end()) {
            Ok(true) => {}
            Ok(false) => return Err(SendError::UnknownPeer),
            Err(violation) => {
                self.fail(token, violation.into());
                return Err(SendError::UnknownPeer);
            }
        }
        if peer.outgoing.pending() >= FLUSH_BYTES && !peer.is_stuck {
            self.flush(token);
        } else {
            self.written(token);
        }
        Ok(())
    }

    /// Ends the connections of all keys for which `allowed` does not hold, at once.
    pub fn review(&mut self, allowed: &mut impl FnMut(&PublicKey) -> bool) {
        let refused: Vec<u64> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.origin().is_some_and(|origin| !allowed(&origin.key)))
            .map(|(token, _)| token)
            .collect();
        for token in refused {
            self.end(token, Ending::Revoked);
        }
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
