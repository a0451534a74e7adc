//! The thread: the PUB socket, and a relay for each reader.

use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use zeromq::{PubSocket, Socket as _, SocketSend as _, ZmqMessage};

use super::Shared;
use super::bind::{self, Inner};
use super::incoming::{Incoming, Refusal};
use super::outgoing::{MAX_WAITING_BYTES, Outgoing};
use super::stream::{Listener, Stream};
use crate::base::throttle::Throttle;
use crate::collector::events;

/// The most readers: each may cost [`MAX_WAITING_BYTES`], a copy of every message, and three
/// descriptors of those that [`descriptors`](crate::collector::descriptors) keeps back.
const MAX_READERS: usize = 16;

/// How long a reader may take for its handshake: it is on this host.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// After that time to accept is tried again, where the system had nothing left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// What is read at once of the PUB socket.
const READ: usize = 64 * 1024;

/// What is read at once of a reader: subscriptions are short.
const READ_READER: usize = 4096;

/// What the thread begins with.
pub(super) struct Serving {
    pub(super) endpoint: String,
    pub(super) listener: bind::Listener,
    pub(super) inner: Inner,
    pub(super) messages: mpsc::Receiver<ZmqMessage>,
    pub(super) shared: Arc<Shared>,
}

/// Why a relay has ended, where that is worth a line.
#[derive(Debug, Error)]
enum Ended {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("no handshake within {} s", HANDSHAKE.as_secs())]
    Late,
    #[error("the PUB socket cannot be reached: {0}")]
    Inner(io::Error),
    /// One of both ends has closed.
    #[error("closed")]
    Closed,
}

/// What all relays share.
struct Relays {
    endpoint: String,
    inner: PathBuf,
    /// Keeps the path open.
    _file: OwnedFd,
    shared: Arc<Shared>,
    /// Readers that do not keep up.
    slow: Mutex<Throttle>,
}

