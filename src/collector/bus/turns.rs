//! Turns of those who ask for large answers. Anybody on the bus may ask, and pays nothing
//! for it: without a bound, many at once would have us hold megabytes for each.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::dbus::callers::{Caller, Callers, Limits};
use crate::dbus::error::Error;

/// Answers that are made at a time. Each takes some megabytes and milliseconds.
const AT_A_TIME: usize = 2;

/// Callers that wait for their turn, or have it. Programs that look at a fleet are few, and
/// ask one question after the other.
const LIMITS: Limits = Limits {
    all: 64,
    user: 16,
    connection: 8,
};

/// Who may make a large answer, and when.
#[derive(Debug)]
pub(crate) struct Turns {
    callers: Callers,
    answers: Semaphore,
}

/// A turn; it ends with the value.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    _caller: Caller<'a>,
    _answer: SemaphorePermit<'a>,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self {
            callers: Callers::new(LIMITS, "wait for an answer"),
            answers: Semaphore::new(AT_A_TIME),
        }
    }

    /// Waits for a turn of this connection (a unique name) and its user; refused where too
    /// many wait already.
    pub(crate) async fn take(&self, connection: &str, user: u32) -> Result<Turn<'_>, Error> {
        let caller = self.callers.enter(connection, user)?;
        let closed = |_| Error::new(Error::FAILED, "the collector is stopping");
        let answer = self.answers.acquire().await.map_err(closed)?;
        Ok(Turn {
            _caller: caller,
            _answer: answer,
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use zbus::DBusError as _;

    use super::*;

    #[tokio::test]
    async fn some_wait_and_the_rest_is_refused() {
        let turns = Turns::new();
        let first = turns.take(":1.1", 1000).await.unwrap();
        let second = turns.take(":1.1", 1000).await.unwrap();
        let mut waiting: Vec<_> = (AT_A_TIME..LIMITS.connection)
            .map(|_| Box::pin(turns.take(":1.1", 1000)))
            .collect();
        for one in &mut waiting {
            assert!(one.now_or_never().is_none(), "it waits for its turn");
        }
        let refused = turns.take(":1.1", 1000).await.unwrap_err();
        assert_eq!(
            refused.name().as_str(),
            "org.freedesktop.DBus.Error.LimitsExceeded"
        );
        // Another waits for its turn, and has it.
        let mut other = Box::pin(turns.take(":1.2", 1001));
        assert!((&mut other).now_or_never().is_none());
        drop((first, second));
        // In order: each ends before the next one is looked at.
        for one in waiting {
            drop(one.await.unwrap());
        }
        drop(other.await.unwrap());
        assert!(turns.take(":1.1", 1000).await.is_ok());
    }
}
