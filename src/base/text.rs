//! Text of others, made safe to show. Pure.
//!
//! A name may hold characters that steer a terminal, turn the text around them, or cannot be
//! seen, so that a line says something else than it seems to. [`shown`] writes each of these
//! as an escape sequence such as `\u{202e}`, and leaves everything else as it is.

use std::borrow::Cow;
use std::fmt::Display;
use std::net::Ipv4Addr;
use std::path::Path;

/// Returns true if a character is not visible as itself: it controls a terminal, changes the order
/// of the text around it, has no width, or is a blank other than the space.
///
/// These are the general categories Cc, Cf, Zl, Zp and Zs (except the space), the code points of
/// the property `Default_Ignorable_Code_Point` (both of Unicode 16), and the braille blank.
#[must_use]
pub fn is_hidden(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    character.is_control()
        || character.is_whitespace()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Returns true if every character of a text is visible as itself.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    !text.contains(is_hidden)
}

/// The text on one line, with its hidden characters escaped.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    push_shown(&mut shown, text);
    Cow::Owned(shown)
}

/// Appends [`shown`] text.
pub fn push_shown(to: &mut String, text: &str) {
    for character in text.chars() {
        if is_hidden(character) {
            to.extend(character.escape_default());
        } else {
            to.push(character);
        }
    }
}

/// As [`shown`], of whatever has a text.
#[must_use]
pub fn of(what: &(impl Display + ?Sized)) -> String {
    match shown(&what.to_string()) {
        Cow::Borrowed(text) => text.to_owned(),
        Cow::Owned(text) => text,
    }
}

/// A name in a table: as [`shown`], and spaces at its ends are escaped, too, because they would be
/// invisible there.
#[must_use]
pub fn name(name: &str) -> Cow<'_, str> {
    let inner = name.trim_matches(' ');
    if inner.len() == name.len() {
        return shown(name);
    }
    let before = name.len() - name.trim_start_matches(' ').len();
    let after = name.len() - inner.len() - before;
    let mut text = "\\u{20}".repeat(before);
    push_shown(&mut text, inner);
    text.push_str(&"\\u{20}".repeat(after));
    Cow::Owned(text)
}

/// A name within a sentence: unchanged if it cannot be taken for part of the sentence, else as
/// [`shown`] between quotes.
#[must_use]
pub fn quoted(name: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
    if !name.is_empty() && name.chars().all(plain) {
        return Cow::Borrowed(name);
    }
    let mut text = String::with_capacity(name.len() + 2);
    text.push('"');
    for character in name.chars() {
        if matches!(character, '"' | '\\') {
            text.push('\\');
            text.push(character);
        } else if is_hidden(character) {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
    text.push('"');
    Cow::Owned(text)
}

/// A message of our own that may have several lines, with what it quotes: as [`shown`] line by
/// line.
#[must_use]
pub fn lines(text: &str) -> Cow<'_, str> {
    if is_plain(text) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<_> = text.split('\n').map(shown).collect();
    Cow::Owned(lines.join("\n"))
}

/// Bytes that should be text: as [`shown`], and what is no UTF-8 as `\xff`.
#[must_use]
pub fn bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        push_shown(&mut text, chunk.valid());
        text.extend(chunk.invalid().escape_ascii().map(char::from));
    }
    text
}

/// A path for a message.
#[must_use]
pub fn path(path: &Path) -> String {
    bytes(path.as_os_str().as_encoded_bytes())
}

/// An IP address as people know it: of an IPv4 peer at a socket for both families the kernel has
/// `::ffff:10.0.0.1`.
#[must_use]
pub fn address(address: &str) -> &str {
    match address.strip_prefix("::ffff:") {
        Some(mapped) if mapped.parse::<Ipv4Addr>().is_ok() => mapped,
        _ => address,
    }
}

/// As [`shown`], but at most so many of its characters; an ellipsis if some are left out.
#[must_use]
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => shown(text),
        Some((end, _)) => Cow::Owned(shown(text.get(..end).unwrap_or(text)).into_owned() + "…"),
    }
}

/// What others may send, for the tests of all that shows something.
#[cfg(test)]
pub(crate) mod hostile {
    use proptest::prelude::*;

    /// A text that does all of it.
    pub(crate) const NAME: &str = " a\u{1b}[2J\u{9b}1m\u{202e}b\u{2066}\u{200b}\u{feff}\u{e0041}\u{a0}\u{2028}\u{ad}ü世; $(x)'\"`\u{7f} ";

