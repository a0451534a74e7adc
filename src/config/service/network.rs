//! What a unit's sandbox lets its service have of the network, where a program listens.

use super::manager::Properties;

/// The first port that needs no capability, unless the system says otherwise.
pub const FIRST_FREE_PORT: u16 = 1024;

/// Such a sandbox; by default none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitNetwork {
    /// It has `CAP_NET_BIND_SERVICE` of the host.
    pub(super) low_ports: bool,
    /// The setting that gives it a network of its own.
    pub(super) elsewhere: Option<&'static str>,
    families: Families,
    /// Which addresses it may and may not listen at: `SocketBindAllow`= counts first.
    allowed: Vec<BindRule>,
    denied: Vec<BindRule>,
}

/// `RestrictAddressFamilies`=; by default none are forbidden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Families {
    named: Vec<String>,
    /// Only those are allowed, not all others.
    are_allowed: bool,
}

/// A rule as the bus has it: address family, protocol, number of ports and first port. 0 stands for
/// any of them (systemd.resource-control(5)).
type BindRule = (i32, i32, u16, u16);

/// How Linux numbers families and protocols.
const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;
const IPPROTO_TCP: i32 = 6;

impl UnitNetwork {
    /// Takes a line of `systemctl show`, if it is about this.
    pub(super) fn take(&mut self, key: &str, value: &str, is_true: bool) {
        match key {
            "PrivateNetwork" if is_true => self.elsewhere = Some("PrivateNetwork"),
            "NetworkNamespacePath" if !value.is_empty() => {
                self.elsewhere = Some("NetworkNamespacePath");
            }
            // One without a value allows none: systemctl shows a lone ~ where all are allowed.
            "RestrictAddressFamilies" => {
                let denied = value.strip_prefix('~');
                let named = denied.unwrap_or(value).split_whitespace();
                self.families = Families {
                    named: named.map(str::to_owned).collect(),
                    are_allowed: denied.is_none(),
                };
            }
            _ => {}
        }
    }

    /// Takes what systemctl does not show in full.
    pub(super) fn take_rules(&mut self, properties: &Properties) {
        let rules = |name| properties.get(name).unwrap_or_default();
        self.allowed = rules("SocketBindAllow");
        self.denied = rules("SocketBindDeny");
    }

    /// Returns true if it may use ports that need a capability.
    #[must_use]
    pub fn may_use_low_ports(&self) -> bool {
        self.low_ports
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

    /// One that may not listen at this port of any family.
    #[cfg(test)]
    pub(crate) fn denying(port: u16) -> Self {
        Self {
            denied: vec![(0, 0, 1, port)],
            ..Self::default()
        }
    }

    /// Returns true if the unit forbids this family of addresses.
    #[must_use]
    pub fn lacks(&self, family: &str) -> bool {
        let Families { named, are_allowed } = &self.families;
        named.iter().any(|one| one == family) != *are_allowed
    }

    /// Returns true if the unit forbids listening with TCP at this port of this family.
    #[must_use]
    pub fn forbids(&self, family: &str, port: u16) -> bool {
        let family = if family == "AF_INET" {
            AF_INET
        } else {
            AF_INET6
        };
        let fits = |rule: &BindRule| {
            let (of_family, protocol, count, first) = *rule;
            let is_port = count == 0 || port.checked_sub(first).is_some_and(|at| at < count);
            (of_family == 0 || of_family == family)
                && (protocol == 0 || protocol == IPPROTO_TCP)
                && is_port
        };
        !self.allowed.iter().any(fits) && self.denied.iter().any(fits)
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
    fn families_are_a_list_of_what_is_allowed_or_forbidden() {
        let of = |value: &str| network(&format!("RestrictAddressFamilies={value}\n"));
        for (value, lacks_4, lacks_6) in [
            ("AF_INET AF_UNIX", false, true),
            ("~AF_INET6 AF_PACKET", false, true),
            ("~AF_INET", true, false),
            ("~", false, false),
            // As for `none`.
            ("", true, true),
        ] {
            let lacks = |family| of(value).lacks(family);
            assert_eq!(
                (lacks("AF_INET"), lacks("AF_INET6")),
                (lacks_4, lacks_6),
                "{value}"
            );
        }
        assert!(!UnitNetwork::default().lacks("AF_INET"));
        assert_eq!(network("PrivateNetwork=no\n").elsewhere(), None);
        let other = network("NetworkNamespacePath=/run/netns/a");
        assert_eq!(other.elsewhere(), Some("NetworkNamespacePath"));
    }

    #[test]
    fn the_rules_about_ports_are_those_of_the_bus() {
        // As busctl of systemd 257 prints them.
        let of = |allow: &str, deny: &str| {
            let json = format!(
                r#"{{"type":"a{{sv}}","data":[{{"SocketBindAllow":{{"type":"a(iiqq)","data":{allow}}},
                "SocketBindDeny":{{"type":"a(iiqq)","data":{deny}}}}}]}}"#
            );
            let mut network = UnitNetwork::default();
            network.take_rules(&Properties::parse(&json).unwrap());
            ["AF_INET", "AF_INET6"].map(|family| network.forbids(family, 5556))
        };
        for (allow, deny, expected) in [
            ("[]", "[]", [false, false]),
            ("[]", "[[0,0,0,0]]", [true, true]),
            ("[[0,6,6,5551]]", "[[0,0,0,0]]", [false, false]),
            (
                "[[0,6,5,5551],[0,17,0,0],[0,0,1,5557]]",
                "[[0,0,0,0]]",
                [true, true],
            ),
            ("[]", "[[2,6,1,5556]]", [true, false]),
            ("[[10,0,0,0]]", "[[0,0,1,5556]]", [true, false]),
            ("[]", "[[0,17,0,0],[0,0,1,5555]]", [false, false]),
        ] {
            assert_eq!(of(allow, deny), expected, "{allow} {deny}");
        }
    }
}
