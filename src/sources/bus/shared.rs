//! What a source's task has heard, where the source finds it.

use crate::base::monitor::Lock;
use crate::sources::{background::Wakeup, error::CollectError};

/// What is known of a service on the bus. Written by the task that listens, read by the
/// loop that samples; both hold it for moments.
#[derive(Debug)]
pub(in crate::sources) struct SharedState<T> {
    content: Lock<Content<T>>,
    wakeup: Wakeup,
}

#[derive(Debug)]
enum Content<T> {
    /// The first answer, or its failure, is still to come.
    Awaited,
    /// This was heard.
    Known(T),
    /// There is no such service at present.
    Absent,
    /// The service should be there, and is not to be had.
    Failed(String),
}

impl<T> SharedState<T> {
    /// An empty one; `wakeup` is rung as it gets its first content.
    pub(in crate::sources) fn new(wakeup: Wakeup) -> Self {
        Self {
            content: Lock::new(Content::Awaited),
            wakeup,
        }
    }

    /// Returns true if there is nothing to wait for.
    pub(in crate::sources) fn is_settled(&self) -> bool {
        !matches!(*self.content.lock(), Content::Awaited)
    }

    /// Replaces what is known.
    pub(in crate::sources) fn put(&self, known: T) {
        self.set(Content::Known(known));
    }

    /// There is no such service at present.
    pub(in crate::sources) fn clear(&self) {
        self.set(Content::Absent);
    }

    /// The service is not to be had.
    pub(in crate::sources) fn fail(&self, reason: String) {
        self.set(Content::Failed(reason));
    }

    /// Changes what is known; None, and nothing done, where nothing is.
    pub(in crate::sources) fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> Option<R> {
        match &mut *self.content.lock() {
            Content::Known(known) => Some(change(known)),
            _ => None,
        }
    }

    /// Reads what is known: None if there is nothing to know.
    pub(in crate::sources) fn read<R>(
        &self,
        read: impl FnOnce(&T) -> R,
    ) -> Result<Option<R>, CollectError> {
        match &*self.content.lock() {
            Content::Known(known) => Ok(Some(read(known))),
            Content::Awaited | Content::Absent => Ok(None),
            Content::Failed(reason) => Err(CollectError::Refused(reason.clone())),
        }
    }

    fn set(&self, content: Content<T>) {
        let before = std::mem::replace(&mut *self.content.lock(), content);
        if matches!(before, Content::Awaited) {
            self.wakeup.ring();
        }
    }
}
