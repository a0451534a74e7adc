//! Compares two states and returns the signals that announce the difference.
//!
//! Only properties whose change the interface promises to announce are compared. Each object gets
//! at most one `PropertiesChanged`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use zbus::names::InterfaceName;
use zbus::object_server::SignalEmitter;
use zbus::{Array, Connection, OwnedObjectPath, Variant, fdo};

use crate::agent::bus::agent1::{self, Agent1Signals as _};
use crate::agent::bus::connection1::{self, Connection1Signals as _};
use crate::agent::state::{AgentState, ConnectionState, Origin, SamplesLost, StateChange};
use crate::base::clock::realtime_usec;
use crate::dbus::path;

/// What changed on one interface of one object.
#[derive(Debug, PartialEq)]
pub(crate) struct Change {
    path: OwnedObjectPath,
    interface: &'static str,
    properties: HashMap<&'static str, Variant<'static>>,
}

impl Change {
    fn new(path: OwnedObjectPath, interface: &'static str) -> Self {
        Self {
            path,
            interface,
            properties: HashMap::new(),
        }
    }

    fn compare<T: PartialEq>(
        &mut self,
        name: &'static str,
        (old, new): (T, T),
        value: impl FnOnce(T) -> Variant<'static>,
    ) {
        if old != new {
            self.properties.insert(name, value(new));
        }
    }

    pub(crate) async fn emit(self, connection: &Connection) -> zbus::Result<()> {
        let emitter = SignalEmitter::new(connection, &self.path)?;
        fdo::Properties::properties_changed(
            &emitter,
            InterfaceName::from_static_str_unchecked(self.interface),
            self.properties,
            Cow::Borrowed(&[]),
        )
        .await
    }
}

/// Everything to announce for the step from `old` to `new`.
pub(crate) fn changes(old: &AgentState, new: &AgentState) -> Vec<Change> {
    let mut changes = vec![agent(old, new)];
    for connection in &new.connections {
        let mut before = old.connections.iter();
        // An object that is new was announced as such, with all its properties.
        if let Some(before) = before.find(|one| is_same_object(one, connection)) {
            changes.push(of_connection(before, connection));
        }
    }
    for (name, enabled) in &new.sources {
        let mut before = old.sources.iter();
        if let Some((_, before)) = before.find(|(other, _)| other == name) {
            let mut change = Change::new(path::source(name), path::SOURCE_INTERFACE);
            change.compare("Enabled", (*before, *enabled), Variant::from);
            changes.push(change);
        }
    }
    changes.retain(|change| !change.properties.is_empty());
    changes
}

/// Returns true if two states belong to one D-Bus object: its name, and what is configured, are
/// constant.
pub(crate) fn is_same_object(one: &ConnectionState, other: &ConnectionState) -> bool {
    one.name == other.name && one.collector == other.collector
}

fn agent(old: &AgentState, new: &AgentState) -> Change {
    let path = zbus::ObjectPath::from_static_str_unchecked(path::AGENT).into();
    let mut change = Change::new(path, path::AGENT_INTERFACE);
    let of = |property: fn(&AgentState) -> &str| (property(old), property(new));
    change.compare("HostName", of(|state| &state.host_name), text);
    change.compare("State", of(|state| state.state.as_str()), text);
    let since = (old.state_since, new.state_since);
    change.compare("StateSinceUSec", since, time);
    change.compare("StateReason", of(|state| &state.reason), text);
    if old.public_key != new.public_key {
        let key = new.public_key.to_string();
        change.properties.insert("PublicKey", Variant::from(key));
    }
    let of = |property: fn(&AgentState) -> Duration| {
        (agent1::usec(property(old)), agent1::usec(property(new)))
    };
    let metrics = of(|state| state.intervals.metrics);
    change.compare("MetricsIntervalUSec", metrics, Variant::from);
    let stale = of(|state| state.intervals.stale);
    change.compare("StaleIntervalUSec", stale, Variant::from);
    let metrics = (&old.origins.metrics, &new.origins.metrics);
    change.compare("MetricsIntervalOrigin", metrics, origin);
    let stale = (&old.origins.stale, &new.origins.stale);
    change.compare("StaleIntervalOrigin", stale, origin);
    let of = |property: fn(&AgentState) -> Vec<OwnedObjectPath>| (property(old), property(new));
    change.compare("Connections", of(agent1::connections), list);
    change.compare("Sources", of(agent1::sources), list);
    let files = (
        agent1::configuration_files(old),
        agent1::configuration_files(new),
    );
    change.compare("ConfigurationFiles", files, list);
    change
}

fn of_connection(old: &ConnectionState, new: &ConnectionState) -> Change {
    let mut change = Change::new(path::connection(&new.name), path::CONNECTION_INTERFACE);
    let of = |property: fn(&ConnectionState) -> &str| (property(old), property(new));
    change.compare("Endpoint", of(|state| &state.endpoint), text);
    change.compare("CollectorKey", of(|state| &state.server_key), text);
    change.compare("State", of(|state| state.state.as_str()), text);
    let since = (old.state_since, new.state_since);
    change.compare("StateSinceUSec", since, time);
    change.compare("StateReason", of(|state| &state.reason), text);
    change.compare("RoutingId", of(|state| &state.routing_id), text);
    let since = (
        connection1::connected_since(old),
        connection1::connected_since(new),
    );
    change.compare("ConnectedSinceUSec", since, Variant::from);
    change
}

fn text(text: &str) -> Variant<'static> {
    Variant::from(text.to_owned())
}

fn origin(origin: &Origin) -> Variant<'static> {
    Variant::from(origin.to_words())
}

fn time(at: SystemTime) -> Variant<'static> {
    Variant::from(realtime_usec(at))
}

fn list<T>(items: Vec<T>) -> Variant<'static>
where
    Array<'static>: From<Vec<T>>,
{
    Variant::Array(items.into())
}

/// Emits `StateChanged` for one connection.
pub(crate) async fn state_change(
    connection: &Connection,
    change: &StateChange,
) -> zbus::Result<()> {
    let emitter = SignalEmitter::new(connection, path::AGENT)?;
    let path = path::connection(&change.connection);
    let (old, new) = (change.old.as_str(), change.new.as_str());
    emitter
        .connection_changed_state(path.into(), old, new, &change.reason)
        .await
}

/// Emits `SamplesLost` for one connection.
pub(crate) async fn samples_lost(connection: &Connection, lost: &SamplesLost) -> zbus::Result<()> {
    let emitter = SignalEmitter::new(connection, path::connection(&lost.connection))?;
    let (from, to) = connection1::loss_times(&lost.loss);
    emitter
        .samples_lost(lost.loss.samples, from, to, lost.why.as_word())
        .await
}
