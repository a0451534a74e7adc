//! The system bus, for the sources that ask a service on it.
//!
//! Owns one connection, shared by all of them ([`SystemBus`]), which is made for the first source
//! that needs it, made again when the bus is back, and closed with the last; what a source has
//! heard ([`SharedState`]); and the task in which it listens ([`Followed`]). Refuses to poll:
//! between two messages nothing of this runs, except for the back-off while there is no bus.
//!
//! Sources may use nothing above them, so this connection is not the one that the agent is served
//! on.

mod client;
mod follow;

use std::{
    fmt,
    str::FromStr as _,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::watch, task::AbortHandle};
use zbus::{Address, Connection};

use crate::base::bus_socket;
use crate::base::monitor::Lock;

pub(super) use client::{Client, Failure, NewOwner, Peer, is_signal};
pub(super) use follow::{Followed, SharedState, Topic};

/// How long the bus, or a service on it, may take to answer. Answers come within milliseconds; the
/// manager is away for seconds while it loads its units again.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);

/// How long to wait before what failed is tried again; doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The system bus, or another one in its place. Clones share one connection, which exists while it
/// is in use.
#[derive(Clone, Default)]
pub struct SystemBus {
    /// None: where the specification says, `DBUS_SYSTEM_BUS_ADDRESS` included.
    address: Option<Arc<str>>,
    line: Arc<Lock<Weak<Line>>>,
}

impl SystemBus {
    /// The bus at a D-Bus address, `unix:path=/…`: for tests.
    #[must_use]
    pub fn at(address: &str) -> Self {
        Self {
            address: Some(address.into()),
            line: Arc::default(),
        }
    }

    /// The connection, made if there is none; None outside of a runtime, where no task could listen
    /// to it.
    pub(super) fn line(&self) -> Option<Arc<Line>> {
        let runtime = tokio::runtime::Handle::try_current().ok()?;
        let mut shared = self.line.lock();
        if let Some(line) = shared.upgrade() {
            return Some(line);
        }
        let (tell, told) = watch::channel(Link::Connecting);
        let task = runtime.spawn(keep_connected(self.address.clone(), tell));
        let line = Arc::new(Line {
            link: told,
            task: task.abort_handle(),
        });
        *shared = Arc::downgrade(&line);
        Some(line)
    }
}

impl fmt::Debug for SystemBus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SystemBus")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The shared connection; it ends with the last reference to it.
pub(super) struct Line {
    link: watch::Receiver<Link>,
    task: AbortHandle,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How the shared connection is.
#[derive(Debug, Clone)]
enum Link {
    /// Not known yet.
    Connecting,
    /// It is there.
    Up(Connection),
    /// It could not be made, and why.
    Down(Arc<str>),
}

/// Connects, and reconnects whenever the bus has gone.
async fn keep_connected(address: Option<Arc<str>>, link: watch::Sender<Link>) {
    let mut wait = RETRY_MIN;
    loop {
        match connect(address.as_deref()).await {
            Ok(connection) => {
                link.send_replace(Link::Up(connection.clone()));
                connection.closed().await;
                link.send_replace(Link::Connecting);
                wait = RETRY_MIN;
            }
            Err(error) => {
                let reason = format!("cannot reach the system bus: {error}");
                link.send_replace(Link::Down(reason.into()));
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

async fn connect(address: Option<&str>) -> zbus::Result<Connection> {
    let connecting = async {
        let address = match address {
            None => Address::system()?,
            Some(address) => Address::from_str(address)?,
        };
        bus_socket::builder(address).await?.build().await
    };
    match tokio::time::timeout(DEADLINE, connecting).await {
        Ok(result) => result,
        Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
    }
}
