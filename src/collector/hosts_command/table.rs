//! What `hosts` shows. Pure.

use serde::Serialize;

use crate::base::clock::Time;
use crate::base::{columns, json, text};
use crate::collector::bus::proxy::HostRow;

/// The columns, what matters most first.
const HEAD: [&str; 6] = ["HOST", "STATE", "SINCE", "LAST SEEN", "ADDRESS", "KEY"];

/// What is left out first where there is no room for all.
const SPARED: [&str; 3] = ["KEY", "ADDRESS", "SINCE"];

/// A host.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) state: String,
    since: Time,
    last_seen: Time,
    address: Option<String>,
    key: Option<String>,
    messages: u64,
}

impl From<HostRow> for Host {
    fn from((name, state, last_seen, since, messages, key, address): HostRow) -> Self {
        let known = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            name,
            state,
            since: Time::of_usec(since),
            last_seen: Time::of_usec(last_seen),
            address: known(address),
            key: known(key),
            messages,
        }
    }
}

/// Hosts in the order in which they are shown.
#[derive(Debug)]
pub(super) struct Table(pub(super) Vec<Host>);

impl Table {
    pub(super) fn json(&self) -> String {
        json::pretty(&self.0) + "\n"
    }

    /// For a terminal of so many columns without what does not fit there.
    pub(super) fn text(&self, room: Option<usize>) -> String {
        let mut lines = vec![HEAD.map(str::to_owned).to_vec()];
        lines.extend(self.0.iter().map(Host::cells));
        let (mut text, left_out) = columns::fitted(lines, room, 1, (&SPARED, &["HOST"]));
        if !left_out.is_empty() {
            let what = left_out.join(", ").to_lowercase();
            let hint = format!("Columns left out: {what}; --full shows all.");
            text.push('\n');
            for line in columns::wrapped(&hint, room) {
                text.extend([line.as_str(), "\n"]);
            }
        }
        columns::fit_lines(&text, room)
    }
}

impl Host {
    fn cells(&self) -> Vec<String> {
        let safe = |text: &str| text::name(text).into_owned();
        let or_none = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), safe);
        vec![
            safe(&self.name),
            safe(&self.state),
            self.since.shown(),
            self.last_seen.shown(),
            or_none(self.address.as_deref().map(text::address)),
            or_none(self.key.as_deref()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::text::hostile;

    fn host(name: &str, state: &str) -> Host {
        let key = "-:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7-".to_owned();
        let (last_seen, since) = (1_795_976_300_000_000, 1_795_976_330_000_000);
        let address = "::ffff:192.0.2.1".to_owned();
        Host::from((
            name.to_owned(),
            state.to_owned(),
            last_seen,
            since,
            7,
            key,
            address,
        ))
    }

    #[test]
    fn a_host_is_a_line() {
        let table = Table(vec![host("web1", "gone"), host("web2", "reporting")]);
        let text = table.text(None);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("HOST  STATE      SINCE "), "{text}");
        assert!(lines[1].starts_with("web1  gone       20"), "{text}");
        assert!(lines[1].contains("  192.0.2.1  -:rM>"), "{text}");
        let json: serde_json::Value = serde_json::from_str(&table.json()).unwrap();
        assert_eq!(json[0]["state"], "gone");
        assert_eq!(json[0]["messages"], 7);
        let seen: jiff::Timestamp = json[0]["last_seen"].as_str().unwrap().parse().unwrap();
        assert_eq!(seen.as_second(), 1_795_976_300);
        assert_eq!(Table(Vec::new()).json(), "[]\n");
    }

    /// A name is whole, also where there is no room for it beside the state.
    #[test]
    fn names_stay_whole_on_a_narrow_terminal() {
        let long = "a-host-with-a-long-name.example.org";
        let text = Table(vec![host(long, "gone"), host("web2", "reporting")]).text(Some(40));
        assert!(
            text.starts_with(&format!("{long}\n  state: gone\n  since: 20")),
            "{text}"
        );
        let key = "\n  key:\n-:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7-\n";
        assert!(text.contains(key), "{text}");
        assert!(text.contains("\nweb2\n  state: reporting\n"), "{text}");
        assert!(!text.contains('…'), "{text}");
        let text = Table(vec![host("web1", "gone")]).text(Some(40));
        assert!(text.starts_with("HOST  STATE"), "{text}");
    }

    proptest! {
        #[test]
        fn it_fits_the_terminal_and_does_nothing_to_it(name in hostile::texts(), room in 20_usize..200) {
            let table = Table(vec![host(&name, "gone"), host("web1.example.org", "reporting")]);
            let text = table.text(Some(room));
            hostile::assert_harmless(&text);
            let wide = text.lines().find(|line| columns::width(line) > room);
            prop_assert_eq!(wide, None);
            hostile::assert_harmless(&table.json());
        }
    }
}
