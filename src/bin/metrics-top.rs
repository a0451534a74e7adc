//! `metrics-top`: the fleet on a terminal. Parses its arguments, calls the library, chooses
//! the exit status.

use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use metrics_agent::base;
use metrics_agent::base::exit::{EXIT_CONFIG, EXIT_SOFTWARE, EXIT_UNAVAILABLE};
use metrics_agent::collector::local;
use metrics_agent::top::arguments::Arguments;
use metrics_agent::top::keys::Places;
use metrics_agent::top::start::{self, Failure};
use metrics_agent::top::terminal;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.complete_names {
        let places = Places::of(|name| std::env::var_os(name));
        for name in places.remembered() {
            // A reader that has gone needs no complaint.
            let _ = writeln!(std::io::stdout(), "{name}");
        }
        return ExitCode::SUCCESS;
    }
    terminal::end_at_a_bug();
    match start::run(&arguments, local::from_files) {
        Ok(text) => {
            // A reader that has gone (`| head`) needs no complaint.
            let _ = write!(std::io::stdout(), "{text}");
            ExitCode::SUCCESS
        }
        Err(failure) => fail(&failure),
    }
}

fn fail(failure: &Failure) -> ExitCode {
    complain(failure);
    match failure {
        Failure::NoTerminal | Failure::Terminal(_) => ExitCode::FAILURE,
        Failure::Keys(_) | Failure::NoViewers(_) => EXIT_CONFIG.into(),
        Failure::Unavailable(_) => EXIT_UNAVAILABLE.into(),
        Failure::Runtime(_) => EXIT_SOFTWARE.into(),
    }
}

fn complain(problem: &dyn Display) {
    base::terminal::complain("metrics-top", problem);
}
