//! Colours and characters, for terminals with more and with less of them.
//!
//! Only the sixteen colours that every terminal has and users can configure. Colour is never
//! the only sign: a warning is bold, a problem is bold and reversed, and a mark and a word say
//! the same. Text is never dim.

use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols;

pub use crate::top::health::Severity;

/// What a terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Colours.
    pub colours: bool,
    /// More than ASCII.
    pub unicode: bool,
}

/// The row that one is at.
pub(super) const CURSOR: Style = Style::new().add_modifier(Modifier::REVERSED);

/// A key, and what is typed.
pub(super) const KEY: Style = Style::new().add_modifier(Modifier::BOLD);

impl Theme {
    fn coloured(self, colour: Color) -> Style {
        if self.colours {
            Style::new().fg(colour)
        } else {
            Style::new()
        }
    }

    /// A mark or a bar.
    pub(super) fn severity(self, severity: Severity) -> Style {
        match severity {
            Severity::Good => self.coloured(Color::Green),
            Severity::Busy => self.coloured(Color::Yellow).add_modifier(Modifier::BOLD),
            Severity::Bad => self.coloured(Color::Red).add_modifier(Modifier::BOLD),
        }
    }

    /// Text: as it should be it needs no colour, and where it is bad it stands out most.
    pub(super) fn text(self, severity: Severity) -> Style {
        match severity {
            Severity::Good => Style::new(),
            Severity::Busy => self.severity(severity),
            Severity::Bad => self.severity(severity).add_modifier(Modifier::REVERSED),
        }
    }

    pub(super) fn title(self) -> Style {
        self.coloured(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    pub(super) fn label(self) -> Style {
        self.coloured(Color::Cyan)
    }

    /// Rules and the empty part of bars, which say nothing.
    pub(super) fn ornament(self) -> Style {
        self.coloured(Color::DarkGray)
    }

    /// A row of headings.
    pub(super) fn heading(self) -> Style {
        if self.colours {
            Style::new().fg(Color::Black).bg(Color::Cyan)
        } else {
            Style::new().add_modifier(Modifier::REVERSED)
        }
    }

    /// The heading of the column that is sorted by.
    pub(super) fn sorted_heading(self) -> Style {
        let style = if self.colours {
            Style::new().fg(Color::Black).bg(Color::Green)
        } else {
            Style::new().add_modifier(Modifier::REVERSED)
        };
        style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
    }

    /// A bar of so many columns, and the rest of them.
    pub(super) fn bar(self, percent: f64, width: usize) -> (String, String) {
        let share = (percent / 100.0).clamp(0.0, 1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a few columns"
        )]
        let halves = (share * width as f64 * 2.0).round() as usize;
        let (full, half) = (halves / 2, halves % 2);
        if !self.unicode {
            let full = full + half;
            return ("#".repeat(full), ".".repeat(width - full));
        }
        let bar = "━".repeat(full) + &"╸".repeat(half);
        (bar, "─".repeat(width - full - half))
    }

    /// The characters of a picture, from low to high.
    pub(super) fn bar_set(self) -> symbols::bar::Set<'static> {
        if self.unicode {
            return symbols::bar::NINE_LEVELS;
        }
        symbols::bar::Set {
            full: "#",
            seven_eighths: "#",
            three_quarters: "#",
            five_eighths: "=",
            half: "=",
            three_eighths: "-",
            one_quarter: "-",
            one_eighth: ".",
            empty: " ",
        }
    }

    /// One character for a percentage.
    pub(super) fn spark(self, percent: u8) -> char {
        const UNICODE: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        const ASCII: [char; 8] = ['_', '.', ':', '-', '=', '+', '*', '#'];
        let levels = if self.unicode { UNICODE } else { ASCII };
        let at = usize::from(percent) * levels.len() / 101;
        levels.get(at).copied().unwrap_or(' ')
    }

    pub(super) fn pick(self, unicode: &'static str, ascii: &'static str) -> &'static str {
        if self.unicode { unicode } else { ascii }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RICH: Theme = Theme {
        colours: true,
        unicode: true,
    };
    const PLAIN: Theme = Theme {
        colours: false,
        unicode: false,
    };

    #[test]
    fn bars_are_as_long_as_they_should_be() {
        assert_eq!(RICH.bar(0.0, 4), (String::new(), "────".into()));
        assert_eq!(RICH.bar(50.0, 4), ("━━".into(), "──".into()));
        assert_eq!(RICH.bar(60.0, 4), ("━━╸".into(), "─".into()));
        assert_eq!(RICH.bar(250.0, 4), ("━━━━".into(), String::new()));
        assert_eq!(PLAIN.bar(50.0, 4), ("##".into(), "..".into()));
        assert_eq!(PLAIN.bar(60.0, 4), ("###".into(), ".".into()));
        for percent in 0..=100 {
            let (full, rest) = RICH.bar(f64::from(percent), 7);
            assert_eq!(full.chars().count() + rest.chars().count(), 7);
        }
        assert_eq!(RICH.bar(f64::NAN, 3), (String::new(), "───".into()));
    }

    #[test]
    fn sparks_go_from_low_to_high() {
        assert_eq!(
            [0, 12, 13, 50, 100].map(|p| RICH.spark(p)),
            ['▁', '▁', '▂', '▄', '█']
        );
        assert_eq!(PLAIN.spark(100), '#');
    }

    #[test]
    fn without_colours_there_are_none() {
        for style in [
            PLAIN.severity(Severity::Bad),
            PLAIN.title(),
            PLAIN.ornament(),
            PLAIN.heading(),
            PLAIN.sorted_heading(),
        ] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
    }

    #[test]
    fn what_is_worse_stands_out_more_and_nothing_is_dim() {
        for theme in [RICH, PLAIN] {
            let of = |severity| theme.text(severity).add_modifier;
            assert_eq!(of(Severity::Good), Modifier::empty());
            assert_eq!(of(Severity::Busy), Modifier::BOLD);
            assert_eq!(of(Severity::Bad), Modifier::BOLD | Modifier::REVERSED);
            assert_eq!(theme.ornament().add_modifier, Modifier::empty());
        }
    }
}
