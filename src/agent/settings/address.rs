//! Where a collector is found: an endpoint, or a service whose SRV records name endpoints
//! (RFC 2782). Parses and shows; asks no server.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::curve::endpoint::{Endpoint, EndpointError, Host};

/// What a service's address begins with.
const SCHEME: &str = "srv:";

/// The service and protocol of an address that names a domain alone.
pub const DEFAULT_SERVICE: &str = "_metrics-agent._tcp";

/// One address of a collector. Displays as `HOST:PORT`, or as `srv:_SERVICE._tcp.DOMAIN`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CollectorAddress {
    /// A host and a port.
    At(Endpoint),
    /// A service, whose records name hosts and ports.
    Service(ServiceName),
}

/// The name of SRV records, in lower case: a service with its protocol, and a domain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName {
    service: String,
    domain: String,
}

/// Why a text is no [`CollectorAddress`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// No endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// What begins with `_` is no service with its protocol and a domain.
    #[error(
        "a service is written _NAME._tcp.DOMAIN, such as \"{SCHEME}{DEFAULT_SERVICE}.example.org\""
    )]
    Service,
    /// An address stands where a domain belongs.
    #[error("{0} is an address and has no SRV records; write it without \"{SCHEME}\"")]
    Ip(String),
    /// A port behind the domain.
    #[error("SRV records have the port themselves: leave it out")]
    Port,
}

impl ServiceName {
    /// The service and its protocol, as `_metrics-agent._tcp`.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.domain)
    }
}

impl fmt::Display for CollectorAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(endpoint) => endpoint.fmt(f),
            Self::Service(name) => write!(f, "{SCHEME}{name}"),
        }
    }
}

impl CollectorAddress {
    /// As settings have it: an endpoint with its `tcp://`.
    #[must_use]
    pub fn to_setting(&self) -> String {
        match self {
            Self::At(endpoint) => format!("tcp://{endpoint}"),
            Self::Service(_) => self.to_string(),
        }
    }
}

impl FromStr for ServiceName {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (service, domain) = if text.starts_with('_') {
            let mut parts = text.splitn(3, '.');
            match (parts.next(), parts.next(), parts.next()) {
                (Some(name), Some(protocol), Some(domain))
                    if name.len() > 1 && protocol.eq_ignore_ascii_case("_tcp") =>
                {
                    (format!("{name}.{protocol}"), domain)
                }
                _ => return Err(AddressError::Service),
            }
        } else {
            (DEFAULT_SERVICE.to_owned(), text)
        };
        if domain.contains(':') {
            return Err(AddressError::Port);
        }
        let domain = match domain.parse()? {
            Host::Name(name) => name.strip_suffix('.').unwrap_or(&name).to_owned(),
            other => return Err(AddressError::Ip(other.to_string())),
        };
        let service = service.to_ascii_lowercase();
        // All of it has to be a name: its labels and its length.
        let _: Host = format!("{service}.{domain}").parse()?;
        Ok(Self { service, domain })
    }
}

impl FromStr for CollectorAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.split_at_checked(SCHEME.len()) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case(SCHEME) => {
                Ok(Self::Service(rest.parse()?))
            }
            _ => Ok(Self::At(text.parse()?)),
        }
    }
}

impl TryFrom<String> for CollectorAddress {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, AddressError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_endpoint_or_a_service() {
        for (text, shown, setting) in [
            (
                "C.example.org",
                "c.example.org:5556",
                "tcp://c.example.org:5556",
            ),
            ("[::1]:7", "[::1]:7", "tcp://[::1]:7"),
            // A host may be called so.
            ("srv", "srv:5556", "tcp://srv:5556"),
            (
                "srv:Example.org.",
                "srv:_metrics-agent._tcp.example.org",
                "srv:_metrics-agent._tcp.example.org",
            ),
            (
                "SRV:_Metrics._TCP.eu.example.org",
                "srv:_metrics._tcp.eu.example.org",
                "srv:_metrics._tcp.eu.example.org",
            ),
        ] {
            let address: CollectorAddress = text.parse().unwrap();
            assert_eq!(address.to_string(), shown, "{text}");
            assert_eq!(address.to_setting(), setting, "{text}");
            assert_eq!(setting.parse(), Ok(address), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused_with_the_reason() {
        let of = |text: &str| text.parse::<CollectorAddress>().unwrap_err();
        for text in [
            "srv:_metrics.example.org",
            "srv:_metrics._udp.example.org",
            "srv:_metrics._tcp",
            "srv:_._tcp.example.org",
        ] {
            assert_eq!(of(text), AddressError::Service, "{text}");
        }
        assert_eq!(of("srv:example.org:5556"), AddressError::Port);
        assert_eq!(of("srv:_m._tcp.example.org:1"), AddressError::Port);
        assert_eq!(
            of("srv:192.0.2.1"),
            AddressError::Ip("192.0.2.1".to_owned())
        );
        let name = |text: &str| AddressError::Endpoint(EndpointError::Name(text.to_owned()));
        assert_eq!(of("srv://example.org"), name("//example.org"));
        assert_eq!(of("srv:_m._tcp.a b"), name("a b"));
        assert_eq!(of("srv:_a b._tcp.c"), name("_a b._tcp.c"));
        assert_eq!(of("srv:"), EndpointError::NoHost.into());
        // As a domain it would do, but not behind the service.
        let long = "a.".repeat(126) + "a";
        assert!(long.parse::<Host>().is_ok());
        assert_eq!(of(&format!("srv:{long}")), EndpointError::TooLong.into());
        assert_eq!(of("host:0"), EndpointError::Port("0".to_owned()).into());
    }
}
