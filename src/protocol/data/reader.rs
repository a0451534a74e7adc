//! Reads DATA messages as a collector receives them.
//!
//! A [`Reader`] belongs to one connection: it keeps what was defined there. Everything is bounded before
//! it is built. What is wrong inside a body costs the sample, the value or the series that it is about;
//! the rest is taken.

use std::sync::Arc;

use prost::Message as _;
use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use self::defined::Held;
use self::fault::Faults;
use self::ids::Table;
use super::coding;
use super::sent::Sent;
use super::wire::{Lost, Reason, Sample as Coded, Schema, Series, Type};

mod defined;
mod fault;
mod ids;

pub use defined::{Defined, Kept};
pub use fault::Fault;
pub use ids::Scratch;

/// Most bytes of a body: what collectors take of a frame.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;

/// Most samples and losses of a message.
pub const MAX_SAMPLES: usize = 512;

/// Most bytes of a series: a text of 4,096 bytes, a name and an instance fit.
pub const MAX_SERIES_BYTES: usize = 8 * 1024;

/// Most labels of a series: the instance and a text are what our agents have.
pub const MAX_LABELS: usize = 2;

/// Most bytes of a schema: what [`MAX_VALUES`] ids take, far apart.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;

/// Most values of a sample, and most series of a schema: as a grid of the first wire.
pub const MAX_VALUES: usize = 10_000;

/// How far the ids of series in use may be apart: three times a host with the most values that may be,
/// of which some come and go. What is kept for each is some 16 bytes.
pub const MAX_SERIES_IDS: u32 = 32 * 1024;

/// How far the ids of schemas in use may be apart.
pub const MAX_SCHEMA_IDS: u32 = 4096;

/// Most series that all schemas of a connection name together.
pub const MAX_SCHEMA_SERIES: usize = 128 * 1024;

/// Who keeps what is defined: the collector, which shares it between hosts.
pub trait Keep {
    /// What is kept of a series. There is one for each id in use on each connection.
    type Series: Clone;
    /// What is kept of a schema.
    type Schema;

    /// Takes a series; its id is of no meaning. `usable` is false if its values are of no use, however it
    /// reads.
    fn series(&mut self, series: &Series, usable: bool) -> Self::Series;

    /// Returns true if this is what is kept of that series.
    fn is(kept: &Self::Series, series: &Series) -> bool;

    /// Returns true if its values are of use.
    fn is_usable(kept: &Self::Series) -> bool;

    /// What its bits mean.
    fn kind(kept: &Self::Series) -> Type;

    /// Takes a schema of these series. None if it cannot be used as a whole.
    fn schema(&mut self, source: &str, series: &[&Self::Series]) -> Option<Self::Schema>;

    /// May put in the place of what a connection has defined what another one holds, if it is the same.
    fn share(&mut self, defined: &mut Arc<Defined<Self::Series, Self::Schema>>);
}

/// What a body says.
#[derive(Debug)]
pub struct Body<S> {
    /// The agent's log.
    pub stream: u64,
    /// Samples and losses, in ascending order, none twice.
    pub items: Vec<Item<S>>,
    /// What it says of itself.
    pub sent: Sent,
    /// What was wrong in it, the first ones.
    pub faults: Vec<Fault>,
    /// How many faults there were.
    pub fault_count: u64,
}

/// A part of an agent's log.
#[derive(Debug)]
pub enum Item<S> {
    /// A sample.
    Sample(Sample<S>),
    /// What the agent has lost.
    Lost {
        /// The first number.
        from: u64,
        /// The last number.
        to: u64,
        /// Why.
        reason: Reason,
        /// When the first was taken, in µs since 1970; 0 if it is not known.
        from_time: i64,
        /// When the last was taken, in µs since 1970; 0 if it is not known.
        to_time: i64,
    },
    /// A sample that cannot be understood.
    Bad {
        /// Its number.
        seq: u64,
    },
}

impl<S> Item<S> {
    /// Its first and its last number.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        match self {
            Self::Sample(sample) => (sample.seq, sample.seq),
            Self::Lost { from, to, .. } => (*from, *to),
            Self::Bad { seq } => (*seq, *seq),
        }
    }
}

/// What was sampled at one time.
#[derive(Debug)]
pub struct Sample<S> {
    /// Its number.
    pub seq: u64,
    /// In µs since 1970, by the agent's clock.
    pub time: i64,
    /// In µs since boot.
    pub boottime: u64,
    /// The boot's id.
    pub boot: [u8; 16],
    /// What each source said.
    pub parts: Vec<Part<S>>,
}

