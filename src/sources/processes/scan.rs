//! One walk over the processes in /proc.
//!
//! Owns the walk: a kept handle of the directory, and for each process one openat(2), read(2) and
//! close(2), into buffers that are kept. A process that ends meanwhile is normal. Under a mount
//! with hidepid= only some processes are visible: if process 1 is not among them, the walk reports
//! that.
//!
//! For a thread that may wait: the kernel locks a process's signals to read its state.

use std::{ffi::CStr, fs::File, io::Read, os::fd::OwnedFd, time::Instant};

use rustix::{
    fs::{CWD, Mode, OFlags, RawDir, SeekFrom, openat, seek},
    io::Errno,
};

use super::stat::{self, STATES};
use crate::sources::{
    error::{CollectError, FileError},
    file::Root,
    odd::{LeftOut, Odd},
    text::{decimal, fields, next_line},
};

/// Where the processes are.
const DIRECTORY: &str = "/proc";

/// Which mount of /proc this is.
const MOUNTS: &str = "/proc/self/mountinfo";

/// Most processes that are read: a sample waits for half a second at most, and each takes
/// some 10 us, or 20 us on a busy machine. What is beyond is counted and not read.
pub const MAX_PROCESSES: usize = 16_384;

/// Most bytes of a /proc/PID/stat: 52 numbers of up to 20 digits, and a name of up to 64
/// bytes that may be a kernel thread's. A longer one has no newline at its end.
const STAT_BYTES: usize = 2048;

/// Entries of the directory that are read at a time: each has 24 to 32 bytes.
const ENTRIES_BYTES: usize = 32 * 1024;

/// Most that is read of the mounts, to say why no process 1 is to be seen.
const MOUNTS_BYTES: u64 = 1024 * 1024;

/// A process, for comparison with itself and others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Its PID.
    pub pid: u32,
    /// When it began, in clock ticks after boot.
    pub start_ticks: Option<u64>,
    /// CPU time, in clock ticks.
    pub cpu_ticks: Option<u64>,
    /// Resident memory, in pages.
    pub resident_pages: Option<u64>,
    /// Where its name begins in [`Scan::names`].
    name_start: usize,
    name_end: usize,
}

/// What a walk found.
#[derive(Debug)]
pub struct Scan {
    /// When it began.
    pub at: Instant,
    /// Processes that there are.
    pub count: u64,
    /// Processes that were not read, as there were too many.
    pub unread: usize,
    /// How many are in each of [`STATES`].
    pub states: [u64; STATES.len()],
    /// Each process by its PID, rising; only where they were asked for.
    pub readings: Vec<Reading>,
    /// What could not be read of a process, or makes no sense.
    pub left_out: LeftOut,
    names: Vec<u8>,
}

impl Scan {
    fn new() -> Self {
        Self {
            at: Instant::now(),
            count: 0,
            unread: 0,
            states: [0; STATES.len()],
            readings: Vec::new(),
            left_out: LeftOut::default(),
            names: Vec::new(),
        }
    }

    /// The name of a process, as it likes.
    #[must_use]
    pub fn name(&self, reading: &Reading) -> &[u8] {
        let span = reading.name_start..reading.name_end;
        self.names.get(span).unwrap_or_default()
    }

    /// Forgets what was found and keeps the room.
    fn begin(&mut self) {
        self.at = Instant::now();
        self.count = 0;
        self.unread = 0;
        self.states = [0; STATES.len()];
        self.readings.clear();
        self.left_out = LeftOut::default();
        self.names.clear();
    }

    /// Takes the text of /proc/PID/stat.
    fn add(&mut self, pid: u32, text: &[u8], each: bool, root: &Root) {
        let mut odd = Odd::default();
        let state = if each {
            let process = stat::parse(text, &mut odd);
            odd.keep(process).and_then(|process| {
                self.keep(pid, &process);
                process.state
            })
        } else {
            let state = stat::parse_state(text, &mut odd);
            odd.keep(state).flatten()
        };
        if let Some(count) = state.and_then(|at| self.states.get_mut(at)) {
            *count += 1;
        }
        if !odd.is_empty() {
            self.left_out.add_all(&root.path(&stat_path(pid)), odd);
        }
    }

