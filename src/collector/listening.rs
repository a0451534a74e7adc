//! Whether the addresses that the settings name can be listened at: for `--check-config` alone. The
//! start tries itself. Nothing listens here: each address is bound, and let go at once.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketType};
use thiserror::Error;

use super::keys::{UNIT, service_state};
use super::publish::doubt::doubt;
use super::publish::endpoint::Endpoint;
use super::settings::Loaded;
use crate::config::Place;
use crate::config::service::{FIRST_FREE_PORT, UnitNetwork, user_of_running};
use crate::curve::router::Listen;

/// The kernel's lists of TCP sockets. Those that listen come first, so that a bound costs nothing.
const LISTS: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The state of a socket that listens, in these lists.
const LISTENS: &str = "0A";

/// The users that systemd makes for units (systemd.exec(5), `DynamicUser`=).
const DYNAMIC: std::ops::RangeInclusive<u32> = 61184..=65519;

/// What a user namespace has for the users of others, a service's among them.
const OVERFLOW: u32 = 65534;

/// Why the collector would not listen at an address.
#[derive(Debug, PartialEq, Eq)]
enum Why {
    /// Another process listens there, of this user if that can be seen.
    Taken(Option<u32>),
    NoAddress(IpAddr),
    LowPort,
    Family(&'static str),
    Rule,
    System(Errno),
}

impl Why {
    /// Whether it is a matter of the unit alone.
    fn lasts(&self) -> bool {
        match self {
            Self::LowPort | Self::Family(_) | Self::Rule => true,
            Self::Taken(_) | Self::NoAddress(_) | Self::System(_) => false,
        }
    }
}

/// An address of the settings at which the service, as far as can be seen now, could not listen.
#[derive(Debug, Error)]
#[error("{place}: {key}: {why}")]
pub struct NotListening {
    place: Place,
    key: &'static str,
    why: String,
    lasts: bool,
}

impl NotListening {
    /// Returns true if no start could, as long as settings and unit are as they are. What is only
    /// missing now may be there at the start.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.lasts
    }
}

/// Whose sockets are no trouble: those of the service that runs.
#[derive(Debug)]
struct Own {
    users: Vec<u32>,
    /// It may be a user that systemd made.
    perhaps_dynamic: bool,
}

impl Own {
    /// This process's user, which is the service's where root asks; the running service's, as
    /// systemd says; and the owners of its state directory and of the one that is asked about.
    fn with(state: Option<&Path>) -> Self {
        let states = [state.map(Path::to_owned), service_state()];
        let about = states
            .into_iter()
            .flatten()
            .filter_map(|state| fs::symlink_metadata(state).ok());
        // Root owns the link to a dynamic user's.
        let owners = about.filter(Metadata::is_dir).map(|about| about.uid());
        let user = rustix::process::geteuid().as_raw();
        let running = user_of_running(UNIT);
        Self {
            users: owners.chain([user]).chain(running).collect(),
            perhaps_dynamic: running.is_none(),
        }
    }

    fn has(&self, uid: u32) -> bool {
        let is_dynamic = self.perhaps_dynamic && DYNAMIC.contains(&uid);
        self.users.contains(&uid) || is_dynamic || uid == OVERFLOW
    }
}

