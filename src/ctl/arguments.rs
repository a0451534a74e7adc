//! The command line; manual page and completion are made from the same definitions.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum, ValueHint};

use super::choice::Choice;
use crate::config::{self, LogLevel, parse_time};
use crate::protocol::{METRICS_INTERVAL, STALE_INTERVAL};

/// How often `metrics --watch` may ask: as often and as rarely as an agent may report.
const WATCH_INTERVAL: RangeInclusive<Duration> =
    Duration::from_millis(100)..=Duration::from_secs(3600);

/// Look at and adjust the metrics agent.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "metrics-agentctl",
    version,
    max_term_width = 100,
    after_help = "\
Exit status: 0 on success, 1 on failure, 3 if \"status\" finds no agent running.

Environment: SYSTEMD_PAGER, PAGER, SYSTEMD_LESS, SYSTEMD_PAGERSECURE, SYSTEMD_COLORS, NO_COLOR and \
COLUMNS are understood as systemctl does; METRICS_AGENT_DBUS__BUS names the bus; TZ the time zone."
)]
pub struct Arguments {
    /// The bus that the agent is on.
    #[arg(
        long,
        global = true,
        value_name = "BUS",
        help = "The bus that the agent is on: system, session, or a D-Bus address such as \
                unix:path=/PATH [env: METRICS_AGENT_DBUS__BUS] [default: system]"
    )]
    pub(super) bus: Option<String>,

    /// Print JSON, on one line or indented; names and units are those of the D-Bus interface
    #[arg(long, global = true, value_name = "FORM")]
    json: Option<Json>,

    /// Do not pipe output into a pager
    #[arg(long, global = true)]
    pub(super) no_pager: bool,

    /// Do not shorten lines to the width of the terminal
    #[arg(short = 'l', long, global = true)]
    pub(super) full: bool,

    /// Lines of the log that "status" shows; 0 for none
    #[arg(
        short = 'n',
        long,
        global = true,
        value_name = "NUMBER",
        default_value_t = 10
    )]
    pub(super) lines: u32,

    /// Do not ask for a password where polkit wants one
    #[arg(long, global = true)]
    pub(super) no_ask_password: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

impl Arguments {
    /// The command; status where none is given.
    pub(super) fn chosen(&self) -> Command {
        self.command.clone().unwrap_or(Command::Status)
    }

    /// The form of JSON, where it is JSON that is wanted.
    pub(super) fn json(&self) -> Option<Json> {
        self.json.filter(|form| *form != Json::Off)
    }
}

