//! Finds the current owner of a name on a bus, without starting a service.

use std::collections::HashMap;

use zbus::names::{OwnedUniqueName, WellKnownName};
use zbus::{Connection, OwnedVariant, fdo};

use super::Bus;

/// A grid or a list of properties: values by name.
pub type Values = HashMap<String, OwnedVariant>;

/// Why there is no program to talk to.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// No bus.
    #[error("cannot reach {bus}: {source}")]
    NoBus {
        /// Which one.
        bus: Bus,
        /// What was wrong.
        source: zbus::Error,
    },
    /// No process owns the name.
    #[error("no program owns the name {name} on {bus}")]
    NotRunning {
        /// The well-known name.
        name: &'static str,
        /// Which bus.
        bus: Bus,
    },
}

impl FindError {
    /// The bus, or what should have answered on it, failed.
    pub(crate) fn no_bus(bus: &Bus) -> impl Fn(zbus::Error) -> Self {
        move |source| Self::NoBus {
            bus: bus.clone(),
            source,
        }
    }
}

/// A connection to this bus.
pub(crate) async fn connect(bus: &Bus) -> Result<Connection, FindError> {
    bus.connect().await.map_err(FindError::no_bus(bus))
}

/// Who owns this well-known name.
pub(crate) async fn owner(
    connection: &Connection,
    bus: &Bus,
    name: &'static str,
) -> Result<OwnedUniqueName, FindError> {
    let no_bus = FindError::no_bus(bus);
    let driver = fdo::DBusProxy::new(connection).await.map_err(&no_bus)?;
    let wanted = WellKnownName::from_static_str_unchecked(name);
    match driver.get_name_owner(wanted.into()).await {
        Ok(owner) => Ok(owner),
        Err(fdo::Error::NameHasNoOwner(_)) => Err(FindError::NotRunning {
            name,
            bus: bus.clone(),
        }),
        Err(error) => Err(no_bus(error.into())),
    }
}

/// The name and the text of the error that a service has answered with; the error itself where it
/// is of another kind.
///
/// # Errors
///
/// What was given.
pub fn told(error: zbus::Error) -> Result<(String, String), zbus::Error> {
    use zbus::DBusError as _;
    match error {
        zbus::Error::MethodError(name, text, _) => {
            Ok((name.to_string(), text.unwrap_or_else(|| name.to_string())))
        }
        zbus::Error::FDO(error) => {
            let text = error.description().map(str::to_owned);
            let name = error.name().to_string();
            Ok((name.clone(), text.unwrap_or(name)))
        }
        other => Err(other),
    }
}
