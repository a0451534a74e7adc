//! The format of a segment, a file with a part of the history. Pure.
//!
//! A segment stands for itself: it has every definition that its samples need. It begins with
//! a header of [`HEADER_BYTES`]:
//!
//! | bytes | what |
//! | --- | --- |
//! | 24 | `metrics-agent history 1` and a line feed |
//! | 8 | the number of the log |
//! | 8 | the number of the segment, as its name says |
//! | 8 | the number of its first sample |
//! | 8 | when that was taken, in µs since 1970; 0 if that is not known |
//! | 4 | the checksum of these |
//!
//! Frames follow, each with a header of [`FRAME_HEADER_BYTES`]: a mark of four bytes, the length of the
//! body, the body's checksum, and the checksum of these three. The body is a [`Frame`] in protobuf.
//! Numbers are little-endian; checksums are CRC-32 as in zip. A frame with a damaged body costs itself; after a damaged header the
//! next frame is looked for by its mark.

use std::io::{self, Read};

use prost::Message;

use crate::protocol::data::reader::MAX_BODY_BYTES;
use crate::protocol::data::wire::Lost;

const MAGIC: &[u8; 24] = b"metrics-agent history 1\n";

/// What a segment begins with.
pub const HEADER_BYTES: usize = MAGIC.len() + 4 * 8 + 4;

/// Not likely in text, protobuf or zeros.
const MARK: [u8; 4] = [0xf5, b'm', b'h', 0x1a];

/// What stands before a frame's body.
pub const FRAME_HEADER_BYTES: usize = 16;

/// Most bytes of a frame's body. Frames are closed at a quarter of that, but a sample is as large as it is.
pub const MAX_FRAME_BYTES: usize = MAX_BODY_BYTES;

/// Read from a file at a time.
const READ_BYTES: usize = 64 * 1024;

/// What a frame says.
#[derive(Clone, PartialEq, Message)]
pub struct Frame {
    /// Encoded series that later samples of the segment need.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub series: Vec<Vec<u8>>,
    /// Encoded schemas that later samples of the segment need.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub schemas: Vec<Vec<u8>>,
    /// Encoded samples, with consecutive numbers.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub samples: Vec<Vec<u8>>,
    /// Samples that are lost.
    #[prost(message, repeated, tag = "4")]
    pub lost: Vec<Lost>,
    /// How far everything is. The last one counts.
    #[prost(message, optional, tag = "5")]
    pub state: Option<State>,
    /// The lowest id of a series that these samples and all later ones refer to.
    #[prost(uint32, tag = "6")]
    pub first_series: u32,
    /// The same of schemas.
    #[prost(uint32, tag = "7")]
    pub first_schema: u32,
}

/// How far the log and its cursors are.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct State {
    /// The collectors.
    #[prost(message, repeated, tag = "1")]
    pub cursors: Vec<CursorState>,
    /// The agent was stopped, and everything that it had taken was written or had been received.
    #[prost(bool, tag = "3")]
    pub closed: bool,
    /// The highest id of a series that was given.
    #[prost(uint32, tag = "4")]
    pub last_series: u32,
    /// The highest id of a schema that was given.
    #[prost(uint32, tag = "5")]
    pub last_schema: u32,
}

/// How far a collector is.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CursorState {
    /// Its name in the settings.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Everything up to this number has arrived.
    #[prost(uint64, tag = "2")]
    pub acked: u64,
    /// It is known to take history.
    #[prost(bool, tag = "3")]
    pub taking: bool,
}

/// What a sample says beside its values.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct SampleHead {
    #[prost(uint64, tag = "1")]
    pub(super) seq: u64,
    #[prost(int64, tag = "2")]
    pub(super) time: i64,
    #[prost(uint64, tag = "3")]
    pub(super) boottime: u64,
    #[prost(bool, tag = "5")]
    pub(super) whole: bool,
    #[prost(uint32, repeated, tag = "6")]
    pub(super) schemas: Vec<u32>,
}

/// What a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The number of the log.
    pub stream: u64,
    /// The number of the segment.
    pub number: u64,
    /// The number of its first sample.
    pub first: u64,
    /// When that was taken, in µs since 1970; 0 if that is not known.
    pub time: i64,
}

