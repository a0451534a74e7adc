//! metrics-collector and agents of the second wire that are broken: whatever they tell costs themselves, is
//! said and counted, and disturbs no other agent.
#![expect(clippy::float_cmp, reason = "a value arrives as it was sent")]

use std::fs;

use metrics_agent::protocol::data::coding::code;
use metrics_agent::protocol::data::wire::{Data, Label, Sample, Schema, Series, Type};
use prost::Message as _;
use serde_json::json;
use tempfile::TempDir;

use crate::support::collector::{Collector, program};
use crate::support::history::{BOOT, Log, begin, data, now};
use crate::support::http::{Answer, address_of, fetch};
use crate::support::peer::{Peer, hex};
use crate::support::receiver::Receiver;

/// A collector with an engine, and a good agent whose samples arrive there.
struct Scene {
    _home: TempDir,
    collector: Collector,
    receiver: Receiver,
    /// What has arrived, in its order: series and value.
    arrived: Vec<(String, f64)>,
    good: Peer,
    log: Log,
}

impl Scene {
    /// An agent of this host that has heard the offer, and its log.
    async fn agent(&mut self, host: &str) -> (Peer, Log) {
        let mut agent = self.collector.peer("A").await;
        begin(&mut agent, host).await;
        (agent, Log::new(1))
    }

    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let receiver = Receiver::start().await;
        let path = home.path().join("collector.toml");
        let text = format!("[remote_write.main]\nurl = \"{}\"\n", receiver.url());
        fs::write(&path, text).unwrap();
        let mut command = program(home.path());
        command
            .args(["--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0"])
            .args(["--ping-interval", "1min", "--config"])
            .arg(path);
        let collector = Collector::run(command).await;
        let mut good = collector.peer("GOOD").await;
        begin(&mut good, "good").await;
        Self {
            _home: home,
            collector,
            receiver,
            arrived: Vec::new(),
            good,
            log: Log::new(7),
        }
    }

    async fn page(&self) -> Answer {
        fetch(address_of(&self.collector), "/metrics").await
    }

    async fn value(&mut self, series: &str) -> f64 {
        loop {
            if let Some((_, value)) = self.arrived.iter().rfind(|(known, _)| known == series) {
                return *value;
            }
            self.next_request().await;
        }
    }

    async fn next_request(&mut self) {
        let samples = self.receiver.request().await.samples;
        let samples = samples.into_iter().map(|one| (one.series, one.value));
        self.arrived.extend(samples);
    }

    /// The next sample of the good agent arrives at the engine, and its receipt at the agent.
    async fn others_are_served(&mut self) {
        let value = f64::from(u32::try_from(self.log.seq).unwrap()) + 0.5;
        let body = self.log.body(&[value], true);
        data(&mut self.good, "good", &body).await;
        while self.good.word().await != self.log.receipt() {}
        let sample = (r#"metrics_agent_load_1m{host="good"}"#.to_owned(), value);
        while !self.arrived.contains(&sample) {
            self.next_request().await;
        }
    }
}

/// One schema of two series, and its first sample: load.1m is 0.5 and made.up is 7.
fn good(stream: u64) -> Data {
    let series = |id, name: &str, kind: Type| Series {
        id,
        name: name.to_owned(),
        r#type: kind.into(),
        ..Series::default()
    };
    Data {
        stream,
        series: vec![
            series(1, "load.1m", Type::Float),
            series(2, "made.up", Type::Unsigned),
        ],
        schemas: vec![Schema {
            id: 1,
            source: "load".to_owned(),
            series: vec![1, 1],
        }],
        samples: vec![sample(1, 0.5)],
        sent_time: now(),
        sent_boottime: 1_000_000_000,
        sent_boot: BOOT.to_vec(),
        ..Data::default()
    }
}

fn sample(seq: u64, load: f64) -> Sample {
    Sample {
        seq,
        time: now(),
        boottime: 1_000_000_000,
        boot: BOOT.to_vec(),
        whole: true,
        schemas: vec![1],
        values: vec![
            code(Type::Float, 0, load.to_bits()),
            code(Type::Unsigned, 0, 7),
        ],
        ..Sample::default()
    }
}

/// A body with these bytes in the place of a sample.
fn with_sample(bytes: &[u8]) -> Vec<u8> {
    let mut body = Data {
        samples: Vec::new(),
        ..good(1)
    }
    .encode_to_vec();
    assert!(bytes.len() < 128);
    body.extend([4 << 3 | 2, u8::try_from(bytes.len()).unwrap()]);
    body.extend(bytes);
    body
}

