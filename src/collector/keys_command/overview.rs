//! `keys list`: keys that came and keys that are listed, together; on the terminal, in a pager, or
//! as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::{Failure, Site, print, warn};
use crate::base::clock::Time;
use crate::base::pager::ListOptions;
use crate::base::quantity::SECOND;
use crate::base::{columns, json, text};
use crate::collector::access::key_log::{Decision, MAX_HOSTS, Record, Who};
use crate::collector::access::pins::Pins;
use crate::collector::access::state::KnownKeys;
use crate::collector::access::{Authorized, Listener};
use crate::curve::keys::PublicKey;

/// Host names of one key in the table of a terminal; without a bound on its width, and in JSON,
/// they are all there.
const HOSTS_SHOWN: usize = 3;

/// A file of an allow list, its name and key.
pub(super) type Listed = (PathBuf, Arc<str>, PublicKey);

/// Everything.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    /// How the collector was set when it last kept its record.
    authorized: Option<Authorized>,
    keys: Vec<Row>,
    pins: Vec<PinRow>,
}

#[derive(Debug, Serialize)]
struct Row {
    role: Listener,
    name: Option<String>,
    key: String,
    hosts: Vec<HostRow>,
    first_seen: Option<Time>,
    last_seen: Option<Time>,
    address: Option<Box<str>>,
    state: Decision,
    refusals: u64,
}

#[derive(Debug, Serialize)]
struct HostRow {
    name: String,
    last_seen: Time,
}

#[derive(Debug, Serialize)]
struct PinRow {
    host: String,
    key: String,
    since: Time,
}

impl Overview {
    pub(super) fn new(
        known: Option<&KnownKeys>,
        listed: &[(Listener, Vec<Listed>)],
        pins: &Pins,
    ) -> Self {
        let authorized = known.map(|known| known.authorized);
        let mut keys = BTreeMap::<Who, (Option<Arc<str>>, Option<&Record>)>::new();
        for (listener, files) in listed {
            for (_, name, key) in files {
                let entry = keys.entry((*listener, *key)).or_default();
                entry.0.get_or_insert_with(|| Arc::clone(name));
            }
        }
        for (who, record) in known.iter().flat_map(|known| &known.keys) {
            keys.entry(*who).or_default().1 = Some(record);
        }
        let row = |((listener, key), (name, record))| row(listener, &key, name, record, authorized);
        let mut keys: Vec<Row> = keys.into_iter().map(row).collect();
        // As people look for them: by name, where there is one.
        keys.sort_by(|one, two| one.order().cmp(&two.order()));
        let pin = |(host, pin): (&str, crate::collector::access::pins::Pin)| PinRow {
            host: host.to_owned(),
            key: pin.key.to_string(),
            since: time(pin.since),
        };
        Self {
            authorized,
            keys,
            pins: pins.sorted().into_iter().map(pin).collect(),
        }
    }

    pub(super) fn json(&self) -> String {
        json::pretty(self) + "\n"
    }

