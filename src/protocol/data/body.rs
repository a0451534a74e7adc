//! Puts a DATA body together from parts that were encoded before.

use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};

use super::reader::{MAX_BODY_BYTES, MAX_SAMPLES};
use super::sent::Sent;
use super::wire::Lost;

/// Room that is left for what a body has besides its parts: eight numbers and an id.
const FRAME_BYTES: usize = 128;

/// A body that is being put together. Definitions go before the samples that need them.
#[derive(Debug, Default)]
pub struct BodyWriter {
    bytes: Vec<u8>,
    items: usize,
}

impl BodyWriter {
    /// An empty body of this log.
    #[must_use]
    pub fn new(stream: u64) -> Self {
        let mut body = Self::default();
        encode_key(1, WireType::SixtyFourBit, &mut body.bytes);
        body.bytes.extend_from_slice(&stream.to_le_bytes());
        body
    }

    /// Whether a part of so many bytes still fits, if it is a sample or loss or not.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.items < MAX_SAMPLES
            && self.bytes.len() + bytes + 1 + encoded_len_varint(bytes as u64) + FRAME_BYTES
                <= MAX_BODY_BYTES
    }

    /// How many bytes it has so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns true if it has no sample and no loss.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items == 0
    }

    /// Adds an encoded [`Series`](super::wire::Series).
    pub fn series(&mut self, encoded: &[u8]) {
        self.part(2, encoded);
    }

    /// Adds an encoded [`Schema`](super::wire::Schema).
    pub fn schema(&mut self, encoded: &[u8]) {
        self.part(3, encoded);
    }

    /// Adds an encoded [`Sample`](super::wire::Sample).
    pub fn sample(&mut self, encoded: &[u8]) {
        self.items += 1;
        self.part(4, encoded);
    }

    /// Adds a loss.
    pub fn lost(&mut self, lost: &Lost) {
        self.items += 1;
        self.part(5, &lost.encode_to_vec());
    }

    /// Says which ids are not used any more on this connection.
    pub fn first_ids(&mut self, series: u32, schema: u32) {
        self.number(9, series.into());
        self.number(10, schema.into());
    }

    /// The body.
    #[must_use]
    pub fn finish(mut self, sent: &Sent) -> Vec<u8> {
        self.number(6, sent.time.cast_unsigned());
        self.number(7, sent.boottime);
        self.number(8, sent.behind);
        self.number(11, sent.now_from);
        self.part(12, &sent.boot);
        if sent.moved != 0 {
            self.number(13, sent.moved.cast_unsigned());
        }
        self.bytes
    }

    fn part(&mut self, tag: u32, encoded: &[u8]) {
        encode_key(tag, WireType::LengthDelimited, &mut self.bytes);
        encode_varint(encoded.len() as u64, &mut self.bytes);
        self.bytes.extend_from_slice(encoded);
    }

    fn number(&mut self, tag: u32, number: u64) {
        encode_key(tag, WireType::Varint, &mut self.bytes);
        encode_varint(number, &mut self.bytes);
    }
}
