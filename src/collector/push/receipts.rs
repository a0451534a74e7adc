//! Which samples of the second wire all targets have settled, so that agents may forget them. Pure.
//!
//! A target has settled a sample once it has taken it, or refused it for good. A receipt says that
//! everything of a host's stream up to a number is settled by every target that holds receipts
//! back: a target holds them back for what it was given itself, from when it was added until it is
//! removed. Without such a target, a sample is settled when it comes.
//!
//! A host has one stream at a time. With another one it begins again; what targets say about the
//! one before is ignored.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Which sample of a host it is: a receipt names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The agent's log.
    pub stream: u64,
    /// The sample's number in it, from 1.
    pub seq: u64,
}

/// Everything up to this sample is settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The host.
    pub host: Arc<str>,
    /// Its last settled sample.
    pub ticket: Ticket,
}

/// What one target has settled since it was last asked: the last ticket of each host.
pub(super) type Progress = HashMap<Arc<str>, Ticket>;

/// A target, as long as it is there; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TargetId(u64);

/// The receipts of all hosts.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    /// Those that hold receipts back.
    targets: Vec<TargetId>,
    next: u64,
    hosts: HashMap<Arc<str>, Host>,
    /// Hosts to look at in the next [`Receipts::drain`].
    changed: HashSet<Arc<str>>,
}

#[derive(Debug)]
struct Host {
    stream: u64,
    /// The last number that was given to targets.
    given: u64,
    /// The last number that was said to be settled, or that came before the first.
    told: u64,
    /// Targets that have not settled everything yet.
    behind: Vec<Behind>,
    /// It is gone: nothing needs to be known of it once it is settled.
    gone: bool,
}

#[derive(Debug)]
struct Behind {
    target: TargetId,
    /// The last number that it was given.
    given: u64,
    /// Everything up to this one is settled by it.
    settled: u64,
}

impl Receipts {
    /// A target is added.
    pub(super) fn add(&mut self) -> TargetId {
        let target = TargetId(self.next);
        self.next += 1;
        self.targets.push(target);
        target
    }

    /// A target is removed: it holds nothing back any more. Returns true if that settled
    /// something.
    pub(super) fn remove(&mut self, target: TargetId) -> bool {
        self.targets.retain(|known| *known != target);
        for (name, host) in &mut self.hosts {
            let before = host.behind.len();
            host.behind.retain(|behind| behind.target != target);
            if host.behind.len() < before {
                self.changed.insert(Arc::clone(name));
            }
        }
        !self.changed.is_empty()
    }

    /// Returns true if some target holds receipts back.
    pub(super) fn hold_back(&self) -> bool {
        !self.targets.is_empty()
    }

    /// A sample was given to all targets.
    pub(super) fn given(&mut self, name: &Arc<str>, ticket: Ticket) {
        let Ticket { stream, seq } = ticket;
        let new = || Host {
            stream,
            given: seq,
            told: seq.saturating_sub(1),
            behind: Vec::new(),
            gone: false,
        };
        let host = self.hosts.entry(Arc::clone(name)).or_insert_with(new);
        if host.stream != stream {
            *host = new();
        }
        host.given = host.given.max(seq);
        host.gone = false;
        for target in &self.targets {
            match host.behind.iter_mut().find(|known| known.target == *target) {
                Some(behind) => behind.given = behind.given.max(seq),
                None => host.behind.push(Behind {
                    target: *target,
                    given: seq,
                    settled: seq.saturating_sub(1),
                }),
            }
        }
        if host.behind.is_empty() {
            self.changed.insert(Arc::clone(name));
        }
    }

    /// A target has settled these.
    pub(super) fn progress(&mut self, target: TargetId, progress: Progress) {
        for (name, ticket) in progress {
            let Some(host) = self.hosts.get_mut(&name) else {
                continue;
            };
            if host.stream != ticket.stream {
                continue;
            }
            let place = host.behind.iter().position(|known| known.target == target);
            let Some((place, behind)) =
                place.and_then(|place| Some((place, host.behind.get_mut(place)?)))
            else {
                continue;
            };
            behind.settled = behind.settled.max(ticket.seq);
            if behind.settled >= behind.given {
                host.behind.swap_remove(place);
            }
            self.changed.insert(name);
        }
    }

