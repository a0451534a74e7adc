//! What scrolls: lines, tables and pictures one below the other, of which a part is in sight.
//! Pure.

use ratatui::buffer::Buffer;
use ratatui::layout::{Alignment, Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Cell, Row, Sparkline, Table, Widget as _};

use super::pen::{fitted, width};
use super::theme::Theme;
use crate::base::columns;

/// The gap between two columns of a table.
const GAP: u16 = 2;

/// A name in a table is cut to so many columns, and to no less.
const NAME_MIN: u16 = 12;

/// Rows of a picture of what was in the last minutes.
const PICTURE_ROWS: u16 = 3;

/// Text in one style.
pub(super) type Piece = (String, Style);

/// Something with a height.
pub(super) enum Block {
    /// One line.
    Line(Vec<Piece>),
    /// Names with values in columns.
    Values(Values),
    /// Percentages, the newest last.
    Picture(Vec<Option<u64>>),
}

/// A table of one host: a name, and values as wide as the widest of them.
#[derive(Default)]
pub(super) struct Values {
    head: Vec<(&'static str, Alignment)>,
    rows: Vec<Vec<Vec<Piece>>>,
}

impl Values {
    /// One with these headings behind the name's.
    pub(super) fn new(name: &'static str, head: &[(&'static str, Alignment)]) -> Self {
        let mut all = vec![(name, Alignment::Left)];
        all.extend(head);
        Self {
            head: all,
            rows: Vec::new(),
        }
    }

    /// One more row, with a cell for each heading.
    pub(super) fn push(&mut self, row: Vec<Vec<Piece>>) {
        self.rows.push(row);
    }

    /// How wide each column is that has room, the name first. No value is ever cut: where there
    /// is no room for a column, it is not there.
    fn widths(&self, room: u16) -> Vec<u16> {
        let of = |column: usize| {
            let heading = self.head.get(column).map_or(0, |(text, _)| width(text));
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let widest = cells.map(|cell| cell.iter().map(|(text, _)| width(text)).sum());
            widest.fold(heading, u16::max)
        };
        let name = of(0);
        let mut widths = vec![name.min(NAME_MIN)];
        let mut left = room.saturating_sub(name.min(NAME_MIN));
        for column in 1..self.head.len() {
            let wanted = of(column).saturating_add(GAP);
            if wanted > left {
                break;
            }
            left -= wanted;
            widths.push(wanted - GAP);
        }
        if let Some(first) = widths.first_mut() {
            *first = name.min(*first + left);
        }
        widths
    }

    fn draw(&self, buffer: &mut Buffer, area: Rect, skip: usize, theme: Theme) {
        let widths = self.widths(area.width);
        let name = widths.first().copied().unwrap_or(0);
        let cell = |pieces: &[Piece], column: usize| {
            let spans = pieces.iter().map(|(text, style)| {
                let text = if column == 0 {
                    fitted(text, name)
                } else {
                    text.clone()
                };
                Span::styled(text, *style)
            });
            let alignment = self.head.get(column).map_or(Alignment::Left, |head| head.1);
            let line: Line<'_> = spans.collect();
            Cell::new(Text::from(line).alignment(alignment))
        };
        let rows = self.rows.iter().skip(skip.saturating_sub(1));
        let rows = rows.take(area.height.into()).map(|row| {
            let cells = row.iter().enumerate().take(widths.len());
            Row::new(cells.map(|(column, pieces)| cell(pieces, column)))
        });
        let constraints = widths.iter().map(|width| Constraint::Length(*width));
        let table = Table::new(rows, constraints).column_spacing(GAP);
        let table = if skip == 0 {
            let head = self.head.iter().enumerate().take(widths.len());
            let head = head
                .map(|(column, (text, _))| cell(&[((*text).to_owned(), theme.label())], column));
            table.header(Row::new(head))
        } else {
            table
        };
        table.render(area, buffer);
    }
}

/// A word, and what is told of it behind so many columns, in as many lines as that takes.
pub(super) fn explained(
    first: Piece,
    text: &str,
    behind: usize,
    columns: u16,
) -> impl Iterator<Item = Block> {
    let room = usize::from(columns).saturating_sub(behind).max(1);
    let (word, style) = first;
    let mut first = Some((format!("{word:<behind$}"), style));
    let lines = columns::wrapped_whole(text, room).into_iter();
    lines.map(move |line| {
        let before = first.take();
        let before = before.unwrap_or_else(|| (" ".repeat(behind), Style::new()));
        Block::Line(vec![before, (line, Style::new())])
    })
}

