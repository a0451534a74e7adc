//! Messages: to frames and back, byte for byte as deployed peers speak them.
//!
//! Decoding is bounded and total: frames from a peer become a [`Message`] that borrows from them,
//! or a [`Malformed`] whose text is short and safe to log. It refuses everything that does not
//! match exactly, such as an extra frame or a word in the wrong direction. Only
//! [`Grid::parse`](super::grid::Grid::parse) looks inside a grid.
//!
//! The transport removes a ROUTER's routing id frame before.

use std::ops::Deref;
use std::str;

use super::data::Word;

mod encode;
mod malformed;

pub use encode::{EncodeError, encode_grid};
pub use malformed::{Excerpt, Field, Malformed};

/// First frame of a control message.
pub const TAG_CONTROL: &str = "CTRL";

/// First frame of a message that carries a grid.
pub const TAG_GRID: &str = "METR";

/// First frame of a message that carries samples of the second wire; see [`data`](super::data).
pub const TAG_DATA: &str = "DATA";

/// Kind of the message with a host's state for a viewer. Agents that send it are refused as for any
/// other kind that they do not have.
pub const KIND_STATE: &str = "state";

/// An agent whose model has this metric understands [`Control::Refused`]. It is never sent to
/// others, which do not know this word.
pub const UNDERSTANDS_REFUSED: &str = "agent.version";

/// How the routing id of a viewer begins that wants to know which hosts do not report
/// ([`Message::State`]). Collectors without this feature ignore what an id looks like, and viewers
/// without it have ids of `A-Z0-9`.
pub const VIEWER_ID_PREFIX: &[u8; 8] = b"viewer2-";

/// Most bytes of a grid. It is the bound that collectors set on a received frame, far above what a
/// host reports and small enough to hold one for each of many agents.
pub const MAX_GRID_BYTES: usize = 1024 * 1024;

/// Most bytes of a host name: a domain name has at most 253 characters (RFC 1035, 2.3.4),
/// and Linux allows 64 for a host name.
pub const MAX_HOST_BYTES: usize = 255;

/// Most frames of any message.
const MAX_FRAMES: usize = 4;

/// The word of a control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Control {
    /// Agent (or viewer) to collector: here I am.
    Hello,
    /// Collector to agent: send your model, then metrics.
    Model,
    /// Collector to agent: I am alive.
    Ping,
    /// Collector to an agent that understands it (see [`UNDERSTANDS_REFUSED`]): the collector
    /// ignores what the agent reports.
    Refused,
}

impl Control {
    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Model => "model",
            Self::Ping => "ping",
            Self::Refused => "refused",
        }
    }
}

/// What a grid holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GridKind {
    /// What changes.
    Metrics,
    /// What rarely changes.
    Model,
}

impl GridKind {
    /// The kind on the wire, and everywhere a person meets it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Model => "model",
        }
    }
}

/// One message, in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A control word.
    Control(Control),
    /// A host's grid.
    Grid {
        /// The name that the host reports under; see [`check_host`].
        host: &'a str,
        /// A JSON object as [`encode_grid`] writes it; not looked into by decoding.
        grid: &'a [u8],
        /// What the grid holds.
        kind: GridKind,
    },
    /// Samples of a host, one after the other; only from an agent to a collector that has offered to
    /// take them.
    Data {
        /// The name that the host reports under; see [`check_host`].
        host: &'a str,
        /// A protobuf message; not looked into by decoding.
        body: &'a [u8],
    },
    /// The state of a host; only from a collector to a viewer that has asked for it
    /// ([`VIEWER_ID_PREFIX`]).
    State {
        /// The name that the host reports under.
        host: &'a str,
        /// A JSON object; see [`StateGrid`](super::state::StateGrid).
        grid: &'a [u8],
    },
}

