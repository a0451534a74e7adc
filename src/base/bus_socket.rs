//! A connection to a message bus that takes in no message longer than it has use for.
//!
//! Owns the bytes between the bus and zbus. A bus passes on messages of up to 32 MiB, from
//! anybody on it, and zbus holds each of them whole before it looks at it. Here the length in a
//! message's header decides: one that is too long is read in small pieces and forgotten, and
//! whoever waits for an answer to it gets none. Refuses file descriptors, of which nobody here
//! has any use.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::net::Shutdown;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use zbus::Address;
use zbus::address::transport::{Transport, UnixSocket};
use zbus::connection::Builder;
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};
use zbus::export::async_trait::async_trait;

/// The longest call or signal, which come from anybody: of those that mean something to us
/// none has a hundredth of this.
const UNASKED_BYTES: u64 = 64 * 1024;

/// The longest answer to a call of our own. The service manager's lists are the longest: some
/// 300 bytes for each unit, of which there may be ten thousands.
const ANSWER_BYTES: u64 = 16 * 1024 * 1024;

/// What is read at a time where nobody says how much is to come.
const BUFFER_BYTES: usize = 4096;

/// The part of a header that says how long a message is (D-Bus specification, "Message
/// Format"): byte order, type, flags, version, and three numbers: the body's length, the serial
/// and the length of the fields.
const HEADER_BYTES: usize = 16;

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
        let (read, write) = self.0.into_split();
        let reader = Reader {
            socket: read,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            stream: Stream::default(),
        };
        Split::new(reader, Writer(write))
    }
}

/// Reads, and leaves out what is too long.
#[derive(Debug)]
struct Reader {
    socket: OwnedReadHalf,
    // What was read and is not passed on yet.
    buffer: Vec<u8>,
    stream: Stream,
}

impl Reader {
    /// Reads into the room that the buffer has; how many bytes, 0 at the end.
    async fn fill(&mut self) -> io::Result<usize> {
        loop {
            self.socket.readable().await?;
            let held = self.buffer.len();
            self.buffer.resize(BUFFER_BYTES, 0);
            let (_, room) = self.buffer.split_at_mut(held);
            let read = self.socket.try_read(room);
            self.buffer.truncate(held + *read.as_ref().unwrap_or(&0));
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }

    /// Reads the inside of a message straight to where it belongs.
    async fn read_on(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            self.socket.readable().await?;
            match self.socket.try_read(out) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
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
                Step::More => {
                    if self.fill().await? == 0 {
                        return Ok((0, Vec::new()));
                    }
                }
            }
        }
    }
}

/// Where in what the bus sends the next byte stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stream {
    /// At the first byte of a line or of a message.
    #[default]
    Between,
    /// In a line of the authentication, which comes before all messages.
    Line,
    /// In a message; so many bytes are left of it.
    Message(usize),
    /// In one that is too long.
    TooLong(u64),
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// So many bytes of those that are there are for zbus.
    Pass(usize),
    /// So many bytes of those that are there are for nobody.
    Skip(usize),
    /// Nothing is there; the next bytes, so many of them, are for zbus.
    Inside(usize),
    /// More has to be there first.
    More,
}

impl Stream {
    /// What to do with these bytes.
    fn next(&mut self, bytes: &[u8]) -> Step {
        if *self == Self::Between {
            *self = match bytes {
                [] => return Step::More,
                [b'l' | b'B', ..] => match bytes.first_chunk() {
                    Some(header) => Self::of(header),
                    None => return Step::More,
                },
                // The bus answers AUTH with OK or REJECTED, in capitals.
                _ => Self::Line,
            };
        }
        match *self {
            Self::Message(left) if bytes.is_empty() => Step::Inside(left),
            _ if bytes.is_empty() => Step::More,
            Self::Between | Self::Line => {
                let end = bytes.iter().position(|byte| *byte == b'\n');
                Step::Pass(end.map_or(bytes.len(), |end| end + 1))
            }
            Self::Message(left) => Step::Pass(left.min(bytes.len())),
            Self::TooLong(left) => {
                Step::Skip(usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len())))
            }
        }
    }

    /// So many bytes are passed on, or forgotten; `last` is the last of those passed on.
    fn advance(&mut self, bytes: usize, last: Option<u8>) {
        let left = match *self {
            Self::Between => Self::Between,
            Self::Line if last == Some(b'\n') => Self::Between,
            Self::Line => Self::Line,
            Self::Message(left) => Self::Message(left.saturating_sub(bytes)),
            Self::TooLong(left) => Self::TooLong(left.saturating_sub(bytes as u64)),
        };
        *self = match left {
            Self::Message(0) | Self::TooLong(0) => Self::Between,
            left => left,
        };
    }

    /// By the header of a message.
    fn of(header: &[u8; HEADER_BYTES]) -> Self {
        let &[
            order,
            kind,
            _,
            _,
            b0,
            b1,
            b2,
            b3,
            _,
            _,
            _,
            _,
            f0,
            f1,
            f2,
            f3,
        ] = header;
        let number = |bytes: [u8; 4]| {
            u64::from(match order {
                b'B' => u32::from_be_bytes(bytes),
                _ => u32::from_le_bytes(bytes),
            })
        };
        let (body, fields) = (number([b0, b1, b2, b3]), number([f0, f1, f2, f3]));
        // The body begins at a multiple of eight.
        let length = HEADER_BYTES as u64 + fields.next_multiple_of(8) + body;
        // METHOD_RETURN and ERROR; the bus passes on none that was not asked for.
        let most = match kind {
            2 | 3 => ANSWER_BYTES,
            _ => UNASKED_BYTES,
        };
        match usize::try_from(length) {
            Ok(fits) if length <= most => Self::Message(fits),
            _ => {
                tracing::debug!(
                    "a message of {length} bytes on the bus is not read: the limit is {most}"
                );
                Self::TooLong(length)
            }
        }
    }
}

