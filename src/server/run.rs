//! The collector's task: one loop that owns everything which changes.
//!
//! Each turn reads at most a batch of messages and does at most a batch of what is due,
//! so that no flood keeps pings, expiry or a signal from their turn; libzmq reads its
//! connections fairly among them. Nothing in it waits for a peer or a reader, and the
//! watchdog is fed from here and nowhere else.

use std::time::{Duration, Instant, SystemTime};

use tokio::time::sleep_until;

use super::access::AccessRefusal;
use super::access::door::{Access, Event};
use super::complaints::{Complaints, HostLine, HostLines, Tell, Throttle};
use super::events;
use super::hosts::{Change, Due, Full, Heard, Hosts, Report, Timing};
use super::line::Line;
use super::printer::Printer;
use super::status_line::{Counts, line, totals};
use crate::curve::context::TransportError;
use crate::curve::frames::{Frames, MAX_FRAMES, Received};
use crate::curve::keys::PublicKey;
use crate::curve::router::{Router, RoutingIdBytes};
use crate::protocol::grid::Grid;
use crate::protocol::message::{Control, Malformed, Message, decode_from_agent};
use crate::systemd::notify::Notifier;
use crate::systemd::pressure::{PressureWatch, give_back};
use crate::systemd::signals::{Request, Signals};

/// Most messages in one turn: some milliseconds of them.
const BATCH_MESSAGES: usize = 256;

/// Most bytes of messages in one turn; grids can be large. Some 50 ms of parsing.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Most pings and expiries in one turn.
const BATCH_DUE: usize = 256;

/// Pings wait for each other for this long, so that a large fleet's do not wake the loop
/// one by one.
const DUE_PAUSE: Duration = Duration::from_millis(25);

/// What is due for longer than this shows that the loop did not run.
const DEAF: Duration = Duration::from_secs(1);

/// How long the reader of standard output may take for the last lines.
const FAREWELL: Duration = Duration::from_millis(200);

/// What the collector starts with.
pub struct Start {
    /// Listens already.
    pub router: Router,
    /// Who may report over it.
    pub access: Access,
    /// Where, as people read it.
    pub endpoint: String,
    /// What agents know this collector by.
    pub public_key: PublicKey,
    /// Pings and expiry.
    pub timing: Timing,
    /// Where messages are printed, if at all.
    pub printer: Option<Printer>,
    /// The service manager.
    pub notifier: Notifier,
    /// The signals to obey.
    pub signals: Signals,
    /// Tells when memory is short.
    pub pressure: PressureWatch,
}

/// The collector's task.
pub struct Server {
    router: Router,
    access: Access,
    endpoint: String,
    public_key: String,
    hosts: Hosts,
    counts: Counts,
    complaints: Complaints,
    host_lines: HostLines,
    printer: Option<Printer>,
    dropped: Throttle,
    print_failed: Throttle,
    deafness: Throttle,
    notifier: Notifier,
    signals: Signals,
    pressure: PressureWatch,
    /// When what is due was last looked at.
    attended: Instant,
}

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

enum Happened {
    Signal(Request),
    ReaderGone,
    Access(Event),
    Message((RoutingIdBytes, Received)),
    Deadline,
    MemoryShort,
}

impl Server {
    /// A collector that has not begun yet.
    #[must_use]
    pub fn new(start: Start, now: Instant) -> Self {
        Self {
            router: start.router,
            access: start.access,
            endpoint: start.endpoint,
            public_key: start.public_key.to_string(),
            hosts: Hosts::new(start.timing),
            counts: Counts::default(),
            complaints: Complaints::default(),
            host_lines: HostLines::new(now),
            printer: start.printer,
            dropped: Throttle::default(),
            print_failed: Throttle::default(),
            deafness: Throttle::default(),
            notifier: start.notifier,
            signals: start.signals,
            pressure: start.pressure,
            attended: now,
        }
    }

