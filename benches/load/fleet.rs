//! A fleet over several processes: a socket takes two descriptors, and a process often may
//! have no more than 20,000. Orders and answers are lines of JSON.

use std::io::{self, BufRead, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::agents::Agents;
use super::process::{Collector, own_cpu_time};

/// Agents of one process.
const MOST: usize = 5000;

/// What a process of agents is to do.
#[derive(Debug, Deserialize, Serialize)]
enum Order {
    Connect {
        address: String,
        public_key: String,
        first: usize,
        count: usize,
        model: String,
    },
    Steady {
        grid: String,
        interval: Duration,
        time: Duration,
    },
    /// On the second wire.
    TellSteadily {
        interval: Duration,
        time: Duration,
    },
    /// On the second wire, so many samples each.
    CatchUp {
        samples: u64,
    },
    Burst {
        grid: String,
        messages: u64,
    },
    Greet {
        model: String,
    },
}

/// What its agents have done so far.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Done {
    /// Messages that libzmq has taken, of all kinds.
    pub(crate) sent: u64,
    /// Messages that it would not take.
    pub(crate) unsent: u64,
    /// CPU time of the process.
    pub(crate) cpu_ns: u64,
}

/// All agents.
pub(crate) struct Fleet {
    workers: Vec<Worker>,
    /// What they have done so far.
    pub(crate) done: Done,
}

/// A process; killed when dropped.
struct Worker {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Fleet {
    /// Connects so many; each has said hello, was asked for its model, and has sent it.
    pub(crate) fn connect(collector: &Collector, count: usize, model: &str) -> Self {
        let workers = (0..count.div_ceil(MOST)).map(|_| Worker::start()).collect();
        let mut fleet = Self {
            workers,
            done: Done::default(),
        };
        fleet.order(|worker| Order::Connect {
            address: collector.address.clone(),
            public_key: collector.public_key.clone(),
            first: worker * MOST,
            count: MOST.min(count - worker * MOST),
            model: model.to_owned(),
        });
        fleet
    }

    /// All say hello, are asked for their models and send them.
    pub(crate) fn greet(&mut self, model: &str) {
        self.order(|_| Order::Greet {
            model: model.to_owned(),
        });
    }

    /// Each sends this grid once in the interval, for so long, each at its own time.
    pub(crate) fn report_steadily(&mut self, grid: &str, interval: Duration, time: Duration) {
        self.order(|_| Order::Steady {
            grid: grid.to_owned(),
            interval,
            time,
        });
    }

    /// Each tells a sample of the second wire once in the interval, for so long.
    pub(crate) fn tell_steadily(&mut self, interval: Duration, time: Duration) {
        self.order(|_| Order::TellSteadily { interval, time });
    }

    /// Each tells so many samples that it has kept, and waits until they are acknowledged.
    pub(crate) fn catch_up(&mut self, samples: u64) {
        self.order(|_| Order::CatchUp { samples });
    }

    /// All together send so many messages, as fast as they are taken.
    pub(crate) fn burst(&mut self, grid: &str, messages: u64) {
        let workers = self.workers.len() as u64;
        self.order(|_| Order::Burst {
            grid: grid.to_owned(),
            messages: messages / workers,
        });
    }

    fn order(&mut self, order: impl Fn(usize) -> Order) {
        for (number, worker) in self.workers.iter_mut().enumerate() {
            worker.tell(&order(number));
        }
        let mut all = Done::default();
        for worker in &mut self.workers {
            let done = worker.hear();
            all.sent += done.sent;
            all.unsent += done.unsent;
            all.cpu_ns += done.cpu_ns;
        }
        self.done = all;
    }
}

impl Worker {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .arg("--be-agents")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process for agents");
        Self {
            orders: child.stdin.take().expect("it was asked for"),
            answers: BufReader::new(child.stdout.take().expect("it was asked for")),
            child,
        }
    }

    fn tell(&mut self, order: &Order) {
        let line = serde_json::to_string(order).expect("an order is JSON");
        writeln!(self.orders, "{line}").expect("the agents run");
    }

    fn hear(&mut self) -> Done {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the agents run");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("the agents have ended"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The process of agents, until there are no more orders.
pub(crate) fn run() -> ! {
    let mut agents = Agents::default();
    for line in io::stdin().lines().map_while(Result::ok) {
        match serde_json::from_str(&line).expect("an order") {
            Order::Connect {
                address,
                public_key,
                first,
                count,
                model,
            } => agents.connect(&address, &public_key, first..first + count, &model),
            Order::Steady {
                grid,
                interval,
                time,
            } => agents.report_steadily(&grid, interval, time),
            Order::TellSteadily { interval, time } => agents.tell_steadily(interval, time),
            Order::CatchUp { samples } => agents.catch_up(samples),
            Order::Burst { grid, messages } => agents.burst(&grid, messages),
            Order::Greet { model } => agents.greet(&model),
        }
        let done = Done {
            sent: agents.sent,
            unsent: agents.unsent,
            cpu_ns: own_cpu_time(),
        };
        println!(
            "{}",
            serde_json::to_string(&done).expect("an answer is JSON")
        );
    }
    std::process::exit(0)
}
