//! What goes out on a connection to a bus: zbus's messages, and between them the refusals of
//! calls that zbus never had.

use std::collections::VecDeque;
use std::io;

use tokio::net::UnixStream;
use tokio::sync::Notify;
use zbus::Message;

use super::calls::Call;
use crate::base::monitor::Lock;

/// Refusals that wait until the bus takes them. If there are more, because a caller calls that
/// fast, the rest are dropped.
const WAITING: usize = 256;

/// The order of what is written.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    queue: Lock<Queue>,
    /// zbus's message is out, and refusals wait.
    turn: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    /// What is not written yet of zbus's message that was begun.
    left: usize,
    refusals: VecDeque<Vec<u8>>,
    /// True if the first of them is partly written.
    begun: bool,
}

/// What refusals wait for.
#[derive(Debug, PartialEq, Eq)]
enum Waits {
    Nothing,
    Bus,
    Message,
}

impl Outgoing {
    /// Tells the caller that its call is refused, as soon as the bus takes it.
    pub(super) fn refuse(&self, socket: &UnixStream, call: Call<'_>, why: &str) {
        let mut queue = self.queue.lock();
        if queue.refusals.len() < WAITING
            && let Some(refusal) = refusal(call, why)
        {
            queue.refusals.push_back(refusal);
        }
        queue.flush(socket);
    }

    /// Waits until there is something to read, and writes refusals meanwhile.
    pub(super) async fn readable(&self, socket: &UnixStream) -> io::Result<()> {
        loop {
            let waits = self.queue.lock().flush(socket);
            tokio::select! {
                ready = socket.readable() => return ready,
                ready = socket.writable(), if waits == Waits::Bus => ready?,
                () = self.turn.notified(), if waits == Waits::Message => {}
            }
        }
    }

    /// Writes what it can of zbus's message, of which so much is left.
    pub(super) async fn write(&self, socket: &UnixStream, bytes: &[u8]) -> io::Result<usize> {
        loop {
            if let Some(written) = self.queue.lock().write(socket, bytes) {
                if written.as_ref().ok() == Some(&bytes.len()) {
                    self.turn.notify_one();
                }
                return written;
            }
            socket.writable().await?;
        }
    }
}

impl Queue {
    /// Writes refusals unless another message is partly written. A failure is one of the
    /// connection, which ends by itself.
    fn flush(&mut self, socket: &UnixStream) -> Waits {
        while self.left == 0 && !self.refusals.is_empty() {
            if !self.write_refusal(socket) {
                return Waits::Bus;
            }
        }
        if self.refusals.is_empty() {
            Waits::Nothing
        } else {
            Waits::Message
        }
    }

    /// Writes the first of them; returns true when all of it is written.
    fn write_refusal(&mut self, socket: &UnixStream) -> bool {
        while let Some(first) = self.refusals.front_mut() {
            match socket.try_write(first) {
                Ok(written) if written == first.len() => {
                    self.refusals.pop_front();
                    self.begun = false;
                    return true;
                }
                Ok(written) => {
                    first.drain(..written);
                    self.begun = true;
                }
                Err(_) => return false,
            }
        }
        true
    }

    /// zbus's message goes before all refusals but one that was begun. None if the bus takes
    /// nothing now.
    fn write(&mut self, socket: &UnixStream, bytes: &[u8]) -> Option<io::Result<usize>> {
        if self.begun && !self.write_refusal(socket) {
            return None;
        }
        match socket.try_write(bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            written => {
                self.left = bytes.len() - *written.as_ref().unwrap_or(&bytes.len());
                Some(written)
            }
        }
    }
}

/// The answer to a call that is refused, in bytes.
fn refusal(call: Call<'_>, why: &str) -> Option<Vec<u8>> {
    // zbus answers a message's header, so it gets one with what an answer takes from it.
    let stand_in = Message::method_call("/", "Refused")
        .sender(call.sender)
        .serial(call.serial.try_into().ok()?)
        .build(&())
        .ok()?;
    let refusal = Message::error(
        &stand_in.header(),
        "org.freedesktop.DBus.Error.LimitsExceeded",
    );
    Some(refusal.build(&(why,)).ok()?.data().bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    const CALL: Call<'_> = Call {
        sender: ":1.5",
        serial: 7,
        wants_answer: true,
    };

    #[tokio::test]
    async fn refusals_go_between_messages_and_never_into_one() {
        let (socket, mut bus) = UnixStream::pair().unwrap();
        let outgoing = Outgoing::default();
        // More than fits: the bus does not read.
        let message = vec![b'm'; 4 * 1024 * 1024];
        let written = outgoing.write(&socket, &message).await.unwrap();
        assert!(written < message.len());
        for _ in 0..2 * WAITING {
            outgoing.refuse(&socket, CALL, "too many");
        }
        assert_eq!(outgoing.queue.lock().refusals.len(), WAITING);
        let refusal = outgoing.queue.lock().refusals[0].clone();
        let all = message.len() + WAITING * refusal.len();
        let reading = async {
            let mut read = vec![0; all];
            bus.read_exact(&mut read).await.unwrap();
            bus.try_write(b"x").unwrap();
            read
        };
        let writing = async {
            let mut rest = &message[written..];
            while !rest.is_empty() {
                rest = &rest[outgoing.write(&socket, rest).await.unwrap()..];
            }
        };
        let (read, (), ready) = tokio::join!(reading, writing, outgoing.readable(&socket));
        ready.unwrap();
        let (first, rest) = read.split_at(message.len());
        assert!(first == message, "the message is whole");
        // They differ only in their own serials.
        for one in rest.chunks(refusal.len()) {
            assert_eq!((one[1], one.len()), (3, refusal.len()));
            assert_eq!(one[12..], refusal[12..]);
        }
    }
}
