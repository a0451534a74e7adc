//! The body of an answer: a text, or pieces as they are made.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame, SizeHint};
use tokio::sync::mpsc;

use super::serve::Answering;

/// A part of a long answer.
#[derive(Debug)]
pub(super) struct Piece {
    /// What it says.
    pub(super) text: Vec<u8>,
    /// Whether it is the last one.
    pub(super) last: bool,
}

/// The body of an answer. The connection counts as being answered for as long as it has it.
#[derive(Debug)]
pub(super) struct Body {
    source: Source,
    answering: Answering,
}

#[derive(Debug)]
enum Source {
    Text(Option<Bytes>),
    Pieces {
        pieces: mpsc::Receiver<Piece>,
        complete: bool,
    },
}

/// The answer stops in its middle, and the peer has to see that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Torn;

impl fmt::Display for Torn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the answer was not made to its end")
    }
}

impl std::error::Error for Torn {}

impl Body {
    /// One that is there.
    pub(super) fn text(text: impl Into<Bytes>, answering: Answering) -> Self {
        let text = Some(text.into()).filter(|text| !text.is_empty());
        Self {
            source: Source::Text(text),
            answering,
        }
    }

    /// One that is being made.
    pub(super) fn pieces(pieces: mpsc::Receiver<Piece>, answering: Answering) -> Self {
        Self {
            source: Source::Pieces {
                pieces,
                complete: false,
            },
            answering,
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Torn;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Torn>>> {
        let Self { source, answering } = &mut *self;
        match source {
            Source::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Pieces { complete: true, .. } => Poll::Ready(None),
            Source::Pieces { pieces, complete } => match pieces.poll_recv(context) {
                Poll::Pending => {
                    answering.waits_for_us();
                    Poll::Pending
                }
                Poll::Ready(None) => Poll::Ready(Some(Err(Torn))),
                Poll::Ready(Some(Piece { text, last })) => {
                    *complete = last;
                    answering.waits_for_peer();
                    Poll::Ready(Some(Ok(Frame::data(text.into()))))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(
            self.source,
            Source::Text(None) | Source::Pieces { complete: true, .. }
        )
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Text(text) => {
                let bytes = text.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(bytes as u64)
            }
            Source::Pieces { .. } => SizeHint::default(),
        }
    }
}
