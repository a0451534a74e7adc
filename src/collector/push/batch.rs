//! Samples as a request of remote write 1.0: protobuf, as `prometheus.WriteRequest` has it,
//! compressed with snappy's block format.
//!
//! Each sample is a `TimeSeries` of its own: of a fleet, one request rarely holds a series
//! twice. Written straight from borrowed text with prost's primitives; [`schema`] has the
//! same messages as types, for who reads them. So any samples of a request, one behind the
//! other, are a request again: what is sent again in parts is copied, not encoded again.
//!
//! Knows which samples are of one host and one time (a row), and which receipts wait for the
//! whole of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::receipts::{Progress, Ticket};
use super::telling::Sample;
use crate::collector::prometheus::naming::{HOST, TEXT};
use crate::collector::settings::{LabelName, LabelValue};

/// Most samples of a request: enough that a receiver 5 ms away gets a million in a second,
/// one request after the other.
pub const MAX_BATCH_SAMPLES: usize = 10_000;

/// Most bytes of a request before it is compressed: far below what receivers take (Mimir
/// 100 MB, nginx in front of them 1 MB compressed).
pub const MAX_BATCH_BYTES: usize = 2 * 1024 * 1024;

/// The least that [`Batch::take_less`] leads to: a receiver that takes less than this takes
/// hardly anything.
const MIN_BATCH_BYTES: usize = 16 * 1024;

/// After so many requests that were taken, one that had to become smaller is tried twice as
/// large: the limit may have been removed.
const TAKEN_BEFORE_MORE: u32 = 1000;

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
#[derive(Debug)]
pub(super) struct Batch {
    body: Vec<u8>,
    /// Where each sample ends in it.
    ends: Vec<usize>,
    rows: Vec<Row>,
    /// The host of the next samples.
    host: Option<Arc<str>>,
    /// The time of the row that goes on, if one does.
    open: Option<i64>,
    /// The last sample of each host that is in it as a whole.
    tickets: Progress,
    /// It is full with so many bytes.
    limit: usize,
    /// Requests that were taken since that was changed.
    taken: u32,
}

/// Samples of one host at one time.
#[derive(Debug)]
struct Row {
    host: Option<Arc<str>>,
    /// The number of its first sample.
    first: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            body: Vec::new(),
            ends: Vec::new(),
            rows: Vec::new(),
            host: None,
            open: None,
            tickets: Progress::new(),
            limit: MAX_BATCH_BYTES,
            taken: 0,
        }
    }
}

impl Batch {
    /// The next samples are of this host, and no row goes on.
    pub(super) fn begin(&mut self, host: &Arc<str>) {
        self.host = Some(Arc::clone(host));
        self.open = None;
    }

    /// All samples of something are added that a receipt waits for.
    pub(super) fn end(&mut self, ticket: Option<Ticket>) {
        self.open = None;
        if let (Some(ticket), Some(host)) = (ticket, &self.host) {
            self.tickets.insert(Arc::clone(host), ticket);
        }
    }

    /// Adds a sample.
    pub(super) fn push(&mut self, labels: &Labels, sample: &Sample<'_>) {
        if self.open != Some(sample.time) {
            self.open = Some(sample.time);
            self.rows.push(Row {
                host: self.host.clone(),
                first: self.ends.len(),
            });
        }
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
        self.ends.push(body.len());
    }

    /// How many samples it has.
    pub(super) fn samples(&self) -> usize {
        self.ends.len()
    }

    /// Returns true if no other row should be added.
    pub(super) fn is_full(&self) -> bool {
        self.samples() >= MAX_BATCH_SAMPLES || self.body.len() >= self.limit
    }

    /// Returns true if it is so far beyond its bounds that its last row must go on in another
    /// request.
    pub(super) fn is_overfull(&self) -> bool {
        self.samples() >= 2 * MAX_BATCH_SAMPLES || self.body.len() >= 2 * self.limit
    }

    /// A request of so many bytes was too large: fewer make it full from now on.
    pub(super) fn take_less(&mut self, bytes: usize) {
        self.limit = (bytes / 2).clamp(MIN_BATCH_BYTES, self.limit);
        self.taken = 0;
    }

    /// A request was taken.
    pub(super) fn note_taken(&mut self) {
        if self.limit >= MAX_BATCH_BYTES {
            return;
        }
        self.taken += 1;
        if self.taken >= TAKEN_BEFORE_MORE {
            self.limit = (self.limit * 2).min(MAX_BATCH_BYTES);
            self.taken = 0;
        }
    }

    /// What the request says.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The samples of each row, those of a host together and in the order of time.
    pub(super) fn rows(&self) -> Vec<Range<usize>> {
        let ends = self.rows.iter().skip(1).map(|row| row.first);
        let ends = ends.chain([self.samples()]);
        let rows = self.rows.iter().zip(ends);
        let mut rows: Vec<_> = rows
            .map(|(row, end)| (row.host.as_deref(), row.first..end))
            .collect();
        // It keeps the order of a host's.
        rows.sort_by_key(|(host, _)| *host);
        rows.into_iter().map(|(_, samples)| samples).collect()
    }

