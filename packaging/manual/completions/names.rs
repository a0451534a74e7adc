//! Names in the completions: of connections and metric collectors, of metrics, of keys and hosts.
//! The hidden command `complete-names` of a program prints them, one a line, and nothing where there
//! are none to be had.

use clap_complete::Shell;

/// The commands of one program that take names, and the words for `complete-names`.
pub(crate) struct Names {
    pub(crate) program: &'static str,
    /// The command, with the one that it belongs to where it has such, and what it takes.
    pub(crate) commands: &'static [(&'static [&'static str], &'static str)],
    /// Whether `--client` asks for other names.
    pub(crate) has_clients: bool,
    /// Options that take a value, for which no name stands.
    pub(crate) options: &'static [&'static str],
    /// Options of a command that take names, and the words for `complete-names`.
    pub(crate) values: &'static [(&'static [&'static str], &'static str, &'static str)],
}

/// All of them.
pub(crate) const NAMES: [Names; 2] = [
    Names {
        program: "metrics-agentctl",
        commands: &[
            (&["reconnect"], "connections"),
            (&["enable"], "disabled"),
            (&["disable"], "enabled"),
            (&["metrics"], "metrics"),
        ],
        has_clients: false,
        options: &["--bus", "--json", "--lines", "-n", "--interval"],
        values: &[],
    },
    Names {
        program: "metrics-collector",
        commands: &[
            (&["keys", "allow"], "allow"),
            (&["keys", "revoke"], "revoke"),
            (&["keys", "forget"], "pins"),
            (&["hosts", "forget"], "gone"),
        ],
        has_clients: true,
        options: &["--name", "--bus"],
        values: &[(&["keys", "forget"], "--key", "pinned-keys")],
    },
];

/// The script of a program with names behind those commands; as it is where none takes names.
///
/// # Errors
///
/// Says what was not found where names belong.
pub(super) fn added(program: &str, shell: Shell, script: String) -> Result<String, String> {
    let Some(names) = NAMES.iter().find(|names| names.program == program) else {
        return Ok(script);
    };
    match shell {
        Shell::Bash => bash(names, script),
        Shell::Zsh => zsh(names, &script),
        _ => Ok(fish(names, script)),
    }
}

/// A function around the generated one. Reads the names line by line: bash would carry out what
/// stands in words for `compgen -W`.
fn bash(names: &Names, mut script: String) -> Result<String, String> {
    let function = format!("_{}", names.program.replace('-', "__"));
    let head = format!("{function}() {{");
    if !script.lines().any(|line| line == head) {
        return Err(format!("bash: no function is called {function}"));
    }
    let mut cases = String::new();
    for (command, kind) in names.commands {
        cases.extend([
            "            '",
            &command.join(" "),
            "') kind=",
            kind,
            " ;;\n",
        ]);
    }
    let mut values = String::new();
    for (_, option, kind) in names.values {
        values.extend(["            ", option, ") kind=", kind, " ;;\n"]);
    }
    let groups = names
        .commands
        .iter()
        .filter_map(|(command, _)| match command {
            [group, _] => Some(*group),
            _ => None,
        });
    let mut groups: Vec<_> = groups.collect();
    groups.dedup();
    let groups = match groups.as_slice() {
        [] => "''".to_owned(),
        groups => groups.join("|"),
    };
    script.push_str(
        &BASH
            .replace("@cases@\n", &cases)
            .replace("@values@\n", &values)
            .replace("@groups@", &groups)
            .replace("@options@", &names.options.join("|"))
            .replace("@function@", &function)
            .replace("@program@", names.program),
    );
    Ok(script)
}

/// What is typed may be quoted, and be several of bash's words: a colon ends one. Each name is quoted
/// as what is typed is, and only what follows bash's last word is put in.
const BASH: &str = r#"
@function@__names() {
    local word group= kind= more=() typed before candidate match
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$word" in
            --client) more=(--client) ;;
        esac
        case "$group$word" in
            @groups@) group="$word " ;;
@cases@
        esac
        case "$word" in
