//! The collector's command line; its manual page and completions are made from the same
//! definitions. What the values mean is decided in [`settings`](super::settings).

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand, ValueHint};

use super::hosts_command;
use super::keys_command;
use super::settings::Given;
use crate::config::service::words_of_unit;

/// Receive the metrics that agents report over CurveZMQ.
#[derive(Debug, Parser)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of the command line"
)]
#[command(
    name = "metrics-collector",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Options override the settings of the files and the environment, see \
                  metrics-collector.toml(5)."
)]
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

    /// Print every setting in force and where it comes from, and end.
    #[arg(long)]
    pub print_config: bool,

    /// Print the public key that agents need, and end: the key of the running service, or else of
    /// the key pair that is there. No key is made.
    #[arg(long)]
    pub public_key: bool,

    /// Write each message to standard output, as one line of JSON. Ends when its reader does.
    #[arg(long)]
    pub print: bool,

    /// Listen for agents at this address and port, `*` for all of this host; port 0 takes a free
    /// one, which the log names [default: *:5556].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,

    /// Listen for viewers there, or nowhere: none [default: *:5557].
    #[arg(long, value_name = "ADDRESS")]
    viewers_listen: Option<String>,

    /// Serve metrics over HTTP there, or nowhere: none [default: 127.0.0.1:9650].
    #[arg(long, value_name = "ADDRESS")]
    web_listen: Option<String>,

    /// Use the key pair in this file. Otherwise `collector.key_secret` is looked for among the
    /// unit's credentials, in /etc/metrics-collector/curve and in the state directory (by hand
    /// ~/.curve); if there is none, the first start makes it there.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    key_file: Option<String>,

    /// Accept the reports of any agent, or only of agents whose key is in the directory of
    /// authorized agents [default: any].
    #[arg(long, value_name = "any|directory")]
    authorized: Option<String>,

    /// Keep a host's name for the key that first reported under it.
    #[arg(long)]
    pin_names: bool,

    /// How often each host is pinged, 100ms to 1min [default: 5s].
    #[arg(long, value_name = "TIME")]
    ping_interval: Option<String>,

    /// After how long a silent host is gone, 1s to 2h [default: 30s].
    #[arg(long, value_name = "TIME")]
    host_timeout: Option<String>,

    /// The least important messages that are logged: error, warning, info, debug or trace, or
    /// emerg, alert, crit, err, warn or notice as in syslog(3) [default: info].
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,

    /// The message bus to be on: system, session, none or an address [default: system].
    #[arg(long, value_name = "BUS")]
    bus: Option<String>,

    /// Something else to do than to collect.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What else there is to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the keys that have connected, let keys in, and shut them out.
    Keys(keys_command::Arguments),
    /// Show the hosts that are known and which of them are gone, and forget some.
    Hosts(hosts_command::Arguments),
    /// Print names for the shell to complete, one a line.
    #[command(hide = true)]
    CompleteNames(keys_command::NamesWanted),
}

impl Arguments {
    /// The options of the unit's command, whose relative paths begin in this directory.
    ///
    /// # Errors
    ///
    /// Why the service does not start with them.
    pub fn of_unit(words: &[String], directory: &Path) -> Result<Self, String> {
        let mut arguments: Self = words_of_unit("metrics-collector", words)?;
        if arguments.check_config
            || arguments.print_config
            || arguments.public_key
            || arguments.command.is_some()
        {
            return Err("with a command or an option that only tells, it is no service".to_owned());
        }
        arguments.config = arguments.config.map(|file| directory.join(file));
        let key_file = arguments.key_file.map(|file| {
            let path = directory.join(&file).into_os_string();
            path.into_string().unwrap_or(file)
        });
        arguments.key_file = key_file;
        Ok(arguments)
    }

    /// Returns true if another key file than the service's is named.
    #[must_use]
    pub fn names_a_key_file(&self) -> bool {
        self.key_file.is_some()
    }

