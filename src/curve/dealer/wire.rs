//! A connection of TCP, what ZMTP makes of it, and what waits in either direction.

use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead as _, ReadBuf};
use tokio::net::TcpStream;

use super::{DealerEvent, HandshakeFailure, Limits, LinkDownCause, RoutingId};
use crate::curve::error::SendError;
use crate::curve::keys::{KeyPair, PublicKey};
use crate::curve::outgoing::Outgoing;
use crate::curve::timing::{
    HANDSHAKE_TIMEOUT, HEARTBEAT_INTERVAL, HEARTBEAT_TIMEOUT, HEARTBEAT_TTL,
};
use crate::curve::zmtp::Credentials;
use crate::curve::zmtp::connection::{Connection, Event, HeartbeatOptions, Role, Surroundings};
use crate::curve::zmtp::input::Input;
use crate::curve::zmtp::message::Bounds;
use crate::curve::zmtp::random::KernelRandom;

const HEARTBEAT: HeartbeatOptions = HeartbeatOptions {
    interval: Some(HEARTBEAT_INTERVAL),
    timeout: HEARTBEAT_TIMEOUT,
    ttl: HEARTBEAT_TTL,
};

/// The largest message that a collector takes, in bytes: with what may be queued before it, the
/// most that waits to be sent. A peer that takes nothing is not read from when answers to its
/// heartbeats go beyond this.
const MAX_SENT_BYTES: usize = 1024 * 1024 + 64 * 1024;

/// Reads before a connection is closed. A peer that sends without end is not waited for.
const MAX_LAST_READS: usize = 64;

/// Who this end is and whom it expects.
pub(super) struct Identity {
    pub(super) keys: KeyPair,
    pub(super) server_key: PublicKey,
    pub(super) routing_id: RoutingId,
}