    /// Texts of letters and everything that is hidden, without line ends where that is said.
    pub(crate) fn texts() -> impl Strategy<Value = String> {
        let hidden = prop_oneof![
            Just('\u{1b}'),
            Just('\u{9b}'),
            Just('\u{202e}'),
            Just('\u{2069}'),
            Just('\u{200d}'),
            Just('\u{feff}'),
            Just('\u{e007f}'),
            Just('\u{fe0f}'),
            Just('\u{3000}'),
            Just('\n'),
            Just('\t'),
            any::<char>(),
        ];
        let plain = prop_oneof![
            Just(' '),
            Just('-'),
            Just('\''),
            Just('世'),
            prop::char::range(' ', '~')
        ];
        prop::collection::vec(prop_oneof![hidden, plain], 0..24)
            .prop_map(|all| all.into_iter().collect())
    }

    /// Checks that nothing is hidden, except ends of lines.
    pub(crate) fn assert_harmless(text: &str) {
        let found = text.chars().find(|c| *c != '\n' && super::is_hidden(*c));
        assert_eq!(found, None, "{text:?}");
    }
}

/// A count as people read it in a status text: 1234567 as `1,234,567`.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// How many there are of something: `1 host`, `2 hosts`, `1,234 hosts`. The noun takes an s.
#[must_use]
pub fn counted(number: u64, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {noun}{s}", grouped(number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_has_no_s() {
        for (number, text) in [
            (0, "0 hosts"),
            (1, "1 host"),
            (2, "2 hosts"),
            (1_001, "1,001 hosts"),
        ] {
            assert_eq!(counted(number, "host"), text);
        }
    }

    #[test]
    fn what_steers_turns_or_hides_is_escaped() {
        for (text, expected) in [
            ("web1.example.org", "web1.example.org"),
            ("höst-世界 ✗ ₂", "höst-世界 ✗ ₂"),
            ("dev-disk-by\\x2duuid", "dev-disk-by\\x2duuid"),
            ("a\x1b[2Jb\n\u{9b}c", "a\\u{1b}[2Jb\\n\\u{9b}c"),
            (
                "x\u{202e}y\u{200b}\u{feff}",
                "x\\u{202e}y\\u{200b}\\u{feff}",
            ),
            ("a\u{a0}b\u{3000}", "a\\u{a0}b\\u{3000}"),
        ] {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shortened("abc\n", 3), "abc…");
        assert_eq!(shortened("ab\n", 3), "ab\\n");
        assert_eq!(lines("a\n\tb\u{202e}"), "a\n\\tb\\u{202e}");
        assert_eq!(bytes(b"/a\xff\n\xe2\x80\xae"), "/a\\xff\\n\\u{202e}");
        for (text, expected) in [
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("::ffff:1", "::ffff:1"),
            ("2001:db8::1%eth0", "2001:db8::1%eth0"),
            ("10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(address(text), expected);
        }
        for (text, expected) in [
            (" a b  ", "\\u{20}a b\\u{20}\\u{20}"),
            ("  ", "\\u{20}\\u{20}"),
            ("a b", "a b"),
            ("", ""),
        ] {
            assert_eq!(name(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_name_that_could_be_words_is_quoted() {
        for (name, expected) in [
            ("web1.example.org", "web1.example.org"),
            ("2001:db8::1_a-b", "2001:db8::1_a-b"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("x;y", "\"x;y\""),
            ("höst", "\"höst\""),
            ("a\" is gone", "\"a\\\" is gone\""),
            ("a\\\n\u{202e}", "\"a\\\\\\n\\u{202e}\""),
        ] {
            assert_eq!(quoted(name), expected, "{name:?}");
        }
    }

    /// UAX #9, table 4: everything that takes part in the order of characters without being one;
    /// and what takes no room.
    #[test]
    fn the_marks_of_direction_are_all_known() {
        let marks = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\
                     \u{2067}\u{2068}\u{2069}";
        assert!(marks.chars().all(is_hidden));
        let without_width = "\u{ad}\u{34f}\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}\u{180e}\u{115f}\
                             \u{3164}\u{ffa0}\u{2800}\u{e0001}\u{1d173}";
        assert!(without_width.chars().all(is_hidden));
        for range in ["ÄÖÜß", "אבג", "ابج", "नमस", "😀", "─│•…→"] {
            assert!(is_plain(range), "{range}");
        }
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_shown(text in hostile::texts()) {
            hostile::assert_harmless(&lines(&text));
            for one in [
                shown(&text).into_owned(),
                name(&text).into_owned(),
                quoted(&text).into_owned(),
                of(&text),
                shortened(&text, 10).into_owned(),
                bytes(text.as_bytes()),
                path(Path::new(&text)),
            ] {
                prop_assert!(is_plain(&one), "{one:?}");
            }
            // Plain text is unchanged, and no text is escaped twice.
            let once = shown(&text).into_owned();
            prop_assert_eq!(shown(&once), once.as_str());
        }
    }

    #[test]
    fn large_numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