/// A form of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Json {
    /// One line each
    Short,
    /// Indented
    Pretty,
    /// Text for people
    Off,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum Command {
    /// Show what the agent is doing, and its last log lines (the default)
    ///
    /// The log is that of the unit that the agent runs in, and shown to those who may read the
    /// journal: root and the groups adm and systemd-journal.
    Status,

    /// Show the connections to collectors
    Connections,

    /// Sample the host once and show the values, without sending them
    Metrics {
        /// Shell patterns for names and, in brackets, for instances.
        #[arg(
            value_name = "PATTERN",
            help = "Only these metrics: the first parts of a name, such as mem or disk.read, or \
                    shell patterns for the name and, in brackets, for the instance, such as \
                    'fs.*[/home*]' or 'unit.*[nginx*]'"
        )]
        choices: Vec<Choice>,

        /// Show what rarely changes (the model) instead of the metrics
        #[arg(long)]
        model: bool,

        /// Refresh the values until Ctrl-C or q
        ///
        /// On a terminal the values are refreshed in place; the keys of less(1) scroll. Elsewhere
        /// each refresh is a block that begins with a line for its time, or a line of JSON. An
        /// agent that leaves is waited for.
        #[arg(long)]
        watch: bool,

        /// Time between two refreshes, 100ms to 1h [default: the agent's metrics interval]
        #[arg(long, value_name = "TIME", requires = "watch", value_parser = watch_interval)]
        interval: Option<Duration>,
    },

    /// Set the time between two metrics messages, 100ms to 1h
    SetInterval {
        /// Such as 5s, 500ms or 1min; a bare number is seconds
        #[arg(value_parser = within(METRICS_INTERVAL))]
        time: Duration,

        /// Keep it over restarts, until "revert"
        #[arg(long)]
        persistent: bool,
    },

    /// Set how long a collector may be silent before its connection is stale, 1s to 1h
    SetStale {
        /// Such as 30s or 2min; a bare number is seconds
        #[arg(value_parser = within(STALE_INTERVAL))]
        time: Duration,

        /// Keep it over restarts, until "revert"
        #[arg(long)]
        persistent: bool,
    },

    /// Undo everything that was set at run time: the settings of the files are in force again
    Revert,

    /// Close every connection, or one, and open it again
    Reconnect {
        /// Its name in the configuration
        #[arg(value_hint = ValueHint::Other)]
        connection: Option<String>,
    },

    /// Read the configuration again
    Reload,

    /// Enable sources until the next start or revert
    Enable {
        /// Their names, as "status" shows them
        #[arg(required = true, value_name = "SOURCE", value_hint = ValueHint::Other)]
        sources: Vec<String>,
    },

    /// Disable sources until the next start or revert
    Disable {
        /// Their names, as "status" shows them
        #[arg(required = true, value_name = "SOURCE", value_hint = ValueHint::Other)]
        sources: Vec<String>,
    },

    /// Show or set how much the agent logs
    LogLevel {
        /// The least important messages to log, in the words of the settings or of syslog(3)
        #[arg(value_parser = LogLevel::WORDS)]
        level: Option<String>,
    },

    /// Show changes of the connections' states, and samples that are lost, as they come, until Ctrl-C
    ///
    /// Begins with the present states. If the agent ends, waits until it is back; a line says each.
    Monitor,

    /// Show the agent's public key, for a collector's list of agents
    PublicKey {
        /// Of this key file, public or secret, instead of the running agent's
        #[arg(long, value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },

    /// Make a new CURVE key pair, two files; never overwrites one
    Keygen {
        /// What the files are called.
        #[arg(
            long,
            default_value = "agent",
            help = "What the files are called: NAME.key and NAME.key_secret"
        )]
        name: String,

        /// Where they go [default: ~/.curve]
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        directory: Option<PathBuf>,
    },

    /// Print names for the shell to complete, one a line; nothing where no agent answers
    #[command(hide = true)]
    CompleteNames {
        /// Of what
        kind: Names,

        /// Metrics of the model
        #[arg(long)]
        model: bool,

        /// What is typed already
        #[arg(allow_hyphen_values = true)]
        typed: Option<String>,
    },
}

/// What the running agent has names for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Names {
    /// What "reconnect" takes
    Connections,
    /// What "enable" takes: those that are disabled
    Disabled,
    /// What "disable" takes: those that are enabled
    Enabled,
    /// What "metrics" takes
    Metrics,
    /// What "log-level" takes
    Levels,
}

fn a_time(text: &str) -> Result<Duration, String> {
    parse_time(text).map_err(|_| "expected a time such as 5s, 500ms or 1min".to_owned())
}

/// A time that the agent would take, so that another one is refused where there is no agent, too.
fn within(
    range: RangeInclusive<Duration>,
) -> impl Fn(&str) -> Result<Duration, String> + Clone + Send + Sync + 'static {
    move |text| config::within(a_time(text)?, range.clone()).map_err(|error| error.to_string())
}

