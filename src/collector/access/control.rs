//! Access on the collector's loop: peers that have proved a key are let in or not, lists are read
//! again when they change, pins and keys are kept.
//!
//! Decides nothing: [`gate`](super::gate) does. Nothing here waits for a file.

use std::future::pending;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use thiserror::Error;
use tokio::time::{sleep, sleep_until, timeout};

use super::directory::{Directories, Reading};
use super::gate::AccessRefusal;
use super::gate::{AccessCounters, Gate, Knock, Moment};
use super::key_log::KeyLog;
use super::state::{Owned, State, StateError};
use super::watch::{Armed, Watch, arm};
use super::writer::{self, Writer};
use super::{Authorized, Listener, Settings};
use crate::base::throttle::Throttle;
use crate::base::worker::Worker;
use crate::collector::events;
use crate::collector::hosts::Trust;
use crate::config::service::ServiceView;
use crate::curve::keys::PublicKey;
use crate::curve::router::{Origin, Verdict};

/// Delay between the first sign of a change and the reading, so that an administrator's `cp` of
/// many files causes one reading, or a few.
const SETTLE: Duration = Duration::from_millis(100);

/// How often directories are read if the kernel cannot report their changes.
const UNWATCHED: Duration = Duration::from_secs(30);

/// How long the start waits for the lists; a network's file system may hang.
const FIRST_READING: Duration = Duration::from_secs(10);

/// How long the start waits for a `metrics-collector keys` that holds the lock.
const OWN_PATIENCE: Duration = Duration::from_secs(1);

const OWN_AGAIN: Duration = Duration::from_millis(20);

/// Why access control, and so the collector, could not start.
#[derive(Debug, Error)]
pub enum AccessError {
    /// The system has no thread left.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    /// The state cannot be used, and names are pinned.
    #[error(transparent)]
    State(#[from] StateError),
    /// Names are pinned, but there is no state directory for the pins.
    #[error(
        "host names are to be pinned, but the pins cannot be kept: neither \
         STATE_DIRECTORY (in a unit StateDirectory=) nor HOME is set; set one of them"
    )]
    NoPlace,
    /// Names are pinned, and another collector keeps the pins.
    #[error(
        "{}: another metrics-collector keeps the pins of host names here; end it, or give this \
         one another directory by STATE_DIRECTORY", .0.display()
    )]
    Owned(PathBuf),
}

/// Reads the pins as the start does, for `--check-config`: those of the directory `state`.
/// What only the service may read there is not looked at.
///
/// # Errors
///
/// [`AccessError`], with which the start would end.
pub fn check_pins(state: Option<&Path>, sight: &ServiceView) -> Result<(), AccessError> {
    let state = State::new(state.ok_or(AccessError::NoPlace)?.to_owned());
    let file = state.pins_file();
    if sight.seen(&file).is_none() && sight.unclear(&file).is_none() {
        state.pins()?;
    }
    Ok(())
}

/// An event for [`Access::handle`].
#[derive(Debug)]
pub struct Event(Kind);

/// What changed for the other parts of the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handled {
    /// Agents that are connected may no longer report.
    pub agents_changed: bool,
    /// Viewers that are connected may no longer watch.
    pub viewers_changed: bool,
    /// From now on only listed agents are let in, and the list is known.
    pub closed: bool,
}

/// Which lists have changed.
#[derive(Clone, Copy, Debug, Default)]
struct ListsChanged {
    agents: bool,
    viewers: bool,
}

#[derive(Debug)]
enum Kind {
    ListsChanged,
    ListsRead(ListsRead),
    Kept(writer::Event),
    ReadingDue,
}

#[derive(Debug)]
struct ListsRead {
    watch: io::Result<Armed>,
    agents: Reading,
    viewers: Reading,
}

/// Who may report, and who may watch.
#[derive(Debug)]
pub struct Access {
    gate: Gate,
    /// The directories of agents, as they are named to people.
    agents_directories: Vec<PathBuf>,
    /// False until each of these directories is read.
    agents_are_known: bool,
    lists: Worker<(), ListsRead>,
    watch: Option<Watch>,
    read_at: Option<Instant>,
    unwatched: Throttle,
    /// Only listed agents are let in from now on; the list is about to be read.
    closing: bool,
    writer: Option<Writer>,
    /// The same moment on both clocks.
    moment: Moment,
}