    /// As a table: for a terminal of so many columns without what does not fit there.
    pub(super) fn table(&self, room: Option<usize>) -> String {
        let mut lines = vec![HEAD.map(str::to_owned).to_vec()];
        lines.extend(self.keys.iter().map(|row| row.cells(room.is_none())));
        let mut left_out = Vec::new();
        let mut keys_below = false;
        if let Some(room) = room.filter(|room| *room >= columns::NARROW) {
            let whole = lines.clone();
            left_out = columns::narrow(&mut lines, room, &SPARED[..2], &[]);
            keys_below = columns::table(&lines)
                .lines()
                .any(|line| columns::width(line) > room);
            if keys_below {
                // All that is to be known of a key, and the key whole below it.
                lines = whole;
                for line in &mut lines {
                    line.remove(KEY);
                }
                left_out = columns::narrow(&mut lines, room, &SPARED, &["NAME", "HOSTS"]);
            }
        }
        let mut text = if self.keys.is_empty() {
            "No key has come yet.\n".to_owned()
        } else if room.is_some_and(|room| room < columns::NARROW) {
            columns::blocks(&lines, TITLES, room.unwrap_or_default())
        } else {
            columns::table(&lines)
        };
        if keys_below {
            let keys = std::iter::once(HEAD[KEY]).chain(self.keys.iter().map(|row| &*row.key));
            let lines = text.lines().zip(keys);
            text = lines
                .flat_map(|(line, key)| [line, "\n  ", key, "\n"])
                .collect();
        }
        if !self.pins.is_empty() {
            let mut lines = vec![["PINNED HOST", "KEY", "SINCE"].map(str::to_owned).to_vec()];
            let cells = |pin: &PinRow| {
                vec![
                    text::name(&pin.host).into_owned(),
                    pin.key.clone(),
                    pin.since.shown(),
                ]
            };
            lines.extend(self.pins.iter().map(cells));
            let (pins, spared) = columns::fitted(lines, room, 1, (&["SINCE"], &["PINNED HOST"]));
            left_out.extend(spared);
            // Blocks have no head.
            let is_table = pins.starts_with("PINNED HOST");
            text.push_str(if is_table { "\n" } else { "\nPINNED HOSTS\n" });
            text.push_str(&pins);
        }
        if room.is_none() && self.keys.iter().any(|row| row.hosts.len() >= MAX_HOSTS) {
            let _ = write!(
                text,
                "\nAt most {MAX_HOSTS} hosts are recorded for each key; `metrics-collector hosts` shows all.\n"
            );
        }
        text.push_str(&columns::left_out(&left_out, room));
        columns::fit_lines(&text, room)
    }
}

/// The columns, what matters most first: what has no room is cut at the end.
const HEAD: [&str; 8] = [
    "ROLE",
    "NAME",
    "KEY",
    "STATE",
    "HOSTS",
    "LAST SEEN",
    "ADDRESS",
    "FIRST SEEN",
];

/// Which column has the keys: where there is no room beside the others, they stand below.
const KEY: usize = 2;

/// So many columns are the heading of a key that is shown as a block.
const TITLES: usize = 2;

/// What is left out first where there is no room for all.
const SPARED: [&str; 3] = ["FIRST SEEN", "ADDRESS", "LAST SEEN"];

impl Row {
    fn order(&self) -> (Listener, bool, Option<&str>, &str) {
        let host = || self.hosts.first().map(|host| &*host.name);
        let name = self.name.as_deref().or_else(host);
        (self.role, name.is_none(), name, &self.key)
    }

    /// Where there is room for `all`, with all host names.
    fn cells(&self, all: bool) -> Vec<String> {
        let none = || "-".to_owned();
        let shown_hosts = if all { self.hosts.len() } else { HOSTS_SHOWN };
        let names = self.hosts.iter().take(shown_hosts);
        let names: Vec<_> = names.map(|host| text::name(&host.name)).collect();
        let mut hosts = names.join(",");
        if self.hosts.len() > shown_hosts || self.hosts.len() >= MAX_HOSTS {
            hosts.push_str(",…");
        }
        let state = match self.refusals {
            0 => self.state.as_str().to_owned(),
            refusals => format!("{} ({refusals}x)", self.state.as_str()),
        };
        let name = |name: &str| text::name(name).into_owned();
        vec![
            self.role.role().to_owned(),
            self.name.as_deref().map_or_else(none, name),
            self.key.clone(),
            state,
            if hosts.is_empty() { none() } else { hosts },
            self.last_seen.map_or_else(none, Time::shown),
            self.address.as_deref().map_or_else(none, name),
            self.first_seen.map_or_else(none, Time::shown),
        ]
    }
}

