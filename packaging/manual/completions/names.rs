//! Names in the completions: of connections and sources, of metrics, of keys, hosts and
//! collectors. The hidden command or option `complete-names` of a program prints them, one a line,
//! and nothing where there are none to be had. What stands on the line already is not offered again.

mod bash;
mod fish;
mod zsh;

use clap_complete::Shell;

/// What a program has names for.
pub(super) struct Names {
    program: &'static str,
    /// How it is asked for names.
    ask: &'static str,
    /// Groups of commands that also take names themselves, and the words for `complete-names`.
    groups: &'static [(&'static str, &'static str)],
    /// The commands that take names, each with the group that it belongs to where there is one, and
    /// the words for `complete-names`. No command: the program's own argument.
    commands: &'static [(&'static [&'static str], &'static str)],
    /// Switches that ask for other names.
    switches: &'static [&'static str],
    /// The option that says where the names come from.
    place: Option<&'static str>,
    /// Options that take a value, so that it is not taken for a command.
    options: &'static [&'static str],
    /// Options of a command that take names, and the words for `complete-names`.
    values: &'static [(&'static [&'static str], &'static str, &'static str)],
}

/// All of them.
const NAMES: [Names; 4] = [
    Names {
        program: "metrics-agent",
        ask: "",
        groups: &[],
        commands: &[],
        switches: &[],
        place: None,
        options: &["--config"],
        values: &[],
    },
    Names {
        program: "metrics-agentctl",
        ask: "complete-names",
        groups: &[],
        commands: &[
            (&["reconnect"], "connections"),
            (&["enable"], "disabled"),
            (&["disable"], "enabled"),
            (&["metrics"], "metrics"),
            (&["log-level"], "levels"),
        ],
        switches: &["--model"],
        place: Some("--bus"),
        options: &[
            "--bus",
            "--json",
            "--lines",
            "-n",
            "--interval",
            "--file",
            "--name",
        ],
        values: &[],
    },
    Names {
        program: "metrics-collector",
        ask: "complete-names",
        groups: &[("hosts", "hosts")],
        commands: &[
            (&["keys", "allow"], "allow"),
            (&["keys", "revoke"], "revoke"),
            (&["keys", "forget"], "pins"),
            (&["hosts", "forget"], "gone"),
        ],
        switches: &["--viewer", "--gone"],
        place: Some("--bus"),
        options: &[
            "--name",
            "--bus",
            "--key",
            "--config",
            "--listen",
            "--viewers-listen",
            "--web-listen",
            "--key-file",
            "--authorized",
            "--ping-interval",
            "--host-timeout",
            "--log-level",
        ],
        values: &[(&["keys", "forget"], "--key", "pinned-keys")],
    },
    Names {
        program: "metrics-top",
        ask: "--complete-names",
        groups: &[],
        commands: &[(&[], "")],
        switches: &[],
        place: None,
        options: &[
            "--key-file",
            "--public-key",
            "--public-key-file",
            "--sort",
            "--filter",
            "--wait",
        ],
        values: &[],
    },
];

/// The script of a program with names behind those commands.
///
/// # Errors
///
/// Says what was not found where names belong.
pub(super) fn added(program: &str, shell: Shell, script: String) -> Result<String, String> {
    let Some(names) = NAMES.iter().find(|names| names.program == program) else {
        return Err(format!("{program}: not in the list of names"));
    };
    match shell {
        Shell::Bash => bash::added(names, script),
        Shell::Zsh => zsh::added(names, &script),
        _ => Ok(fish::added(names, script)),
    }
}

impl Names {
    /// The groups that commands are in.
    fn command_groups(&self) -> Vec<&'static str> {
        let groups = self.commands.iter().filter_map(|(path, _)| match path {
            [group, _] => Some(*group),
            _ => None,
        });
        let mut groups: Vec<_> = groups.collect();
        groups.dedup();
        groups
    }

    /// Returns true if it is told what is typed already.
    fn takes_typed(&self) -> bool {
        self.of_program().is_none()
    }

    /// What a program itself takes.
    fn of_program(&self) -> Option<&'static str> {
        let own = self.commands.iter().find(|(path, _)| path.is_empty());
        own.map(|(_, kind)| *kind)
    }
}
