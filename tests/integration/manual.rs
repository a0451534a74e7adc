//! The manual against the code: what its pages say is what there is, they are sound, and all
//! references to a page lead to it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Command as Program;
use metrics_agent::agent::settings::AGENT;
use metrics_agent::base::exit::{EXIT_CONFIG, EXIT_SOFTWARE, EXIT_UNAVAILABLE};
use metrics_agent::dbus::Action;

use crate::dbus_introspection::tags;

#[path = "../../packaging/manual/completions/mod.rs"]
pub(crate) mod completions;
#[path = "../../packaging/manual/pages/mod.rs"]
mod pages;

/// Any day: mandoc(1) objects to a page without one.
const DAY: &str = "2026-01-31";

fn source(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The text of a page.
fn page(name: &str) -> String {
    let mut pages = pages::pages(DAY).unwrap().into_iter();
    let page = pages.find(|page| page.name == name);
    page.unwrap_or_else(|| panic!("no page {name}")).text
}

/// The lines of a section, or of a subsection, without roff's escapes for dashes.
fn section(page: &str, heading: &str) -> Vec<String> {
    let plain = page.replace("\\-", "-");
    let level = heading.split(' ').next().unwrap();
    let ends =
        |line: &&str| !line.starts_with(".SH ") && (level == ".SH" || !line.starts_with(level));
    let section: Vec<_> = plain
        .lines()
        .skip_while(|line| *line != heading)
        .skip(1)
        .take_while(ends)
        .map(str::to_owned)
        .collect();
    assert!(!section.is_empty(), "{heading} has nothing");
    section
}

/// What the paragraphs of a section are about: what is in bold in each heading.
fn subjects(section: &[String]) -> BTreeSet<String> {
    let headings = section
        .windows(2)
        .filter(|pair| pair[0] == ".TP" || pair[0] == ".TQ")
        .map(|pair| pair[1].as_str());
    let subjects = |heading: &str| -> Vec<String> {
        if let Some(bold) = heading.strip_prefix(".B ") {
            return vec![bold.to_owned()];
        }
        let bold = heading.split("\\fB").skip(1);
        let bold = bold.filter_map(|rest| rest.split("\\fR").next());
        bold.map(str::to_owned).collect()
    };
    headings.flat_map(subjects).collect()
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

/// What is installed with the package, so that what it refers to has to be installed, too.
fn shipped() -> Vec<(String, String)> {
    let list = source("packaging/files");
    let files = list
        .lines()
        .filter(|line| line.starts_with("metrics-"))
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| matches!(fields[1], "file" | "config"));
    files
        .map(|fields| (fields[3].to_owned(), source(fields[3])))
        .collect()
}

/// The pages of interfaces on the bus, with the interfaces of each and its actions of polkit.
const BUS_PAGES: [(&str, &[&str], &str); 2] = [
    (
        "org.metricsagent.Agent1",
        &["Agent1", "Connection1", "Source1"],
        "org.metricsagent.policy",
    ),
    (
        "org.metricsagent.Collector1",
        &["Collector1"],
        "org.metricsagent.collector.policy",
    ),
];

#[test]
fn a_synopsis_has_the_values_of_its_options() {
    for (name, wanted) in [
        (
            "metrics-collector.8",
            "[\\fB--authorized\\fR \\fIany|directory\\fR]",
        ),
        ("metrics-agent.8", "[\\fB--config\\fR \\fIFILE\\fR]"),
        (
            "metrics-agentctl.1",
            "[\\fB-n\\fR|\\fB--lines\\fR \\fINUMBER\\fR]",
        ),
        (
            "metrics-top.1",
            "[\\fB--once\\fR] [\\fB--wait\\fR \\fITIME\\fR]",
        ),
    ] {
        let synopsis = section(&page(name), ".SH SYNOPSIS").concat();
        assert!(synopsis.contains(wanted), "{name}: {synopsis}");
    }
}

/// A command that has others below it may do something by itself, too.
#[test]
fn commands_with_others_below_them_are_documented() {
    let page = page("metrics-collector.8").replace("\\-", "-");
    let hosts = "\\fBhosts\\fR [\\fB--gone\\fR] [\\fB--json\\fR] [\\fB-l\\fR|\\fB--full\\fR] \
                 [\\fB--no-pager\\fR] [\\fIPATTERN...\\fR]";
    for line in [hosts, "\\fBhosts forget\\fR <\\fINAME...\\fR>"] {
        assert!(page.lines().any(|found| found.trim_end() == line), "{line}");
    }
    assert!(!page.contains("\n\\fBkeys\\fR "), "keys alone does nothing");
}

#[test]
fn every_member_on_the_bus_is_documented_and_no_other() {
    for (name, interfaces, _) in BUS_PAGES {
        let page = page(&format!("{name}.5"));
        for interface in interfaces {
            let interface = format!("org.metricsagent.{interface}");
            let xml = source(&format!("dbus/{interface}.xml"));
            for (kind, heading) in [
                ("method", "Methods"),
                ("signal", "Signals"),
                ("property", "Properties"),
            ] {
                let tags = tags(&xml);
                let members = tags.iter().filter(|tag| tag.name == kind);
                let members: BTreeSet<_> =
                    members.map(|tag| tag.attributes["name"].clone()).collect();
                let heading = format!(".SS {heading} of {interface}");
                if members.is_empty() {
                    assert!(!page.contains(&heading), "{heading}");
                } else {
                    assert_eq!(subjects(&section(&page, &heading)), members, "{heading}");
                }
            }
        }
    }
}

#[test]
fn arguments_and_types_are_those_of_the_interface() {
    let page = page("org.metricsagent.Agent1.5");
    for line in [
        "\\fBSetMetricsInterval\\fR(\\fIt\\fR usec, \\fIb\\fR persistent)",
        "\\fBSample\\fR(\\fIs\\fR kind, out \\fIa{sv}\\fR grid)",
        "\\fBStateChanged\\fR(\\fIo\\fR connection, \\fIs\\fR old, \\fIs\\fR new, \\fIs\\fR reason)",
        "\\fBMetricsIntervalUSec\\fR (\\fIt\\fR, read and write)",
        "\\fBVersion\\fR (\\fIs\\fR, read, constant)",
        "\\fBBytesSent\\fR (\\fIt\\fR, read, changes are not announced)",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}");
    }
}

