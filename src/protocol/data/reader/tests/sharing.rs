//! Connections that define the same hold it together, and notice nothing of it.

use super::*;

/// Keeps names as text, and finds what is the same.
#[derive(Default)]
struct Sharing {
    held: Vec<Arc<Defined<<Names as Keep>::Series, <Names as Keep>::Schema>>>,
    looks: usize,
}

impl Keep for Sharing {
    type Series = <Names as Keep>::Series;
    type Schema = <Names as Keep>::Schema;

    fn series(&mut self, series: &Series, usable: bool) -> Self::Series {
        Names.series(series, usable)
    }

    fn is(kept: &Self::Series, series: &Series) -> bool {
        Names::is(kept, series)
    }

    fn is_usable(kept: &Self::Series) -> bool {
        Names::is_usable(kept)
    }

    fn kind(kept: &Self::Series) -> Type {
        Names::kind(kept)
    }

    fn schema(&mut self, source: &str, series: &[&Self::Series]) -> Option<Self::Schema> {
        Names.schema(source, series)
    }

    fn share(&mut self, defined: &mut Arc<Defined<Self::Series, Self::Schema>>) {
        self.looks += 1;
        match self.held.iter().find(|held| *held == defined) {
            Some(held) => *defined = Arc::clone(held),
            None => self.held.push(Arc::clone(defined)),
        }
    }
}

fn tell(reader: &mut Reader<Sharing>, keep: &mut Sharing, data: &Data) -> TestBody {
    let bytes = data.encode_to_vec();
    reader.read(&bytes, keep, &mut Scratch::default()).unwrap()
}

fn is_shared(a: &Reader<Sharing>, b: &Reader<Sharing>) -> bool {
    std::ptr::eq(a.held.get().unwrap(), b.held.get().unwrap())
}

#[test]
fn what_is_the_same_is_held_once_until_it_changes() {
    let mut keep = Sharing::default();
    let mut readers = [(); 3].map(|()| Reader::default());
    for reader in &mut readers {
        tell(reader, &mut keep, &defined());
    }
    let [a, b, c] = &mut readers;
    assert!(is_shared(a, b) && is_shared(b, c));
    let more = Data {
        series: vec![series(3, "c", Type::Unsigned)],
        ..defined()
    };
    tell(a, &mut keep, &more);
    assert!(!is_shared(a, b) && is_shared(b, c));
    assert_eq!([a.series_len(), b.series_len()], [3, 2]);
    tell(b, &mut keep, &more);
    assert!(is_shared(a, b));
    // Ids that are not used any more.
    let less = Data {
        stream: 1,
        first_series: 2,
        first_schema: 1,
        ..Data::default()
    };
    tell(a, &mut keep, &less);
    assert!(!is_shared(a, b));
    tell(b, &mut keep, &less);
    assert!(is_shared(a, b));
    assert_eq!([a.series_len(), c.series_len()], [2, 2]);
}

/// What is said again, and what is wrong and changes nothing, costs no copy.
#[test]
fn what_changes_nothing_is_not_looked_at() {
    let mut keep = Sharing::default();
    let mut readers = [(); 2].map(|()| Reader::default());
    for reader in &mut readers {
        tell(reader, &mut keep, &defined());
    }
    let again = Data {
        first_series: 1,
        first_schema: 1,
        ..defined()
    };
    for _ in 0..10 {
        tell(&mut readers[0], &mut keep, &again);
    }
    assert_eq!(keep.looks, 2);
    assert!(is_shared(&readers[0], &readers[1]));
}

/// An agent that defines something in each message makes no more work than it is worth.
#[test]
fn looks_are_bounded_and_what_is_the_same_is_found_later() {
    const MESSAGES: u32 = 1000;
    let mut keep = Sharing::default();
    let mut readers = [(); 2].map(|()| Reader::default());
    for id in 1..=MESSAGES {
        let data = Data {
            stream: 1,
            series: vec![series(id, "a", Type::Unsigned)],
            ..Data::default()
        };
        tell(&mut readers[0], &mut keep, &data);
    }
    assert!(keep.looks < 270, "{}", keep.looks);
    let all = Data {
        stream: 1,
        series: (1..=MESSAGES)
            .map(|id| series(id, "a", Type::Unsigned))
            .collect(),
        ..Data::default()
    };
    tell(&mut readers[1], &mut keep, &all);
    let nothing = Data {
        stream: 1,
        ..Data::default()
    };
    for _ in 0..4 {
        tell(&mut readers[0], &mut keep, &nothing);
    }
    assert!(is_shared(&readers[0], &readers[1]));
}

/// A message of definitions, right and wrong ones, and samples.
fn messages() -> impl Strategy<Value = Data> {
    let series = (0..5_u32, prop::sample::select(vec!["a", "b", "bad"]));
    let series = series.prop_map(|(id, name)| super::series(id, name, Type::Unsigned));
    let schema = (0..4_u32, prop::collection::vec(0..3_i32, 0..3));
    let schema = schema.prop_map(|(id, series)| super::schema(id, &series));
    let sample = (prop::collection::vec(0..4_u32, 1..3), 0..4_usize);
    let sample = sample.prop_map(|(schemas, values)| (schemas, vec![2; values]));
    (
        prop::collection::vec(series, 0..3),
        prop::collection::vec(schema, 0..3),
        prop::collection::vec(sample, 0..3),
        (0..4_u32, 0..3_u32),
    )
        .prop_map(|(series, schemas, samples, (first_series, first_schema))| {
            let samples = samples.iter().zip(1..);
            let samples = samples.map(|((schemas, values), seq)| Coded {
                whole: true,
                ..super::sample(seq, schemas, values)
            });
            Data {
                stream: 1,
                series,
                schemas,
                samples: samples.collect(),
                first_series,
                first_schema,
                ..Data::default()
            }
        })
}

proptest! {
    #[test]
    fn sharing_changes_nothing(told in prop::collection::vec((0..3_usize, messages()), 1..60)) {
        let mut keep = Sharing::default();
        let mut together = [(); 3].map(|()| Reader::default());
        let mut alone = [(); 3].map(|()| TestReader::default());
        for (number, data) in told {
            let found = tell(&mut together[number], &mut keep, &data);
            let expected = read(&mut alone[number], &data).unwrap();
            prop_assert_eq!(shown(&found), shown(&expected));
            prop_assert_eq!(found.faults, expected.faults);
            prop_assert_eq!(found.fault_count, expected.fault_count);
        }
        for (together, alone) in together.iter().zip(&alone) {
            prop_assert_eq!(together.held.get(), alone.held.get());
        }
    }
}
