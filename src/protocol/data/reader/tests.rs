use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::protocol::data::dictionary::{Dictionary, Point, Value};
use crate::protocol::data::wire::{Data, Kind, Label};
use crate::protocol::data::{BodyWriter, coding::Run, dictionary::layout_of};

/// Keeps names as text.
#[derive(Default)]
struct Names;

impl Keep for Names {
    type Series = (Option<String>, Series);
    type Schema = (String, Vec<Option<String>>);

    fn series(&mut self, series: &Series, usable: bool) -> Self::Series {
        let labels = series.labels.iter();
        let labels = labels.map(|label| format!("[{}={}]", label.name, label.value));
        let name = series.name.clone() + &labels.collect::<String>();
        let usable = usable && series.name != "bad";
        (usable.then_some(name), series.clone())
    }

    fn is(kept: &Self::Series, series: &Series) -> bool {
        kept.1 == *series
    }

    fn is_usable(kept: &Self::Series) -> bool {
        kept.0.is_some()
    }

    fn kind(kept: &Self::Series) -> Type {
        kept.1.r#type()
    }

    fn schema(&mut self, source: &str, series: &[&Self::Series]) -> Option<Self::Schema> {
        let names = series.iter().map(|(name, _)| name.clone());
        Some((source.to_owned(), names.collect()))
    }

    fn share(&mut self, _: &mut Arc<Defined<Self::Series, Self::Schema>>) {}
}

type TestReader = Reader<Names>;
type TestBody = Body<(String, Vec<Option<String>>)>;

fn read(reader: &mut TestReader, data: &Data) -> Result<TestBody, Fault> {
    reader.read(&data.encode_to_vec(), &mut Names, &mut Scratch::default())
}

fn series(id: u32, name: &str, kind: Type) -> Series {
    Series {
        id,
        name: name.to_owned(),
        r#type: kind.into(),
        ..Series::default()
    }
}

fn schema(id: u32, series: &[i32]) -> Schema {
    Schema {
        id,
        source: "test".to_owned(),
        series: series.to_vec(),
    }
}

fn sample(seq: u64, schemas: &[u32], values: &[u64]) -> Coded {
    Coded {
        seq,
        boot: vec![7; 16],
        schemas: schemas.to_vec(),
        values: values.to_vec(),
        ..Coded::default()
    }
}

/// Two series a and b of one schema.
fn defined() -> Data {
    Data {
        stream: 1,
        series: vec![series(1, "a", Type::Unsigned), series(2, "b", Type::Float)],
        schemas: vec![schema(1, &[1, 1])],
        ..Data::default()
    }
}

/// What a body says of samples: number, and each value that is there by name.
fn shown(body: &TestBody) -> Vec<(u64, Vec<String>)> {
    let items = body.items.iter().map(|item| match item {
        Item::Sample(sample) => {
            let parts = sample.parts.iter().flat_map(|part| {
                let values = part.values.iter().zip(&part.schema.kept.1);
                let there = values
                    .zip(0_u32..)
                    .filter(|(_, place)| !part.absent.contains(place));
                there
                    .map(|((value, name), _)| format!("{}={value}", name.as_deref().unwrap_or("?")))
            });
            (sample.seq, parts.collect())
        }
        Item::Lost {
            from, to, reason, ..
        } => (*from, vec![format!("lost to {to}: {reason:?}")]),
        Item::Bad { seq } => (*seq, vec!["bad".to_owned()]),
    });
    items.collect()
}

