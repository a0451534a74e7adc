//! Colours as systemctl has them. Pure.

/// Colours, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) colours: bool,
}

impl Style {
    pub(super) const fn new(colours: bool) -> Self {
        Self { colours }
    }

    /// systemctl's dot for a state, in its colour.
    pub(super) fn dot(self, state: &str) -> String {
        let (dot, _) = look(state);
        self.paint(state, dot)
    }

    /// Text in the colour of a state.
    pub(super) fn paint(self, state: &str, text: &str) -> String {
        match look(state) {
            (_, Some(colour)) => self.sgr(colour, text),
            _ => text.to_owned(),
        }
    }

    /// A table's heading, underlined as systemctl's.
    pub(super) fn heading(self, text: &str) -> String {
        self.sgr("4", text)
    }

    fn sgr(self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// A state's dot and SGR colour: bold green for what works, bold red for what does not.
fn look(state: &str) -> (&'static str, Option<&'static str>) {
    match state {
        "reporting" => ("●", Some("1;32")),
        "stale" => ("●", Some("1;31")),
        "failed" => ("×", Some("1;31")),
        "connecting" | "stopping" => ("●", Some("1;33")),
        _ => ("○", None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_left_out_where_they_are_not_wanted() {
        assert_eq!(Style::new(false).dot("reporting"), "●");
        assert_eq!(Style::new(true).dot("reporting"), "\x1b[1;32m●\x1b[0m");
        assert_eq!(Style::new(true).dot("unconfigured"), "○");
        assert_eq!(Style::new(true).heading("A"), "\x1b[4mA\x1b[0m");
    }
}
