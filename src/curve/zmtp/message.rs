//! The frames of one message, bounded, and how a connection puts them together.

use std::fmt;

use super::violation::Violation;

/// The most frames that a message may have, without a routing id. The protocol needs four.
pub const MAX_FRAMES: usize = 8;

/// Frames of one message that are read and dropped before the connection ends.
const MAX_DROPPED: u32 = 10_000;

/// What is received of one connection at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Of a frame, in bytes.
    pub frame_bytes: usize,
    /// Of all frames of a message together, in bytes.
    pub message_bytes: usize,
}

/// A message of at least one frame and at most [`MAX_FRAMES`]. Its frames lie in one piece of
/// memory, one behind the other.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    bytes: Vec<u8>,
    /// Where each frame ends.
    ends: [u32; MAX_FRAMES],
    count: u8,
}

impl Message {
    /// The frames in their order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index).unwrap_or_default())
    }

    /// The frames as a list, for a decoder.
    #[must_use]
    pub fn as_slices(&self) -> Vec<&[u8]> {
        self.iter().collect()
    }

    /// A frame by its place, from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        let ends = self.ends.get(..self.len())?;
        let end = *ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            Some(before) => *ends.get(before)? as usize,
            None => 0,
        };
        self.bytes.get(start..end)
    }

    /// How many frames there are.
    #[expect(clippy::len_without_is_empty, reason = "a message has a frame")]
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// The length of all frames together, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Returns false if there is no room for another frame. Memory is taken for `limit` bytes at
    /// most, and for no more than needed where the large frame of a message is its last one.
    fn push(&mut self, frame: &[u8], limit: usize) -> bool {
        let Some(end) = self.ends.get_mut(usize::from(self.count)) else {
            return false;
        };
        let Ok(length) = u32::try_from(self.bytes.len() + frame.len()) else {
            return false;
        };
        let needed = self.bytes.len() + frame.len();
        if needed > self.bytes.capacity() {
            let room = (2 * self.bytes.len()).min(limit).max(needed);
            self.bytes.reserve_exact(room - self.bytes.len());
        }
        self.bytes.extend_from_slice(frame);
        *end = length;
        self.count += 1;
        true
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lossy = self.iter().map(String::from_utf8_lossy);
        f.debug_list().entries(lossy).finish()
    }
}

/// One received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A message of at most [`MAX_FRAMES`] frames.
    Message(Message),
    /// A message of more frames; they were read and dropped.
    TooManyFrames {
        /// How many there were.
        found: u32,
    },
}

impl Received {
    /// The length of what is kept of it, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Message(message) => message.bytes(),
            Self::TooManyFrames { .. } => 0,
        }
    }
}

/// Puts a message together from its frames.
#[derive(Debug, Default)]
pub(super) enum Assembly {
    /// Between two messages.
    #[default]
    Empty,
    /// Some frames are there, and more will come.
    Partial(Message),
    /// There are too many; none is kept.
    Dropping { found: u32 },
}

impl Assembly {
    /// Takes a frame; `more` tells that another one of the message follows.
    pub(super) fn push(
        &mut self,
        frame: &[u8],
        more: bool,
        bounds: &Bounds,
    ) -> Result<Option<Received>, Violation> {
        let next = match std::mem::take(self) {
            Self::Dropping { found } if found >= MAX_DROPPED => {
                return Err(Violation::MessageEndless { limit: MAX_DROPPED });
            }
            Self::Dropping { found } => Self::Dropping { found: found + 1 },
            Self::Empty => return self.append(Message::default(), frame, more, bounds),
            Self::Partial(message) => return self.append(message, frame, more, bounds),
        };
        Ok(self.settle(next, more))
    }

    /// What is held of a message that is not whole, in bytes.
    pub(super) fn held(&self) -> usize {
        match self {
            Self::Partial(message) => message.bytes.capacity(),
            Self::Empty | Self::Dropping { .. } => 0,
        }
    }