fn row(
    role: Listener,
    key: &PublicKey,
    name: Option<Arc<str>>,
    record: Option<&Record>,
    authorized: Option<Authorized>,
) -> Row {
    let state = standing(name.is_some(), role, authorized);
    let mut hosts: Vec<_> = record.map_or_else(Vec::new, |record| {
        let host = |said: &crate::collector::access::key_log::HostSeen| HostRow {
            name: said.name.to_string(),
            last_seen: time(said.last),
        };
        record.hosts.iter().map(host).collect()
    });
    hosts.sort_by(|one, two| (two.last_seen, &one.name).cmp(&(one.last_seen, &two.name)));
    Row {
        role,
        name: name.map(|name| name.to_string()),
        key: key.to_string(),
        hosts,
        first_seen: record.map(|record| time(record.first_seen)),
        last_seen: record.map(|record| time(record.last_seen)),
        address: record.map(|record| record.address.clone()),
        refusals: match state {
            Decision::Refused => record.map_or(0, |record| record.refusals),
            Decision::Allowed | Decision::Any => 0,
        },
        state,
    }
}

/// How a key stands by what the list says now, not by what was true when it last came.
pub(super) fn standing(
    is_listed: bool,
    role: Listener,
    authorized: Option<Authorized>,
) -> Decision {
    match (is_listed, role, authorized) {
        (true, ..) => Decision::Allowed,
        (false, Listener::Agents, Some(Authorized::Any)) => Decision::Any,
        (false, ..) => Decision::Refused,
    }
}

fn time(unix: u64) -> Time {
    Time::of_usec(unix.saturating_mul(SECOND))
}

