//! What a reader may say to the PUB socket ([ZMTP 3.0](https://rfc.zeromq.org/spec/23/)), pure.
//!
//! It reads a greeting, READY, and then what subscribes and unsubscribes, in short frames, and
//! passes that on frame by frame. It answers pings, which the PUB socket does not know. Everything
//! else ends the connection.

use thiserror::Error;

/// The length of a greeting.
const GREETING: usize = 64;

/// The longest frame of a reader, in bytes: a host's name has 255 at most.
const MAX_FRAME: usize = 512;

/// The most subscriptions of one reader. Each costs a comparison for every message; who wants more
/// takes all, and chooses.
pub(super) const MAX_SUBSCRIPTIONS: usize = 256;

/// The longest context of a ping, which its answer repeats.
const MAX_PING_CONTEXT: usize = 16;

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// Why a reader's connection is ended.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Refusal {
    #[error("it does not speak ZMTP 3")]
    NotZmtp,
    #[error("it wants the mechanism {0}; only NULL is there")]
    Mechanism(String),
    #[error("a frame of {0} bytes (limit {MAX_FRAME})")]
    FrameTooLarge(u64),
    #[error("it sent something that no subscriber sends")]
    Unexpected,
    #[error("more than {MAX_SUBSCRIPTIONS} subscriptions")]
    TooManySubscriptions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    Ready,
    Open,
}

/// What a reader says.
#[derive(Debug)]
pub(super) struct Incoming {
    stage: Stage,
    /// The beginning of a frame.
    partial: Vec<u8>,
    subscriptions: Vec<Vec<u8>>,
    /// For the PUB socket.
    pub(super) passed: Vec<u8>,
    /// For the reader.
    pub(super) answers: Vec<u8>,
}

impl Incoming {
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Greeting,
            partial: Vec::new(),
            subscriptions: Vec::new(),
            passed: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Returns true after the handshake.
    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Takes what was read.
    ///
    /// # Errors
    ///
    /// [`Refusal`]: the connection must be ended.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.partial.extend_from_slice(bytes);
        let partial = std::mem::take(&mut self.partial);
        let mut rest = partial.as_slice();
        if self.stage == Stage::Greeting {
            let Some((greeting, behind)) = rest.split_at_checked(GREETING) else {
                begins_as_zmtp(rest)?;
                self.partial = partial;
                return Ok(());
            };
            is_greeting(greeting)?;
            self.passed.extend_from_slice(greeting);
            self.stage = Stage::Ready;
            rest = behind;
        }
        while let Some((frame, behind)) = Frame::parse(rest)? {
            self.frame(&frame)?;
            rest = behind;
        }
        self.partial = rest.to_vec();
        Ok(())
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), Refusal> {
        let is_command = frame.flags & COMMAND != 0;
        match self.stage {
            Stage::Greeting | Stage::Ready => {
                if !is_command || !frame.body.starts_with(b"\x05READY") {
                    return Err(Refusal::Unexpected);
                }
                self.stage = Stage::Open;
            }
            Stage::Open if is_command => return self.ping(frame.body),
            Stage::Open if frame.flags & MORE != 0 => return Err(Refusal::Unexpected),
            Stage::Open => match frame.body.split_first() {
                Some((1, topic)) => {
                    if self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
                        return Err(Refusal::TooManySubscriptions);
                    }
                    self.subscriptions.push(topic.to_vec());
                }
                Some((0, topic)) => {
                    let mut all = self.subscriptions.iter();
                    let Some(at) = all.position(|held| held == topic) else {
                        return Ok(());
                    };
                    self.subscriptions.swap_remove(at);
                }
                _ => return Err(Refusal::Unexpected),
            },
        }
        self.passed.extend_from_slice(frame.whole);
        Ok(())
    }

    /// Answers a ping, with the context that it has behind two bytes of time.
    fn ping(&mut self, body: &[u8]) -> Result<(), Refusal> {
        let Some(ping) = body.strip_prefix(b"\x04PING") else {
            // An answer to a ping: we send none.
            return Err(Refusal::Unexpected);
        };
        let context = ping.get(2..).unwrap_or_default();
        let context = context.get(..MAX_PING_CONTEXT).unwrap_or(context);
        let name = b"\x04PONG";
        let length = u8::try_from(name.len() + context.len()).unwrap_or(u8::MAX);
        self.answers.extend([COMMAND, length]);
        self.answers.extend_from_slice(name);
        self.answers.extend_from_slice(context);
        Ok(())
    }
}

