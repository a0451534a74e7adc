//! metrics-agentctl on a terminal, which script(1) makes: colours, width, the screen that is
//! refreshed in place and given back.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc;

use crate::support::place::{Place, eventually};

const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// A command on a terminal, and what it has shown so far.
struct Terminal {
    script: Child,
    keys: Option<ChildStdin>,
    output: mpsc::Receiver<Vec<u8>>,
    shown: Vec<u8>,
}

impl Terminal {
    /// Runs `words` of metrics-agentctl, after `before` in the same shell, on 60 columns.
    fn of(place: &Place, before: &str, words: &str) -> Self {
        let mut command = place.control_command(&[]);
        let program = command.get_program().to_string_lossy().into_owned();
        // The shell outlives Ctrl-C, which reaches it, too.
        let line = format!("trap : INT; stty cols 60 rows 40; {before} {program} {words}; stty -a");
        let mut script = std::process::Command::new("script");
        script
            .args(["--quiet", "--flush", "--return", "--command", &line])
            .arg("/dev/null")
            .env_clear()
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("PATH", "/usr/bin:/bin")
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let _ = command.stdin(Stdio::null());
        let mut script = script.spawn().unwrap();
        let mut from = script.stdout.take().unwrap();
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut part) {
                if sender.send(part[..read].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            keys: script.stdin.take(),
            script,
            output,
            shown: Vec::new(),
        }
    }

    fn text(&mut self) -> String {
        self.shown.extend(self.output.try_iter().flatten());
        String::from_utf8_lossy(&self.shown).into_owned()
    }

    async fn shows(&mut self, what: &str) -> String {
        eventually(what, async || {
            let text = self.text();
            text.contains(what).then_some(text)
        })
        .await
    }

    fn types(&mut self, keys: &str) {
        let input = self.keys.as_mut().unwrap();
        input.write_all(keys.as_bytes()).unwrap();
        input.flush().unwrap();
    }

