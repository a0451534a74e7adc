//! Whether a caller may: root and our own user may, everybody else is polkit's
//! decision.
//!
//! The caller is the sender that the bus names, never our own process. If it cannot be checked,
//! it is refused: no sender, a caller that left, a bus or a polkit that does not answer in
//! time. The error gives the reason.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::watch;
use zbus::message::{Flags, Header, Type};
use zbus::names::{BusName, UniqueName};
use zbus::{Connection, MatchRule, MessageStream, fdo};
use zbus_polkit::policykit1::{
    AuthorityProxy, AuthorizationResult, CheckAuthorizationFlags, Subject,
};

use crate::dbus::callers::{Callers, Limits};
use crate::dbus::error::Error;
use crate::dbus::timed_out;

/// How long the bus may take to say whose a connection is. It knows; it only has to be
/// alive.
const BUS_TIMEOUT: Duration = Duration::from_secs(5);

const NO_ANSWER: &str = "the bus does not answer";

/// How long polkit may take to decide by itself: libdbus's default for any call, enough
/// for a polkitd that is started for it on a busy host.
const POLKIT_TIMEOUT: Duration = Duration::from_secs(25);

/// How long a person may take to type a password.
const INTERACTIVE_TIMEOUT: Duration = Duration::from_secs(120);

/// Questions that wait for polkit at most. A caller pays nothing for asking, so without
/// a limit it could make us hold as many as it likes; and without one of its own it could
/// keep everybody else from asking.
const LIMITS: Limits = Limits {
    all: 64,
    user: 16,
    connection: 8,
};

/// What a caller wants to do, in the terms of `dbus/org.metricsagent.policy` and
/// `dbus/org.metricsagent.collector.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Set or revert intervals.
    SetIntervals,
    /// Enable and disable sources.
    ManageSources,
    /// Close connections and open them again.
    Reconnect,
    /// Read the configuration again.
    Reload,
    /// Change the log's level and target.
    SetLog,
    /// Have the collector read its configuration again.
    CollectorReload,
    /// Have the collector forget hosts.
    CollectorManageHosts,
    /// Change the level and target of the collector's log.
    CollectorSetLog,
}

impl Action {
    /// Every action there is.
    pub const ALL: [Self; 8] = [
        Self::SetIntervals,
        Self::ManageSources,
        Self::Reconnect,
        Self::Reload,
        Self::SetLog,
        Self::CollectorReload,
        Self::CollectorManageHosts,
        Self::CollectorSetLog,
    ];

    /// polkit's name for it.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::SetIntervals => "org.metricsagent.set-intervals",
            Self::ManageSources => "org.metricsagent.manage-sources",
            Self::Reconnect => "org.metricsagent.reconnect",
            Self::Reload => "org.metricsagent.reload",
            Self::SetLog => "org.metricsagent.set-log",
            Self::CollectorReload => "org.metricsagent.collector.reload",
            Self::CollectorManageHosts => "org.metricsagent.collector.manage-hosts",
            Self::CollectorSetLog => "org.metricsagent.collector.set-log",
        }
    }
}

