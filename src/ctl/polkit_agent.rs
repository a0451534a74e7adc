//! Asks for the password that polkit wants, on this terminal, by pkttyagent(1), in the same way and
//! under the same conditions as systemctl.

use std::io::{self, IsTerminal as _, Read as _};
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, geteuid, kill_process};

use crate::dbus::Bus;

/// pkttyagent beside us; ends with the value.
#[derive(Debug)]
pub(super) struct PolkitAgent(Child);

impl PolkitAgent {
    /// Starts one and waits until polkit knows it. None if there is no person to answer, nothing
    /// will be asked, or there is no such program: polkit's refusal says the rest.
    pub(super) fn start(bus: &Bus) -> Option<Self> {
        // polkit is on the system bus. Root is not asked. Input is what matters here.
        if *bus != Bus::System || geteuid().is_root() || !io::stdin().is_terminal() {
            return None;
        }
        let (mut ready, notify) = io::pipe().ok()?;
        // Only this end goes to the child.
        fcntl_setfd(&notify, FdFlags::empty()).ok()?;
        let agent = Command::new("pkttyagent")
            .arg("--notify-fd")
            .arg(notify.as_raw_fd().to_string())
            // For this process, and after any dialogue that the desktop has.
            .arg("--process")
            .arg(std::process::id().to_string())
            .arg("--fallback")
            .spawn();
        drop(notify);
        let agent = Self(agent.ok()?);
        // It closes its end when polkit knows it, or it ends.
        let _ = ready.read(&mut [0]);
        Some(agent)
    }
}

impl Drop for PolkitAgent {
    fn drop(&mut self) {
        // SIGTERM, not SIGKILL: it may have turned off the terminal's echo.
        let pid = Pid::from_child(&self.0);
        let _ = kill_process(pid, Signal::TERM);
        let _ = kill_process(pid, Signal::CONT);
        let _ = self.0.wait();
    }
}