impl Site {
    pub(super) fn list(&self, options: &ListOptions) -> Result<(), Failure> {
        self.refresh();
        let known = self.keys()?;
        let listed = Listener::ALL.map(|listener| (listener, self.directories(listener).files()));
        let pins = self.state.pins()?;
        if known.is_none() {
            // A run by hand has a state of its own; it is the service's that is asked for where
            // there is none.
            let failure = match self.unseen_service() {
                Some(path) => Failure::NotReadable(text::path(&path)),
                None => Failure::NoRecord(text::path(&self.state.keys_file())),
            };
            if listed.iter().all(|(_, files)| files.is_empty()) {
                return Err(failure);
            }
            warn(&failure);
        }
        let overview = Overview::new(known.as_ref(), &listed, &pins);
        if options.json {
            return print(&overview.json());
        }
        options
            .show_table(|columns| text::lines(&overview.table(columns)).into_owned())
            .map_err(Failure::Print)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::hostile;
    use crate::collector::access::key_log::HostSeen;
    use proptest::prelude::*;

    fn key(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    fn overview(authorized: Authorized) -> Overview {
        let record = |standing, hosts: &[(&str, u64)], refusals| Record {
            first_seen: 1_700_000_000,
            last_seen: 1_700_000_100,
            address: "10.0.0.1".into(),
            hosts: hosts
                .iter()
                .map(|&(name, last)| HostSeen {
                    name: name.into(),
                    last,
                })
                .collect(),
            standing,
            refusals,
        };
        let known = KnownKeys {
            authorized,
            keys: vec![
                (
                    (Listener::Viewers, key(4)),
                    record(Decision::Refused, &[], 2),
                ),
                (
                    (Listener::Agents, key(1)),
                    record(Decision::Any, &[("old", 1), ("web1", 2)], 0),
                ),
                // Listed then, not any more.
                (
                    (Listener::Agents, key(2)),
                    record(Decision::Allowed, &[("db", 1)], 0),
                ),
            ],
        };
        let file = |name: &str, number| (PathBuf::new(), Arc::from(name), key(number));
        let listed = [
            (Listener::Agents, vec![file("zoo", 1), file("new", 3)]),
            (Listener::Viewers, vec![]),
        ];
        let mut pins = Pins::default();
        pins.claim("web1", key(1), 1_700_000_000).unwrap();
        Overview::new(Some(&known), &listed, &pins)
    }

    #[test]
    fn keys_that_came_and_keys_that_are_listed_stand_together() {
        for (authorized, unlisted) in [
            (Authorized::Directory, Decision::Refused),
            (Authorized::Any, Decision::Any),
        ] {
            let overview = overview(authorized);
            let row = |row: &Row| (row.name.as_deref().unwrap_or("").to_owned(), row.state);
            let rows: Vec<_> = overview.keys.iter().map(row).collect();
            let expected = [
                ("", unlisted),
                ("new", Decision::Allowed),
                ("zoo", Decision::Allowed),
                ("", Decision::Refused),
            ];
            assert_eq!(rows, expected.map(|(name, state)| (name.to_owned(), state)));
        }
    }

    #[test]
    fn the_table_is_aligned() {
        let table = overview(Authorized::Directory).table(None);
        let lines: Vec<_> = table.lines().collect();
        let [head, db, new, zoo, viewer, empty, pins, pin] = lines[..] else {
            panic!("{table}");
        };
        for (line, cells) in [
            (head, ["ROLE", "NAME", "KEY", "STATE"].map(str::to_owned)),
            (
                db,
                ["agent", "-", &key(2).to_string(), "refused"].map(str::to_owned),
            ),
            (
                new,
                ["agent", "new", &key(3).to_string(), "allowed"].map(str::to_owned),
            ),
            (
                zoo,
                ["agent", "zoo", &key(1).to_string(), "allowed"].map(str::to_owned),
            ),
            (
                viewer,
                ["viewer", "-", &key(4).to_string(), "refused"].map(str::to_owned),
            ),
        ] {
            let found: Vec<_> = line.split_whitespace().take(4).collect();
            assert_eq!(found, cells);
        }
        assert!(viewer.contains("  refused (2x)  -         "), "{viewer}");
        let column = head.find("HOSTS").unwrap();
        assert_eq!(zoo.find("web1,old"), Some(column));
        assert_eq!(empty, "");
        assert!(pins.starts_with("PINNED HOST  KEY"), "{pins}");
        assert!(
            pin.starts_with(&format!("web1         {}", key(1))),
            "{pin}"
        );
    }

    #[test]
    fn no_keys_are_no_bare_head() {
        let known = KnownKeys {
            authorized: Authorized::Any,
            keys: Vec::new(),
        };
        let none = Listener::ALL.map(|listener| (listener, Vec::new()));
        let overview = Overview::new(Some(&known), &none, &Pins::default());
        for room in [None, Some(200), Some(70), Some(20)] {
            assert_eq!(overview.table(room), "No key has come yet.\n", "{room:?}");
        }
    }

    #[test]
    fn host_names_are_whole_where_there_is_room() {
        let mut overview = overview(Authorized::Directory);
        let host = |name: &str| HostRow {
            name: name.to_owned(),
            last_seen: time(1),
        };
        let long = "a-host-with-a-long-name.in.a.long.domain.example.org";
        for row in &mut overview.keys {
            row.hosts = ["web1", "web2", "web3", "web4", long].map(host).into();
        }
        let full = overview.table(None);
        let all = format!("web1,web2,web3,web4,{long}  ");
        assert!(full.contains(&all), "{full}");
        let cut = overview.table(Some(200));
        assert!(cut.contains("web1,web2,web3,…"), "{cut}");
        assert!(!full.contains("are recorded"), "{full}");
        // There may be more than are on record.
        overview.keys[0].hosts = ["a", "b", "c", "d", "e", "f", "g", "h"].map(host).into();
        let full = overview.table(None);
        assert!(full.contains("a,b,c,d,e,f,g,h,…  "), "{full}");
        assert!(
            full.ends_with(
                "\nAt most 8 hosts are recorded for each key; `metrics-collector hosts` shows all.\n"
            ),
            "{full}"
        );
    }

    #[test]
    fn it_fits_the_terminal() {
        let overview = overview(Authorized::Directory);
        let widest = columns::width(overview.table(None).lines().next().unwrap());
        for room in 20..widest + 2 {
            let table = overview.table(Some(room));
            let wide = table.lines().find(|line| columns::width(line) > room);
            assert_eq!(wide, None, "{room}: {table}");
            // A key is whole wherever it has room, and so is what is to be known of it.
            if room >= 80 {
                assert!(table.contains(&key(4).to_string()), "{table}");
                assert!(table.contains("refused (2x)"), "{table}");
                assert!(table.contains("web1"), "{table}");
                assert!(table.contains("LAST SEEN"), "{table}");
            }
        }
        let table = overview.table(Some(70));
        assert!(
            table.ends_with("Columns left out: first seen, since; --full shows all.\n"),
            "{table}"
        );
        // On narrow ones a key is a block, of which nothing is left out or shortened.
        let narrow = overview.table(Some(40));
        let block = format!(
            "viewer  -\n  key:\n{}\n  state: refused (2x)\n  last seen: 20",
            key(4)
        );
        assert!(narrow.contains(&block), "{narrow}");
        assert!(narrow.contains("\nagent  zoo\n"), "{narrow}");
        assert!(narrow.contains("  hosts: web1,old\n"), "{narrow}");
        assert!(
            narrow.contains("\nPINNED HOSTS\nweb1\n  key:\n"),
            "{narrow}"
        );
        assert!(
            !narrow.contains('…') && !narrow.contains("Left out"),
            "{narrow}"
        );
        let lines: Vec<_> = table.lines().take(4).collect();
        assert!(
            lines[0].starts_with("ROLE    NAME  STATE         HOSTS"),
            "{table}"
        );
        assert_eq!(lines[1], "  KEY");
        assert!(
            lines[2].starts_with("agent   -     refused       db  "),
            "{table}"
        );
        assert_eq!(lines[3], format!("  {}", key(2)));
    }

    proptest! {
        #[test]
        fn no_name_does_anything_to_a_terminal(one in hostile::texts(), two in hostile::texts()) {
            let record = Record {
                first_seen: 0,
                last_seen: 0,
                address: one.as_str().into(),
                hosts: vec![HostSeen { name: two.as_str().into(), last: 0 }],
                standing: Decision::Any,
                refusals: 0,
            };
            let known = KnownKeys {
                authorized: Authorized::Any,
                keys: vec![((Listener::Agents, key(1)), record)],
            };
            let listed = [(Listener::Agents, vec![(PathBuf::new(), Arc::from(&*two), key(1))])];
            let mut pins = Pins::default();
            let _ = pins.claim(&one, key(1), 0);
            let overview = Overview::new(Some(&known), &listed, &pins);
            for room in [None, Some(60)] {
                let table = overview.table(room);
                hostile::assert_harmless(&table);
                prop_assert!(table.lines().count() <= 10, "{table:?}");
            }
            let json = overview.json();
            hostile::assert_harmless(&json);
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&json["keys"][0]["hosts"][0]["name"], &two);
        }
    }

    #[test]
    fn json_has_all_of_it() {
        let json: serde_json::Value =
            serde_json::from_str(&overview(Authorized::Any).json()).unwrap();
        assert_eq!(json["authorized"], "any");
        let zoo = &json["keys"][2];
        let expected = serde_json::json!({
            "role": "agent",
            "name": "zoo",
            "key": key(1).to_string(),
            "hosts": [
                {"name": "web1", "last_seen": "1970-01-01T00:00:02Z"},
                {"name": "old", "last_seen": "1970-01-01T00:00:01Z"},
            ],
            "first_seen": "2023-11-14T22:13:20Z",
            "last_seen": "2023-11-14T22:15:00Z",
            "address": "10.0.0.1",
            "state": "allowed",
            "refusals": 0,
        });
        assert_eq!(*zoo, expected);
        assert_eq!(json["pins"][0]["host"], "web1");
        assert_eq!(json["keys"][1]["last_seen"], serde_json::Value::Null);
    }
}
