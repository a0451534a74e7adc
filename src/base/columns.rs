//! Text in the columns of a terminal: how many it takes, how it is cut to fit, and tables. Pure.

use unicode_width::UnicodeWidthChar as _;

/// Between two columns of a table.
pub const GAP: &str = "  ";

/// No cell is shortened to less.
pub const LEAST: usize = 8;

/// On a terminal of fewer columns no cell is shortened: a table that does not fit is shown as
/// blocks instead.
pub const NARROW: usize = 60;

/// How many columns a line takes; escape sequences take none.
#[must_use]
pub fn width(line: &str) -> usize {
    let mut inside = false;
    let columns = line.chars().map(|next| {
        if inside {
            inside = !next.is_ascii_alphabetic();
            return 0;
        }
        inside = next == '\x1b';
        if inside { 0 } else { next.width().unwrap_or(0) }
    });
    columns.sum()
}

/// A line of at most this many columns; what does not fit ends in an ellipsis. Colours do not
/// count, and never leak past the end.
#[must_use]
pub fn fit(line: &str, columns: Option<usize>) -> String {
    let Some(columns) = columns else {
        return line.to_owned();
    };
    if width(line) <= columns {
        return line.to_owned();
    }
    let mut text = String::with_capacity(line.len());
    let (mut seen, mut coloured) = (0, false);
    let mut rest = line.chars();
    while let Some(next) = rest.next() {
        if next == '\x1b' {
            coloured = true;
            text.push(next);
            for part in rest.by_ref() {
                text.push(part);
                if part.is_ascii_alphabetic() {
                    break;
                }
            }
            continue;
        }
        seen += next.width().unwrap_or(0);
        // The ellipsis takes one.
        if seen >= columns {
            break;
        }
        text.push(next);
    }
    if columns > 0 {
        text.push('…');
    }
    if coloured {
        text.push_str("\x1b[0m");
    }
    text
}

/// Cuts every line of a text to so many columns.
#[must_use]
pub fn fit_lines(text: &str, columns: Option<usize>) -> String {
    if columns.is_none() {
        return text.to_owned();
    }
    text.split_inclusive('\n')
        .map(|line| match line.strip_suffix('\n') {
            Some(line) => fit(line, columns) + "\n",
            None => fit(line, columns),
        })
        .collect()
}

/// Splits a text without escape sequences into pieces of at most this many columns; returns it
/// whole if there is no room for any.
#[must_use]
pub fn pieces(text: &str, columns: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut start, mut seen) = (0, 0);
    for (at, next) in text.char_indices() {
        let wide = next.width().unwrap_or(0);
        if seen > 0 && columns > 0 && seen + wide > columns {
            pieces.extend(text.get(start..at));
            (start, seen) = (at, 0);
        }
        seen += wide;
    }
    pieces.extend(text.get(start..));
    pieces
}

