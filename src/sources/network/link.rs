//! What /sys/class/net has about one interface.
//!
//! Owns the interface's open file. The handle belongs to the device that had the name when it was
//! opened: it follows a device that is renamed, and is of no use once the device is gone, which the
//! kernel reports with the next read. The owner of the links closes them when names have moved, and
//! now and then without a sign of it.
//!
//! Owns when speeds are read, too. Reading one takes the lock that every change of the network's
//! configuration takes, so where containers come and go it waits, and may wait long; so it is done
//! beside the loop. The speed of a link is read when it appears or comes up, and all of them once in
//! [`REFRESH`]: a bond has another speed with each port that it gains. There is never more than one
//! reading at a time.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use rustix::io::Errno;

use crate::sources::{
    background::{Prober, Ticket},
    error::{CollectError, FileError, Malformed},
    file::Root,
    instances::Instances,
    text::{MAX_COUNT, decimal},
};

/// A word or a number: what these files have.
const SIZE: usize = 64;

const EXPECTED_STATE: &str = "the name of an operational state and a newline";

const EXPECTED_SPEED: &str = "a number of Mbit/s, up to 2147483647, and a newline";

/// An interface.
#[derive(Debug)]
pub struct Link {
    directory: PathBuf,
    operstate: PathBuf,
    file: Option<File>,
    up: Option<bool>,
    speed: Speed,
}

/// Why a speed that should be there is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoSpeed {
    /// Its file cannot be read.
    Unreadable(Errno),
    /// Its file says something else.
    Malformed(Malformed),
}

/// What is known of the speed.
#[derive(Debug)]
struct Speed {
    /// In Mbit/s; None if there is none to be had.
    known: Result<Option<u64>, NoSpeed>,
    /// True if the speed is being read, or was read since the link changed.
    asked: bool,
}

impl Link {
    /// That of an interface; `name` is a single component of a path.
    #[must_use]
    pub fn new(root: &Root, name: &str) -> Self {
        let directory = root.path("/sys/class/net").join(name);
        Self {
            operstate: directory.join("operstate"),
            directory,
            file: None,
            up: None,
            speed: Speed {
                known: Ok(None),
                asked: false,
            },
        }
    }

    /// Returns true if the link is up, as [`parse_operstate`] has it; None if /sys does not know
    /// the interface, because it has just gone or because /sys is of another network namespace.
    #[must_use]
    pub fn up(&self) -> Option<bool> {
        self.up
    }

    /// Mbit/s, of a link that is up; None if there is none to be had.
    #[must_use]
    pub fn speed(&self) -> Option<u64> {
        *self.speed.known.as_ref().unwrap_or(&None)
    }

    /// Why the speed that was last asked for makes no sense.
    #[must_use]
    pub fn speed_problem(&self) -> Option<CollectError> {
        let path = self.speed_path();
        Some(match self.speed.known.as_ref().err()? {
            NoSpeed::Malformed(problem) => CollectError::malformed(&path, problem.clone()),
            NoSpeed::Unreadable(error) => FileError::Read {
                path,
                source: (*error).into(),
            }
            .into(),
        })
    }

    /// Reads the state, and keeps the file open for the next time if `keep`. Returns true if the
    /// device is not the previous one. After an error there is neither a state nor a speed.
    pub fn look(&mut self, keep: bool) -> Result<bool, CollectError> {
        let looked = self.look_at_state(keep);
        if looked.is_err() {
            self.forget();
        }
        looked
    }

    fn look_at_state(&mut self, keep: bool) -> Result<bool, CollectError> {
        let kept = match self.file.take() {
            Some(file) => Some(self.read(file)?),
            None => None,
        };
        let replaced = matches!(kept, Some(None));
        if replaced {
            self.forget();
        }
        let found = match kept.flatten() {
            Some(found) => Some(found),
            None => self.open()?,
        };
        let (file, up) = found.unzip();
        if self.up != up {
            self.forget();
            self.up = up;
        }
        self.file = file.filter(|_| keep);
        Ok(replaced)
    }

