//! The loop: messages, keys, time and signals in; the screen out.
//!
//! Draws only when something has changed, and then at most once in [`FRAME`]; input shows at
//! once.

use std::fmt::Display;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::Signal as Sent;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::app::{App, Outcome};
use super::connection::{Connection, Happened};
use super::input::{Command, command};
use super::keys::Origin;
use super::link::{Status, Trouble};
use super::model::Fleet;
use super::sort::sorted;
use super::terminal::{self, Input, Screen};
use super::view::theme::Theme;
use super::view::{self, Drawn, Scene};
use crate::base::clock::Clock;
use crate::curve::keys::PublicKey;
use crate::curve::zmtp::message::Received;
use crate::protocol::message::{Malformed, Message, decode_for_viewer};

/// From one drawing to the next, unless a person has done something.
const FRAME: Duration = Duration::from_millis(250);

/// Ages are told in seconds, so that much changes by itself.
const BEAT: Duration = Duration::from_secs(1);

/// How often hosts that are long gone are looked for.
const EXPIRY: Duration = Duration::from_secs(10);

/// Maximum number of messages before other events are handled.
const BATCH: usize = 64;

/// What is shown, and whose it is.
pub struct Start {
    /// The connection, begun.
    pub connection: Connection,
    /// The collector, for people.
    pub collector: String,
    /// This viewer's key.
    pub own_key: PublicKey,
    /// The key that the collector was expected to have.
    pub collector_key: PublicKey,
    /// Where that is known from.
    pub origin: Origin,
    /// A name for this viewer.
    pub own_name: String,
    /// The table, sorted and filtered.
    pub app: App,
    /// What the terminal has.
    pub theme: Theme,
}

/// The loop's state.
struct Top {
    start: Start,
    fleet: Fleet,
    screen: Screen,
    inputs: mpsc::Receiver<Input>,
    signals: Signals,
    drawn: Instant,
    /// Something has changed since.
    dirty: bool,
    /// A person has done something since.
    urgent: bool,
    expired: Instant,
}

struct Signals {
    ends: [Signal; 3],
    stop: Signal,
}

enum Seen {
    Link(Happened),
    Input(Option<Input>),
    End,
    Stop,
    Frame,
}

/// Takes the terminal and shows the fleet until the user quits.
///
/// # Errors
///
/// The terminal's.
pub async fn run(start: Start) -> io::Result<Option<String>> {
    let signals = Signals {
        ends: [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ],
        stop: signal(SignalKind::from_raw(Sent::TSTP.as_raw()))?,
    };
    let screen = Screen::open()?;
    let now = Instant::now();
    let mut top = Top {
        start,
        fleet: Fleet::default(),
        screen,
        inputs: terminal::keys()?,
        signals,
        drawn: now,
        dirty: true,
        urgent: true,
        expired: now,
    };
    let ended = top.show().await;
    drop(top.screen);
    ended?;
    let words = last_words(&top.start);
    let failed = top.start.connection.end().await;
    Ok(words.or_else(|| failed.map(|failed| format!("metrics-top: {failed}"))))
}

/// Text to print once the screen is gone: the command that lets this viewer in.
fn last_words(start: &Start) -> Option<String> {
    let (Status::Waiting(trouble, _) | Status::Connecting(Some(trouble))) =
        start.connection.status()
    else {
        return None;
    };
    (*trouble == Trouble::KeyRefused).then(|| {
        let command = super::keys::AllowCommand {
            key: start.own_key,
            name: &start.own_name,
        };
        format!(
            "{} does not let this viewer in. The collector's administrator allows it there with\n  {command}",
            start.collector
        )
    })
}

impl Top {
    async fn show(&mut self) -> io::Result<()> {
        loop {
            let now = Instant::now();
            if self.is_time_to_draw(now) {
                self.draw(now)?;
            }
            match self.wait().await {
                Seen::Link(happened) => self.hear(happened).await,
                Seen::Input(Some(Input::Key(key))) => {
                    if let Some(command) = command(key, self.start.app.mode())
                        && !self.obey(command)?
                    {
                        return Ok(());
                    }
                }
                Seen::Input(Some(Input::Resized)) => self.urgent = true,
                Seen::Input(Some(Input::Gone) | None) | Seen::End => return Ok(()),
                Seen::Stop => {
                    self.screen.suspend()?;
                    self.urgent = true;
                }
                Seen::Frame => self.dirty = true,
            }
        }
    }

    /// Returns true if something has changed and enough time has passed.
    fn is_time_to_draw(&self, now: Instant) -> bool {
        self.urgent || (self.dirty && now >= self.drawn + FRAME)
    }