fn one(text: &[&str]) -> Vec<String> {
    text.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn definitions_stay_for_later_messages() {
    let mut reader = TestReader::default();
    let mut data = defined();
    data.samples = vec![sample(1, &[1], &[10, 0])];
    let body = read(&mut reader, &data).unwrap();
    assert_eq!(shown(&body), [(1, one(&["a=5", "b=0"]))]);
    let later = Data {
        stream: 1,
        samples: vec![
            sample(2, &[1], &[10, 0]),
            Coded {
                boot: vec![],
                ..sample(3, &[1], &[2, 0])
            },
            Coded {
                whole: true,
                ..sample(4, &[1], &[2, 0])
            },
        ],
        ..Data::default()
    };
    let body = read(&mut reader, &later).unwrap();
    let expected = [(2, "a=5"), (3, "a=6"), (4, "a=1")];
    assert_eq!(
        shown(&body),
        expected.map(|(seq, a)| (seq, one(&[a, "b=0"])))
    );
    assert_eq!((body.faults.len(), body.fault_count), (0, 0));
}

#[expect(clippy::too_many_lines, reason = "a list of faults")]
/// Each fault is named and costs what it should, and nothing beside it.
#[test]
fn what_is_wrong_costs_itself() {
    let good = (9, one(&["a=5", "b=0"]));
    let check = |change: &dyn Fn(&mut Data), fault: Fault, rest: &[(u64, Vec<String>)]| {
        let mut reader = TestReader::default();
        let mut data = defined();
        let whole = sample(9, &[1], &[10, 0]);
        data.samples = vec![Coded {
            whole: true,
            ..whole
        }];
        change(&mut data);
        let body = read(&mut reader, &data).unwrap();
        assert_eq!(body.faults, [fault]);
        let mut expected = rest.to_vec();
        expected.push(good.clone());
        assert_eq!(shown(&body), expected, "{fault}");
    };
    let bad = |seq| (seq, one(&["bad"]));
    check(
        &|data| data.samples.insert(0, sample(8, &[5], &[])),
        Fault::UnknownSchema(5),
        &[bad(8)],
    );
    for values in [&[1][..], &[1, 2, 3]] {
        check(
            &|data| data.samples.insert(0, sample(8, &[1], values)),
            Fault::Values,
            &[bad(8)],
        );
    }
    check(
        &|data| {
            data.samples.insert(
                0,
                Coded {
                    absent: vec![1, 0],
                    ..sample(8, &[1], &[])
                },
            );
        },
        Fault::Values,
        &[bad(8)],
    );
    check(
        &|data| {
            data.samples.insert(
                0,
                Coded {
                    boot: vec![1],
                    ..sample(8, &[1], &[10, 0])
                },
            );
        },
        Fault::Boot,
        &[bad(8)],
    );
    for seq in [0, 9] {
        check(
            &|data| data.samples.push(sample(seq, &[1], &[10, 0])),
            Fault::Order,
            &[],
        );
    }
    let infinite = coding::code(Type::Float, 0, f64::INFINITY.to_bits());
    check(
        &|data| {
            data.samples.insert(0, sample(8, &[1], &[10, infinite]));
        },
        Fault::NotFinite,
        &[(8, one(&["a=5"]))],
    );
    for (id, fault) in [
        (0, Fault::SeriesId(0)),
        (u32::MAX, Fault::SeriesId(u32::MAX)),
    ] {
        check(
            &|data| data.series.push(series(id, "x", Type::Float)),
            fault,
            &[],
        );
    }
    check(
        &|data| {
            data.series
                .push(series(3, &"x".repeat(MAX_SERIES_BYTES), Type::Float));
        },
        Fault::Series(0),
        &[],
    );
    check(
        &|data| data.series.push(series(3, "bad", Type::Float)),
        Fault::SeriesNotUsable(3),
        &[],
    );
    let label = Label::default();
    check(
        &|data| {
            let mut many = series(3, "x", Type::Float);
            many.labels = vec![label.clone(); MAX_LABELS + 1];
            data.series.push(many);
        },
        Fault::SeriesNotUsable(3),
        &[],
    );
    for (id, series, fault) in [
        (0, &[1][..], Fault::SchemaId(0)),
        (u32::MAX, &[1], Fault::SchemaId(u32::MAX)),
        (2, &[7], Fault::Schema(2)),
        (2, &[-1], Fault::Schema(2)),
        (2, &[], Fault::Schema(2)),
    ] {
        check(&|data| data.schemas.push(schema(id, series)), fault, &[]);
    }
}

#[test]
fn differences_to_what_cannot_be_read_are_not_guessed() {
    let mut data = defined();
    data.samples = vec![
        sample(1, &[1], &[10, 0]),
        sample(2, &[1], &[10]),
        sample(3, &[1], &[10, 0]),
        Coded {
            whole: true,
            ..sample(4, &[1], &[10, 0])
        },
    ];
    let body = read(&mut TestReader::default(), &data).unwrap();
    let (good, bad) = (one(&["a=5", "b=0"]), one(&["bad"]));
    let expected = [(1, good.clone()), (2, bad.clone()), (3, bad), (4, good)];
    assert_eq!(shown(&body), expected);
    assert_eq!(body.faults, [Fault::Values, Fault::AfterBad]);
}

#[test]
fn what_changes_under_an_id_is_not_used() {
    let mut reader = TestReader::default();
    let mut data = defined();
    data.series.push(series(2, "c", Type::Float));
    data.samples = vec![sample(1, &[1], &[10, 0])];
    let body = read(&mut reader, &data).unwrap();
    assert_eq!(body.faults, [Fault::SeriesChanged(2)]);
    assert_eq!(shown(&body), [(1, one(&["a=5", "?=0"]))]);
    // Said again, it is the same.
    let mut reader = TestReader::default();
    let mut data = defined();
    data.series.extend(defined().series);
    data.schemas.extend(defined().schemas);
    assert_eq!(read(&mut reader, &data).unwrap().fault_count, 0);
    let mut other = defined();
    other.schemas = vec![schema(1, &[2])];
    other.samples = vec![sample(1, &[1], &[0])];
    let body = read(&mut reader, &other).unwrap();
    assert_eq!(
        body.faults,
        [Fault::SchemaChanged(1), Fault::UnknownSchema(1)]
    );
}

#[test]
fn a_body_that_is_none_is_refused() {
    let mut reader = TestReader::default();
    let mut refused = |body: &[u8]| {
        reader
            .read(body, &mut Names, &mut Scratch::default())
            .unwrap_err()
    };
    assert_eq!(refused(&[]), Fault::NoStream);
    assert_eq!(refused(&[0xff; 12]), Fault::NotProtobuf);
    let large = vec![0; MAX_BODY_BYTES + 1];
    assert_eq!(refused(&large), Fault::TooLarge(MAX_BODY_BYTES + 1));
    let many = Data {
        stream: 1,
        samples: vec![Coded::default(); MAX_SAMPLES],
        lost: vec![Lost::default()],
        ..Data::default()
    };
    assert_eq!(refused(&many.encode_to_vec()), Fault::TooManySamples);
}

/// Ids that grow for years, with what is not used any more forgotten: what is kept stays bounded.
#[test]
fn what_is_kept_is_bounded() {
    let mut reader = TestReader::default();
    for round in 0..20_u32 {
        let first = round * MAX_SERIES_IDS / 2 + 1;
        let step = i32::try_from(first).unwrap();
        let mut data = Data {
            stream: 1,
            first_series: first,
            first_schema: round + 1,
            series: (first..first + MAX_SERIES_IDS / 4)
                .map(|id| series(id, "a", Type::Unsigned))
                .collect(),
            schemas: vec![schema(round + 1, &[step, 1])],
            samples: vec![sample(u64::from(round) + 1, &[round + 1], &[2, 2])],
            ..Data::default()
        };
        let body = read(&mut reader, &data).unwrap();
        assert_eq!(body.faults, []);
        assert!(reader.series_len() <= MAX_SERIES_IDS as usize);
        assert_eq!(reader.held.get().unwrap().named, 2);
        // Without that they are too many.
        data.first_series = 0;
        data.series = vec![series(first + MAX_SERIES_IDS, "a", Type::Unsigned)];
        let body = read(&mut reader, &data).unwrap();
        assert_eq!(body.faults, [Fault::SeriesId(first + MAX_SERIES_IDS)]);
    }
    let mut reader = TestReader::default();
    let mut data = defined();
    let wide: Vec<_> = (0..MAX_VALUES).map(|place| i32::from(place == 0)).collect();
    data.schemas = (1..50).map(|id| schema(id, &wide)).collect();
    let body = read(&mut reader, &data).unwrap();
    assert!(body.fault_count > 0);
    assert!(reader.held.get().unwrap().named <= MAX_SCHEMA_SERIES);
}

#[test]
fn losses_stand_between_samples() {
    let lost = |from, to| Lost {
        from,
        to,
        reason: Reason::Full.into(),
        ..Lost::default()
    };
    let mut data = defined();
    data.samples = vec![sample(5, &[1], &[10, 0]), sample(9, &[1], &[0, 0])];
    data.lost = vec![
        lost(1, 4),
        lost(6, 8),
        lost(8, 8),
        lost(12, 10),
        lost(10, 20),
    ];
    let body = read(&mut TestReader::default(), &data).unwrap();
    let text = |to| one(&[&format!("lost to {to}: Full")]);
    let value = || one(&["a=5", "b=0"]);
    let expected = [
        (1, text(4)),
        (5, value()),
        (6, text(8)),
        (9, value()),
        (10, text(20)),
    ];
    assert_eq!(shown(&body), expected);
    assert_eq!(body.faults, [Fault::Order]);
    assert_eq!(body.fault_count, 2);
}

/// A source's values: some metrics, each with instances.
fn sources() -> impl Strategy<Value = Vec<Vec<(u8, u8, u64)>>> {
    let value = prop_oneof![0..3_u64, any::<u64>()];
    let source = prop::collection::btree_map((0..3_u8, 0..4_u8), value, 0..8);
    let source = source.prop_map(|all| {
        all.into_iter()
            .map(|((a, b), value)| (a, b, value))
            .collect()
    });
    prop::collection::vec(source, 3)
}

proptest! {
    /// Whatever an agent samples, in messages of any size: its collector reads it.
    #[test]
    fn what_is_sampled_is_read(
        rows in prop::collection::vec(sources(), 1..12),
        sizes in prop::collection::vec(1..4_usize, 12),
    ) {
        const METRICS: [&str; 3] = ["m.count", "m.share", "m.fact"];
        let mut dictionary = Dictionary::default();
        let mut reader = TestReader::default();
        let mut scratch = Scratch::default();
        let mut defined: Vec<Series> = Vec::new();
        let mut schemas: Vec<Schema> = Vec::new();
        let mut rows = rows.into_iter().zip(1_u64..);
        for size in sizes {
            let mut writer = BodyWriter::new(77);
            let mut run = Run::default();
            let mut expected = Vec::new();
            for (row, seq) in rows.by_ref().take(size) {
                let texts: Vec<Vec<_>> = row.iter().enumerate().map(|(source, values)| {
                    values.iter().map(|(metric, instance, value)| {
                        (format!("s{source}"), format!("i{instance}"), format!("t{value}"), *metric, *value)
                    }).collect()
                }).collect();
                let points = texts.iter().flatten().map(|(source, instance, text, metric, value)| {
                    let value = match metric {
                        0 => Value::Unsigned(*value),
                        1 => Value::Float(f64::from(u32::try_from(*value >> 32).unwrap()) / 8.0),
                        _ => Value::Text(text),
                    };
                    let name = METRICS[usize::from(*metric)];
                    let instance = Some(("device", &**instance));
                    (&**source, Point { name, instance, kind: Kind::Gauge, unit: "", value })
                });
                let all: Vec<_> = points.collect();
                let text = |point: &Point<'_>| {
                    let name = format!("{}[device={}]", point.name, point.instance.unwrap().1);
                    match point.value {
                        Value::Unsigned(value) => format!("{name}={value}"),
                        Value::Float(value) => format!("{name}={}", value.to_bits()),
                        Value::Text(text) => format!("{name}[value={text}]=1"),
                    }
                };
                expected.push((seq, all.iter().map(|(_, point)| text(point)).collect::<Vec<_>>()));
                let mut sampled = dictionary.sample(all);
                for series in &sampled.series {
                    writer.series(&series.encode_to_vec());
                }
                for schema in &sampled.schemas {
                    writer.schema(&schema.encode_to_vec());
                }
                defined.extend(sampled.series);
                schemas.extend(sampled.schemas);
                sampled.sample.seq = seq;
                sampled.sample.boot = vec![1; 16];
                let layouts: Vec<_> = sampled.sample.schemas.iter().map(|id| {
                    let schema = schemas.iter().find(|schema| schema.id == *id).unwrap();
                    let layout = layout_of(schema, |id| {
                        defined.iter().find(|series| series.id == id).map(Series::r#type)
                    }).unwrap();
                    let known = dictionary.layout(*id);
                    prop_assert_eq!(known.as_deref(), Some(&*layout));
                    Ok((*id, layout))
                }).collect::<Result<_, TestCaseError>>()?;
                let layout = |id| layouts.iter().find(|(known, _)| *known == id).map(|(_, layout)| &**layout);
                run.encode(&mut sampled.sample, layout).unwrap();
                writer.sample(&sampled.sample.encode_to_vec());
            }
            if writer.is_empty() {
                break;
            }
            let sent = Sent {
 time: 1, boottime: 2, boot: [3; 16], behind: 4, now_from: 5, moved: -6 };
            let bytes = writer.finish(&sent);
            let body = reader.read(&bytes, &mut Names, &mut scratch).unwrap();
            prop_assert_eq!(&body.faults, &[]);
            prop_assert_eq!((body.stream, body.sent), (77, sent));
            let mut found = shown(&body);
            for (_, values) in &mut found {
                values.sort();
            }
            for (_, values) in &mut expected {
                values.sort();
            }
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = TestReader::default().read(&bytes, &mut Names, &mut Scratch::default());
    }
}

mod sharing;
