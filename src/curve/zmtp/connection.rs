//! One connection from its first byte to its end: greeting, handshake, messages.
//!
//! The shell around it gives it what was read and sends what it writes, keeps the time that a
//! handshake may take, and asks for the decision on a key. It holds at most a frame that is not
//! whole and a message that is not whole, each within its [`Bounds`].

use std::fmt;
use std::time::Instant;

use super::frames::{COMMAND, FrameReader, MORE};
use super::greeting::{self, GreetingReader, Rest};
use super::handshake::{
    Client, ClientStep, Credentials, Knock, MAX_COMMAND_BYTES, Server, ServerStep, refuse,
};
use super::input::Input;
use super::link::{Link, OVERHEAD};
use super::message::{Bounds, Received};
use super::random::Random;
use super::violation::{Command, Violation};
use crate::curve::keys::{KEY_BYTES, KeyPair, PublicKey};

pub use super::heartbeat::HeartbeatOptions;

/// What a connection holds at most besides messages, in bytes: a command of its handshake, or
/// keys and counters.
pub const MAX_HELD_BESIDE: usize = 4096;

/// A key that may not come in, as ZAP has it ([RFC 27](https://rfc.zeromq.org/spec/27/)).
pub const STATUS_REFUSED: [u8; 3] = *b"400";

/// Which end this is.
#[derive(Clone, Copy, Debug)]
pub enum Role<'a> {
    /// It has connected to a server whose key it knows.
    Client(&'a Credentials<'a>),
    /// It was connected to.
    Server(&'a KeyPair),
}

/// What a connection needs at each call and does not keep.
pub struct Surroundings<'a> {
    /// Which end it is; the same at each call.
    pub role: Role<'a>,
    /// What is received at most.
    pub bounds: &'a Bounds,
    /// How the peer is minded.
    pub heartbeat: &'a HeartbeatOptions,
    /// Where secrets come from.
    pub random: &'a mut dyn Random,
    /// The time.
    pub now: Instant,
}

/// What has happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A client has proved its key: [`Connection::accept`] or [`Connection::refuse`] is next.
    Knock {
        /// The key.
        key: PublicKey,
        /// What it asks to be known by; may be empty, and another's.
        routing_id: Box<[u8]>,
    },
    /// The server has let us in.
    Up,
    /// The peer sent this.
    Received(Received),
}

enum Stage {
    Greeting(GreetingReader),
    Client(Client),
    Server(Server),
    Knocking(Box<Knock>),
    Up(Box<Link>),
    /// The peer broke a rule, or was refused.
    Over,
}

/// Where a connection stands.
pub struct Connection {
    stage: Stage,
    frames: FrameReader,
}

impl Connection {
    /// Begins: writes the first part of the greeting.
    #[must_use]
    pub fn begin(out: &mut Vec<u8>) -> Self {
        greeting::begin(out);
        Self {
            stage: Stage::Greeting(GreetingReader::default()),
            frames: FrameReader::default(),
        }
    }

