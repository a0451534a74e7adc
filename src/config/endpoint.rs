//! Where a collector listens. Parses what people write and refuses, with the
//! reason, what libzmq would take for something else; resolves nothing.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::Deserialize;
use thiserror::Error;

/// The port that collectors bind for agents.
pub const DEFAULT_PORT: u16 = DEFAULT.get();
const DEFAULT: NonZeroU16 = NonZeroU16::new(5556).unwrap();

/// The longest DNS name as text, in bytes, without a final dot (RFC 1035).
const MAX_NAME_BYTES: usize = 253;
/// The longest label of a DNS name, in bytes (RFC 1035).
const MAX_LABEL_BYTES: usize = 63;

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
}

/// Why a text is no [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// Another transport than TCP.
    #[error("only \"tcp://\" is supported, not \"{}://\"", .0.escape_debug())]
    Scheme(String),
    /// No host in front of the port.
    #[error("it names no host")]
    NoHost,
    /// The port is no number, or not from 1 to 65535.
    #[error("the port must be a number from 1 to 65535, not {0:?}")]
    Port(String),
    /// Several colons, and no brackets: where the port begins can't be told.
    #[error("an IPv6 address stands in brackets, such as \"[::1]:{DEFAULT_PORT}\"")]
    Brackets,
    /// What the brackets hold is no IPv6 address.
    #[error("{0:?} is no IPv6 address")]
    Ipv6(String),
    /// Looks like an IPv4 address, and is none.
    #[error("{0:?} is no IPv4 address")]
    Ipv4(String),
    /// No host name by RFC 1123.
    #[error("{0:?} is no host name: it has labels of letters, digits and \"-\", joined by dots")]
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
            let ip: Ipv6Addr = ip.parse().map_err(|_| EndpointError::Ipv6(ip.to_owned()))?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err(EndpointError::Brackets),
            };
            (Host::Ip(ip.into()), port)
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
            ("[fe80::1%eth0]", E::Ipv6(text("fe80::1%eth0"))),
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

    proptest! {
        #[test]
        fn never_panics_and_survives_its_own_text(text in "(tcp://)?[\\[]?[a-z0-9.:\\-%]{0,20}[\\]]?(:[0-9]{0,6})?|.*") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint));
            }
        }
    }
}
