//! What the agent is doing, on one screen.

use std::fmt::Write as _;

use serde_json::{Value, json};
use zbus::Variant;

use super::arguments::Names;
use super::kept::kept;
use super::style::Style;
use super::unit::Unit;
use super::{Failure, json, number, printable, string};
use crate::base::clock::Clock;
use crate::base::columns::labelled;
use crate::base::quantity::{bytes, span};
use crate::base::text::{counted, grouped};
use crate::ctl::proxy::{Agent, Values};

/// Everything that the agent reports, at one moment.
pub(super) struct View {
    agent: Values,
    connections: Vec<Values>,
    sources: Vec<Values>,
}

/// The process that the agent is.
pub(super) struct Process {
    pub(super) id: u32,
    /// Where systemd manages it as a service.
    pub(super) unit: Option<Unit>,
}

impl Process {
    /// Asks the bus and systemd; None if the bus does not know.
    pub(super) async fn of(agent: &Agent) -> Option<Self> {
        let id = agent.process().await.ok()?;
        let unit = Unit::of_process(agent.connection(), id).await;
        Some(Self { id, unit })
    }
}

impl View {
    /// Asks the agent.
    pub(super) async fn of(agent: &Agent) -> Result<Self, Failure> {
        let objects = agent.objects().await?;
        Ok(Self {
            agent: agent.properties().await?,
            connections: objects.connections,
            sources: objects.sources,
        })
    }

    /// The connection of that name, or the names there are.
    pub(super) fn connection(&self, name: &str) -> Result<&Values, Failure> {
        named(&self.connections, "connection", name)
    }

    /// The source of that name, or the names there are.
    pub(super) fn source(&self, name: &str) -> Result<&Values, Failure> {
        named(&self.sources, "source", name)
    }

    pub(super) fn to_json(&self) -> Value {
        let list = |all: &[Values]| all.iter().map(json::object).collect::<Value>();
        json!({
            "Agent": json::object(&self.agent),
            "Connections": list(&self.connections),
            "Sources": list(&self.sources),
        })
    }

    pub(super) fn connections_to_json(&self) -> Value {
        self.connections.iter().map(json::object).collect()
    }

    /// Of the agent.
    pub(super) fn version(&self) -> String {
        string(&self.agent, "Version")
    }

    /// The properties of each connection.
    pub(super) fn connections(&self) -> &[Values] {
        &self.connections
    }

    /// The names of the connections, and of the metric sources that are enabled or not.
    pub(super) fn names(&self, kind: Names) -> Vec<String> {
        let those = |enabled| self.those_sources(enabled);
        match kind {
            Names::Connections => self
                .connections
                .iter()
                .map(|one| string(one, "Name"))
                .collect(),
            Names::Enabled => those(true),
            Names::Disabled => those(false),
            // They are not of the agent's state.
            Names::Metrics | Names::Levels => Vec::new(),
        }
    }

    /// As systemctl shows a unit.
    pub(super) fn to_text(&self, process: Option<&Process>, style: Style, clock: &Clock) -> String {
        let agent = &self.agent;
        let state = &string(agent, "State");
        let mut page = Page::default();
        page.title(&format!(
            "{} metrics-agent {} on {}",
            style.dot(state),
            string(agent, "Version"),
            string(agent, "HostName")
        ));
        state_to_page(&mut page, agent, style, clock);
        if let Some(process) = process {
            if let Some(unit) = &process.unit {
                page.line("Active", &unit.activity(style, clock));
            }
            let unit = process
                .unit
                .as_ref()
                .map(|unit| format!(" ({})", unit.name()));
            let id = process.id;
            page.line("Process", &format!("{id}{}", unit.unwrap_or_default()));
        }
        page.line("Interval", &self.intervals());
        for (name, property) in [
            ("metrics", "MetricsIntervalOrigin"),
            ("stale", "StaleIntervalOrigin"),
        ] {
            page.line("", &set_by_order(agent, name, property));
        }
        page.line("Public key", &string(agent, "PublicKey"));
        page.line("Sources", &self.source_names());
        self.faults_to_page(&mut page, style);
        for (at, file) in strings(agent, "ConfigurationFiles").iter().enumerate() {
            page.line(if at == 0 { "Settings" } else { "" }, file);
        }
        page.line("Sent", &sent(agent));
        page.line("Received", &received(agent));
        page.line("Trouble", &trouble(agent));
        for connection in &self.connections {
            page.blank();
            connection_to_page(&mut page, connection, style, clock);
        }
        page.text
    }

