//! Writes along one row of the screen. Pure.

use ratatui::buffer::Buffer;
use ratatui::style::Style;

use crate::base::columns;
use crate::base::text::shown as clean;

/// A place in a row, and its end.
pub(super) struct Pen<'a> {
    buffer: &'a mut Buffer,
    x: u16,
    y: u16,
    end: u16,
}

impl<'a> Pen<'a> {
    /// At the beginning of a row's part from `x` to before `end`.
    pub(super) fn new(buffer: &'a mut Buffer, y: u16, x: u16, end: u16) -> Self {
        let area = *buffer.area();
        let end = if y >= area.top() && y < area.bottom() {
            end.min(area.right())
        } else {
            x
        };
        Self { buffer, x, y, end }
    }

    /// Columns that are left.
    pub(super) fn left(&self) -> u16 {
        self.end.saturating_sub(self.x)
    }

    /// Writes text, as much as there is room for.
    pub(super) fn put(&mut self, text: &str, style: Style) -> &mut Self {
        if self.left() > 0 {
            let width = usize::from(self.left());
            let (x, _) = self
                .buffer
                .set_stringn(self.x, self.y, clean(text), width, style);
            self.x = x;
        }
        self
    }

    /// Leaves columns free.
    pub(super) fn skip(&mut self, columns: u16) -> &mut Self {
        self.x = self.x.saturating_add(columns).min(self.end.max(self.x));
        self
    }

    /// Writes text into so many columns, at their beginning; what does not fit is cut with an
    /// ellipsis.
    pub(super) fn left_in(&mut self, text: &str, columns: u16, style: Style) -> &mut Self {
        let columns = columns.min(self.left());
        let end = self.x + columns;
        let text = fitted(&clean(text), columns);
        self.put(&text, style);
        self.x = end;
        self
    }

    /// Writes text into so many columns, at their end.
    pub(super) fn right_in(&mut self, text: &str, columns: u16, style: Style) -> &mut Self {
        let columns = columns.min(self.left());
        let free = columns.saturating_sub(width(text));
        self.skip(free);
        self.left_in(text, columns - free, style)
    }
}

/// Columns that a text takes.
pub(super) fn width(text: &str) -> u16 {
    u16::try_from(columns::width(text)).unwrap_or(u16::MAX)
}

/// The beginning of a text that fits, with an ellipsis if it was cut.
pub(super) fn fitted(text: &str, columns: u16) -> String {
    columns::fit(text, Some(columns.into()))
}

/// A host's name that fits. The domain is cut first, as it is most hosts'; then the middle, as
/// numbers stand at the end.
pub(super) fn short_name(name: &str, columns: u16) -> String {
    if width(name) <= columns {
        return name.to_owned();
    }
    let host = name.split('.').next().unwrap_or(name);
    if width(host) < columns {
        return fitted(name, columns);
    }
    let mut end = String::new();
    for letter in host.chars().rev() {
        let with = format!("{letter}{end}");
        if width(&with) > columns.saturating_sub(1) / 2 {
            break;
        }
        end = with;
    }
    let start = fitted(host, columns.saturating_sub(width(&end)));
    start + &end
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;

    use super::*;

    fn written(write: impl FnOnce(&mut Pen<'_>)) -> String {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 10, 1));
        write(&mut Pen::new(&mut buffer, 0, 0, 10));
        buffer
            .content()
            .iter()
            .map(ratatui::buffer::Cell::symbol)
            .collect()
    }

    #[test]
    fn columns_are_kept() {
        let style = Style::new();
        let text = written(|pen| {
            pen.left_in("ab", 3, style)
                .right_in("7", 3, style)
                .put("x", style);
        });
        assert_eq!(text, "ab   7x   ");
        let text = written(|pen| {
            pen.left_in("abcdef", 4, style)
                .right_in("12345678", 9, style);
        });
        assert_eq!(text, "abc…12345…");
    }

    #[test]
    fn of_a_name_what_tells_hosts_apart_stays() {
        let short = |name| short_name(name, 12);
        assert_eq!(short("web1.example"), "web1.example");
        assert_eq!(short("web1.example.org"), "web1.exampl…");
        assert_eq!(short("database-prod-17.example.org"), "databa…od-17");
        assert_eq!(short("database-prod-17"), "databa…od-17");
        assert_eq!(width(&short_name("世界世界世界世界", 9)), 9);
        for columns in 0..30 {
            assert!(width(&short_name("database-prod-17.example", columns)) <= columns);
        }
    }

    #[test]
    fn wide_characters_are_not_cut_in_two() {
        assert_eq!(width("世界"), 4);
        assert_eq!(fitted("世界世界", 4), "世…");
        assert_eq!(fitted("世界", 4), "世界");
        assert_eq!(fitted("ab", 0), "");
        let text = written(|pen| {
            pen.left_in("世界世界世界", 6, Style::new())
                .put("|", Style::new());
        });
        assert!(text.contains("世 界 …"), "{text:?}");
    }

    #[test]
    fn nothing_is_written_outside() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 3, 1));
        Pen::new(&mut buffer, 5, 0, 10).put("abc", Style::new());
        Pen::new(&mut buffer, 0, 2, 10).put("abc\x1b[31m", Style::new());
        let text: String = buffer
            .content()
            .iter()
            .map(ratatui::buffer::Cell::symbol)
            .collect();
        assert_eq!(text, "  a");
    }
}
