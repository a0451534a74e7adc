//! The notices of the Rust standard library, which come with the toolchain as a page of HTML.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::crates::rustc;
use crate::texts::Texts;

/// Of the library itself, its tables for Unicode, and what is built into it. BSD-2-Clause, which
/// the page has as well, is for another operating system.
pub(crate) const LICENCE: &str =
    "(MIT OR Apache-2.0) AND Apache-2.0 WITH LLVM-exception AND Unicode-3.0";

/// Where a toolchain has the page, below its root.
const PAGE: &str = "share/doc/rust/COPYRIGHT-library.html";

const BEGINNING: &str = "\
What follows is what the Rust project says of the standard library, on whatever system: not all of
these are linked in on this one.
";

/// The page as plain text.
pub(crate) fn notices(texts: &mut Texts) -> Result<String, Box<dyn Error>> {
    let path = Path::new(rustc(&["--print", "sysroot"])?.trim_end()).join(PAGE);
    let page = fs::read_to_string(&path).map_err(|error| {
        format!(
            "{}: {error}; Rust's own toolchains have it, with the notices of the standard library",
            path.display()
        )
    })?;
    let plain = plain(&page, texts).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(format!("{BEGINNING}\n{plain}\n"))
}

/// The lines of a page, with the number of the text in place of what is preformatted.
fn plain(page: &str, texts: &mut Texts) -> Result<String, Box<dyn Error>> {
    // What comes before is its table of contents.
    let body = page.split_once("</ul>").map_or(page, |(_, body)| body);
    let mut plain = String::new();
    let mut rest = body;
    while let Some((before, after)) = rest.split_once("<pre>") {
        let (text, after) = after
            .split_once("</pre>")
            .ok_or("a <pre> without its end")?;
        plain.push_str(before);
        writeln!(plain, "[{}]", texts.number(&without_entities(text)))?;
        rest = after;
    }
    plain.push_str(rest);
    let plain = without_entities(&without_tags(&plain));
    let lines = plain.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>();
    // Each crate of it begins with a parcel.
    Ok(lines.join("\n").replace("\u{1f4e6} ", "\n"))
}

fn without_tags(html: &str) -> String {
    let mut plain = String::new();
    let mut rest = html;
    while let Some((before, tag)) = rest.split_once('<') {
        plain.push_str(before);
        rest = tag.split_once('>').map_or("", |(_, after)| after);
    }
    plain + rest
}

/// Those that the page has. The ampersand is last, so that nothing is undone twice.
fn without_entities(html: &str) -> String {
    html.replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#38;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_lines_and_its_texts_numbers() {
        let mut texts = Texts::default();
        let page = "<body><ul><li>contents</li></ul>\n\n<h3>\u{1f4e6} a-1</h3>\n <b>By:</b> \
                    A &#60;a@b&#62; &#38;#60;<pre>\nThe &#34;text&#34; of &#60;a&#62;\n</pre>";
        assert_eq!(
            plain(page, &mut texts).unwrap(),
            "\na-1\nBy: A <a@b> &#60;[1]"
        );
        assert_eq!(texts.number("The \"text\" of <a>"), 1);
        assert!(plain("<pre>", &mut texts).is_err());
    }
}
