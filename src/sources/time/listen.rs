//! The task that asks timesyncd and timedated (org.freedesktop.timesync1 and timedate1,
//! org.freedesktop.timedate1(5)).

use std::{collections::HashMap, sync::Arc};

use tokio::sync::Notify;
use zbus::{Message, Structure, Variant};

use super::Heard;
use crate::sources::bus::{Client, Failure, NewOwner, Peer, SharedState, Topic, is_signal};

const TIMESYNC: &str = "org.freedesktop.timesync1";
const TIMESYNC_PATH: &str = "/org/freedesktop/timesync1";
const TIMESYNC_MANAGER: &str = "org.freedesktop.timesync1.Manager";
const EXCHANGE: &str = "NTPMessage";
const TIMEDATE: &str = "org.freedesktop.timedate1";
const TIMEDATE_PATH: &str = "/org/freedesktop/timedate1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// Follows timesyncd, and asks timedated on request.
pub(super) struct Listener {
    shared: Arc<SharedState<Heard>>,
    again: Arc<Notify>,
    heard: Heard,
}

impl Listener {
    pub(super) fn new(shared: Arc<SharedState<Heard>>, again: Arc<Notify>) -> Self {
        Self {
            shared,
            again,
            heard: Heard::default(),
        }
    }

    async fn listen(&mut self, client: &mut Client) -> Result<(), Failure> {
        client.watch_owner(TIMESYNC).await?;
        client
            .watch(format!(
                "type='signal',sender='{TIMESYNC}',path='{TIMESYNC_PATH}',\
                 interface='{PROPERTIES}',member='PropertiesChanged',arg0='{TIMESYNC_MANAGER}'"
            ))
            .await?;
        let mut owner = client.owner(TIMESYNC).await?;
        self.heard.offset = match &owner {
            Some(owner) => ask_timesyncd(client, owner).await?,
            None => None,
        };
        self.heard.synchronised = ask_timedated(client).await?;
        self.shared.put(self.heard);
        loop {
            tokio::select! {
                           biased;
                           message = client.next() => {
                               let message = message?;
                               if let Some(NewOwner(new)) = Client::new_owner(&message, TIMESYNC) {
                                   owner = new;
                                   self.heard.offset = None;
                               } else if let Some(owner) = &owner {
            told(&message, owner, &mut self.heard.offset);
            }
                           }
                           () = self.again.notified() => {
                               self.heard.synchronised = ask_timedated(client).await?;
                           }
                       }
            self.shared.put(self.heard);
        }
    }
}

/// The offset by the last exchange. The call goes to a unique name, which starts no service.
async fn ask_timesyncd(client: &mut Client, owner: &str) -> Result<Option<f64>, Failure> {
    let peer = Peer {
        name: owner,
        path: TIMESYNC_PATH,
        interface: PROPERTIES,
    };
    match client
        .call(peer, "Get", &(TIMESYNC_MANAGER, EXCHANGE))
        .await
    {
        Ok(answer) => {
            let body = answer.body();
            let value = body.deserialize::<Variant<'_>>().ok();
            Ok(value.as_ref().and_then(offset))
        }
        Err(failure) => none_unless_gone(&failure),
    }
}

/// Returns true if the clock is synchronised. This starts timedated if it does not run; it ends by
/// itself half a minute later.
async fn ask_timedated(client: &mut Client) -> Result<Option<bool>, Failure> {
    let peer = Peer {
        name: TIMEDATE,
        path: TIMEDATE_PATH,
        interface: PROPERTIES,
    };
    match client
        .call(peer, "Get", &(TIMEDATE, "NTPSynchronized"))
        .await
    {
        Ok(answer) => match answer.body().deserialize::<Variant<'_>>() {
            Ok(Variant::Bool(synchronised)) => Ok(Some(synchronised)),
            _ => Ok(None),
        },
        Err(failure) => none_unless_gone(&failure),
    }
}

/// A host may lack either service, or not let us ask it.
fn none_unless_gone<T>(failure: &Failure) -> Result<Option<T>, Failure> {
    match failure {
        Failure::Gone => Err(Failure::Gone),
        Failure::Call { .. } => Ok(None),
    }
}