    fn keep(&mut self, pid: u32, process: &stat::Process<'_>) {
        let name_start = self.names.len();
        self.names.extend_from_slice(process.name);
        self.readings.push(Reading {
            pid,
            start_ticks: process.start_ticks,
            cpu_ticks: process.cpu_ticks,
            resident_pages: process.resident_pages,
            name_start,
            name_end: self.names.len(),
        });
    }
}

/// Walks over the processes, again and again.
#[derive(Debug)]
pub struct Scanner {
    root: Root,
    max: usize,
    /// True if each process is kept, and not only counted.
    each: bool,
    directory: Option<OwnedFd>,
    entries: Vec<u8>,
    text: Vec<u8>,
    scan: Scan,
}

impl Scanner {
    /// One that looks below `root`, and keeps each process where it is to.
    #[must_use]
    pub fn new(root: &Root, each: bool) -> Self {
        Self {
            root: root.clone(),
            max: MAX_PROCESSES,
            each,
            directory: None,
            entries: Vec::new(),
            text: Vec::new(),
            scan: Scan::new(),
        }
    }

    /// What the last walk found.
    #[must_use]
    pub fn scan(&self) -> &Scan {
        &self.scan
    }

    /// What could not be read of processes in the last walk; returned once.
    pub fn take_left_out(&mut self) -> LeftOut {
        std::mem::take(&mut self.scan.left_out)
    }

    #[cfg(test)]
    pub(super) fn scan_mut(&mut self) -> &mut Scan {
        &mut self.scan
    }

    /// Walks over all processes. After an error there is nothing worth looking at.
    pub fn walk(&mut self) -> Result<(), CollectError> {
        self.scan.begin();
        let first_seen = self.walk_entries()?;
        if !first_seen {
            return Err(CollectError::Refused(self.why_hidden()));
        }
        if !self.scan.readings.is_sorted_by_key(|reading| reading.pid) {
            self.scan.readings.sort_unstable_by_key(|one| one.pid);
        }
        Ok(())
    }

    /// Returns true if process 1 is among them.
    fn walk_entries(&mut self) -> Result<bool, CollectError> {
        let directory = self.rewound()?;
        self.entries.reserve(ENTRIES_BYTES);
        self.text.resize(STAT_BYTES, 0);
        let mut entries = RawDir::new(&directory, self.entries.spare_capacity_mut());
        let mut first_seen = false;
        while let Some(entry) = entries.next() {
            let entry = entry.map_err(|error| cannot_read(&self.root, DIRECTORY, error))?;
            let Some(pid) = pid(entry.file_name()) else {
                continue;
            };
            self.scan.count += 1;
            if self.scan.count > self.max as u64 {
                self.scan.unread += 1;
                continue;
            }
            let length = match read_stat(&directory, entry.file_name(), &mut self.text) {
                Ok(length) => length,
                // It has ended.
                Err(Errno::NOENT | Errno::SRCH) => {
                    self.scan.count -= 1;
                    continue;
                }
                // hidepid=1 shows that there is a process, and nothing more.
                Err(Errno::ACCESS | Errno::PERM) if pid == 1 => return Ok(false),
                Err(error) => {
                    let error = cannot_read(&self.root, &stat_path(pid), error);
                    self.scan.left_out.add(error.into());
                    first_seen |= pid == 1;
                    continue;
                }
            };
            let text = self.text.get(..length).unwrap_or_default();
            self.scan.add(pid, text, self.each, &self.root);
            first_seen |= pid == 1;
        }
        self.directory = Some(directory);
        Ok(first_seen)
    }

