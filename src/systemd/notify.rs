//! Readiness, status and watchdog: the service's side of `sd_notify(3)`.
//!
//! Without a service manager (`NOTIFY_SOCKET` unset) every call does nothing. None ever
//! blocks: what the manager waits for is sent again until it has room, the rest is lost
//! without harm.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The watchdog is fed once this part of its interval has passed, as systemd recommends
/// (`sd_watchdog_enabled(3)`).
const WATCHDOG_LATEST: u32 = 2;

/// A loop that is awake anyway feeds it from this part on, and spares itself a wake-up.
const WATCHDOG_EARLIEST: u32 = 3;

/// How often the status text is refreshed if there is no watchdog to send it with.
const STATUS_REFRESH: Duration = Duration::from_secs(15);

/// How soon a message that the manager had no room for is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The shortest interval that is a watchdog's. What is shorter, 0 among it, is a mistake, and
/// feeding it would be all that the process does.
const WATCHDOG_SHORTEST: Duration = Duration::from_millis(1);

const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
const WATCHDOG_PID: &str = "WATCHDOG_PID";

/// Why the watchdog that the environment asks for is not fed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum WatchdogError {
    #[error(
        "{WATCHDOG_USEC}={0:?} is not a watchdog's interval; expected microseconds, 1000 or more, \
         below 18446744073709551615 (WatchdogSec= of the unit sets it)"
    )]
    Interval(OsString),
    #[error("{WATCHDOG_PID}={0:?} is not a process id; expected the number of the process watched")]
    Process(OsString),
}

/// The interval in which the process `own` must show that it works, as `sd_watchdog_enabled(3)`
/// reads the variables. None if there is no watchdog, or it watches another process.
fn watchdog(
    interval: Option<OsString>,
    process: Option<OsString>,
    own: u32,
) -> Result<Option<Duration>, WatchdogError> {
    let Some(interval) = interval else {
        return Ok(None);
    };
    if let Some(process) = process {
        let number = process.to_str().and_then(|text| text.parse::<u32>().ok());
        match number {
            Some(0) | None => return Err(WatchdogError::Process(process)),
            Some(number) if number != own => return Ok(None),
            Some(_) => {}
        }
    }
    // u64::MAX is systemd's word for "never".
    let micros = interval.to_str().and_then(|text| text.parse().ok());
    let found = micros.filter(|&micros| micros != u64::MAX);
    match found.map(Duration::from_micros) {
        Some(found) if found >= WATCHDOG_SHORTEST => Ok(Some(found)),
        _ => Err(WatchdogError::Interval(interval)),
    }
}

/// The service manager, as one process talks to it.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<ManagerSocket>,
    watchdog: Option<Duration>,
    fed: Instant,
    status: String,
    /// READY or RELOADING, which the manager waits for and had no room for yet.
    owed: Option<String>,
    /// It was said that the manager is not reached.
    told: Cell<bool>,
}

impl Notifier {
    /// The manager that started this process, if any; `now` counts as the first sign of
    /// life.
    #[must_use]
    pub fn from_environment(now: Instant) -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET").and_then(|address| {
            ManagerSocket::open(&address)
                .inspect_err(|error| {
                    tracing::warn!("cannot reach the service manager at {address:?}: {error}");
                })
                .ok()
        });
        let variable = |name| std::env::var_os(name);
        let own = std::process::id();
        let watchdog = watchdog(variable(WATCHDOG_USEC), variable(WATCHDOG_PID), own);
        let watchdog = watchdog.unwrap_or_else(|error| {
            tracing::warn!("no watchdog is fed: {error}");
            None
        });
        Self::new(socket, watchdog, now)
    }

    fn new(socket: Option<ManagerSocket>, watchdog: Option<Duration>, now: Instant) -> Self {
        Self {
            socket,
            watchdog,
            fed: now,
            status: String::new(),
            owed: None,
            told: Cell::new(false),
        }
    }

    /// The service is up: its settings are valid, its name is owned, its sockets exist.
    pub fn ready(&mut self, status: &str) {
        status.clone_into(&mut self.status);
        self.deliver(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The configuration is being read again; [`ready`](Self::ready) must follow.
    pub fn reloading(&mut self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.deliver(&[NotifyState::Reloading, now]),
            // Type=notify-reload insists on the time stamp, Type=notify does without.
            Err(_) => self.deliver(&[NotifyState::Reloading]),
        }
    }

    /// The service is about to end.
    pub fn stopping(&mut self, status: &str) {
        status.clone_into(&mut self.status);
        self.send(&text(&[NotifyState::Stopping, NotifyState::Status(status)]));
    }

    /// Says at once what the service is doing, where that has changed.
    pub fn status(&mut self, status: &str) {
        if self.status != status {
            status.clone_into(&mut self.status);
            self.send(&text(&[NotifyState::Status(status)]));
        }
    }

    /// When [`alive`](Self::alive) must be called again at the latest; None if there is no
    /// watchdog.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        if self.owed.is_some() {
            return Some(self.fed + RETRY);
        }
        Some(self.fed + self.watchdog? / WATCHDOG_LATEST)
    }

    /// True where a call of [`alive`](Self::alive) at `now` would say something. Lets a
    /// loop that is awake anyway feed the watchdog early and spare itself a wake-up.
    #[must_use]
    pub fn due(&self, now: Instant) -> bool {
        let interval = match self.watchdog {
            _ if self.owed.is_some() => RETRY,
            Some(watchdog) => watchdog / WATCHDOG_EARLIEST,
            None => STATUS_REFRESH,
        };
        now.saturating_duration_since(self.fed) >= interval
    }

    /// The work does not go on: the watchdog is left unfed, and looked at again when it
    /// would have been fed next.
    pub fn withhold(&mut self, now: Instant) {
        self.fed = now;
    }

    /// The loop that does the work has made progress: feeds the watchdog and refreshes the
    /// status text, in one message.
    pub fn alive(&mut self, status: &str, now: Instant) {
        self.fed = now;
        if let Some(owed) = self.owed.take()
            && !self.send(&owed)
        {
            self.owed = Some(owed);
            return;
        }
        let changed = self.status != status;
        if changed {
            status.clone_into(&mut self.status);
        }
        match (self.watchdog.is_some(), changed) {
            (true, true) => self.send(&text(&[NotifyState::Watchdog, NotifyState::Status(status)])),
            (true, false) => self.send(&text(&[NotifyState::Watchdog])),
            (false, true) => self.send(&text(&[NotifyState::Status(status)])),
            (false, false) => true,
        };
    }

    /// Sends what the manager waits for: now, or as soon as it has room. The latest counts.
    fn deliver(&mut self, states: &[NotifyState<'_>]) {
        let text = text(states);
        self.owed = if self.send(&text) { None } else { Some(text) };
    }

    /// True unless the manager has no room now.
    fn send(&self, text: &str) -> bool {
        let Some(socket) = &self.socket else {
            return true;
        };
        match socket.send(text) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            Err(error) => {
                if !self.told.replace(true) {
                    tracing::warn!("the service manager was not reached: {error}");
                }
                true
            }
        }
    }
}

