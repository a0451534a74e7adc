//! The documentation against the code: tables are made from the code's tables, links lead
//! somewhere, and README shows what the programs print.
//!
//! `WRITE_DOCS=1 cargo test --test integration documents` writes the tables again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{env, fs};

use metrics_agent::agent::settings::AGENT;
use metrics_agent::collector::settings::COLLECTOR;
use metrics_agent::config::table::{Schema, Setting};

use crate::support::collector::Collector;
use crate::support::place::{Place, eventually};

/// What README may have: more is not read.
const README_LINES: usize = 150;

/// A longer default is in the file that is installed.
const LONGEST_DEFAULT: usize = 60;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// README, CONTRIBUTING, CHANGELOG and docs/*.md.
fn documents() -> Vec<PathBuf> {
    let in_directory = |directory: PathBuf| {
        let entries = fs::read_dir(directory).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "md"))
    };
    let mut documents: Vec<_> = in_directory(root().to_owned())
        .chain(in_directory(root().join("docs")))
        .collect();
    documents.sort();
    documents
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A cell of a table: what means something to Markdown is escaped, but for what is in backticks.
fn cell(text: &str) -> String {
    let text = text.replace('|', "\\|");
    let plain_and_code = text.split('`').enumerate().map(|(at, part)| {
        if at % 2 == 0 {
            part.replace('*', "\\*").replace('<', "\\<")
        } else {
            part.to_owned()
        }
    });
    plain_and_code.collect::<Vec<_>>().join("`")
}

fn default_of(schema: &Schema, setting: &Setting) -> String {
    match setting.default {
        Some(default) if default.len() > LONGEST_DEFAULT => {
            let file = format!("{}.toml", schema.program);
            format!("a list, in [{file}](../packaging/{file})")
        }
        Some(default) => format!("`{default}`"),
        None => setting.otherwise.to_owned(),
    }
}

/// The section of a source, as `filesystem` of `metrics.filesystem.interval`.
fn source_of(setting: &Setting) -> Option<&'static str> {
    let mut parts = setting.parts();
    match (parts.next(), parts.next(), parts.next()) {
        (Some("metrics"), Some(source), Some(_)) => Some(source),
        _ => None,
    }
}

/// The defaults of a setting that several sources have: each with the sources that have it.
fn defaults(schema: &Schema, settings: &[&Setting]) -> String {
    let mut defaults: Vec<(String, Vec<&str>)> = Vec::new();
    for setting in settings {
        let default = default_of(schema, setting);
        let source = source_of(setting).unwrap();
        match defaults.iter_mut().find(|(known, _)| *known == default) {
            Some((_, sources)) => sources.push(source),
            None => defaults.push((default, vec![source])),
        }
    }
    let of =
        |(default, sources): &(String, Vec<&str>)| format!("{default}: {}", sources.join(", "));
    defaults.iter().map(of).collect::<Vec<_>>().join("; ")
}

/// A row for each setting; one that several sources have in the same way has one row for all.
fn settings(schema: &Schema) -> String {
    let mut table = "| setting | default | what it is |\n| --- | --- | --- |\n".to_owned();
    let mut done = BTreeSet::new();
    for setting in schema.settings {
        let last = setting.parts().last().unwrap();
        let is_same = |other: &&Setting| {
            source_of(other).is_some()
                && other.parts().last() == Some(last)
                && other.description == setting.description
        };
        let same: Vec<_> = schema.settings.iter().filter(is_same).collect();
        let (key, default) = if source_of(setting).is_some() && same.len() > 1 {
            if !done.insert((last, setting.description)) {
                continue;
            }
            let default = if last == "interval" {
                // All have it; metrics-agent.toml(5) has the default of each.
                "depends on the source".to_owned()
            } else {
                defaults(schema, &same)
            };
            (format!("metrics.SOURCE.{last}"), default)
        } else {
            (setting.key.to_owned(), default_of(schema, setting))
        };
        let what = format!("{} Takes {}.", setting.description, setting.expected);
        let row = [format!("`{key}`"), default, what].map(|text| cell(&text));
        table.extend(["| ", &row.join(" | "), " |\n"]);
    }
    table
}

