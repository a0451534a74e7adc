//! The agent and a collector of the second wire: every sample arrives once and in order, whatever
//! becomes of links, of the collector and of the agent.

use prost::Message as _;

use metrics_agent::protocol::data::wire::Data;

use crate::support::agent::{Agent, Site};
use crate::support::deployed::{Collector, Id};

const SETTINGS: &str = "\
    host.name = 'web1.example.org'\n\
    intervals = { metrics = '100ms', stale = '1min' }\n\
    metrics.sources = ['uptime', 'meminfo', 'cpu']\n";

/// What an agent said.
#[derive(Debug)]
enum Heard {
    Hello(Id),
    Model,
    Metrics,
    Data(Data),
}

async fn next(collector: &mut Collector) -> Heard {
    let (from, frames) = collector.peer.message().await;
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    match frames.as_slice() {
        [b"CTRL", b"hello"] => Heard::Hello(from),
        [b"METR", b"web1.example.org", _, b"model"] => Heard::Model,
        [b"METR", b"web1.example.org", _, b"metrics"] => Heard::Metrics,
        [b"DATA", b"web1.example.org", body] => Heard::Data(Data::decode(*body).unwrap()),
        other => panic!("not a message of an agent: {other:?}"),
    }
}

/// The next body of samples, whatever else comes before it.
async fn data(collector: &mut Collector) -> Data {
    loop {
        if let Heard::Data(data) = next(collector).await {
            return data;
        }
    }
}

/// Takes an agent in, and offers to take history.
async fn welcome(collector: &mut Collector, offer: &str) -> Id {
    let id = loop {
        if let Heard::Hello(id) = next(collector).await {
            break id;
        }
    };
    collector.say(&id, "model").await;
    collector.say(&id, offer).await;
    id
}

const OFFER: &str = "offer 2 window=262144 ack=table";

/// What a collector has been told of one log.
#[derive(Debug, Default)]
struct Told {
    stream: u64,
    /// The time of each sample, from number `first` on.
    times: Vec<i64>,
    first: u64,
}

impl Told {
    /// The number that comes next.
    fn next(&self) -> u64 {
        self.first + self.times.len() as u64
    }

    /// Takes a body whose samples must go on where the last one ended.
    fn take(&mut self, data: &Data) {
        if self.stream == 0 {
            self.stream = data.stream;
            self.first = data.samples[0].seq;
        }
        assert_eq!(data.stream, self.stream);
        assert!(data.lost.is_empty(), "{data:?}");
        for sample in &data.samples {
            assert_eq!(sample.seq, self.next());
            assert!(self.times.last() < Some(&sample.time), "{self:?}");
            self.times.push(sample.time);
        }
    }

    async fn take_until(&mut self, collector: &mut Collector, seq: u64) {
        while self.next() <= seq {
            self.take(&data(collector).await);
        }
    }

    fn ack(&self, seq: u64) -> String {
        format!("ack {:016x} {seq}", self.stream)
    }
}

fn start(collector: &Collector) -> (Site, Agent) {
    let site = Site::new(&format!("{SETTINGS}{}", collector.section("main")));
    let agent = site.start();
    (site, agent)
}

#[tokio::test]
async fn who_takes_history_gets_each_sample_once_and_no_other_message() {
    let mut collector = Collector::start().await;
    let (_site, mut agent) = start(&collector);
    let id = welcome(&mut collector, OFFER).await;
    let mut told = Told::default();
    // Until it has everything, samples come as messages of the first wire as well.
    let mut fresh = loop {
        let data = data(&mut collector).await;
        told.take(&data);
        if data.now_from != 0 {
            break data;
        }
    };
    assert_eq!(told.first, 1);
    let mut known: Vec<String> = Vec::new();
    for _ in 0..10 {
        assert_eq!(fresh.now_from, told.next() - 1);
        assert_eq!((fresh.samples.len(), fresh.behind), (1, 0));
        known.extend(fresh.series.iter().map(|series| series.name.clone()));
        collector.say(&id, &told.ack(fresh.now_from)).await;
        fresh = match next(&mut collector).await {
            Heard::Data(data) => data,
            // The request for the model may still be under way.
            Heard::Model => data(&mut collector).await,
            other => panic!("{other:?}"),
        };
        told.take(&fresh);
    }
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let boot = u128::from_str_radix(&boot.trim_end().replace('-', ""), 16).unwrap();
    assert_eq!(fresh.sent_boot, boot.to_be_bytes());
    let mut values = fresh.samples[0].values.len();
    values += fresh.samples[0].absent.len();
    assert!(values >= 20, "{fresh:?}");
    known.sort_unstable();
    let all = known.len();
    known.dedup();
    assert_eq!(known.len(), all, "told twice: {known:?}");
    agent.runs();
}

