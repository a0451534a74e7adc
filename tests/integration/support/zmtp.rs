//! A small blocking shell around our side of ZMTP, to meet other implementations with.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use metrics_agent::curve::keys::{KeyPair, PublicKey};
use metrics_agent::curve::zmtp::Credentials;
use metrics_agent::curve::zmtp::connection::{
    Connection, Event, HeartbeatOptions, Role, STATUS_REFUSED, Surroundings,
};
use metrics_agent::curve::zmtp::input::Input;
use metrics_agent::curve::zmtp::message::{Bounds, Received};
use metrics_agent::curve::zmtp::random::KernelRandom;

use super::peer::PATIENCE;

/// A message's frames.
pub(crate) type Frames = Vec<Vec<u8>>;

pub(crate) const BOUNDS: Bounds = Bounds {
    frame_bytes: 2 * 1024 * 1024,
    message_bytes: 8 * 1024 * 1024,
};

/// Nothing is asked for.
pub(crate) const QUIET: HeartbeatOptions = HeartbeatOptions {
    interval: None,
    timeout: Duration::from_secs(30),
    ttl: Duration::from_secs(30),
};

/// A PING is due at any time, and no answer is waited for.
pub(crate) const PINGS: HeartbeatOptions = HeartbeatOptions {
    interval: Some(Duration::ZERO),
    timeout: Duration::from_secs(24 * 3600),
    ttl: Duration::from_secs(30),
};

/// What a PING has on the wire, in bytes.
const PING_BYTES: usize = EMPTY_FRAME_BYTES + 7;

/// A sealed frame without a text: header, command, counter, authenticator, flags.
const EMPTY_FRAME_BYTES: usize = 2 + 8 + 8 + 16 + 1;

/// What a connection ends with when the peer ends it.
pub(crate) const CLOSED: &str = "closed by the peer";

pub(crate) struct Socket {
    stream: TcpStream,
    connection: Connection,
    keys: KeyPair,
    /// Some at the end that has connected.
    expects: Option<PublicKey>,
    id: Vec<u8>,
    heartbeat: HeartbeatOptions,
    /// A server refuses every key.
    refuses: bool,
    /// Who knocked: the key, and the routing id asked for.
    knocked: Option<(PublicKey, Vec<u8>)>,
    received: VecDeque<Received>,
    /// All that was read, in bytes.
    read: usize,
    ended: Option<String>,
}

