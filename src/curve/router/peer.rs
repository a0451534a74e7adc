//! One connection of a ROUTER: its socket, its state, and what waits to be sent.

use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, TcpStream};
use std::ops::Deref;
use std::sync::Arc;

use crate::curve::keys::PublicKey;
use crate::curve::outgoing::Outgoing;
use crate::curve::tcp;
use crate::curve::zmtp::connection::Connection;

/// What a peer is addressed by: its connection, and the routing id that it chose for itself.
///
/// The routing id alone identifies no peer: two connections with the same one are two peers.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoutingIdBytes {
    pub(super) token: u64,
    bytes: Arc<[u8]>,
}

impl RoutingIdBytes {
    /// One that chose none is known by a zero and its connection's number, as libzmq has it.
    pub(super) fn new(token: u64, chosen: &[u8]) -> Self {
        let bytes: Arc<[u8]> = if chosen.is_empty() {
            let mut own = vec![0];
            own.extend(token.to_be_bytes());
            own.into()
        } else {
            chosen.into()
        };
        Self { token, bytes }
    }
}

/// Of no connection; for tests and tables.
impl From<&[u8]> for RoutingIdBytes {
    fn from(bytes: &[u8]) -> Self {
        Self {
            token: u64::MAX,
            bytes: bytes.into(),
        }
    }
}

impl Deref for RoutingIdBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Display for RoutingIdBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for RoutingIdBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoutingIdBytes({self})")
    }
}

/// Who has sent something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// What it is addressed by.
    pub id: RoutingIdBytes,
    /// The key that it has proved to hold and was let in with.
    pub key: PublicKey,
    /// Its network address; an IPv4 address is one, also over a socket of IPv6.
    pub address: IpAddr,
}

/// How far a peer has come.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// It has said nothing yet.
    New,
    /// In its handshake; who it is, is not known.
    Stranger,
    /// It has proved its key and waits for a verdict.
    Knocking,
    /// It was let in.
    Known(Origin),
}

pub(super) struct Peer {
    stream: TcpStream,
    pub(super) connection: Connection,
    pub(super) standing: Standing,
    pub(super) address: IpAddr,
    pub(super) outgoing: Outgoing,
    /// What it has begun to send and has not ended, in bytes.
    pub(super) unfinished: usize,
    /// It is listed as having something to send.
    pub(super) is_dirty: bool,
    /// The kernel has no room: its readiness to write is waited for.
    pub(super) is_stuck: bool,
    /// A look at its deadline is scheduled.
    pub(super) is_timed: bool,
}

/// What a read gave.
pub(super) enum Came {
    Bytes(usize),
    Nothing,
    End,
}

impl Peer {
    pub(super) fn new(stream: TcpStream, address: IpAddr) -> io::Result<Self> {
        tcp::prepare(&stream)?;
        let mut outgoing = Outgoing::default();
        let connection = Connection::begin(outgoing.end());
        Ok(Self {
            stream,
            connection,
            standing: Standing::New,
            address,
            outgoing,
            unfinished: 0,
            is_dirty: false,
            is_stuck: false,
            is_timed: false,
        })
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Who it is, if it was let in.
    pub(super) fn origin(&self) -> Option<&Origin> {
        match &self.standing {
            Standing::Known(origin) => Some(origin),
            Standing::New | Standing::Stranger | Standing::Knocking => None,
        }
    }

    /// Reads once.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Came> {
        loop {
            return match self.stream.read(buffer) {
                Ok(0) => Ok(Came::End),
                Ok(count) => Ok(Came::Bytes(count)),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Came::Nothing),
                Err(error) => Err(error),
            };
        }
    }

    /// Sends what the kernel takes.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let mut stream = &self.stream;
        self.outgoing.flush(|bytes| stream.write(bytes))
    }
}
