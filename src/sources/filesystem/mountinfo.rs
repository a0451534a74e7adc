//! What /proc/PID/mountinfo says (`proc_pid_mountinfo(5)`), and which of the mounts to measure.
//!
//! Pure: from the text to mounts, from mounts to a choice. A file system may be mounted many times,
//! above all below a unit's sandbox, and is measured once; a mount that is covered by another
//! cannot be reached by its path, and is ignored.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::text;
use crate::sources::{
    error::Malformed,
    odd::Odd,
    options::FilesystemOptions,
    text::{decimal, lines, split_once},
};

const EXPECTED_LINE: &str =
    "ID PARENT MAJOR:MINOR ROOT MOUNT-POINT OPTIONS ... - TYPE SOURCE ro|rw";

/// What is mounted by being looked at; no option makes us do that.
const AUTOFS: &[u8] = b"autofs";

/// Types without a block device of their own that are on this machine all the same.
const LOCAL_TYPES: [&[u8]; 5] = [b"tmpfs", b"ramfs", b"btrfs", b"bcachefs", b"zfs"];

/// Most file systems that are measured. With seven values each this fills a third of what
/// a message may have; hosts with more mount one for each container.
pub const MAX_MOUNTS: usize = 500;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount<'t> {
    /// Unique among those of now.
    pub id: u64,
    /// The mount that this one is on.
    pub parent: u64,
    /// Major and minor number of the device.
    pub device: (u64, u64),
    /// What of the file system is mounted, as written.
    pub root: &'t [u8],
    /// The path that it is on.
    pub point: Vec<u8>,
    /// The file system's type.
    pub kind: &'t [u8],
    /// True if the file system is read-only. The mount alone may be, too.
    pub readonly: bool,
    /// True if the file system is the host's, and not one that a sandbox has made for us.
    pub of_host: bool,
    /// True if it is on a single file, as container runtimes mount /etc/hosts: such a place does
    /// not count as a file system's.
    pub on_file: bool,
}

/// Types whose files can only be looked at through a server that may not answer.
const REMOTE_TYPES: [&[u8]; 8] = [
    b"9p", b"afs", b"autofs", b"ceph", b"cifs", b"lustre", b"nfs", b"smb3",
];

impl Mount<'_> {
    /// Returns true if it may be one that a sandbox has made, with a content of its own or none. Not
    /// all of those cannot be written to: systemd 252 makes that of `ProtectHome=tmpfs` as it would
    /// any other.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.kind == b"tmpfs"
    }

    /// Returns true if it may be on a single file: a part of a file system is mounted.
    #[must_use]
    pub fn may_be_on_file(&self) -> bool {
        self.root != b"/" && self.point != b"/"
    }

    /// Returns true if looking at what is here may hang.
    #[must_use]
    pub fn may_hang(&self) -> bool {
        self.kind.starts_with(b"fuse")
            || self.kind.starts_with(b"nfs")
            || REMOTE_TYPES.contains(&self.kind)
    }
}

/// Marks the mounts that `is_file` says are on a single file. It is asked about none whose path
/// leads over a mount that may hang.
pub fn mark_files(mounts: &mut [Mount<'_>], is_file: impl Fn(&[u8]) -> bool) {
    let hanging = mounts.iter().filter(|mount| mount.may_hang());
    let hanging: Vec<_> = hanging.map(|mount| mount.point.clone()).collect();
    for mount in mounts.iter_mut().filter(|mount| mount.may_be_on_file()) {
        let safe = !hanging.iter().any(|point| leads_over(&mount.point, point));
        mount.on_file = safe && is_file(&mount.point);
    }
}

/// The mounts, in the order in which they were made. A line that makes no sense costs its
/// mount; an error where no line makes sense.
pub fn parse<'t>(text: &'t [u8], odd: &mut Odd) -> Result<Vec<Mount<'t>>, Malformed> {
    let mut mounts = Vec::new();
    for line in lines(text) {
        let Some(line) = odd.keep(line) else {
            break;
        };
        match parse_line(line.text) {
            Ok(mount) => mounts.push(mount),
            Err(word) => odd.add(line.malformed_word(EXPECTED_LINE, word)),
        }
    }
    match odd.take_first_if(mounts.is_empty()) {
        Some(problem) => Err(problem),
        None => Ok(mounts),
    }
}

/// An error with the word that makes no sense; None if something is missing.
fn parse_line(line: &[u8]) -> Result<Mount<'_>, Option<&[u8]>> {
    let number = |field| decimal(field).ok_or(Some(field));
    let mut fields = line.split(|&byte| byte == b' ');
    let id = number(fields.next().ok_or(None)?)?;
    let parent = number(fields.next().ok_or(None)?)?;
    let device = fields.next().ok_or(None)?;
    let (major, minor) = split_once(device, b':').ok_or(Some(device))?;
    let root = fields.next().ok_or(None)?;
    let point = unescaped(fields.next().ok_or(None)?);
    if point.is_empty() {
        return Err(None);
    }
    // The mount's own options, of which none counts here.
    fields.next().ok_or(None)?;
    fields.find(|field| *field == b"-").ok_or(None)?;
    let kind = fields.next().ok_or(None)?;
    // The source may be empty; the options may have blanks, as some file systems do not
    // escape theirs, but begin with this.
    fields.next().ok_or(None)?;
    let options = fields.next().ok_or(None)?;
    let readonly = match options
        .split(|&byte| byte == b',')
        .next()
        .unwrap_or_default()
    {
        b"ro" => true,
        b"rw" => false,
        _ => return Err(Some(options)),
    };
    Ok(Mount {
        id,
        parent,
        device: (number(major)?, number(minor)?),
        root,
        point,
        kind,
        readonly,
        of_host: true,
        on_file: false,
    })
}