impl Socket {
    /// Connects as a client with new keys, and asks for the routing id "OURS".
    pub(crate) fn connect(address: SocketAddr, server: PublicKey) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        Self::over(stream, KeyPair::generate().unwrap(), server)
    }

    /// The same over this connection, with these keys.
    pub(crate) fn over(stream: TcpStream, keys: KeyPair, server: PublicKey) -> Self {
        Self::begin(stream, keys, Some(server))
    }

    /// Asks for this routing id.
    pub(crate) fn known_as(mut self, id: &str) -> Self {
        id.as_bytes().clone_into(&mut self.id);
        self
    }

    /// The server's end of the next connection.
    pub(crate) fn accept(listener: &TcpListener, keys: &KeyPair) -> Self {
        let (stream, _) = listener.accept().unwrap();
        Self::served(stream, keys)
    }

    /// The server's end of this connection.
    pub(crate) fn served(stream: TcpStream, keys: &KeyPair) -> Self {
        Self::begin(stream, keys.clone(), None)
    }

    fn begin(stream: TcpStream, keys: KeyPair, expects: Option<PublicKey>) -> Self {
        let mut out = Vec::new();
        let mut socket = Self {
            stream,
            connection: Connection::begin(&mut out),
            keys,
            expects,
            id: b"OURS".to_vec(),
            heartbeat: QUIET,
            refuses: false,
            knocked: None,
            received: VecDeque::new(),
            read: 0,
            ended: None,
        };
        socket.write(&out);
        socket
    }

    /// For when the connection is up.
    pub(crate) fn with_heartbeat(mut self, heartbeat: HeartbeatOptions) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    pub(crate) fn refusing(mut self) -> Self {
        self.refuses = true;
        self
    }

    /// Waits until the connection is up. Of a client: who it is, and what it wants to be called.
    pub(crate) fn up(&mut self) -> Option<(PublicKey, Vec<u8>)> {
        self.run("the connection is up", |socket| socket.connection.is_up());
        self.knocked.clone()
    }

    /// Waits until the connection is up, which is true, or has ended.
    pub(crate) fn is_let_in(&mut self) -> bool {
        self.run("the connection is up or ended", |socket| {
            socket.connection.is_up() || socket.ended.is_some()
        });
        self.connection.is_up()
    }

    pub(crate) fn send(&mut self, frames: &[Vec<u8>]) {
        let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
        let mut out = Vec::new();
        assert!(self.connection.send(&frames, &mut out).unwrap());
        self.write(&out);
    }

    /// Sends frames of a message that goes on, which the peer may take or not.
    pub(crate) fn send_on(&mut self, frames: &[&[u8]]) -> std::io::Result<()> {
        let mut out = Vec::new();
        // The last one is not sent: a counter may jump.
        let frames = [frames, &[b""]].concat();
        assert!(self.connection.send(&frames, &mut out).unwrap());
        out.truncate(out.len() - EMPTY_FRAME_BYTES);
        self.stream.write_all(&out)
    }

    /// Sends a frame but for its last byte, which the peer may take or not.
    pub(crate) fn begin_frame(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let length = bytes.len() as u64 + 1;
        let header = [&[2][..], &length.to_be_bytes()].concat();
        self.stream.write_all(&header)?;
        self.stream.write_all(bytes)
    }

    /// A message of these frames as it is to be written; its counters are used up.
    pub(crate) fn sealed(&mut self, frames: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        assert!(self.connection.send(frames, &mut out).unwrap());
        out
    }

    /// So many PINGs as they are to be written, of a peer whose heartbeat is [`PINGS`].
    pub(crate) fn pings(&mut self, count: usize) -> Vec<u8> {
        let (mut out, now) = (Vec::new(), Instant::now());
        for _ in 0..count {
            self.connection.beat(now, &PINGS, &mut out).unwrap();
        }
        assert_eq!(out.len(), count * PING_BYTES);
        out
    }

    /// The connection, for what is written and read past all rules.
    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Takes what has come, without waiting.
    pub(crate) fn look(&mut self) {
        self.stream.set_nonblocking(true).unwrap();
        self.turn(Instant::now());
        self.stream.set_nonblocking(false).unwrap();
    }

    /// Why the connection has ended, if it has and that was seen.
    pub(crate) fn end_seen(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// Messages that have come and were not taken.
    pub(crate) fn waiting(&self) -> usize {
        self.received.len()
    }

    pub(crate) fn received(&mut self) -> Received {
        self.run("a message", |socket| !socket.received.is_empty());
        self.received.pop_front().unwrap()
    }

    pub(crate) fn message(&mut self) -> Frames {
        match self.received() {
            Received::Message(message) => message.iter().map(<[u8]>::to_vec).collect(),
            Received::TooManyFrames { found } => panic!("{found} frames"),
        }
    }

    /// Waits until the peer has sent so many bytes more.
    pub(crate) fn read_more(&mut self, bytes: usize) {
        let enough = self.read + bytes;
        self.run("signs of life", |socket| socket.read >= enough);
    }

    /// Waits for the end of the connection; why it ended.
    pub(crate) fn ended(&mut self) -> String {
        let begin = Instant::now();
        while self.ended.is_none() {
            assert!(begin.elapsed() < PATIENCE, "{:?}", self.connection);
            self.turn(begin + PATIENCE);
        }
        // As a shell should: the peer gets what was written, and then the end.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        self.ended.clone().unwrap()
    }

    fn run(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let begin = Instant::now();
        while !done(self) {
            if let Some(ended) = &self.ended {
                panic!("{what}: {ended}");
            }
            assert!(begin.elapsed() < PATIENCE, "{what}: {:?}", self.connection);
            self.turn(begin + PATIENCE);
        }
    }

    /// Waits once, for bytes or for the time.
    fn turn(&mut self, until: Instant) {
        let deadline = self.connection.deadline(&self.heartbeat);
        let wait = deadline.map_or(until, |deadline| deadline.min(until));
        let wait = wait.saturating_duration_since(Instant::now());
        let wait = wait.max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(wait)).unwrap();
        let mut bytes = vec![0; 64 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => self.end(CLOSED),
            Ok(count) => {
                self.read += count;
                self.take(&mut bytes[..count]);
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                ErrorKind::ConnectionReset => self.end(CLOSED),
                _ => panic!("{error}"),
            },
        }
        let mut out = Vec::new();
        let beat = self
            .connection
            .beat(Instant::now(), &self.heartbeat, &mut out);
        self.write(&out);
        if let Err(violation) = beat {
            self.end(&violation.to_string());
        }
    }

    fn take(&mut self, bytes: &mut [u8]) {
        let credentials = self.expects.map(|server_key| Credentials {
            keys: &self.keys,
            server_key,
            routing_id: &self.id,
        });
        let role = credentials
            .as_ref()
            .map_or(Role::Server(&self.keys), Role::Client);
        let now = Instant::now();
        let mut surroundings = Surroundings {
            role,
            bounds: &BOUNDS,
            heartbeat: &self.heartbeat,
            random: &mut KernelRandom,
            now,
        };
        let mut input = Input::new(bytes);
        let (mut out, mut ended) = (Vec::new(), None);
        loop {
            let next = self
                .connection
                .next(&mut input, &mut surroundings, &mut out);
            match next {
                Ok(None) => break,
                Ok(Some(Event::Up)) => {}
                Ok(Some(Event::Received(received))) => self.received.push_back(received),
                Ok(Some(Event::Knock { key, routing_id })) => {
                    self.knocked = Some((key, routing_id.into()));
                    if self.refuses {
                        self.connection.refuse(STATUS_REFUSED, &mut out);
                        ended = Some("refused".to_owned());
                        break;
                    }
                    self.connection.accept(now, &self.heartbeat, &mut out);
                }
                Err(violation) => {
                    ended = Some(violation.to_string());
                    break;
                }
            }
        }
        self.write(&out);
        if let Some(why) = ended {
            self.end(&why);
        }
    }

    /// All of it, or the next frame would begin in the middle of one. A peer that is gone is noticed
    /// when reading.
    fn write(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.stream.set_nonblocking(false).unwrap();
        let _ = self.stream.write_all(bytes);
    }

    fn end(&mut self, why: &str) {
        self.ended.get_or_insert_with(|| why.to_owned());
    }
}
