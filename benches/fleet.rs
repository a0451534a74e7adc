//! What it takes the collector to serve a whole fleet to Prometheus: 1,000 hosts with 400
//! metrics each, most of them with an instance.

#![expect(
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark without its input has nothing to go on with, and says what it measures"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use criterion::{Criterion, criterion_group, criterion_main};
use metrics_agent::base::process::resident_pages;
use metrics_agent::collector::hosts::snapshot::{HostSnapshot, MessageCounts, Presence, Snapshot};
use metrics_agent::collector::prometheus::exposition::Exposition;
use metrics_agent::collector::schemas::HostGrid;
use metrics_agent::metrics::LatestMetrics;
use metrics_agent::metrics::table::METRICS;
use metrics_agent::metrics::{Definition, Kind};
use metrics_agent::protocol::grid::Grid;
use metrics_agent::protocol::message::GridKind;
use rustix::time::{ClockId, clock_gettime};

const HOSTS: usize = 1000;
const METRICS_OF_HOST: usize = 400;

fn parsed(json: &str, kind: GridKind) -> Arc<HostGrid> {
    match Grid::parse(json.as_bytes(), kind) {
        Ok(grid) => Arc::new(grid.into()),
        Err(error) => panic!("{error}"),
    }
}

/// What a host sends: the table's metrics, and as many instances as it takes.
fn metrics(host: usize) -> Arc<HostGrid> {
    let held = METRICS.iter().filter(|metric| metric.in_metrics);
    let (several, one): (Vec<&Definition>, Vec<&Definition>) =
        held.copied().partition(|metric| metric.instance.is_some());
    let instances = (METRICS_OF_HOST - one.len()).div_ceil(several.len());
    let names = one.iter().map(|metric| metric.name.to_owned());
    let several = several.iter().flat_map(|metric| {
        let word = metric.instance.unwrap_or_default();
        (0..instances).map(move |number| format!("{}[{word}-number-{number}]", metric.name))
    });
    let mut json = String::from("{");
    for (number, name) in names.chain(several).take(METRICS_OF_HOST).enumerate() {
        let _ = write!(json, "\"{name}\":{},", 1_000_003 * number * (host + 1));
    }
    json.pop();
    json.push('}');
    parsed(&json, GridKind::Metrics)
}

fn model() -> Arc<HostGrid> {
    let texts = METRICS.iter().filter(|metric| metric.kind == Kind::Info);
    let mut json = String::from("{");
    for metric in texts.filter(|metric| metric.instance.is_none()) {
        let _ = write!(
            json,
            "\"{}\":\"Some text of the usual length\",",
            metric.name
        );
    }
    json.pop();
    json.push('}');
    parsed(&json, GridKind::Model)
}

fn snapshot() -> Snapshot {
    let hosts = (0..HOSTS).map(|number| HostSnapshot {
        name: format!("web{number}.example.org").into(),
        presence: Presence::Reporting,
        silence: Duration::from_secs(1),
        since: SystemTime::UNIX_EPOCH,
        counts: MessageCounts {
            messages: 1,
            comebacks: 0,
            shared: 0,
        },
        last_metrics: None,
        key: None,
        several_hosts: None,
        address: None,
        os: None,
        model: Some(model()),
        metrics: LatestMetrics::of(Instant::now(), [metrics(number)]),
    });
    Snapshot {
        hosts: hosts.collect(),
        taken: SystemTime::now(),
    }
}

/// Writes all of it, each piece over the last; how many bytes that were.
fn write(mut exposition: Exposition) -> usize {
    let mut piece = Vec::new();
    let mut bytes = 0;
    loop {
        piece.clear();
        let last = exposition.fill(&mut piece);
        bytes += black_box(&piece).len();
        if last {
            return bytes;
        }
    }
}

fn resident() -> u64 {
    let statm = std::fs::read("/proc/self/statm").unwrap_or_default();
    let pages = resident_pages(&statm).unwrap_or_default();
    pages * rustix::param::page_size() as u64
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.try_into().unwrap_or_default()
}

fn scrape(criterion: &mut Criterion) {
    let fleet = snapshot();
    let before = resident();
    let exposition = Exposition::begin(fleet.clone(), Vec::new());
    let taken = resident().saturating_sub(before);
    let bytes = write(exposition);
    println!("{bytes} bytes of text; {taken} bytes of memory beside the hosts' own");
    // On a machine with other work that is the figure to look at.
    let before = cpu_time();
    write(Exposition::begin(fleet.clone(), Vec::new()));
    println!("{:?} of CPU time", cpu_time().saturating_sub(before));
    let mut group = criterion.benchmark_group("1,000 hosts, 400 metrics each");
    group.sample_size(10);
    group.bench_function("sorted by family", |b| {
        b.iter(|| Exposition::begin(fleet.clone(), Vec::new()));
    });
    group.bench_function("all of it", |b| {
        b.iter(|| write(Exposition::begin(fleet.clone(), Vec::new())));
    });
    group.finish();
}

criterion_group!(fleet, scrape);
criterion_main!(fleet);
