//! The speeds of links, read beside the loop.
//!
//! Owns when they are read. Reading one takes the lock that every change of the network's
//! configuration takes, so where containers come and go it waits, and may wait long. The speed of a
//! link is read when it appears or comes up, and all of them once in [`REFRESH`]: a bond has
//! another speed with each port that it gains. There is never more than one reading at a time.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use super::link::{Link, NoSpeed, read_speed};
use crate::sources::{
    background::{Prober, Ticket},
    instances::Instances,
};

/// How long a speed holds while its link stays up.
pub const REFRESH: Duration = Duration::from_secs(60);

/// What came of reading one interface's speed.
type Answer = (Box<str>, Result<Option<u64>, NoSpeed>);

/// Asks for speeds.
#[derive(Debug)]
pub struct Speeds {
    prober: Prober,
    asked: Option<Asked>,
    refreshed: Option<Instant>,
}

#[derive(Debug)]
struct Asked {
    ticket: Ticket,
    answers: Receiver<Vec<Answer>>,
}

impl Speeds {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(prober: Prober) -> Self {
        Self {
            prober,
            asked: None,
            refreshed: None,
        }
    }

    /// Starts reading the speeds that are due.
    ///
    /// If no thread can be had for that, the next sample tries again: until then the known values
    /// hold.
    pub fn ask(&mut self, links: &mut Instances<Link>, now: Instant) {
        self.take(links);
        if self.asked.is_some() {
            self.prober.pass_by(now);
            return;
        }
        let old = |at: Instant| now.saturating_duration_since(at) >= REFRESH;
        if self.refreshed.is_none_or(old) {
            self.refreshed = Some(now);
            for (_, link) in links.iter_mut() {
                link.speed_is_old();
                // Names that two devices have swapped are seen by nothing else.
                link.close();
            }
        }
        let wanted: Vec<_> = links
            .iter_mut()
            .filter(|(_, link)| link.wants_speed())
            .map(|(name, link)| (Box::<str>::from(name), link.speed_path()))
            .collect();
        if wanted.is_empty() {
            return;
        }
        let (sender, answers) = channel();
        let job = move || {
            let read = |(name, path): (_, PathBuf)| (name, read_speed(&path));
            // The receiver may be gone.
            let _ = sender.send(wanted.into_iter().map(read).collect());
        };
        if let Ok(ticket) = self.prober.submit(job, now) {
            self.asked = Some(Asked { ticket, answers });
            links
                .iter_mut()
                .filter(|(_, link)| link.wants_speed())
                .for_each(|(_, link)| link.speed_is_asked());
        }
    }

    /// Returns true if there is nothing to wait for.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.asked
            .as_ref()
            .is_none_or(|asked| asked.ticket.finished() || asked.ticket.abandoned())
    }

    /// Takes the answers that are there.
    pub fn take(&mut self, links: &mut Instances<Link>) {
        let Some(asked) = self.asked.take_if(|asked| asked.ticket.finished()) else {
            return;
        };
        for (name, speed) in asked.answers.try_iter().flatten() {
            if let Some(link) = links.get_mut(&name) {
                link.speed_is(speed);
            }
        }
    }
}