    /// The directory, at its beginning. It is given back where all went well.
    fn rewound(&mut self) -> Result<OwnedFd, FileError> {
        if let Some(directory) = self.directory.take()
            && seek(&directory, SeekFrom::Start(0)).is_ok()
        {
            return Ok(directory);
        }
        let path = self.root.path(DIRECTORY);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, &path, flags, Mode::empty()).map_err(|error| FileError::Open {
            path,
            source: error.into(),
        })
    }

    /// Why process 1 is not to be seen, and what to do about it.
    fn why_hidden(&self) -> String {
        let mut mounts = Vec::new();
        let read = File::open(self.root.path(MOUNTS))
            .and_then(|file| file.take(MOUNTS_BYTES).read_to_end(&mut mounts));
        match (read, hidepid(&mounts)) {
            (Ok(_), Some(option)) => format!(
                "the processes of others are hidden, as /proc is mounted with hidepid={}: set \
                 ProtectProc=default in a drop-in for the service; by hand, run it as root or in \
                 the group of the mount's gid=",
                option.escape_ascii()
            ),
            _ => "the processes of other users are hidden: process 1 cannot be read in /proc"
                .to_owned(),
        }
    }
}

fn pid(name: &CStr) -> Option<u32> {
    u32::try_from(decimal(name.to_bytes())?).ok()
}

fn stat_path(pid: u32) -> String {
    format!("{DIRECTORY}/{pid}/stat")
}

fn cannot_read(root: &Root, absolute: &str, error: Errno) -> FileError {
    FileError::Read {
        path: root.path(absolute),
        source: error.into(),
    }
}