#[test]
fn errors_and_actions_are_those_of_the_interface() {
    for (name, _, policy) in BUS_PAGES {
        let page = page(&format!("{name}.5"));
        let xml = source(&format!("dbus/{name}.xml"));
        let errors = xml.lines().filter_map(|line| {
            let (name, _) = line.trim().split_once(": ")?;
            name.contains(".Error.").then_some(name)
        });
        assert_eq!(subjects(&section(&page, ".SH ERRORS")), set(errors));
        let policy = source(&format!("dbus/{policy}"));
        let actions = policy
            .lines()
            .filter_map(|line| line.trim().strip_prefix("<action id=\"")?.split('"').next());
        assert_eq!(subjects(&section(&page, ".SH ACCESS")), set(actions));
    }
}

/// The code's actions are those that polkit is told of.
#[test]
fn actions_are_those_of_the_code() {
    let known = Action::ALL.map(Action::id);
    let mut told = Vec::new();
    for (_, _, policy) in BUS_PAGES {
        let policy = source(&format!("dbus/{policy}"));
        let actions = policy.lines().filter_map(|line| {
            let rest = line.trim().strip_prefix("<action id=\"")?;
            Some(rest.split('"').next().unwrap().to_owned())
        });
        told.extend(actions);
    }
    assert_eq!(told.len(), known.len());
    assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), set(known));
}

/// The settings of a page.
fn documented_settings(page: &str) -> BTreeSet<String> {
    let settings = section(page, ".SH SETTINGS");
    let mut documented = BTreeSet::new();
    for heading in settings.iter().filter(|line| line.starts_with(".SS ")) {
        let name = heading.trim_start_matches(".SS [").trim_end_matches(']');
        for key in subjects(&section(page, heading)) {
            documented.insert(format!("{name}.{key}"));
        }
    }
    documented
}

/// Those of the file that is installed, which has a test of its own against the code.
fn shipped_settings(file: &str) -> BTreeSet<String> {
    let file = source(file);
    let mut name = "";
    let mut shipped = BTreeSet::new();
    for line in file.lines().map(|line| line.trim_start_matches('#')) {
        if line.starts_with('[') {
            name = line.trim_matches(['[', ']']);
        } else if let Some((key, _)) = line.split_once(" = ")
            && !key.contains(' ')
        {
            shipped.insert(format!("{name}.{key}"));
        }
    }
    shipped
}

