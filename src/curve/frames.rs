//! What a socket receives: the frames of one message, bounded.
//!
//! libzmq bounds the size of a frame, never their number; this does.

use std::fmt;

/// The most frames that a message may have, without a routing id. The protocol
/// needs four.
pub const MAX_FRAMES: usize = 8;

/// One received message.
#[derive(Debug)]
pub enum Received {
    /// A message of at most [`MAX_FRAMES`] frames.
    Message(Frames),
    /// A message of more frames; they were read and dropped.
    TooManyFrames {
        /// How many there were.
        found: usize,
    },
}

/// The frames of a message, at least one and at most [`MAX_FRAMES`]. They are
/// kept in libzmq's own memory and not copied.
pub struct Frames {
    parts: Vec<zmq::Message>,
}

impl Frames {
    /// The frames in their order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.parts.iter().map(|frame| &**frame)
    }

    /// The frames as a list, for a decoder.
    #[must_use]
    pub fn as_slices(&self) -> Vec<&[u8]> {
        self.iter().collect()
    }

    /// A frame by its place, from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.parts.get(index).map(|frame| &**frame)
    }

    /// How many frames there are.
    #[expect(clippy::len_without_is_empty, reason = "a message has a frame")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// The length of all frames together, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }
}

impl fmt::Debug for Frames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lossy = self.iter().map(String::from_utf8_lossy);
        f.debug_list().entries(lossy).finish()
    }
}

/// Reads the next message, or only what follows a frame that was read already.
/// Never blocks: libzmq hands out a message when all of it is there.
pub(super) fn receive(socket: &zmq::Socket) -> zmq::Result<Received> {
    // Room for the protocol's messages; `Vec` grows up to MAX_FRAMES.
    let mut frames = Vec::with_capacity(4);
    let mut found = 0;
    loop {
        let frame = match socket.recv_msg(zmq::DONTWAIT) {
            // A signal arrived in between; the rest of the message is there.
            Err(zmq::Error::EINTR) if found > 0 => continue,
            frame => frame?,
        };
        let more = frame.get_more();
        found += 1;
        if found <= MAX_FRAMES {
            frames.push(frame);
        } else {
            frames.clear();
        }
        if !more {
            break;
        }
    }
    Ok(if found <= MAX_FRAMES {
        Received::Message(Frames { parts: frames })
    } else {
        Received::TooManyFrames { found }
    })
}
