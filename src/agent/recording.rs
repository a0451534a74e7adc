//! What collectors of the second wire are told: samples are recorded as they are taken, and handed
//! out to each collector as messages.
//!
//! Owns the history, the dictionary by which samples are coded, and what each link has said and was
//! told. Refuses to send: the agent's task asks what is next and gives it to the connection, which
//! knows the socket. A collector of the first wire is not known here but by its silence.

mod facts;
mod link;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use self::facts::{Facts, points};
use self::link::Link;
use super::connection::Serial;
use super::history::definition::FirstIds;
use super::history::types::{HistoryEvent, Limits, Moment, Standing, Status, Usage};
use super::history::{Finished, History};
use crate::base::clock::boottime_usec;
use crate::metrics::Samples;
use crate::protocol::data::{Acknowledged, Dictionary, Offer, Receipt, Sent};
use crate::sources::{Keeping, KeptFor};

/// Bytes of samples in one message, so that none is late by much because of what goes before it, and
/// one that is lost with its link is soon sent again. A backlog of minutes fits.
const MESSAGE_BYTES: usize = 64 * 1024;

/// What may be under way to one collector, whatever it offers: it may wait in this process, as a
/// whole, where the collector's host takes nothing.
const MOST_UNDER_WAY: usize = 1024 * 1024;

/// The id of this boot.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// Now, by both clocks.
pub(crate) fn moment() -> Moment {
    let time = match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        // A clock that was never set.
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(0, |micros| -micros),
    };
    Moment {
        time,
        boottime: boottime_usec(),
    }
}

/// The 16 bytes of the id of this boot; zeros where the kernel does not tell.
pub(crate) fn boot_id() -> [u8; 16] {
    let text = fs::read_to_string(BOOT_ID_FILE).unwrap_or_default();
    let digits = text.trim_end().replace('-', "");
    u128::from_str_radix(&digits, 16)
        .map(u128::to_be_bytes)
        .unwrap_or_default()
}

/// What is next for a collector.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// The bodies of DATA messages, to be sent in this order.
    pub(crate) bodies: Vec<Vec<u8>>,
    /// The link that they are for.
    pub(crate) link: u64,
    /// They are what is now: the sample that was asked for is among them.
    pub(crate) fresh: bool,
}

/// The agent's side of the second wire.
pub(crate) struct Recording {
    history: History,
    dictionary: Dictionary,
    facts: Facts,
    boot: [u8; 16],
    /// The links whose collectors take history, by the names of the collectors.
    links: BTreeMap<String, Link>,
    /// By how much collectors have moved the times of samples that they were told, in µs.
    moved: BTreeMap<String, i64>,
}

