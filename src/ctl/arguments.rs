//! The command line; manual page and completion are made from the same definitions.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

/// Look at and adjust the metrics agent.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "metrics-agentctl",
    version,
    max_term_width = 100,
    after_help = "Exit status: 0 on success, 1 on failure, 3 if \"status\" finds no agent running."
)]
pub struct Arguments {
    /// The bus that the agent is on.
    #[arg(
        long,
        global = true,
        value_name = "BUS",
        help = "The bus that the agent is on: system, session, or a D-Bus address such as \
                unix:path=… [env: METRICS_AGENT_DBUS__BUS] [default: system]"
    )]
    pub(super) bus: Option<String>,

    /// Print JSON, on one line or indented; names and units are those of the D-Bus interface
    #[arg(long, global = true, value_name = "FORM")]
    pub(super) json: Option<Json>,

    /// Do not pipe output into a pager
    #[arg(long, global = true)]
    pub(super) no_pager: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

impl Arguments {
    /// The command; status where none is given.
    pub(super) fn chosen(&self) -> Command {
        self.command.clone().unwrap_or(Command::Status)
    }
}

/// A form of JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Json {
    /// One line each
    Short,
    /// Indented
    Pretty,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(super) enum Command {
    /// Show what the agent is doing (the default)
    Status,

    /// Show the connections to collectors
    Connections,

    /// Sample the host once and show the values, without sending them
    Metrics {
        /// What rarely changes (a model message) instead of what does
        #[arg(long)]
        model: bool,

        /// Again and again, once in a metrics interval
        #[arg(long)]
        watch: bool,
    },

    /// Set the time between two metrics messages, 100ms to 1h
    SetInterval {
        /// Such as 5s, 500ms or 1min
        #[arg(value_parser = humantime::parse_duration)]
        time: Duration,

        /// Also after a restart, until "revert"
        #[arg(long)]
        persistent: bool,
    },

    /// Set the silence after which a connection is stale, 1s to 1h
    SetStale {
        /// Such as 30s or 2min
        #[arg(value_parser = humantime::parse_duration)]
        time: Duration,

        /// Also after a restart, until "revert"
        #[arg(long)]
        persistent: bool,
    },

    /// Drop everything that was set at run time: what the files say holds again
    Revert,

    /// Close every connection, or one, and open it anew
    Reconnect {
        /// Its name in the configuration
        connection: Option<String>,
    },

    /// Read the configuration again
    Reload,

    /// Enable metric collectors until the next start or revert
    Enable {
        /// Their names, as "status" shows them
        #[arg(required = true, value_name = "COLLECTOR")]
        collectors: Vec<String>,
    },

    /// Disable metric collectors until the next start or revert
    Disable {
        /// Their names, as "status" shows them
        #[arg(required = true, value_name = "COLLECTOR")]
        collectors: Vec<String>,
    },

    /// Show or set how much the agent logs
    LogLevel {
        /// emerg, alert, crit, err, warning, notice, info or debug
        level: Option<String>,
    },

    /// Show changes of the connections' states as they come
    Monitor,

    /// Show the agent's public key, for a collector's list of agents
    PublicKey {
        /// Of this key file, public or secret, instead of the running agent's
        #[arg(long)]
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
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
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
        for (words, seconds) in [("5s", 5.0), ("500ms", 0.5), ("1min", 60.0), ("1h", 3600.0)] {
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
    fn options_go_before_or_after_the_command() {
        for words in ["--json=pretty metrics", "metrics --json pretty"] {
            let words = words.split_whitespace();
            let all = std::iter::once("metrics-agentctl").chain(words);
            let arguments = Arguments::try_parse_from(all).unwrap();
            assert_eq!(arguments.json, Some(Json::Pretty));
        }
    }
}
