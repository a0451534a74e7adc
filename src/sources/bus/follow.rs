//! The task in which a source listens to its service, from one connection to the next.

use std::{ops::Deref, sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep},
};
use zbus::Connection;

use super::{Client, Failure, Line, Link, RETRY_MAX, RETRY_MIN, SharedState};
use crate::sources::context::Context;

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