/// Answers whether callers may, on one bus connection.
#[derive(Debug)]
pub(crate) struct Authority {
    our_uid: u32,
    questions: Arc<Callers>,
    // Makes cancellation ids, which polkit wants unique for each caller.
    asked: AtomicU64,
    // Changes when the tree of objects is about to.
    tree: watch::Sender<()>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self {
            our_uid: rustix::process::geteuid().as_raw(),
            questions: Arc::new(Callers::new(LIMITS, "wait for polkit")),
            asked: AtomicU64::new(0),
            tree: watch::Sender::new(()),
        }
    }

    /// Checks that the sender of a method call may do `action`.
    pub(crate) async fn check(
        &self,
        connection: &Connection,
        call: &Header<'_>,
        action: Action,
    ) -> Result<(), Error> {
        self.ask(connection, call, action, std::future::pending())
            .await
    }

    /// Checks that the sender of a property's write may do `action`.
    ///
    /// zbus holds the tree of objects while a property is written, so a question that
    /// polkit passes on to a person would hold up everybody once an object comes or
    /// goes. A change of the tree therefore ends the question.
    pub(crate) async fn check_write(
        &self,
        connection: &Connection,
        call: Option<&Header<'_>>,
        action: Action,
    ) -> Result<(), Error> {
        let Some(call) = call else {
            return Err(denied(action, "the message has no sender"));
        };
        let mut tree = self.tree.subscribe();
        let changed = async move {
            // An error means that the Authority is gone, and then so is the question.
            let _ = tree.changed().await;
        };
        self.ask(connection, call, action, changed).await
    }

    /// Ends the questions of property writes, as the tree of objects is about to change.
    pub(crate) fn clear_the_tree(&self) {
        self.tree.send_replace(());
    }

    async fn ask(
        &self,
        connection: &Connection,
        call: &Header<'_>,
        action: Action,
        cancelled: impl Future<Output = ()>,
    ) -> Result<(), Error> {
        let (sender, uid) = user_of(connection, call).await?;
        if passes(uid, self.our_uid) {
            return Ok(());
        }
        let _place = self.questions.enter(&sender, uid)?;
        let mut departures = departures_of(connection, &sender).await.map_err(unknown)?;
        // It may have left before we listened for that.
        user_of(connection, call).await?;
        let given_up = async {
            tokio::select! {
                () = cancelled => Undecided::Changed,
                // The end of the stream is that of our connection, and of the question.
                _ = departures.next() => Undecided::CallerLeft,
            }
        };
        let interactive = call
            .primary()
            .flags()
            .contains(Flags::ALLOW_INTERACTIVE_AUTH);
        let subject = Subject::new_for_message_header(call)
            .map_err(|error| Error::new(Error::FAILED, error.to_string()))?;
        let answer = self
            .polkit(connection, &subject, action, interactive, given_up)
            .await;
        decide(action, uid, answer)
    }

    async fn polkit(
        &self,
        connection: &Connection,
        subject: &Subject,
        action: Action,
        interactive: bool,
        given_up: impl Future<Output = Undecided>,
    ) -> Result<AuthorizationResult, Undecided> {
        let polkit = AuthorityProxy::new(connection)
            .await
            .map_err(Undecided::Failed)?;
        let (flags, limit) = if interactive {
            (
                CheckAuthorizationFlags::ALLOW_USER_INTERACTION,
                INTERACTIVE_TIMEOUT,
            )
        } else {
            (CheckAuthorizationFlags::empty(), POLKIT_TIMEOUT)
        };
        let id = format!(
            "metrics-agent-{}",
            self.asked.fetch_add(1, Ordering::Relaxed)
        );
        let details = HashMap::new();
        let question = polkit.check_authorization(subject, action.id(), &details, flags, &id);
        let given_up = tokio::select! {
            answer = question => return answer.map_err(Undecided::Failed),
            () = tokio::time::sleep(limit) => Undecided::Silent(limit),
            why = given_up => why,
        };
        // So that no dialogue stays on the user's screen. If it does not arrive, nothing
        // changes.
        let _ = polkit
            .inner()
            .call_noreply("CancelCheckAuthorization", &(id.as_str(),))
            .await;
        Err(given_up)
    }
}

/// Returns true for users for whom polkit is not asked: root, and our own user, who could
/// replace this process anyway (`sd_bus_query_sender_privilege(3)` does the same).
const fn passes(uid: u32, our_uid: u32) -> bool {
    uid == 0 || uid == our_uid
}

