//! The agent as an administrator runs it: the real program, its settings in a
//! directory of the test's own, its log read line by line.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::peer::PATIENCE;

/// What ending may take on a machine that is busy; the agent's own bounds are below one second.
const PROMPT: Duration = Duration::from_secs(5);

/// How often a condition that nothing announces is looked at.
pub(crate) const GLANCE: Duration = Duration::from_millis(10);

/// A directory with the settings and the state of one agent.
pub(crate) struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    /// A place with these settings.
    pub(crate) fn new(settings: &str) -> Self {
        let site = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        site.configure(settings);
        site
    }

    /// Replaces the settings.
    pub(crate) fn configure(&self, settings: &str) {
        self.write("agent.toml", settings);
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(name);
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The program with the settings of this place and nothing of the test's environment.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.bare(Path::new(env!("CARGO_BIN_EXE_metrics-agent")));
        command.arg("--config").arg(self.at("agent.toml"));
        command
    }

    /// The program in a mount and a UTS name space of its own, where this shell script made
    /// the host another one before. Its process id is the command's.
    pub(crate) fn on_another_host(&self, script: &str) -> Command {
        let mut command = self.bare(Path::new("unshare"));
        command
            .args(["--mount", "--uts", "sh", "-c"])
            .arg(format!("set -e; {script}; exec \"$@\""))
            .arg("sh")
            .arg(env!("CARGO_BIN_EXE_metrics-agent"))
            .arg("--config")
            .arg(self.at("agent.toml"));
        command
    }

    /// A program, with the state directory of this place, no message bus, and nothing else.
    pub(crate) fn bare(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("STATE_DIRECTORY", self.at("state"))
            .env("METRICS_AGENT_DBUS__BUS", "none");
        command
    }

    /// Starts the agent.
    pub(crate) fn start(&self) -> Agent {
        Agent::start(self.command())
    }

    /// Runs the program with further arguments to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).output().unwrap()
    }
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    child: Child,
    log: mpsc::UnboundedReceiver<String>,
    lines: Vec<String>,
}

impl Agent {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = child.stderr.take().unwrap();
        let (sender, log) = mpsc::unbounded_channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            log,
            lines: Vec::new(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line, said already or to come, that contains this; the line.
    pub(crate) async fn says(&mut self, text: &str) -> String {
        self.says_times(text, 1).await
    }

    /// Waits until as many lines contain this; the last of them.
    pub(crate) async fn says_times(&mut self, text: &str, times: usize) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut found = self.lines.iter().filter(|line| line.contains(text));
            if let Some(line) = found.nth(times - 1) {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match timeout(left, self.log.recv()).await {
                Ok(Some(line)) => self.lines.push(line),
                // The end of the log, or of the patience.
                end => panic!("{text:?} is not said ({end:?}): {:#?}", self.lines),
            }
        }
    }

    /// The lines so far that contain this.
    pub(crate) fn said(&mut self, text: &str) -> Vec<String> {
        while let Ok(line) = self.log.try_recv() {
            self.lines.push(line);
        }
        let found = self.lines.iter().filter(|line| line.contains(text));
        found.cloned().collect()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// Waits for the end, which has been ordered; the log is complete then.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PROMPT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                Instant::now() < deadline,
                "still running: {:#?}",
                self.lines
            );
            sleep(GLANCE).await;
        };
        while let Some(line) = self.log.recv().await {
            self.lines.push(line);
        }
        status
    }

    /// Sends SIGTERM and expects a clean and prompt end.
    pub(crate) async fn terminate(&mut self) {
        self.signal(Signal::TERM);
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "{:#?}", self.lines);
    }

    /// Panics unless it runs.
    pub(crate) fn runs(&mut self) {
        let status = self.child.try_wait().unwrap();
        assert!(status.is_none(), "{status:?}: {:#?}", self.said(""));
    }

    /// A value of /proc/PID/status in kB, such as `VmRSS`.
    pub(crate) fn memory_kb(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
