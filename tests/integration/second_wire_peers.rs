//! The second wire between our programs and peers that somebody else could have written: Python programs
//! that know `docs/second-wire.md` and `data.proto` alone (`tests/peers/second_wire.py`).
#![expect(clippy::float_cmp, reason = "a value arrives as it was sent")]
#![expect(clippy::cast_precision_loss, reason = "small numbers")]

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::agent::{Agent, Site};
use crate::support::collector::{Collector, program};
use crate::support::deployed::section;
use crate::support::http::{address_of, fetch};
use crate::support::peer::Peer;
use crate::support::receiver::Receiver;

/// A collector that pushes to this receiver, with a page of metrics.
async fn pushing(home: &Path, receiver: &Receiver) -> Collector {
    let path = home.join("collector.toml");
    let text = format!("[remote_write.main]\nurl = \"{}\"\n", receiver.url());
    fs::write(&path, text).unwrap();
    let mut command = program(home);
    command
        .args(["--listen", "127.0.0.1:0", "--web-listen", "127.0.0.1:0"])
        .arg("--config")
        .arg(path);
    Collector::run(command).await
}

/// Has a Python agent connect and say hello.
async fn begin(agent: &mut Peer, collector: &Collector, more: Value) {
    let address = format!("tcp://{}", collector.address);
    agent
        .ask(json!({"do": "connect", "address": address, "server": collector.public_key}))
        .await;
    let mut command = json!({"do": "begin", "host": "web1"});
    let fields = command.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    agent.ask(command).await;
}

/// Waits until the agent's log has arrived up to this number.
async fn acked(agent: &mut Peer, seq: u64) {
    while agent.event("acked").await["seq"] != seq {}
}

/// What a receiver has had: the samples of each series, in the order of arrival.
#[derive(Default)]
struct Arrived(HashMap<String, Vec<(i64, f64)>>);

impl Arrived {
    async fn next(&mut self, receiver: &mut Receiver) {
        for sample in receiver.request().await.samples {
            let series = self.0.entry(sample.series).or_default();
            series.push((sample.time, sample.value));
        }
    }

    async fn until(&mut self, receiver: &mut Receiver, series: &str, count: usize) {
        while self.0.get(series).is_none_or(|all| all.len() < count) {
            self.next(receiver).await;
        }
    }
}

/// A sample with a value of each type, all of them other than those of the sample before.
fn sources(number: i64) -> Value {
    json!({
        "load": [
            {"name": "load.1m", "value": 0.5 * number as f64},
            // Missing from every second sample.
            {"name": "made.up", "value": (number % 2 == 1).then_some(-1.25e-3 * number as f64)},
        ],
        "disk": [
            {"name": "disk.reads.total", "labels": {"device": "sda"}, "kind": "COUNTER",
             "type": "UNSIGNED", "value": (1_u64 << 52) - number.unsigned_abs() * 1000},
            {"name": "made.signed", "type": "SIGNED", "value": 3 - 2 * number},
        ],
        "host": [
            {"name": "host.os", "labels": {"value": format!("Debian {}", 10 + number % 3)},
             "kind": "INFO", "type": "UNSIGNED", "value": 1},
        ],
    })
}