impl Block {
    /// Its rows.
    pub(super) fn height(&self) -> usize {
        match self {
            Self::Line(_) => 1,
            Self::Values(values) => values.rows.len() + 1,
            Self::Picture(_) => PICTURE_ROWS.into(),
        }
    }

    /// Draws it without its first rows, as far as there is room.
    fn draw(&self, buffer: &mut Buffer, area: Rect, skip: usize, theme: Theme) {
        match self {
            Self::Line(pieces) => {
                let spans = pieces
                    .iter()
                    .map(|(text, style)| Span::styled(text.as_str(), *style));
                let line: Line<'_> = spans.collect();
                line.render(Rect { height: 1, ..area }, buffer);
            }
            Self::Values(values) => values.draw(buffer, area, skip, theme),
            Self::Picture(samples) => {
                let whole = Rect::new(0, 0, area.width, PICTURE_ROWS);
                let mut picture = Buffer::empty(whole);
                Sparkline::default()
                    .data(samples.iter().copied())
                    .max(100)
                    .absent_value_symbol(" ")
                    .bar_set(theme.bar_set())
                    .style(theme.label())
                    .render(whole, &mut picture);
                let skip = u16::try_from(skip).unwrap_or(PICTURE_ROWS);
                for (to, from) in (area.top()..area.bottom()).zip(skip..PICTURE_ROWS) {
                    for x in 0..area.width {
                        if let (Some(cell), Some(drawn)) =
                            (buffer.cell_mut((area.x + x, to)), picture.cell((x, from)))
                        {
                            *cell = drawn.clone();
                        }
                    }
                }
            }
        }
    }
}

/// How many rows they have together.
pub(super) fn height(blocks: &[Block]) -> usize {
    blocks.iter().map(Block::height).sum()
}

/// Draws what is in sight of them, without the first `scroll` rows.
pub(super) fn draw(buffer: &mut Buffer, area: Rect, blocks: &[Block], scroll: usize, theme: Theme) {
    let mut skip = scroll;
    let mut area = area;
    for block in blocks {
        if area.height == 0 {
            break;
        }
        let height = block.height();
        if skip >= height {
            skip -= height;
            continue;
        }
        block.draw(buffer, area, skip, theme);
        let taken = u16::try_from(height - skip).unwrap_or(u16::MAX);
        let taken = taken.min(area.height);
        area.y += taken;
        area.height -= taken;
        skip = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEME: Theme = Theme {
        colours: false,
        unicode: true,
    };

    fn lines(blocks: &[Block], columns: u16, rows: u16, scroll: usize) -> Vec<String> {
        let mut buffer = Buffer::empty(Rect::new(0, 0, columns, rows));
        let area = *buffer.area();
        draw(&mut buffer, area, blocks, scroll, THEME);
        let rows = buffer.content().chunks(usize::from(columns));
        rows.map(|row| {
            let row: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
            row.trim_end().to_owned()
        })
        .collect()
    }

    fn piece(text: &str) -> Vec<Piece> {
        vec![(text.to_owned(), Style::new())]
    }

    fn blocks() -> Vec<Block> {
        let head = [("link", Alignment::Right), ("note", Alignment::Left)];
        let mut values = Values::new("name", &head);
        values.push(vec![piece("eth0"), piece("10000 Mbit/s"), piece("x")]);
        values.push(vec![piece("a-long-name-1"), piece("up"), piece("")]);
        vec![
            Block::Line(piece("first")),
            Block::Values(values),
            Block::Picture(vec![Some(0), None, Some(50), Some(100)]),
            Block::Line(piece("last")),
        ]
    }

    #[test]
    fn no_value_runs_into_its_neighbour_and_none_is_cut() {
        assert_eq!(
            lines(&blocks(), 40, 4, 0),
            [
                "first",
                "name                   link  note",
                "eth0           10000 Mbit/s  x",
                "a-long-name-1            up",
            ]
        );
        // The name gives way, and then whole columns do.
        assert_eq!(lines(&blocks(), 32, 4, 0)[3], "a-long-name…            up");
        assert_eq!(lines(&blocks(), 20, 4, 0)[1..3], ["name", "eth0"]);
    }

    #[test]
    fn any_part_of_it_is_what_it_is_as_a_whole() {
        let blocks = blocks();
        let all = lines(&blocks, 40, 8, 0);
        assert_eq!(height(&blocks), 8);
        assert_eq!(all[6], "  ██");
        assert_eq!(all[7], "last");
        for scroll in 0..8 {
            for rows in 1..8 {
                let shown = lines(&blocks, 40, rows, scroll);
                let end = (scroll + usize::from(rows)).min(8);
                assert_eq!(shown[..end - scroll], all[scroll..end], "{scroll} {rows}");
            }
        }
    }
}
