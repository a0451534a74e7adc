//! The daemon itself, on a bus of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use metrics_agent::ctl::proxy::Agent;
use metrics_agent::dbus::{Bus, NAME};
use zbus::fdo;

use super::peer::PATIENCE;
use crate::private_bus::PrivateBus;

/// Between two looks at something that has no event to wait for.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A public key that no peer has.
pub(crate) const SOME_KEY: &str = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";

/// A bus, directories and a configuration; and the agents that are started with them.
pub(crate) struct Place {
    pub(crate) bus: PrivateBus,
    dir: tempfile::TempDir,
}

/// A running agent; ends with the value.
pub(crate) struct Running(Child);

impl Place {
    pub(crate) fn new() -> Self {
        Self::on(PrivateBus::start())
    }

    pub(crate) fn on(bus: PrivateBus) -> Self {
        let place = Self {
            bus,
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(place.dir.path().join("state")).unwrap();
        place.configure("");
        place
    }

    /// Writes the configuration: the bus, and this.
    pub(crate) fn configure(&self, more: &str) {
        let bus = self.bus.address();
        let text = format!("[dbus]\nbus = \"{bus}\"\n{more}");
        fs::write(self.config(), text).unwrap();
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("agent.toml")
    }

    pub(crate) fn address(&self) -> Bus {
        Bus::Address(self.bus.address())
    }

    /// Starts an agent, whether or not it will run.
    pub(crate) fn spawn(&self) -> Running {
        let mut command = self.agent_command();
        command.stdout(Stdio::null()).stderr(Stdio::null());
        Running(command.spawn().unwrap())
    }

    fn agent_command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metrics-agent"));
        command
            .arg("--config")
            .arg(self.config())
            .env_clear()
            .env("HOME", self.dir.path())
            .env("STATE_DIRECTORY", self.dir.path().join("state"))
            .stdin(Stdio::null());
        command
    }

    /// Starts an agent in a mount name space of its own, where this shell script made another
    /// host before, and waits until it is on the bus.
    pub(crate) async fn start_on_another_host(&self, script: &str) -> Running {
        let agent = self.agent_command();
        let mut command = Command::new("/usr/bin/unshare");
        command
            .args(["--mount", "sh", "-c"])
            .arg(format!("set -e; {script}; exec \"$@\""))
            .arg("sh")
            .arg(agent.get_program())
            .args(agent.get_args())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.dir.path())
            .env("STATE_DIRECTORY", self.dir.path().join("state"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let running = Running(command.spawn().unwrap());
        self.agent().await;
        running
    }

    /// Starts an agent and waits until it is on the bus.
    pub(crate) async fn start(&self) -> Running {
        let running = self.spawn();
        self.agent().await;
        running
    }

    /// The agent, as soon as it owns the name.
    pub(crate) async fn agent(&self) -> Agent {
        eventually("the agent owns its name", async || {
            Agent::find(&self.address(), false).await.ok()
        })
        .await
    }

    /// A client's own connection.
    pub(crate) async fn connect(&self) -> zbus::Connection {
        zbus::connection::Builder::address(self.bus.address().as_str())
            .build()
            .await
            .unwrap()
    }

    /// The standard interface for properties of one of the agent's objects.
    pub(crate) async fn properties(&self, path: &'static str) -> fdo::PropertiesProxy<'static> {
        fdo::PropertiesProxy::builder(&self.connect().await)
            .destination(NAME)
            .path(path)
            .cache_properties(zbus::proxy::CacheProperties::No)
            .build()
            .await
            .unwrap()
    }

    /// metrics-agentctl with these arguments, for the agent here.
    pub(crate) fn control_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metrics-agentctl"));
        command
            .args(words)
            .env_clear()
            .env("HOME", self.dir.path())
            .env("METRICS_AGENT_DBUS__BUS", self.bus.address())
            .stdin(Stdio::null());
        command
    }

    /// Runs metrics-agentctl: its status, standard output and standard error.
    pub(crate) async fn control(&self, words: &[&str]) -> (i32, String, String) {
        outcome(self.control_command(words)).await
    }

    /// The path of a file in the agent's state directory.
    pub(crate) fn state_file(&self, name: &str) -> String {
        let file = self.dir.path().join("state").join(name);
        file.display().to_string()
    }

    /// What `metrics-agent --print-config` prints here.
    pub(crate) async fn print_config(&self) -> String {
        let mut command = self.agent_command();
        command.arg("--print-config");
        let (status, output, error) = outcome(command).await;
        assert_eq!((status, error.as_str()), (0, ""));
        output
    }

    /// Calls the agent as the user nobody: `PATH INTERFACE.METHOD ARGUMENTS`.
    pub(crate) async fn as_nobody(&self, call: &str) -> (i32, String, String) {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=nobody", "--clear-groups", "dbus-send"])
            .arg(format!("--bus={}", self.bus.address()))
            .args(["--print-reply", "--dest=org.metricsagent.Agent1"])
            .args(call.split(' '));
        outcome(command).await
    }
}

impl Running {
    /// Waits for the end: the exit status.
    pub(crate) async fn exit_code(mut self) -> Option<i32> {
        let child = &mut self.0;
        let ended = eventually("the agent ends", async || child.try_wait().unwrap());
        ended.await.code()
    }

    /// Ends it as systemd would.
    pub(crate) async fn terminate(self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.exit_code().await
    }

    /// What it has had in memory at the most, in kB.
    pub(crate) fn most_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let mut lines = status.lines();
        let most = lines.find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        most.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How many threads it has.
    pub(crate) fn threads(&self) -> usize {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id()));
        tasks.unwrap().count()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command off this thread: exit status, standard output, standard error.
async fn outcome(mut command: Command) -> (i32, String, String) {
    let run = tokio::task::spawn_blocking(move || command.output());
    let output: Output = run.await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Looks until there is something to see.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let seen = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    });
    seen.await
        .unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}
