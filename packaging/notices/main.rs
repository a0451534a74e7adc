//! Writes what the licences of linked code want kept, see `packaging/build`:
//!
//! ```sh
//! cargo run --locked --example notices -- target/manual/notices
//! ```
//!
//! `third-party-notices` in that directory has every crate that the programs are made from (macros
//! too, as what they write is linked in) and the Rust standard library, each with its licence,
//! authors and notices; a text that many have stands there once. `licence` has the SPDX expression
//! of a program as a whole. A crate with no notice whose licence wants one fails, so that nothing
//! is left out in silence.

mod crates;
mod library;
mod licence;
mod texts;

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crates::Crate;
use licence::Licence;
use texts::Texts;

const BEGINNING: &str = "\
The programs of metrics-agent have code of others in them: that of the crates listed first, and the
Rust standard library. Each is used under its own licence. The numbers name the texts at the end.
Libraries that the system loads (libc) are not part of the programs.
";

fn main() -> Result<(), Box<dyn Error>> {
    let [directory] = <[_; 1]>::try_from(std::env::args_os().skip(1).collect::<Vec<_>>())
        .map_err(|_| "usage: notices DIRECTORY")?;
    let directory = Path::new(&directory);
    let listed = crates::linked()?;
    let mut texts = Texts::default();
    let mut notices = BEGINNING.to_owned();
    for each in &listed.others {
        notices.push('\n');
        entry(&mut notices, each, &listed.own_licence_text, &mut texts)?;
    }
    let library = library::notices(&mut texts)?;
    write!(notices, "\n{library}\n{texts}")?;

    let mut whole = Licence::parse(library::LICENCE)?;
    whole.add(&listed.own_licence);
    for each in &listed.others {
        whole.add(&each.licence);
    }
    let place = |error| format!("{}: {error}", directory.display());
    fs::create_dir_all(directory).map_err(place)?;
    fs::write(directory.join("third-party-notices"), notices).map_err(place)?;
    fs::write(directory.join("licence"), format!("{whole}\n")).map_err(place)?;
    Ok(())
}

/// What is said of one crate.
fn entry(
    notices: &mut String,
    each: &Crate,
    own_licence_text: &str,
    texts: &mut Texts,
) -> Result<(), Box<dyn Error>> {
    writeln!(notices, "{} {}", each.name, each.version)?;
    writeln!(notices, "  Licence: {}", each.licence)?;
    if !each.authors.is_empty() {
        writeln!(notices, "  Authors: {}", each.authors.join(", "))?;
    }
    if let Some(repository) = &each.repository {
        writeln!(notices, "  From: {repository}")?;
    }
    for (name, text) in &each.notices {
        writeln!(notices, "  {name}: [{}]", texts.number(text))?;
    }
    if each.notices.is_empty() {
        // Apache-2.0 wants its own text, and a NOTICE only where there is one.
        if !each.licence.allows_apache() {
            return Err(format!(
                "{} {}: no file of its has the notice that {} wants kept",
                each.name, each.version, each.licence
            )
            .into());
        }
        let number = texts.number(own_licence_text);
        writeln!(notices, "  Used under Apache-2.0: [{number}]")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_one(licence: &str, notices: &[(&str, &str)]) -> Result<String, Box<dyn Error>> {
        let each = Crate {
            name: "a".to_owned(),
            version: "1.0.0".to_owned(),
            licence: Licence::parse(licence)?,
            authors: vec!["B".to_owned(), "C".to_owned()],
            repository: None,
            notices: notices
                .iter()
                .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
                .collect(),
        };
        let mut written = String::new();
        entry(&mut written, &each, "Apache's", &mut Texts::default())?;
        Ok(written)
    }

    #[test]
    fn a_crate_has_its_licence_and_its_notices() {
        assert_eq!(
            of_one("MIT", &[("LICENSE", "text"), ("NOTICE", "more")]).unwrap(),
            "a 1.0.0\n  Licence: MIT\n  Authors: B, C\n  LICENSE: [1]\n  NOTICE: [2]\n"
        );
    }

    #[test]
    fn without_a_notice_only_apache_will_do() {
        let written = of_one("MIT OR Apache-2.0", &[]).unwrap();
        assert!(
            written.ends_with("  Used under Apache-2.0: [1]\n"),
            "{written}"
        );
        let error = of_one("MIT", &[]).unwrap_err().to_string();
        assert!(
            error.contains("a 1.0.0") && error.contains("MIT"),
            "{error}"
        );
    }
}
