//! Work that may take long, on a thread of its own: the resolver, files.
//!
//! A thread that the system does not have is an error like any other, which the work's
//! caller gets; tokio's own blocking threads would panic. There are never more than
//! [`MAX_THREADS`], but for those of callers that have a bound of their own ([`on_a_thread`]).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread;

use tokio::sync::oneshot;

/// For an agent with the most connections: a name look-up for each, one for the host's own name,
/// the job with files, and as many again for look-ups that hang while settings or names changed.
/// With these it stays well below the `TasksMax=` of its unit.
pub(crate) const MAX_THREADS: usize = 36;

/// Threads that exist.
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// What comes of the work.
#[derive(Debug)]
pub(crate) enum Offloaded<T> {
    Working(oneshot::Receiver<T>),
    Refused(Option<io::Error>),
}

/// Begins the work. Dropping what is returned does not end it.
pub(crate) fn offload<T: Send + 'static>(
    thread: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Offloaded<T> {
    let Some(place) = Place::take() else {
        let text = format!("{MAX_THREADS} threads wait for something already");
        return Offloaded::Refused(Some(io::Error::other(text)));
    };
    let (done, result) = oneshot::channel();
    let started = on_a_thread(thread, move || {
        let outcome = work();
        drop(place);
        // The caller may have gone.
        let _ = done.send(outcome);
    });
    match started {
        Ok(()) => Offloaded::Working(result),
        Err(error) => {
            let text = format!("cannot start a thread: {error}");
            Offloaded::Refused(Some(io::Error::new(error.kind(), text)))
        }
    }
}

/// Does the work on a thread of its own, for those who bound their threads themselves.
///
/// # Errors
///
/// The system has no thread left.
pub(crate) fn on_a_thread(
    thread: &'static str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let builder = thread::Builder::new().name(thread.to_owned());
    builder.spawn(work).map(drop)
}

impl<T> Future for Offloaded<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        match &mut *self {
            Self::Working(result) => Pin::new(result)
                .poll(context)
                .map(|result| result.map_err(io::Error::other)),
            Self::Refused(error) => Poll::Ready(Err(error
                .take()
                .unwrap_or_else(|| io::Error::other("asked again after the end")))),
        }
    }
}

/// One of the [`MAX_THREADS`].
struct Place;

impl Place {
    fn take() -> Option<Self> {
        THREADS
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |threads| {
                (threads < MAX_THREADS).then_some(threads + 1)
            })
            .is_ok()
            .then_some(Self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        THREADS.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_work_s_outcome_arrives() {
        let caller = thread::current().id();
        let worker = offload("test", || thread::current().id()).await.unwrap();
        assert_ne!(worker, caller);
    }

    #[tokio::test]
    async fn what_was_refused_says_why() {
        let mut refused: Offloaded<()> = Offloaded::Refused(Some(io::Error::other("no room")));
        assert_eq!((&mut refused).await.unwrap_err().to_string(), "no room");
        assert!((&mut refused).await.is_err());
    }
}
