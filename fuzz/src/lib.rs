//! What the fuzz targets have in common: how an input becomes frames, and what holds for
//! every grid and for every error that a peer's bytes lead to.
//!
//! A property that does not hold is a panic, which libFuzzer reports with its input.

pub mod zmtp;

use std::fmt::Display;

use metrics_agent::metrics::families::{Family, FamilySet};
use metrics_agent::protocol::grid::{Grid, MAX_METRICS, MAX_NAME_BYTES, MAX_TEXT_BYTES, Value};
use metrics_agent::protocol::message::{GridKind, MAX_GRID_BYTES, encode_grid};

/// What stands between two frames of an input: a byte that no UTF-8 text has, so that
/// seeds can be written by hand.
pub const FRAME_END: u8 = 0xff;

/// An error's text is one line of the log: it shows some bytes of the peer's, not many.
const MAX_ERROR_BYTES: usize = 400;

/// An input as the frames of a message.
#[must_use]
pub fn frames(input: &[u8]) -> Vec<&[u8]> {
    input.split(|byte| *byte == FRAME_END).collect()
}

/// The text of what a peer is told to have done wrong can be shown on a terminal.
pub fn assert_loggable(error: &dyn Display) {
    let text = error.to_string();
    assert!(!text.is_empty());
    assert!(
        text.len() <= MAX_ERROR_BYTES,
        "{} bytes: {text:?}",
        text.len()
    );
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// What holds for a grid, however it came about: its bounds, its order, and that what it
/// is written as is read as the same again.
pub fn assert_grid(grid: &Grid, kind: GridKind) {
    assert!(grid.len() <= MAX_METRICS);
    let families = FamilySet::of(grid);
    let mut last = None;
    for (name, value) in grid.iter() {
        assert!(!name.is_empty() && name.len() <= MAX_NAME_BYTES);
        assert!(!name.chars().any(char::is_control), "{name:?}");
        assert!(last < Some(name), "{last:?} stands before {name:?}");
        last = Some(name);
        assert_eq!(grid.get(name), Some(value));
        assert!(families.contains(Family::of(name)));
        match value {
            Value::Float(number) => assert!(number.is_finite()),
            Value::Signed(number) => assert!(number < 0),
            Value::Unsigned(_) => {}
            Value::Text(text) => {
                assert_eq!(kind, GridKind::Model);
                assert!(text.len() <= MAX_TEXT_BYTES);
            }
        }
    }
    assert_eq!(families.is_empty(), grid.is_empty());

    let written = serde_json::to_vec(grid).expect("a grid is numbers and text");
    let mut encoded = Vec::new();
    if written.len() > MAX_GRID_BYTES {
        // Floats can be longer as we write them than as they came: 1e15.
        assert!(encode_grid(grid, &mut encoded).is_err());
        return;
    }
    encode_grid(grid, &mut encoded).expect("a grid that was read can be sent");
    assert_eq!(encoded, written);
    let again = Grid::parse(&written, kind).expect("what was written can be read");
    assert_eq!(*grid, again);
}
