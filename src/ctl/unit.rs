//! The service manager's and the journal's part of "status": since when the agent runs, in
//! which unit, and what that unit logged last.
//!
//! All of it is an extra: a manager that does not answer, a journal that may not be read, cost
//! their own lines and nothing else.

use std::process::Command;
use std::time::Duration;

use zbus::{Connection, OwnedObjectPath, Variant};

use super::style::Style;
use super::{number, string};
use crate::base::clock::Clock;
use crate::base::exit::EXIT_CONFIG;
use crate::ctl::proxy::Values;

/// The unit that an agent runs in which does not run.
const UNIT: &str = "metrics-agent.service";

/// How long systemd may take to answer. A systemd that is stuck must not delay the status of an
/// agent that is not.
const PATIENCE: Duration = Duration::from_secs(2);

const MANAGER: &str = "org.freedesktop.systemd1";

/// What systemd says of the agent's unit.
#[derive(Debug)]
pub(super) struct Unit {
    properties: Values,
    service: Values,
}

impl Unit {
    /// The service that a process is part of; None for a process that is in none.
    pub(super) async fn of_process(connection: &Connection, process: u32) -> Option<Self> {
        let unit = Self::find(connection, "GetUnitByPID", &process).await?;
        // An agent that was started by hand is in a session's scope, or in some user's manager.
        let name = unit.name();
        (name.ends_with(".service") && !name.starts_with("user@")).then_some(unit)
    }

    /// The service that the agent would be.
    pub(super) async fn installed(connection: &Connection) -> Option<Self> {
        Self::find(connection, "GetUnit", &UNIT).await
    }

    async fn find<B>(connection: &Connection, method: &str, of: &B) -> Option<Self>
    where
        B: serde::Serialize + zbus::DynamicType + Sync,
    {
        tokio::time::timeout(PATIENCE, async {
            let manager = "/org/freedesktop/systemd1";
            let interface = "org.freedesktop.systemd1.Manager";
            let answer = connection
                .call_method(Some(MANAGER), manager, Some(interface), method, of)
                .await
                .ok()?;
            let path: OwnedObjectPath = answer.body().deserialize().ok()?;
            let all = async |interface: &str| -> Option<Values> {
                let properties = "org.freedesktop.DBus.Properties";
                let answer = connection
                    .call_method(
                        Some(MANAGER),
                        &path,
                        Some(properties),
                        "GetAll",
                        &(interface,),
                    )
                    .await
                    .ok()?;
                answer.body().deserialize().ok()
            };
            Some(Self {
                properties: all("org.freedesktop.systemd1.Unit").await?,
                service: all("org.freedesktop.systemd1.Service").await?,
            })
        })
        .await
        .ok()
        .flatten()
    }

    /// As in `metrics-agent.service`.
    pub(super) fn name(&self) -> String {
        string(&self.properties, "Id")
    }

    /// journalctl's option for its log: a unit of a user's manager is another one.
    fn journal(&self) -> String {
        let group = string(&self.service, "ControlGroup");
        let user = if group.starts_with("/user.slice/") {
            "user-"
        } else {
            ""
        };
        format!("--{user}unit={}", self.name())
    }

    /// `active`, `failed`, …
    pub(super) fn state(&self) -> String {
        string(&self.properties, "ActiveState")
    }

    /// Returns true if it ended because its settings are invalid.
    pub(super) fn is_misconfigured(&self) -> bool {
        let service = |name: &str| match self.service.get(name).map(|value| &**value) {
            Some(Variant::I32(number)) => Some(*number),
            _ => None,
        };
        self.state() == "failed"
            && string(&self.service, "Result") == "exit-code"
            && service("ExecMainStatus") == Some(EXIT_CONFIG.into())
    }

    /// Like systemctl's line "Active", with the same terms.
    pub(super) fn activity(&self, style: Style, clock: &Clock) -> String {
        let state = self.state();
        // A failed unit says by what; any other what it is doing.
        let detail = match state.as_str() {
            "failed" => format!("Result: {}", string(&self.service, "Result")),
            _ => string(&self.properties, "SubState"),
        };
        let text = format!("{state} ({detail})");
        let since = match state.as_str() {
            "active" | "reloading" => "ActiveEnterTimestamp",
            "inactive" | "failed" => "InactiveEnterTimestamp",
            "activating" => "InactiveExitTimestamp",
            _ => "ActiveExitTimestamp",
        };
        match number(&self.properties, since) {
            0 => style.paint(&state, &text),
            then => format!("{} {}", style.paint(&state, &text), clock.since(then)),
        }
    }
}

