//! The text that answers begin with. All that are asked for at about the same time share it.
//!
//! Making it takes a copy of the table of hosts and sorts all series. However many ask, and however
//! fast, that is done twice in [`SHARED_FOR`] at most, and for a third of the time. While they ask,
//! the next one is made before it is needed: those who wait for it would have all connections.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use tokio::sync::watch;

use super::scrapes::Refused;
use crate::collector::handle::Stopping;
use crate::collector::prometheus::exposition::Exposition;

/// How many pieces of 64 KiB are shared. They are more than [the buffer](super::listen) on this
/// side and that of a peer hold by default together: who has taken all of them reads.
pub(super) const BEGINNING_PIECES: usize = 16;

/// For how long answers begin with the same text: no host reports more often than once a second.
/// Those who take it hold on to it, 5 s at most, so this bounds how many there are.
pub(super) const SHARED_FOR: Duration = Duration::from_millis(250);

/// Text that took long to make is used for this many times as long.
const SHARED_FACTOR: u32 = 4;

/// What several answers begin with.
#[derive(Debug)]
pub(super) struct Edition {
    /// Its text, in pieces.
    pub(super) beginning: Vec<Bytes>,
    /// What comes after it, if that is not all.
    pub(super) rest: Option<Exposition>,
}

/// The current one, and who makes the next.
#[derive(Debug)]
pub(super) struct Editions(watch::Sender<State>);

#[derive(Debug)]
struct State {
    made: Result<Arc<Edition>, Refused>,
    /// How long it is used, if there is one.
    used: Option<Used>,
    /// The next one is being made.
    under_way: bool,
}

#[derive(Clone, Copy, Debug)]
struct Used {
    /// Who asks after this has the next one made, and does not wait for it.
    renew: Instant,
    /// Who asks after this waits for the next one.
    until: Instant,
}

impl Default for Editions {
    fn default() -> Self {
        Self(watch::Sender::new(State {
            made: Err(Refused::Stopping(Stopping)),
            used: None,
            under_way: false,
        }))
    }
}

impl Editions {
    /// The current one, or the next; `make` makes that, and then calls [`made`](Self::made). This
    /// goes on where who asked first does not wait for it.
    pub(super) async fn current<F>(&self, make: impl FnOnce() -> F) -> Result<Arc<Edition>, Refused>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut changes = self.0.subscribe();
        let mut current = None;
        let mut begins = false;
        self.0.send_if_modified(|state| {
            let now = Instant::now();
            let used = state.used.filter(|used| now < used.until);
            current = used.map(|_| state.made.clone());
            if used.is_none_or(|used| now >= used.renew) {
                begins = !state.under_way;
                state.under_way = true;
            }
            false
        });
        if begins {
            tokio::spawn(make());
        }
        if let Some(current) = current {
            return current;
        }
        // The other half is in `self`.
        let _ = changes.changed().await;
        changes.borrow().made.clone()
    }

    /// The next one is made, since this time, or cannot be.
    pub(super) fn made(&self, began: Instant, made: Result<Arc<Edition>, Refused>) {
        let now = Instant::now();
        let shared = SHARED_FOR.max(now.saturating_duration_since(began) * SHARED_FACTOR);
        self.0.send_replace(State {
            used: made.is_ok().then(|| Used {
                renew: now + shared / 2,
                until: now + shared,
            }),
            made,
            under_way: false,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::FutureExt as _;

    use super::*;

    fn edition() -> Arc<Edition> {
        Arc::new(Edition {
            beginning: Vec::new(),
            rest: None,
        })
    }

    /// Asks, and counts what is made.
    async fn ask(
        editions: &Arc<Editions>,
        times: &Arc<AtomicU32>,
        began: Instant,
    ) -> Result<Arc<Edition>, Refused> {
        let (next, times) = (Arc::clone(editions), Arc::clone(times));
        let make = || async move {
            tokio::task::yield_now().await;
            times.fetch_add(1, Ordering::Relaxed);
            next.made(began, Ok(edition()));
        };
        editions.current(make).await
    }

    #[tokio::test]
    async fn all_that_ask_at_a_time_share_one() {
        let (editions, made) = (Arc::default(), Arc::default());
        let now = Instant::now();
        let ask_now = || ask(&editions, &made, now);
        let (first, second, third) = tokio::join!(ask_now(), ask_now(), ask_now());
        let first = first.unwrap();
        for other in [second, third] {
            assert!(Arc::ptr_eq(&other.unwrap(), &first));
        }
        // So do those who ask a little later.
        let next = ask(&editions, &made, now).await.unwrap();
        assert!(Arc::ptr_eq(&next, &first));
        assert_eq!(made.load(Ordering::Relaxed), 1);
        // What took longer is shared for longer.
        let earlier = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        editions.made(earlier, Ok(edition()));
        let used = editions.0.borrow().used.unwrap();
        assert!(used.until > Instant::now() + Duration::from_secs(3));
    }

    #[tokio::test]
    async fn no_request_waits_for_the_next_one_while_the_last_one_is_good() {
        let (editions, made) = (Arc::<Editions>::default(), Arc::default());
        let now = Instant::now();
        editions.made(now, Ok(edition()));
        let first = editions.0.borrow().made.clone().unwrap();
        editions.0.send_modify(|state| {
            let far = now + Duration::from_secs(3600);
            state.used = Some(Used {
                renew: now,
                until: far,
            });
        });
        for _ in 0..2 {
            let current = ask(&editions, &made, now).now_or_never().unwrap();
            assert!(Arc::ptr_eq(&current.unwrap(), &first));
        }
        let mut changes = editions.0.subscribe();
        changes.changed().await.unwrap();
        let next = ask(&editions, &made, now).await.unwrap();
        assert!(!Arc::ptr_eq(&next, &first));
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn what_could_not_be_made_is_made_at_the_next_request() {
        let (editions, made) = (Arc::<Editions>::default(), Arc::default());
        let next = Arc::clone(&editions);
        let fails = || async move { next.made(Instant::now(), Err(Refused::NoThread)) };
        assert_eq!(editions.current(fails).await.err(), Some(Refused::NoThread));
        let made = ask(&editions, &made, Instant::now()).await;
        assert!(made.is_ok());
    }

    /// Who asked first has gone before it was there.
    #[tokio::test]
    async fn it_is_made_though_who_asked_first_has_gone() {
        let (editions, made) = (Arc::default(), Arc::default());
        let now = Instant::now();
        assert!(ask(&editions, &made, now).now_or_never().is_none());
        assert!(ask(&editions, &made, now).await.is_ok());
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }
}
