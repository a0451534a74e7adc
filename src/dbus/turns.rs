//! Turns of those who ask for large answers. Anybody on the bus may ask, and pays nothing
//! for it: without a bound, many at once would have us hold megabytes for each.
//!
//! A turn lasts until the bus has taken the answer, so that no more of them are in memory
//! where the bus is slow or stands still.

use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zbus::message::Header;
use zbus::wire::serialized::Context;
use zbus::wire::{Endian, serialized_size};
use zbus::{Connection, Signature, Type};

use crate::dbus::callers::{Caller, Callers, Limits};
use crate::dbus::error::Error;
use crate::dbus::polkit::user_of;

/// Answers that are made or sent at a time. Each takes some megabytes and milliseconds.
const AT_A_TIME: usize = 2;

/// Most bytes of an answer: 10,000 hosts with names of the longest kind have 6 MB. So answers in
/// flight have 16 MiB at most.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Callers that wait for their turn, or have it. Programs that look at a fleet are few, and
/// ask one question after the other.
const LIMITS: Limits = Limits {
    all: 64,
    user: 16,
    connection: 8,
};

/// How long a call waits for its turn: libdbus's default for any call, after which its caller is
/// gone.
const PATIENCE: Duration = Duration::from_secs(25);

/// Who may make a large answer, and when.
#[derive(Debug)]
pub(crate) struct Turns {
    callers: Arc<Callers>,
    answers: Arc<Semaphore>,
}

/// A turn; it ends with the value.
#[derive(Debug)]
pub(crate) struct Turn {
    _caller: Caller,
    _answer: OwnedSemaphorePermit,
}

/// An answer and the turn that it was made in, which ends once the answer is sent: zbus keeps
/// what a method returns until then.
#[derive(Debug)]
pub(crate) struct Answer<T> {
    value: T,
    _turn: Turn,
}

impl Turns {
    pub(crate) fn new() -> Self {
        Self {
            callers: Arc::new(Callers::new(LIMITS, "wait for an answer")),
            answers: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }

    /// Waits for the turn of a call; refused where too many wait already.
    pub(crate) async fn take(
        &self,
        call: &Header<'_>,
        connection: &Connection,
    ) -> Result<Turn, Error> {
        let (sender, user) = user_of(connection, call).await?;
        self.wait(&sender, user, PATIENCE).await
    }

    /// The same for this connection (a unique name) and its user.
    async fn wait(&self, connection: &str, user: u32, limit: Duration) -> Result<Turn, Error> {
        let caller = self.callers.enter(connection, user)?;
        let turn = Arc::clone(&self.answers).acquire_owned();
        match tokio::time::timeout(limit, turn).await {
            Ok(Ok(answer)) => Ok(Turn {
                _caller: caller,
                _answer: answer,
            }),
            Ok(Err(_)) => Err(Error::new(Error::STOPPING, "the program is stopping")),
            Err(_) => {
                let text = format!(
                    "the bus did not take the answers to earlier calls within {} ms; try again",
                    limit.as_millis()
                );
                Err(Error::new(Error::TIMED_OUT, text))
            }
        }
    }
}

impl Turn {
    /// The answer; refused where it is too large.
    pub(crate) fn answer<T: Serialize + Type>(self, value: T) -> Result<Answer<T>, Error> {
        self.answer_of(value, MAX_BYTES)
    }

    fn answer_of<T: Serialize + Type>(self, value: T, most: usize) -> Result<Answer<T>, Error> {
        let context = Context::new(Endian::native(), 0);
        let size = serialized_size(context, &value)
            .map_err(|error| Error::new(Error::FAILED, error.to_string()))?
            .size();
        if size > most {
            let text = format!("the answer would have {size} bytes, and at most {most} are sent");
            return Err(Error::new(Error::LIMITS_EXCEEDED, text));
        }
        Ok(Answer { value, _turn: self })
    }
}

impl<T: Type> Type for Answer<T> {
    const SIGNATURE: &'static Signature = T::SIGNATURE;
}

impl<T: Serialize> Serialize for Answer<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
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
        let first = turns.wait(":1.1", 1000, PATIENCE).await.unwrap();
        let second = turns.wait(":1.1", 1000, PATIENCE).await.unwrap();
        let mut waiting: Vec<_> = (AT_A_TIME..LIMITS.connection)
            .map(|_| Box::pin(turns.wait(":1.1", 1000, PATIENCE)))
            .collect();
        for one in &mut waiting {
            assert!(one.now_or_never().is_none(), "it waits for its turn");
        }
        let refused = turns.wait(":1.1", 1000, PATIENCE).await.unwrap_err();
        assert_eq!(
            refused.name().as_str(),
            "org.freedesktop.DBus.Error.LimitsExceeded"
        );
        // Another waits for its turn, and has it.
        let mut other = Box::pin(turns.wait(":1.2", 1001, PATIENCE));
        assert!((&mut other).now_or_never().is_none());
        drop((first, second));
        // In order: each ends before the next one is looked at.
        for one in waiting {
            drop(one.await.unwrap());
        }
        drop(other.await.unwrap());
        assert!(turns.wait(":1.1", 1000, PATIENCE).await.is_ok());
    }

    #[tokio::test]
    async fn an_answer_keeps_its_turn() {
        let turns = Turns::new();
        let mut answers = Vec::new();
        for _ in 0..AT_A_TIME {
            let turn = turns.wait(":1.1", 1000, PATIENCE).await.unwrap();
            answers.push(turn.answer(vec!["a host"]).unwrap());
        }
        let mut next = Box::pin(turns.wait(":1.2", 1001, PATIENCE));
        assert!((&mut next).now_or_never().is_none());
        answers.pop();
        assert!((&mut next).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_bus_that_takes_no_answers_is_given_as_the_reason() {
        let turns = Turns::new();
        let _first = turns.wait(":1.1", 1000, PATIENCE).await.unwrap();
        let _second = turns.wait(":1.1", 1000, PATIENCE).await.unwrap();
        let limit = Duration::from_millis(20);
        let error = turns.wait(":1.2", 1001, limit).await.unwrap_err();
        assert_eq!(error.name().as_str(), "org.freedesktop.DBus.Error.TimedOut");
        assert_eq!(
            error.description(),
            Some("the bus did not take the answers to earlier calls within 20 ms; try again")
        );
    }

    #[tokio::test]
    async fn an_answer_that_is_too_large_is_refused() {
        let turns = Turns::new();
        let turn = turns.wait(":1.1", 1000, PATIENCE).await.unwrap();
        let text = "x".repeat(100);
        // The length of the array, that of the text, the text and a NUL.
        let answer = turn.answer_of(vec![&text], 109).unwrap();
        assert_eq!(
            serde_json::to_string(&answer).unwrap(),
            format!("[\"{text}\"]")
        );
        let turn = turns.wait(":1.1", 1000, PATIENCE).await.unwrap();
        let error = turn.answer_of(vec![&text], 108).unwrap_err();
        assert_eq!(
            error.name().as_str(),
            "org.freedesktop.DBus.Error.LimitsExceeded"
        );
        assert_eq!(
            error.description(),
            Some("the answer would have 109 bytes, and at most 108 are sent")
        );
    }
}
