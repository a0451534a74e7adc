//! The end that connects: a DEALER with CURVE for tokio, which connects once.
//!
//! It owns one connection from its first SYN to its end, and tells what becomes of it. It never
//! connects again: when to try again is the caller's to decide, with a new `Dealer`. While the
//! link is not up it queues nothing.

mod failure;
mod routing_id;
mod tcp_info;
mod wire;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::error::{SendError, TransportError};
use super::keys::{KeyPair, PublicKey};
use super::tcp;
use super::timing::CONNECT_TIMEOUT;
use super::zmtp::message::{Bounds, Received};
use crate::base::waiting::until;
use wire::{Identity, Wire};

pub use failure::{ConnectFailure, HandshakeFailure, LinkDownCause, Suspect};
pub use routing_id::RoutingId;
pub use tcp_info::Delivery;

/// The largest frame received from a collector, in bytes: control words have five. A larger one
/// ends the connection.
pub const MAX_FRAME_BYTES: usize = 64 * 1024;

/// The largest frame received by a viewer: whole grids.
pub const MAX_VIEW_FRAME_BYTES: usize = 1024 * 1024;

/// All frames of a message but one large one.
const OTHER_FRAMES_BYTES: usize = 4096;

/// What a connection holds at most.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// What is received.
    bounds: Bounds,
    /// Bytes that wait to be sent besides what the kernel has taken, one message more or less.
    send_bytes: usize,
    /// What one read gives.
    read_bytes: usize,
}

const AGENT: Limits = Limits {
    bounds: Bounds {
        frame_bytes: MAX_FRAME_BYTES,
        message_bytes: MAX_FRAME_BYTES + OTHER_FRAMES_BYTES,
    },
    // A sample is worth sending while it is fresh: this bridges a hiccup, not an outage.
    send_bytes: 256 * 1024,
    read_bytes: 4 * 1024,
};

const VIEWER: Limits = Limits {
    bounds: Bounds {
        frame_bytes: MAX_VIEW_FRAME_BYTES,
        message_bytes: MAX_VIEW_FRAME_BYTES + OTHER_FRAMES_BYTES,
    },
    // Control words.
    send_bytes: 16 * 1024,
    read_bytes: 64 * 1024,
};

/// What a [`Dealer`] needs to connect.
#[derive(Clone, Copy, Debug)]
pub struct DealerOptions<'a> {
    /// The collector's address; names are the caller's to look up.
    pub address: SocketAddr,
    /// The key that the collector must prove to have.
    pub server_key: PublicKey,
    /// This end's keys.
    pub keys: &'a KeyPair,
    /// The connection's name; new for each.
    pub routing_id: RoutingId,
}

/// What a [`Dealer`] has to tell.
#[derive(Debug)]
pub enum DealerEvent {
    /// The handshake succeeded: what is sent from now on will be queued.
    LinkUp,
    /// TCP had connected, and the link is down for good.
    LinkDown(LinkDownCause),
    /// TCP did not connect; the link is down for good.
    ConnectFailed(ConnectFailure),
    /// The peer sent this.
    Received(Received),
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

enum Stage {
    /// TCP's handshake is under way, until then.
    Connecting(Connecting, Instant),
    /// TCP has connected.
    Connected(Box<Wire>),
    /// The link is down.
    Down,
}

/// A CURVE DEALER that is connected to one address, or on the way there.
///
/// Dropping it closes it at once; see [`Dealer::close`] for what is under way.
pub struct Dealer {
    stage: Stage,
    identity: Identity,
    limits: &'static Limits,
}

impl Dealer {
    /// Opens a socket; [`Dealer::event`] connects it and tells what becomes of it. To be called
    /// within a tokio runtime.
    ///
    /// # Errors
    ///
    /// An unspecified address or port 0; an address family that the system refuses, or no room for
    /// another socket.
    pub fn connect(options: DealerOptions<'_>) -> Result<Self, TransportError> {
        Self::connect_within(options, &AGENT)
    }

    /// As [`Dealer::connect`] for a viewer, who is sent what agents report.
    ///
    /// # Errors
    ///
    /// As [`Dealer::connect`].
    pub fn connect_to_view(options: DealerOptions<'_>) -> Result<Self, TransportError> {
        Self::connect_within(options, &VIEWER)
    }

    fn connect_within(
        options: DealerOptions<'_>,
        limits: &'static Limits,
    ) -> Result<Self, TransportError> {
        let DealerOptions { address, .. } = options;
        if address.port() == 0 || address.ip().is_unspecified() {
            return Err(TransportError::Address { address });
        }
        let socket = open(address)?;
        let connecting = Box::pin(socket.connect(address));
        Ok(Self {
            stage: Stage::Connecting(connecting, Instant::now() + CONNECT_TIMEOUT),
            identity: Identity {
                keys: options.keys.clone(),
                server_key: options.server_key,
                routing_id: options.routing_id,
            },
            limits,
        })
    }

