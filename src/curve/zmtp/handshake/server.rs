//! The end that listens: it learns who the peer is, and somebody else decides on it.
//!
//! Between WELCOME and INITIATE it holds one secret key of 32 bytes, which opens the cookie that
//! it gave away. The key is the connection's own and is forgotten with it: a cookie, and an
//! INITIATE with it, are of no use on another connection, nor to an attacker who gets the
//! server's keys later.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::{
    CLIENT_MESSAGE_NONCE, COOKIE_BYTES, COOKIE_NONCE, ERROR, HELLO_NONCE, INITIATE_NONCE,
    LONG_NONCE_BYTES, LinkKeys, READY, READY_NONCE, SERVER_MESSAGE_NONCE, VOUCH_NONCE, WELCOME,
    WELCOME_NONCE, expect, push_command, take, with_long_nonce,
};
use crate::curve::keys::{KEY_BYTES, KeyPair, PublicKey, SecretKey};
use crate::curve::zmtp::boxes::{SharedKey, TAG_BYTES};
use crate::curve::zmtp::input::Input;
use crate::curve::zmtp::metadata::{self, SocketType};
use crate::curve::zmtp::random::{self, Random};
use crate::curve::zmtp::violation::{Command, Violation};

/// Bytes of a HELLO behind its name.
const HELLO_BYTES: usize = 194;
/// Version 1.0, and zeros.
const HELLO_VERSION: [u8; 2] = [1, 0];
const HELLO_PADDING: usize = 72;

/// READY is the server's first command with a counter.
const READY_COUNTER: u64 = 1;

/// Where it stands.
pub(in crate::curve::zmtp) enum Server {
    AwaitHello,
    /// WELCOME was sent.
    AwaitInitiate {
        /// Opens the cookie.
        cookie_key: Zeroizing<[u8; KEY_BYTES]>,
        /// The nonce of HELLO.
        received: u64,
    },
}

/// What a command leads to.
pub(in crate::curve::zmtp) enum ServerStep {
    Next(Server),
    Knock(Box<Knock>),
}

/// A peer that has proved its key, and waits to be let in.
pub(in crate::curve::zmtp) struct Knock {
    pub(in crate::curve::zmtp) key: PublicKey,
    pub(in crate::curve::zmtp) routing_id: Box<[u8]>,
    shared: SharedKey,
    received: u64,
}

impl Server {
    /// What it waits for.
    pub(in crate::curve::zmtp) fn expects(&self) -> Command {
        match self {
            Self::AwaitHello => Command::Hello,
            Self::AwaitInitiate { .. } => Command::Initiate,
        }
    }

    /// Takes the client's next command.
    pub(in crate::curve::zmtp) fn take(
        self,
        body: &mut [u8],
        keys: &KeyPair,
        random: &mut dyn Random,
        out: &mut Vec<u8>,
    ) -> Result<ServerStep, Violation> {
        let rest = expect(body, self.expects())?;
        match self {
            Self::AwaitHello => welcome(rest, keys, random, out).map(ServerStep::Next),
            Self::AwaitInitiate {
                cookie_key,
                received,
            } => open_initiate(rest, keys, &cookie_key, received)
                .map(|knock| ServerStep::Knock(Box::new(knock))),
        }
    }
}

/// Takes HELLO and writes WELCOME.
fn welcome(
    mut rest: Input<'_>,
    keys: &KeyPair,
    random: &mut dyn Random,
    out: &mut Vec<u8>,
) -> Result<Server, Violation> {
    const OF: Command = Command::Hello;
    if rest.len() != HELLO_BYTES {
        return Err(Violation::Malformed(OF));
    }
    let version = *take(&mut rest, OF)?;
    let padding = *take::<HELLO_PADDING>(&mut rest, OF)?;
    if version != HELLO_VERSION || padding != [0; HELLO_PADDING] {
        return Err(Violation::Malformed(OF));
    }
    let client = PublicKey::from_bytes(*take(&mut rest, OF)?);
    let counter = *take(&mut rest, OF)?;
    let tag = *take::<TAG_BYTES>(&mut rest, OF)?;
    let shared = SharedKey::agree(&keys.secret, &client).ok_or(Violation::WeakKey(OF))?;
    let text = rest.take_rest();
    shared
        .begin(HELLO_NONCE)
        .open(counter, &tag, text)
        .map_err(|_| Violation::Forged(OF))?;
    if text.iter().any(|&byte| byte != 0) {
        return Err(Violation::Malformed(OF));
    }

    let transient = random::transient_pair(random)?;
    let cookie_key = random::secret(random)?;
    let cookie_nonce: [u8; LONG_NONCE_BYTES] = random::nonce(random)?;
    let mut cookie = Zeroizing::new([0; 2 * KEY_BYTES]);
    let halves = client.as_bytes().iter().chain(transient.secret.as_bytes());
    for (place, byte) in cookie.iter_mut().zip(halves) {
        *place = *byte;
    }
    let (key, cookie_counter) =
        with_long_nonce(&SharedKey::of(&cookie_key), *COOKIE_NONCE, cookie_nonce);
    let cookie_tag = key.seal(cookie_counter, &mut *cookie);

    let mut text = Vec::with_capacity(KEY_BYTES + COOKIE_BYTES);
    text.extend(transient.public.as_bytes());
    text.extend(cookie_nonce);
    text.extend(cookie_tag);
    text.extend(&*cookie);
    let nonce: [u8; LONG_NONCE_BYTES] = random::nonce(random)?;
    let (key, welcome_counter) = with_long_nonce(&shared, *WELCOME_NONCE, nonce);
    let tag = key.seal(welcome_counter, &mut text);
    push_command(out, WELCOME, nonce.len() + tag.len() + text.len(), |out| {
        out.extend(nonce);
        out.extend(tag);
        out.extend(text);
    });
    Ok(Server::AwaitInitiate {
        cookie_key,
        received: u64::from_be_bytes(counter),
    })
}

