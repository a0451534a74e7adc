//! The agent's end of a link: a DEALER that connects once.
//!
//! It owns one connection from its first SYN to its end, and tells what becomes
//! of it. It never connects again: when to try again is the caller's to decide,
//! with a new `Dealer`. While the link is not up it queues nothing.

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};

use super::context::{Bounds, Context, TransportError, milliseconds};
use super::frames::{self, Received};
use super::keys::{KeyPair, PublicKey};
use super::link::{CONNECT_TIMEOUT, ConnectFailure, Link, LinkDownCause, LinkEvent, MonitorEvent};
use super::socket::AsyncSocket;
use super::tcp::{Delivery, Tcp};

pub use super::socket::SendError;

/// The largest frame received from a collector, in bytes: control words have
/// five. A larger one ends the connection.
pub const MAX_FRAME_BYTES: i64 = 64 * 1024;

const BOUNDS: Bounds = Bounds {
    // A sample is worth sending while it is fresh: this bridges a hiccup, not
    // an outage.
    send_queue: 32,
    // Far above what a collector has to say; beyond it TCP holds it back.
    receive_queue: 256,
    frame_bytes: MAX_FRAME_BYTES,
};

/// The largest frame received by a viewer: whole grids.
pub const MAX_VIEW_FRAME_BYTES: i64 = 1024 * 1024;

const VIEW_BOUNDS: Bounds = Bounds {
    // Control words.
    send_queue: 8,
    // A second of 1,000 hosts at one message in 5 s each; beyond it TCP holds the
    // collector back.
    receive_queue: 256,
    frame_bytes: MAX_VIEW_FRAME_BYTES,
};

/// What routing ids are made of: 36 to the power of 16 of them.
const ROUTING_ID_CHARS: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/// What a ROUTER knows a connection by: 16 characters out of `A-Z0-9`.
///
/// It tells connections apart and guards nothing (that is CURVE's task), so it
/// need not be hard to guess.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RoutingId([u8; 16]);

impl RoutingId {
    /// A new one for a new connection.
    #[must_use]
    pub fn random() -> Self {
        let random = |()| fastrand::choice(ROUTING_ID_CHARS).copied().unwrap_or(b'A');
        Self([(); 16].map(random))
    }

    /// A new one that begins with these characters, by which a peer tells what it can; the
    /// other half is random. `prefix` is ASCII.
    #[must_use]
    pub fn random_after(prefix: &[u8; 8]) -> Self {
        let mut id = Self::random();
        for (byte, prefix) in id.0.iter_mut().zip(prefix) {
            *byte = *prefix;
        }
        id
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Made of ASCII alone.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for RoutingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for RoutingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoutingId({self})")
    }
}

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

/// libzmq has no word for an address family that the system refuses.
fn may_reach(address: SocketAddr) -> Result<(), TransportError> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = rustix::net::socket(family, SocketType::STREAM, None);
    match socket {
        Err(Errno::AFNOSUPPORT) => Err(TransportError::Family { address }),
        _ => Ok(()),
    }
}

/// A CURVE DEALER that is connected to one address, or on the way there.
///
/// Dropping it closes it at once; see [`Dealer::close`] for what is under way.
pub struct Dealer {
    socket: AsyncSocket,
    monitor: AsyncSocket,
    monitor_address: String,
    link: Link,
    tcp: Option<Tcp>,
    /// A message that arrived before the word that the link is up.
    early: Option<Received>,
}

impl Dealer {
    /// Begins to connect; [`Dealer::event`] tells what becomes of it. To be
    /// called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Port 0, or no room for another socket (descriptors, or libzmq's limit of
    /// 1,023 sockets; each `Dealer` takes three).
    pub fn connect(context: &Context, options: DealerOptions<'_>) -> Result<Self, TransportError> {
        Self::connect_within(context, options, &BOUNDS)
    }

    /// Begins to connect as a viewer, who is sent what agents report.
    ///
    /// # Errors
    ///
    /// As [`Dealer::connect`].
    pub fn connect_to_view(
        context: &Context,
        options: DealerOptions<'_>,
    ) -> Result<Self, TransportError> {
        Self::connect_within(context, options, &VIEW_BOUNDS)
    }

    fn connect_within(
        context: &Context,
        options: DealerOptions<'_>,
        bounds: &Bounds,
    ) -> Result<Self, TransportError> {
        let DealerOptions { address, .. } = options;
        if address.port() == 0 || address.ip().is_unspecified() {
            return Err(TransportError::Address { address });
        }
        may_reach(address)?;
        let socket = context.curve_socket(zmq::DEALER, options.keys, bounds)?;
        let monitor_address = context.inproc_address();
        let monitor = context.pair()?;
        let set_up = || {
            // One that is on would also accept IPv4, but resolve differently.
            socket.set_ipv6(address.is_ipv6())?;
            socket.set_identity(options.routing_id.as_str().as_bytes())?;
            socket.set_curve_serverkey(options.server_key.as_bytes())?;
            // No queue before there is a connection.
            socket.set_immediate(true)?;
            // Never by itself.
            socket.set_reconnect_ivl(-1)?;
            socket.set_connect_timeout(milliseconds(CONNECT_TIMEOUT))?;
            // The reader is there before the first event: libzmq's thread
            // would wait for it.
            socket.monitor(&monitor_address, MonitorEvent::MASK)?;
            monitor.connect(&monitor_address)
        };
        set_up().map_err(TransportError::setup("set up a socket"))?;
        let dealer = Self {
            socket: AsyncSocket::new(socket)?,
            monitor: AsyncSocket::new(monitor)?,
            monitor_address,
            link: Link::new(Instant::now()),
            tcp: None,
            early: None,
        };
        dealer
            .socket
            .raw()
            .connect(&format!("tcp://{address}"))
            .map_err(TransportError::setup("connect"))?;
        Ok(dealer)
    }