impl Recording {
    /// Goes on with what an earlier run has left below the state directory. Reads files.
    pub(crate) fn open<'a>(
        state_directory: Option<&Path>,
        limits: Limits,
        collectors: impl Iterator<Item = &'a str> + Clone,
        boot: [u8; 16],
    ) -> Self {
        let history = History::open(state_directory, limits, collectors, moment());
        let (series, schemas) = history.last_ids();
        Self {
            history,
            dictionary: Dictionary::after(series, schemas),
            facts: Facts::default(),
            boot,
            links: BTreeMap::new(),
            moved: BTreeMap::new(),
        }
    }

    /// Returns true if some collector needs the samples to come.
    pub(crate) fn wanted(&self) -> bool {
        self.history.wanted()
    }

    /// Returns true if no model has been sampled, of which the facts are known.
    pub(crate) fn lacks_facts(&self) -> bool {
        self.facts.are_unknown()
    }

    /// Takes the facts from a model that was sampled.
    pub(crate) fn learn(&mut self, model: &Samples) {
        self.facts.learn(model);
    }

    /// Keeps a sample whose sources were read at that time; its number.
    pub(crate) fn record(&mut self, samples: &Samples, at: Moment) -> Option<u64> {
        let facts = self.facts.due(at.boottime);
        let facts = facts.into_iter().flat_map(Samples::iter);
        let told = self.dictionary.sample(points(samples, facts));
        let (series, schema) = self.dictionary.first_ids();
        let first = FirstIds { series, schema };
        self.history.append(told, self.boot, first, at)
    }

    /// A collector says on this link that it takes history.
    pub(crate) fn offered(&mut self, collector: &str, serial: Serial, number: u64, offer: Offer) {
        let window = usize::try_from(offer.window).unwrap_or(MOST_UNDER_WAY);
        let window = window.min(MOST_UNDER_WAY);
        if let Some(micros) = offer.clock {
            self.moved.insert(collector.to_owned(), micros);
        }
        match self.links.get_mut(collector) {
            Some(link) if link.is(serial, number) => link.offer = offer,
            _ => {
                self.history.link_lost(collector);
                let link = Link::new(serial, number, offer);
                self.links.insert(collector.to_owned(), link);
            }
        }
        self.history.offered(collector, window, moment());
    }

    /// A collector has answered and does not take history.
    pub(crate) fn declined(&mut self, collector: &str) {
        self.links.remove(collector);
        self.history.declined(collector, moment());
    }

    /// A collector has acknowledged samples on this link. Returns false if that cannot be.
    pub(crate) fn acknowledged(
        &mut self,
        collector: &str,
        serial: Serial,
        number: u64,
        receipt: Receipt,
    ) -> bool {
        let link = self.links.get(collector);
        if !link.is_some_and(|link| link.is(serial, number)) {
            // That of a link before comes late: the samples are sent again, and acknowledged again.
            return true;
        }
        let Receipt { stream, seq } = receipt;
        self.history.acked(collector, stream, seq, moment())
    }

    /// This link is down.
    pub(crate) fn link_lost(&mut self, collector: &str, serial: Serial, number: u64) {
        let link = self.links.get(collector);
        if link.is_some_and(|link| link.is(serial, number)) {
            self.links.remove(collector);
            self.history.link_lost(collector);
        }
    }

    /// The collectors that take history now.
    pub(crate) fn linked(&self) -> Vec<String> {
        self.links.keys().cloned().collect()
    }

    /// What is next for a collector, to be sent on the link that it names. `fresh` is the number of
    /// the sample that was taken just now, where nothing else will tell this collector of it.
    pub(crate) fn next(&mut self, collector: &str, fresh: Option<u64>) -> Option<Outgoing> {
        let link = self.links.get_mut(collector)?;
        let now = moment();
        let batch = self.history.next_batch(collector, MESSAGE_BYTES, now)?;
        let now_from = fresh.filter(|seq| (batch.first..=batch.last).contains(seq));
        let sent = Sent {
            time: now.time,
            boottime: now.boottime,
            boot: self.boot,
            behind: batch.behind,
            now_from: now_from.unwrap_or(0),
            moved: self.moved.get(collector).copied().unwrap_or(0),
        };
        let bodies = link.bodies(&batch, &sent);
        self.history
            .sent(collector, bodies.iter().map(Vec::len).sum());
        Some(Outgoing {
            bodies,
            link: link.number,
            fresh: now_from.is_some(),
        })
    }

    /// Puts settings in force. `serial` tells which connection of a name there is now.
    pub(crate) fn configure<'a>(
        &mut self,
        limits: Limits,
        collectors: impl Iterator<Item = &'a str> + Clone,
        serial: impl Fn(&str) -> Option<Serial>,
    ) {
        let gone = self
            .links
            .iter()
            .filter(|(name, link)| serial(name.as_str()) != Some(link.serial));
        let gone: Vec<String> = gone.map(|(name, _)| name.clone()).collect();
        for name in gone {
            self.links.remove(&name);
            self.history.link_lost(&name);
        }
        self.moved
            .retain(|name, _| collectors.clone().any(|known| known == name));
        self.history.configure(limits, collectors, moment());
    }

    /// Memory is short.
    pub(crate) fn spare_memory(&mut self) {
        self.history.spare_memory();
    }

    /// When [`tick`](Self::tick) is due, unless something else happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let due = self.history.deadline()?;
        let wait = due.saturating_sub(boottime_usec());
        Instant::now().checked_add(Duration::from_micros(wait))
    }

    /// Starts what is due with files.
    pub(crate) fn tick(&mut self) {
        self.history.tick(moment());
    }

    /// Waits until a job with files has ended. Cancel safe.
    pub(crate) async fn finished_job(&mut self) -> Finished {
        self.history.finished_job().await
    }

    /// A job with files has ended: there may be something next for any collector.
    pub(crate) fn finished(&mut self, job: Finished) {
        self.history.finished(job, moment());
    }

    /// Ends: what somebody still needs is on disk when this returns.
    pub(crate) async fn stopped(&mut self) {
        self.history.stopped(moment).await;
    }

    /// How far a collector is.
    pub(crate) fn status(&self, collector: &str) -> Option<Status> {
        self.history.status(collector)
    }

    /// What is kept for all collectors together.
    pub(crate) fn usage(&self) -> Usage {
        self.history.usage()
    }

    /// Says what is kept at this time, for the metrics of the agent itself.
    pub(crate) fn say_keeping(&self, keeping: &mut Keeping, now: Moment) {
        let usage = self.history.usage();
        (keeping.memory, keeping.disk) = (usage.memory as u64, usage.disk);
        keeping.collectors.clear();
        let known = self.history.statuses();
        let known = known.filter(|(_, status)| status.standing != Standing::Declined);
        keeping
            .collectors
            .extend(known.map(|(name, status)| KeptFor {
                collector: name.to_owned(),
                behind: status.behind,
                behind_usec: status.since.map_or(0, |since| {
                    u64::try_from(now.time.saturating_sub(since)).unwrap_or(0)
                }),
                lost: status.lost.total(),
            }));
    }

    /// What the receipts of a collector mean; None while it does not take history.
    pub(crate) fn acknowledges(&self, collector: &str) -> Option<Acknowledged> {
        Some(self.links.get(collector)?.offer.acknowledged)
    }

    /// What happened since this was asked for last.
    pub(crate) fn take_events(&mut self) -> Vec<HistoryEvent> {
        self.history.take_events()
    }
}

#[cfg(test)]
mod tests;
