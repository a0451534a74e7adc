//! Which columns the table of hosts has, and how wide they are. Pure.

use ratatui::layout::{Alignment, Constraint};

use crate::top::sort::Column;

/// The mark in front, and the space behind it.
pub(super) const MARK: u16 = 2;

/// A host's name needs no more columns than that.
const NAME_MAX: u16 = 40;

/// Columns of bars, and of what the CPU did in the last minutes: at least and at most.
const BAR: (u16, u16) = (4, 10);
const HISTORY: (u16, u16) = (10, 30);

/// Columns of a file system's name behind its percentage.
const MOUNT: u16 = 10;

/// What there may be room for beside the names, the most important first.
const PARTS: [Part; 19] = [
    Part::Column(Column::State),
    Part::Column(Column::Cpu),
    Part::Column(Column::Memory),
    Part::Column(Column::Disk),
    Part::Column(Column::Load),
    Part::Column(Column::Swap),
    Part::Column(Column::Received),
    Part::Column(Column::Sent),
    Part::Column(Column::Failed),
    Part::Bars,
    Part::Column(Column::Uptime),
    Part::Column(Column::Temperature),
    Part::Column(Column::Pressure),
    Part::Column(Column::Age),
    Part::History,
    Part::Column(Column::Agent),
    Part::Column(Column::System),
    Part::Mount,
    Part::WideBars,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Column(Column),
    /// Bars of CPU and memory.
    Bars,
    /// What the CPU did.
    History,
    /// The name of the fullest file system.
    Mount,
    /// Longer ones.
    WideBars,
}

/// How columns are laid out on a screen of some width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) shown: Vec<Column>,
    pub(super) name: u16,
    /// Of the bars of CPU and memory; 0 for none.
    pub(super) bar: u16,
    /// Of what the CPU did in the last minutes; 0 for none.
    pub(super) history: u16,
    pub(super) mount: u16,
}

impl Layout {
    /// On a screen of this width, where the longest name has so many columns, and these columns of the
    /// table have no value of any host.
    pub(super) fn of(width: u16, longest: u16, empty: &[Column]) -> Self {
        let name = match width {
            ..72 => 12,
            72..120 => 16,
            120..160 => 20,
            _ => 24,
        };
        let mut layout = Self {
            shown: vec![Column::Name],
            name,
            bar: 0,
            history: 0,
            mount: 0,
        };
        let mut left = width.saturating_sub(MARK + name);
        for part in PARTS {
            let wanted = match part {
                Part::Column(column) => layout.columns(column) + 1,
                Part::Bars => 2 * BAR.0,
                Part::History => HISTORY.0 + 1,
                Part::Mount => MOUNT + 1,
                Part::WideBars => 2 * (BAR.1 - BAR.0),
            };
            // The rest waits for more room, too: what matters less never comes alone.
            if wanted > left {
                break;
            }
            left -= wanted;
            match part {
                Part::Column(column) => layout.shown.push(column),
                Part::Bars => layout.bar = BAR.0,
                Part::History => layout.history = HISTORY.0,
                Part::Mount => layout.mount = MOUNT,
                Part::WideBars => layout.bar = BAR.1,
            }
        }
        // What would be empty makes room for names, the least important first.
        for part in PARTS.iter().rev() {
            let Part::Column(column) = part else { continue };
            if layout.name + left >= longest.min(NAME_MAX) {
                break;
            }
            if empty.contains(column)
                && let Some(at) = layout.shown.iter().position(|shown| shown == column)
            {
                left += layout.columns(*column) + 1;
                layout.shown.remove(at);
            }
        }
        layout
            .shown
            .sort_by_key(|column| Column::ALL.iter().position(|known| known == column));
        let more = left.min(NAME_MAX - layout.name);
        layout.name += more;
        left -= more;
        if layout.history > 0 {
            layout.history += left.min(HISTORY.1 - HISTORY.0);
        }
        layout
    }

    pub(super) fn columns(&self, column: Column) -> u16 {
        let beside = |columns: u16| if columns > 0 { columns + 1 } else { 0 };
        match column {
            Column::Name => self.name,
            Column::State => 12,
            Column::Cpu => 5 + self.bar + beside(self.history),
            Column::Memory => 5 + self.bar,
            Column::Disk => 5 + beside(self.mount),
            Column::Pressure => 10,
            Column::Agent => 9,
            Column::System => 20,
            Column::Failed
            | Column::Load
            | Column::Received
            | Column::Sent
            | Column::Swap
            | Column::Temperature
            | Column::Uptime
            | Column::Age => 5,
        }
    }

    pub(super) fn alignment(&self, column: Column) -> Alignment {
        match column {
            Column::Name | Column::State | Column::Pressure | Column::Agent | Column::System => {
                Alignment::Left
            }
            // What stands in front of the number is as wide everywhere.
            Column::Cpu | Column::Memory if self.bar > 0 => Alignment::Left,
            Column::Disk if self.mount > 0 => Alignment::Left,
            _ => Alignment::Right,
        }
    }

    pub(super) fn constraints(&self) -> Vec<Constraint> {
        // The first name has the mark in its own column, with the same gap behind it.
        let columns = self.shown.iter().map(|column| self.columns(*column));
        std::iter::once(MARK - 1)
            .chain(columns)
            .map(Constraint::Length)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::MIN_COLUMNS;
    use super::*;

    #[test]
    fn columns_fit_every_screen() {
        let mut shown: Vec<Column> = Vec::new();
        for width in MIN_COLUMNS..300 {
            let layout = Layout::of(width, 0, &[]);
            let columns = layout.shown.iter().map(|column| layout.columns(*column));
            let taken: u16 = columns.map(|columns| columns + 1).sum();
            assert!(MARK + taken - 1 <= width, "{width}: {taken}");
            for column in [Column::Name, Column::State, Column::Cpu, Column::Memory] {
                assert!(layout.shown.contains(&column), "{width}: {column:?}");
            }
            let lost = shown
                .iter()
                .find(|column| !layout.shown.contains(column) && ![72, 120, 160].contains(&width));
            assert_eq!(lost, None, "{width} has less than {}", width - 1);
            shown = layout.shown;
        }
        assert_eq!(shown, Column::ALL);
    }

    #[test]
    fn headings_fit_their_columns_with_the_arrow() {
        let layout = Layout::of(80, 0, &[]);
        for column in Column::ALL {
            let columns = usize::from(layout.columns(column));
            assert!(column.heading().len() < columns, "{column:?}");
        }
        let of_80: Vec<_> = layout.shown.iter().map(|column| column.heading()).collect();
        assert_eq!(
            of_80.join(" "),
            "HOST STATE CPU MEM DISK SWAP LOAD RX/s TX/s FAIL"
        );
        let of_60: Vec<_> = Layout::of(60, 0, &[]).shown;
        assert!(of_60.contains(&Column::Disk) && of_60.contains(&Column::Load));
    }
}
