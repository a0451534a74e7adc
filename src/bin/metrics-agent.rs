//! `metrics-agent`: the daemon. Parses its arguments, calls the library, chooses the exit
//! status.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use metrics_agent::collectors;
use metrics_agent::config::{self, KeyPolicy, Sources};
use metrics_agent::daemon;
use metrics_agent::exit::{self, EXIT_CONFIG, EXIT_SOFTWARE};
use metrics_agent::systemd::log::{LogControl, Target};
use tracing_subscriber::filter::LevelFilter;

/// Report this host's metrics to a collector over CurveZMQ.
#[derive(Debug, Parser)]
#[command(version, about, max_term_width = 100)]
struct Arguments {
    /// Read this file (and FILE.d/*.toml beside it) instead of those under /etc and /usr/lib.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Check the settings and keys, say what is wrong, and end: 0 where they are valid, else 78.
    #[arg(long, conflicts_with = "print_config")]
    check_config: bool,

    /// Print every setting in force with where it came from, and end.
    #[arg(long)]
    print_config: bool,

    /// Report to this collector (host name or address, with or without port) instead of those
    /// configured; its public key is looked for as collector.key, by hand in ~/.curve.
    collector: Option<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let known: Vec<_> = collectors::definition::names().collect();
    let mut sources = Sources::from_environment(&known, &collectors::default_names());
    // A reload and whoever reads ConfigurationFiles must not depend on where we were started.
    sources.config_file = arguments
        .config
        .map(|file| std::path::absolute(&file).unwrap_or(file));
    sources.command_line.collector = arguments.collector;
    if arguments.check_config || arguments.print_config {
        return examine(&sources, arguments.print_config);
    }
    let log = match LogControl::install("metrics-agent", LevelFilter::INFO, Target::detect()) {
        Ok(log) => log,
        Err(error) => {
            complain(&error);
            return EXIT_SOFTWARE.into();
        }
    };
    exit::end_at_a_bug();
    match daemon::run(sources, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.into(),
    }
}

/// `--check-config` and `--print-config`.
fn examine(sources: &Sources, print: bool) -> ExitCode {
    match config::load(sources, KeyPolicy::ReadOnly) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                complain(warning);
            }
            let text = if print {
                config::print::effective(&loaded)
            } else {
                String::from("The configuration is valid.\n")
            };
            // A reader that has gone (`| head`) needs no complaint.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            for problem in error.problems() {
                complain(problem);
            }
            EXIT_CONFIG.into()
        }
    }
}

fn complain(problem: &dyn std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "metrics-agent: {problem}");
}
