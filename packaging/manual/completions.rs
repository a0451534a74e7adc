//! Shell completions of the three programs, from their command lines.

use std::path::PathBuf;

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};

/// What a shell loads.
#[derive(Debug)]
pub(crate) struct Completion {
    /// Where it goes below the directory of what is generated.
    pub(crate) path: PathBuf,
    /// In the shell's language.
    pub(crate) script: Vec<u8>,
}

/// The command lines of the three programs.
pub(crate) fn programs() -> [Command; 3] {
    [
        metrics_agent::agent::arguments::Arguments::command(),
        metrics_agent::ctl::arguments::Arguments::command(),
        metrics_agent::server::arguments::Arguments::command(),
    ]
}

/// Each program's for each shell, under the file name by which the shell finds it.
pub(crate) fn completions() -> Vec<Completion> {
    let mut completions = Vec::new();
    for mut command in programs() {
        let program = command.get_name().to_owned();
        for (shell, path) in [
            (Shell::Bash, format!("bash/{program}")),
            (Shell::Zsh, format!("zsh/_{program}")),
            (Shell::Fish, format!("fish/{program}.fish")),
        ] {
            let mut script = Vec::new();
            generate(shell, &mut command, &program, &mut script);
            if shell == Shell::Bash {
                script = with_one_name(&program, script);
            }
            completions.push(Completion {
                path: path.into(),
                script,
            });
        }
    }
    completions
}

/// `clap_complete` 4.6.11 calls a program that has a dash in its name by two names in its script for
/// bash, `a__b` where it finds the command and `a__subcmd__b` where it looks for its options, so that
/// there are none. Without that mistake this changes nothing.
fn with_one_name(program: &str, script: Vec<u8>) -> Vec<u8> {
    match String::from_utf8(script) {
        Ok(script) => script
            .replace(
                &program.replace('-', "__subcmd__"),
                &program.replace('-', "__"),
            )
            .into_bytes(),
        Err(other) => other.into_bytes(),
    }
}
