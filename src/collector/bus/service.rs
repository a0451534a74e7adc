//! The collector on the bus: owns the name, serves the objects, announces changes.
//!
//! Everything is driven by messages, from the bus or from the collector. Nothing here polls or
//! keeps a timer. [`CollectorService::run`] ends when the bus has gone; the caller decides when
//! to connect again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use zbus::names::InterfaceName;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, Variant, fdo};

use crate::collector::bus::collector1::{self, Collector1, Collector1Signals as _};
use crate::collector::handle::Handle;
use crate::collector::state::{CollectorState, HostChange};
use crate::dbus::log_control1::LogControl1;
use crate::dbus::name::{self, Ended, Held, StartError};
use crate::dbus::news::{News, Next};
use crate::dbus::polkit::{Action, Authority};
use crate::dbus::{Bus, path};
use crate::systemd::log::LogControl;

/// The collector on a bus, under its name.
pub struct CollectorService {
    held: Held,
    /// The state that was last announced.
    announced: Arc<CollectorState>,
    news: News<CollectorState, HostChange>,
}

impl CollectorService {
    /// Connects, serves every object, and then takes the name, within ten seconds. Does not
    /// need the collector's task, which may start later.
    pub async fn start(bus: Bus, handle: Handle, log: LogControl) -> Result<Self, StartError> {
        name::enter(bus, name::COLLECTOR, async |connection| {
            Self::serve(connection, handle, log).await
        })
        .await
    }

    async fn serve(connection: Connection, handle: Handle, log: LogControl) -> zbus::Result<Self> {
        let (news, announced) = News::new(handle.host_changes(), handle.watch());
        let held = Held::new(connection, name::COLLECTOR).await?;
        let authority = Arc::new(Authority::new());
        let objects = held.connection().object_server();
        let log = LogControl1::new(Arc::clone(&authority), Action::CollectorSetLog, log);
        objects.at(path::LOG_CONTROL, log).await?;
        objects
            .at(path::COLLECTOR, Collector1::new(handle, authority))
            .await?;
        Ok(Self {
            held,
            announced,
            news,
        })
    }

    /// Announces what changes, until the bus, the name or the collector is gone.
    ///
    /// When the collector ends, its last state is announced before this returns. So the caller
    /// that stops the collector should await this, with a time limit.
    pub async fn run(mut self) -> Ended {
        let ended = loop {
            let done = match self.news.next(&mut self.held).await {
                Next::Change(change) => self.relay(change).await,
                Next::Lost(lost) => {
                    // A whole fleet connected at once; listeners have to ask for the list.
                    tracing::debug!("{lost} signals on hosts that came or went were not sent");
                    Ok(())
                }
                Next::State(state) => self.announce(state).await,
                Next::End(ended) => break ended,
            };
            // If sending fails, the connection is broken, and ends by itself.
            if done.is_err() {
                break Ended::BusGone;
            }
        };
        self.held.close().await;
        ended
    }

    async fn relay(&self, change: HostChange) -> zbus::Result<()> {
        let emitter = SignalEmitter::new(self.held.connection(), path::COLLECTOR)?;
        match change {
            HostChange::Appeared(name) => emitter.host_appeared(&name).await,
            HostChange::Gone(name) => emitter.host_gone(&name).await,
        }
    }

    /// One `PropertiesChanged` for all that differs. The rest is constant or counts.
    async fn announce(&mut self, state: Arc<CollectorState>) -> zbus::Result<()> {
        let changed = changes(&self.announced, &state);
        self.announced = state;
        if changed.is_empty() {
            return Ok(());
        }
        let emitter = SignalEmitter::new(self.held.connection(), path::COLLECTOR)?;
        fdo::Properties::properties_changed(
            &emitter,
            InterfaceName::from_static_str_unchecked(path::COLLECTOR_INTERFACE),
            changed,
            Cow::Borrowed(&[]),
        )
        .await
    }
}

/// The announced properties that differ between two states.
fn changes(old: &CollectorState, new: &CollectorState) -> HashMap<&'static str, Variant<'static>> {
    let mut changed = HashMap::new();
    if old.phase != new.phase {
        changed.insert("State", Variant::from(new.phase.as_str().to_owned()));
    }
    if old.configuration_files != new.configuration_files {
        let files = collector1::file_names(&new.configuration_files);
        changed.insert("ConfigurationFiles", Variant::Array(files.into()));
    }
    changed
}