/// Says which of the addresses the service could not listen at. `state` is its state directory,
/// `network` what its unit lets it have, if that is known.
#[must_use]
pub fn doubts(
    loaded: &Loaded,
    state: Option<&Path>,
    network: Option<&UnitNetwork>,
) -> Vec<NotListening> {
    let (any, is_known) = (UnitNetwork::default(), network.is_some());
    let network = network.unwrap_or(&any);
    let endpoint = loaded.settings.publish.as_ref();
    let endpoint = endpoint.map(|publish| &publish.endpoint);
    let file = match endpoint {
        Some(Endpoint::Ipc(path)) => doubt(path, network, is_known),
        Some(Endpoint::Tcp(_)) | None => None,
    };
    let file = file.map(|doubt| NotListening {
        place: loaded.place(&["publish", "endpoint"]),
        key: "publish.endpoint",
        lasts: doubt.lasts,
        why: doubt.to_string(),
    });
    if network.elsewhere().is_some() {
        return file.into_iter().collect();
    }
    let listen = loaded.settings.listen;
    let own = Own::with(state);
    let all = [
        (["listen", "agents"], "listen.agents", Some(listen.agents)),
        (["listen", "viewers"], "listen.viewers", listen.viewers),
        (["listen", "web"], "listen.web", listen.web),
        (
            ["publish", "endpoint"],
            "publish.endpoint",
            match endpoint {
                Some(Endpoint::Tcp(address)) => Some(Listen::Address(*address)),
                Some(Endpoint::Ipc(_)) | None => None,
            },
        ),
    ];
    let doubts = all.into_iter().filter_map(|(path, key, listen)| {
        let listen = listen?;
        let why = forbidden(listen, network).or_else(|| tried(listen, &own, network))?;
        let lasts = is_known && why.lasts();
        Some(NotListening {
            place: loaded.place(&path),
            key,
            why: Said {
                listen,
                why: &why,
                lasts,
            }
            .to_string(),
            lasts,
        })
    });
    doubts.chain(file).collect()
}

/// What the unit's sandbox forbids.
fn forbidden(listen: Listen, network: &UnitNetwork) -> Option<Why> {
    let family = match listen.address() {
        // One of both is enough.
        None if network.lacks("AF_INET") && network.lacks("AF_INET6") => {
            return Some(Why::Family("AF_INET"));
        }
        None if network.lacks("AF_INET6") => "AF_INET",
        Some(address) if address.is_ipv4() => "AF_INET",
        _ => "AF_INET6",
    };
    let by_rule = network.forbids(family, listen.port());
    let by_rule = by_rule.then_some(Why::Rule);
    if listen.address().is_none() {
        return by_rule;
    }
    let missing = network.lacks(family).then_some(Why::Family(family));
    missing.or(by_rule)
}

/// What the system says to an attempt.
fn tried(listen: Listen, own: &Own, network: &UnitNetwork) -> Option<Why> {
    match bind(listen).err()? {
        Errno::ADDRINUSE => taken(listen, own),
        // The service has more rights than this process.
        Errno::ACCESS if network.may_use_low_ports() => {
            taken(listen, own).filter(|why| *why != Why::Taken(None))
        }
        Errno::ACCESS => Some(Why::LowPort),
        Errno::ADDRNOTAVAIL => match listen.address() {
            Some(address) => Some(Why::NoAddress(address.ip())),
            None => Some(Why::System(Errno::ADDRNOTAVAIL)),
        },
        error => Some(Why::System(error)),
    }
}

fn bind(listen: Listen) -> Result<(), Errno> {
    let port = listen.port();
    match listen.address() {
        Some(address) => bind_one(address),
        None => match bind_one((Ipv6Addr::UNSPECIFIED, port).into()) {
            // A kernel without IPv6.
            Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => {
                bind_one((Ipv4Addr::UNSPECIFIED, port).into())
            }
            other => other,
        },
    }
}

/// As the collector does it, but without listening.
fn bind_one(address: SocketAddr) -> Result<(), Errno> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    if address.is_ipv6() {
        let has_ipv4 = address.ip().is_unspecified() || address.ip().to_canonical().is_ipv4();
        set_ipv6_v6only(&socket, !has_ipv4)?;
    }
    set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)
}

/// None if it is the service itself that listens there.
fn taken(listen: Listen, own: &Own) -> Option<Why> {
    let holders: Vec<u32> = LISTS
        .iter()
        .flat_map(|list| {
            let file = File::open(list).ok();
            let lines = file.map(|file| BufReader::new(file.take(MAX_BYTES)).lines());
            let lines = lines.into_iter().flatten().map_while(Result::ok);
            lines
                .filter_map(|line| listener(&line))
                .filter(|(address, _)| overlap(listen, *address))
                .map(|(_, uid)| uid)
                .collect::<Vec<_>>()
        })
        .collect();
    match holders.iter().find(|uid| !own.has(**uid)) {
        Some(other) => Some(Why::Taken(Some(*other))),
        None if holders.is_empty() => Some(Why::Taken(None)),
        None => None,
    }
}

