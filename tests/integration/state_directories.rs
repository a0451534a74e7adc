//! What a user puts in a directory of its own does not lead root elsewhere: the programs, run
//! as root, where somebody else controls the state directory. A run as another user has
//! nothing to show here.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use metrics_agent::curve::certificate::Certificate;
use rustix::fs::{CWD, FlockOperation, Mode, flock, mkfifoat};
use tempfile::TempDir;

use crate::support::collector::{Collector, program};
use crate::support::peer::PATIENCE;

const NOBODY: u32 = 65534;

/// A state directory of nobody's, and beside it what is root's alone.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let place = Self {
            root: tempfile::tempdir().unwrap(),
        };
        fs::set_permissions(place.root.path(), Permissions::from_mode(0o755)).unwrap();
        fs::write(place.secret(), "root's own").unwrap();
        fs::set_permissions(place.secret(), Permissions::from_mode(0o600)).unwrap();
        for directory in ["state", "roots", "home"] {
            fs::create_dir(place.root.path().join(directory)).unwrap();
        }
        chown(place.at(""), Some(NOBODY), Some(NOBODY)).unwrap();
        Some(place)
    }

    fn secret(&self) -> PathBuf {
        self.root.path().join("secret")
    }

    /// A directory that is root's.
    fn roots(&self) -> PathBuf {
        self.root.path().join("roots")
    }

    /// A file of the state.
    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join("state").join(name)
    }

    /// Writes a file of the state, as nobody would.
    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).unwrap();
        chown(self.at(name), Some(NOBODY), Some(NOBODY)).unwrap();
    }

    /// One program or the other with this state directory.
    fn collector(&self) -> Command {
        let mut command = program(&self.root.path().join("home"));
        command.env("STATE_DIRECTORY", self.at(""));
        command
    }

    /// `metrics-collector keys` as root: its standard error.
    fn keys(&self, words: &[&str]) -> String {
        let mut command = self.collector();
        // What waits for a pipe's other end would wait for ever.
        let mut bounded = Command::new("timeout");
        bounded
            .arg(PATIENCE.as_secs().to_string())
            .arg(command.get_program())
            .arg("keys")
            .args(words)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            );
        command.stdout(Stdio::piped());
        let output = bounded.output().unwrap();
        assert_ne!(output.status.code(), Some(124), "it waits: {words:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    /// What is root's is as it was.
    fn assert_untouched(&self, what: &str) {
        let about = fs::metadata(self.secret()).unwrap();
        assert_eq!(fs::read(self.secret()).unwrap(), b"root's own", "{what}");
        assert_eq!((about.uid(), about.mode() & 0o7777), (0, 0o600), "{what}");
        assert_eq!(fs::read_dir(self.roots()).unwrap().count(), 0, "{what}");
    }
}

const PINS: &str = "metrics-collector pins 1\n\
                    rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7 2023-11-14T22:13:20Z web1\n\
                    end 1\n";

/// Every file that `keys` opens or makes, as each thing that it is not.
#[test]
fn keys_as_root_follows_nothing_in_the_service_users_directory() {
    let names = ["pins", "keys.json", "access.lock", "requests", ".pins.new"];
    for name in names {
        for trap in [
            "link",
            "directory link",
            "dangling link",
            "hard link",
            "pipe",
        ] {
            let Some(place) = Place::new() else { return };
            place.write("pins", PINS);
            let _ = fs::remove_file(place.at(name));
            let at = place.at(name);
            match trap {
                "link" => symlink(place.secret(), &at).unwrap(),
                "directory link" => symlink(place.roots(), &at).unwrap(),
                "dangling link" => symlink(place.roots().join("new"), &at).unwrap(),
                "hard link" => fs::hard_link(place.secret(), &at).unwrap(),
                _ => mkfifoat(CWD, &at, Mode::from(0o666)).unwrap(),
            }
            let what = format!("{name} is a {trap}");
            for words in [&["forget", "web1"][..], &["list"], &["revoke", "web1"]] {
                let said = place.keys(words);
                assert!(!said.contains("root's own"), "{what}: {said}");
                place.assert_untouched(&format!("{what}, {words:?}"));
            }
        }
    }
}