    pub(super) fn connections_to_text(&self, style: Style, clock: &Clock) -> String {
        if let Some(why) = self.why_no_connection() {
            return format!("{why}\n");
        }
        let mut page = Page::default();
        for (at, connection) in self.connections.iter().enumerate() {
            if at > 0 {
                page.blank();
            }
            connection_to_page(&mut page, connection, style, clock);
        }
        page.text
    }

    /// What the agent says where it has no connection at all.
    pub(super) fn why_no_connection(&self) -> Option<String> {
        let none = self.connections.is_empty();
        none.then(|| string(&self.agent, "StateReason"))
    }

    fn intervals(&self) -> String {
        format!(
            "metrics every {}, stale after {}",
            span(number(&self.agent, "MetricsIntervalUSec")),
            span(number(&self.agent, "StaleIntervalUSec"))
        )
    }

    /// The metric sources that fail, and those that have nothing to read here.
    fn faults_to_page(&self, page: &mut Page, style: Style) {
        for (label, property) in [("Failing", "Fault"), ("No values", "Lack")] {
            let those = self.sources.iter().filter_map(|one| {
                let why = string(one, property);
                (!why.is_empty()).then(|| (string(one, "Name"), why))
            });
            for (at, (name, why)) in those.enumerate() {
                let name = match property {
                    "Fault" => style.paint("failed", &name),
                    _ => name,
                };
                page.line(if at == 0 { label } else { "" }, &format!("{name}: {why}"));
            }
        }
    }

    /// The metric sources that fail, each with why.
    pub(super) fn failing(&self) -> Vec<String> {
        let those = self.sources.iter().filter_map(|one| {
            let why = string(one, "Fault");
            (!why.is_empty()).then(|| format!("{}: {why}", string(one, "Name")))
        });
        those.collect()
    }

    fn those_sources(&self, enabled: bool) -> Vec<String> {
        let those = self.sources.iter().filter(|one| {
            let is = one.get("Enabled").map(|value| &**value);
            matches!(is, Some(Variant::Bool(is)) if *is == enabled)
        });
        those.map(|one| string(one, "Name")).collect()
    }

    fn source_names(&self) -> String {
        let names = |enabled| self.those_sources(enabled).join(" ");
        match (names(true), names(false)) {
            (enabled, disabled) if disabled.is_empty() => enabled,
            (enabled, disabled) => format!("{enabled} (disabled: {disabled})")
                .trim_start()
                .to_owned(),
        }
    }
}

fn connection_to_page(page: &mut Page, connection: &Values, style: Style, clock: &Clock) {
    page.title(&format!(
        "{} {} - {}",
        style.dot(&string(connection, "State")),
        string(connection, "Name"),
        string(connection, "Endpoint")
    ));
    state_to_page(page, connection, style, clock);
    page.line("Endpoints", &alternatives(connection, "Endpoints"));
    match number(connection, "ConnectedSinceUSec") {
        0 => page.line("Link", "down"),
        then => page.line("Link", &format!("up {}", clock.since(then))),
    }
    let last = |name: &str| clock.ago(number(connection, name));
    page.line(
        "Sent",
        &format!("{}, last {}", sent(connection), last("LastSentUSec")),
    );
    page.line(
        "Received",
        &format!(
            "{}, last heard {}",
            received(connection),
            last("LastReceivedUSec")
        ),
    );
    page.line("Model", &format!("last sent {}", last("LastModelUSec")));
    page.line("History", &kept(connection));
    page.line("Trouble", &trouble(connection));
    page.line("Key", &string(connection, "CollectorKey"));
    page.line("Keys", &alternatives(connection, "CollectorKeys"));
}

