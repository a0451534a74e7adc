use proptest::prelude::*;

use super::*;
use crate::protocol::message::encode_grid;

mod schemas;

fn parse(json: &str) -> Result<Grid, Malformed> {
    Grid::parse(json.as_bytes(), GridKind::Model)
}

fn fault(json: &str) -> String {
    match parse(json) {
        Err(error @ Malformed::Grid(_)) => error.to_string(),
        other => panic!("{json}: {other:?}"),
    }
}

#[test]
fn metrics_are_sorted_and_keep_the_kind_of_their_number() {
    let grid = parse(
        r#" {"sys.uptime": 12.5, "mem.total": 18446744073709551615, "os": "Debian \u00e9", "t": -3, "f": 1e2} "#,
    )
    .unwrap();
    let expected = [
        ("f", Value::Float(100.0)),
        ("mem.total", Value::Unsigned(u64::MAX)),
        ("os", Value::Text("Debian é")),
        ("sys.uptime", Value::Float(12.5)),
        ("t", Value::Signed(-3)),
    ];
    assert_eq!(grid.iter().collect::<Vec<_>>(), expected);
    assert_eq!(grid.len(), 5);
    for (name, value) in expected {
        assert_eq!(grid.get(name), Some(value));
    }
    assert_eq!(grid.get("mem.tota"), None);
    assert_eq!(
        serde_json::to_string(&grid).unwrap(),
        r#"{"f":100.0,"mem.total":18446744073709551615,"os":"Debian é","sys.uptime":12.5,"t":-3}"#
    );
}