    fn append(
        &mut self,
        mut message: Message,
        frame: &[u8],
        more: bool,
        bounds: &Bounds,
    ) -> Result<Option<Received>, Violation> {
        if message.bytes() + frame.len() > bounds.message_bytes {
            return Err(Violation::MessageTooLarge {
                limit: bounds.message_bytes,
            });
        }
        let next = if message.push(frame, bounds.message_bytes) {
            Self::Partial(message)
        } else {
            let found = u32::from(message.count) + 1;
            Self::Dropping { found }
        };
        Ok(self.settle(next, more))
    }

    fn settle(&mut self, next: Self, more: bool) -> Option<Received> {
        match next {
            next if more => {
                *self = next;
                None
            }
            Self::Partial(message) => Some(Received::Message(message)),
            Self::Dropping { found } => Some(Received::TooManyFrames { found }),
            Self::Empty => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        frame_bytes: 100,
        message_bytes: 100,
    };

    #[test]
    fn a_message_has_its_frames_in_their_order() {
        let mut assembly = Assembly::default();
        let frames: [&[u8]; 4] = [b"one", b"", b"three", b"4"];
        for (index, frame) in frames.iter().enumerate() {
            let received = assembly.push(frame, index < 3, &BOUNDS).unwrap();
            match received {
                None => assert!(index < 3),
                Some(Received::Message(message)) => {
                    assert_eq!(index, 3);
                    assert_eq!(message.as_slices(), frames);
                    assert_eq!((message.len(), message.bytes()), (4, 9));
                    assert_eq!(message.get(4), None);
                    assert_eq!(format!("{message:?}"), r#"["one", "", "three", "4"]"#);
                }
                Some(other) => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn too_many_frames_are_counted_and_none_is_kept() {
        let mut assembly = Assembly::default();
        for _ in 0..MAX_FRAMES {
            assert_eq!(assembly.push(b"x", true, &BOUNDS).unwrap(), None);
        }
        assert_eq!(assembly.push(b"x", true, &BOUNDS).unwrap(), None);
        assert!(matches!(assembly, Assembly::Dropping { found: 9 }));
        let received = assembly.push(b"x", false, &BOUNDS).unwrap();
        assert_eq!(received, Some(Received::TooManyFrames { found: 10 }));
        // The next message is whole.
        let received = assembly.push(b"x", false, &BOUNDS).unwrap();
        assert!(matches!(received, Some(Received::Message(_))));
    }

    #[test]
    fn a_message_that_does_not_end_ends_the_connection() {
        let mut assembly = Assembly::default();
        let mut pushed = 0_u32;
        let violation = loop {
            match assembly.push(b"", true, &BOUNDS) {
                Ok(None) => pushed += 1,
                Ok(Some(other)) => panic!("{other:?}"),
                Err(violation) => break violation,
            }
        };
        assert_eq!(pushed, MAX_DROPPED);
        let text = "the peer's message has more than 10000 frames and does not end";
        assert_eq!(violation.to_string(), text);
    }

    #[test]
    fn no_more_memory_is_taken_than_a_message_may_have() {
        let mut assembly = Assembly::default();
        for length in [30, 40, 20, 10] {
            assert_eq!(
                assembly.push(&vec![0; length], true, &BOUNDS).unwrap(),
                None
            );
            assert!(assembly.held() <= BOUNDS.message_bytes);
        }
        assert_eq!(assembly.held(), 100);
        // Nor more than there is, for the large frame at the end of a usual one.
        let mut assembly = Assembly::default();
        assert_eq!(assembly.push(&[0; 5], true, &BOUNDS).unwrap(), None);
        assert_eq!(assembly.push(&[0; 70], true, &BOUNDS).unwrap(), None);
        assert_eq!(assembly.held(), 75);
    }

    #[test]
    fn the_bytes_of_a_message_are_bounded() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.push(&[0; 60], true, &BOUNDS).unwrap(), None);
        let violation = assembly.push(&[0; 41], false, &BOUNDS).unwrap_err();
        assert!(matches!(
            violation,
            Violation::MessageTooLarge { limit: 100 }
        ));
    }
}
