//! The collector's task and the writer of its state: when it is given the hosts, and what
//! is said of how that went.

use std::time::{Duration, Instant, SystemTime};

use super::events;
use super::hosts::Restored;
use super::run::Collector;
use super::store::{Outcome, Writer, restore};

/// How long the disk may take for the last words.
const FAREWELL: Duration = Duration::from_millis(1500);

/// The writer of the directory that the service manager gives, and what it remembers.
/// Without one nothing is kept.
pub(super) fn open(now: Instant) -> (Option<Writer>, Vec<Restored>) {
    let Some(directory) = super::store::directory(std::env::var_os("STATE_DIRECTORY")) else {
        return (None, Vec::new());
    };
    let restored = restore(&directory);
    if let Some(trouble) = &restored.trouble {
        events::state_damaged(trouble);
    }
    let wall = SystemTime::now();
    let hosts = restored.found.hosts.into_iter();
    let hosts: Vec<_> = hosts.map(|host| host.restored(wall)).collect();
    if !hosts.is_empty() {
        events::hosts_restored(hosts.len());
    }
    match Writer::start(directory, now) {
        Ok(writer) => (Some(writer), hosts),
        Err(error) => {
            events::state_not_kept(&error);
            (None, hosts)
        }
    }
}

impl Collector {
    /// A host came, moved or went, or said its model.
    pub(super) fn hosts_changed(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.changed();
        }
    }

    /// Has the hosts written if that is due, and says how the last writing went.
    pub(super) fn keep_hosts(&mut self, now: Instant) {
        let Some(writer) = &mut self.writer else {
            return;
        };
        if let Some(outcome) = writer.outcome() {
            tell(&outcome);
        }
        if writer.next_due().is_some_and(|due| due <= now) {
            writer.keep(now, self.hosts.snapshot(now, SystemTime::now()));
        }
    }

    /// Has the hosts written for the last time.
    pub(super) fn keep_last(&mut self) {
        let Some(writer) = self.writer.take() else {
            return;
        };
        let last = writer
            .anything_new()
            .then(|| self.hosts.snapshot(Instant::now(), SystemTime::now()));
        if let Some(outcome) = writer.finish(last, FAREWELL) {
            tell(&outcome);
        }
    }
}

fn tell(outcome: &Outcome) {
    match outcome {
        Outcome::Failed(error) => events::state_not_kept(error),
        Outcome::KeptAgain => events::state_kept_again(),
    }
}