    /// Takes the next event out of `input`, and what was read of it off its front. None where all
    /// of it was taken. To be called until then, with `input` as it was left.
    ///
    /// What is to be sent is added to `out`, also if this fails. A peer that lets `out` grow
    /// because it does not read must not be read from.
    ///
    /// # Errors
    ///
    /// A [`Violation`]: the connection is over.
    pub fn next(
        &mut self,
        input: &mut Input<'_>,
        surroundings: &mut Surroundings<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Violation> {
        let event = self.advance(input, surroundings, out);
        if event.is_err() {
            self.end();
        }
        event
    }

    fn advance(
        &mut self,
        input: &mut Input<'_>,
        surroundings: &mut Surroundings<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Event>, Violation> {
        if let Stage::Greeting(reader) = &mut self.stage {
            let rest = match surroundings.role {
                Role::Client(_) => Rest::AfterGreeting,
                Role::Server(_) => Rest::AfterVersion,
            };
            if !reader.take(input, rest, out)? {
                return Ok(None);
            }
            self.stage = match surroundings.role {
                Role::Client(credentials) => {
                    Stage::Client(Client::begin(credentials, surroundings.random, out)?)
                }
                Role::Server(_) => Stage::Server(Server::AwaitHello),
            };
        }
        loop {
            let limit = match &self.stage {
                Stage::Up(_) => surroundings.bounds.frame_bytes + OVERHEAD,
                Stage::Knocking(_) | Stage::Over => return Ok(None),
                _ => MAX_COMMAND_BYTES,
            };
            let Some(frame) = self.frames.next(input, limit)? else {
                return Ok(None);
            };
            let flags = frame.flags;
            if let Some(event) = step(&mut self.stage, flags, frame.body, surroundings, out)? {
                return Ok(Some(event));
            }
        }
    }

    /// Lets in the peer that knocked. Nothing happens if none did.
    pub fn accept(&mut self, now: Instant, heartbeat: &HeartbeatOptions, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Knocking(knock) => {
                let keys = knock.accept(out);
                self.stage = Stage::Up(Box::new(Link::new(keys, now, heartbeat)));
            }
            other => self.stage = other,
        }
    }

    /// Tells the peer that knocked that it may not come in: the connection is over when `out` is
    /// sent. Nothing happens if none did.
    pub fn refuse(&mut self, status: [u8; 3], out: &mut Vec<u8>) {
        if matches!(self.stage, Stage::Knocking(_)) {
            refuse(status, out);
            self.end();
        }
    }

    /// Writes a message of these frames; false where the link is not up, and nothing was written.
    ///
    /// # Errors
    ///
    /// [`Violation::Exhausted`], after 2^64 frames: the connection is over.
    pub fn send(&mut self, frames: &[&[u8]], out: &mut Vec<u8>) -> Result<bool, Violation> {
        let Stage::Up(link) = &mut self.stage else {
            return Ok(false);
        };
        let sent = link.send(frames, out);
        if sent.is_err() {
            self.end();
        }
        sent.map(|()| true)
    }

    /// What it holds on the heap, in bytes: never more than the two bounds of [`Bounds`] together
    /// and [`MAX_HELD_BESIDE`].
    #[must_use]
    pub fn held(&self) -> usize {
        let stage = match &self.stage {
            Stage::Greeting(_) | Stage::Server(_) | Stage::Over => 0,
            Stage::Client(_) => KEY_BYTES,
            Stage::Knocking(knock) => size_of::<Knock>() + knock.routing_id.len(),
            Stage::Up(link) => size_of::<Link>() + link.held(),
        };
        self.frames.held() + stage
    }

    /// What of that is of a frame or a message that is not whole, in bytes.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        let message = match &self.stage {
            Stage::Up(link) => link.held(),
            _ => 0,
        };
        self.frames.held() + message
    }

    /// Returns true if messages can be sent.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Up(_))
    }

    /// What the peer has to send next for the connection to come up; None when it is up or over.
    #[must_use]
    pub fn awaits(&self) -> Option<Awaits> {
        match &self.stage {
            Stage::Greeting(_) => Some(Awaits::Greeting),
            Stage::Client(client) => Some(Awaits::Command(client.expects())),
            Stage::Server(server) => Some(Awaits::Command(server.expects())),
            Stage::Knocking(_) | Stage::Up(_) | Stage::Over => None,
        }
    }

    /// When [`Connection::beat`] is to be called, if nothing is received before.
    #[must_use]
    pub fn deadline(&self, heartbeat: &HeartbeatOptions) -> Option<Instant> {
        match &self.stage {
            Stage::Up(link) => link.deadline(heartbeat),
            _ => None,
        }
    }

    /// Writes what the time asks for. What has arrived is to be taken before, or a pause of this
    /// process counts as the peer's silence.
    ///
    /// # Errors
    ///
    /// [`Violation::Silent`]: the connection is over.
    pub fn beat(
        &mut self,
        now: Instant,
        heartbeat: &HeartbeatOptions,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let Stage::Up(link) = &mut self.stage else {
            return Ok(());
        };
        let beat = link.beat(now, heartbeat, out);
        if beat.is_err() {
            self.end();
        }
        beat
    }

    fn end(&mut self) {
        self.stage = Stage::Over;
        self.frames = FrameReader::default();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Knocking(_) => "decided on",
            Stage::Up(_) => "up",
            Stage::Over => "over",
            Stage::Greeting(_) | Stage::Client(_) | Stage::Server(_) => "in its handshake",
        };
        write!(f, "Connection({stage})")
    }
}

/// What a handshake waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// The rest of 64 bytes.
    Greeting,
    /// A command.
    Command(Command),
}

/// Takes one frame.
fn step(
    stage: &mut Stage,
    flags: u8,
    body: &mut [u8],
    surroundings: &mut Surroundings<'_>,
    out: &mut Vec<u8>,
) -> Result<Option<Event>, Violation> {
    if let Stage::Up(link) = stage {
        let received = link.take(body, surroundings.bounds, surroundings.now, out)?;
        return Ok(received.map(Event::Received));
    }
    let random = &mut *surroundings.random;
    let (next, event) = match (std::mem::replace(stage, Stage::Over), surroundings.role) {
        (Stage::Client(client), Role::Client(credentials)) => {
            is_command(flags, client.expects())?;
            match client.take(body, credentials, random, out)? {
                ClientStep::Next(client) => (Stage::Client(client), None),
                ClientStep::Up(keys) => {
                    let link = Link::new(keys, surroundings.now, surroundings.heartbeat);
                    (Stage::Up(Box::new(link)), Some(Event::Up))
                }
            }
        }
        (Stage::Server(server), Role::Server(keys)) => {
            is_command(flags, server.expects())?;
            match server.take(body, keys, random, out)? {
                ServerStep::Next(server) => (Stage::Server(server), None),
                ServerStep::Knock(knock) => {
                    let event = Event::Knock {
                        key: knock.key,
                        routing_id: knock.routing_id.clone(),
                    };
                    (Stage::Knocking(knock), Some(event))
                }
            }
        }
        (other, _) => (other, None),
    };
    *stage = next;
    Ok(event)
}

/// A handshake has commands and no messages.
fn is_command(flags: u8, expected: Command) -> Result<(), Violation> {
    if flags & (COMMAND | MORE) == COMMAND {
        return Ok(());
    }
    Err(Violation::Unexpected {
        found: Command::Message,
        expected,
    })
}
