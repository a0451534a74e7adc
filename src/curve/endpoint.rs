//! Where a collector listens. Parses what people write and refuses, with the reason, what could
//! mean something else; resolves nothing.
//!
//! A link-local address says which host only together with an interface of this one, its
//! zone (RFC 4007): without, it is refused. In a URL the `%` between them is `%25` (RFC 6874),
//! which is taken everywhere.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::Deserialize;
use thiserror::Error;

use crate::base::text::shown;

/// The port that collectors bind for agents.
pub const DEFAULT_PORT: u16 = DEFAULT.get();

/// The port that they bind for viewers.
pub const DEFAULT_VIEWERS_PORT: u16 = 5557;

const DEFAULT: NonZeroU16 = NonZeroU16::new(5556).unwrap();

/// The longest DNS name as text, in bytes, without a final dot (RFC 1035).
const MAX_NAME_BYTES: usize = 253;
/// The longest label of a DNS name, in bytes (RFC 1035).
const MAX_LABEL_BYTES: usize = 63;
/// The longest name of an interface, IFNAMSIZ without the final NUL.
const MAX_ZONE_BYTES: usize = 15;

/// A collector's address: `tcp://HOST:PORT`, `HOST:PORT` or `HOST`, where HOST is
/// a name, an IPv4 address, or an IPv6 address in brackets. Displays as `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Endpoint {
    host: Host,
    port: NonZeroU16,
}

/// A name to look up, or an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// A DNS name or one of the hosts file, in lower case.
    Name(String),
    /// An address.
    Ip(IpAddr),
    /// A link-local address, and the interface that it is reached over.
    LinkLocal(Ipv6Addr, Zone),
}

/// An interface of this host, by its name or its number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Zone {
    /// What is behind the name is 0.
    bytes: [u8; MAX_ZONE_BYTES],
}

impl Zone {
    /// Its number, where there is such an interface now.
    ///
    /// # Errors
    ///
    /// There is none.
    pub fn index(&self) -> io::Result<u32> {
        let name = self.as_str();
        if let Ok(index) = name.parse() {
            return Ok(index);
        }
        // The question takes some socket.
        let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))?;
        Ok(rustix::net::netdevice::name_to_index(&socket, name)?)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Made of ASCII alone.
        let text = str::from_utf8(&self.bytes).unwrap_or_default();
        text.trim_end_matches('\0')
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.as_str())
    }
}

/// As it stands behind an address, with the `%` in front.
impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One that begins with 25 could be taken for a URL's.
        let name = self.as_str();
        let mark = if name.starts_with("25") { "%25" } else { "%" };
        write!(f, "{mark}{name}")
    }
}

impl FromStr for Zone {
    type Err = EndpointError;

    /// Takes what Linux may call an interface (`dev_valid_name`), and URLs can hold.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let name = text.strip_prefix("25").filter(|rest| !rest.is_empty());
        let name = name.unwrap_or(text);
        let valid = |byte: u8| byte.is_ascii_graphic() && !b"/:%[]".contains(&byte);
        if name.is_empty() || name.len() > MAX_ZONE_BYTES || !name.bytes().all(valid) {
            return Err(EndpointError::Zone(name.to_owned()));
        }
        // A number that is too large is no interface, and 0 is every one.
        if name.bytes().all(|byte| byte.is_ascii_digit())
            && name.parse::<u32>().ok().is_none_or(|index| index == 0)
        {
            return Err(EndpointError::Zone(name.to_owned()));
        }
        let mut bytes = [0; MAX_ZONE_BYTES];
        for (byte, letter) in bytes.iter_mut().zip(name.bytes()) {
            *byte = letter;
        }
        Ok(Self { bytes })
    }
}