impl Access {
    /// Starts to answer, with the state in the directory `state`. Returns once the lists are
    /// read, or after a time limit.
    ///
    /// # Errors
    ///
    /// [`AccessError`].
    pub async fn start(settings: &Settings, state: Option<PathBuf>) -> Result<Self, AccessError> {
        let now = Instant::now();
        let authorized = settings.authorized;
        let (mut pins, mut seen, mut writer) = (None, KeyLog::default(), None);
        if let Some(directory) = state {
            let state = State::new(directory.clone());
            match own(&state).await {
                Ok(Some(owned)) => {
                    if settings.pin_names {
                        pins = Some(state.pins()?);
                    }
                    match state.keys() {
                        Ok(known) => seen.restore(known.into_iter().flat_map(|known| known.keys)),
                        Err(error) => events::keys_not_restored(&error),
                    }
                    let started = Writer::start(owned, now);
                    writer = Some(started.map_err(AccessError::Thread)?);
                }
                Ok(None) if settings.pin_names => return Err(AccessError::Owned(directory)),
                Ok(None) => events::keys_kept_by_another(&directory),
                Err(error) if settings.pin_names => return Err(error.into()),
                Err(error) => events::access_not_kept(&error, 0),
            }
        } else if settings.pin_names {
            return Err(AccessError::NoPlace);
        }
        let mut access = Self {
            gate: Gate::new(authorized, pins, seen),
            agents_directories: settings.agents_directories.clone(),
            agents_are_known: false,
            lists: reader(settings).map_err(AccessError::Thread)?,
            watch: None,
            read_at: None,
            unwatched: Throttle::default(),
            closing: false,
            writer,
            moment: moment(now),
        };
        access.lists.submit(());
        match timeout(FIRST_READING, access.lists.done()).await {
            Ok(read) => {
                access.take_lists(read, Instant::now());
            }
            Err(_) => events::lists_are_slow(FIRST_READING),
        }
        access.warn_if_no_key_is_let_in();
        Ok(access)
    }

    /// Other agents may report from now on.
    pub fn reconfigure(&mut self, authorized: Authorized) {
        if authorized != self.gate.authorized() {
            self.gate.authorize(authorized);
            self.warn_if_no_key_is_let_in();
            // Judged by the list as it is now.
            self.closing = authorized == Authorized::Directory;
            self.read_at.get_or_insert_with(Instant::now);
        }
    }

    fn warn_if_no_key_is_let_in(&self) {
        let by_list = self.gate.authorized() == Authorized::Directory;
        if by_list && self.agents_are_known && self.gate.listed(Listener::Agents) == 0 {
            events::no_agent_is_listed(&self.agents_directories);
        }
    }

    /// Decides on a peer that has proved its key.
    pub fn knock(&mut self, now: Instant, listener: Listener, peer: &Origin) -> Verdict {
        self.moment = moment(now);
        let (key, address) = (peer.key, peer.address.to_string());
        match self.gate.knock(self.moment, listener, key, &address) {
            Knock::Admitted => Verdict::Allow,
            Knock::Refused(tell) => {
                events::key_refused(listener, &key, &address, tell);
                Verdict::Deny
            }
        }
    }

    /// Admits a message of an agent with this key, under this host name if it has one. Returns
    /// why the key is trusted.
    ///
    /// # Errors
    ///
    /// [`AccessRefusal`]: the message must be dropped.
    pub fn admit(
        &mut self,
        now: Instant,
        key: Option<PublicKey>,
        host: Option<&str>,
    ) -> Result<Trust, AccessRefusal> {
        let unix = self.unix(now);
        self.gate.admit(unix, Listener::Agents, key, host)
    }

    /// Records that an admitted host is in the table. If names are pinned, its name belongs to
    /// its key from now on.
    pub fn settle(&mut self, now: Instant, key: Option<PublicKey>, host: &str) {
        if let Some(key) = key {
            self.gate.settle(self.unix(now), key, host);
        }
    }

    /// Checks a viewer's key before a message is received from it or sent to it.
    ///
    /// # Errors
    ///
    /// As [`Access::admit`].
    pub fn admit_viewer(
        &mut self,
        now: Instant,
        key: Option<PublicKey>,
    ) -> Result<(), AccessRefusal> {
        let unix = self.unix(now);
        self.gate
            .admit(unix, Listener::Viewers, key, None)
            .map(drop)
    }

    /// Returns true if an agent with this key may (still) report.
    #[must_use]
    pub fn is_agent(&self, key: &PublicKey) -> bool {
        self.gate.is_agent(key)
    }

    /// Returns true if host names are pinned, so that a name may belong to another key.
    #[must_use]
    pub fn pins_names(&self) -> bool {
        self.gate.pins().is_some()
    }

    /// Returns true if a viewer with this key may (still) watch.
    #[must_use]
    pub fn is_viewer(&self, key: &PublicKey) -> bool {
        self.gate.is_viewer(key)
    }

    /// Says that a host name was claimed by another key, once a minute for each such key.
    pub fn log_name_taken(
        &mut self,
        now: Instant,
        key: &PublicKey,
        host: &str,
        address: Option<&str>,
        refusal: &AccessRefusal,
    ) {
        let tell = self.gate.name_was_taken(now, key);
        events::name_taken(host, address, refusal, tell);
    }

