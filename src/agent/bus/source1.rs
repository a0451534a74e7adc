//! org.metricsagent.Source1: one source.

use std::collections::HashMap;
use std::sync::Arc;

use zbus::message::Header;
use zbus::{Connection, Variant};

use crate::agent::bus::agent1::{grid, usec};
use crate::agent::bus::service::Shared;
use crate::agent::handle::OrderError;
use crate::dbus::error::Error;
use crate::dbus::polkit::Action;
use crate::dbus::turns::Answer;
use crate::sources::SourceStatus;

/// Serves one source.
pub(crate) struct Source1 {
    shared: Arc<Shared>,
    name: &'static str,
}

impl Source1 {
    pub(crate) fn new(shared: Arc<Shared>, name: &'static str) -> Self {
        Self { shared, name }
    }

    async fn status(&self) -> Result<SourceStatus, Error> {
        if !self.shared.is_serving() {
            return Err(Error::new(Error::FAILED, "the agent is starting"));
        }
        Ok(self.shared.handle.source_status(self.name).await?)
    }
}

#[zbus::interface(name = "org.metricsagent.Source1", introspection_docs = false)]
impl Source1 {
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> &'static str {
        self.name
    }

    #[zbus(property(emits_changed_signal = "const"))]
    async fn description(&self) -> Result<&'static str, Error> {
        Ok(self.status().await?.description)
    }

    #[zbus(property)]
    fn enabled(&self) -> Result<bool, Error> {
        // From the published state, which is also what a change is announced by.
        let state = self.shared.handle.state();
        let mut sources = state.sources.iter();
        match sources.find(|(name, _)| *name == self.name) {
            Some((_, enabled)) => Ok(*enabled),
            None => Err(OrderError::NoSuchSource(self.name.to_owned()).into()),
        }
    }

    #[zbus(property)]
    async fn set_enabled(
        &self,
        enabled: bool,
        #[zbus(header)] call: Option<Header<'_>>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        let authority = &self.shared.authority;
        authority
            .check_write(connection, call.as_ref(), Action::ManageSources)
            .await?;
        let order = self.shared.handle.set_enabled(self.name, enabled);
        self.shared
            .write(order, |state| {
                for (name, is_enabled) in &mut state.sources {
                    if *name == self.name {
                        *is_enabled = enabled;
                    }
                }
            })
            .await
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn samples(&self) -> Result<u64, Error> {
        Ok(self.status().await?.samples)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn errors(&self) -> Result<u64, Error> {
        Ok(self.status().await?.errors)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn last_error(&self) -> Result<String, Error> {
        Ok(self.status().await?.last_error.unwrap_or_default())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn fault(&self) -> Result<String, Error> {
        Ok(self.status().await?.fault.unwrap_or_default())
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn lack(&self) -> Result<&'static str, Error> {
        Ok(self.status().await?.lack.unwrap_or_default())
    }

    #[zbus(property(emits_changed_signal = "false"), name = "LastDurationUSec")]
    async fn last_duration_usec(&self) -> Result<u64, Error> {
        Ok(usec(self.status().await?.last_duration))
    }

    #[zbus(property(emits_changed_signal = "false"), name = "MaxDurationUSec")]
    async fn max_duration_usec(&self) -> Result<u64, Error> {
        Ok(usec(self.status().await?.max_duration))
    }

    #[zbus(property(emits_changed_signal = "false"), name = "IntervalUSec")]
    async fn interval_usec(&self) -> Result<u64, Error> {
        Ok(usec(self.status().await?.interval))
    }

    #[zbus(property(emits_changed_signal = "false"))]
    async fn values_cut(&self) -> Result<u64, Error> {
        Ok(self.status().await?.cut)
    }

    #[zbus(name = "Sample", out_args("grid"))]
    async fn sample(
        &self,
        #[zbus(header)] call: Header<'_>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Answer<HashMap<String, Variant<'static>>>, Error> {
        let turn = self.shared.turns.take(&call, connection).await?;
        turn.answer(grid(&self.shared.handle.sample_source(self.name).await?))
    }
}
