//! The agents of one process: a socket for each, all driven by one thread.

use std::collections::VecDeque;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use metrics_agent::protocol::data::Word;

use super::readings::{Place, Readings};

/// libzmq opens so many sockets in a context (`ZMQ_MAX_SOCKETS` is 1,023 by default).
const SOCKETS_PER_CONTEXT: usize = 500;

/// Connections that are made at a time: beyond it handshakes time out on a small machine.
const CONNECTING: usize = 200;

/// What nothing here should ever take.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Default)]
pub(crate) struct Agents {
    all: Vec<Agent>,
    // After the agents: a context ends when its sockets are closed.
    contexts: Vec<zmq::Context>,
    /// Messages that libzmq has taken, of all kinds.
    pub(crate) sent: u64,
    /// Messages that it would not take.
    pub(crate) unsent: u64,
}

struct Agent {
    host: String,
    socket: zmq::Socket,
    /// How often its model was asked for.
    asked: u64,
    /// Where it is on the second wire.
    place: Place,
    /// How much it may have under way there, in bytes; 0 before the offer.
    window: usize,
    /// The last sample and the bytes of each message under way.
    under_way: VecDeque<(u64, usize)>,
}

impl Agents {
    /// Connects those with these numbers, a few at a time; each has said hello, was asked
    /// for its model, and has sent it.
    pub(crate) fn connect(
        &mut self,
        address: &str,
        public_key: &str,
        numbers: Range<usize>,
        model: &str,
    ) {
        for number in numbers {
            let place = self.all.len();
            if place.is_multiple_of(SOCKETS_PER_CONTEXT) {
                self.contexts.push(zmq::Context::new());
            }
            let context = self.contexts.last().expect("one was made");
            let agent = Agent::connect(context, address, public_key, number)
                .unwrap_or_else(|error| panic!("agent {number}: {error}"));
            self.all.push(agent);
            self.send(place, &["CTRL", "hello"]);
            if (place + 1).is_multiple_of(CONNECTING) {
                self.await_model(place + 1 - CONNECTING, 1);
            }
        }
        self.await_model(0, 1);
        for place in 0..self.all.len() {
            self.report(place, model, "model");
        }
    }

    /// All say hello, are asked for their models and send them.
    pub(crate) fn greet(&mut self, model: &str) {
        let asked = self.all.first().map_or(0, |agent| agent.asked);
        for number in 0..self.all.len() {
            self.send(number, &["CTRL", "hello"]);
        }
        self.await_model(0, asked + 1);
        for number in 0..self.all.len() {
            self.report(number, model, "model");
        }
    }

    /// Waits until each of those from this one on was asked for its model so many times.
    fn await_model(&mut self, from: usize, times: u64) {
        let start = Instant::now();
        for agent in self.all.iter_mut().skip(from) {
            while agent.asked < times {
                agent.receive();
                if agent.asked < times {
                    assert!(start.elapsed() < PATIENCE, "{} is not asked", agent.host);
                    let _ = agent.socket.poll(zmq::POLLIN, 100);
                }
            }
        }
    }

    /// Each sends this grid once in the interval, for so long, each at its own time.
    pub(crate) fn report_steadily(&mut self, grid: &str, interval: Duration, time: Duration) {
        self.at_their_times(interval, time, |agents, number| {
            agents.report(number, grid, "metrics");
        });
    }

    fn at_their_times(
        &mut self,
        interval: Duration,
        time: Duration,
        mut act: impl FnMut(&mut Self, usize),
    ) {
        let start = Instant::now();
        let count = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let step = interval / count;
        for tick in 0.. {
            let due = step * tick;
            if due >= time {
                break;
            }
            if let Some(early) = due.checked_sub(start.elapsed()) {
                thread::sleep(early);
            }
            act(self, (tick % count) as usize);
        }
    }

