//! The system calls that a unit's sandbox lets its service make: `SystemCallFilter=`.
//!
//! What a start cannot do without is in a list here. What else the unit as shipped allows and a
//! drop-in does not is a note: the service ends when it makes such a call, if it ever does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use super::manager::Properties;
use super::unit::{Place, Unit};
use super::{Note, Obstacle, ask};

const SETTING: &str = "SystemCallFilter";

/// What every start of either program calls, on every architecture: the system test
/// `check.calls_that_every_start_needs` tries each of them. Others that only some versions of the C
/// library call are left out.
const NEEDED: [&str; 13] = [
    "close",
    "connect",
    "epoll_create1",
    "epoll_ctl",
    "eventfd2",
    "futex",
    "mmap",
    "openat",
    "prctl",
    "read",
    "rt_sigaction",
    "sendto",
    "socket",
];

/// The group that a list of what is allowed begins with.
const ALWAYS: &str = "@default";

/// How deep groups are in one another at most; systemd's own are 3.
const MAX_DEPTH: usize = 8;

/// How many calls a note names.
const NAMED: usize = 6;

/// Such a filter, as far as names tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Filter {
    /// Only those that are named are allowed, or all others; None for no filter.
    allows_named: Option<bool>,
    names: BTreeSet<String>,
}

/// The groups that systemd knows, by name.
#[derive(Debug, Default)]
struct Groups(BTreeMap<String, Vec<String>>);

impl Filter {
    /// That of a unit.
    pub(super) fn of(properties: &Properties) -> Self {
        let (allows, names): (bool, Vec<String>) = properties.get(SETTING).unwrap_or_default();
        if !allows && names.is_empty() {
            return Self::default();
        }
        // With an error behind it, a call is forbidden by both kinds of lists.
        let names = names.into_iter();
        let names = names.filter(|name| !allows || !name.contains(':'));
        let names = names.map(|name| match name.split_once(':') {
            Some((name, _)) => name.to_owned(),
            None => name,
        });
        Self {
            allows_named: Some(allows),
            names: names.collect(),
        }
    }

    fn allows(&self, call: &str) -> bool {
        let is_named = self.names.contains(call);
        self.allows_named.is_none_or(|allows| allows == is_named)
    }

    /// Takes a line, as systemd.exec(5) has it.
    fn take(&mut self, value: &str, groups: &Groups) {
        if value.is_empty() {
            *self = Self::default();
            return;
        }
        let (forbids, words) = match value.strip_prefix('~') {
            Some(words) => (true, words),
            None => (false, value),
        };
        let is_first = self.allows_named.is_none();
        let allows_named = *self.allows_named.get_or_insert(!forbids);
        let mut calls = BTreeSet::new();
        if is_first && allows_named {
            groups.expand(ALWAYS, 0, &mut calls);
        }
        for word in words.split_whitespace() {
            let call = word.split(':').next().unwrap_or(word);
            groups.expand(call, 0, &mut calls);
        }
        if forbids == allows_named {
            self.names.retain(|name| !calls.contains(name));
        } else {
            self.names.extend(calls);
        }
    }
}

impl Groups {
    /// Those of this system; none where it does not tell.
    fn of_system() -> Self {
        let shown = ask("systemd-analyze", &["--no-pager", "syscall-filter"]);
        Self::parse(&shown.unwrap_or_default())
    }

    fn parse(shown: &str) -> Self {
        let mut groups = BTreeMap::new();
        let mut group: Option<&mut Vec<String>> = None;
        for line in shown.lines() {
            let name = line.trim();
            if line.starts_with('@') {
                group = Some(groups.entry(name.to_owned()).or_default());
            } else if !name.is_empty() && !name.starts_with('#') && line.starts_with(' ') {
                if let Some(group) = &mut group {
                    group.push(name.to_owned());
                }
            } else if !line.starts_with(' ') {
                group = None;
            }
        }
        Self(groups)
    }

