//! "monitor": prints changes of state as they come, until its reader is gone.
//!
//! An agent that leaves is waited for, as in busctl monitor and journalctl -f, so that one can
//! follow a restart or an upgrade.

use std::collections::HashMap;

use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use zbus::fdo::NameOwnerChangedStream;
use zbus::names::UniqueName;

use super::json::Printer;
use super::kept::lost;
use super::status::View;
use super::style::Style;
use super::{Control, Failure, emit, number, printable, string};
use crate::base::clock::Clock;
use crate::ctl::proxy::{Agent, FindError};
use crate::dbus::path;

/// What is to be printed.
enum Note {
    Absent,
    Present {
        version: String,
    },
    State {
        connection: String,
        before: Before,
        new: String,
        reason: String,
    },
    /// Samples are lost for a collector.
    Lost {
        connection: String,
        count: u64,
        first: u64,
        last: u64,
        reason: String,
    },
}

/// What came before a state.
enum Before {
    /// It was there already, since then: µs since 1970, 0 if the agent does not report it.
    Since(u64),
    /// It was this one until now.
    State(String),
}

/// Why the output ends: its reader is gone.
struct Unread;

impl Control {
    /// Until a signal ends it, or the bus does.
    pub(super) async fn monitor(&self) -> Result<(), Failure> {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::Io)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::Io)?;
        tokio::select! {
            ended = self.tell_all() => ended,
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
        }
    }

    async fn tell_all(&self) -> Result<(), Failure> {
        let connection = self.connect().await?;
        // Before the first look, so that later changes of owner are not missed.
        let mut owners = Agent::owners(&connection).await?;
        loop {
            match Agent::on(&connection, &self.bus, false).await {
                Ok(agent) => {
                    tokio::select! {
                        // First what it still said, then that it went.
                        biased;
                        followed = self.follow(&agent) => match followed {
                            Ok(Unread) => return Ok(()),
                            Err(Failure::Gone) => self.left(&mut owners, &agent).await?,
                            Err(failure) => return Err(failure),
                        },
                        left = self.left(&mut owners, &agent) => left?,
                    }
                }
                Err(FindError::NotRunning { .. }) => {
                    if let Some(Unread) = self.tell(&Note::Absent)? {
                        return Ok(());
                    }
                    self.came(&mut owners).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The states of one agent as they are, then their changes.
    async fn follow(&self, agent: &Agent) -> Result<Unread, Failure> {
        let proxy = agent.agent1().await?;
        let mut changes = proxy.receive_state_changed().await?;
        let mut losses = agent.losses().await?;
        let view = View::of(agent).await?;
        let present = Note::Present {
            version: view.version(),
        };
        if let Some(unread) = self.tell(&present)? {
            return Ok(unread);
        }
        let mut told = HashMap::new();
        for connection in view.connections() {
            let (name, new) = (string(connection, "Name"), string(connection, "State"));
            told.insert(name.clone(), new.clone());
            let state = Note::State {
                connection: name,
                before: Before::Since(number(connection, "StateSinceUSec")),
                new,
                reason: string(connection, "StateReason"),
            };
            if let Some(unread) = self.tell(&state)? {
                return Ok(unread);
            }
        }
        loop {
            let change = tokio::select! {
                biased;
                change = changes.next() => change,
                lost = losses.next() => {
                    let Some(lost) = lost else {
                        break;
                    };
                    if let Some(unread) = self.tell(&Note::lost(&lost?)?)? {
                        return Ok(unread);
                    }
                    continue;
                }
            };
            let Some(change) = change else {
                break;
            };
            let change = change.args()?;
            let name = printable(&path::name_of(change.connection.as_str()));
            // A change that came while the states were asked for is printed already.
            if told.remove(&name).is_some_and(|told| told == change.new) {
                continue;
            }
            let state = Note::State {
                connection: name,
                before: Before::State(printable(change.old)),
                new: printable(change.new),
                reason: printable(change.reason),
            };
            if let Some(unread) = self.tell(&state)? {
                return Ok(unread);
            }
        }
        Err(Failure::LostBus(self.bus.clone()))
    }

    /// Waits until this agent does not own the name any more.
    async fn left(
        &self,
        owners: &mut NameOwnerChangedStream,
        agent: &Agent,
    ) -> Result<(), Failure> {
        while let Some(change) = owners.next().await {
            let change = change.args()?;
            let new = change.new_owner().as_ref();
            // Its own arrival may still be in the stream.
            if new.map(UniqueName::as_str) != Some(agent.owner().as_str()) {
                return Ok(());
            }
        }
        Err(Failure::LostBus(self.bus.clone()))
    }

    /// Waits until some agent owns the name.
    async fn came(&self, owners: &mut NameOwnerChangedStream) -> Result<(), Failure> {
        while let Some(change) = owners.next().await {
            if change.args()?.new_owner().is_some() {
                return Ok(());
            }
        }
        Err(Failure::LostBus(self.bus.clone()))
    }

    fn tell(&self, note: &Note) -> Result<Option<Unread>, Failure> {
        let clock = Clock::local();
        let text = match self.json {
            Some(form) => Printer(form).line(&note.to_json(clock.now)),
            None => note.to_text(self.style, &clock),
        };
        Ok((!emit(&text)?).then_some(Unread))
    }
}

impl Note {
    /// What a signal `SamplesLost` says.
    fn lost(signal: &zbus::Message) -> zbus::Result<Self> {
        let header = signal.header();
        let path = header.path().map_or("", |path| path.as_str());
        let body = signal.body();
        let (count, first, last, reason): (u64, u64, u64, &str) = body.deserialize()?;
        Ok(Self::Lost {
            connection: printable(&path::name_of(path)),
            count,
            first,
            last,
            reason: printable(reason),
        })
    }

    fn to_text(&self, style: Style, clock: &Clock) -> String {
        let (dot, text) = match self {
            Self::Absent => (
                style.dot("inactive"),
                "metrics-agent is not running; waiting for it".to_owned(),
            ),
            Self::Present { version } => (
                style.dot("reporting"),
                format!("metrics-agent {version} is running"),
            ),
            Self::State {
                connection,
                before,
                new,
                reason,
            } => {
                let state = match before {
                    Before::Since(0) => new.clone(),
                    Before::Since(then) => format!("{new} since {}", clock.date(*then)),
                    Before::State(old) => format!("{old} -> {new}"),
                };
                (style.dot(new), format!("{connection}: {state}: {reason}"))
            }
            Self::Lost {
                connection,
                count,
                first,
                last,
                reason,
            } => {
                let lost = lost(*count, *first, *last, reason);
                (style.dot("stale"), format!("{connection}: {lost}"))
            }
        };
        format!("{} {dot} {text}\n", clock.stamp())
    }

    fn to_json(&self, now: u64) -> Value {
        match self {
            Self::Absent => json!({ "TimeUSec": now, "Agent": null }),
            Self::Present { version } => {
                json!({ "TimeUSec": now, "Agent": { "Version": version } })
            }
            Self::State {
                connection,
                before,
                new,
                reason,
            } => {
                let (old, since) = match before {
                    // It came now, as TimeUSec says.
                    Before::State(old) => (Some(old), None),
                    Before::Since(then) => (None, (*then != 0).then_some(then)),
                };
                json!({
                    "TimeUSec": now,
                    "Connection": connection,
                    "Old": old,
                    "New": new,
                    "StateSinceUSec": since,
                    "Reason": reason,
                })
            }
            Self::Lost {
                connection,
                count,
                first,
                last,
                reason,
            } => json!({
                "TimeUSec": now,
                "Connection": connection,
                "Lost": count,
                "FirstUSec": first,
                "LastUSec": last,
                "Reason": reason,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_each_thing_to_tell() {
        let clock = Clock::new(1_700_000_000_000_000, jiff::tz::TimeZone::UTC);
        let style = Style::new(false);
        let state = |before: Before| Note::State {
            connection: "main".to_owned(),
            before,
            new: "reporting".to_owned(),
            reason: "it answers".to_owned(),
        };
        let changed = || state(Before::State("stale".to_owned()));
        let now = "Nov 14 22:13:20";
        assert_eq!(
            changed().to_text(style, &clock),
            format!("{now} ● main: stale -> reporting: it answers\n")
        );
        assert_eq!(
            state(Before::Since(clock.now - 60_000_000)).to_text(style, &clock),
            format!("{now} ● main: reporting since Tue 2023-11-14 22:12:20 UTC: it answers\n")
        );
        assert_eq!(
            state(Before::Since(0)).to_text(style, &clock),
            format!("{now} ● main: reporting: it answers\n")
        );
        let lost = Note::Lost {
            connection: "main".to_owned(),
            count: 12,
            first: 1_790_000_000_000_000,
            last: 1_790_000_055_000_000,
            reason: "disk-full".to_owned(),
        };
        assert_eq!(
            lost.to_text(style, &clock),
            format!(
                "{now} {} main: 12 samples lost from 2026-09-21T14:13:20Z to 2026-09-21T14:14:15Z: disk-full\n",
                style.dot("stale")
            )
        );
        assert_eq!(lost.to_json(7)["Lost"], 12);
        assert_eq!(
            Note::Absent.to_text(style, &clock),
            format!("{now} ○ metrics-agent is not running; waiting for it\n")
        );
        let json = state(Before::Since(5)).to_json(7);
        assert_eq!(json["Old"], Value::Null);
        assert_eq!(json["StateSinceUSec"], 5);
        assert_eq!(changed().to_json(7)["Old"], "stale");
        assert_eq!(changed().to_json(7)["StateSinceUSec"], Value::Null);
        assert_eq!(
            Note::Absent.to_json(7),
            json!({ "TimeUSec": 7, "Agent": null })
        );
    }
}