/// Whether the beginning of a greeting is one; what is missing may come.
fn begins_as_zmtp(greeting: &[u8]) -> Result<(), Refusal> {
    let wrong = |at: usize, is: fn(u8) -> bool| greeting.get(at).is_some_and(|byte| !is(*byte));
    // The signature, and the version.
    if wrong(0, |byte| byte == 0xff) || wrong(9, |byte| byte == 0x7f) || wrong(10, |byte| byte >= 3)
    {
        return Err(Refusal::NotZmtp);
    }
    Ok(())
}

fn is_greeting(greeting: &[u8]) -> Result<(), Refusal> {
    begins_as_zmtp(greeting)?;
    let mechanism = greeting.get(12..32).unwrap_or_default();
    let mechanism = mechanism.split(|byte| *byte == 0).next();
    match mechanism.unwrap_or_default() {
        b"NULL" => Ok(()),
        other => Err(Refusal::Mechanism(other.escape_ascii().to_string())),
    }
}

/// A frame that came whole.
#[derive(Debug, PartialEq, Eq)]
struct Frame<'a> {
    flags: u8,
    body: &'a [u8],
    /// With its header.
    whole: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Cuts a frame off, if it is there. One that is too long is refused as soon as it is announced.
    fn parse(bytes: &'a [u8]) -> Result<Option<(Self, &'a [u8])>, Refusal> {
        let Some((flags, length, header)) = header(bytes) else {
            return Ok(None);
        };
        let length = usize::try_from(length).ok().filter(|it| *it <= MAX_FRAME);
        let length = length.ok_or(Refusal::FrameTooLarge(header_length(bytes)))?;
        let Some((whole, behind)) = bytes.split_at_checked(header + length) else {
            return Ok(None);
        };
        let body = whole.get(header..).unwrap_or_default();
        Ok(Some((Self { flags, body, whole }, behind)))
    }
}

/// Of a frame: its flags, the length of its body, and that of its header.
pub(super) fn header(bytes: &[u8]) -> Option<(u8, u64, usize)> {
    let (&flags, rest) = bytes.split_first()?;
    if flags & LONG == 0 {
        return Some((flags, u64::from(*rest.first()?), 2));
    }
    Some((flags, u64::from_be_bytes(*rest.first_chunk()?), 9))
}

fn header_length(bytes: &[u8]) -> u64 {
    header(bytes).map_or(0, |(_, length, _)| length)
}

