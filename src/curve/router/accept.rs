//! How a ROUTER takes new connections, and when it does not.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::admission::Room;
use super::peer::Peer;
use super::{Arrived, Ending, Failure, LISTENER, Router};

/// Connections that are accepted in one turn.
const BATCH_ACCEPTED: usize = 64;

/// When to accept again after the system had no descriptor or memory for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Router {
    /// Takes new connections.
    pub(super) fn accept(&mut self, now: Instant) {
        for _ in 0..BATCH_ACCEPTED {
            let known = self.peers.len() - self.admission.half_open();
            let places = self.most.saturating_sub(known);
            // Without a place it is accepted and refused: in the kernel's queue it would wait for ever.
            match self.admission.room(now, places) {
                _ if places == 0 => {}
                Room::Free => {}
                Room::InsteadOf(oldest) => self.fail(oldest, Failure::Crowded),
                Room::Later(again) => return self.pause(again),
            }
            match self.listener.accept() {
                Ok((stream, from)) => self.came(stream, from.ip().to_canonical(), now),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if has_no_room(&error) => {
                    // Asking again at once would be a loop.
                    return self.pause(now + ACCEPT_PAUSE);
                }
                // The peer has gone in between, or a firewall has said no.
                Err(_) => {}
            }
        }
    }

    /// Accepts no connection before this time.
    fn pause(&mut self, until: Instant) {
        self.accept_again = Some(until);
        // It is one of ours and is open.
        let _ = self.poller.watch(&self.listener, LISTENER, false, false);
    }

    fn came(&mut self, stream: TcpStream, address: IpAddr, now: Instant) {
        if self.peers.len() >= self.most {
            let Some(oldest) = self.admission.oldest() else {
                let limit = self.most;
                self.endings.count(Ending::Full);
                self.arrived.push_back(Arrived::Failed {
                    origin: None,
                    address,
                    why: Failure::Full { limit },
                });
                return;
            };
            self.fail(oldest, Failure::Crowded);
        }
        // What fails here is the peer's end or a want of memory: it is as if it had not come.
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let Ok(peer) = Peer::new(stream, address) else {
            return;
        };
        let token = self.peers.insert(peer);
        self.admission.came(token, address, now);
        let added = self
            .peers
            .get_mut(token)
            .map(|peer| self.poller.add(peer.stream(), token));
        if !matches!(added, Some(Ok(()))) {
            self.end(token, Ending::Internal);
            return;
        }
        self.written(token);
    }
}

/// The system has no descriptor or memory for another connection.
fn has_no_room(error: &io::Error) -> bool {
    let error = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(
        error,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)
    )
}
