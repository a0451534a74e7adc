//! The collector's command line; its manual page and completions are made from the same
//! definitions. What the values mean is decided in [`settings`](super::settings).

use std::ffi::OsString;

use clap::{Parser, Subcommand, ValueHint};

use super::keys_command;
use super::settings::Given;

/// Receive the metrics that agents report over CurveZMQ.
#[derive(Debug, Parser)]
#[command(
    name = "metrics-collector",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Each option has a variable, too: --ping-interval is METRICS_COLLECTOR_PING_INTERVAL."
)]
pub struct Arguments {
    /// Listen at this address and port, `*` for all of this host; port 0 takes a free one,
    /// which the log names [default: *:5556].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<OsString>,

    /// Use the key pair in this file instead of looking for `collector.key_secret` among the
    /// unit's credentials, in /etc/metrics-agent/curve and in the state directory (by hand
    /// ~/.curve), where one is made at the first start.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    key_file: Option<OsString>,

    /// Print the public key that agents need, and end.
    #[arg(long)]
    pub public_key: bool,

    /// Write each message to standard output, as one line of JSON. Ends when its reader does.
    #[arg(long)]
    print: bool,

    /// How often each host is pinged, 100ms to 1min [default: 5s].
    #[arg(long, value_name = "TIME")]
    ping_interval: Option<OsString>,

    /// After how long a silent host is given up, 1s to 2h [default: 30s].
    #[arg(long, value_name = "TIME")]
    host_timeout: Option<OsString>,

    /// Whose keys may report: any, or those of a directory of authorized agents, see keys
    /// [default: any].
    #[arg(long, value_name = "any|directory")]
    authorized: Option<OsString>,

    /// A host name belongs to the key that first reported under it.
    #[arg(long)]
    pin_names: bool,

    /// The least important messages that are logged: err, warning, info or debug
    /// [default: info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<OsString>,

    /// Something else to do than to collect.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What else there is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the keys that came, let keys in, and shut them out.
    Keys(keys_command::Arguments),
}

impl Arguments {
    /// What the settings are read from.
    #[must_use]
    pub fn given(&self) -> Given {
        Given {
            listen: self.listen.clone(),
            key_file: self.key_file.clone(),
            print: self.print,
            ping_interval: self.ping_interval.clone(),
            host_timeout: self.host_timeout.clone(),
            authorized: self.authorized.clone(),
            pin_names: self.pin_names,
            log_level: self.log_level.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_option_reaches_its_setting() {
        let words = "metrics-collector --listen=a --key-file=b --print --ping-interval=c \
                     --host-timeout=d --authorized=f --pin-names --log-level=e";
        let arguments = Arguments::try_parse_from(words.split_whitespace()).unwrap();
        let given = Given {
            listen: Some("a".into()),
            key_file: Some("b".into()),
            print: true,
            ping_interval: Some("c".into()),
            host_timeout: Some("d".into()),
            authorized: Some("f".into()),
            pin_names: true,
            log_level: Some("e".into()),
        };
        assert_eq!(arguments.given(), given);
        assert!(!arguments.public_key);
    }
}
