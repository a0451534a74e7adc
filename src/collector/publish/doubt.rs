//! Whether a socket in the file system can be made, as far as can be seen without making it: for
//! `--check-config`. Nothing is changed.

use std::fmt;
use std::fs;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::base::text;
use crate::config::service::UnitNetwork;

/// What `RuntimeDirectory=` of the unit makes: it is there only while the service runs.
const RUNTIME_DIRECTORY: &str = "/run/metrics-collector";

/// Why a start could not publish there.
#[derive(Debug)]
pub(in super::super) struct Doubt {
    path: PathBuf,
    why: Why,
    /// It is so as long as settings and unit are as they are.
    pub(in super::super) lasts: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Why {
    Family,
    NoSocket,
    NoDirectory,
    NotADirectory,
    NotWritable,
}

/// `network` is what the unit allows; `is_known` if there is one. By hand, this user is the one who
/// starts the collector.
pub(in super::super) fn doubt(path: &Path, network: &UnitNetwork, is_known: bool) -> Option<Doubt> {
    let directory = path.parent().unwrap_or(path);
    let why = if network.lacks("AF_UNIX") {
        Why::Family
    } else {
        let about = fs::symlink_metadata(path);
        let is_socket = about.map(|about| about.file_type().is_socket());
        match (is_socket, fs::metadata(directory)) {
            (Ok(false), _) => Why::NoSocket,
            (_, Ok(about)) if !about.is_dir() => Why::NotADirectory,
            (_, Ok(_)) => {
                let mode = Access::WRITE_OK | Access::EXEC_OK;
                if is_known || access(directory, mode).is_ok() {
                    return None;
                }
                Why::NotWritable
            }
            (_, Err(_)) if is_known && directory == Path::new(RUNTIME_DIRECTORY) => return None,
            (_, Err(error)) if error.kind() == std::io::ErrorKind::NotFound => Why::NoDirectory,
            // Who checks may see less than the service.
            (_, Err(_)) => return None,
        }
    };
    let lasts = is_known && why == Why::Family;
    let path = path.to_owned();
    Some(Doubt { path, why, lasts })
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = text::path(&self.path);
        let directory = text::path(self.path.parent().unwrap_or(&self.path));
        write!(f, "the collector could not publish at ipc://{path}")?;
        f.write_str(if self.lasts {
            ", so it does not start: "
        } else {
            " now, and its start would fail: "
        })?;
        match self.why {
            Why::Family => f.write_str(
                "RestrictAddressFamilies= of its unit forbids AF_UNIX, which this needs",
            ),
            Why::NoSocket => write!(
                f,
                "that is a file and not a socket; `ls -l {path}` shows it"
            ),
            Why::NoDirectory => write!(f, "there is no directory {directory}"),
            Why::NotADirectory => write!(f, "{directory} is not a directory"),
            Why::NotWritable => write!(f, "this user cannot write to {directory}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn said(path: &Path, network: &UnitNetwork, is_known: bool) -> Option<(String, bool)> {
        doubt(path, network, is_known).map(|doubt| (doubt.to_string(), doubt.lasts))
    }

    #[test]
    fn what_is_in_the_way_is_told() {
        let home = tempfile::tempdir().unwrap();
        let any = UnitNetwork::default();
        let at = |name: &str| home.path().join(name);
        assert_eq!(said(&at("publish"), &any, false), None);
        // One that a collector left is replaced, and a running one has it.
        let _listener = UnixListener::bind(at("publish")).unwrap();
        assert_eq!(said(&at("publish"), &any, false), None);
        fs::write(at("file"), "").unwrap();
        for (name, end) in [
            (
                "file",
                "that is a file and not a socket; `ls -l ~/file` shows it",
            ),
            ("file/publish", "~/file is not a directory"),
            ("missing/publish", "there is no directory ~/missing"),
        ] {
            let (text, lasts) = said(&at(name), &any, true).unwrap();
            let text = text.replace(home.path().to_str().unwrap(), "~");
            let start = format!(
                "the collector could not publish at ipc://~/{name} now, and its start would fail: "
            );
            assert_eq!((text, lasts), (format!("{start}{end}"), false));
        }
        let runtime = Path::new(RUNTIME_DIRECTORY).join("publish");
        assert_eq!(said(&runtime, &any, true), None);
    }

    #[test]
    fn a_unit_without_the_family_is_told() {
        let network = UnitNetwork::of_families("AF_INET AF_INET6");
        let (text, lasts) = said(Path::new("/run/x"), &network, true).unwrap();
        assert!(text.contains("so it does not start: RestrictAddressFamilies="));
        assert!(lasts);
    }
}
