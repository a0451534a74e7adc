//! metrics-agentctl: command-line access to the agent, with systemctl's conventions.
//!
//! Owns what its commands do and how the answers look. It asks over D-Bus like any other client,
//! knows only what an agent on the bus reports, and never starts one.

use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use zbus::{Connection, Variant};

use crate::base::clock::Clock;
use crate::base::columns::fit_lines;
use crate::base::{locale, pager, terminal, text as plain};
use crate::config::LogLevel;
use crate::ctl::proxy::{Agent, FindError, Values};
use crate::dbus::Bus;

pub mod arguments;
pub mod choice;
mod failure;
mod json;
mod kept;
mod keys;
mod metrics;
mod monitor;
mod polkit_agent;
pub mod proxy;
mod screen;
mod status;
mod style;
mod unit;
mod watch;

use arguments::{Arguments, Command, Json, Names};
pub use failure::Failure;
use json::Printer;
use polkit_agent::PolkitAgent;
use style::Style;
use unit::Unit;

/// Where the bus is named if not on the command line; the daemon reads it too.
const BUS_VARIABLE: &str = "METRICS_AGENT_DBUS__BUS";

/// How long a shell may wait for names to complete.
const COMPLETION_PATIENCE: Duration = Duration::from_secs(2);

/// Carries out one command line.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Command::Keygen { name, directory } = arguments.chosen() {
        return keys::generate(&name, directory);
    }
    if let Command::PublicKey { file: Some(file) } = arguments.chosen() {
        return keys::print_public(&file);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Io)?;
    runtime.block_on(Control::new(arguments)?.carry_out(arguments.chosen()))
}

/// Prints text to standard output. A reader that has gone is no error.
fn print(text: &str) -> Result<(), Failure> {
    emit(text).map(drop)
}

/// Prints text to standard output; returns false if the reader is gone.
fn emit(text: &str) -> Result<bool, Failure> {
    terminal::emit(text).map_err(Failure::Io)
}

/// A line to standard error.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{}", locale::shown(&plain::lines(text)));
}

/// What the options say, for every command.
struct Control {
    bus: Bus,
    json: Option<Json>,
    style: Style,
    /// True if standard output is a terminal.
    terminal: bool,
    paged: bool,
    /// Columns to shorten lines to; None for whole lines.
    width: Option<usize>,
    /// The width of the terminal that texts are wrapped for; None if there is none.
    columns: Option<usize>,
    /// Lines of the log.
    lines: u32,
    /// True if polkit may ask for a password.
    interactive: bool,
}

