//! The table of hosts together with everything that follows its changes: access, sinks,
//! viewers, the state on disk, the bus and the log.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::broadcast;

use super::access::ShutOut;
use super::access::control::Access;
use super::events;
use super::host_lines::HostLines;
use super::hosts::snapshot::Presence;
use super::hosts::{Change, Due, Forgotten, Host, Hosts, NotForgotten, Twin, ViewerKind};
use super::sinks::Sinks;
use super::state::HostChange;
use super::store::{Outcome, Writer};
use super::viewers::Viewers;
use crate::curve::keys::PublicKey;
use crate::curve::router::RoutingIdBytes;
use crate::protocol::grid::Grid;
use crate::protocol::message::GridKind;

/// How long the last writing to disk may take.
const FAREWELL: Duration = Duration::from_millis(1500);

/// For this long after a report was refused for lack of room, other reports may be refused,
/// too.
const FULL_LATELY: Duration = Duration::from_secs(3600);

/// The hosts, and everything that follows them.
pub(super) struct Fleet {
    pub(super) hosts: Hosts,
    pub(super) access: Access,
    pub(super) sinks: Sinks,
    pub(super) viewers: Viewers,
    /// Which lines on hosts that come and go are logged.
    pub(super) lines: HostLines,
    /// Writes the hosts for the next start, if there is a directory for that.
    writer: Option<Writer>,
    /// The listeners on the bus for hosts that appear and go.
    changes: broadcast::Sender<HostChange>,
    /// When a report was last refused for lack of room.
    full: Option<Instant>,
    /// The number of hosts in the status line.
    pub(super) count: ShownCount,
    /// Hosts that were forgotten in this turn.
    pub(super) forgotten: Vec<Arc<str>>,
}

/// Minimum interval between two status lines for another number of hosts.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// A number that the status line shows: another one is shown at once, but not all the time while a
/// fleet comes back.
#[derive(Debug, Default)]
pub(super) struct ShownCount {
    count: usize,
    at: Option<Instant>,
}

impl ShownCount {
    /// Returns true if this number is to be shown now.
    pub(super) fn changed(&mut self, count: usize, now: Instant) -> bool {
        let lately = |at| now.saturating_duration_since(at) < COUNT_INTERVAL;
        if count == self.count || self.at.is_some_and(lately) {
            return false;
        }
        *self = Self {
            count,
            at: Some(now),
        };
        true
    }
}

impl Fleet {
    pub(super) fn new(
        hosts: Hosts,
        (access, sinks, viewers): (Access, Sinks, Viewers),
        writer: Option<Writer>,
        changes: broadcast::Sender<HostChange>,
        now: Instant,
    ) -> Self {
        Self {
            hosts,
            access,
            sinks,
            viewers,
            lines: HostLines::new(now),
            writer,
            changes,
            full: None,
            count: ShownCount::default(),
            forgotten: Vec::new(),
        }
    }

    /// When a host, or something that follows the hosts, is due next.
    pub(super) fn next_due(&self) -> impl IntoIterator<Item = Instant> + use<> {
        [
            self.writer.as_ref().and_then(Writer::next_due),
            self.viewers.next_due(),
            self.lines.next_due(),
        ]
        .into_iter()
        .flatten()
    }

    /// Handles what is due for a host. Returns the connection to ping, if a ping is due.
    pub(super) fn handle_due(&mut self, now: Instant, due: Due) -> Option<RoutingIdBytes> {
        match due {
            // A refused agent must not take a ping for a sign that its messages are accepted.
            Due::Ping { name, to } => return self.is_let_in(&name).then_some(to),
            Due::Gone {
                name,
                routing_id,
                silence,
            } => {
                self.sinks.host_gone(&name);
                self.publish(HostChange::Gone(Arc::clone(&name)));
                self.tell_state(now, &name);
                self.changed();
                let host = self.hosts.get(&name);
                let key = host.and_then(Host::key);
                if self.is_worth_a_line(now, key, &name) {
                    events::host_gone(&name, routing_id.as_ref(), silence);
                }
            }
            Due::Renamed(renamed) => {
                let old = &renamed.old;
                if renamed.was_there {
                    self.sinks.host_gone(&old.name);
                    self.publish(HostChange::Gone(Arc::clone(&old.name)));
                }
                self.forgotten(now, old);
                if self.lines.note(now, old.key, old.address.as_deref()) {
                    events::host_renamed(&renamed, self.access.pins_names());
                }
            }
            Due::Forgotten(forgotten) => {
                self.forgotten(now, &forgotten);
                if self
                    .lines
                    .note(now, forgotten.key, forgotten.address.as_deref())
                {
                    events::host_forgotten(&forgotten.name);
                }
            }
        }
        None
    }

    /// Forgets a host on request.
    ///
    /// # Errors
    ///
    /// The host is not known, or is still there.
    pub(super) fn forget(&mut self, now: Instant, name: &str) -> Result<(), NotForgotten> {
        let forgotten = self.hosts.forget(name)?;
        events::host_forgotten_as_asked(name);
        self.forgotten(now, &forgotten);
        Ok(())
    }

    /// Handles that a host was forgotten.
    pub(super) fn forgotten(&mut self, now: Instant, forgotten: &Forgotten) {
        let state = || Some(forgotten.state(now, SystemTime::now()));
        self.viewers.forward_state(now, &forgotten.name, state);
        self.forgotten.push(Arc::clone(&forgotten.name));
        self.changed();
    }

