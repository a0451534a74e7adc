//! The agent seen from outside: zbus proxies for its objects, and the way to them.
//!
//! Reading never starts an agent that does not run: [`Agent::find`] looks up who owns the
//! name now, and every call goes to that owner.

use std::collections::HashMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zbus::names::{OwnedUniqueName, UniqueName};
use zbus::proxy::{self, CacheProperties, MethodFlags};
use zbus::{Connection, DynamicType, OwnedVariant, Type, Variant, fdo};

use crate::{
    agent::bus::{agent1, collector1, connection1},
    dbus::{Bus, NAME, SERVER_NAME, log_control1, path},
};

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
const LOG_LEVEL: &str = "LogLevel";

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

    /// How much is logged, in the words of the settings.
    #[zbus(property)]
    fn log_level(&self) -> zbus::Result<String>;

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

/// The collector as a whole.
#[zbus::proxy(
    interface = "org.metricsagent.Server1",
    default_path = "/org/metricsagent/Server1"
)]
pub trait Server1 {
    /// The collector's CURVE public key, Z85.
    #[zbus(property)]
    fn public_key(&self) -> zbus::Result<String>;

    /// A page of the hosts that are known, and whether there are more.
    fn list_hosts(
        &self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> zbus::Result<(Vec<HostRow>, bool)>;
}

/// A host of the collector's: its name, its state, when it was last heard and since when it is in
/// that state (both in µs since 1970), its messages, its key and its address.
pub type HostRow = (String, String, u64, u64, u64, String, String);

/// The collector that owns the name now.
#[derive(Debug, Clone)]
pub struct RunningCollector {
    proxy: Server1Proxy<'static>,
}

impl RunningCollector {
    /// Finds it, without starting one.
    ///
    /// # Errors
    ///
    /// [`FindError`].
    pub async fn find(bus: &Bus) -> Result<Self, FindError> {
        let no_bus = |source| FindError::NoBus {
            bus: bus.clone(),
            source,
        };
        let connection = bus.connect().await.map_err(no_bus)?;
        let driver = fdo::DBusProxy::new(&connection).await.map_err(no_bus)?;
        let name = zbus::names::WellKnownName::from_static_str_unchecked(SERVER_NAME);
        let owner = match driver.get_name_owner(name.into()).await {
            Ok(owner) => owner,
            Err(fdo::Error::NameHasNoOwner(_)) => {
                return Err(FindError::NotRunning { bus: bus.clone() });
            }
            Err(error) => return Err(no_bus(error.into())),
        };
        let proxy = Server1Proxy::builder(&connection)
            .destination(UniqueName::from(owner))
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(no_bus)?;
        Ok(Self { proxy })
    }

    /// The hosts behind this name, `limit` at most; whether there are more.
    ///
    /// # Errors
    ///
    /// It did not answer, or refused.
    pub async fn list_hosts(&self, after: &str, limit: u32) -> zbus::Result<(Vec<HostRow>, bool)> {
        self.proxy.list_hosts("", after, limit).await
    }