fn watch_interval(text: &str) -> Result<Duration, String> {
    let time = a_time(text)?;
    if WATCH_INTERVAL.contains(&time) {
        Ok(time)
    } else {
        Err("expected 100ms to 1h".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn command(words: &str) -> Command {
        let words = words.split_whitespace();
        let program = std::iter::once("metrics-agentctl");
        Arguments::try_parse_from(program.chain(words))
            .unwrap()
            .chosen()
    }

    #[test]
    fn the_definitions_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn status_is_the_default() {
        assert_eq!(command(""), Command::Status);
        assert_eq!(command("--no-pager"), Command::Status);
    }

    #[test]
    fn times_are_as_people_write_them() {
        for (words, seconds) in [
            ("5s", 5.0),
            ("500ms", 0.5),
            ("1min", 60.0),
            ("1h", 3600.0),
            // As in the settings.
            ("10", 10.0),
        ] {
            assert_eq!(
                command(&format!("set-interval {words} --persistent")),
                Command::SetInterval {
                    time: Duration::from_secs_f64(seconds),
                    persistent: true
                }
            );
        }
        let words = ["metrics-agentctl", "set-stale", "soon"];
        let error = Arguments::try_parse_from(words).unwrap_err();
        assert!(error.to_string().contains("soon"), "{error}");
    }

    #[test]
    fn every_level_of_the_settings_can_be_set() {
        for level in crate::config::LogLevel::ALL {
            let level = level.as_str().to_owned();
            let parsed = command(&format!("log-level {level}"));
            assert_eq!(parsed, Command::LogLevel { level: Some(level) });
        }
        for level in LogLevel::WORDS {
            let level = level.to_owned();
            let parsed = command(&format!("log-level {level}"));
            let expected = Some(level.clone());
            assert_eq!(parsed, Command::LogLevel { level: expected });
            assert!(crate::systemd::log::parse_level(&level).is_ok(), "{level}");
        }
    }

    #[test]
    fn help_is_ascii() {
        let mut command = Arguments::command();
        command.build();
        let help = command.render_long_help().to_string();
        assert!(help.is_ascii(), "{help}");
        for command in command.get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.is_ascii(), "{help}");
        }
    }

    #[test]
    fn options_go_before_or_after_the_command() {
        for words in ["--json=pretty metrics", "metrics --json pretty"] {
            let words = words.split_whitespace();
            let all = std::iter::once("metrics-agentctl").chain(words);
            let arguments = Arguments::try_parse_from(all).unwrap();
            assert_eq!(arguments.json(), Some(Json::Pretty));
        }
        let arguments = Arguments::try_parse_from(["metrics-agentctl", "--json=off"]).unwrap();
        assert_eq!(arguments.json(), None);
    }

    #[test]
    fn the_log_has_ten_lines_as_systemctls() {
        let lines = |words: &[&str]| {
            let all = std::iter::once(&"metrics-agentctl").chain(words);
            Arguments::try_parse_from(all).unwrap().lines
        };
        assert_eq!(lines(&[]), 10);
        assert_eq!(lines(&["-n0"]), 0);
        assert_eq!(lines(&["status", "--lines", "25"]), 25);
    }

    #[test]
    fn only_a_watch_has_an_interval_and_a_sane_one() {
        assert_eq!(
            command("metrics --watch --interval 500ms"),
            Command::Metrics {
                choices: Vec::new(),
                model: false,
                watch: true,
                interval: Some(Duration::from_millis(500))
            }
        );
        for (words, expected) in [
            ("metrics --interval 1s", "--watch"),
            ("metrics --watch --interval 1ms", "expected 100ms to 1h"),
            ("metrics --watch --interval 2h", "expected 100ms to 1h"),
            ("log-level loud", "emerg"),
            ("set-interval 2h", "2h is not between 100ms and 1h"),
            ("set-interval 0", "0s is not between 100ms and 1h"),
            ("set-stale 500ms", "500ms is not between 1s and 1h"),
            ("set-stale 5x", "expected a time such as 5s, 500ms or 1min"),
            ("metrics fs.[/home", "'fs.avail[/home*]'"),
        ] {
            let words = words.split_whitespace();
            let all = std::iter::once("metrics-agentctl").chain(words);
            let error = Arguments::try_parse_from(all).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
