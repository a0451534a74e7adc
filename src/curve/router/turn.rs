//! What a ROUTER does in a turn: sends, accepts, reads, and ends whose time is over.

use std::cmp::Reverse;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::admission::Room;
use super::peer::{Came, Peer, RoutingIdBytes, Standing};
use super::poller::Ready;
use super::{Arrived, Ending, Failure, HEARTBEAT, LISTENER, Origin, Router};
use crate::curve::context::TransportError;
use crate::curve::zmtp::connection::{Event, Role, Surroundings};
use crate::curve::zmtp::input::Input;
use crate::curve::zmtp::random::KernelRandom;
use crate::curve::zmtp::{Command, Violation};

/// Messages and bytes of them that wait for the caller; beyond it nothing is read, and TCP holds
/// the peers back.
const MAX_WAITING: usize = 4096;
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;

/// Connections that are accepted in one turn.
const BATCH_ACCEPTED: usize = 64;

/// Commands of handshakes in one turn: some 3 ms of work.
const BATCH_HANDSHAKES: u32 = 32;

/// A peer for which this much more waits than may be sent to it, in bytes, is not read from:
/// answers to PINGs are never dropped.
const HELD_BACK_BYTES: usize = 16 * 1024;

/// When to look again at a peer that may be silent, while nothing can be read.
const LATER: Duration = Duration::from_secs(1);

/// Timers of peers that have left, beyond as many as there are peers.
const SPARE_TIMERS: usize = 1024;

/// When to accept again after the system had no descriptor or memory for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a turn has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Nothing.
    Idle,
    /// Strangers, or room to write.
    Busy,
    /// Something was read of a peer that was let in.
    Heard,
}

impl Router {
    /// Does once around what can be done now.
    pub(super) fn turn(&mut self, now: Instant) -> Result<Turn, TransportError> {
        self.flush_all();
        self.attend(now);
        let ready = self.poller.poll().map_err(TransportError::Reactor)?;
        let mut handshakes = BATCH_HANDSHAKES;
        let mut found = if ready == 0 { Turn::Idle } else { Turn::Busy };
        for index in 0..ready {
            // What is not read now is told of again.
            if self.is_full() {
                break;
            }
            match self.poller.ready(index) {
                Some(Ready {
                    token: LISTENER, ..
                }) => self.accept(now),
                Some(ready) => {
                    if self.serve(ready, now, &mut handshakes) {
                        found = Turn::Heard;
                    }
                }
                None => break,
            }
        }
        Ok(found)
    }

    /// Returns true if so much waits for the caller that nothing may be read.
    fn is_full(&self) -> bool {
        self.arrived.len() >= MAX_WAITING || self.arrived_bytes >= MAX_WAITING_BYTES
    }

