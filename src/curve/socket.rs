//! One libzmq socket on tokio's reactor.
//!
//! `ZMQ_FD` is edge triggered and belongs to libzmq: it tells that there may
//! be something, once, and any call on the socket may use that signal up
//! (`zmq_getsockopt(3)`, `ZMQ_FD`). So a socket is `untested` after each signal
//! and each send, is read until it has no more, and only then waited for.

use crate::base::waiting::register;
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll, ready};

use thiserror::Error;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::context::TransportError;

/// Why a message was not sent. Nothing of it was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// The link is down, or as many messages as may be are queued already.
    #[error("the link is down or its queue is full")]
    WouldBlock,
    /// No peer has this routing id (any more).
    #[error("no peer of this routing id is connected")]
    UnknownPeer,
    /// A message has at least one frame.
    #[error("the message has no frame")]
    Empty,
    /// libzmq refused for a reason that it should not have.
    #[error("libzmq: {0}")]
    Other(&'static str),
}

/// A descriptor that libzmq owns: read nothing from it, close it never.
struct Signal(RawFd);

impl AsRawFd for Signal {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

pub(super) struct AsyncSocket {
    // Declared first and so dropped first: the reactor lets go of the
    // descriptor before libzmq closes it.
    signal: AsyncFd<Signal>,
    socket: zmq::Socket,
    /// Whether there may be something to read.
    untested: bool,
}

impl AsyncSocket {
    /// Takes a socket to the reactor of the runtime it is called in.
    pub(super) fn new(socket: zmq::Socket) -> Result<Self, TransportError> {
        let signal = socket
            .get_fd()
            .map_err(TransportError::setup("ask for the socket's descriptor"))?;
        let signal = // The order of our fields keeps the descriptor open for as long as it is registered.
            register(Signal(signal), Interest::READABLE).map_err(TransportError::Reactor)?;
        Ok(Self {
            signal,
            socket,
            untested: true,
        })
    }

    pub(super) fn raw(&self) -> &zmq::Socket {
        &self.socket
    }

    /// Reads with `read` unless it is known that there is nothing.
    pub(super) fn try_read<T>(
        &mut self,
        read: impl Fn(&zmq::Socket) -> zmq::Result<T>,
    ) -> zmq::Result<Option<T>> {
        while self.untested {
            match read(&self.socket) {
                Ok(value) => return Ok(Some(value)),
                // libzmq looked at everything that it was told of.
                Err(zmq::Error::EAGAIN) => self.untested = false,
                Err(zmq::Error::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Looks again, whatever was known.
    pub(super) fn distrust(&mut self) {
        self.untested = true;
    }

    /// Ready when there may be something to read. Pending for good once the
    /// runtime shuts down.
    pub(super) fn poll_signal(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Ok(mut ready) = ready!(self.signal.poll_read_ready(cx)) else {
            return Poll::Pending;
        };
        // Before the reading, so that a signal in between is not lost.
        ready.clear_ready();
        self.untested = true;
        Poll::Ready(())
    }

    /// Sends one message of `first` and `rest`, whole or not at all.
    pub(super) fn try_send(&mut self, first: &[u8], rest: &[&[u8]]) -> Result<(), SendError> {
        self.untested = true;
        let mut sent = self.send_part(first, !rest.is_empty());
        if sent == Err(zmq::Error::EAGAIN) {
            // A send looks for news from the I/O thread (a new connection, an
            // emptied queue) at most once in a while; asking does so always.
            let _ = self.socket.get_events();
            sent = self.send_part(first, !rest.is_empty());
        }
        sent.map_err(|error| match error {
            zmq::Error::EAGAIN => SendError::WouldBlock,
            zmq::Error::EHOSTUNREACH => SendError::UnknownPeer,
            error => SendError::Other(error.message()),
        })?;
        // The queue's bound was looked at with the first part; the others fail
        // only where the connection ended in between. libzmq then drops what
        // it has of the message, and what follows of it must still be given.
        let mut result = Ok(());
        for (index, part) in rest.iter().enumerate() {
            if self.send_part(part, index + 1 < rest.len()).is_err() {
                result = Err(SendError::WouldBlock);
            }
        }
        result
    }

    fn send_part(&self, part: &[u8], more: bool) -> zmq::Result<()> {
        let flags = zmq::DONTWAIT | if more { zmq::SNDMORE } else { 0 };
        loop {
            match self.socket.send(part, flags) {
                Err(zmq::Error::EINTR) => {}
                sent => return sent,
            }
        }
    }
}
