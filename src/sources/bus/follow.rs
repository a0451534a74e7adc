//! The task in which a source listens to its service, from one connection to the next.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep},
};
use zbus::Connection;

use super::{Client, Failure, Line, Link, RETRY_MAX, RETRY_MIN};

/// What a source does with a connection.
pub(in crate::sources) trait Topic: Send + 'static {
    /// Asks, listens and updates the shared state, until that fails.
    fn serve(&mut self, client: &mut Client) -> impl Future<Output = Failure> + Send;

    /// Nothing is known any more. Why, where it is worth a word: a bus that is only being
    /// restarted is not.
    fn lost(&mut self, why: Option<String>);
}

/// A task that listens; it ends when this is dropped.
pub(in crate::sources) struct Follower {
    _stop: oneshot::Sender<()>,
    _line: Arc<Line>,
}

/// Begins to listen. Must be called within a runtime, which a caller with a [`Line`] is.
pub(in crate::sources) fn follow(line: Arc<Line>, topic: impl Topic) -> Follower {
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(run(line.link.clone(), stopped, topic));
    Follower {
        _stop: stop,
        _line: line,
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
        let failure = tokio::select! {
            biased;
            _ = &mut stopped => None,
            failure = topic.serve(&mut client) => Some(failure),
        };
        client.end().await;
        match failure {
            None => return,
            Some(Failure::Gone) => topic.lost(None),
            Some(failure) => {
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
