//! The body of an answer: a text, or pieces as they are made.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame, SizeHint};
use tokio::sync::mpsc;

use super::editions::Edition;
use super::scrapes::{Reading, Refused};
use super::serve::Answering;

/// A part of a long answer.
#[derive(Debug)]
pub(super) struct Piece {
    /// What it says.
    pub(super) text: Vec<u8>,
    /// Whether it is the last one.
    pub(super) last: bool,
}

/// What comes after the beginning of an answer, or why nothing does.
pub(super) type Rest = Result<(mpsc::Receiver<Piece>, Reading), Refused>;

/// A place for the rest of an answer, to be waited for.
pub(super) type RestLater = Pin<Box<dyn Future<Output = Rest> + Send>>;

/// The body of an answer. The connection counts as being answered for as long as it has it.
pub(super) struct Body {
    source: Source,
    answering: Answering,
}

enum Source {
    Text(Option<Bytes>),
    /// Pieces that are there, and what comes after them.
    Beginning {
        edition: Arc<Edition>,
        next: usize,
        rest: Option<RestLater>,
    },
    /// What comes after them is waited for.
    Waiting(RestLater),
    Pieces(mpsc::Receiver<Piece>),
    /// There is no more.
    End,
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

    /// One that begins with this, and goes on with the rest if there is more.
    pub(super) fn beginning(
        edition: Arc<Edition>,
        rest: Option<RestLater>,
        answering: Answering,
    ) -> Self {
        Self {
            source: Source::Beginning {
                edition,
                next: 0,
                rest,
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
        loop {
            match source {
                Source::Text(text) => {
                    return Poll::Ready(text.take().map(|text| Ok(Frame::data(text))));
                }
                Source::Beginning {
                    edition,
                    next,
                    rest,
                } => {
                    if let Some(piece) = edition.beginning.get(*next) {
                        let piece = piece.clone();
                        *next += 1;
                        answering.begins();
                        if rest.is_none() && *next == edition.beginning.len() {
                            answering.read_whole();
                            *source = Source::End;
                        }
                        return Poll::Ready(Some(Ok(Frame::data(piece))));
                    }
                    *source = rest.take().map_or(Source::End, Source::Waiting);
                }
                Source::Waiting(rest) => match rest.as_mut().poll(context) {
                    Poll::Pending => {
                        answering.waits_for_us();
                        return Poll::Pending;
                    }
                    Poll::Ready(Err(_)) => {
                        *source = Source::End;
                        return Poll::Ready(Some(Err(Torn)));
                    }
                    Poll::Ready(Ok((pieces, reading))) => {
                        answering.goes_on(reading);
                        *source = Source::Pieces(pieces);
                    }
                },
                Source::Pieces(pieces) => match pieces.poll_recv(context) {
                    Poll::Pending => {
                        answering.waits_for_us();
                        return Poll::Pending;
                    }
                    Poll::Ready(None) => return Poll::Ready(Some(Err(Torn))),
                    Poll::Ready(Some(Piece { text, last })) => {
                        answering.waits_for_peer();
                        if last {
                            answering.read_whole();
                            *source = Source::End;
                        }
                        return Poll::Ready(Some(Ok(Frame::data(text.into()))));
                    }
                },
                Source::End => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, Source::Text(None) | Source::End)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Text(text) => {
                let bytes = text.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(bytes as u64)
            }
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use hyper::body::Body as _;

    use super::*;

    async fn next(body: &mut Body) -> Option<Result<Vec<u8>, Torn>> {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        Some(frame.map(|frame| frame.into_data().unwrap().to_vec()))
    }

    fn pieces() -> (mpsc::Sender<Piece>, Body) {
        let (sender, pieces) = mpsc::channel(4);
        let source = Source::Pieces(pieces);
        let answering = Answering::without_connection();
        (sender, Body { source, answering })
    }

    fn edition(beginning: &[&'static str]) -> Arc<Edition> {
        let beginning = beginning
            .iter()
            .map(|text| Bytes::from_static(text.as_bytes()));
        Arc::new(Edition {
            beginning: beginning.collect(),
            rest: None,
        })
    }

    /// The end is told with the last piece, so that the peer need not wait for it.
    async fn ends_after_a_and_b(body: &mut Body) {
        assert_eq!(next(body).await, Some(Ok(b"a".to_vec())));
        assert!(!body.is_end_stream());
        assert_eq!(next(body).await, Some(Ok(b"b".to_vec())));
        assert!(body.is_end_stream());
        assert_eq!(next(body).await, None);
    }

    #[tokio::test]
    async fn it_ends_with_its_beginning_where_that_is_all() {
        let edition = edition(&["a", "b"]);
        let mut body = Body::beginning(edition, None, Answering::without_connection());
        ends_after_a_and_b(&mut body).await;
    }

    #[tokio::test]
    async fn without_a_place_for_the_rest_it_is_torn() {
        let rest: RestLater = Box::pin(async { Err(Refused::Busy) });
        let mut body =
            Body::beginning(edition(&["a"]), Some(rest), Answering::without_connection());
        assert_eq!(next(&mut body).await, Some(Ok(b"a".to_vec())));
        assert_eq!(next(&mut body).await, Some(Err(Torn)));
    }

    #[tokio::test]
    async fn it_ends_after_the_last_piece() {
        let (sender, mut body) = pieces();
        for (text, last) in [("a", false), ("b", true)] {
            let text = text.into();
            sender.send(Piece { text, last }).await.unwrap();
        }
        ends_after_a_and_b(&mut body).await;
    }

    #[tokio::test]
    async fn without_a_last_piece_it_is_torn() {
        let (sender, mut body) = pieces();
        let text = "a".into();
        sender.send(Piece { text, last: false }).await.unwrap();
        drop(sender);
        assert_eq!(next(&mut body).await, Some(Ok(b"a".to_vec())));
        assert_eq!(next(&mut body).await, Some(Err(Torn)));
    }

    #[tokio::test]
    async fn a_text_has_a_length() {
        let mut body = Body::text("four", Answering::without_connection());
        assert_eq!(body.size_hint().exact(), Some(4));
        assert_eq!(next(&mut body).await, Some(Ok(b"four".to_vec())));
        assert_eq!((next(&mut body).await, body.is_end_stream()), (None, true));
        assert!(Body::text("", Answering::without_connection()).is_end_stream());
    }
}
