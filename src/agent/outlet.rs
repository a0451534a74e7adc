//! Where a sample goes: into the history, to collectors of the second wire out of it, and to those
//! of the first wire as it is.
//!
//! A collector of the second wire that has everything so far gets the new sample from the history
//! alone. One that is behind gets it twice: at once as a METR message, so that people see this host as
//! it is, and in its turn out of the history.

use std::time::Instant;

use super::connection::{HistoryOrder, Serial};
use super::events;
use super::handle::{GridKind, HistoryStatus, OrderError};
use super::history::types::HistoryEvent;
use super::pending::SampleRequest;
use super::recording::moment;
use super::run::Agent;
use super::state::{AgentState, Happening, State};
use super::status_line::line_now;
use crate::protocol::data::{Offer, Receipt};

impl Agent {
    /// Samples are taken only while some connection, or the history, wants them.
    pub(super) fn rest_or_tick(&mut self) {
        let recorded = self.connections.started() && self.recording.wanted();
        if recorded || self.connections.any_wants_metrics(&[]) {
            self.sampling.ticker.start(Instant::now());
        } else {
            self.sampling.ticker.stop();
        }
        if recorded && self.recording.lacks_facts() {
            self.sample(SampleRequest::Facts);
        }
    }

    /// Takes the sample that is due, and brings it on its ways.
    pub(super) fn take_metrics(&mut self) {
        let mut told = Vec::new();
        let at = moment();
        let recording = &self.recording;
        self.sampling
            .sampler
            .note_keeping(|keeping| recording.say_keeping(keeping, at));
        let samples = self.sampling.sampler.take(GridKind::Metrics);
        if self.recording.wanted() {
            let fresh = self.recording.record(samples, at);
            for collector in self.recording.linked() {
                if self.hand_out(&collector, fresh) {
                    told.push(collector);
                }
            }
            if self.recording.lacks_facts() {
                self.sample(SampleRequest::Facts);
            }
        }
        if self.connections.any_wants_metrics(&told) {
            let grid = self.sampling.sampler.encode(&self.name.current());
            self.connections.send_metrics(&grid, &told);
        }
    }

    /// Hands out what is next for a collector, as far as its window and its connection have room.
    /// Returns true if the sample `fresh` was among it.
    fn hand_out(&mut self, collector: &str, fresh: Option<u64>) -> bool {
        let mut told = false;
        while self.connections.has_room_for_history(collector)
            && let Some(next) = self.recording.next(collector, fresh)
        {
            told |= next.fresh;
            let order = HistoryOrder {
                host: self.name.current(),
                bodies: next.bodies,
                link: next.link,
                fresh: next.fresh,
            };
            self.connections.send_history(collector, order);
        }
        told
    }

    /// There may be something next for any collector.
    pub(super) fn hand_out_to_all(&mut self) {
        for collector in self.recording.linked() {
            self.hand_out(&collector, None);
        }
    }

    /// A collector takes history on this link.
    pub(super) fn history_offered(&mut self, serial: Serial, link: u64, offer: Offer) {
        if let Some(collector) = self.connections.name_of(serial).map(str::to_owned) {
            self.recording.offered(&collector, serial, link, offer);
            // A model that is being made goes first: it says who this is.
            if !self.sampling.pending.is_waiting() {
                self.hand_out(&collector, None);
            }
            self.rest_or_tick();
        }
    }

    /// A collector has answered and does not take history.
    pub(super) fn history_declined(&mut self, serial: Serial) {
        if let Some(collector) = self.connections.name_of(serial) {
            self.recording.declined(collector);
            self.rest_or_tick();
        }
    }

    /// A collector has acknowledged samples on this link.
    pub(super) fn history_acknowledged(&mut self, serial: Serial, link: u64, receipt: Receipt) {
        if let Some(collector) = self.connections.name_of(serial).map(str::to_owned) {
            let recording = &mut self.recording;
            if !recording.acknowledged(&collector, serial, link, receipt)
                && let Some(untold) = self.connections.receipt_refused(serial, Instant::now())
            {
                events::receipt_refused(&collector, receipt, untold);
            }
            self.hand_out(&collector, None);
        }
    }

    /// Says in the log, and on the bus, what happened to what is kept.
    pub(super) fn announce_history(&mut self) {
        for event in self.recording.take_events() {
            events::history(&event);
            if let HistoryEvent::Losing {
                collector,
                why,
                loss,
                ..
            } = event
            {
                self.losses.note(&collector, why, loss);
            }
        }
        for lost in self.losses.take(Instant::now()) {
            // Usually there is no listener.
            let _ = self.changes.send(Happening::Lost(lost));
        }
    }

    /// The line that systemd shows.
    pub(super) fn status_line(&self, state: &AgentState) -> String {
        let away = state
            .connections
            .iter()
            .filter(|connection| connection.state != State::Reporting);
        let kept = away.filter_map(|connection| self.recording.status(&connection.name));
        line_now(state, kept.map(|status| status.behind).max().unwrap_or(0))
    }

    /// What is kept for a collector.
    pub(super) fn history_status(&self, collector: &str) -> Result<HistoryStatus, OrderError> {
        let status = self.recording.status(collector);
        let no_such = || OrderError::NoSuchConnection(collector.to_owned());
        Ok(HistoryStatus {
            collector: status.ok_or_else(no_such)?,
            usage: self.recording.usage(),
            acknowledges: self.recording.acknowledges(collector),
        })
    }

    /// This link of a collector that took history is down.
    pub(super) fn history_link_lost(&mut self, serial: Serial, link: u64) {
        if let Some(collector) = self.connections.name_of(serial) {
            self.recording.link_lost(collector, serial, link);
        }
    }
}
