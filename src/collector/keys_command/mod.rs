//! `metrics-collector keys`: which keys came, and who is let in.
//!
//! Reads and changes the same files as the collector, whether or not one runs: the allow
//! lists, which the collector watches, and the pins, which a running collector changes
//! itself on request. It refuses to guess: a host name that several keys have reported
//! under stands for none of them.

use std::cell::OnceCell;
use std::fmt::Display;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use clap::{Args, Subcommand};
use glob::Pattern;

use super::access::directory::Directories;
use super::access::state::{Action, KnownKeys, State};
use super::access::{Authorized, ListPlaces, Listener};
use super::keys::{Places, service_state};
use crate::base::pager::ListOptions;
use crate::base::{terminal, text};
use crate::curve::keys::PublicKey;

mod allow;
mod enforcement;
mod failure;
mod names;
mod overview;
mod reporting;
mod who;

use allow::Wanted;
use enforcement::warn_where_lists_do_not_count;
pub use failure::Failure;
use failure::refused_note;
pub use names::{NamesWanted, complete};
pub use reporting::unlisted;
use who::{Known, Resolved, WhoError};

/// How long a running collector may take to forget a name; it takes some milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take to bring its files up to date; those that are there are good enough.
const REFRESH: Duration = Duration::from_secs(3);

/// How often to check if it has.
const GLANCE: Duration = Duration::from_millis(20);

/// What is to be done about keys.
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the keys that have connected, the names of those that are let in, and the pinned
    /// host names.
    List(ListOptions),
    /// Let keys in: by themselves, by the host that reported with one, or all that report now.
    #[command(name = "allow")]
    Allow(Wanted),
    /// Shut keys out: by their files' names, by themselves, or by the hosts that reported with them.
    Revoke {
        /// A file's name without its ending, a public key, a host name, or a shell pattern for names
        /// of files and hosts.
        #[arg(value_name = "NAME|KEY|HOST|PATTERN", allow_hyphen_values = true)]
        who: String,
        /// A key of a viewer, not of an agent.
        #[arg(long)]
        viewer: bool,
    },
    /// Let a pinned host name go to the key that reports under it next, or all names of one key.
    #[command(
        override_usage = "metrics-collector keys forget <HOST>\n       metrics-collector keys forget --key <KEY>"
    )]
    Forget {
        /// The host name.
        #[arg(
            value_name = "HOST",
            allow_hyphen_values = true,
            required_unless_present = "key",
            conflicts_with = "key"
        )]
        host: Option<String>,
        /// All host names that are pinned for this key.
        #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
        key: Option<PublicKey>,
    },
}

/// Does it.
///
/// # Errors
///
/// [`Failure`]; nothing was changed then.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let site = Site::of_process()?;
    match &arguments.command {
        Command::List(form) => site.list(form),
        Command::Allow(wanted) => site.allow(wanted),
        Command::Revoke { who, viewer } => site.revoke(who, listener(*viewer)),
        Command::Forget { key: Some(key), .. } => site.forget_key(*key),
        Command::Forget { host, .. } => site.forget(host.as_deref().unwrap_or_default()),
    }
}

fn listener(viewer: bool) -> Listener {
    if viewer {
        Listener::Viewers
    } else {
        Listener::Agents
    }
}

/// Where everything is.
struct Site {
    places: ListPlaces,
    state: State,
    /// Whether a running collector has brought its files up to date for this command.
    refreshed: OnceCell<bool>,
}

impl Site {
    fn of_process() -> Result<Self, Failure> {
        let state = Places::of_process().state.ok_or(Failure::NoPlace)?;
        Ok(Self {
            places: ListPlaces::of_process(),
            state: State::new(state),
            refreshed: OnceCell::new(),
        })
    }

    /// Where the service keeps what this user may not see, and has nothing of its own to show instead.
    fn unseen_service(&self) -> Option<PathBuf> {
        let own = self.state.keys_file();
        service_state().filter(|service| !own.starts_with(service) && !own.exists())
    }

