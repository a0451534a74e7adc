//! The driver of the link: looks the name up, opens and closes sockets, says hello, and returns
//! what the collector sends. Every wait has a time-out.

use std::collections::VecDeque;
use std::future::pending;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::time::{sleep_until, timeout};

use super::known::{Known, KnownError};
use super::link::{Action, Event, Link, Status, Trouble};
use crate::base::offload::{Offloaded, offload};
use crate::curve::dealer::{Dealer, DealerEvent, DealerOptions, RoutingId};
use crate::curve::endpoint::Endpoint;
use crate::curve::keys::{KeyPair, PublicKey};
use crate::curve::resolve::Resolver;
use crate::curve::zmtp::message::Received;
use crate::protocol::message::{Control, Message, VIEWER_ID_PREFIX};

/// The connection to the collector.
pub struct Connection {
    endpoint: Endpoint,
    keys: KeyPair,
    server_key: PublicKey,
    link: Link,
    resolver: Resolver,
    looking_up: bool,
    addresses: VecDeque<SocketAddr>,
    dealer: Option<Dealer>,
    /// Where the collector's key is to be remembered once it has proved to have it.
    remember: Option<Known>,
    remembering: Option<Offloaded<Result<(), KnownError>>>,
}

/// How long the disk may take when the process wants to end.
const DISK_PATIENCE: Duration = Duration::from_secs(2);

/// What happened on the link; [`Connection::take`] handles it.
#[derive(Debug)]
pub struct Happened(Kind);

#[derive(Debug)]
enum Kind {
    Socket(DealerEvent),
    LookedUp(Result<VecDeque<SocketAddr>, String>),
    Deadline,
}

impl Connection {
    /// Starts to connect. Must be called within a tokio runtime.
    #[must_use]
    pub fn open(
        endpoint: Endpoint,
        keys: KeyPair,
        server_key: PublicKey,
        remember: Option<Known>,
        now: Instant,
    ) -> Self {
        let mut connection = Self {
            endpoint,
            keys,
            server_key,
            link: Link::new(now),
            resolver: Resolver::default(),
            looking_up: false,
            addresses: VecDeque::new(),
            dealer: None,
            remember,
            remembering: None,
        };
        connection.begin();
        connection
    }

    /// What people are told.
    #[must_use]
    pub fn status(&self) -> Status<'_> {
        self.link.status()
    }

    /// Waits for what happens next. Cancel safe.
    pub async fn happens(&mut self) -> Happened {
        let deadline = self.link.deadline();
        Happened(tokio::select! {
            event = next_event(&mut self.dealer) => Kind::Socket(event),
            found = self.resolver.look_up(&self.endpoint), if self.looking_up =>
                Kind::LookedUp(found.map_err(|error| error.to_string())),
            () = sleep_until(deadline.into()) => Kind::Deadline,
        })
    }

    /// Handles it. Returns the message, if it was one.
    pub fn take(&mut self, happened: Happened, now: Instant) -> Option<Received> {
        match happened.0 {
            Kind::Deadline => self.tell(Event::Tick, now),
            Kind::LookedUp(Ok(addresses)) => {
                self.looking_up = false;
                self.addresses = addresses;
                self.connect_next("the name has no address".to_owned(), now);
            }
            Kind::LookedUp(Err(error)) => {
                self.looking_up = false;
                self.tell(Event::Down(Trouble::NoAddress(error)), now);
            }
            Kind::Socket(DealerEvent::LinkUp) => {
                self.remember_key();
                self.tell(Event::Up, now);
            }
            Kind::Socket(DealerEvent::LinkDown(cause)) => {
                self.tell(Event::Down(Trouble::of(&cause)), now);
            }
            Kind::Socket(DealerEvent::ConnectFailed(failure)) => {
                self.connect_next(failure.to_string(), now);
            }
            Kind::Socket(DealerEvent::Received(received)) => {
                if is_for_agents(&received) {
                    self.tell(Event::Down(Trouble::AgentsPort), now);
                    return None;
                }
                self.tell(Event::Heard, now);
                return Some(received);
            }
        }
        None
    }

    /// Reconnects, at once.
    pub fn retry(&mut self, now: Instant) {
        self.tell(Event::Retry, now);
    }

    /// The collector has proved to have its key.
    fn remember_key(&mut self) {
        if let Some(known) = self.remember.take() {
            let (endpoint, key) = (self.endpoint.clone(), self.server_key);
            // A disk may hang.
            let write = move || known.remember(&endpoint, key);
            self.remembering = Some(offload("known", write));
        }
    }

    /// Waits for a short time until the collector's key is remembered, if it has to be. Returns
    /// why it is not.
    pub async fn end(mut self) -> Option<String> {
        let remembering = self.remembering.take()?;
        let failed = match timeout(DISK_PATIENCE, remembering).await {
            Ok(Ok(written)) => written.err()?.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the disk takes too long".to_owned(),
        };
        Some(format!("the collector's key is not remembered: {failed}"))
    }

    fn tell(&mut self, event: Event, now: Instant) {
        for action in self.link.take(event, now, &mut fastrand::f64) {
            match action {
                Action::Open => self.begin(),
                Action::Close => {
                    self.looking_up = false;
                    self.addresses.clear();
                    self.dealer = None;
                }
                Action::Hello => self.say_hello(),
            }
        }
    }

    fn begin(&mut self) {
        self.looking_up = true;
        self.resolver.begin();
    }

    /// A hello without room in the queue is sent again at the next interval.
    fn say_hello(&mut self) {
        if let Some(dealer) = &mut self.dealer {
            let _ = dealer.try_send(&Message::Control(Control::Hello).frames());
        }
    }

    /// Connects to the next address; if there is none left, `why` becomes the trouble.
    fn connect_next(&mut self, mut why: String, now: Instant) {
        self.dealer = None;
        while let Some(address) = self.addresses.pop_front() {
            let options = DealerOptions {
                address,
                server_key: self.server_key,
                keys: &self.keys,
                routing_id: RoutingId::random_after(VIEWER_ID_PREFIX),
            };
            match Dealer::connect_to_view(options) {
                Ok(dealer) => {
                    self.dealer = Some(dealer);
                    return;
                }
                Err(error) => why = error.to_string(),
            }
        }
        self.tell(Event::Down(Trouble::Unreachable(why)), now);
    }
}

/// Returns true if this is a request that collectors send only to agents.
fn is_for_agents(received: &Received) -> bool {
    let Received::Message(frames) = received else {
        return false;
    };
    frames.as_slices() == *Message::Control(Control::Model).frames()
}

async fn next_event(dealer: &mut Option<Dealer>) -> DealerEvent {
    match dealer {
        Some(dealer) => dealer.event().await,
        None => pending().await,
    }
}