/// Wraps a sentence into lines of at most this many columns, unless a word is wider.
#[must_use]
pub fn wrapped(sentence: &str, columns: Option<usize>) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in sentence.split(' ') {
        match lines.last_mut() {
            Some(line) if columns.is_none_or(|most| width(line) + 1 + width(word) <= most) => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The lines that say which columns of a table were left out, with an empty one in front; nothing
/// if none were.
#[must_use]
pub fn left_out(headings: &[&str], columns: Option<usize>) -> String {
    if headings.is_empty() {
        return String::new();
    }
    let what = headings.join(", ").to_lowercase();
    let hint = format!("Columns left out: {what}; --full shows all.");
    let lines = wrapped(&hint, columns);
    format!("\n{}\n", lines.join("\n"))
}

/// As [`wrapped`], but a word that is wider than a line is broken.
#[must_use]
pub fn wrapped_whole(sentence: &str, columns: usize) -> Vec<String> {
    let lines = wrapped(sentence, Some(columns));
    let lines = lines.iter().flat_map(|line| pieces(line, columns));
    lines.map(str::to_owned).collect()
}

/// Lines of cells below each other, each column as wide as its widest cell. No line ends in
/// blanks.
#[must_use]
pub fn table(lines: &[Vec<String>]) -> String {
    table_of(lines, &widths(lines))
}

/// The same with columns of these widths. A cell that is wider moves what stands behind it.
#[must_use]
pub fn table_of(lines: &[Vec<String>], widths: &[usize]) -> String {
    let mut text = String::new();
    for line in lines {
        let start = text.len();
        for (cell, columns) in line.iter().zip(widths) {
            text.push_str(cell);
            text.extend(std::iter::repeat_n(
                ' ',
                columns.saturating_sub(width(cell)),
            ));
            text.push_str(GAP);
        }
        let kept = text.get(start..).map_or(0, |line| line.trim_end().len());
        text.truncate(start + kept);
        text.push('\n');
    }
    text
}

/// Makes the lines of a table, of which the first has the headings, fit into so many columns:
/// leaves out what may be `spared`, in that order, until they do, then shortens what may be `cut`,
/// down to [`LEAST`]. Returns the headings of what was left out.
pub fn narrow(
    lines: &mut [Vec<String>],
    columns: usize,
    spared: &[&'static str],
    cut: &[&'static str],
) -> Vec<&'static str> {
    let mut widths = widths(lines);
    let left_out = leave_out(lines, &mut widths, columns, spared);
    let mut excess = total(&widths).saturating_sub(columns);
    let places: Vec<_> = cut
        .iter()
        .filter_map(|heading| place(lines, heading))
        .collect();
    // From the widest, so that they share what there is.
    while excess > 0 {
        let widest = places
            .iter()
            .filter_map(|at| Some((*widths.get(*at)?, *at)));
        let Some((_, at)) = widest.max().filter(|(width, _)| *width > LEAST) else {
            break;
        };
        if let Some(width) = widths.get_mut(at) {
            *width -= 1;
        }
        excess -= 1;
    }
    for line in lines {
        for at in &places {
            if let (Some(cell), Some(width)) = (line.get_mut(*at), widths.get(*at)) {
                *cell = fit(cell, Some(*width));
            }
        }
    }
    left_out
}

/// Leaves out what may be `spared`, in that order, until columns of these widths fit. Returns the
/// headings of what was left out.
pub fn leave_out(
    lines: &mut [Vec<String>],
    widths: &mut Vec<usize>,
    columns: usize,
    spared: &[&'static str],
) -> Vec<&'static str> {
    let mut left_out = Vec::new();
    for heading in spared {
        if total(widths) <= columns {
            break;
        }
        if let Some(at) = place(lines, heading) {
            for line in lines.iter_mut().filter(|line| at < line.len()) {
                line.remove(at);
            }
            widths.remove(at);
            left_out.push(*heading);
        }
    }
    left_out
}

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + widths.len().saturating_sub(1) * GAP.len()
}

/// Where the column with this heading is.
fn place(lines: &[Vec<String>], heading: &str) -> Option<usize> {
    lines.first()?.iter().position(|found| found == heading)
}

/// A table, whose first line has the headings, for a terminal of so many columns, as [`narrow`]
/// makes it fit; if it does not, or the terminal is [`NARROW`], all of it as [`blocks`]. Also
/// returns the headings of what was left out.
#[must_use]
pub fn fitted(
    mut lines: Vec<Vec<String>>,
    columns: Option<usize>,
    titles: usize,
    (spared, cut): (&[&'static str], &[&'static str]),
) -> (String, Vec<&'static str>) {
    let Some(columns) = columns else {
        return (table(&lines), Vec::new());
    };
    let whole = lines.clone();
    let cut = if columns < NARROW { &[] } else { cut };
    let left_out = narrow(&mut lines, columns, spared, cut);
    let text = table(&lines);
    if text.lines().all(|line| width(line) <= columns) {
        (text, left_out)
    } else {
        (blocks(&whole, titles, columns), Vec::new())
    }
}

/// Each line of a table after the headings as a block: the first cells on one line, and below them
/// each other cell that is not `-`, after its heading.
#[must_use]
pub fn blocks(lines: &[Vec<String>], titles: usize, columns: usize) -> String {
    let Some((headings, lines)) = lines.split_first() else {
        return String::new();
    };
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            text.push('\n');
        }
        let title = line.get(..titles).unwrap_or(line).join(GAP);
        for piece in pieces(&title, columns) {
            text.extend([piece, "\n"]);
        }
        for (heading, cell) in headings.iter().zip(line).skip(titles) {
            if cell != "-" {
                let label = format!("  {}: ", heading.to_lowercase());
                text.push_str(&labelled(&label, cell, columns));
            }
        }
    }
    text
}

