//! A grid as a table: name, value, unit.

use std::collections::HashMap;
use std::fmt::Write as _;

use zbus::Variant;

use crate::dbus::proxy::Values;

/// Knows the units.
pub(super) struct Table {
    units: HashMap<String, String>,
}

impl Table {
    /// From the answer of `ListMetrics`.
    pub(super) fn new(metrics: Vec<(String, String, String, String)>) -> Self {
        let units = metrics.into_iter().map(|(name, unit, ..)| (name, unit));
        Self {
            units: units.collect(),
        }
    }

    /// The grid, in the order of names.
    pub(super) fn to_text(&self, grid: &Values) -> String {
        let mut rows: Vec<(&str, String, &str)> = grid
            .iter()
            .map(|(name, value)| (name.as_str(), plain(value), self.unit(name)))
            .collect();
        rows.sort_unstable();
        let heading = ("METRIC", "VALUE".to_owned(), "UNIT");
        let all = || std::iter::once(&heading).chain(&rows);
        let names = all().map(|row| row.0.chars().count()).max().unwrap_or(0);
        let values = all().map(|row| row.1.chars().count()).max().unwrap_or(0);
        let mut text = String::new();
        for (name, value, unit) in all() {
            // Writing to a String can't fail.
            let _ = writeln!(
                text,
                "{}",
                format!("{name:names$} {value:>values$} {unit}").trim_end()
            );
        }
        text
    }

    /// An instance in brackets has the unit of its metric.
    fn unit(&self, name: &str) -> &str {
        let metric = name.split_once('[').map_or(name, |(metric, _)| metric);
        self.units.get(metric).map_or("", String::as_str)
    }
}

fn plain(value: &Variant<'_>) -> String {
    match value {
        Variant::U64(value) => value.to_string(),
        Variant::I64(value) => value.to_string(),
        Variant::F64(value) => format!("{value:.2}"),
        Variant::Str(value) => value.to_string(),
        // Not of this interface; better shown in D-Bus's own form than not at all.
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zbus::OwnedVariant;

    #[test]
    fn a_table_is_aligned_and_sorted() {
        let known = [("mem.free", "kB"), ("disk.read", "B"), ("os.name", "")];
        let row = |(name, unit): (&str, &str)| {
            let empty = String::new;
            (name.to_owned(), unit.to_owned(), empty(), empty())
        };
        let table = Table::new(known.into_iter().map(row).collect());
        let grid: Values = [
            ("os.name", Variant::from("Debian")),
            ("mem.free", Variant::U64(123_456)),
            ("disk.read[sda]", Variant::I64(-7)),
            ("new", Variant::F64(0.126)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), OwnedVariant::try_from(value).unwrap()))
        .collect();
        assert_eq!(
            table.to_text(&grid),
            "\
METRIC          VALUE UNIT
disk.read[sda]     -7 B
mem.free       123456 kB
new              0.13
os.name        Debian
"
        );
    }
}