    /// Says that the service is ready, and works until a signal says stop, or the reader
    /// of what it prints has gone.
    ///
    /// # Errors
    ///
    /// libzmq has failed as it never should.
    pub async fn run(mut self) -> Result<(), TransportError> {
        events::ready(&self.endpoint, &self.public_key);
        let status = self.status();
        self.notifier.ready(&status);
        let why = loop {
            match self.wait().await? {
                Happened::Signal(Request::Stop(signal)) => break signal,
                Happened::ReaderGone => break "the end of standard output's reader",
                Happened::Signal(Request::Reload) => {
                    events::nothing_else_to_reload();
                    self.access.reread(Instant::now());
                }
                Happened::Access(event) => {
                    self.access.handle(event, Instant::now())?;
                    // However many handshakes there are, messages have their turn.
                    self.turn(None).await?;
                }
                Happened::Message(first) => self.turn(Some(first)).await?,
                Happened::Deadline => self.turn(None).await?,
                Happened::MemoryShort => self.spare_memory(),
            }
        };
        self.notifier.stopping(&format!("Stopping on {why}"));
        events::stopping(why, &totals(self.hosts.len(), self.counts));
        if let Some(printer) = self.printer.take() {
            printer.finish(FAREWELL);
        }
        self.access.finish().await;
        Ok(())
    }

    async fn wait(&mut self) -> Result<Happened, TransportError> {
        let due = self.hosts.next_due();
        let due = due.map(|due| due.max(self.attended + DUE_PAUSE));
        let deadline = [due, self.notifier.deadline()].into_iter().flatten().min();
        Ok(tokio::select! {
            biased;
            request = self.signals.next() => Happened::Signal(request),
            () = reader_gone(self.printer.as_ref()) => Happened::ReaderGone,
            () = until(deadline) => Happened::Deadline,
            () = self.pressure.felt() => Happened::MemoryShort,
            event = self.access.next() => Happened::Access(event?),
            message = self.router.receive() => Happened::Message(message?),
        })
    }

    /// What the hosts said stays; what was only room goes.
    fn spare_memory(&mut self) {
        if self.pressure.due(Instant::now()) {
            if let Some(printer) = &mut self.printer {
                printer.let_go();
            }
            events::memory_given_back(give_back());
        }
    }