    /// # Errors
    ///
    /// [`Failure::NotReadable`], where what is asked for is the service's, and not for this user.
    fn may_see(&self) -> Result<(), Failure> {
        match self.unseen_service() {
            Some(path) if !self.state.is_owned() => Err(Failure::NotReadable(text::path(&path))),
            _ => Ok(()),
        }
    }

    /// The files of a list, and no word on what is wrong with some.
    fn listed_quietly(&self, listener: Listener) -> Vec<overview::Listed> {
        let mut directories = Directories::new(&self.places.read(listener));
        directories.read(SystemTime::now());
        directories.files()
    }

    /// The files of a list. What is wrong with some is said, and nothing more.
    fn directories(&self, listener: Listener) -> Directories {
        let mut directories = Directories::new(&self.places.read(listener));
        for problem in directories.read(SystemTime::now()).problems {
            warn(&problem);
        }
        directories
    }

    fn keys(&self) -> Result<Option<KnownKeys>, Failure> {
        Ok(self.state.keys()?)
    }

    fn resolve(&self, who: &str, listener: Listener) -> Result<Resolved, Failure> {
        // A key needs no file to be read.
        if let Ok(key) = who.parse() {
            let host = match (self.keys(), self.state.pins()) {
                (Ok(known), Ok(pins)) => Known::new(known.as_ref(), &pins).host_of(listener, &key),
                _ => None,
            };
            return Ok(Resolved { key, host });
        }
        self.may_see()?;
        self.refresh();
        let (known, pins) = (self.keys()?, self.state.pins()?);
        Ok(Known::new(known.as_ref(), &pins).resolve(listener, who)?)
    }

    fn revoke(&self, who: &str, listener: Listener) -> Result<(), Failure> {
        let enforcement = self.enforcement(listener);
        let listed = self.directories(listener).files();
        let named: Vec<_> = listed
            .iter()
            .filter(|(_, name, _)| **name == *who)
            .collect();
        let keys = if named.is_empty() {
            self.meant_to_revoke(who, listener, &listed)?
        } else {
            named.iter().map(|(.., key)| *key).collect()
        };
        let files: Vec<_> = listed
            .iter()
            .filter(|(.., key)| keys.contains(key))
            .collect();
        if files.is_empty() {
            return Err(Failure::NotListed {
                who: who.to_owned(),
                directories: self.directory_names(listener),
                hint: match enforcement {
                    Ok(Some(Authorized::Any)) => {
                        "; it is let in because every key is: set authorized = \"directory\", and \
                         allow those that may report"
                    }
                    Ok(Some(Authorized::Directory)) => ", so it is not let in",
                    Ok(None) | Err(_) => "",
                },
            });
        }
        for (path, name, key) in &files {
            allow::remove(path)?;
            let is_named = named.is_empty() || named.iter().any(|(named, ..)| named == path);
            let also = if is_named {
                String::new()
            } else {
                format!(", let in under the name {name}, too")
            };
            print(&format!(
                "Removed {} (the key {key}{also})\n",
                path.display()
            ))?;
        }
        if matches!(enforcement, Ok(None | Some(Authorized::Directory))) {
            let what = if keys.len() > 1 { "them" } else { "it" };
            let connected = if keys.len() > 1 { "they are" } else { "it is" };
            print(&format!(
                "A running collector refuses {what} from now on, also where {connected} connected\n"
            ))?;
        }
        warn_where_lists_do_not_count(&enforcement);
        self.warn_of_own_list(listener);
        Ok(())
    }