/// Reads an IPv6 address, of a link-local one with its zone.
///
/// # Errors
///
/// [`EndpointError`].
pub fn parse_ipv6(text: &str) -> Result<Host, EndpointError> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    let parsed: Ipv6Addr = address
        .parse()
        .map_err(|_| EndpointError::Ipv6(text.to_owned()))?;
    match (parsed.is_unicast_link_local(), zone) {
        (true, Some(zone)) => Ok(Host::LinkLocal(parsed, zone.parse()?)),
        (false, None) => Ok(Host::Ip(parsed.into())),
        (true, None) => Err(EndpointError::NoZone(parsed)),
        (false, Some(_)) => Err(EndpointError::NotLinkLocal(parsed)),
    }
}

/// The address of a socket on a link-local address.
///
/// # Errors
///
/// This host has no such interface now.
pub fn link_local(address: Ipv6Addr, zone: &Zone, port: u16) -> io::Result<SocketAddrV6> {
    Ok(SocketAddrV6::new(address, port, 0, zone.index()?))
}

/// An address of a socket as people write it: a link-local one with the name of its interface,
/// where the kernel has the number alone.
#[must_use]
pub fn with_interface_name(address: SocketAddr) -> String {
    let name = match address {
        SocketAddr::V6(address) if address.scope_id() != 0 => interface_name(address.scope_id()),
        _ => None,
    };
    match name {
        Some(name) => format!("[{}%{name}]:{}", address.ip(), address.port()),
        None => address.to_string(),
    }
}

fn interface_name(index: u32) -> Option<String> {
    // The question takes some socket.
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0)).ok()?;
    rustix::net::netdevice::index_to_name(&socket, index).ok()
}

/// Why a text is no [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// Another transport than TCP.
    #[error("only \"tcp://\" is supported, not \"{}://\"", shown(.0))]
    Scheme(String),
    /// No host in front of the port.
    #[error("it has no host")]
    NoHost,
    /// The port is no number, or not from 1 to 65535.
    #[error("the port must be a number from 1 to 65535, not {0:?}")]
    Port(String),
    /// Several colons, and no brackets: where the port begins can't be told.
    #[error("write an IPv6 address in brackets, such as \"[::1]:{DEFAULT_PORT}\"")]
    Brackets,
    /// What the brackets hold is not an IPv6 address.
    #[error("{0:?} is not an IPv6 address")]
    Ipv6(String),
    /// What stands behind the `%` is no interface's name.
    #[error("{0:?} after the % is not the name of an interface")]
    Zone(String),
    /// A link-local address alone.
    #[error("{0} is a link-local address and needs its interface, such as \"[{0}%eth0]\"")]
    NoZone(Ipv6Addr),
    /// An interface behind another address.
    #[error("only a link-local address (fe80::…) can have a % and an interface after it, not {0}")]
    NotLinkLocal(Ipv6Addr),
    /// Looks like an IPv4 address, and is none.
    #[error("{0:?} is not an IPv4 address")]
    Ipv4(String),
    /// No host name by RFC 1123.
    #[error("{0:?} is not a host name: labels of letters, digits and \"-\", joined by dots")]
    Name(String),
    /// Longer than the DNS allows.
    #[error(
        "a host name has at most {MAX_NAME_BYTES} characters, and {MAX_LABEL_BYTES} between two dots"
    )]
    TooLong,
}

