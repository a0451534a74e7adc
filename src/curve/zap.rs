//! Authentication: the questions that libzmq asks about each handshake (ZAP 1.0, RFC 27).
//!
//! It owns the process's one end of `inproc://zeromq.zap.01`: libzmq asks there, for every
//! connection to a [`Router`](super::router::Router) with a [`Domain`], whether the key
//! that the peer has proved to hold may come in, and holds the connection back until it is
//! answered. What is allowed carries its key with every message
//! ([`Frames::peer_key`](super::frames::Frames::peer_key)).
//!
//! It decides nothing. A question that it does not understand is answered with a refusal. If
//! the handler does not exist (any more), no message counts as authenticated.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::context::{Context, TransportError};
use super::frames::{self, MAX_FRAMES, Received};
use super::keys::{KEY_BYTES, PublicKey};
use super::router::RoutingIdBytes;
use super::socket::{AsyncSocket, SendError};
use crate::base::text::address as plain_address;

/// Where libzmq asks; a constant of the protocol.
const ENDPOINT: &str = "inproc://zeromq.zap.01";

const VERSION: &[u8] = b"1.0";

/// The longest domain and address, in bytes: frames of RFC 27 that are short strings.
const MAX_TEXT_BYTES: usize = 255;

/// The property of a message that holds what was answered as its sender's name (RFC 27,
/// `zmq_msg_gets(3)`).
pub(super) const USER_ID: &str = "User-Id";

/// Questions that are not understood and that one look passes over, at most: each was
/// answered, and the caller's other tasks have their turn.
const MAX_PASSED_OVER: usize = 64;

/// What a question is about.
#[derive(Debug)]
pub struct ZapRequest {
    /// The domain of the socket that was connected to.
    pub domain: String,
    /// The peer's network address, without a port.
    pub address: String,
    /// The key that the peer has proved to hold.
    pub key: PublicKey,
    asker: Asker,
}

impl ZapRequest {
    /// The question in the frames that `session` has sent; None where it is none.
    #[must_use]
    pub fn parse(session: RoutingIdBytes, frames: &[&[u8]]) -> Option<Self> {
        parse(session, frames).ok()
    }
}

/// Where an answer goes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Asker {
    session: RoutingIdBytes,
    request: Vec<u8>,
}

/// It was no question that RFC 27 knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NotUnderstood;

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in.
    Allow,
    /// Refuse its key; libzmq tells it so (status 400) and drops it.
    Deny,
}

/// Identifies a socket's questions, and proves that they are answered: without a handler,
/// libzmq lets every peer in.
#[derive(Clone)]
pub struct Domain {
    name: &'static str,
    answered: Arc<AtomicBool>,
}

impl Domain {
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Returns true if the handler still exists, so that senders have been authenticated.
    pub(super) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Domain").field(&self.name).finish()
    }
}

/// Takes the questions and gives the answers; one for a [`Context`].
pub struct Authenticator {
    socket: AsyncSocket,
    answered: Arc<AtomicBool>,
}

impl Authenticator {
    /// Begins to be asked. To be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// [`TransportError::Setup`] where the context has one already.
    pub fn bind(context: &Context) -> Result<Self, TransportError> {
        let socket = context.zap_socket()?;
        socket.bind(ENDPOINT).map_err(TransportError::setup(
            "listen for libzmq's authentication requests",
        ))?;
        Ok(Self {
            socket: AsyncSocket::new(socket)?,
            answered: Arc::new(AtomicBool::new(true)),
        })
    }

    /// A domain for a router of the same context.
    #[must_use]
    pub fn domain(&self, name: &'static str) -> Domain {
        Domain {
            name,
            answered: Arc::clone(&self.answered),
        }
    }

    /// Waits for the next question.
    ///
    /// A connection waits for its answer for as long as a handshake may take
    /// ([`HANDSHAKE_INTERVAL`](super::context::HANDSHAKE_INTERVAL)). Cancel safe, and
    /// gives other tasks their turn.
    ///
    /// # Errors
    ///
    /// [`TransportError::Setup`] where libzmq fails as it never should.
    pub async fn receive(&mut self) -> Result<ZapRequest, TransportError> {
        loop {
            tokio::task::consume_budget().await;
            match self.take()? {
                Some(Ok(request)) => return Ok(request),
                Some(Err(NotUnderstood)) => {}
                None => poll_fn(|cx| self.socket.poll_signal(cx)).await,
            }
        }
    }

