//! The key that the next start will use. Any caller may ask for it, and each answer reads the
//! settings. There is one reading at a time, so that a hanging disk blocks only one thread.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::dbus::callers::{Caller, Callers, Limits};
use crate::dbus::error::Error;

/// Callers that wait for a reading, or have it.
const LIMITS: Limits = Limits {
    all: 32,
    user: 8,
    connection: 4,
};

/// Limits how many callers have the settings read for the key.
#[derive(Debug)]
pub(super) struct Readings {
    callers: Arc<Callers>,
    one: Arc<Semaphore>,
}

impl Readings {
    pub(super) fn new() -> Self {
        Self {
            callers: Arc::new(Callers::new(LIMITS, "wait for an answer")),
            one: Arc::new(Semaphore::new(1)),
        }
    }

    /// Waits until the previous reading has ended; refused if too many wait already.
    pub(super) async fn take(
        &self,
        connection: &str,
        user: u32,
    ) -> Result<(Caller, OwnedSemaphorePermit), Error> {
        let caller = self.callers.enter(connection, user)?;
        let closed = |_| Error::new(Error::STOPPING, "the collector is stopping");
        let permit = Arc::clone(&self.one)
            .acquire_owned()
            .await
            .map_err(closed)?;
        Ok((caller, permit))
    }
}
