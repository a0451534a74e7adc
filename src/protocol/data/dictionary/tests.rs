use super::*;

fn point<'a>(name: &'a str, instance: &'a str, value: u64) -> Point<'a> {
    Point {
        name,
        instance: Some(("unit", instance)),
        kind: Kind::Gauge,
        unit: "",
        value: Value::Unsigned(value),
    }
}

fn sample(dictionary: &mut Dictionary, units: &[&str]) -> Sampled {
    let points = units
        .iter()
        .map(|unit| ("units", point("unit.state", unit, 1)));
    dictionary.sample(points)
}

#[test]
fn what_stays_costs_no_definition() {
    let mut dictionary = Dictionary::default();
    let first = sample(&mut dictionary, &["a", "b", "c", "d", "e"]);
    assert_eq!((first.series.len(), first.schemas.len()), (5, 1));
    assert_eq!(first.schemas[0].series, [1; 5]);
    let again = sample(&mut dictionary, &["a", "b", "c", "d", "e"]);
    assert_eq!((again.series.len(), again.schemas.len()), (0, 0));
    assert_eq!(again.sample, first.sample);
    // One is missing: it is absent.
    let less = sample(&mut dictionary, &["a", "b", "d", "e"]);
    assert_eq!((less.series.len(), less.schemas.len()), (0, 0));
    assert_eq!(
        (&less.sample.schemas, &less.sample.absent),
        (&vec![1], &vec![2])
    );
    assert_eq!(less.sample.values.len(), 4);
    // One is new: another schema of mostly the same series.
    let more = sample(&mut dictionary, &["a", "b", "x", "d", "e"]);
    assert_eq!(
        (more.series.len(), &more.series[0].name),
        (1, &"unit.state".to_owned())
    );
    assert_eq!(more.schemas[0].series, [1, 1, 4, -2, 1]);
    // Back to the first one: it is known.
    let back = sample(&mut dictionary, &["a", "b", "c", "d", "e"]);
    assert_eq!(
        (back.series.len(), back.schemas.len(), &back.sample.schemas),
        (0, 0, &vec![1])
    );
    // A series has one value.
    let twice = sample(&mut dictionary, &["y", "y"]);
    assert_eq!((twice.series.len(), twice.sample.values.len()), (1, 1));
}

#[test]
fn another_type_or_text_is_another_series() {
    let mut dictionary = Dictionary::default();
    let mut take = |value: Value<'_>| {
        let mut point = point("a", "b", 1);
        point.value = value;
        let sampled = dictionary.sample([("s", point)]);
        sampled.series.len()
    };
    assert_eq!(take(Value::Unsigned(1)), 1);
    assert_eq!(take(Value::Float(1.0)), 1);
    assert_eq!(take(Value::Text("x")), 1);
    assert_eq!(take(Value::Text("y")), 1);
    assert_eq!(take(Value::Text("x")), 0);
    assert_eq!(take(Value::Unsigned(7)), 0);
}

/// Units that come and go for years.
#[test]
fn what_is_not_used_any_more_is_forgotten() {
    let mut dictionary = Dictionary::default();
    let mut last = 0;
    for number in 0..20_000 {
        let unit = format!("session-{number}.scope");
        let sampled = sample(&mut dictionary, &["a", "b", &unit]);
        for series in &sampled.series {
            assert!(series.id > last, "ids grow");
            last = series.id;
        }
        assert!(dictionary.known.len() <= 5 * SPARE && dictionary.schemas.len() <= MAX_SCHEMAS + 1);
    }
}

#[test]
fn the_lowest_ids_are_the_first_since_everything_was_forgotten() {
    let mut dictionary = Dictionary::after(10, 20);
    sample(&mut dictionary, &["a", "b"]);
    assert_eq!(dictionary.first_ids(), (11, 21));
    for number in 0..=2 * MAX_SCHEMAS {
        sample(&mut dictionary, &["a", &format!("x{number}")]);
        if dictionary.first_ids() != (11, 21) {
            break;
        }
    }
    let (first, schema) = dictionary.first_ids();
    assert!(first > 11 && schema > 21, "nothing was forgotten");
    let again = sample(&mut dictionary, &["y", "z"]);
    let ids = again.series.iter().map(|series| series.id);
    assert!(again.sample.schemas[0] >= schema && ids.min() >= Some(first));
    let known = dictionary.known.iter().map(|known| known.id);
    assert_eq!(known.min(), Some(first));
}
