//! Agents of the second wire, played.

use std::time::{SystemTime, UNIX_EPOCH};

use metrics_agent::protocol::data::dictionary::Value;
use metrics_agent::protocol::data::wire::Kind;
use metrics_agent::protocol::data::{BodyWriter, Dictionary, Point, Sent, Word};
use prost::Message as _;

use super::peer::Peer;

const MODEL: &str = r#"{"agent.version": "0.1.0", "agent.wire": 2}"#;
pub(crate) const BOOT: [u8; 16] = [7; 16];

/// An agent's log, played.
pub(crate) struct Log {
    pub(crate) stream: u64,
    pub(crate) seq: u64,
    dictionary: Dictionary,
    /// How many seconds its clock is ahead.
    pub(crate) ahead: i64,
}

/// In µs since 1970.
pub(crate) fn now() -> i64 {
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
    pub(crate) fn new(stream: u64) -> Self {
        Self {
            stream,
            seq: 0,
            dictionary: Dictionary::default(),
            ahead: 0,
        }
    }

    /// A body with one sample for each value, each a second older than the next; `now` says whether the last
    /// one is what is now.
    pub(crate) fn body(&mut self, loads: &[f64], is_now: bool) -> Vec<u8> {
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
            moved: 0,
        };
        body.finish(&sent)
    }

    /// What was defined is defined again, as on a new connection.
    pub(crate) fn forget_definitions(&mut self) {
        self.dictionary = Dictionary::default();
    }

    pub(crate) fn receipt(&self) -> String {
        format!("ack {:016x} {}", self.stream, self.seq)
    }
}

/// Says hello as our agents do, and waits for the offer.
pub(crate) async fn begin(agent: &mut Peer, host: &str) -> Word {
    agent.hello().await;
    let offer = agent.any_word().await;
    agent.report(host, MODEL, "model").await;
    Word::read(&offer).unwrap()
}

pub(crate) async fn data(agent: &mut Peer, host: &str, body: &[u8]) {
    agent.send(None, &[b"DATA", host.as_bytes(), body]).await;
}
