//! Where a message goes that was understood and entered into the table.
//!
//! None of them makes the collector wait: a sink that cannot take a message now loses it, and
//! the loss is counted.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::events;
use super::hosts::Hosts;
use super::line::Line;
use super::printer::Printer;
use super::prometheus::own::Figure;
use super::publish::Publisher;
use super::push::{self, Pushes, Settled, TargetStatus, Ticket};
use super::settings::Settings;
use crate::base::throttle::Throttle;
use crate::collector::hosts::snapshot::Presence;
use crate::collector::schemas::HostGrid;
use crate::curve::router::RoutingIdBytes;
use crate::protocol::data::Acknowledged;
use crate::protocol::message::GridKind;

/// How long the reader of standard output may take for the last lines.
const FAREWELL: Duration = Duration::from_millis(200);

/// A message on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passed<'a> {
    /// When it was read, on the clock that only goes forward.
    pub(super) now: Instant,
    /// When it was read, on the clock on the wall.
    pub(super) time: SystemTime,
    /// Who reports.
    pub(super) host: &'a Arc<str>,
    /// What the grid holds.
    pub(super) kind: GridKind,
    /// The grid.
    pub(super) grid: &'a Arc<HostGrid>,
    /// The grid as it was sent.
    pub(super) bytes: &'a [u8],
    /// The connection.
    pub(super) routing_id: &'a RoutingIdBytes,
    /// Engines are told of it, too; not where its host tells every sample in its turn.
    pub(super) to_engines: bool,
}

/// The sinks that there are.
pub(super) struct Sinks {
    printer: Option<Printer>,
    pushes: Pushes,
    publisher: Publisher,
    dropped: Throttle,
    /// How many messages a sink could not take.
    lost: u64,
    print_failed: Throttle,
    /// The last time that was printed, and how: a batch has one.
    time: Option<(SystemTime, String)>,
}

impl Sinks {
    pub(super) fn new(printer: Option<Printer>, pushes: Pushes, publisher: Publisher) -> Self {
        Self {
            printer,
            pushes,
            publisher,
            dropped: Throttle::default(),
            lost: 0,
            print_failed: Throttle::default(),
            time: None,
        }
    }

    /// Changes the settings.
    pub(super) fn reconfigure(&mut self, settings: &Settings, hosts: &Hosts) {
        let reporting = || {
            hosts.iter().filter_map(|(name, host)| {
                let reports = host.presence() == Presence::Reporting;
                Some((name, host.model().filter(|_| reports)?))
            })
        };
        self.pushes
            .reconfigure(&settings.remote_write, SystemTime::now(), reporting);
    }

    /// Passes on a model that is known from before the collector's restart: its host reports
    /// again, and is not asked for it.
    pub(super) fn model_known(&mut self, host: &Arc<str>, model: &Arc<HostGrid>, time: SystemTime) {
        self.pushes.take(host, GridKind::Model, model, time);
    }

    /// Passes a message on.
    pub(super) fn pass(&mut self, message: &Passed<'_>) {
        self.print(message);
        self.publisher
            .publish(message.host, message.kind, message.bytes);
        if message.to_engines {
            self.pushes
                .take(message.host, message.kind, message.grid, message.time);
        } else if message.kind == GridKind::Metrics {
            self.pushes.up(message.host, message.time);
        }
    }

    /// Returns true if some sink takes messages as JSON.
    pub(super) fn want_json(&self) -> bool {
        self.printer.is_some() || self.publisher.is_on()
    }

    /// Whether engines have room for more samples of the second wire.
    pub(super) fn has_room(&self) -> bool {
        self.pushes.has_room()
    }

    /// Passes on a sample of the second wire: what each source said, taken at that time in ms since 1970.
    pub(super) fn history(
        &mut self,
        host: &Arc<str>,
        grids: Vec<Arc<HostGrid>>,
        time: i64,
        ticket: Ticket,
    ) {
        self.pushes.history(host, grids, time, Some(ticket));
    }

    /// Passes on that a host of the second wire is up.
    pub(super) fn up(&mut self, host: &Arc<str>, time: SystemTime) {
        self.pushes.up(host, time);
    }

    /// Where samples are when they are acknowledged.
    pub(super) fn acknowledged(&self) -> Acknowledged {
        if self.pushes.acknowledge() {
            Acknowledged::Engine
        } else {
            Acknowledged::Table
        }
    }

    /// What was settled since the last time.
    pub(super) fn settled(&mut self) -> Vec<Settled> {
        self.pushes.settled()
    }

    /// Waits until something was settled. Cancel safe.
    pub(super) async fn progressed(&self) {
        self.pushes.progressed().notified().await;
    }

    /// How the targets of remote write fare.
    pub(super) fn targets(&self) -> Vec<TargetStatus> {
        self.pushes.status()
    }

    /// What there is to say of the PUB socket.
    pub(super) fn publish_figures(&self) -> Vec<Figure> {
        self.publisher.figures()
    }

    /// Passes on that a host is gone.
    pub(super) fn host_gone(&mut self, host: &Arc<str>) {
        self.pushes.host_gone(host, SystemTime::now());
    }

    fn print(&mut self, message: &Passed<'_>) {
        let Some(printer) = &mut self.printer else {
            return;
        };
        if self
            .time
            .as_ref()
            .is_none_or(|(time, _)| *time != message.time)
        {
            let text = humantime::format_rfc3339_micros(message.time).to_string();
            self.time = Some((message.time, text));
        }
        let time = self.time.as_ref().map_or("", |(_, text)| text);
        let line = Line {
            time,
            host: message.host,
            kind: message.kind,
            routing_id: message.routing_id,
            grid: message.grid,
        };
        if printer.print(&line).is_err() {
            self.lost += 1;
            if let Some(untold) = self.dropped.note(message.now) {
                events::lines_dropped(untold);
            }
        }
    }

    /// How many messages a sink could not take.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Says what went wrong since the last time.
    pub(super) fn attend(&mut self, now: Instant) {
        if let Some(error) = self.printer.as_ref().and_then(Printer::failure)
            && let Some(untold) = self.print_failed.note(now)
        {
            events::printing_failed(&error, untold);
        }
    }

    /// Waits until the reader of standard output is gone.
    pub(super) async fn reader_gone(&self) {
        match &self.printer {
            Some(printer) => printer.reader_gone().await,
            None => pending().await,
        }
    }

    /// Gives back memory that is only room.
    pub(super) fn let_go(&mut self) {
        if let Some(printer) = &mut self.printer {
            printer.let_go();
        }
    }

    /// Closes all sinks, in bounded time.
    pub(super) fn finish(&mut self) {
        if let Some(printer) = self.printer.take() {
            printer.finish(FAREWELL);
        }
        self.publisher = Publisher::off();
        self.pushes.finish(Instant::now() + push::FAREWELL);
    }
}