/// What a mark stands for.
fn made(what: &str) -> String {
    match what {
        "settings metrics-agent" => settings(&AGENT),
        "settings metrics-collector" => settings(&COLLECTOR),
        _ => panic!("`made: {what}` stands for nothing"),
    }
}

/// A document with what its marks stand for, and how many it has.
fn filled(text: &str) -> (String, usize) {
    const BEGIN: &str = "<!-- made: ";
    const END: &str = "<!-- end -->";
    let mut filled = String::new();
    let mut rest = text;
    let mut marks = 0;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (what, after) = after.split_once(" -->").expect("a mark has an end");
        let (_, after) = after.split_once(END).expect("what is made has an end");
        filled.extend([before, BEGIN, what, " -->\n", &made(what), END]);
        rest = after;
        marks += 1;
    }
    filled.push_str(rest);
    (filled, marks)
}

#[test]
fn tables_in_the_documentation_are_those_of_the_code() {
    let mut marks = 0;
    for path in documents() {
        let text = read(&path);
        let (wanted, found) = filled(&text);
        marks += found;
        if env::var_os("WRITE_DOCS").is_some() && wanted != text {
            fs::write(&path, &wanted).unwrap();
        } else {
            let different = text.lines().zip(wanted.lines()).find(|(a, b)| a != b);
            assert!(
                wanted == text,
                "{}: WRITE_DOCS=1 writes it again; first: {different:#?}",
                path.display()
            );
        }
    }
    assert_eq!(marks, 2);
}

/// A document without its blocks of code.
fn without_code(text: &str) -> String {
    let mut inside = false;
    let prose = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        inside ^= is_fence;
        !inside && !is_fence
    });
    prose.collect::<Vec<_>>().join("\n")
}

/// What links lead to a heading, as forges make it of one.
fn anchor(heading: &str) -> String {
    let letters = heading.trim().to_lowercase();
    let kept = letters.chars().filter(|&letter| {
        letter.is_alphanumeric() || letter == ' ' || letter == '-' || letter == '_'
    });
    kept.map(|letter| if letter == ' ' { '-' } else { letter })
        .collect()
}

