//! The daemon's command line; its manual page and completions are made from the same
//! definitions.

use std::path::{Path, PathBuf};

use clap::{Parser, ValueHint};

use crate::config::service::words_of_unit;

/// Report this host's metrics to a collector over CurveZMQ.
#[derive(Debug, Parser)]
#[command(name = "metrics-agent", version, max_term_width = 100)]
pub struct Arguments {
    /// Read this file (NAME.toml, and NAME.d/*.toml beside it) instead of those under /etc and
    /// /usr/lib.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,

    /// Check the settings and keys, say what is wrong, and end: 0 where they are valid, else 78.
    /// As root, as the service will find them: with its user's rights, its sandbox, and what its
    /// unit gives it.
    #[arg(long, conflicts_with = "print_config")]
    pub check_config: bool,

    /// Print every setting and where it comes from, first those that differ in the running
    /// agent, and end.
    #[arg(long)]
    pub print_config: bool,

    /// Report to this collector (host name or address, with or without port) instead of those
    /// configured; its public key is looked for as collector.key, by hand in ~/.curve.
    #[arg(value_hint = ValueHint::Hostname)]
    pub collector: Option<String>,
}

impl Arguments {
    /// The options of the unit's command, whose relative paths begin in this directory.
    ///
    /// # Errors
    ///
    /// Why the service does not start with them.
    pub fn of_unit(words: &[String], directory: &Path) -> Result<Self, String> {
        let mut arguments: Self = words_of_unit("metrics-agent", words)?;
        if arguments.check_config || arguments.print_config {
            return Err("with --check-config or --print-config it is no service".to_owned());
        }
        arguments.config = arguments.config.map(|file| directory.join(file));
        Ok(arguments)
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
    fn checking_and_printing_exclude_each_other() {
        let words = ["metrics-agent", "--check-config", "--print-config"];
        let error = Arguments::try_parse_from(words).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict);
        let words = ["metrics-agent", "--check-config", "host:1"];
        let arguments = Arguments::try_parse_from(words).unwrap();
        assert_eq!(arguments.collector.as_deref(), Some("host:1"));
    }

    #[test]
    fn the_options_of_a_unit_are_those_of_a_service() {
        let of_unit = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            Arguments::of_unit(&words, Path::new("/srv"))
        };
        let arguments = of_unit(&["--config", "x.toml", "host:1"]).unwrap();
        assert_eq!(arguments.config.as_deref(), Some(Path::new("/srv/x.toml")));
        assert_eq!(arguments.collector.as_deref(), Some("host:1"));
        assert_eq!(
            of_unit(&["--colector", "x"]).unwrap_err(),
            "unexpected argument '--colector' found"
        );
        for words in ["--check-config", "--print-config", "--help", "--version"] {
            let error = of_unit(&[words]).unwrap_err();
            assert!(error.ends_with("is no service"), "{error}");
        }
    }
}
