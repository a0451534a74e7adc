//! Whether a unit's next start may differ from the one that runs, as every user can see: systemd
//! tells when it started, and the file system when its files changed.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::credential::{self, STORES, Wanted};
use super::manager::Properties;
use super::unit::Unit;
use super::{UNITS, ask};

/// What has changed since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The file, or the directory that it is in or was in.
    pub path: PathBuf,
    /// systemd has not read it again.
    pub is_stale: bool,
}

/// What has changed since the running service of this unit was started; None if nothing has, as far
/// as this user can see, or if it does not run.
#[must_use]
pub fn changed_since_start(unit: &str) -> Option<Changed> {
    let properties = Properties::of(unit)?;
    let pid: u32 = properties.get("MainPID")?;
    let started: i64 = properties.get("ExecMainStartTimestamp")?;
    if pid == 0 || started == 0 {
        return None;
    }
    let property = "--property=FragmentPath,DropInPaths,NeedDaemonReload";
    let shown = ask("systemctl", &["show", unit, property])?;
    let mut found = Unit::parse(unit, &shown);
    found.credentials = credential::of_properties(&properties);
    let changed = |path: &PathBuf| changed_at(path).is_some_and(|at| at > started);
    let path = watched(unit, &found).into_iter().find(changed);
    let is_stale = found.is_stale;
    // A file that is gone leaves its directory, if that is still there.
    let path = path.or_else(|| found.parts.first().filter(|_| is_stale).cloned())?;
    Some(Changed { path, is_stale })
}

/// The files that the next start depends on, and the directories of drop-ins, which change where
/// one is removed.
fn watched(unit: &str, found: &Unit) -> Vec<PathBuf> {
    let drop_ins = UNITS
        .iter()
        .map(|units| Path::new(units).join(format!("{unit}.d")));
    let mut all: Vec<_> = found.parts.iter().cloned().chain(drop_ins).collect();
    for wanted in &found.credentials {
        if let Wanted::Load {
            path, encrypted, ..
        } = wanted
        {
            let ending = if *encrypted { ".encrypted" } else { "" };
            // Of an absolute path join takes that alone.
            let paths = STORES
                .iter()
                .map(|store| Path::new(&format!("{store}{ending}")).join(path));
            all.extend(paths);
        }
    }
    all
}

/// When a file changed, in µs since 1970. Of one that is not there, or that this user may not see,
/// the directory tells.
fn changed_at(path: &Path) -> Option<i64> {
    let changed = |about: Metadata| about.ctime() * 1_000_000 + about.ctime_nsec() / 1000;
    match fs::metadata(path) {
        Ok(about) => Some(changed(about)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let directory = fs::metadata(path.parent()?).ok()?;
            // Where all sorts of files are, a change says nothing.
            let is_store = STORES.iter().any(|store| path.starts_with(store));
            is_store.then(|| changed(directory))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let visible = path.ancestors().find_map(|one| fs::metadata(one).ok())?;
            Some(changed(visible))
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_the_next_start_depends_on_is_watched() {
        let mut unit = Unit::parse("a.service", "FragmentPath=/u\nDropInPaths=/d/x.conf\n");
        unit.credentials = vec![
            Wanted::load("a", "/srv/a", false),
            Wanted::load("b", "b", true),
        ];
        let all = watched("a.service", &unit);
        for path in [
            "/u",
            "/d/x.conf",
            "/run/systemd/system/a.service.d",
            "/srv/a",
            "/etc/credstore.encrypted/b",
        ] {
            assert!(all.contains(&path.into()), "{path}: {all:?}");
        }
    }

    #[test]
    fn a_change_is_seen_at_the_file_or_where_it_would_be() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        assert_eq!(changed_at(&file), None);
        fs::write(&file, "").unwrap();
        let written = changed_at(&file).unwrap();
        // An old file that is put there has changed now.
        let old = std::time::UNIX_EPOCH;
        fs::File::open(&file).unwrap().set_modified(old).unwrap();
        assert!(changed_at(&file).unwrap() >= written);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o0)).unwrap();
        assert!(changed_at(&file).unwrap() >= written);
    }
}