/// What is wrong in a body, what is said of it, and what it costs.
struct Case {
    what: &'static str,
    body: Vec<u8>,
    /// In the log, in one line with the host.
    says: &'static str,
    counter: &'static str,
    counts: f64,
    /// Whether it is acknowledged.
    acked: Option<u64>,
    /// Values that arrive in spite of it.
    arrive: &'static [(&'static str, f64)],
}

const FAULTS: &str = "metrics_collector_samples_faults_total";
const BAD: &str = "metrics_collector_samples_bad_total";
const REFUSED: &str = "metrics_collector_messages_refused_total";

/// A fault inside of a body.
fn fault(
    what: &'static str,
    change: impl FnOnce(&mut Data),
    says: &'static str,
    arrive: &'static [(&'static str, f64)],
) -> Case {
    let mut data = good(1);
    change(&mut data);
    Case {
        what,
        body: data.encode_to_vec(),
        says,
        counter: FAULTS,
        counts: 1.0,
        acked: data.samples.iter().map(|sample| sample.seq).max(),
        arrive,
    }
}

/// A fault that costs the sample.
fn bad(what: &'static str, change: impl FnOnce(&mut Data), says: &'static str) -> Case {
    Case {
        counter: BAD,
        ..fault(what, change, says, &[])
    }
}

/// A body that is refused as a whole.
fn refused(what: &'static str, body: Vec<u8>, says: &'static str) -> Case {
    Case {
        what,
        body,
        says,
        counter: REFUSED,
        counts: 1.0,
        acked: None,
        arrive: &[],
    }
}

