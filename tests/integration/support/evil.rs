//! A collector that has the right key and means it no good, for those who connect to it.

use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics_agent::curve::keys::KeyPair;

use super::attack::Attack;
use super::deployed::section;
use super::place::eventually;
use super::zmtp::{PINGS, Socket};

/// Where it listens, and its keys.
pub(crate) struct Evil {
    listener: TcpListener,
    keys: KeyPair,
}

impl Evil {
    /// On a free port of 127.0.0.1.
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        Self {
            listener,
            keys: KeyPair::generate().unwrap(),
        }
    }

    /// Its address.
    pub(crate) fn endpoint(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Its public key.
    pub(crate) fn public(&self) -> String {
        self.keys.public.to_string()
    }

    /// The agent's settings for it.
    pub(crate) fn section(&self, name: &str) -> String {
        section(name, &self.endpoint(), &self.public())
    }

    /// Its end of the next connection, which has said nothing yet; None where none has come lately.
    pub(crate) fn comes(&self) -> Option<TcpStream> {
        match self.listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).unwrap();
                Some(stream)
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                std::thread::sleep(Duration::from_millis(5));
                None
            }
        }
    }

    /// The next connection, which is let in.
    pub(crate) fn lets_in(&self) -> Option<Socket> {
        let mut socket = self.begins()?;
        socket.up();
        Some(socket)
    }

    /// The next connection before its handshake.
    pub(crate) fn begins(&self) -> Option<Socket> {
        let stream = self.comes()?;
        Some(Socket::served(stream, &self.keys).with_heartbeat(PINGS))
    }

    /// Pings each connection that is let in, and does this again and again until it fails. With it:
    /// how many have ended.
    pub(crate) fn on_each(
        self,
        mut act: impl FnMut(&mut Socket) -> std::io::Result<()> + Send + 'static,
    ) -> (Attack, Count) {
        let ended = Count::default();
        let (counted, mut open) = (ended.clone(), None);
        let attack = Attack::begin(move |_| match &mut open {
            None => {
                open = self.lets_in();
                if let Some(socket) = &mut open {
                    // Who has heard something comes back soon.
                    socket.send(&[b"CTRL".to_vec(), b"ping".to_vec()]);
                }
            }
            Some(socket) => {
                if act(socket).is_err() {
                    open = None;
                    counted.add(1);
                }
            }
        });
        (attack, ended)
    }
}

/// What an attack has done so far.
#[derive(Clone, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

impl Count {
    pub(crate) fn add(&self, more: usize) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits until it is as much as this.
    pub(crate) async fn reaches(&self, least: usize, what: &str) {
        eventually(what, async || (self.now() >= least).then_some(())).await;
    }
}

/// Writes of what waits as much as the peer's host takes; false where that is nothing.
pub(crate) fn write_some(mut stream: &TcpStream, waits: &mut Vec<u8>) -> std::io::Result<bool> {
    stream.set_nonblocking(true)?;
    let written = stream.write(waits);
    stream.set_nonblocking(false)?;
    match written {
        Ok(count) => {
            waits.drain(..count);
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
