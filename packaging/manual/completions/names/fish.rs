//! Names for fish.

use std::fmt::Write as _;

use super::Names;

/// Asks for all names: fish finds any part of one, and puts a blank behind a part that it put in.
pub(super) fn added(names: &Names, mut script: String) -> String {
    let (program, ask) = (names.program, names.ask);
    if names.commands.is_empty() {
        return script;
    }
    let base = format!("__fish_{}", program.replace('-', "_"));
    let switches = names.switches.iter();
    let switches = switches
        .map(|switch| format!("    contains -- {switch} $words; and set -a more {switch}\n"));
    let place = names.place.map(|place| {
        format!(
            "    set -l at (contains -i -- {place} $words); and set -a more {place} $words[(math $at + 1)]\n    \
                 set -a more (string match -- '{place}=*' $words)\n"
        )
    });
    let _ = write!(
        script,
        "\nfunction {base}_names\n    set -l words (commandline -opc)\n    set -l more\n{}{}    \
             for name in ({program} {ask} $more $argv 2>/dev/null)\n        \
                 contains -- $name $words; or printf '%s\\n' $name\n    end\nend\n\n",
        switches.collect::<String>(),
        place.unwrap_or_default(),
    );
    let using = format!("{base}_using_subcommand");
    let mut add = |condition: &str, option: &str, kind: &str| {
        let condition = match condition {
            "" => String::new(),
            condition => format!(" -n \"{condition}\""),
        };
        let _ = writeln!(
            script,
            "complete -c {program}{condition} {option} -a \"({base}_names {kind})\""
        );
    };
    for (group, kind) in names.groups {
        let below = names.commands.iter().filter_map(|(path, _)| match path {
            [of, name] if of == group => Some(*name),
            _ => None,
        });
        let below = below.collect::<Vec<_>>().join(" ");
        let condition = format!("{using} {group}; and not __fish_seen_subcommand_from {below}");
        add(&condition, "-f", kind);
    }
    for (path, kind) in names.commands {
        let condition = match path {
            [group, name] => format!("{using} {group}; and __fish_seen_subcommand_from {name}"),
            [] => String::new(),
            other => format!("{using} {}", other.join(" ")),
        };
        add(&condition, "-f", kind);
    }
    for (path, option, kind) in names.values {
        let (group, name) = (path.first().unwrap_or(&""), path.last().unwrap_or(&""));
        let condition = format!("{using} {group}; and __fish_seen_subcommand_from {name}");
        add(
            &condition,
            &format!("-x -l {}", option.trim_start_matches('-')),
            kind,
        );
    }
    script
}