pub(super) struct Wire {
    stream: TcpStream,
    connection: Connection,
    outgoing: Outgoing,
    /// What one read gave, and which part of it is not used up yet.
    buffer: Box<[u8]>,
    unread: Range<usize>,
    /// The end of a handshake that is not through.
    handshake_until: Instant,
    /// Nothing can be sent any more. What has arrived is still read, and then tells why.
    is_broken: bool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, limits: &Limits, now: Instant) -> Self {
        let mut outgoing = Outgoing::default();
        let connection = Connection::begin(outgoing.end());
        let mut wire = Self {
            stream,
            connection,
            outgoing,
            buffer: vec![0; limits.read_bytes].into(),
            unread: 0..0,
            handshake_until: now + HANDSHAKE_TIMEOUT,
            is_broken: false,
        };
        wire.flush();
        wire
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn is_up(&self) -> bool {
        self.connection.is_up()
    }

    /// Takes the next event out of what has been read; None where all of it was taken.
    pub(super) fn next(
        &mut self,
        identity: &Identity,
        bounds: &Bounds,
    ) -> Result<Option<DealerEvent>, LinkDownCause> {
        if self.unread.is_empty() {
            return Ok(None);
        }
        let was_up = self.is_up();
        let credentials = Credentials {
            keys: &identity.keys,
            server_key: identity.server_key,
            routing_id: identity.routing_id.as_str().as_bytes(),
        };
        let mut surroundings = Surroundings {
            role: Role::Client(&credentials),
            bounds,
            heartbeat: &HEARTBEAT,
            random: &mut KernelRandom,
            now: Instant::now(),
        };
        let unread = self.buffer.get_mut(self.unread.clone());
        let mut input = Input::new(unread.unwrap_or_default());
        let event = self
            .connection
            .next(&mut input, &mut surroundings, self.outgoing.end());
        self.unread.start = self.unread.end - input.len();
        // Also what tells the peer what is wrong.
        self.flush();
        match event {
            Ok(Some(Event::Up)) => Ok(Some(DealerEvent::LinkUp)),
            Ok(Some(Event::Received(received))) => Ok(Some(DealerEvent::Received(received))),
            // Only clients knock.
            Ok(Some(Event::Knock { .. }) | None) => Ok(None),
            Err(violation) => Err(LinkDownCause::of(violation, was_up)),
        }
    }

    /// Sends what waits, and reads once. To be called when all that was read is used up.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        limits: &Limits,
    ) -> Poll<Result<(), LinkDownCause>> {
        while self.outgoing.pending() > 0 {
            match self.stream.poll_write_ready(cx) {
                Poll::Ready(Ok(())) => self.flush(),
                Poll::Ready(Err(_)) => self.break_off(),
                Poll::Pending => break,
            }
        }
        if self.outgoing.pending() > limits.send_bytes + MAX_SENT_BYTES {
            return Poll::Pending;
        }
        let mut buffer = ReadBuf::new(&mut self.buffer);
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
        self.unread = 0..buffer.filled().len();
        Poll::Ready(match read {
            Ok(()) if self.unread.is_empty() => Err(self.ended(None)),
            Ok(()) => Ok(()),
            Err(error) => Err(self.ended(Some(error))),
        })
    }

    /// What it means that the connection has ended.
    fn ended(&self, error: Option<io::Error>) -> LinkDownCause {
        match (self.connection.awaits(), error) {
            (Some(awaited), _) => {
                LinkDownCause::HandshakeFailed(HandshakeFailure::Dropped(awaited))
            }
            (None, Some(error)) => LinkDownCause::Failed(error),
            (None, None) => LinkDownCause::Closed,
        }
    }

    /// Adds a message to what waits, and sends what the kernel takes.
    pub(super) fn try_send(&mut self, frames: &[&[u8]], limits: &Limits) -> Result<(), SendError> {
        let bytes: usize = frames.iter().map(|frame| frame.len()).sum();
        let pending = self.outgoing.pending();
        if self.is_broken || (pending > 0 && pending + bytes > limits.send_bytes) {
            return Err(SendError::WouldBlock);
        }
        match self.connection.send(frames, self.outgoing.end()) {
            Ok(true) => self.flush(),
            Ok(false) => return Err(SendError::WouldBlock),
            // After 2^64 frames.
            Err(_) => {
                self.break_off();
                return Err(SendError::WouldBlock);
            }
        }
        Ok(())
    }

    /// When [`Wire::expire`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.connection.awaits() {
            Some(_) => Some(self.handshake_until),
            None => self.connection.deadline(&HEARTBEAT),
        }
    }

    /// Does what the time asks for.
    pub(super) fn expire(&mut self, now: Instant) -> Result<(), LinkDownCause> {
        if self.connection.awaits().is_some() {
            let failure = HandshakeFailure::TimedOut;
            return Err(LinkDownCause::HandshakeFailed(failure));
        }
        let beat = self.connection.beat(now, &HEARTBEAT, self.outgoing.end());
        self.flush();
        beat.map_err(LinkDownCause::Violated)
    }

    /// Waits until all that waits has left, and takes what has come: the kernel drops what it has
    /// not sent yet where a connection is closed with something unread (RFC 2525, section 2.17).
    pub(super) async fn drain(&mut self) {
        while self.outgoing.pending() > 0 && self.stream.writable().await.is_ok() {
            self.flush();
        }
        // Whether or not the runtime has heard of it.
        for _ in 0..MAX_LAST_READS {
            let read = recv(&self.stream, &mut *self.buffer, RecvFlags::DONTWAIT);
            if !matches!(read, Ok((_, 1..))) {
                break;
            }
        }
    }

    fn flush(&mut self) {
        let stream = &self.stream;
        if self
            .outgoing
            .flush(|bytes| stream.try_write(bytes))
            .is_err()
        {
            self.break_off();
        }
    }

    fn break_off(&mut self) {
        self.is_broken = true;
        self.outgoing.clear();
    }
}
