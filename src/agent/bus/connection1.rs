//! org.metricsagent.Connection1: one connection to a collector.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use zbus::Connection;
use zbus::message::Header;
use zbus::object_server::SignalEmitter;

use crate::agent::bus::agent1::usec;
use crate::agent::bus::service::Shared;
use crate::agent::handle::HistoryStatus;
use crate::agent::history::types::{Loss, Usage};
use crate::agent::settings::CollectorSettings;
use crate::agent::state::ConnectionState;
use crate::base::clock::realtime_usec;
use crate::dbus::error::Error;
use crate::dbus::polkit::Action;
use crate::protocol::data::Acknowledged;

/// Serves one connection.
///
/// What is configured is constant for the life of the object: a connection that is configured
/// otherwise is another object under the same path.
pub(crate) struct Connection1 {
    shared: Arc<Shared>,
    name: String,
    collector: Arc<CollectorSettings>,
}

impl Connection1 {
    pub(crate) fn new(shared: Arc<Shared>, state: &ConnectionState) -> Self {
        Self {
            shared,
            name: state.name.clone(),
            collector: Arc::clone(&state.collector),
        }
    }

    /// What is kept for the collector now.
    async fn history(&self) -> Result<HistoryStatus, Error> {
        if !self.shared.is_serving() {
            return Err(Error::new(Error::FAILED, "the agent is starting"));
        }
        Ok(self.shared.handle.history_status(&self.name).await?)
    }

    /// A value of the connection's state now. The object outlives the connection by the
    /// moment that it takes to remove it.
    fn now<T>(&self, value: impl FnOnce(&ConnectionState) -> T) -> Result<T, Error> {
        let state = self.shared.handle.state();
        let mut connections = state.connections.iter();
        match connections.find(|one| one.name == self.name) {
            Some(connection) => Ok(value(connection)),
            None => Err(Error::new(
                Error::UNKNOWN_OBJECT,
                format!("connection {:?} is not configured any more", self.name),
            )),
        }
    }
}

