//! What writes a line, one for each place, and a line for the journal with its fields, kept until
//! the journal takes it. May wait: only a thread of [`LineQueue`] calls it.
//!
//! [`LineQueue`]: super::queue::LineQueue

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::Duration;
use std::{fmt, fs::File};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Value, Visit},
};
use tracing_subscriber::layer::{Context, Layered, SubscriberExt as _};
use tracing_subscriber::{Layer, Registry};

use super::queue::{Line, LineQueue, Sink};
use crate::base::text;

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

/// What a record is taken to need beside its texts.
const OVERHEAD: usize = 256;

/// What was logged. The journal knows bytes only, so every value is a text already.
pub(super) struct Record {
    of: &'static Metadata<'static>,
    /// One for each field of `of`, in that order.
    values: Vec<Option<String>>,
}

impl Record {
    fn of(event: &Event<'_>) -> Self {
        let of = event.metadata();
        let mut record = Self {
            of,
            values: vec![None; of.fields().len()],
        };
        event.record(&mut record);
        record
    }

    pub(super) fn size(&self) -> usize {
        let texts = self.values.iter().flatten();
        OVERHEAD + texts.map(String::len).sum::<usize>()
    }

    /// Tells a subscriber of it, as of what happens now.
    pub(super) fn tell(&self, subscriber: &impl Subscriber) {
        let values: Vec<Option<&dyn Value>> = self
            .values
            .iter()
            .map(|value| value.as_ref().map(|text| text as &dyn Value))
            .collect();
        let values = self.of.fields().value_set_all(&values);
        subscriber.event(&Event::new(self.of, &values));
    }
}

impl Visit for Record {
    fn record_str(&mut self, field: &Field, value: &str) {
        if let Some(slot) = self.values.get_mut(field.index()) {
            // Fields are shown, too: by the catalog, which has them in its texts.
            *slot = Some(text::of(value));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("of", &self.of.name())
            .field("values", &self.values)
            .finish()
    }
}

/// Sends what is logged to an queue, with its fields.
pub(super) struct Records(pub(super) LineQueue);

impl<S: Subscriber> Layer<S> for Records {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.push(Line::Record(Record::of(event)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::hostile;
    use proptest::prelude::*;
    use std::sync::{Arc, Mutex};

    /// Notes every record that it is told of, as text.
    #[derive(Clone, Default)]
    struct Notes(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Notes {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let record = Record::of(event);
            let fields = record.of.fields().iter().zip(&record.values);
            let fields: Vec<_> = fields
                .map(|(field, value)| format!("{field}={}", value.as_deref().unwrap_or("(none)")))
                .collect();
            let line = format!(
                "{} {}: {}",
                record.of.level(),
                record.of.line().unwrap_or(0),
                fields.join(" ")
            );
            self.0.lock().unwrap().push(line);
        }
    }

    /// Keeps every record, and tells of it later.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Record>>>);

    impl<S: Subscriber> Layer<S> for Kept {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            self.0.lock().unwrap().push(Record::of(event));
        }
    }

    #[test]
    fn what_is_told_later_is_what_was_logged() {
        let (kept, at_once, later) = (Kept::default(), Notes::default(), Notes::default());
        let subscriber = tracing_subscriber::registry()
            .with(kept.clone())
            .with(at_once.clone());
        tracing::subscriber::with_default(subscriber, || {
            let (id, none) = ("00ff", None::<&str>);
            tracing::warn!(
                message_id = id,
                lines = 7_u64,
                ok = true,
                none,
                "a {}",
                "text"
            );
            tracing::error!(error = %"a\nb", ratio = 1.5, "{id:?}");
        });
        let subscriber = tracing_subscriber::registry().with(later.clone());
        for record in kept.0.lock().unwrap().iter() {
            record.tell(&subscriber);
        }
        let (at_once, later) = (at_once.0.lock().unwrap(), later.0.lock().unwrap());
        assert_eq!(*at_once, *later);
        let [warning, error] = &**later else {
            panic!("{later:?}");
        };
        assert!(warning.starts_with("WARN "), "{warning}");
        for part in [
            "message=a text",
            "message_id=00ff",
            "lines=7",
            "ok=true",
            "none=(none)",
        ] {
            assert!(warning.contains(part), "{warning}");
        }
        assert!(error.starts_with("ERROR "), "{error}");
        for part in ["message=\"00ff\"", "error=a\\nb", "ratio=1.5"] {
            assert!(error.contains(part), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_field_does_anything_to_a_terminal(text in hostile::texts()) {
            let notes = Notes::default();
            let subscriber = tracing_subscriber::registry().with(notes.clone());
            tracing::subscriber::with_default(subscriber, || {
                tracing::warn!(host = text, error = %text, "{text}");
            });
            let lines = notes.0.lock().unwrap().join("\n");
            hostile::assert_harmless(&lines);
            prop_assert!(!lines.contains('\n'), "{lines:?}");
        }
    }
}