/// The two keys in our own cookie: the client's transient one, and ours.
fn open_cookie(
    cookie: &mut [u8; COOKIE_BYTES],
    cookie_key: &[u8; KEY_BYTES],
) -> Result<(PublicKey, SecretKey), Violation> {
    const OF: Command = Command::Initiate;
    let mut rest = Input::new(cookie);
    let nonce = *take(&mut rest, OF)?;
    let tag = *take::<TAG_BYTES>(&mut rest, OF)?;
    let (key, counter) = with_long_nonce(&SharedKey::of(cookie_key), *COOKIE_NONCE, nonce);
    let text = rest.take_rest();
    key.open(counter, &tag, text)
        .map_err(|_| Violation::Forged(OF))?;
    let mut rest = Input::new(text);
    let client = PublicKey::from_bytes(*take(&mut rest, OF)?);
    let secret = take::<KEY_BYTES>(&mut rest, OF)?;
    let transient = SecretKey::from_bytes(secret);
    secret.zeroize();
    Ok((client, transient))
}

/// Takes INITIATE: who the client is, and its proof.
fn open_initiate(
    mut rest: Input<'_>,
    keys: &KeyPair,
    cookie_key: &[u8; KEY_BYTES],
    received: u64,
) -> Result<Knock, Violation> {
    const OF: Command = Command::Initiate;
    let (client, transient) = open_cookie(take(&mut rest, OF)?, cookie_key)?;
    let shared = SharedKey::agree(&transient, &client).ok_or(Violation::WeakKey(OF))?;
    let counter = *take(&mut rest, OF)?;
    let tag = *take::<TAG_BYTES>(&mut rest, OF)?;
    let text = rest.take_rest();
    shared
        .begin(INITIATE_NONCE)
        .open(counter, &tag, text)
        .map_err(|_| Violation::Forged(OF))?;
    let counter = u64::from_be_bytes(counter);
    if counter <= received {
        return Err(Violation::Replayed(OF));
    }

    let mut rest = Input::new(text);
    let key = PublicKey::from_bytes(*take(&mut rest, OF)?);
    let vouch_nonce = *take(&mut rest, OF)?;
    let vouch_tag = *take::<TAG_BYTES>(&mut rest, OF)?;
    let vouch = take::<{ 2 * KEY_BYTES }>(&mut rest, OF)?;
    let lasting = SharedKey::agree(&transient, &key).ok_or(Violation::WeakKey(OF))?;
    let (vouch_key, vouch_counter) = with_long_nonce(&lasting, *VOUCH_NONCE, vouch_nonce);
    vouch_key
        .open(vouch_counter, &vouch_tag, vouch)
        .map_err(|_| Violation::Forged(OF))?;
    // The client's long-term key vouches for this transient key, and to this server.
    let expected = [*client.as_bytes(), *keys.public.as_bytes()].concat();
    if !bool::from(vouch.ct_eq(&expected)) {
        return Err(Violation::Forged(OF));
    }
    let routing_id = metadata::parse(rest.as_slice(), SocketType::Router, OF)?;
    Ok(Knock {
        key,
        routing_id,
        shared,
        received: counter,
    })
}

impl Knock {
    /// Lets the peer in: writes READY.
    pub(in crate::curve::zmtp) fn accept(self, out: &mut Vec<u8>) -> LinkKeys {
        let counter = READY_COUNTER.to_be_bytes();
        let mut text = Vec::with_capacity(64);
        metadata::push(&mut text, SocketType::Router, b"");
        let tag = self.shared.begin(READY_NONCE).seal(counter, &mut text);
        push_command(out, READY, counter.len() + tag.len() + text.len(), |out| {
            out.extend(counter);
            out.extend(tag);
            out.extend(text);
        });
        LinkKeys {
            sealing: self.shared.begin(SERVER_MESSAGE_NONCE),
            opening: self.shared.begin(CLIENT_MESSAGE_NONCE),
            sent: READY_COUNTER,
            received: self.received,
        }
    }
}

/// Writes an ERROR with a status of three digits, as ZAP has them
/// ([RFC 27](https://rfc.zeromq.org/spec/27/)): 400 is a key that may not come in.
pub(in crate::curve::zmtp) fn refuse(status: [u8; 3], out: &mut Vec<u8>) {
    push_command(out, ERROR, 1 + status.len(), |out| {
        out.push(3);
        out.extend(status);
    });
}