/// What one source said.
#[derive(Debug)]
pub struct Part<S> {
    /// Of which series.
    pub schema: Arc<Kept<S>>,
    /// The bits of each value in the schema's order; 0 where it is absent.
    pub values: Vec<u64>,
    /// Places without a value, ascending.
    pub absent: Vec<u32>,
}

/// What was defined on one connection.
#[derive(Debug)]
pub struct Reader<K: Keep> {
    held: Held<K::Series, K::Schema>,
}

impl<K: Keep> Default for Reader<K> {
    fn default() -> Self {
        Self {
            held: Held::default(),
        }
    }
}

/// Samples of one message that are told as differences to each other.
#[derive(Debug, Default)]
struct Run {
    boot: Option<[u8; 16]>,
    /// One of them could not be read.
    broken: bool,
}

impl<K: Keep> Reader<K> {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// A [`Fault`] that costs the whole body. What was defined in it before is kept.
    pub fn read(
        &mut self,
        body: &[u8],
        keep: &mut K,
        scratch: &mut Scratch,
    ) -> Result<Body<K::Schema>, Fault> {
        if body.len() > MAX_BODY_BYTES {
            return Err(Fault::TooLarge(body.len()));
        }
        let mut faults = Faults::default();
        let found = self.fields(body, keep, &mut faults);
        self.held.settle(|defined| keep.share(defined));
        let found = found?;
        if found.stream == 0 {
            return Err(Fault::NoStream);
        }
        let items = self.items(found.samples, &found.lost, scratch, &mut faults);
        Ok(Body {
            stream: found.stream,
            items,
            sent: found.sent,
            faults: faults.named,
            fault_count: faults.count,
        })
    }

    /// Takes the definitions; the rest is found.
    fn fields(&mut self, body: &[u8], keep: &mut K, faults: &mut Faults) -> Result<Found, Fault> {
        let mut rest = body;
        let mut found = Found::default();
        while !rest.is_empty() {
            let (tag, wire) = decode_key(&mut rest).map_err(|_| Fault::NotProtobuf)?;
            match (tag, wire) {
                (2, WireType::LengthDelimited) => {
                    self.define_series(part(&mut rest)?, keep, faults);
                }
                (3, WireType::LengthDelimited) => {
                    self.define_schema(part(&mut rest)?, keep, faults);
                }
                (4 | 5, WireType::LengthDelimited) => {
                    if found.samples.len() + found.lost.len() >= MAX_SAMPLES {
                        return Err(Fault::TooManySamples);
                    }
                    let bytes = part(&mut rest)?;
                    if tag == 4 {
                        found.samples.push(decoded(bytes)?);
                    } else {
                        found.lost.push(decoded(bytes)?);
                    }
                }
                (1, WireType::SixtyFourBit) => {
                    found.stream = rest.try_get_u64_le().map_err(|_| Fault::NotProtobuf)?;
                }
                (6, WireType::Varint) => found.sent.time = varint(&mut rest)?.cast_signed(),
                (7, WireType::Varint) => found.sent.boottime = varint(&mut rest)?,
                (8, WireType::Varint) => found.sent.behind = varint(&mut rest)?,
                (11, WireType::Varint) => found.sent.now_from = varint(&mut rest)?,
                (13, WireType::Varint) => found.sent.moved = varint(&mut rest)?.cast_signed(),
                (12, WireType::LengthDelimited) => {
                    // One of another length is none: no sample is of it.
                    found.sent.boot = part(&mut rest)?.try_into().unwrap_or_default();
                }
                (9, WireType::Varint) => {
                    let first = low(varint(&mut rest)?);
                    if self
                        .held
                        .get()
                        .is_some_and(|all| all.series.has_below(first))
                    {
                        self.held.change().series.forget_below(first, drop);
                    }
                }
                (10, WireType::Varint) => {
                    let first = low(varint(&mut rest)?);
                    if self
                        .held
                        .get()
                        .is_some_and(|all| all.schemas.has_below(first))
                    {
                        let Defined { schemas, named, .. } = self.held.change();
                        schemas.forget_below(first, |schema| *named -= schema.series.len());
                    }
                }
                _ => skip_field(wire, tag, &mut rest, DecodeContext::default())
                    .map_err(|_| Fault::NotProtobuf)?,
            }
        }
        Ok(found)
    }