    /// Tells listeners on the bus about a host that appeared or went.
    pub(super) fn publish(&self, change: HostChange) {
        // It fails if there are no listeners, which is the usual case.
        let _ = self.changes.send(change);
    }

    /// Tells the viewers about a host that appeared or went.
    pub(super) fn tell_state(&mut self, now: Instant, name: &Arc<str>) {
        let hosts = &self.hosts;
        let state = || hosts.state_of(now, SystemTime::now(), name);
        self.viewers.forward_state(now, name, state);
    }

    /// Records that a message was accepted; `changed` if the table must be saved soon.
    pub(super) fn note_message(&mut self, changed: bool) {
        if let Some(writer) = &mut self.writer {
            writer.seen();
            if changed {
                writer.changed();
            }
        }
    }

    /// Records that a host appeared, moved, went, or sent its model.
    fn changed(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.changed();
        }
    }

    /// Saves the hosts if that is due, and reports how the last writing went.
    pub(super) fn keep(&mut self, now: Instant) {
        let Some(writer) = &mut self.writer else {
            return;
        };
        if let Some(outcome) = writer.outcome() {
            log_outcome(&outcome);
        }
        if writer.next_due().is_some_and(|due| due <= now) {
            writer.keep(now, self.hosts.snapshot(now, SystemTime::now()));
        }
    }

    /// Saves the hosts for the last time.
    pub(super) async fn keep_last(&mut self) {
        let Some(writer) = self.writer.take() else {
            return;
        };
        let last = writer
            .anything_new()
            .then(|| self.hosts.snapshot(Instant::now(), SystemTime::now()));
        if let Some(outcome) = writer.finish(last, FAREWELL).await {
            log_outcome(&outcome);
        }
    }

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

    /// Returns true if somebody sees each message as JSON: a viewer, or who reads what is printed or
    /// published.
    pub(super) fn is_watched(&self) -> bool {
        !self.viewers.is_empty() || self.sinks.want_json()
    }

    /// Forwards a model to the viewers, as it was sent. For deployed viewers, the metrics that
    /// they require and it lacks are added, and a model that has to wait for metrics is not
    /// sent yet.
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

    /// Forwards a model that had to wait for these metrics.
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

    /// Records that a report was refused for lack of room.
    pub(super) fn was_full(&mut self, now: Instant) {
        self.full = Some(now);
    }

    /// Returns true if reports of admitted agents may be refused: a name may belong to another
    /// key, or there may be no room soon, or there was none recently.
    pub(super) fn may_refuse(&self, now: Instant) -> bool {
        let lately = |full| now.saturating_duration_since(full) < FULL_LATELY;
        self.access.pins_names() || self.hosts.may_refuse() || self.full.is_some_and(lately)
    }

    /// Returns true if a host's key may (still) report.
    fn is_let_in(&self, host: &str) -> bool {
        let key = self.hosts.get(host).and_then(Host::key);
        key.is_some_and(|key| self.access.is_agent(&key))
    }

    /// Logs which keys report and are not on the list, when the list takes effect.
    pub(super) fn log_who_is_shut_out(&self) {
        let reporting = self.hosts.iter().filter_map(|(name, host)| {
            let key = host
                .key()
                .filter(|_| host.presence() == Presence::Reporting)?;
            Some((key, &**name))
        });
        let shut_out = ShutOut::of(reporting, |key| self.access.is_agent(key));
        if shut_out.keys > 0 {
            events::shut_out(&shut_out);
        }
    }

    /// Returns true if a line on a host may be logged: their rate is limited.
    pub(super) fn is_worth_a_line(
        &mut self,
        now: Instant,
        key: Option<PublicKey>,
        host: &str,
    ) -> bool {
        let address = self.hosts.get(host).and_then(Host::address);
        let address = address.map(|address| &**address);
        self.lines.note(now, key, address)
    }

    /// Logs that a host appeared or moved, unless the rate limit is reached.
    pub(super) fn log_change(
        &mut self,
        now: Instant,
        from: &RoutingIdBytes,
        key: Option<PublicKey>,
        host: &str,
        change: Change,
    ) {
        match change {
            Change::Appeared if self.is_worth_a_line(now, key, host) => {
                events::host_appeared(host, from);
            }
            Change::Replaced {
                tell: Some(untold),
                key_before,
            } if self.is_worth_a_line(now, key, host) => {
                events::host_replaced(host, from, key.zip(key_before), untold);
            }
            Change::Appeared | Change::Replaced { .. } => {}
        }
    }

    /// Handles a key that reports from two machines at a time.
    pub(super) fn key_shared(&mut self, now: Instant, host: &str, twin: &Twin) {
        self.hosts.count_shared(host);
        let [address, _] = &twin.addresses;
        if twin.tell && self.lines.note(now, Some(twin.key), address.as_deref()) {
            events::key_shared(twin);
        }
    }
}

fn log_outcome(outcome: &Outcome) {
    match outcome {
        Outcome::Failed(error) => events::state_not_kept(error),
        Outcome::KeptAgain => events::state_kept_again(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_number_of_hosts_is_shown_at_once_and_then_once_a_second() {
        let now = Instant::now();
        let at = |millis| now + Duration::from_millis(millis);
        let mut count = ShownCount::default();
        assert!(!count.changed(0, now), "it is shown already");
        assert!(count.changed(1, now));
        assert!(!count.changed(2, at(999)));
        assert!(count.changed(2, at(1000)));
        assert!(!count.changed(2, at(5000)));
    }
}
