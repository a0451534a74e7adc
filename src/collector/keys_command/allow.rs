//! `keys allow`: one key or many; all are resolved before the first is let in. Files of an allow
//! list are added whole, and removed.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::Args;

use super::enforcement::warn_where_lists_do_not_count;
use super::overview::standing;
use super::reporting::reporting_now;
use super::who::{Known, Resolved};
use super::{Failure, Site, listener, print, refused_note, warn};
use crate::base::{
    durable::{inside, inside_made},
    shell,
    text::{self, is_plain},
};
use crate::collector::access::key_log::Decision;
use crate::collector::access::state::KnownKeys;
use crate::collector::access::{Authorized, Listener, directory::ENDING};
use crate::curve::{certificate::Certificate, keys::PublicKey};

/// Whom to let in.
#[derive(Debug, Args)]
pub(super) struct Wanted {
    /// A public key, a host name, or a shell pattern for the names of hosts that have reported.
    #[arg(value_name = "KEY|HOST|PATTERN", required_unless_present = "reporting")]
    who: Vec<String>,
    /// Every key that reports now.
    #[arg(long, conflicts_with_all = ["who", "viewer", "name"])]
    reporting: bool,
    /// The name of the key's file; by default that of the host.
    #[arg(long)]
    name: Option<String>,
    /// As the key of a viewer, not of an agent.
    #[arg(long)]
    viewer: bool,
}

/// Keys, with the host that each is known by, in the order of keys.
type Chosen = BTreeMap<PublicKey, Option<String>>;

impl Site {
    pub(super) fn allow(&self, wanted: &Wanted) -> Result<(), Failure> {
        let listener = listener(wanted.viewer);
        let enforcement = self.enforcement(listener);
        let chosen = if wanted.reporting {
            self.all_reporting()?
        } else {
            self.all_of(&wanted.who, listener)?
        };
        if let (Some(_), 2..) = (&wanted.name, chosen.len()) {
            return Err(Failure::OneName(chosen.len()));
        }
        let mut listed = self.directories(listener).files();
        let many = chosen.len() > 1;
        // As people look for them.
        let mut chosen: Vec<_> = chosen.into_iter().collect();
        chosen.sort_by(|(_, one), (_, other)| one.cmp(other));
        for (key, host) in chosen {
            if let Some((path, ..)) = listed.iter().find(|(.., listed)| *listed == key) {
                print(&format!("{} has the key {key} already\n", text::path(path)))?;
                continue;
            }
            let free = |host: &String| {
                !many || is_name(host) && listed.iter().all(|(_, name, _)| **name != **host)
            };
            let name = match (&wanted.name, host.filter(free)) {
                (Some(name), _) => name.clone(),
                (None, Some(host)) => host,
                // One host whose name is invalid or taken must not stop the others.
                (None, None) => name_of(&key),
            };
            let path = add(&self.places.write(listener), &name, &key)?;
            let role = listener.role();
            print(&format!(
                "Wrote {}: the key {key} is let in as {role}\n",
                text::path(&path)
            ))?;
            listed.push((path, name.into(), key));
        }
        warn_where_lists_do_not_count(&enforcement);
        self.warn_of_own_list(listener);
        Ok(())
    }

    fn all_of(&self, who: &[String], listener: Listener) -> Result<Chosen, Failure> {
        let mut chosen = Chosen::new();
        for one in who {
            let found = match self.resolve(one, listener) {
                Ok(found) => vec![found],
                Err(Failure::Who(error)) => {
                    self.all_like(one, listener)?.ok_or(Failure::Who(error))?
                }
                Err(failure) => return Err(failure),
            };
            chosen.extend(found.into_iter().map(|Resolved { key, host }| (key, host)));
        }
        Ok(chosen)
    }

    /// The keys of hosts whose names match a pattern; None if it is not a pattern.
    pub(super) fn all_like(
        &self,
        pattern: &str,
        listener: Listener,
    ) -> Result<Option<Vec<Resolved>>, Failure> {
        let (known, pins) = (self.keys()?, self.state.pins()?);
        Ok(Known::new(known.as_ref(), &pins).all_like(listener, pattern)?)
    }

    fn all_reporting(&self) -> Result<Chosen, Failure> {
        self.may_see()?;
        if !self.state.is_owned() {
            return Err(Failure::NotRunning);
        }
        self.refresh();
        let known = self.keys()?;
        let refused = self.refused(known.as_ref());
        let reporting = known.as_ref().map(reporting_now).transpose()?;
        // One that is not on a list that counts was revoked a moment ago.
        let counts = known.as_ref().map(|known| known.authorized) == Some(Authorized::Directory);
        let listed = self.listed_quietly(Listener::Agents);
        let is_listed = |key: &PublicKey| listed.iter().any(|(.., listed)| listed == key);
        let reporting = reporting.into_iter().flatten();
        let reporting = reporting.filter(|(key, _)| !counts || is_listed(key));
        let chosen: Chosen = reporting.map(|(key, host)| (key, Some(host))).collect();
        if chosen.is_empty() {
            return Err(Failure::NoKeyReports { refused });
        }
        if refused > 0 {
            let note = refused_note(refused);
            warn(&format_args!("only keys that report are let in{note}"));
        }
        Ok(chosen)
    }