/// The nearest float, and not its neighbour, so that what is passed on is the same number.
#[test]
fn a_number_with_many_digits_is_read_exactly() {
    let grid = parse(r#"{"a": 92233720368273871904, "b": 7019607845289343152893412}"#).unwrap();
    assert_eq!(
        grid.get("a"),
        Some(Value::Float(92_233_720_368_273_871_904.0))
    );
    assert_eq!(
        grid.get("b"),
        Some(Value::Float(7_019_607_845_289_343_152_893_412.0))
    );
    assert_eq!(parse(&serde_json::to_string(&grid).unwrap()).unwrap(), grid);
}

#[test]
fn an_empty_grid_is_a_grid() {
    let grid = parse("{}").unwrap();
    assert!(grid.is_empty());
    assert_eq!(serde_json::to_string(&grid).unwrap(), "{}");
}

#[test]
fn a_value_as_a_float() {
    let grid = parse(r#"{"a": 7, "b": -7, "c": 0.5, "d": "7"}"#).unwrap();
    let numbers: Vec<_> = grid.iter().map(|(_, value)| value.as_f64()).collect();
    assert_eq!(numbers, [Some(7.0), Some(-7.0), Some(0.5), None]);
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let cases = [
        ("", "a grid that is not valid JSON (line 1, column 0)"),
        (
            r#"{"a":1"#,
            "a grid that is not valid JSON (line 1, column 6)",
        ),
        (
            r#"{"a":1,}"#,
            "a grid that is not valid JSON (line 1, column 8)",
        ),
        (
            r#"{"a":1} x"#,
            "a grid that is not valid JSON (line 1, column 9)",
        ),
        (
            r#"{"a":NaN}"#,
            "a grid that is not valid JSON (line 1, column 6)",
        ),
        (
            r#"{"a":1e999}"#,
            "the metric \"a\" is a number that is too large; at most 1.79e308 is allowed",
        ),
        (
            r#"{"a":1,"mem.total":-1e309,"b":2}"#,
            "the metric \"mem.total\" is a number that is too large; at most 1.79e308 is allowed",
        ),
        ("1e309", "a grid that is not a JSON object"),
        ("[1]", "a grid that is not a JSON object"),
        ("1", "a grid that is not a JSON object"),
        (r#""a""#, "a grid that is not a JSON object"),
        ("null", "a grid that is not a JSON object"),
        (r#"{"a":{"b":1}}"#, "the metric \"a\" has a nested value"),
        (r#"{"a":[]}"#, "the metric \"a\" has a nested value"),
        (r#"{"a":[[[["#, "the metric \"a\" has a nested value"),
        (
            r#"{"a":true}"#,
            "the metric \"a\" is neither a finite number nor text",
        ),
        (
            r#"{"a":null}"#,
            "the metric \"a\" is neither a finite number nor text",
        ),
        (r#"{"b":1,"a":2,"b":1}"#, "the metric \"b\" occurs twice"),
        (
            r#"{"":1}"#,
            "a metric name that is empty, longer than 256 bytes or has control characters: \"\"",
        ),
        (
            r#"{"a\u001b":1}"#,
            "a metric name that is empty, longer than 256 bytes or has control characters: \"a\\x1b\"",
        ),
    ];
    for (json, text) in cases {
        assert_eq!(fault(json), text, "{json}");
    }
}

#[test]
fn bytes_that_are_not_utf_8_are_refused() {
    for json in [&b"{\"\xff\":1}"[..], b"{\"a\":\"\xc3\"}", b"\xff"] {
        assert!(matches!(
            Grid::parse(json, GridKind::Model),
            Err(Malformed::Grid(GridFault::Syntax { .. }))
        ));
    }
}

#[test]
fn text_is_for_models_only() {
    let json = br#"{"a":1,"os":"Debian"}"#;
    assert!(Grid::parse(json, GridKind::Model).is_ok());
    assert_eq!(
        Grid::parse(json, GridKind::Metrics),
        Err(GridFault::TextInMetrics(Excerpt::new(b"os")).into())
    );
}

#[test]
fn every_bound_is_allowed_and_one_more_is_not() {
    let name = |length: usize| format!(r#"{{"{}":1}}"#, "n".repeat(length));
    assert!(parse(&name(MAX_NAME_BYTES)).is_ok());
    assert_eq!(
        parse(&name(MAX_NAME_BYTES + 1)),
        Err(GridFault::Name(Excerpt::new(&[b'n'; 40])).into())
    );

    let text = |length: usize| format!(r#"{{"a":"{}"}}"#, "t".repeat(length));
    assert!(parse(&text(MAX_TEXT_BYTES)).is_ok());
    assert_eq!(
        parse(&text(MAX_TEXT_BYTES + 1)),
        Err(GridFault::TextTooLong(Excerpt::new(b"a")).into())
    );

    let metrics = |count: usize| {
        let entries: Vec<_> = (0..count).map(|i| format!("\"m{i}\":{i}")).collect();
        format!("{{{}}}", entries.join(","))
    };
    assert_eq!(parse(&metrics(MAX_METRICS)).unwrap().len(), MAX_METRICS);
    assert_eq!(
        parse(&metrics(MAX_METRICS + 1)),
        Err(GridFault::TooManyMetrics.into())
    );

    let bytes = |length: usize| format!("{{}}{}", " ".repeat(length - 2));
    assert!(parse(&bytes(MAX_GRID_BYTES)).is_ok());
    assert_eq!(
        parse(&bytes(MAX_GRID_BYTES + 1)),
        Err(Malformed::GridTooLarge { bytes: 1_048_577 })
    );
}

#[test]
fn depth_is_refused_at_its_first_bracket() {
    let deep = format!(r#"{{"a":{}"#, "[".repeat(1_000_000));
    assert_eq!(fault(&deep), "the metric \"a\" has a nested value");
    assert_eq!(
        fault(&"[".repeat(1_000_000)),
        "a grid that is not a JSON object"
    );
}

/// Numbers that decimal notation holds exactly enough to compare.
fn value() -> impl Strategy<Value = serde_json::Value> {
    prop_oneof![
        any::<u64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<i32>().prop_map(|n| (f64::from(n) / 64.0).into()),
        any::<String>().prop_map(Into::into),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Grid::parse(&bytes, GridKind::Model);
    }

    #[test]
    fn nearly_json_is_read_or_refused_in_a_printable_line(
        json in "\\{(\"[a-c\\\\u01\"]{0,9}\"[:,]{0,2}(-?[0-9]{1,25}(\\.[0-9e+-]{0,5})?|\"x\"|\\[|\\{|null|true),?){0,4}\\}?"
    ) {
        if let Err(error) = Grid::parse(json.as_bytes(), GridKind::Metrics) {
            let text = error.to_string();
            prop_assert!(text.len() < 250 && !text.chars().any(char::is_control), "{}", text);
        }
    }

    #[test]
    fn what_an_agent_encodes_a_collector_reads(
        metrics in prop::collection::btree_map("[^\\p{Cc}]{1,40}", value(), 0..40)
    ) {
        let mut wire = Vec::new();
        encode_grid(&metrics, &mut wire).unwrap();
        let grid = Grid::parse(&wire, GridKind::Model).unwrap();
        prop_assert_eq!(grid.len(), metrics.len());
        for (name, value) in &metrics {
            let read = serde_json::to_value(grid.get(name).unwrap()).unwrap();
            prop_assert_eq!(&read, value);
        }
        let mut again = Vec::new();
        encode_grid(&grid, &mut again).unwrap();
        prop_assert_eq!(again, wire);
    }
}
