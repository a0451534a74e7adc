//! The file of settings that the command line names: of this run, or of the unit.

use std::path::{Path, PathBuf};

use super::ServiceView;
use crate::config::error::Hidden;
use crate::config::files::drop_ins;
use crate::config::layers::Files;
use crate::config::{ConfigError, Place, Problem, Problems, Reason};

/// The file of settings that is read instead of the standard ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsFile {
    /// None.
    Standard,
    /// The one of the unit's command.
    OfUnit(PathBuf),
    /// The one that was named for this run: an administrator may be trying it out.
    Draft(PathBuf),
}

impl SettingsFile {
    /// Of the command line of this run, and of the unit's.
    #[must_use]
    pub fn of(own: Option<PathBuf>, units: Option<PathBuf>) -> Self {
        match (own, units) {
            // A reload and readers of ConfigurationFiles must not depend on where we were started.
            (Some(own), _) => Self::Draft(std::path::absolute(&own).unwrap_or(own)),
            (None, Some(units)) => Self::OfUnit(units),
            (None, None) => Self::Standard,
        }
    }

    /// The file, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Standard => None,
            Self::OfUnit(path) | Self::Draft(path) => Some(path),
        }
    }
}

/// Refuses what the service is to read of these and does not see: files, and directories where it
/// looks for some.
pub(super) fn all_seen(files: &Files, sight: &ServiceView) -> Result<(), ConfigError> {
    let is_there = |path: &&Path| path.symlink_metadata().is_ok();
    let main = files.main.iter().filter_map(|(path, _)| {
        // Where its directory is hidden, the service cannot tell that it has none.
        [Some(path.as_path()), path.parent()]
            .into_iter()
            .flatten()
            .find(is_there)
    });
    let directories = files.drop_ins.iter().map(PathBuf::as_path);
    let drop_ins = drop_ins(&files.drop_ins).unwrap_or_default();
    let drop_ins = drop_ins.iter().map(PathBuf::as_path);
    let all = main.chain(directories.filter(is_there)).chain(drop_ins);
    let mut problems = Problems::default();
    let mut told: Vec<Hidden> = Vec::new();
    for path in all {
        // A hidden directory is told once, with the first that is in it.
        let Some(hidden) = sight.hides(path).filter(|hidden| {
            let same = |one: &Hidden| one.directory == hidden.directory;
            !told.iter().any(same)
        }) else {
            continue;
        };
        told.push(hidden.clone());
        problems.push(Problem {
            place: Place::file(path),
            key: None,
            reason: Reason::Hidden {
                directory: format!("/etc/{}", hidden.unit.trim_end_matches(".service")),
                hidden,
            },
        });
    }
    problems.none_or(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_the_service_reads_it_has_to_see() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let at = |name: &str| root.join(name);
        for directory in ["usr", "etc/a.d", "tmp"] {
            fs::create_dir_all(at(directory)).unwrap();
        }
        fs::write(at("tmp/l.toml"), "").unwrap();
        let files = Files::standard("a", &[&at("usr"), &at("etc"), &at("none")]);
        let told = |hidden: &str| {
            let sight = ServiceView::hiding("a.service", &at(hidden), "InaccessiblePaths");
            let error = all_seen(&files, &sight).err()?;
            assert_eq!(error.problems().count(), 1, "{error}");
            Some(error.to_string().replace(root.to_str().unwrap(), "~"))
        };
        assert_eq!(told("tmp"), None);
        // There is no such directory, or no such file.
        assert_eq!(told("none"), None);
        assert_eq!(told("etc/a.toml"), None);
        let reason = |hidden: &str| {
            format!("InaccessiblePaths= of a.service hides ~/{hidden} from the service; ")
        };
        for hidden in ["usr", "etc", "etc/a.d"] {
            let told = told(hidden).unwrap();
            assert!(told.contains(&reason(hidden)), "{told}");
            // Where it is itself what is hidden, its path is there once.
            assert_eq!(told.matches(&format!("~/{hidden}: ")).count(), 1, "{told}");
        }
        let sight = ServiceView::hiding("a.service", Path::new("/etc/a"), "InaccessiblePaths");
        let hidden = sight.hides(Path::new("/etc/a/k")).unwrap();
        let reason_of = |directory: &str| Reason::Hidden {
            hidden: hidden.clone(),
            directory: directory.to_owned(),
        };
        let advice = reason_of("/etc/a/curve").to_string();
        let edit = "`systemctl edit a.service` changes InaccessiblePaths=";
        assert!(advice.ends_with(edit), "{advice}");
        assert!(
            reason_of("/etc/b")
                .to_string()
                .ends_with("put it into /etc/b")
        );
        symlink(at("tmp/l.toml"), at("etc/a.d/l.toml")).unwrap();
        let link = told("tmp").unwrap();
        assert!(link.starts_with("~/etc/a.d/l.toml: "), "{link}");
        assert!(link.contains(&reason("tmp")), "{link}");
        fs::remove_file(at("etc/a.d/l.toml")).unwrap();
        symlink(at("tmp/l.toml"), at("etc/a.toml")).unwrap();
        let link = told("tmp").unwrap();
        assert!(link.starts_with("~/etc/a.toml: "), "{link}");
    }
}
