//! The whole terminal for a view that is refreshed in place; gives it back as it was.
//!
//! Knows nothing of what is shown. Ctrl-C, SIGTERM, a hang-up and `q` end it, Ctrl-Z stops it and gives the shell
//! its screen, a new size redraws it, less's keys scroll what is longer than the screen.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use rustix::process::Signal as ToSend;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::base::columns::fit;
use crate::base::offload::on_a_thread;
use crate::base::terminal::full_screen::{FullScreen, Keys};
use crate::base::{locale, terminal};

/// To the upper left corner.
const HOME: &str = "\x1b[H";
/// The rest of a line, and of the screen.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// Bytes of keys that wait to be handled. If a key is held down, some are lost.
const WAITING_KEYS: usize = 256;

/// What is shown: lines that stay at the top, and lines that scroll below them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct View {
    pub(super) head: String,
    pub(super) body: String,
}

impl View {
    /// Lines that all scroll.
    pub(super) fn of(body: String) -> Self {
        Self {
            head: String::new(),
            body,
        }
    }
}

/// The terminal, until it is dropped.
pub(super) struct Screen {
    taken: FullScreen,
    keys: mpsc::Receiver<u8>,
    resized: Signal,
    stop: Signal,
    ends: [Signal; 3],
    shown: View,
    typed: Typed,
    /// The first line of the body that is shown.
    first: usize,
}

impl Screen {
    /// Takes the terminal.
    pub(super) fn open() -> io::Result<Self> {
        let input = io::stdin().is_terminal();
        Ok(Self {
            keys: if input { keys()? } else { mpsc::channel(1).1 },
            resized: signal(SignalKind::window_change())?,
            stop: signal(SignalKind::from_raw(ToSend::TSTP.as_raw()))?,
            ends: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
            shown: View::default(),
            typed: Typed::default(),
            first: 0,
            // Last: a signal from now on gives it back.
            taken: FullScreen::open(Keys::Quiet)?,
        })
    }

    /// Shows this, from the line on that the person scrolled to.
    pub(super) fn show(&mut self, view: View) -> io::Result<()> {
        self.shown = view;
        self.draw()
    }

    fn draw(&mut self) -> io::Result<()> {
        let (columns, rows) = terminal::size();
        let (lines, first) = visible(&self.shown, rows, self.first);
        self.first = first;
        let mut frame = String::from(HOME);
        for (at, line) in lines.iter().enumerate() {
            // No line end after the last row: it would scroll.
            frame.push_str(if at > 0 { "\n" } else { "" });
            // Before the text: after a line as wide as the screen it would take the last
            // character.
            frame.push_str(CLEAR_LINE);
            frame.push_str(&fit(line, Some(columns)));
        }
        frame.push_str(CLEAR_BELOW);
        write(&frame)
    }

    /// Scrolls; the next frame shows no more than there is.
    fn scroll(&mut self, by: Scroll) {
        let (_, rows) = terminal::size();
        let page = rows
            .saturating_sub(self.shown.head.lines().count() + 1)
            .max(1);
        self.first = match by {
            Scroll::Up => self.first.saturating_sub(1),
            Scroll::Down => self.first.saturating_add(1),
            Scroll::PageUp => self.first.saturating_sub(page),
            Scroll::PageDown => self.first.saturating_add(page),
            Scroll::Top => 0,
            Scroll::Bottom => usize::MAX,
        };
    }

