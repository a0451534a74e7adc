//! org.metricsagent.Agent1: the agent as a whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{Connection, ObjectPath, OwnedObjectPath, Variant};

use crate::agent::bus::service::Shared;
use crate::agent::handle::{GridKind, IntervalChange};
use crate::agent::state::AgentState;
use crate::base::clock::realtime_usec;
use crate::dbus::error::Error;
use crate::dbus::path;
use crate::dbus::polkit::Action;
use crate::dbus::turns::Answer;
use crate::metrics::{Samples, Value};
use crate::protocol::session::MODEL_MIN_INTERVAL;

/// Serves the agent.
pub(crate) struct Agent1(pub(crate) Arc<Shared>);

#[zbus::interface(name = "org.metricsagent.Agent1", introspection_docs = false)]
impl Agent1 {
    #[zbus(property(emits_changed_signal = "const"))]
    #[expect(clippy::unused_self, reason = "zbus calls properties as methods")]
    fn version(&self) -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    #[zbus(property)]
    fn host_name(&self) -> String {
        self.state().host_name.clone()
    }

    #[zbus(property)]
    fn public_key(&self) -> String {
        self.state().public_key.to_string()
    }

    #[zbus(property, name = "State")]
    fn state_name(&self) -> &'static str {
        self.state().state.as_str()
    }

    #[zbus(property, name = "StateSinceUSec")]
    fn state_since_usec(&self) -> u64 {
        realtime_usec(self.state().state_since)
    }

    #[zbus(property)]
    fn state_reason(&self) -> String {
        self.state().reason.clone()
    }

    #[zbus(property, name = "MetricsIntervalUSec")]
    fn metrics_interval_usec(&self) -> u64 {
        usec(self.state().intervals.metrics)
    }

    #[zbus(property, name = "MetricsIntervalUSec")]
    async fn set_metrics_interval_usec(
        &self,
        usec: u64,
        #[zbus(header)] call: Option<Header<'_>>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let metrics = Duration::from_micros(usec);
        let change = IntervalChange {
            metrics: Some(metrics),
            stale: None,
        };
        self.write_interval(change, call, connection, |state| {
            state.intervals.metrics = metrics;
        })
        .await
    }

    #[zbus(property, name = "StaleIntervalUSec")]
    fn stale_interval_usec(&self) -> u64 {
        usec(self.state().intervals.stale)
    }

    #[zbus(property, name = "StaleIntervalUSec")]
    async fn set_stale_interval_usec(
        &self,
        usec: u64,
        #[zbus(header)] call: Option<Header<'_>>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let stale = Duration::from_micros(usec);
        let change = IntervalChange {
            metrics: None,
            stale: Some(stale),
        };
        self.write_interval(change, call, connection, |state| {
            state.intervals.stale = stale;
        })
        .await
    }

    #[zbus(property)]
    fn metrics_interval_origin(&self) -> (&'static str, String) {
        self.state().origins.metrics.to_words()
    }

    #[zbus(property)]
    fn stale_interval_origin(&self) -> (&'static str, String) {
        self.state().origins.stale.to_words()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn log_level(&self) -> &'static str {
        self.0.log.setting()
    }

    #[zbus(
        property(emits_changed_signal = "const"),
        name = "ModelMinIntervalUSec"
    )]
    #[expect(clippy::unused_self, reason = "zbus calls properties as methods")]
    fn model_min_interval_usec(&self) -> u64 {
        usec(MODEL_MIN_INTERVAL)
    }

    #[zbus(property)]
    fn connections(&self) -> Vec<OwnedObjectPath> {
        connections(&self.state())
    }

    #[zbus(property)]
    fn sources(&self) -> Vec<OwnedObjectPath> {
        sources(&self.state())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn messages_sent(&self) -> u64 {
        self.state().totals.messages_sent()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn messages_received(&self) -> u64 {
        self.state().totals.messages_received()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn bytes_sent(&self) -> u64 {
        self.state().totals.bytes_sent()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn messages_dropped(&self) -> u64 {
        self.state().totals.messages_dropped()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn reconnects(&self) -> u64 {
        self.state().totals.reconnects()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn handshake_failures(&self) -> u64 {
        self.state().totals.handshake_failures()
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn malformed_messages(&self) -> u64 {
        self.state().totals.malformed_messages()
    }

    #[zbus(property)]
    fn configuration_files(&self) -> Vec<String> {
        configuration_files(&self.state())
    }

    async fn set_metrics_interval(
        &self,
        usec: u64,
        persistent: bool,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let change = IntervalChange {
            metrics: Some(Duration::from_micros(usec)),
            stale: None,
        };
        self.set_intervals(change, persistent, &call, connection)
            .await
    }

    async fn set_stale_interval(
        &self,
        usec: u64,
        persistent: bool,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let change = IntervalChange {
            metrics: None,
            stale: Some(Duration::from_micros(usec)),
        };
        self.set_intervals(change, persistent, &call, connection)
            .await
    }

    async fn revert(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let authority = &self.0.authority;
        authority
            .check(connection, &call, Action::SetIntervals)
            .await?;
        Ok(self.0.handle.revert().await?)
    }

    async fn reconnect(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let authority = &self.0.authority;
        authority
            .check(connection, &call, Action::Reconnect)
            .await?;
        Ok(self.0.handle.reconnect(None).await?)
    }

    async fn reload(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let authority = &self.0.authority;
        authority.check(connection, &call, Action::Reload).await?;
        Ok(self.0.handle.reload().await?)
    }

    #[zbus(out_args("grid"))]
    async fn sample(
        &self,
        kind: &str,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Answer<HashMap<String, Variant<'static>>>, Error> {
        let kind = match kind {
            "metrics" => GridKind::Metrics,
            "model" => GridKind::Model,
            other => {
                return Err(Error::new(
                    Error::INVALID_ARGS,
                    format!("{other:?} is not a kind of grid; expected metrics or model"),
                ));
            }
        };
        let turn = self.0.turns.take(&call, connection).await?;
        turn.answer(grid(&self.0.handle.sample(kind).await?))
    }

    #[zbus(out_args("metrics"))]
    fn list_metrics(&self) -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
        let metrics = self.0.handle.metrics().iter();
        metrics
            .map(|metric| {
                let kind = metric.kind.as_str();
                (metric.name, metric.unit, kind, metric.description)
            })
            .collect()
    }

    // Not state_changed: that announces the property State.
    #[zbus(signal, name = "StateChanged")]
    pub(crate) async fn connection_changed_state(
        emitter: &SignalEmitter<'_>,
        connection: ObjectPath<'_>,
        old: &str,
        new: &str,
        reason: &str,
    ) -> zbus::Result<()>;
}

impl Agent1 {
    fn state(&self) -> Arc<AgentState> {
        self.0.handle.state()
    }

    async fn set_intervals(
        &self,
        change: IntervalChange,
        persistent: bool,
        call: &Header<'_>,
        connection: &Connection,
    ) -> Result<(), Error> {
        let authority = &self.0.authority;
        authority
            .check(connection, call, Action::SetIntervals)
            .await?;
        Ok(self.0.handle.set_intervals(change, persistent).await?)
    }

    async fn write_interval(
        &self,
        change: IntervalChange,
        call: Option<Header<'_>>,
        connection: &Connection,
        note: impl FnOnce(&mut AgentState),
    ) -> Result<(), Error> {
        let authority = &self.0.authority;
        authority
            .check_write(connection, call.as_ref(), Action::SetIntervals)
            .await?;
        let order = self.0.handle.set_intervals(change, false);
        self.0.write(order, note).await
    }
}

/// A time as the interface carries it.
pub(crate) fn usec(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The property `Connections` of a state.
pub(crate) fn connections(state: &AgentState) -> Vec<OwnedObjectPath> {
    let names = state.connections.iter();
    names.map(|one| path::connection(&one.name)).collect()
}

/// The property `Sources` of a state.
pub(crate) fn sources(state: &AgentState) -> Vec<OwnedObjectPath> {
    let names = state.sources.iter();
    names.map(|(name, _)| path::source(name)).collect()
}

/// The property `ConfigurationFiles` of a state. D-Bus strings are UTF-8, so what is not
/// in a file's name is replaced.
pub(crate) fn configuration_files(state: &AgentState) -> Vec<String> {
    let files = state.configuration_files.iter();
    files
        .map(|file| file.to_string_lossy().into_owned())
        .collect()
}

/// A grid as the interface carries it.
pub(crate) fn grid(samples: &Samples) -> HashMap<String, Variant<'static>> {
    let value = |value: Value<'_>| match value {
        Value::Unsigned(value) => Variant::U64(value),
        Value::Float(value) => Variant::F64(value),
        Value::Text(value) => Variant::from(value.to_owned()),
    };
    samples
        .iter()
        .map(|(name, one)| (name.to_string(), value(one)))
        .collect()
}
