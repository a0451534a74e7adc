//! How the hosts' metrics become an answer.
//!
//! An answer begins with text that all share who ask at about the same time (`editions.rs`). It
//! costs nothing to send, and no place: everyone who connects gets it at once. It is more than the
//! kernels take without a reader, so who has taken it reads.
//!
//! The rest is made by a thread for each answer, piece by piece, as its reader takes them. Of
//! those threads one works at a time: the others would only take the processor from the agents'
//! messages. Connections that have read a whole answer before have their turn first: new ones
//! that come and go leave them the processor. A slow reader does not delay others, and has its
//! thread until its connection's time is over.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use hyper::body::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::body::Piece;
use super::clock::Clock;
use super::editions::{BEGINNING_PIECES, Edition, Editions};
use super::places::{self, PlaceId, Places, Taken};
use super::turn::Turn;
use crate::base::monitor::Lock;
use crate::base::offload::on_a_thread;
use crate::base::throttle::Throttle;
use crate::collector::events;
use crate::collector::handle::{Handle, Stopping};
use crate::collector::prometheus::exposition::{Exposition, PIECE_BYTES};
use crate::collector::prometheus::own::of_process;

/// Pieces that wait for the reader, so that it does not wait for each; one that never reads costs
/// no more.
const WAITING_PIECES: usize = 2;

/// How long a request waits for a place: half of what Prometheus waits for the whole answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often those that wait look for a place. That a reader stands still is no event, and
/// there are few of them.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Room for a piece: the last line in it may be long.
const ROOM: usize = PIECE_BYTES + 4096;

/// Makes answers.
#[derive(Debug)]
pub(super) struct Scrapes {
    handle: Handle,
    started: SystemTime,
    editions: Editions,
    places: Lock<Places<Clock>>,
    turn: Turn,
    no_thread: Lock<Throttle>,
}

/// Why there is no answer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("too many requests for this; try again")]
    Busy,
    #[error("the server cannot start a thread for this; try again")]
    NoThread,
    #[error(transparent)]
    Stopping(#[from] Stopping),
}

impl Scrapes {
    /// Makes them of what the collector's task says.
    pub(super) fn new(handle: Handle) -> Arc<Self> {
        Arc::new(Self {
            handle,
            started: SystemTime::now(),
            editions: Editions::default(),
            places: Lock::default(),
            turn: Turn::default(),
            no_thread: Lock::default(),
        })
    }

    /// What the collector's task says.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// What an answer to this peer begins with; `known` if its connection has read a whole answer
    /// before.
    pub(super) async fn begin(
        self: &Arc<Self>,
        peer: IpAddr,
        known: bool,
    ) -> Result<Arc<Edition>, Refused> {
        let make = || self.clone().make_edition();
        let edition = self.editions.current(make).await?;
        let long = edition.rest.is_some();
        if long && !known && self.places.lock().is_crowded(peer) {
            return Err(Refused::Busy);
        }
        Ok(edition)
    }

    async fn make_edition(self: Arc<Self>) {
        let began = Instant::now();
        let edition = self.edition().await;
        self.editions.made(began, edition);
    }

    async fn edition(self: &Arc<Self>) -> Result<Arc<Edition>, Refused> {
        let snapshot = self.handle.snapshot().await?;
        let mut figures = self.handle.figures().await?;
        let (sender, edition) = oneshot::channel();
        let scrapes = Arc::clone(self);
        self.spawn(move || {
            let _turn = scrapes.turn.take(true);
            figures.extend(of_process(scrapes.started));
            let edition = edition_of(Exposition::begin(snapshot, figures));
            // Its receiver has gone if the server ends.
            let _ = sender.send(Arc::new(edition));
        })?;
        edition.await.map_err(|_| Refused::Stopping(Stopping))
    }

    /// Goes on with the answer on a connection that this clock ends, as soon as there is a place.
    /// Another one that stands still may have to go for it.
    pub(super) async fn go_on(
        self: Arc<Self>,
        rest: Exposition,
        peer: IpAddr,
        known: bool,
        clock: Clock,
    ) -> Result<(mpsc::Receiver<Piece>, Reading), Refused> {
        let waiting = Waiting::begin(&self, peer, known).map_err(|Taken| Refused::Busy)?;
        let place = waiting.place(&clock).await.map_err(|Taken| Refused::Busy)?;
        let reading = Reading {
            scrapes: Arc::clone(&self),
            id: place.id,
        };
        let (sender, pieces) = mpsc::channel(WAITING_PIECES);
        self.spawn(move || place.scrapes.make(known, rest, &sender))?;
        Ok((pieces, reading))
    }

    fn spawn(&self, work: impl FnOnce() + Send + 'static) -> Result<(), Refused> {
        let started = on_a_thread("scrape", work);
        if let Err(error) = started {
            if let Some(untold) = self.no_thread.lock().note(Instant::now()) {
                events::scrape_without_thread(&error, untold);
            }
            return Err(Refused::NoThread);
        }
        Ok(())
    }

    /// The thread of one answer.
    fn make(&self, known: bool, mut exposition: Exposition, reader: &mpsc::Sender<Piece>) {
        loop {
            let mut text = Vec::with_capacity(ROOM);
            let last = {
                let _turn = self.turn.take(known);
                // A reader that has gone needs no more.
                if reader.is_closed() {
                    return;
                }
                exposition.fill(&mut text)
            };
            if reader.blocking_send(Piece { text, last }).is_err() || last {
                return;
            }
        }
    }
}

fn edition_of(mut exposition: Exposition) -> Edition {
    let mut beginning = Vec::new();
    let mut last = false;
    while !last && beginning.len() < BEGINNING_PIECES {
        let mut text = Vec::with_capacity(ROOM);
        last = exposition.fill(&mut text);
        text.shrink_to_fit();
        beginning.push(Bytes::from(text));
    }
    let rest = (!last).then_some(exposition);
    Edition { beginning, rest }
}

/// A place among the answers, given back when dropped.
#[derive(Debug)]
struct Place {
    scrapes: Arc<Scrapes>,
    id: PlaceId,
}

/// A turn to wait for a place, given up when dropped.
#[derive(Debug)]
struct Waiting {
    scrapes: Arc<Scrapes>,
    id: PlaceId,
}

impl Waiting {
    fn begin(scrapes: &Arc<Scrapes>, peer: IpAddr, known: bool) -> Result<Self, Taken> {
        let id = scrapes.places.lock().wait(peer, known)?;
        Ok(Self {
            scrapes: Arc::clone(scrapes),
            id,
        })
    }

    /// A place, as soon as there is one.
    async fn place(self, clock: &Clock) -> Result<Place, Taken> {
        let end = Instant::now() + PATIENCE;
        loop {
            let now = Instant::now();
            let turn = self
                .scrapes
                .places
                .lock()
                .take(now, self.id, clock.clone())?;
            if let places::Turn::Now(other) = turn {
                if let Some(other) = other {
                    other.end();
                }
                let scrapes = Arc::clone(&self.scrapes);
                return Ok(Place {
                    scrapes,
                    id: self.id,
                });
            }
            if now >= end {
                return Err(Taken);
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.scrapes.places.lock().give_up(self.id);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.scrapes.places.lock().give_back(self.id);
    }
}

/// The other end of an answer: its reader.
#[derive(Debug)]
pub(super) struct Reading {
    scrapes: Arc<Scrapes>,
    id: PlaceId,
}

impl Reading {
    /// It has something to take now, or has nothing.
    pub(super) fn stands_still(&self, now: Instant, still: bool) {
        self.scrapes.places.lock().stands_still(self.id, now, still);
    }
}