#[tokio::test]
async fn what_a_link_took_with_it_comes_again_in_order() {
    let mut collector = Collector::start().await;
    let (_site, mut agent) = start(&collector);
    let id = welcome(&mut collector, OFFER).await;
    let mut first = Told::default();
    first.take_until(&mut collector, 6).await;
    collector.say(&id, &first.ack(3)).await;
    // One more comes after the receipt, or with it.
    let before = first.next();
    first.take_until(&mut collector, before + 2).await;
    collector.crash();
    agent.says("Lost main").await;
    collector.restart().await;
    welcome(&mut collector, OFFER).await;
    let mut again = Told::default();
    again.take_until(&mut collector, first.next() + 3).await;
    assert_eq!((again.stream, again.first), (first.stream, 4));
    let both = first.times.len() - 3;
    assert_eq!(again.times[..both], first.times[3..]);
}

#[tokio::test]
async fn samples_of_an_outage_arrive_later_with_their_own_times() {
    let mut collector = Collector::start().await;
    let (_site, mut agent) = start(&collector);
    let id = welcome(&mut collector, OFFER).await;
    let mut told = Told::default();
    told.take_until(&mut collector, 3).await;
    let seq = told.next() - 1;
    collector.say(&id, &told.ack(seq)).await;
    collector.crash();
    agent.says("Lost main").await;
    // Two seconds of an outage, which is the condition itself: samples have to be taken in it.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    collector.restart().await;
    welcome(&mut collector, OFFER).await;
    let mut later = Told::default();
    later.take(&data(&mut collector).await);
    assert_eq!(later.stream, told.stream);
    assert!(later.first <= told.next(), "a hole: {told:?} {later:?}");
    let lasting = later.times.last().unwrap() - told.times.last().unwrap();
    assert!(lasting >= 1_500_000, "{lasting} µs");
    // As many as ticks, but for those that a busy machine has skipped.
    assert!(later.times.len() >= 3, "{later:?}");
}

#[tokio::test]
async fn who_is_behind_gets_what_is_now_as_before() {
    let mut collector = Collector::start().await;
    let (_site, _agent) = start(&collector);
    let id = welcome(&mut collector, "offer 2 window=4096 ack=table").await;
    let mut told = Told::default();
    // Without receipts the window fills, and then there is nothing but messages of the first wire.
    let mut in_a_row = 0;
    while in_a_row < 5 {
        match next(&mut collector).await {
            Heard::Data(data) => {
                told.take(&data);
                in_a_row = 0;
            }
            Heard::Metrics => in_a_row += 1,
            Heard::Model => {}
            Heard::Hello(id) => panic!("another link: {id:?}"),
        }
    }
    let full = told.next();
    collector.say(&id, &told.ack(full - 1)).await;
    let next = data(&mut collector).await;
    assert_eq!(next.samples[0].seq, full);
    assert_eq!(next.now_from, 0, "it was told already");
    // Once it has everything it is told by history alone again.
    told.take(&next);
    loop {
        collector.say(&id, &told.ack(told.next() - 1)).await;
        let next = data(&mut collector).await;
        told.take(&next);
        if next.now_from != 0 {
            break;
        }
    }
}

#[tokio::test]
async fn an_agent_that_is_restarted_in_an_outage_loses_nothing() {
    let mut collector = Collector::start().await;
    let (site, mut agent) = start(&collector);
    let id = welcome(&mut collector, OFFER).await;
    let mut told = Told::default();
    told.take_until(&mut collector, 3).await;
    collector.say(&id, &told.ack(2)).await;
    let seq = told.next();
    told.take_until(&mut collector, seq + 1).await;
    collector.crash();
    agent.says("Lost main").await;
    agent.terminate().await;
    let mut agent = site.start();
    collector.restart().await;
    let id = welcome(&mut collector, OFFER).await;
    let mut later = Told::default();
    // All that was told before, and what was taken by either run since, each in its own stream.
    let mut streams = Vec::new();
    while streams.len() < 2 || later.next() <= told.next() + 3 {
        let body = data(&mut collector).await;
        if streams.last() != Some(&body.stream) {
            streams.push(body.stream);
            if streams.len() > 1 {
                later.stream = body.stream;
            }
        }
        later.take(&body);
        // Nothing of the second before all of the first has arrived.
        collector.say(&id, &later.ack(later.next() - 1)).await;
    }
    assert_eq!(streams[0], told.stream);
    assert_eq!(streams.len(), 2);
    assert!((1..=3).contains(&later.first), "{later:?}");
    let at = usize::try_from(later.first - 1).unwrap();
    assert_eq!(later.times[..told.times.len() - at], told.times[at..]);
    agent.runs();
}