impl Endpoint {
    /// The endpoint of a host and a port.
    #[must_use]
    pub const fn new(host: Host, port: NonZeroU16) -> Self {
        Self { host, port }
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The TCP port, never 0.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port.get()
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::LinkLocal(ip, zone) => write!(f, "[{ip}{zone}]"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl Endpoint {
    /// Reads an endpoint; it has this port where the text names none.
    ///
    /// # Errors
    ///
    /// [`EndpointError`].
    pub fn parse(text: &str, default: NonZeroU16) -> Result<Self, EndpointError> {
        let address = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("tcp") => rest,
            Some((scheme, _)) => return Err(EndpointError::Scheme(scheme.to_owned())),
            None => text,
        };
        let (host, port) = if let Some(inside) = address.strip_prefix('[') {
            let (ip, rest) = inside.split_once(']').ok_or(EndpointError::Brackets)?;
            let host = parse_ipv6(ip)?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err(EndpointError::Brackets),
            };
            (host, port)
        } else {
            let (host, port) = match address.split_once(':') {
                Some((_, port)) if port.contains(':') => return Err(EndpointError::Brackets),
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            };
            (host.parse()?, port)
        };
        Ok(Self {
            host,
            port: port.map_or(Ok(default), parse_port)?,
        })
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        Self::parse(text, DEFAULT)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, EndpointError> {
        text.parse()
    }
}

impl FromStr for Host {
    type Err = EndpointError;

    /// Takes a name or an IPv4 address.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.is_empty() {
            return Err(EndpointError::NoHost);
        }
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(IpAddr::V4(ip)));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let legal = |label: &str| {
            // The underscore is outside RFC 1123, and in many a hosts file.
            label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
                && !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if !name.split('.').all(legal) {
            return Err(EndpointError::Name(text.to_owned()));
        }
        if name.len() > MAX_NAME_BYTES || name.split('.').any(|label| label.len() > MAX_LABEL_BYTES)
        {
            return Err(EndpointError::TooLong);
        }
        // getaddrinfo(3) takes "10.1" and "0x7f.1" for addresses; no top-level domain is a number.
        let last = name.rsplit('.').next().unwrap_or(name);
        let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
        let number = hex.map_or_else(
            || last.bytes().all(|b| b.is_ascii_digit()),
            |digits| digits.bytes().all(|b| b.is_ascii_hexdigit()),
        );
        if number {
            return Err(EndpointError::Ipv4(text.to_owned()));
        }
        Ok(Self::Name(text.to_ascii_lowercase()))
    }
}

