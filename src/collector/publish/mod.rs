//! `[publish]`: a ZeroMQ PUB socket on which programs of this host follow what agents send.
//!
//! Its messages have three frames: the host's name, the kind, and the grid as it was sent. A
//! reader chooses by the first bytes of the host's name, as ZeroMQ has it.
//!
//! The socket is the crate zeromq's, which bounds little: it queues 100,000 messages for each
//! subscriber, reserves what the header of a frame announces, and takes any number of connections
//! and subscriptions. So no reader is connected to it. Each is connected to a relay, and the relay to
//! the socket: it passes on only what a reader may say, takes everything that the socket sends,
//! and drops whole messages for a reader that does not keep up. All of this has a thread of its own:
//! the loop hands messages over, and waits for nothing.
//!
//! - [`endpoint`]: where to publish, and who may connect;
//! - [`bind`]: the listening sockets;
//! - [`doubt`]: whether one can be made, for `--check-config`;
//! - [`incoming`] and [`outgoing`]: what passes a relay, pure;
//! - [`serve`]: the thread.

mod bind;
pub(super) mod doubt;
pub mod endpoint;
mod incoming;
mod outgoing;
mod serve;
mod stream;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use thiserror::Error;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use zeromq::ZmqMessage;

pub use bind::BindError;

use crate::base::offload::on_a_thread;
use crate::collector::prometheus::own::{self, Figure};
use crate::protocol::message::GridKind;
use bind::{Bound, SocketFile};
use endpoint::{Endpoint, SocketMode};

/// Most bytes of messages between the loop and the relays. The relays take everything at once, so
/// only a thread that gets no CPU time lets so much wait.
const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;

/// Most messages between the loop and the thread.
const MAX_WAITING: usize = 8192;

/// What a message costs besides its grid: its name, three frames, and a place in a queue.
const MESSAGE_OVERHEAD: usize = 512;

/// Numbers that the loop and the thread share.
#[derive(Debug, Default)]
struct Shared {
    /// Readers that are connected.
    readers: AtomicUsize,
    /// Bytes of messages that no relay has taken yet.
    waiting: AtomicUsize,
    /// Messages that readers missed, counted for each of them.
    dropped: AtomicU64,
}

/// Publishes what arrives, if that is wanted.
#[derive(Debug, Default)]
pub struct Publisher(Option<Publishing>);

#[derive(Debug)]
struct Publishing {
    messages: mpsc::Sender<ZmqMessage>,
    shared: Arc<Shared>,
    /// Removed at the end.
    _file: Option<SocketFile>,
}

/// Why nothing can be published.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// There is no listening socket.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system lacks something.
    #[error("cannot start the thread that publishes: {0}")]
    Thread(#[source] io::Error),
    /// The PUB socket does not start.
    #[error("cannot start the PUB socket: {0}")]
    Socket(String),
}

impl Publisher {
    /// Publishes nothing.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Returns true if it publishes.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Listens at this place, and starts the thread. Also returns the place with the port that was
    /// free.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub async fn start(
        endpoint: &Endpoint,
        mode: SocketMode,
    ) -> Result<(Self, Endpoint), StartError> {
        let Bound {
            listener,
            file,
            endpoint,
        } = bind::bind(endpoint, mode)?;
        let inner = bind::inner()?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(StartError::Thread)?;
        let shared = Arc::new(Shared::default());
        let (messages, waiting) = mpsc::channel(MAX_WAITING);
        let (started, result) = oneshot::channel();
        let serving = serve::Serving {
            endpoint: endpoint.to_string(),
            listener,
            inner,
            messages: waiting,
            shared: Arc::clone(&shared),
        };
        on_a_thread("publish", move || runtime.block_on(serving.run(started)))
            .map_err(StartError::Thread)?;
        match result.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(StartError::Socket(error)),
            Err(_) => return Err(StartError::Socket("the thread ended".to_owned())),
        }
        let publishing = Publishing {
            messages,
            shared,
            _file: file,
        };
        Ok((Self(Some(publishing)), endpoint))
    }

    /// Publishes a grid as it was sent. Without a reader it costs a look at a number.
    pub fn publish(&self, host: &str, kind: GridKind, grid: &[u8]) {
        let Some(Publishing {
            messages, shared, ..
        }) = &self.0
        else {
            return;
        };
        let readers = shared.readers.load(Ordering::Relaxed);
        if readers == 0 {
            return;
        }
        let missed = || {
            let missed = u64::try_from(readers).unwrap_or(u64::MAX);
            shared.dropped.fetch_add(missed, Ordering::Relaxed);
        };
        let cost = grid.len() + MESSAGE_OVERHEAD;
        // Only this task adds to it.
        if shared.waiting.load(Ordering::Relaxed) + cost > MAX_WAITING_BYTES {
            missed();
            return;
        }
        shared.waiting.fetch_add(cost, Ordering::Relaxed);
        let grid = Bytes::from_owner(Waiting {
            grid: grid.into(),
            cost,
            shared: Arc::clone(shared),
        });
        let mut message = ZmqMessage::from(Bytes::copy_from_slice(host.as_bytes()));
        message.push_back(Bytes::from_static(kind.as_str().as_bytes()));
        message.push_back(grid);
        if messages.try_send(message).is_err() {
            missed();
        }
    }

    /// What there is to say of it; nothing where nothing is published.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let Some(Publishing { shared, .. }) = &self.0 else {
            return Vec::new();
        };
        let readers = shared.readers.load(Ordering::Relaxed);
        vec![
            Figure::plain(&own::PUBLISH_READERS, readers as u64),
            Figure::plain(
                &own::PUBLISH_DROPPED,
                shared.dropped.load(Ordering::Relaxed),
            ),
        ]
    }
}

/// A grid in the queues of the thread and of the PUB socket. All copies of a message share it.
struct Waiting {
    grid: Box<[u8]>,
    cost: usize,
    shared: Arc<Shared>,
}

impl AsRef<[u8]> for Waiting {
    fn as_ref(&self) -> &[u8] {
        &self.grid
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.shared.waiting.fetch_sub(self.cost, Ordering::Relaxed);
    }
}