    /// Waits for what happens next. News of the link go before messages.
    ///
    /// Cancel safe: what is not returned comes with the next call. Gives other
    /// tasks their turn, also where messages come without end.
    pub async fn event(&mut self) -> DealerEvent {
        tokio::task::consume_budget().await;
        loop {
            if let Some(event) = self.next_event() {
                return event;
            }
            poll_fn(|cx| self.poll_signals(cx)).await;
        }
    }

    /// Sends a message without waiting, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`SendError::WouldBlock`] while the link is not up (as far as
    /// [`Dealer::event`] has told) and when 32 messages are queued:
    /// nothing was queued, the message is dropped. [`SendError::Empty`] for no
    /// frame at all.
    pub fn try_send(&mut self, frames: &[&[u8]]) -> Result<(), SendError> {
        let (first, rest) = frames.split_first().ok_or(SendError::Empty)?;
        if self.link != Link::Up {
            return Err(SendError::WouldBlock);
        }
        self.socket.try_send(first, rest)
    }

    /// Returns true if the link is up, by the events that [`Dealer::event`] has returned.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.link == Link::Up
    }

    /// What the kernel knows of what was sent; None where it does not say, or there is no
    /// connection (any more).
    #[must_use]
    pub fn delivery(&self) -> Option<Delivery> {
        self.tcp.as_ref()?.delivery()
    }

    /// Closes the connection, and gives what is queued at most `linger` to
    /// leave. Returns at once: libzmq's thread waits, and so does the drop of
    /// the last [`Context`].
    pub fn close(self, linger: Duration) {
        // It can only fail for a socket that is closed already.
        let _ = self.socket.raw().set_linger(milliseconds(linger));
    }

    fn next_event(&mut self) -> Option<DealerEvent> {
        if let Some(event) = self.next_link_event() {
            return Some(event);
        }
        if let Some(early) = self.early.take() {
            return Some(DealerEvent::Received(early));
        }
        let received = match self.socket.try_read(frames::receive) {
            Ok(received) => received?,
            Err(error) => return Some(self.fail(error)),
        };
        if self.link != Link::Up {
            // The word was given before the message was.
            self.monitor.distrust();
            if let Some(event) = self.next_link_event() {
                self.early = Some(received);
                return Some(event);
            }
        }
        Some(DealerEvent::Received(received))
    }

    fn next_link_event(&mut self) -> Option<DealerEvent> {
        loop {
            let event = match self.monitor.try_read(monitor_event) {
                Ok(event) => event?,
                Err(error) => return Some(self.fail(error)),
            };
            if let Some(MonitorEvent::Connected(descriptor)) = event {
                self.tcp = Tcp::of(descriptor);
            }
            let meaning = event.and_then(|event| self.link.observe(event, Instant::now()));
            if let Some(meaning) = meaning {
                return Some(match meaning {
                    LinkEvent::Up => DealerEvent::LinkUp,
                    LinkEvent::Down(cause) => DealerEvent::LinkDown(cause),
                    LinkEvent::ConnectFailed(failure) => DealerEvent::ConnectFailed(failure),
                });
            }
        }
    }

    fn fail(&mut self, error: zmq::Error) -> DealerEvent {
        self.link = Link::Down;
        DealerEvent::LinkDown(LinkDownCause::Socket(error.message()))
    }

    fn poll_signals(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let monitor = self.monitor.poll_signal(cx).is_ready();
        let socket = self.socket.poll_signal(cx).is_ready();
        if monitor || socket {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Dealer {
    fn drop(&mut self) {
        // libzmq's thread waits for room when it has an event to report, for ever if the events
        // are not read any more. Setting a monitor ends the old one. One without events reports
        // nothing, or fails because the name is in use: both are fine.
        let _ = self.socket.raw().monitor(&self.monitor_address, 0);
    }
}

impl fmt::Debug for Dealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dealer")
            .field("link", &self.link)
            .finish_non_exhaustive()
    }
}

/// Reads one event off the monitor: a frame with it, and one with an address.
fn monitor_event(monitor: &zmq::Socket) -> zmq::Result<Option<MonitorEvent>> {
    Ok(match frames::receive(monitor)? {
        Received::Message(frames) => frames.get(0).and_then(MonitorEvent::parse),
        Received::TooManyFrames { .. } => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routing_id_is_what_the_protocol_says() {
        let ids: Vec<_> = (0..200).map(|_| RoutingId::random()).collect();
        let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
        for id in &ids {
            assert_eq!(id.as_str().len(), 16);
            assert!(id.as_str().chars().all(allowed), "{id}");
        }
        let distinct: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
        let marked: Vec<_> = (0..200)
            .map(|_| RoutingId::random_after(b"viewer2-"))
            .collect();
        for id in &marked {
            let rest = id.as_str().strip_prefix("viewer2-").unwrap();
            assert!(rest.len() == 8 && rest.chars().all(allowed), "{id}");
        }
        let distinct: std::collections::HashSet<_> = marked.iter().collect();
        assert_eq!(distinct.len(), marked.len());
    }
}