#[zbus::interface(name = "org.metricsagent.Connection1", introspection_docs = false)]
impl Connection1 {
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> &str {
        &self.name
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn endpoints(&self) -> Vec<String> {
        let endpoints = self.collector.endpoints.iter();
        endpoints.map(ToString::to_string).collect()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn order(&self) -> &'static str {
        self.collector.order.as_str()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn collector_keys(&self) -> Vec<String> {
        let keys = self.collector.public_keys.iter();
        keys.map(ToString::to_string).collect()
    }

    #[zbus(property)]
    fn endpoint(&self) -> Result<String, Error> {
        self.now(|now| now.endpoint.clone())
    }

    #[zbus(property)]
    fn collector_key(&self) -> Result<String, Error> {
        self.now(|now| now.server_key.clone())
    }

    #[zbus(property)]
    fn state(&self) -> Result<&'static str, Error> {
        self.now(|now| now.state.as_str())
    }

    #[zbus(property, name = "StateSinceUSec")]
    fn state_since_usec(&self) -> Result<u64, Error> {
        self.now(|now| realtime_usec(now.state_since))
    }

    #[zbus(property)]
    fn state_reason(&self) -> Result<String, Error> {
        self.now(|now| now.reason.clone())
    }

    #[zbus(property)]
    fn routing_id(&self) -> Result<String, Error> {
        self.now(|now| now.routing_id.clone())
    }

    #[zbus(property, name = "ConnectedSinceUSec")]
    fn connected_since_usec(&self) -> Result<u64, Error> {
        self.now(connected_since)
    }

    #[zbus(property(emits_changed_signal = "false"), name = "LastReceivedUSec")]
    fn last_received_usec(&self) -> Result<u64, Error> {
        self.now(|now| now.totals.last_received())
    }

    #[zbus(property(emits_changed_signal = "false"), name = "LastSentUSec")]
    fn last_sent_usec(&self) -> Result<u64, Error> {
        self.now(|now| now.totals.last_sent())
    }

    #[zbus(property(emits_changed_signal = "false"), name = "LastModelUSec")]
    fn last_model_usec(&self) -> Result<u64, Error> {
        self.now(|now| now.totals.last_model())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn messages_sent(&self) -> Result<u64, Error> {
        self.now(|now| now.totals.messages_sent())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn messages_received(&self) -> Result<u64, Error> {
        self.now(|now| now.totals.messages_received())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn bytes_sent(&self) -> Result<u64, Error> {
        self.now(|now| now.totals.bytes_sent())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn messages_dropped(&self) -> Result<u64, Error> {
        self.now(|now| now.totals.messages_dropped())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn reconnects(&self) -> Result<u64, Error> {
        self.now(|now| now.totals.reconnects())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn acknowledges(&self) -> Result<&'static str, Error> {
        let acknowledges = self.history().await?.acknowledges;
        Ok(acknowledges.map_or("", Acknowledged::as_str))
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn behind(&self) -> Result<u64, Error> {
        Ok(self.history().await?.collector.behind)
    }

    #[zbus(property(emits_changed_signal = "false"), name = "BehindUSec")]
    async fn behind_usec(&self) -> Result<u64, Error> {
        let since = self.history().await?.collector.since;
        let since = since.and_then(|since| u64::try_from(since).ok());
        let now = realtime_usec(SystemTime::now());
        Ok(since.map_or(0, |since| now.saturating_sub(since)))
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn kept(&self) -> Result<u64, Error> {
        Ok(self.history().await?.usage.memory as u64)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn kept_on_disk(&self) -> Result<u64, Error> {
        Ok(self.history().await?.usage.disk)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn kept_limit(&self) -> Result<u64, Error> {
        let Usage { limits, .. } = self.history().await?.usage;
        Ok(match limits.disk {
            0 => limits.memory as u64,
            disk => disk,
        })
    }

    #[zbus(property(emits_changed_signal = "false"), name = "RoomUSec")]
    async fn room_usec(&self) -> Result<u64, Error> {
        Ok(self.history().await?.usage.room.map_or(0, usec))
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn lost(&self) -> Result<HashMap<&'static str, u64>, Error> {
        let lost = self.history().await?.collector.lost;
        let by_reason = lost.iter().map(|(why, loss)| (why.as_word(), loss.samples));
        Ok(by_reason.collect())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn losses(&self) -> Result<Vec<(&'static str, u64, u64, u64)>, Error> {
        let all = self.history().await?.collector.lost;
        let by_reason = all.iter().map(|(why, loss)| {
            let (from, to) = loss_times(&loss);
            (why.as_word(), loss.samples, from, to)
        });
        Ok(by_reason.collect())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn handshake_failures(&self) -> Result<u64, Error> {
        self.now(|now| now.totals.handshake_failures())
    }

    #[zbus(signal)]
    pub(crate) async fn samples_lost(
        emitter: &SignalEmitter<'_>,
        count: u64,
        first_usec: u64,
        last_usec: u64,
        reason: &str,
    ) -> zbus::Result<()>;

    async fn reconnect(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let authority = &self.shared.authority;
        authority
            .check(connection, &call, Action::Reconnect)
            .await?;
        let name = Some(self.name.clone());
        Ok(self.shared.handle.reconnect(name).await?)
    }
}

/// When the first and the last of lost samples were taken, as the bus has it.
pub(crate) fn loss_times(loss: &Loss) -> (u64, u64) {
    let usec = |time: i64| u64::try_from(time).unwrap_or(0);
    (usec(loss.first), usec(loss.last))
}

/// The property `ConnectedSinceUSec` of a state.
pub(crate) fn connected_since(state: &ConnectionState) -> u64 {
    state.connected_since.map_or(0, realtime_usec)
}
