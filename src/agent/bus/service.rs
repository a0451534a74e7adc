//! The agent on the bus: owns the name, serves the objects, announces changes.
//!
//! Everything is driven by messages: from the bus, or from the agent's published state. Nothing
//! here polls or keeps a timer, so an agent without callers costs nothing. When the bus goes away,
//! [`Service::run`] ends; the caller decides when to try again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Mutex;
use zbus::Connection;
use zbus::fdo::ObjectManager;

use crate::agent::bus::agent1::Agent1;
use crate::agent::bus::changes::{self, Change};
use crate::agent::bus::connection1::Connection1;
use crate::agent::bus::source1::Source1;
use crate::agent::handle::{Handle, OrderError};
use crate::agent::state::{AgentState, ConnectionState, Happening};
pub use crate::dbus::Bus;
use crate::dbus::error::Error;
use crate::dbus::log_control1::LogControl1;
use crate::dbus::name::{self, Held};
pub use crate::dbus::name::{Ended, StartError};
use crate::dbus::news::{News, Next};
use crate::dbus::path;
use crate::dbus::polkit::{Action, Authority};
use crate::dbus::turns::Turns;
use crate::systemd::log::LogControl;

/// What the objects have in common.
pub(crate) struct Shared {
    pub(crate) handle: Handle,
    pub(crate) authority: Arc<Authority>,
    pub(crate) log: LogControl,
    pub(crate) turns: Turns,
    // The state that listeners on the bus know of.
    announced: Mutex<Arc<AgentState>>,
    // True once the agent's task may be asked. zbus reads every property while the objects are
    // added, which can happen before the agent's task has started.
    serving: AtomicBool,
}

impl Shared {
    /// Returns true if callers can have found us. If not, zbus itself is asking.
    pub(crate) fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Relaxed)
    }

    /// Carries out a property's write and notes its effect as announced: zbus announces a
    /// property that was written, so [`Service::run`] must not do it a second time.
    pub(crate) async fn write(
        &self,
        order: impl Future<Output = Result<(), OrderError>>,
        note: impl FnOnce(&mut AgentState),
    ) -> Result<(), Error> {
        // Held until the agent answered: the new state may be published before it is noted.
        let mut announced = self.announced.lock().await;
        order.await?;
        note(Arc::make_mut(&mut announced));
        Ok(())
    }
}

/// The agent on a bus, under its name.
pub struct Service {
    held: Held,
    shared: Arc<Shared>,
    // The state that the tree of objects was made from.
    served: Arc<AgentState>,
    news: News<AgentState, Happening>,
}

impl Service {
    /// Connects, serves every object, and then takes the name; within ten seconds.
    ///
    /// Asks nothing of the agent's task, which may start later.
    pub async fn start(bus: Bus, handle: Handle, log: LogControl) -> Result<Self, StartError> {
        name::enter(bus, name::AGENT, async |connection| {
            Self::serve(connection, handle, log).await
        })
        .await
    }

    async fn serve(connection: Connection, handle: Handle, log: LogControl) -> zbus::Result<Self> {
        let (news, state) = News::new(handle.happenings(), handle.watch());
        let held = Held::new(connection, name::AGENT).await?;
        let shared = Arc::new(Shared {
            handle,
            authority: Arc::new(Authority::new()),
            log: log.clone(),
            turns: Turns::new(),
            announced: Mutex::new(Arc::clone(&state)),
            serving: AtomicBool::new(false),
        });
        let service = Self {
            held,
            shared,
            served: Arc::clone(&state),
            news,
        };
        service.add_objects(&state, log).await?;
        service.shared.serving.store(true, Ordering::Relaxed);
        Ok(service)
    }

    async fn add_objects(&self, state: &AgentState, log: LogControl) -> zbus::Result<()> {
        let objects = self.held.connection().object_server();
        let shared = || Arc::clone(&self.shared);
        objects
            .at(
                path::LOG_CONTROL,
                LogControl1::new(Arc::clone(&self.shared.authority), Action::SetLog, log),
            )
            .await?;
        objects.at(path::AGENT, Agent1(shared())).await?;
        for connection in &state.connections {
            self.add_connection(connection).await?;
        }
        for (name, _) in &state.sources {
            self.add_source(name).await?;
        }
        objects.at(path::AGENT, ObjectManager).await?;
        Ok(())
    }

