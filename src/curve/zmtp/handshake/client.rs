//! The end that connects and knows whom it expects.

use super::{
    CLIENT_MESSAGE_NONCE, COOKIE_BYTES, Credentials, ERROR, HELLO, HELLO_NONCE, INITIATE,
    INITIATE_NONCE, LONG_NONCE_BYTES, LinkKeys, READY_NONCE, SERVER_MESSAGE_NONCE, VOUCH_NONCE,
    WELCOME_NONCE, expect, push_command, take, with_long_nonce,
};
use crate::curve::keys::{KEY_BYTES, KeyPair, PublicKey};
use crate::curve::zmtp::boxes::{SharedKey, TAG_BYTES};
use crate::curve::zmtp::input::Input;
use crate::curve::zmtp::metadata::{self, SocketType};
use crate::curve::zmtp::random::{self, Random};
use crate::curve::zmtp::violation::{Command, Violation};

/// Zero bytes behind the client's version, so that a server never answers with more than it got.
const HELLO_PADDING: usize = 72;
/// What the box of HELLO holds: nothing but its own proof.
const HELLO_TEXT: usize = 64;
const VERSION: [u8; 2] = [1, 0];

/// The part of a refusal's reason that is passed on, in bytes. libzmq's has three.
const MAX_SHOWN_REASON: usize = 64;

/// Nonces of the two commands that the client sends.
const HELLO_COUNTER: u64 = 1;
const INITIATE_COUNTER: u64 = 2;

/// Where it stands.
pub(in crate::curve::zmtp) enum Client {
    /// HELLO was sent.
    AwaitWelcome {
        transient: KeyPair,
        /// Of the server's long-term key and our transient one.
        shared: SharedKey,
    },
    /// INITIATE was sent.
    AwaitReady {
        /// Of both transient keys.
        shared: SharedKey,
    },
}

/// What a command leads to.
pub(in crate::curve::zmtp) enum ClientStep {
    Next(Client),
    Up(LinkKeys),
}

impl Client {
    /// Writes HELLO.
    pub(in crate::curve::zmtp) fn begin(
        credentials: &Credentials<'_>,
        random: &mut dyn Random,
        out: &mut Vec<u8>,
    ) -> Result<Self, Violation> {
        let transient = random::transient_pair(random)?;
        let shared = SharedKey::agree(&transient.secret, &credentials.server_key)
            .ok_or(Violation::WeakKey(Command::Hello))?;
        let counter = HELLO_COUNTER.to_be_bytes();
        let mut text = [0; HELLO_TEXT];
        let tag = shared.begin(HELLO_NONCE).seal(counter, &mut text);
        let length =
            VERSION.len() + HELLO_PADDING + KEY_BYTES + counter.len() + TAG_BYTES + text.len();
        push_command(out, HELLO, length, |out| {
            out.extend(VERSION);
            out.extend([0; HELLO_PADDING]);
            out.extend(transient.public.as_bytes());
            out.extend(counter);
            out.extend(tag);
            out.extend(text);
        });
        Ok(Self::AwaitWelcome { transient, shared })
    }

    /// What it waits for.
    pub(in crate::curve::zmtp) fn expects(&self) -> Command {
        match self {
            Self::AwaitWelcome { .. } => Command::Welcome,
            Self::AwaitReady { .. } => Command::Ready,
        }
    }

    /// Takes the server's next command.
    pub(in crate::curve::zmtp) fn take(
        self,
        body: &mut [u8],
        credentials: &Credentials<'_>,
        random: &mut dyn Random,
        out: &mut Vec<u8>,
    ) -> Result<ClientStep, Violation> {
        if let Some(rest) = body.strip_prefix(ERROR) {
            return Err(refusal(rest));
        }
        let rest = expect(body, self.expects())?;
        match self {
            Self::AwaitWelcome { transient, shared } => {
                let (server, cookie) = open_welcome(rest, &shared)?;
                let shared = SharedKey::agree(&transient.secret, &server)
                    .ok_or(Violation::WeakKey(Command::Welcome))?;
                initiate(
                    credentials,
                    transient.public,
                    server,
                    &shared,
                    &cookie,
                    random,
                    out,
                )?;
                Ok(ClientStep::Next(Self::AwaitReady { shared }))
            }
            Self::AwaitReady { shared } => take_ready(rest, &shared).map(ClientStep::Up),
        }
    }
}

