//! What the running agent has in force beyond the layers, for `--print-config`: what was set at run
//! time, and what was not reloaded yet. Pure; the agent's side of the bus asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::agent::settings::load::Loaded;
use crate::base::text::shown;
use crate::config::format_time;
use crate::config::print::quoted;

/// The settings that a running agent reports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The name that it reports under.
    pub host_name: String,
    /// The metrics interval.
    pub metrics: RunningInterval,
    /// The stale interval.
    pub stale: RunningInterval,
    /// The log level, as the settings spell it.
    pub log_level: String,
    /// The sources that are enabled.
    pub sources: BTreeSet<String>,
    /// Endpoint and key of each connection, by its name.
    pub connections: BTreeMap<String, (String, String)>,
}

/// An interval in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningInterval {
    /// How long it is.
    pub time: Duration,
    /// `settings`, `run-time` or `kept`, as on the bus.
    pub origin: String,
    /// The file and line, if there is one.
    pub place: String,
}

/// How the running agent differs from what was loaded, as comments of TOML. `as_it_starts` where
/// that was loaded as the running agent does, and not by another user.
#[must_use]
pub fn compared(loaded: &Loaded, running: &Running, as_it_starts: bool) -> String {
    let lines = differences(loaded, running);
    let files = if as_it_starts {
        ""
    } else {
        "# The files of keys below are those of a start by this user; the running agent may have \
         others.\n"
    };
    if lines.is_empty() {
        return format!("# The running agent has these settings in force.\n{files}\n");
    }
    let lines: Vec<_> = lines.iter().map(|line| shown(line)).collect();
    format!(
        "# In force in the running agent, other than below:\n#   {}\n{files}\n",
        lines.join("\n#   ")
    )
}

fn differences(loaded: &Loaded, running: &Running) -> Vec<String> {
    let settings = &loaded.settings;
    let mut lines = Vec::new();
    let host_name = settings.host_name.as_ref().map(ToString::to_string);
    if host_name.is_some_and(|name| name != running.host_name) {
        let name = quoted(&running.host_name);
        lines.push(format!("host.name = {name}, until a reload"));
    }
    let configured = settings.collectors.iter().map(|(name, collector)| {
        let values = (
            collector.endpoint.to_string(),
            collector.public_key.to_string(),
        );
        (name.to_string(), values)
    });
    let configured: BTreeMap<String, (String, String)> = configured.collect();
    let names: BTreeSet<&String> = configured
        .keys()
        .chain(running.connections.keys())
        .collect();
    for name in names {
        let other = match (configured.get(name), running.connections.get(name)) {
            (Some(one), Some(other)) if one == other => continue,
            (Some((endpoint, _)), Some((other, _)))
                if endpoint == other && loaded.unclear_keys.contains(name.as_str()) =>
            {
                continue;
            }
            (_, Some((endpoint, key))) => {
                format!("endpoint {}, key {}", quoted(endpoint), quoted(key))
            }
            (_, None) => "no such connection".to_owned(),
        };
        lines.push(format!("collector.{name}: {other}, until a reload"));
    }
    for (name, value, running) in [
        ("metrics", settings.intervals.metrics, &running.metrics),
        ("stale", settings.intervals.stale, &running.stale),
    ] {
        if value != running.time {
            let time = quoted(format_time(running.time));
            lines.push(format!("intervals.{name} = {time}, {}", running.why()));
        }
    }
    let sources: BTreeSet<String> = settings.sources.iter().cloned().collect();
    let listed = |names: Vec<&String>| {
        let names: Vec<String> = names.into_iter().map(quoted).collect();
        names.join(", ")
    };
    for (what, names) in [
        ("with", running.sources.difference(&sources)),
        ("without", sources.difference(&running.sources)),
    ] {
        let names: Vec<&String> = names.collect();
        if !names.is_empty() {
            let names = listed(names);
            lines.push(format!("metrics.sources {what} {names}, {UNTIL}"));
        }
    }
    if settings.log_level.as_str() != running.log_level {
        let level = quoted(&running.log_level);
        lines.push(format!("log.level = {level}, {UNTIL}"));
    }
    lines
}

/// For settings that can be set at run time without the agent reporting that.
const UNTIL: &str = "set at run time, or not reloaded since the files were changed";

impl RunningInterval {
    fn why(&self) -> String {
        match self.origin.as_str() {
            "run-time" => {
                r#"set at run time, until the agent ends or "metrics-agentctl revert""#.to_owned()
            }
            "kept" => format!(
                r#"set at run time and kept in {}, until "metrics-agentctl revert""#,
                self.place
            ),
            _ => "until a reload".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::settings::testbed::{Host, KEY};

    #[test]
    fn what_the_running_agent_has_otherwise_is_told() {
        let host = Host::new();
        host.etc(&format!(
            "[host]\nname = 'web1'\n[collector.main]\nendpoint = 'c:1'\npublic_key = '{KEY}'\n\
             [metrics]\nsources = ['cpu', 'disk']\n"
        ));
        host.pair("etc/curve", "agent");
        let loaded = host.load().unwrap();
        let interval = |seconds, origin: &str, place: &str| RunningInterval {
            time: Duration::from_secs(seconds),
            origin: origin.to_owned(),
            place: place.to_owned(),
        };
        let connection = |endpoint: &str| (endpoint.to_owned(), KEY.to_owned());
        let mut running = Running {
            host_name: "web1".to_owned(),
            metrics: interval(5, "settings", "default"),
            stale: interval(30, "settings", "default"),
            log_level: "info".to_owned(),
            sources: ["disk", "cpu"].map(str::to_owned).into(),
            connections: [("main".to_owned(), connection("c:1"))].into(),
        };
        assert_eq!(
            compared(&loaded, &running, true),
            "# The running agent has these settings in force.\n\n"
        );
        assert_eq!(
            compared(&loaded, &running, false),
            "# The running agent has these settings in force.\n# The files of keys below are \
             those of a start by this user; the running agent may have others.\n\n"
        );
        running.host_name = "web2".to_owned();
        running.metrics = interval(2, "run-time", "");
        running.stale = interval(60, "kept", "/s/settings.toml");
        running.log_level = "trace".to_owned();
        running.sources = ["cpu", "load"].map(str::to_owned).into();
        running.connections = [("old".to_owned(), connection("d:2"))].into();
        assert_eq!(
            compared(&loaded, &running, true),
            format!(
                "\
# In force in the running agent, other than below:
#   host.name = \"web2\", until a reload
#   collector.main: no such connection, until a reload
#   collector.old: endpoint \"d:2\", key {}, until a reload
#   intervals.metrics = \"2s\", set at run time, until the agent ends or \"metrics-agentctl revert\"
#   intervals.stale = \"1m\", set at run time and kept in /s/settings.toml, until \"metrics-agentctl revert\"
#   metrics.sources with \"load\", {UNTIL}
#   metrics.sources without \"disk\", {UNTIL}
#   log.level = \"trace\", {UNTIL}

",
                quoted(KEY)
            )
        );
    }
}
