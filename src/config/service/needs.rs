//! What a unit needs at its start beside its settings: the directories and files of its sandbox and
//! the programs of its commands. systemd does not start it without them (systemd.exec(5)).

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::thread;

use rustix::fs::{Access, access};

use super::command::Entry;
use super::manager::Properties;
use super::unit::Unit;
use super::{Note, Obstacle};
use crate::base::durable::owner::Owner;

/// Lists of paths, where a `-` in front says that it does without.
const LISTS: [&str; 4] = [
    "ReadWritePaths",
    "ReadOnlyPaths",
    "InaccessiblePaths",
    "ExtensionDirectories",
];
const BINDS: [&str; 2] = ["BindPaths", "BindReadOnlyPaths"];
const NAMESPACES: [&str; 2] = ["NetworkNamespacePath", "IPCNamespacePath"];
/// What may be a terminal, which `TTYPath=` names.
const STREAMS: [&str; 3] = ["StandardInput", "StandardOutput", "StandardError"];
/// No `-` helps where these are missing.
const IMAGES: [&str; 2] = ["MountImages", "ExtensionImages"];
const ROOTS: [&str; 2] = ["RootDirectory", "RootImage"];

/// The commands of a start, each with what the bus calls it.
const COMMANDS: [(&str, &str); 4] = [
    ("ExecCondition", "ExecConditionEx"),
    ("ExecStartPre", "ExecStartPreEx"),
    ("ExecStart", "ExecStartEx"),
    ("ExecStartPost", "ExecStartPostEx"),
];

/// Directories that systemd makes for the unit before, and where.
const MADE: [(&str, &str); 5] = [
    ("StateDirectory", "/var/lib"),
    ("RuntimeDirectory", "/run"),
    ("CacheDirectory", "/var/cache"),
    ("LogsDirectory", "/var/log"),
    ("ConfigurationDirectory", "/etc"),
];

/// How the bus marks a `-`, a `+`, a `!` and a `!!` in front of a command.
const MAY_FAIL: &str = "ignore-failure";
const AS_ROOT: [&str; 3] = ["privileged", "no-setuid", "ambient"];

/// The longest first line of a script, as Linux reads it.
const MAX_FIRST_LINE: u64 = 256;

const CREATE: &str = "create it, write a - in front of it in the unit, or correct that line";
const CORRECT: &str = "create it, or correct that line";
const INSTALL: &str = "install it, or correct that line";