    /// Writes a request of some of the samples.
    pub(super) fn write_part(&self, part: &[Range<usize>], body: &mut Vec<u8>) {
        body.clear();
        let end = |samples: usize| match samples.checked_sub(1) {
            Some(last) => self.ends.get(last).copied(),
            None => Some(0),
        };
        for samples in part {
            let bytes = end(samples.start).zip(end(samples.end));
            let bytes = bytes.and_then(|(start, end)| self.body.get(start..end));
            body.extend_from_slice(bytes.unwrap_or_default());
        }
    }

    /// What receipts wait for that is in it as a whole.
    pub(super) fn take_tickets(&mut self) -> Progress {
        std::mem::take(&mut self.tickets)
    }

    /// Gives back room that only a large message needed.
    pub(super) fn shrink(&mut self) {
        self.body.shrink_to(KEPT_BYTES);
    }

    /// Starts over; keeps its room. A row that goes on has its rest in what comes next.
    pub(super) fn clear(&mut self) {
        self.body.clear();
        self.ends.clear();
        self.rows.clear();
        self.open = None;
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

    use super::super::telling::STALE;
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
        // A row is sent as a whole, but for what is far too large.
        assert!(!batch.is_overfull());
        while !batch.is_overfull() {
            batch.push(&long, &sample);
        }
        assert!(batch.body().len() < 2 * MAX_BATCH_BYTES + 4096);
    }

    #[test]
    fn what_was_too_large_becomes_less_and_more_again() {
        let mut batch = Batch::default();
        let full = |batch: &mut Batch| {
            batch.clear();
            while !batch.is_full() {
                batch.push(&Labels::default(), &sample("x", 1));
            }
            batch.body().len()
        };
        batch.take_less(100_000);
        assert!((50_000..50_100).contains(&full(&mut batch)));
        // What is larger than that was said before.
        batch.take_less(1_000_000);
        assert!((50_000..50_100).contains(&full(&mut batch)));
        batch.take_less(2);
        assert!((MIN_BATCH_BYTES..MIN_BATCH_BYTES + 100).contains(&full(&mut batch)));
        for _ in 0..TAKEN_BEFORE_MORE {
            batch.note_taken();
        }
        assert!(full(&mut batch) >= 2 * MIN_BATCH_BYTES);
        for _ in 0..20 * TAKEN_BEFORE_MORE {
            batch.note_taken();
        }
        assert_eq!(batch.limit, MAX_BATCH_BYTES);
    }

    fn sample(name: &str, time: i64) -> Sample<'_> {
        Sample {
            host: "web1",
            name,
            instance: None,
            text: None,
            value: 1.0,
            time,
        }
    }

    #[test]
    fn rows_are_of_one_host_and_one_time_and_parts_are_requests() {
        let mut batch = Batch::default();
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let none = Labels::default();
        for (host, names, time) in [(&b, "xy", 1), (&a, "xyz", 1), (&b, "z", 2), (&a, "y", 2)] {
            batch.begin(host);
            for at in 0..names.len() {
                batch.push(&none, &sample(&names[at..=at], time));
            }
            batch.end(None);
        }
        // An end: the markers have another time than that it is down.
        batch.begin(&b);
        batch.push(&none, &sample("x", 5));
        batch.push(&none, &sample("up", 9));
        batch.end(None);
        let rows = batch.rows();
        assert_eq!(rows, [2..5, 6..7, 0..2, 5..6, 7..8, 8..9]);
        let mut part = Batch::default();
        batch.write_part(&[rows[1].clone(), rows[2].clone()], &mut part.body);
        let names: Vec<_> = shown(&part)
            .into_iter()
            .map(|(name, _, time)| (name, time))
            .collect();
        let labels = |name: &str| format!("__name__={name},host=web1");
        assert_eq!(
            names,
            [(labels("y"), 2), (labels("x"), 1), (labels("y"), 1)]
        );
        // All of it is the whole.
        let mut whole = Vec::new();
        batch.write_part(std::slice::from_ref(&(0..9)), &mut whole);
        assert_eq!(whole, batch.body());
    }

    #[test]
    fn a_receipt_waits_for_the_whole_row() {
        let mut batch = Batch::default();
        let a: Arc<str> = "a".into();
        let ticket = |seq| Ticket { stream: 7, seq };
        batch.begin(&a);
        batch.push(&Labels::default(), &sample("x", 1));
        batch.end(Some(ticket(1)));
        // Of the next one, only a part.
        batch.begin(&a);
        batch.push(&Labels::default(), &sample("x", 2));
        assert_eq!(
            batch.take_tickets(),
            Progress::from([(Arc::clone(&a), ticket(1))])
        );
        batch.clear();
        batch.push(&Labels::default(), &sample("y", 2));
        let row = 0..1;
        assert_eq!(batch.rows(), [row]);
        batch.end(Some(ticket(2)));
        assert_eq!(batch.take_tickets(), Progress::from([(a, ticket(2))]));
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
