//! Synopsis, options and commands, from clap's definitions.

use std::error::Error;
use std::io;

use clap::{Arg, ArgAction, Command};
use clap_mangen::Man;

use super::roff;

/// One line.
pub(super) fn synopsis(command: &Command) -> Result<String, Box<dyn Error>> {
    let man = Man::new(command.clone().subcommand_value_name("COMMAND"));
    let text = rendered(|output| man.render_synopsis_section(output))?;
    Ok(with_values(text, command))
}

/// With the values of options, which `clap_mangen` leaves out.
fn with_values(mut text: String, command: &Command) -> String {
    let with_value = |one: &&Arg| !one.is_hide_set() && one.get_action().takes_values();
    for option in command.get_opts().filter(with_value) {
        let Some(long) = option.get_long() else {
            continue;
        };
        let values = option.get_value_names().unwrap_or_default();
        let values: Vec<_> = values.iter().map(|name| roff::text(name)).collect();
        let name = format!("\\fB{}\\fR", roff::text(&format!("--{long}")));
        let value = format!("{name} \\fI{}\\fR", values.join(" "));
        text = text.replace(&name, &value);
    }
    text
}

/// Options and arguments, a paragraph each.
pub(super) fn options(command: &Command) -> Result<String, Box<dyn Error>> {
    let man = Man::new(command.clone().mut_args(with_aliases));
    rendered(|output| man.render_options_section(output))
}

/// With its other names, of which `clap_mangen` says nothing.
fn with_aliases(argument: Arg) -> Arg {
    let aliases = argument.get_visible_aliases().unwrap_or_default();
    if aliases.is_empty() {
        return argument;
    }
    let aliases: Vec<_> = aliases.iter().map(|name| format!("--{name}")).collect();
    let also = format!("; also {}", aliases.join(", "));
    let help = argument.get_help().map(|help| format!("{help}{also}"));
    let long = argument.get_long_help();
    let long = long.map(|help| format!("{help}{also}"));
    let argument = match help {
        Some(help) => argument.help(help),
        None => argument,
    };
    match long {
        Some(long) => argument.long_help(long),
        None => argument,
    }
}

/// Commands, with their own options and arguments below each.
pub(super) fn commands(command: &Command) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    for (name, command) in leaves(command, "") {
        // Those of every command stand in the page's options.
        let arguments = command.get_arguments().filter(|argument| {
            !argument.is_global_set() && !argument.is_hide_set() && !is_help(argument)
        });
        let own = Command::new("")
            .bin_name(&name)
            .disable_help_flag(true)
            .args(arguments.cloned());
        let about = command
            .get_long_about()
            .or_else(|| command.get_about())
            .ok_or_else(|| format!("{name} says nothing about itself"))?;
        text.push_str(".TP\n");
        text.push_str(&with_dots(synopsis(&own)?, command));
        // clap takes the full stop off a text of one paragraph.
        let paragraphs = about.to_string();
        let paragraphs: Vec<_> = paragraphs
            .split("\n\n")
            .map(|paragraph| format!("{}.\n", roff::text(paragraph.trim_end_matches('.'))))
            .collect();
        text.push_str(&paragraphs.join(roff::SPACE));
        if own.get_arguments().next().is_some() {
            text.push_str(".RS\n");
            text.push_str(&with_dots(options(&own)?, command));
            text.push_str(".RE\n");
        }
    }
    Ok(text)
}

fn is_help(argument: &Arg) -> bool {
    matches!(
        argument.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong
    )
}

/// The commands that do something, those below others too them, by the words that they are called with.
fn leaves<'a>(command: &'a Command, prefix: &str) -> Vec<(String, &'a Command)> {
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set());
    let below = shown.flat_map(|one| {
        let name = format!("{prefix}{}", one.get_name());
        if one.has_subcommands() {
            // It may have something to do itself.
            let mut arguments = one.get_arguments();
            let own = arguments.any(|one| !one.is_global_set() && !is_help(one));
            let itself = (own && !one.is_subcommand_required_set()).then(|| (name.clone(), one));
            let below = leaves(one, &format!("{name} "));
            itself.into_iter().chain(below).collect()
        } else {
            vec![(name, one)]
        }
    });
    below.collect()
}

/// With the dots that `clap_mangen` leaves out behind an argument of which there may be several.
fn with_dots(mut text: String, command: &Command) -> String {
    for argument in command.get_positionals() {
        if let (ArgAction::Append, Some([name])) =
            (argument.get_action(), argument.get_value_names())
        {
            text = text.replace(&format!("\\fI{name}\\fR"), &format!("\\fI{name}...\\fR"));
        }
    }
    text
}

fn rendered(
    render: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> Result<String, Box<dyn Error>> {
    let mut written = Vec::new();
    render(&mut written)?;
    Ok(roff::of_clap(&String::from_utf8(written)?))
}
