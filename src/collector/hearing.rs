//! What the collector does with a message: understand it, enter it into the table, pass it
//! on, or refuse it.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::access::AccessRefusal;
use super::backlog::News;
use super::events;
use super::hosts::{Change, Full, Heard, Holder, Host, Peer, Report, Twin, says_refusable};
use super::prometheus::naming::too_large;
use super::run::Collector;
use super::sinks::Passed;
use super::speaking::send;
use super::state::HostChange;
use super::throttle::{Sender, Tell};
use crate::curve::context::TransportError;
use crate::curve::frames::{Frames, MAX_FRAMES, Received};
use crate::curve::keys::PublicKey;
use crate::curve::router::RoutingIdBytes;
use crate::protocol::grid::Grid;
use crate::protocol::message::{
    Control, GridKind, Malformed, Message, TAG_GRID, decode_from_agent,
};

/// Most messages in one turn: some milliseconds of them.
const BATCH_MESSAGES: usize = 256;

/// Most bytes of messages in one turn; grids can be large. Some 50 ms of parsing.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Most messages read ahead in one turn: some 20 ms, where they are not looked into.
const BATCH_AHEAD: usize = 4096;

/// Most metrics of one message that are named as too large.
const MAX_TOO_LARGE: usize = 8;

/// Why a message was refused.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("a message of {0} frames")]
    TooManyFrames(usize),
    #[error(transparent)]
    Full(#[from] Full),
    #[error(transparent)]
    Access(#[from] AccessRefusal),
}

impl Refusal {
    /// What it is about: one kind does not hide another in the log.
    fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::TooManyFrames(_) => "form",
            Self::Full(Full::Hosts) => "hosts",
            Self::Full(Full::Connection) => "hosts of a connection",
            Self::Full(Full::Key(_)) => "hosts of a key",
            Self::Full(Full::Memory) => "memory",
            Self::Full(Full::Text) => "text",
            Self::Full(Full::NetworkHosts(_)) => "hosts of a network",
            Self::Full(Full::NetworkMemory(_)) => "memory of a network",
            Self::Full(Full::NetworkText(_)) => "text of a network",
            Self::Full(Full::Share(over)) => match over.holder {
                Holder::Key => "share of a key",
                Holder::Connection => "share of a connection",
            },
            Self::Access(_) => "access",
        }
    }

    /// Who is told of it once a minute.
    fn sender(&self, key: Option<PublicKey>, address: Option<&str>) -> Sender {
        match self {
            // Of all the keys that were made up there.
            Self::Full(
                Full::NetworkHosts(network)
                | Full::NetworkMemory(network)
                | Full::NetworkText(network),
            ) => Sender::of(None, Some(&network.to_string())),
            _ => Sender::of(key, address),
        }
    }
}

impl Collector {
    /// Deals with a batch of messages; whether there were no more.
    pub(super) fn hear_batch(
        &mut self,
        first: Option<(RoutingIdBytes, Received)>,
    ) -> Result<bool, TransportError> {
        let now = Instant::now();
        // One time for all of a batch, and only where somebody wants to know it.
        self.time = None;
        let mut next = first;
        let mut drained = false;
        if self.backlog.is_behind() {
            drained = self.read_ahead(now, next.take())?;
        }
        let (mut messages, mut bytes) = (0, 0);
        while messages < BATCH_MESSAGES && bytes <= BATCH_BYTES {
            let message = match next.take().or_else(|| self.ahead.take()) {
                Some(message) => Some(message),
                None if drained => None,
                None => self.router.try_receive()?,
            };
            let Some((from, received)) = message else {
                drained = true;
                break;
            };
            messages += 1;
            bytes += self.hear(now, &from, received);
        }
        let drained = drained && self.ahead.is_empty();
        match self.backlog.turned(Instant::now(), bytes, drained) {
            Some(News::Behind) => events::behind(),
            Some(News::CaughtUp { lasted, dropped }) => events::caught_up(lasted, dropped),
            None => {}
        }
        Ok(drained)
    }