impl<'a> Message<'a> {
    /// The message's frames, borrowed: nothing is copied or allocated.
    #[must_use]
    pub const fn frames(&self) -> Frames<'a> {
        match *self {
            Self::Control(control) => Frames {
                frames: [TAG_CONTROL.as_bytes(), control.word().as_bytes(), b"", b""],
                count: 2,
            },
            Self::Grid { host, grid, kind } => Self::grid_frames(host, grid, kind.as_str()),
            Self::Data { host, body } => Frames {
                frames: [TAG_DATA.as_bytes(), host.as_bytes(), body, b""],
                count: 3,
            },
            Self::State { host, grid } => Self::grid_frames(host, grid, KIND_STATE),
        }
    }

    const fn grid_frames(host: &'a str, grid: &'a [u8], kind: &'static str) -> Frames<'a> {
        Frames {
            frames: [TAG_GRID.as_bytes(), host.as_bytes(), grid, kind.as_bytes()],
            count: 4,
        }
    }
}

/// The frames of one message, in the order of the wire. Derefs to `[&[u8]]`.
#[derive(Clone, Copy, Debug)]
pub struct Frames<'a> {
    frames: [&'a [u8]; MAX_FRAMES],
    count: usize,
}

impl<'a> Deref for Frames<'a> {
    type Target = [&'a [u8]];

    fn deref(&self) -> &Self::Target {
        self.frames.get(..self.count).unwrap_or(&self.frames)
    }
}

/// Reads a message of either direction.
///
/// # Errors
///
/// [`Malformed`] where the frames are not exactly one of the protocol's messages.
pub fn decode<F: AsRef<[u8]>>(frames: &[F]) -> Result<Message<'_>, Malformed> {
    let tag = frames.first().ok_or(Malformed::NoFrames)?.as_ref();
    if tag == TAG_CONTROL.as_bytes() {
        let [_, word] = frames else {
            return Err(Malformed::FrameCount {
                tag: TAG_CONTROL,
                expected: 2,
                found: frames.len(),
            });
        };
        decode_control(word.as_ref()).map(Message::Control)
    } else if tag == TAG_GRID.as_bytes() {
        let [_, host, grid, kind] = frames else {
            return Err(Malformed::FrameCount {
                tag: TAG_GRID,
                expected: 4,
                found: frames.len(),
            });
        };
        let host = utf8(Field::Host, host.as_ref())?;
        check_host(host)?;
        let kind = kind.as_ref();
        // None for the kind that is no agent's.
        let kind = (kind != KIND_STATE.as_bytes())
            .then(|| decode_kind(kind))
            .transpose()?;
        let grid = grid.as_ref();
        if grid.len() > MAX_GRID_BYTES {
            return Err(Malformed::GridTooLarge { bytes: grid.len() });
        }
        Ok(match kind {
            Some(kind) => Message::Grid { host, grid, kind },
            None => Message::State { host, grid },
        })
    } else if tag == TAG_DATA.as_bytes() {
        let [_, host, body] = frames else {
            return Err(Malformed::FrameCount {
                tag: TAG_DATA,
                expected: 3,
                found: frames.len(),
            });
        };
        let host = utf8(Field::Host, host.as_ref())?;
        check_host(host)?;
        let body = body.as_ref();
        Ok(Message::Data { host, body })
    } else {
        Err(Malformed::Tag(Excerpt::new(tag)))
    }
}

/// What a collector says to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FromCollector {
    /// [`Control::Model`], [`Control::Ping`] or [`Control::Refused`].
    Control(Control),
    /// A word of the second wire.
    Word(Word),
}

/// Reads what a collector says to an agent.
///
/// # Errors
///
/// [`Malformed`], also for a message that only an agent sends.
pub fn decode_from_collector<F: AsRef<[u8]>>(frames: &[F]) -> Result<FromCollector, Malformed> {
    if let [tag, text] = frames
        && tag.as_ref() == TAG_CONTROL.as_bytes()
        && let Some(word) = str::from_utf8(text.as_ref()).ok().and_then(Word::read)
    {
        return Ok(FromCollector::Word(word));
    }
    match decode(frames)? {
        Message::Control(control @ (Control::Model | Control::Ping | Control::Refused)) => {
            Ok(FromCollector::Control(control))
        }
        Message::Control(control) => Err(Malformed::Direction(control.word())),
        Message::Grid { .. } | Message::State { .. } => Err(Malformed::Direction(TAG_GRID)),
        Message::Data { .. } => Err(Malformed::Direction(TAG_DATA)),
    }
}