    /// The keys that are meant by what is no file's name.
    fn meant_to_revoke(
        &self,
        who: &str,
        listener: Listener,
        listed: &[overview::Listed],
    ) -> Result<Vec<PublicKey>, Failure> {
        let like = match self.resolve(who, listener) {
            Ok(found) => return Ok(vec![found.key]),
            Err(Failure::Who(WhoError::Unknown { like, .. })) => like,
            Err(failure) => return Err(failure),
        };
        let is_listed = |key: &PublicKey| listed.iter().any(|(.., listed)| listed == key);
        let hosts = self.all_like(who, listener)?.into_iter().flatten();
        let mut keys: Vec<_> = hosts.map(|host| host.key).filter(is_listed).collect();
        if let Ok(pattern) = Pattern::new(who) {
            let files = listed.iter().filter(|(_, name, _)| pattern.matches(name));
            keys.extend(files.map(|(.., key)| *key));
        }
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() {
            return Err(Failure::NothingToRevoke {
                who: who.to_owned(),
                directories: self.directory_names(listener),
                like,
            });
        }
        Ok(keys)
    }

    /// Where the files of a list are, for a person.
    fn directory_names(&self, listener: Listener) -> String {
        let directories = self.places.read(listener);
        let directories = directories.iter().map(|path| path.display().to_string());
        directories.collect::<Vec<_>>().join(" or ")
    }

    fn forget(&self, host: &str) -> Result<(), Failure> {
        self.may_see()?;
        let forgotten = match self.state.own()? {
            Some(owned) => owned.forget(host)?,
            None => self.ask_to_forget(host)?,
        };
        if !forgotten {
            return Err(Failure::NotPinned(host.to_owned()));
        }
        print(&format!(
            "{host} is no longer pinned: it will belong to the next key that reports under it\n"
        ))
    }

    /// Makes the running collector forget a name. Returns true if it was pinned.
    fn ask_to_forget(&self, host: &str) -> Result<bool, Failure> {
        self.refresh();
        let was_pinned = self.state.pins()?.get(host).is_some();
        if !self.ask(&Action::Forget(host.to_owned()), PATIENCE)? {
            return Err(Failure::NoAnswer {
                what: host.to_owned(),
            });
        }
        Ok(was_pinned)
    }

    fn forget_key(&self, key: PublicKey) -> Result<(), Failure> {
        self.may_see()?;
        let names = if let Some(owned) = self.state.own()? {
            owned.forget_key(key)?
        } else {
            self.refresh();
            let names = self.state.pins()?.of_key(key);
            if !self.ask(&Action::ForgetKey(key), PATIENCE)? {
                let what = format!("the names of the key {key}");
                return Err(Failure::NoAnswer { what });
            }
            names
        };
        if names == 0 {
            return Err(Failure::NonePinned(key));
        }
        let names = text::counted(names as u64, "pinned host name");
        print(&format!(
            "Forgot {names} of the key {key}: each will belong to the next key that reports under \
             it\n"
        ))
    }

    /// Asks the running collector for something, and waits. Returns true if it is done.
    fn ask(&self, action: &Action, patience: Duration) -> Result<bool, Failure> {
        ask(&self.state, action, patience)
    }

    /// Has a running collector bring its files up to date, once for this command; whether it has,
    /// or none runs. Where it has not, what is there is at most a minute old.
    fn refresh(&self) -> bool {
        *self.refreshed.get_or_init(|| refresh(&self.state))
    }
}

/// Asks the running collector, and waits until it has done it; false if it has not in time.
fn ask(state: &State, action: &Action, patience: Duration) -> Result<bool, Failure> {
    let request = state.ask(action)?;
    let start = Instant::now();
    while state.is_waiting(&request)? {
        if start.elapsed() > patience {
            state.withdraw(&request)?;
            return Ok(false);
        }
        thread::sleep(GLANCE);
    }
    Ok(true)
}

/// Has a running collector bring its files up to date; whether it has, or none runs. Warns where it
/// has not: what is there is at most a minute old then.
fn refresh(state: &State) -> bool {
    let done = !state.is_owned() || ask(state, &Action::Record, REFRESH).is_ok_and(|done| done);
    if !done {
        warn("the running collector has not brought its files up to date");
    }
    done
}

fn print(text: &str) -> Result<(), Failure> {
    terminal::emit(&text::lines(text))
        .map(drop)
        .map_err(Failure::Print)
}

fn warn(problem: &(impl Display + ?Sized)) {
    terminal::complain("metrics-collector", problem);
}
