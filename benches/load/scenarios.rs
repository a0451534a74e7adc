//! The loads, and the table of what they cost.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::Arguments;
use super::fleet::Fleet;
use super::process::{Collector, Counted, CpuTime, Memory};
use super::readings;

/// One load.
struct Scenario {
    name: &'static str,
    agents: usize,
    grid: Grid,
    load: Load,
}

#[derive(Clone, Copy)]
enum Grid {
    /// What the original agent sends: 207 bytes.
    Small,
    /// What an agent with every source sends.
    Full,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    /// So many messages as fast as they are taken.
    Burst(u64),
    /// One message of each agent in this time.
    Every(Duration),
    /// One sample of the second wire of each agent in this time.
    Tell(Duration),
    /// So many samples of the second wire from each, as fast as they are acknowledged.
    CatchUp(u64),
    /// The collector is restarted, and all are there again at once.
    Return,
}

const SECOND: Duration = Duration::from_secs(1);

const SCENARIOS: &[Scenario] = &[
    scenario("burst-100", 100, Grid::Small, Load::Burst(300_000)),
    scenario("burst-1000", 1000, Grid::Small, Load::Burst(300_000)),
    scenario("every-1s-100", 100, Grid::Small, Load::Every(SECOND)),
    scenario("every-1s-1000", 1000, Grid::Small, Load::Every(SECOND)),
    scenario("every-1s-2000", 2000, Grid::Small, Load::Every(SECOND)),
    scenario(
        "every-5s-10000",
        10_000,
        Grid::Small,
        Load::Every(Duration::from_secs(5)),
    ),
    scenario(
        "full-every-5s-1000",
        1000,
        Grid::Full,
        Load::Every(Duration::from_secs(5)),
    ),
    scenario(
        "data-every-5s-1000",
        1000,
        Grid::Full,
        Load::Tell(Duration::from_secs(5)),
    ),
    scenario("catch-up-1", 1, Grid::Full, Load::CatchUp(20_000)),
    scenario("catch-up-1000", 1000, Grid::Full, Load::CatchUp(100)),
    scenario("return-1000", 1000, Grid::Small, Load::Return),
];

const fn scenario(name: &'static str, agents: usize, grid: Grid, load: Load) -> Scenario {
    Scenario {
        name,
        agents,
        grid,
        load,
    }
}

/// What a load has cost.
#[derive(Default)]
struct Cost {
    /// To connect all agents, their handshakes, hellos and models.
    connecting: CpuTime,
    /// For the messages.
    time: CpuTime,
    /// How long they took.
    took: Duration,
    messages: u64,
    /// Before the agents came, and with all of them.
    memory: [Memory; 2],
    /// What was handed to libzmq and not counted by the collector.
    lost: i64,
    /// What libzmq would not take from an agent.
    unsent: u64,
    counted: Counted,
    /// Of the agents together, for a message.
    agents_ns: u64,
}

/// Plays the scenarios; whether none lost a message.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    if let Some(unknown) = arguments
        .scenarios
        .iter()
        .find(|name| !SCENARIOS.iter().any(|scenario| scenario.name == **name))
    {
        let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        eprintln!(
            "load: no scenario is called {unknown}; there are: {}",
            names.join(" ")
        );
        return ExitCode::from(2);
    }
    let chosen = |scenario: &&Scenario| {
        arguments.scenarios.is_empty()
            || arguments.scenarios.iter().any(|name| name == scenario.name)
    };
    println!(
        "| load | agents | CPU µs/message | own | libzmq | messages/s | cores | PSS MiB | private KiB/agent | \
         connecting µs/agent | lost | not sent | agents' CPU µs/message |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    );
    let mut all_arrived = true;
    for scenario in SCENARIOS.iter().filter(chosen) {
        let home = tempfile::tempdir().expect("a temporary directory");
        let agents = (scenario.agents * arguments.scale / 100).max(1);
        let cost = play(scenario, agents, arguments, home.path());
        println!("{}", row(scenario, agents, &cost, arguments.sink));
        all_arrived &= arguments.sink || (cost.lost == 0 && cost.counted.refused == 0);
    }
    if all_arrived {
        ExitCode::SUCCESS
    } else {
        eprintln!("load: messages were lost or refused");
        ExitCode::FAILURE
    }
}