/// What polkit's answer means for the caller.
fn decide(
    action: Action,
    uid: u32,
    answer: Result<AuthorizationResult, Undecided>,
) -> Result<(), Error> {
    match answer {
        Ok(answer) if answer.is_authorized => Ok(()),
        Ok(answer) if answer.is_challenge => Err(Error::new(
            Error::INTERACTION_REQUIRED,
            format!(
                "Interactive authentication required: polkit asks for a password before it allows {}",
                action.id()
            ),
        )),
        Ok(_) => Err(denied(action, &format!("polkit refuses it to uid {uid}"))),
        Err(Undecided::Failed(error)) if is_absent(&error) => Err(denied(
            action,
            &format!(
                "there is no polkit on this bus, so only root may do this, and you are uid {uid}"
            ),
        )),
        Err(undecided) => Err(undecided.into_error(action)),
    }
}

/// Why polkit has not decided. That is a no as well, but not polkit's.
#[derive(Debug)]
enum Undecided {
    /// It did not answer within this time.
    Silent(Duration),
    /// It cannot be asked, or its answer is an error.
    Failed(zbus::Error),
    /// The objects are about to change.
    Changed,
    /// The caller is gone.
    CallerLeft,
}

impl Undecided {
    fn into_error(self, action: Action) -> Error {
        let id = action.id();
        match self {
            Self::Silent(limit) => Error::new(
                Error::TIMED_OUT,
                format!(
                    "polkit did not answer within {} s whether {id} is allowed; try again, and see `systemctl status polkit` if that does not help",
                    limit.as_secs()
                ),
            ),
            Self::Failed(error) => Error::new(
                Error::FAILED,
                format!("polkit could not be asked whether {id} is allowed: {error}"),
            ),
            Self::Changed => Error::new(
                Error::FAILED,
                format!(
                    "the objects changed while polkit was asked whether {id} is allowed; try again"
                ),
            ),
            Self::CallerLeft => denied(action, "the caller has left the bus"),
        }
    }
}

/// Returns true if the bus has no polkit and cannot start one.
fn is_absent(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::FDO(error) => matches!(
            **error,
            fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_)
        ),
        _ => false,
    }
}

fn denied(action: Action, why: &str) -> Error {
    Error::new(
        Error::ACCESS_DENIED,
        format!("{} is not allowed: {why}", action.id()),
    )
}

/// Reports connections that leave the bus: their questions need no answer then.
async fn departures_of(
    connection: &Connection,
    sender: &UniqueName<'_>,
) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender("org.freedesktop.DBus")
        .path("/org/freedesktop/DBus")
        .interface("org.freedesktop.DBus")
        .member("NameOwnerChanged")
        .arg(0, sender.as_str())
        .arg(2, "")
        .build()?;
    let listening = MessageStream::for_match_rule(rule, connection, None);
    tokio::time::timeout(BUS_TIMEOUT, listening)
        .await
        .unwrap_or_else(|_| Err(timed_out(NO_ANSWER)))
}

/// Whose a call is: the connection's unique name, and its user.
pub(crate) async fn user_of(
    connection: &Connection,
    call: &Header<'_>,
) -> Result<(UniqueName<'static>, u32), Error> {
    let Some(sender) = call.sender() else {
        let text = "the caller is not known: the message has no sender";
        return Err(Error::new(Error::ACCESS_DENIED, text));
    };
    let uid = uid_of(connection, sender).await.map_err(unknown)?;
    Ok((sender.to_owned(), uid))
}

/// What to say where the bus does not tell whose a call is.
fn unknown(error: zbus::Error) -> Error {
    match error {
        zbus::Error::InputOutput(error) if error.kind() == io::ErrorKind::TimedOut => Error::new(
            Error::TIMED_OUT,
            format!(
                "the bus did not say within {} s who made this call; try again",
                BUS_TIMEOUT.as_secs()
            ),
        ),
        zbus::Error::FDO(error) if matches!(*error, fdo::Error::NameHasNoOwner(_)) => {
            Error::new(Error::ACCESS_DENIED, "the caller has left the bus")
        }
        error => Error::new(
            Error::FAILED,
            format!("the bus could not be asked who made this call: {error}"),
        ),
    }
}