    /// Everything, once it has ended.
    async fn ended(mut self) -> String {
        let script = &mut self.script;
        eventually("it ends", async || script.try_wait().unwrap()).await;
        eventually("all is read", async || match self.output.try_recv() {
            Ok(part) => {
                self.shown.extend(part);
                None
            }
            Err(mpsc::TryRecvError::Empty) => None,
            Err(mpsc::TryRecvError::Disconnected) => Some(()),
        })
        .await;
        self.text()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// That the terminal is as it was, by what stty says after the command.
fn assert_restored(text: &str) {
    let (_, after) = text.rsplit_once(LEAVE).unwrap();
    assert!(after.contains(" icanon "), "{after}");
    assert!(after.contains(" echo "), "{after}");
}

#[tokio::test]
async fn a_watched_screen_is_refreshed_in_place_and_given_back() {
    let place = Place::new();
    let _running = place.start().await;
    for quit in ["q", "\x03"] {
        let mut terminal = Terminal::of(
            &place,
            "",
            "metrics sys.uptime mem.* --watch --interval 100ms",
        );
        let text = terminal.shows("sys.uptime").await;
        let (_, frame) = text.split_once(ENTER).unwrap();
        assert!(frame.starts_with("\x1b[H\x1b[K○ "), "{frame:?}");
        assert!(
            frame.contains("unconfigured, metrics every 5s"),
            "{frame:?}"
        );
        // The second frame begins at the same corner.
        eventually("a refresh", async || {
            (terminal.text().matches("\x1b[H").count() >= 2).then_some(())
        })
        .await;
        let longest = text.split("\x1b[K").find(|line| line.contains("mem.avail"));
        let longest = longest.unwrap().trim_end();
        assert_eq!(longest.chars().count(), 60, "{longest:?}");
        assert!(longest.ends_with('…'), "{longest:?}");
        terminal.types(quit);
        let text = terminal.ended().await;
        assert_eq!(text.matches(LEAVE).count(), 1, "{quit:?}: {text:?}");
        assert_restored(&text);
    }
}

#[tokio::test]
async fn a_watched_screen_scrolls_and_keeps_its_heading() {
    let place = Place::new();
    let _running = place.start().await;
    let mut terminal = Terminal::of(&place, "", "metrics --watch --interval 100ms");
    // Of 40 rows three are the head, and the last says where this is.
    let text = terminal.shows("lines 1-36 of ").await;
    let (_, frame) = text.split_once(ENTER).unwrap();
    let heading = frame.lines().nth(2).unwrap();
    assert!(
        heading.contains("METRIC ") && heading.contains(" RATE"),
        "{frame:?}"
    );
    terminal.types("\x1b[B");
    terminal.shows("lines 2-37 of ").await;
    terminal.types("\x1b[6~");
    terminal.shows("lines 38-73 of ").await;
    terminal.types("G");
    // The agent's own metrics are the last.
    let text = eventually("the end", async || {
        let text = terminal.text();
        let (_, frame) = text.rsplit_once("\x1b[H")?;
        let (rows, place) = frame.split_once("\x1b[Klines ")?;
        let (_, all) = place.split_once('-')?;
        let (last, all) = all.split_once(" of ")?;
        let own = rows.lines().last()?.contains("agent.");
        (own && all.starts_with(&format!("{last};"))).then(|| frame.to_owned())
    })
    .await;
    assert!(text.contains("METRIC "), "{text:?}");
    // Once there are two samples, rates are on the screen, however narrow it is.
    terminal.types("g");
    eventually("a rate", async || {
        let text = terminal.text();
        let (_, frame) = text.rsplit_once("\x1b[H")?;
        let row = frame.lines().find(|row| row.contains("cpu.user.total"))?;
        row.contains(" % ").then_some(())
    })
    .await;
    terminal.types("q");
    assert_restored(&terminal.ended().await);
}

#[tokio::test]
async fn lines_fit_the_terminal_unless_all_is_wanted() {
    let place = Place::new();
    let _running = place.start().await;
    let show = async |before: &str, words: &str| Terminal::of(&place, before, words).ended().await;
    let key_line = |text: &str| {
        let line = text.lines().find(|line| line.contains("mem.avail "));
        line.unwrap().trim_end().to_owned()
    };
    let text = show("", "metrics --no-pager").await;
    assert_eq!(key_line(&text).chars().count(), 60, "{text}");
    assert!(text.contains("\x1b[4mMETRIC"), "underlined: {text:?}");
    let text = show("", "metrics --no-pager --full").await;
    assert!(
        key_line(&text).ends_with("as the kernel estimates it"),
        "{text}"
    );
    let text = show("COLUMNS=40", "metrics --no-pager").await;
    assert_eq!(key_line(&text).chars().count(), 40, "{text}");
    for variable in ["NO_COLOR=1", "SYSTEMD_COLORS=0", "TERM=dumb"] {
        let text = show(variable, "metrics --no-pager").await;
        assert!(!text.contains('\x1b'), "{variable}: {text:?}");
    }
}

#[tokio::test]
async fn a_pager_is_what_the_environment_says() {
    let place = Place::new();
    let _running = place.start().await;
    let show = async |before: &str| Terminal::of(&place, before, "status").ended().await;
    let text = show("SYSTEMD_PAGER='sed s/^/paged:/' PAGER=false").await;
    assert!(
        text.contains("paged:") && text.contains("metrics-agent"),
        "{text}"
    );
    for none in ["SYSTEMD_PAGER=", "SYSTEMD_PAGER=cat", "TERM=dumb"] {
        let text = show(&format!("PAGER='sed s/^/paged:/' {none}")).await;
        assert!(
            !text.contains("paged:") && text.contains("metrics-agent"),
            "{text}"
        );
    }
    // One that cannot be started costs nothing. less stays where it has to chop lines.
    let text = show("SYSTEMD_PAGER=/nonexistent SYSTEMD_LESS=FRXMK").await;
    assert!(text.contains("metrics-agent"), "{text}");
}
