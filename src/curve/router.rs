//! The collector's end: a ROUTER that listens.
//!
//! It owns the listening socket and every connection on it, bounded per peer.
//! Whose key a peer may have is not decided here: with a [`Domain`] an
//! [`Authenticator`](super::zap::Authenticator) is asked, and without one any key that
//! completes the handshake is accepted.

use std::borrow::Borrow;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener};
use std::ops::Deref;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};

use super::context::{Bounds, Context, TransportError};
use super::endpoint::Zone;
use super::frames::{self, Received};
use super::keys::KeyPair;
use super::socket::AsyncSocket;
use super::zap::Domain;

pub use super::socket::SendError;

/// The largest frame received from an agent, in bytes. A larger one ends the
/// connection.
pub const MAX_FRAME_BYTES: i64 = 1024 * 1024;

const BOUNDS: Bounds = Bounds {
    // Control words, a few at a time.
    send_queue: 16,
    // Of each peer: beyond it TCP holds the peer back, and nothing is lost.
    receive_queue: 64,
    frame_bytes: MAX_FRAME_BYTES,
};

/// The largest frame received from a viewer: control words have five bytes.
pub const MAX_VIEWER_FRAME_BYTES: i64 = 4096;

const VIEWER_BOUNDS: Bounds = Bounds {
    // Of each viewer, whole messages of agents, which libzmq copies for each: a hiccup of
    // 30 ms at 2,000 messages a second. What finds no room is the caller's to keep once
    // for all.
    send_queue: 64,
    receive_queue: 16,
    frame_bytes: MAX_VIEWER_FRAME_BYTES,
};

/// Connections that the kernel holds until they are accepted: a fleet that
/// returns at once. The kernel's own limit (`net.core.somaxconn`) is 4,096.
const BACKLOG: i32 = 4096;

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// One address; of IPv6's unspecified one (`[::]`), both families. Port 0
    /// is any free port.
    Address(SocketAddr),
    /// A link-local address, with its interface as it was written.
    LinkLocal(SocketAddrV6, Zone),
    /// Every address of the host, of both families where the kernel has IPv6.
    Any {
        /// The port; 0 is any free one.
        port: u16,
    },
}

impl Listen {
    /// The address; None if it is every one of the host.
    #[must_use]
    pub fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::LinkLocal(address, _) => Some(address.into()),
            Self::Any { .. } => None,
        }
    }

    /// The port; 0 is any free one.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::LinkLocal(address, _) => address.port(),
            Self::Any { port } => port,
        }
    }

    /// The same address with another port, such as the one that was free.
    #[must_use]
    pub fn at_port(self, port: u16) -> Self {
        match self {
            Self::Address(mut address) => {
                address.set_port(port);
                Self::Address(address)
            }
            Self::LinkLocal(mut address, zone) => {
                address.set_port(port);
                Self::LinkLocal(address, zone)
            }
            Self::Any { .. } => Self::Any { port },
        }
    }
}

impl From<SocketAddr> for Listen {
    fn from(address: SocketAddr) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::LinkLocal(address, zone) => {
                write!(f, "[{}{zone}]:{}", address.ip(), address.port())
            }
            Self::Any { port } => write!(f, "*:{port}"),
        }
    }
}

/// What a [`Router`] needs to listen.
#[derive(Clone, Copy, Debug)]
pub struct RouterOptions<'a> {
    /// Where to listen.
    pub listen: Listen,
    /// The server's keys.
    pub keys: &'a KeyPair,
    /// Decides which peers' keys are let in. If None, every key is, and keys are not known.
    pub domain: Option<&'a Domain>,
}

/// What a peer is addressed by: the routing id that it chose, or five bytes
/// that libzmq chose for it. 1 to 255 bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoutingIdBytes(Box<[u8]>);

impl From<&[u8]> for RoutingIdBytes {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl Deref for RoutingIdBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

/// A table by routing id can be asked with bytes.
impl Borrow<[u8]> for RoutingIdBytes {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for RoutingIdBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for RoutingIdBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoutingIdBytes({self})")
    }
}

/// Where it listens, by libzmq's word for it: with the port that was chosen for port 0. Of a
/// link-local address libzmq has the name of the interface, which is no part of ours.
fn bound_address(listen: Listen, text: &str) -> Option<SocketAddr> {
    if listen.address().is_none() {
        return text.parse().ok();
    }
    let (_, port) = text.rsplit_once(':')?;
    listen.at_port(port.parse().ok()?).address()
}

/// libzmq looks for an address among the host's interfaces, by netlink(7), and aborts where
/// it must not.
fn may_see_interfaces() -> io::Result<()> {
    // Protocol 0 is NETLINK_ROUTE.
    let netlink = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None);
    netlink.map(drop).map_err(|error| {
        let text = format!("cannot list the host's interfaces: {error}");
        io::Error::new(io::ErrorKind::Unsupported, text)
    })
}

/// As libzmq does: IPv4 alone where there is no IPv6.
fn try_any(port: u16) -> io::Result<()> {
    let bind = |ip: IpAddr| TcpListener::bind((ip, port)).map(drop);
    bind(Ipv6Addr::UNSPECIFIED.into()).or_else(|error| {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => bind(Ipv4Addr::UNSPECIFIED.into()),
            _ => Err(error),
        }
    })
}

