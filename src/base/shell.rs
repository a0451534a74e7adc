//! Commands that a person may paste into a shell. Pure.
//!
//! A command in a message may carry a name that a peer chose. Each word is quoted so that a shell
//! takes it for exactly that text, and escaped so that it looks like what it is.

use std::fmt::Write as _;
use std::path::Path;

use super::columns::width;
use super::text::is_hidden;

/// The beginning of a word that printf(1) writes, and a newline at its end.
const PRINTF: &str = "\"$(printf '";
const NEWLINE: &str = "${IFS#??}";

/// A command line: our own words, then operands, which may be anything. There is a `--` before
/// operands if one of them could be taken for an option.
#[must_use]
pub fn command(words: &[&str], operands: &[&str]) -> String {
    let option = operands.iter().any(|operand| operand.starts_with('-'));
    let option = option && words.last() != Some(&"--");
    let dashes = option.then_some("--");
    let words = words.iter().copied().chain(dashes);
    let words: Vec<_> = words.chain(operands.iter().copied()).map(word).collect();
    words.join(" ")
}

/// One word for any POSIX shell: unchanged if nothing in it has a meaning to a shell, else in
/// single quotes.
///
/// If it has hidden characters, printf(1) writes it from their bytes in octal: not every sh knows
/// `$'…'`.
#[must_use]
pub fn word(text: &str) -> String {
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    if text.contains(is_hidden) {
        return printed(text.as_bytes());
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A path as one word; what is no UTF-8 in octal, too.
#[must_use]
pub fn path(path: &Path) -> String {
    match path.to_str() {
        Some(path) => word(path),
        None => printed(path.as_os_str().as_encoded_bytes()),
    }
}

fn is_plain(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_-.,:/@+".contains(character)
}

/// A command of [`command`] in lines of at most so many columns, which a shell takes for one. It is
/// broken between words, and what continues is indented; a word that is longer than a line is
/// continued where its next line begins.
#[must_use]
pub fn lines(command: &str, columns: usize) -> Vec<String> {
    // For what ends a line: a quote and a backslash, or a space and a backslash.
    let room = columns.saturating_sub(2);
    let mut lines = Vec::new();
    let mut line = String::from("  ");
    let mut first = true;
    for word in words(command) {
        if !first && width(&line) + 1 + width(word) > room {
            lines.push(std::mem::replace(&mut line, "    ".to_owned()) + " \\");
        } else if !first {
            line.push(' ');
        }
        first = false;
        for (unit, quoted) in units(word) {
            let quote = if quoted { "'" } else { "" };
            if width(&line) + width(unit) > room && !line.trim_start().is_empty() {
                lines.push(std::mem::replace(&mut line, quote.to_owned()) + quote + "\\");
            }
            line.push_str(unit);
        }
    }
    lines.push(line);
    lines
}

/// The words of a command line, with their quotes.
fn words(command: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = command;
    while !rest.is_empty() {
        let long: usize = units(rest)
            .take_while(|(unit, quoted)| *quoted || *unit != " ")
            .map(|(unit, _)| unit.len())
            .sum();
        let (word, behind) = rest.split_at(long);
        words.push(word);
        rest = behind.strip_prefix(' ').unwrap_or(behind);
    }
    words
}

/// The parts of a quoted text between which a line may end, each with whether it follows in
/// single quotes.
fn units(mut rest: &str) -> impl Iterator<Item = (&str, bool)> {
    // Between single quotes, and these in a command substitution.
    let (mut quoted, mut printed) = (false, false);
    std::iter::from_fn(move || {
        let before = quoted;
        let first = rest.chars().next()?;
        let long = if !quoted && rest.starts_with(PRINTF) {
            (quoted, printed) = (true, true);
            PRINTF.len()
        } else if first == '\'' {
            quoted = !quoted;
            // With the parenthesis.
            if printed { 2 } else { 1 }
        } else if first == '$' && printed && !quoted {
            NEWLINE.len()
        } else if first == '"' && printed && !quoted {
            printed = false;
            1
        } else if first == '\\' && printed {
            4
        } else if first == '\\' && !quoted {
            2
        } else {
            first.len_utf8()
        };
        let (unit, behind) = rest.split_at_checked(long).unwrap_or((rest, ""));
        rest = behind;
        Some((unit, before))
    })
}

/// `"$(printf '…')"`. A shell drops the newlines at its end; they come from `IFS`.
fn printed(text: &[u8]) -> String {
    let mut kept = text;
    let mut newlines = String::new();
    while let Some(rest) = kept.strip_suffix(b"\n") {
        kept = rest;
        newlines.push_str(NEWLINE);
    }
    let mut format = String::new();
    for chunk in kept.utf8_chunks() {
        for character in chunk.valid().chars() {
            // A dash at the beginning would be an option, and `!` inside of double quotes is one
            // of bash's own commands.
            let is_option = format.is_empty() && character == '-';
            let is_safe = !character.is_ascii() || is_plain(character) || character == ' ';
            if is_safe && !is_option && !is_hidden(character) {
                format.push(character);
            } else {
                octal(&mut format, character.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        octal(&mut format, chunk.invalid());
    }
    format!("{PRINTF}{format}'){newlines}\"")
}

/// Always three digits: what follows may be one, too.
fn octal(word: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(word, "\\{byte:03o}");
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;
    use crate::base::text::hostile;

    #[test]
    fn words_are_quoted_where_a_shell_would_read_more_into_them() {
        for (text, expected) in [
            ("web1.example.org", "web1.example.org"),
            ("", "''"),
            ("x;touch y", "'x;touch y'"),
            ("it's", "'it'\\''s'"),
            ("~", "'~'"),
            ("=ls", "'=ls'"),
            ("rq:rM>}U?@Lns", "'rq:rM>}U?@Lns'"),
            (
                "-\u{202e}'b\\%",
                "\"$(printf '\\055\\342\\200\\256\\047b\\134\\045')\"",
            ),
            ("a\nb\n", "\"$(printf 'a\\012b')${IFS#??}\""),
        ] {
            assert_eq!(word(text), expected);
        }
        let bytes = OsStr::from_bytes(b"/a b\xff1");
        assert_eq!(path(Path::new(bytes)), "\"$(printf '/a b\\3771')\"");
        assert_eq!(path(Path::new("/a b")), "'/a b'");
        let words = ["metrics-collector", "keys", "forget"];
        assert_eq!(
            command(&words, &["web1"]),
            "metrics-collector keys forget web1"
        );
        assert_eq!(
            command(&words, &["--help"]),
            "metrics-collector keys forget -- --help"
        );
    }

    fn read_by(shell: &str, word: &str) -> Vec<u8> {
        let script = format!("printf %s {word}");
        let answer = Command::new(shell).args(["-c", &script]).output().unwrap();
        assert!(answer.status.success(), "{script:?}");
        answer.stdout
    }

    #[test]
    fn a_shell_reads_what_was_meant() {
        for text in [
            hostile::NAME,
            "; $(x)'\"`ü世 &\\",
            "-n\u{202e}",
            "--\u{1b}[2J",
            "100%s\u{7}\\n!!$HOME`id`",
            "\n",
            "\n\na\n\n",
            "it's\t'\"",
            "\u{200b}世1",
        ] {
            for shell in ["sh", "bash"] {
                let read = read_by(shell, &word(text));
                assert_eq!(read, text.as_bytes(), "{shell} {text:?}");
            }
        }
        let bytes = b"/a\xff'1\n\xfe\n";
        let quoted = path(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!(read_by("sh", &quoted), bytes);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_text_is_one_harmless_word(text in hostile::texts().prop_filter("NUL ends an argument", |text| !text.contains('\0'))) {
            let word = word(&text);
            prop_assert!(!word.contains(is_hidden), "{word:?}");
            prop_assert_eq!(read_by("sh", &word), text.as_bytes());
            // The same in narrow lines, as one of several words.
            let lines = lines(&format!("printf '%s|' a {word} b"), 24);
            prop_assert!(lines.iter().all(|line| width(line) <= 24), "{lines:?}");
            let answer = Command::new("sh").args(["-c", &lines.join("\n")]).output().unwrap();
            let expected = [b"a|", text.as_bytes(), b"|b|"].concat();
            prop_assert_eq!(answer.stdout, expected, "{:?}", lines);
        }
    }
}
