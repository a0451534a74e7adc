//! `NAME=value` lines of os-release(5), quoted as in a shell.

/// The value of a variable out of the text of os-release; of several the last one counts,
/// as a shell takes it. None if it is not there, empty, or quoted wrongly.
#[must_use]
pub fn variable(text: &str, name: &str) -> Option<String> {
    let lines = text.lines().map(str::trim);
    let mut values =
        lines.filter_map(|line| unquoted(line.strip_prefix(name)?.strip_prefix('=')?.trim_end()));
    values.next_back().filter(|value| !value.is_empty())
}

/// The lines, counted from 1, that are to set a variable and are quoted wrongly.
pub fn wrong_lines<'t>(text: &'t str, name: &str) -> impl Iterator<Item = (usize, &'t str)> {
    text.lines().enumerate().filter_map(move |(at, line)| {
        let value = line.trim().strip_prefix(name)?.strip_prefix('=')?;
        unquoted(value.trim_end())
            .is_none()
            .then_some((at + 1, line))
    })
}

fn unquoted(value: &str) -> Option<String> {
    if let Some(rest) = value.strip_prefix('\'') {
        let value = rest.strip_suffix('\'')?;
        return (!value.contains('\'')).then(|| value.to_owned());
    }
    let Some(rest) = value.strip_prefix('"') else {
        let plain = !value.contains([' ', '\t', '"', '\'', '$', '`', '\\']);
        return plain.then(|| value.to_owned());
    };
    let mut plain = String::with_capacity(rest.len());
    let mut rest = rest.chars();
    loop {
        match rest.next()? {
            '"' => return rest.next().is_none().then_some(plain),
            '\\' => match rest.next()? {
                special @ ('"' | '\\' | '$' | '`') => plain.push(special),
                other => plain.extend(['\\', other]),
            },
            other => plain.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_are_unquoted_as_in_a_shell() {
        for (line, value) in [
            ("X=plain", Some("plain")),
            ("X=", None),
            ("X=\"\"", None),
            (
                "  X=\"Debian GNU/Linux 12 (bookworm)\"  ",
                Some("Debian GNU/Linux 12 (bookworm)"),
            ),
            ("X='single $x \\n'", Some("single $x \\n")),
            (
                r#"X="a \"b\" \\ \$c \`d\` \e""#,
                Some(r#"a "b" \ $c `d` \e"#),
            ),
            ("X=\"no end", None),
            ("X=\"ends\" here", None),
            ("X='", None),
            ("X='a'b'", None),
            ("X=two words", None),
            ("X=$HOME", None),
            ("#X=comment", None),
            ("XX=other", None),
            ("X", None),
        ] {
            assert_eq!(variable(line, "X").as_deref(), value, "{line}");
            let wrong =
                value.is_none() && line.starts_with("X=") && !["X=", "X=\"\""].contains(&line);
            let lines: Vec<_> = wrong_lines(line, "X").collect();
            assert_eq!(lines, vec![(1, line); usize::from(wrong)]);
        }
        assert_eq!(variable("X=1\nX=2\nY=3\n", "X").as_deref(), Some("2"));
    }

    proptest! {
        #[test]
        fn random_text_never_panics(text in "[X=\"'\\\\$ a\n]{0,40}") {
            let _ = variable(&text, "X");
        }
    }
}