/// A CURVE ROUTER that listens on one address. Dropping it closes it and every
/// connection at once.
pub struct Router {
    socket: AsyncSocket,
    address: SocketAddr,
    domain: Option<Domain>,
}

impl Router {
    /// Listens. To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`TransportError::Bind`] where the address cannot be had.
    pub fn bind(context: &Context, options: RouterOptions<'_>) -> Result<Self, TransportError> {
        Self::bind_within(context, options, &BOUNDS)
    }

    /// Listens for those who say little and are sent much.
    ///
    /// # Errors
    ///
    /// As [`Router::bind`].
    pub fn bind_for_viewers(
        context: &Context,
        options: RouterOptions<'_>,
    ) -> Result<Self, TransportError> {
        Self::bind_within(context, options, &VIEWER_BOUNDS)
    }

    fn bind_within(
        context: &Context,
        options: RouterOptions<'_>,
        bounds: &Bounds,
    ) -> Result<Self, TransportError> {
        let listen = options.listen;
        let socket = context.curve_socket(zmq::ROUTER, options.keys, bounds)?;
        let set_up = || {
            socket.set_curve_server(true)?;
            let address = listen.address();
            socket.set_ipv6(address.is_none_or(|address| address.is_ipv6()))?;
            // libzmq walks the timers of all connections to cancel one: heartbeats
            // to each of 10,000 agents would cost half a core. Nothing is lost:
            // agents ask for theirs, and say (HEARTBEAT_TTL) when to drop them.
            socket.set_heartbeat_ivl(0)?;
            // A second connection of the same routing id is its peer's new one.
            socket.set_router_handover(true)?;
            // An unknown peer is an error, not a message lost in silence.
            socket.set_router_mandatory(true)?;
            if let Some(domain) = options.domain {
                socket.set_zap_domain(domain.name())?;
            }
            socket.set_backlog(BACKLOG)
        };
        set_up().map_err(TransportError::setup("set up a socket"))?;

        let failed = |source| TransportError::Bind {
            address: listen.to_string(),
            source,
        };
        // The system's own word on what is wrong; `zmq` panics for an error that it has no name
        // for, as for a missing address family.
        // libzmq takes the number of an interface, whatever its name begins with.
        let at = if let Some(address) = listen.address() {
            TcpListener::bind(address).map_err(failed)?;
            may_see_interfaces().map_err(failed)?;
            address.to_string()
        } else {
            try_any(listen.port()).map_err(failed)?;
            listen.to_string()
        };
        socket
            .bind(&format!("tcp://{at}"))
            .map_err(|error| failed(io::Error::other(error.message())))?;
        let endpoint = socket
            .get_last_endpoint()
            .map_err(TransportError::setup("ask for the socket's address"))?;
        let address = endpoint
            .ok()
            .and_then(|text| bound_address(listen, text.strip_prefix("tcp://")?))
            .ok_or_else(|| failed(io::Error::other("libzmq names no address")))?;
        Ok(Self {
            socket: AsyncSocket::new(socket)?,
            address,
            domain: options.domain.cloned(),
        })
    }

    /// Where it listens, with the port that was chosen for port 0.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the next message of any peer, fairly among them.
    ///
    /// Cancel safe, and gives other tasks their turn.
    ///
    /// # Errors
    ///
    /// [`TransportError::Setup`] where libzmq fails as it never should.
    pub async fn receive(&mut self) -> Result<(RoutingIdBytes, Received), TransportError> {
        tokio::task::consume_budget().await;
        loop {
            if let Some(message) = self.try_receive()? {
                return Ok(message);
            }
            poll_fn(|cx| self.socket.poll_signal(cx)).await;
        }
    }

    /// Takes the next message if one is there: after [`Router::receive`], for a
    /// batch. The caller bounds the batch, so that its other tasks have a turn.
    ///
    /// # Errors
    ///
    /// As [`Router::receive`].
    pub fn try_receive(&mut self) -> Result<Option<(RoutingIdBytes, Received)>, TransportError> {
        let vouched = self.domain.as_ref().is_some_and(Domain::is_answered);
        self.socket
            .try_read(|socket| {
                let id = socket.recv_msg(zmq::DONTWAIT)?;
                // A ROUTER puts the id in front of at least one frame.
                let mut received = frames::receive(socket)?;
                if let Received::Message(frames) = &mut received
                    && vouched
                {
                    frames.vouch();
                }
                Ok((RoutingIdBytes::from(&*id), received))
            })
            .map_err(TransportError::setup("receive"))
    }

    /// Sends a message to one peer without waiting, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`SendError::UnknownPeer`] for a peer that is not connected (any more),
    /// [`SendError::WouldBlock`] for one that does not take what is sent to it,
    /// [`SendError::Empty`] for no frame at all.
    pub fn try_send(&mut self, to: &[u8], frames: &[&[u8]]) -> Result<(), SendError> {
        if frames.is_empty() {
            return Err(SendError::Empty);
        }
        self.socket.try_send(to, frames)
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
