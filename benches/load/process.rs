//! The collector's process: started, measured, ended.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// What nothing here should ever take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running collector; killed when dropped.
pub(crate) struct Collector {
    child: Child,
    log: Receiver<String>,
    pub(crate) address: String,
    pub(crate) public_key: String,
}

/// CPU time in nanoseconds: of the program's own threads, and of libzmq's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTime {
    pub(crate) own: u64,
    pub(crate) libzmq: u64,
}

impl CpuTime {
    pub(crate) fn all(self) -> u64 {
        self.own + self.libzmq
    }

    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            own: self.own - before.own,
            libzmq: self.libzmq - before.libzmq,
        }
    }
}

/// Memory in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub(crate) pss: u64,
    pub(crate) private: u64,
}

/// What the collector says it has done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counted {
    pub(crate) hosts: u64,
    pub(crate) messages: u64,
    pub(crate) refused: u64,
}

impl Collector {
    /// Starts one that listens at `listen`, with its keys and its state in `home`.
    pub(crate) fn start(
        program: &Path,
        (sink, engine): (bool, Option<&str>),
        home: &Path,
        listen: &str,
    ) -> Self {
        let mut command = if sink {
            let mut command = Command::new(std::env::current_exe().expect("this program"));
            command.args(["--be-the-sink", "--collector", listen]);
            command
        } else {
            let mut command = Command::new(program);
            command.args(["--listen", listen]);
            if let Some(url) = engine {
                let file = home.join("engine.toml");
                let text = format!("[remote_write.engine]\nurl = \"{url}\"\n");
                fs::write(&file, text).expect("the directory is there");
                command.arg("--config").arg(file);
            }
            command
        };
        let mut child = command
            .env("HOME", home)
            .env("STATE_DIRECTORY", home)
            .env("METRICS_COLLECTOR_LISTEN__VIEWERS", "none")
            .env("METRICS_COLLECTOR_LISTEN__WEB", "none")
            .env("METRICS_COLLECTOR_DBUS__BUS", "none")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let stderr = child.stderr.take().expect("it was asked for");
        let (lines, log) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                // The receiver may be gone.
                let _ = lines.send(line);
            }
        });
        let mut collector = Self {
            child,
            log,
            address: String::new(),
            public_key: String::new(),
        };
        let line = collector.logged("Listening for agents at ");
        let (_, said) = line.split_once("agents at ").unwrap_or_default();
        let (address, key) = said
            .split_once("; the public key they need is ")
            .unwrap_or_default();
        (collector.address, collector.public_key) = (format!("tcp://{address}"), key.to_owned());
        collector
    }

    fn logged(&mut self, part: &str) -> String {
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) if line.contains("ERROR") => eprintln!("{line}"),
                Ok(_) => {}
                Err(error) => panic!("the collector does not say {part:?}: {error}"),
            }
        }
    }

    /// The CPU time so far. Threads of libzmq are those that it names so.
    pub(crate) fn cpu_time(&self) -> CpuTime {
        let mut time = CpuTime::default();
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id()));
        for task in tasks.expect("the collector runs").flatten() {
            let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            // Run time, waiting time, slices; see the kernel's sched-stats.rst.
            let ran = read("schedstat");
            let ran = ran
                .split(' ')
                .next()
                .and_then(|ran| ran.parse::<u64>().ok());
            let place = if read("comm").starts_with("ZMQ") {
                &mut time.libzmq
            } else {
                &mut time.own
            };
            *place += ran.unwrap_or(0);
        }
        time
    }

    pub(crate) fn memory(&self) -> Memory {
        let path = format!("/proc/{}/smaps_rollup", self.child.id());
        let text = fs::read_to_string(path).expect("the collector runs");
        let fields: BTreeMap<&str, u64> = text
            .lines()
            .filter_map(|line| {
                let (name, rest) = line.split_once(':')?;
                Some((name, rest.trim().strip_suffix(" kB")?.parse().ok()?))
            })
            .collect();
        let field = |name| fields.get(name).copied().unwrap_or(0);
        Memory {
            pss: field("Pss"),
            private: field("Private_Dirty") + field("Private_Clean"),
        }
    }

    /// Waits until it has nothing to do; how long ago that was at the least.
    pub(crate) fn settle(&self) -> Duration {
        const LOOK: Duration = Duration::from_millis(20);
        const STILL: u32 = 10;
        // A tenth of a core: the pings of 10,000 agents take less.
        const IDLE_NS: u64 = 2_000_000;
        let (mut still, mut before) = (0, self.cpu_time().all());
        while still < STILL {
            thread::sleep(LOOK);
            let now = self.cpu_time().all();
            still = if now - before < IDLE_NS { still + 1 } else { 0 };
            before = now;
        }
        LOOK * STILL
    }

    /// Ends it; what it has counted.
    pub(crate) fn stop(&mut self) -> Counted {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let line = self.logged("Stopping on SIGTERM: ");
        let (_, totals) = line.split_once("SIGTERM: ").unwrap_or_default();
        let mut counted = Counted::default();
        for part in totals.split(", ") {
            let (number, noun) = part.split_once(' ').unwrap_or_default();
            let number = number.replace(',', "").parse().unwrap_or(0);
            match noun.trim_end_matches('s') {
                "host" => counted.hosts = number,
                "message" => counted.messages = number,
                "refused" => counted.refused = number,
                _ => {}
            }
        }
        let _ = self.child.wait();
        counted
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The CPU time of this process, in nanoseconds.
pub(crate) fn own_cpu_time() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}
