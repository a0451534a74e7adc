//! Grids whose names were said before, beside what is parsed of the same names and values.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, RandomState};

use super::*;

/// A metric of a schema.
#[derive(Clone, Debug)]
enum Said {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(String),
}

impl Said {
    fn value_type(&self) -> ValueType<'_> {
        match self {
            Self::Unsigned(_) => ValueType::Unsigned,
            Self::Signed(_) => ValueType::Signed,
            Self::Float(_) => ValueType::Float,
            Self::Text(text) => ValueType::Text(text),
        }
    }

    fn bits(&self) -> u64 {
        match self {
            Self::Unsigned(number) => *number,
            Self::Signed(number) => number.cast_unsigned(),
            Self::Float(number) => number.to_bits(),
            Self::Text(_) => 1,
        }
    }

    fn json(&self) -> serde_json::Value {
        match self {
            Self::Unsigned(number) => (*number).into(),
            Self::Signed(number) => (*number).into(),
            Self::Float(number) => (*number).into(),
            Self::Text(text) => text.as_str().into(),
        }
    }
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        any::<u64>().prop_map(Said::Unsigned),
        any::<i64>().prop_map(Said::Signed),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(Said::Float),
        "\\PC{0,20}".prop_map(Said::Text),
    ]
}

fn built<'a>(series: &[(&'a str, ValueType<'a>)]) -> Result<Schema, GridFault> {
    Names::build(series.iter().copied())
}

fn numbers(names: &[&str]) -> Schema {
    Names::build(names.iter().map(|name| (*name, ValueType::Unsigned))).unwrap()
}

fn sample(schema: &Schema, values: &[Option<u64>]) -> Result<Grid, WrongLength> {
    Grid::of(schema, values.iter().copied())
}

proptest! {
    /// In any order, with anything absent, it is what a message with the rest would be.
    #[test]
    fn a_sample_of_a_schema_is_what_is_parsed_of_the_same_metrics(
        metrics in prop::collection::btree_map("[^\\p{Cc}]{1,20}", said(), 0..200),
        absent in prop::collection::vec(prop::bool::weighted(0.2), 200),
        some_absent in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut series: Vec<(&String, &Said, bool)> = metrics
            .iter()
            .zip(&absent)
            .map(|((name, said), absent)| (name, said, some_absent && *absent))
            .collect();
        fastrand::Rng::with_seed(seed).shuffle(&mut series);
        let types = series.iter().map(|(name, said, _)| (name.as_str(), said.value_type()));
        let schema = Names::build(types).unwrap();
        prop_assert_eq!(schema.len(), metrics.len());
        prop_assert!(schema.names().iter().map(|(name, _)| name).eq(metrics.keys()));

        let values = series.iter().map(|(_, said, absent)| (!absent).then_some(said.bits()));
        let grid = Grid::of(&schema, values).unwrap();
        let there: BTreeMap<_, _> = series
            .iter()
            .filter(|(.., absent)| !absent)
            .map(|(name, said, _)| (*name, said.json()))
            .collect();
        let json = serde_json::to_vec(&there).unwrap();
        let parsed = Grid::parse(&json, GridKind::Model).unwrap();

        prop_assert_eq!(&grid, &parsed);
        prop_assert!(grid.iter().eq(parsed.iter()));
        prop_assert_eq!(grid.iter().len(), parsed.len());
        prop_assert_eq!(grid.len(), parsed.len());
        prop_assert_eq!(grid.is_empty(), parsed.is_empty());
        prop_assert_eq!(format!("{grid:?}"), format!("{parsed:?}"));
        prop_assert_eq!(serde_json::to_vec(&grid).unwrap(), serde_json::to_vec(&parsed).unwrap());
        for (name, ..) in &series {
            prop_assert_eq!(grid.get(name), parsed.get(name));
        }
        prop_assert!(grid.has_names_of(&parsed) && parsed.has_names_of(&grid));
        for (place, metric) in grid.numbered() {
            prop_assert_eq!(grid.at(place), Some(metric));
            prop_assert_eq!(schema.names().at(place).unwrap().0, metric.0);
        }
        let places = 0..=metrics.len();
        prop_assert!(places.filter_map(|place| grid.at(place)).eq(grid.iter()));
        if !some_absent {
            let places = 0..=metrics.len();
            prop_assert!(places.clone().map(|place| grid.at(place)).eq(places.map(|place| parsed.at(place))));
        }
    }

    #[test]
    fn any_names_are_taken_or_refused_as_in_a_message(
        names in prop::collection::vec("[a-b\u{1b}\u{e9}]{0,3}|n{255,258}", 0..6)
    ) {
        let built = Names::build(names.iter().map(|name| (name.as_str(), ValueType::Unsigned)));
        let pairs: Vec<_> = names.iter().map(|name| format!("{}:1", serde_json::json!(name))).collect();
        let parsed = parse(&format!("{{{}}}", pairs.join(",")));
        match (built, parsed) {
            (Ok(schema), Ok(grid)) => {
                let values = vec![Some(1); names.len()];
                prop_assert_eq!(Grid::of(&schema, values).unwrap(), grid);
            }
            (Err(fault), Err(Malformed::Grid(of_message))) => prop_assert_eq!(fault, of_message),
            other => panic!("{names:?}: {other:?}"),
        }
    }

    /// Whatever bits a peer sends, no value is anything that JSON has no form for.
    #[test]
    fn any_bits_are_values_or_absent(bits in prop::collection::vec(any::<u64>(), 3)) {
        let types = [ValueType::Unsigned, ValueType::Signed, ValueType::Float];
        let schema = Names::build(["u", "s", "f"].into_iter().zip(types)).unwrap();
        let grid = Grid::of(&schema, bits.iter().copied().map(Some)).unwrap();
        let text = serde_json::to_string(&grid).unwrap();
        prop_assert_eq!(parse(&text).unwrap(), grid);
    }
}

