//! Shell completions of the programs, from their command lines. What only a running program
//! knows, [`names`] asks it for.

mod names;

use std::error::Error;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, CommandFactory as _, ValueHint};
use clap_complete::{Shell, generate};
use metrics_agent::agent;
use metrics_agent::collector;
use metrics_agent::config::LogLevel;
use metrics_agent::ctl;
use metrics_agent::top;

/// What a shell loads.
#[derive(Debug)]
pub(crate) struct Completion {
    /// Where it goes below the directory of what is generated.
    pub(crate) path: PathBuf,
    /// In the shell's language.
    pub(crate) script: String,
}

/// The command lines of the programs.
pub(crate) fn programs() -> [(&'static str, Command); 4] {
    [
        ("metrics-agent", agent::arguments::Arguments::command()),
        ("metrics-agentctl", ctl::arguments::Arguments::command()),
        (
            "metrics-collector",
            collector::arguments::Arguments::command(),
        ),
        ("metrics-top", top::arguments::Arguments::command()),
    ]
}

/// Each program's for each shell, under the file name by which the shell finds it.
///
/// # Errors
///
/// A script that is not as [`names`] knows it, or no text.
pub(crate) fn completions() -> Result<Vec<Completion>, Box<dyn Error>> {
    let mut completions = Vec::new();
    for (program, command) in programs() {
        let mut command = shown(program, &command);
        for (shell, path) in [
            (Shell::Bash, format!("bash/{program}")),
            (Shell::Zsh, format!("zsh/_{program}")),
            (Shell::Fish, format!("fish/{program}.fish")),
        ] {
            let mut script = Vec::new();
            generate(shell, &mut command, program, &mut script);
            let mut script = String::from_utf8(script)?;
            script = match shell {
                Shell::Bash => with_one_name(program, &script),
                Shell::Fish => with_a_value_to_come(&script),
                _ => script,
            };
            script = names::added(program, shell, script)?;
            completions.push(Completion {
                path: path.into(),
                script,
            });
        }
    }
    Ok(completions)
}

/// Without the commands that are for the completions themselves: `clap_complete` offers hidden ones.
fn shown(program: &'static str, command: &Command) -> Command {
    let commands = command.get_subcommands().filter(|one| !one.is_hide_set());
    Command::new(program)
        .disable_help_subcommand(command.is_disable_help_subcommand_set())
        .version(env!("CARGO_PKG_VERSION"))
        .args(
            command
                .get_arguments()
                .filter(|one| !one.is_hide_set())
                .cloned()
                .map(with_words),
        )
        .subcommands(commands.cloned().map(with_words_below))
}

fn with_words_below(command: Command) -> Command {
    command
        .mut_args(with_words)
        .mut_subcommands(with_words_below)
}

/// With the words that a setting takes: the program takes them as text, so that its error can name
/// the setting. Any other option is completed with files only where it takes a file.
fn with_words(option: Arg) -> Arg {
    let words: &[&str] = match option.get_long() {
        Some("log-level") => &LogLevel::WORDS,
        Some("authorized") => &["any", "directory"],
        Some("bus") => &["system", "session"],
        Some("viewers-listen" | "web-listen") => &["none"],
        Some(_) if option.get_action().takes_values() => {
            return match option.get_value_hint() {
                ValueHint::Unknown if option.get_possible_values().is_empty() => {
                    option.value_hint(ValueHint::Other)
                }
                _ => option,
            };
        }
        _ => return option,
    };
    option.value_parser(PossibleValuesParser::new(words))
}

/// `clap_complete` 4.6.11 calls a program that has a dash in its name by two names in its script for
/// bash, `a__b` where it finds the command and `a__subcmd__b` where it looks for its options, so that
/// there are none. Without that mistake this changes nothing.
fn with_one_name(program: &str, script: &str) -> String {
    script.replace(
        &program.replace('-', "__subcmd__"),
        &program.replace('-', "__"),
    )
}

/// The script of `clap_complete` 4.6.11 for fish parses what stands before the cursor, and offers
/// nothing where that fails: so it does behind `--option `, whose value is still to come. This parses
/// the rest of the line then. Without that mistake this changes nothing that is offered.
fn with_a_value_to_come(script: &str) -> String {
    let mut lines = String::new();
    for line in script.split_inclusive('\n') {
        if let Some(parse) = line.strip_suffix(" -- $cmd 2>/dev/null\n") {
            lines.extend([
                line,
                "    or ",
                parse.trim_start(),
                " -- $cmd[1..-2] 2>/dev/null\n",
            ]);
        } else {
            lines.push_str(line);
        }
    }
    lines
}