    /// Announces what changes, until the bus, the name or the agent is gone.
    ///
    /// When the agent ends, its last state is announced before this returns. So await this when
    /// stopping the agent, with a time limit: a bus that does not read blocks it.
    pub async fn run(mut self) -> Ended {
        let ended = loop {
            let done = match self.news.next(&mut self.held).await {
                Next::Change(Happening::State(change)) => {
                    changes::state_change(self.held.connection(), &change).await
                }
                Next::Change(Happening::Lost(lost)) => {
                    changes::samples_lost(self.held.connection(), &lost).await
                }
                Next::Lost(lost) => {
                    tracing::warn!(
                        lost,
                        "the bus is slow: {lost} StateChanged or SamplesLost signals were not sent"
                    );
                    Ok(())
                }
                Next::State(state) => self.announce(state).await,
                Next::End(ended) => break ended,
            };
            // A failure on the way to the bus is one of the connection, which ends by itself.
            if done.is_err() {
                break Ended::BusGone;
            }
        };
        self.held.close().await;
        ended
    }

    async fn announce(&mut self, state: Arc<AgentState>) -> zbus::Result<()> {
        self.rebuild(&state).await?;
        let changes: Vec<Change> = {
            let mut announced = self.shared.announced.lock().await;
            let changes = changes::changes(&announced, &state);
            *announced = state;
            changes
        };
        for change in changes {
            change.emit(self.held.connection()).await?;
        }
        Ok(())
    }

    /// Adds the objects that `state` has and removes those that it no longer has.
    async fn rebuild(&mut self, state: &Arc<AgentState>) -> zbus::Result<()> {
        let served = std::mem::replace(&mut self.served, Arc::clone(state));
        let is_in = |connection: &ConnectionState, state: &AgentState| {
            let mut others = state.connections.iter();
            others.any(|other| changes::is_same_object(connection, other))
        };
        let gone = served.connections.iter().filter(|one| !is_in(one, state));
        for connection in gone {
            let path = path::connection(&connection.name);
            self.remove(&path, path::CONNECTION_INTERFACE).await?;
        }
        let new = state.connections.iter().filter(|one| !is_in(one, &served));
        for connection in new {
            self.shared.authority.clear_the_tree();
            self.add_connection(connection).await?;
        }
        let has = |state: &AgentState, wanted: &str| {
            let mut names = state.sources.iter();
            names.any(|(name, _)| *name == wanted)
        };
        for (name, _) in &served.sources {
            if !has(state, name) {
                self.remove(&path::source(name), path::SOURCE_INTERFACE)
                    .await?;
            }
        }
        for (name, _) in &state.sources {
            if !has(&served, name) {
                self.shared.authority.clear_the_tree();
                self.add_source(name).await?;
            }
        }
        Ok(())
    }

    async fn add_connection(&self, state: &ConnectionState) -> zbus::Result<()> {
        let object = Connection1::new(Arc::clone(&self.shared), state);
        let objects = self.held.connection().object_server();
        objects.at(path::connection(&state.name), object).await?;
        Ok(())
    }

    async fn add_source(&self, name: &'static str) -> zbus::Result<()> {
        let object = Source1::new(Arc::clone(&self.shared), name);
        let objects = self.held.connection().object_server();
        objects.at(path::source(name), object).await?;
        Ok(())
    }

    async fn remove(
        &self,
        path: &zbus::OwnedObjectPath,
        interface: &'static str,
    ) -> zbus::Result<()> {
        self.shared.authority.clear_the_tree();
        let interface = zbus::names::InterfaceName::from_static_str_unchecked(interface);
        let objects = self.held.connection().object_server();
        objects.remove_named(path, interface).await?;
        Ok(())
    }
}