    /// The settings that the command line has.
    #[must_use]
    pub fn given(&self) -> Vec<Given> {
        // A key file on the command line is where the shell is.
        let key_file = self.key_file.as_ref().map(|file| {
            let absolute = std::path::absolute(Path::new(file)).ok();
            let text = absolute.and_then(|path| path.to_str().map(str::to_owned));
            text.unwrap_or_else(|| file.clone())
        });
        let pin_names = self.pin_names.then(|| "true".to_owned());
        [
            ("listen", "listen.agents", &self.listen),
            ("viewers-listen", "listen.viewers", &self.viewers_listen),
            ("web-listen", "listen.web", &self.web_listen),
            ("key-file", "curve.secret_key_file", &key_file),
            ("authorized", "agents.authorized", &self.authorized),
            ("pin-names", "agents.pin_names", &pin_names),
            ("ping-interval", "hosts.ping_interval", &self.ping_interval),
            ("host-timeout", "hosts.timeout", &self.host_timeout),
            ("log-level", "log.level", &self.log_level),
            ("bus", "dbus.bus", &self.bus),
        ]
        .into_iter()
        .filter_map(|(option, key, text)| {
            let text = text.clone()?;
            Some(Given {
                option,
                key,
                text,
                unit: None,
            })
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::collector::settings::COLLECTOR;
    use crate::config::LogLevel;

    #[test]
    fn the_definitions_are_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_help_has_every_word_of_a_level() {
        let command = Arguments::command();
        let mut options = command.get_arguments();
        let level = options.find(|one| one.get_id() == "log_level").unwrap();
        let help = level.get_help().unwrap().to_string();
        let words: Vec<_> = help.split(|next: char| !next.is_alphanumeric()).collect();
        for word in LogLevel::WORDS {
            assert!(words.contains(&word), "{word}: {help}");
        }
    }

    #[test]
    fn every_option_reaches_its_setting() {
        let words = "metrics-collector --listen=a --viewers-listen=b --web-listen=c \
                     --key-file=/d --authorized=e --pin-names --ping-interval=f \
                     --host-timeout=g --log-level=h --bus=i";
        let arguments = Arguments::try_parse_from(words.split_whitespace()).unwrap();
        let given = arguments.given();
        let found: Vec<_> = given
            .iter()
            .map(|given| format!("--{} {}={}", given.option, given.key, given.text))
            .collect();
        assert_eq!(
            found,
            [
                "--listen listen.agents=a",
                "--viewers-listen listen.viewers=b",
                "--web-listen listen.web=c",
                "--key-file curve.secret_key_file=/d",
                "--authorized agents.authorized=e",
                "--pin-names agents.pin_names=true",
                "--ping-interval hosts.ping_interval=f",
                "--host-timeout hosts.timeout=g",
                "--log-level log.level=h",
                "--bus dbus.bus=i",
            ]
        );
        for given in given {
            let known = COLLECTOR.settings.iter().any(|one| one.key == given.key);
            assert!(known, "{}", given.key);
        }
        let words = ["metrics-collector", "--key-file", "keys/mine"];
        let arguments = Arguments::try_parse_from(words).unwrap();
        let expected = std::env::current_dir().unwrap().join("keys/mine");
        assert_eq!(Path::new(&arguments.given()[0].text), expected);
    }

    #[test]
    fn the_options_of_a_unit_are_those_of_a_service() {
        let of_unit = |words: &[&str]| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            Arguments::of_unit(&words, Path::new("/"))
        };
        let arguments = of_unit(&["--config=srv/x.toml", "--key-file", "srv/k"]).unwrap();
        assert_eq!(arguments.config.as_deref(), Some(Path::new("/srv/x.toml")));
        let texts: Vec<_> = arguments.given().into_iter().map(|one| one.text).collect();
        assert_eq!(texts, ["/srv/k"]);
        assert_eq!(
            of_unit(&["--no-such", "x"]).unwrap_err(),
            "unexpected argument '--no-such' found"
        );
        for words in [&["keys", "list"][..], &["--public-key"], &["--help"]] {
            let error = of_unit(words).unwrap_err();
            assert!(error.ends_with("is no service"), "{error}");
        }
    }

    #[test]
    fn checking_and_printing_exclude_each_other() {
        let words = ["metrics-collector", "--check-config", "--print-config"];
        let error = Arguments::try_parse_from(words).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict);
    }
}
