use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, chown, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{CWD, mkfifoat};
use tempfile::TempDir;

use super::owner::tests::{NOBODY, is_root};
use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn what_is_there_is_the_old_content_or_the_new() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("state");
    let path = directory.join("file");
    let set = |text: &'static [u8]| replace(&path, |file| file.write_all(text));
    set(b"one").unwrap();
    set(b"2").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"2");
    assert_eq!((mode(&path), mode(&directory)), (0o600, 0o700));

    // What a device says that is always full.
    let full = |_: &mut File| {
        File::options()
            .write(true)
            .open("/dev/full")?
            .write_all(b"3")
    };
    let error = replace(&path, full).unwrap_err().to_string();
    let start = format!("{}/.file.", directory.display());
    assert!(error.starts_with(&start), "{error}");
    assert!(
        error.contains(": cannot write it: No space left"),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"2");
    set(b"4").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"4");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}

#[test]
fn a_draft_of_a_process_that_was_killed_goes_with_the_next_but_one() {
    let root = tempfile::tempdir().unwrap();
    let file = |name: &str, age: u64| {
        let file = File::create(root.path().join(name)).unwrap();
        let time = SystemTime::now() - Duration::from_secs(age);
        file.set_modified(time).unwrap();
    };
    file(".file.0123456789abcdef", 3600);
    for other in [
        ".file.0123456789abcdee",
        ".other.0123456789abcdef",
        ".file.old",
    ] {
        file(other, if other.ends_with('e') { 1 } else { 3600 });
    }
    replace(&root.path().join("file"), |file| file.write_all(b"x")).unwrap();
    let mut left: Vec<_> = fs::read_dir(root.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(
        left,
        [
            ".file.0123456789abcdee",
            ".file.old",
            ".other.0123456789abcdef",
            "file"
        ]
    );
}

/// Objects at the place of a file of ours that lead elsewhere or nowhere.
fn traps(directory: &Path, target: &Path) -> Vec<&'static str> {
    symlink(target, directory.join("link")).unwrap();
    symlink("nowhere", directory.join("dangling")).unwrap();
    mkfifoat(CWD, directory.join("pipe"), Mode::RWXU).unwrap();
    fs::create_dir(directory.join("directory")).unwrap();
    UnixListener::bind(directory.join("socket")).unwrap();
    vec!["link", "dangling", "pipe", "directory", "socket"]
}

#[test]
fn what_is_no_file_is_neither_read_nor_locked_nor_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let target = root.path().join("target");
    fs::write(&target, "precious").unwrap();
    let place = root.path().join("state");
    fs::create_dir(&place).unwrap();
    for trap in traps(&place, &target) {
        let tried = inside(&place, |directory| {
            let read = directory.read(trap).unwrap_err().to_string();
            let locked = directory.lock(trap).unwrap_err().to_string();
            Ok::<_, FileError>([read, locked])
        });
        for error in tried.unwrap().unwrap() {
            let start = format!("{}/{trap}: cannot ", place.display());
            assert!(error.starts_with(&start), "{error}");
        }
    }
    assert!(!place.join("nowhere").exists());
    let subdirectory = inside(&place, |directory| {
        symlink(root.path(), directory.path_of("elsewhere")).unwrap();
        Ok::<_, FileError>(directory.make_directory("elsewhere").is_err())
    });
    assert_eq!(subdirectory.unwrap(), Some(true));
    // Replaced is the link, not what it leads to.
    for trap in ["link", "dangling", "pipe", "socket"] {
        replace(&place.join(trap), |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(place.join(trap)).unwrap(), b"new");
    }
    assert_eq!(fs::read(&target).unwrap(), b"precious");
}

/// A directory that belongs to the user `nobody`, and a file beside it that only root can read.
fn their_place() -> Option<(TempDir, PathBuf, PathBuf)> {
    if !is_root() {
        return None;
    }
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), Permissions::from_mode(0o755)).unwrap();
    let (secret, place) = (root.path().join("secret"), root.path().join("state"));
    fs::write(&secret, "precious").unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(&place).unwrap();
    chown(&place, Some(NOBODY), Some(NOBODY)).unwrap();
    Some((root, place, secret))
}