/// A collector that runs is asked by files in `requests`.
#[test]
fn a_request_as_root_follows_no_link() {
    let Some(place) = Place::new() else { return };
    place.write("pins", PINS);
    place.write("access.lock", "");
    let lock = File::open(place.at("access.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    symlink(place.roots(), place.at("requests")).unwrap();
    let said = place.keys(&["forget", "web1"]);
    assert!(
        said.contains("requests: cannot open the directory"),
        "{said}"
    );
    place.assert_untouched("requests");
    assert!(
        fs::read_to_string(place.at("pins"))
            .unwrap()
            .contains("web1")
    );
}

#[test]
fn what_keys_writes_as_root_is_the_service_users() {
    let Some(place) = Place::new() else { return };
    place.write("pins", PINS);
    assert_eq!(place.keys(&["forget", "web1"]), "");
    for made in ["pins", "access.lock"] {
        let about = fs::metadata(place.at(made)).unwrap();
        assert_eq!((about.uid(), about.gid()), (NOBODY, NOBODY), "{made}");
    }
    assert!(
        !fs::read_to_string(place.at("pins"))
            .unwrap()
            .contains("web1")
    );
}

/// The real, effective, saved and file system's user of each thread of a process.
fn users(process: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of_thread = |thread: fs::DirEntry| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        let users = line.unwrap().split_whitespace();
        users
            .map(|user| user.parse().unwrap())
            .collect::<Vec<u32>>()
    };
    threads
        .flat_map(|thread| of_thread(thread.unwrap()))
        .collect()
}

#[tokio::test]
async fn a_collector_that_root_starts_runs_as_the_directorys_owner() {
    let Some(place) = Place::new() else { return };
    // What it replaces, and what it opens.
    fs::hard_link(place.secret(), place.at("hosts")).unwrap();
    symlink(place.secret(), place.at("hosts.damaged")).unwrap();
    let mut command = place.collector();
    command.args(["--listen", "127.0.0.1:0"]);
    let mut collector = Collector::run(command).await;
    let users = users(collector.id());
    assert!(users.len() > 4, "it has several threads");
    assert!(users.iter().all(|user| *user == NOBODY), "{users:?}");
    let told = format!(
        "running as user {NOBODY}, who controls {}",
        place.at("").display()
    );
    let before = &collector.before;
    assert!(before.iter().any(|line| line.contains(&told)), "{before:?}");
    collector.stop().await;
    place.assert_untouched("hosts");
    for made in ["collector.key", "collector.key_secret", "access.lock"] {
        let about = fs::metadata(place.at(made)).unwrap();
        assert_eq!(about.uid(), NOBODY, "{made}");
    }
}

#[test]
fn a_key_pair_that_root_makes_is_the_directorys_owners() {
    let Some(place) = Place::new() else { return };
    let keygen = |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_metrics-agentctl"));
        command.args(["keygen", "--name", name]).arg(place.at(""));
        command.output().unwrap()
    };
    assert!(keygen("agent").status.success());
    for (file, mode) in [("agent.key", 0o644), ("agent.key_secret", 0o600)] {
        let about = fs::metadata(place.at(file)).unwrap();
        assert_eq!(
            (about.uid(), about.mode() & 0o7777),
            (NOBODY, mode),
            "{file}"
        );
    }
    assert!(Certificate::read_public(Path::new(&place.at("agent.key"))).is_ok());
    symlink(place.roots().join("x"), place.at("other.key_secret")).unwrap();
    let said = keygen("other");
    assert!(!said.status.success(), "{said:?}");
    place.assert_untouched("keygen");
}

/// The agent's own files: its key, and what was set over D-Bus.
#[test]
fn an_agent_that_root_starts_follows_nothing() {
    let Some(place) = Place::new() else { return };
    symlink(place.secret(), place.at("settings.toml")).unwrap();
    let agent = |options: &[&str]| {
        let mut command = Command::new("timeout");
        command
            .args([
                &PATIENCE.as_secs().to_string(),
                env!("CARGO_BIN_EXE_metrics-agent"),
            ])
            .args(options)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("STATE_DIRECTORY", place.at(""))
            .env("METRICS_AGENT_DBUS__BUS", "none");
        command.output().unwrap()
    };
    let output = agent(&["--check-config"]);
    let said = String::from_utf8(output.stderr).unwrap();
    let expected = "settings.toml: cannot be read: it is a symbolic link";
    assert!(said.contains(expected), "{said}");
    // A key that it may not read is no start, and no other key.
    fs::hard_link(place.secret(), place.at("agent.key_secret")).unwrap();
    let output = agent(&[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(
        said.contains("agent.key_secret: cannot open it: Permission denied"),
        "{said}"
    );
    place.assert_untouched("the agent's files");
}