/// The address and the user of a line of these lists, see `proc_net_tcp(5)`, if it listens.
fn listener(line: &str) -> Option<(SocketAddr, u32)> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    if fields.nth(1)? != LISTENS {
        return None;
    }
    let uid = fields.nth(3)?.parse().ok()?;
    let (address, port) = local.split_once(':')?;
    // Words of 32 bits, each as the processor has it.
    let word = |at: usize| {
        let digits = address.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = if address.len() == 8 {
        IpAddr::from(word(0)?)
    } else {
        let words = [word(0)?, word(1)?, word(2)?, word(3)?];
        let bytes: Vec<u8> = words.concat();
        IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?).to_canonical()
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((SocketAddr::new(ip, port), uid))
}

/// Whether a socket at this address is in the way.
fn overlap(listen: Listen, held: SocketAddr) -> bool {
    let wanted = listen
        .address()
        .map_or(Ipv6Addr::UNSPECIFIED.into(), |address| {
            address.ip().to_canonical()
        });
    let both = |ip: IpAddr| ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let all = |ip: IpAddr, of: IpAddr| ip == Ipv4Addr::UNSPECIFIED && of.is_ipv4();
    let is_same = wanted == held.ip()
        || both(wanted)
        || both(held.ip())
        || all(wanted, held.ip())
        || all(held.ip(), wanted);
    listen.port() == held.port() && is_same
}