fn named(settings: &BTreeSet<String>, names: &[(&str, &str)]) -> BTreeSet<String> {
    let replace = |setting: &String| {
        names.iter().fold(setting.clone(), |setting, (name, by)| {
            setting.replace(name, by)
        })
    };
    settings.iter().map(replace).collect()
}

#[test]
fn every_setting_is_documented_and_no_other() {
    let page = page("metrics-agent.toml.5");
    let documented = documented_settings(&page);
    let known = AGENT.settings.iter().map(|setting| setting.key.to_owned());
    assert_eq!(documented, known.collect());
    let shipped = shipped_settings("packaging/metrics-agent.toml");
    let shipped = named(&shipped, &[("collector.main", "collector.NAME")]);
    assert!(shipped.is_subset(&documented), "{shipped:?}");
    let settings = section(&page, ".SH SETTINGS");
    for line in [
        "Default: \"5s\".",
        "Takes a time from 100ms to 1h, such as \"5s\".",
    ] {
        assert!(settings.iter().any(|found| found == line), "{line}");
    }
    assert!(page.contains("METRICS_AGENT_COLLECTOR__NAME__ENDPOINT"));
}

/// The commands that do something, by the words that they are called with.
fn commands<'a>(program: &'a Program, prefix: &str) -> Vec<(String, &'a Program)> {
    let shown = program.get_subcommands().filter(|one| !one.is_hide_set());
    let shown = shown.filter(|one| one.get_name() != "help");
    let below = shown.flat_map(|one| {
        let name = format!("{prefix}{}", one.get_name());
        let below = commands(one, &format!("{name} "));
        if below.is_empty() {
            vec![(name, one)]
        } else {
            below
        }
    });
    below.collect()
}

#[test]
fn every_setting_of_the_collector_is_documented_and_no_other() {
    let page = page("metrics-collector.toml.5");
    let shipped = shipped_settings("packaging/metrics-collector.toml");
    let names = [
        ("remote_write.mimir", "remote_write.NAME"),
        ("headers.X-Scope-OrgID", "headers.HEADER"),
        ("labels.cluster", "labels.LABEL"),
    ];
    assert_eq!(documented_settings(&page), named(&shipped, &names));
    let settings = section(&page, ".SH SETTINGS");
    for line in [
        "Default: \"*:5557\".",
        "Takes a time from 0s to 365days, such as \"7d\".",
    ] {
        assert!(settings.iter().any(|found| found == line), "{line}");
    }
    assert!(page.contains("METRICS_COLLECTOR_REMOTE_WRITE__NAME__URL"));
}

#[test]
fn other_names_of_an_option_are_documented() {
    for (_, program) in completions::programs() {
        for argument in program.get_arguments() {
            for alias in argument.get_visible_aliases().unwrap_or_default() {
                let page = page(&format!("{}.1", program.get_name()));
                let options = section(&page, ".SH OPTIONS").join("\n");
                assert!(options.contains(&format!("also --{alias}")), "{options}");
            }
        }
    }
    let page = page("metrics-top.1");
    assert!(section(&page, ".SH OPTIONS").join("").contains("--batch"));
}

#[test]
fn every_option_and_command_is_documented() {
    for (_, mut program) in completions::programs() {
        let is_for_users = ["metrics-agentctl", "metrics-top"].contains(&program.get_name());
        let number = if is_for_users { 1 } else { 8 };
        let page = page(&format!("{}.{number}", program.get_name()));
        program.build();
        let options = |program: &Program| -> Vec<String> {
            let options = program
                .get_arguments()
                .filter(|one| !one.is_hide_set())
                .filter_map(|one| one.get_long());
            options.map(|long| format!("--{long}")).collect()
        };
        let known: BTreeSet<_> = options(&program).into_iter().collect();
        let mut documented = subjects(&section(&page, ".SH OPTIONS"));
        documented.retain(|option| option.starts_with("--"));
        assert_eq!(documented, known, "{}", program.get_name());
        for (name, command) in commands(&program, "") {
            let documented = section(&page, ".SH COMMANDS").join("\n");
            let name = format!(".TP\n\\fB{name}\\fR");
            assert!(documented.contains(&name), "{name}");
            for option in options(command)
                .iter()
                .filter(|&option| !known.contains(option))
            {
                assert!(
                    documented.contains(&format!("\\fB{option}\\fR")),
                    "{option}"
                );
            }
        }
    }
}

