//! A grid as a table: name, value with its unit, rate where it is a count, description.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use zbus::Variant;

use super::choice::Choice;
use super::printable;
use super::style::Style;
use crate::base::columns::{fit, pieces, width as width_of};
use crate::base::quantity::{MILLISECOND, SECOND, bytes, parts};
use crate::base::text::grouped;
use crate::ctl::proxy::Values;

/// Counts since boot, as opposed to gauges; `ListMetrics` calls them so.
const COUNTER: &str = "counter";

/// Between two columns.
const GAP: &str = "  ";

/// What the names of the agent's own metrics begin with.
const OWN: &str = "agent.";

/// The columns that most rates need: `1023.9K/s`.
const RATE_WIDTH: usize = 9;

/// The columns that every number needs.
const VALUE_WIDTH: usize = 24;

/// What `ListMetrics` says of one metric.
struct Known {
    unit: String,
    counter: bool,
    description: String,
}

/// Knows units, kinds and descriptions.
pub(super) struct Table {
    known: HashMap<String, Known>,
}

/// Says if a table has a column for rates.
pub(super) enum Rates<'a> {
    /// No: there is one sample.
    None,
    /// Yes, and they come with the next sample.
    Awaited,
    /// Yes, of what was counted since then.
    Since(Earlier<'a>),
}

/// An earlier sample, and how long before the one to show.
pub(super) struct Earlier<'a> {
    pub(super) grid: &'a Values,
    pub(super) before: Duration,
}

impl Table {
    /// From the answer of `ListMetrics`.
    pub(super) fn new(metrics: Vec<(String, String, String, String)>) -> Self {
        let known = metrics.into_iter().map(|(name, unit, kind, description)| {
            let counter = kind == COUNTER;
            let known = Known {
                unit: printable(&unit),
                counter,
                description,
            };
            (name, known)
        });
        Self {
            known: known.collect(),
        }
    }

    /// The grid: a heading, then a line for each value. The agent's own come last, because the
    /// host's are looked for more often. A `width` that is too small for all of it costs
    /// descriptions first. Then long names get lines of their own above their values: any part of a
    /// name may be what distinguishes it from others.
    pub(super) fn to_text(
        &self,
        grid: &Values,
        rates: &Rates<'_>,
        style: Style,
        width: Option<usize>,
    ) -> String {
        let mut names: Vec<&String> = grid.keys().collect();
        names.sort_unstable_by_key(|name| (name.starts_with(OWN), *name));
        let row = |name: &String| {
            let known = self.known(name);
            let unit = known.map_or("", |known| &known.unit);
            let value = &grid[name];
            let rate = match rates {
                Rates::Since(earlier) if known.is_some_and(|known| known.counter) => {
                    rate_of(value, name, earlier)
                }
                _ => None,
            };
            [
                printable(name),
                worded(value, unit),
                rate.map_or_else(String::new, |rate| per_second(rate, unit)),
                known.map_or_else(String::new, |known| printable(&known.description)),
            ]
        };
        let mut rows = vec![["METRIC", "VALUE", "RATE", "DESCRIPTION"].map(str::to_owned)];
        rows.extend(names.into_iter().map(row));
        let has_rates = !matches!(rates, Rates::None);
        let widest = |column: fn(&[String; 4]) -> &String, most: usize| {
            let widths = rows.iter().map(|row| width_of(column(row)));
            widths.filter(|width| *width <= most).max().unwrap_or(0)
        };
        // A long text, such as the names of units, goes past the end of its column by itself.
        let values = widest(|[_, value, ..]| value, VALUE_WIDTH);
        // As wide at first as later, so that nothing moves once there are rates.
        let rates = widest(|[_, _, rate, _]| rate, usize::MAX).max(RATE_WIDTH);
        let gaps = GAP.len() * if has_rates { 2 } else { 1 };
        // And the mark that the description is cut.
        let cut = GAP.len();
        let numbers = values + if has_rates { rates } else { 0 } + gaps + cut;
        let room = width.map_or(usize::MAX, |width| width.saturating_sub(numbers));
        let names = widest(|[name, ..]| name, usize::MAX).min(room);
        let mut text = String::new();
        // Writing to a String can't fail.
        for (at, [name, value, rate, description]) in rows.iter().enumerate() {
            let mut name = Cow::from(name);
            if width_of(&name) > names {
                if at == 0 {
                    name = fit(&name, Some(names)).into();
                } else {
                    for piece in pieces(&name, width.unwrap_or(usize::MAX)) {
                        text.extend([piece, "\n"]);
                    }
                    name = "".into();
                }
            }
            let mut line = format!("{name:names$}{GAP}{value:>values$}{GAP}");
            if has_rates {
                let _ = write!(line, "{rate:>rates$}{GAP}");
            }
            line += description;
            let line = line.trim_end();
            text += &if at == 0 {
                style.heading(line)
            } else {
                line.to_owned()
            };
            text.push('\n');
        }
        text
    }