    /// Waits for what happens next. News of the link go before messages.
    ///
    /// Cancel safe: what is not returned comes with the next call. Gives other tasks their turn,
    /// also where messages come without end.
    pub async fn event(&mut self) -> DealerEvent {
        tokio::task::consume_budget().await;
        loop {
            // What has been read goes before what time asks for, or a pause of this process counts
            // as the peer's silence.
            if let Some(event) = self.next() {
                return event;
            }
            let due = self.due();
            let event = tokio::select! {
                biased;
                event = poll_fn(|cx| self.poll(cx)) => event,
                () = until(due) => self.expire(Instant::now()),
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    /// Sends a message without waiting, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`SendError::WouldBlock`] while the link is not up (as far as [`Dealer::event`] has told)
    /// and when the peer has not taken what was sent before: nothing was queued, the message is
    /// dropped. [`SendError::Empty`] for no frame at all.
    pub fn try_send(&mut self, frames: &[&[u8]]) -> Result<(), SendError> {
        if frames.is_empty() {
            return Err(SendError::Empty);
        }
        match &mut self.stage {
            Stage::Connected(wire) => wire.try_send(frames, self.limits),
            Stage::Connecting(..) | Stage::Down => Err(SendError::WouldBlock),
        }
    }

    /// Returns true if the link is up, by the events that [`Dealer::event`] has returned.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(&self.stage, Stage::Connected(wire) if wire.is_up())
    }

    /// What the kernel knows of what was sent; None where it does not say, or there is no
    /// connection (any more).
    #[must_use]
    pub fn delivery(&self) -> Option<Delivery> {
        match &self.stage {
            Stage::Connected(wire) => tcp_info::delivery(wire.stream()),
            Stage::Connecting(..) | Stage::Down => None,
        }
    }

    /// Closes the connection, and gives what is queued at most `linger` to leave.
    pub async fn close(self, linger: Duration) {
        if let Stage::Connected(mut wire) = self.stage {
            // Whatever has not left by then is lost.
            let _ = timeout(linger, wire.drain()).await;
        }
    }

    /// Takes the next event out of what has been read.
    fn next(&mut self) -> Option<DealerEvent> {
        let Stage::Connected(wire) = &mut self.stage else {
            return None;
        };
        match wire.next(&self.identity, &self.limits.bounds) {
            Ok(event) => event,
            Err(cause) => Some(self.down(cause)),
        }
    }

    /// Connects, sends and reads.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<DealerEvent>> {
        match &mut self.stage {
            Stage::Connecting(connecting, _) => {
                let connected = std::task::ready!(connecting.as_mut().poll(cx));
                Poll::Ready(self.connected(connected))
            }
            Stage::Connected(wire) => {
                let read = std::task::ready!(wire.poll(cx, self.limits));
                Poll::Ready(read.err().map(|cause| self.down(cause)))
            }
            Stage::Down => Poll::Pending,
        }
    }

    fn connected(&mut self, connected: io::Result<TcpStream>) -> Option<DealerEvent> {
        match connected {
            Ok(stream) => {
                let wire = Wire::new(stream, self.limits, Instant::now());
                self.stage = Stage::Connected(Box::new(wire));
                None
            }
            Err(error) => {
                self.stage = Stage::Down;
                let failure = ConnectFailure::System(error);
                Some(DealerEvent::ConnectFailed(failure))
            }
        }
    }

    /// When [`Dealer::expire`] has something to do.
    fn due(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Connecting(_, until) => Some(*until),
            Stage::Connected(wire) => wire.due(),
            Stage::Down => None,
        }
    }

    fn expire(&mut self, now: Instant) -> Option<DealerEvent> {
        match &mut self.stage {
            Stage::Connecting(..) => {
                self.stage = Stage::Down;
                Some(DealerEvent::ConnectFailed(ConnectFailure::TimedOut))
            }
            Stage::Connected(wire) => wire.expire(now).err().map(|cause| self.down(cause)),
            Stage::Down => None,
        }
    }

    fn down(&mut self, cause: LinkDownCause) -> DealerEvent {
        self.stage = Stage::Down;
        DealerEvent::LinkDown(cause)
    }
}

impl fmt::Debug for Dealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Connecting(..) => "connecting",
            Stage::Connected(wire) if wire.is_up() => "up",
            Stage::Connected(_) => "in its handshake",
            Stage::Down => "down",
        };
        write!(f, "Dealer({stage})")
    }
}

/// A socket for a connection to this address.
fn open(address: SocketAddr) -> Result<TcpSocket, TransportError> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let refused =
        |error: &io::Error| error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error());
    let socket = socket.map_err(|error| match error {
        error if refused(&error) => TransportError::Family { address },
        error => TransportError::Open(error),
    })?;
    tcp::prepare(&socket).map_err(|error| TransportError::Open(error.into()))?;
    Ok(socket)
}
