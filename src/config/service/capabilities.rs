//! What root's rights come to within a unit, and the few that another user has beside its own
//! (capabilities(7)).

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// The capabilities of a unit; by default as without a line about them.
#[derive(Debug)]
pub(super) struct Capabilities {
    bounding: CapabilitySet,
    ambient: CapabilitySet,
    users: Users,
}

/// Whose files and ports they count for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Users {
    Hosts,
    /// A namespace with all users of the host.
    Identity,
    /// A namespace with root and the unit's user alone.
    Own,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self {
            bounding: CapabilitySet::all(),
            ambient: CapabilitySet::empty(),
            users: Users::Hosts,
        }
    }
}

impl Capabilities {
    /// Takes a line of `systemctl show`, if it is about this.
    pub(super) fn take(&mut self, key: &str, value: &str, is_true: bool) {
        match key {
            "CapabilityBoundingSet" => self.bounding = set(value),
            "AmbientCapabilities" => self.ambient = set(value),
            "PrivateUsers" => {
                self.users = match value {
                    "identity" => Users::Identity,
                    "self" => Users::Own,
                    _ if is_true => Users::Own,
                    _ => Users::Hosts,
                }
            }
            _ => {}
        }
    }

    /// Returns true if the unit may use ports that need a capability. In a namespace of its own it
    /// has that of the namespace only.
    pub(super) fn may_use_low_ports(&self, is_root: bool) -> bool {
        // systemd takes an ambient one away, too, that is not in the bounding set.
        let has = self.bounding
            & if is_root {
                CapabilitySet::all()
            } else {
                self.ambient
            };
        self.users == Users::Hosts && has.contains(CapabilitySet::NET_BIND_SERVICE)
    }

    /// Leaves this thread, which runs as root, only what a unit's root has of the host's, for good.
    pub(super) fn limit_root(&self) -> io::Result<()> {
        let kept = match self.users {
            Users::Hosts | Users::Identity => self.bounding,
            Users::Own => CapabilitySet::empty(),
        };
        let has = rustix::thread::capabilities(None)?;
        let sets = CapabilitySets {
            effective: has.effective & kept,
            permitted: has.permitted & kept,
            inheritable: has.inheritable & kept,
        };
        Ok(set_capabilities(None, sets)?)
    }
}

/// Of names such as `cap_chown`. Those that this program does not know do not count here.
fn set(names: &str) -> CapabilitySet {
    let names = names.split_whitespace().map(str::to_ascii_uppercase);
    let known = names.filter_map(|name| CapabilitySet::from_name(name.strip_prefix("CAP_")?));
    known.collect()
}

#[cfg(test)]
mod tests {
    use super::super::unit::Unit;

    fn unit(shown: &str) -> Unit {
        Unit::parse("a.service", shown)
    }

    #[test]
    fn a_low_port_needs_the_capability_of_the_host() {
        let bounding = "CapabilityBoundingSet=cap_chown cap_net_bind_service\n";
        let both = format!("{bounding}AmbientCapabilities=cap_net_bind_service\n");
        for (shown, of_root, of_others) in [
            ("", true, false),
            ("AmbientCapabilities=cap_net_bind_service", true, true),
            (
                "AmbientCapabilities=cap_net_bind_service\nCapabilityBoundingSet=",
                false,
                false,
            ),
            ("CapabilityBoundingSet=", false, false),
            ("CapabilityBoundingSet=cap_chown", false, false),
            (bounding, true, false),
            (&both, true, true),
            (&format!("{both}PrivateUsers=no"), true, true),
            (&format!("{both}PrivateUsers=yes"), false, false),
            (&format!("{both}PrivateUsers=identity"), false, false),
        ] {
            let capabilities = unit(shown).capabilities;
            assert_eq!(capabilities.may_use_low_ports(true), of_root, "{shown}");
            assert_eq!(capabilities.may_use_low_ports(false), of_others, "{shown}");
        }
    }
}