    /// Reads what waits, as far as that may be, and lets go of metrics that later ones
    /// have overtaken; whether there was no more.
    fn read_ahead(
        &mut self,
        now: Instant,
        first: Option<(RoutingIdBytes, Received)>,
    ) -> Result<bool, TransportError> {
        let mut next = first;
        for _ in 0..BATCH_AHEAD {
            if self.ahead.is_full() && next.is_none() {
                return Ok(false);
            }
            let message = match next.take() {
                Some(message) => Some(message),
                None => self.router.try_receive()?,
            };
            let Some((from, received)) = message else {
                return Ok(true);
            };
            let (bytes, host) = match &received {
                Received::Message(frames) => (frames.bytes(), metrics_of(frames)),
                Received::TooManyFrames { .. } => (0, None),
            };
            let host = host.map(<[u8]>::to_vec);
            let message = (from.clone(), received);
            if self
                .ahead
                .add(&from, host.as_deref(), message, bytes)
                .is_some()
            {
                self.counts.dropped += 1;
                self.backlog.dropped(now);
            }
        }
        Ok(false)
    }

    /// Deals with one message; its length in bytes.
    fn hear(&mut self, now: Instant, from: &RoutingIdBytes, received: Received) -> usize {
        match received {
            Received::TooManyFrames { found } => {
                self.refuse(now, from, None, None, &Refusal::TooManyFrames(found));
                0
            }
            Received::Message(mut frames) => {
                let bytes = frames.bytes();
                self.counts.bytes += bytes as u64;
                match self.understand(now, from, &mut frames) {
                    Ok(()) => self.counts.messages += 1,
                    Err(refusal) => {
                        let key = frames.peer_key();
                        self.refuse(now, from, key, frames.peer_address(), &refusal);
                    }
                }
                bytes
            }
        }
    }

    fn understand(
        &mut self,
        now: Instant,
        from: &RoutingIdBytes,
        frames: &mut Frames,
    ) -> Result<(), Refusal> {
        let key = frames.peer_key();
        let address = if self.hosts.knows(from, key) {
            None
        } else {
            frames.peer_address().map(str::to_owned)
        };
        // On the stack: every message comes here.
        let mut slices: [&[u8]; MAX_FRAMES] = [&[]; MAX_FRAMES];
        for (slice, frame) in slices.iter_mut().zip(frames.iter()) {
            *slice = frame;
        }
        let slices = slices.get(..frames.len()).unwrap_or(&slices);
        let (host, bytes, kind) = match decode_from_agent(slices)? {
            // An agent says no other word, and no state.
            Message::Control(_) | Message::State { .. } => {
                self.access.admit(now, key, None)?;
                self.ask_model(now, from);
                return Ok(());
            }
            Message::Grid { host, grid, kind } => (host, grid, kind),
        };
        let report = Report {
            host,
            kind,
            grid: Grid::parse(bytes, kind)?,
            wire_bytes: bytes.len(),
        };
        let understands = kind == GridKind::Model && says_refusable(&report.grid);
        let trust = self.access.admit(now, key, Some(host));
        let trust = trust.inspect_err(|_| self.tell_refused(from, host, understands))?;
        let peer = Peer {
            routing_id: from,
            key,
            address: address.as_deref(),
            trust,
        };
        let Heard {
            change,
            ask_model,
            model_may_go,
            name,
            grid,
            forgotten,
            twin,
        } = match self.hosts.hear(now, peer, report) {
            Ok(heard) => heard,
            Err(full) => {
                self.full = Some(now);
                self.tell_refused(from, host, understands);
                return Err(full.into());
            }
        };
        // A name is pinned for a host that there is, and for no other.
        self.access.settle(now, key, &name);
        if change.is_some() && self.judges(now) {
            // It is heard: who had to expect a refusal waits for this.
            send(&mut self.router, from, Control::Ping);
        }
        if ask_model {
            self.ask_model(now, from);
        }
        if let Some(writer) = &mut self.writer {
            writer.seen();
            if change.is_some() || kind == GridKind::Model {
                writer.changed();
            }
        }
        let time = *self.time.get_or_insert_with(SystemTime::now);
        if change == Some(Change::Appeared)
            && kind == GridKind::Metrics
            && let Some(model) = self.hosts.get(host).and_then(Host::model)
        {
            self.sinks.model_known(&name, model, time);
        }
        let passed = Passed {
            now,
            time,
            host: &name,
            kind,
            grid: &grid,
            routing_id: from,
        };
        self.sinks.pass(&passed);
        if let Some(forgotten) = forgotten {
            self.tell_forgotten(now, &forgotten);
        }
        if let Some(Change::Appeared) = change {
            self.tell(HostChange::Appeared(Arc::clone(&name)));
            self.tell_state(now, &name);
        }
        if model_may_go {
            self.forward_late_model(now, &name);
        }
        self.forward(now, &name, kind, &grid, bytes);
        self.tell_too_large(now, key, &name, &grid);
        if let Some(twin) = twin {
            self.key_shared(now, &name, &twin);
        }
        if let Some(change) = change {
            self.log_change(now, from, key, &name, change);
        }
        Ok(())
    }

