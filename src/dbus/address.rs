//! Which bus a daemon is on, as its settings say it.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

/// The message bus that a daemon is reached on, as settings name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum BusAddress {
    /// The system bus: the default.
    System,
    /// The session bus of the user who runs it.
    Session,
    /// No bus: the daemon works, and is neither observed nor adjusted.
    None,
    /// The bus at an address as the D-Bus specification writes them, such as
    /// `unix:path=/run/bus`. Its grammar has been checked.
    Address(String),
}

impl TryFrom<String> for BusAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "system" => Ok(Self::System),
            "session" => Ok(Self::Session),
            "none" => Ok(Self::None),
            address if !address.contains(':') => {
                Err("an address begins with a transport and a colon".to_owned())
            }
            address => match zbus::Address::from_str(address) {
                Ok(_) => Ok(Self::Address(text)),
                Err(zbus::Error::Address(reason)) => Err(reason),
                Err(error) => Err(error.to_string()),
            },
        }
    }
}

impl FromStr for BusAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl fmt::Display for BusAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::System => "system",
            Self::Session => "session",
            Self::None => "none",
            Self::Address(address) => address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bus_addresses_follow_the_specification() {
        assert_eq!("system".parse(), Ok(BusAddress::System));
        assert_eq!("session".parse(), Ok(BusAddress::Session));
        assert_eq!("none".parse(), Ok(BusAddress::None));
        let address = "unix:path=/run/test/bus";
        assert_eq!(address.parse(), Ok(BusAddress::Address(address.to_owned())));
        assert_eq!(address.parse::<BusAddress>().unwrap().to_string(), address);
        for bad in [
            "",
            "System",
            "sytem",
            "unix:",
            "unix:path",
            "smoke:signal=1",
            "tcp:host=a,port=x",
        ] {
            assert!(bad.parse::<BusAddress>().is_err(), "{bad}");
        }
    }
}