#[test]
fn exit_statuses_are_those_of_the_code() {
    let mut known = set(["0", "2"]);
    known.extend([EXIT_CONFIG, EXIT_SOFTWARE, EXIT_UNAVAILABLE].map(|status| status.to_string()));
    for name in ["metrics-agent.8", "metrics-collector.8"] {
        let documented = subjects(&section(&page(name), ".SH EXIT STATUS"));
        assert_eq!(documented, known, "{name}");
    }
}

/// The pages referred to in a text, as `man:NAME(NUMBER)`, `NAME(NUMBER)` or `.BR NAME (NUMBER)`.
fn references(text: &str) -> BTreeSet<String> {
    let plain = text.replace("\\-", "-").replace(" (", "(");
    let mut found = BTreeSet::new();
    for (at, _) in plain.match_indices('(') {
        let name: String = {
            let is_of_name = |c: &char| c.is_ascii_alphanumeric() || "-._@".contains(*c);
            let mut name: Vec<char> = plain[..at].chars().rev().take_while(is_of_name).collect();
            name.reverse();
            name.into_iter().collect()
        };
        let number = plain[at + 1..].split(')').next().unwrap_or_default();
        if !name.is_empty() && number.len() == 1 && number.starts_with(|c: char| c.is_ascii_digit())
        {
            found.insert(format!("{name}.{number}"));
        }
    }
    found
}

#[test]
fn every_reference_to_a_page_of_ours_is_right() {
    let pages = pages::pages(DAY).unwrap();
    let known: BTreeSet<_> = pages.iter().map(|page| page.name.to_owned()).collect();
    let mut texts = shipped();
    texts.extend(
        pages
            .into_iter()
            .map(|page| (page.name.to_owned(), page.text)),
    );
    let mut referred = BTreeSet::new();
    for (place, text) in texts {
        let references = references(&text);
        let ours = references
            .into_iter()
            .filter(|name| name.starts_with("metrics-") || name.starts_with("org.metricsagent."));
        for reference in ours {
            assert!(known.contains(&reference), "{place} refers to {reference}");
            referred.insert(reference);
        }
    }
    // And each is found by somebody.
    assert_eq!(referred, known);
}

#[test]
fn references_are_found_however_they_are_written() {
    let text =
        "Documentation=man:a-b(8) man:c.d.E1(5)\n.BR f\\-g (1),\n(see x(y)) Reload() (2) h(10)";
    assert_eq!(references(text), set(["a-b.8", "c.d.E1.5", "f-g.1"]));
}

#[test]
fn what_is_generated_is_what_the_list_installs() {
    let pages = pages::pages(DAY).unwrap();
    let mut made: BTreeSet<_> = pages
        .iter()
        .map(|page| format!("man/{}", page.name))
        .collect();
    let completions = completions::completions().unwrap();
    made.extend(completions.iter().map(|one| one.path.display().to_string()));
    let mut listed = BTreeSet::new();
    for line in source("packaging/files").lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        if let [
            "metrics-agent" | "metrics-collector" | "metrics-top",
            "generated",
            mode,
            from,
            to,
        ] = fields[..]
        {
            assert_eq!(mode, "0644", "{line}");
            let (directory, name) = from.split_once('/').unwrap();
            let place = match directory {
                "bash" => "/usr/share/bash-completion/completions".to_owned(),
                "zsh" => "/usr/share/zsh/vendor-completions".to_owned(),
                "fish" => "/usr/share/fish/vendor_completions.d".to_owned(),
                _ => format!("/usr/share/man/man{}", name.rsplit('.').next().unwrap()),
            };
            assert_eq!(to, format!("{place}/{name}"));
            listed.insert(from.to_owned());
        }
    }
    assert_eq!(made, listed);
}

#[test]
fn the_same_source_makes_the_same_pages() {
    assert_eq!(pages::date(None).unwrap(), "");
    assert_eq!(pages::date(Some("1769817600")).unwrap(), "2026-01-31");
    let error = pages::date(Some("yesterday")).unwrap_err().to_string();
    assert!(error.contains("SOURCE_DATE_EPOCH=yesterday"), "{error}");
    pages::date(Some("18446744073709551615")).unwrap_err();
    let undated = pages::pages("").unwrap();
    for (dated, undated) in pages::pages(DAY).unwrap().iter().zip(undated) {
        let title = |text: &str| {
            text.lines()
                .find(|line| line.starts_with(".TH "))
                .unwrap()
                .to_owned()
        };
        assert!(title(&dated.text).contains(DAY));
        assert_eq!(dated.text.replace(DAY, ""), undated.text);
        assert!(title(&undated.text).ends_with(concat!(" ", env!("CARGO_PKG_VERSION"), "\"")));
    }
}