    fn expand(&self, word: &str, depth: usize, into: &mut BTreeSet<String>) {
        if !word.starts_with('@') {
            into.insert(word.to_owned());
        } else if depth < MAX_DEPTH {
            for member in self.0.get(word).into_iter().flatten() {
                self.expand(member, depth + 1, into);
            }
        }
    }
}

/// What the filter of a unit forbids that its start needs, and that the unit allows as it is
/// shipped.
pub(super) fn forbidden(
    name: &str,
    unit: &Unit,
    shipped: &str,
) -> (Option<Obstacle>, Option<Note>) {
    forbidden_among(name, unit, shipped, Groups::of_system)
}

fn forbidden_among(
    name: &str,
    unit: &Unit,
    shipped: &str,
    groups: impl FnOnce() -> Groups,
) -> (Option<Obstacle>, Option<Note>) {
    let drop_ins = unit.parts.get(1..).unwrap_or_default();
    let in_drop_in = !lines(drop_ins).is_empty();
    let lacks = |call: &&str| !unit.calls.allows(call);
    let needed: Vec<_> = NEEDED.into_iter().filter(lacks).collect();
    if needed.is_empty() && !in_drop_in {
        return (None, None);
    }
    let groups = groups();
    let place = |calls: &[&str]| {
        let place = culprit(&unit.parts, calls, &groups);
        place.or_else(|| unit.place(&[SETTING], |_| true))
    };
    let obstacle = (!needed.is_empty()).then(|| Obstacle::Calls {
        unit: name.to_owned(),
        place: place(&needed),
        calls: listed(&needed),
    });
    if obstacle.is_some() {
        return (obstacle, None);
    }
    let mut as_shipped = Filter::default();
    for value in shipped.lines().filter_map(setting) {
        as_shipped.take(value, &groups);
    }
    if as_shipped.allows_named != Some(true) {
        return (None, None);
    }
    let mut as_written = Filter::default();
    for (_, value) in lines(&unit.parts) {
        as_written.take(&value, &groups);
    }
    // Groups have calls that this system's libseccomp does not know: no line forbids these.
    let others = as_shipped.names.iter().map(String::as_str);
    let others: Vec<_> = others
        .filter(|call| lacks(call) && !as_written.allows(call))
        .collect();
    let note = (!others.is_empty()).then(|| Note::Calls {
        unit: name.to_owned(),
        place: place(&others),
        calls: listed(&others),
    });
    (None, note)
}

/// The value of a line of the setting.
fn setting(line: &str) -> Option<&str> {
    let (key, value) = line.split_once('=')?;
    (key.trim() == SETTING).then(|| value.trim())
}

/// The lines of the setting, in the order in which they count.
fn lines(parts: &[PathBuf]) -> Vec<(Place, String)> {
    let of_part = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let lines = (1..).zip(text.lines());
        let values = lines.filter_map(|(line, text)| {
            let file = file.clone();
            Some((Place { file, line }, setting(text)?.to_owned()))
        });
        values.collect::<Vec<_>>()
    };
    parts.iter().flat_map(of_part).collect()
}

/// The last line that forbids one of these calls.
fn culprit(parts: &[PathBuf], calls: &[&str], groups: &Groups) -> Option<Place> {
    let mut filter = Filter::default();
    let mut found = None;
    for (place, value) in lines(parts) {
        let before = filter.clone();
        filter.take(&value, groups);
        let takes = |call: &&str| before.allows(call) && !filter.allows(call);
        if calls.iter().any(takes) {
            found = Some(place);
        }
    }
    found
}

