//! The agent seen from outside: zbus proxies for its objects, and how to find them.
//!
//! Reading never starts an agent that does not run: [`Agent::find`] looks up the present owner of
//! the name, and every call goes to that owner.

use crate::dbus::find;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zbus::names::{OwnedUniqueName, UniqueName};
use zbus::proxy::{self, CacheProperties, MethodFlags};
use zbus::{Connection, DynamicType, Type, Variant, fdo};
use zbus::{MatchRule, MessageStream};

use crate::dbus::{Bus, NAME, path};

const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const OBJECT_MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
const LOG_LEVEL: &str = "LogLevel";

pub use crate::dbus::find::{FindError, Values};

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

    /// The log level, as the settings spell it.
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

/// The objects below the agent's own, each by its properties, in the order of their paths.
#[derive(Debug, Default)]
pub struct Objects {
    /// One for each configured collector.
    pub connections: Vec<Values>,
    /// One for each source.
    pub sources: Vec<Values>,
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
    /// `interactive` says that there is a person to answer polkit's question.
    pub async fn find(bus: &Bus, interactive: bool) -> Result<Self, FindError> {
        let connection = find::connect(bus).await?;
        Self::on(&connection, bus, interactive).await
    }

    /// Finds it on a connection that is there already.
    pub async fn on(
        connection: &Connection,
        bus: &Bus,
        interactive: bool,
    ) -> Result<Self, FindError> {
        let owner = find::owner(connection, bus, NAME).await?;
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

    /// Every signal that samples are lost, of each of its connections.
    pub async fn losses(&self) -> zbus::Result<MessageStream> {
        let rule = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender(self.destination())
            .interface(path::CONNECTION_INTERFACE)
            .member("SamplesLost")
            .build()?;
        MessageStream::for_match_rule(rule, &self.connection, None).await
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

    /// Every change of the owner of the agent's name, on a connection.
    pub async fn owners(connection: &Connection) -> zbus::Result<fdo::NameOwnerChangedStream> {
        let driver = fdo::DBusProxy::new(connection).await?;
        driver
            .receive_name_owner_changed_with_args(&[(0, NAME)])
            .await
    }

    /// Every property of the agent's own object.
    pub async fn properties(&self) -> zbus::Result<Values> {
        let arguments = (path::AGENT_INTERFACE,);
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
                .extend(interfaces.remove(path::CONNECTION_INTERFACE));
            found
                .sources
                .extend(interfaces.remove(path::SOURCE_INTERFACE));
        }
        Ok(found)
    }

    /// Calls a method of the agent's own interface that answers nothing.
    pub async fn order<B>(&self, method: &'static str, arguments: &B) -> zbus::Result<()>
    where
        B: Serialize + DynamicType + Sync,
    {
        self.call(path::AGENT, path::AGENT_INTERFACE, method, arguments)
            .await
    }

    /// Closes the connection of that name and opens it again.
    pub async fn reconnect(&self, connection: &str) -> zbus::Result<()> {
        let path = path::connection(connection);
        self.call(path.as_str(), path::CONNECTION_INTERFACE, "Reconnect", &())
            .await
    }

    /// Enables or disables the source of that name.
    pub async fn set_enabled(&self, source: &str, enabled: bool) -> zbus::Result<()> {
        let path = path::source(source);
        let value = Variant::Bool(enabled);
        self.set(path.as_str(), path::SOURCE_INTERFACE, "Enabled", value)
            .await
    }

    /// Sets the log level, spelt as in the settings or in syslog(3).
    pub async fn set_log_level(&self, level: &str) -> zbus::Result<()> {
        let value = Variant::from(level);
        self.set(
            path::LOG_CONTROL,
            path::LOG_CONTROL_INTERFACE,
            LOG_LEVEL,
            value,
        )
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

#[cfg(test)]
pub(super) mod tests {
    use super::Values;
    use zbus::{OwnedVariant, Variant};

    /// The properties of an object, played.
    pub(in crate::ctl) fn values(all: Vec<(&str, Variant<'static>)>) -> Values {
        let own = |(name, value): (&str, Variant<'static>)| {
            (name.to_owned(), OwnedVariant::try_from(value).unwrap())
        };
        all.into_iter().map(own).collect()
    }
}
