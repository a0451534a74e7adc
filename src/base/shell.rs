//! Commands that a person may paste into a shell. Pure.
//!
//! A command in a message may carry a name that a peer chose. Each word is quoted so that a shell
//! takes it for exactly that text, and escaped so that it looks like what it is.

use std::fmt::Write as _;
use std::path::Path;

use super::text::is_hidden;

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

/// One word for a shell: unchanged if nothing in it has a meaning to a shell, else in single
/// quotes.
///
/// If it has hidden characters it is quoted as `$'…'` with their bytes in octal, which sh(1) of
/// POSIX.1-2024, bash, zsh and ksh read.
#[must_use]
pub fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:/@+".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    if text.contains(is_hidden) {
        return escaped(text.as_bytes());
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// A path as one word; what is no UTF-8 in octal, too.
#[must_use]
pub fn path(path: &Path) -> String {
    match path.to_str() {
        Some(path) => word(path),
        None => escaped(path.as_os_str().as_encoded_bytes()),
    }
}

fn escaped(text: &[u8]) -> String {
    let mut word = String::from("$'");
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            if is_hidden(character) {
                octal(&mut word, character.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            if matches!(character, '\'' | '\\') {
                word.push('\\');
            }
            word.push(character);
        }
        octal(&mut word, chunk.invalid());
    }
    word.push('\'');
    word
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
            ("a\u{202e}'b\\", "$'a\\342\\200\\256\\'b\\\\'"),
        ] {
            assert_eq!(word(text), expected);
        }
        let bytes = OsStr::from_bytes(b"/a b\xff1");
        assert_eq!(path(Path::new(bytes)), "$'/a b\\3771'");
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

    fn read_by(shell: &str, text: &str) -> String {
        let script = format!("printf %s {}", word(text));
        let answer = Command::new(shell).args(["-c", &script]).output().unwrap();
        assert!(answer.status.success(), "{script:?}");
        String::from_utf8(answer.stdout).unwrap()
    }

    #[test]
    fn a_shell_reads_what_was_meant() {
        assert_eq!(read_by("bash", hostile::NAME), hostile::NAME);
        // POSIX's sh may not know `$'…'` yet; what needs none is for it, too.
        assert_eq!(read_by("sh", "; $(x)'\"`ü世 &\\"), "; $(x)'\"`ü世 &\\");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_text_is_one_harmless_word(text in hostile::texts().prop_filter("NUL ends an argument", |text| !text.contains('\0'))) {
            let word = word(&text);
            prop_assert!(!word.contains(is_hidden), "{word:?}");
            prop_assert_eq!(read_by("bash", &text), text);
        }
    }
}
