//! Samples as a request of remote write 1.0: protobuf, as `prometheus.WriteRequest` has it,
//! compressed with snappy's block format.
//!
//! Each sample is a `TimeSeries` of its own: of a fleet, one request rarely holds a series
//! twice. Written straight from borrowed text with prost's primitives; [`schema`] has the
//! same messages as types, for who reads them.

use std::collections::BTreeMap;

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::tracker::Sample;
use crate::collector::prometheus::naming::{HOST, TEXT};
use crate::collector::settings::{LabelName, LabelValue};

/// Most samples of a request: enough that a receiver 5 ms away gets a million in a second,
/// one request after the other.
pub const MAX_BATCH_SAMPLES: usize = 10_000;

/// Most bytes of a request before it is compressed: far below what receivers take (Mimir
/// 100 MB, nginx in front of them 1 MB compressed).
pub const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;

/// Room that is kept: what is usual, not the most there may be.
const KEPT_BYTES: usize = 256 * 1024;

/// What Prometheus calls the label with a series' name.
const NAME: &str = "__name__";

/// Labels of a series besides the target's.
const OWN_LABELS: usize = 4;

/// Protobuf's field numbers.
mod field {
    pub(super) const TIMESERIES: u32 = 1;
    pub(super) const LABELS: u32 = 1;
    pub(super) const SAMPLES: u32 = 2;
    pub(super) const LABEL_NAME: u32 = 1;
    pub(super) const LABEL_VALUE: u32 = 2;
    pub(super) const VALUE: u32 = 1;
    pub(super) const TIMESTAMP: u32 = 2;
}

/// The labels that a target has on every series.
pub(super) type Labels = BTreeMap<LabelName, LabelValue>;

/// A request that is being put together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    body: Vec<u8>,
    samples: usize,
}

impl Batch {
    /// Adds a sample.
    pub(super) fn push(&mut self, labels: &Labels, sample: &Sample<'_>) {
        let mut own = [("", ""); OWN_LABELS];
        let all = [
            Some((NAME, sample.name)),
            Some((HOST, sample.host)),
            sample.instance,
            sample.text.map(|text| (TEXT, text)),
        ];
        let mut count = 0;
        for (place, label) in own.iter_mut().zip(all.into_iter().flatten()) {
            *place = label;
            count += 1;
        }
        let own = own.get_mut(..count).unwrap_or_default();
        own.sort_unstable();
        let value = sample_bytes(sample.time);
        let lengths = own.iter().copied().chain(texts(labels)).map(field_bytes);
        let bytes = lengths.sum::<usize>() + delimited(value);

        let body = &mut self.body;
        encode_key(field::TIMESERIES, WireType::LengthDelimited, body);
        encode_varint(bytes as u64, body);
        let mut own = own.iter().copied().peekable();
        let mut more = texts(labels).peekable();
        // Both are sorted, and no name is in both.
        while let Some(label) = match (own.peek(), more.peek()) {
            (Some(a), Some(b)) if b.0 < a.0 => more.next(),
            (Some(_), _) => own.next(),
            (None, _) => more.next(),
        } {
            encode_key(field::LABELS, WireType::LengthDelimited, body);
            encode_varint(label_bytes(label) as u64, body);
            encode_text(field::LABEL_NAME, label.0, body);
            encode_text(field::LABEL_VALUE, label.1, body);
        }
        encode_key(field::SAMPLES, WireType::LengthDelimited, body);
        encode_varint(value as u64, body);
        encode_key(field::VALUE, WireType::SixtyFourBit, body);
        // Bit by bit: stale markers are told from other NaNs by them.
        body.extend_from_slice(&sample.value.to_bits().to_le_bytes());
        encode_key(field::TIMESTAMP, WireType::Varint, body);
        encode_varint(sample.time.cast_unsigned(), body);
        self.samples += 1;
    }

    /// How many samples it has.
    pub(super) fn samples(&self) -> usize {
        self.samples
    }

    /// Returns true if no more should be added.
    pub(super) fn is_full(&self) -> bool {
        self.samples >= MAX_BATCH_SAMPLES || self.body.len() >= MAX_BATCH_BYTES
    }

    /// What the request says.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Gives back room that only a large message needed.
    pub(super) fn shrink(&mut self) {
        self.body.shrink_to(KEPT_BYTES);
    }

    /// Starts over; keeps its room.
    pub(super) fn clear(&mut self) {
        self.body.clear();
        self.samples = 0;
    }
}

/// Sorted by name.
fn texts(labels: &Labels) -> impl Iterator<Item = (&str, &str)> {
    let labels = labels.iter();
    labels.map(|(name, value)| (name.as_str(), value.as_str()))
}

fn encode_text(number: u32, text: &str, body: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, body);
    encode_varint(text.len() as u64, body);
    body.extend_from_slice(text.as_bytes());
}

/// With its length in front; all field numbers here fit a key of one byte.
fn delimited(bytes: usize) -> usize {
    1 + encoded_len_varint(bytes as u64) + bytes
}

fn label_bytes((name, value): (&str, &str)) -> usize {
    delimited(name.len()) + delimited(value.len())
}

fn field_bytes(label: (&str, &str)) -> usize {
    delimited(label_bytes(label))
}

fn sample_bytes(time: i64) -> usize {
    1 + size_of::<f64>() + 1 + encoded_len_varint(time.cast_unsigned())
}

