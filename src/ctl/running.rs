//! What the running agent has in force, for whoever compares it with the settings.

use std::time::Duration;

use zbus::Variant;

use crate::config::running::{Running, RunningInterval};
use crate::ctl::proxy::{Agent, Values};
use crate::dbus::Bus;

/// How long the agent may take to answer. It knows; one that is stuck must not hold up who
/// asks for the settings.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks the agent on this bus; None where there is none that answers. Starts none.
pub async fn ask(bus: &Bus) -> Option<Running> {
    let asked = tokio::time::timeout(PATIENCE, async {
        let agent = Agent::find(bus, false).await.ok()?;
        let properties = agent.properties().await.ok()?;
        let objects = agent.objects().await.ok()?;
        let enabled = objects.collectors.iter().filter(|one| {
            let enabled = one.get("Enabled").map(|value| &**value);
            matches!(enabled, Some(Variant::Bool(true)))
        });
        let connection = |one: &Values| {
            let values = (text(one, "Endpoint")?, text(one, "ServerKey")?);
            Some((text(one, "Name")?, values))
        };
        Some(Running {
            host_name: text(&properties, "HostName")?,
            metrics: interval(&properties, "MetricsInterval")?,
            stale: interval(&properties, "StaleInterval")?,
            log_level: text(&properties, "LogLevel")?,
            collect: enabled.filter_map(|one| text(one, "Name")).collect(),
            connections: objects.connections.iter().filter_map(connection).collect(),
        })
    });
    asked.await.ok().flatten()
}

fn text(values: &Values, name: &str) -> Option<String> {
    match &**values.get(name)? {
        Variant::Str(text) => Some(text.to_string()),
        _ => None,
    }
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
