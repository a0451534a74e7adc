//! A message bus of a test's own: a real dbus-daemon that lets every user in, as the
//! system bus does, and that has no polkit.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ends with the value.
pub(crate) struct PrivateBus {
    dir: tempfile::TempDir,
    daemon: Child,
}

impl PrivateBus {
    /// Starts a bus on which any user may own any name.
    pub(crate) fn start() -> Self {
        Self::with_policy("<allow own='*'/>")
    }

    /// Starts a bus with this policy about names.
    pub(crate) fn with_policy(own: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Other users are to reach the socket.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let socket = dir.path().join("bus");
        let config = format!(
            "<!DOCTYPE busconfig PUBLIC '-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN'
               'http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd'>
             <busconfig>
               <listen>unix:path={}</listen>
               <auth>EXTERNAL</auth>
               <policy context='default'>
                 <allow user='*'/>
                 <allow send_destination='*'/>
                 <allow receive_sender='*'/>
                 {own}
               </policy>
             </busconfig>",
            socket.display()
        );
        fs::write(dir.path().join("bus.conf"), config).unwrap();
        let daemon = spawn(&dir.path().join("bus.conf"));
        Self { dir, daemon }
    }

    /// Its D-Bus address.
    pub(crate) fn address(&self) -> String {
        format!("unix:path={}", self.dir.path().join("bus").display())
    }

    /// Ends the bus, and every connection with it.
    pub(crate) fn stop(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
        let _ = fs::remove_file(self.dir.path().join("bus"));
    }

    /// Starts it again at the same address.
    pub(crate) fn start_again(&mut self) {
        self.daemon = spawn(&self.dir.path().join("bus.conf"));
    }
}

impl Drop for PrivateBus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// Returns once the bus listens, as it says its address only then.
fn spawn(config: &Path) -> Child {
    let mut daemon = Command::new("dbus-daemon")
        .arg("--nofork")
        .arg("--print-address")
        .arg(format!("--config-file={}", config.display()))
        .stdout(Stdio::piped())
        // It complains of limits that it may not raise.
        .stderr(Stdio::null())
        .spawn()
        .expect("dbus-daemon is needed for this test (Debian: dbus-daemon, Fedora: dbus-daemon)");
    let mut address = String::new();
    BufReader::new(daemon.stdout.take().unwrap())
        .read_line(&mut address)
        .unwrap();
    assert!(address.starts_with("unix:path="), "{address:?}");
    daemon
}