/// Takes the offset out of a signal, where it is timesyncd's and has one.
fn told(message: &Message, owner: &str, offset_now: &mut Option<f64>) {
    if !is_signal(&message.header(), owner, PROPERTIES, "PropertiesChanged") {
        return;
    }
    let body = message.body();
    let changed = body.deserialize::<(&str, HashMap<&str, Variant<'_>>, Vec<&str>)>();
    if let Ok((TIMESYNC_MANAGER, changed, _)) = changed
        && let Some(exchange) = changed.get(EXCHANGE)
    {
        *offset_now = offset(exchange);
    }
}

/// The offset by an exchange, `(uuuuittayttttbtt)`; None before the first one, and where it
/// was ignored as a spike.
fn offset(exchange: &Variant<'_>) -> Option<f64> {
    let Variant::Structure(exchange) = exchange else {
        return None;
    };
    let number = |at| number(exchange, at);
    let ignored = matches!(exchange.fields().get(12), Some(Variant::Bool(true)));
    let packets = number(13)?;
    if ignored || packets == 0 {
        return None;
    }
    let exchange = Exchange {
        origin: number(8)?,
        receive: number(9)?,
        transmit: number(10)?,
        destination: number(11)?,
    };
    Some(exchange.offset_seconds())
}

fn number(structure: &Structure<'_>, at: usize) -> Option<u64> {
    match structure.fields().get(at) {
        Some(Variant::U64(number)) => Some(*number),
        _ => None,
    }
}

impl Topic for Listener {
    async fn serve(&mut self, client: &mut Client) -> Result<(), Failure> {
        self.listen(client).await
    }

    /// A host without these services, or without a bus, has no one to ask, and that is not an
    /// error.
    fn lost(&mut self, _why: Option<String>) {
        self.heard = Heard::default();
        self.shared.clear();
    }
}

/// The time stamps of an exchange, in µs of the wall clocks (RFC 5905, section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exchange {
    /// When the question left here.
    pub(super) origin: u64,
    /// When it came to the server, by its clock.
    pub(super) receive: u64,
    /// When the answer left there.
    pub(super) transmit: u64,
    /// When it came here.
    pub(super) destination: u64,
}

impl Exchange {
    /// How far our clock is behind the server's, in s.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a difference so large that it is rounded is wrong by years"
    )]
    pub(super) fn offset_seconds(&self) -> f64 {
        let there = i128::from(self.receive) - i128::from(self.origin);
        let back = i128::from(self.transmit) - i128::from(self.destination);
        (there + back) as f64 / 2e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(ignored: bool, packets: u64) -> Variant<'static> {
        let structure = zbus::wire::StructureBuilder::new()
            .add_field(0_u32)
            .add_field(4_u32)
            .add_field(4_u32)
            .add_field(2_u32)
            .add_field(-20_i32)
            .add_field(15_000_u64)
            .add_field(900_u64)
            .add_field(vec![10_u8, 0, 0, 1])
            .add_field(1_000_000_u64)
            .add_field(1_510_000_u64)
            .add_field(1_510_100_u64)
            .add_field(1_020_100_u64)
            .add_field(ignored)
            .add_field(packets)
            .add_field(40_u64)
            .build()
            .unwrap();
        Variant::from(structure)
    }

    #[test]
    fn an_exchange_has_an_offset_unless_it_was_ignored() {
        assert_eq!(offset(&exchange(false, 3)), Some(0.5));
        assert_eq!(offset(&exchange(true, 3)), None);
        assert_eq!(offset(&exchange(false, 0)), None, "there was none yet");
        assert_eq!(offset(&Variant::from("nonsense")), None);
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "halves of a µs are exact enough here")]
    fn the_offset_is_that_of_rfc_5905() {
        // 10 ms each way, and the server's clock half a second ahead.
        let exchange = Exchange {
            origin: 1_000_000,
            receive: 1_510_000,
            transmit: 1_510_100,
            destination: 1_020_100,
        };
        assert_eq!(exchange.offset_seconds(), 0.5);
        let hostile = Exchange {
            origin: 0,
            receive: u64::MAX,
            transmit: u64::MAX,
            destination: 0,
        };
        assert!(hostile.offset_seconds().is_finite());
    }
}