fn text(states: &[NotifyState<'_>]) -> String {
    let mut text = String::new();
    for state in states {
        text.push_str(&state.to_string());
        text.push('\n');
    }
    text
}

/// The manager's datagram socket. It never blocks: a manager that is stuck must not take the
/// service with it. (sd-notify's own sending does block, so only its words are used.)
#[derive(Debug)]
struct ManagerSocket {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl ManagerSocket {
    /// `NOTIFY_SOCKET`: a path, or with `@` in front a name in the abstract name space.
    fn open(address: &OsStr) -> io::Result<Self> {
        let address = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(address)?,
            _ => return Err(io::Error::other("neither a path nor an abstract name")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, address })
    }

    fn send(&self, text: &str) -> io::Result<()> {
        self.socket
            .send_to_addr(text.as_bytes(), &self.address)
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_twice_an_interval_or_earlier_in_passing() {
        let start = Instant::now();
        let mut notifier = Notifier::new(None, Some(Duration::from_secs(30)), start);
        assert_eq!(notifier.deadline(), Some(start + Duration::from_secs(15)));
        assert!(!notifier.due(start + Duration::from_secs(9)));
        assert!(notifier.due(start + Duration::from_secs(10)));
        notifier.alive("fine", start + Duration::from_secs(10));
        assert_eq!(notifier.deadline(), Some(start + Duration::from_secs(25)));
    }

    #[test]
    fn what_is_no_interval_is_no_watchdog() {
        let ask = |interval: &str, process: Option<&str>| {
            watchdog(Some(interval.into()), process.map(OsString::from), 4711)
        };
        for (interval, process) in [("1000", None), ("1000", Some("4711"))] {
            let fed = Ok(Some(Duration::from_millis(1)));
            assert_eq!(ask(interval, process), fed, "{interval} {process:?}");
        }
        assert_eq!(ask("30000000", Some("1")), Ok(None));
        assert_eq!(watchdog(None, Some("4711".into()), 4711), Ok(None));
        let infinity = u64::MAX.to_string();
        for bad in ["", "0", "1", "999", "-1", "1s", "1e6", " 1000", &infinity] {
            let error = WatchdogError::Interval(bad.into());
            assert_eq!(ask(bad, None), Err(error), "{bad:?}");
        }
        for bad in ["", "0", "-1", "me", "99999999999"] {
            let error = WatchdogError::Process(bad.into());
            assert_eq!(ask("30000000", Some(bad)), Err(error), "{bad:?}");
        }
    }

    #[test]
    fn without_a_watchdog_nothing_has_to_wake() {
        let start = Instant::now();
        let notifier = Notifier::new(None, None, start);
        assert_eq!(notifier.deadline(), None);
        assert!(notifier.due(start + STATUS_REFRESH));
    }

    #[test]
    fn a_manager_that_is_stuck_blocks_nothing_and_gets_the_latest_once_it_reads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let start = Instant::now();
        let socket = ManagerSocket::open(path.as_os_str()).unwrap();
        let mut notifier = Notifier::new(Some(socket), None, start);
        let mut sent = 0;
        while notifier.send("STATUS=filling\n") {
            sent += 1;
        }
        notifier.reloading();
        notifier.ready("back");
        assert_eq!(notifier.deadline(), Some(start + RETRY));
        assert!(notifier.due(start + RETRY));

        let mut buffer = [0; 256];
        for _ in 0..sent {
            manager.recv(&mut buffer).unwrap();
        }
        notifier.alive("going on", start + RETRY);
        let mut next = || {
            let length = manager.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..length].to_vec()).unwrap()
        };
        assert_eq!(next(), "READY=1\nSTATUS=back\n");
        assert_eq!(next(), "STATUS=going on\n");
        assert_eq!(notifier.deadline(), None);
    }

    #[test]
    fn the_socket_has_a_path_or_an_abstract_name() {
        for good in ["/run/systemd/notify", "@metrics-agent/notify"] {
            assert!(ManagerSocket::open(OsStr::new(good)).is_ok(), "{good}");
        }
        for bad in ["", "notify", "vsock:2:1"] {
            assert!(ManagerSocket::open(OsStr::new(bad)).is_err(), "{bad}");
        }
    }
}
