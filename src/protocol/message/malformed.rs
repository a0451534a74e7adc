//! Why a peer's message was not understood, as data and as a line that is safe to log.

use std::fmt;

use super::{MAX_GRID_BYTES, MAX_HOST_BYTES};
use crate::protocol::grid::GridFault;

/// Most bytes of a peer's input that an error shows: enough to recognise a name by.
const MAX_EXCERPT_BYTES: usize = 32;

/// Why a peer's message was not understood. The text is one short line: what it shows of
/// the peer's bytes is escaped and cut.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Malformed {
    /// A message has at least a tag.
    #[error("a message without frames")]
    NoFrames,
    /// Each tag has its number of frames.
    #[error("a {tag} message of {found} frames instead of {expected}")]
    FrameCount {
        /// The message's tag.
        tag: &'static str,
        /// How many frames such a message has.
        expected: usize,
        /// How many there were.
        found: usize,
    },
    /// Not one of [`TAG_CONTROL`](super::TAG_CONTROL), [`TAG_GRID`](super::TAG_GRID) and
    /// [`TAG_DATA`](super::TAG_DATA).
    #[error("an unknown tag \"{0}\"")]
    Tag(Excerpt),
    /// Not one of [`Control`](super::Control)'s words.
    #[error("an unknown control word \"{0}\"")]
    Word(Excerpt),
    /// Not one of [`GridKind`](super::GridKind)'s.
    #[error("an unknown kind of grid \"{0}\"")]
    Kind(Excerpt),
    /// A message that this peer never sends; names the word or tag.
    #[error("a \"{0}\" message in the wrong direction")]
    Direction(&'static str),
    /// Text must be UTF-8.
    #[error("a {field} that is not UTF-8: \"{excerpt}\"")]
    NotUtf8 {
        /// Which frame.
        field: Field,
        /// Its beginning.
        excerpt: Excerpt,
    },
    /// A host has a name.
    #[error("an empty host name")]
    HostEmpty,
    /// Longer than any name can be.
    #[error("a host name of {bytes} bytes; at most {MAX_HOST_BYTES} are allowed")]
    HostTooLong {
        /// Its length.
        bytes: usize,
    },
    /// Names end up on terminals and in logs.
    #[error("a host name with control characters: \"{0}\"")]
    HostControlCharacter(Excerpt),
    /// More than [`MAX_GRID_BYTES`].
    #[error("a grid of {bytes} bytes; at most {MAX_GRID_BYTES} are allowed")]
    GridTooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The grid's content.
    #[error(transparent)]
    Grid(#[from] GridFault),
}

/// A text frame, as errors name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Second frame of a control message.
    Word,
    /// Second frame of a grid's message.
    Host,
    /// Last frame of a grid's message.
    Kind,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Word => "control word",
            Self::Host => "host name",
            Self::Kind => "kind of grid",
        })
    }
}

/// The beginning of a peer's bytes, kept for an error's text. Shown as printable ASCII,
/// everything else escaped, with an ellipsis where it was cut. Holds no allocation, so
/// that a flood of malformed messages makes none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Excerpt {
    bytes: [u8; MAX_EXCERPT_BYTES],
    length: usize,
    cut: bool,
}

impl Excerpt {
    /// The beginning of `bytes`.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut excerpt = Self {
            bytes: [0; MAX_EXCERPT_BYTES],
            length: bytes.len().min(MAX_EXCERPT_BYTES),
            cut: bytes.len() > MAX_EXCERPT_BYTES,
        };
        for (kept, byte) in excerpt.bytes.iter_mut().zip(bytes) {
            *kept = *byte;
        }
        excerpt
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kept = self.bytes.get(..self.length).unwrap_or(&self.bytes);
        write!(f, "{}", kept.escape_ascii())?;
        if self.cut { f.write_str("…") } else { Ok(()) }
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}
