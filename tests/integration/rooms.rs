//! The rooms of the source tree keep to the table in docs/architecture.md: each uses only
//! those that the table allows it, and no files of different folders use each other in a circle.
//! Tests may reach anywhere; what a `mod.rs` hands on with `pub use` is not a use of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A module's path from the crate's root, such as `agent::bus::service`.
type Module = Vec<String>;

/// What a module uses: paths from the crate's root.
type Uses = BTreeMap<Module, BTreeSet<Module>>;

#[test]
fn rooms_use_only_what_the_table_allows() {
    let allowed = table();
    let mut wrong = Vec::new();
    for (module, uses) in uses() {
        let Some(room) = module.first() else { continue };
        let Some(may) = allowed.get(room) else {
            panic!("docs/architecture.md lacks the room {room}");
        };
        for used in uses {
            let other = &used[0];
            if other != room && allowed.contains_key(other) && !may.contains(other) {
                let (module, used) = (module.join("::"), used.join("::"));
                wrong.push(format!("{module} uses {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_allows_no_circle() {
    let allowed = table();
    for room in allowed.keys() {
        let below = reachable(room, |room| allowed[room].iter().cloned().collect());
        assert!(
            !below.contains(room),
            "{room} may use itself by way of {below:?}"
        );
    }
}

#[test]
fn files_of_different_folders_do_not_use_each_other() {
    let uses = uses();
    let owner = |used: &Module| {
        let prefixes = (1..=used.len()).rev().map(|length| used[..length].to_vec());
        prefixes
            .into_iter()
            .find(|module| uses.contains_key(module))
    };
    let next = |module: &Module| -> Vec<Module> {
        let owners = uses[module].iter().filter_map(owner);
        owners.filter(|other| other != module).collect()
    };
    let all: BTreeMap<&Module, BTreeSet<Module>> = uses
        .keys()
        .map(|module| (module, reachable(module, next)))
        .collect();
    let mut wrong = BTreeSet::new();
    for (module, below) in &all {
        for other in below {
            if all[other].contains(*module) && folder(module) != folder(other) {
                let pair = [module.join("::"), other.join("::")];
                wrong.insert(
                    pair.iter().min().unwrap().clone() + " and " + pair.iter().max().unwrap(),
                );
            }
        }
    }
    let wrong: Vec<_> = wrong.into_iter().collect();
    assert!(
        wrong.is_empty(),
        "these use each other:\n{}",
        wrong.join("\n")
    );
}

/// Whatever can be reached from there.
fn reachable<T: Clone + Ord>(from: &T, next: impl Fn(&T) -> Vec<T>) -> BTreeSet<T> {
    let mut found = BTreeSet::new();
    let mut open = next(from);
    while let Some(one) = open.pop() {
        if found.insert(one.clone()) {
            open.extend(next(&one));
        }
    }
    found
}

/// The folder that a module's file stands in; what a folder is named after stands in it.
fn folder(module: &Module) -> PathBuf {
    let path: PathBuf = root().join("src").join(module.iter().collect::<PathBuf>());
    if path.is_dir() {
        return path;
    }
    path.parent().unwrap().to_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rooms and what each may use, out of the documentation.
fn table() -> BTreeMap<String, BTreeSet<String>> {
    let text = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let (_, rooms) = text.split_once("\n## Rooms\n").unwrap();
    let rows = rooms.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|'));
    let quoted = |cell: &str| -> Vec<String> {
        cell.split('`')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    rows.skip(2)
        .filter_map(|row| {
            let cells: Vec<_> = row.trim_matches('|').split('|').collect();
            let place = quoted(cells[0]).remove(0);
            let room = place.strip_prefix("src/")?.strip_suffix('/')?.to_owned();
            Some((room, quoted(cells[2]).into_iter().collect()))
        })
        .collect()
}

/// What each file uses, but for tests and the programs.
fn uses() -> Uses {
    let source = root().join("src");
    let mut open = vec![source.clone()];
    let mut texts = BTreeMap::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
            continue;
        }
        let module: Module = path
            .strip_prefix(&source)
            .unwrap()
            .with_extension("")
            .iter()
            .map(|part| part.to_str().unwrap().to_owned())
            .filter(|part| part != "mod")
            .collect();
        let for_tests = ["tests", "odd_tests", "testing", "testbed", "simulation"];
        let is_left_out = |part: &String| for_tests.contains(&&**part);
        if module != ["lib"] && module[0] != "bin" && !module.iter().any(is_left_out) {
            texts.insert(module, fs::read_to_string(path).unwrap());
        }
    }
    let modules: BTreeSet<_> = texts.keys().cloned().collect();
    let read = |(module, text): (Module, String)| {
        let uses = paths(&text, &module, &modules);
        (module, uses)
    };
    texts.into_iter().map(read).collect()
}

/// Each path of the crate in a text, but for what stands in a module of tests.
fn paths(text: &str, module: &Module, modules: &BTreeSet<Module>) -> BTreeSet<Module> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap().to_owned() + "\n")
        .collect();
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut found = Vec::new();
    for statement in code.split(';') {
        let (before, tree) = use_tree(statement);
        if let Some(tree) = tree {
            spread(tree, "", &mut found);
        }
        for (at, _) in before
            .match_indices("crate::")
            .chain(before.match_indices("super::"))
        {
            let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            let starts = before[..at].chars().next_back().is_none_or(|c| !is_path(c));
            if starts {
                let path = before[at..].split(|c| !is_path(c)).next().unwrap();
                found.push(path.to_owned());
            }
        }
    }
    let resolve = |path: &String| resolved(path, module, modules);
    found.iter().filter_map(resolve).collect()
}

/// A statement's private `use`, and what stands before it.
fn use_tree(statement: &str) -> (&str, Option<&str>) {
    let mut at = 0;
    for line in statement.split_inclusive('\n') {
        let public = ["pub use ", "pub(crate) use ", "pub(super) use "];
        if public
            .iter()
            .any(|word| line.trim_start().starts_with(word))
        {
            return (&statement[..at], None);
        }
        if let Some(tree) = line.trim_start().strip_prefix("use ") {
            let tree = at + line.len() - tree.len();
            return (&statement[..at], Some(&statement[tree..]));
        }
        at += line.len();
    }
    (statement, None)
}

/// The paths of a tree such as `a::{b, c::{self, d as e}}`.
fn spread(tree: &str, prefix: &str, found: &mut Vec<String>) {
    let Some((head, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap().trim();
        found.push(format!("{prefix}{path}"));
        return;
    };
    let prefix = format!("{prefix}{}", head.trim());
    let inside = rest.rsplit_once('}').unwrap().0;
    let (mut depth, mut start) = (0, 0);
    for (at, character) in inside.char_indices().chain([(inside.len(), ',')]) {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = &inside[start..at];
                start = at + 1;
                if !part.trim().is_empty() {
                    spread(part, &prefix, found);
                }
            }
            _ => {}
        }
    }
}

/// The path from the crate's root; None for one into another crate.
fn resolved(path: &str, module: &Module, modules: &BTreeSet<Module>) -> Option<Module> {
    let mut parts: Vec<String> = path.split("::").map(str::to_owned).collect();
    if parts
        .last()
        .is_some_and(|last| last == "self" || last == "*")
    {
        parts.pop();
    }
    let supers = parts.iter().take_while(|part| *part == "super").count();
    let base = match parts.first()?.as_str() {
        "crate" => &[],
        "self" => &module[..],
        "super" => &module[..module.len().checked_sub(supers)?],
        child => {
            let is_child = modules.contains(&[module, &[child.to_owned()][..]].concat());
            return is_child.then(|| [&module[..], &parts].concat());
        }
    };
    let rest = &parts[supers.max(1)..];
    Some([base, rest].concat()).filter(|path| !path.is_empty())
}

#[test]
fn paths_are_found_in_every_form() {
    let modules = ["agent", "agent::run", "agent::run::part", "base"];
    let module = |path: &str| -> Module { path.split("::").map(str::to_owned).collect() };
    let modules = modules.map(module).into_iter().collect();
    let text = "use std::io;\nuse crate::{base::{self, text as t}, agent::*};\n\
                pub use part::Thing;\nuse part::{Other};\nfn a() { super::state::b(); crate::top::c() }\n\
                // use crate::comment;\n#[cfg(test)]\nmod tests {\n use crate::tested;\n}\n";
    let found: Vec<_> = paths(text, &module("agent::run"), &modules)
        .iter()
        .map(|path| path.join("::"))
        .collect();
    let expected = [
        "agent",
        "agent::run::part::Other",
        "agent::state::b",
        "base",
        "base::text",
        "top::c",
    ];
    assert_eq!(found, expected);
}