/// Such needs.
#[derive(Debug, Default)]
pub(super) struct Needs {
    /// A root of its own: then nothing is known of what it sees.
    root: Option<(&'static str, PathBuf)>,
    directory: Option<PathBuf>,
    paths: Vec<(&'static str, PathBuf)>,
    commands: Vec<(&'static str, Entry)>,
}

/// The user that the unit runs as.
pub(super) struct User<'a> {
    pub(super) name: &'a str,
    pub(super) owner: Option<Owner>,
    pub(super) groups: &'a [u32],
}

impl Needs {
    pub(super) fn of(properties: &Properties) -> Self {
        let text = |name: &str| {
            let text: String = properties.get(name).unwrap_or_default();
            text
        };
        let list = |name: &str| {
            let list: Vec<String> = properties.get(name).unwrap_or_default();
            list
        };
        let made: Vec<_> = MADE
            .iter()
            .flat_map(|(name, base)| {
                let all = list(name).into_iter();
                all.map(move |one| Path::new(base).join(one))
            })
            .collect();
        let mut paths = Vec::new();
        // Below what is read-only already, systemd passes over these.
        let is_strict = text("ProtectSystem") == "strict";
        for name in LISTS {
            let needed = list(name).into_iter().filter(|path| !path.starts_with('-'));
            let needed = needed.filter(|_| name != "ReadOnlyPaths" || !is_strict);
            paths.extend(needed.map(|path| (name, PathBuf::from(path.trim_start_matches('+')))));
        }
        for name in BINDS {
            let all: Vec<(String, String, bool, u64)> = properties.get(name).unwrap_or_default();
            let needed = all.into_iter().filter(|(_, _, may_lack, _)| !may_lack);
            paths.extend(needed.map(|(from, ..)| (name, PathBuf::from(from))));
        }
        for name in NAMESPACES {
            let path = text(name);
            paths.extend((!path.is_empty()).then(|| (name, PathBuf::from(path))));
        }
        paths.extend(images(properties));
        let has_terminal = STREAMS.iter().any(|name| text(name).starts_with("tty"));
        let terminal = text("TTYPath");
        paths.extend((has_terminal && !terminal.is_empty()).then(|| ("TTYPath", terminal.into())));
        paths.retain(|(_, path)| !made.iter().any(|made| made.starts_with(path)));
        let root = ROOTS.into_iter().map(|name| (name, text(name)));
        let mut root = root.filter(|(_, path)| !matches!(path.as_str(), "" | "/"));
        let directory = text("WorkingDirectory");
        let is_needed = directory.starts_with('/');
        let commands = COMMANDS.into_iter().flat_map(|(name, on_bus)| {
            let entries: Vec<Entry> = properties.get(on_bus).unwrap_or_default();
            entries.into_iter().map(move |entry| (name, entry))
        });
        Self {
            root: root.next().map(|(name, path)| (name, path.into())),
            directory: is_needed.then(|| directory.into()),
            paths,
            commands: commands.collect(),
        }
    }

    /// What of it is not there, and what is not known.
    pub(super) fn missing(
        &self,
        name: &str,
        unit: &Unit,
        user: &User,
    ) -> (Vec<Obstacle>, Option<Note>) {
        let lacking = |property: &'static str, path: &Path, why: String, way_out| {
            let of_it = |value: &str| path.to_str().is_some_and(|path| value.contains(path));
            Obstacle::Needed {
                path: path.to_owned(),
                unit: name.to_owned(),
                property,
                place: unit.place(&[property], of_it),
                why,
                way_out,
            }
        };
        let unknown = |what, why| Note::Unknown {
            unit: name.to_owned(),
            what,
            why,
        };
        if let Some((property, path)) = &self.root {
            if let Some(why) = absent(path) {
                return (vec![lacking(property, path, why, CORRECT)], None);
            }
            let why = format!("{property}= gives it a root of its own");
            return (Vec::new(), Some(unknown("the files that it sees", why)));
        }
        let paths = self.paths.iter().filter_map(|(property, path)| {
            let names_it_only = [&NAMESPACES[..], &IMAGES, &["TTYPath"]];
            let way_out = if names_it_only.concat().contains(property) {
                CORRECT
            } else {
                CREATE
            };
            Some(lacking(property, path, absent(path)?, way_out))
        });
        let mut all: Vec<_> = paths.collect();
        all.extend(self.directory.as_ref().and_then(|path| {
            let why = user.barred(|| directory_bars(path, user.name))?;
            Some(lacking("WorkingDirectory", path, why, CREATE))
        }));
        let mut note = None;
        if !all.is_empty() && self.is_prepared() {
            all.clear();
            let why = "a command of ExecStartPre= that runs as root may make them".to_owned();
            note = Some(unknown("paths of its sandbox that are missing", why));
        }
        for (property, (path, _, flags, ..)) in &self.commands {
            let path = Path::new(path);
            let may_fail = *property != "ExecStart" && flags.iter().any(|flag| flag == MAY_FAIL);
            if may_fail || !path.is_absolute() {
                continue;
            }
            let as_root = flags.iter().any(|flag| AS_ROOT.contains(&flag.as_str()));
            let why = if as_root {
                program_bars(path, "root")
            } else {
                user.barred(|| program_bars(path, user.name))
            };
            all.extend(why.map(|why| lacking(property, path, why, INSTALL)));
        }
        (all, note)
    }

    /// Returns true if a command runs before, outside of the sandbox.
    fn is_prepared(&self) -> bool {
        self.commands.iter().any(|(name, (_, _, flags, ..))| {
            let is_before = matches!(*name, "ExecStartPre" | "ExecCondition");
            is_before && flags.iter().any(|flag| flag == "privileged")
        })
    }
}

impl User<'_> {
    /// Looks with this user's rights; None where they cannot be had.
    fn barred(&self, look: impl Fn() -> Option<String> + Send + Sync) -> Option<String> {
        let Some(owner) = self.owner.filter(|owner| owner.uid() != 0) else {
            return look();
        };
        let looked = thread::scope(|scope| {
            let worker = scope.spawn(|| {
                owner.take_over(self.groups).ok()?;
                look()
            });
            worker.join()
        });
        looked.ok().flatten()
    }
}

