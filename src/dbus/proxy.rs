//! The agent seen from outside: zbus proxies for its objects, and the way to them.
//!
//! Reading never starts an agent that does not run: [`Agent::find`] looks up who owns the
//! name now, and every call goes to that owner.

use std::collections::HashMap;

use futures_util::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zbus::names::{OwnedUniqueName, UniqueName};
use zbus::proxy::{self, CacheProperties, MethodFlags};
use zbus::{Connection, DynamicType, OwnedObjectPath, OwnedVariant, Type, Variant, fdo};

use super::{Bus, NAME, path};

/// A grid or a list of properties: values by name.
pub type Values = HashMap<String, OwnedVariant>;

/// The agent as a whole.
#[zbus::proxy(
    interface = "org.metricsagent.Agent1",
    default_path = "/org/metricsagent/Agent1"
)]
pub trait Agent1 {
    /// The agent's CURVE public key, Z85.
    #[zbus(property)]
    fn public_key(&self) -> zbus::Result<String>;

    /// Between two metrics messages, in µs.
    #[zbus(property, name = "MetricsIntervalUSec")]
    fn metrics_interval_usec(&self) -> zbus::Result<u64>;

    /// A fresh grid, `metrics` or `model`.
    fn sample(&self, kind: &str) -> zbus::Result<Values>;

    /// Every metric known: name, unit, kind, description.
    fn list_metrics(&self) -> zbus::Result<Vec<(String, String, String, String)>>;

    /// A connection went from one state to another.
    #[zbus(signal)]
    fn state_changed(
        &self,
        connection: zbus::ObjectPath<'_>,
        old: &str,
        new: &str,
        reason: &str,
    ) -> zbus::Result<()>;
}

/// Why there is no agent to talk to.
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
    /// Nobody owns the agent's name.
    #[error("no metrics-agent is running on {bus}")]
    NotRunning {
        /// Which one.
        bus: Bus,
    },
}

/// The agent that owns the name now.
#[derive(Debug, Clone)]
pub struct Agent {
    connection: Connection,
    owner: OwnedUniqueName,
    flags: MethodFlags,
}

impl Agent {
    /// Finds the running agent, without starting one.
    ///
    /// `interactive` says that there is a person who can wait for polkit's question.
    pub async fn find(bus: &Bus, interactive: bool) -> Result<Self, FindError> {
        let no_bus = |source| FindError::NoBus {
            bus: bus.clone(),
            source,
        };
        let connection = bus.connect().await.map_err(no_bus)?;
        let driver = fdo::DBusProxy::new(&connection).await.map_err(no_bus)?;
        let name = zbus::names::WellKnownName::from_static_str_unchecked(NAME);
        let owner = match driver.get_name_owner(name.into()).await {
            Ok(owner) => owner,
            Err(fdo::Error::NameHasNoOwner(_)) => {
                return Err(FindError::NotRunning { bus: bus.clone() });
            }
            Err(error) => return Err(no_bus(error.into())),
        };
        let mut flags = MethodFlags::NO_AUTO_START;
        if interactive {
            flags |= MethodFlags::ALLOW_INTERACTIVE_AUTH;
        }
        Ok(Self {
            connection,
            owner,
            flags,
        })
    }

    /// The proxy of the agent's own object.
    pub async fn agent1(&self) -> zbus::Result<Agent1Proxy<'static>> {
        Agent1Proxy::builder(&self.connection)
            .destination(self.destination())
            .cache_properties(CacheProperties::No)
            .build()
            .await
    }

    /// Ends when the agent has left the bus.
    pub async fn gone(&self) -> zbus::Result<impl Stream<Item = fdo::NameOwnerChanged>> {
        let driver = fdo::DBusProxy::new(&self.connection).await?;
        driver
            .receive_name_owner_changed_with_args(&[(0, NAME)])
            .await
    }

    /// Every property of one interface.
    pub async fn properties(&self, path: &str, interface: &str) -> zbus::Result<Values> {
        self.call(
            path,
            "org.freedesktop.DBus.Properties",
            "GetAll",
            &(interface,),
        )
        .await
    }

    /// Every object below the agent's own, with all properties, in the order of their paths.
    pub async fn objects(&self, interface: &str) -> zbus::Result<Vec<(OwnedObjectPath, Values)>> {
        let objects: fdo::ManagedObjects = self
            .call(
                path::AGENT,
                "org.freedesktop.DBus.ObjectManager",
                "GetManagedObjects",
                &(),
            )
            .await?;
        let mut found: Vec<_> = objects
            .into_iter()
            .filter_map(|(path, mut interfaces)| Some((path, interfaces.remove(interface)?)))
            .collect();
        found.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        Ok(found)
    }

    /// Writes a property.
    pub async fn set(
        &self,
        path: &str,
        interface: &str,
        property: &str,
        value: Variant<'_>,
    ) -> zbus::Result<()> {
        let arguments = (interface, property, value);
        self.call(path, "org.freedesktop.DBus.Properties", "Set", &arguments)
            .await
    }

    /// Calls a method of the agent's own interface.
    pub async fn order<B>(&self, method: &'static str, arguments: &B) -> zbus::Result<()>
    where
        B: Serialize + DynamicType + Sync,
    {
        self.call(path::AGENT, super::agent1::INTERFACE, method, arguments)
            .await
    }

    async fn call<B, R>(
        &self,
        path: &str,
        interface: &str,
        method: &'static str,
        arguments: &B,
    ) -> zbus::Result<R>
    where
        B: Serialize + DynamicType + Sync,
        R: DeserializeOwned + Type,
    {
        let proxy: zbus::Proxy<'_> = proxy::Builder::new(&self.connection)
            .destination(self.destination())
            .path(path)
            .interface(interface)
            .cache_properties(CacheProperties::No)
            .build()
            .await?;
        let answer = proxy.call_with_flags(method, self.flags, arguments).await?;
        answer.ok_or(zbus::Error::InvalidReply)
    }

    fn destination(&self) -> UniqueName<'static> {
        self.owner.clone().into()
    }
}
