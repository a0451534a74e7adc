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

    /// What is held of a message that is not whole, in bytes.
    pub(super) fn held(&self) -> usize {
        self.assembly.held()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curve::zmtp::boxes::SharedKey;
    use crate::curve::zmtp::test_ends::{BEATS, BOUNDS};

    /// A link, and what seals for it.
    struct Peer {
        link: Link,
        sealing: BoxKey,
        sent: u64,
        out: Vec<u8>,
        now: Instant,
    }

    fn key(number: u8) -> BoxKey {
        SharedKey::of(&[number; 32]).begin(b"CurveZMQMESSAGES")
    }

    impl Peer {
        fn new() -> Self {
            let keys = LinkKeys {
                sealing: key(1),
                opening: key(2),
                sent: 1,
                received: 1,
            };
            let now = Instant::now();
            Self {
                link: Link::new(keys, now, &BEATS),
                sealing: key(2),
                sent: 1,
                out: Vec::new(),
                now,
            }
        }

        /// The link takes a frame with this in its box.
        fn take(&mut self, text: &[u8]) -> Result<Option<Received>, String> {
            self.sent += 1;
            let counter = self.sent.to_be_bytes();
            let mut text = text.to_vec();
            let tag = self.sealing.seal(counter, &mut text);
            let mut body = [&MESSAGE[..], &counter, &tag, &text].concat();
            self.link
                .take(&mut body, &BOUNDS, self.now, &mut self.out)
                .map_err(|violation| violation.to_string())
        }

        /// What is in the box that the link has written.
        fn answer(&mut self) -> Vec<u8> {
            let written = std::mem::take(&mut self.out);
            let (counter, rest) = written[2 + MESSAGE.len()..].split_first_chunk().unwrap();
            let (tag, text) = rest.split_first_chunk().unwrap();
            let mut text = text.to_vec();
            key(1).open(*counter, tag, &mut text).unwrap();
            text
        }
    }

    #[test]
    fn what_is_in_a_box_has_a_form_too() {
        let malformed = Err("the peer's MESSAGE is malformed".to_owned());
        assert_eq!(Peer::new().take(b""), malformed);
        assert_eq!(Peer::new().take(b"\x02\x04PING\0"), malformed);
        // So has what is around it.
        for cut in 0..MESSAGE.len() + COUNTER_BYTES + TAG_BYTES {
            let mut peer = Peer::new();
            let mut body = [&MESSAGE[..], &[0; COUNTER_BYTES + TAG_BYTES]].concat();
            let taken = peer
                .link
                .take(&mut body[..cut], &BOUNDS, peer.now, &mut peer.out);
            assert!(taken.is_err(), "{cut}");
        }
    }

    #[test]
    fn commands_between_two_frames_disturb_nothing() {
        let mut peer = Peer::new();
        assert_eq!(peer.take(b"\x01one"), Ok(None));
        assert_eq!(peer.take(b"\x02\x04PING\0\0"), Ok(None));
        assert_eq!(peer.answer(), b"\x02\x04PONG");
        // With MORE it is a command all the same, as libzmq has it.
        assert_eq!(peer.take(b"\x03\x04PING\0\0"), Ok(None));
        assert_eq!(peer.answer(), b"\x02\x04PONG");
        for unknown in [&b"\x02"[..], b"\x02\x04PONG", b"\x02\x09SUBSCRIBEx"] {
            assert_eq!(peer.take(unknown), Ok(None));
            assert!(peer.out.is_empty());
        }
        // Other bits say nothing.
        let Ok(Some(Received::Message(message))) = peer.take(b"\xFCtwo") else {
            panic!("expected a message");
        };
        assert_eq!(message.as_slices(), [b"one", b"two"]);
    }

    #[test]
    fn a_pong_repeats_sixteen_bytes_of_a_ping_at_most() {
        for length in [0, 1, 16, 17, 40_000] {
            let context = vec![b'c'; length];
            let mut peer = Peer::new();
            peer.take(&[b"\x02\x04PING\0\x01", &context[..]].concat())
                .unwrap();
            let expected = [b"\x02\x04PONG", &context[..length.min(16)]].concat();
            assert_eq!(peer.answer(), expected);
        }
    }

    #[test]
    fn a_peer_is_held_to_its_time_to_live() {
        let mut peer = Peer::new();
        // 0x0102 tenths of a second.
        peer.take(b"\x02\x04PING\x01\x02").unwrap();
        let _ = peer.answer();
        let ttl = Duration::from_millis(25_800);
        let quiet = HeartbeatOptions {
            interval: None,
            ..BEATS
        };
        assert_eq!(peer.link.deadline(&quiet), Some(peer.now + ttl));
        let early = peer.now + Duration::from_millis(25_799);
        peer.link.beat(early, &quiet, &mut peer.out).unwrap();
        let beat = peer.link.beat(peer.now + ttl, &quiet, &mut peer.out);
        assert!(matches!(beat, Err(Violation::Silent(_))));
        assert!(peer.out.is_empty());
    }

    #[test]
    fn the_last_nonce_is_the_last() {
        let mut peer = Peer::new();
        peer.link.sent = u64::MAX - 1;
        peer.link.send(&[b"last"], &mut peer.out).unwrap();
        assert_eq!(peer.answer(), b"\0last");
        let sent = peer.link.send(&[b"one more"], &mut peer.out);
        assert!(matches!(sent, Err(Violation::Exhausted)));
        assert!(peer.out.is_empty());

        // The peer's last one is taken, and none behind it.
        peer.sent = u64::MAX - 1;
        assert!(matches!(peer.take(b"\0x"), Ok(Some(_))));
        peer.sent = 5;
        let replayed = "the peer's MESSAGE has a nonce that is not higher than the last one";
        assert_eq!(peer.take(b"\0x"), Err(replayed.to_owned()));
    }
}