/// The images that are mounted for the unit, and that it does not do without.
fn images(properties: &Properties) -> Vec<(&'static str, PathBuf)> {
    type Options = Vec<(String, String)>;
    let mounted: Vec<(String, String, bool, Options)> =
        properties.get(IMAGES[0]).unwrap_or_default();
    let mounted = mounted.into_iter();
    let mounted = mounted.map(|(image, _, may_lack, _)| (IMAGES[0], image, may_lack));
    let extensions: Vec<(String, bool, Options)> = properties.get(IMAGES[1]).unwrap_or_default();
    let extensions = extensions.into_iter();
    let extensions = extensions.map(|(image, may_lack, _)| (IMAGES[1], image, may_lack));
    let needed = mounted.chain(extensions).filter(|(.., may_lack)| !may_lack);
    needed
        .map(|(name, image, _)| (name, image.into()))
        .collect()
}

fn absent(path: &Path) -> Option<String> {
    match fs::metadata(path).err()?.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Some("does not exist".to_owned()),
        _ => None,
    }
}

fn directory_bars(path: &Path, user: &str) -> Option<String> {
    let is_other = fs::metadata(path).is_ok_and(|about| !about.is_dir());
    let other = || is_other.then(|| "is no directory".to_owned());
    absent(path).or_else(other).or_else(|| {
        access(path, Access::EXEC_OK)
            .err()
            .map(|_| format!("{user} may not enter it"))
    })
}

fn program_bars(path: &Path, user: &str) -> Option<String> {
    if let Some(why) = absent(path) {
        return Some(why);
    }
    let is_file = fs::metadata(path).is_ok_and(|about| about.is_file());
    if !is_file || access(path, Access::EXEC_OK).is_err() {
        return Some(format!("is no program that {user} may run"));
    }
    let interpreter = interpreter(path)?;
    absent(&interpreter).map(|why| format!("its interpreter {} {why}", interpreter.display()))
}