/// Reads the stat of a process by its name in the directory; how many bytes there are.
fn read_stat(directory: &OwnedFd, pid: &CStr, buffer: &mut [u8]) -> Result<usize, Errno> {
    // A PID has at most ten digits, and the directory no other names that are numbers.
    let mut path = [0; 24];
    let file = b"/stat\0";
    let length = pid.count_bytes();
    path.get_mut(..length)
        .ok_or(Errno::NAMETOOLONG)?
        .copy_from_slice(pid.to_bytes());
    path.get_mut(length..length + file.len())
        .ok_or(Errno::NAMETOOLONG)?
        .copy_from_slice(file);
    let path = CStr::from_bytes_until_nul(&path).map_err(|_| Errno::NAMETOOLONG)?;
    let file = openat(
        directory,
        path,
        OFlags::RDONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    // All there is comes with one read: it is made while it is read, and the buffer is larger.
    loop {
        match rustix::io::read(&file, &mut *buffer) {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// The value of hidepid= of what is mounted at /proc, out of the text of
/// /proc/PID/mountinfo (`proc_pid_mountinfo(5)`); None if it hides nothing.
fn hidepid(mut mounts: &[u8]) -> Option<&[u8]> {
    let mut found = None;
    while let Some(line) = next_line(&mut mounts) {
        if fields(line).nth(4) != Some(DIRECTORY.as_bytes()) {
            continue;
        }
        // What is mounted last is on top. Behind a hyphen are type, source and options.
        let mut behind = fields(line).skip_while(|&field| field != b"-").skip(1);
        let is_proc = behind.next() == Some(b"proc");
        let mut options = behind
            .nth(1)
            .unwrap_or_default()
            .split(|&byte| byte == b',');
        found = options
            .find_map(|option| option.strip_prefix(b"hidepid="))
            .filter(|value| is_proc && ![&b"0"[..], b"off"].contains(value));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::testing::captured;
    use std::{fs, os::unix::fs::symlink};

    fn root() -> (tempfile::TempDir, Root) {
        let directory = tempfile::tempdir().unwrap();
        let root = Root(directory.path().to_owned());
        (directory, root)
    }

    fn put(root: &Root, path: &str, text: impl AsRef<[u8]>) {
        let path = root.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn stat(pid: u32) -> String {
        format!("{pid} (p{pid}) S 1 7 7 0 -1 0 0 0 0 0 11 22 0 0 20 0 1 0 333 4096 {pid} 5\n")
    }

    #[test]
    fn captured_processes_are_counted_by_state() {
        // Counted in the fixtures by hand: R, S, D, T, t, Z, I, X, P.
        for (kernel, count, states) in [
            ("6.1-qemu", 50, [5, 37, 1, 1, 0, 1, 5, 0, 0]),
            ("6.12-qemu", 50, [4, 39, 1, 1, 0, 1, 4, 0, 0]),
            ("6.18-firecracker", 44, [4, 37, 1, 1, 0, 1, 0, 0, 0]),
        ] {
            for each in [false, true] {
                let mut scanner = Scanner::new(&captured(kernel), each);
                for _ in 0..2 {
                    scanner.walk().unwrap();
                    let scan = scanner.scan();
                    assert_eq!((scan.count, scan.unread), (count, 0));
                    assert_eq!(scan.states, states, "{kernel}");
                    let readings = if each { count } else { 0 };
                    assert_eq!(scan.readings.len() as u64, readings);
                }
            }
        }
    }

    #[test]
    fn each_is_kept_in_the_order_of_pids_with_its_name() {
        let mut scanner = Scanner::new(&captured("6.12-qemu"), true);
        scanner.walk().unwrap();
        let scan = scanner.scan();
        let first = scan.readings.first().unwrap();
        assert_eq!((first.pid, scan.name(first)), (1, &b"systemd"[..]));
        let values = (first.cpu_ticks, first.resident_pages);
        assert_eq!(values, (Some(3945), Some(3577)));
        assert!(scan.readings.is_sorted_by_key(|reading| reading.pid));
        assert!(
            scan.readings
                .iter()
                .any(|one| scan.name(one) == b"new\nline")
        );
    }

    #[test]
    fn what_is_beyond_the_bound_is_counted_and_not_read() {
        let (_directory, root) = root();
        for pid in 1..=5 {
            put(&root, &stat_path(pid), stat(pid));
        }
        let mut scanner = Scanner::new(&root, true);
        scanner.max = 5;
        scanner.walk().unwrap();
        assert_eq!((scanner.scan().count, scanner.scan().unread), (5, 0));
        scanner.max = 4;
        // Which ones are read is up to the directory; the first may be among the others.
        let _ = scanner.walk();
        assert_eq!((scanner.scan().count, scanner.scan().unread), (5, 1));
        assert_eq!(scanner.scan().readings.len(), 4);
    }

    #[test]
    fn one_that_ended_is_not_there() {
        let (_directory, root) = root();
        put(&root, "/proc/1/stat", stat(1));
        fs::create_dir_all(root.path("/proc/2")).unwrap();
        put(&root, "/proc/uptime", "1 2\n");
        put(&root, "/proc/3x/stat", "no process\n");
        let mut scanner = Scanner::new(&root, false);
        scanner.walk().unwrap();
        assert_eq!(scanner.scan().count, 1);
    }

    #[test]
    fn one_that_makes_no_sense_costs_itself_alone_and_is_named() {
        let (_directory, root) = root();
        put(&root, "/proc/1/stat", stat(1));
        let cut = stat(1).replace("p1", &"p".repeat(STAT_BYTES));
        for (text, each, states, readings, expected) in [
            (
                &*stat(4711).replace(" 4711 5\n", " -7 5\n"),
                true,
                2,
                2,
                "resident pages",
            ),
            (
                &*stat(4711).replace(" 4711 5\n", " -7 5\n"),
                false,
                2,
                0,
                "",
            ),
            ("4711 (x) ? 1\n", false, 1, 0, "the letter of a state"),
            ("4711 x S 1\n", true, 1, 1, "PID (NAME) of a process"),
            // Longer than any: cut off, and so without the end of its name.
            (&*cut, true, 1, 1, "PID (NAME) of a process"),
        ] {
            put(&root, "/proc/4711/stat", text);
            let mut scanner = Scanner::new(&root, each);
            scanner.walk().unwrap();
            let left_out = scanner.take_left_out();
            let scan = scanner.scan();
            assert_eq!((scan.count, scan.states[1]), (2, states), "{expected}");
            assert_eq!(scan.readings.len(), readings, "{expected}");
            let named: Vec<_> = left_out.named().iter().map(ToString::to_string).collect();
            assert_eq!(named.len(), usize::from(!expected.is_empty()), "{named:?}");
            let all = |error: &String| {
                error.contains("/proc/4711/stat, line 1: ") && error.contains(expected)
            };
            assert!(named.iter().all(all), "{named:?}");
        }
    }

    #[test]
    fn one_that_cannot_be_read_costs_itself_alone_and_is_named() {
        let (_directory, root) = root();
        for pid in [2, 3] {
            put(&root, &stat_path(pid), stat(pid));
        }
        fs::create_dir_all(root.path("/proc/1/stat")).unwrap();
        let mut scanner = Scanner::new(&root, true);
        scanner.walk().unwrap();
        let left_out = scanner.take_left_out();
        let error = left_out.named()[0].to_string();
        assert!(error.contains("/proc/1/stat: Is a directory"), "{error}");
        let scan = scanner.scan();
        assert_eq!((scan.count, scan.states[1], scan.readings.len()), (3, 2, 2));
    }

    #[test]
    fn no_proc_is_an_error_that_names_it() {
        let (_directory, root) = root();
        let error = Scanner::new(&root, false).walk().unwrap_err().to_string();
        assert!(error.starts_with("cannot open "), "{error}");
    }

    #[test]
    fn a_handle_that_went_stale_is_opened_again() {
        let (_directory, root) = root();
        put(&root, "/one/1/stat", stat(1));
        symlink("one", root.path("/proc")).unwrap();
        let mut scanner = Scanner::new(&root, false);
        scanner.walk().unwrap();
        assert!(scanner.directory.is_some(), "it is kept");
        scanner.directory = None;
        scanner.walk().unwrap();
        assert_eq!(scanner.scan().count, 1);
    }

    #[test]
    fn where_the_first_process_is_hidden_nothing_is_counted() {
        let (_directory, root) = root();
        put(&root, "/proc/42/stat", stat(42));
        let mut scanner = Scanner::new(&root, false);
        let error = scanner.walk().unwrap_err();
        assert!(matches!(error, CollectError::Refused(_)));
        assert!(error.to_string().contains("process 1 cannot be read"));
        put(
            &root,
            MOUNTS,
            "22 1 0:21 / /proc rw - proc proc rw,hidepid=invisible\n",
        );
        let error = scanner.walk().unwrap_err().to_string();
        assert!(error.contains("hidepid=invisible"), "{error}");
        assert!(error.contains("ProtectProc=default"), "{error}");
    }

    #[test]
    fn hidepid_is_that_of_the_mount_on_top() {
        let line = |options: &str| format!("22 1 0:21 / /proc rw shared:5 - proc proc {options}\n");
        for (text, expected) in [
            (String::new(), None),
            (line("rw"), None),
            (line("rw,hidepid=off"), None),
            (line("rw,hidepid=0"), None),
            (line("rw,gid=7,hidepid=2"), Some("2")),
            (line("rw,hidepid=invisible,subset=pid"), Some("invisible")),
            (line("rw") + &line("hidepid=ptraceable"), Some("ptraceable")),
            (line("rw,hidepid=2") + &line("rw"), None),
            (line("rw,hidepid=2").replace("/proc", "/mnt/proc"), None),
            (line("rw,hidepid=2").replace("- proc", "- fuse"), None),
            (line("rw,hidepid=2").replace(" - ", " "), None),
            ("22\n\n/proc\n".to_owned(), None),
        ] {
            let found = hidepid(text.as_bytes()).map(|value| value.escape_ascii().to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
    }

    /// What is measured here is what ps shows, between two looks at it.
    #[test]
    fn the_running_machine_has_these_processes() {
        let pids = || {
            let entries = fs::read_dir("/proc").unwrap();
            entries
                .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok())
                .collect::<std::collections::BTreeSet<_>>()
        };
        let before = pids();
        let mut scanner = Scanner::new(&Root::default(), true);
        scanner.walk().unwrap();
        let after = pids();
        let scan = scanner.scan();
        let seen: std::collections::BTreeSet<_> =
            scan.readings.iter().map(|reading| reading.pid).collect();
        let stayed: Vec<_> = before.intersection(&after).collect();
        assert!(stayed.iter().all(|pid| seen.contains(pid)));
        assert!(seen.contains(&std::process::id()));
        assert_eq!(scan.states.iter().sum::<u64>(), scan.count);
    }
}
