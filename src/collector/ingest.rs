//! Handles a message: parses it, enters it into the table and forwards it, or refuses it.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use serde::Serializer as _;

use super::access::{AccessRefusal, Listener};
use super::agents::Agents;
use super::backlog::{Ahead, Backlog, News};
use super::events;
use super::fleet::Fleet;
use super::history::{News as Told, NotTaken};
use super::hosts::{Change, Host, Ingested, Peer, Report, says_refusable, speaks_history};
use super::prometheus::naming::too_large;
use super::push::Ticket;
use super::refusal::{Refusal, Sender};
use super::schemas::HostGrid;
use super::sinks::Passed;
use super::state::HostChange;
use super::status_line::Counts;
use crate::base::throttle::{PeerThrottle, Tell};
use crate::curve::TransportError;
use crate::curve::keys::PublicKey;
use crate::curve::router::{Arrived, Origin, RoutingIdBytes};
use crate::curve::zmtp::message::{MAX_FRAMES, Message as Frames, Received};
use crate::protocol::grid::Grid;
use crate::protocol::message::{Control, GridKind, Message, TAG_GRID, decode_from_agent};

/// Maximum number of messages in one turn: some milliseconds of work.
const BATCH_MESSAGES: usize = 256;

/// Maximum bytes of messages in one turn, as grids can be large: some 50 ms of parsing, or 15 ms of
/// decrypting where they are read ahead.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Maximum number of messages read ahead in one turn: some 20 ms, as they are not parsed.
const BATCH_AHEAD: usize = 4096;

/// Maximum number of metrics of one message that are named as too large.
const MAX_TOO_LARGE: usize = 8;

/// A message and whom it came from.
type FromAgent = (Origin, Received);

/// Reads what agents send.
pub(super) struct Ingest {
    backlog: Backlog,
    /// Messages that were read ahead.
    ahead: Ahead<FromAgent>,
    /// Refused messages, by who sent them and why.
    refused: PeerThrottle<(Sender, &'static str)>,
    /// Metrics that are left out of all series, by host.
    too_large: PeerThrottle<(Arc<str>, Box<str>)>,
    /// What was said of hosts' logs, by host.
    told: PeerThrottle<(Arc<str>, &'static str)>,
    /// The time of the batch of messages at hand, once it was asked for.
    time: Option<SystemTime>,
    pub(super) counts: Counts,
}

impl Ingest {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            backlog: Backlog::new(now),
            ahead: Ahead::default(),
            refused: PeerThrottle::default(),
            too_large: PeerThrottle::default(),
            told: PeerThrottle::default(),
            time: None,
            counts: Counts::default(),
        }
    }