/// What a script names in its first line.
fn interpreter(path: &Path) -> Option<PathBuf> {
    let mut start = Vec::new();
    let file = File::open(path).ok()?;
    file.take(MAX_FIRST_LINE).read_to_end(&mut start).ok()?;
    let line = start
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let word = std::str::from_utf8(line).ok()?.split_whitespace().next()?;
    Some(PathBuf::from(word)).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use serde_json::{Value, json};

    use super::*;

    /// As busctl of systemd 257 prints them.
    fn needs(properties: &[(&str, Value)]) -> Needs {
        let entries = properties.iter();
        let all: serde_json::Map<_, _> = entries
            .map(|(name, data)| ((*name).to_owned(), json!({"type": "s", "data": data})))
            .collect();
        let answer = json!({"type": "a{sv}", "data": [all]});
        Needs::of(&Properties::parse(&answer.to_string()).unwrap())
    }

    fn command(path: &str, flags: &[&str]) -> Value {
        json!([[path, [path], flags, 0, 0, 0, 0, 0, 0, 0]])
    }

    fn told(needs: &Needs) -> (Vec<String>, Option<String>) {
        let user = User {
            name: "ada",
            owner: None,
            groups: &[],
        };
        let (all, note) = needs.missing("a.service", &Unit::default(), &user);
        let all = all.iter().map(ToString::to_string).collect();
        (all, note.map(|note| note.to_string()))
    }

    #[test]
    fn each_path_that_the_start_needs_is_missed() {
        for (name, data, is_missed) in [
            ("WorkingDirectory", json!("/none"), true),
            ("WorkingDirectory", json!("/etc/passwd"), true),
            ("WorkingDirectory", json!("!/none"), false),
            ("WorkingDirectory", json!("~"), false),
            ("WorkingDirectory", json!("/etc"), false),
            ("RootDirectory", json!("/none"), true),
            ("RootDirectory", json!("/"), false),
            ("RootImage", json!("/none"), true),
            ("ReadWritePaths", json!(["/etc", "+/none"]), true),
            ("ReadWritePaths", json!(["-/none", "/etc"]), false),
            ("ReadOnlyPaths", json!(["/none"]), true),
            ("InaccessiblePaths", json!(["/none"]), true),
            ("ExtensionDirectories", json!(["/none"]), true),
            ("BindPaths", json!([["/none", "/etc", false, 16384]]), true),
            ("BindPaths", json!([["/etc", "/none", false, 16384]]), false),
            (
                "BindReadOnlyPaths",
                json!([["/none", "/x", false, 0]]),
                true,
            ),
            (
                "BindReadOnlyPaths",
                json!([["/none", "/x", true, 0]]),
                false,
            ),
            (
                "MountImages",
                json!([["/none", "/mnt", false, [["root", "ro"]]]]),
                true,
            ),
            ("MountImages", json!([["/none", "/mnt", true, []]]), false),
            ("ExtensionImages", json!([["/none", false, []]]), true),
            ("ExtensionImages", json!([["/etc", false, []]]), false),
            ("TTYPath", json!("/none"), false),
            ("NetworkNamespacePath", json!("/none"), true),
            ("IPCNamespacePath", json!(""), false),
        ] {
            let (all, note) = told(&needs(&[(name, data.clone())]));
            assert_eq!(
                (all.len(), note),
                (usize::from(is_missed), None),
                "{name} {data}"
            );
            let named = format!("but {name}= of a.service needs it, so the service does not start");
            assert!(all.iter().all(|one| one.contains(&named)), "{all:?}");
        }
    }

    #[test]
    fn a_terminal_is_needed_where_it_is_used() {
        for stream in STREAMS {
            for (used, is_missed) in [("tty", true), ("tty-force", true), ("null", false)] {
                let terminal = ("TTYPath", json!("/none"));
                let (all, _) = told(&needs(&[terminal, (stream, json!(used))]));
                assert_eq!(all.len(), usize::from(is_missed), "{stream} {used}");
            }
        }
    }

    #[test]
    fn what_systemd_makes_or_passes_over_is_not_missed() {
        let strict = ("ProtectSystem", json!("strict"));
        let lacking = ("ReadOnlyPaths", json!(["/none"]));
        let state = ("StateDirectory", json!(["none-a/b"]));
        let below = ("ReadWritePaths", json!(["/var/lib/none-a"]));
        for properties in [[strict, lacking.clone()], [state, below]] {
            assert_eq!(told(&needs(&properties)), (Vec::new(), None));
        }
        let pre = ("ExecStartPre", "ExecStartPreEx");
        let prepared = [lacking, (pre.1, command("/bin/sh", &["privileged"]))];
        let noted = |properties: &[(&str, Value)]| {
            let (all, noted) = told(&needs(properties));
            assert_eq!(all, [""; 0]);
            noted.unwrap()
        };
        assert!(noted(&prepared).contains(pre.0));
        assert!(noted(&[("RootDirectory", json!("/etc"))]).contains("RootDirectory="));
    }

    #[test]
    fn a_program_has_to_be_there_and_to_run() {
        let root = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str, mode: u32| {
            let path = root.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let plain = file("plain", "#!/bin/sh\n", 0o644);
        let lost = file("lost", "#! /none/sh -e\n", 0o755);
        let good = file("good", "#!/bin/sh\n", 0o755);
        let none: &[&str] = &[];
        for (name, path, flags, why) in [
            (
                "ExecStart",
                "/none",
                none,
                Some("/none: does not exist, but ExecStart="),
            ),
            (
                "ExecStart",
                "/none",
                &["ignore-failure"],
                Some("does not exist"),
            ),
            (
                "ExecStart",
                "/etc",
                none,
                Some("is no program that ada may run"),
            ),
            (
                "ExecStart",
                &plain,
                none,
                Some("is no program that ada may run"),
            ),
            (
                "ExecStart",
                &lost,
                none,
                Some("its interpreter /none/sh does not exist"),
            ),
            ("ExecStart", &good, none, None),
            ("ExecStart", "name", none, None),
            ("ExecStartPre", "/none", none, Some("but ExecStartPre=")),
            ("ExecStartPre", "/none", &["ignore-failure"], None),
            (
                "ExecStartPost",
                "/none",
                &["privileged"],
                Some("but ExecStartPost="),
            ),
            ("ExecCondition", "/none", none, Some("but ExecCondition=")),
        ] {
            let on_bus = format!("{name}Ex");
            let (all, _) = told(&needs(&[(&on_bus, command(path, flags))]));
            match why {
                Some(why) => assert!(all[0].contains(why), "{all:?}"),
                None => assert!(all.is_empty(), "{all:?}"),
            }
        }
    }
}