    /// None if /sys does not have the interface.
    fn open(&self) -> Result<Option<(File, bool)>, CollectError> {
        match File::open(&self.operstate) {
            Ok(file) => self.read(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => {
                let path = self.operstate.clone();
                Err(FileError::Open { path, source }.into())
            }
        }
    }

    /// None if the device of this handle is gone.
    fn read(&self, file: File) -> Result<Option<(File, bool)>, CollectError> {
        let mut buffer = [0; SIZE];
        match file.read_at(&mut buffer, 0) {
            Ok(length) => parse_operstate(buffer.get(..length).unwrap_or_default())
                .map(|up| Some((file, up)))
                .map_err(|problem| CollectError::malformed(&self.operstate, problem)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(source) => {
                let path = self.operstate.clone();
                Err(FileError::Read { path, source }.into())
            }
        }
    }

    /// What was known is of another device, or another state.
    fn forget(&mut self) {
        self.up = None;
        self.speed = Speed {
            known: Ok(None),
            asked: false,
        };
    }

    /// Lets go of the open file.
    pub fn close(&mut self) {
        self.file = None;
    }

    /// Where the speed is.
    #[must_use]
    pub fn speed_path(&self) -> PathBuf {
        self.directory.join("speed")
    }

    /// Returns true if the speed is to be read: it was not read since the link came up.
    #[must_use]
    pub fn wants_speed(&self) -> bool {
        self.up == Some(true) && !self.speed.asked
    }

    /// Notes that the speed is being read.
    pub fn speed_is_asked(&mut self) {
        self.speed.asked = true;
    }

    /// The speed should be read again; until then the old one holds.
    pub fn speed_is_old(&mut self) {
        self.speed.asked = false;
    }

    /// What came of it, which is of no use where the link has changed since.
    pub fn speed_is(&mut self, speed: Result<Option<u64>, NoSpeed>) {
        if self.speed.asked {
            self.speed.known = speed;
        }
    }
}

/// Returns true if an `operstate` (Documentation/networking/operstates.rst of the kernel) is one in
/// which packets pass. `unknown` is, as for the kernel itself (`netif_oper_up()`): the interface is
/// running, and its driver reports no more, as loopback and many tunnels.
pub fn parse_operstate(text: &[u8]) -> Result<bool, Malformed> {
    match text.strip_suffix(b"\n") {
        Some(b"up" | b"unknown") => Ok(true),
        // Those that there are, and what else a future kernel may say.
        Some(word) if !word.is_empty() && word.iter().all(u8::is_ascii_lowercase) => Ok(false),
        _ => Err(Malformed::new(1, EXPECTED_STATE, text)),
    }
}

/// What drivers say that know no speed: none, or -1 in 16 bits (in 32 bits it exceeds
/// [`MAX_COUNT`]).
const UNKNOWN_SPEEDS: [u64; 2] = [0, 65_535];

/// The speed out of the text of a `speed`, in Mbit/s; None for a negative one and for others
/// by which drivers say that they know none.
pub fn parse_speed(text: &[u8]) -> Result<Option<u64>, Malformed> {
    let malformed = || Malformed::new(1, EXPECTED_SPEED, text);
    let line = text.strip_suffix(b"\n").ok_or_else(malformed)?;
    if let Some(digits) = line.strip_prefix(b"-") {
        return decimal(digits).map(|_| None).ok_or_else(malformed);
    }
    let speed = decimal(line).ok_or_else(malformed)?;
    let known = speed <= MAX_COUNT && !UNKNOWN_SPEEDS.contains(&speed);
    Ok(known.then_some(speed))
}

/// Reads a speed. May wait for the lock that all changes of the network take.
///
/// Some errors of the kernel say that there is none: EINVAL for a link that is down and for
/// drivers without speeds, others for a device that is gone or asleep.
pub(super) fn read_speed(path: &Path) -> Result<Option<u64>, NoSpeed> {
    let mut buffer = [0; SIZE];
    let read = File::open(path).and_then(|mut file| file.read(&mut buffer));
    let error = match read {
        Ok(length) => {
            let text = buffer.get(..length).unwrap_or_default();
            return parse_speed(text).map_err(NoSpeed::Malformed);
        }
        Err(error) => Errno::from_io_error(&error),
    };
    match error {
        Some(Errno::NOENT | Errno::NODEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NETDOWN)
        | None => Ok(None),
        Some(error) => Err(NoSpeed::Unreadable(error)),
    }
}

/// ENODEV if the device is no longer there, EINVAL if it is about to go.
fn is_gone(error: &io::Error) -> bool {
    [Errno::NODEV, Errno::INVAL]
        .iter()
        .any(|gone| error.raw_os_error() == Some(gone.raw_os_error()))
}

/// How long a speed holds while its link stays up.
pub const REFRESH: Duration = Duration::from_secs(60);

/// What came of reading one interface's speed.
type Answer = (Box<str>, Result<Option<u64>, NoSpeed>);

/// Asks for speeds.
#[derive(Debug)]
pub struct Speeds {
    prober: Prober,
    asked: Option<Asked>,
    refreshed: Option<Instant>,
}

#[derive(Debug)]
struct Asked {
    ticket: Ticket,
    answers: Receiver<Vec<Answer>>,
}

impl Speeds {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(prober: Prober) -> Self {
        Self {
            prober,
            asked: None,
            refreshed: None,
        }
    }

    /// Starts reading the speeds that are due.
    ///
    /// If no thread can be had for that, the next sample tries again: until then the known values
    /// hold.
    pub fn ask(&mut self, links: &mut Instances<Link>, now: Instant) {
        self.take(links);
        if self.asked.is_some() {
            self.prober.pass_by(now);
            return;
        }
        let old = |at: Instant| now.saturating_duration_since(at) >= REFRESH;
        if self.refreshed.is_none_or(old) {
            self.refreshed = Some(now);
            for (_, link) in links.iter_mut() {
                link.speed_is_old();
                // Names that two devices have swapped are seen by nothing else.
                link.close();
            }
        }
        let wanted: Vec<_> = links
            .iter_mut()
            .filter(|(_, link)| link.wants_speed())
            .map(|(name, link)| (Box::<str>::from(name), link.speed_path()))
            .collect();
        if wanted.is_empty() {
            return;
        }
        let (sender, answers) = channel();
        let job = move || {
            let read = |(name, path): (_, PathBuf)| (name, read_speed(&path));
            // The receiver may be gone.
            let _ = sender.send(wanted.into_iter().map(read).collect());
        };
        if let Ok(ticket) = self.prober.submit(job, now) {
            self.asked = Some(Asked { ticket, answers });
            links
                .iter_mut()
                .filter(|(_, link)| link.wants_speed())
                .for_each(|(_, link)| link.speed_is_asked());
        }
    }

    /// Returns true if there is nothing to wait for.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.asked
            .as_ref()
            .is_none_or(|asked| asked.ticket.finished() || asked.ticket.abandoned())
    }

    /// Takes the answers that are there.
    pub fn take(&mut self, links: &mut Instances<Link>) {
        let Some(asked) = self.asked.take_if(|asked| asked.ticket.finished()) else {
            return;
        };
        for (name, speed) in asked.answers.try_iter().flatten() {
            if let Some(link) = links.get_mut(&name) {
                link.speed_is(speed);
            }
        }
    }
}