/// Blanks, tabs, newlines and backslashes are written as three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let code = (byte == b'\\').then(|| octal(after)).flatten();
        plain.push(code.unwrap_or(byte));
        if code.is_some() {
            rest = after.get(3..).unwrap_or_default();
        }
    }
    plain
}

fn octal(text: &[u8]) -> Option<u8> {
    let digits = text.get(..3)?;
    let code = digits.iter().try_fold(0_u16, |code, digit| {
        matches!(digit, b'0'..=b'7').then(|| code * 8 + u16::from(digit - b'0'))
    });
    u8::try_from(code?).ok()
}

/// One that is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen<'m> {
    /// The mount.
    pub mount: &'m Mount<'m>,
    /// Its path as a name: printable, and like that of no other.
    pub name: String,
    /// The ids of the mounts that its path leads through, without the one of `/`: if that hangs,
    /// there is no reader left to report to.
    pub through: Vec<u64>,
}

/// Which to measure, those least likely to hang first; and how many more there would be. Those
/// whose names would be the same as another's are left out, and put into `twins`.
#[must_use]
pub fn choose<'m>(
    mounts: &'m [Mount<'m>],
    options: &FilesystemOptions,
    twins: &mut Vec<&'m Mount<'m>>,
) -> (Vec<Chosen<'m>>, usize) {
    let tree = Tree::of(mounts);
    let mut devices: BTreeMap<_, Chosen<'m>> = BTreeMap::new();
    for mount in mounts {
        let name = text::bytes(&mount.point);
        let kind = String::from_utf8_lossy(mount.kind);
        let excluded = options
            .exclude_types
            .iter()
            .any(|type_| type_.matches(&kind));
        let own = mount.of_host && !mount.on_file;
        let wanted = own && !excluded && options.mounts.admits(&name);
        if mount.kind == AUTOFS || !wanted {
            continue;
        }
        let better = |other: &Chosen<'_>| rank(mount) < rank(other.mount);
        if !devices.get(&mount.device).is_none_or(better) {
            continue;
        }
        if let Some(through) = tree.way_to(mount) {
            let chosen = Chosen {
                mount,
                name,
                through,
            };
            devices.insert(mount.device, chosen);
        }
    }
    let mut chosen: Vec<_> = devices.into_values().collect();
    chosen.sort_by_key(|chosen| (!is_local(chosen.mount), &chosen.mount.point));
    let mut names = BTreeSet::new();
    chosen.retain(|chosen| {
        let new = names.insert(chosen.name.clone());
        if !new {
            twins.push(chosen.mount);
        }
        new
    });
    let all = chosen.len();
    chosen.truncate(MAX_MOUNTS);
    let cut = all - chosen.len();
    (chosen, cut)
}

/// Ranks the mounts of one file system, to choose its main one: the mount that the system is on,
/// one of all of it, the one with the shortest path; the first of equal ones.
fn rank<'m>(mount: &'m Mount<'_>) -> impl Ord + use<'m> {
    (mount.point != b"/", mount.root != b"/", mount.point.len())
}

fn is_local(mount: &Mount<'_>) -> bool {
    // Devices without a driver have the major number 0: proc(5) of /proc/devices.
    mount.device.0 != 0 || LOCAL_TYPES.contains(&mount.kind)
}

/// What path resolution finds.
struct Tree<'m> {
    mounts: &'m [Mount<'m>],
    /// The mounts that are on another, by its id; None: on none that we see, as `/` is.
    on: BTreeMap<Option<u64>, Vec<&'m Mount<'m>>>,
}

impl<'m> Tree<'m> {
    fn of(mounts: &'m [Mount<'m>]) -> Self {
        let ids: BTreeSet<u64> = mounts.iter().map(|mount| mount.id).collect();
        let mut on: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for mount in mounts {
            let seen = mount.parent != mount.id && ids.contains(&mount.parent);
            let parent = if seen {
                Some(mount.parent)
            } else {
                below(mounts, mount)
            };
            on.entry(parent).or_default().push(mount);
        }
        Self { mounts, on }
    }

    /// The mounts that the path of this one leads through; None if it leads elsewhere,
    /// since another covers it.
    ///
    /// From one mount, a path leads to that on it which it meets first.
    fn way_to(&self, target: &Mount<'_>) -> Option<Vec<u64>> {
        let mut through = Vec::new();
        let mut here = None;
        // Each step is to another mount; a text that has the same twice has no end.
        for _ in self.mounts {
            let on_it = self.on.get(&here.map(|mount: &Mount<'_>| mount.id));
            let met = on_it
                .into_iter()
                .flatten()
                .filter(|mount| leads_over(&target.point, &mount.point))
                // The last of several at one place: min_by_key takes the first.
                .rev()
                .min_by_key(|mount| mount.point.len());
            let Some(met) = met else {
                break;
            };
            if let Some(left) = here.replace(*met) {
                through.push(left);
            }
        }
        (here?.id == target.id).then(|| {
            let below = through.iter().filter(|mount| mount.point != b"/");
            below.map(|mount| mount.id).collect()
        })
    }
}

/// What a mount is on whose parent's line makes no sense: the last of those with the longest
/// path above its own. None for `/`.
fn below(mounts: &[Mount<'_>], mount: &Mount<'_>) -> Option<u64> {
    let above = mounts.iter().filter(|other| {
        other.point.len() < mount.point.len() && leads_over(&mount.point, &other.point)
    });
    let above = above.max_by_key(|other| other.point.len());
    above.map(|other| other.id)
}

fn leads_over(path: &[u8], point: &[u8]) -> bool {
    let rest = path.strip_prefix(point);
    point == b"/" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests;
