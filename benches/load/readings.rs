//! What an agent with every source says: 400 values, on either wire.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use metrics_agent::metrics::table::METRICS;
use metrics_agent::metrics::{Definition, Kind};
use metrics_agent::protocol::data::coding::{Layout, Run};
use metrics_agent::protocol::data::dictionary::Value;
use metrics_agent::protocol::data::wire::{Kind as WireKind, Sample};
use metrics_agent::protocol::data::{BodyWriter, Dictionary, Point, Sent};
use prost::Message as _;

const VALUES: usize = 400;

/// Most samples of one message, and bytes after which one is full.
const MOST: (usize, usize) = (512, 64 * 1024);

const BOOT: [u8; 16] = [7; 16];

/// When every host was booted, in µs since 1970. No clock is set meanwhile.
const BOOTED: i64 = 1_700_000_000_000_000;

/// One metric, and its instance.
type Metric = (&'static Definition, Option<String>);

/// Every plain metric, and instances of the others until there are enough.
fn metrics() -> Vec<Metric> {
    let all = METRICS.iter().copied();
    let all = all.filter(|one| one.in_metrics && one.kind != Kind::Info);
    let (several, plain): (Vec<_>, Vec<_>) = all.partition(|one| one.instance.is_some());
    let plain = plain.into_iter().map(|one| (one, None));
    let instances = (0..).flat_map(|number| {
        let name = format!("instance-{number:02}.service");
        several.iter().map(move |one| (*one, Some(name.clone())))
    });
    let mut found: Vec<Metric> = plain.chain(instances).take(VALUES).collect();
    // Instances of one metric, and metrics of one source, stand together.
    found.sort_by_key(|(one, _)| METRICS.iter().position(|other| other.name == one.name));
    found
}

/// The value of the metric at this place in a host's sample.
fn value(definition: &Definition, place: usize, seq: u64) -> Value<'static> {
    let place = place as u64;
    match definition.kind {
        // Half of what is counted stands still for long.
        Kind::Counter => Value::Unsigned(place * 1_234_567 + seq * (place % 2) * (place + 13)),
        _ if place.is_multiple_of(3) => {
            let percent = (place * 7 + seq * 13) % 10_000;
            Value::Float(f64::from(u32::try_from(percent).unwrap_or(0)) / 100.0)
        }
        _ => Value::Unsigned(place * 123_457 + seq % 7 * (place % 3) * 4096),
    }
}

/// The sample on the first wire.
pub(crate) fn json() -> String {
    let mut grid = "{".to_owned();
    for (place, (definition, instance)) in metrics().iter().enumerate() {
        let comma = if place > 0 { "," } else { "" };
        let _ = match instance {
            Some(instance) => write!(grid, "{comma}\"{}[{instance}]\":", definition.name),
            None => write!(grid, "{comma}\"{}\":", definition.name),
        };
        let _ = match value(definition, place, 1) {
            Value::Unsigned(value) => write!(grid, "{value}"),
            Value::Float(value) => write!(grid, "{value}"),
            Value::Text(text) => write!(grid, "\"{text}\""),
        };
    }
    grid.push('}');
    grid
}

/// The sample on the second wire, of any agent that has defined its series.
pub(crate) struct Readings {
    metrics: Vec<Metric>,
    dictionary: Dictionary,
    /// What goes in front of the first sample on a connection.
    series: Vec<Vec<u8>>,
    schemas: Vec<Vec<u8>>,
    layouts: Vec<Box<Layout>>,
}

/// Where an agent is in its log.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) stream: u64,
    /// The last sample that was told.
    pub(crate) seq: u64,
    pub(crate) defined: bool,
}

impl Readings {
    pub(crate) fn new() -> Self {
        let mut readings = Self {
            metrics: metrics(),
            dictionary: Dictionary::default(),
            series: Vec::new(),
            schemas: Vec::new(),
            layouts: Vec::new(),
        };
        let first = readings.sampled(1);
        readings.series = first
            .series
            .iter()
            .map(prost::Message::encode_to_vec)
            .collect();
        readings.schemas = first
            .schemas
            .iter()
            .map(prost::Message::encode_to_vec)
            .collect();
        let layouts = first.schemas.iter().map(|schema| {
            let layout = readings.dictionary.layout(schema.id).expect("it is known");
            layout.into_boxed_slice()
        });
        readings.layouts = layouts.collect();
        readings
    }

    fn sampled(&mut self, seq: u64) -> metrics_agent::protocol::data::Sampled {
        let points = self.metrics.iter().enumerate().map(|(place, metric)| {
            let (definition, instance) = metric;
            let kind = match definition.kind {
                Kind::Counter => WireKind::Counter,
                _ => WireKind::Gauge,
            };
            let point = Point {
                name: definition.name,
                instance: definition.instance.zip(instance.as_deref()),
                kind,
                unit: definition.unit,
                value: value(definition, place, seq),
            };
            (definition.source, point)
        });
        self.dictionary.sample(points)
    }

    /// The next message of an agent, up to this sample, or until it is full or has so many bytes. The last of
    /// them is of now, each before it 5 s older.
    pub(crate) fn body(
        &mut self,
        place: &mut Place,
        until: u64,
        most_bytes: usize,
        is_now: bool,
    ) -> Vec<u8> {
        let most_bytes = most_bytes.min(MOST.1);
        let mut body = BodyWriter::new(place.stream);
        if !std::mem::replace(&mut place.defined, true) {
            self.series.iter().for_each(|one| body.series(one));
            self.schemas.iter().for_each(|one| body.schema(one));
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(0));
        let boottime = u64::try_from(now - BOOTED).unwrap_or(0);
        let mut run = Run::default();
        for _ in 0..MOST.0 {
            if place.seq >= until || body.len() >= most_bytes {
                break;
            }
            place.seq += 1;
            let age = (until - place.seq) * 5_000_000;
            let mut sample: Sample = self.sampled(place.seq).sample;
            sample.seq = place.seq;
            sample.time = now - i64::try_from(age).unwrap_or(0);
            sample.boottime = boottime.saturating_sub(age);
            sample.boot = BOOT.to_vec();
            let layouts = &self.layouts;
            let layout = |id: u32| layouts.get(id as usize - 1).map(|layout| &**layout);
            run.encode(&mut sample, layout).expect("it fits");
            body.sample(&sample.encode_to_vec());
        }
        body.finish(&Sent {
            time: now,
            boottime,
            boot: BOOT,
            behind: until - place.seq,
            now_from: if is_now { place.seq } else { 0 },
            moved: 0,
        })
    }
}