    /// The keys that have connected.
    #[must_use]
    pub fn seen(&self) -> &KeyLog {
        self.gate.seen()
    }

    /// What was decided so far.
    #[must_use]
    pub fn totals(&self) -> AccessCounters {
        self.gate.totals()
    }

    /// Schedules the lists to be read again soon.
    pub fn reread(&mut self, now: Instant) {
        self.read_at = Some(now);
    }

    /// Waits for the next event. Cancel safe.
    pub async fn next(&mut self) -> Event {
        let due = self.read_at.filter(|_| !self.lists.is_busy());
        let kept = async {
            match &mut self.writer {
                Some(writer) => writer.next(&self.gate).await,
                None => pending().await,
            }
        };
        let changed = async {
            match &mut self.watch {
                Some(watch) => watch.changed().await,
                None => pending().await,
            }
        };
        let reading_due = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => pending().await,
            }
        };
        Event(tokio::select! {
            () = changed => Kind::ListsChanged,
            read = self.lists.done() => Kind::ListsRead(read),
            event = kept => Kind::Kept(event),
            () = reading_due => Kind::ReadingDue,
        })
    }

    /// Handles an event.
    pub fn handle(&mut self, event: Event, now: Instant) -> Handled {
        self.moment = moment(now);
        let (mut changed, mut closed) = (ListsChanged::default(), false);
        match event.0 {
            Kind::ListsChanged => {
                self.read_at.get_or_insert(now + SETTLE);
                // Changes until then are part of the same reading.
                self.watch = None;
            }
            Kind::ListsRead(read) => {
                changed = self.take_lists(read, now);
                // A reading requested since then may find more.
                closed = self.closing && self.read_at.is_none();
                self.closing &= !closed;
            }
            Kind::Kept(event) => {
                if let Some(writer) = &mut self.writer {
                    writer.handle(event, &mut self.gate, now);
                }
            }
            Kind::ReadingDue => {
                self.read_at = None;
                self.lists.submit(());
            }
        }
        Handled {
            agents_changed: changed.agents || closed,
            viewers_changed: changed.viewers,
            closed,
        }
    }

    /// Saves what has changed, within a bounded time, because the process ends.
    pub async fn finish(mut self) {
        events::access_totals(self.gate.totals());
        if let Some(writer) = self.writer.take() {
            writer.finish(&mut self.gate, Instant::now()).await;
        }
    }

    /// Puts lists that were read in force. Returns which of them have changed.
    fn take_lists(&mut self, read: ListsRead, now: Instant) -> ListsChanged {
        match read.watch.and_then(Watch::new) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => {
                self.watch = None;
                self.read_at.get_or_insert(now + UNWATCHED);
                if self.unwatched.note(now).is_some() {
                    events::lists_unwatched(&error, UNWATCHED);
                }
            }
        }
        let mut changed = ListsChanged::default();
        self.agents_are_known = !read.agents.lacks_some;
        let lists = [
            (Listener::Agents, read.agents),
            (Listener::Viewers, read.viewers),
        ];
        for (listener, Reading { list, problems, .. }) in lists {
            events::list_problems(listener, &problems);
            let change = self.gate.list(listener, list);
            if !change.is_empty() {
                match listener {
                    Listener::Agents => changed.agents = true,
                    Listener::Viewers => changed.viewers = true,
                }
                let counts = listener == Listener::Viewers
                    || self.gate.authorized() == Authorized::Directory;
                events::list_changed(listener, &change, self.gate.listed(listener), counts);
            }
        }
        changed
    }

    /// Seconds since 1970, without asking the kernel for each message.
    fn unix(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.moment.now);
        self.moment.unix + since.as_secs()
    }
}

/// Takes the lock on the state; a short-lived command that holds it is waited for.
async fn own(state: &State) -> Result<Option<Owned>, StateError> {
    let owned = async {
        loop {
            match state.own() {
                Ok(None) => sleep(OWN_AGAIN).await,
                owned => return owned,
            }
        }
    };
    timeout(OWN_PATIENCE, owned).await.unwrap_or(Ok(None))
}

fn moment(now: Instant) -> Moment {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH);
    Moment {
        now,
        unix: unix.map_or(0, |since| since.as_secs()),
    }
}

/// The thread that reads the lists.
fn reader(settings: &Settings) -> io::Result<Worker<(), ListsRead>> {
    let paths = [
        &settings.agents_directories[..],
        &settings.viewers_directories,
    ]
    .concat();
    let mut agents = Directories::new(&settings.agents_directories);
    let mut viewers = Directories::new(&settings.viewers_directories);
    Worker::start("allow lists", 1, move |()| {
        // Armed before they are read, so that no change in between is missed.
        let watch = arm(&paths);
        let now = SystemTime::now();
        ListsRead {
            watch,
            agents: agents.read(now),
            viewers: viewers.read(now),
        }
    })
}