impl Header {
    /// Writes it.
    pub fn write(&self, to: &mut Vec<u8>) {
        let begin = to.len();
        to.extend_from_slice(MAGIC);
        let time = self.time.cast_unsigned();
        for number in [self.stream, self.number, self.first, time] {
            to.extend_from_slice(&number.to_le_bytes());
        }
        let sum = crc32fast::hash(to.get(begin..).unwrap_or_default());
        to.extend_from_slice(&sum.to_le_bytes());
    }

    /// Reads it; None if it is damaged, or of another version.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let (content, sum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(content) != u32::from_le_bytes(*sum) {
            return None;
        }
        let rest = content.strip_prefix(MAGIC)?;
        let mut numbers = rest
            .as_chunks::<8>()
            .0
            .iter()
            .copied()
            .map(u64::from_le_bytes);
        Some(Self {
            stream: numbers.next()?,
            number: numbers.next()?,
            first: numbers.next()?,
            time: numbers.next()?.cast_signed(),
        })
    }
}

impl Frame {
    /// Reads a body; None if it is no protobuf of this kind.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        Self::decode(body).ok()
    }

    /// Writes it; nothing if there is nothing to say.
    pub fn write(&self, to: &mut Vec<u8>) {
        let body = self.encode_to_vec();
        let (Ok(length), false) = (u32::try_from(body.len()), body.is_empty()) else {
            return;
        };
        let begin = to.len();
        to.extend_from_slice(&MARK);
        to.extend_from_slice(&length.to_le_bytes());
        to.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        let sum = crc32fast::hash(to.get(begin..).unwrap_or_default());
        to.extend_from_slice(&sum.to_le_bytes());
        to.extend_from_slice(&body);
    }
}

/// The frames of a segment, one after the other.
#[derive(Debug)]
pub struct Frames<R> {
    input: R,
    buffer: Vec<u8>,
    /// Where in the buffer the next frame may begin.
    at: usize,
    damaged: u64,
}

impl<R: Read> Frames<R> {
    /// Reads frames from behind the header.
    pub fn new(input: R) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            at: 0,
            damaged: 0,
        }
    }

    /// Bytes so far that belong to no whole frame.
    #[must_use]
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    /// The next frame that is whole. None at the end, behind which more may be written later.
    ///
    /// # Errors
    ///
    /// The system's.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        loop {
            self.fill(FRAME_HEADER_BYTES)?;
            let rest = self.rest();
            if rest.len() < FRAME_HEADER_BYTES {
                return Ok(None);
            }
            let Some((length, sum)) = frame_header(rest) else {
                let mark = rest.iter().skip(1).position(|byte| *byte == MARK[0]);
                self.skip(mark.map_or(rest.len(), |place| place + 1));
                continue;
            };
            let whole = FRAME_HEADER_BYTES + length;
            self.fill(whole)?;
            let Some(body) = self.rest().get(FRAME_HEADER_BYTES..whole) else {
                return Ok(None);
            };
            let frame = (crc32fast::hash(body) == sum)
                .then(|| Frame::read(body))
                .flatten();
            if frame.is_some() {
                self.at += whole;
                return Ok(frame);
            }
            self.skip(whole);
        }
    }

    /// Bytes at the end that belong to no whole frame, once there is no next one.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.rest().len() as u64
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self, bytes: usize) {
        self.at += bytes;
        self.damaged += bytes as u64;
    }

    /// Reads until so many bytes are there, or the end.
    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        while self.buffer.len() - self.at < bytes {
            self.buffer.drain(..self.at);
            self.at = 0;
            let had = self.buffer.len();
            self.buffer.resize(had + READ_BYTES, 0);
            let read = self
                .input
                .read(self.buffer.get_mut(had..).unwrap_or_default());
            self.buffer.truncate(had + *read.as_ref().unwrap_or(&0));
            if read? == 0 {
                break;
            }
        }
        Ok(())
    }
}

/// Length and checksum of a frame's body, if these bytes are the header of one.
fn frame_header(bytes: &[u8]) -> Option<(usize, u32)> {
    let header: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk()?;
    let rest = header.strip_prefix(&MARK)?;
    let mut numbers = rest
        .as_chunks::<4>()
        .0
        .iter()
        .copied()
        .map(u32::from_le_bytes);
    let (length, sum, check) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let content = header.get(..FRAME_HEADER_BYTES - 4)?;
    let length = usize::try_from(length).ok()?;
    (crc32fast::hash(content) == check && length <= MAX_FRAME_BYTES).then_some((length, sum))
}
