//! What the targets of ZMTP have in common: two ends with fixed keys and fixed random numbers, and
//! what holds whatever one of them is sent.

use std::time::{Duration, Instant};

use metrics_agent::curve::keys::{KeyPair, PublicKey, SecretKey};
use metrics_agent::curve::zmtp::boxes::{BoxKey, SharedKey};
use metrics_agent::curve::zmtp::connection::{
    Connection, Event, HeartbeatOptions, MAX_HELD_BESIDE, Role, STATUS_REFUSED, Surroundings,
};
use metrics_agent::curve::zmtp::input::Input;
use metrics_agent::curve::zmtp::message::{Bounds, MAX_FRAMES, Received};
use metrics_agent::curve::zmtp::random::Random;
use metrics_agent::curve::zmtp::{Credentials, Violation};

use crate::assert_loggable;

/// Small, so that inputs reach them.
pub const BOUNDS: Bounds = Bounds {
    frame_bytes: 1024,
    message_bytes: 2048,
};

pub const BEATS: HeartbeatOptions = HeartbeatOptions {
    interval: Some(Duration::from_secs(10)),
    timeout: Duration::from_secs(10),
    ttl: Duration::from_secs(30),
};

/// For each byte that comes, at most so many go out, and so many more in all: HELLO, WELCOME,
/// INITIATE and READY. A PONG is shorter than its PING.
const OUT_FOR_EACH_BYTE: usize = 1;
const OUT_IN_ALL: usize = 1024;

/// The same bytes in each run.
struct Fixed(u8);

impl Random for Fixed {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Violation> {
        bytes.fill(self.0);
        Ok(())
    }
}

const CLIENT: u8 = 1;
const SERVER: u8 = 2;

fn pair(byte: u8) -> KeyPair {
    let secret = SecretKey::from_bytes(&[byte; 32]);
    KeyPair {
        public: secret.public(),
        secret,
    }
}

/// Seals messages to the server as a client with a fixed transient key does.
#[must_use]
pub fn client_key() -> BoxKey {
    let client = SecretKey::from_bytes(&[CLIENT; 32]);
    let server = SecretKey::from_bytes(&[SERVER; 32]).public();
    let shared = SharedKey::agree(&client, &server).expect("a key of high order");
    shared.begin(b"CurveZMQMESSAGEC")
}

/// One end, and all that has been looked at of it.
pub struct End {
    pub connection: Connection,
    keys: KeyPair,
    expects: Option<PublicKey>,
    random: Fixed,
    /// Written, and not taken yet.
    pub out: Vec<u8>,
    pub now: Instant,
    /// What becomes of those that knock; None to leave them there.
    pub verdict: Option<bool>,
    pub over: bool,
    came: usize,
    went: usize,
}

impl End {
    fn new(byte: u8, expects: Option<PublicKey>) -> Self {
        let mut out = Vec::new();
        Self {
            connection: Connection::begin(&mut out),
            keys: pair(byte),
            expects,
            random: Fixed(byte),
            out,
            now: Instant::now(),
            verdict: Some(true),
            over: false,
            came: 0,
            went: 0,
        }
    }

    /// Takes what the peer sent; what was received.
    ///
    /// # Panics
    ///
    /// If what must hold does not.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<Received> {
        let mut received = Vec::new();
        if self.over {
            return received;
        }
        let credentials = self.expects.map(|server_key| Credentials {
            keys: &self.keys,
            server_key,
            routing_id: b"ID",
        });
        let mut surroundings = Surroundings {
            role: credentials
                .as_ref()
                .map_or(Role::Server(&self.keys), Role::Client),
            bounds: &BOUNDS,
            heartbeat: &BEATS,
            random: &mut self.random,
            now: self.now,
        };
        let before = self.out.len();
        let mut bytes = bytes.to_vec();
        let mut input = Input::new(&mut bytes);
        self.came += input.len();
        loop {
            let left = input.len();
            let event = self
                .connection
                .next(&mut input, &mut surroundings, &mut self.out);
            assert!(input.len() <= left);
            match event {
                Ok(None) => break,
                Ok(Some(Event::Up)) => assert!(self.connection.is_up()),
                Ok(Some(Event::Knock { routing_id, .. })) => {
                    assert!(routing_id.len() <= 255);
                    assert!(!self.connection.is_up());
                    match self.verdict {
                        Some(true) => self.connection.accept(self.now, &BEATS, &mut self.out),
                        Some(false) => self.connection.refuse(STATUS_REFUSED, &mut self.out),
                        None => break,
                    }
                }
                Ok(Some(Event::Received(one))) => {
                    assert!(left > input.len());
                    assert_received(&one);
                    received.push(one);
                }
                Err(violation) => {
                    assert_loggable(&violation);
                    assert_eq!(self.connection.held(), 0);
                    assert!(!self.connection.is_up());
                    // Nothing is taken any more, and nothing is written.
                    let (left, written) = (input.len(), self.out.len());
                    let after = self
                        .connection
                        .next(&mut input, &mut surroundings, &mut self.out);
                    assert!(matches!(after, Ok(None)));
                    assert_eq!((input.len(), self.out.len()), (left, written));
                    self.over = true;
                    break;
                }
            }
        }
        assert!(self.connection.awaits().is_none() || !self.connection.is_up());
        assert!(format!("{:?}", self.connection).len() < 64);
        self.went += self.out.len() - before;
        assert!(self.went <= OUT_FOR_EACH_BYTE * self.came + OUT_IN_ALL);
        let limit = BOUNDS.frame_bytes + BOUNDS.message_bytes + MAX_HELD_BESIDE;
        assert!(self.connection.held() <= limit);
        received
    }

    /// Takes it in pieces, of lengths that are made from one byte.
    pub fn take_in_pieces(&mut self, mut bytes: &[u8], cut: u8) -> Vec<Received> {
        let mut received = Vec::new();
        let mut length = usize::from(cut);
        while !bytes.is_empty() {
            // 0 for all at once, else from 1 to 128.
            let piece = if cut == 0 {
                bytes.len()
            } else {
                length % 128 + 1
            };
            let (piece, rest) = bytes.split_at(piece.min(bytes.len()));
            received.extend(self.take(piece));
            bytes = rest;
            length = (length * 5 + 3) % 128;
        }
        received
    }
}

fn assert_received(received: &Received) {
    match received {
        Received::Message(message) => {
            assert!((1..=MAX_FRAMES).contains(&message.len()));
            assert!(message.bytes() <= BOUNDS.message_bytes);
            assert_eq!(
                message.iter().map(<[u8]>::len).sum::<usize>(),
                message.bytes()
            );
        }
        Received::TooManyFrames { found } => {
            assert!(usize::try_from(*found).is_ok_and(|found| found > MAX_FRAMES));
        }
    }
}

/// Two ends whose greetings and commands have not been carried over yet.
#[must_use]
pub fn ends() -> (End, End) {
    let server = End::new(SERVER, None);
    let client = End::new(CLIENT, Some(server.keys.public));
    (client, server)
}

/// Carries over what one end has written.
pub fn carry(from: &mut End, to: &mut End) {
    let bytes = std::mem::take(&mut from.out);
    to.take(&bytes);
}