    /// Returns true if no message that was read ahead is left.
    pub(super) fn is_empty(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Handles a batch of messages. Returns true if there were no more.
    pub(super) fn read_batch(
        &mut self,
        agents: &mut Agents,
        fleet: &mut Fleet,
        first: Option<Arrived>,
    ) -> Result<bool, TransportError> {
        let now = Instant::now();
        // One time for the whole batch, read only if needed.
        self.time = None;
        let mut next = first.and_then(|first| self.sort(agents, fleet, now, first));
        let mut drained = false;
        if self.backlog.is_behind() {
            drained = self.read_ahead(agents, fleet, now, next.take())?;
        }
        let (mut messages, mut bytes) = (0, 0);
        while messages < BATCH_MESSAGES && bytes <= BATCH_BYTES {
            let message = match next.take().or_else(|| self.ahead.take()) {
                Some(message) => Some(message),
                None if drained => break,
                None => {
                    let Some(arrived) = agents.try_receive()? else {
                        drained = true;
                        break;
                    };
                    self.sort(agents, fleet, now, arrived)
                }
            };
            messages += 1;
            let Some((from, received)) = message else {
                continue;
            };
            bytes += self.ingest(agents, fleet, now, &from, received);
        }
        let drained = drained && self.ahead.is_empty();
        match self.backlog.turned(Instant::now(), bytes, drained) {
            Some(News::Behind) => events::behind(),
            Some(News::CaughtUp { lasted, dropped }) => events::caught_up(lasted, dropped),
            None => {}
        }
        Ok(drained)
    }

    /// Reads ahead, within limits, and drops metrics that are replaced by later ones. Returns
    /// true if there was no more.
    fn read_ahead(
        &mut self,
        agents: &mut Agents,
        fleet: &mut Fleet,
        now: Instant,
        first: Option<FromAgent>,
    ) -> Result<bool, TransportError> {
        let mut next = first;
        let mut read = 0;
        for _ in 0..BATCH_AHEAD {
            if read > BATCH_BYTES || (self.ahead.is_full() && next.is_none()) {
                return Ok(false);
            }
            let message = match next.take() {
                Some(message) => Some(message),
                None => match agents.try_receive()? {
                    Some(arrived) => self.sort(agents, fleet, now, arrived),
                    None => return Ok(true),
                },
            };
            let Some((from, received)) = message else {
                continue;
            };
            let (bytes, host) = match &received {
                Received::Message(frames) => (frames.bytes(), metrics_of(frames)),
                Received::TooManyFrames { .. } => (0, None),
            };
            read += bytes;
            let host = host.map(<[u8]>::to_vec);
            let id = from.id.clone();
            let message = (from, received);
            if self
                .ahead
                .add(&id, host.as_deref(), message, bytes)
                .is_some()
            {
                self.counts.dropped += 1;
                self.backlog.dropped(now);
            }
        }
        Ok(false)
    }

    /// Handles what is no message: lets agents in or not, and reports connections that have
    /// failed.
    fn sort(
        &mut self,
        agents: &mut Agents,
        fleet: &mut Fleet,
        now: Instant,
        arrived: Arrived,
    ) -> Option<FromAgent> {
        match arrived {
            Arrived::Message(from, received) => return Some((from, received)),
            Arrived::Knock(peer) => {
                let verdict = fleet.access.knock(now, Listener::Agents, &peer);
                agents.answer(now, &peer, verdict);
            }
            Arrived::Failed {
                origin,
                address,
                why,
            } => {
                let key = origin.map(|origin| origin.key);
                let address = address.to_string();
                let peer = Sender::of(key, Some(&address));
                let tell = self.refused.note(now, &(peer, "connection"));
                events::connection_failed(Listener::Agents, key, &address, &why, tell);
            }
        }
        None
    }

    /// Handles one message. Returns its length in bytes.
    fn ingest(
        &mut self,
        agents: &mut Agents,
        fleet: &mut Fleet,
        now: Instant,
        from: &Origin,
        received: Received,
    ) -> usize {
        match received {
            Received::TooManyFrames { found } => {
                self.refuse(fleet, now, from, &Refusal::TooManyFrames(found));
                0
            }
            Received::Message(frames) => {
                let bytes = frames.bytes();
                self.counts.bytes += bytes as u64;
                match self.enter(agents, fleet, now, from, &frames) {
                    Ok(()) => self.counts.messages += 1,
                    Err(refusal) => self.refuse(fleet, now, from, &refusal),
                }
                bytes
            }
        }
    }

    /// Enters a message into the table and forwards it.
    fn enter(
        &mut self,
        agents: &mut Agents,
        fleet: &mut Fleet,
        now: Instant,
        from: &Origin,
        frames: &Frames,
    ) -> Result<(), Refusal> {
        let (key, origin, from) = (Some(from.key), from, &from.id);
        // On the stack, because every message passes here.
        let mut slices: [&[u8]; MAX_FRAMES] = [&[]; MAX_FRAMES];
        for (slice, frame) in slices.iter_mut().zip(frames.iter()) {
            *slice = frame;
        }
        let slices = slices.get(..frames.len()).unwrap_or(&slices);
        let (host, bytes, kind) = match decode_from_agent(slices)? {
            // Agents send no other message, and no state.
            Message::Control(_) | Message::State { .. } => {
                fleet.access.admit(now, key, None)?;
                agents.began(from, fleet.hosts.iter().len(), fleet.sinks.has_room());
                agents.ask_model(now, from, fleet.may_refuse(now));
                return Ok(());
            }
            Message::Data { host, body } => {
                return self.enter_data(agents, fleet, now, origin, (host, body));
            }
            Message::Grid { host, grid, kind } => (host, grid, kind),
        };
        let grid: Arc<HostGrid> = Arc::new(Grid::parse(bytes, kind)?.into());
        let report = Report {
            host,
            kind,
            grids: vec![Arc::clone(&grid)],
            wire_bytes: bytes.len(),
        };
        let understands = kind == GridKind::Model && says_refusable(&grid);
        let heard = Self::report(agents, fleet, now, (origin, understands), report)?;
        let time = *self.time.get_or_insert_with(SystemTime::now);
        let host = fleet.hosts.get(&heard.name);
        let model = host.and_then(Host::model);
        // Engines are told every sample of such a host in its turn.
        let has_history = model.is_some_and(|model| speaks_history(model));
        if heard.change == Some(Change::Appeared)
            && kind == GridKind::Metrics
            && !has_history
            && let Some(model) = model
        {
            fleet.sinks.model_known(&heard.name, model, time);
        }
        fleet.sinks.pass(&Passed {
            now,
            time,
            host: &heard.name,
            kind,
            grid: &grid,
            bytes,
            routing_id: from,
            to_engines: !has_history,
        });
        let (name, model_may_go) = (Arc::clone(&heard.name), heard.model_may_go);
        self.pass_on(fleet, now, (from, key, kind), heard);
        if model_may_go {
            fleet.forward_late_model(now, &name);
        }
        fleet.forward(now, &name, kind, &grid, bytes);
        self.log_too_large(fleet, now, key, &name, &grid);
        Ok(())
    }

    /// Takes samples of the second wire: each goes to the engines, and those that are also what is now into
    /// the table.
    fn enter_data(
        &mut self,
        agents: &mut Agents,
        fleet: &mut Fleet,
        now: Instant,
        origin: &Origin,
        (host, body): (&str, &[u8]),
    ) -> Result<(), Refusal> {
        let peer = (&origin.id, Some(origin.key), GridKind::Metrics);
        let report = |grids| Report {
            host,
            kind: GridKind::Metrics,
            grids,
            wire_bytes: 0,
        };
        let id = (&origin.id, origin.key);
        let is_let_in = fleet.access.admit(now, peer.1, Some(host)).is_ok();
        let known = fleet
            .hosts
            .name_at(id.0, peer.1, host)
            .filter(|_| is_let_in);
        let is_known = known.is_some();
        let name = if let Some(name) = known {
            name
        } else {
            // It must be let in before anything of it is taken: what is refused stays with its agent.
            let heard = Self::report(agents, fleet, now, (origin, false), report(Vec::new()))?;
            let name = Arc::clone(&heard.name);
            self.pass_on(fleet, now, peer, heard);
            name
        };
        let waited = self.backlog.waited(now);
        let message = agents.history.take((now, waited), id, host, body);
        let message = message.map_err(|why| {
            if matches!(why, NotTaken::BeyondWindow(_)) {
                // It connects again, and sends what was not acknowledged.
                agents.send(&origin.id, Control::Refused);
            }
            let host = host.into();
            Refusal::NotTaken { host, why }
        })?;
        // What is now says that the host is there, too.
        if is_known && !message.samples.iter().any(|sample| sample.is_now) {
            let heard = Self::report(agents, fleet, now, (origin, false), report(Vec::new()));
            if let Ok(heard) = heard {
                self.pass_on(fleet, now, peer, heard);
            }
        }
        let time = *self.time.get_or_insert_with(SystemTime::now);
        if message.offer_again {
            agents.offer(&origin.id);
        }
        for news in message.news {
            self.tell(fleet, now, origin, &name, &news);
        }
        let mut refused = Ok(());
        for sample in message.samples {
            let ticket = Ticket {
                stream: message.stream,
                seq: sample.seq,
            };
            if sample.is_now {
                let grids = sample.grids.clone();
                match Self::report(agents, fleet, now, (origin, false), report(grids)) {
                    Ok(heard) => {
                        self.pass_on(fleet, now, peer, heard);
                        self.show(fleet, (now, time), origin, &name, &sample.grids);
                    }
                    Err(refusal) => refused = Err(refusal),
                }
            }
            fleet
                .sinks
                .history(&name, sample.grids, sample.time, ticket);
        }
        refused
    }

    /// Shows a sample of the second wire to those that look. JSON is made only then.
    fn show(
        &mut self,
        fleet: &mut Fleet,
        (now, time): (Instant, SystemTime),
        origin: &Origin,
        host: &Arc<str>,
        grids: &[Arc<HostGrid>],
    ) {
        fleet.sinks.up(host, time);
        for grid in grids {
            self.log_too_large(fleet, now, Some(origin.key), host, grid);
        }
        if !fleet.is_watched() {
            return;
        }
        let mut json = serde_json::Serializer::new(Vec::new());
        // Writing to a vector does not fail, and values of a grid can always be serialized.
        let _ = json.collect_map(grids.iter().flat_map(|grid| grid.iter()));
        let bytes = json.into_inner();
        // Two sources that say the same metric: it is not shown.
        if let Ok(grid) = Grid::parse(&bytes, GridKind::Model) {
            fleet.sinks.pass(&Passed {
                now,
                time,
                host,
                kind: GridKind::Metrics,
                grid: &Arc::new(grid.into()),
                bytes: &bytes,
                routing_id: &origin.id,
                to_engines: false,
            });
            fleet.viewers.forward(now, host, GridKind::Metrics, &bytes);
        }
    }

    /// Logs what there is to say of a host's log, at a limited rate.
    fn tell(
        &mut self,
        fleet: &mut Fleet,
        now: Instant,
        origin: &Origin,
        host: &Arc<str>,
        news: &Told,
    ) {
        let what = (Arc::clone(host), news.kind());
        let tell = self.told.note(now, &what);
        if tell != Tell::Nothing && fleet.is_worth_a_line(now, Some(origin.key), host) {
            events::history(host, news, tell);
        }
    }

    /// Enters a report into the table, if its sender is let in; answers it. `understands`: its agent
    /// is known to understand a refusal.
    fn report(
        agents: &mut Agents,
        fleet: &mut Fleet,
        now: Instant,
        (origin, understands): (&Origin, bool),
        report: Report<'_>,
    ) -> Result<Ingested, Refusal> {
        let (key, from, host) = (Some(origin.key), &origin.id, report.host);
        let address = (!fleet.hosts.knows(from, key)).then(|| origin.address.to_string());
        let mut tell_refused = |fleet: &Fleet| {
            // An agent understands this message if its model, sent now or before, says so.
            let known = fleet.hosts.get(host);
            if understands || known.is_some_and(|host| host.understands_refusal(from)) {
                agents.send(from, Control::Refused);
            }
        };
        let trust = fleet.access.admit(now, key, Some(host));
        let trust = trust.inspect_err(|_| tell_refused(fleet))?;
        let peer = Peer {
            routing_id: from,
            key,
            address: address.as_deref(),
            trust,
        };
        let heard = match fleet.hosts.ingest(now, peer, report) {
            Ok(heard) => heard,
            Err(full) => {
                fleet.was_full(now);
                tell_refused(fleet);
                return Err(full.into());
            }
        };
        // A name is pinned only for a host that is in the table.
        fleet.access.settle(now, key, &heard.name);
        let may_refuse = fleet.may_refuse(now);
        if heard.change.is_some() && may_refuse {
            // It was accepted: an agent that had to expect a refusal waits for this.
            agents.send(from, Control::Ping);
        }
        if heard.ask_model {
            agents.ask_model(now, from, may_refuse);
        }
        Ok(heard)
    }

    /// Reports what a message changed in the table.
    fn pass_on(
        &mut self,
        fleet: &mut Fleet,
        now: Instant,
        (from, key, kind): (&RoutingIdBytes, Option<PublicKey>, GridKind),
        heard: Ingested,
    ) {
        let (name, change) = (heard.name, heard.change);
        fleet.note_message(change.is_some() || kind == GridKind::Model);
        if let Some(forgotten) = heard.forgotten {
            fleet.forgotten(now, &forgotten);
        }
        if let Some(Change::Appeared) = change {
            fleet.publish(HostChange::Appeared(Arc::clone(&name)));
            fleet.tell_state(now, &name);
        }
        // If messages are read late, they may only seem to come from two machines at a time.
        if let Some(twin) = heard.twin
            && !self.backlog.is_behind()
        {
            self.counts.shared += 1;
            fleet.key_shared(now, &name, &twin);
        }
        if let Some(change) = change {
            fleet.log_change(now, from, key, &name, change);
        }
    }

    /// Logs the metrics of a host that are in no series because they are too large for their
    /// unit.
    fn log_too_large(
        &mut self,
        fleet: &mut Fleet,
        now: Instant,
        key: Option<PublicKey>,
        host: &Arc<str>,
        grid: &Grid,
    ) {
        for metric in too_large(grid).take(MAX_TOO_LARGE) {
            let what = (Arc::clone(host), metric.into());
            let tell = self.too_large.note(now, &what);
            if tell != Tell::Nothing && fleet.is_worth_a_line(now, key, host) {
                events::metric_too_large(host, metric, tell);
            }
        }
    }

    /// Counts a message that was refused, and logs it unless the rate limit is reached.
    fn refuse(&mut self, fleet: &mut Fleet, now: Instant, from: &Origin, refusal: &Refusal) {
        self.counts.refused += 1;
        let address = from.address.to_string();
        let (from, key, address) = (&from.id, Some(from.key), Some(&*address));
        if let Refusal::Access(refusal @ AccessRefusal::NameTaken { host, key, .. }) = refusal {
            fleet
                .access
                .log_name_taken(now, key, host, address, refusal);
            return;
        }
        let tell = self
            .refused
            .note(now, &(refusal.sender(key, address), refusal.kind()));
        events::refused(from, key.as_ref(), address, refusal, tell);
    }
}

/// The host whose metrics a message holds, as far as can be told without parsing them.
fn metrics_of(frames: &Frames) -> Option<&[u8]> {
    let kind = GridKind::Metrics.as_str().as_bytes();
    (frames.len() == 4 && frames.get(0) == Some(TAG_GRID.as_bytes()) && frames.get(3) == Some(kind))
        .then(|| frames.get(1))?
}
