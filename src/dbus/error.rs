//! What a caller gets instead of an answer: errors by their D-Bus names.

use zbus::message::{Header, Message};
use zbus::names::ErrorName;

use crate::base::text::lines;

/// An error reply: a name for programs, a text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Error {
    name: &'static str,
    text: String,
}

impl Error {
    pub(crate) const INVALID_ARGS: &'static str = "org.freedesktop.DBus.Error.InvalidArgs";
    pub(crate) const ACCESS_DENIED: &'static str = "org.freedesktop.DBus.Error.AccessDenied";
    pub(crate) const INTERACTION_REQUIRED: &'static str =
        "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired";
    pub(crate) const LIMITS_EXCEEDED: &'static str = "org.freedesktop.DBus.Error.LimitsExceeded";
    pub(crate) const UNKNOWN_OBJECT: &'static str = "org.freedesktop.DBus.Error.UnknownObject";
    pub(crate) const TIMED_OUT: &'static str = "org.freedesktop.DBus.Error.TimedOut";
    pub(crate) const IO_ERROR: &'static str = "org.freedesktop.DBus.Error.IOError";
    pub(crate) const FAILED: &'static str = "org.freedesktop.DBus.Error.Failed";
    pub(crate) const INVALID_CONFIGURATION: &'static str =
        "org.metricsagent.Error.InvalidConfiguration";
    pub(crate) const STOPPING: &'static str = "org.metricsagent.Error.Stopping";
    pub(crate) const NOT_SAMPLED: &'static str = "org.metricsagent.Error.NotSampled";
    pub(crate) const NO_SUCH_HOST: &'static str = "org.metricsagent.Error.NoSuchHost";
    pub(crate) const NOT_REPORTED: &'static str = "org.metricsagent.Error.NotReported";
    pub(crate) const HOST_REPORTS: &'static str = "org.metricsagent.Error.HostReports";

    pub(crate) fn new(name: &'static str, text: impl Into<String>) -> Self {
        Self {
            name,
            text: lines(&text.into()).into_owned(),
        }
    }
}

impl zbus::DBusError for Error {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        Message::error(call, self.name()).build(&(self.text.as_str(),))
    }

    fn name(&self) -> ErrorName<'_> {
        ErrorName::from_static_str_unchecked(self.name)
    }

    fn description(&self) -> Option<&str> {
        Some(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::hostile;
    use proptest::prelude::*;

    #[test]
    fn every_name_is_an_error_name() {
        for name in [
            Error::INVALID_ARGS,
            Error::ACCESS_DENIED,
            Error::INTERACTION_REQUIRED,
            Error::LIMITS_EXCEEDED,
            Error::UNKNOWN_OBJECT,
            Error::TIMED_OUT,
            Error::IO_ERROR,
            Error::FAILED,
            Error::INVALID_CONFIGURATION,
            Error::STOPPING,
            Error::NOT_SAMPLED,
            Error::NO_SUCH_HOST,
            Error::NOT_REPORTED,
            Error::HOST_REPORTS,
        ] {
            assert!(ErrorName::try_from(name).is_ok(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_does_anything_to_a_terminal(text in hostile::texts()) {
            let error = Error::new(Error::FAILED, text);
            hostile::assert_harmless(&error.text);
        }
    }
}