    /// When [`Router::attend`] has something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let stranger = self.admission.next_due().map(|(due, _)| due);
        let beat = self.timers.peek().map(|Reverse((due, _))| *due);
        let due = [stranger, beat, self.accept_again];
        due.into_iter().flatten().min()
    }

    /// Ends those whose time is over.
    pub(super) fn attend(&mut self, now: Instant) {
        if self.accept_again.is_some_and(|again| again <= now) {
            self.accept_again = None;
            // It was one of ours and is open.
            let _ = self.poller.watch(&self.listener, LISTENER, true, false);
        }
        while let Some((_, token)) = self.admission.next_due().filter(|(due, _)| *due <= now) {
            self.fail(token, Failure::Slow);
            // Whatever the table of peers says, this one is not told of again.
            self.admission.left(token);
        }
        while let Some(Reverse((due, token))) = self.timers.peek().copied() {
            if due > now {
                break;
            }
            self.timers.pop();
            let Some(peer) = self.peers.get_mut(token) else {
                continue;
            };
            peer.is_timed = false;
            if self.is_full() {
                // Who is not read from is not silent.
                self.schedule_at(token, now + LATER);
                continue;
            }
            // Nor is one whose words wait since before this process, or the machine, stood still.
            let ready = Ready {
                token,
                read: true,
                write: false,
            };
            self.serve(ready, now, &mut 0);
            let Some(peer) = self.peers.get_mut(token) else {
                continue;
            };
            match peer.connection.beat(now, &HEARTBEAT, &mut peer.out) {
                Ok(()) => self.schedule(token),
                Err(violation) => self.fail(token, violation.into()),
            }
        }
    }

    /// Has a peer's deadline looked at when it is there.
    fn schedule(&mut self, token: u64) {
        let peer = self.peers.get_mut(token);
        if let Some(due) = peer.and_then(|peer| peer.connection.deadline(&HEARTBEAT)) {
            self.schedule_at(token, due);
        }
    }

    fn schedule_at(&mut self, token: u64, due: Instant) {
        let Some(peer) = self.peers.get_mut(token).filter(|peer| !peer.is_timed) else {
            return;
        };
        peer.is_timed = true;
        self.timers.push(Reverse((due, token)));
        // Peers choose how long they may be silent: those who have left would pile up.
        if self.timers.len() > 2 * self.peers.len() + SPARE_TIMERS {
            let peers = &mut self.peers;
            self.timers
                .retain(|Reverse((_, token))| peers.get_mut(*token).is_some());
        }
    }

    /// Takes new connections.
    fn accept(&mut self, now: Instant) {
        for _ in 0..BATCH_ACCEPTED {
            match self.admission.room(now) {
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
    pub(super) fn pause(&mut self, until: Instant) {
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

    /// Reads from a peer, and sends to it. Returns true if it was let in and said something.
    fn serve(&mut self, ready: Ready, now: Instant, handshakes: &mut u32) -> bool {
        let token = ready.token;
        if ready.write {
            self.flush(token);
        }
        let Some(peer) = self.peers.get_mut(token) else {
            return false;
        };
        let is_stranger = !matches!(peer.standing, Standing::Known(_));
        if !ready.read || (is_stranger && *handshakes == 0) {
            return false;
        }
        let mut heard = false;
        let mut buffer = std::mem::take(&mut self.buffer);
        match peer.read(&mut buffer) {
            Ok(Came::Bytes(count)) => {
                if is_stranger {
                    *handshakes -= 1;
                } else {
                    heard = true;
                }
                let mut input = Input::new(buffer.get_mut(..count).unwrap_or_default());
                if let Err(why) = self.take(token, &mut input, now) {
                    self.fail(token, why);
                } else {
                    self.written(token);
                    self.schedule(token);
                    self.hold_back(token);
                }
            }
            Ok(Came::Nothing) => {}
            Ok(Came::End) | Err(_) => self.end(token, Ending::Closed),
        }
        self.buffer = buffer;
        heard
    }

    /// Takes what a peer has sent.
    fn take(&mut self, token: u64, input: &mut Input<'_>, now: Instant) -> Result<(), Failure> {
        let Some(peer) = self.peers.get_mut(token) else {
            return Ok(());
        };
        if matches!(peer.standing, Standing::New) {
            peer.standing = Standing::Stranger;
            if !self.admission.may_begin(peer.address, now) {
                return Err(Failure::TooMany);
            }
        }
        let mut surroundings = Surroundings {
            role: Role::Server(&self.keys),
            bounds: &self.limits.bounds,
            heartbeat: &HEARTBEAT,
            random: &mut KernelRandom,
            now,
        };
        loop {
            let event = peer
                .connection
                .next(input, &mut surroundings, &mut peer.out)?;
            match event {
                Some(Event::Knock { key, routing_id }) => {
                    let origin = Origin {
                        id: RoutingIdBytes::new(token, &routing_id),
                        key,
                        address: peer.address,
                    };
                    peer.standing = Standing::Knocking;
                    self.arrived.push_back(Arrived::Knock(origin));
                }
                Some(Event::Received(received)) => {
                    if let Some(origin) = peer.origin() {
                        self.arrived_bytes += received.bytes();
                        self.arrived
                            .push_back(Arrived::Message(origin.clone(), received));
                    }
                }
                Some(Event::Up) => {}
                None if input.is_empty() => return Ok(()),
                // It does not know yet whether it may come in.
                None => {
                    return Err(Failure::Violation(Violation::Unexpected {
                        found: Command::Message,
                        expected: Command::Ready,
                    }));
                }
            }
        }
    }

    /// Has what is written to a peer sent at the end of the caller's turn.
    pub(super) fn written(&mut self, token: u64) {
        if let Some(peer) = self.peers.get_mut(token)
            && peer.pending() > 0
            && !peer.is_dirty
            && !peer.is_stuck
        {
            peer.is_dirty = true;
            self.dirty.push(token);
        }
    }

    pub(super) fn flush(&mut self, token: u64) {
        let Some(peer) = self.peers.get_mut(token) else {
            return;
        };
        if peer.flush().is_err() {
            self.end(token, Ending::Closed);
            return;
        }
        let was_stuck = peer.is_stuck;
        peer.is_stuck = peer.pending() > 0;
        if was_stuck || peer.is_stuck {
            self.watch(token);
        }
    }

    /// Does not read from a peer that takes no answers.
    fn hold_back(&mut self, token: u64) {
        if self.peers.get_mut(token).is_some_and(|peer| peer.is_stuck) {
            self.watch(token);
        }
    }

    fn watch(&mut self, token: u64) {
        if let Some(peer) = self.peers.get_mut(token) {
            let read = peer.pending() <= self.limits.send_bytes + HELD_BACK_BYTES;
            // It is one of ours and is open.
            let _ = self.poller.watch(peer.stream(), token, read, peer.is_stuck);
        }
    }

    /// Ends a connection because of what its peer did.
    pub(super) fn fail(&mut self, token: u64, why: Failure) {
        let Some(peer) = self.peers.get_mut(token) else {
            return;
        };
        let ending = Ending::from(&why);
        self.arrived.push_back(Arrived::Failed {
            origin: peer.origin().cloned(),
            address: peer.address,
            why,
        });
        // What tells the peer what is wrong, as far as the kernel takes it.
        let _ = peer.flush();
        self.end(token, ending);
    }

    /// Ends a connection, whatever waits.
    pub(super) fn end(&mut self, token: u64, ending: Ending) {
        let Some(peer) = self.peers.remove(token) else {
            return;
        };
        self.endings.count(ending);
        self.admission.left(token);
        if let Some(origin) = peer.origin() {
            self.admission.leave(&origin.key);
        }
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
