//! A connection to a message bus that limits the length of messages and the number of calls.
//!
//! Owns the bytes between the bus and zbus. A bus passes on messages of up to 32 MiB from any of
//! its users, and zbus keeps each of them whole before it looks at it. Here the length in a
//! message's header decides: a message that is too long is read in small pieces and discarded, and
//! there is no answer to it. A call beyond the bounds of [`calls`] is refused at once, or discarded
//! if the caller wants no answer. The bus is always read on, because it disconnects a peer that
//! does not read. File descriptors are refused: they are not used here.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rustix::net::Shutdown;
use tokio::net::UnixStream;
use zbus::address::transport::{Transport, UnixSocket};
use zbus::connection::Builder;
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};
use zbus::export::async_trait::async_trait;
use zbus::message::Type;
use zbus::names::BusName;
use zbus::{Address, Message};

mod calls;
mod refusals;
mod stream;

use calls::{Call, Calls, NO_REPLY_EXPECTED};
use refusals::Outgoing;
use stream::{Step, Stream};

use crate::base::monitor::Lock;

/// What is read at a time while it is unknown how much is to come.
const BUFFER_BYTES: usize = 4096;

/// A connection to the bus at this address, to be built.
pub(crate) async fn builder(address: Address) -> zbus::Result<Builder<'static>> {
    let path = match address.transport() {
        Transport::Unix(unix) => path_of(unix.path()),
        // Over the network; no host has its system bus there.
        _ => None,
    };
    let Some(path) = path else {
        return Ok(Builder::address(address));
    };
    match UnixStream::connect(&path).await {
        Ok(stream) => Ok(Builder::socket(BusSocket(stream))),
        Err(error) => Err(zbus::Error::Connection(Arc::new(error), Box::new(address))),
    }
}

/// As the system takes it: an abstract name begins with a null byte (unix(7)).
fn path_of(socket: &UnixSocket) -> Option<PathBuf> {
    match socket {
        UnixSocket::File(path) => Some(path.clone()),
        UnixSocket::Abstract(name) => {
            let bytes = [&[0], name.as_bytes()].concat();
            Some(Path::new(std::ffi::OsStr::from_bytes(&bytes)).to_owned())
        }
        _ => None,
    }
}

/// The stream, for zbus to divide.
struct BusSocket(UnixStream);

impl Socket for BusSocket {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let link = Arc::new(Link {
            socket: self.0,
            calls: Lock::default(),
            outgoing: Outgoing::default(),
        });
        let reader = Reader {
            link: Arc::clone(&link),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            stream: Stream::default(),
        };
        Split::new(reader, Writer(link))
    }
}

/// What both directions have in common.
#[derive(Debug)]
struct Link {
    socket: UnixStream,
    calls: Lock<Calls>,
    outgoing: Outgoing,
}

impl Link {
    /// Returns true if zbus may have the call with this header; refuses the call otherwise.
    fn admits(&self, header: &[u8]) -> bool {
        let Some(call) = Call::read(header) else {
            tracing::debug!("a call on the bus is not read: its header has unknown fields");
            return false;
        };
        let entered = self.calls.lock().enter(call, Instant::now());
        let Err(why) = entered else {
            return true;
        };
        if call.wants_answer {
            self.outgoing.refuse(&self.socket, call, &why);
        }
        false
    }
}

/// Reads, and leaves out what is too long or too much.
#[derive(Debug)]
struct Reader {
    link: Arc<Link>,
    // What was read and is not passed on yet.
    buffer: Vec<u8>,
    stream: Stream,
}

impl Reader {
    /// Reads into the buffer, behind what it has; how many bytes, 0 at the end.
    async fn fill(&mut self) -> io::Result<usize> {
        let Link {
            socket, outgoing, ..
        } = &*self.link;
        if self.buffer.is_empty() {
            // A long header is rare.
            self.buffer.shrink_to(BUFFER_BYTES);
        }
        loop {
            outgoing.readable(socket).await?;
            let held = self.buffer.len();
            self.buffer
                .resize(held.next_multiple_of(BUFFER_BYTES).max(BUFFER_BYTES), 0);
            let (_, room) = self.buffer.split_at_mut(held);
            let read = socket.try_read(room);
            self.buffer.truncate(held + *read.as_ref().unwrap_or(&0));
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }

    /// Reads the inside of a message directly into its destination.
    async fn read_on(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Link {
            socket, outgoing, ..
        } = &*self.link;
        loop {
            outgoing.readable(socket).await?;
            match socket.try_read(out) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }

    /// Decides on the call at the start of the buffer, whose header is there.
    fn judge(&mut self, header: usize) {
        let admitted = self
            .buffer
            .get(..header)
            .is_some_and(|header| self.link.admits(header));
        if admitted && let Some(flags) = self.buffer.get_mut(2) {
            // So that zbus answers each call, and we know when it is done with it.
            *flags &= !NO_REPLY_EXPECTED;
        }
        self.stream.judged(admitted);
    }
}

#[async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, out: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        loop {
            match self.stream.next(&self.buffer) {
                Step::Pass(bytes) => {
                    let bytes = bytes.min(out.len());
                    let mut last = None;
                    for (to, from) in out.iter_mut().zip(self.buffer.drain(..bytes)) {
                        *to = from;
                        last = Some(from);
                    }
                    self.stream.advance(bytes, last);
                    return Ok((bytes, Vec::new()));
                }
                Step::Skip(bytes) => {
                    self.stream.advance(bytes, None);
                    self.buffer.drain(..bytes);
                }
                Step::Inside(left) => {
                    let (out, _) = out.split_at_mut(left.min(out.len()));
                    let read = self.read_on(out).await?;
                    self.stream.advance(read, None);
                    return Ok((read, Vec::new()));
                }
                Step::Judge(header) => self.judge(header),
                Step::More => {
                    if self.fill().await? == 0 {
                        return Ok((0, Vec::new()));
                    }
                }
            }
        }
    }
}

/// Writes.
#[derive(Debug)]
struct Writer(Arc<Link>);

#[async_trait]
impl WriteHalf for Writer {
    async fn send_message(&mut self, message: &Message) -> zbus::Result<()> {
        let header = message.header();
        let answered = match (header.destination(), header.reply_serial()) {
            (Some(BusName::Unique(to)), Some(serial))
                if matches!(message.message_type(), Type::MethodReturn | Type::Error) =>
            {
                Some((to.as_str(), serial.get()))
            }
            _ => None,
        };
        let is_wanted =
            answered.is_none_or(|(to, serial)| self.0.calls.lock().wants_answer(to, serial));
        let mut bytes = message.data().bytes();
        while is_wanted && !bytes.is_empty() {
            let written = self.sendmsg(bytes, &[]).await?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        if let Some((to, serial)) = answered {
            self.0.calls.lock().end(to, serial);
        }
        Ok(())
    }

    async fn sendmsg(&mut self, bytes: &[u8], _none: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.0.outgoing.write(&self.0.socket, bytes).await
    }

    async fn close(&mut self) -> io::Result<()> {
        // Both directions, so that the reader ends, too.
        Ok(rustix::net::shutdown(&self.0.socket, Shutdown::Both)?)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The reader may outlive it. An error says that the other end has closed it already.
        let _ = rustix::net::shutdown(&self.0.socket, Shutdown::Write);
    }
}
