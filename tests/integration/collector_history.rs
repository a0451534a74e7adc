//! metrics-collector and agents that tell every sample: offers, receipts, what is shown and what is not.

use std::time::{SystemTime, UNIX_EPOCH};

use metrics_agent::protocol::data::dictionary::Value;
use metrics_agent::protocol::data::wire::{Kind, Lost, Reason};
use metrics_agent::protocol::data::{BodyWriter, Dictionary, Point, Sent, Word};
use prost::Message as _;

use crate::support::collector::Collector;
use crate::support::peer::Peer;

const MODEL: &str = r#"{"agent.version": "0.1.0", "agent.wire": 2}"#;
const BOOT: [u8; 16] = [7; 16];

/// An agent's log, played.
struct Log {
    stream: u64,
    seq: u64,
    dictionary: Dictionary,
    /// How many seconds its clock is ahead.
    ahead: i64,
}

/// In µs since 1970.
fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_micros()).unwrap()
}

fn point(name: &str, value: f64) -> (&'static str, Point<'_>) {
    let kind = Kind::Gauge;
    let (unit, value) = ("", Value::Float(value));
    let instance = None;
    let point = Point {
        name,
        instance,
        kind,
        unit,
        value,
    };
    ("load", point)
}

impl Log {
    fn new(stream: u64) -> Self {
        Self {
            stream,
            seq: 0,
            dictionary: Dictionary::default(),
            ahead: 0,
        }
    }

    /// A body with one sample for each value, each a second older than the next; `now` says whether the last
    /// one is what is now.
    fn body(&mut self, loads: &[f64], is_now: bool) -> Vec<u8> {
        let mut body = BodyWriter::new(self.stream);
        let time = now() + self.ahead * 1_000_000;
        for (place, load) in loads.iter().enumerate() {
            let age = i64::try_from(loads.len() - 1 - place).unwrap() * 1_000_000;
            self.seq += 1;
            let mut sampled = self.dictionary.sample([point("load.1m", *load)]);
            for series in &sampled.series {
                body.series(&series.encode_to_vec());
            }
            for schema in &sampled.schemas {
                body.schema(&schema.encode_to_vec());
            }
            let sample = &mut sampled.sample;
            (sample.seq, sample.time) = (self.seq, time - age);
            sample.boottime = 1_000_000_000 - age.unsigned_abs();
            sample.boot = BOOT.to_vec();
            // Complete, and coded as differences to 0.
            for value in &mut sample.values {
                *value = value.swap_bytes();
            }
            body.sample(&sample.encode_to_vec());
        }
        let sent = Sent {
            time,
            boottime: 1_000_000_000,
            boot: BOOT,
            behind: 0,
            now_from: if is_now { self.seq } else { 0 },
        };
        body.finish(&sent)
    }

    fn receipt(&self) -> String {
        format!("ack {:016x} {}", self.stream, self.seq)
    }
}

/// Says hello as our agents do, and waits for the offer.
async fn begin(agent: &mut Peer, host: &str) -> Word {
    agent.hello().await;
    let offer = agent.any_word().await;
    agent.report(host, MODEL, "model").await;
    Word::read(&offer).unwrap()
}

async fn data(agent: &mut Peer, host: &str, body: &[u8]) {
    agent.send(None, &[b"DATA", host.as_bytes(), body]).await;
}

#[tokio::test]
async fn samples_are_acknowledged_and_shown_once() {
    let home = tempfile::tempdir().unwrap();
    let options = ["--print", "--ping-interval", "1min"];
    let mut collector = Collector::start(home.path(), &options).await;
    let mut printed = collector.printed();
    let mut agent = collector.peer("A").await;
    let offer = begin(&mut agent, "web1").await;
    assert_eq!(
        offer,
        Word::read("offer 2 window=262144 ack=table").unwrap()
    );
    assert_eq!(printed.next().await["kind"], "model");

    let mut log = Log::new(0x1234);
    let body = log.body(&[0.5, 0.75], true);
    data(&mut agent, "web1", &body).await;
    assert_eq!(agent.word().await, log.receipt());
    // The first was told in its time, by another message: only what is now is shown.
    let line = printed.next().await;
    assert_eq!(line["metrics"]["load.1m"], 0.75);
    // Sent again, as the receipt was lost.
    data(&mut agent, "web1", &body).await;
    assert_eq!(agent.word().await, log.receipt());
    let body = log.body(&[1.0], true);
    data(&mut agent, "web1", &body).await;
    assert_eq!(agent.word().await, log.receipt());
    assert_eq!(printed.next().await["metrics"]["load.1m"], 1.0);
    let totals = collector.stop().await;
    assert_eq!(totals, "1 host, 5 messages, 0 refused");
}

#[tokio::test]
async fn what_is_wrong_is_said_and_costs_no_other() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &["--ping-interval", "1min"]).await;
    // Without having been asked.
    let mut stranger = collector.peer("S").await;
    let mut log = Log::new(1);
    let body = log.body(&[1.0], true);
    data(&mut stranger, "web9", &body).await;
    collector
        .logged("samples of the second wire that this connection was not asked for")
        .await;

    let mut agent = collector.peer("A").await;
    begin(&mut agent, "web1").await;
    data(&mut agent, "web1", b"\xff\xff").await;
    collector.logged("not the protobuf message `Data`").await;
    // A sample that nobody can read is acknowledged all the same.
    let mut log = Log::new(2);
    let mut unknown = BodyWriter::new(2);
    let sample = metrics_agent::protocol::data::wire::Sample {
        seq: 1,
        boot: BOOT.to_vec(),
        schemas: vec![99],
        ..Default::default()
    };
    unknown.sample(&sample.encode_to_vec());
    let body = unknown.finish(&Sent::default());
    data(&mut agent, "web1", &body).await;
    collector
        .logged("a sample with the unknown schema 99")
        .await;
    assert_eq!(agent.word().await, format!("ack {:016x} 1", 2));
    // Some are lost, and some are left out without a word.
    let mut lost = BodyWriter::new(2);
    lost.lost(&Lost {
        from: 2,
        to: 5,
        reason: Reason::Full.into(),
        from_time: 1_700_000_000_000_000,
        to_time: 1_700_000_030_000_000,
    });
    data(&mut agent, "web1", &lost.finish(&Sent::default())).await;
    collector
        .logged("lost 4 samples from 2023-11-14T22:13:20Z to 2023-11-14T22:13:50Z: this collector was away")
        .await;
    log.seq = 7;
    let body = log.body(&[1.0], false);
    data(&mut agent, "web1", &body).await;
    collector.logged("has left out 2 samples").await;
    loop {
        if agent.word().await == log.receipt() {
            break;
        }
    }
}

#[tokio::test]
async fn a_clock_that_is_off_is_said_once() {
    let home = tempfile::tempdir().unwrap();
    let mut collector = Collector::start(home.path(), &["--ping-interval", "1min"]).await;
    let mut agent = collector.peer("A").await;
    begin(&mut agent, "web1").await;
    let mut log = Log::new(1);
    log.ahead = 600;
    for load in [1.0, 2.0] {
        let body = log.body(&[load], true);
        data(&mut agent, "web1", &body).await;
    }
    collector.logged("The clock of web1 is 10m ahead").await;
    log.ahead = 0;
    let body = log.body(&[3.0], true);
    data(&mut agent, "web1", &body).await;
    collector.logged("The clock of web1 is right again").await;
}