    /// Has it forget a host that does not report. A person may be asked by polkit for it.
    ///
    /// # Errors
    ///
    /// It did not answer, or refused.
    pub async fn forget_host(&self, name: &str) -> zbus::Result<()> {
        let flags = MethodFlags::NO_AUTO_START | MethodFlags::ALLOW_INTERACTIVE_AUTH;
        let proxy = self.proxy.inner();
        let answer: Option<()> = proxy.call_with_flags("ForgetHost", flags, &(name,)).await?;
        answer.ok_or(zbus::Error::InvalidReply)
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

/// The public key of the collector that runs, if there is one on this bus; starts none.
///
/// # Errors
///
/// The bus, or the collector, did not answer.
pub async fn collectors_public_key(bus: &Bus) -> zbus::Result<Option<String>> {
    let connection = bus.connect().await?;
    let driver = fdo::DBusProxy::new(&connection).await?;
    let name = zbus::names::WellKnownName::from_static_str_unchecked(SERVER_NAME);
    let owner = match driver.get_name_owner(name.into()).await {
        Ok(owner) => owner,
        Err(fdo::Error::NameHasNoOwner(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let proxy = Server1Proxy::builder(&connection)
        .destination(UniqueName::from(owner))
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    proxy.public_key().await.map(Some)
}

/// The objects below the agent's own, each by its properties, in the order of their paths.
#[derive(Debug, Default)]
pub struct Objects {
    /// One for each configured collector.
    pub connections: Vec<Values>,
    /// One for each metric collector.
    pub collectors: Vec<Values>,
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
        let connection = bus.connect().await.map_err(|source| FindError::NoBus {
            bus: bus.clone(),
            source,
        })?;
        Self::on(&connection, bus, interactive).await
    }

    /// Finds it on a connection that is there already.
    pub async fn on(
        connection: &Connection,
        bus: &Bus,
        interactive: bool,
    ) -> Result<Self, FindError> {
        let no_bus = |source| FindError::NoBus {
            bus: bus.clone(),
            source,
        };
        let driver = fdo::DBusProxy::new(connection).await.map_err(no_bus)?;
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
            connection: connection.clone(),
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

    /// The connection that it was found on.
    pub const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Its own name on the bus.
    #[must_use]
    pub const fn owner(&self) -> &OwnedUniqueName {
        &self.owner
    }

    /// Its process, as the bus knows it.
    pub async fn process(&self) -> zbus::Result<u32> {
        let driver = fdo::DBusProxy::new(&self.connection).await?;
        let process = driver.get_connection_unix_process_id(self.destination().into());
        Ok(process.await?)
    }

    /// Every change of who owns the agent's name, on a connection.
    pub async fn owners(connection: &Connection) -> zbus::Result<fdo::NameOwnerChangedStream> {
        let driver = fdo::DBusProxy::new(connection).await?;
        driver
            .receive_name_owner_changed_with_args(&[(0, NAME)])
            .await
    }

    /// Every property of the agent's own object.
    pub async fn properties(&self) -> zbus::Result<Values> {
        let arguments = (agent1::INTERFACE,);
        self.call(path::AGENT, PROPERTIES, "GetAll", &arguments)
            .await
    }

    /// Everything below the agent's own object.
    pub async fn objects(&self) -> zbus::Result<Objects> {
        let objects: fdo::ManagedObjects = self
            .call(path::AGENT, OBJECT_MANAGER, "GetManagedObjects", &())
            .await?;
        let mut objects: Vec<_> = objects.into_iter().collect();
        objects.sort_by(|(one, _), (other, _)| one.as_str().cmp(other.as_str()));
        let mut found = Objects::default();
        for (_, mut interfaces) in objects {
            found
                .connections
                .extend(interfaces.remove(connection1::INTERFACE));
            found
                .collectors
                .extend(interfaces.remove(collector1::INTERFACE));
        }
        Ok(found)
    }

    /// Calls a method of the agent's own interface that answers nothing.
    pub async fn order<B>(&self, method: &'static str, arguments: &B) -> zbus::Result<()>
    where
        B: Serialize + DynamicType + Sync,
    {
        self.call(path::AGENT, agent1::INTERFACE, method, arguments)
            .await
    }

    /// Closes the connection of that name and opens it anew.
    pub async fn reconnect(&self, connection: &str) -> zbus::Result<()> {
        let path = path::connection(connection);
        self.call(path.as_str(), connection1::INTERFACE, "Reconnect", &())
            .await
    }

    /// Enables or disables the metric collector of that name.
    pub async fn set_enabled(&self, collector: &str, enabled: bool) -> zbus::Result<()> {
        let path = path::collector(collector);
        let value = Variant::Bool(enabled);
        self.set(path.as_str(), collector1::INTERFACE, "Enabled", value)
            .await
    }

    /// Sets how much the agent logs, in the words of the settings or of syslog(3).
    pub async fn set_log_level(&self, level: &str) -> zbus::Result<()> {
        let value = Variant::from(level);
        self.set(path::LOG_CONTROL, log_control1::INTERFACE, LOG_LEVEL, value)
            .await
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
        self.call(path, PROPERTIES, "Set", &arguments).await
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
