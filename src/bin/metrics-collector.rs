//! `metrics-collector`: the other end of the agents' connections. Parses its arguments,
//! calls the library, chooses the exit status.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use metrics_agent::exit::{self, EXIT_CONFIG, EXIT_SOFTWARE, EXIT_UNAVAILABLE};
use metrics_agent::server::arguments::{Arguments, Command};
use metrics_agent::server::keys_command;
use metrics_agent::server::settings::Settings;
use metrics_agent::server::start::{self, Failure};
use metrics_agent::systemd::log::{LogControl, Target};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::Keys(arguments)) = &arguments.command {
        return match keys_command::run(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                let _ = writeln!(std::io::stderr(), "metrics-collector: {failure}");
                failure.status().into()
            }
        };
    }
    let settings = match Settings::read(&arguments.given(), std::env::vars_os()) {
        Ok(settings) => settings,
        Err(error) => return fail(&error, Failure::Configuration),
    };
    if arguments.public_key {
        return print_public_key(&settings);
    }
    let target = Target::detect();
    if let Err(error) = LogControl::install("metrics-collector", settings.log_level, target) {
        return fail(&error, Failure::Bug);
    }
    exit::end_at_a_bug();
    match start::run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => status(failure),
    }
}

fn print_public_key(settings: &Settings) -> ExitCode {
    match start::find_keys(settings) {
        Ok(keys) => {
            // A reader that has gone needs no complaint.
            let _ = writeln!(std::io::stdout(), "{}", keys.pair.public);
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error, Failure::Configuration),
    }
}

fn fail(problem: &dyn Display, failure: Failure) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "metrics-collector: {problem}");
    status(failure)
}

/// The agent's exit statuses.
fn status(failure: Failure) -> ExitCode {
    match failure {
        Failure::Configuration => EXIT_CONFIG,
        Failure::Unavailable => EXIT_UNAVAILABLE,
        Failure::Bug => EXIT_SOFTWARE,
    }
    .into()
}