/// The pages in a directory.
fn written() -> (tempfile::TempDir, Vec<PathBuf>) {
    let directory = tempfile::tempdir().unwrap();
    let write = |page: pages::Page| {
        let path = directory.path().join(page.name);
        fs::write(&path, page.text).unwrap();
        path
    };
    let paths = pages::pages(DAY).unwrap().into_iter().map(write).collect();
    (directory, paths)
}

/// Runs a tool on a file, and returns what it complains about; None where it is not here.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn complaints(tool: &str, options: &[&str], path: &Path) -> Option<String> {
    let output = Command::new(tool)
        .args(options)
        .arg(path)
        .env("LC_ALL", "C.UTF-8")
        .env("MANROFFSEQ", "")
        .env("MANWIDTH", "80")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) => {
            let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
            // Where it lints, it complains on standard output.
            if tool == "mandoc" {
                text.push_str(&String::from_utf8_lossy(&output.stdout));
            }
            if !output.status.success() && text.is_empty() {
                text = output.status.to_string();
            }
            Some(text)
        }
        Err(error) => {
            eprintln!("skipped: {tool}: {error}");
            None
        }
    }
}

#[test]
fn man_formats_the_pages_without_a_warning() {
    let options = ["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"];
    let (directory, paths) = written();
    for path in paths {
        let Some(complaints) = complaints("man", &options, &path) else {
            return;
        };
        assert_eq!(complaints, "", "{}", path.display());
    }
    let broken = directory.path().join("broken.1");
    fs::write(
        &broken,
        ".TH broken 1\n.SH NAME\n.nosuchrequest\n\\(nosuchglyph\n",
    )
    .unwrap();
    assert_ne!(complaints("man", &options, &broken), Some(String::new()));
}

#[test]
fn mandoc_finds_nothing_wrong_with_the_pages() {
    for path in written().1 {
        let Some(complaints) = complaints("mandoc", &["-Tlint", "-Wwarning"], &path) else {
            return;
        };
        assert_eq!(complaints, "", "{}", path.display());
    }
}

#[test]
fn shells_take_the_completions() {
    let directory = tempfile::tempdir().unwrap();
    for completion in completions::completions().unwrap() {
        let path = directory.path().join(&completion.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &completion.script).unwrap();
        let shell = completion.path.iter().next().unwrap().to_str().unwrap();
        if let Some(complaints) = complaints(shell, &["-n"], &path) {
            assert_eq!(complaints, "", "{}", path.display());
        }
    }
}

/// What bash offers for the last of the words.
fn offered(words: &str) -> String {
    let completions = completions::completions().unwrap();
    let path = Path::new("bash/metrics-agentctl");
    let script = completions.iter().find(|one| one.path == path).unwrap();
    let asked = format!(
        "{}
        COMP_WORDS=({words} '')
        COMP_CWORD=$((${{#COMP_WORDS[@]}} - 2))
        function=$(complete -p metrics-agentctl | sed 's/.* -F \\([^ ]*\\) .*/\\1/')
        $function metrics-agentctl \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\"
        echo \"${{COMPREPLY[@]}}\"",
        script.script
    );
    let programs = Path::new(env!("CARGO_BIN_EXE_metrics-agentctl")).parent();
    let path = format!("{}:/usr/bin:/bin", programs.unwrap().display());
    let mut bash = Command::new("bash");
    let output = bash
        .args(["-c", &asked])
        .env("PATH", path)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{words}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn bash_completes_commands_and_options() {
    for (words, expected) in [
        ("metrics-agentctl set-i", "set-interval"),
        ("metrics-agentctl set-interval --pers", "--persistent"),
        ("metrics-agentctl --json pre", "pretty"),
        ("metrics-agentctl complete", ""),
        // Words alone, without a line: as other completions hand them over.
        ("metrics-agentctl log-level em", "emerg"),
        (r"metrics-agentctl log-level \'em", "'emerg"),
    ] {
        assert_eq!(offered(words), expected, "{words}");
    }
}