    /// All together send so many messages, as fast as they are taken.
    pub(crate) fn burst(&mut self, grid: &str, messages: u64) {
        let end = self.sent + messages;
        while self.sent < end {
            let before = self.sent;
            for number in 0..self.all.len() {
                // Some in a row: a turn is never for a single one.
                for _ in 0..16 {
                    let unsent = self.unsent;
                    if self.sent < end {
                        self.report(number, grid, "metrics");
                    }
                    if self.unsent > unsent {
                        self.unsent = unsent;
                        break;
                    }
                }
            }
            if self.sent == before {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Each tells a sample of the second wire once in the interval, for so long, each at its own time.
    pub(crate) fn tell_steadily(&mut self, interval: Duration, time: Duration) {
        let mut readings = Readings::new();
        self.at_their_times(interval, time, |agents, number| {
            agents.tell(number, &mut readings, |place| place + 1, true);
        });
    }

    /// Each tells so many samples that it has kept, as fast as its window lets it, until all are acknowledged.
    pub(crate) fn catch_up(&mut self, samples: u64) {
        let mut readings = Readings::new();
        let ends: Vec<u64> = self
            .all
            .iter()
            .map(|agent| agent.place.seq + samples)
            .collect();
        let mut heard = Instant::now();
        loop {
            let (mut progress, mut open) = (false, None);
            for (number, end) in ends.iter().enumerate() {
                progress |= self.tell(number, &mut readings, |_| *end, false);
                let agent = self.all.get_mut(number).expect("it is there");
                let under_way = agent.under_way.len();
                agent.receive();
                progress |= agent.under_way.len() < under_way;
                if agent.place.seq < *end || !agent.under_way.is_empty() {
                    open = Some(number);
                }
            }
            let Some(number) = open else {
                break;
            };
            if progress {
                heard = Instant::now();
            } else {
                let host = self.all.get(number).map_or("", |agent| &agent.host);
                assert!(heard.elapsed() < PATIENCE, "{host} gets no receipt");
                thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// One message of the second wire, up to the sample that `until` says, if the window has room.
    fn tell(
        &mut self,
        number: usize,
        readings: &mut Readings,
        until: impl Fn(u64) -> u64,
        is_now: bool,
    ) -> bool {
        let Some(agent) = self.all.get_mut(number) else {
            return false;
        };
        agent.receive();
        let until = until(agent.place.seq);
        let open: usize = agent.under_way.iter().map(|(_, bytes)| bytes).sum();
        // As the agent has it: four messages in a window, and one may be under way in any case.
        let most_bytes = agent.window / 4;
        let room = open == 0 || open + most_bytes <= agent.window;
        if agent.window == 0 || !room || agent.place.seq >= until {
            return false;
        }
        let body = readings.body(&mut agent.place, until, most_bytes, is_now);
        agent.under_way.push_back((agent.place.seq, body.len()));
        let frames = [b"DATA", agent.host.as_bytes(), &body];
        match agent.socket.send_multipart(frames, 0) {
            Ok(()) => self.sent += 1,
            Err(error) => panic!("{}: {error}", agent.host),
        }
        true
    }

    fn report(&mut self, number: usize, grid: &str, kind: &str) {
        let Some(agent) = self.all.get_mut(number) else {
            return;
        };
        let host = std::mem::take(&mut agent.host);
        self.send(number, &["METR", &host, grid, kind]);
        if let Some(agent) = self.all.get_mut(number) {
            agent.host = host;
        }
    }

    fn send(&mut self, number: usize, frames: &[&str]) {
        let Some(agent) = self.all.get_mut(number) else {
            return;
        };
        // What was sent to it meanwhile, which nothing else reads.
        agent.receive();
        match agent.socket.send_multipart(frames, zmq::DONTWAIT) {
            Ok(()) => self.sent += 1,
            Err(zmq::Error::EAGAIN) => self.unsent += 1,
            Err(error) => panic!("{}: {error}", agent.host),
        }
    }
}

impl Agent {
    fn connect(
        context: &zmq::Context,
        address: &str,
        public_key: &str,
        number: usize,
    ) -> zmq::Result<Self> {
        let keys = zmq::CurveKeyPair::new()?;
        let server = zmq::z85_decode(public_key).map_err(|_| zmq::Error::EINVAL)?;
        let socket = context.socket(zmq::DEALER)?;
        socket.set_linger(0)?;
        socket.set_identity(format!("AGENT-{number:010}").as_bytes())?;
        socket.set_curve_publickey(&keys.public_key)?;
        socket.set_curve_secretkey(&keys.secret_key)?;
        socket.set_curve_serverkey(&server)?;
        // A fleet that comes back at once, which real agents are kept from by their
        // back-off and its jitter.
        socket.set_reconnect_ivl(100)?;
        socket.connect(address)?;
        Ok(Self {
            host: format!("host-{number:05}.example.org"),
            socket,
            asked: 0,
            place: Place {
                stream: number as u64 + 1,
                seq: 0,
                defined: false,
            },
            window: 0,
            under_way: VecDeque::new(),
        })
    }

    fn receive(&mut self) {
        while let Ok(frames) = self.socket.recv_multipart(zmq::DONTWAIT) {
            let text = frames.last().and_then(|word| str::from_utf8(word).ok());
            match text {
                Some("model") => self.asked += 1,
                Some(text) => self.hear(text),
                None => {}
            }
        }
    }

    fn hear(&mut self, text: &str) {
        match Word::read(text) {
            Some(Word::Offer(offer)) => self.window = offer.window as usize,
            Some(Word::Receipt(receipt)) => {
                let mut first = self.under_way.front();
                while first.is_some_and(|(seq, _)| *seq <= receipt.seq) {
                    self.under_way.pop_front();
                    first = self.under_way.front();
                }
            }
            None => {}
        }
    }
}