    /// A host is gone. What is under way is settled all the same.
    pub(super) fn gone(&mut self, name: &Arc<str>) {
        if let Some(host) = self.hosts.get_mut(name) {
            host.gone = true;
            self.changed.insert(Arc::clone(name));
        }
    }

    /// What was settled since the last time, at most one ticket for each host.
    pub(super) fn drain(&mut self) -> Vec<Settled> {
        let mut all = Vec::new();
        for name in self.changed.drain() {
            let Some(host) = self.hosts.get_mut(&name) else {
                continue;
            };
            let least = host.behind.iter().map(|behind| behind.settled).min();
            let seq = least.unwrap_or(host.given);
            if seq > host.told {
                host.told = seq;
                all.push(Settled {
                    host: Arc::clone(&name),
                    ticket: Ticket {
                        stream: host.stream,
                        seq,
                    },
                });
            }
            if host.gone && host.behind.is_empty() {
                self.hosts.remove(&name);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use proptest::prelude::*;

    use super::*;

    fn ticket(stream: u64, seq: u64) -> Ticket {
        Ticket { stream, seq }
    }

    fn settled(receipts: &mut Receipts) -> Vec<(u64, u64)> {
        let all = receipts.drain();
        all.iter()
            .map(|settled| (settled.ticket.stream, settled.ticket.seq))
            .collect()
    }

    fn progress(name: &Arc<str>, stream: u64, seq: u64) -> Progress {
        Progress::from([(Arc::clone(name), ticket(stream, seq))])
    }

    #[test]
    fn the_slowest_target_decides() {
        let mut receipts = Receipts::default();
        let (a, b) = (receipts.add(), receipts.add());
        let name: Arc<str> = "web1".into();
        for seq in 5..=9 {
            receipts.given(&name, ticket(1, seq));
        }
        assert_eq!(settled(&mut receipts), []);
        receipts.progress(a, progress(&name, 1, 9));
        assert_eq!(settled(&mut receipts), []);
        receipts.progress(b, progress(&name, 1, 7));
        assert_eq!(settled(&mut receipts), [(1, 7)]);
        assert_eq!(settled(&mut receipts), []);
        // One that is added does not wait for what it was not given.
        let c = receipts.add();
        receipts.progress(b, progress(&name, 1, 9));
        assert_eq!(settled(&mut receipts), [(1, 9)]);
        receipts.given(&name, ticket(1, 10));
        receipts.progress(a, progress(&name, 1, 10));
        receipts.progress(b, progress(&name, 1, 10));
        assert_eq!(settled(&mut receipts), []);
        // One that is removed holds nothing back.
        assert!(receipts.remove(c));
        assert_eq!(settled(&mut receipts), [(1, 10)]);
    }

    #[test]
    fn another_stream_begins_again() {
        let mut receipts = Receipts::default();
        let a = receipts.add();
        let name: Arc<str> = "web1".into();
        receipts.given(&name, ticket(1, 100));
        receipts.given(&name, ticket(2, 1));
        receipts.progress(a, progress(&name, 1, 100));
        assert_eq!(settled(&mut receipts), []);
        receipts.progress(a, progress(&name, 2, 1));
        assert_eq!(settled(&mut receipts), [(2, 1)]);
    }

    #[test]
    fn without_targets_everything_is_settled_at_once() {
        let mut receipts = Receipts::default();
        assert!(!receipts.hold_back());
        let name: Arc<str> = "web1".into();
        receipts.given(&name, ticket(1, 1));
        receipts.given(&name, ticket(1, 2));
        assert_eq!(settled(&mut receipts), [(1, 2)]);
    }

    #[test]
    fn a_host_that_is_gone_is_forgotten_when_all_is_settled() {
        let mut receipts = Receipts::default();
        let a = receipts.add();
        let name: Arc<str> = "web1".into();
        receipts.given(&name, ticket(1, 1));
        receipts.gone(&name);
        assert_eq!(settled(&mut receipts), []);
        receipts.progress(a, progress(&name, 1, 1));
        assert_eq!(settled(&mut receipts), [(1, 1)]);
        assert!(receipts.hosts.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Give(usize),
        /// As the agent's log is new.
        Restart(usize),
        /// The nth target settles so many of what it has.
        Settle(usize, usize),
        Add,
        Remove(usize),
        Gone(usize),
        Drain,
    }

    fn step() -> impl Strategy<Value = Step> {
        let host = 0..3_usize;
        prop_oneof![
            8 => host.clone().prop_map(Step::Give),
            1 => host.clone().prop_map(Step::Restart),
            6 => (0..3_usize, 0..6_usize).prop_map(|(target, count)| Step::Settle(target, count)),
            1 => Just(Step::Add),
            1 => (0..3_usize).prop_map(Step::Remove),
            1 => host.prop_map(Step::Gone),
            4 => Just(Step::Drain),
        ]
    }

    proptest! {
        /// What is said to be settled has been settled by every target that it was given to
        /// and that is still there, and all of that is said in the end.
        #[test]
        fn receipts_are_true_and_complete(steps in prop::collection::vec(step(), 1..80)) {
            let names: Vec<Arc<str>> = vec!["a".into(), "b".into(), "c".into()];
            let mut receipts = Receipts::default();
            let mut queues: Vec<(TargetId, VecDeque<(usize, Ticket)>)> = Vec::new();
            let mut streams = vec![(1_u64, 0_u64); names.len()];
            // The last that was told of each stream.
            let mut told: BTreeMap<(usize, u64), u64> = BTreeMap::new();
            let all: Vec<Step> = steps.into_iter().chain([
                Step::Settle(0, usize::MAX), Step::Settle(1, usize::MAX),
                Step::Settle(2, usize::MAX), Step::Drain,
            ]).collect();
            for step in all {
                match step {
                    Step::Give(host) => {
                        streams[host].1 += 1;
                        let (stream, seq) = streams[host];
                        receipts.given(&names[host], ticket(stream, seq));
                        for (_, queue) in &mut queues {
                            queue.push_back((host, ticket(stream, seq)));
                        }
                    }
                    Step::Restart(host) => streams[host] = (streams[host].0 + 1, 0),
                    Step::Settle(target, count) => if let Some((id, queue)) = queues.get_mut(target) {
                        let mut progress = Progress::new();
                        for (host, ticket) in queue.drain(..count.min(queue.len())) {
                            progress.insert(Arc::clone(&names[host]), ticket);
                        }
                        receipts.progress(*id, progress);
                    },
                    Step::Add => if queues.len() < 3 {
                        queues.push((receipts.add(), VecDeque::new()));
                    },
                    Step::Remove(target) => if target < queues.len() {
                        let (id, _) = queues.remove(target);
                        receipts.remove(id);
                    },
                    Step::Gone(host) => receipts.gone(&names[host]),
                    Step::Drain => for Settled { host, ticket } in receipts.drain() {
                        let host = names.iter().position(|name| *name == host).unwrap();
                        let (stream, last) = streams[host];
                        prop_assert!(ticket.stream <= stream);
                        prop_assert!(ticket.stream < stream || ticket.seq <= last);
                        let waiting = queues.iter().flat_map(|(_, queue)| queue);
                        for (other, waits) in waiting {
                            prop_assert!(
                                *other != host || waits.stream != ticket.stream || waits.seq > ticket.seq,
                                "{ticket:?} is told, {waits:?} waits"
                            );
                        }
                        let before = told.insert((host, ticket.stream), ticket.seq);
                        prop_assert!(before < Some(ticket.seq), "{ticket:?} after {before:?}");
                    },
                }
            }
            for (host, (stream, last)) in streams.iter().enumerate() {
                if *last > 0 {
                    prop_assert_eq!(told.get(&(host, *stream)), Some(last));
                }
            }
        }
    }
}
