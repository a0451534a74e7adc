//! The user and the groups that a unit runs with, as the system's lists have them.

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
}

/// None for root, and for an unknown user of a unit that is not installed.
pub(super) fn user_of(unit: &str, found: &mut Unit) -> Option<UnitUser> {
    let user = found.runs_as.user.take().filter(|user| user != "root");
    // A user that is there only while the unit runs is named as the unit is.
    let own_name = || {
        found
            .runs_as
            .is_dynamic
            .then(|| unit.trim_end_matches(".service").to_owned())
    };
    let user = user.or_else(own_name)?;
    let number = |text: Option<String>| text?.trim().parse::<u32>().ok();
    let (owner, groups) = match number(ask("id", &["-u", "--", &user])) {
        Some(uid) => {
            let gid = match &found.runs_as.group {
                Some(group) => gid_of(group)?,
                None => number(ask("id", &["-g", "--", &user]))?,
            };
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
    let groups: Vec<u32> = groups;
    let more = found
        .runs_as
        .groups
        .iter()
        .filter_map(|group| gid_of(group));
    Some(UnitUser {
        name: user,
        owner,
        groups: groups.into_iter().chain(more).collect(),
    })
}

pub(super) fn gid_of(group: &str) -> Option<u32> {
    if let Ok(number) = group.parse() {
        return Some(number);
    }
    let entry = ask("getent", &["group", "--", group])?;
    entry.split(':').nth(2)?.trim().parse().ok()
}
