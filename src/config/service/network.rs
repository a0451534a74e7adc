//! What a unit's sandbox lets its service have of the network, where a program listens.

/// The first port that needs no capability, unless the system says otherwise.
pub const FIRST_FREE_PORT: u16 = 1024;

const CAPABILITY: &str = "cap_net_bind_service";

/// Such a sandbox; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitNetwork {
    /// It has `CAP_NET_BIND_SERVICE` of the host.
    pub(super) ambient: bool,
    pub(super) own_users: bool,
    /// The setting that gives it a network of its own.
    pub(super) elsewhere: Option<&'static str>,
    /// `RestrictAddressFamilies`=, a list of what is allowed.
    pub(super) families: Option<Vec<String>>,
}

impl UnitNetwork {
    /// Takes a line of `systemctl show`, if it is about this.
    pub(super) fn take(&mut self, key: &str, value: &str, is_true: bool) {
        match key {
            "AmbientCapabilities" => {
                self.ambient = value.split_whitespace().any(|one| one == CAPABILITY);
            }
            "PrivateUsers" => self.own_users = is_true || matches!(value, "self" | "identity"),
            "PrivateNetwork" if is_true => self.elsewhere = Some("PrivateNetwork"),
            "NetworkNamespacePath" if !value.is_empty() => {
                self.elsewhere = Some("NetworkNamespacePath");
            }
            "RestrictAddressFamilies" if !value.is_empty() && !value.starts_with('~') => {
                let families = value.split_whitespace().map(str::to_owned);
                self.families.get_or_insert_default().extend(families);
            }
            _ => {}
        }
    }

    /// Returns true if it may use ports that need a capability. In a user namespace of its own it
    /// has that of the namespace only.
    #[must_use]
    pub fn may_use_low_ports(&self) -> bool {
        self.ambient && !self.own_users
    }

    /// The setting that gives the service a network of its own, which is not this one.
    #[must_use]
    pub fn elsewhere(&self) -> Option<&'static str> {
        self.elsewhere
    }

    /// One with these families alone.
    #[cfg(test)]
    pub(crate) fn of_families(families: &str) -> Self {
        let mut network = Self::default();
        network.take("RestrictAddressFamilies", families, false);
        network
    }

    /// Returns true if the unit forbids this family of addresses.
    #[must_use]
    pub fn lacks(&self, family: &str) -> bool {
        let families = self.families.as_ref();
        families.is_some_and(|families| !families.iter().any(|one| one == family))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(shown: &str) -> UnitNetwork {
        let mut network = UnitNetwork::default();
        for line in shown.lines() {
            let (key, value) = line.split_once('=').unwrap();
            network.take(key, value, value == "yes");
        }
        network
    }

    #[test]
    fn a_low_port_needs_the_capability_of_the_host() {
        let capable = "AmbientCapabilities=cap_chown cap_net_bind_service\n";
        assert!(network(capable).may_use_low_ports());
        assert!(!network(&format!("{capable}PrivateUsers=yes")).may_use_low_ports());
        assert!(!network("AmbientCapabilities=\nPrivateUsers=no").may_use_low_ports());
    }

    #[test]
    fn families_are_a_list_of_what_is_allowed() {
        let some = network("RestrictAddressFamilies=AF_INET AF_UNIX\nPrivateNetwork=no\n");
        assert!(some.lacks("AF_INET6") && !some.lacks("AF_INET"));
        assert_eq!(some.elsewhere(), None);
        assert!(!network("RestrictAddressFamilies=~AF_INET6").lacks("AF_INET6"));
        let other = network("NetworkNamespacePath=/run/netns/a");
        assert_eq!(other.elsewhere(), Some("NetworkNamespacePath"));
    }
}