fn play(scenario: &Scenario, agents: usize, arguments: &Arguments, home: &Path) -> Cost {
    let start = |listen: &str| {
        let how = (arguments.sink, arguments.engine.as_deref());
        Collector::start(&arguments.collector, how, home, listen)
    };
    let mut collector = start("127.0.0.1:0");
    collector.settle();
    let mut cost = Cost::default();
    cost.memory[0] = collector.memory();
    let model = grid("host.model", 2000, true);
    let before = collector.cpu_time();
    let mut fleet = Fleet::connect(&collector, agents, &model);
    collector.settle();
    cost.connecting = collector.cpu_time().since(before);

    let grid = match scenario.grid {
        Grid::Small => small_grid(),
        Grid::Full => readings::json(),
    };
    let window = Duration::from_secs(arguments.window);
    // What merging and allocating settle at is what counts.
    match scenario.load {
        Load::Every(interval) => fleet.report_steadily(&grid, interval, window.max(interval)),
        Load::Tell(interval) => fleet.tell_steadily(interval, window.max(interval)),
        _ => {}
    }
    let mut sent = fleet.done.sent;
    let (mut begin, mut before) = (Instant::now(), collector.cpu_time());
    let agents_before = fleet.done.cpu_ns;
    match scenario.load {
        Load::Burst(messages) => {
            fleet.burst(&grid, messages * arguments.scale as u64 / 100);
            let idle = collector.settle();
            cost.took = begin.elapsed().saturating_sub(idle);
            cost.time = collector.cpu_time().since(before);
        }
        Load::Every(interval) => {
            fleet.report_steadily(&grid, interval, window.max(interval));
            cost.took = begin.elapsed();
            cost.time = collector.cpu_time().since(before);
        }
        Load::Tell(interval) => {
            fleet.tell_steadily(interval, window.max(interval));
            cost.took = begin.elapsed();
            cost.time = collector.cpu_time().since(before);
        }
        Load::CatchUp(samples) => {
            fleet.catch_up(samples);
            cost.took = begin.elapsed();
            cost.time = collector.cpu_time().since(before);
        }
        Load::Return => {
            cost.counted = collector.stop();
            let address = collector.address.trim_start_matches("tcp://").to_owned();
            collector = start(&address);
            (begin, before, sent) = (Instant::now(), collector.cpu_time(), fleet.done.sent);
            fleet.greet(&model);
            cost.took = begin.elapsed();
            collector.settle();
            cost.time = collector.cpu_time().since(before);
        }
    }
    cost.messages = fleet.done.sent - sent;
    cost.agents_ns = (fleet.done.cpu_ns - agents_before) / cost.messages.max(1);
    // All that is under way arrives before it is counted.
    collector.settle();
    cost.memory[1] = collector.memory();
    cost.unsent = fleet.done.unsent;
    let sent = fleet.done.sent;
    if arguments.sink {
        return cost;
    }
    let first = cost.counted.messages;
    cost.counted = collector.stop();
    cost.lost = i64::try_from(sent).unwrap_or(0)
        - i64::try_from(first + cost.counted.messages).unwrap_or(0);
    cost
}

#[expect(
    clippy::cast_precision_loss,
    reason = "figures of three digits are what is wanted"
)]
fn row(scenario: &Scenario, agents: usize, cost: &Cost, sink: bool) -> String {
    let Scenario { name, load, .. } = *scenario;
    let messages = cost.messages.max(1) as f64;
    let each = |ns: u64| ns as f64 / 1000.0 / messages;
    let took = cost.took.as_secs_f64();
    let [before, after] = cost.memory;
    let mut row = format!(
        "| {name}{} | {agents} | {:.1} | {:.1} | {:.1} | {:.0} | {:.2} | {:.1} | {:.1} | {:.0} | ",
        if sink { " (sink)" } else { "" },
        each(cost.time.all()),
        each(cost.time.own),
        each(cost.time.libzmq),
        messages / took,
        cost.time.all() as f64 / 1e9 / took,
        after.pss as f64 / 1024.0,
        after.private.saturating_sub(before.private) as f64 / agents as f64,
        cost.connecting.all() as f64 / 1000.0 / agents as f64,
    );
    let lost = if sink {
        "-".to_owned()
    } else {
        cost.lost.to_string()
    };
    let _ = write!(
        row,
        "{lost} | {} | {:.1} |",
        cost.unsent,
        cost.agents_ns as f64 / 1000.0
    );
    match load {
        Load::Return => {
            let _ = write!(row, " all are back after {took:.1} s");
        }
        Load::CatchUp(samples) => {
            let samples = (samples * agents as u64) as f64;
            let _ = write!(
                row,
                " {:.0} samples/min, {:.1} µs each",
                samples / took * 60.0,
                cost.time.all() as f64 / 1000.0 / samples
            );
        }
        _ => {}
    }
    row
}

/// 207 bytes, as the original agent's.
fn small_grid() -> String {
    let grid = r#"{"sys.uptime":123456.78,"mem.free":1234567,"mem.avail":12345678,"mem.buffers":123456,"mem.cached":1234567,"mem.dirty":1234,"mem.writeback":0,"mem.swap.free":2097148,"cpu.percent":12.34567890123456,"x":12333}"#;
    assert_eq!(grid.len(), 207);
    grid.to_owned()
}

/// A grid of about so many bytes, with instances, with text if `model`.
fn grid(name: &str, bytes: usize, model: bool) -> String {
    let mut grid = "{".to_owned();
    for number in 0_u64.. {
        let value = if model && number.is_multiple_of(2) {
            format!("\"Debian GNU/Linux {number}\"")
        } else {
            (number * 1_234_567).to_string()
        };
        let _ = write!(grid, "\"{name}[instance-{number:03}.service]\":{value}");
        if grid.len() > bytes {
            break;
        }
        grid.push(',');
    }
    grid.push('}');
    grid
}
