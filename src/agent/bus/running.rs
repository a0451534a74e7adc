//! What the running agent has in force, for comparison with the settings.

use std::time::Duration;

use zbus::names::InterfaceName;
use zbus::proxy::CacheProperties;
use zbus::{Variant, fdo};

use crate::agent::settings::print::{Running, RunningConnection, RunningInterval};
use crate::dbus::find::{self, Values};
use crate::dbus::{Bus, NAME, path};

/// How long the agent may take to answer. It answers from memory; one that is stuck must not delay
/// the printing of the settings.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the agent on this bus; None if none answers. Starts none.
pub async fn ask(bus: &Bus) -> Option<Running> {
    let asked = tokio::time::timeout(PATIENCE, async {
        let (properties, objects) = read(bus).await.ok()?;
        let below = |interface: &'static str| {
            let objects = objects.values();
            objects.filter_map(move |interfaces| interfaces.get(interface))
        };
        let enabled = below(path::SOURCE_INTERFACE).filter(|one| {
            let enabled = one.get("Enabled").map(|value| &**value);
            matches!(enabled, Some(Variant::Bool(true)))
        });
        let connection = |one: &Values| {
            let connection = RunningConnection {
                endpoints: texts(one, "Endpoints")?,
                order: text(one, "Order")?,
                keys: texts(one, "CollectorKeys")?,
            };
            Some((text(one, "Name")?, connection))
        };
        Some(Running {
            host_name: text(&properties, "HostName")?,
            metrics: interval(&properties, "MetricsInterval")?,
            stale: interval(&properties, "StaleInterval")?,
            log_level: text(&properties, "LogLevel")?,
            sources: enabled.filter_map(|one| text(one, "Name")).collect(),
            connections: below(path::CONNECTION_INTERFACE)
                .filter_map(connection)
                .collect(),
        })
    });
    asked.await.ok().flatten()
}

/// The properties of the agent's own object, and all objects below it.
async fn read(bus: &Bus) -> Result<(Values, fdo::ManagedObjects), Box<dyn std::error::Error>> {
    let connection = find::connect(bus).await?;
    let owner = find::owner(&connection, bus, NAME).await?;
    let properties = fdo::PropertiesProxy::builder(&connection)
        .destination(owner.clone())
        .path(path::AGENT)
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let objects = fdo::ObjectManagerProxy::builder(&connection)
        .destination(owner)
        .path(path::AGENT)
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let interface = InterfaceName::from_static_str_unchecked(path::AGENT_INTERFACE);
    let properties = properties.get_all(interface).await?;
    Ok((properties, objects.get_managed_objects().await?))
}

fn text(values: &Values, name: &str) -> Option<String> {
    match &**values.get(name)? {
        Variant::Str(text) => Some(text.to_string()),
        _ => None,
    }
}

fn texts(values: &Values, name: &str) -> Option<Vec<String>> {
    let Variant::Array(array) = &**values.get(name)? else {
        return None;
    };
    let text = |item: &Variant<'_>| match item {
        Variant::Str(text) => Some(text.to_string()),
        _ => None,
    };
    array.iter().map(text).collect()
}

fn interval(values: &Values, name: &str) -> Option<RunningInterval> {
    let Variant::U64(usec) = &**values.get(&format!("{name}USec"))? else {
        return None;
    };
    let Variant::Structure(origin) = &**values.get(&format!("{name}Origin"))? else {
        return None;
    };
    let [Variant::Str(origin), Variant::Str(place)] = origin.fields() else {
        return None;
    };
    Some(RunningInterval {
        time: Duration::from_micros(*usec),
        origin: origin.to_string(),
        place: place.to_string(),
    })
}