fn anchors(text: &str) -> BTreeSet<String> {
    let prose = without_code(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut followed = 0;
    for path in documents() {
        let text = without_code(&read(&path));
        for (_, rest) in text
            .match_indices("](")
            .map(|(at, _)| text.split_at(at + 2))
        {
            let (link, _) = rest.split_once(')').expect("a link has an end");
            if link.contains("://") {
                continue;
            }
            followed += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: no {link}", path.display());
            if !heading.is_empty() {
                let known = anchors(&read(&target));
                assert!(known.contains(heading), "{}: no {link}", path.display());
            }
        }
    }
    assert!(followed > 50, "{followed}");
}

#[test]
fn every_document_is_found_from_readme() {
    let readme = read(&root().join("README.md"));
    assert!(readme.lines().count() <= README_LINES);
    for path in documents() {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap();
        assert!(
            name == "README.md" || readme.contains(&format!("]({name})")),
            "README.md has no link to {name}"
        );
    }
    // The two commands are seen before anything has to be scrolled.
    let first: Vec<_> = readme.lines().take(25).collect();
    for command in ["tests/demo ", "tests/run "] {
        assert!(
            first.iter().any(|line| line.starts_with(command)),
            "{command}"
        );
    }
}

/// `1 hosts` and `2 host(s)`: in the code `base::text::counted` has the noun, and what cannot
/// count, as the journal's catalogue, puts the number behind it.
#[test]
fn no_number_is_in_front_of_a_noun_that_may_be_one_or_many() {
    let mut open = ["src", "systemd", "packaging", "docs"]
        .map(|name| root().join(name))
        .to_vec();
    let (mut read_lines, mut wrong) = (0, Vec::new());
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        for line in text.lines() {
            read_lines += 1;
            if has_noun_of_both(line) {
                wrong.push(format!("{}: {line}", path.display()));
            }
        }
    }
    assert!(read_lines > 50_000, "{read_lines}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A noun with `(s)` behind what stands for a number.
fn has_noun_of_both(line: &str) -> bool {
    line.match_indices("(s)").any(|(at, _)| {
        let words = line[..at].trim_end_matches(|c: char| c.is_ascii_lowercase() || c == ' ');
        words.len() < at && words.ends_with(['}', '@'])
            || words.ends_with(|c: char| c.is_ascii_digit())
    })
}

#[test]
fn nouns_of_both_are_found() {
    for (line, found) in [
        (r#""All {names} pinned host name(s) of the key""#, true),
        ("lost @LINES@ line(s) of its log", true),
        ("1 host(s)", true),
        ("left(&mut hosts, at(s))", false),
        ("see x(s)", false),
    ] {
        assert_eq!(has_noun_of_both(line), found, "{line}");
    }
}

/// A line with what differs from host to host replaced: words that hold a number, as counts, sizes
/// and times do, and keys.
fn shape(line: &str) -> String {
    let line = line.replace(" now", " 1s ago");
    let word = |word: &str| {
        let has_number = word.contains(|letter: char| letter.is_ascii_digit());
        let is_day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].contains(&word);
        if has_number || is_day || word.len() == 40 {
            "#".to_owned()
        } else {
            word.to_owned()
        }
    };
    let mut words: Vec<_> = line.split_whitespace().map(word).collect();
    words.dedup_by(|a, b| a == "#" && b == "#");
    words.join(" ")
}

/// What is shown, with each line that ends in `...` as the one that was printed.
fn whole(shown: &str, printed: &str) -> String {
    let lines = shown.lines().map(|line| {
        let cut = line.strip_suffix("...");
        let longer = cut.and_then(|cut| printed.lines().find(|line| line.starts_with(cut)));
        longer.unwrap_or(line).to_owned() + "\n"
    });
    lines.collect()
}

#[tokio::test]
async fn the_status_in_readme_is_what_the_program_prints() {
    let readme = read(&root().join("README.md"));
    let (_, shown) = readme.split_once("# metrics-agentctl status\n").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    let home = tempfile::tempdir().unwrap();
    let collector = Collector::start(home.path(), &[]).await;
    let place = Place::new();
    place.configure(&format!(
        "[host]\nname = \"web1.example.org\"\n[intervals]\nmetrics = \"5s\"\n\
         [collector.main]\nendpoint = \"{}\"\npublic_key = \"{}\"\n",
        collector.address, collector.public_key
    ));
    let _running = place.start().await;
    let printed = eventually("it reports", async || {
        let (_, printed, _) = place.control(&["status", "--no-pager", "--lines=0"]).await;
        // The first metrics have been sent, and it was asked for them more than once: words are
        // in the plural.
        let is_complete = printed.contains("State: reporting") && !printed.contains(": 1 message");
        is_complete.then_some(printed)
    })
    .await;
    // What systemd adds, and what depends on the host, is left out of the comparison.
    let of_the_host = [
        "Active:",
        "Process:",
        "Settings:",
        "/",
        "Failing:",
        "No values:",
    ];
    let shapes = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| {
            let line = line.trim();
            !line.is_empty() && !of_the_host.iter().any(|label| line.starts_with(label))
        });
        lines.map(shape).collect()
    };
    // An address may be a name.
    let printed = printed.replace(&collector.address.to_string(), "collector.example.org:5556");
    // A long line is cut there.
    let (shown, printed) = (whole(shown, &printed), printed);
    assert_eq!(
        shapes(&shown),
        shapes(&printed),
        "README.md shows:\n{shown}\nit is:\n{printed}"
    );
}
