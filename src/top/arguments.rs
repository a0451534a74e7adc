//! The command line; manual page and completions are made from the same definitions.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueHint};

use super::keys::Given;
use super::sort::Column;
use crate::curve::endpoint::{Endpoint, Host};

/// Where viewers expect a collector.
const PORT: std::num::NonZeroU16 = std::num::NonZeroU16::new(5557).unwrap();

/// How long `--once` may wait: long enough for one message of hosts that report every
/// minute, twice.
const WAIT: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);

/// Watch the hosts that report to a metrics collector.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "metrics-top",
    version,
    max_term_width = 100,
    after_help = "\
Press ? for the keys.

Exit status: 0 on success, 69 if --once finds no collector in time or loses it before any host is known, 78 for keys that cannot be used.

Environment: NO_COLOR is understood (https://no-color.org); LC_ALL, LC_CTYPE and LANG say whether \
the terminal has more than ASCII."
)]
pub struct Arguments {
    /// The collector, HOST or HOST:PORT; an IPv6 address in brackets. Port 5557 where none is
    /// given [default: the collector of this host, whose address and key are found]
    #[arg(
        value_name = "HOST[:PORT]",
        value_parser = endpoint,
        value_hint = ValueHint::Hostname
    )]
    collector: Option<Endpoint>,

    /// The secret key file of this viewer [default: `~/.curve/viewer.key_secret`, made at the
    /// first start]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    key_file: Option<PathBuf>,

    /// The collector's public key, 40 Z85 characters; remembered once the collector has proved to
    /// have it
    // A dash is one of them, and may come first.
    #[arg(
        long,
        value_name = "KEY",
        allow_hyphen_values = true,
        conflicts_with = "public_key_file"
    )]
    public_key: Option<String>,

    /// The certificate with the collector's public key [default: what is remembered of the
    /// collector, or else ~/.curve/collector.key]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    public_key_file: Option<PathBuf>,

    /// Sort by this column at first
    #[arg(long, value_name = "COLUMN", value_enum, default_value_t = Column::State)]
    pub sort: Column,

    /// Show only hosts with this in their name
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub filter: String,

    /// Print the table once as plain text, and end: when every known host has reported, its file
    /// systems too, or --wait is over. On a terminal only the columns that fit are printed
    #[arg(long, visible_alias = "batch")]
    pub once: bool,

    /// How long --once waits at most, 1s to 5min
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = wait)]
    pub wait: Duration,

    /// Print the collectors that are remembered, for the shell to complete, one a line
    #[arg(long, hide = true)]
    pub complete_names: bool,
}

impl Arguments {
    /// The collector that is named.
    #[must_use]
    pub fn collector(&self) -> Option<&Endpoint> {
        self.collector.as_ref()
    }

    /// The one of this host, where it is not found.
    #[must_use]
    pub fn localhost() -> Endpoint {
        Endpoint::new(Host::Name("localhost".to_owned()), PORT)
    }

    /// What is said about keys.
    #[must_use]
    pub fn keys(&self) -> Given {
        Given {
            key_file: self.key_file.clone(),
            public_key: self.public_key.clone(),
            public_key_file: self.public_key_file.clone(),
        }
    }
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    Endpoint::parse(text, PORT).map_err(|error| error.to_string())
}

fn wait(text: &str) -> Result<Duration, String> {
    let time = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| "expected a time such as 15s or 1min".to_owned())?,
    };
    if WAIT.contains(&time) {
        Ok(time)
    } else {
        Err("expected a time from 1s to 5min".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(words: &str) -> Result<Arguments, String> {
        let words = std::iter::once("metrics-top").chain(words.split_whitespace());
        Arguments::try_parse_from(words).map_err(|error| error.to_string())
    }

    #[test]
    fn the_definitions_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_collector_is_at_the_viewers_port() {
        for (words, shown) in [
            ("c1.example.org", "c1.example.org:5557"),
            ("c1:6000", "c1:6000"),
            ("[::1]", "[::1]:5557"),
            ("tcp://10.0.0.1:5557", "10.0.0.1:5557"),
        ] {
            let arguments = parse(words).unwrap();
            assert_eq!(arguments.collector().unwrap().to_string(), shown);
        }
        assert_eq!(parse("").unwrap().collector(), None);
        assert_eq!(Arguments::localhost().to_string(), "localhost:5557");
        let error = parse("c1:0").unwrap_err();
        assert!(error.contains("from 1 to 65535"), "{error}");
    }

    #[test]
    fn every_option_is_read() {
        let words =
            "--key-file=a --public-key-file=b --sort=memory --filter=web --batch --wait=1min";
        let arguments = parse(words).unwrap();
        let keys = Given {
            key_file: Some("a".into()),
            public_key: None,
            public_key_file: Some("b".into()),
        };
        assert_eq!(arguments.keys(), keys);
        assert_eq!(arguments.sort, Column::Memory);
        assert_eq!(arguments.filter, "web");
        assert!(arguments.once);
        assert_eq!(arguments.wait, Duration::from_secs(60));
        assert!(parse("--public-key=a --public-key-file=b").is_err());
        let dash = parse("--public-key -z8@ c1").unwrap();
        assert_eq!(dash.keys().public_key.as_deref(), Some("-z8@"));
        assert_eq!(dash.collector().unwrap().to_string(), "c1:5557");
        assert!(parse("--wait=0").unwrap_err().contains("from 1s to 5min"));
        assert!(parse("--wait=soon").unwrap_err().contains("such as 15s"));
    }
}