#[test]
fn what_root_makes_in_anothers_directory_is_that_users() {
    let Some((_root, place, _)) = their_place() else {
        return;
    };
    replace(&place.join("file"), |file| file.write_all(b"x")).unwrap();
    replace(&place.join("deep/er/file"), |file| file.write_all(b"x")).unwrap();
    inside(&place, |directory| {
        let _lock = directory.lock("lock")?.unwrap();
        assert!(directory.is_locked("lock")?);
        directory.make_directory("requests").map(drop)
    })
    .unwrap();
    for made in [
        "file",
        "deep",
        "deep/er",
        "deep/er/file",
        "lock",
        "requests",
    ] {
        let about = fs::metadata(place.join(made)).unwrap();
        assert_eq!((about.uid(), about.gid()), (NOBODY, NOBODY), "{made}");
    }
}

/// As systemd keeps the state of a service with `DynamicUser=yes`.
#[test]
fn root_gets_to_a_directory_below_one_that_only_root_may_pass() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    fs::create_dir_all(at("private/state")).unwrap();
    fs::set_permissions(at("private"), Permissions::from_mode(0o700)).unwrap();
    chown(at("private/state"), Some(NOBODY), Some(NOBODY)).unwrap();
    symlink("private/state", at("state")).unwrap();
    for path in ["state/file", "state/deep/er/file"] {
        replace(&at(path), |file| file.write_all(b"x")).unwrap();
        let made = fs::metadata(at("private").join(path)).unwrap();
        assert_eq!((made.uid(), made.gid()), (NOBODY, NOBODY), "{path}");
    }
    assert_eq!(mode(&at("state/deep")), 0o700);
    // There is no way up again.
    fs::write(at("private/roots"), "precious").unwrap();
    for up in ["..", "deep/../.."] {
        symlink(up, at("state/up")).unwrap();
        let read = inside(&at("state/up"), |directory| directory.read("roots"));
        let refused = read.unwrap_err().source.kind();
        assert_eq!(refused, io::ErrorKind::PermissionDenied, "{up}");
        fs::remove_file(at("state/up")).unwrap();
    }
}

/// Hard links to files of others can be made where `fs.protected_hardlinks` is off.
#[test]
fn root_reads_and_locks_nothing_that_the_directorys_owner_may_not() {
    let Some((_root, place, secret)) = their_place() else {
        return;
    };
    fs::hard_link(&secret, place.join("pins")).unwrap();
    let tried = inside(&place, |directory| {
        let read = directory.read("pins").unwrap_err();
        let locked = directory.lock("pins").unwrap_err();
        Ok::<_, FileError>([read.source.kind(), locked.source.kind()])
    });
    assert_eq!(
        tried.unwrap().unwrap(),
        [io::ErrorKind::PermissionDenied; 2]
    );
    let before = fs::metadata(&secret).unwrap();
    replace(&place.join("pins"), |file| file.write_all(b"new")).unwrap();
    assert_eq!(fs::read(&secret).unwrap(), b"precious");
    let after = fs::metadata(&secret).unwrap();
    assert_eq!((before.uid(), before.mode()), (after.uid(), after.mode()));
}

#[test]
fn a_directory_of_roots_behind_a_link_of_anothers_is_out_of_reach() {
    let Some((root, place, secret)) = their_place() else {
        return;
    };
    let roots = root.path().join("roots");
    fs::create_dir(&roots).unwrap();
    symlink(&roots, place.join("state")).unwrap();
    let error = replace(&place.join("state/file"), |file| file.write_all(b"x")).unwrap_err();
    assert_eq!(
        error.source.kind(),
        io::ErrorKind::PermissionDenied,
        "{error}"
    );
    assert_eq!(fs::read_dir(&roots).unwrap().count(), 0);
    fs::hard_link(&secret, roots.join("file")).unwrap();
    let read = inside(&place.join("state"), |directory| directory.read("file"));
    let refused = read.unwrap_err().source.kind();
    assert_eq!(refused, io::ErrorKind::PermissionDenied);
}
