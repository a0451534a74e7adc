//! A grid, beside what `serde_json` makes of the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metrics_agent::protocol::grid::Value;
use metrics_agent::protocol::grid::{Grid, GridFault, MAX_METRICS, MAX_NAME_BYTES, MAX_TEXT_BYTES};
use metrics_agent::protocol::message::{GridKind, Malformed};
use metrics_agent_fuzz::{assert_grid, assert_loggable};

type Object = serde_json::Map<String, serde_json::Value>;

fuzz_target!(|input: &[u8]| {
    let oracle: Option<Object> = serde_json::from_slice(input).ok();
    let model = Grid::parse(input, GridKind::Model);
    let metrics = Grid::parse(input, GridKind::Metrics);
    match &model {
        Ok(grid) => {
            assert_grid(grid, GridKind::Model);
            let object = oracle.expect("what is a grid is JSON");
            assert_eq!(grid.len(), object.len());
            for (name, value) in grid.iter() {
                assert!(same(value, &object[name]), "{name:?}: {value:?}");
            }
        }
        Err(error) => {
            assert_loggable(error);
            let twice = matches!(error, Malformed::Grid(GridFault::Duplicate(_)));
            assert!(
                twice || !oracle.is_some_and(|object| fits(&object)),
                "{error}"
            );
        }
    }
    match (&metrics, &model) {
        (Ok(metrics), Ok(model)) => {
            assert_grid(metrics, GridKind::Metrics);
            assert_eq!(metrics, model);
        }
        (Err(error), Ok(model)) => {
            assert_loggable(error);
            assert!(
                model
                    .iter()
                    .any(|(_, value)| matches!(value, Value::Text(_)))
            );
        }
        (Err(error), Err(_)) => assert_loggable(error),
        (Ok(_), Err(error)) => panic!("metrics, but no model: {error}"),
    }
});

fn same(value: Value<'_>, oracle: &serde_json::Value) -> bool {
    match value {
        Value::Unsigned(number) => oracle.as_u64() == Some(number),
        Value::Signed(number) => oracle.as_i64() == Some(number),
        Value::Float(number) => oracle.is_f64() && oracle.as_f64() == Some(number),
        Value::Text(text) => oracle.as_str() == Some(text),
    }
}

/// Whether a model may hold all of this.
fn fits(object: &Object) -> bool {
    object.len() <= MAX_METRICS
        && object.iter().all(|(name, value)| {
            let name_fits = !name.is_empty()
                && name.len() <= MAX_NAME_BYTES
                && !name.chars().any(char::is_control);
            let value_fits = match value {
                serde_json::Value::Number(_) => true,
                serde_json::Value::String(text) => text.len() <= MAX_TEXT_BYTES,
                _ => false,
            };
            name_fits && value_fits
        })
}
