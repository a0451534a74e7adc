//! What each end says of its socket in INITIATE and READY: names and values.

use std::fmt;

use super::violation::{Command, Violation};

/// The longest routing id, in bytes ([RFC 28](https://rfc.zeromq.org/spec/28/)).
pub(super) const MAX_ROUTING_ID_BYTES: usize = 255;

const SOCKET_TYPE: &str = "Socket-Type";
const ROUTING_ID: &str = "Identity";

/// Which socket an end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketType {
    /// The end that connects.
    Dealer,
    /// The end that listens.
    Router,
}

impl SocketType {
    fn name(self) -> &'static str {
        match self {
            Self::Dealer => "DEALER",
            Self::Router => "ROUTER",
        }
    }

    /// The types that it can talk with, as libzmq has it.
    fn peers(self) -> [&'static str; 3] {
        match self {
            Self::Dealer => ["ROUTER", "DEALER", "REP"],
            Self::Router => ["DEALER", "ROUTER", "REQ"],
        }
    }
}

impl fmt::Display for SocketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Writes what we say of ourselves. A routing id that is longer than it may be is cut.
pub(super) fn push(out: &mut Vec<u8>, ours: SocketType, routing_id: &[u8]) {
    push_property(out, SOCKET_TYPE, ours.name().as_bytes());
    let routing_id = routing_id.get(..MAX_ROUTING_ID_BYTES).unwrap_or(routing_id);
    push_property(out, ROUTING_ID, routing_id);
}

fn push_property(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    // Our own names and values are short.
    out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
    out.extend(name.as_bytes());
    out.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend(value);
}

/// Reads what the peer says of itself: the routing id that it asks for, which may be empty. Names
/// compare without case; those that we do not know are passed over.
///
/// # Errors
///
/// [`Violation::Malformed`] of `command`, and [`Violation::SocketType`] where its socket cannot
/// talk with ours.
pub(super) fn parse(
    mut bytes: &[u8],
    ours: SocketType,
    command: Command,
) -> Result<Box<[u8]>, Violation> {
    let mut socket_type = None;
    let mut routing_id = None;
    while !bytes.is_empty() {
        let (name, value) = take_property(&mut bytes).ok_or(Violation::Malformed(command))?;
        let known = if name.eq_ignore_ascii_case(SOCKET_TYPE.as_bytes()) {
            &mut socket_type
        } else if name.eq_ignore_ascii_case(ROUTING_ID.as_bytes()) {
            &mut routing_id
        } else {
            continue;
        };
        if known.replace(value).is_some() {
            return Err(Violation::Malformed(command));
        }
    }
    let socket_type = socket_type.ok_or(Violation::Malformed(command))?;
    if !ours
        .peers()
        .iter()
        .any(|peer| peer.as_bytes() == socket_type)
    {
        let shown = socket_type.get(..32).unwrap_or(socket_type);
        return Err(Violation::SocketType {
            found: shown.escape_ascii().to_string().into(),
            ours,
        });
    }
    let routing_id = routing_id.unwrap_or_default();
    if routing_id.len() > MAX_ROUTING_ID_BYTES {
        return Err(Violation::Malformed(command));
    }
    Ok(routing_id.into())
}

fn take_property<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (&length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(length))?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (value, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    (!name.is_empty()).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Box<[u8]>, String> {
        parse(bytes, SocketType::Router, Command::Initiate).map_err(|error| error.to_string())
    }

    fn properties(list: &[(&str, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, value) in list {
            push_property(&mut out, name, value);
        }
        out
    }

    #[test]
    fn ours_is_as_the_rfc_has_it() {
        let mut out = Vec::new();
        push(&mut out, SocketType::Dealer, b"AB");
        assert_eq!(
            out,
            b"\x0BSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\x02AB"
        );
        assert_eq!(&*read(&out).unwrap(), b"AB");
    }

    #[test]
    fn names_compare_without_case_and_others_are_passed_over() {
        let bytes = properties(&[
            ("X-Version", b"1"),
            ("SOCKET-type", b"REQ"),
            ("identity", b""),
        ]);
        assert_eq!(&*read(&bytes).unwrap(), b"");
        assert_eq!(
            &*read(&properties(&[("Socket-Type", b"DEALER")])).unwrap(),
            b""
        );
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let malformed = "the peer's INITIATE is malformed";
        let long = [b'a'; MAX_ROUTING_ID_BYTES + 1];
        let dealer = ("Socket-Type", &b"DEALER"[..]);
        for list in [
            &[][..],
            &[("Identity", &b"x"[..])],
            &[dealer, dealer],
            &[dealer, ("Identity", b"x"), ("identity", b"y")],
            &[dealer, ("Identity", &long)],
            &[dealer, ("", b"x")],
        ] {
            assert_eq!(read(&properties(list)).unwrap_err(), malformed, "{list:?}");
        }
        let whole = properties(&[dealer, ("Identity", b"abc")]);
        let ends = [whole.len(), properties(&[dealer]).len()];
        for cut in (0..=whole.len()).filter(|cut| !ends.contains(cut)) {
            assert_eq!(read(&whole[..cut]).unwrap_err(), malformed, "{cut}");
        }
        assert_eq!(
            read(&properties(&[("Socket-Type", b"\x1bPUB")])).unwrap_err(),
            "the peer is a socket of type \\x1bPUB, which a ROUTER cannot talk with"
        );
        // libzmq takes the value by its case.
        assert!(read(&properties(&[("Socket-Type", b"dealer")])).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&bytes);
        }
    }
}