impl Serving {
    /// Works until the collector lets go of the sender of messages.
    pub(super) async fn run(self, started: oneshot::Sender<Result<(), String>>) {
        let Self {
            endpoint,
            listener,
            inner,
            mut messages,
            shared,
        } = self;
        let (inner, file, path) = inner.split();
        let mut socket = PubSocket::new();
        let result = match socket.bind_listener(inner).await {
            Ok(_) => Listener::from_bound(listener).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let listener = match result {
            Ok(listener) => listener,
            Err(error) => {
                let _ = started.send(Err(error));
                return;
            }
        };
        if started.send(Ok(())).is_err() {
            return;
        }
        let relays = Arc::new(Relays {
            endpoint,
            inner: path,
            _file: file,
            shared,
            slow: Mutex::default(),
        });
        let mut readers = JoinSet::new();
        let (mut refused, mut failed) = (Throttle::default(), Throttle::default());
        loop {
            let accepted = tokio::select! {
                message = messages.recv() => {
                    let Some(message) = message else { return };
                    // It puts the message into a queue and drops what finds no room there: that
                    // it waits or fails is not to be expected.
                    let _ = socket.send(message).await;
                    continue;
                }
                Some(ended) = readers.join_next() => {
                    if let Ok(Err(ended)) = ended {
                        relays.log(&ended, &mut refused);
                    }
                    continue;
                }
                accepted = accept(&listener, &mut failed, &relays.endpoint) => accepted,
            };
            if readers.len() >= MAX_READERS {
                if let Some(untold) = refused.note(Instant::now()) {
                    let why = format!("too many readers (limit {MAX_READERS})");
                    events::publish_reader_refused(&relays.endpoint, &why, untold);
                }
                continue;
            }
            let here = Here::enter(Arc::clone(&relays.shared));
            readers.spawn(Arc::clone(&relays).relay(accepted, here));
        }
    }
}

/// A reader that is counted.
struct Here(Arc<Shared>);

impl Here {
    fn enter(shared: Arc<Shared>) -> Self {
        shared.readers.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn accept(listener: &Listener, failed: &mut Throttle, endpoint: &str) -> Stream {
    loop {
        match listener.accept().await {
            Ok(stream) => return stream,
            Err(error) => {
                if let Some(untold) = failed.note(Instant::now()) {
                    events::publish_accept_failed(endpoint, &error, untold);
                }
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

impl Relays {
    /// Passes on what a reader and the PUB socket send to each other.
    async fn relay(self: Arc<Self>, reader: Stream, here: Here) -> Result<(), Ended> {
        let inner = connect(&self.inner).await.map_err(Ended::Inner)?;
        let mut relay = Relay {
            reader,
            inner,
            incoming: Incoming::new(),
            outgoing: Outgoing::new(MAX_WAITING_BYTES),
            buffer: Vec::new(),
        };
        let handshake = async {
            while !relay.incoming.is_open() {
                relay.step().await?;
            }
            Ok(())
        };
        timeout(HANDSHAKE, handshake)
            .await
            .unwrap_or(Err(Ended::Late))?;
        loop {
            let dropped = relay.step().await?;
            if dropped > 0 {
                self.missed(dropped);
            }
            // It is counted as long as it is connected.
            let Here(_) = &here;
        }
    }

    fn missed(&self, dropped: u64) {
        let before = self.shared.dropped.fetch_add(dropped, Ordering::Relaxed);
        let mut slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        if slow.note(Instant::now()).is_some() {
            events::publish_reader_slow(&self.endpoint, before + dropped);
        }
    }

    fn log(&self, ended: &Ended, refused: &mut Throttle) {
        if matches!(ended, Ended::Closed) {
            return;
        }
        if let Some(untold) = refused.note(Instant::now()) {
            events::publish_reader_refused(&self.endpoint, ended, untold);
        }
    }
}

async fn connect(path: &Path) -> io::Result<UnixStream> {
    UnixStream::connect(path).await
}

/// A reader's connection, and its connection to the PUB socket.
struct Relay {
    reader: Stream,
    inner: UnixStream,
    incoming: Incoming,
    outgoing: Outgoing,
    buffer: Vec<u8>,
}

impl Relay {
    /// Waits until there is something to do, and does it once. Returns how many messages the reader
    /// missed.
    ///
    /// What the PUB socket sends is always read, so that nothing waits there; of a reader nothing
    /// is read as long as the PUB socket has not taken what it said before.
    async fn step(&mut self) -> Result<u64, Ended> {
        let has_said = !self.incoming.passed.is_empty();
        let of_reader = match (has_said, self.outgoing.is_empty()) {
            (false, true) => Some(Interest::READABLE),
            (false, false) => Some(Interest::READABLE | Interest::WRITABLE),
            (true, false) => Some(Interest::WRITABLE),
            (true, true) => None,
        };
        let of_inner = if has_said {
            Interest::READABLE | Interest::WRITABLE
        } else {
            Interest::READABLE
        };
        let reader_ready = async {
            match of_reader {
                Some(interest) => self.reader.ready(interest).await,
                None => pending().await,
            }
        };
        let (reader, inner) = tokio::select! {
            ready = reader_ready => (Some(ready), None),
            ready = self.inner.ready(of_inner) => (None, Some(ready)),
        };
        if let Some(ready) = reader {
            let ready = ready.map_err(|_| Ended::Closed)?;
            if ready.is_writable() {
                self.write_reader()?;
            }
            if ready.is_readable() && !has_said {
                self.read_reader()?;
            }
        }
        let mut dropped = 0;
        if let Some(ready) = inner {
            let ready = ready.map_err(|_| Ended::Closed)?;
            if ready.is_writable() && has_said {
                self.write_inner()?;
            }
            if ready.is_readable() {
                dropped = self.read_inner()?;
            }
        }
        Ok(dropped)
    }

    fn read_reader(&mut self) -> Result<(), Ended> {
        self.buffer.resize(READ_READER, 0);
        let read = done(self.reader.try_read(&mut self.buffer), true)?;
        let read = self.buffer.get(..read).unwrap_or_default();
        self.incoming.receive(read)?;
        let answers = std::mem::take(&mut self.incoming.answers);
        if !answers.is_empty() {
            // A reader that reads nothing gets no answer either.
            let _ = self.outgoing.push(&answers);
        }
        Ok(())
    }

    fn write_reader(&mut self) -> Result<(), Ended> {
        if !self.outgoing.is_empty() {
            let written = done(self.reader.try_write(self.outgoing.front()), false)?;
            self.outgoing.written(written);
        }
        Ok(())
    }

    fn read_inner(&mut self) -> Result<u64, Ended> {
        self.buffer.resize(READ, 0);
        let read = done(self.inner.try_read(&mut self.buffer), true)?;
        let read = self.buffer.get(..read).unwrap_or_default();
        Ok(self.outgoing.receive(read))
    }

    fn write_inner(&mut self) -> Result<(), Ended> {
        let written = done(self.inner.try_write(&self.incoming.passed), false)?;
        self.incoming.passed.drain(..written);
        Ok(())
    }
}

/// The bytes that were moved: none if it has to wait.
fn done(result: io::Result<usize>, read: bool) -> Result<usize, Ended> {
    match result {
        Ok(0) if read => Err(Ended::Closed),
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        Err(_) => Err(Ended::Closed),
    }
}
