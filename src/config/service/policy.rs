//! Who may own a name on the system bus, as the bus's configuration says (dbus-daemon(1)).

use std::fs;
use std::path::{Path, PathBuf};

use super::user::gid_of;

/// Where the bus has policies from.
const DIRECTORIES: [&str; 2] = ["/usr/share/dbus-1/system.d", "/etc/dbus-1/system.d"];
const FILES: [&str; 2] = ["/etc/dbus-1/system.conf", "/etc/dbus-1/system-local.conf"];

/// Most bytes of one file that are looked at; they are some KiB long.
const MAX_BYTES: usize = 1024 * 1024;

/// Whom a policy lets own the name.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owners {
    User(String),
    Group(String),
    Everybody,
}

/// Returns true if this host's bus policy does not let the user own the name.
pub(super) fn refuses(name: &str, user: &str, groups: &[u32]) -> bool {
    let may = |one: &Owners| match one {
        Owners::Everybody => true,
        Owners::User(owner) => owner == user,
        Owners::Group(group) => gid_of(group).is_some_and(|gid| groups.contains(&gid)),
    };
    of_system(name).is_some_and(|owners| !owners.iter().any(may))
}

/// Of all policies on this host; None if there are none, and so no bus.
fn of_system(name: &str) -> Option<Vec<Owners>> {
    let files = DIRECTORIES.iter().flat_map(|directory| {
        let entries = fs::read_dir(directory).ok().into_iter().flatten();
        entries.filter_map(|entry| Some(entry.ok()?.path()))
    });
    let files = files.filter(|file| file.extension().is_some_and(|ending| ending == "conf"));
    let files: Vec<_> = files.chain(FILES.map(PathBuf::from)).collect();
    let texts: Vec<_> = files.iter().filter_map(|file| text_of(file)).collect();
    let owners = texts.iter().flat_map(|text| of_text(text, name)).collect();
    (!texts.is_empty()).then_some(owners)
}

fn text_of(file: &Path) -> Option<String> {
    let about = fs::metadata(file).ok()?;
    let fits = about.is_file() && about.len() <= MAX_BYTES as u64;
    fs::read_to_string(file).ok().filter(|_| fits)
}

fn of_text(text: &str, name: &str) -> Vec<Owners> {
    let mut owners = Vec::new();
    let mut of = None;
    for tag in tags(text) {
        let is = |element: &str| {
            let rest = tag.strip_prefix(element);
            rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
        };
        if is("policy") {
            let user = attribute(tag, "user").map(|user| match user {
                "*" => Owners::Everybody,
                user => Owners::User(user.to_owned()),
            });
            let group = attribute(tag, "group").map(|group| match group {
                "*" => Owners::Everybody,
                group => Owners::Group(group.to_owned()),
            });
            let context = attribute(tag, "context").map(|_| Owners::Everybody);
            of = user.or(group).or(context);
        } else if is("/policy") {
            of = None;
        } else if is("allow") && allows(tag, name) {
            owners.extend(of.clone());
        }
    }
    owners
}

fn allows(tag: &str, name: &str) -> bool {
    let own = attribute(tag, "own").is_some_and(|own| own == name || own == "*");
    let below = attribute(tag, "own_prefix").is_some_and(|prefix| {
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    own || below
}

/// The text between angle brackets, without comments.
fn tags(text: &str) -> Vec<&str> {
    let mut tags = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('<') {
        rest = if let Some(comment) = after.strip_prefix("!--") {
            comment.split_once("-->").map_or("", |(_, after)| after)
        } else {
            let (tag, after) = after.split_once('>').unwrap_or((after, ""));
            tags.push(tag);
            after
        };
    }
    tags
}

fn attribute<'t>(tag: &'t str, name: &str) -> Option<&'t str> {
    let mut rest = tag;
    loop {
        let at = rest.find(name)?;
        let before = rest.get(..at)?;
        rest = rest.get(at + name.len()..)?;
        let value = rest.trim_start().strip_prefix('=').map(str::trim_start);
        if before.ends_with(char::is_whitespace)
            && let Some(value) = value
        {
            let quote = value
                .chars()
                .next()
                .filter(|next| matches!(next, '"' | '\''))?;
            return value.get(1..)?.split(quote).next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: &str = include_str!("../../../dbus/org.metricsagent.Agent1.conf");
    const COLLECTOR: &str = include_str!("../../../dbus/org.metricsagent.Collector1.conf");

    fn user(name: &str) -> Owners {
        Owners::User(name.to_owned())
    }

    #[test]
    fn the_shipped_policies_let_root_and_the_services_own_their_names() {
        for (text, name, owner) in [
            (AGENT, "org.metricsagent.Agent1", "metrics-agent"),
            (
                COLLECTOR,
                "org.metricsagent.Collector1",
                "metrics-collector",
            ),
        ] {
            assert_eq!(of_text(text, name), [user("root"), user(owner)]);
            assert_eq!(of_text(text, "org.example.Other"), []);
        }
    }

    #[test]
    fn every_kind_of_policy_is_read() {
        let text = "<busconfig><!-- <policy user='x'><allow own='a.b'/></policy> -->\n\
                    <policy user = 'ada'><allow send_destination=\"a.b\" own='a.b'/></policy>\n\
                    <policy group=\"wheel\"><allow own_prefix='a'/><deny own='a.b'/></policy>\n\
                    <policy context='default'><allow own='*'/></policy>\n\
                    <policy user='bob'><allow own='a.bc'/><allow own_prefix='a.'/></policy>\n\
                    <allow own='a.b'/>";
        let group = Owners::Group("wheel".to_owned());
        assert_eq!(
            of_text(text, "a.b"),
            [user("ada"), group, Owners::Everybody]
        );
    }
}