/// The reason in an ERROR: a length and as many bytes. It is not authenticated.
fn refusal(rest: &[u8]) -> Violation {
    match rest.split_first() {
        Some((&length, reason)) if usize::from(length) == reason.len() => {
            let shown = reason.get(..MAX_SHOWN_REASON).unwrap_or(reason);
            Violation::Refused(shown.escape_ascii().to_string().into())
        }
        _ => Violation::Malformed(Command::Error),
    }
}

/// The server's transient key, and the cookie that it wants back.
fn open_welcome(
    mut rest: Input<'_>,
    shared: &SharedKey,
) -> Result<(PublicKey, [u8; COOKIE_BYTES]), Violation> {
    const OF: Command = Command::Welcome;
    let nonce = *take::<LONG_NONCE_BYTES>(&mut rest, OF)?;
    let tag = *take::<TAG_BYTES>(&mut rest, OF)?;
    if rest.len() != KEY_BYTES + COOKIE_BYTES {
        return Err(Violation::Malformed(OF));
    }
    let (key, counter) = with_long_nonce(shared, *WELCOME_NONCE, nonce);
    let text = rest.take_rest();
    key.open(counter, &tag, text)
        .map_err(|_| Violation::Forged(OF))?;
    let mut rest = Input::new(text);
    let server = PublicKey::from_bytes(*take(&mut rest, OF)?);
    Ok((server, *take(&mut rest, OF)?))
}

/// Writes INITIATE: the cookie, and who we are, in a box that vouches for our transient key.
fn initiate(
    credentials: &Credentials<'_>,
    transient: PublicKey,
    server: PublicKey,
    shared: &SharedKey,
    cookie: &[u8; COOKIE_BYTES],
    random: &mut dyn Random,
    out: &mut Vec<u8>,
) -> Result<(), Violation> {
    let keys = credentials.keys;
    let lasting =
        SharedKey::agree(&keys.secret, &server).ok_or(Violation::WeakKey(Command::Welcome))?;
    let nonce = random::nonce(random)?;
    let (vouch_key, vouch_counter) = with_long_nonce(&lasting, *VOUCH_NONCE, nonce);
    let mut vouch = [*transient.as_bytes(), *credentials.server_key.as_bytes()].concat();
    let vouch_tag = vouch_key.seal(vouch_counter, &mut vouch);

    let mut text = Vec::with_capacity(512);
    text.extend(keys.public.as_bytes());
    text.extend(nonce);
    text.extend(vouch_tag);
    text.extend(vouch);
    metadata::push(&mut text, SocketType::Dealer, credentials.routing_id);

    let counter = INITIATE_COUNTER.to_be_bytes();
    let tag = shared.begin(INITIATE_NONCE).seal(counter, &mut text);
    let length = cookie.len() + counter.len() + tag.len() + text.len();
    push_command(out, INITIATE, length, |out| {
        out.extend(cookie);
        out.extend(counter);
        out.extend(tag);
        out.extend(text);
    });
    Ok(())
}

fn take_ready(mut rest: Input<'_>, shared: &SharedKey) -> Result<LinkKeys, Violation> {
    const OF: Command = Command::Ready;
    let counter = *take(&mut rest, OF)?;
    let tag = *take::<TAG_BYTES>(&mut rest, OF)?;
    let text = rest.take_rest();
    shared
        .begin(READY_NONCE)
        .open(counter, &tag, text)
        .map_err(|_| Violation::Forged(OF))?;
    // What the server calls itself is of no use to us.
    metadata::parse(text, SocketType::Dealer, OF)?;
    Ok(LinkKeys {
        sealing: shared.begin(CLIENT_MESSAGE_NONCE),
        opening: shared.begin(SERVER_MESSAGE_NONCE),
        sent: INITIATE_COUNTER,
        received: u64::from_be_bytes(counter),
    })
}
