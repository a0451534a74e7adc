//! The first 64 bytes of each end ([RFC 37](https://rfc.zeromq.org/spec/37/)), and what strangers
//! send in their place.
//!
//! libzmq closes a connection as soon as it has read of another mechanism, and the name of its own
//! stays unsent. So a client keeps its own back until it has the server's, and a server until it
//! has the client's version, with which libzmq sends the name of its mechanism. That takes two
//! ends of ours no longer than two whole greetings, as the client has to wait for the server's
//! in any case.

use super::input::Input;
use super::violation::{Speaks, Violation};

pub(super) const GREETING_BYTES: usize = 64;

const SIGNATURE_BEGIN: u8 = 0xFF;
const SIGNATURE_END: u8 = 0x7F;
const SIGNATURE_END_AT: usize = 9;
const VERSION_AT: usize = 10;
const MECHANISM_AT: usize = 12;
const MECHANISM_BYTES: usize = 20;

const MECHANISM: &[u8; MECHANISM_BYTES] = b"CURVE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// The first version with mechanisms, and the one that has heartbeats.
const MAJOR: u8 = 3;
const MINOR: u8 = 1;

/// Ours. As libzmq, neither end says that it is the server: the handshake does.
pub(super) const fn ours() -> [u8; GREETING_BYTES] {
    let mut greeting = [0; GREETING_BYTES];
    let (signature, rest) = greeting.split_at_mut(VERSION_AT);
    let [first, .., last] = signature else {
        return greeting;
    };
    *first = SIGNATURE_BEGIN;
    *last = SIGNATURE_END;
    let [major, minor, name @ ..] = rest else {
        return greeting;
    };
    *major = MAJOR;
    *minor = MINOR;
    if let Some(place) = name.first_chunk_mut() {
        *place = *MECHANISM;
    }
    greeting
}

/// When the rest of our greeting is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    /// As soon as the peer's version is known: a server.
    AfterVersion,
    /// When the peer's greeting is there: a client.
    AfterGreeting,
}

/// Writes the beginning of our greeting.
pub(super) fn begin(out: &mut Vec<u8>) {
    out.extend(ours().get(..MECHANISM_AT).unwrap_or_default());
}

/// The peer's, as far as it came.
#[derive(Clone, Debug)]
pub(super) struct GreetingReader {
    bytes: [u8; GREETING_BYTES],
    length: u8,
    /// All of ours is written.
    answered: bool,
}

impl Default for GreetingReader {
    fn default() -> Self {
        Self {
            bytes: [0; GREETING_BYTES],
            length: 0,
            answered: false,
        }
    }
}

impl GreetingReader {
    /// Takes what belongs to the greeting off the front of `input`; true when all of it is there,
    /// and all of ours is written.
    ///
    /// # Errors
    ///
    /// As soon as it is clear that this is no peer of ours.
    pub(super) fn take(
        &mut self,
        input: &mut Input<'_>,
        rest: Rest,
        out: &mut Vec<u8>,
    ) -> Result<bool, Violation> {
        let have = usize::from(self.length);
        let missing = self.bytes.get_mut(have..).unwrap_or_default();
        let count = missing.len().min(input.len());
        let came = input.take(count).unwrap_or_default();
        for (place, byte) in missing.iter_mut().zip(came) {
            *place = *byte;
        }
        self.length = u8::try_from(have + count).unwrap_or(u8::MAX);
        let so_far = self.bytes.get(..have + count).unwrap_or_default();
        check(so_far)?;
        let is_whole = so_far.len() == GREETING_BYTES;
        let knows_version = so_far.len() > VERSION_AT;
        if !self.answered && (is_whole || rest == Rest::AfterVersion && knows_version) {
            out.extend(ours().get(MECHANISM_AT..).unwrap_or_default());
            self.answered = true;
        }
        Ok(is_whole)
    }
}

/// Judges what has come so far.
fn check(bytes: &[u8]) -> Result<(), Violation> {
    if bytes.first().is_some_and(|&first| first != SIGNATURE_BEGIN) {
        return Err(Violation::NotZmtp(speaks(bytes)));
    }
    // libzmq looks at this bit alone.
    if bytes.get(SIGNATURE_END_AT).is_some_and(|end| end & 1 == 0) {
        return Err(Violation::NotZmtp(Speaks::Unknown));
    }
    match bytes.get(VERSION_AT) {
        // Revisions that are not versions yet: 1.0 has 0, 2.0 has 1.
        Some(0) => return Err(Violation::OldZmtp(1)),
        Some(&old) if old < MAJOR => return Err(Violation::OldZmtp(2)),
        _ => {}
    }
    let Some(mechanism) = bytes
        .get(MECHANISM_AT..)
        .and_then(<[u8]>::first_chunk::<MECHANISM_BYTES>)
    else {
        return Ok(());
    };
    if mechanism == MECHANISM {
        return Ok(());
    }
    let name = mechanism
        .split(|&byte| byte == 0)
        .next()
        .unwrap_or_default();
    Err(Violation::Mechanism(name.escape_ascii().to_string().into()))
}