/// The last lines of a unit's log as `systemctl status` shows them. They are whole: journalctl
/// would leave more room free at their end than a terminal needs.
pub(super) fn log(unit: &Unit, lines: u32, style: Style) -> Option<String> {
    if lines == 0 {
        return None;
    }
    let mut journal = Command::new("journalctl");
    journal
        .arg(unit.journal())
        .arg(format!("--lines={lines}"))
        .args(["--boot", "--output=short", "--full", "--no-pager"])
        .env("SYSTEMD_COLORS", if style.colours { "1" } else { "0" });
    // Without a journalctl there is nothing to be said.
    let answer = journal.stdin(std::process::Stdio::null()).output().ok()?;
    shown(
        &String::from_utf8_lossy(&answer.stdout),
        &String::from_utf8_lossy(&answer.stderr),
    )
}

/// What to show of journalctl's answer.
fn shown(output: &str, complaint: &str) -> Option<String> {
    // journalctl's own remarks, such as "-- No entries --".
    let lines = output
        .lines()
        .filter(|line| !line.starts_with("-- ") && !line.is_empty());
    let lines: String = lines.flat_map(|line| [line, "\n"]).collect();
    if lines.is_empty() && complaint.contains("permission") {
        return Some(
            "(The log is not readable: it is for root and the groups adm and systemd-journal.)\n"
                .to_owned(),
        );
    }
    (!lines.is_empty()).then_some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use zbus::OwnedVariant;

    const NOW: u64 = 1_700_000_000_000_000;

    fn values(all: &[(&str, Variant<'static>)]) -> Values {
        all.iter()
            .map(|(name, value)| {
                let value = OwnedVariant::try_from(value.clone()).unwrap();
                ((*name).to_owned(), value)
            })
            .collect()
    }

    #[test]
    fn activity_is_in_systemctls_words() {
        let unit = |state: &'static str, sub: &'static str, since: &'static str| Unit {
            properties: values(&[
                ("ActiveState", Variant::from(state)),
                ("SubState", Variant::from(sub)),
                (since, Variant::U64(NOW - 2_000_000)),
            ]),
            service: values(&[("Result", Variant::from("exit-code"))]),
        };
        let clock = Clock::new(NOW, TimeZone::UTC);
        let style = Style::new(false);
        assert_eq!(
            unit("active", "running", "ActiveEnterTimestamp").activity(style, &clock),
            "active (running) since Tue 2023-11-14 22:13:18 UTC; 2s ago"
        );
        assert_eq!(
            unit("failed", "failed", "InactiveEnterTimestamp").activity(style, &clock),
            "failed (Result: exit-code) since Tue 2023-11-14 22:13:18 UTC; 2s ago"
        );
        assert_eq!(
            unit("inactive", "dead", "Other").activity(style, &clock),
            "inactive (dead)"
        );
    }

    #[test]
    fn status_78_is_told_from_other_ends() {
        let unit = |state: &'static str, status: i32| Unit {
            properties: values(&[("ActiveState", Variant::from(state))]),
            service: values(&[
                ("Result", Variant::from("exit-code")),
                ("ExecMainStatus", Variant::I32(status)),
            ]),
        };
        assert!(unit("failed", 78).is_misconfigured());
        assert!(!unit("failed", 70).is_misconfigured());
        assert!(!unit("activating", 78).is_misconfigured());
    }

    #[test]
    fn the_log_is_that_of_the_manager_that_runs_it() {
        let unit = |group: &'static str| Unit {
            properties: values(&[("Id", Variant::from("metrics-agent.service"))]),
            service: values(&[("ControlGroup", Variant::from(group))]),
        };
        let system = unit("/system.slice/metrics-agent.service");
        assert_eq!(system.journal(), "--unit=metrics-agent.service");
        let group = "/user.slice/user-1000.slice/user@1000.service/app.slice/metrics-agent.service";
        assert_eq!(unit(group).journal(), "--user-unit=metrics-agent.service");
    }

    #[test]
    fn a_log_that_may_not_be_read_says_so() {
        assert_eq!(shown("-- No entries --\n", ""), None);
        assert_eq!(shown("a\nb\n", "").as_deref(), Some("a\nb\n"));
        let refused = shown(
            "",
            "No journal files were opened due to insufficient permissions.\n",
        );
        assert!(refused.unwrap().contains("systemd-journal"));
    }
}