/// The first of them, and how many more there are.
fn listed(calls: &[&str]) -> String {
    let named = calls.get(..NAMED.min(calls.len())).unwrap_or(calls);
    let text = named.join(", ");
    match calls.len() - named.len() {
        0 => text,
        more => format!("{text} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const GROUPS: &str = "@default\n    # System calls that are always permitted\n    futex\n    execve\n\n\
                          @network-io\n    # Network\n    connect\n    sendto\n    socket\n\n\
                          @system-service\n    @default\n    @network-io\n    @rest\n    fsync\n    read\n    riscv_hwprobe\n\n\
                          @rest\n    close\n    epoll_create1\n    epoll_ctl\n    eventfd2\n    mmap\n    \
                          openat\n    prctl\n    rt_sigaction\n    write\n    sched_setscheduler\n\n\
                          # Ungrouped System Calls:\n#   other\n";

    const SHIPPED: &str = "[Service]\nSystemCallFilter=@system-service\n\
                           SystemCallFilter=~sched_setscheduler:0\n";

    /// What is said of a unit as shipped with this drop-in.
    fn said(drop_in: &str) -> (Option<String>, Option<String>) {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let parts = [file("u.service", SHIPPED), file("x.conf", drop_in)];
        // As systemd makes it of both.
        let mut calls = Filter::default();
        let groups = Groups::parse(GROUPS);
        for text in [SHIPPED, drop_in] {
            for value in text.lines().filter_map(setting) {
                calls.take(value, &groups);
            }
        }
        // One that this system does not know.
        calls.names.remove("riscv_hwprobe");
        let unit = Unit {
            calls,
            parts: parts.to_vec(),
            ..Unit::default()
        };
        let (obstacle, note) = forbidden_among("u.service", &unit, SHIPPED, || groups);
        let at = format!("{}:", directory.path().join("x.conf").display());
        let short = |text: String| text.replace(&at, "x:");
        let obstacle = obstacle.map(|obstacle| short(obstacle.to_string()));
        (obstacle, note.map(|note| short(note.to_string())))
    }

    #[test]
    fn what_every_start_needs_is_told_from_the_rest() {
        for drop_in in [
            "",
            "Nice=1",
            "SystemCallFilter=@network-io",
            "SystemCallFilter=",
            "SystemCallFilter=~other",
        ] {
            assert_eq!(said(drop_in), (None, None), "{drop_in}");
        }
        for (drop_in, line, calls) in [
            ("[Service]\nSystemCallFilter=~socket", 2, "socket"),
            (
                "SystemCallFilter=~@network-io\nSystemCallFilter=~fsync",
                1,
                "connect, sendto, socket",
            ),
            (
                "SystemCallFilter=~read\nSystemCallFilter=@system-service\n\
                 SystemCallFilter=~prctl:EPERM",
                3,
                "prctl",
            ),
            (
                "SystemCallFilter=\nSystemCallFilter=read",
                2,
                "close, connect, epoll_create1, epoll_ctl, eventfd2, mmap and 5 more",
            ),
            ("SystemCallFilter=\nSystemCallFilter=~futex", 2, "futex"),
        ] {
            let (obstacle, note) = said(drop_in);
            let told =
                format!("SystemCallFilter= of u.service (x:{line}) forbids {calls}, which every");
            let obstacle = obstacle.unwrap();
            assert!(obstacle.starts_with(&told), "{drop_in}: {obstacle}");
            assert_eq!(note, None);
        }
        let (obstacle, note) = said("SystemCallFilter=~fsync");
        assert_eq!(obstacle, None);
        assert_eq!(
            note.unwrap(),
            "SystemCallFilter= of u.service (x:1) forbids fsync, which the unit as shipped allows: \
             systemd ends the service when it makes such a call"
        );
    }

    #[test]
    fn the_bus_says_what_is_in_force() {
        let filter = |data: serde_json::Value| {
            let all = json!({"SystemCallFilter": {"type": "(bas)", "data": data}});
            let answer = json!({"type": "a{sv}", "data": [all]}).to_string();
            Filter::of(&Properties::parse(&answer).unwrap())
        };
        let none = filter(json!([false, []]));
        assert!(none.allows("socket"));
        let allowing = filter(json!([true, ["read", "sched_setscheduler:0"]]));
        let allowed = ["read", "write", "sched_setscheduler"].map(|call| allowing.allows(call));
        assert_eq!(allowed, [true, false, false]);
        let denying = filter(json!([false, ["read", "write:EPERM"]]));
        let allowed = ["read", "write", "socket"].map(|call| denying.allows(call));
        assert_eq!(allowed, [false, false, true]);
    }
}