    /// The number of agents' keys that came and that `keys list` shows as refused: also those
    /// that have not come again since they were.
    fn refused(&self, known: Option<&KnownKeys>) -> usize {
        let listed = self.listed_quietly(Listener::Agents);
        let known = known.iter();
        let keys =
            known.flat_map(|known| known.keys.iter().map(|(who, _)| (known.authorized, who)));
        let refused = keys.filter(|(authorized, (listener, key))| {
            let is_listed = listed.iter().any(|(.., listed)| listed == key);
            *listener == Listener::Agents
                && standing(is_listed, *listener, Some(*authorized)) == Decision::Refused
        });
        refused.count()
    }
}

/// The longest name, in bytes: a file's name has 255, of which a draft's needs some more.
pub(super) const MAX_NAME_BYTES: usize = 200;

/// Public keys must be readable for the collector's user, even if another user wrote them.
const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// A name for a key of which nothing else is known.
pub(super) fn name_of(key: &PublicKey) -> String {
    format!("key-{}", key.digits())
}

/// Returns true if this is a valid name of a file that is easy to read.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name.starts_with('.')
        && !name.contains('/')
        && is_plain(name)
}

/// Writes `NAME.key` with this key; where. When this returns it is on the disk.
pub(super) fn add(directory: &Path, name: &str, key: &PublicKey) -> Result<PathBuf, Failure> {
    if !is_name(name) {
        let name = name.to_owned();
        return Err(Failure::Name { name });
    }
    let file = format!("{name}{ENDING}");
    let path = directory.join(&file);
    let now = humantime::format_rfc3339_seconds(SystemTime::now());
    let text = format!(
        "#   Let in by `metrics-collector keys allow` on {now}\n\
         \n\
         metadata\n\
         curve\n    public-key = \"{key}\"\n"
    );
    let added = inside_made(directory, DIRECTORY_MODE, |directory| {
        let draft = directory.draft(&file, FILE_MODE, |draft| draft.write_all(text.as_bytes()))?;
        draft.publish(&file)?;
        directory.sync()
    });
    match added {
        Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => {
            Err(taken(&path, name, key))
        }
        added => Ok(added.map(|()| path)?),
    }
}

/// Removes a file. When this returns it is gone from the disk.
pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // Another process may have been faster.
    inside(directory, |directory| directory.remove(&name))?;
    Ok(())
}

fn taken(path: &Path, name: &str, wanted: &PublicKey) -> Failure {
    match Certificate::read_public(path) {
        Ok(key) => Failure::Exists {
            path: path.to_owned(),
            key,
            free: shell::word(&format!("{name}-{}", wanted.digits())),
        },
        Err(error) => Failure::InTheWay {
            problem: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, os::unix::fs::PermissionsExt as _};

    fn key(number: u8) -> PublicKey {
        PublicKey::from_bytes([number; 32])
    }

    #[test]
    fn a_key_is_written_whole_for_all_to_read_and_never_over_another() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("etc/authorized_agents");
        let path = add(&directory, "web1", &key(1)).unwrap();
        assert_eq!(path, directory.join("web1.key"));
        assert_eq!(Certificate::read_public(&path).unwrap(), key(1));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&directory)), (0o644, 0o755));
        let error = add(&directory, "web1", &key(2)).unwrap_err();
        let said = error.to_string();
        let expected = format!(
            "holds another key, {}; --name web1-02020202 keeps both",
            key(1)
        );
        assert!(said.contains(&expected), "{said}");
        assert_eq!(Certificate::read_public(&path).unwrap(), key(1));
        assert_eq!(
            fs::read_dir(&directory).unwrap().count(),
            1,
            "no draft stays"
        );
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(!path.exists());
        fs::write(&path, "junk").unwrap();
        let error = add(&directory, "web1", &key(2)).unwrap_err();
        assert!(matches!(error, Failure::InTheWay { .. }), "{error}");
    }

    #[test]
    fn names_are_files_names() {
        let root = tempfile::tempdir().unwrap();
        let long = "a".repeat(MAX_NAME_BYTES + 1);
        for name in [
            "",
            ".hidden",
            "a/b",
            "../x",
            "a\nb",
            "a\u{202e}b",
            "a\u{200b}",
            &long,
        ] {
            let error = add(root.path(), name, &key(1)).unwrap_err();
            assert!(matches!(error, Failure::Name { .. }), "{name}");
        }
        add(root.path(), &long[1..], &key(1)).unwrap();
        add(root.path(), &name_of(&key(0xAB)), &key(1)).unwrap();
        assert!(root.path().join("key-abababab.key").exists());
    }
}
