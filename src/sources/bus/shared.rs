//! What a source's task has heard, where the source finds it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sources::{background::Wakeup, error::CollectError};

/// What is known of a service on the bus. Written by the task that listens, read by the
/// loop that samples; both hold it for moments.
#[derive(Debug)]
pub(in crate::sources) struct SharedState<T> {
    content: Mutex<Content<T>>,
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
            content: Mutex::new(Content::Awaited),
            wakeup,
        }
    }

    /// Returns true if there is nothing to wait for.
    pub(in crate::sources) fn is_settled(&self) -> bool {
        !matches!(*self.lock(), Content::Awaited)
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
        match &mut *self.lock() {
            Content::Known(known) => Some(change(known)),
            _ => None,
        }
    }

    /// Reads what is known: None if there is nothing to know.
    pub(in crate::sources) fn read<R>(
        &self,
        read: impl FnOnce(&T) -> R,
    ) -> Result<Option<R>, CollectError> {
        match &*self.lock() {
            Content::Known(known) => Ok(Some(read(known))),
            Content::Awaited | Content::Absent => Ok(None),
            Content::Failed(reason) => Err(CollectError::Refused(reason.clone())),
        }
    }

    fn set(&self, content: Content<T>) {
        let before = std::mem::replace(&mut *self.lock(), content);
        if matches!(before, Content::Awaited) {
            self.wakeup.ring();
        }
    }

    /// Nothing panics with the lock held; were it so, the content is valid all the same.
    fn lock(&self) -> MutexGuard<'_, Content<T>> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
