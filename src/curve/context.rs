//! libzmq's context, and what every CURVE socket of ours has in common.
//!
//! One context for the process: it owns libzmq's two threads. It must not
//! cross a fork. Dropping the last handle waits for the sockets that linger.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;

use super::endpoint::with_interface_name;
use super::keys::KeyPair;

/// Silence on a link after which libzmq asks the peer for a sign of life.
///
/// With [`HEARTBEAT_TIMEOUT`] a half-open connection is found within 20 s, below
/// the stale interval's default of 30 s, at the price of one wake-up of
/// libzmq's thread in that time and another for the answer.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
/// How long libzmq waits for the peer's answer to that.
pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(10);
/// Sent to the peer: if it receives nothing from us for this long, it may drop the link. Two
/// heartbeats may get lost.
pub const HEARTBEAT_TTL: Duration = Duration::from_secs(30);
/// From the TCP connection to the end of the CURVE handshake: four messages,
/// and a peer that is busy with a whole fleet's handshakes (1 ms each).
pub const HANDSHAKE_INTERVAL: Duration = Duration::from_secs(10);

/// TCP's own probing, for a kernel that outlives its stuck process or the
/// other way round: first after this, then at this distance, this many.
const KEEPALIVE_IDLE_S: i32 = 60;
const KEEPALIVE_INTERVAL_S: i32 = 10;
const KEEPALIVE_COUNT: i32 = 3;

/// One thread moves some 30,000 messages a second, which is enough.
const IO_THREADS: i32 = 1;

/// What CURVE adds to each frame on the wire, in bytes: the command's name, a
/// nonce, the authenticator and the flags (RFC 26). `ZMQ_MAXMSGSIZE` counts it.
const CURVE_OVERHEAD: i64 = 33;

/// Why there is no socket.
#[derive(Debug, Error)]
pub enum TransportError {
    /// libzmq is built without CURVE, and without it nothing is sent.
    #[error("libzmq {0}.{1}.{2} is built without CURVE; install one that has it (libsodium)")]
    NoCurve(i32, i32, i32),
    /// libzmq refused a step that should never fail for what we ask.
    #[error("cannot {action}: {reason}")]
    Setup {
        /// What was tried, as in "cannot open".
        action: &'static str,
        /// libzmq's words.
        reason: &'static str,
    },
    /// An address that cannot be connected to.
    #[error("cannot connect to {address}: expected an address and a port other than 0")]
    Address {
        /// The address.
        address: SocketAddr,
    },
    /// The system refuses addresses of this family.
    #[error(
        "cannot connect to {}: the system refuses {family}; RestrictAddressFamilies= of the \
         unit needs it, if the kernel has it",
        with_interface_name(*address),
        family = family_of(address)
    )]
    Family {
        /// The address.
        address: SocketAddr,
    },
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address, `*:PORT` for every one of the host.
        address: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The runtime cannot wait for the socket.
    #[error("cannot wait for the socket: {0}")]
    Reactor(#[source] io::Error),
}

impl TransportError {
    pub(super) fn setup(action: &'static str) -> impl FnOnce(zmq::Error) -> Self {
        move |error| Self::Setup {
            action,
            reason: error.message(),
        }
    }
}

fn family_of(address: &SocketAddr) -> &'static str {
    if address.is_ipv4() {
        "AF_INET"
    } else {
        "AF_INET6"
    }
}

/// Makes sockets; cheap to clone.
#[derive(Clone)]
pub struct Context {
    raw: zmq::Context,
    /// For names that are unique in the process.
    next: Arc<AtomicU64>,
}

/// The bounds of a socket's queues and frames.
pub(super) struct Bounds {
    /// Messages queued for sending, per peer.
    pub(super) send_queue: i32,
    /// Messages queued after receiving, per peer.
    pub(super) receive_queue: i32,
    /// The largest frame that is received, in bytes.
    pub(super) frame_bytes: i64,
}

impl Context {
    /// A context with one I/O thread.
    ///
    /// # Errors
    ///
    /// [`TransportError::NoCurve`], or libzmq has no room for one.
    pub fn new() -> Result<Self, TransportError> {
        if zmq::has("curve") != Some(true) {
            let (major, minor, patch) = zmq::version();
            return Err(TransportError::NoCurve(major, minor, patch));
        }
        let raw = zmq::Context::new();
        raw.set_io_threads(IO_THREADS)
            .map_err(TransportError::setup("make a libzmq context"))?;
        Ok(Self {
            raw,
            next: Arc::default(),
        })
    }

    /// A plain socket for use inside the process.
    pub(super) fn pair(&self) -> Result<zmq::Socket, TransportError> {
        let make = || {
            let socket = self.raw.socket(zmq::PAIR)?;
            socket.set_linger(0)?;
            Ok(socket)
        };
        make().map_err(TransportError::setup("open a socket for link events"))
    }

    /// An address inside the process that no other socket has.
    pub(super) fn inproc_address(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("inproc://link-events-{number}")
    }

    /// A socket with all that both ends have in common.
    pub(super) fn curve_socket(
        &self,
        kind: zmq::SocketType,
        keys: &KeyPair,
        bounds: &Bounds,
    ) -> Result<zmq::Socket, TransportError> {
        let make = || {
            let socket = self.raw.socket(kind)?;
            // What is left unsent when a socket closes is worth nothing.
            socket.set_linger(0)?;
            socket.set_sndhwm(bounds.send_queue)?;
            socket.set_rcvhwm(bounds.receive_queue)?;
            socket.set_maxmsgsize(bounds.frame_bytes + CURVE_OVERHEAD)?;
            socket.set_handshake_ivl(milliseconds(HANDSHAKE_INTERVAL))?;
            socket.set_heartbeat_ivl(milliseconds(HEARTBEAT_INTERVAL))?;
            socket.set_heartbeat_timeout(milliseconds(HEARTBEAT_TIMEOUT))?;
            socket.set_heartbeat_ttl(milliseconds(HEARTBEAT_TTL))?;
            socket.set_tcp_keepalive(1)?;
            socket.set_tcp_keepalive_idle(KEEPALIVE_IDLE_S)?;
            socket.set_tcp_keepalive_intvl(KEEPALIVE_INTERVAL_S)?;
            socket.set_tcp_keepalive_cnt(KEEPALIVE_COUNT)?;
            socket.set_curve_publickey(keys.public.as_bytes())?;
            socket.set_curve_secretkey(keys.secret.as_bytes())?;
            Ok(socket)
        };
        make().map_err(TransportError::setup("open a socket"))
    }
}

/// libzmq counts time in milliseconds of an `int`.
pub(super) fn milliseconds(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