    fn define_series(&mut self, bytes: &[u8], keep: &mut K, faults: &mut Faults) {
        if bytes.len() > MAX_SERIES_BYTES {
            faults.note(Fault::Series(0));
            return;
        }
        let Ok(mut series) = Series::decode(bytes) else {
            faults.note(Fault::Series(0));
            return;
        };
        let id = std::mem::take(&mut series.id);
        let kept = self.held.get().and_then(|all| all.series.get(id));
        if kept.is_some_and(|kept| K::is(kept, &series)) {
            return;
        }
        let Some(slot) = self
            .held
            .change()
            .series
            .slot(id, MAX_SERIES_IDS)
            .filter(|_| id > 0)
        else {
            faults.note(Fault::SeriesId(id));
            return;
        };
        match slot {
            Some(kept) => {
                *kept = keep.series(&series, false);
                faults.note(Fault::SeriesChanged(id));
            }
            none => {
                let usable = series.labels.len() <= MAX_LABELS;
                let kept = keep.series(&series, usable);
                if !K::is_usable(&kept) {
                    faults.note(Fault::SeriesNotUsable(id));
                }
                *none = Some(kept);
            }
        }
    }

    fn define_schema(&mut self, bytes: &[u8], keep: &mut K, faults: &mut Faults) {
        let schema = (bytes.len() <= MAX_SCHEMA_BYTES).then(|| Schema::decode(bytes));
        let Some(Ok(schema)) = schema else {
            faults.note(Fault::Schema(0));
            return;
        };
        let id = schema.id;
        let known = self.held.get();
        let room = MAX_SCHEMA_SERIES - known.map_or(0, |all| all.named);
        // One without series says nothing; of such ones a sample could name any number.
        let fits = (1..=MAX_VALUES.min(room)).contains(&schema.series.len());
        let ids: Option<Box<[u32]>> = fits.then(|| absolute(&schema.series).collect()).flatten();
        let known = known.and_then(|all| all.schemas.get(id));
        if known.is_some_and(|known| ids.as_ref() == Some(&known.series)) {
            return;
        }
        let all = self.held.change();
        let Some(slot) = all.schemas.slot(id, MAX_SCHEMA_IDS).filter(|_| id > 0) else {
            faults.note(Fault::SchemaId(id));
            return;
        };
        let Some(ids) = ids else {
            faults.note(Fault::Schema(id));
            return;
        };
        if let Some(known) = slot.take() {
            // Which of both a sample means cannot be told.
            all.named -= known.series.len();
            faults.note(Fault::SchemaChanged(id));
            return;
        }
        let series: Option<Vec<_>> = ids.iter().map(|id| all.series.get(*id)).collect();
        let kept = series.and_then(|series| keep.schema(&schema.source, &series));
        if let Some(kept) = kept {
            all.named += ids.len();
            *slot = Some(Arc::new(Kept { kept, series: ids }));
        } else {
            faults.note(Fault::Schema(id));
        }
    }

    /// Samples and losses in the order of their numbers.
    fn items(
        &self,
        samples: Vec<Coded>,
        lost: &[Lost],
        scratch: &mut Scratch,
        faults: &mut Faults,
    ) -> Vec<Item<K::Schema>> {
        let mut items = Vec::with_capacity(samples.len() + lost.len());
        let mut lost = lost.iter().peekable();
        let mut highest = 0;
        let mut run = Run::default();
        scratch.begin();
        let mut add = |item: Item<K::Schema>, faults: &mut Faults| {
            let (from, to) = item.range();
            if from <= highest || to < from {
                faults.note(Fault::Order);
            } else {
                highest = to;
                items.push(item);
            }
        };
        for coded in samples {
            while let Some(lost) = lost.next_if(|lost| lost.from < coded.seq) {
                add(loss(lost), faults);
            }
            let seq = coded.seq;
            let item = match self.sample(coded, &mut run, scratch, faults) {
                Ok(sample) => Item::Sample(sample),
                Err(fault) => {
                    // What follows may be told as differences to it.
                    run.broken = true;
                    faults.note(fault);
                    Item::Bad { seq }
                }
            };
            add(item, faults);
        }
        for lost in lost {
            add(loss(lost), faults);
        }
        items
    }

