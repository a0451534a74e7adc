//! A program's name on the bus: taking it, and why that can fail.

use std::time::Duration;

use futures_util::StreamExt as _;
use zbus::fdo::{self, RequestNameFlags};
use zbus::{Connection, MatchRule, MessageStream};

use crate::dbus::{Bus, CONNECT_TIMEOUT, timed_out};

/// How long answers under way may hold up the end. A caller that polkit asks for a
/// password is not worth waiting for.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// A name, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnName {
    /// The well-known name.
    pub name: &'static str,
    /// The program, and the user that its service runs as.
    pub program: &'static str,
}

/// The agent's.
pub const AGENT: OwnName = OwnName {
    name: crate::dbus::NAME,
    program: "metrics-agent",
};

/// The collector's.
pub const COLLECTOR: OwnName = OwnName {
    name: crate::dbus::COLLECTOR_NAME,
    program: "metrics-collector",
};

/// Why a program is not on the bus.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process owns the name.
    #[error(
        "the bus name {} is taken: another {} is running on this bus; \
         stop it, or choose another bus for this one (dbus.bus in the configuration)", .0.name, .0.program
    )]
    NameTaken(OwnName),
    /// No bus there, or none that answers in time.
    #[error("cannot reach {bus}: {source}")]
    Unavailable {
        /// Which one.
        bus: Bus,
        /// What was wrong.
        source: zbus::Error,
    },
    /// The bus policy keeps the name for other users.
    #[error(
        "the bus refuses us the name {}: its policy, \
         /usr/share/dbus-1/system.d/{}.conf, lets root and the user {} own it; \
         install it and run `systemctl reload dbus`, run as that user, or choose another bus \
         (dbus.bus in the configuration): {source}", own.name, own.name, own.program
    )]
    NotAllowed {
        /// The name.
        own: OwnName,
        /// The bus's answer.
        source: zbus::Error,
    },
}

/// Why a service on the bus ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The bus closed the connection, most likely as it was restarted.
    #[error("the bus closed the connection")]
    BusGone,
    /// The bus gave the name to another process.
    #[error("somebody else took the name")]
    NameLost,
    /// The program ends, so there is nothing to serve any more.
    #[error("the program ended")]
    ProgramGone,
}

/// Connects, has everything served, and only then takes the name; within ten seconds.
pub(crate) async fn enter<S>(
    bus: Bus,
    own: OwnName,
    serve: impl AsyncFnOnce(Connection) -> zbus::Result<S>,
) -> Result<S, StartError> {
    let unavailable = |source| StartError::Unavailable {
        bus: bus.clone(),
        source,
    };
    let entering = async {
        let connection = bus.connect().await.map_err(unavailable)?;
        let service = serve(connection.clone()).await.map_err(unavailable)?;
        take(&connection, &bus, own).await?;
        Ok(service)
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, entering).await {
        Ok(entered) => entered,
        Err(_) => Err(unavailable(timed_out("it does not answer"))),
    }
}

/// Takes the name, or says why not.
async fn take(connection: &Connection, bus: &Bus, own: OwnName) -> Result<(), StartError> {
    let flags = RequestNameFlags::DO_NOT_QUEUE;
    match connection.request_name_with_flags(own.name, flags).await {
        Ok(_) => Ok(()),
        Err(zbus::Error::NameTaken) => Err(StartError::NameTaken(own)),
        Err(zbus::Error::FDO(error)) if matches!(*error, fdo::Error::AccessDenied(_)) => {
            Err(StartError::NotAllowed {
                own,
                source: zbus::Error::FDO(error),
            })
        }
        Err(source) => Err(StartError::Unavailable {
            bus: bus.clone(),
            source,
        }),
    }
}

/// A connection to a bus under a name, for as long as both last.
#[derive(Debug)]
pub(crate) struct Held {
    connection: Connection,
    name_lost: MessageStream,
}

impl Held {
    /// To be had before the name is taken, so that its loss is not missed.
    pub(crate) async fn new(connection: Connection, own: OwnName) -> zbus::Result<Self> {
        let lost = MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender("org.freedesktop.DBus")
            .interface("org.freedesktop.DBus")
            .member("NameLost")
            .arg(0, own.name)
            .build()?;
        let name_lost = MessageStream::for_match_rule(lost, &connection, None).await?;
        Ok(Self {
            connection,
            name_lost,
        })
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns when the name or the bus is gone. Cancel safe.
    pub(crate) async fn lost(&mut self) -> Ended {
        tokio::select! {
            biased;
            lost = self.name_lost.next() => match lost {
                Some(Ok(_)) => Ended::NameLost,
                Some(Err(_)) | None => Ended::BusGone,
            },
            () = self.connection.closed() => Ended::BusGone,
        }
    }

    /// Lets answers under way go out, and closes the connection.
    pub(crate) async fn close(self) {
        // It keeps the connection open.
        drop(self.name_lost);
        // Whether the answers went out changes nothing any more.
        let _ = tokio::time::timeout(LAST_ANSWERS, self.connection.graceful_shutdown()).await;
    }
}
