//! What a ROUTER does in a turn: sends, reads, and ends whose time is over.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::peer::{Came, RoutingIdBytes, Standing};
use super::poller::Ready;
use super::{Arrived, Ending, Failure, HEARTBEAT, LISTENER, MAX_UNFINISHED, Origin, Router};
use crate::curve::TransportError;
use crate::curve::zmtp::connection::{Event, Role, Surroundings};
use crate::curve::zmtp::input::Input;
use crate::curve::zmtp::random::KernelRandom;
use crate::curve::zmtp::{Command, Violation};

/// Messages and bytes of them that wait for the caller; beyond it nothing is read, and TCP holds
/// the peers back.
const MAX_WAITING: usize = 4096;
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;

/// Commands of handshakes in one turn: some 3 ms of work.
const BATCH_HANDSHAKES: u32 = 32;

/// A peer for which this much more waits than may be sent to it, in bytes, is not read from:
/// answers to PINGs are never dropped.
const HELD_BACK_BYTES: usize = 16 * 1024;

/// When to look again at a peer that may be silent, while nothing can be read.
const LATER: Duration = Duration::from_secs(1);

/// Timers of peers that have left, beyond as many as there are peers.
const SPARE_TIMERS: usize = 1024;

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
            match peer.connection.beat(now, &HEARTBEAT, peer.outgoing.end()) {
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
                    self.weigh(token);
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
                .next(input, &mut surroundings, peer.outgoing.end())?;
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

    /// Counts what a peer has begun to send. Where all together have begun too much, who has begun
    /// most has to go.
    fn weigh(&mut self, token: u64) {
        let Some(peer) = self.peers.get_mut(token) else {
            return;
        };
        let before = std::mem::replace(&mut peer.unfinished, peer.connection.unfinished());
        self.unfinished = self.unfinished - before + peer.unfinished;
        if self.unfinished > MAX_UNFINISHED {
            let peers = self.peers.iter();
            let most = peers.max_by_key(|(_, peer)| peer.unfinished);
            if let Some((token, _)) = most {
                self.fail(token, Failure::Unfinished);
            }
        }
    }

    /// Has what is written to a peer sent at the end of the caller's turn.
    pub(super) fn written(&mut self, token: u64) {
        if let Some(peer) = self.peers.get_mut(token)
            && peer.outgoing.pending() > 0
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
        peer.is_stuck = peer.outgoing.pending() > 0;
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
            let read = peer.outgoing.pending() <= self.limits.send_bytes + HELD_BACK_BYTES;
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
        self.unfinished -= peer.unfinished;
        self.admission.left(token);
        if let Some(origin) = peer.origin() {
            self.admission.leave(&origin.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;
    use crate::curve::keys::KeyPair;
    use crate::curve::router::RouterOptions;
    use crate::curve::router::peer::Peer;

    /// Those who say that they may be silent for long, and leave.
    #[tokio::test]
    async fn timers_of_those_who_have_left_do_not_pile_up() {
        let here = Ipv4Addr::LOCALHOST;
        let mut router = Router::bind(RouterOptions {
            listen: std::net::SocketAddr::from((here, 0)).into(),
            keys: &KeyPair::generate().unwrap(),
            connections: usize::MAX,
        })
        .unwrap();
        let stream = TcpStream::connect(router.address()).unwrap();
        let come = |router: &mut Router| {
            let peer = Peer::new(stream.try_clone().unwrap(), here.into());
            let token = router.peers.insert(peer.unwrap());
            let due = Instant::now() + Duration::from_secs(60);
            router.schedule_at(token, due);
            router.schedule_at(token, due);
            token
        };
        let stays = come(&mut router);
        for _ in 0..3 * SPARE_TIMERS {
            let token = come(&mut router);
            router.end(token, Ending::Closed);
            assert!(router.timers.len() <= SPARE_TIMERS + 4);
        }
        // That of the one who is there is still there, and once.
        let timers = router.timers.iter();
        let kept = timers.filter(|Reverse((_, token))| *token == stays);
        assert_eq!(kept.count(), 1);
    }
}