@values@
            *) ;;
        esac
    done
    case "$3" in
        @options@) kind= ;;
    esac
    if [[ -z "$kind" || "$2" == -* ]]; then
        @function@ "$@"
        return
    fi
    COMPREPLY=()
    compopt +o default +o bashdefault 2>/dev/null
    typed="${COMP_LINE:0:COMP_POINT}"
    typed="${typed##*[[:space:]]}"
    before="${typed%"$2"}"
    while read -r candidate; do
        case "$typed" in
            \"*|\'*) match="$candidate" ;;
            *) printf -v match %q "$candidate" ;;
        esac
        case "$typed" in
            \"*|\'*) [[ "$match" == "${typed:1}"* ]] || continue
                match="${match#"${before:1}"}" ;;
            *) [[ "$match" == "$typed"* || "$candidate" == "$typed"* ]] || continue
                [[ "$match" == "$before"* ]] || continue
                match="${match#"$before"}" ;;
        esac
        [[ "$candidate" != *'[' ]] || compopt -o nospace 2>/dev/null
        COMPREPLY+=("$match")
    done < <(@program@ complete-names "${more[@]}" "$kind" -- "${typed#[\"\']}" 2>/dev/null)
}
complete -F @function@__names -o bashdefault -o default @program@
"#;

/// Another action for the argument of each of those commands.
fn zsh(names: &Names, script: &str) -> Result<String, String> {
    let mut found = 0;
    let mut group = "";
    let mut wanted = None;
    let mut here = None;
    let mut changed = String::new();
    for line in script.lines() {
        let header = line
            .trim()
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'));
        if let Some(command) = header {
            if names
                .commands
                .iter()
                .any(|(path, _)| matches!(path, [group, _] if *group == command))
            {
                group = command;
            }
            here = Some(command);
            wanted = names.commands.iter().find_map(|(path, kind)| {
                let fits = match path {
                    [name] => *name == command,
                    [in_group, name] => *in_group == group && *name == command,
                    _ => false,
                };
                fits.then_some(kind)
            });
        }
        let value = names.values.iter().find(|(path, option, _)| {
            matches!(path, [in_group, name] if *in_group == group && Some(*name) == here)
                && line.contains(&format!("{option}=["))
        });
        if let (Some((.., kind)), Some((head, _))) = (value, line.rsplit_once(':')) {
            found += 1;
            changed.extend([
                head,
                ":{local -a names; names=(${(f)\"$(",
                names.program,
                " complete-names ",
                kind,
                " 2>/dev/null)\"}); compadd -- $names}' \\\n",
            ]);
            continue;
        }
        // An argument, where options begin with a dash or a parenthesis: '::NAME -- HELP:ACTION' \
        let argument = ["'::", "'*::", "':"]
            .iter()
            .any(|start| line.starts_with(start));
        let head = line.rsplit_once(':').map(|(head, _)| head);
        if let (Some(kind), true, Some(head)) = (wanted, argument, head)
            && line.contains(" -- ")
        {
            found += 1;
            changed.extend([
                head,
                ":{local -a names; names=(${(f)\"$(",
                names.program,
                " complete-names ",
                if names.has_clients {
                    "${(M)words:#--client} "
                } else {
                    ""
                },
                kind,
                " -- ${(Q)PREFIX} 2>/dev/null)\"}); ",
                "compadd -S \"\" -- ${(M)names:#*\\[}; compadd -- ${names:#*\\[}}' \\\n",
            ]);
        } else {
            changed.extend([line, "\n"]);
        }
    }
    let expected = names.commands.len() + names.values.len();
    if found == expected {
        Ok(changed)
    } else {
        Err(format!(
            "zsh: {found} arguments of {} take names, not {expected}",
            names.program
        ))
    }
}

/// Asks for all names: fish finds any part of one, and puts a blank behind a part that it put in.
fn fish(names: &Names, mut script: String) -> String {
    let seen = format!(
        "__fish_{}_using_subcommand",
        names.program.replace('-', "_")
    );
    for (command, kind) in names.commands {
        let condition = match command {
            [group, name] => format!("{seen} {group}; and __fish_seen_subcommand_from {name}"),
            other => format!("{seen} {}", other.join(" ")),
        };
        script.extend([
            "complete -c ",
            names.program,
            " -n \"",
            &condition,
            "\" -f -a \"(",
            names.program,
            " complete-names ",
            if names.has_clients {
                "(__fish_contains_opt client; and echo -- --client) "
            } else {
                ""
            },
            kind,
            " 2>/dev/null)\"\n",
        ]);
    }
    for (command, option, kind) in names.values {
        let condition = format!(
            "{seen} {}; and __fish_seen_subcommand_from {}",
            command.first().unwrap_or(&""),
            command.last().unwrap_or(&"")
        );
        script.extend([
            "complete -c ",
            names.program,
            " -n \"",
            &condition,
            "\" -x -l ",
            option.trim_start_matches('-'),
            " -a \"(",
            names.program,
            " complete-names ",
            kind,
            " 2>/dev/null)\"\n",
        ]);
    }
    script
}
