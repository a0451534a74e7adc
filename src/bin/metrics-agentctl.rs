//! `metrics-agentctl`: looks at and adjusts the agent. Parses its arguments, calls the
//! library, chooses the exit status.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use metrics_agent::base::locale::shown;
use metrics_agent::base::text;
use metrics_agent::ctl;

fn main() -> ExitCode {
    let arguments = match ctl::arguments::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            // As systemctl: 1 for a wrong command line, 0 where help was asked for.
            return if error.use_stderr() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    match ctl::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.to_string();
            let _ = writeln!(std::io::stderr(), "{}", shown(&text::lines(&text)));
            failure.exit_code()
        }
    }
}
