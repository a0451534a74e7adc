//! A terminal that is as real as they come, and can be looked at: tmux(1), on a server of
//! its own.

use std::path::Path;
use std::process::{Command, Stdio};

use super::place::eventually;

/// A program on a terminal; its server ends with the value.
pub(crate) struct Tmux {
    dir: tempfile::TempDir,
}

impl Tmux {
    /// Runs a command of sh(1) on a terminal of this size, with these variables and no others
    /// that matter. The terminal stays when the command has ended.
    pub(crate) fn run(columns: u16, rows: u16, variables: &[(&str, &str)], line: &str) -> Self {
        let tmux = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| format!("export {name}='{value}'; "))
            .collect();
        // Then something that waits for ever, and shows nothing.
        let script = format!("{}{line}; exec cat", variables.concat());
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let size = ["-x", columns.as_str(), "-y", rows.as_str()];
        let mut words = vec!["-f", "/dev/null", "new-session", "-d"];
        words.extend(size);
        words.push(&script);
        tmux.order(&words);
        tmux
    }

    fn socket(&self) -> std::path::PathBuf {
        self.dir.path().join("tmux")
    }

    fn order(&self, words: &[&str]) -> String {
        let output = Command::new("tmux")
            .arg("-u")
            .arg("-S")
            .arg(self.socket())
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("SHELL", "/bin/sh")
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .stdin(Stdio::null())
            .output()
            .expect("tmux is installed");
        assert!(
            output.status.success(),
            "tmux {words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// What is on the screen.
    pub(crate) fn screen(&self) -> String {
        self.order(&["capture-pane", "-p"])
    }

    /// The same, with its colours.
    pub(crate) fn coloured(&self) -> String {
        self.order(&["capture-pane", "-p", "-e"])
    }

    /// The screen, as soon as it shows this.
    pub(crate) async fn shows(&self, what: &str) -> String {
        self.until(what, |screen| screen.contains(what)).await
    }

    /// The screen, as soon as it is like this.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let seen = eventually(what, async || {
            last = self.screen();
            is_so(&last).then(|| last.clone())
        });
        let in_time = tokio::time::timeout(super::peer::PATIENCE / 2, seen).await;
        in_time.unwrap_or_else(|_| panic!("{what:?} is not to be seen:\n{}", self.screen()))
    }

    /// Types these keys, by tmux's names for them.
    pub(crate) fn types(&self, keys: &[&str]) {
        let mut words = vec!["send-keys"];
        words.extend(keys);
        self.order(&words);
    }

    /// Another size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.order(&["resize-window", "-x", &columns, "-y", &rows]);
    }

    /// The process id of a program that runs there, by its path.
    pub(crate) fn process(&self, program: &Path) -> Option<i32> {
        let shell = self.order(&["display-message", "-p", "#{pane_pid}"]);
        let output = Command::new("ps")
            .args(["-o", "pid=,args=", "--ppid", shell.trim()])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let program = program.to_str().unwrap();
        let line = text.lines().find(|line| line.contains(program))?;
        line.split_whitespace().next()?.parse().ok()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        // By its socket, which no other test has.
        let _ = Command::new("tmux")
            .arg("-S")
            .arg(self.socket())
            .arg("kill-server")
            .output();
    }
}
