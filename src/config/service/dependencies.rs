//! The units without which systemd refuses to start a unit (systemd.unit(5)).

use super::unit::{Unit, words};
use super::{Obstacle, ask};

/// What asks for another unit, and does not do without.
pub(super) const KINDS: [&str; 3] = ["Requires", "Requisite", "BindsTo"];

/// What is asked of each of them.
const PROPERTIES: &str = "--property=LoadState,ActiveState";

const INSTALL: &str = "install it, or take it out of that line";
const UNMASK: &str = "unmask it (`systemctl unmask`), or take it out of that line";
const VERIFY: &str = "`systemd-analyze verify` says what is wrong with them";
const START: &str = "start it first, or take it out of that line";

/// The units that a unit needs, each with what asks for it.
#[derive(Debug, Default)]
pub(super) struct Dependencies(Vec<(&'static str, String)>);

impl Dependencies {
    /// Takes a property of the unit, if it is one of these.
    pub(super) fn take(&mut self, key: &str, value: &str) {
        if let Some(kind) = KINDS.into_iter().find(|kind| *kind == key) {
            let names = words(value).into_iter();
            self.0.extend(names.map(|name| (kind, name)));
        }
    }

    /// Those of which the service manager says that the start will fail of them.
    pub(super) fn missing(&self, name: &str, unit: &Unit) -> Vec<Obstacle> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut arguments = vec!["show", PROPERTIES, "--"];
        arguments.extend(self.0.iter().map(|(_, name)| &**name));
        let shown = ask("systemctl", &arguments).unwrap_or_default();
        self.among(name, unit, &shown)
    }

    /// The same, as `systemctl show` answers: a block for each of them.
    fn among(&self, name: &str, unit: &Unit, shown: &str) -> Vec<Obstacle> {
        let blocks = shown.split("\n\n");
        let missing = self.0.iter().zip(blocks).filter_map(|(needed, block)| {
            let (property, wanted) = needed;
            let (why, way_out) = obstacle(property, block)?;
            let names_it = |value: &str| value.split_whitespace().any(|name| name == wanted);
            Some(Obstacle::Dependency {
                unit: name.to_owned(),
                property,
                name: wanted.clone(),
                place: unit.place(&[property], names_it),
                why,
                way_out,
            })
        });
        missing.collect()
    }
}

fn obstacle(property: &str, block: &str) -> Option<(&'static str, &'static str)> {
    let value = |key: &str| {
        let mut lines = block.lines().filter_map(|line| line.split_once('='));
        lines
            .find(|(found, _)| *found == key)
            .map(|(_, value)| value)
    };
    match value("LoadState")? {
        "not-found" => Some(("there is no such unit", INSTALL)),
        "masked" => Some(("that unit is masked", UNMASK)),
        "bad-setting" | "error" => Some(("systemd refuses the files of that unit", VERIFY)),
        _ if property == "Requisite" => match value("ActiveState")? {
            "active" | "reloading" | "refreshing" => None,
            _ => Some(("that unit is not active now", START)),
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn units_without_which_there_is_no_start_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("x.conf");
        fs::write(
            &file,
            "[Unit]\nRequires=a.service b.service\nRequires=c.service\nBindsTo=d.mount\n",
        )
        .unwrap();
        let unit = Unit::parse(
            "u.service",
            &format!(
                "Requires=system.slice b.service c.service\nRequisite=e.service f.service\n\
                 BindsTo=d.mount \"g\\\\x2d.service\"\nDropInPaths={}\n",
                file.display()
            ),
        );
        let shown = "LoadState=loaded\nActiveState=active\n\nLoadState=not-found\nActiveState=inactive\n\
                     \nLoadState=masked\nActiveState=inactive\n\nLoadState=loaded\nActiveState=inactive\n\
                     \nLoadState=loaded\nActiveState=active\n\nLoadState=error\nActiveState=inactive\n\
                     \nLoadState=not-found\nActiveState=inactive\n";
        let said = unit.dependencies.among("u.service", &unit, shown);
        let said: Vec<_> = said.iter().map(ToString::to_string).collect();
        let at = |line: usize| format!("{}:{line}", file.display());
        let no_start = "so the service does not start";
        assert_eq!(
            said,
            [
                format!(
                    "Requires=b.service of u.service ({}): there is no such unit, {no_start}; {INSTALL}",
                    at(2)
                ),
                format!(
                    "Requires=c.service of u.service ({}): that unit is masked, {no_start}; {UNMASK}",
                    at(3)
                ),
                format!(
                    "Requisite=e.service of u.service: that unit is not active now, {no_start}; {START}"
                ),
                format!(
                    "BindsTo=d.mount of u.service ({}): systemd refuses the files of that unit, \
                     {no_start}; {VERIFY}",
                    at(4)
                ),
                format!(
                    "BindsTo=g\\x2d.service of u.service: there is no such unit, {no_start}; {INSTALL}"
                ),
            ]
        );
        // The service manager did not answer.
        assert_eq!(unit.dependencies.among("u.service", &unit, ""), []);
    }
}
