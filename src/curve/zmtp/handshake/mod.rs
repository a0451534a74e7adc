//! The four commands with which two ends prove their keys to each other
//! ([RFC 26](https://rfc.zeromq.org/spec/26/)): HELLO, WELCOME, INITIATE, READY.
//!
//! A state holds what the next command needs and nothing else, and is used up by it: no command is
//! taken twice. Sizes are those of the RFC to the byte.

mod client;
mod server;

pub(super) use client::{Client, ClientStep};
pub(super) use server::{Knock, Server, ServerStep, refuse};

use super::boxes::{BoxKey, COUNTER_BYTES, PREFIX_BYTES, SharedKey, TAG_BYTES};
use super::frames::{COMMAND, push_header};
use super::input::Input;
use super::violation::{Command, Violation};
use crate::curve::keys::{KeyPair, PublicKey};

/// The largest command of a handshake that is received, in bytes. libzmq's have at most 550.
pub(super) const MAX_COMMAND_BYTES: usize = 2048;

/// Nonces that are sent with the box, in bytes; what a counter is not.
const LONG_NONCE_BYTES: usize = 16;

/// The server's state as it is sent to the client and comes back: a nonce and a box of two keys.
const COOKIE_BYTES: usize = LONG_NONCE_BYTES + TAG_BYTES + 64;

const HELLO: &[u8] = b"\x05HELLO";
const WELCOME: &[u8] = b"\x07WELCOME";
const INITIATE: &[u8] = b"\x08INITIATE";
const READY: &[u8] = b"\x05READY";
const ERROR: &[u8] = b"\x05ERROR";

const HELLO_NONCE: &[u8; PREFIX_BYTES] = b"CurveZMQHELLO---";
const INITIATE_NONCE: &[u8; PREFIX_BYTES] = b"CurveZMQINITIATE";
const READY_NONCE: &[u8; PREFIX_BYTES] = b"CurveZMQREADY---";
const CLIENT_MESSAGE_NONCE: &[u8; PREFIX_BYTES] = b"CurveZMQMESSAGEC";
const SERVER_MESSAGE_NONCE: &[u8; PREFIX_BYTES] = b"CurveZMQMESSAGES";
const WELCOME_NONCE: &[u8; 8] = b"WELCOME-";
const COOKIE_NONCE: &[u8; 8] = b"COOKIE--";
const VOUCH_NONCE: &[u8; 8] = b"VOUCH---";

/// What an end that connects is, and whom it expects.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// Its keys.
    pub keys: &'a KeyPair,
    /// The key that the other end must prove to have.
    pub server_key: PublicKey,
    /// What the other end is asked to know the connection by, at most 255 bytes.
    pub routing_id: &'a [u8],
}

/// What two ends have in common after a handshake.
pub(super) struct LinkKeys {
    pub(super) sealing: BoxKey,
    pub(super) opening: BoxKey,
    /// The last nonce of ours.
    pub(super) sent: u64,
    /// The last nonce of the peer's.
    pub(super) received: u64,
}

/// Tells which command this is; the rest is what follows its name.
fn split(body: &mut [u8]) -> (Command, &mut [u8]) {
    const NAMES: [(&[u8], Command); 5] = [
        (HELLO, Command::Hello),
        (WELCOME, Command::Welcome),
        (INITIATE, Command::Initiate),
        (READY, Command::Ready),
        (ERROR, Command::Error),
    ];
    for (name, command) in NAMES {
        if body.starts_with(name) {
            return (command, body.get_mut(name.len()..).unwrap_or_default());
        }
    }
    (Command::Other, body)
}

/// The rest of the one command that is due.
fn expect(body: &mut [u8], expected: Command) -> Result<Input<'_>, Violation> {
    match split(body) {
        (found, rest) if found == expected => Ok(Input::new(rest)),
        (found, _) => Err(Violation::Unexpected { found, expected }),
    }
}

/// Takes `N` bytes off the front.
fn take<'a, const N: usize>(
    bytes: &mut Input<'a>,
    of: Command,
) -> Result<&'a mut [u8; N], Violation> {
    bytes.take_array().ok_or(Violation::Malformed(of))
}

/// The key and the rest of the nonce for a box that has its nonce with it.
fn with_long_nonce(
    key: &SharedKey,
    purpose: [u8; 8],
    nonce: [u8; LONG_NONCE_BYTES],
) -> (BoxKey, [u8; COUNTER_BYTES]) {
    let mut prefix = [0; PREFIX_BYTES];
    let mut counter = [0; COUNTER_BYTES];
    let bytes = purpose.iter().chain(&nonce);
    for (place, byte) in prefix.iter_mut().chain(&mut counter).zip(bytes) {
        *place = *byte;
    }
    (key.begin(&prefix), counter)
}

/// Writes a command; `write` adds what follows its name.
fn push_command(out: &mut Vec<u8>, name: &[u8], length: usize, write: impl FnOnce(&mut Vec<u8>)) {
    push_header(out, COMMAND, name.len() + length);
    out.extend(name);
    let start = out.len();
    write(out);
    debug_assert_eq!(out.len() - start, length);
}

#[cfg(test)]
mod tests;
