//! `metrics-collector`: the other end of the agents' connections. Parses its arguments,
//! calls the library, chooses the exit status.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;
use metrics_agent::exit::{self, EXIT_CONFIG, EXIT_SOFTWARE, EXIT_UNAVAILABLE};
use metrics_agent::server::settings::{Given, Settings};
use metrics_agent::server::start::{self, Failure};
use metrics_agent::systemd::log::{LogControl, Target};

/// Receive the metrics that agents report over CurveZMQ.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Each option has a variable, too: --ping-interval is METRICS_COLLECTOR_PING_INTERVAL."
)]
struct Arguments {
    /// Listen at this address and port, `*` for all of this host; port 0 takes a free one,
    /// which the log names [default: *:5556].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<OsString>,

    /// Use the key pair in this file instead of looking for `collector.key_secret` among the
    /// unit's credentials, in /etc/metrics-agent/curve and in the state directory (by hand
    /// ~/.curve), where one is made at the first start.
    #[arg(long, value_name = "FILE")]
    key_file: Option<OsString>,

    /// Print the public key that agents need, and end.
    #[arg(long)]
    public_key: bool,

    /// Write each message to standard output, as one line of JSON. Ends when its reader does.
    #[arg(long)]
    print: bool,

    /// How often each host is pinged, 100ms to 1min [default: 5s].
    #[arg(long, value_name = "TIME")]
    ping_interval: Option<OsString>,

    /// After how long a silent host is given up, 1s to 2h [default: 30s].
    #[arg(long, value_name = "TIME")]
    host_timeout: Option<OsString>,

    /// The least important messages that are logged: err, warning, info or debug
    /// [default: info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<OsString>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let given = Given {
        listen: arguments.listen,
        key_file: arguments.key_file,
        print: arguments.print,
        ping_interval: arguments.ping_interval,
        host_timeout: arguments.host_timeout,
        log_level: arguments.log_level,
    };
    let settings = match Settings::read(&given, std::env::vars_os()) {
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
