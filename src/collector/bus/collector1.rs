//! org.metricsagent.Collector1: the collector.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, Variant};

use crate::base::clock::realtime_usec;
use crate::collector::access::key_log::ListedKey;
use crate::collector::bus::next_key::Readings;
use crate::collector::handle::{Handle, NextKey, OrderError, ReloadError, Stopping};
use crate::collector::hosts::NotForgotten;
use crate::collector::hosts::snapshot::HostSnapshot;
use crate::collector::orders::{Listed, MAX_LISTED, Selection};
use crate::collector::push::TargetStatus;
use crate::collector::state::{CollectorState, CountersSnapshot};
use crate::dbus::error::Error;
use crate::dbus::polkit::{Action, Authority, user_of};
use crate::dbus::turns::{Answer, Turns};
use crate::protocol::grid::Value;

/// A host in a list: name, presence, last seen, since, messages, key, address.
type Row = (String, &'static str, u64, u64, u64, String, String);

/// A key in a list: role, key, host names, first seen, last seen, address, state, refusals.
type KeyRow = (
    &'static str,
    String,
    Vec<String>,
    u64,
    u64,
    String,
    &'static str,
    u64,
);

/// A target of remote write: name, URL, sent, failed, dropped, waiting, whether it fails, last
/// success, last error.
type TargetRow = (String, String, u64, u64, u64, u64, bool, u64, String, bool);

/// Serves the collector.
pub(crate) struct Collector1 {
    handle: Handle,
    authority: Arc<Authority>,
    turns: Turns,
    readings: Readings,
}

#[zbus::interface(name = "org.metricsagent.Collector1", introspection_docs = false)]
impl Collector1 {
    #[zbus(property(emits_changed_signal = "const"))]
    #[expect(clippy::unused_self, reason = "zbus calls properties as methods")]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property, name = "State")]
    fn state_name(&self) -> &'static str {
        self.state().phase.as_str()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn public_key(&self) -> String {
        self.state().public_key.to_string()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn endpoint(&self) -> String {
        self.state().endpoint.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn viewers_endpoint(&self) -> String {
        self.state().viewers_endpoint.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn web_endpoint(&self) -> String {
        self.state().web_endpoint.clone()
    }

    #[zbus(property)]
    fn configuration_files(&self) -> Vec<String> {
        file_names(&self.state().configuration_files)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn hosts_reporting(&self) -> u32 {
        hosts(self.counters().hosts.reporting)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn hosts_expected(&self) -> u32 {
        hosts(self.counters().hosts.expected)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn hosts_gone(&self) -> u32 {
        hosts(self.counters().hosts.gone)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn keys_seen(&self) -> u32 {
        hosts(self.counters().keys)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn viewers(&self) -> u32 {
        hosts(self.counters().viewers.connected)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn viewer_messages_sent(&self) -> u64 {
        self.counters().viewers.messages
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn viewer_messages_lost(&self) -> u64 {
        self.counters().viewers.lost
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn viewer_messages_refused(&self) -> u64 {
        self.counters().viewers.refused
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn shared_key_messages(&self) -> u64 {
        self.counters().shared
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn handshakes_refused(&self) -> u64 {
        self.counters().shut_out
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn messages_received(&self) -> u64 {
        self.counters().received
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn messages_refused(&self) -> u64 {
        self.counters().refused
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn bytes_received(&self) -> u64 {
        self.counters().bytes
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn messages_dropped(&self) -> u64 {
        self.counters().dropped
    }

    #[zbus(out_args("hosts", "more"))]
    async fn list_hosts(
        &self,
        prefix: String,
        after: String,
        limit: u32,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(Answer<Vec<Row>>, bool), Error> {
        let selection = Selection {
            prefix,
            after,
            limit: match usize::try_from(limit) {
                Ok(0) | Err(_) => MAX_LISTED,
                Ok(limit) => limit,
            },
        };
        let turn = self.turns.take(&call, connection).await?;
        let listing = self.handle.list(selection).await?;
        let rows = listing.hosts.iter().map(row).collect();
        Ok((turn.answer(rows)?, listing.more))
    }

    #[zbus(out_args("keys"))]
    async fn list_keys(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Answer<Vec<KeyRow>>, Error> {
        let turn = self.turns.take(&call, connection).await?;
        let mut rows: Vec<_> = self.handle.keys().await?.iter().map(key_row).collect();
        rows.sort_unstable();
        turn.answer(rows)
    }

    #[zbus(out_args("targets"))]
    async fn list_remote_writes(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Answer<Vec<TargetRow>>, Error> {
        let turn = self.turns.take(&call, connection).await?;
        let targets = self.handle.targets().await?;
        turn.answer(targets.iter().map(target_row).collect())
    }

    #[zbus(out_args("host"))]
    async fn get_host(
        &self,
        name: &str,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Answer<HashMap<&'static str, Variant<'static>>>, Error> {
        let turn = self.turns.take(&call, connection).await?;
        let host = self.known(name).await?;
        turn.answer(about(&host))
    }

    #[zbus(out_args("grid"))]
    async fn get_metrics(
        &self,
        host: &str,
        kind: &str,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Answer<HashMap<String, Variant<'static>>>, Error> {
        let model = match kind {
            "metrics" => false,
            "model" => true,
            other => {
                return Err(Error::new(
                    Error::INVALID_ARGS,
                    format!("{other:?} is not a kind of grid; expected metrics or model"),
                ));
            }
        };
        let turn = self.turns.take(&call, connection).await?;
        let host = self.known(host).await?;
        let grid: HashMap<_, _> = if model {
            let grid = host.model.iter().flat_map(|grid| grid.iter());
            grid.map(entry).collect()
        } else {
            host.metrics.iter().map(entry).collect()
        };
        if grid.is_empty() {
            let presence = host.presence.as_str();
            let text = format!("nothing is known of its {kind}; the host is {presence}");
            return Err(Error::new(Error::NOT_REPORTED, text));
        }
        turn.answer(grid)
    }

    #[zbus(out_args("key", "file"))]
    async fn get_next_key(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(String, String), Error> {
        let (sender, uid) = user_of(connection, &call).await?;
        let (_caller, permit) = self.readings.take(&sender, uid).await?;
        let file = |path: &Path| without_nul(&path.to_string_lossy());
        match self.handle.next_key(permit).await {
            Ok(NextKey::Same) => Ok((String::new(), String::new())),
            Ok(NextKey::Other(key, path)) => Ok((key.to_string(), file(&path))),
            Ok(NextKey::Made(path)) => Ok((String::new(), file(&path))),
            Err(OrderError::Stopping(stopping)) => Err(stopping.into()),
            // Details are only for users who may read the settings.
            Err(OrderError::Failed(_)) => Err(Error::new(
                Error::INVALID_CONFIGURATION,
                "the settings or the key file have a mistake; as root, \
                 `metrics-collector --check-config` says which",
            )),
        }
    }

    async fn forget_host(
        &self,
        name: &str,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        self.authority
            .check(connection, &call, Action::CollectorManageHosts)
            .await?;
        Ok(self.handle.forget(name).await?)
    }

    async fn reload(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        self.authority
            .check(connection, &call, Action::CollectorReload)
            .await?;
        Ok(self.handle.reload().await?)
    }

    #[zbus(signal)]
    pub(crate) async fn host_appeared(emitter: &SignalEmitter<'_>, name: &str) -> zbus::Result<()>;

    #[zbus(signal)]
    pub(crate) async fn host_gone(emitter: &SignalEmitter<'_>, name: &str) -> zbus::Result<()>;
}

impl Collector1 {
    pub(crate) fn new(handle: Handle, authority: Arc<Authority>) -> Self {
        Self {
            handle,
            authority,
            turns: Turns::new(),
            readings: Readings::new(),
        }
    }

    fn state(&self) -> Arc<CollectorState> {
        self.handle.state()
    }

    fn counters(&self) -> CountersSnapshot {
        self.handle.counters()
    }

    async fn known(&self, name: &str) -> Result<Box<HostSnapshot>, Error> {
        let found = self.handle.host(name).await?;
        found.ok_or_else(|| {
            let text = format!("no host is named {name:?}; ListHosts lists the known hosts");
            Error::new(Error::NO_SUCH_HOST, text)
        })
    }
}

/// The property `ConfigurationFiles`. D-Bus strings are UTF-8, so what is not in a file's
/// name is replaced.
pub(crate) fn file_names(files: &[PathBuf]) -> Vec<String> {
    let names = files.iter().map(|file| file.to_string_lossy());
    names.map(std::borrow::Cow::into_owned).collect()
}

/// A number of hosts, keys or viewers: their limits are far below `u32::MAX`.
fn hosts(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn row(host: &Listed) -> Row {
    (
        host.name.to_string(),
        host.presence.as_str(),
        realtime_usec(host.last_seen),
        realtime_usec(host.since),
        host.messages,
        host.key.map(|key| key.to_string()).unwrap_or_default(),
        host.address.as_deref().unwrap_or_default().to_owned(),
    )
}

fn key_row(listed: &ListedKey) -> KeyRow {
    /// The record is in whole seconds.
    const USEC: u64 = 1_000_000;
    let record = &listed.record;
    (
        listed.listener.role(),
        listed.key.to_string(),
        record
            .hosts
            .iter()
            .map(|host| host.name.to_string())
            .collect(),
        record.first_seen.saturating_mul(USEC),
        record.last_seen.saturating_mul(USEC),
        record.address.to_string(),
        record.standing.as_str(),
        record.refusals,
    )
}

fn target_row(target: &TargetStatus) -> TargetRow {
    (
        target.name.to_string(),
        target.url.clone(),
        target.sent,
        target.failed,
        target.dropped,
        target.queued,
        target.failing,
        target.last_success.map_or(0, realtime_usec),
        without_nul(target.last_error.as_deref().unwrap_or_default()),
        target.acknowledge,
    )
}

/// What is known of a host besides what it reports.
fn about(host: &HostSnapshot) -> HashMap<&'static str, Variant<'static>> {
    let last_seen = SystemTime::now().checked_sub(host.silence);
    let model = host.model.as_ref().map_or(0, |grid| grid.len());
    let count = |number: usize| Variant::from(u32::try_from(number).unwrap_or(u32::MAX));
    let text = |text: &str| Variant::from(text.to_owned());
    let mut about = HashMap::from([
        ("Name", text(&host.name)),
        ("Presence", text(host.presence.as_str())),
        (
            "LastSeenUSec",
            Variant::from(last_seen.map_or(0, realtime_usec)),
        ),
        ("SinceUSec", Variant::from(realtime_usec(host.since))),
        ("Messages", Variant::from(host.counts.messages)),
        ("Comebacks", Variant::from(host.counts.comebacks)),
        ("SharedKeyMessages", Variant::from(host.counts.shared)),
        (
            "LastMetricsUSec",
            Variant::from(host.last_metrics.map_or(0, realtime_usec)),
        ),
        ("Metrics", count(host.metrics.iter().count())),
        ("ModelEntries", count(model)),
    ]);
    if let Some(key) = host.key {
        about.insert("PublicKey", Variant::from(key.to_string()));
    }
    if let Some(address) = &host.address {
        about.insert("Address", text(address));
    }
    about
}

fn entry((name, value): (&str, Value<'_>)) -> (String, Variant<'static>) {
    let value = match value {
        Value::Unsigned(number) => Variant::U64(number),
        Value::Signed(number) => Variant::I64(number),
        Value::Float(number) => Variant::F64(number),
        Value::Text(text) => Variant::from(without_nul(text)),
    };
    (without_nul(name), value)
}

/// The text as a D-Bus string can hold it. An agent may report any text, and a bus closes a
/// connection that sends a NUL.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl<E: Into<Error>> From<OrderError<E>> for Error {
    fn from(error: OrderError<E>) -> Self {
        match error {
            OrderError::Stopping(stopping) => stopping.into(),
            OrderError::Failed(error) => error.into(),
        }
    }
}

impl From<Stopping> for Error {
    fn from(error: Stopping) -> Self {
        Self::new(Self::STOPPING, error.to_string())
    }
}

impl From<ReloadError> for Error {
    fn from(error: ReloadError) -> Self {
        let name = match error {
            ReloadError::Invalid(_) => Self::INVALID_CONFIGURATION,
            ReloadError::NotRead(_) => Self::IO_ERROR,
        };
        Self::new(name, error.to_string())
    }
}

impl From<NotForgotten> for Error {
    fn from(error: NotForgotten) -> Self {
        let name = match error {
            NotForgotten::Unknown => Self::NO_SUCH_HOST,
            NotForgotten::Reporting => Self::HOST_REPORTS,
        };
        Self::new(name, error.to_string())
    }
}