/// What a connection may use, where there is a choice.
fn alternatives(connection: &Values, property: &str) -> String {
    let all = strings(connection, property);
    let is_service = all.iter().any(|one| one.starts_with("srv:"));
    if all.len() < 2 && !is_service {
        return String::new();
    }
    let order = match string(connection, "Order").as_str() {
        "random" if property == "Endpoints" && all.len() > 1 => " (in random order)",
        _ => "",
    };
    all.join(", ") + order
}

/// The state and since when it lasts, and the reason on a line of its own.
fn state_to_page(page: &mut Page, values: &Values, style: Style, clock: &Clock) {
    let state = &string(values, "State");
    let painted = style.paint(state, state);
    match number(values, "StateSinceUSec") {
        // An agent of an earlier version.
        0 => page.line("State", &painted),
        then => page.line("State", &format!("{painted} {}", clock.since(then))),
    }
    page.line("Reason", &string(values, "StateReason"));
}

/// How an interval was set that is not the settings'; empty for others, and if the agent does not
/// report it.
fn set_by_order(agent: &Values, name: &str, property: &str) -> String {
    match pair(agent, property) {
        Some((kind, _)) if kind == "run-time" => {
            format!("{name} was set at run time, until the agent ends or \"revert\"")
        }
        Some((kind, file)) if kind == "kept" => {
            format!("{name} was set at run time and is kept in {file}, until \"revert\"")
        }
        _ => String::new(),
    }
}

/// A property of two texts.
fn pair(values: &Values, name: &str) -> Option<(String, String)> {
    match values.get(name).map(|value| &**value) {
        Some(Variant::Structure(pair)) => match pair.fields() {
            [Variant::Str(one), Variant::Str(other)] => Some((printable(one), printable(other))),
            _ => None,
        },
        _ => None,
    }
}

fn sent(values: &Values) -> String {
    let messages = counted(number(values, "MessagesSent"), "message");
    format!("{messages}, {}", bytes(number(values, "BytesSent")))
}

fn received(values: &Values) -> String {
    counted(number(values, "MessagesReceived"), "message")
}

/// What was counted and should better be 0; empty if it is.
fn trouble(values: &Values) -> String {
    let counted = [
        ("MessagesDropped", "message dropped", "messages dropped"),
        ("Reconnects", "reconnect", "reconnects"),
        ("HandshakeFailures", "failed handshake", "failed handshakes"),
        (
            "MalformedMessages",
            "message not understood",
            "messages not understood",
        ),
    ];
    let told = counted
        .iter()
        .filter_map(|(name, one, many)| match number(values, name) {
            0 => None,
            1 => Some(format!("1 {one}")),
            number => Some(format!("{} {many}", grouped(number))),
        });
    told.collect::<Vec<_>>().join(", ")
}

fn strings(values: &Values, name: &str) -> Vec<String> {
    match values.get(name).map(|value| &**value) {
        Some(Variant::Array(array)) => array
            .iter()
            .filter_map(|item| match item {
                Variant::Str(text) => Some(printable(text)),
                _ => None,
            })
            .collect(),
        _ => Vec::new(),
    }
}

fn named<'a>(all: &'a [Values], what: &'static str, name: &str) -> Result<&'a Values, Failure> {
    let mut those = all.iter();
    those
        .find(|one| string(one, "Name") == name)
        .ok_or_else(|| {
            let known: Vec<_> = all.iter().map(|one| string(one, "Name")).collect();
            Failure::Unknown {
                what,
                name: name.to_owned(),
                known: match known.join(", ") {
                    none if none.is_empty() => "none".to_owned(),
                    known => known,
                },
            }
        })
}

/// A page for a terminal of so many columns: what does not fit beside its label goes on below it.
pub(super) fn wrapped(page: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns else {
        return page.to_owned();
    };
    let line = |line: &str| match line.split_at_checked(LABEL) {
        Some((label, value)) if label.ends_with(": ") || label.trim().is_empty() => {
            labelled(label, value, columns)
        }
        _ => labelled("", line, columns),
    };
    page.lines().map(line).collect()
}

/// The columns that a label takes, with what follows it.
const LABEL: usize = 14;

