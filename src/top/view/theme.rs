//! Colours and characters, for terminals with more and with less of them.
//!
//! Of colours only the sixteen that every terminal has, which are the person's own; where
//! there are none, what colours say is said by other means as well.

use ratatui::style::{Color, Modifier, Style};

/// What a terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Theme {
    /// Colours.
    pub colours: bool,
    /// More than ASCII.
    pub unicode: bool,
}

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should be.
    Good,
    /// Worth a look.
    Busy,
    /// Not as it should be.
    Bad,
}

impl Mood {
    /// From 70 % on worth a look, from 90 % on bad.
    #[must_use]
    pub fn of_share(percent: f64) -> Self {
        Self::between(percent, 70.0, 90.0)
    }

    /// From `busy` on worth a look, from `bad` on bad.
    #[must_use]
    pub fn between(value: f64, busy: f64, bad: f64) -> Self {
        if value >= bad {
            Self::Bad
        } else if value >= busy {
            Self::Busy
        } else {
            Self::Good
        }
    }
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

    pub(super) fn mood(self, mood: Mood) -> Style {
        match mood {
            Mood::Good => self.coloured(Color::Green),
            Mood::Busy => self.coloured(Color::Yellow),
            Mood::Bad => self.coloured(Color::Red).add_modifier(Modifier::BOLD),
        }
    }

    /// Text that is as it should be needs no colour.
    pub(super) fn text(self, mood: Mood) -> Style {
        match mood {
            Mood::Good => Style::new(),
            mood => self.mood(mood),
        }
    }

    pub(super) fn title(self) -> Style {
        self.coloured(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    pub(super) fn label(self) -> Style {
        self.coloured(Color::Cyan)
    }

    pub(super) fn faint(self) -> Style {
        if self.colours {
            Style::new().fg(Color::DarkGray)
        } else {
            Style::new().add_modifier(Modifier::DIM)
        }
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

    /// The row that one is at.
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
            PLAIN.mood(Mood::Bad),
            PLAIN.title(),
            PLAIN.faint(),
            PLAIN.heading(),
            PLAIN.sorted_heading(),
        ] {
            assert_eq!((style.fg, style.bg), (None, None));
        }
        assert_eq!(Mood::of_share(89.0), Mood::Busy);
    }
}
