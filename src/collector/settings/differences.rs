//! What a reload cannot bring into force.

use super::Loaded;
use crate::collector::keys::Found;

/// The keys whose new values take a restart, as they are written in the settings.
#[must_use]
pub fn restart_needed(in_force: &Loaded, new: &Loaded) -> Vec<&'static str> {
    let (old, settings) = (&in_force.settings, &new.settings);
    let public = |loaded: &Loaded| match &loaded.keys {
        Found::Keys(keys) => Some(keys.pair.public),
        Found::Unclear(_) | Found::Nowhere { .. } => None,
    };
    let differences = [
        ("listen.agents", old.listen.agents != settings.listen.agents),
        (
            "listen.viewers",
            old.listen.viewers != settings.listen.viewers,
        ),
        ("listen.web", old.listen.web != settings.listen.web),
        ("curve.secret_key_file", public(in_force) != public(new)),
        (
            "agents.pin_names",
            old.access.pin_names != settings.access.pin_names,
        ),
        ("dbus.bus", old.bus != settings.bus),
    ];
    differences
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
}