    async fn wait(&mut self) -> Seen {
        let frame = self.drawn + if self.dirty { FRAME } else { BEAT };
        let [interrupt, terminate, hangup] = &mut self.signals.ends;
        tokio::select! {
            biased;
            _ = interrupt.recv() => Seen::End,
            _ = terminate.recv() => Seen::End,
            _ = hangup.recv() => Seen::End,
            _ = self.signals.stop.recv() => Seen::Stop,
            input = self.inputs.recv() => Seen::Input(input),
            () = sleep_until(frame.into()) => Seen::Frame,
            happened = self.start.connection.happens() => Seen::Link(happened),
        }
    }

    /// Handles this event of the link, and those that are already there.
    async fn hear(&mut self, first: Happened) {
        let mut next = first;
        for _ in 0..BATCH {
            let now = Instant::now();
            if let Some(received) = self.start.connection.take(next, now) {
                // A message that cannot be read is counted; there is nothing to do about it.
                let _ = take_message(&mut self.fleet, now, &received);
            }
            self.dirty = true;
            let more = tokio::select! {
                biased;
                happened = self.start.connection.happens() => Some(happened),
                () = std::future::ready(()) => None,
            };
            match more {
                Some(happened) => next = happened,
                None => break,
            }
        }
    }

    /// Executes a command. Returns false to quit.
    fn obey(&mut self, command: Command) -> io::Result<bool> {
        let now = Instant::now();
        let app = &mut self.start.app;
        let (filter, sort, reversed) = (app.filter.clone(), app.sort, app.reversed);
        let as_of = self.fleet.as_of(now);
        let rows = sorted(self.fleet.hosts(), &filter, sort, reversed, as_of);
        let outcome = app.obey(command, &rows);
        self.urgent = true;
        match outcome {
            Outcome::Stay => {}
            Outcome::Quit => return Ok(false),
            Outcome::Suspend => self.screen.suspend()?,
            Outcome::Redraw => self.screen.clear()?,
            Outcome::Retry => self.start.connection.retry(now),
        }
        Ok(true)
    }

    fn draw(&mut self, now: Instant) -> io::Result<()> {
        if now.saturating_duration_since(self.expired) >= EXPIRY {
            self.fleet.expire(now);
            self.expired = now;
        }
        let Start {
            connection,
            collector,
            own_key,
            collector_key,
            origin,
            own_name,
            app,
            theme,
        } = &mut self.start;
        let as_of = self.fleet.as_of(now);
        let rows = sorted(
            self.fleet.hosts(),
            &app.filter,
            app.sort,
            app.reversed,
            as_of,
        );
        // By the room of the last time, which is the room of this time but once.
        app.resettle(&rows);
        let focus = app.focus(&rows).cloned();
        let rows = if self.fleet.watches(focus.as_ref()) {
            rows
        } else {
            // Before it is drawn: its rates are to be seen at once.
            self.fleet.watch(focus.as_ref());
            sorted(
                self.fleet.hosts(),
                &app.filter,
                app.sort,
                app.reversed,
                as_of,
            )
        };
        let clock = Clock::local();
        let mut drawn = Drawn::Nothing;
        self.screen.draw(|buffer| {
            drawn = view::draw(
                buffer,
                &Scene {
                    app,
                    rows: &rows,
                    fleet: &self.fleet,
                    link: connection.status(),
                    collector,
                    own_key: *own_key,
                    collector_key: *collector_key,
                    origin,
                    own_name,
                    now,
                    clock: &clock,
                    theme: *theme,
                },
            );
        })?;
        let settled = (app.offset, app.look.clone());
        match drawn {
            Drawn::Rows(page) => app.settle_rows(&rows, page),
            Drawn::Lines(lines, page) => app.settle_lines(lines, page),
            Drawn::Nothing => {}
        }
        let moved = (app.offset, app.look.clone()) != settled;
        self.drawn = now;
        // What was found out by drawing may want another one, at once: it ends there.
        self.urgent = moved;
        self.dirty = false;
        Ok(())
    }
}

/// Takes a message of the collector.
///
/// # Errors
///
/// What is wrong with it, as text for a log.
pub(super) fn take_message(
    fleet: &mut Fleet,
    now: Instant,
    received: &Received,
) -> Result<(), String> {
    let text = |error: &dyn Display| error.to_string();
    // Whatever it was: the collector is there.
    fleet.hear(now);
    match received {
        Received::TooManyFrames { found } => Err(format!("it has {found} frames")),
        Received::Message(frames) => match decode_for_viewer(&frames.as_slices()) {
            // No collector sends samples to a viewer: that is an error of reading.
            Ok(Message::Control(_) | Message::Data { .. }) => Ok(()),
            Ok(Message::State { host, grid }) => fleet
                .take_state(now, Clock::local().now_seconds(), host, grid)
                .map_err(|error| text(&error)),
            Ok(Message::Grid { host, grid, kind }) => fleet
                .take(now, host, kind, grid)
                .map_err(|error| text(&error)),
            Err(error) => Err(Malformed::to_string(&error)),
        },
    }
}