/// Writes.
#[derive(Debug)]
struct Writer(OwnedWriteHalf);

#[async_trait]
impl WriteHalf for Writer {
    async fn sendmsg(&mut self, bytes: &[u8], _none: &[BorrowedFd<'_>]) -> io::Result<usize> {
        loop {
            self.0.writable().await?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return written,
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        // Both directions, so that whoever reads ends, too.
        let stream: &UnixStream = self.0.as_ref();
        Ok(rustix::net::shutdown(stream, Shutdown::Both)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message's header: byte order, type, body and fields.
    fn header(order: u8, kind: u8, body: u32, fields: u32) -> Vec<u8> {
        let bytes = |number: u32| match order {
            b'B' => number.to_be_bytes(),
            _ => number.to_le_bytes(),
        };
        let mut header = vec![order, kind, 0, 1];
        header.extend([bytes(body), bytes(1), bytes(fields)].concat());
        header
    }

    /// What comes through of these bytes, that arrive in pieces of this size.
    fn through(bytes: &[u8], piece: usize) -> Vec<u8> {
        let (mut stream, mut out, mut held) = (Stream::default(), Vec::new(), Vec::new());
        let mut rest = bytes.chunks(piece);
        loop {
            match stream.next(&held) {
                Step::Pass(bytes) => {
                    out.extend(held.drain(..bytes));
                    stream.advance(bytes, out.last().copied());
                }
                Step::Skip(bytes) => {
                    held.drain(..bytes);
                    stream.advance(bytes, None);
                }
                Step::Inside(_) | Step::More => match rest.next() {
                    Some(more) => held.extend(more),
                    None => return out,
                },
            }
        }
    }

    #[test]
    fn what_is_too_long_is_left_out_and_nothing_else() {
        let line = b"OK 0123456789abcdef0123456789abcdef\r\n";
        let small = [header(b'l', 1, 4, 12), vec![7; 4 + 16]].concat();
        let body = u32::try_from(UNASKED_BYTES).unwrap() - 16 - 16;
        let longest = [header(b'l', 4, body, 9), vec![8; 16 + body as usize]].concat();
        let call = [
            header(b'l', 1, body + 1, 9),
            vec![9; 16 + body as usize + 1],
        ]
        .concat();
        let signal = [
            header(b'B', 4, body + 1, 9),
            vec![9; 16 + body as usize + 1],
        ]
        .concat();
        let answer = [
            header(b'B', 2, body + 1, 9),
            vec![5; 16 + body as usize + 1],
        ]
        .concat();
        let all = [
            &line[..],
            &small,
            &call,
            &longest,
            &signal,
            &answer,
            &call,
            &small,
        ]
        .concat();
        let expected = [&line[..], &small, &longest, &answer, &small].concat();
        for piece in [1, 15, 16, 17, 4096, all.len()] {
            assert!(through(&all, piece) == expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn no_length_overflows() {
        let header: [u8; HEADER_BYTES] = header(b'l', 2, u32::MAX, u32::MAX).try_into().unwrap();
        let length = 16 + (1 << 32) + u64::from(u32::MAX);
        assert_eq!(Stream::of(&header), Stream::TooLong(length));
    }
}
