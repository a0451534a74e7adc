//! The user and the groups that a unit runs with, as the system's lists have them.

use std::ffi::OsString;

use super::ask;
use super::manager::Properties;
use super::unit::{LoadState, Unit};
use crate::base::durable::owner::Owner;

/// The first of the users that systemd makes for units (systemd.exec(5), `DynamicUser`=).
const FIRST_DYNAMIC: u32 = 61184;

/// The user that the running service of this unit has; None if it does not run, or the service
/// manager does not answer.
#[must_use]
pub fn user_of_running(unit: &str) -> Option<u32> {
    let properties = Properties::of(unit)?;
    let pid: u32 = properties.get("MainPID")?;
    let uid: u32 = properties.get("UID")?;
    (pid != 0 && uid != u32::MAX).then_some(uid)
}

/// The user that a unit runs as.
pub(super) struct UnitUser {
    pub(super) name: String,
    /// None if the system knows no such user.
    pub(super) owner: Option<Owner>,
    pub(super) groups: Vec<u32>,
    /// Groups that the system does not know, each with the setting that names it.
    pub(super) unknown: Vec<(&'static str, String)>,
    /// The `HOME` that systemd sets; None if it sets none.
    pub(super) home: Option<OsString>,
}

/// None for an unknown user of a unit that is not installed.
pub(super) fn user_of(unit: &str, found: &mut Unit) -> Option<UnitUser> {
    let user = found.runs_as.user.take();
    let home = user.as_deref().and_then(home_of);
    // A user that is there only while the unit runs is named as the unit is.
    let own_name = || {
        found
            .runs_as
            .is_dynamic
            .then(|| unit.trim_end_matches(".service").to_owned())
    };
    let user = user.or_else(own_name);
    let user = user.unwrap_or_else(|| "root".to_owned());
    let number = |text: Option<String>| text?.trim().parse::<u32>().ok();
    let mut unknown = Vec::new();
    let (owner, groups) = match number(ask("id", &["-u", "--", &user])) {
        Some(uid) => {
            let own = number(ask("id", &["-g", "--", &user]))?;
            let gid = found.runs_as.group.as_ref().map_or(own, |group| {
                gid_of(group).unwrap_or_else(|| {
                    unknown.push(("Group", group.clone()));
                    own
                })
            });
            let groups = ask("id", &["-G", "--", &user])?;
            let groups = groups.split_whitespace().filter_map(|gid| gid.parse().ok());
            (Some(Owner::new(uid, gid)), groups.collect())
        }
        // A dynamic user shares its rights with no other, whichever number it gets.
        None if found.runs_as.is_dynamic => {
            let owner = Owner::new(FIRST_DYNAMIC, FIRST_DYNAMIC);
            (Some(owner), Vec::new())
        }
        None if found.load == LoadState::Loaded => (None, Vec::new()),
        None => return None,
    };
    let mut groups: Vec<u32> = groups;
    for group in &found.runs_as.groups {
        match gid_of(group) {
            Some(gid) => groups.push(gid),
            None => unknown.push(("SupplementaryGroups", group.clone())),
        }
    }
    // Where the list of groups cannot be asked, nothing is known of any.
    if !unknown.is_empty() && gid_of("root").is_none() {
        unknown.clear();
    }
    Some(UnitUser {
        name: user,
        owner,
        groups,
        unknown,
        home,
    })
}

/// The home of a user that a unit names. systemd sets none that says nothing, as `/` does.
fn home_of(user: &str) -> Option<OsString> {
    let entry = ask("getent", &["passwd", "--", user])?;
    let home = entry.trim_end().split(':').nth(5)?;
    (!matches!(home, "" | "/")).then(|| home.into())
}

pub(super) fn gid_of(group: &str) -> Option<u32> {
    if let Ok(number) = group.parse() {
        return Some(number);
    }
    let entry = ask("getent", &["group", "--", group])?;
    entry.split(':').nth(2)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_there_are_not_are_named_and_cost_nothing_else() {
        let shown = "LoadState=loaded\nUser=nobody\nGroup=no-such-one\n\
                     SupplementaryGroups=root no-such-other\n";
        let user = user_of("a.service", &mut Unit::parse("a.service", shown)).unwrap();
        assert_eq!(user.name, "nobody");
        assert!(user.owner.is_some());
        assert!(user.groups.contains(&0), "{:?}", user.groups);
        let mut root = Unit::parse("a.service", "LoadState=loaded\nUser=root\n");
        let home = user_of("a.service", &mut root).unwrap().home;
        assert_eq!(home, Some("/root".into()));
        let mut unnamed = Unit::parse("a.service", "LoadState=loaded\nUser=\n");
        assert_eq!(user_of("a.service", &mut unnamed).unwrap().home, None);
        let named = |property, group: &str| (property, group.to_owned());
        assert_eq!(
            user.unknown,
            [
                named("Group", "no-such-one"),
                named("SupplementaryGroups", "no-such-other")
            ]
        );
    }
}