    /// Takes the next question if one is there: after [`Authenticator::receive`], for a
    /// batch that the caller bounds.
    ///
    /// # Errors
    ///
    /// As [`Authenticator::receive`].
    pub fn try_receive(&mut self) -> Result<Option<ZapRequest>, TransportError> {
        for _ in 0..MAX_PASSED_OVER {
            match self.take()? {
                Some(Ok(request)) => return Ok(Some(request)),
                Some(Err(NotUnderstood)) => {}
                None => break,
            }
        }
        Ok(None)
    }

    /// Takes what is there. What is not understood has been answered.
    fn take(&mut self) -> Result<Option<Result<ZapRequest, NotUnderstood>>, TransportError> {
        let read = self.socket.try_read(|socket| {
            let session = socket.recv_msg(zmq::DONTWAIT)?;
            let received = frames::receive(socket)?;
            Ok((RoutingIdBytes::from(&*session), received))
        });
        let read = read.map_err(TransportError::setup(
            "receive libzmq's authentication requests",
        ))?;
        Ok(read.map(|(session, received)| {
            let Received::Message(frames) = received else {
                return Err(NotUnderstood);
            };
            parse(session, &frames.as_slices()).map_err(|asker| {
                if let Some(asker) = asker {
                    self.reply(&asker, b"500", b"not understood", b"");
                }
                NotUnderstood
            })
        }))
    }

    /// Answers a question. A peer that has gone in between needs no answer.
    pub fn answer(&mut self, request: ZapRequest, verdict: Verdict) {
        let ZapRequest { key, asker, .. } = request;
        match verdict {
            Verdict::Allow => self.reply(&asker, b"200", b"OK", key.to_string().as_bytes()),
            Verdict::Deny => self.reply(&asker, b"400", b"key refused", b""),
        }
    }

    fn reply(&mut self, asker: &Asker, status: &[u8], text: &[u8], user: &[u8]) {
        let frames: [&[u8]; 7] = [b"", VERSION, &asker.request, status, text, user, b""];
        match self.socket.try_send(&asker.session, &frames) {
            Ok(()) | Err(SendError::UnknownPeer) => {}
            Err(error) => {
                tracing::debug!("a reply to libzmq's authentication request was lost: {error}");
            }
        }
    }
}

impl Drop for Authenticator {
    fn drop(&mut self) {
        self.answered.store(false, Ordering::Relaxed);
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authenticator")
    }
}

