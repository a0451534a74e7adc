//! How long the series of metrics are in the text format, before they are written.

use super::{BY_METRIC, HOST, ITEM, NAMESPACE, TEXT, UNKNOWN_NUMBER, UNKNOWN_TEXT, split};
use crate::protocol::grid::{Grid, Names, Value, ValueType};

/// What each metric of a host takes in the text format, in bytes, at most; with its name,
/// without an instance, where the metric before had another. Sorts nothing and keeps
/// nothing: every message is looked at.
pub(crate) fn for_each_text(host: &str, grid: &Grid, each: impl FnMut(Option<&str>, usize)) {
    let metrics = grid.iter().map(|(name, value)| {
        let value = match value {
            Value::Text(text) => text_bytes(text),
            Value::Unsigned(number) => digits(number) + MOVED,
            Value::Signed(number) => 1 + digits(number.unsigned_abs()) + MOVED,
            Value::Float(_) => FLOAT_BYTES,
        };
        (name, value)
    });
    for_each(
        metrics.map(|(name, value)| (name, host_bytes(host) + value)),
        each,
    );
}

/// The same, at most, for any values that metrics of these names may have, and without the
/// [`host_bytes`] that each has besides.
pub(crate) fn for_each_text_of_names(names: &Names, each: impl FnMut(Option<&str>, usize)) {
    let metrics = names.iter().map(|(name, value)| {
        let value = match value {
            ValueType::Text(text) => text_bytes(text),
            ValueType::Unsigned => digits(u64::MAX) + MOVED,
            ValueType::Signed => 1 + digits(i64::MIN.unsigned_abs()) + MOVED,
            ValueType::Float => FLOAT_BYTES,
        };
        (name, value)
    });
    for_each(metrics, each);
}

/// What the label with the host's name takes in each line.
pub(crate) fn host_bytes(host: &str) -> usize {
    escaped_bytes(host)
}

/// What a scale may add to an integer: the largest factor has six digits, and so many stand behind
/// a point.
const MOVED: usize = 8;

/// The longest float.
const FLOAT_BYTES: usize = 25;

/// The label with a text, and the 1 behind it.
fn text_bytes(text: &str) -> usize {
    TEXT.len() + 4 + escaped_bytes(text) + 1
}

/// Each of these metrics, by name and with what its values take, in the text format.
fn for_each<'a>(
    metrics: impl Iterator<Item = (&'a str, usize)>,
    mut each: impl FnMut(Option<&str>, usize),
) {
    /// `{host="` and `"} `, and a line feed.
    const AROUND_HOST: usize = HOST.len() + 3 + 3 + 1;
    /// Of `# HELP` and `# TYPE`, without what stands behind them.
    const AROUND_HEAD: usize = 7 + 1 + 1 + 7 + 1 + "counter".len() + 1;
    let longest_help = UNKNOWN_NUMBER.len().max(UNKNOWN_TEXT.len());
    let mut last: Option<(&str, usize, usize)> = None;
    for (name, values) in metrics {
        let (plain, instance) = split(name);
        let known = last.filter(|(last, ..)| *last == plain);
        let mut head = 0;
        let (family, label) = if let Some((_, family, label)) = known {
            (family, label)
        } else {
            let own = NAMESPACE.len() + plain.len() + "_info".len();
            if let Some(row) = BY_METRIC.get(plain) {
                let label = row.label.map_or(0, str::len);
                (own.max(row.family.name.len()), label.max(ITEM.len()))
            } else {
                // No other host has this family, as far as is known.
                head = AROUND_HEAD + 2 * own + longest_help;
                (own, ITEM.len())
            }
        };
        last = Some((plain, family, label));
        let instance = instance.map_or(0, |instance| label + 4 + escaped_bytes(instance));
        let new = known.is_none().then_some(plain);
        each(new, head + family + AROUND_HOST + instance + values);
    }
}

/// How long a text is between quotes.
fn escaped_bytes(text: &str) -> usize {
    let escapes = text.bytes().filter(|byte| b"\\\"\n".contains(byte)).count();
    text.len() + escapes
}

fn digits(number: u64) -> usize {
    number
        .checked_ilog10()
        .map_or(1, |digits| digits as usize + 1)
}
