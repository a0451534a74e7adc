//! A line for the journal with its fields, kept until the journal takes it.

use std::fmt;

use tracing::field::{Field, Value, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::queue::{Line, LineQueue};
use crate::base::text;

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
    use std::sync::{Arc, Mutex};

    use proptest::prelude::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::base::text::hostile;

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
