//! A zbus proxy for the collector's object, for clients.

use zbus::names::UniqueName;
use zbus::proxy::{CacheProperties, MethodFlags};

use crate::dbus::find::{self, FindError};
use crate::dbus::{Bus, COLLECTOR_NAME};

/// The collector as a whole.
#[zbus::proxy(
    interface = "org.metricsagent.Collector1",
    default_path = "/org/metricsagent/Collector1"
)]
pub trait Collector1 {
    /// The collector's CURVE public key, Z85.
    #[zbus(property)]
    fn public_key(&self) -> zbus::Result<String>;

    /// The key of the next start and its file; both empty where it is the same.
    fn get_next_key(&self) -> zbus::Result<(String, String)>;

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
pub struct RunningSource {
    proxy: Collector1Proxy<'static>,
}

impl RunningSource {
    /// Finds it, without starting one.
    ///
    /// # Errors
    ///
    /// [`FindError`].
    pub async fn find(bus: &Bus) -> Result<Self, FindError> {
        let connection = find::connect(bus).await?;
        let owner = find::owner(&connection, bus, COLLECTOR_NAME).await?;
        let proxy = Collector1Proxy::builder(&connection)
            .destination(UniqueName::from(owner))
            .cache_properties(CacheProperties::No)
            .build()
            .await
            .map_err(FindError::no_bus(bus))?;
        Ok(Self { proxy })
    }

    /// Its public key, Z85.
    ///
    /// # Errors
    ///
    /// It did not answer.
    pub async fn public_key(&self) -> zbus::Result<String> {
        self.proxy.public_key().await
    }

    /// The key of its next start and the file of that key pair, by the current settings. Both
    /// are empty if the key stays the same; only the key is empty if one will be made.
    ///
    /// # Errors
    ///
    /// It did not answer, or its settings have a mistake.
    pub async fn next_key(&self) -> zbus::Result<(String, String)> {
        self.proxy.get_next_key().await
    }

    /// At most `limit` hosts that sort after this name, and true if there are more.
    ///
    /// # Errors
    ///
    /// It did not answer, or refused.
    pub async fn list_hosts(&self, after: &str, limit: u32) -> zbus::Result<(Vec<HostRow>, bool)> {
        self.proxy.list_hosts("", after, limit).await
    }

    /// Makes it forget a host that does not report. polkit may ask the user for a password.
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
