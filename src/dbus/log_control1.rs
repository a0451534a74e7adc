//! org.freedesktop.LogControl1: the log's level and target, for
//! `systemctl service-log-level` (org.freedesktop.LogControl1(5)).

use std::sync::Arc;

use zbus::Connection;
use zbus::message::Header;

use crate::dbus::error::Error;
use crate::dbus::polkit::{Action, Authority};
use crate::systemd::log::{LogControl, LogError};

/// Serves the log's controls.
pub(crate) struct LogControl1 {
    authority: Arc<Authority>,
    action: Action,
    log: LogControl,
}

impl LogControl1 {
    /// Callers that change the log need polkit's permission for `action`.
    pub(crate) fn new(authority: Arc<Authority>, action: Action, log: LogControl) -> Self {
        Self {
            authority,
            action,
            log,
        }
    }

    async fn may(&self, connection: &Connection, call: Option<Header<'_>>) -> Result<(), Error> {
        self.authority
            .check_write(connection, call.as_ref(), self.action)
            .await
    }
}

// systemd announces none of these changes, so neither do we.
#[zbus::interface(name = "org.freedesktop.LogControl1", introspection_docs = false)]
impl LogControl1 {
    #[zbus(property(emits_changed_signal = "false"))]
    fn log_level(&self) -> &'static str {
        self.log.level()
    }

    #[zbus(property)]
    async fn set_log_level(
        &self,
        level: &str,
        #[zbus(header)] call: Option<Header<'_>>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        self.may(connection, call).await?;
        self.log.set_level(level).map_err(Error::from)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn log_target(&self) -> &'static str {
        self.log.target()
    }

    #[zbus(property)]
    async fn set_log_target(
        &self,
        target: &str,
        #[zbus(header)] call: Option<Header<'_>>,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(), Error> {
        self.may(connection, call).await?;
        self.log.set_target(target).map_err(Error::from)
    }

    #[zbus(property(emits_changed_signal = "false"))]
    fn syslog_identifier(&self) -> &'static str {
        self.log.identifier()
    }
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        let name = match error {
            LogError::UnknownLevel(_) | LogError::UnknownTarget(_) => Self::INVALID_ARGS,
            LogError::Journal(_) | LogError::Console(_) => Self::IO_ERROR,
            LogError::SetUpTwice => Self::FAILED,
        };
        Self::new(name, error.to_string())
    }
}