/// Reads what an agent says to a collector: [`Control::Hello`], a grid, or samples.
///
/// # Errors
///
/// [`Malformed`], also for a word that only a collector sends.
pub fn decode_from_agent<F: AsRef<[u8]>>(frames: &[F]) -> Result<Message<'_>, Malformed> {
    match decode(frames)? {
        Message::Control(control @ (Control::Model | Control::Ping | Control::Refused)) => {
            Err(Malformed::Direction(control.word()))
        }
        // To a collector it is no kind at all, as to those that know nothing of it.
        Message::State { .. } => Err(Malformed::Kind(Excerpt::new(KIND_STATE.as_bytes()))),
        message => Ok(message),
    }
}

/// Reads what a viewer says to a collector: [`Control::Hello`], and nothing else.
///
/// # Errors
///
/// [`Malformed`], also for what only agents and collectors send.
pub fn decode_from_viewer<F: AsRef<[u8]>>(frames: &[F]) -> Result<(), Malformed> {
    match decode(frames)? {
        Message::Control(Control::Hello) => Ok(()),
        Message::Control(control) => Err(Malformed::Direction(control.word())),
        Message::Grid { .. } | Message::State { .. } => Err(Malformed::Direction(TAG_GRID)),
        Message::Data { .. } => Err(Malformed::Direction(TAG_DATA)),
    }
}

/// Reads what a collector says to a viewer: a grid, a state, or [`Control::Ping`].
///
/// # Errors
///
/// [`Malformed`], also for a word that is not sent to viewers.
pub fn decode_for_viewer<F: AsRef<[u8]>>(frames: &[F]) -> Result<Message<'_>, Malformed> {
    match decode(frames)? {
        Message::Control(control @ (Control::Hello | Control::Model | Control::Refused)) => {
            Err(Malformed::Direction(control.word()))
        }
        Message::Data { .. } => Err(Malformed::Direction(TAG_DATA)),
        message => Ok(message),
    }
}

/// Checks that a host can report under this name: 1 to [`MAX_HOST_BYTES`] bytes, without control
/// characters. There are no other rules: collectors accept any such name as a key.
///
/// # Errors
///
/// The [`Malformed`] that a collector would answer it with.
pub fn check_host(host: &str) -> Result<(), Malformed> {
    if host.is_empty() {
        Err(Malformed::HostEmpty)
    } else if host.len() > MAX_HOST_BYTES {
        Err(Malformed::HostTooLong { bytes: host.len() })
    } else if host.chars().any(char::is_control) {
        Err(Malformed::HostControlCharacter(Excerpt::new(
            host.as_bytes(),
        )))
    } else {
        Ok(())
    }
}

fn utf8(field: Field, bytes: &[u8]) -> Result<&str, Malformed> {
    str::from_utf8(bytes).map_err(|_| Malformed::NotUtf8 {
        field,
        excerpt: Excerpt::new(bytes),
    })
}

fn decode_control(word: &[u8]) -> Result<Control, Malformed> {
    [
        Control::Hello,
        Control::Model,
        Control::Ping,
        Control::Refused,
    ]
    .into_iter()
    .find(|control| control.word().as_bytes() == word)
    .map_or_else(
        || {
            utf8(Field::Word, word)?;
            Err(Malformed::Word(Excerpt::new(word)))
        },
        Ok,
    )
}

fn decode_kind(kind: &[u8]) -> Result<GridKind, Malformed> {
    [GridKind::Metrics, GridKind::Model]
        .into_iter()
        .find(|known| known.as_str().as_bytes() == kind)
        .map_or_else(
            || {
                utf8(Field::Kind, kind)?;
                Err(Malformed::Kind(Excerpt::new(kind)))
            },
            Ok,
        )
}

#[cfg(test)]
mod tests;
