//! A log that takes nothing: neither a journal that is not read nor a pipe that is full keeps
//! the daemons from their work, before they are ready or afterwards. And a SIGHUP, whenever it
//! comes, is a reload.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::support::manager::Manager;
use crate::support::peer::PATIENCE;
use crate::support::place::LOOK_AGAIN;

/// Reloads that say more than waits for a place that takes nothing: a reload is a line at least.
const RELOADS: usize = 600;

/// A daemon of ours, as systemd starts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Daemon {
    Agent,
    Collector,
}

use Daemon::{Agent, Collector};

impl Daemon {
    fn name(self) -> &'static str {
        match self {
            Agent => "metrics-agent",
            Collector => "metrics-collector",
        }
    }

    fn program(self) -> &'static str {
        match self {
            Agent => env!("CARGO_BIN_EXE_metrics-agent"),
            Collector => env!("CARGO_BIN_EXE_metrics-collector"),
        }
    }

    /// The `MESSAGE_ID` under which lines that were lost are found.
    fn lines_lost(self) -> &'static str {
        match self {
            Agent => "781c8862437517eccfed500fac16a1d0",
            Collector => "f0ff6ab12cb9375826a5e52437680a0c",
        }
    }

    /// In a mount name space of its own, where `script` was done before. Its process id is the
    /// command's.
    fn command(self, home: &Path, script: &str) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c"])
            .arg(format!("set -e; {script}; exec \"$@\""))
            .arg("sh")
            .arg(self.program())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", home)
            .env("STATE_DIRECTORY", home.join("state"))
            .env("METRICS_AGENT_DBUS__BUS", "none")
            .env("METRICS_COLLECTOR_LISTEN__AGENTS", "127.0.0.1:0")
            .env("METRICS_COLLECTOR_LISTEN__VIEWERS", "none")
            .env("METRICS_COLLECTOR_LISTEN__WEB", "none")
            .env("METRICS_COLLECTOR_DBUS__BUS", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

/// A running daemon; killed when dropped.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Has it read its settings again, so often, one after the other.
    async fn reload(&self, manager: &mut Manager, times: usize) {
        for _ in 0..times {
            self.signal(Signal::HUP);
            manager.until(|told| told.is("RELOADING")).await;
            manager.until(|told| told.is("READY")).await;
        }
    }

    /// Sends SIGTERM and expects a clean and prompt end.
    async fn terminate(&mut self) {
        self.signal(Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(8);
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                assert_eq!(status.code(), Some(0));
                return;
            }
            assert!(Instant::now() < deadline, "it does not end");
            sleep(LOOK_AGAIN).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// journald's socket, which is not read: its queue is full.
struct Journal {
    dir: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Journal {
    fn full() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("socket")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let other = UnixDatagram::unbound().unwrap();
        other.set_nonblocking(true).unwrap();
        while other
            .send_to(b"FILLER=1\n", dir.path().join("socket"))
            .is_ok()
        {}
        Self { dir, socket }
    }

    /// Where the command runs, this is the journal's place, and standard error is connected to
    /// it, as systemd says.
    fn script(&self) -> String {
        let dir = self.dir.path().display();
        format!(
            "mount -t tmpfs tmpfs /run; mkdir -p /run/systemd/journal; \
             mount --bind {dir} /run/systemd/journal"
        )
    }

    fn connect(&self, command: &mut Command) {
        let path = self.dir.path().join("stderr");
        let stderr = File::create(&path).unwrap();
        let about = stderr.metadata().unwrap();
        command
            .env("JOURNAL_STREAM", format!("{}:{}", about.dev(), about.ino()))
            .stderr(stderr);
    }

    /// The next entry that is not ours: as text, with lengths and all.
    fn next(&self) -> String {
        let mut datagram = [0; 16 * 1024];
        loop {
            let length = self.socket.recv(&mut datagram).expect("an entry");
            // tracing-journald says hello with nothing.
            if length > 0 && &datagram[..length] != b"FILLER=1\n" {
                return String::from_utf8_lossy(&datagram[..length]).into_owned();
            }
        }
    }
}

/// The value of a field of an entry of the journal's native protocol, `NAME\n`, eight bytes of
/// length, the value.
fn field<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    let start = entry.find(&format!("{name}\n"))? + name.len() + 1 + 8;
    entry.get(start..)?.lines().next()
}

#[tokio::test]
async fn a_journal_that_takes_nothing_stops_no_program() {
    for daemon in [Agent, Collector] {
        let journal = Journal::full();
        let home = tempfile::tempdir().unwrap();
        let mut manager = Manager::new();
        let command = daemon.command(home.path(), &journal.script());
        let mut command = manager.adopt_with_watchdog(&command, Duration::from_secs(1));
        journal.connect(&mut command);
        let mut running = Running::start(command);
        manager.until(|told| told.is("READY")).await;
        manager.until(|told| told.is("WATCHDOG")).await;
        running.reload(&mut manager, RELOADS).await;
        manager.until(|told| told.is("WATCHDOG")).await;

        // Somebody reads again: what there was room for comes, in its order, and then how
        // many lines there was none for.
        let mut before = Vec::new();
        let lost = loop {
            let entry = journal.next();
            assert_eq!(
                field(&entry, "SYSLOG_IDENTIFIER"),
                Some(daemon.name()),
                "{entry}"
            );
            if entry.contains("MESSAGE_ID") && entry.contains(daemon.lines_lost()) {
                break entry;
            }
            before.push(entry);
        };
        let message = field(&lost, "MESSAGE").unwrap();
        let lost_lines = message.strip_prefix("Lost ").unwrap();
        let (number, rest) = lost_lines.split_once(' ').unwrap();
        let number: usize = number.replace(',', "").parse().unwrap();
        let noun = if number == 1 { "line" } else { "lines" };
        assert!(
            rest.starts_with(&format!("log {noun} since 2")),
            "{message}"
        );
        assert_eq!(field(&lost, "LINES"), Some(number.to_string().as_str()));
        let reloaded = |entries: &[String]| {
            let of = |entry: &&String| entry.contains("Configuration reloaded");
            entries.iter().filter(of).count()
        };
        let seen = reloaded(&before);
        assert!((1..RELOADS).contains(&seen), "{seen} of {RELOADS}");
        assert!(seen + number >= RELOADS, "{seen} seen and {number} lost");
        assert_eq!(reloaded(&before[..2]), 0, "{:?}", &before[..2]);

        // And from now on all is as it was.
        running.reload(&mut manager, 1).await;
        while !journal.next().contains("Configuration reloaded") {}
        running.terminate().await;
        while !journal.next().contains("Stopping on SIGTERM") {}
    }
}

#[tokio::test]
async fn with_a_journal_that_takes_nothing_it_ends_all_the_same() {
    for daemon in [Agent, Collector] {
        let journal = Journal::full();
        let home = tempfile::tempdir().unwrap();
        let mut manager = Manager::new();
        let mut command = daemon.command(home.path(), &journal.script());
        journal.connect(&mut command);
        manager.adopt(&mut command);
        let mut running = Running::start(command);
        manager.until(|told| told.is("READY")).await;
        running.terminate().await;
    }
}

#[tokio::test]
async fn a_full_pipe_stops_no_program() {
    for daemon in [Agent, Collector] {
        let home = tempfile::tempdir().unwrap();
        let mut manager = Manager::new();
        let (reader, mut writer) = std::io::pipe().unwrap();
        // As much as a pipe holds, pipe(7).
        let filler = vec![b'x'; 65_536];
        writer.write_all(&filler).unwrap();
        let mut command = daemon.command(home.path(), ":");
        manager.adopt(&mut command);
        command.stderr(writer);
        let mut running = Running::start(command);
        manager.until(|told| told.is("READY")).await;
        running.reload(&mut manager, RELOADS).await;
        // Read from now on, to the end.
        let (sender, mut lines) = tokio::sync::mpsc::unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let first = lines.recv().await.unwrap();
        assert!(
            !first.trim_start_matches('x').contains("reloaded"),
            "{first}"
        );
        let mut seen = 0;
        loop {
            let line = lines.recv().await.unwrap();
            if line.contains("Lost ") && line.contains(" since ") {
                break;
            }
            seen += usize::from(line.contains("Configuration reloaded"));
        }
        assert!((1..RELOADS).contains(&seen), "{seen} of {RELOADS}");
        running.reload(&mut manager, 1).await;
        running.terminate().await;
        let mut last = Vec::new();
        while let Some(line) = lines.recv().await {
            last.push(line);
        }
        assert!(last[0].contains("Configuration reloaded"), "{last:?}");
        let stopping = last.iter().any(|line| line.contains("Stopping on SIGTERM"));
        assert!(stopping, "{last:?}");
    }
}

/// Settings that take some time to read.
fn write_long_settings(directory: &Path) -> PathBuf {
    let drop_ins = directory.join("drop-ins");
    fs::create_dir(&drop_ins).unwrap();
    let comment = "# of which there are many\n".repeat(8_000);
    for number in 0..20 {
        fs::write(drop_ins.join(format!("{number}.toml")), &comment).unwrap();
    }
    drop_ins
}

/// The CPU time that a process took so far, `proc_pid_stat(5)`, once it is this program.
fn ticks(pid: u32, program: &str) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, rest) = stat.rsplit_once(')')?;
    // The kernel keeps 15 characters of a name.
    let (_, name) = name.split_once('(')?;
    program.starts_with(name).then_some(())?;
    rest.split_whitespace().nth(11)?.parse().ok()
}