impl Control {
    fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let named = arguments.bus.clone();
        let bus = match named.or_else(|| std::env::var(BUS_VARIABLE).ok()) {
            Some(bus) => bus.parse().map_err(Failure::Bus)?,
            None => Bus::System,
        };
        let terminal = terminal::on_terminal();
        let environment = terminal::environment;
        let paged = terminal && !arguments.no_pager && !terminal::dumb(environment);
        Ok(Self {
            bus,
            json: arguments.json(),
            style: Style::new(terminal::colours(terminal, environment)),
            terminal,
            paged,
            // A pager scrolls sideways, a file has room.
            width: (terminal && !paged && !arguments.full).then(terminal::width),
            columns: (terminal && !arguments.full).then(terminal::width),
            lines: arguments.lines,
            interactive: !arguments.no_ask_password,
        })
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        self.bus.connect().await.map_err(|source| Failure::NoBus {
            bus: self.bus.clone(),
            source,
        })
    }

    async fn agent(&self) -> Result<Agent, Failure> {
        let connection = self.connect().await?;
        match Agent::on(&connection, &self.bus, self.interactive).await {
            Ok(agent) => Ok(agent),
            Err(error @ FindError::NotRunning { .. }) => match self.unit(&connection).await {
                Some(unit) if unit.is_misconfigured() => Err(Failure::Misconfigured),
                _ => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// The agent, to change something, and the program that asks for the password meanwhile.
    async fn agent_to_change(&self) -> Result<(Agent, Option<PolkitAgent>), Failure> {
        let agent = self.agent().await?;
        let asks = self.interactive.then(|| PolkitAgent::start(&self.bus));
        Ok((agent, asks.flatten()))
    }

    async fn carry_out(self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Status => self.status().await,
            Command::Connections => self.connections().await,
            Command::Metrics {
                choices,
                model,
                watch,
                interval,
            } => {
                let kind = if model { "model" } else { "metrics" };
                if watch {
                    self.watch(kind, &choices, interval).await
                } else {
                    self.metrics(kind, &choices).await
                }
            }
            Command::SetInterval { time, persistent } => {
                self.order("SetMetricsInterval", &(usec(time), persistent))
                    .await
            }
            Command::SetStale { time, persistent } => {
                self.order("SetStaleInterval", &(usec(time), persistent))
                    .await
            }
            Command::Revert => self.order("Revert", &()).await,
            Command::Reload => self.order("Reload", &()).await,
            Command::Reconnect { connection } => self.reconnect(connection).await,
            Command::Enable { sources } => self.enable(&sources, true).await,
            Command::Disable { sources } => self.enable(&sources, false).await,
            Command::LogLevel { level } => self.log_level(level).await,
            Command::Monitor => self.monitor().await,
            Command::PublicKey { .. } => self.public_key().await,
            Command::CompleteNames { kind, model, typed } => {
                self.complete(kind, model, typed.as_deref()).await
            }
            // Needs no agent, so it never gets here.
            Command::Keygen { name, directory } => keys::generate(&name, directory),
        }
    }

    async fn order<B>(&self, method: &'static str, arguments: &B) -> Result<(), Failure>
    where
        B: serde::Serialize + zbus::DynamicType + Sync,
    {
        let (agent, _asks) = self.agent_to_change().await?;
        Ok(agent.order(method, arguments).await?)
    }

    fn page(&self, text: &str) -> Result<(), Failure> {
        if self.paged {
            pager::show(text).map_err(Failure::Io)
        } else {
            print(&fit_lines(text, self.width))
        }
    }

    async fn status(&self) -> Result<(), Failure> {
        let connection = self.connect().await?;
        let agent = match Agent::on(&connection, &self.bus, false).await {
            Ok(agent) => agent,
            Err(error) => {
                let failure = error.into();
                return Err(match failure {
                    Failure::NotRunning(bus) => self.not_running(&connection, bus).await?,
                    other => other,
                });
            }
        };
        let view = status::View::of(&agent).await?;
        if let Some(form) = self.json {
            return print(&Printer(form).line(&view.to_json()));
        }
        let process = status::Process::of(&agent).await;
        let text = view.to_text(process.as_ref(), self.style, &Clock::local());
        let mut text = status::wrapped(&text, self.columns);
        text += &self.log(process.and_then(|process| process.unit).as_ref());
        self.page(&text)
    }

    /// The last lines of a unit's log after an empty one, where there are some.
    fn log(&self, unit: Option<&Unit>) -> String {
        let log = unit.and_then(|unit| unit::log(unit, self.lines, self.style));
        log.map_or_else(String::new, |log| format!("\n{log}"))
    }

    /// The answer to "status" where there is no agent, in the form that was asked for; with
    /// what became of its unit. Returns how the command ends.
    async fn not_running(&self, connection: &Connection, bus: Bus) -> Result<Failure, Failure> {
        let unit = self.unit(connection).await;
        let outcome = match &unit {
            Some(unit) if unit.is_misconfigured() => Failure::InactiveMisconfigured,
            _ => Failure::Inactive(bus),
        };
        if let Some(form) = self.json {
            print(&Printer(form).line(&serde_json::json!({ "Agent": null })))?;
            return Ok(outcome);
        }
        let state = unit.as_ref().map_or_else(String::new, Unit::state);
        let mut text = format!("{} metrics-agent is not running\n", self.style.dot(&state));
        if let Some(unit) = &unit {
            let activity = unit.activity(self.style, &Clock::local());
            // Writing to a String can't fail.
            let _ = writeln!(
                text,
                "        Unit: {}\n      Active: {activity}",
                unit.name()
            );
            if unit.is_misconfigured() {
                // What to do about it is said by the failure.
                text += "      Reason: its settings are invalid (status 78)\n";
            }
        }
        text += &self.log(unit.as_ref());
        self.page(&text)?;
        Ok(outcome)
    }

    /// The unit that an agent on this bus would be.
    async fn unit(&self, connection: &Connection) -> Option<Unit> {
        match self.bus {
            Bus::System => Unit::installed(connection).await,
            Bus::Session | Bus::Address(_) => None,
        }
    }

    /// Names for a shell. No answer is an answer there, an error would be in the way.
    async fn complete(&self, kind: Names, model: bool, typed: Option<&str>) -> Result<(), Failure> {
        let names = tokio::time::timeout(COMPLETION_PATIENCE, async {
            if kind == Names::Levels {
                return Ok(LogLevel::WORDS.map(str::to_owned).to_vec());
            }
            let agent = self.agent().await?;
            if kind == Names::Metrics {
                let which = if model { "model" } else { "metrics" };
                let grid = agent.agent1().await?.sample(which).await?;
                return Ok(choice::completions(grid.keys(), typed));
            }
            Ok::<_, Failure>(status::View::of(&agent).await?.names(kind))
        });
        let Ok(Ok(names)) = names.await else {
            return Ok(());
        };
        print(
            &names
                .iter()
                .flat_map(|name| [name, "\n"])
                .collect::<String>(),
        )
    }

    async fn connections(&self) -> Result<(), Failure> {
        let view = status::View::of(&self.agent().await?).await?;
        if let Some(form) = self.json {
            return print(&Printer(form).line(&view.connections_to_json()));
        }
        let text = view.connections_to_text(self.style, &Clock::local());
        self.page(&status::wrapped(&text, self.columns))
    }

    async fn reconnect(&self, connection: Option<String>) -> Result<(), Failure> {
        let (agent, _asks) = self.agent_to_change().await?;
        let Some(name) = connection else {
            agent.order("Reconnect", &()).await?;
            let view = status::View::of(&agent).await?;
            if let Some(why) = view.why_no_connection() {
                terminal::complain("metrics-agentctl", &format!("nothing to reconnect: {why}"));
            }
            return Ok(());
        };
        status::View::of(&agent).await?.connection(&name)?;
        Ok(agent.reconnect(&name).await?)
    }

    async fn enable(&self, sources: &[String], enabled: bool) -> Result<(), Failure> {
        let (agent, _asks) = self.agent_to_change().await?;
        let view = status::View::of(&agent).await?;
        // All names are checked first: if one is misspelt, nothing is changed.
        for name in sources {
            view.source(name)?;
        }
        for name in sources {
            agent.set_enabled(name, enabled).await?;
        }
        Ok(())
    }

    async fn log_level(&self, level: Option<String>) -> Result<(), Failure> {
        if let Some(level) = level {
            let (agent, _asks) = self.agent_to_change().await?;
            return Ok(agent.set_log_level(&level).await?);
        }
        let level = self.agent().await?.agent1().await?.log_level().await?;
        match self.json {
            Some(form) => print(&Printer(form).line(&level.into())),
            None => print(&format!("{level}\n")),
        }
    }

    async fn public_key(&self) -> Result<(), Failure> {
        let key = self.agent().await?.agent1().await?.public_key().await?;
        match self.json {
            Some(form) => print(&Printer(form).line(&key.into())),
            None => print(&format!("{key}\n")),
        }
    }
}

/// A time as the bus carries it. A larger one is out of every range, and the agent says which.
fn usec(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Text of the agent that does nothing to a terminal.
fn printable(text: &str) -> String {
    plain::shown(text).into_owned()
}

/// The text of a property, of an agent that has it.
fn string(values: &Values, name: &str) -> String {
    match values.get(name).map(|value| &**value) {
        Some(Variant::Str(text)) => printable(text),
        _ => String::new(),
    }
}

/// The number of a property; 0, which says "never" or "none", of an agent without it.
fn number(values: &Values, name: &str) -> u64 {
    match values.get(name).map(|value| &**value) {
        Some(Variant::U64(number)) => *number,
        _ => 0,
    }
}
