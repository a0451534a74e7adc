//! Text in roff. Which characters mean something there: `groff_char(7)`.

/// At the beginning of each page: an apostrophe that stays straight on every device, as
/// `clap_mangen` writes it.
pub(super) const PREAMBLE: &str = concat!(
    ".\\\" SPDX-License-Identifier: Apache-2.0\n",
    ".ie \\n(.g .ds Aq \\(aq\n",
    ".el .ds Aq '\n",
);

/// After each page's title, as systemd's pages have it: no name is torn apart at the end of a line,
/// where it could not be searched for or copied, and no line is stretched.
pub(super) const SETUP: &str = ".nh\n.ad l\n";

/// Between two paragraphs that belong together.
pub(super) const SPACE: &str = ".sp\n";

/// Text as it is to be read, on any device. What stands between backticks is bold.
pub(super) fn text(plain: &str) -> String {
    let mut roff = String::new();
    let mut bold = false;
    for found in plain.chars() {
        match found {
            '\\' => roff.push_str("\\e"),
            '-' => roff.push_str("\\-"),
            '\'' => roff.push_str("\\*(Aq"),
            '`' => {
                bold = !bold;
                roff.push_str(if bold { "\\fB" } else { "\\fR" });
            }
            '~' => roff.push_str("\\(ti"),
            '^' => roff.push_str("\\(ha"),
            '…' => roff.push_str("..."),
            // A line that begins with a full stop would be a request.
            '.' if roff.is_empty() => roff.push_str("\\&."),
            _ => roff.push(found),
        }
    }
    roff
}

/// What `clap_mangen` wrote, without its own preamble and headings, and with the characters that
/// it leaves to chance as [`text`] writes them.
pub(super) fn of_clap(written: &str) -> String {
    let mut roff = String::new();
    let kept = |line: &&str| {
        !line.starts_with(".SH ") && PREAMBLE.lines().all(|preamble| preamble != *line)
    };
    let mut lines = written.lines().filter(kept).peekable();
    let mut before = "";
    while let Some(line) = lines.next() {
        let after = lines.peek().copied().unwrap_or(".");
        if line.is_empty() {
            // A paragraph's end, unless a request ends it anyway.
            if !before.starts_with('.') && !after.starts_with('.') {
                roff.push_str(SPACE);
            }
            continue;
        }
        if line == ".br" && before == line {
            continue;
        }
        before = line;
        let mut bold = false;
        for found in line.trim_end().chars() {
            match found {
                '`' => {
                    bold = !bold;
                    roff.push_str(if bold { "\\fB" } else { "\\fR" });
                }
                '~' => roff.push_str("\\(ti"),
                '^' => roff.push_str("\\(ha"),
                '…' => roff.push_str("..."),
                _ => roff.push(found),
            }
        }
        roff.push('\n');
    }
    roff
}