#[tokio::test]
async fn a_sighup_before_it_is_ready_is_a_reload() {
    for daemon in [Agent, Collector] {
        let home = tempfile::tempdir().unwrap();
        let drop_ins = write_long_settings(home.path());
        let mut manager = Manager::new();
        let script = format!(
            "mkdir -p /etc/{name}; mount -t tmpfs tmpfs /etc/{name}; mkdir /etc/{name}/{name}.d; \
             mount --bind {} /etc/{name}/{name}.d",
            drop_ins.display(),
            name = daemon.name()
        );
        let mut command = daemon.command(home.path(), &script);
        manager.adopt(&mut command);
        let mut running = Running::start(command);
        let deadline = Instant::now() + PATIENCE;
        // It reads its settings: loading the program takes no such time.
        while ticks(running.0.id(), daemon.name()).is_none_or(|ticks| ticks < 5) {
            assert!(Instant::now() < deadline, "it does not begin");
            sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..100 {
            running.signal(Signal::HUP);
        }
        assert!(
            manager.told_nothing(),
            "{daemon:?} was ready too soon for this test"
        );
        assert!(manager.next().await.is("READY"));
        manager.until(|told| told.is("RELOADING")).await;
        manager.until(|told| told.is("READY")).await;
        running.terminate().await;
    }
}

/// Whatever the environment says of a watchdog, it is not fed all the time.
#[tokio::test]
async fn a_watchdog_of_no_time_is_none_and_said_once() {
    for daemon in [Agent, Collector] {
        for (usec, pid) in [
            ("0", None),
            ("999", None),
            ("soon", None),
            ("30000000", Some("me")),
        ] {
            let home = tempfile::tempdir().unwrap();
            let mut manager = Manager::new();
            let mut command = daemon.command(home.path(), ":");
            manager.adopt(&mut command);
            command.env("WATCHDOG_USEC", usec);
            if let Some(pid) = pid {
                command.env("WATCHDOG_PID", pid);
            }
            let log = home.path().join("log");
            command.stderr(File::create(&log).unwrap());
            let mut running = Running::start(command);
            manager.until(|told| told.is("READY")).await;
            running.reload(&mut manager, 3).await;
            running.terminate().await;
            let stopping = loop {
                let told = manager.next().await;
                assert!(!told.is("WATCHDOG"), "{daemon:?} {usec}: {told:?}");
                if told.is("STOPPING") {
                    break told;
                }
            };
            assert!(stopping.status().contains("SIGTERM"));
            let log = fs::read_to_string(log).unwrap();
            let said = log.matches("no watchdog is fed").count();
            assert_eq!(said, 1, "{daemon:?} {usec}: {log}");
        }
    }
}
