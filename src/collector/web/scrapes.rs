//! How the hosts' metrics become an answer.
//!
//! Each answer is made by a thread of its own, piece by piece, as its reader takes them. Of
//! those threads one works at a time: the others would only take the processor from the
//! agents' messages. A reader that is slow holds nobody up, and has its thread until its
//! connection's time is over.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Instant, SystemTime};

use tokio::sync::mpsc;

use super::body::Piece;
use super::clock::Clock;
use super::places::{PlaceId, Places, Taken};
use crate::collector::complaints::Throttle;
use crate::collector::events;
use crate::collector::handle::{Handle, Stopping};
use crate::collector::hosts::snapshot::Snapshot;
use crate::collector::prometheus::exposition::{Exposition, PIECE_BYTES};
use crate::collector::prometheus::own::{Figure, of_process};

/// Pieces that wait for the reader, so that it does not wait for each.
const WAITING_PIECES: usize = 4;

/// Room for a piece: the last line in it may be long.
const ROOM: usize = PIECE_BYTES + 4096;

/// Makes answers.
#[derive(Debug)]
pub(super) struct Scrapes {
    handle: Handle,
    started: SystemTime,
    places: Mutex<Places<Clock>>,
    turn: Mutex<()>,
    no_thread: Mutex<Throttle>,
}

/// Why there is no answer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("too many ask for this; please come again")]
    Busy,
    #[error("there is no thread for this; please come again")]
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
            places: Mutex::default(),
            turn: Mutex::default(),
            no_thread: Mutex::default(),
        })
    }

    /// What the collector's task says.
    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Begins an answer to this peer, whose connection this clock ends. Another one that
    /// stands still may have to go for it.
    pub(super) async fn begin(
        self: &Arc<Self>,
        peer: IpAddr,
        clock: &Clock,
    ) -> Result<(mpsc::Receiver<Piece>, Reading), Refused> {
        let place = Place::take(self, peer, clock).map_err(|Taken| Refused::Busy)?;
        let reading = Reading {
            scrapes: Arc::clone(self),
            id: place.id,
        };
        let snapshot = self.handle.snapshot().await?;
        let figures = self.handle.figures().await?;
        let (sender, pieces) = mpsc::channel(WAITING_PIECES);
        let started = thread::Builder::new()
            .name("scrape".to_owned())
            .spawn(move || place.scrapes.make(snapshot, figures, &sender));
        if let Err(error) = started {
            if let Some(untold) = locked(&self.no_thread).note(Instant::now()) {
                events::scrape_without_thread(&error, untold);
            }
            return Err(Refused::NoThread);
        }
        Ok((pieces, reading))
    }

    /// The thread.
    fn make(&self, snapshot: Snapshot, mut figures: Vec<Figure>, reader: &mpsc::Sender<Piece>) {
        let mut exposition = {
            let _turn = locked(&self.turn);
            figures.extend(of_process(self.started));
            Exposition::begin(snapshot, figures)
        };
        loop {
            let mut text = Vec::with_capacity(ROOM);
            let last = {
                let _turn = locked(&self.turn);
                exposition.fill(&mut text)
            };
            // A reader that has gone needs no more.
            if reader.blocking_send(Piece { text, last }).is_err() || last {
                return;
            }
        }
    }
}

/// A place among the answers, given back when dropped.
#[derive(Debug)]
struct Place {
    scrapes: Arc<Scrapes>,
    id: PlaceId,
}

impl Place {
    fn take(scrapes: &Arc<Scrapes>, peer: IpAddr, clock: &Clock) -> Result<Self, Taken> {
        let taken = locked(&scrapes.places).take(Instant::now(), peer, clock.clone());
        let (id, other) = taken?;
        if let Some(other) = other {
            other.end();
        }
        Ok(Self {
            scrapes: Arc::clone(scrapes),
            id,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.scrapes.places).give_back(self.id);
    }
}

/// The other end of an answer: its reader.
#[derive(Debug)]
pub(super) struct Reading {
    scrapes: Arc<Scrapes>,
    id: PlaceId,
}

impl Reading {
    /// It has something to take since then, or nothing.
    pub(super) fn stands_still(&self, since: Option<Instant>) {
        locked(&self.scrapes.places).stands_still(self.id, since);
    }
}

/// A panic ends the process before anybody could find the lock poisoned.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
