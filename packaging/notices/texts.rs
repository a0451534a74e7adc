//! Texts that many have, each kept once and called by a number.

use std::fmt;

/// The distinct texts, in the order in which they came.
#[derive(Default)]
pub(crate) struct Texts(Vec<String>);

impl Texts {
    /// The number of this text, from 1 on. Blanks at the ends of lines, and empty lines before and
    /// after, make no difference.
    pub(crate) fn number(&mut self, text: &str) -> usize {
        let lines = text.lines().map(str::trim_end).collect::<Vec<_>>();
        let text = lines.join("\n").trim_matches('\n').to_owned();
        if let Some(at) = self.0.iter().position(|known| *known == text) {
            return at + 1;
        }
        self.0.push(text);
        self.0.len()
    }
}

impl fmt::Display for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, text) in self.0.iter().enumerate() {
            writeln!(f, "{:-<100}\n\n{text}\n", format!("[{}] ", at + 1))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stands_once_under_its_number() {
        let mut texts = Texts::default();
        assert_eq!(texts.number("one\n  two\n"), 1);
        assert_eq!(texts.number("another"), 2);
        assert_eq!(texts.number("\none \r\n  two\n\n"), 1);
        assert_eq!(texts.number("one\ntwo"), 3);
        let shown = texts.to_string();
        assert_eq!(shown.matches("one\n  two\n").count(), 1, "{shown}");
        assert!(shown.contains("[2] ---"), "{shown}");
    }
}