    /// Names what is in no series of a host, as it is too large for its unit.
    fn tell_too_large(
        &mut self,
        now: Instant,
        key: Option<PublicKey>,
        host: &Arc<str>,
        grid: &Grid,
    ) {
        for metric in too_large(grid).take(MAX_TOO_LARGE) {
            let what = (Arc::clone(host), metric.into());
            let tell = self.too_large.note(now, &what);
            let address = self.hosts.get(host).and_then(Host::address);
            let address = address.map(|address| &**address);
            if tell != Tell::Nothing && self.host_lines.note(now, key, address) {
                events::metric_too_large(host, metric, tell);
            }
        }
    }

    /// Says who came or moved, where that is worth a line.
    fn log_change(
        &mut self,
        now: Instant,
        from: &RoutingIdBytes,
        key: Option<PublicKey>,
        host: &str,
        change: Change,
    ) {
        let address = self.hosts.get(host).and_then(Host::address);
        let address = address.map(|address| &**address);
        match change {
            Change::Appeared if self.host_lines.note(now, key, address) => {
                events::host_appeared(host, from);
            }
            Change::Replaced { tell: Some(untold) } if self.host_lines.note(now, key, address) => {
                events::host_replaced(host, from, untold);
            }
            Change::Appeared | Change::Replaced { .. } => {}
        }
    }

    /// A key reports from two machines. Where messages are read late, what seems to be at a
    /// time may not be.
    fn key_shared(&mut self, now: Instant, host: &str, twin: &Twin) {
        if self.backlog.is_behind() {
            return;
        }
        self.hosts.count_shared(host);
        self.counts.shared += 1;
        let [address, _] = &twin.addresses;
        if twin.tell
            && self
                .host_lines
                .note(now, Some(twin.key), address.as_deref())
        {
            events::key_shared(twin);
        }
    }

    /// Counts a message that was refused, and says so where that is worth a line.
    fn refuse(
        &mut self,
        now: Instant,
        from: &RoutingIdBytes,
        key: Option<PublicKey>,
        address: Option<&str>,
        refusal: &Refusal,
    ) {
        self.counts.refused += 1;
        if let Refusal::Access(refusal @ AccessRefusal::NameTaken { host, key, .. }) = refusal {
            self.access
                .tell_name_taken(now, key, host, address, refusal);
            return;
        }
        let tell = self
            .throttle
            .note(now, &(refusal.sender(key, address), refusal.kind()));
        events::refused(from, key.as_ref(), address, refusal, tell);
    }
}

/// Whose metrics a message holds, as far as can be told without a look into them.
fn metrics_of(frames: &Frames) -> Option<&[u8]> {
    let kind = GridKind::Metrics.as_str().as_bytes();
    (frames.len() == 4 && frames.get(0) == Some(TAG_GRID.as_bytes()) && frames.get(3) == Some(kind))
        .then(|| frames.get(1))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::network::Network;

    #[test]
    fn keys_that_were_made_up_at_one_address_are_one_sender() {
        let key = |number| Some(PublicKey::from_bytes([number; 32]));
        let network = Network::parse("2001:db8::1").unwrap();
        let (hosts, memory) = (Full::NetworkHosts(network), Full::NetworkMemory(network));
        for full in [hosts, memory, Full::NetworkText(network)].map(Refusal::Full) {
            let senders = [(1, "2001:db8::1"), (2, "2001:db8::2")]
                .map(|(number, address)| full.sender(key(number), Some(address)));
            assert_eq!(senders[0], senders[1]);
            assert_eq!(senders[0], Sender::Address("2001:db8::/64".into()));
        }
        assert_ne!(Refusal::Full(hosts).kind(), Refusal::Full(memory).kind());
        // What is a key's own stays so.
        let full = Refusal::Full(Full::Memory);
        let address = Some("192.0.2.1");
        assert_ne!(full.sender(key(1), address), full.sender(key(2), address));
    }
}
