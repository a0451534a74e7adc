//! Whether a caller may: root and our own user may, everybody else is polkit's
//! decision.
//!
//! The caller is who the bus says that sent the message, never our own process. What
//! cannot be found out is a no: no sender, a caller that left, a polkit that does not
//! answer in time.

use std::collections::HashMap;
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
/// `dbus/org.metricsagent.server.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Set or revert intervals.
    SetIntervals,
    /// Enable and disable metric collectors.
    ManageCollectors,
    /// Close connections and open them again.
    Reconnect,
    /// Read the configuration again.
    Reload,
    /// Change the log's level and target.
    SetLog,
    /// Have the collector read its configuration again.
    ServerReload,
    /// Have the collector forget hosts.
    ServerManageHosts,
    /// Change the level and target of the collector's log.
    ServerSetLog,
}

impl Action {
    /// Every action there is.
    pub const ALL: [Self; 8] = [
        Self::SetIntervals,
        Self::ManageCollectors,
        Self::Reconnect,
        Self::Reload,
        Self::SetLog,
        Self::ServerReload,
        Self::ServerManageHosts,
        Self::ServerSetLog,
    ];

    /// polkit's name for it.
    #[must_use]
    pub const fn id(self) -> &'static str {
        match self {
            Self::SetIntervals => "org.metricsagent.set-intervals",
            Self::ManageCollectors => "org.metricsagent.manage-collectors",
            Self::Reconnect => "org.metricsagent.reconnect",
            Self::Reload => "org.metricsagent.reload",
            Self::SetLog => "org.metricsagent.set-log",
            Self::ServerReload => "org.metricsagent.server.reload",
            Self::ServerManageHosts => "org.metricsagent.server.manage-hosts",
            Self::ServerSetLog => "org.metricsagent.server.set-log",
        }
    }
}

/// Answers whether callers may, on one bus connection.
#[derive(Debug)]
pub(crate) struct Authority {
    our_uid: u32,
    questions: Callers,
    // Makes cancellation ids, which polkit wants unique for each caller.
    asked: AtomicU64,
    // Changes when the tree of objects is about to.
    tree: watch::Sender<()>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self {
            our_uid: rustix::process::geteuid().as_raw(),
            questions: Callers::new(LIMITS, "wait for polkit"),
            asked: AtomicU64::new(0),
            tree: watch::Sender::new(()),
        }
    }

    /// Whether the sender of a method call may do `action`.
    pub(crate) async fn check(
        &self,
        connection: &Connection,
        call: &Header<'_>,
        action: Action,
    ) -> Result<(), Error> {
        self.ask(connection, call, action, std::future::pending())
            .await
    }

    /// Whether the sender of a property's write may do `action`.
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
            return Err(denied(action, "the message does not say whose it is"));
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
        let Some(sender) = call.sender() else {
            return Err(denied(action, "the message has no sender"));
        };
        let unknown = |error| denied(action, &format!("the caller is not known: {error}"));
        let uid = uid_of(connection, sender).await.map_err(unknown)?;
        if passes(uid, self.our_uid) {
            return Ok(());
        }
        let _place = self.questions.enter(sender, uid)?;
        let mut departures = departures_of(connection, sender).await.map_err(unknown)?;
        // It may have left before anybody listened to that.
        uid_of(connection, sender).await.map_err(unknown)?;
        let given_up = async {
            tokio::select! {
                () = cancelled => "the objects changed while polkit was asked; try again",
                // The end of the stream is that of our connection, and of the question.
                _ = departures.next() => "the caller has left the bus",
            }
        };
        let interactive = call
            .primary()
            .flags()
            .contains(Flags::ALLOW_INTERACTIVE_AUTH);
        let subject = Subject::new_for_message_header(call)
            .map_err(|error| denied(action, &error.to_string()))?;
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
        cancelled: impl Future<Output = &'static str>,
    ) -> zbus::Result<AuthorizationResult> {
        let polkit = AuthorityProxy::new(connection).await?;
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
            answer = question => return answer,
            () = tokio::time::sleep(limit) => timed_out("polkit does not answer"),
            why = cancelled => zbus::Error::Failure(why.to_owned()),
        };
        // So that no dialogue stays on somebody's screen. Whether it arrives changes nothing.
        let _ = polkit
            .inner()
            .call_noreply("CancelCheckAuthorization", &(id.as_str(),))
            .await;
        Err(given_up)
    }
}

/// Who need not ask: root, and whoever is our own user and could as well replace us
/// (`sd_bus_query_sender_privilege(3)` sees it the same way).
const fn passes(uid: u32, our_uid: u32) -> bool {
    uid == 0 || uid == our_uid
}

/// What polkit's answer means for the caller.
fn decide(
    action: Action,
    uid: u32,
    answer: zbus::Result<AuthorizationResult>,
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
        Err(error) if is_absent(&error) => Err(denied(
            action,
            &format!("there is no polkit on this bus, so only root may, and you are uid {uid}"),
        )),
        Err(error) => Err(denied(
            action,
            &format!("polkit was asked in vain: {error}"),
        )),
    }
}

/// Whether the bus says that it has no polkit and cannot start one.
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

/// Tells when a connection leaves the bus: its questions are nobody's then.
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
        .unwrap_or_else(|_| Err(timed_out("the bus does not answer")))
}

pub(crate) async fn uid_of(connection: &Connection, sender: &UniqueName<'_>) -> zbus::Result<u32> {
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
        .unwrap_or_else(|_| Err(timed_out("the bus does not answer")))?
        .body()
        .deserialize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(is_authorized: bool, is_challenge: bool) -> AuthorizationResult {
        AuthorizationResult {
            is_authorized,
            is_challenge,
            details: HashMap::new(),
        }
    }

    fn name_of(refusal: Result<(), Error>) -> String {
        use zbus::DBusError as _;
        refusal.unwrap_err().name().to_string()
    }

    #[test]
    fn root_and_our_own_user_pass_and_nobody_else() {
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
    fn no_answer_is_a_no() {
        for error in [
            zbus::Error::FDO(Box::new(fdo::Error::ServiceUnknown(String::new()))),
            zbus::Error::FDO(Box::new(fdo::Error::AccessDenied(String::new()))),
            zbus::Error::InvalidReply,
            timed_out("polkit"),
        ] {
            assert_eq!(
                name_of(decide(Action::Reconnect, 1000, Err(error))),
                "org.freedesktop.DBus.Error.AccessDenied"
            );
        }
    }
}
