//! metrics-agentctl: a person's way to the agent, with systemctl's habits.
//!
//! Owns what its commands do and how the answers look. It asks over D-Bus like
//! everybody else and knows nothing that an agent on the bus does not tell; it never
//! starts one.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use futures_util::StreamExt as _;
use zbus::Variant;

use crate::dbus::proxy::Agent;
use crate::dbus::{Bus, path};

pub mod arguments;
mod failure;
mod json;
mod keys;
mod metrics;
mod pager;
mod status;
mod text;

use arguments::{Arguments, Command, Json};
pub use failure::Failure;
use json::Printer;
use text::Style;

/// Where the bus is named if not on the command line; the daemon reads it too.
const BUS_VARIABLE: &str = "METRICS_AGENT_DBUS__BUS";

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

/// Text to standard output. Whoever stopped reading has seen enough.
fn print(text: &str) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    match output
        .write_all(text.as_bytes())
        .and_then(|()| output.flush())
    {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Io(error)),
        _ => Ok(()),
    }
}

/// What the options say, for every command.
struct Control {
    bus: Bus,
    json: Option<Json>,
    style: Style,
    paged: bool,
}

impl Control {
    fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let named = arguments.bus.clone();
        let bus = match named.or_else(|| std::env::var(BUS_VARIABLE).ok()) {
            Some(bus) => bus.parse().map_err(Failure::Bus)?,
            None => Bus::System,
        };
        let terminal = io::stdout().is_terminal();
        Ok(Self {
            bus,
            json: arguments.json,
            style: Style::new(terminal && !set("NO_COLOR")),
            paged: terminal && !arguments.no_pager,
        })
    }

    async fn agent(&self) -> Result<Agent, Failure> {
        // polkit may ask a question where there is somebody to answer it.
        let interactive = io::stdin().is_terminal();
        Ok(Agent::find(&self.bus, interactive).await?)
    }

    async fn carry_out(self, command: Command) -> Result<(), Failure> {
        match command {
            Command::Status => self.status().await,
            Command::Connections => self.connections().await,
            Command::Metrics { model, watch } => self.metrics(model, watch).await,
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
            Command::Enable { collectors } => self.enable(&collectors, true).await,
            Command::Disable { collectors } => self.enable(&collectors, false).await,
            Command::LogLevel { level } => self.log_level(level).await,
            Command::Monitor => self.monitor().await,
            Command::PublicKey { .. } => self.public_key().await,
            // Needs no agent, so it never gets here.
            Command::Keygen { name, directory } => keys::generate(&name, directory),
        }
    }

    async fn order<B>(&self, method: &'static str, arguments: &B) -> Result<(), Failure>
    where
        B: serde::Serialize + zbus::DynamicType + Sync,
    {
        Ok(self.agent().await?.order(method, arguments).await?)
    }

    fn page(&self, text: &str) -> Result<(), Failure> {
        if self.paged {
            pager::show(text)
        } else {
            print(text)
        }
    }

    async fn status(&self) -> Result<(), Failure> {
        let agent = match self.agent().await {
            Err(Failure::NotRunning(bus)) => {
                print(&self.not_running())?;
                return Err(Failure::Inactive(bus));
            }
            other => other?,
        };
        let view = status::View::of(&agent).await?;
        match self.json {
            Some(form) => print(&Printer(form).line(&view.to_json())),
            None => self.page(&view.to_text(self.style, text::now())),
        }
    }

    /// The answer to "status" where there is no agent, in the form that was asked for.
    fn not_running(&self) -> String {
        match self.json {
            Some(form) => Printer(form).line(&serde_json::json!({ "Agent": null })),
            None => format!(
                "{} metrics-agent is not running\n",
                self.style.dot("inactive")
            ),
        }
    }

    async fn connections(&self) -> Result<(), Failure> {
        let view = status::View::of(&self.agent().await?).await?;
        match self.json {
            Some(form) => print(&Printer(form).line(&view.connections_to_json())),
            None => self.page(&view.connections_to_text(self.style, text::now())),
        }
    }

    async fn metrics(&self, model: bool, watch: bool) -> Result<(), Failure> {
        let agent = self.agent().await?.agent1().await?;
        let kind = if model { "model" } else { "metrics" };
        let table = metrics::Table::new(agent.list_metrics().await?);
        loop {
            let grid = agent.sample(kind).await?;
            let text = match self.json {
                Some(form) => Printer(form).line(&json::object(&grid)),
                None => table.to_text(&grid),
            };
            if !watch {
                return if self.json.is_some() {
                    print(&text)
                } else {
                    self.page(&text)
                };
            }
            let terminal = io::stdout().is_terminal() && self.json.is_none();
            print(&format!(
                "{}{text}",
                if terminal { text::CLEAR } else { "" }
            ))?;
            let interval = agent.metrics_interval_usec().await?;
            tokio::time::sleep(Duration::from_micros(interval)).await;
        }
    }

    async fn reconnect(&self, connection: Option<String>) -> Result<(), Failure> {
        let agent = self.agent().await?;
        match connection {
            None => Ok(agent.order("Reconnect", &()).await?),
            Some(name) => {
                let view = status::View::of(&agent).await?;
                view.connection(&name)?;
                Ok(agent.reconnect(&name).await?)
            }
        }
    }

    async fn enable(&self, collectors: &[String], enabled: bool) -> Result<(), Failure> {
        let agent = self.agent().await?;
        let view = status::View::of(&agent).await?;
        // All or none, as far as spelling goes.
        for name in collectors {
            view.collector(name)?;
        }
        for name in collectors {
            agent.set_enabled(name, enabled).await?;
        }
        Ok(())
    }

    async fn log_level(&self, level: Option<String>) -> Result<(), Failure> {
        let agent = self.agent().await?;
        if let Some(level) = level {
            return Ok(agent.set_log_level(&level).await?);
        }
        let level = agent.log_level().await?;
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

    async fn monitor(&self) -> Result<(), Failure> {
        let agent = self.agent().await?;
        let mut owners = agent.owners().await?;
        let proxy = agent.agent1().await?;
        let mut changes = proxy.receive_state_changed().await?;
        loop {
            let change = tokio::select! {
                biased;
                change = changes.next() => change,
                _ = owners.next() => None,
            };
            let Some(change) = change else {
                return Err(Failure::Left(self.bus.clone()));
            };
            let change = change.args()?;
            let name = path::name_of(change.connection.as_str());
            print(&match self.json {
                Some(form) => Printer(form).line(&serde_json::json!({
                    "Connection": name,
                    "Old": change.old,
                    "New": change.new,
                    "Reason": change.reason,
                })),
                None => format!(
                    "{} {name}: {} -> {}: {}\n",
                    self.style.dot(change.new),
                    change.old,
                    change.new,
                    change.reason
                ),
            })?;
        }
    }
}

/// A time as the bus carries it. More than it can carry is out of every range anyway, and
/// the agent says which.
fn usec(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Whether an environment variable says yes by being there, as `NO_COLOR` does
/// (<https://no-color.org>).
fn set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// The text of a property, of an agent that has it.
fn string<'a>(values: &'a crate::dbus::proxy::Values, name: &str) -> &'a str {
    match values.get(name).map(|value| &**value) {
        Some(Variant::Str(text)) => text.as_str(),
        _ => "",
    }
}

/// The number of a property; 0, which says "never" or "none", of an agent without it.
fn number(values: &crate::dbus::proxy::Values, name: &str) -> u64 {
    match values.get(name).map(|value| &**value) {
        Some(Variant::U64(number)) => *number,
        _ => 0,
    }
}