    /// Looks after the screen until the person wants to leave. May be dropped at any time.
    pub(super) async fn left(&mut self) -> io::Result<()> {
        loop {
            let [interrupt, terminate, hangup] = &mut self.ends;
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                _ = hangup.recv() => return Ok(()),
                _ = self.resized.recv() => {}
                Some(byte) = self.keys.recv() => match self.typed.next(byte) {
                    Some(Key::Quit) => return Ok(()),
                    Some(Key::Scroll(by)) => self.scroll(by),
                    None => continue,
                },
                _ = self.stop.recv() => {
                    // A terminal that is gone is noticed at the next frame.
                    let _ = self.taken.stop();
                }
            }
            self.draw()?;
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(locale::shown(text).as_bytes())?;
    output.flush()
}

/// The lines for so many rows, and the first of them in the body, which is limited so that the
/// screen stays full. If not all fits, the last row says what is shown.
fn visible(view: &View, rows: usize, first: usize) -> (Vec<String>, usize) {
    let head: Vec<&str> = view.head.lines().collect();
    let body: Vec<&str> = view.body.lines().collect();
    let own = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    if head.len() + body.len() <= rows {
        return (own(&[head, body].concat()), 0);
    }
    // A screen that has no room for anything else has none for the head.
    let head = if head.len() + 2 <= rows {
        head
    } else {
        Vec::new()
    };
    let room = rows.saturating_sub(head.len() + 1);
    let first = first.min(body.len().saturating_sub(room));
    let part: Vec<&str> = body.iter().skip(first).take(room).copied().collect();
    let (shown, all) = (part.len(), body.len());
    let mut lines: Vec<String> = own(&[head, part].concat());
    if rows > 0 {
        lines.push(format!(
            "lines {}-{} of {}; scroll with arrows, PgUp and PgDn, quit with q",
            first + 1,
            first + shown,
            all,
        ));
    }
    (lines, first)
}

/// What a key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Quit,
    Scroll(Scroll),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scroll {
    Up,
    Down,
    PageUp,
    PageDown,
    Top,
    Bottom,
}

/// The beginning of a key that terminals send as several bytes (xterm's ctlseqs, "PC-Style
/// Function Keys"): `ESC [ A`, `ESC O A`, `ESC [ 5 ~`.
#[derive(Debug, Default)]
enum Typed {
    #[default]
    Nothing,
    Escape,
    Sequence {
        number: u8,
    },
}

impl Typed {
    /// The key that ends with this byte, if it means something.
    fn next(&mut self, byte: u8) -> Option<Key> {
        use Scroll::{Bottom, Down, PageDown, PageUp, Top, Up};

        let before = std::mem::take(self);
        let by = match (before, byte) {
            // Escape begins a key, wherever it comes.
            (_, 0x1b) => {
                *self = Self::Escape;
                return None;
            }
            (Self::Escape, b'[' | b'O') => {
                *self = Self::Sequence { number: 0 };
                return None;
            }
            (Self::Sequence { number }, b'0'..=b'9') => {
                let number = number.saturating_mul(10).saturating_add(byte - b'0');
                *self = Self::Sequence { number };
                return None;
            }
            (Self::Sequence { number }, end) => match (end, number) {
                (b'A', _) => Up,
                (b'B', _) => Down,
                (b'H', _) | (b'~', 1 | 7) => Top,
                (b'F', _) | (b'~', 4 | 8) => Bottom,
                (b'~', 5) => PageUp,
                (b'~', 6) => PageDown,
                _ => return None,
            },
            (_, b'q' | b'Q') => return Some(Key::Quit),
            (_, b'k' | b'y') => Up,
            (_, b'j' | b'e' | b'\r' | b'\n') => Down,
            (_, b'b') => PageUp,
            (_, b' ' | b'f') => PageDown,
            (_, b'g' | b'<') => Top,
            (_, b'G' | b'>') => Bottom,
            _ => return None,
        };
        Some(Key::Scroll(by))
    }
}

/// What is typed, read by a thread that ends with the process: nothing else can interrupt a
/// read of a terminal.
fn keys() -> io::Result<mpsc::Receiver<u8>> {
    let (sender, receiver) = mpsc::channel(WAITING_KEYS);
    on_a_thread("keys", move || {
        let mut key = [0];
        while let Ok(1) = io::stdin().read(&mut key) {
            if let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(key[0]) {
                break;
            }
        }
    })?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(head: &str, lines: usize) -> View {
        let body: Vec<String> = (1..=lines).map(|line| line.to_string()).collect();
        View {
            head: head.to_owned(),
            body: body.join("\n"),
        }
    }

    #[test]
    fn the_head_stays_and_the_body_scrolls() {
        let all = view("a\nb\n", 3);
        assert_eq!(
            visible(&all, 5, 9),
            (["a", "b", "1", "2", "3"].map(str::to_owned).to_vec(), 0)
        );
        let long = view("a\n", 9);
        for (first, shown, place) in [
            (0, ["1", "2", "3"], "lines 1-3 of 9;"),
            (4, ["5", "6", "7"], "lines 5-7 of 9;"),
            (usize::MAX, ["7", "8", "9"], "lines 7-9 of 9;"),
        ] {
            let (lines, at) = visible(&long, 5, first);
            assert_eq!(lines.len(), 5);
            assert_eq!(lines[0], "a");
            assert_eq!(lines[1..4], shown);
            assert!(lines[4].starts_with(place), "{lines:?}");
            assert_eq!(at, first.min(6));
        }
        assert_eq!(visible(&long, 0, 0).0.len(), 0);
        assert_eq!(visible(&long, 1, 0).0.len(), 1);
        assert_eq!(visible(&long, 2, 0).0[0], "1");
    }

    #[test]
    fn keys_are_those_of_less() {
        let mut typed = Typed::default();
        let mut keys = |bytes: &str| -> Vec<Key> {
            bytes.bytes().filter_map(|byte| typed.next(byte)).collect()
        };
        for (bytes, by) in [
            ("\x1b[A", Scroll::Up),
            ("\x1bOB", Scroll::Down),
            ("\x1b[5~", Scroll::PageUp),
            ("\x1b[6~", Scroll::PageDown),
            (" ", Scroll::PageDown),
            ("\x1b[1~", Scroll::Top),
            ("\x1b[H", Scroll::Top),
            ("\x1b[4~", Scroll::Bottom),
            ("G", Scroll::Bottom),
            ("k", Scroll::Up),
        ] {
            assert_eq!(keys(bytes), [Key::Scroll(by)], "{bytes:?}");
        }
        // What means nothing ends, and q is a key after all of it.
        assert_eq!(keys("\x1b[15~x\x1b\x1b[Zq"), [Key::Quit]);
        assert_eq!(keys("\x1b[999999999~q"), [Key::Quit]);
    }
}