/// What a peer speaks, by its first bytes.
fn speaks(bytes: &[u8]) -> Speaks {
    /// What each begins with; four bytes are enough.
    const BEGINNINGS: [(&[u8], Speaks); 10] = [
        // A record with a handshake, of SSL 3.0 or any TLS.
        (b"\x16\x03", Speaks::Tls),
        (b"\x15\x03", Speaks::Tls),
        (b"GET ", Speaks::Http),
        (b"HEAD", Speaks::Http),
        (b"POST", Speaks::Http),
        (b"PUT ", Speaks::Http),
        (b"OPTI", Speaks::Http),
        (b"CONN", Speaks::Http),
        (b"HTTP", Speaks::Http),
        (b"SSH-", Speaks::Ssh),
    ];
    BEGINNINGS
        .iter()
        .find(|(beginning, _)| bytes.starts_with(beginning))
        .map_or(Speaks::Unknown, |(_, speaks)| *speaks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(bytes: &[u8]) -> Result<bool, Violation> {
        let mut bytes = bytes.to_vec();
        let mut out = Vec::new();
        let mut reader = GreetingReader::default();
        let taken = reader.take(&mut Input::new(&mut bytes), Rest::AfterVersion, &mut out);
        // Strangers learn nothing.
        assert!(taken.is_ok() || out.is_empty());
        taken
    }

    #[test]
    fn ours_is_as_the_rfc_has_it() {
        let mut expected = b"\xFF\0\0\0\0\0\0\0\0\x7F\x03\x01CURVE".to_vec();
        expected.resize(GREETING_BYTES, 0);
        assert_eq!(ours()[..], expected);
    }

    #[test]
    fn a_greeting_may_come_byte_by_byte_and_ends_where_it_ends() {
        for (rest, answered_at) in [
            (Rest::AfterVersion, VERSION_AT + 1),
            (Rest::AfterGreeting, GREETING_BYTES),
        ] {
            let mut bytes = ours().to_vec();
            bytes.extend(b"next");
            let mut reader = GreetingReader::default();
            let mut out = Vec::new();
            begin(&mut out);
            let mut input = Input::new(&mut bytes);
            for count in 1..=GREETING_BYTES {
                let mut byte = Input::new(input.take(1).unwrap());
                let taken = reader.take(&mut byte, rest, &mut out).unwrap();
                assert_eq!(taken, count == GREETING_BYTES);
                let written = if count < answered_at {
                    MECHANISM_AT
                } else {
                    GREETING_BYTES
                };
                assert_eq!(out, ours()[..written], "{rest:?}, {count}");
            }
            assert_eq!(input.as_slice(), b"next");
        }
    }

    #[test]
    fn a_later_version_and_the_servers_flag_are_fine() {
        let mut bytes = ours();
        bytes[VERSION_AT] = 4;
        bytes[VERSION_AT + 1] = 9;
        bytes[32] = 1;
        assert!(judge(&bytes).unwrap());
    }

    #[test]
    fn strangers_are_told_apart_at_the_first_byte_that_tells() {
        let text = |bytes: &[u8]| judge(bytes).unwrap_err().to_string();
        assert_eq!(
            text(b"\x16\x03\x01\x02\0\x01"),
            "the peer speaks TLS, not ZMTP"
        );
        assert_eq!(
            text(b"GET /metrics HTTP/1.1"),
            "the peer speaks HTTP, not ZMTP"
        );
        assert_eq!(text(b"SSH-2.0-OpenSSH"), "the peer speaks SSH, not ZMTP");
        let other = "the peer speaks another protocol, not ZMTP";
        assert_eq!(text(b"\x01\0"), other);
        assert_eq!(text(b"\xFF\0\0\0\0\0\0\0\x01\x7E"), other);
        let old = "the peer speaks ZMTP 2, which has no CURVE; 3.0 is needed";
        assert_eq!(text(b"\xFF\0\0\0\0\0\0\0\x01\x7F\x01\x05"), old);
        for (revision, version) in [(0, 1), (1, 2), (2, 2)] {
            let text = text(&[b"\xFF\0\0\0\0\0\0\0\x01\x7F", &[revision][..]].concat());
            assert_eq!(text, old.replace("ZMTP 2", &format!("ZMTP {version}")));
        }
        for (mechanism, named) in [
            (&b"NULL"[..], "NULL"),
            (b"PLAIN", "PLAIN"),
            (b"CURVED", "CURVED"),
            (b"\x1b[2J", "\\x1b[2J"),
        ] {
            let mut bytes = ours();
            bytes[MECHANISM_AT..][..MECHANISM_BYTES].fill(0);
            bytes[MECHANISM_AT..][..mechanism.len()].copy_from_slice(mechanism);
            let expected = format!("the peer wants the mechanism {named}, not CURVE");
            assert_eq!(text(&bytes), expected);
            // Known as soon as the name is there.
            assert_eq!(text(&bytes[..MECHANISM_AT + MECHANISM_BYTES]), expected);
        }
    }
}
