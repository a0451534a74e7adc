//! What a fleet costs a collector: `benches/load/run.sh` builds and runs it.
//!
//! Agents are sockets of a process or two, over TCP and CURVE on the loopback interface. The
//! collector is a process of its own; its CPU time, by thread, and its memory come from
//! /proc, what it counted from its last line. In its place `--sink` puts a ROUTER that
//! drops what it receives, in the same number of threads: what libzmq alone costs.

#![expect(
    clippy::panic,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark that cannot go on says why and ends"
)]

mod agents;
mod fleet;
mod idle;
mod process;
mod readings;
mod scenarios;
mod sink;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a fleet costs a collector, as a table.
#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
struct Arguments {
    /// The collector's program.
    #[arg(long, default_value = "target/release/metrics-collector")]
    collector: PathBuf,
    /// A ROUTER that drops what it receives, instead: what libzmq alone costs.
    #[arg(long)]
    sink: bool,
    /// Seconds that a steady load is measured for, after as many to settle.
    #[arg(long, default_value_t = 20)]
    window: u64,
    /// The fleets' sizes and the bursts in percent: for a look whether it works.
    #[arg(long, default_value_t = 100)]
    scale: usize,
    /// Instead of a load, so many connections that are held and say nothing.
    #[arg(long, value_name = "CONNECTIONS")]
    idle: Option<usize>,
    /// An engine that the collector writes to; receipts mean then that it has the samples.
    #[arg(long, value_name = "URL")]
    engine: Option<String>,
    /// Only these scenarios; their names are in the table.
    scenarios: Vec<String>,
    /// Set by cargo bench.
    #[arg(long, hide = true)]
    bench: bool,
    /// The sink's process itself.
    #[arg(long, hide = true)]
    be_the_sink: bool,
    /// A process of agents.
    #[arg(long, hide = true)]
    be_agents: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    raise_descriptor_limit();
    if arguments.be_the_sink {
        sink::run();
    }
    if arguments.be_agents {
        fleet::run();
    }
    match arguments.idle {
        Some(connections) => idle::run(&arguments, connections),
        None => scenarios::run(&arguments),
    }
}

/// An agent takes two descriptors here, and one in the collector, which inherits the limit.
fn raise_descriptor_limit() {
    const WANTED: u64 = 131_072;
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: Some(WANTED),
        maximum: limit.maximum.map(|most| most.max(WANTED)),
    };
    if setrlimit(Resource::Nofile, raised).is_err() {
        let limit = Rlimit {
            current: limit.maximum,
            ..limit
        };
        if setrlimit(Resource::Nofile, limit).is_err() {
            eprintln!("load: the limit of open files stays as it is");
        }
    }
}
