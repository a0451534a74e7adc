//! By when the next thing has to happen on a connection; else it ends.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::sleep_until;

/// For a request to arrive on a new connection. Who connects knows what to ask.
pub(super) const FIRST_REQUEST: Duration = Duration::from_secs(10);

/// For another one on a connection that had an answer: usual scrape intervals are shorter.
pub(super) const NEXT_REQUEST: Duration = Duration::from_secs(90);

/// For an answer to be made and sent. Prometheus gives up after 10 s unless told otherwise,
/// and after its scrape interval at the latest.
pub(super) const ANSWER: Duration = Duration::from_secs(60);

/// For the peer to read a piece of an answer.
pub(super) const PIECE: Duration = Duration::from_secs(5);

/// The deadline of a connection, which moves; None once it has to end.
#[derive(Clone, Debug)]
pub(super) struct Clock(watch::Sender<Option<Instant>>);

impl Clock {
    /// One that is set.
    pub(super) fn new(deadline: Instant) -> Self {
        Self(watch::Sender::new(Some(deadline)))
    }

    /// From now on it is this one, unless the connection has to end.
    pub(super) fn set(&self, deadline: Instant) {
        self.0.send_if_modified(|current| {
            let goes_on = current.is_some();
            if goes_on {
                *current = Some(deadline);
            }
            goes_on
        });
    }

    /// The connection ends, whatever is set afterwards.
    pub(super) fn end(&self) {
        self.0.send_replace(None);
    }

    /// What comes of the work, or None where the deadline comes first.
    pub(super) async fn bound<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut deadlines = self.0.subscribe();
        let mut work = pin!(work);
        loop {
            let deadline = (*deadlines.borrow_and_update())?;
            tokio::select! {
                biased;
                outcome = &mut work => return Some(outcome),
                // It does not end while `self` has the other half.
                _ = deadlines.changed() => {}
                () = sleep_until(deadline.into()) => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::yield_now;

    use super::*;

    const FAR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn the_work_ends_at_a_deadline_that_came_nearer() {
        let clock = Clock::new(Instant::now() + FAR);
        let work = async {
            clock.set(Instant::now());
            pending::<()>().await;
        };
        assert_eq!(clock.bound(work).await, None);
    }

    #[tokio::test]
    async fn what_has_to_end_ends_whatever_is_set_afterwards() {
        let clock = Clock::new(Instant::now() + FAR);
        let work = async {
            clock.end();
            clock.set(Instant::now() + FAR);
            pending::<()>().await;
        };
        assert_eq!(clock.bound(work).await, None);
    }

    #[tokio::test]
    async fn the_work_goes_on_where_the_deadline_was_moved_away() {
        let clock = Clock::new(Instant::now());
        let work = async {
            clock.set(Instant::now() + FAR);
            yield_now().await;
            1
        };
        assert_eq!(clock.bound(work).await, Some(1));
        assert_eq!(Clock::new(Instant::now()).bound(async { 2 }).await, Some(2));
    }
}
