//! Names of connections and metric collectors in the completions of metrics-agentctl: its hidden
//! command `complete-names` asks the running agent for them, and says nothing where there is none.

use clap_complete::Shell;

/// Commands, and which names they take.
pub(crate) const NAMES: [(&str, &str); 3] = [
    ("reconnect", "connections"),
    ("enable", "disabled"),
    ("disable", "enabled"),
];

/// The script with names behind those commands.
///
/// # Errors
///
/// Says what was not found where names belong.
pub(super) fn added(shell: Shell, script: String) -> Result<String, String> {
    match shell {
        Shell::Bash => bash(script),
        Shell::Zsh => zsh(&script),
        _ => Ok(fish(script)),
    }
}

/// A function around the generated one. Reads the names line by line: bash would carry out what
/// stands in words for `compgen -W`.
fn bash(mut script: String) -> Result<String, String> {
    if !script.contains("\n_metrics__agentctl() {") && !script.starts_with("_metrics__agentctl() {")
    {
        return Err("bash: no function is called _metrics__agentctl".to_owned());
    }
    let cases: Vec<_> = NAMES
        .iter()
        .map(|(command, names)| format!("            {command}) names={names} ;;\n"))
        .collect();
    script.push_str(&BASH.replace("@cases@\n", &cases.concat()));
    Ok(script)
}

const BASH: &str = r#"
_metrics__agentctl__names() {
    local word names=
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$word" in
@cases@
        esac
    done
    if [[ -z "$names" || "$2" == -* || "$3" == --bus || "$3" == --json ]]; then
        _metrics__agentctl "$@"
        return
    fi
    COMPREPLY=()
    compopt +o default +o bashdefault 2>/dev/null
    while read -r word; do
        [[ "$word" != "$2"* ]] || COMPREPLY+=("$word")
    done < <(metrics-agentctl complete-names "$names" 2>/dev/null)
}
complete -F _metrics__agentctl__names -o bashdefault -o default metrics-agentctl
"#;

/// Another action for the argument of each of those commands.
fn zsh(script: &str) -> Result<String, String> {
    let mut found = 0;
    let mut wanted = None;
    let mut changed = String::new();
    for line in script.lines() {
        if let Some(command) = line
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'))
        {
            wanted = NAMES
                .iter()
                .find(|(name, _)| *name == command)
                .map(|(_, names)| names);
        }
        // An argument, where options begin with a dash or a parenthesis: '::NAME -- HELP:ACTION' \
        let argument = ["'::", "'*::", "':"]
            .iter()
            .any(|start| line.starts_with(start));
        let head = line.rsplit_once(':').map(|(head, _)| head);
        if let (Some(names), true, Some(head)) = (wanted, argument, head)
            && line.contains(" -- ")
        {
            found += 1;
            changed.extend([
                head,
                ":{compadd -- ${(f)\"$(metrics-agentctl complete-names ",
                names,
                " 2>/dev/null)\"}}' \\\n",
            ]);
        } else {
            changed.extend([line, "\n"]);
        }
    }
    if found == NAMES.len() {
        Ok(changed)
    } else {
        Err(format!(
            "zsh: {found} arguments take names, not {}",
            NAMES.len()
        ))
    }
}

fn fish(mut script: String) -> String {
    for (command, names) in NAMES {
        script.extend([
            "complete -c metrics-agentctl -n \"__fish_metrics_agentctl_using_subcommand ",
            command,
            "\" -f -a \"(metrics-agentctl complete-names ",
            names,
            " 2>/dev/null)\"\n",
        ]);
    }
    script
}