async fn uid_of(connection: &Connection, sender: &UniqueName<'_>) -> zbus::Result<u32> {
    let body = (BusName::from(sender.clone()),);
    let call = connection.call_method(
        Some("org.freedesktop.DBus"),
        "/org/freedesktop/DBus",
        Some("org.freedesktop.DBus"),
        "GetConnectionUnixUser",
        &body,
    );
    tokio::time::timeout(BUS_TIMEOUT, call)
        .await
        .unwrap_or_else(|_| Err(timed_out(NO_ANSWER)))?
        .body()
        .deserialize()
}

#[cfg(test)]
mod tests {
    use zbus::DBusError as _;

    use super::*;

    fn answer(is_authorized: bool, is_challenge: bool) -> AuthorizationResult {
        AuthorizationResult {
            is_authorized,
            is_challenge,
            details: HashMap::new(),
        }
    }

    fn name_of(refusal: Result<(), Error>) -> String {
        refusal.unwrap_err().name().to_string()
    }

    #[test]
    fn root_and_our_own_user_pass_and_no_other() {
        assert!(passes(0, 990));
        assert!(passes(990, 990));
        assert!(!passes(1000, 990));
        assert!(!passes(65534, 0));
    }

    #[test]
    fn polkit_decides_for_the_others() {
        let action = Action::Reload;
        assert_eq!(decide(action, 1000, Ok(answer(true, false))), Ok(()));
        assert_eq!(
            name_of(decide(action, 1000, Ok(answer(false, true)))),
            "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
        );
        assert_eq!(
            name_of(decide(action, 1000, Ok(answer(false, false)))),
            "org.freedesktop.DBus.Error.AccessDenied"
        );
    }

    #[test]
    fn no_answer_is_a_no_and_its_own_error() {
        let failed = |error| Undecided::Failed(zbus::Error::FDO(Box::new(error)));
        for (undecided, name, text) in [
            (
                failed(fdo::Error::ServiceUnknown(String::new())),
                "AccessDenied",
                "org.metricsagent.reconnect is not allowed: there is no polkit on this bus, so only \
                 root may do this, and you are uid 1000",
            ),
            (
                failed(fdo::Error::Failed("it broke".to_owned())),
                "Failed",
                "polkit could not be asked whether org.metricsagent.reconnect is allowed: \
                 org.freedesktop.DBus.Error.Failed: it broke",
            ),
            (
                Undecided::Silent(POLKIT_TIMEOUT),
                "TimedOut",
                "polkit did not answer within 25 s whether org.metricsagent.reconnect is allowed; \
                 try again, and see `systemctl status polkit` if that does not help",
            ),
            (
                Undecided::Changed,
                "Failed",
                "the objects changed while polkit was asked whether org.metricsagent.reconnect is \
                 allowed; try again",
            ),
            (
                Undecided::CallerLeft,
                "AccessDenied",
                "org.metricsagent.reconnect is not allowed: the caller has left the bus",
            ),
        ] {
            let error = decide(Action::Reconnect, 1000, Err(undecided)).unwrap_err();
            assert_eq!(error.description(), Some(text));
            let full = format!("org.freedesktop.DBus.Error.{name}");
            assert_eq!(error.name().as_str(), full);
        }
    }

    #[test]
    fn a_bus_that_does_not_answer_is_told_from_a_caller_that_left() {
        let left = fdo::Error::NameHasNoOwner(String::new());
        for (error, name, text) in [
            (
                timed_out(NO_ANSWER),
                "TimedOut",
                "the bus did not say within 5 s who made this call; try again",
            ),
            (
                zbus::Error::FDO(Box::new(left)),
                "AccessDenied",
                "the caller has left the bus",
            ),
            (
                zbus::Error::InvalidReply,
                "Failed",
                "the bus could not be asked who made this call: Invalid D-Bus method reply",
            ),
        ] {
            let error = unknown(error);
            assert_eq!(error.description(), Some(text));
            let full = format!("org.freedesktop.DBus.Error.{name}");
            assert_eq!(error.name().as_str(), full);
        }
    }
}
