//! The task in which a source listens to its service, from one connection to the next, and what
//! it has heard, where the source finds it.

use std::{ops::Deref, sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep},
};
use zbus::Connection;

use super::{Client, Failure, Line, Link, RETRY_MAX, RETRY_MIN};
use crate::base::monitor::Lock;
use crate::sources::{Context, background::Wakeup, error::CollectError};

/// What a source does with a connection.
pub(in crate::sources) trait Topic: Send + 'static {
    /// Asks, listens and updates the shared state, until that fails.
    fn serve(&mut self, client: &mut Client) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Nothing is known any more. Why, where it is worth a word: a bus that is only being
    /// restarted is not.
    fn lost(&mut self, why: Option<String>);
}

/// What a source's task has heard. The task ends when this is dropped.
pub(in crate::sources) struct Followed<T> {
    shared: Arc<SharedState<T>>,
    /// None if there is no runtime to listen in.
    _task: Option<(oneshot::Sender<()>, Arc<Line>)>,
}

impl<T> Followed<T> {
    /// Listens from now on, where there is a runtime; where there is none, nothing is known.
    pub(in crate::sources) fn new<P: Topic>(
        context: &Context,
        topic: impl FnOnce(Arc<SharedState<T>>) -> P,
    ) -> Self {
        let shared = Arc::new(SharedState::new(context.wakeup.clone()));
        let task = context.bus.line().map(|line| {
            let (stop, stopped) = oneshot::channel();
            let topic = topic(Arc::clone(&shared));
            tokio::spawn(run(line.link.clone(), stopped, topic));
            (stop, line)
        });
        if task.is_none() {
            shared.clear();
        }
        Self {
            shared,
            _task: task,
        }
    }
}

impl<T> Deref for Followed<T> {
    type Target = SharedState<T>;

    fn deref(&self) -> &SharedState<T> {
        &self.shared
    }
}

async fn run(
    mut link: watch::Receiver<Link>,
    mut stopped: oneshot::Receiver<()>,
    mut topic: impl Topic,
) {
    let mut wait = RETRY_MIN;
    loop {
        let connection = tokio::select! {
            biased;
            _ = &mut stopped => return,
            connection = up(&mut link, &mut topic) => connection,
        };
        let Some(connection) = connection else {
            return;
        };
        let began = Instant::now();
        let mut client = Client::new(connection);
        let ended = tokio::select! {
            biased;
            _ = &mut stopped => None,
            ended = topic.serve(&mut client) => Some(ended),
        };
        client.end().await;
        match ended {
            None => return,
            Some(Ok(()) | Err(Failure::Gone)) => topic.lost(None),
            Some(Err(failure)) => {
                topic.lost(Some(failure.to_string()));
                if began.elapsed() > RETRY_MAX {
                    wait = RETRY_MIN;
                }
                tokio::select! {
                    biased;
                    _ = &mut stopped => return,
                    () = sleep(wait) => {}
                }
                wait = Duration::min(wait * 2, RETRY_MAX);
            }
        }
    }
}

/// The connection as soon as there is one; None if no more connections are made.
async fn up(link: &mut watch::Receiver<Link>, topic: &mut impl Topic) -> Option<Connection> {
    loop {
        let now = link.borrow_and_update().clone();
        match now {
            Link::Up(connection) if !connection.is_closed() => return Some(connection),
            Link::Up(_) | Link::Connecting => {}
            Link::Down(reason) => topic.lost(Some(reason.to_string())),
        }
        link.changed().await.ok()?;
    }
}

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
