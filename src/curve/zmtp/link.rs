//! A connection after its handshake: frames are sealed and opened, messages put together, PINGs
//! answered ([RFC 26](https://rfc.zeromq.org/spec/26/), MESSAGE;
//! [RFC 37](https://rfc.zeromq.org/spec/37/), heartbeats).
//!
//! All that matters is inside of the boxes. The outer flags, which anybody on the way may change,
//! are not looked at.

use std::time::{Duration, Instant};

use super::boxes::{BoxKey, COUNTER_BYTES, TAG_BYTES};
use super::frames::push_header;
use super::handshake::LinkKeys;
use super::heartbeat::{Due, Heartbeat, HeartbeatOptions};
use super::message::{Assembly, Bounds, Received};
use super::violation::{Command, Violation};

const MESSAGE: &[u8; 8] = b"\x07MESSAGE";

/// What CURVE adds to each frame, in bytes: the command's name, a counter, the authenticator and
/// a byte of flags.
pub(super) const OVERHEAD: usize = MESSAGE.len() + COUNTER_BYTES + TAG_BYTES + 1;

/// Flags inside of a box, with libzmq's numbers.
const MORE: u8 = 1;
const COMMAND: u8 = 2;

const PING: &[u8] = b"\x04PING";
const PONG: &[u8] = b"\x04PONG";

/// The part of a PING that a PONG repeats, in bytes.
const MAX_CONTEXT_BYTES: usize = 16;

/// The unit of a PING's time to live.
const TTL_UNIT: Duration = Duration::from_millis(100);

pub(super) struct Link {
    sealing: BoxKey,
    opening: BoxKey,
    sent: u64,
    received: u64,
    assembly: Assembly,
    heartbeat: Heartbeat,
}

impl Link {
    pub(super) fn new(keys: LinkKeys, now: Instant, options: &HeartbeatOptions) -> Self {
        Self {
            sealing: keys.sealing,
            opening: keys.opening,
            sent: keys.sent,
            received: keys.received,
            assembly: Assembly::Empty,
            heartbeat: Heartbeat::new(now, options),
        }
    }

    /// Takes a frame's body; a message that it completes is returned.
    pub(super) fn take(
        &mut self,
        body: &mut [u8],
        bounds: &Bounds,
        now: Instant,
        out: &mut Vec<u8>,
    ) -> Result<Option<Received>, Violation> {
        const OF: Command = Command::Message;
        let (_, rest) = body
            .split_first_chunk_mut()
            .filter(|(name, _)| *name == MESSAGE)
            .ok_or(Violation::Unexpected {
                found: Command::Other,
                expected: OF,
            })?;
        let (counter, rest) = rest
            .split_first_chunk_mut()
            .ok_or(Violation::Malformed(OF))?;
        let (tag, text) = rest
            .split_first_chunk_mut()
            .ok_or(Violation::Malformed(OF))?;
        self.opening
            .open(*counter, tag, text)
            .map_err(|_| Violation::Forged(OF))?;
        let counter = u64::from_be_bytes(*counter);
        if counter <= self.received {
            return Err(Violation::Replayed(OF));
        }
        self.received = counter;
        self.heartbeat.heard(now);
        let (flags, payload) = text.split_first().ok_or(Violation::Malformed(OF))?;
        if flags & COMMAND != 0 {
            self.command(payload, out)?;
            return Ok(None);
        }
        self.assembly.push(payload, flags & MORE != 0, bounds)
    }

    /// Writes a message of these frames.
    pub(super) fn send(&mut self, frames: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Violation> {
        let last = frames.len().saturating_sub(1);
        for (index, frame) in frames.iter().enumerate() {
            let flags = if index < last { MORE } else { 0 };
            self.seal(flags, &[frame], out)?;
        }
        Ok(())
    }

    /// When [`Link::beat`] is to be called, if nothing is heard before.
    pub(super) fn deadline(&self, options: &HeartbeatOptions) -> Option<Instant> {
        self.heartbeat.deadline(options)
    }

    /// Writes a PING if one is due.
    pub(super) fn beat(
        &mut self,
        now: Instant,
        options: &HeartbeatOptions,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        if self.heartbeat.due(now, options)? == Due::Nothing {
            return Ok(());
        }
        let units = options.ttl.as_millis() / TTL_UNIT.as_millis();
        let ttl = u16::try_from(units).unwrap_or(u16::MAX);
        self.seal(COMMAND, &[PING, &ttl.to_be_bytes()], out)
    }

    /// A command that we do not know is a sign of life.
    fn command(&mut self, command: &[u8], out: &mut Vec<u8>) -> Result<(), Violation> {
        let Some(ping) = command.strip_prefix(PING) else {
            return Ok(());
        };
        let (ttl, context) = ping
            .split_first_chunk()
            .ok_or(Violation::Malformed(Command::Message))?;
        let ttl = TTL_UNIT * u32::from(u16::from_be_bytes(*ttl));
        self.heartbeat.announced(ttl);
        let context = context.get(..MAX_CONTEXT_BYTES).unwrap_or(context);
        self.seal(COMMAND, &[PONG, context], out)
    }

    /// Writes one sealed frame.
    fn seal(&mut self, flags: u8, parts: &[&[u8]], out: &mut Vec<u8>) -> Result<(), Violation> {
        self.sent = self.sent.checked_add(1).ok_or(Violation::Exhausted)?;
        let counter = self.sent.to_be_bytes();
        let length = OVERHEAD + parts.iter().map(|part| part.len()).sum::<usize>();
        push_header(out, 0, length);
        out.extend(MESSAGE);
        out.extend(counter);
        let start = out.len();
        out.extend([0; TAG_BYTES]);
        out.push(flags);
        for part in parts {
            out.extend_from_slice(part);
        }
        let sealed = out.get_mut(start..).unwrap_or_default();
        if let Some((tag, text)) = sealed.split_first_chunk_mut() {
            *tag = self.sealing.seal(counter, text);
        }
        Ok(())
    }
}
