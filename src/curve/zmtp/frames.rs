//! Frames on the wire ([RFC 23](https://rfc.zeromq.org/spec/23/)): a byte of flags, a length of one
//! or eight bytes, a body.
//!
//! A frame that came whole stays in the reader's buffer and is not copied. What came of another
//! one is kept, and memory grows with what came, never with what a header announces.

use super::input::Input;
use super::violation::Violation;

/// Another frame of the same message follows. Outside of a box it is not authenticated.
pub(super) const MORE: u8 = 1;
/// The length has eight bytes.
pub(super) const LONG: u8 = 2;
/// A command of the handshake.
pub(super) const COMMAND: u8 = 4;

const SHORT_HEADER: usize = 2;
const LONG_HEADER: usize = 9;

/// The least memory that is taken for a frame of which a part came.
const LEAST_PARTIAL: usize = 256;

/// A received frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) flags: u8,
    pub(super) body: &'a mut [u8],
}

/// Writes a frame's header.
pub(super) fn push_header(out: &mut Vec<u8>, flags: u8, length: usize) {
    if let Ok(length) = u8::try_from(length) {
        out.extend([flags, length]);
    } else {
        out.push(flags | LONG);
        out.extend((length as u64).to_be_bytes());
    }
}

/// What a frame's first bytes say.
#[derive(Clone, Copy)]
struct Header {
    flags: u8,
    length: u64,
    size: usize,
}

impl Header {
    /// None where bytes are missing.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (&flags, rest) = bytes.split_first()?;
        Some(if flags & LONG == 0 {
            Self {
                flags,
                length: u64::from(*rest.first()?),
                size: SHORT_HEADER,
            }
        } else {
            Self {
                flags,
                length: u64::from_be_bytes(*rest.first_chunk()?),
                size: LONG_HEADER,
            }
        })
    }

    /// The length of all of the frame, in bytes.
    fn whole(&self, limit: usize) -> Result<usize, Violation> {
        match usize::try_from(self.length) {
            Ok(length) if length <= limit => Ok(self.size + length),
            _ => Err(Violation::FrameTooLarge {
                found: self.length,
                limit,
            }),
        }
    }
}

/// Cuts what arrives into frames.
#[derive(Debug, Default)]
pub(super) struct FrameReader {
    /// The beginning of a frame whose rest has not come yet, or one that was handed out.
    partial: Vec<u8>,
    handed_out: bool,
}

