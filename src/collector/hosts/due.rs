//! What is due for hosts, and when: pings, giving up, forgetting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Hosts;
use super::host::{Host, State};
use super::types::{Due, Forgotten, NotForgotten, Renamed, Timing};
use super::weight::Weight;
use crate::curve::keys::PublicKey;

impl Hosts {
    /// When [`take_due`](Self::take_due) may have something next; None if no host is known.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        let attention = self.agenda.first().map(|(at, _)| *at);
        let forgotten = self.gone.first();
        let forgotten = forgotten.map(|(gone, _)| *gone + self.timing.forget_after);
        [attention, forgotten].into_iter().flatten().min()
    }

    /// The next action that is due at `now`; to be called until there is none.
    pub fn take_due(&mut self, now: Instant) -> Option<Due> {
        while let Some((at, _)) = self.agenda.first()
            && *at <= now
        {
            let Some((_, name)) = self.agenda.pop_first() else {
                break;
            };
            if let Some(due) = self.attend(now, name) {
                return Some(due);
            }
        }
        let (gone, name) = self.gone.first()?;
        if *gone + self.timing.forget_after > now {
            return None;
        }
        let name = Arc::clone(name);
        // It is gone, and may be forgotten.
        self.forget(&name).ok().map(Due::Forgotten)
    }

    /// Decides about a host that was taken off the agenda.
    fn attend(&mut self, now: Instant, name: Arc<str>) -> Option<Due> {
        let (timing, hearing_since) = (self.timing, self.hearing_since);
        let Some(host) = self.table.get_mut(&name) else {
            unreachable!("a host leaves the table with its entry in the agenda");
        };
        let given_up = given_up(timing, hearing_since, host);
        if given_up <= now {
            let new = self.renamed_to(&name);
            let due = self.give_up(now, Arc::clone(&name));
            let Some((new, old)) = new.and_then(|new| Some((new, self.forget(&name).ok()?))) else {
                return Some(due);
            };
            let was_there = true;
            return Some(Due::Renamed(Renamed {
                old,
                new,
                was_there,
            }));
        }
        let renamed = self.give_up_old_name(now, &name);
        let Some(host) = self.table.get_mut(&name) else {
            unreachable!("it is its old name that was forgotten");
        };
        if renamed.is_some() {
            // Its ping is next.
            host.place = now;
            self.agenda.insert((now, name));
            return renamed;
        }
        let mut ping = None;
        host.place = given_up;
        let before = host.weight();
        if let State::Reporting {
            routing_id,
            metrics,
            ping_due,
        } = &mut host.state
        {
            metrics.expire(now);
            if *ping_due <= now {
                *ping_due = next_beat(*ping_due, timing.ping_interval, now);
                let to = routing_id.clone();
                let name = Arc::clone(&name);
                ping = Some(Due::Ping { name, to });
            }
            host.place = (*ping_due).min(given_up);
        }
        let after = host.weight();
        self.kept = self.kept.minus(before).plus(after);
        self.peers
            .weigh(host.payers(), host.routing_id(), before, after);
        self.agenda.insert((host.place, name));
        ping
    }

    /// A host was told something that shows its agent that the collector is there, as a ping does: the next
    /// ping comes an interval later, and a fifth, in which it may be told more.
    pub fn told(&mut self, now: Instant, name: &str) {
        let interval = self.timing.ping_interval;
        let host = self.table.get_mut(name);
        if let Some(State::Reporting { ping_due, .. }) = host.map(|host| &mut host.state) {
            // When the agenda comes to it, it is put off.
            *ping_due = (*ping_due).max(now + interval + interval / 5);
        }
    }

    /// Marks a host that was taken off the agenda as gone.
    fn give_up(&mut self, now: Instant, name: Arc<str>) -> Due {
        let Some(host) = self.table.get_mut(&name) else {
            unreachable!("a host that is given up is in the table");
        };
        let before = host.weight();
        self.kept = self.kept.minus(before);
        self.peers
            .weigh(host.payers(), host.routing_id(), before, Weight::NONE);
        let refusable = host.routing_id().filter(|id| host.understands_refusal(id));
        host.refusable = refusable.cloned();
        host.let_go_of_model();
        let routing_id = match std::mem::replace(&mut host.state, State::Gone) {
            State::Reporting { routing_id, .. } => {
                self.peers.leave(&routing_id);
                Some(routing_id)
            }
            State::Expected => {
                self.expected -= 1;
                None
            }
            State::Gone => None,
        };
        (host.times.since, host.place) = (now, now);
        let silence = now.saturating_duration_since(host.times.last_seen);
        self.peers.went(host.key, (now, Arc::clone(&name)));
        self.gone.insert((now, Arc::clone(&name)));
        Due::Gone {
            name,
            routing_id,
            silence,
        }
    }

    /// Forgets a host that does not report.
    ///
    /// # Errors
    ///
    /// [`NotForgotten`].
    pub fn forget(&mut self, name: &str) -> Result<Forgotten, NotForgotten> {
        let (name, host) = self
            .table
            .get_key_value(name)
            .ok_or(NotForgotten::Unknown)?;
        let entry = (host.place, Arc::clone(name));
        let (key, last_seen, address) = (host.key, host.times.last_seen, host.address.clone());
        match host.state {
            State::Reporting { .. } => return Err(NotForgotten::Reporting),
            State::Expected => {
                self.agenda.remove(&entry);
                self.expected -= 1;
            }
            State::Gone => {
                self.gone.remove(&entry);
                self.peers.not_gone(host.key, &entry);
            }
        }
        if let Some(host) = self.table.remove(&entry.1) {
            let before = host.weight();
            self.kept = self.kept.minus(before);
            self.peers.weigh(host.payers(), None, before, Weight::NONE);
            self.peers.depart(host.newcomer, Weight::NONE);
            self.peers.disown(host.key);
            self.machines.disown(host.key, &entry.1);
        }
        let (_, name) = entry;
        Ok(Forgotten {
            name,
            key,
            address,
            last_seen,
        })
    }

    /// Makes room for a new host of this key by forgetting a gone host: the oldest of the key
    /// that has the most hosts, if it has more than the new host's key. Returns the forgotten
    /// host.
    pub(super) fn make_room(&mut self, key: Option<PublicKey>) -> Option<Forgotten> {
        let own = key.map_or(0, |key| self.peers.hosts_of(key));
        let name = match self.peers.oldest_of_crowd() {
            Some((hosts, name)) => (hosts > own).then_some(name),
            // Those without a key.
            None => self.gone.first().map(|(_, name)| Arc::clone(name)),
        };
        name.and_then(|name| self.forget(&name).ok())
    }

    /// The collector itself received nothing (stopped, starved, suspended) until `now`: that
    /// time does not count as a host's silence.
    pub fn was_deaf(&mut self, now: Instant) {
        self.hearing_since = Some(now);
    }
}

/// When a host counts as gone, unless it is heard from before.
pub(super) fn given_up(timing: Timing, hearing_since: Option<Instant>, host: &Host) -> Instant {
    let heard = match host.state {
        State::Reporting { .. } => host.times.last_seen,
        // The time of the collector's restart does not count as silence.
        State::Expected | State::Gone => host.times.since,
    };
    hearing_since.map_or(heard, |since| since.max(heard)) + timing.host_timeout
}

/// The first ping after `now`, in the rhythm of `due`: missed ones are skipped.
fn next_beat(due: Instant, interval: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(due).as_nanos();
    let into_beat = late.checked_rem(interval.as_nanos()).unwrap_or(0);
    let into_beat = Duration::from_nanos(u64::try_from(into_beat).unwrap_or(0));
    now + interval.saturating_sub(into_beat)
}