#[tokio::test]
async fn samples_of_a_python_agent_arrive_once_in_order_with_their_own_times() {
    let home = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start().await;
    let collector = pushing(home.path(), &receiver).await;
    let mut agent = Peer::start("second_agent.py");
    // Taken before there was a collector, a second apart.
    let mut times = Vec::new();
    for number in 1..=5 {
        let age = (20 - number) * 1_000_000;
        let command = json!({"do": "sample", "sources": sources(number), "age": age});
        times.push(agent.ask(command).await["time"].as_i64().unwrap());
    }
    begin(&mut agent, &collector, json!({})).await;
    let offered = agent.event("offered").await;
    assert_eq!(
        (&offered["window"], &offered["ack"]),
        (&json!(262_144), &json!("engine"))
    );
    acked(&mut agent, 5).await;

    // Sent, and the receipt is not heard: another connection sends them again.
    agent.ask(json!({"do": "reading", "on": false})).await;
    for number in 6..=8 {
        let age = (20 - number) * 1_000_000;
        let command = json!({"do": "sample", "sources": sources(number), "age": age});
        times.push(agent.ask(command).await["time"].as_i64().unwrap());
    }
    let mut arrived = Arrived::default();
    let load = r#"metrics_agent_load_1m{host="web1"}"#;
    arrived.until(&mut receiver, load, 8).await;
    agent.ask(json!({"do": "close"})).await;
    agent.ask(json!({"do": "reading", "on": true})).await;
    assert_eq!(agent.ask(json!({"do": "log"})).await["acked"], 5);
    // With fields of a protocol to come in all messages.
    begin(&mut agent, &collector, json!({"later": true})).await;
    acked(&mut agent, 8).await;
    for number in 9..=10 {
        let age = (20 - number) * 1_000_000;
        let command = json!({"do": "sample", "sources": sources(number), "age": age});
        times.push(agent.ask(command).await["time"].as_i64().unwrap());
    }
    acked(&mut agent, 10).await;
    arrived.until(&mut receiver, load, 10).await;

    let times: Vec<i64> = times.iter().map(|time| time.div_euclid(1000)).collect();
    let expected = |numbers: &[i64], value: &dyn Fn(i64) -> f64| -> Vec<(i64, f64)> {
        let at = |number: i64| times[usize::try_from(number - 1).unwrap()];
        numbers
            .iter()
            .map(|number| (at(*number), value(*number)))
            .collect()
    };
    let all: Vec<i64> = (1..=10).collect();
    let series = |name: &str| {
        let found = &arrived.0[&format!("metrics_agent_{name}")];
        // Without the marks of what is missing.
        let values = found.iter().filter(|(_, value)| !value.is_nan());
        values.copied().collect::<Vec<_>>()
    };
    assert_eq!(
        series(r#"load_1m{host="web1"}"#),
        expected(&all, &|n| 0.5 * n as f64)
    );
    assert_eq!(
        series(r#"made_up{host="web1"}"#),
        expected(&[1, 3, 5, 7, 9], &|n| -1.25e-3 * n as f64)
    );
    assert_eq!(
        series(r#"disk_reads_total{device="sda",host="web1"}"#),
        expected(&all, &|n| ((1_i64 << 52) - n * 1000) as f64)
    );
    assert_eq!(
        series(r#"made_signed{host="web1"}"#),
        expected(&all, &|n| (3 - 2 * n) as f64)
    );
    assert_eq!(
        series(r#"host_os_info{host="web1",value="Debian 11"}"#),
        expected(&[1, 4, 7, 10], &|_| 1.0)
    );
    let page = fetch(address_of(&collector), "/metrics").await;
    assert_eq!(page.number("metrics_collector_samples_total"), 10.0);
    assert_eq!(page.number("metrics_collector_samples_again_total"), 3.0);
    assert_eq!(page.number("metrics_collector_samples_faults_total"), 0.0);
}

/// Instances with every character of one byte, of two bytes, and what is odd beyond.
fn instances() -> Vec<String> {
    let odd = "\u{200e}\u{202e}\u{feff}\u{2028}\u{e0001}\u{fffd}\u{10ffff}€😀";
    let all = (0..=0x7ff_u32)
        .filter_map(char::from_u32)
        .chain(odd.chars());
    let mut instances: Vec<String> = all.map(|character| format!("a{character}b")).collect();
    instances.extend(["", "]", "[", "a][b", "]]", "\"}", "\\\"", " ", "="].map(str::to_owned));
    instances
}

#[tokio::test]
async fn labels_of_every_character_arrive_as_they_are_or_are_left_out_and_said() {
    let home = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start().await;
    let mut collector = pushing(home.path(), &receiver).await;
    let mut agent = Peer::start("second_agent.py");
    let instances = instances();
    let series = instances.iter().zip(1..).map(|(instance, value)| {
        json!({"name": "made.up", "labels": {"thing": instance}, "value": value})
    });
    let series: Vec<Value> = series.collect();
    agent
        .ask(json!({"do": "sample", "sources": {"made": series}}))
        .await;
    begin(&mut agent, &collector, json!({})).await;
    acked(&mut agent, 1).await;
    let legal = |text: &&String| !text.chars().any(char::is_control);
    let mut arrived = Arrived::default();
    let of_made = |arrived: &Arrived| {
        let made = arrived.0.iter();
        let made = made.filter(|(name, _)| name.starts_with("metrics_agent_made_up{"));
        made.map(|(name, samples)| (name.clone(), samples[0].1))
            .collect::<BTreeMap<_, _>>()
    };
    let count = instances.iter().filter(legal).count();
    while of_made(&arrived).len() < count {
        arrived.next(&mut receiver).await;
    }
    let expected = instances.iter().zip(1..).filter(|(text, _)| legal(text));
    let expected: BTreeMap<String, f64> = expected
        .map(|(text, value)| {
            // To Prometheus, a label without a value is no label.
            let item = match text.as_str() {
                "" => String::new(),
                text => format!(",item={text:?}"),
            };
            let series = format!("metrics_agent_made_up{{host=\"web1\"{item}}}");
            (series, f64::from(value))
        })
        .collect();
    assert_eq!(of_made(&arrived), expected);
    let faults = instances.len() - count;
    let line = collector.logged("Left out of what web1 reports").await;
    let more = format!("and {} more in the same message", faults - 1);
    assert!(
        line.contains("whose name or labels cannot be used") && line.contains(&more),
        "{line}"
    );
    let page = fetch(address_of(&collector), "/metrics").await;
    let counted = page.number("metrics_collector_samples_faults_total");
    assert_eq!(counted, f64::from(u32::try_from(faults).unwrap()));
}

#[tokio::test]
async fn an_agent_that_ignores_the_offer_is_served_as_before() {
    let home = tempfile::tempdir().unwrap();
    let mut receiver = Receiver::start().await;
    let collector = pushing(home.path(), &receiver).await;
    let mut agent = collector.peer("A").await;
    agent.hello().await;
    let offer = agent.any_word().await;
    assert!(offer.starts_with("offer 2 "), "{offer}");
    agent
        .report("web1", r#"{"agent.version":"0.1.0"}"#, "model")
        .await;
    let mut arrived = Arrived::default();
    let load = r#"metrics_agent_load_1m{host="web1"}"#;
    for (count, load_now) in [(1, 0.5), (2, 0.75)] {
        let grid = json!({"load.1m": load_now}).to_string();
        agent.report("web1", &grid, "metrics").await;
        arrived.until(&mut receiver, load, count).await;
        assert_eq!(arrived.0[load].last().unwrap().1, load_now);
    }
}

/// A Python collector and the agent's settings for it.
async fn python_collector() -> (Peer, String) {
    let mut collector = Peer::start("second_collector.py");
    let bound = collector.ask(json!({"do": "bind"})).await;
    let (port, public) = (
        bound["port"].as_u64().unwrap(),
        bound["public"].as_str().unwrap(),
    );
    let section = section("main", &format!("127.0.0.1:{port}"), public);
    (collector, section)
}

/// The same, which offers the second wire with a window of so many bytes.
async fn offering_collector(window: u64) -> (Peer, String) {
    let (mut collector, section) = python_collector().await;
    let offer = format!("window={window} ack=table");
    collector.ask(json!({"do": "offer", "text": offer})).await;
    (collector, section)
}

const SETTINGS: &str = "host.name = 'web1'\nintervals = { metrics = '100ms', stale = '1min' }\n";
/// Few values, so that a body is small.
const FEW: &str = "metrics.sources = ['uptime', 'meminfo']\n";

fn start(settings: &str) -> (Site, Agent) {
    let site = Site::new(settings);
    let agent = site.start();
    (site, agent)
}

async fn say(collector: &mut Peer, text: &str) {
    collector.ask(json!({"do": "say", "text": text})).await;
}

/// The samples of a body, by number.
fn samples(data: &Value) -> impl Iterator<Item = (u64, &Value)> {
    assert_eq!(data["host"], "web1");
    assert!(data["lost"].as_array().unwrap().is_empty(), "{data}");
    let samples = data["samples"].as_array().unwrap().iter();
    samples.map(|sample| (sample["seq"].as_u64().unwrap(), sample))
}

#[tokio::test]
async fn a_python_collector_reads_what_a_grid_would_have_said() {
    let (mut collector, section) = python_collector().await;
    let (_site, mut agent) = start(&format!("{SETTINGS}{section}"));
    collector.event("hello").await;
    // What is taken before there is an offer goes out as a grid, and is kept.
    let mut grids = BTreeMap::new();
    let mut model = Value::Null;
    while grids.len() < 5 {
        let grid = collector.event("grid").await;
        let values = grid["values"].clone();
        if grid["kind"] == "model" {
            model = values;
        } else {
            let uptime = values["sys.uptime"].as_f64().unwrap();
            grids.insert(uptime.to_bits(), values);
        }
    }
    assert_eq!(model["agent.wire"], 2);
    collector
        .ask(json!({"do": "acknowledge", "on": true}))
        .await;
    say(
        &mut collector,
        "offer 2 later=7 window=262144 flag ack=table x=",
    )
    .await;
    let mut found = 0;
    let mut facts = 0;
    let mut fresh = false;
    while found < grids.len() || !fresh || facts == 0 {
        let data = collector.event("data").await;
        fresh |= data["now_from"] != 0;
        for (_, sample) in samples(&data) {
            let values = sample["values"].as_object().unwrap();
            facts += usize::from(values.get("host.os").is_some_and(Value::is_string));
            let Some(uptime) = values.get("sys.uptime").and_then(Value::as_f64) else {
                continue;
            };
            let Some(grid) = grids.get(&uptime.to_bits()) else {
                continue;
            };
            found += 1;
            let grid = grid.as_object().unwrap();
            assert!(grid.len() > 100, "{grid:?}");
            for (name, value) in grid {
                let told = values.get(name).and_then(Value::as_f64);
                assert_eq!(told, value.as_f64(), "{name}");
            }
            // And what belongs to the model, in the first sample.
            for (name, value) in values {
                let known = grid.get(name).or_else(|| model.get(name));
                assert!(known == Some(value) || known.and_then(Value::as_f64) == value.as_f64());
            }
        }
    }
    agent.runs();
    assert_eq!(agent.said("Ignored a message"), [""; 0]);
}

#[tokio::test]
async fn a_python_collector_that_withholds_receipts_gets_a_window_and_no_more() {
    const WINDOW: u64 = 8192;
    let (mut collector, section) = offering_collector(WINDOW).await;
    let (_site, mut agent) = start(&format!("{SETTINGS}{FEW}{section}"));
    let mut last = 0;
    let mut most = 0;
    for round in 0..3 {
        // Full: what is now comes beside, and nothing else.
        let mut beside = 0;
        while beside < 5 {
            // The next of either, in order.
            collector.ask(json!({"do": "count"})).await;
            if collector.waiting("data") > 0 || beside == 0 && last == 0 {
                let data = collector.event("data").await;
                let number = |name: &str| data[name].as_u64().unwrap();
                let open = number("unacknowledged");
                most = most.max(open);
                // What it has to define is not left out for want of room.
                let fits = open - number("definitions") <= WINDOW;
                assert!(fits || open == number("bytes"), "{open} in round {round}");
                last = samples(&data).last().unwrap().0;
                beside = 0;
            } else if collector.event("grid").await["kind"] == "metrics" {
                beside += 1;
            }
        }
        assert!(most > WINDOW / 2, "{most}");
        // Half of it arrives, then all of it.
        let seq = if round == 1 { last - 1 } else { last };
        collector.ask(json!({"do": "ack", "seq": seq})).await;
        let data = collector.event("data").await;
        assert_eq!(samples(&data).next().unwrap().0, last + 1);
        last = samples(&data).last().unwrap().0;
    }
    agent.runs();
}

#[tokio::test]
async fn what_a_python_collector_has_not_acknowledged_comes_again() {
    let (mut collector, section) = offering_collector(65_536).await;
    let (_site, mut agent) = start(&format!("{SETTINGS}{FEW}{section}"));
    let mut told: BTreeMap<u64, Value> = BTreeMap::new();
    while told.len() < 8 {
        let data = collector.event("data").await;
        told.extend(samples(&data).map(|(seq, sample)| (seq, sample.clone())));
    }
    let first = *told.keys().next().unwrap();
    collector.ask(json!({"do": "ack", "seq": first + 2})).await;
    collector.ask(json!({"do": "close"})).await;
    agent.says("Lost main").await;
    // What was sent before that and not looked at.
    while collector.waiting("data") > 0 {
        let data = collector.event("data").await;
        told.extend(samples(&data).map(|(seq, sample)| (seq, sample.clone())));
    }
    let last = *told.keys().last().unwrap();
    collector.ask(json!({"do": "bind"})).await;
    let mut again: BTreeMap<u64, Value> = BTreeMap::new();
    while !again.contains_key(&(last + 2)) {
        let data = collector.event("data").await;
        for (seq, sample) in samples(&data) {
            assert!(
                again.insert(seq, sample.clone()).is_none(),
                "{seq} is there twice"
            );
        }
    }
    // The receipt may have come too late to be heard.
    let from = *again.keys().next().unwrap();
    assert_eq!(from, first + 3);
    let all: Vec<u64> = (from..=*again.keys().last().unwrap()).collect();
    assert_eq!(again.keys().copied().collect::<Vec<_>>(), all);
    for (seq, sample) in told.range(from..) {
        assert_eq!(&again[seq], sample);
    }
}

#[tokio::test]
async fn receipts_that_cannot_be_are_said_and_change_nothing() {
    let (mut collector, section) = offering_collector(65_536).await;
    let (_site, mut agent) = start(&format!("{SETTINGS}{FEW}{section}"));
    let data = collector.event("data").await;
    let first = samples(&data).next().unwrap().0;
    // Never sent, and of another log.
    collector
        .ask(json!({"do": "ack", "seq": first + 1_000_000}))
        .await;
    let line = agent.says("which this agent never sent").await;
    assert!(
        line.contains("Ignored a receipt from main")
            && line.contains(&format!(" {}", first + 1_000_000)),
        "{line}"
    );
    for stream in ["00000000000000ff", "0000000000000000"] {
        let command = json!({"do": "ack", "stream": stream, "seq": first});
        collector.ask(command).await;
    }
    for text in [
        "ack",
        "ack 00000000000000ff",
        "ack x 1",
        "ack 00000000000000ff -1",
        "ack 00000000000000ff 1e3",
        "ack 00000000000000ff 18446744073709551616",
        "ack 00000000000000ff 1 2",
        "offer 2 window=many",
        "offer 2 window=-1",
    ] {
        say(&mut collector, text).await;
    }
    let line = agent.says("Ignored a message from main").await;
    assert!(line.contains("ack"), "{line}");
    let mut last = first;
    while last < first + 10 {
        let data = collector.event("data").await;
        last = samples(&data).last().unwrap().0;
    }
    // None of them was taken for a receipt: all of it comes again.
    collector.ask(json!({"do": "close"})).await;
    agent.says("Lost main").await;
    while collector.waiting("data") > 0 {
        collector.event("data").await;
    }
    collector.ask(json!({"do": "bind"})).await;
    let data = collector.event("data").await;
    assert_eq!(samples(&data).next().unwrap().0, first);
    assert_eq!(agent.said("Ignored a").len(), 2, "{:#?}", agent.said(""));
}
