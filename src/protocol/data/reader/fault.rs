//! What is wrong in a body, and what it costs.

use super::{MAX_BODY_BYTES, MAX_SAMPLES, MAX_SERIES_BYTES};

/// Most faults of one body that are named; the others are counted.
const MAX_NAMED: usize = 4;

/// What is wrong in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Cost: the whole message.
    #[error("a DATA body of {0} bytes; at most {MAX_BODY_BYTES} are allowed")]
    TooLarge(usize),
    /// Cost: the whole message.
    #[error("a DATA body that is not the protobuf message `Data`")]
    NotProtobuf,
    /// Cost: the whole message.
    #[error("a DATA body without a stream")]
    NoStream,
    /// Cost: the whole message.
    #[error("a DATA body of more than {MAX_SAMPLES} samples")]
    TooManySamples,
    /// Cost: its values.
    #[error("a series whose id {0} is 0, or too far from those in use")]
    SeriesId(u32),
    /// Cost: its values.
    #[error("a series with the id {0} that is longer than {MAX_SERIES_BYTES} bytes or no protobuf")]
    Series(u32),
    /// Cost: its values.
    #[error("a series with the id {0} whose name or labels cannot be used")]
    SeriesNotUsable(u32),
    /// Cost: its values.
    #[error("another series under the id {0}, which is in use")]
    SeriesChanged(u32),
    /// Cost: its samples.
    #[error("a schema whose id {0} is 0, or too far from those in use")]
    SchemaId(u32),
    /// Cost: its samples.
    #[error("a schema with the id {0} that is too large, or refers to unknown series")]
    Schema(u32),
    /// Cost: its samples.
    #[error("another schema under the id {0}, which is in use")]
    SchemaChanged(u32),
    /// Cost: the sample.
    #[error("a sample with the unknown schema {0}")]
    UnknownSchema(u32),
    /// Cost: the sample.
    #[error("a sample whose values do not fit its schemas")]
    Values,
    /// Cost: the sample.
    #[error("a sample told as differences to one that cannot be read")]
    AfterBad,
    /// Cost: the sample.
    #[error("a sample with a boot id that is not 16 bytes long")]
    Boot,
    /// Cost: the sample or loss.
    #[error("a sample or loss with a number that is 0, or not higher than the one before")]
    Order,
    /// Cost: the value.
    #[error("a value that is not a finite number")]
    NotFinite,
}

/// Faults of one body, the first ones by name.
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) named: Vec<Fault>,
    pub(super) count: u64,
}

impl Faults {
    pub(super) fn note(&mut self, fault: Fault) {
        self.count += 1;
        if self.named.len() < MAX_NAMED && !self.named.contains(&fault) {
            self.named.push(fault);
        }
    }
}
