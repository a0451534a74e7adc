//! Errors, as shown to the person who typed the command.

use std::io;
use std::process::ExitCode;

use zbus::fdo;

use crate::ctl::proxy::FindError;
use crate::curve::certificate::CertificateError;
use crate::dbus::error::Error;
use crate::dbus::{Bus, BusError};

/// The command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The bus named is none.
    #[error("{0}")]
    Bus(#[source] BusError),
    /// No bus: the agent may run all the same.
    #[error(
        "cannot reach {bus}: {source}\n\
         Without a bus, see the agent with: systemctl status metrics-agent\n\
         and reload it with: systemctl reload metrics-agent"
    )]
    NoBus {
        /// Which one.
        bus: Bus,
        /// What was wrong.
        source: zbus::Error,
    },
    /// No agent, and one is needed.
    #[error("metrics-agent is not running on {0}; start it with: systemctl start metrics-agent")]
    NotRunning(Bus),
    /// No agent, which is the answer to "status".
    #[error("start it with: systemctl start metrics-agent")]
    Inactive(Bus),
    /// No agent, as it found its settings invalid.
    #[error(
        "metrics-agent did not start, as its settings are invalid (status 78); see what is wrong \
         with: metrics-agent --check-config"
    )]
    Misconfigured,
    /// No agent, which is the answer to "status": its settings are invalid.
    #[error("see what is wrong with: metrics-agent --check-config")]
    InactiveMisconfigured,
    /// The agent went while it was asked.
    #[error("metrics-agent left the bus before it answered")]
    Gone,
    /// The bus went while something was awaited from it.
    #[error("the connection to {0} was lost")]
    LostBus(Bus),
    /// polkit says no.
    #[error("access denied: {0}\nTry it with sudo, or allow the action in a polkit rule")]
    Denied(String),
    /// polkit would ask, but cannot.
    #[error(
        "authorization required: {0}\n\
         Try it with sudo, allow the action in a polkit rule, or try it on a terminal where \
         pkttyagent can ask for the password"
    )]
    Unauthorized(String),
    /// The agent knows no such thing.
    #[error("no {what} is named {name:?}; there is: {known}")]
    Unknown {
        /// The kind of thing.
        what: &'static str,
        /// Its name as given.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// A pattern that fits nothing.
    #[error(
        "no metric of this host matches; metrics-agentctl metrics shows what changes, \
         metrics-agentctl metrics --model what rarely does"
    )]
    NoMetric,
    /// A pattern that fits metrics, of which none is there while some collectors fail.
    #[error("none of these metrics is there now, and this fails:\n{}", .0.join("\n"))]
    Failing(Vec<String>),
    /// The agent refused or failed; the text is the agent's.
    #[error("{0}")]
    Refused(String),
    /// Talking to the agent went wrong.
    #[error("cannot talk to metrics-agent: {0}")]
    Call(#[source] zbus::Error),
    /// A key file.
    #[error("{0}")]
    Key(#[from] CertificateError),
    /// No home directory.
    #[error("HOME is not set; name the directory for the keys")]
    NoHome,
    /// Printing, mostly.
    #[error("{0}")]
    Io(#[source] io::Error),
}

/// What `systemctl status` exits with where the unit is not active (LSB: "program is not
/// running").
const NOT_RUNNING: u8 = 3;

impl Failure {
    /// The exit status that systemctl would have.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Inactive(_) | Self::InactiveMisconfigured => NOT_RUNNING.into(),
            _ => ExitCode::FAILURE,
        }
    }
}

impl From<FindError> for Failure {
    fn from(error: FindError) -> Self {
        match error {
            FindError::NoBus { bus, source } => Self::NoBus { bus, source },
            FindError::NotRunning { bus, .. } => Self::NotRunning(bus),
        }
    }
}

impl From<zbus::Error> for Failure {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::FDO(error) => match *error {
                fdo::Error::AccessDenied(text) => Self::Denied(text),
                fdo::Error::InteractiveAuthorizationRequired(text) => Self::Unauthorized(text),
                fdo::Error::ServiceUnknown(_)
                | fdo::Error::NameHasNoOwner(_)
                | fdo::Error::NoReply(_) => Self::Gone,
                fdo::Error::InvalidArgs(text)
                | fdo::Error::Failed(text)
                | fdo::Error::IOError(text)
                | fdo::Error::LimitsExceeded(text)
                | fdo::Error::TimedOut(text)
                | fdo::Error::UnknownObject(text) => Self::Refused(text),
                other => Self::Call(other.into()),
            },
            // The agent's own errors: the name is for programs, the text for people.
            zbus::Error::MethodError(name, text, _) => match (says_gone(&name), text) {
                (true, _) => Self::Gone,
                (false, Some(text)) => Self::Refused(text),
                (false, None) => Self::Refused(name.to_string()),
            },
            other => Self::Call(other),
        }
    }
}

/// Returns true for the bus's error about a callee that does not exist, or left before it answered,
/// and for the answer of one that is about to leave.
fn says_gone(error: &str) -> bool {
    if error == Error::STOPPING {
        return true;
    }
    let error = error.strip_prefix("org.freedesktop.DBus.Error.");
    matches!(error, Some("ServiceUnknown" | "NameHasNoOwner" | "NoReply"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_left_is_told_from_one_that_refuses() {
        let error = fdo::Error::NoReply("Remote peer disconnected".to_owned());
        assert!(matches!(
            Failure::from(zbus::Error::from(error)),
            Failure::Gone
        ));
        assert!(says_gone("org.freedesktop.DBus.Error.ServiceUnknown"));
        // It is about to leave, and may be there again in a moment.
        assert!(says_gone("org.metricsagent.Error.Stopping"));
        assert!(!says_gone("org.metricsagent.Error.NotSampled"));
    }

    #[test]
    fn the_agents_words_are_what_a_person_reads() {
        let error = fdo::Error::InvalidArgs("expected 100ms to 1h".to_owned());
        let failure = Failure::from(zbus::Error::from(error));
        assert_eq!(failure.to_string(), "expected 100ms to 1h");
        let text = "org.metricsagent.reload is not allowed: polkit refuses it to uid 1000";
        let error = fdo::Error::AccessDenied(text.to_owned());
        let failure = Failure::from(zbus::Error::from(error));
        assert!(matches!(failure, Failure::Denied(_)), "{failure:?}");
        assert!(failure.to_string().contains("sudo"), "{failure}");
        assert!(failure.to_string().contains(text), "{failure}");
    }
}