/// The messages of remote write 1.0, as `types.proto` and `remote.proto` of Prometheus have
/// them, without metadata and what is optional.
pub mod schema {
    /// A request.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct WriteRequest {
        /// Samples, series by series.
        #[prost(message, repeated, tag = "1")]
        pub timeseries: Vec<TimeSeries>,
    }

    /// Samples of one series.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct TimeSeries {
        /// Sorted by name; one of them is `__name__`.
        #[prost(message, repeated, tag = "1")]
        pub labels: Vec<Label>,
        /// In the order of their times.
        #[prost(message, repeated, tag = "2")]
        pub samples: Vec<Sample>,
    }

    /// A label.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Label {
        /// What it is called.
        #[prost(string, tag = "1")]
        pub name: String,
        /// What it says.
        #[prost(string, tag = "2")]
        pub value: String,
    }

    /// A value at a time.
    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct Sample {
        /// The value.
        #[prost(double, tag = "1")]
        pub value: f64,
        /// In milliseconds since 1970.
        #[prost(int64, tag = "2")]
        pub timestamp: i64,
    }
}

#[cfg(test)]
mod tests {

    use proptest::prelude::*;
    use prost::Message as _;

    use super::super::tracker::STALE;
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let owned = |text: &str| text.to_owned();
        let pairs = pairs.iter();
        let pairs = pairs.map(|(name, value)| {
            let name = LabelName::try_from(owned(name)).unwrap();
            (name, LabelValue::try_from(owned(value)).unwrap())
        });
        pairs.collect()
    }

    fn shown(batch: &Batch) -> Vec<(String, u64, i64)> {
        let request = schema::WriteRequest::decode(batch.body()).unwrap();
        let series = request.timeseries.iter().map(|series| {
            let labels: Vec<_> = series
                .labels
                .iter()
                .map(|label| format!("{}={}", label.name, label.value))
                .collect();
            let [sample] = series.samples[..] else {
                panic!("one sample each: {series:?}");
            };
            (labels.join(","), sample.value.to_bits(), sample.timestamp)
        });
        series.collect()
    }

    #[test]
    fn labels_are_sorted_by_name_the_target_s_among_them() {
        let mut batch = Batch::default();
        let labels = labels(&[("Site", "b"), ("cluster", "a"), ("zone", "c")]);
        let mut sample = Sample {
            host: "web1",
            name: "metrics_agent_x",
            instance: Some(("device", "sda")),
            text: Some("text"),
            value: 0.5,
            time: 1_700_000_000_123,
        };
        batch.push(&labels, &sample);
        sample.instance = None;
        sample.text = None;
        sample.value = f64::from_bits(STALE);
        sample.time = 0;
        batch.push(&Labels::default(), &sample);
        let all =
            "Site=b,__name__=metrics_agent_x,cluster=a,device=sda,host=web1,value=text,zone=c";
        assert_eq!(
            shown(&batch),
            [
                (all.to_owned(), 0.5_f64.to_bits(), 1_700_000_000_123),
                ("__name__=metrics_agent_x,host=web1".to_owned(), STALE, 0),
            ]
        );
        assert_eq!(batch.samples(), 2);
        batch.clear();
        assert!(batch.body().is_empty() && batch.samples() == 0);
    }

    #[test]
    fn it_is_full_at_its_bounds() {
        let sample = Sample {
            host: "web1",
            name: "x",
            instance: None,
            text: None,
            value: 1.0,
            time: 1,
        };
        let mut batch = Batch::default();
        for _ in 0..MAX_BATCH_SAMPLES {
            assert!(!batch.is_full());
            batch.push(&Labels::default(), &sample);
        }
        assert!(batch.is_full());
        batch.clear();
        let long = "x".repeat(1000);
        let long = labels(&[("a", &long), ("b", &long)]);
        while !batch.is_full() {
            batch.push(&long, &sample);
        }
        assert!(batch.samples() < 1_200);
        assert!(batch.body().len() < MAX_BATCH_BYTES + 4096);
    }

    proptest! {
        /// What is written by hand is what the derived types would write.
        #[test]
        fn it_is_protobuf(
            host in "\\PC{1,40}",
            name in "[a-z_]{1,300}",
            instance in prop::option::of("\\PC{1,300}"),
            text in prop::option::of("\\PC{1,200}"),
            value in any::<f64>(),
            time in any::<i64>(),
        ) {
            let mut batch = Batch::default();
            let instance = instance.as_deref().map(|value| ("device", value));
            let labels = labels(&[("a", "b")]);
            let sample = Sample { host: &host, name: &name, instance, text: text.as_deref(), value, time };
            batch.push(&labels, &sample);
            let request = schema::WriteRequest::decode(batch.body()).unwrap();
            // An empty field is left out there; there is none but a value and a time of 0.
            if value.classify() != std::num::FpCategory::Zero && time != 0 {
                prop_assert_eq!(request.encode_to_vec(), batch.body());
            }
            let [series] = &request.timeseries[..] else { panic!() };
            prop_assert_eq!(series.samples[0].value.to_bits(), value.to_bits());
            prop_assert_eq!(series.samples[0].timestamp, time);
            prop_assert!(series.labels.is_sorted_by(|a, b| a.name < b.name));
            prop_assert!(series.labels.iter().any(|l| l.name == "host" && l.value == host));
        }
    }
}
