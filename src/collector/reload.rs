//! Reads the configuration again, off the loop, and puts it in force.
//!
//! Files may be on a disk that hangs, so they are read on a thread of their own, one reading at
//! a time. A caller that asks meanwhile gets the next reading: the files may have changed since
//! this one began. Either all of the new settings are in force afterwards, or none.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, watch};

use super::events;
use super::fleet::Fleet;
use super::handle::{Answer, NextKey, ReloadError};
use super::keys::Found;
use super::prometheus::own::{self, Figure};
use super::settings::{self, Inputs, Loaded, Settings, restart_needed};
use super::state::CollectorState;
use crate::base::offload::{Offloaded, offload};
use crate::curve::keys::PublicKey;
use crate::systemd::log::LogControl;

/// Most callers that wait for a reading. Each order of the bus has a waiting caller; so many
/// wait at once only if a disk hangs.
const MAX_WAITING: usize = 64;

/// The caller that asked for a reading; None for a signal.
pub(super) type Asker = Option<Answer<Result<(), ReloadError>>>;

/// How a reading ended.
pub(super) type Read = Result<Box<Loaded>, ReloadError>;

/// The reading that runs, and who waits for the next one.
pub(super) struct Reloads {
    inputs: Arc<Inputs>,
    waiting: Vec<Asker>,
    running: Option<(Vec<Asker>, Offloaded<Read>)>,
}

impl Reloads {
    pub(super) fn new(inputs: Inputs) -> Self {
        Self {
            inputs: Arc::new(inputs),
            waiting: Vec::new(),
            running: None,
        }
    }

    /// Has the configuration read; at once, where it is not being read already.
    pub(super) fn ask(&mut self, asker: Asker) {
        if self.waiting.len() >= MAX_WAITING {
            let text = format!("{MAX_WAITING} callers are waiting for it already");
            answer_all([asker], &Err(ReloadError::NotRead(text)));
            return;
        }
        self.waiting.push(asker);
        self.begin();
    }

    /// The next reading that has ended, with those who asked for it; never where there is
    /// none. Cancel safe.
    pub(super) async fn ended(&mut self) -> (Vec<Asker>, Read) {
        let read = match &mut self.running {
            Some((_, running)) => running
                .await
                .unwrap_or_else(|error| Err(ReloadError::NotRead(error.to_string()))),
            None => std::future::pending().await,
        };
        let askers = self.running.take().map(|(askers, _)| askers);
        self.begin();
        (askers.unwrap_or_default(), read)
    }

    /// Has the settings read for the key alone, which is compared with the one in force. That
    /// changes nothing.
    pub(super) fn read_key(
        &self,
        permit: OwnedSemaphorePermit,
        answer: Answer<Result<NextKey, ReloadError>>,
        in_force: PublicKey,
    ) {
        let inputs = Arc::clone(&self.inputs);
        let work = move || {
            let read = settings::load(&inputs);
            drop(permit);
            let next = read.map(|loaded| next_key(&loaded.keys, in_force));
            // The caller may have gone.
            let _ = answer.send(next.map_err(|error| ReloadError::Invalid(error.to_string())));
        };
        // Where there is no thread the answer is dropped with the work, and the caller told.
        drop(offload("files", work));
    }

    /// Returns true if a reading is running.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    fn begin(&mut self) {
        if self.running.is_some() || self.waiting.is_empty() {
            return;
        }
        let askers = std::mem::take(&mut self.waiting);
        let inputs = Arc::clone(&self.inputs);
        let read = move || match settings::load(&inputs) {
            Ok(loaded) => Ok(Box::new(loaded)),
            Err(error) => Err(ReloadError::Invalid(error.to_string())),
        };
        self.running = Some((askers, offload("files", read)));
    }
}

/// The key pair that was found, where it is not the one in force.
fn next_key(found: &Found, in_force: PublicKey) -> NextKey {
    match found {
        Found::Keys(keys) if keys.pair.public != in_force => {
            NextKey::Other(keys.pair.public, keys.path.clone())
        }
        Found::Keys(_) | Found::Unclear(_) => NextKey::Same,
        Found::Nowhere { .. } => NextKey::Made(found.path()),
    }
}

/// Answers the callers. One that has gone meanwhile is ignored.
pub(super) fn answer_all(
    askers: impl IntoIterator<Item = Asker>,
    result: &Result<(), ReloadError>,
) {
    for answer in askers.into_iter().flatten() {
        let _ = answer.send(result.clone());
    }
}

/// The settings in force, and those that the collector was started with.
pub(super) struct InForce {
    /// What a restart is needed for is compared with these.
    started: Loaded,
    settings: Settings,
    log: LogControl,
}

impl InForce {
    pub(super) fn new(started: Loaded, log: LogControl) -> Self {
        Self {
            settings: started.settings.clone(),
            started,
            log,
        }
    }

    /// What the log has lost, for Prometheus.
    pub(super) fn log_figure(&self) -> Figure {
        Figure::plain(&own::LOG_LOST, self.log.lost())
    }

    /// Puts what was read in force, or says why not.
    pub(super) fn handle(
        &mut self,
        read: Read,
        fleet: &mut Fleet,
        state: &watch::Sender<Arc<CollectorState>>,
    ) -> Result<(), ReloadError> {
        let loaded = read.inspect_err(|error| events::reload_refused(error))?;
        self.adopt(*loaded, fleet, state);
        Ok(())
    }

    /// Replaces all settings at once. Those that need a restart stay as they are, which is
    /// logged.
    fn adopt(
        &mut self,
        loaded: Loaded,
        fleet: &mut Fleet,
        state: &watch::Sender<Arc<CollectorState>>,
    ) {
        let restart = restart_needed(&self.started, &loaded);
        events::loaded(&loaded);
        let files = loaded.files().to_vec();
        let new = loaded.settings;
        let old = std::mem::replace(&mut self.settings, new.clone());
        if new.log_level != old.log_level
            && let Err(error) = self.log.set_level(new.log_level.as_str())
        {
            tracing::warn!("the log level stays as it is: {error}");
        }
        if new.timing != old.timing {
            fleet.hosts.set_timing(new.timing);
        }
        fleet.access.reconfigure(new.access.authorized);
        fleet.sinks.reconfigure(&new, &fleet.hosts);
        state.send_modify(|state| {
            let state = Arc::make_mut(state);
            state.configuration_files = files;
            state.web_hosts = new.web_hosts;
        });
        events::reloaded();
        if !restart.is_empty() {
            events::restart_needed(&restart.join(", "));
        }
    }
}