    async fn turn(
        &mut self,
        first: Option<(RoutingIdBytes, Received)>,
    ) -> Result<(), TransportError> {
        let drained = self.hear_batch(first)?;
        let now = Instant::now();
        self.attend(now);
        if self.notifier.due(now) {
            let status = self.status();
            self.notifier.alive(&status, now);
        }
        if let Some(error) = self.printer.as_ref().and_then(Printer::failure)
            && let Some(untold) = self.print_failed.note(now)
        {
            events::printing_failed(&error, untold);
        }
        if !drained {
            // There is more at once: let the runtime look at signals and timers before.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Deals with a batch of messages; whether there were no more.
    fn hear_batch(
        &mut self,
        first: Option<(RoutingIdBytes, Received)>,
    ) -> Result<bool, TransportError> {
        let now = Instant::now();
        let mut time = None;
        let mut next = first;
        let mut bytes = 0;
        for _ in 0..BATCH_MESSAGES {
            let message = match next.take() {
                Some(message) => Some(message),
                None => self.router.try_receive()?,
            };
            let Some((from, received)) = message else {
                return Ok(true);
            };
            bytes += self.hear(now, &mut time, &from, received);
            if bytes > BATCH_BYTES {
                break;
            }
        }
        Ok(false)
    }

    /// Deals with one message; its length in bytes. `time` is the batch's for who reads
    /// it, once somebody does.
    fn hear(
        &mut self,
        now: Instant,
        time: &mut Option<String>,
        from: &RoutingIdBytes,
        received: Received,
    ) -> usize {
        match received {
            Received::TooManyFrames { found } => {
                self.refuse(now, from, None, &Refusal::TooManyFrames(found));
                0
            }
            Received::Message(mut frames) => {
                let key = frames.peer_key();
                match self.understand(now, time, from, key, &frames) {
                    Ok(()) => self.counts.messages += 1,
                    Err(refusal) => self.refuse(now, from, frames.peer_address(), &refusal),
                }
                frames.bytes()
            }
        }
    }

    fn understand(
        &mut self,
        now: Instant,
        time: &mut Option<String>,
        from: &RoutingIdBytes,
        key: Option<PublicKey>,
        frames: &Frames,
    ) -> Result<(), Refusal> {
        // On the stack: every message comes here.
        let mut slices: [&[u8]; MAX_FRAMES] = [&[]; MAX_FRAMES];
        for (slice, frame) in slices.iter_mut().zip(frames.iter()) {
            *slice = frame;
        }
        let slices = slices.get(..frames.len()).unwrap_or(&slices);
        let (host, grid, kind) = match decode_from_agent(slices)? {
            // An agent says no other word.
            Message::Control(_) => {
                self.access.admit(now, key, None)?;
                send(&mut self.router, from, Control::Model);
                return Ok(());
            }
            Message::Grid { host, grid, kind } => (host, grid, kind),
        };
        let report = Report {
            host,
            kind,
            grid: Grid::parse(grid, kind)?,
            wire_bytes: grid.len(),
        };
        self.access.admit(now, key, Some(host))?;
        let Heard {
            change,
            ask_model,
            grid,
        } = self.hosts.hear(now, from, report)?;
        if ask_model {
            send(&mut self.router, from, Control::Model);
        }
        if let Some(printer) = &mut self.printer {
            let time = time.get_or_insert_with(|| {
                humantime::format_rfc3339_micros(SystemTime::now()).to_string()
            });
            let line = Line {
                time,
                host,
                kind,
                routing_id: from,
                grid,
            };
            if printer.print(&line).is_err()
                && let Some(untold) = self.dropped.note(now)
            {
                events::lines_dropped(untold);
            }
        }
        match change {
            Some(Change::Appeared) if self.write_host_line(now) => {
                events::host_appeared(host, from);
            }
            Some(Change::Replaced { tell: Some(untold) }) if self.write_host_line(now) => {
                events::host_replaced(host, from, untold);
            }
            Some(Change::Appeared | Change::Replaced { .. }) | None => {}
        }
        Ok(())
    }

    /// Counts a message that was refused, and says so where that is worth a line.
    fn refuse(
        &mut self,
        now: Instant,
        from: &RoutingIdBytes,
        address: Option<&str>,
        refusal: &Refusal,
    ) {
        self.counts.refused += 1;
        if let Refusal::Access(refusal @ AccessRefusal::NameTaken { host, .. }) = refusal {
            self.access.tell_name_taken(now, host, address, refusal);
            return;
        }
        match self.complaints.note(now, from) {
            Tell::Nothing => {}
            Tell::Peer { untold } => events::refused(from, address, refusal, untold),
            Tell::Crowd { untold } => events::refused_of_crowd(from, address, refusal, untold),
        }
    }

    /// Sends the pings that are due, and lets go of hosts that are gone.
    fn attend(&mut self, now: Instant) {
        let Some(due) = self.hosts.next_due().filter(|due| *due <= now) else {
            return;
        };
        let late = now.saturating_duration_since(due.max(self.attended));
        if late > DEAF {
            self.hosts.was_deaf(now);
            if self.deafness.note(now).is_some() {
                events::was_deaf(late);
            }
        }
        self.attended = now;
        for _ in 0..BATCH_DUE {
            match self.hosts.take_due(now) {
                Some(Due::Ping { to, .. }) => send(&mut self.router, &to, Control::Ping),
                Some(Due::Gone {
                    name,
                    routing_id,
                    silence,
                }) => {
                    if self.write_host_line(now) {
                        events::host_gone(&name, &routing_id, silence);
                    }
                }
                None => break,
            }
        }
    }

    /// Whether a line on a host that came or went may be written.
    fn write_host_line(&mut self, now: Instant) -> bool {
        match self.host_lines.note(now) {
            HostLine::Write => return true,
            HostLine::LeftOut { untold } => events::host_lines_left_out(untold),
            HostLine::Nothing => {}
        }
        false
    }

    fn status(&self) -> String {
        let totals = totals(self.hosts.len(), self.counts);
        line(&self.endpoint, &self.public_key, &totals)
    }
}

/// A peer that does not read what is sent to it, or that has gone, misses it.
fn send(router: &mut Router, to: &RoutingIdBytes, control: Control) {
    if let Err(error) = router.try_send(to, &Message::Control(control).frames()) {
        events::sending_failed(to, control.word(), &error);
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

async fn reader_gone(printer: Option<&Printer>) {
    match printer {
        Some(printer) => printer.reader_gone().await,
        None => std::future::pending().await,
    }
}
