//! What writes a line, one for each place. May wait: only a thread of [`LineQueue`] calls it.
//!
//! [`LineQueue`]: super::queue::LineQueue

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::Duration;

use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Layered, SubscriberExt as _};

use super::queue::{Line, Sink};

/// journald's socket. `tracing-journald` knows no other.
const JOURNAL: &str = "/run/systemd/journal/socket";

/// Between two tries to write to what takes nothing.
const RETRY: Duration = Duration::from_secs(1);

/// Whether the journal is there, whatever room it has. Never waits.
pub(super) fn find_journal() -> io::Result<()> {
    UnixDatagram::unbound()?.connect(JOURNAL)
}

/// To journald's native protocol, with all fields.
///
/// `tracing-journald` sends as on any socket that may block, also where it is made, and keeps errors
/// to itself. So nothing of it is touched but here, and a journal that is not there (it is being
/// restarted) is waited for first.
pub(super) fn journal(identifier: &'static str) -> Sink {
    let mut open: Option<Journal> = None;
    Box::new(move |line| {
        let Line::Record(record) = line else {
            return;
        };
        loop {
            if find_journal().is_ok() {
                if open.is_none() {
                    open = open_journal(identifier).ok();
                }
                if let Some(journal) = &open {
                    record.tell(journal);
                    return;
                }
            }
            thread::sleep(RETRY);
        }
    })
}

type Journal = Layered<tracing_journald::Layer, Registry>;

fn open_journal(identifier: &'static str) -> io::Result<Journal> {
    let layer = tracing_journald::layer()?
        .with_syslog_identifier(identifier.to_owned())
        // Our fields are the documented ones (CONNECTION=, ENDPOINT=, …), unprefixed.
        .with_field_prefix(None);
    Ok(tracing_subscriber::registry().with(layer))
}

/// To standard error. Through a descriptor of its own, so that no lock of the standard library is
/// held while a pipe is full.
pub(super) fn console() -> io::Result<Sink> {
    let mut stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    Ok(Box::new(move |line| {
        let Line::Text(text) = line else {
            return;
        };
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            match stderr.write(rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Another process that shares the descriptor has made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(RETRY),
                // Its reader is gone.
                Err(_) => return,
            }
        }
    }))
}
