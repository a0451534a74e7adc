//! `agent.*`: what the agent itself costs, sends and loses.
//!
//! The counts come from the agent's task ([`Context::counts`]), its CPU time from the
//! process's CPU clock, its memory from /proc/self/statm (`proc_pid_statm(5)`). How the
//! other sources fare is added by the set that runs them.

use rustix::time::{ClockId, clock_gettime};

use super::{
    Sink, Source,
    error::{CollectError, Malformed},
    file::{ProcFile, Root},
    source::{Context, CountsSource, KeepingPlace},
};
use crate::base::process::resident_pages;
use crate::metrics::table::{
    AGENT_BYTES_SENT, AGENT_CPU, AGENT_HISTORY_BEHIND, AGENT_HISTORY_BEHIND_TIME,
    AGENT_HISTORY_DISK, AGENT_HISTORY_LOST, AGENT_HISTORY_MEMORY, AGENT_LOG_LOST, AGENT_MEMORY,
    AGENT_MESSAGES_DROPPED, AGENT_MESSAGES_RECEIVED, AGENT_MESSAGES_SENT, AGENT_RECONNECTS,
    AGENT_SAMPLES, AGENT_VERSION, AGENT_WIRE,
};

/// The latest protocol that this agent speaks.
const LATEST_WIRE: u64 = 2;

/// Where the kernel says it.
const FILE: &str = "/proc/self/statm";

const EXPECTED: &str = "numbers of pages, of which the second is the resident ones";

/// Reads what the process has used.
pub struct AgentSource {
    statm: ProcFile,
    counts: CountsSource,
    keeping: KeepingPlace,
    page_kilobytes: u64,
}

impl AgentSource {
    /// One for this process: it ignores the configured root, because it measures this process only.
    #[must_use]
    pub fn open(context: &Context) -> Self {
        Self {
            statm: ProcFile::new(&Root::default(), FILE),
            counts: context.counts.clone(),
            keeping: context.keeping.clone(),
            page_kilobytes: rustix::param::page_size() as u64 / 1024,
        }
    }
}

impl Source for AgentSource {
    fn collect(&mut self, scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        let resident = match self.statm.read_first_line(scratch) {
            Ok(text) => resident_pages(text).ok_or_else(|| {
                let problem = Malformed::new(1, EXPECTED, text.trim_ascii_end());
                CollectError::malformed(self.statm.path(), problem)
            }),
            Err(error) => Err(error.into()),
        };
        let counts = (self.counts)();
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        // Neither part of a CPU time is negative.
        let cpu = u64::try_from(cpu.tv_sec).unwrap_or(0) * 1_000_000
            + u64::try_from(cpu.tv_nsec).unwrap_or(0) / 1000;
        sink.text(&AGENT_VERSION, env!("CARGO_PKG_VERSION"));
        sink.unsigned(&AGENT_WIRE, LATEST_WIRE);
        sink.unsigned(&AGENT_CPU, cpu);
        match resident {
            Ok(pages) => sink.unsigned(&AGENT_MEMORY, pages.saturating_mul(self.page_kilobytes)),
            Err(error) => sink.left_out(error),
        }
        sink.unsigned(&AGENT_SAMPLES, counts.samples);
        sink.unsigned(&AGENT_MESSAGES_SENT, counts.messages_sent);
        sink.unsigned(&AGENT_MESSAGES_RECEIVED, counts.messages_received);
        sink.unsigned(&AGENT_BYTES_SENT, counts.bytes_sent);
        sink.unsigned(&AGENT_MESSAGES_DROPPED, counts.messages_dropped);
        sink.unsigned(&AGENT_RECONNECTS, counts.reconnects);
        sink.unsigned(&AGENT_LOG_LOST, counts.log_lost);
        self.collect_keeping(sink);
        Ok(())
    }
}

impl AgentSource {
    /// Nothing where no collector acknowledges samples.
    fn collect_keeping(&self, sink: &mut Sink<'_>) {
        let keeping = self.keeping.lock();
        if keeping.collectors.is_empty() {
            return;
        }
        sink.unsigned(&AGENT_HISTORY_MEMORY, keeping.memory);
        sink.unsigned(&AGENT_HISTORY_DISK, keeping.disk);
        for one in &keeping.collectors {
            let name = &one.collector;
            sink.unsigned_of(&AGENT_HISTORY_BEHIND, name, one.behind);
            sink.unsigned_of(&AGENT_HISTORY_BEHIND_TIME, name, one.behind_usec);
            sink.unsigned_of(&AGENT_HISTORY_LOST, name, one.lost);
        }
    }
}
