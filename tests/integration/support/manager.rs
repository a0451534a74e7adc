//! The service manager's end of `sd_notify(3)`: a socket that takes down what it is told.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::net::UnixDatagram;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::peer::PATIENCE;

/// A service manager; its socket is in the temporary directory.
pub(crate) struct Manager {
    dir: tempfile::TempDir,
    told: mpsc::UnboundedReceiver<Notification>,
}

/// One notification: its assignments in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notification(Vec<(String, String)>);

impl Notification {
    fn parse(datagram: &[u8]) -> Self {
        let text = str::from_utf8(datagram).unwrap();
        let assignments = text.lines().map(|line| line.split_once('=').unwrap());
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self(assignments.map(owned).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut assignments = self.0.iter();
        assignments.find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }

    pub(crate) fn is(&self, name: &str) -> bool {
        self.get(name) == Some("1")
    }

    pub(crate) fn status(&self) -> &str {
        self.get("STATUS").unwrap_or_default()
    }
}

impl Manager {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        let (sender, told) = mpsc::unbounded_channel();
        // As systemd does: takes everything down when it comes. A socket that is not read
        // would hold the agent up.
        tokio::spawn(async move {
            let mut datagram = [0; 4096];
            while let Ok(length) = socket.recv(&mut datagram).await {
                let _ = sender.send(Notification::parse(&datagram[..length]));
            }
        });
        Self { dir, told }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("notify")
    }

    /// Makes the command start under this manager.
    pub(crate) fn adopt(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", self.path());
    }

    /// Makes the command start under this manager, which wants a sign of life in every
    /// interval. For that the process must know its own id before it starts: a shell tells.
    pub(crate) fn adopt_with_watchdog(&self, command: &Command, interval: Duration) -> Command {
        let mut watched = Command::new("/bin/sh");
        watched
            .arg("-c")
            .arg("WATCHDOG_PID=$$ exec \"$@\"")
            .arg("sh")
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .arg0("sh");
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                watched.env(name, value);
            }
        }
        watched
            .env("NOTIFY_SOCKET", self.path())
            .env("WATCHDOG_USEC", interval.as_micros().to_string());
        watched
    }

    /// The next notification.
    pub(crate) async fn next(&mut self) -> Notification {
        let told = timeout(PATIENCE, self.told.recv()).await;
        told.expect("the agent notifies").unwrap()
    }

    /// True where nothing was told so far.
    pub(crate) fn told_nothing(&mut self) -> bool {
        self.told.try_recv().is_err()
    }

    /// The next notification that fits; others are dropped.
    pub(crate) async fn until(&mut self, fits: impl Fn(&Notification) -> bool) -> Notification {
        loop {
            let notification = self.next().await;
            if fits(&notification) {
                return notification;
            }
        }
    }

    /// Waits until the status says this.
    pub(crate) async fn status(&mut self, text: &str) -> String {
        let notification = self.until(|told| told.status().contains(text)).await;
        notification.status().to_owned()
    }
}
