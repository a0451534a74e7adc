//! `metrics-collector`: the other end of the agents' connections. Parses its arguments,
//! calls the library, chooses the exit status.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use metrics_agent::durable::owner;
use metrics_agent::exit::{self, EXIT_CONFIG, EXIT_SOFTWARE, EXIT_UNAVAILABLE};
use metrics_agent::server::arguments::{Arguments, Command};
use metrics_agent::server::keys_command;
use metrics_agent::server::settings::{self, Sources};
use metrics_agent::server::start::{self, Failure};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::Keys(arguments)) = &arguments.command {
        return match keys_command::run(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                complain(&failure);
                failure.status().into()
            }
        };
    }
    if arguments.check_config || arguments.print_config || arguments.public_key {
        return examine(&arguments, &sources_of(&arguments));
    }
    // Before all that takes time: a SIGHUP must not end the process.
    let dawn = match start::begin() {
        Ok(dawn) => dawn,
        Err(error) => {
            complain(&format_args!("cannot start the event loop: {error}"));
            return EXIT_SOFTWARE.into();
        }
    };
    let sources = sources_of(&arguments);
    // Before there is a second thread, and before anything is touched there.
    let settled = sources
        .places
        .state
        .as_deref()
        .map(owner::settle)
        .transpose();
    let settled = match settled {
        Ok(settled) => settled.flatten(),
        Err(error) => {
            complain(&format_args!("cannot give root's rights up: {error}"));
            return EXIT_UNAVAILABLE.into();
        }
    };
    let log = match start::install_log() {
        Ok(log) => log,
        Err(error) => {
            complain(&error);
            return EXIT_SOFTWARE.into();
        }
    };
    exit::end_at_a_bug(log.clone());
    if let (Some(owner), Some(directory)) = (settled, &sources.places.state) {
        owner::say_settled(owner, directory);
    }
    let ended = start::run(dawn, sources, arguments.print, &log);
    log.finish();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => match failure {
            Failure::Configuration => EXIT_CONFIG,
            Failure::Unavailable => EXIT_UNAVAILABLE,
            Failure::Bug => EXIT_SOFTWARE,
        }
        .into(),
    }
}

/// Where settings come from.
fn sources_of(arguments: &Arguments) -> Sources {
    let mut sources = Sources::of_process();
    // A reload and whoever reads ConfigurationFiles must not depend on where we were started.
    sources.config_file = arguments
        .config
        .as_ref()
        .map(|file| std::path::absolute(file).unwrap_or_else(|_| file.clone()));
    sources.command_line = arguments.given();
    sources
}

/// `--check-config`, `--print-config` and `--public-key`.
fn examine(arguments: &Arguments, sources: &Sources) -> ExitCode {
    let loaded = match settings::load(sources) {
        Ok(loaded) => loaded,
        Err(error) => {
            for problem in error.problems() {
                complain(problem);
            }
            return EXIT_CONFIG.into();
        }
    };
    let text = if arguments.print_config {
        settings::print::effective(&loaded)
    } else if arguments.check_config {
        String::from("The configuration is valid.\n")
    } else {
        match loaded.keys.or_make() {
            Ok(keys) => format!("{}\n", keys.pair.public),
            Err(error) => {
                complain(&error);
                return EXIT_CONFIG.into();
            }
        }
    };
    // A reader that has gone (`| head`) needs no complaint.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn complain(problem: &dyn Display) {
    let _ = writeln!(std::io::stderr(), "metrics-collector: {problem}");
}