#[test]
fn what_no_message_could_have_is_refused() {
    let unsigned = ValueType::Unsigned;
    let long = "n".repeat(MAX_NAME_BYTES + 1);
    let text = "t".repeat(MAX_TEXT_BYTES + 1);
    for (series, fault) in [
        (
            vec![("b", unsigned), ("a", unsigned), ("b", ValueType::Float)],
            GridFault::Duplicate(Excerpt::new(b"b")),
        ),
        (vec![("", unsigned)], GridFault::Name(Excerpt::new(b""))),
        (
            vec![("a\u{1b}", unsigned)],
            GridFault::Name(Excerpt::new(b"a\x1b")),
        ),
        (
            vec![(&long, unsigned)],
            GridFault::Name(Excerpt::new(long.as_bytes())),
        ),
        (
            vec![("t", ValueType::Text(&text))],
            GridFault::TextTooLong(Excerpt::new(b"t")),
        ),
    ] {
        assert_eq!(built(&series), Err(fault));
    }
    let names: Vec<_> = (0..=MAX_METRICS).map(|number| number.to_string()).collect();
    let all = |count| {
        Names::build(
            names[..count]
                .iter()
                .map(|name| (name.as_str(), ValueType::Unsigned)),
        )
    };
    assert_eq!(all(MAX_METRICS).unwrap().len(), MAX_METRICS);
    assert_eq!(all(MAX_METRICS + 1), Err(GridFault::TooManyMetrics));
    let text = "t".repeat(MAX_TEXT_BYTES);
    let texts = |count| {
        let names = names[..count].iter();
        Names::build(names.map(|name| (name.as_str(), ValueType::Text(&text))))
    };
    assert!(texts(255).is_ok());
    assert_eq!(texts(256), Err(GridFault::TooMuchText));
}

#[test]
fn a_sample_has_as_many_values_as_its_schema() {
    let schema = numbers(&["b", "a"]);
    let wrong = |found| Err(WrongLength { expected: 2, found });
    assert_eq!(sample(&schema, &[Some(1)]), wrong(1));
    assert_eq!(sample(&schema, &[None; 3]), wrong(3));
    assert_eq!(
        sample(&schema, &[Some(1), Some(2)]).unwrap(),
        parse(r#"{"a":2,"b":1}"#).unwrap()
    );
    assert_eq!(
        WrongLength {
            expected: 2,
            found: 1
        }
        .to_string(),
        "a sample of 1 values for a schema of 2"
    );
    assert_eq!(sample(&numbers(&[]), &[]).unwrap(), Grid::default());
}

#[test]
fn what_is_no_number_is_absent() {
    let schema = built(&[("a", ValueType::Float), ("b", ValueType::Float)]).unwrap();
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let grid = sample(&schema, &[Some(odd.to_bits()), Some(0.5_f64.to_bits())]).unwrap();
        assert_eq!(grid, parse(r#"{"b":0.5}"#).unwrap());
        assert_eq!(grid.get("a"), None);
        assert_eq!(grid.at(0), None);
        assert_eq!(grid.at(1), Some(("b", Value::Float(0.5))));
    }
}

#[test]
fn samples_of_one_schema_share_their_names_and_cost_no_more_than_their_values() {
    let schema = numbers(&["disk.reads.total[sda]", "disk.reads.total[sdb]"]);
    let one = sample(&schema, &[Some(1), Some(2)]).unwrap();
    let two = sample(&schema, &[Some(3), None]).unwrap();
    let three = sample(&schema, &[Some(4), None]).unwrap();
    assert!(Arc::ptr_eq(one.names(), two.names()));
    assert!(!one.has_names_of(&two) && two.has_names_of(&three));
    let empty = sample(&numbers(&[]), &[]).unwrap();
    assert_eq!(
        one.bytes_without_names() - empty.bytes_without_names(),
        2 * 8 + 1
    );
    assert_eq!(
        one.bytes() - one.bytes_without_names(),
        schema.names().bytes()
    );
}

#[test]
fn schemas_are_the_same_if_names_types_and_order_are() {
    let hasher = RandomState::new();
    let one = numbers(&["b", "a"]);
    let again = numbers(&["b", "a"]);
    assert_eq!(
        (&one, hasher.hash_one(&one)),
        (&again, hasher.hash_one(&again))
    );
    for other in [
        numbers(&["a", "b"]),
        numbers(&["b", "c"]),
        numbers(&["b"]),
        built(&[("b", ValueType::Unsigned), ("a", ValueType::Float)]).unwrap(),
        built(&[("b", ValueType::Unsigned), ("a", ValueType::Text("1"))]).unwrap(),
    ] {
        assert_ne!(one, other);
        assert_ne!(hasher.hash_one(&one), hasher.hash_one(&other));
    }
    let text = |text| built(&[("os", ValueType::Text(text))]).unwrap();
    assert_ne!(text("Debian 12"), text("Debian 13"));
}