/// Lines with a label, as systemctl lays them out.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    // Writing to a String can't fail.

    fn title(&mut self, title: &str) {
        let _ = writeln!(self.text, "{title}");
    }

    /// Left out where there is nothing to say.
    fn line(&mut self, label: &str, text: &str) {
        if text.is_empty() {
            return;
        }
        let colon = if label.is_empty() { ' ' } else { ':' };
        let _ = writeln!(self.text, "{label:>12}{colon} {text}");
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::columns::width;
    use crate::ctl::proxy::tests::values;
    use zbus::OwnedVariant;

    const NOW: u64 = 1_700_000_000_000_000;

    fn clock() -> Clock {
        Clock::new(NOW, jiff::tz::TimeZone::UTC)
    }

    /// Nothing of it is cut off, and each word is whole.
    #[test]
    fn a_page_is_wrapped_for_a_narrow_terminal() {
        let page = view().connections_to_text(Style::new(false), &clock());
        for columns in [40, 60, 79] {
            let wrapped = wrapped(&page, Some(columns));
            let wide = wrapped.lines().find(|line| width(line) > columns);
            assert_eq!(wide, None, "{columns}: {wrapped}");
            let words = |text: &str| {
                let words = text.split_whitespace().map(str::to_owned);
                words.collect::<Vec<_>>()
            };
            assert_eq!(words(&wrapped), words(&page));
        }
        assert_eq!(wrapped(&page, Some(200)), page);
        assert_eq!(wrapped(&page, None), page);
    }

    fn view() -> View {
        let t = |seconds: u64| Variant::U64(NOW - seconds * 1_000_000);
        let source = |name: &'static str, enabled: bool, fault: &'static str| {
            let lack = if name == "units" { "no cgroup v2" } else { "" };
            values(vec![
                ("Name", Variant::from(name)),
                ("Enabled", Variant::Bool(enabled)),
                ("Fault", Variant::from(fault)),
                ("Lack", Variant::from(lack)),
            ])
        };
        let origin = |kind: &'static str, place: &'static str| Variant::from((kind, place));
        View {
            agent: values(vec![
                ("Version", Variant::from("1.2.3")),
                ("HostName", Variant::from("web1.example.org")),
                ("State", Variant::from("reporting")),
                ("StateSinceUSec", t(300)),
                (
                    "StateReason",
                    Variant::from("Reporting to collector.example.org:5556"),
                ),
                ("MetricsIntervalUSec", Variant::U64(5_000_000)),
                ("StaleIntervalUSec", Variant::U64(30_000_000)),
                ("MetricsIntervalOrigin", origin("run-time", "")),
                (
                    "StaleIntervalOrigin",
                    origin("kept", "/var/lib/a/settings.toml"),
                ),
                (
                    "PublicKey",
                    Variant::from("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"),
                ),
                (
                    "ConfigurationFiles",
                    Variant::from(vec!["/etc/a.toml", "/etc/b.toml"]),
                ),
                ("MessagesSent", Variant::U64(1_234)),
                ("BytesSent", Variant::U64(262_144)),
                ("MessagesReceived", Variant::U64(1)),
                ("MessagesDropped", Variant::U64(0)),
                ("Reconnects", Variant::U64(1)),
                ("HandshakeFailures", Variant::U64(2)),
            ]),
            connections: vec![values(vec![
                ("Name", Variant::from("main")),
                ("Endpoint", Variant::from("collector.example.org:5556")),
                (
                    "CollectorKey",
                    Variant::from("Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"),
                ),
                ("State", Variant::from("reporting")),
                ("StateSinceUSec", t(61)),
                ("StateReason", Variant::from("The collector answers")),
                ("ConnectedSinceUSec", t(3_725)),
                ("LastSentUSec", t(2)),
                ("LastReceivedUSec", t(4)),
                ("LastModelUSec", Variant::U64(0)),
                ("MessagesSent", Variant::U64(1_234)),
                ("BytesSent", Variant::U64(262_144)),
                ("MessagesReceived", Variant::U64(45)),
            ])],
            sources: vec![
                source("cpu", true, "cannot open /proc/stat: gone"),
                source("disk", false, ""),
                source("units", true, ""),
            ],
        }
    }

    #[test]
    fn one_screen_tells_it_all() {
        assert_eq!(
            view().to_text(None, Style::new(false), &clock()),
            "\
● metrics-agent 1.2.3 on web1.example.org
       State: reporting since Tue 2023-11-14 22:08:20 UTC; 5min ago
      Reason: Reporting to collector.example.org:5556
    Interval: metrics every 5s, stale after 30s
              metrics was set at run time, until the agent ends or \"revert\"
              stale was set at run time and is kept in /var/lib/a/settings.toml, until \"revert\"
  Public key: rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7
     Sources: cpu units (disabled: disk)
     Failing: cpu: cannot open /proc/stat: gone
   No values: units: no cgroup v2
    Settings: /etc/a.toml
              /etc/b.toml
        Sent: 1,234 messages, 256.0K
    Received: 1 message
     Trouble: 1 reconnect, 2 failed handshakes

● main - collector.example.org:5556
       State: reporting since Tue 2023-11-14 22:12:19 UTC; 1min 1s ago
      Reason: The collector answers
        Link: up since Tue 2023-11-14 21:11:15 UTC; 1h 2min ago
        Sent: 1,234 messages, 256.0K, last 2s ago
    Received: 45 messages, last heard 4s ago
       Model: last sent never
         Key: Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID
"
        );
    }

    #[test]
    fn a_choice_of_endpoints_and_keys_is_told() {
        let mut view = view();
        let mut tell = |name: &str, all: &[&'static str]| {
            let value = OwnedVariant::try_from(Variant::from(all.to_vec())).unwrap();
            view.connections[0].insert(name.to_owned(), value);
            view.connections_to_text(Style::new(false), &clock())
        };
        let one = tell("Endpoints", &["collector.example.org:5556"]);
        assert!(!one.contains("Endpoints"), "{one}");
        let service = tell("Endpoints", &["srv:_m._tcp.example.org"]);
        let line = "\n   Endpoints: srv:_m._tcp.example.org\n";
        assert!(service.contains(line), "{service}");
        tell("Endpoints", &["a:1", "b:2"]);
        let several = tell("CollectorKeys", &["K", "L"]);
        assert!(several.contains("\n   Endpoints: a:1, b:2\n"), "{several}");
        assert!(several.ends_with("\n        Keys: K, L\n"), "{several}");
        let order = OwnedVariant::try_from(Variant::from("random")).unwrap();
        view.connections[0].insert("Order".to_owned(), order);
        let drawn = view.connections_to_text(Style::new(false), &clock());
        let line = "\n   Endpoints: a:1, b:2 (in random order)\n";
        assert!(drawn.contains(line), "{drawn}");
    }

    #[test]
    fn the_process_is_named_where_it_is_known() {
        let process = Process { id: 42, unit: None };
        let text = view().to_text(Some(&process), Style::new(false), &clock());
        assert!(text.contains("\n     Process: 42\n"), "{text}");
    }

    #[test]
    fn an_agent_that_does_not_tell_since_when_has_its_state_all_the_same() {
        let mut view = view();
        view.agent.remove("StateSinceUSec");
        let text = view.to_text(None, Style::new(false), &clock());
        assert!(
            text.contains("\n       State: reporting\n      Reason: "),
            "{text}"
        );
    }

    #[test]
    fn names_are_those_that_a_command_takes() {
        let view = view();
        assert_eq!(view.names(Names::Connections), ["main"]);
        assert_eq!(view.names(Names::Enabled), ["cpu", "units"]);
        assert_eq!(view.names(Names::Disabled), ["disk"]);
    }

    #[test]
    fn json_has_the_names_of_the_interface() {
        let json = view().to_json();
        assert_eq!(json["Agent"]["MetricsIntervalUSec"], 5_000_000);
        assert_eq!(json["Connections"][0]["Name"], "main");
        assert_eq!(json["Sources"][1]["Enabled"], false);
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        assert!(view().source("cpu").is_ok());
        let error = view().source("gpu").unwrap_err();
        assert_eq!(
            error.to_string(),
            r#"no source is named "gpu"; there is: cpu, disk, units"#
        );
    }

    #[test]
    fn without_connections_the_reason_is_the_answer() {
        let mut view = view();
        view.connections.clear();
        assert_eq!(
            view.connections_to_text(Style::new(false), &clock()),
            "Reporting to collector.example.org:5556\n"
        );
    }
}