fn parse_port(digits: &str) -> Result<NonZeroU16, EndpointError> {
    // str::parse would take a sign.
    if digits.bytes().all(|b| b.is_ascii_digit())
        && let Ok(port) = digits.parse()
    {
        return Ok(port);
    }
    Err(EndpointError::Port(digits.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_what_people_write() {
        let cases = [
            (
                "tcp://collector.example.org:5556",
                "collector.example.org:5556",
            ),
            ("TCP://Collector.Example.ORG", "collector.example.org:5556"),
            ("collector", "collector:5556"),
            ("collector.:1", "collector.:1"),
            ("my_host:65535", "my_host:65535"),
            ("10.0.0.3", "10.0.0.3:5556"),
            ("10.0.0.3:7000", "10.0.0.3:7000"),
            ("[::1]", "[::1]:5556"),
            ("tcp://[2001:DB8::1]:7000", "[2001:db8::1]:7000"),
            ("3com.com", "3com.com:5556"),
            ("[fe80::1%eth0]", "[fe80::1%eth0]:5556"),
            ("tcp://[FE80::1%25eth0]:7000", "[fe80::1%eth0]:7000"),
            ("[fe80::1%2]:7000", "[fe80::1%2]:7000"),
            ("[fe80::1%25]", "[fe80::1%2525]:5556"),
            ("[febf::1%br-1.20@x]", "[febf::1%br-1.20@x]:5556"),
        ];
        for (text, shown) in cases {
            let endpoint: Endpoint = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(endpoint.to_string(), shown);
        }
        let v6: Endpoint = "[::1]:9".parse().unwrap();
        assert_eq!(
            (v6.host(), v6.port()),
            (&Host::Ip(Ipv6Addr::LOCALHOST.into()), 9)
        );
    }

    #[test]
    fn refuses_the_rest_with_its_reason() {
        use EndpointError as E;
        let text = str::to_owned;
        let cases = [
            ("", E::NoHost),
            (":5556", E::NoHost),
            ("tcp://", E::NoHost),
            ("udp://host", E::Scheme(text("udp"))),
            ("://host", E::Scheme(text(""))),
            ("host:0", E::Port(text("0"))),
            ("host:99999", E::Port(text("99999"))),
            ("host:+80", E::Port(text("+80"))),
            ("host:", E::Port(text(""))),
            ("host:http", E::Port(text("http"))),
            ("host:5556/", E::Port(text("5556/"))),
            ("[::1]:0", E::Port(text("0"))),
            ("[::1]:", E::Port(text(""))),
            ("::1", E::Brackets),
            ("fd00::1:5556", E::Brackets),
            ("host:1:2", E::Brackets),
            ("[::1", E::Brackets),
            ("[::1]5556", E::Brackets),
            ("[host]", E::Ipv6(text("host"))),
            ("[host%eth0]", E::Ipv6(text("host%eth0"))),
            ("[fe80::1]", E::NoZone("fe80::1".parse().unwrap())),
            ("[fe80::1%]", E::Zone(text(""))),
            ("[fe80::1%0]", E::Zone(text("0"))),
            ("[fe80::1%4294967296]", E::Zone(text("4294967296"))),
            ("[fe80::1%a b]", E::Zone(text("a b"))),
            ("[fe80::1%../x]", E::Zone(text("../x"))),
            (
                "[fe80::1%sixteen-letters-]",
                E::Zone(text("sixteen-letters-")),
            ),
            ("[::1%lo]", E::NotLinkLocal(Ipv6Addr::LOCALHOST)),
            ("10.0.0.300", E::Ipv4(text("10.0.0.300"))),
            ("10.1", E::Ipv4(text("10.1"))),
            ("127.0x1", E::Ipv4(text("127.0x1"))),
            ("127.0X1", E::Ipv4(text("127.0X1"))),
            ("0xff", E::Ipv4(text("0xff"))),
            ("*", E::Name(text("*"))),
            ("a b", E::Name(text("a b"))),
            (" host", E::Name(text(" host"))),
            ("-a", E::Name(text("-a"))),
            ("a..b", E::Name(text("a..b"))),
            (".", E::Name(text("."))),
            ("user@host", E::Name(text("user@host"))),
            ("höst", E::Name(text("höst"))),
        ];
        for (bad, reason) in cases {
            assert_eq!(bad.parse::<Endpoint>(), Err(reason), "{bad:?}");
        }
        let shown = "\x1b[2J://host"
            .parse::<Endpoint>()
            .unwrap_err()
            .to_string();
        assert_eq!(shown, r#"only "tcp://" is supported, not "\u{1b}[2J://""#);
        assert_eq!("a".repeat(64).parse::<Endpoint>(), Err(E::TooLong));
        assert_eq!(
            "a.".repeat(127).parse::<Endpoint>().unwrap().port(),
            DEFAULT_PORT
        );
        assert_eq!("a.".repeat(128).parse::<Endpoint>(), Err(E::TooLong));
    }

    #[test]
    fn a_zone_is_an_interface_of_this_host() {
        let index = |text: &str| text.parse::<Zone>().unwrap().index();
        assert_eq!(index("lo").unwrap(), 1);
        assert_eq!(index("25lo").unwrap(), 1);
        assert_eq!(index("7").unwrap(), 7);
        assert!(index("no-such-one").is_err());
        let address = "fe80::1".parse().unwrap();
        let socket = link_local(address, &"lo".parse().unwrap(), 5556).unwrap();
        assert_eq!(socket.to_string(), "[fe80::1%1]:5556");
        for (address, shown) in [
            ("[fe80::1%1]:5556", "[fe80::1%lo]:5556"),
            ("[fe80::1%2147483647]:5556", "[fe80::1%2147483647]:5556"),
            ("[::1]:5556", "[::1]:5556"),
            ("127.0.0.1:5556", "127.0.0.1:5556"),
        ] {
            assert_eq!(with_interface_name(address.parse().unwrap()), shown);
        }
        let shown = EndpointError::NoZone(address).to_string();
        assert_eq!(
            shown,
            "fe80::1 is a link-local address and needs its interface, such as \
             \"[fe80::1%eth0]\""
        );
    }

    proptest! {
        #[test]
        fn never_panics_and_survives_its_own_text(text in "(tcp://)?[\\[]?[a-z0-9.:\\-%]{0,20}[\\]]?(:[0-9]{0,6})?|\\[fe80::1%(25)?[a-z0-9%]{0,5}\\]|.*") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
            }
        }
    }
}