impl FrameReader {
    /// Takes the next frame off the front of `input`; None where its rest is still to come, and
    /// all of `input` was taken. `limit` bounds the frame's body, in bytes.
    ///
    /// # Errors
    ///
    /// [`Violation::FrameTooLarge`], as soon as the header is there.
    pub(super) fn next<'a, 'b: 'a>(
        &'a mut self,
        input: &mut Input<'b>,
        limit: usize,
    ) -> Result<Option<Frame<'a>>, Violation> {
        if self.handed_out {
            // An idle connection holds no memory for frames.
            *self = Self::default();
        }
        if self.partial.is_empty() {
            if let Some(header) = Header::parse(input.as_slice()) {
                let whole = header.whole(limit)?;
                if let Some(frame) = input.take(whole) {
                    let body = frame.get_mut(header.size..).unwrap_or_default();
                    return Ok(Some(Frame {
                        flags: header.flags,
                        body,
                    }));
                }
            }
            self.keep(input.take_rest(), LONG_HEADER + limit);
            return Ok(None);
        }
        let header = loop {
            if let Some(header) = Header::parse(&self.partial) {
                break header;
            }
            let Some(byte) = input.take(1) else {
                return Ok(None);
            };
            self.partial.extend_from_slice(byte);
        };
        let whole = header.whole(limit)?;
        let missing = whole.saturating_sub(self.partial.len()).min(input.len());
        let arrived = input.take(missing).unwrap_or_default();
        self.keep(arrived, whole);
        if self.partial.len() < whole {
            return Ok(None);
        }
        self.handed_out = true;
        let body = self.partial.get_mut(header.size..).unwrap_or_default();
        Ok(Some(Frame {
            flags: header.flags,
            body,
        }))
    }

    /// What is held of frames that are not whole, in bytes.
    pub(super) fn held(&self) -> usize {
        self.partial.capacity()
    }

    /// Memory doubles as bytes come, up to what the frame needs.
    fn keep(&mut self, bytes: &[u8], whole: usize) {
        let needed = self.partial.len() + bytes.len();
        if needed > self.partial.capacity() {
            let room = (2 * needed).max(LEAST_PARTIAL).min(whole.max(needed));
            self.partial.reserve_exact(room - self.partial.len());
        }
        self.partial.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMIT: usize = 1000;

    fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        push_header(&mut bytes, flags, body.len());
        bytes.extend(body);
        bytes
    }

    /// All frames of `stream`, given in pieces of these sizes.
    fn read(stream: &[u8], pieces: &[usize]) -> Result<Vec<(u8, Vec<u8>)>, Violation> {
        let mut reader = FrameReader::default();
        let mut frames = Vec::new();
        let mut rest = stream.to_vec();
        let mut sizes = pieces.iter().cycle();
        while !rest.is_empty() {
            let size = (*sizes.next().unwrap()).clamp(1, rest.len());
            let mut piece: Vec<u8> = rest.drain(..size).collect();
            let mut input = Input::new(&mut piece);
            while let Some(frame) = reader.next(&mut input, LIMIT)? {
                frames.push((frame.flags, frame.body.to_vec()));
            }
            assert!(input.is_empty());
            assert!(reader.held() <= LONG_HEADER + LIMIT, "{}", reader.held());
        }
        Ok(frames)
    }

    #[test]
    fn headers_are_as_the_rfc_has_them() {
        assert_eq!(frame(COMMAND, b"ab"), [4, 2, b'a', b'b']);
        assert_eq!(frame(0, &[7; 255])[..2], [0, 255]);
        assert_eq!(frame(MORE, &[7; 256])[..9], [3, 0, 0, 0, 0, 0, 0, 1, 0]);
        // A long header may hold a short length.
        let long = [2, 0, 0, 0, 0, 0, 0, 0, 1, b'x'];
        assert_eq!(read(&long, &[100]).unwrap(), [(2, b"x".to_vec())]);
    }

    #[test]
    fn a_frame_is_refused_by_its_header_and_takes_no_memory() {
        let huge = [2, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
        let violation = read(&huge, &[1]).unwrap_err();
        let text = "the peer announces a frame of 9223372036854775807 bytes; at most 1000 are \
                    accepted here";
        assert_eq!(violation.to_string(), text);
        assert!(read(&frame(0, &[0; LIMIT + 1])[..9], &[9]).is_err());
        // Memory follows what came.
        let mut reader = FrameReader::default();
        let mut begun = frame(0, &[0; LIMIT])[..20].to_vec();
        assert_eq!(
            reader.next(&mut Input::new(&mut begun), LIMIT).unwrap(),
            None
        );
        assert_eq!(reader.held(), LEAST_PARTIAL);
    }

    #[test]
    fn what_is_whole_is_not_kept() {
        let mut reader = FrameReader::default();
        let mut stream = [frame(0, b"one"), frame(1, b"two")].concat();
        let mut input = Input::new(&mut stream);
        assert_eq!(
            reader.next(&mut input, LIMIT).unwrap().unwrap().body,
            b"one"
        );
        assert_eq!(
            reader.next(&mut input, LIMIT).unwrap().unwrap().body,
            b"two"
        );
        assert_eq!(reader.next(&mut input, LIMIT).unwrap(), None);
        assert_eq!(reader.held(), 0);
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_frames(
            frames in prop::collection::vec((0_u8..8, prop::collection::vec(any::<u8>(), 0..600)), 0..8),
            pieces in prop::collection::vec(1_usize..700, 1..10),
        ) {
            let stream: Vec<u8> = frames
                .iter()
                .flat_map(|(flags, body)| frame(flags & !LONG, body))
                .collect();
            let expected: Vec<_> = frames
                .into_iter()
                .map(|(flags, body)| {
                    let long = if body.len() > 255 { LONG } else { 0 };
                    ((flags & !LONG) | long, body)
                })
                .collect();
            prop_assert_eq!(read(&stream, &pieces).unwrap(), expected);
        }
    }
}
