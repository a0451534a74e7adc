//! Why a message of a peer that was let in is refused.

use std::sync::Arc;

use jiff::Timestamp;
use thiserror::Error;

use super::Listener;
use super::pins::{MAX_PINS, MAX_PINS_OF_KEY, Pin};
use crate::base::{shell, text};
use crate::curve::keys::PublicKey;

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AccessRefusal {
    /// libzmq did not ask us about the connection.
    #[error("peer was not authenticated")]
    Unknown,
    /// The key is not, or no longer, on the list.
    #[error("its key is not in {}; `{}` lets that {} in", .listener.directory(), allow(*.listener, .key), .listener.role())]
    NotAuthorized {
        /// The listener that it connected to.
        listener: Listener,
        /// Its key.
        key: PublicKey,
    },
    /// The host name belongs to another key.
    #[error(
        "the host name {} belongs to the key {} since {}, and this is the key {key}; \
         `{}` gives it the name, if it should have it",
        text::quoted(.host), .pin.key, day(.pin), forget(.host)
    )]
    NameTaken {
        /// The name.
        host: Arc<str>,
        /// The key that reported under it.
        key: PublicKey,
        /// The pin of that key.
        pin: Pin,
    },
    /// Too many names are pinned.
    #[error(
        "too many host names are pinned (limit {MAX_PINS}); `metrics-collector keys list` shows them, \
         and `metrics-collector keys forget HOST` removes one"
    )]
    TooManyNames,
    /// The key has as many pinned names as it may have.
    #[error(
        "too many host names pinned for this key (limit {MAX_PINS_OF_KEY}); \
         `metrics-collector keys forget --key {}` removes them all",
        shell::word(&.0.to_string())
    )]
    TooManyNamesOfKey(PublicKey),
}

/// The command that lets a key in, as an administrator would type it. A key may begin with a
/// dash.
pub(crate) fn allow(listener: Listener, key: &PublicKey) -> String {
    let viewer = match listener {
        Listener::Agents => None,
        Listener::Viewers => Some("--viewer"),
    };
    let words = ["metrics-collector", "keys", "allow"].into_iter();
    let words: Vec<_> = words.chain(viewer).chain(["--"]).collect();
    shell::command(&words, &[&key.to_string()])
}

/// The command that removes the pin of a host name.
pub(crate) fn forget(host: &str) -> String {
    shell::command(&["metrics-collector", "keys", "forget"], &[host])
}

fn day(pin: &Pin) -> String {
    let since = i64::try_from(pin.since).unwrap_or(0);
    let since = Timestamp::from_second(since).unwrap_or(Timestamp::UNIX_EPOCH);
    since.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::hostile;
    use proptest::prelude::*;

    #[test]
    fn it_names_the_way_out() {
        let key = |number| PublicKey::from_bytes([number; 32]);
        let refusal = AccessRefusal::NameTaken {
            host: "web1".into(),
            key: key(2),
            pin: Pin {
                key: key(1),
                since: 1_700_000_000,
            },
        };
        let (one, two) = (key(1), key(2));
        assert_eq!(
            refusal.to_string(),
            format!(
                "the host name web1 belongs to the key {one} since 2023-11-14, and this is the \
                 key {two}; `metrics-collector keys forget web1` gives it the name, if it should \
                 have it"
            )
        );
        let refusal = AccessRefusal::NotAuthorized {
            listener: Listener::Agents,
            key: two,
        };
        let command = allow(Listener::Agents, &two);
        let text = format!("its key is not in authorized_agents; `{command}` lets that agent in");
        assert_eq!(refusal.to_string(), text);
    }

    #[test]
    fn a_hint_can_be_typed() {
        let key = "-:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7-".parse().unwrap();
        assert_eq!(
            allow(Listener::Viewers, &key),
            "metrics-collector keys allow --viewer -- '-:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7-'"
        );
    }

    proptest! {
        #[test]
        fn no_name_is_more_than_a_word_of_the_command(text in hostile::texts()) {
            let refusal = AccessRefusal::NameTaken {
                host: text.as_str().into(),
                key: PublicKey::from_bytes([2; 32]),
                pin: Pin { key: PublicKey::from_bytes([1; 32]), since: 0 },
            };
            let shown = refusal.to_string();
            hostile::assert_harmless(&shown);
            prop_assert!(!shown.contains('\n'), "{shown:?}");
            let command = shell::command(&["metrics-collector", "keys", "forget"], &[&text]);
            prop_assert!(shown.contains(&format!("`{command}`")), "{shown:?}");
        }
    }

    #[test]
    fn a_name_cannot_add_a_command() {
        let refusal = AccessRefusal::NameTaken {
            host: "x;touch /tmp/y".into(),
            key: PublicKey::from_bytes([2; 32]),
            pin: Pin {
                key: PublicKey::from_bytes([1; 32]),
                since: 0,
            },
        };
        let shown = refusal.to_string();
        assert!(
            shown.contains("`metrics-collector keys forget 'x;touch /tmp/y'`"),
            "{shown}"
        );
    }
}