/// A reason in words.
struct Said<'a> {
    listen: Listen,
    why: &'a Why,
    lasts: bool,
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, why, lasts } = self;
        let port = listen.port();
        write!(f, "the collector could not listen at {listen}")?;
        f.write_str(if *lasts {
            ", so it does not start: "
        } else {
            " now, and its start would fail: "
        })?;
        match why {
            Why::Taken(user) => {
                match user {
                    Some(user) => write!(f, "a process of user {user} listens there already"),
                    None => f.write_str("another process has this port"),
                }?;
                write!(
                    f,
                    "; `ss -ltnp 'sport = :{port}'`, run by root, shows which"
                )
            }
            Why::NoAddress(ip) => write!(
                f,
                "this host does not have the address {ip} now; `ip address` shows those that it has"
            ),
            Why::LowPort => write!(
                f,
                "a port below {FIRST_FREE_PORT} needs a capability that it does not have; choose \
                 one above, or set AmbientCapabilities=CAP_NET_BIND_SERVICE, \
                 CapabilityBoundingSet=CAP_NET_BIND_SERVICE and PrivateUsers=no in its unit"
            ),
            Why::Family(family) => write!(
                f,
                "RestrictAddressFamilies= of its unit forbids {family}, which this needs"
            ),
            Why::Rule => write!(
                f,
                "SocketBindDeny= of its unit forbids this port; `systemctl edit {UNIT}` adds \
                 SocketBindAllow=tcp:{port}"
            ),
            Why::System(error) => write!(f, "{error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn own(users: &[u32]) -> Own {
        Own {
            users: users.to_vec(),
            perhaps_dynamic: false,
        }
    }

    #[test]
    fn a_line_of_the_kernel_is_read() {
        // As Linux 6.12 has them, on a little-endian machine.
        let v4 = "   0: 0100007F:15B4 00000000:0000 0A 00000000:00000000 00:00000000 00000000  \
                  33        0 1234 1 0000000000000000 100 0 0 10 0";
        let v6 = "   1: 00000000000000000000000001000000:1F90 \
                  00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 \
                     0        0 5678 1 0000000000000000 100 0 0 10 0";
        if cfg!(target_endian = "little") {
            assert_eq!(listener(v4), Some(("127.0.0.1:5556".parse().unwrap(), 33)));
            assert_eq!(listener(v6), Some(("[::1]:8080".parse().unwrap(), 0)));
        }
        assert_eq!(listener(&v4.replace(" 0A ", " 01 ")), None);
        assert_eq!(
            listener("  sl  local_address rem_address   st tx_queue"),
            None
        );
    }

    #[test]
    fn addresses_are_in_each_others_way_as_the_kernel_has_it() {
        let any = Listen::Any { port: 1 };
        let one = |text: &str| Listen::Address(text.parse().unwrap());
        for (listen, held, expected) in [
            (any, "127.0.0.1:1", true),
            (any, "[::1]:1", true),
            (any, "[::1]:2", false),
            (one("127.0.0.1:1"), "0.0.0.0:1", true),
            (one("127.0.0.1:1"), "[::]:1", true),
            (one("127.0.0.1:1"), "127.0.0.2:1", false),
            (one("0.0.0.0:1"), "127.0.0.2:1", true),
            (one("[::1]:1"), "0.0.0.0:1", false),
        ] {
            assert_eq!(
                overlap(listen, held.parse().unwrap()),
                expected,
                "{listen} {held}"
            );
        }
    }

    #[test]
    fn what_is_taken_is_told_with_whose_it_is() {
        let network = UnitNetwork::default();
        let me = rustix::process::geteuid().as_raw();
        for held in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(holder) = TcpListener::bind(held) else {
                continue;
            };
            let address = holder.local_addr().unwrap();
            for listen in [
                Listen::Address(address),
                Listen::Any {
                    port: address.port(),
                },
            ] {
                let why = tried(listen, &own(&[]), &network);
                assert_eq!(why, Some(Why::Taken(Some(me))), "{listen} {held}");
                let own = own(&[me]);
                assert_eq!(tried(listen, &own, &network), None, "{listen} {held}");
            }
            let said = Said {
                listen: Listen::Address(address),
                why: &Why::Taken(Some(me)),
                lasts: false,
            };
            let text = said.to_string();
            let command = format!("`ss -ltnp 'sport = :{}'`", address.port());
            assert!(text.contains(&command), "{text}");
            drop(holder);
            assert_eq!(tried(Listen::Address(address), &own(&[]), &network), None);
        }
    }

    #[test]
    fn a_family_that_the_unit_forbids_is_told() {
        let only = UnitNetwork::of_families;
        let any = Listen::Any { port: 0 };
        let one = Listen::Address(([127, 0, 0, 1], 0).into());
        let none = only("AF_UNIX AF_NETLINK");
        for listen in [any, one] {
            assert_eq!(forbidden(listen, &none), Some(Why::Family("AF_INET")));
        }
        for family in ["AF_INET", "AF_INET6"] {
            assert_eq!(forbidden(any, &only(family)), None, "{family}");
        }
        assert_eq!(forbidden(one, &only("AF_INET")), None);
        let port = UnitNetwork::denying(0);
        for listen in [any, one] {
            assert_eq!(forbidden(listen, &port), Some(Why::Rule), "{listen}");
        }
        assert_eq!(forbidden(Listen::Any { port: 1 }, &port), None);
    }

    #[test]
    fn an_address_of_ipv4_in_ipv6_is_tried_as_the_start_does() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped();
        let listen = Listen::Address((mapped, port).into());
        if TcpListener::bind((mapped, 0)).is_err() {
            return; // A kernel without IPv6.
        }
        let me = rustix::process::geteuid().as_raw();
        let why = tried(listen, &own(&[]), &UnitNetwork::default());
        assert_eq!(why, Some(Why::Taken(Some(me))));
        drop(holder);
        assert_eq!(tried(listen, &own(&[]), &UnitNetwork::default()), None);
    }

    #[test]
    fn an_address_of_another_host_is_told() {
        let elsewhere = Listen::Address(([192, 0, 2, 1], 5556).into());
        let why = tried(elsewhere, &own(&[]), &UnitNetwork::default());
        assert_eq!(why, Some(Why::NoAddress([192, 0, 2, 1].into())));
    }
}