/// The question in these frames; else whom to tell that it is none.
///
/// What libzmq calls the routing id there is the listening socket's own, which says
/// nothing.
fn parse(session: RoutingIdBytes, frames: &[&[u8]]) -> Result<ZapRequest, Option<Asker>> {
    // All that RFC 27 has for CURVE; one more would not be read.
    const _: () = assert!(MAX_FRAMES >= 8);
    let &[b"", VERSION, request, ref rest @ ..] = frames else {
        return Err(None);
    };
    if request.len() > MAX_TEXT_BYTES {
        return Err(None);
    }
    let asker = Asker {
        session,
        request: request.to_vec(),
    };
    let &[domain, address, _, b"CURVE", key] = rest else {
        return Err(Some(asker));
    };
    let key = <[u8; KEY_BYTES]>::try_from(key);
    match (text(domain), text(address), key) {
        (Some(domain), Some(address), Ok(key)) => Ok(ZapRequest {
            domain,
            address: plain_address(&address).to_owned(),
            key: PublicKey::from_bytes(key),
            asker,
        }),
        _ => Err(Some(asker)),
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    let short = bytes.len() <= MAX_TEXT_BYTES;
    let text = str::from_utf8(bytes).ok().filter(|_| short)?;
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; KEY_BYTES] = [7; KEY_BYTES];

    fn question() -> Vec<&'static [u8]> {
        vec![
            b"",
            b"1.0",
            b"1",
            b"agents",
            b"10.0.0.1",
            b"",
            b"CURVE",
            &KEY,
        ]
    }

    fn session() -> RoutingIdBytes {
        RoutingIdBytes::from(b"session".as_slice())
    }

    fn parsed(frames: &[&[u8]]) -> Result<ZapRequest, Option<Asker>> {
        parse(session(), frames)
    }

    #[test]
    fn a_question_names_domain_address_and_key() {
        let request = parsed(&question()).unwrap();
        assert_eq!(request.domain, "agents");
        assert_eq!(request.address, "10.0.0.1");
        assert_eq!(request.key, PublicKey::from_bytes(KEY));
        assert_eq!(request.asker.session, session());
        assert_eq!(request.asker.request, b"1");
    }

    #[test]
    fn what_cannot_be_answered_is_passed_over() {
        let long = [b'1'; MAX_TEXT_BYTES + 1];
        for (place, with) in [
            (0, b"x".as_slice()),
            (1, b"1.1"),
            (1, b""),
            (2, long.as_slice()),
        ] {
            let mut frames = question();
            frames[place] = with;
            assert_eq!(parsed(&frames).unwrap_err(), None, "{place}");
        }
        for length in 0..3 {
            assert_eq!(parsed(&question()[..length]).unwrap_err(), None);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let asker = Some(Asker {
            session: session(),
            request: b"1".to_vec(),
        });
        let long = [b'a'; MAX_TEXT_BYTES + 1];
        for (place, with) in [
            (3, b"\xFF".as_slice()),
            (3, long.as_slice()),
            (4, b"\xFF"),
            (4, long.as_slice()),
            (6, b"NULL"),
            (6, b"curve"),
            (7, &KEY[..31]),
            (7, b""),
        ] {
            let mut frames = question();
            frames[place] = with;
            assert_eq!(parsed(&frames).unwrap_err(), asker, "{place}");
        }
        for length in 3..8 {
            assert_eq!(parsed(&question()[..length]).unwrap_err(), asker);
        }
        let mut more = question();
        more.push(b"more");
        assert_eq!(parsed(&more).unwrap_err(), asker);
    }

    /// What asks here is libzmq itself, but whatever is in the process could.
    #[tokio::test]
    async fn nonsense_is_answered_and_does_not_hide_a_question() {
        let context = Context::new().unwrap();
        let mut authenticator = Authenticator::bind(&context).unwrap();
        assert!(Authenticator::bind(&context).is_err());
        let asker = context.asker(ENDPOINT);
        let send = |frames: &[&[u8]]| asker.send_multipart(frames, 0).unwrap();
        for _ in 0..MAX_PASSED_OVER {
            send(&[b"nothing"]);
            send(&[b"x".as_slice(); MAX_FRAMES + 1]);
        }
        let mut null = question();
        null[6] = b"NULL";
        send(&null);
        send(&question());
        let request = authenticator.receive().await.unwrap();
        assert_eq!(request.domain, "agents");
        authenticator.answer(request, Verdict::Allow);
        assert!(authenticator.try_receive().unwrap().is_none());
        send(&question());
        let request = authenticator.receive().await.unwrap();
        authenticator.answer(request, Verdict::Deny);

        let answer = || asker.recv_multipart(0).unwrap();
        let text = |frames: &[&[u8]]| {
            frames
                .iter()
                .map(|frame| frame.to_vec())
                .collect::<Vec<_>>()
        };
        let refusal = [&b""[..], b"1.0", b"1", b"500", b"not understood", b"", b""];
        assert_eq!(answer(), text(&refusal));
        let key = PublicKey::from_bytes(KEY).to_string();
        let welcome = [&b""[..], b"1.0", b"1", b"200", b"OK", key.as_bytes(), b""];
        assert_eq!(answer(), text(&welcome));
        let denial = [&b""[..], b"1.0", b"1", b"400", b"key refused", b"", b""];
        assert_eq!(answer(), text(&denial));
    }

    #[tokio::test]
    async fn a_domain_knows_whether_anybody_answers() {
        let context = Context::new().unwrap();
        let authenticator = Authenticator::bind(&context).unwrap();
        let domain = authenticator.domain("agents");
        assert!(domain.is_answered());
        drop(authenticator);
        assert!(!domain.is_answered());
    }
}