/// Returns true if another frame of the same message follows.
pub(super) fn has_more(flags: u8) -> bool {
    flags & MORE != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn greeting(mechanism: &[u8]) -> Vec<u8> {
        let mut greeting = vec![0; GREETING];
        greeting[0] = 0xff;
        greeting[9] = 0x7f;
        greeting[10] = 3;
        greeting[12..12 + mechanism.len()].copy_from_slice(mechanism);
        greeting
    }

    fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        if let Ok(length) = u8::try_from(body.len()) {
            frame.extend([flags, length]);
        } else {
            frame.push(flags | LONG);
            frame.extend((body.len() as u64).to_be_bytes());
        }
        frame.extend(body);
        frame
    }

    fn handshake() -> Vec<u8> {
        let ready = b"\x05READY\x0bSocket-Type\0\0\0\x03SUB";
        [greeting(b"NULL"), frame(COMMAND, ready)].concat()
    }

    fn open() -> Incoming {
        let mut incoming = Incoming::new();
        incoming.receive(&handshake()).unwrap();
        assert!(incoming.is_open());
        incoming.passed.clear();
        incoming
    }

    #[test]
    fn a_subscriber_passes_in_pieces_of_any_size() {
        let all = [
            handshake(),
            frame(0, b"\x01web1"),
            frame(0, b"\x01"),
            frame(0, b"\0web1"),
            frame(0, &[&b"\x01"[..], &[b'x'; 300]].concat()),
        ]
        .concat();
        for size in [1, 2, 7, 63, 64, 65, all.len()] {
            let mut incoming = Incoming::new();
            for piece in all.chunks(size) {
                incoming.receive(piece).unwrap();
            }
            assert_eq!(incoming.passed, all, "{size}");
            assert!(incoming.is_open());
            assert_eq!(incoming.subscriptions.len(), 2);
        }
    }

    #[test]
    fn a_long_frame_is_refused_before_it_comes() {
        let announced = |length: u64| [&[LONG][..], &length.to_be_bytes()].concat();
        for length in [MAX_FRAME as u64 + 1, 1 << 40, u64::MAX] {
            let refused = open().receive(&announced(length));
            assert_eq!(refused, Err(Refusal::FrameTooLarge(length)));
        }
        let mut incoming = open();
        assert_eq!(incoming.receive(&announced(MAX_FRAME as u64)), Ok(()));
        assert_eq!(incoming.passed, b"", "only whole frames are passed on");
    }

    #[test]
    fn only_zmtp_3_without_security_comes_in() {
        let refused = |bytes: &[u8]| Incoming::new().receive(bytes).unwrap_err();
        assert_eq!(refused(b"GET / HTTP/1.1\r\n"), Refusal::NotZmtp);
        let mut old = greeting(b"NULL");
        old[10] = 1;
        assert_eq!(refused(&old), Refusal::NotZmtp);
        assert_eq!(refused(&old[..11]), Refusal::NotZmtp, "before all is there");
        let curve = refused(&greeting(b"CURVE"));
        assert_eq!(curve, Refusal::Mechanism("CURVE".to_owned()));
        for first in [frame(0, b"\x05READY"), frame(COMMAND, b"\x05ERROR")] {
            let bytes = [greeting(b"NULL"), first].concat();
            assert_eq!(refused(&bytes), Refusal::Unexpected);
        }
    }

    #[test]
    fn what_no_subscriber_sends_ends_it() {
        for said in [
            frame(0, b""),
            frame(0, b"\x02x"),
            frame(MORE, b"\x01x"),
            frame(COMMAND, b"\x05READY"),
            frame(COMMAND, b""),
        ] {
            assert_eq!(open().receive(&said), Err(Refusal::Unexpected), "{said:?}");
        }
    }

    #[test]
    fn subscriptions_are_bounded_whatever_is_unsubscribed() {
        let mut incoming = open();
        let mut subscribed = 0;
        let refusal = loop {
            // What it does not have is not given back.
            incoming.receive(&frame(0, b"\0other")).unwrap();
            let topic = format!("\x01{subscribed}");
            match incoming.receive(&frame(0, topic.as_bytes())) {
                Ok(()) => subscribed += 1,
                Err(refusal) => break refusal,
            }
        };
        assert_eq!(refusal, Refusal::TooManySubscriptions);
        assert_eq!(subscribed, MAX_SUBSCRIPTIONS);
        assert!(!incoming.passed.windows(5).any(|it| it == b"other"));
        let mut incoming = open();
        for _ in 0..3 * MAX_SUBSCRIPTIONS {
            incoming.receive(&frame(0, b"\x01web1")).unwrap();
            incoming.receive(&frame(0, b"\0web1")).unwrap();
        }
    }

    #[test]
    fn pings_are_answered_and_not_passed_on() {
        let mut incoming = open();
        incoming
            .receive(&frame(COMMAND, b"\x04PING\0\x0aabc"))
            .unwrap();
        assert_eq!(incoming.passed, b"");
        assert_eq!(incoming.answers, frame(COMMAND, b"\x04PONGabc"));
        incoming.answers.clear();
        let long = [&b"\x04PING\0\x0a"[..], &[7; 100]].concat();
        incoming.receive(&frame(COMMAND, &long)).unwrap();
        let answer = [&b"\x04PONG"[..], &[7; MAX_PING_CONTEXT]].concat();
        assert_eq!(incoming.answers, frame(COMMAND, &answer));
    }
}
