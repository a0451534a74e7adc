//! Turns of those who ask for large answers. Anybody on the bus may ask, and pays nothing
//! for it: without a bound, many at once would have us hold megabytes for each.

use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::Error;

/// Answers that are made at a time. Each takes some megabytes and milliseconds.
const AT_A_TIME: usize = 2;

/// Callers that wait for their turn, or have it. Programs that look at a fleet are few, and
/// ask one question after the other.
const MAX_CALLERS: usize = 64;

/// Who may make a large answer, and when.
#[derive(Debug)]
pub(crate) struct Turns {
    callers: Semaphore,
    answers: Semaphore,
}

/// A turn; it ends with the value.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    _caller: SemaphorePermit<'a>,
    _answer: SemaphorePermit<'a>,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self {
            callers: Semaphore::new(MAX_CALLERS),
            answers: Semaphore::new(AT_A_TIME),
        }
    }

    /// Waits for a turn; refused where too many wait already.
    pub(crate) async fn take(&self) -> Result<Turn<'_>, Error> {
        let refused = |_| {
            let text = format!("{MAX_CALLERS} callers wait for an answer already; try again");
            Error::new(Error::LIMITS_EXCEEDED, text)
        };
        let caller = self.callers.try_acquire().map_err(refused)?;
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
        let first = turns.take().await.unwrap();
        let second = turns.take().await.unwrap();
        let mut waiting: Vec<_> = (AT_A_TIME..MAX_CALLERS)
            .map(|_| Box::pin(turns.take()))
            .collect();
        for one in &mut waiting {
            assert!(one.now_or_never().is_none(), "it waits for its turn");
        }
        let refused = turns.take().await.unwrap_err();
        assert_eq!(
            refused.name().as_str(),
            "org.freedesktop.DBus.Error.LimitsExceeded"
        );
        drop((first, second));
        // In order: each ends before the next one is looked at.
        for one in waiting {
            drop(one.await.unwrap());
        }
        assert!(turns.take().await.is_ok());
    }
}