/// Lines of a value after its label, wrapped between words. They begin below the label's end or, if
/// a word has no room there, further to the left. The label is whole.
#[must_use]
pub fn labelled(label: &str, value: &str, columns: usize) -> String {
    let whole = format!("{label}{value}");
    if width(&whole) <= columns {
        return whole + "\n";
    }
    let behind = width(label);
    // After a label that takes much of the line there is room for one word a line at best.
    let indent = if behind * 2 <= columns { behind } else { 4 };
    let mut text = label.to_owned();
    let mut used = behind;
    for word in value.split(' ') {
        let wide = width(word);
        let first = used == behind && text.len() == label.len();
        let gap = usize::from(!first && used > 0);
        if used + gap + wide <= columns {
            text.extend(std::iter::repeat_n(' ', gap));
            text.push_str(word);
            used += gap + wide;
            continue;
        }
        text.truncate(text.trim_end().len());
        let indent = indent.min(columns.saturating_sub(wide));
        for piece in pieces(word, columns) {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent));
            text.push_str(piece);
            used = indent + width(piece);
        }
    }
    text.push('\n');
    text
}

/// The columns that each column of a table takes.
#[must_use]
pub fn widths(lines: &[Vec<String>]) -> Vec<usize> {
    let mut widths: Vec<usize> = Vec::new();
    for line in lines {
        widths.resize(widths.len().max(line.len()), 0);
        for (columns, cell) in widths.iter_mut().zip(line) {
            *columns = (*columns).max(width(cell));
        }
    }
    widths
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::text::{hostile, shown};

    #[test]
    fn a_sentence_is_wrapped_between_words() {
        let text = "Columns left out: key, first seen; --full shows all.";
        assert_eq!(wrapped(text, None), [text]);
        assert_eq!(
            wrapped(text, Some(40)),
            ["Columns left out: key, first seen;", "--full shows all."]
        );
        assert_eq!(wrapped("a longword b", Some(4)), ["a", "longword", "b"]);
    }

    #[test]
    fn what_does_not_fit_is_shortened() {
        assert_eq!(fit("abcdef", None), "abcdef");
        assert_eq!(fit("abcdef", Some(6)), "abcdef");
        assert_eq!(fit("abcdef", Some(5)), "abcd…");
        assert_eq!(fit("ä●üö", Some(3)), "ä●…");
        assert_eq!(fit("abc", Some(1)), "…");
        assert_eq!(fit("abc", Some(0)), "");
        let coloured = "\x1b[1;32mabc\x1b[0mdef";
        assert_eq!(fit(coloured, Some(6)), coloured);
        assert_eq!(fit(coloured, Some(3)), "\x1b[1;32mab…\x1b[0m");
        assert_eq!(fit_lines("abcd\n\nab\n", Some(3)), "ab…\n\nab\n");
        // Two columns each.
        assert_eq!(width("世界"), 4);
        assert_eq!(fit("世界x", Some(4)), "世…");
        // A mark above its letter takes none.
        assert_eq!(width("e\u{301}"), 1);
    }

    #[test]
    fn a_value_is_whole_behind_its_label() {
        let key = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7";
        for (label, value, columns, expected) in [
            ("  key: ", "short", 40, "  key: short\n".to_owned()),
            ("  key: ", key, 40, format!("  key:\n{key}\n")),
            ("  key: ", key, 42, format!("  key:\n  {key}\n")),
            (
                "       State: ",
                "stale since Sunday; 2 weeks ago",
                30,
                "       State: stale since\n              Sunday; 2 weeks\n              ago\n"
                    .to_owned(),
            ),
            (
                "       State: ",
                "stale since Sunday",
                20,
                "       State: stale\n    since Sunday\n".to_owned(),
            ),
            ("a: ", "abcdefghij", 4, "a:\nabcd\nefgh\nij\n".to_owned()),
        ] {
            assert_eq!(labelled(label, value, columns), expected);
        }
    }

    #[test]
    fn a_table_that_does_not_fit_is_shown_as_blocks() {
        let line = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines = vec![
            line(["HOST", "STATE", "SINCE"]),
            line(["web1.example.org", "reporting", "2026-11-30 01:00:00"]),
            line(["db", "gone", "-"]),
        ];
        let fit = |columns| fitted(lines.clone(), columns, 1, (&["SINCE"], &["HOST"]));
        assert_eq!(fit(None), (table(&lines), vec![]));
        let (text, left_out) = fit(Some(30));
        assert_eq!(left_out, ["SINCE"]);
        assert_eq!(
            text,
            "HOST              STATE\nweb1.example.org  reporting\ndb                gone\n"
        );
        let (text, left_out) = fit(Some(24));
        assert_eq!(left_out, [""; 0]);
        assert_eq!(
            text,
            "web1.example.org\n  state: reporting\n  since: 2026-11-30\n         01:00:00\n\n\
             db\n  state: gone\n"
        );
    }

    #[test]
    fn a_text_is_split_where_its_line_ends() {
        assert_eq!(pieces("abcdef", 6), ["abcdef"]);
        assert_eq!(pieces("abcdef", 4), ["abcd", "ef"]);
        assert_eq!(pieces("世界x", 3), ["世", "界x"]);
        assert_eq!(pieces("世界", 1), ["世", "界"]);
        assert_eq!(pieces("ab", 0), ["ab"]);
        assert_eq!(pieces("", 4), [""]);
    }

    #[test]
    fn cells_stand_below_each_other() {
        let line = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let lines = [
            line(["A", "B", "C"]),
            line(["世界", "", ""]),
            line(["a", "bb", "c"]),
        ];
        assert_eq!(table(&lines), "A     B   C\n世界\na     bb  c\n");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn a_table_loses_what_can_be_spared_and_then_parts_of_names() {
        let line = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        let lines = [
            line(["NAME", "KEY", "HOSTS", "SEEN"]),
            line([
                "web1.example.org",
                "0123456789",
                "web1.example.org",
                "yesterday",
            ]),
        ];
        let fitting = |columns| {
            let mut lines = lines.clone();
            let left_out = narrow(&mut lines, columns, &["SEEN"], &["NAME", "HOSTS"]);
            (left_out, table(&lines))
        };
        assert_eq!(fitting(57).0, Vec::<&str>::new());
        let (left_out, text) = fitting(56);
        assert_eq!(left_out, ["SEEN"]);
        assert!(
            text.ends_with("web1.example.org  0123456789  web1.example.org\n"),
            "{text}"
        );
        let (_, text) = fitting(37);
        assert!(
            text.ends_with("web1.examp…  0123456789  web1.exampl…\n")
                || text.ends_with("web1.exampl…  0123456789  web1.examp…\n"),
            "{text}"
        );
        // A name of seven letters and an ellipsis has to be.
        let (_, text) = fitting(20);
        assert!(text.ends_with("web1.ex…  0123456789  web1.ex…\n"), "{text}");
    }

    proptest! {
        #[test]
        fn a_line_is_never_wider_than_it_may_be(text in hostile::texts(), columns in 0_usize..40) {
            prop_assert!(width(&fit(&shown(&text), Some(columns))) <= columns);
        }
    }
}
