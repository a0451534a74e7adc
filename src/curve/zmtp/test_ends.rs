//! Two ends of a connection without a network, for the tests of this folder.

use std::time::{Duration, Instant};

use super::Credentials;
use super::connection::{Connection, Event, HeartbeatOptions, Role, STATUS_REFUSED, Surroundings};
use super::greeting::GREETING_BYTES;
use super::input::Input;
use super::message::{Bounds, Received};
use super::random::Random;
use super::violation::Violation;
use crate::curve::keys::{KeyPair, PublicKey, SecretKey};

pub(super) const BOUNDS: Bounds = Bounds {
    frame_bytes: 64 * 1024,
    message_bytes: 96 * 1024,
};

pub(super) const BEATS: HeartbeatOptions = HeartbeatOptions {
    interval: Some(Duration::from_secs(10)),
    timeout: Duration::from_secs(10),
    ttl: Duration::from_secs(30),
};

/// What the ends draw their secrets from.
pub(super) const CLIENT_SEED: u64 = 1;
pub(super) const SERVER_SEED: u64 = 2;

/// Numbers that are the same in each run.
pub(super) struct Seeded(pub(super) fastrand::Rng);

impl Random for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Violation> {
        self.0.fill(bytes);
        Ok(())
    }
}

pub(super) fn key_pair(seed: u8) -> KeyPair {
    let secret = SecretKey::from_bytes(&[seed; 32]);
    KeyPair {
        public: secret.public(),
        secret,
    }
}

/// Who the ends are, and what has become of them.
pub(super) struct Ends {
    pub(super) client: End,
    pub(super) server: End,
    pub(super) now: Instant,
}

pub(super) struct End {
    pub(super) connection: Connection,
    pub(super) keys: KeyPair,
    /// Some at the end that connects.
    expects: Option<PublicKey>,
    random: Seeded,
    /// Written and not sent.
    pub(super) out: Vec<u8>,
    pub(super) received: Vec<Received>,
    pub(super) knocked: Option<Box<[u8]>>,
    pub(super) violation: Option<String>,
    pub(super) refuses: bool,
}

impl End {
    fn new(keys: KeyPair, expects: Option<PublicKey>, seed: u64) -> Self {
        let mut out = Vec::new();
        Self {
            connection: Connection::begin(&mut out),
            keys,
            expects,
            random: Seeded(fastrand::Rng::with_seed(seed)),
            out,
            received: Vec::new(),
            knocked: None,
            violation: None,
            refuses: false,
        }
    }

    /// Takes what came.
    pub(super) fn take(&mut self, bytes: &[u8], now: Instant) {
        if self.violation.is_some() {
            return;
        }
        let credentials = self.expects.map(|server_key| Credentials {
            keys: &self.keys,
            server_key,
            routing_id: b"ROUTING-ID",
        });
        let role = credentials
            .as_ref()
            .map_or(Role::Server(&self.keys), Role::Client);
        let mut surroundings = Surroundings {
            role,
            bounds: &BOUNDS,
            heartbeat: &BEATS,
            random: &mut self.random,
            now,
        };
        let mut bytes = bytes.to_vec();
        let mut input = Input::new(&mut bytes);
        loop {
            let event = self
                .connection
                .next(&mut input, &mut surroundings, &mut self.out);
            match event {
                Ok(Some(Event::Knock { routing_id, .. })) => {
                    self.knocked = Some(routing_id);
                    if self.refuses {
                        self.connection.refuse(STATUS_REFUSED, &mut self.out);
                    } else {
                        self.connection.accept(now, &BEATS, &mut self.out);
                    }
                }
                Ok(Some(Event::Received(received))) => self.received.push(received),
                Ok(Some(Event::Up)) => {}
                Ok(None) => return,
                Err(violation) => {
                    self.violation = Some(violation.to_string());
                    return;
                }
            }
        }
    }

    /// The client expects this server from now on.
    pub(super) fn expect(&mut self, server: PublicKey) {
        self.expects = Some(server);
    }

    /// It draws other numbers from now on.
    pub(super) fn reseed(&mut self, seed: u64) {
        self.random = Seeded(fastrand::Rng::with_seed(seed));
    }

    pub(super) fn send(&mut self, frames: &[&[u8]]) {
        assert!(self.connection.send(frames, &mut self.out).unwrap());
    }

    /// All messages, as lists of frames.
    pub(super) fn messages(&self) -> Vec<Vec<Vec<u8>>> {
        let frames = |received: &Received| match received {
            Received::Message(message) => message.iter().map(<[u8]>::to_vec).collect(),
            Received::TooManyFrames { found } => panic!("{found} frames"),
        };
        self.received.iter().map(frames).collect()
    }
}

impl Ends {
    pub(super) fn new() -> Self {
        let (client, server) = (key_pair(1), key_pair(2));
        Self {
            client: End::new(client, Some(server.public), CLIENT_SEED),
            server: End::new(server, None, SERVER_SEED),
            now: Instant::now(),
        }
    }

    /// A client that expects another server.
    pub(super) fn with_wrong_key() -> Self {
        let mut ends = Self::new();
        ends.client.expect(key_pair(9).public);
        ends
    }

    /// Carries over what is written until nothing is.
    pub(super) fn settle(&mut self) {
        while !self.client.out.is_empty() || !self.server.out.is_empty() {
            let (there, back) = (
                std::mem::take(&mut self.client.out),
                std::mem::take(&mut self.server.out),
            );
            self.server.take(&there, self.now);
            self.client.take(&back, self.now);
        }
    }

    pub(super) fn up() -> Self {
        let mut ends = Self::new();
        ends.settle();
        assert!(ends.client.connection.is_up() && ends.server.connection.is_up());
        ends
    }

    /// Carries over the handshake up to the client's (or server's) command of this number, and
    /// returns it: from 1, as 0 is the first part of the greeting.
    pub(super) fn stop_before(&mut self, of_client: bool, number: usize) -> Vec<u8> {
        let (mut written, mut sent) = (0, 0);
        loop {
            let from = if of_client {
                &mut self.client
            } else {
                &mut self.server
            };
            let mut bytes = std::mem::take(&mut from.out);
            let to = if of_client {
                &mut self.server
            } else {
                &mut self.client
            };
            let has_moved = !bytes.is_empty();
            if has_moved && (1..GREETING_BYTES).contains(&sent) {
                let rest: Vec<u8> = bytes.drain(..GREETING_BYTES - sent).collect();
                sent = GREETING_BYTES;
                to.take(&rest, self.now);
            }
            if !bytes.is_empty() {
                if written == number {
                    return bytes;
                }
                written += 1;
                sent += bytes.len();
                to.take(&bytes, self.now);
            }
            let (from, to) = if of_client {
                (&mut self.server, &mut self.client)
            } else {
                (&mut self.client, &mut self.server)
            };
            let back = std::mem::take(&mut from.out);
            assert!(has_moved || !back.is_empty(), "it has stopped");
            to.take(&back, self.now);
        }
    }
}