fn cases() -> Vec<Case> {
    const LOAD: (&str, f64) = ("load_1m", 0.5);
    const MADE: (&str, f64) = ("made_up", 7.0);
    let value = |value: f64| {
        move |data: &mut Data| data.samples[0].values[0] = code(Type::Float, 0, value.to_bits())
    };
    let not_finite = "a value that is not a finite number";
    let text = Sample {
        values: Vec::new(),
        ..sample(1, 0.5)
    };
    // The field of the values, with a text in it: four numbers of one byte.
    let text = [&text.encode_to_vec()[..], b"\x42\x04text"].concat();
    let label = |name: &str, value: &str| Label {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    vec![
        fault("nan", value(f64::NAN), not_finite, &[MADE]),
        fault("infinite", value(f64::INFINITY), not_finite, &[MADE]),
        fault("negative", value(f64::NEG_INFINITY), not_finite, &[MADE]),
        Case {
            body: with_sample(&text),
            ..bad(
                "text",
                |_| (),
                "a sample whose values do not fit its schemas",
            )
        },
        refused(
            "text-for-seq",
            with_sample(b"\x0a\x04text"),
            "a DATA body that is not the protobuf message `Data`",
        ),
        bad(
            "schema",
            |data| data.samples[0].schemas = vec![99],
            "a sample with the unknown schema 99",
        ),
        fault(
            "series-changed",
            |data| {
                let other = Series {
                    name: "made.other".to_owned(),
                    ..data.series[1].clone()
                };
                data.series.push(other);
            },
            "another series under the id 2, which is in use",
            &[LOAD],
        ),
        bad(
            "schema-changed",
            |data| {
                data.schemas.push(Schema {
                    id: 1,
                    source: "load".to_owned(),
                    series: vec![2],
                });
            },
            "another schema under the id 1, which is in use",
        ),
        fault(
            "labels",
            |data| data.series[1].labels = vec![label("a", "1"), label("b", "2")],
            "a series with the id 2 whose name or labels cannot be used",
            &[LOAD],
        ),
        fault(
            "long",
            |data| data.series[1].name = "x".repeat(257),
            "a series with the id 2 whose name or labels cannot be used",
            &[LOAD],
        ),
        fault(
            "seq-twice",
            |data| data.samples.push(sample(1, 9.5)),
            "a sample or loss with a number that is 0, or not higher than the one before",
            &[LOAD, MADE],
        ),
        refused(
            "many",
            Data {
                samples: (1..=513).map(|seq| sample(seq, 0.5)).collect(),
                ..good(1)
            }
            .encode_to_vec(),
            "a DATA body of more than 512 samples",
        ),
        refused(
            "stream",
            good(0).encode_to_vec(),
            "a DATA body without a stream",
        ),
    ]
}

#[tokio::test]
async fn what_is_wrong_in_a_body_is_said_and_counted_and_costs_no_other() {
    let mut scene = Scene::new().await;
    for case in cases() {
        let before = scene.page().await.number(case.counter);
        let mut agent = scene.collector.peer(case.what).await;
        begin(&mut agent, case.what).await;
        data(&mut agent, case.what, &case.body).await;
        let line = scene.collector.logged(case.says).await;
        assert!(line.contains(case.what), "{}: {line}", case.what);
        assert!(line.contains("update"), "no way out: {line}");
        scene.others_are_served().await;
        if let Some(seq) = case.acked {
            let receipt = format!("ack {:016x} {seq}", 1);
            while agent.word().await != receipt {}
        }
        let counted = scene.page().await.number(case.counter) - before;
        assert_eq!(counted, case.counts, "{}", case.what);
        for (name, value) in case.arrive {
            let series = format!("metrics_agent_{name}{{host=\"{}\"}}", case.what);
            assert_eq!(scene.value(&series).await, *value, "{series}");
        }
        // And nothing else of that host.
        let host = format!("host=\"{}\"", case.what);
        let values = scene.arrived.iter();
        let values = values.filter(|(series, _)| {
            series.contains(&host) && ["load", "made"].iter().any(|name| series.contains(name))
        });
        assert_eq!(values.count(), case.arrive.len(), "{}", case.what);
    }
}

#[tokio::test]
async fn samples_that_were_not_asked_for_are_not_taken() {
    let mut scene = Scene::new().await;
    let mut agent = scene.collector.peer("S").await;
    data(&mut agent, "stranger", &good(1).encode_to_vec()).await;
    let line = scene
        .collector
        .logged("samples of the second wire that this connection was not asked for")
        .await;
    assert!(line.contains("what stranger tells"), "{line}");
    assert!(line.contains("has to say hello"), "{line}");
    scene.others_are_served().await;
    assert_eq!(scene.page().await.number(REFUSED), 1.0);
    // As every host whose model is not known.
    assert_eq!(agent.word().await, "model");
    // Once it does as it should, it is heard.
    begin(&mut agent, "stranger").await;
    data(&mut agent, "stranger", &good(1).encode_to_vec()).await;
    while agent.word().await != format!("ack {:016x} 1", 1) {}
}

#[tokio::test]
async fn a_body_of_more_than_a_mebibyte_ends_its_connection_alone() {
    let mut scene = Scene::new().await;
    let mut agent = scene.collector.peer("L").await;
    begin(&mut agent, "large").await;
    let mut body = good(1).encode_to_vec();
    // A field that no peer knows.
    let rest = 1024 * 1024 - body.len();
    body.extend(b"\xa2\x06");
    prost::encoding::encode_varint(rest as u64, &mut body);
    body.resize(body.len() + rest, 0);
    data(&mut agent, "large", &body).await;
    agent.link("DISCONNECTED").await;
    scene
        .collector
        .logged("the agents' port: the peer announces a frame of ")
        .await;
    scene.others_are_served().await;
    let page = scene.page().await;
    let ended = page.series("metrics_collector_connections_ended_total");
    let mut ended = ended
        .iter()
        .filter(|(series, _)| series.contains("too_large"));
    let agents = ended.find(|(series, _)| series.contains("agents"));
    assert_eq!(agents.unwrap().1, "1");
}

#[tokio::test]
async fn a_million_series_take_no_memory_and_no_place() {
    const EACH: u32 = 25_000;
    let mut scene = Scene::new().await;
    let mut agent = scene.collector.peer("M").await;
    begin(&mut agent, "million").await;
    scene.others_are_served().await;
    let before = scene.collector.resident_kib();
    for message in 0..40 {
        let series = (1..=EACH).map(|number| Series {
            id: message * EACH + number,
            name: format!("made.up.{message}.{number}"),
            ..Series::default()
        });
        // All of them stay in use.
        let body = Data {
            stream: 1,
            series: series.collect(),
            sent_time: now(),
            ..Data::default()
        };
        let body = body.encode_to_vec();
        assert!(body.len() < 1024 * 1024);
        data(&mut agent, "million", &body).await;
    }
    let line = scene.collector.logged("too far from those in use").await;
    assert!(
        line.contains("million") && line.contains("update its agent"),
        "{line}"
    );
    scene.others_are_served().await;
    let faults = || async { scene.page().await.number(FAULTS) };
    // All but those that have a place.
    while faults().await < 1_000_000.0 - 32_768.0 {}
    assert_eq!(faults().await, 1_000_000.0 - 32_768.0);
    let more = scene.collector.resident_kib() - before;
    assert!(more < 64 * 1024, "{more} KiB more");
    scene.others_are_served().await;
}

#[tokio::test]
async fn numbers_that_are_missing_or_come_again_are_counted() {
    let mut scene = Scene::new().await;
    let (mut agent, mut log) = scene.agent("holes").await;
    let first = log.body(&[1.0, 2.0], false);
    data(&mut agent, "holes", &first).await;
    log.seq += 3;
    let body = log.body(&[3.0], false);
    data(&mut agent, "holes", &body).await;
    let line = scene.collector.logged("has left out 3 samples").await;
    assert!(
        line.contains("holes") && line.contains("look at the log of that host"),
        "{line}"
    );
    // The same once more.
    data(&mut agent, "holes", &first).await;
    let body = log.body(&[4.0], false);
    data(&mut agent, "holes", &body).await;
    while agent.word().await != log.receipt() {}
    let load = r#"metrics_agent_load_1m{host="holes"}"#;
    while scene
        .arrived
        .iter()
        .filter(|(series, _)| series == load)
        .count()
        < 4
    {
        scene.next_request().await;
    }
    scene.others_are_served().await;
    let arrived = scene.arrived.iter().filter(|(series, _)| series == load);
    let values: Vec<f64> = arrived.map(|(_, value)| *value).collect();
    assert_eq!(values, [1.0, 2.0, 3.0, 4.0]);
    let page = scene.page().await;
    assert_eq!(page.number("metrics_collector_samples_again_total"), 2.0);
    let lost = page.series("metrics_collector_samples_lost_total");
    let left_out = lost.iter().find(|(series, _)| series.contains("left-out"));
    assert_eq!(left_out.unwrap().1, "3");
}

/// A machine that was set back to a snapshot numbers new samples as it did others.
#[tokio::test]
async fn a_log_that_goes_back_is_taken_as_a_new_one() {
    let mut scene = Scene::new().await;
    let (mut agent, mut log) = scene.agent("back").await;
    let body = log.body(&[1.0, 2.0], false);
    data(&mut agent, "back", &body).await;
    let body = log.body(&[3.0, 4.0, 5.0], false);
    data(&mut agent, "back", &body).await;
    while agent.word().await != log.receipt() {}
    let mut agent = scene.collector.peer("B").await;
    begin(&mut agent, "back").await;
    log.seq = 2;
    log.forget_definitions();
    // A log's samples are a second apart, and the time goes on.
    log.ahead = 2;
    let body = log.body(&[6.0], false);
    data(&mut agent, "back", &body).await;
    let line = scene
        .collector
        .logged("numbers new samples from 3 on")
        .await;
    assert!(
        line.contains("back") && line.contains("those up to 5 have come"),
        "{line}"
    );
    while agent.word().await != log.receipt() {}
    let body = log.body(&[7.0], false);
    data(&mut agent, "back", &body).await;
    while agent.word().await != log.receipt() {}
    let load = r#"metrics_agent_load_1m{host="back"}"#;
    while !scene.arrived.contains(&(load.to_owned(), 7.0)) {
        scene.next_request().await;
    }
    let arrived = scene.arrived.iter().filter(|(series, _)| series == load);
    let values: Vec<f64> = arrived.map(|(_, value)| *value).collect();
    assert_eq!(values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    assert_eq!(scene.page().await.number(FAULTS), 1.0);
    scene.others_are_served().await;
}

#[tokio::test]
async fn hosts_with_the_same_stream_are_kept_apart() {
    let mut scene = Scene::new().await;
    let mut agents = Vec::new();
    for host in ["twin1", "twin2"] {
        let mut agent = scene.collector.peer(host).await;
        begin(&mut agent, host).await;
        agents.push((host, agent, Log::new(scene.log.stream)));
    }
    for round in 1..=3 {
        for (number, (host, agent, log)) in (1..).zip(&mut agents) {
            let value = f64::from(10 * round + number);
            let body = log.body(&[value], true);
            data(agent, host, &body).await;
            while agent.word().await != log.receipt() {}
        }
        scene.others_are_served().await;
    }
    for (host, values) in [("twin1", [11.0, 21.0, 31.0]), ("twin2", [12.0, 22.0, 32.0])] {
        let series = format!("metrics_agent_load_1m{{host=\"{host}\"}}");
        let last = (series.clone(), values[2]);
        while !scene.arrived.contains(&last) {
            scene.next_request().await;
        }
        let arrived = scene.arrived.iter().filter(|(known, _)| *known == series);
        assert_eq!(arrived.map(|(_, value)| *value).collect::<Vec<_>>(), values);
    }
    assert_eq!(
        scene
            .page()
            .await
            .number("metrics_collector_samples_again_total"),
        0.0
    );
}

/// Two machines, one of which was made of the other's disk.
#[tokio::test]
async fn a_clone_is_named_with_its_original_and_both_are_served() {
    const SHARED: &str = "metrics_collector_logs_shared_total";
    let mut scene = Scene::new().await;
    let mut agents = Vec::new();
    for host in ["original", "clone"] {
        let mut agent = scene.collector.peer(host).await;
        begin(&mut agent, host).await;
        agents.push((host, agent, Log::new(77)));
    }
    let mut values = Vec::new();
    for round in 1..=3 {
        for (number, (host, agent, log)) in (1..).zip(&mut agents) {
            if round == 3 {
                *agent = scene.collector.peer(&format!("{host} again")).await;
                begin(agent, host).await;
                log.forget_definitions();
            }
            let value = f64::from(10 * round + number);
            let body = log.body(&[value], true);
            data(agent, host, &body).await;
            while agent.word().await != log.receipt() {}
            values.push((format!("metrics_agent_load_1m{{host=\"{host}\"}}"), value));
        }
        scene.others_are_served().await;
        assert_eq!(scene.page().await.number(SHARED), 1.0, "round {round}");
    }
    for (series, value) in &values {
        while !scene.arrived.contains(&(series.clone(), *value)) {
            scene.next_request().await;
        }
    }
    // It is said before the counter is read: no other line is to come.
    let line = scene.collector.logged("tell samples of one log").await;
    assert!(
        line.contains("The agents of clone and original tell"),
        "{line}"
    );
    assert!(
        line.contains("remove /var/lib/metrics-agent/history"),
        "{line}"
    );
}

/// A host that was given another name is the same machine, on a connection of its own.
#[tokio::test]
async fn a_host_that_was_renamed_is_no_clone() {
    let mut scene = Scene::new().await;
    let mut agent = Peer::dealer();
    let mut log = Log::new(77);
    for (link, host) in ["before", "after", "before"].into_iter().enumerate() {
        // Another connection with the same key.
        let connect = json!({
            "do": "connect",
            "address": format!("tcp://{}", scene.collector.address),
            "server": scene.collector.public_key,
            "id": hex(format!("link {link}").as_bytes()),
        });
        agent.ask(connect).await;
        agent.link("HANDSHAKE_SUCCEEDED").await;
        begin(&mut agent, host).await;
        log.forget_definitions();
        for value in [0.5, 1.5] {
            let body = log.body(&[value], true);
            data(&mut agent, host, &body).await;
            while agent.word().await != log.receipt() {}
        }
    }
    scene.others_are_served().await;
    let page = scene.page().await;
    assert_eq!(page.number("metrics_collector_logs_shared_total"), 0.0);
}

#[tokio::test]
async fn who_sends_more_than_the_window_allows_is_sent_away() {
    let mut scene = Scene::new().await;
    // Nothing is acknowledged: the engine is busy.
    scene.receiver.answers(json!([{"hang": true}])).await;
    let mut agent = scene.collector.peer("A").await;
    begin(&mut agent, "greedy").await;
    let padding = vec![0; 250_000];
    for seq in 1..=8 {
        let mut body = Data {
            samples: vec![sample(seq, 0.5)],
            ..good(1)
        }
        .encode_to_vec();
        body.extend(b"\xa2\x06");
        prost::encoding::encode_varint(padding.len() as u64, &mut body);
        body.extend(&padding);
        data(&mut agent, "greedy", &body).await;
    }
    let line = scene.collector.logged("that were not acknowledged").await;
    assert!(
        line.contains("what greedy tells: more than 262144 bytes"),
        "{line}"
    );
    assert!(line.contains("restart it"), "{line}");
    // An agent that knows this word makes another connection, and sends again what was not acknowledged.
    while agent.word().await != "refused" {}
}