    fn sample(
        &self,
        coded: Coded,
        run: &mut Run,
        scratch: &mut Scratch,
        faults: &mut Faults,
    ) -> Result<Sample<K::Schema>, Fault> {
        if coded.whole {
            scratch.begin();
            run.broken = false;
        }
        if run.broken {
            return Err(Fault::AfterBad);
        }
        if !coded.boot.is_empty() {
            run.boot = coded.boot.try_into().ok();
        }
        let boot = run.boot.ok_or(Fault::Boot)?;
        let defined = self.held.get();
        let mut absent = coded.absent.iter().copied().peekable();
        let mut values = coded.values.iter().copied();
        let mut parts = Vec::with_capacity(coded.schemas.len().min(MAX_PARTS));
        let mut place = 0_u32;
        for id in &coded.schemas {
            let schema = defined.and_then(|all| Some((&all.series, all.schemas.get(*id)?)));
            let (series, schema) = schema.ok_or(Fault::UnknownSchema(*id))?;
            let mut part = Part {
                values: Vec::with_capacity(schema.series.len()),
                absent: Vec::new(),
                schema: Arc::clone(schema),
            };
            if place as usize + schema.series.len() > MAX_VALUES {
                return Err(Fault::Values);
            }
            for (within, id) in (0_u32..).zip(&schema.series) {
                let value = if absent.next_if_eq(&place).is_some() {
                    part.absent.push(within);
                    0
                } else {
                    let coded = values.next().ok_or(Fault::Values)?;
                    let value = Self::value(series, *id, coded, scratch);
                    if value.is_none() {
                        part.absent.push(within);
                        faults.note(Fault::NotFinite);
                    }
                    value.unwrap_or(0)
                };
                part.values.push(value);
                place += 1;
            }
            parts.push(part);
        }
        if values.next().is_some() || absent.next().is_some() {
            return Err(Fault::Values);
        }
        Ok(Sample {
            seq: coded.seq,
            time: coded.time,
            boottime: coded.boottime,
            boot,
            parts,
        })
    }

    /// A value's bits; None if it is no finite number.
    fn value(series: &Table<K::Series>, id: u32, coded: u64, scratch: &mut Scratch) -> Option<u64> {
        // A series that was forgotten while a schema still names it: its values are of no use.
        let place = id.checked_sub(series.first)? as usize;
        let kind = K::kind(series.get(id)?);
        let before = scratch.at(place);
        *before = coding::value(kind, *before, coded);
        let bits = *before;
        (kind != Type::Float || f64::from_bits(bits).is_finite()).then_some(bits)
    }

    /// How many series are defined.
    #[must_use]
    pub fn series_len(&self) -> usize {
        self.held.get().map_or(0, |all| all.series.entries.len())
    }
}

/// Most parts of a sample that room is made for at once: our agents have some 20 sources.
const MAX_PARTS: usize = 64;

/// What a body has besides definitions.
#[derive(Debug, Default)]
struct Found {
    stream: u64,
    samples: Vec<Coded>,
    lost: Vec<Lost>,
    sent: Sent,
}

fn varint(rest: &mut &[u8]) -> Result<u64, Fault> {
    decode_varint(rest).map_err(|_| Fault::NotProtobuf)
}

/// As protobuf reads an uint32: the low half.
#[expect(clippy::cast_possible_truncation, reason = "that is how it is defined")]
fn low(number: u64) -> u32 {
    number as u32
}

/// A field with its length in front.
fn part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Fault> {
    let bytes = usize::try_from(varint(rest)?).map_err(|_| Fault::NotProtobuf)?;
    let (part, after) = rest.split_at_checked(bytes).ok_or(Fault::NotProtobuf)?;
    *rest = after;
    Ok(part)
}

fn decoded<M: prost::Message + Default>(bytes: &[u8]) -> Result<M, Fault> {
    M::decode(bytes).map_err(|_| Fault::NotProtobuf)
}

fn loss<S>(lost: &Lost) -> Item<S> {
    Item::Lost {
        from: lost.from,
        to: lost.to,
        reason: lost.reason(),
        from_time: lost.from_time,
        to_time: lost.to_time,
    }
}

/// Ids of differences; None for those that are none.
fn absolute(differences: &[i32]) -> impl Iterator<Item = Option<u32>> {
    let mut id = 0_u32;
    differences.iter().map(move |difference| {
        id = id.checked_add_signed(*difference)?;
        Some(id)
    })
}

#[cfg(test)]
mod tests;
