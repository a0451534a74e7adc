//! What the collector says to agents: that it asks for a model, that it is there, that it refuses;
//! and what it passes on of a model to viewers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::events;
use super::hosts::ViewerKind;
use super::pacer::Asked;
use super::run::Collector;
use crate::curve::router::{Router, RoutingIdBytes};
use crate::protocol::grid::Grid;
use crate::protocol::message::{Control, GridKind, Message};

/// Most models asked for in one turn, of those that had to wait.
const BATCH_ASKED: usize = 256;

/// Once there was no room for what a host reports, others must expect the same for this long.
const FULL_LATELY: Duration = Duration::from_secs(3600);

impl Collector {
    /// Passes a message on to the viewers.
    pub(super) fn forward(
        &mut self,
        now: Instant,
        host: &Arc<str>,
        kind: GridKind,
        grid: &Grid,
        bytes: &[u8],
    ) {
        match kind {
            GridKind::Model => self.forward_model(now, host, grid, bytes),
            GridKind::Metrics => self.viewers.forward(now, host, kind, bytes),
        }
    }

    /// Passes a model on to the viewers, as it was sent; but what it lacks of what deployed
    /// viewers want in it is added, and they get none that has to wait for metrics.
    fn forward_model(&mut self, now: Instant, host: &Arc<str>, grid: &Grid, bytes: &[u8]) {
        if self.viewers.is_empty() {
            return;
        }
        let Some(known) = self.hosts.get(host) else {
            return;
        };
        let (vitals, waits) = (known.vitals(), known.model_waits());
        let completed = |viewers| {
            let mut json = bytes.to_vec();
            vitals.complete(grid, viewers, &mut json);
            json
        };
        let (deployed, robust) = (
            completed(ViewerKind::Deployed),
            completed(ViewerKind::Robust),
        );
        if deployed == robust {
            self.viewers.forward(now, host, GridKind::Model, &robust);
            return;
        }
        self.viewers
            .forward_model(now, host, ViewerKind::Robust, &robust);
        if !waits {
            self.viewers
                .forward_model(now, host, ViewerKind::Deployed, &deployed);
        }
    }

    /// Passes a model on that had to wait for the metrics at hand.
    pub(super) fn forward_late_model(&mut self, now: Instant, host: &Arc<str>) {
        if self.viewers.is_empty() {
            return;
        }
        let Some(known) = self.hosts.get(host) else {
            return;
        };
        let mut json = Vec::new();
        if known.write_model(ViewerKind::Deployed, &mut json) {
            self.viewers
                .forward_model(now, host, ViewerKind::Deployed, &json);
        }
    }

    /// Tells an agent that it is refused, if it understands that: by the model that it sent now or
    /// before.
    pub(super) fn tell_refused(&mut self, from: &RoutingIdBytes, host: &str, understands: bool) {
        let known = self.hosts.get(host);
        if understands || known.is_some_and(|host| host.understands_refusal(from)) {
            send(&mut self.router, from, Control::Refused);
        }
    }

    /// Asks for a model, now or when it is that connection's turn.
    pub(super) fn ask_model(&mut self, now: Instant, of: &RoutingIdBytes) {
        match self.pacer.ask(now, of) {
            Asked::Now => self.send_request(now, of),
            Asked::Later => {}
            Asked::Refused => {
                if let Some(untold) = self.unasked.note(now) {
                    events::models_not_asked_for(untold);
                }
            }
        }
    }

    /// Asks for a model. Where what is sent may be refused a ping goes before: it says that another
    /// message will follow what is taken.
    fn send_request(&mut self, now: Instant, of: &RoutingIdBytes) {
        if self.judges(now) {
            send(&mut self.router, of, Control::Ping);
        }
        send(&mut self.router, of, Control::Model);
    }

    /// Whether hosts of those who are let in may be refused: names may be another key's, there may be
    /// no room soon, or there was none of late.
    pub(super) fn judges(&self, now: Instant) -> bool {
        let lately = |full| now.saturating_duration_since(full) < FULL_LATELY;
        self.access.pins_names() || self.hosts.may_refuse() || self.full.is_some_and(lately)
    }

    /// Asks those whose turn has come.
    pub(super) fn ask_waiting(&mut self, now: Instant) {
        for _ in 0..BATCH_ASKED {
            match self.pacer.take_due(now) {
                Some(of) => self.send_request(now, &of),
                None => break,
            }
        }
    }
}

/// A peer that does not read what is sent to it, or that has gone, misses it.
pub(super) fn send(router: &mut Router, to: &RoutingIdBytes, control: Control) {
    if let Err(error) = router.try_send(to, &Message::Control(control).frames()) {
        events::sending_failed(to, control.word(), &error);
    }
}