    /// Returns true if one of the choices names a metric that can exist.
    pub(super) fn knows_one_of(&self, choices: &[Choice]) -> bool {
        let fits = |name| choices.iter().any(|choice| choice.fits_metric(name));
        choices.is_empty() || self.known.keys().any(|name| fits(name))
    }

    /// An instance in brackets is its metric's.
    fn known(&self, name: &str) -> Option<&Known> {
        let metric = name.split_once('[').map_or(name, |(metric, _)| metric);
        self.known.get(metric)
    }
}

/// A value with its unit, for people.
fn worded(value: &Variant<'_>, unit: &str) -> String {
    match value {
        Variant::U64(value) => quantity(*value, unit),
        Variant::I64(value) if *value < 0 => format!("-{}", quantity(value.unsigned_abs(), unit)),
        Variant::I64(value) => quantity(value.unsigned_abs(), unit),
        // Whole seconds and bytes are all that people look at; nothing else has parts.
        Variant::F64(value) if *value >= 0.0 && matches!(unit, "s" | "B" | "kB") => {
            quantity(whole(*value), unit)
        }
        Variant::F64(value) => {
            let number = format!("{value:.2}");
            // What rounds to nothing has no sign.
            let number = if number == "-0.00" { "0.00" } else { &number };
            format!("{number} {unit}").trim_end().to_owned()
        }
        Variant::Str(value) => format!("{} {unit}", printable(value)).trim_end().to_owned(),
        // Not of this interface; better shown in D-Bus's own form than not at all.
        other => printable(&other.to_string()),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as saturates, and the number is not negative"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

/// Growth in a second; None if there was no such count, or it was reset meanwhile.
fn rate_of(value: &Variant<'_>, name: &str, earlier: &Earlier<'_>) -> Option<f64> {
    let before = as_number(earlier.grid.get(name)?)?;
    let seconds = earlier.before.as_secs_f64();
    let growth = as_number(value)? - before;
    (growth >= 0.0 && seconds > 0.0).then_some(growth / seconds)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a rate has fewer digits than a count"
)]
fn as_number(value: &Variant<'_>) -> Option<f64> {
    match value {
        Variant::U64(value) => Some(*value as f64),
        Variant::I64(value) => Some(*value as f64),
        Variant::F64(value) => Some(*value),
        _ => None,
    }
}

fn per_second(rate: f64, unit: &str) -> String {
    match unit {
        "B" | "kB" => format!("{}/s", quantity(whole(rate), unit)),
        "" if rate >= 100.0 => format!("{}/s", grouped(whole(rate))),
        "" => format!("{rate:.1}/s"),
        // Time in a second is a share: of one CPU, of the wall clock.
        "us" => format!("{:.1} %", rate / 1e4),
        "ms" => format!("{:.1} %", rate / 10.0),
        unit => format!("{rate:.2} {unit}/s"),
    }
}

/// A metric's whole number with its unit, scaled for people: 2048 kB as `2.0M`, 90 s as
/// `1min 30s`.
fn quantity(number: u64, unit: &str) -> String {
    let factor = match unit {
        "B" => 1,
        // As in /proc/meminfo: 1024 bytes.
        "kB" => 1024,
        "s" => return parts(number.saturating_mul(SECOND), 2),
        "ms" => return parts(number.saturating_mul(MILLISECOND), 2),
        "us" => return parts(number, 2),
        "" => return grouped(number),
        other => return format!("{} {other}", grouped(number)),
    };
    bytes(number.saturating_mul(factor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::hostile;
    use proptest::prelude::*;
    use zbus::OwnedVariant;

    fn table() -> Table {
        let known = [
            ("mem.free", "kB", "gauge", "Memory that nothing uses"),
            ("disk.read.bytes.total", "B", "counter", "Read"),
            ("disk.reads.total", "", "counter", ""),
            ("os.name", "", "info", "The operating system"),
            ("sys.uptime", "s", "gauge", "Time since boot"),
            ("cpu.percent", "%", "gauge", "Busy"),
            ("unit.cpu.total", "us", "counter", "CPU time"),
        ];
        let own = |(name, unit, kind, text): (&str, &str, &str, &str)| {
            let own = str::to_owned;
            (own(name), own(unit), own(kind), own(text))
        };
        Table::new(known.into_iter().map(own).collect())
    }

    fn grid(read: u64) -> Values {
        [
            ("os.name", Variant::from("Debian\x1b[31m")),
            ("mem.free", Variant::U64(123_456)),
            ("disk.read.bytes.total[sda]", Variant::U64(read)),
            ("disk.reads.total[sda]", Variant::I64(1_000)),
            ("new", Variant::F64(0.126)),
            ("unit.cpu.total[a.service]", Variant::U64(read * 10)),
            ("sys.uptime", Variant::F64(93_784.25)),
            ("cpu.percent", Variant::F64(3.0)),
            ("agent.messages.sent", Variant::U64(7)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), OwnedVariant::try_from(value).unwrap()))
        .collect()
    }

    fn text(grid: &Values, rates: &Rates<'_>, width: Option<usize>) -> String {
        table().to_text(grid, rates, Style::new(false), width)
    }

    #[test]
    fn what_rounds_to_nothing_has_no_sign() {
        assert_eq!(worded(&Variant::F64(-3e-6), "W"), "0.00 W");
        assert_eq!(worded(&Variant::F64(-0.006), "W"), "-0.01 W");
    }

    #[test]
    fn a_table_is_aligned_and_sorted() {
        assert_eq!(
            text(&grid(4_096), &Rates::None, None),
            "\
METRIC                                 VALUE  DESCRIPTION
cpu.percent                           3.00 %  Busy
disk.read.bytes.total[sda]              4.0K  Read
disk.reads.total[sda]                  1,000
mem.free                              120.5M  Memory that nothing uses
new                                     0.13
os.name                     Debian\\u{1b}[31m  The operating system
sys.uptime                             1d 2h  Time since boot
unit.cpu.total[a.service]         40ms 960us  CPU time
agent.messages.sent                        7
"
        );
    }

    #[test]
    fn counts_have_rates() {
        let (before, now) = (grid(4_096), grid(4_096 + 3 * 1_048_576));
        let since = |grid| {
            let before = Duration::from_secs(2);
            Rates::Since(Earlier { grid, before })
        };
        let rated = text(&now, &since(&before), None);
        let line = |name: &str| rated.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(line("METRIC").contains("  RATE"), "{rated}");
        assert!(line("disk.read.").contains("3.0M     1.5M/s  "), "{rated}");
        // Nearly 31.5 s of CPU time in 2 s: some 16 CPUs.
        assert!(line("unit.cpu").contains("31s 498ms   1572.9 %"), "{rated}");
        assert!(line("disk.reads").ends_with("1,000      0.0/s"), "{rated}");

        // A count that was reset has no rate, and a first sample has none; the column stays.
        let reset = text(&before, &since(&now), None);
        assert!(!reset.contains("M/s"), "{reset}");
        let first = text(&before, &Rates::Awaited, None);
        for other in [&reset, &first] {
            assert_eq!(other.lines().next(), rated.lines().next());
        }
    }

    #[test]
    fn rates_stay_where_the_terminal_is_narrow() {
        let mut now = grid(5_096);
        let name = "unit.pressure.memory.some.total[systemd-journald.service]";
        let long = "unit.names.failed";
        let put = |grid: &mut Values, name: &str, value: Variant<'static>| {
            grid.insert(name.to_owned(), OwnedVariant::try_from(value).unwrap());
        };
        put(&mut now, name, Variant::U64(7));
        put(&mut now, long, Variant::from("a.service ".repeat(9)));
        let before = grid(4_096);
        let rates = Rates::Since(Earlier {
            grid: &before,
            before: Duration::from_secs(1),
        });
        let narrow = text(&now, &rates, Some(60));
        let heading = narrow.lines().next().unwrap();
        let end = heading.find("  RATE").unwrap() + "  RATE".len();
        assert!(end + GAP.len() <= 60, "{narrow}");
        assert!(narrow.lines().any(|line| line == name), "{narrow}");
        let line = narrow.lines().find(|line| line.contains("1000B/s"));
        let rate = line.unwrap().find("1000B/s").unwrap() + "1000B/s".len();
        assert_eq!(rate, end, "{narrow}");
    }

    #[test]
    fn names_stay_whole_at_40_columns() {
        let put = |grid: &mut Values, name: &str, value: u64| {
            let value = OwnedVariant::try_from(Variant::U64(value)).unwrap();
            grid.insert(name.to_owned(), value);
        };
        let [before, now] = [1, 8].map(|value| {
            let mut grid = Values::new();
            put(&mut grid, "mem.free", 123_456);
            for way in ["read", "write"] {
                for disk in ["nvme0n1", "nvme1n1"] {
                    put(
                        &mut grid,
                        &format!("disk.{way}.bytes.total[{disk}]"),
                        value << 20,
                    );
                }
            }
            let unit = "unit.cpu.total[systemd-journald.service]";
            put(&mut grid, unit, value);
            put(&mut grid, &format!("{unit}longer"), value);
            grid
        });
        let rates = Rates::Since(Earlier {
            grid: &before,
            before: Duration::from_secs(1),
        });
        let narrow = text(&now, &rates, Some(40));
        assert_eq!(
            narrow,
            "\
METRIC                VALUE       RATE  DESCRIPTION
disk.read.bytes.total[nvme0n1]
                       8.0M     7.0M/s  Read
disk.read.bytes.total[nvme1n1]
                       8.0M     7.0M/s  Read
disk.write.bytes.total[nvme0n1]
                  8,388,608
disk.write.bytes.total[nvme1n1]
                  8,388,608
mem.free             120.5M             Memory that nothing uses
unit.cpu.total[systemd-journald.service]
                        8us      0.0 %  CPU time
unit.cpu.total[systemd-journald.service]
longer
                        8us      0.0 %  CPU time
"
        );
        // If there is no room for any name, numbers are still aligned.
        let least = text(&now, &rates, Some(20));
        let lines: Vec<_> = least.lines().collect();
        assert!(lines.contains(&"mem.free"), "{least}");
        assert!(lines.contains(&"disk.read.bytes.tota"), "{least}");
    }

    proptest! {
        #[test]
        fn no_metric_does_anything_to_a_terminal(text in hostile::texts()) {
            let table = Table::new(vec![(text.clone(), text.clone(), text.clone(), text.clone())]);
            let value = Variant::from(text.clone());
            let grid: Values = [(text, OwnedVariant::try_from(value).unwrap())].into();
            let shown = table.to_text(&grid, &Rates::None, Style::new(false), None);
            hostile::assert_harmless(&shown);
            prop_assert_eq!(shown.lines().count(), 2);
        }
    }

    #[test]
    fn quantities_are_scaled_for_people() {
        for (number, unit, text) in [
            (0, "kB", "0B"),
            (1, "kB", "1.0K"),
            (8_000_000, "kB", "7.6G"),
            (512, "B", "512B"),
            (93_784, "s", "1d 2h"),
            (59, "s", "59s"),
            (1_234_567, "", "1,234,567"),
            (1_234, "pages", "1,234 pages"),
            (u64::MAX, "kB", "15.9E"),
            (u64::MAX, "s", "213503982d 8h"),
        ] {
            assert_eq!(quantity(number, unit), text, "{number} {unit}");
        }
    }
}
