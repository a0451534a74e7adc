//! Being on a message bus, for both daemons: connecting, owning a name and keeping it, object
//! paths, errors, polkit, the controls of the log.
//!
//! `dbus/*.xml` documents the interfaces; each program's own stand with the program. This room
//! never trusts a caller for being able to reach us.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::base::bus_socket;

mod address;
pub(crate) mod callers;
pub(crate) mod error;
pub mod find;
pub(crate) mod log_control1;
pub mod name;
pub(crate) mod news;
pub mod path;
pub(crate) mod polkit;
pub mod presence;
pub(crate) mod turns;

pub use address::BusAddress;
pub use polkit::Action;

/// The well-known name of the agent.
pub const NAME: &str = "org.metricsagent.Agent1";

/// The well-known name of the collector.
pub const COLLECTOR_NAME: &str = "org.metricsagent.Collector1";

/// How long connecting to a bus may take: a bus answers in milliseconds, and one that
/// is being started by its socket unit in seconds.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Which bus to be on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bus {
    /// The system bus; `DBUS_SYSTEM_BUS_ADDRESS` moves it.
    System,
    /// The bus of the user's session.
    Session,
    /// Any other, by its D-Bus address: `unix:path=/run/…`.
    Address(String),
}

/// A word that names no bus.
#[derive(Debug, thiserror::Error)]
#[error(
    "{given:?} is not a bus: expected system, session or an address such as unix:path=/run/dbus/system_bus_socket"
)]
pub struct BusError {
    given: String,
    source: zbus::Error,
}

impl FromStr for Bus {
    type Err = BusError;

    fn from_str(given: &str) -> Result<Self, BusError> {
        match given {
            "system" => Ok(Self::System),
            "session" => Ok(Self::Session),
            address => match zbus::Address::from_str(address) {
                Ok(_) => Ok(Self::Address(address.to_owned())),
                Err(source) => Err(BusError {
                    given: address.to_owned(),
                    source,
                }),
            },
        }
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System => f.write_str("the system bus"),
            Self::Session => f.write_str("the session bus"),
            Self::Address(address) => write!(f, "the bus at {address}"),
        }
    }
}

impl Bus {
    /// The one that the settings name, if any.
    #[must_use]
    pub fn of(address: &BusAddress) -> Option<Self> {
        match address {
            BusAddress::None => None,
            BusAddress::System => Some(Self::System),
            BusAddress::Session => Some(Self::Session),
            BusAddress::Address(address) => Some(Self::Address(address.clone())),
        }
    }

    /// Connects, within [`CONNECT_TIMEOUT`].
    pub(crate) async fn connect(&self) -> zbus::Result<zbus::Connection> {
        let connecting = async {
            let address = match self {
                Self::System => zbus::Address::system()?,
                Self::Session => zbus::Address::session()?,
                Self::Address(address) => zbus::Address::from_str(address)?,
            };
            bus_socket::builder(address).await?.build().await
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .unwrap_or_else(|_| Err(timed_out("it does not answer")))
    }
}

/// What zbus returns where a time limit of ours is over.
pub(crate) fn timed_out(what: &str) -> zbus::Error {
    std::io::Error::new(std::io::ErrorKind::TimedOut, what).into()
}
