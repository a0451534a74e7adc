//! Samples that agents tell on the second wire: each once, in order, with the time at which it was taken.
//!
//! - `keep`: what agents define, each once for all hosts;
//! - `shared`: what connections define together, once for those that define the same;
//! - `clock`: when a sample was taken, by this collector's clock;
//! - `stream`: how far each host's log was received, and receipts;
//! - `claims`: whose each log is.
//!
//! Owns what is known of each connection that was offered the second wire, and of each host's log.
//! Sends nothing and knows no table of hosts: samples go out as data, and so do receipts.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use self::claims::{Claimed, Claims, HandedOn};
pub(crate) use self::clock::ClockNews;
use self::clock::{Arrived, Dating};
use self::keep::{Keeper, KeptSchema};
use self::stream::{Arrival, Stream};
use super::schemas::HostGrid;
use crate::curve::keys::PublicKey;
use crate::curve::router::RoutingIdBytes;
use crate::protocol::data::wire::Reason;
use crate::protocol::data::{Acknowledged, Body, Fault, Item, Offer, Reader, Receipt, Scratch};

mod claims;
mod clock;
mod keep;
mod shared;
mod stream;

/// Bytes of messages that all agents together may have under way: what is decoded takes some eight times as
/// much, and waits in the queue of an engine that is away.
const ALL_WINDOWS: usize = 16 * 1024 * 1024;

/// The most of it for one agent, and the least.
const WINDOWS: (usize, usize) = (8 * 1024, 256 * 1024);

/// So far beyond its window an agent may be: by one message, which may be larger than the window.
const BEYOND_WINDOW: usize = 1024 * 1024;

/// How many links are known, at least, before it is looked which are still there.
const MIN_LINKS: usize = 64;

/// A connection that was offered the second wire.
#[derive(Default)]
struct Link {
    reader: Reader<Keeper>,
    /// Bytes that its agent may have under way.
    window: usize,
    /// By how much times are moved, as its agent was told.
    clock: Option<i64>,
    /// It was made an offer: from now on it is told of changes.
    offered: bool,
    /// Its agent has sent more than it may: nothing is taken until it connects again.
    beyond: bool,
    /// Hosts whose messages came over it.
    hosts: HashSet<Arc<str>>,
}

impl Link {
    fn offer(&self, acknowledged: Acknowledged) -> Offer {
        Offer {
            window: u32::try_from(self.window).unwrap_or(u32::MAX),
            acknowledged,
            clock: self.clock,
        }
    }
}

/// How many logs of a host are remembered: each start of its agent begins one.
const MAX_FORMER: usize = 4;

/// What is known of a host's log and clock.
struct Host {
    stream: Stream,
    /// The latest time of a sample of this log, by the agent's clock, in µs since 1970.
    newest: i64,
    /// Logs before, the latest last: the number of each, and up to which of its samples all are where they
    /// were wanted, and the latest time of its samples.
    former: Vec<(u64, u64, i64)>,
    dating: Dating,
    link: RoutingIdBytes,
    /// Another name tells of a log of this host, as after a rename.
    handed_on: Option<HandedOn>,
    /// When a receipt is due, where one waits.
    due: Option<Instant>,
    figures: Figures,
}

/// What is known of a host's log, for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Samples that wait at the agent.
    pub(crate) behind: u64,
    /// How far its clock is off, collector minus host, in µs.
    pub(crate) clock_offset: i64,
}

/// What agents have told, since the collector started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Samples taken.
    pub(crate) samples: u64,
    /// Samples that came again and were dropped.
    pub(crate) again: u64,
    /// Samples whose time had to be moved by more than a second so as not to go back.
    pub(crate) held: u64,
    /// Samples that agents told as lost, by reason.
    pub(crate) lost: [u64; Reason::ALL.len()],
    /// Samples that were left out without a word.
    pub(crate) missing: u64,
    /// Samples that could not be understood.
    pub(crate) bad: u64,
    /// What was wrong in messages besides.
    pub(crate) faults: u64,
    /// How often a host told of a log that is another host's.
    pub(crate) shared: u64,
}

/// A sample that is to be passed on.
#[derive(Debug)]
pub(super) struct Taken {
    /// Its number.
    pub(super) seq: u64,
    /// When it was taken, in ms since 1970, by this collector's clock.
    pub(super) time: i64,
    /// What each source said; empty for what was lost or is of no use.
    pub(super) grids: Vec<Arc<HostGrid>>,
    /// It is also what is now.
    pub(super) is_now: bool,
}

/// Something to say of a host's log.
#[derive(Debug)]
pub(crate) enum News {
    /// Its agent has lost samples.
    Lost {
        samples: u64,
        reason: Reason,
        from_time: i64,
        to_time: i64,
    },
    /// So many samples were left out.
    Missing(u64),
    /// It goes on from this number with other samples than those that came before under it and up to the
    /// second one: it was replaced by an older copy of itself.
    WentBack(u64, u64),
    /// This other host tells of the same log.
    Shared(Arc<str>),
    /// What was wrong in a message, and how much more.
    Faults(Fault, u64),
    /// Its clock.
    Clock(ClockNews),
}

impl News {
    /// Its kind: the limit on log lines is separate for each.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "lost",
            Self::Missing(_) => "missing",
            Self::WentBack(..) => "back",
            Self::Shared(_) => "shared",
            Self::Faults(..) => "form",
            Self::Clock(ClockNews::Moved(_)) => "clock",
            Self::Clock(ClockNews::Right) => "clock again",
        }
    }
}

/// What a message was.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// The agent's log, as [`History::settle`] takes it.
    pub(super) stream: u64,
    /// Its samples that are new, in order.
    pub(super) samples: Vec<Taken>,
    /// What there is to say.
    pub(super) news: Vec<News>,
    /// Times are moved otherwise than the agent knows: it is to be offered the second wire again.
    pub(super) offer_again: bool,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotTaken {
    /// It was not offered.
    #[error(
        "samples of the second wire that this connection was not asked for: its agent has to say hello \
         and wait for the offer"
    )]
    NotOffered,
    /// What is wrong costs all of it.
    #[error("{0}; update the agent")]
    Fault(#[from] Fault),
    /// Its agent does not keep to its window.
    #[error(
        "more than {0} bytes of samples that were not acknowledged: nothing more is taken before its agent \
         connects again; if it does not, restart it"
    )]
    BeyondWindow(usize),
}

/// The second wire.
#[derive(Default)]
pub(crate) struct History {
    /// Boxed, as up to half of the places are empty; so are the hosts.
    links: HashMap<RoutingIdBytes, Box<Link>>,
    looked_at: usize,
    /// The largest window of a link.
    share: usize,
    hosts: HashMap<Arc<str>, Box<Host>>,
    claims: Claims,
    keeper: Keeper,
    scratch: Scratch,
    /// Hosts that may be told something.
    agenda: BTreeSet<(Instant, Arc<str>)>,
    pub(crate) counts: Counts,
}

impl History {
    /// A connection says hello: nothing is defined on it. It is to be made an offer after its model was
    /// asked for; `hosts` are known in all. Where engines have no room for more, it may send as little as
    /// can be. `is_there` tells which connections still are.
    ///
    /// Returns the connections whose share is now so much less that they are to be made their offer again.
    #[must_use]
    pub(super) fn began(
        &mut self,
        id: &RoutingIdBytes,
        (hosts, has_room): (usize, bool),
        is_there: impl Fn(&RoutingIdBytes) -> bool,
    ) -> Vec<RoutingIdBytes> {
        if self.links.len() >= MIN_LINKS.max(2 * self.looked_at) {
            self.links.retain(|id, _| is_there(id));
            self.looked_at = self.links.len();
        }
        // Of a fleet that returns after a start of the collector, no host is known before its first message.
        let links = self.links.len() + 1;
        let share = (ALL_WINDOWS / hosts.max(links)).clamp(WINDOWS.0, WINDOWS.1);
        let mut less = Vec::new();
        if share <= self.share / 2 {
            for (id, link) in &mut self.links {
                if link.window > share {
                    link.window = share;
                    less.extend(link.offered.then(|| id.clone()));
                }
            }
            self.share = share;
        }
        self.share = self.share.max(share);
        let window = if has_room { share } else { WINDOWS.0 };
        let link = Link {
            window,
            ..Link::default()
        };
        self.links.insert(id.clone(), Box::new(link));
        less
    }

    /// The offer for a connection, if it has said hello.
    pub(super) fn offer(
        &mut self,
        id: &RoutingIdBytes,
        acknowledged: Acknowledged,
    ) -> Option<Offer> {
        let link = self.links.get_mut(id)?;
        link.offered = true;
        Some(link.offer(acknowledged))
    }

    /// The offer for each connection that was made one.
    pub(super) fn offers(&self, acknowledged: Acknowledged) -> Vec<(RoutingIdBytes, Offer)> {
        let links = self.links.iter().filter(|(_, link)| link.offered);
        let offers = links.map(|(id, link)| (id.clone(), link.offer(acknowledged)));
        offers.collect()
    }

    /// Takes a message of this host, which came over that connection with this key and may have waited for
    /// so long.
    ///
    /// # Errors
    ///
    /// [`NotTaken`]: then it is not acknowledged.
    pub(super) fn take(
        &mut self,
        (now, waited): (Instant, Duration),
        (id, key): (&RoutingIdBytes, PublicKey),
        host: &str,
        bytes: &[u8],
    ) -> Result<Message, NotTaken> {
        let link = self.links.get_mut(id).ok_or(NotTaken::NotOffered)?;
        if link.beyond {
            return Err(NotTaken::BeyondWindow(link.window));
        }
        self.keeper.key = Some(key);
        let body = link
            .reader
            .read(bytes, &mut self.keeper, &mut self.scratch)?;
        let (name, known) = match self.hosts.remove_entry(host) {
            Some((name, known)) => (name, Some(known)),
            None => (host.into(), None),
        };
        let is_new_link = !link.hosts.contains(&name);
        if is_new_link {
            link.hosts.insert(Arc::clone(&name));
        }
        let first = body.items.first().map_or(1, |item| item.range().0);
        let is_new_log = known.as_ref().is_none_or(|host| !host.knows(body.stream));
        let mut known = known.unwrap_or_else(|| {
            Box::new(Host {
                stream: Stream::new(body.stream, first),
                newest: i64::MIN,
                former: Vec::new(),
                dating: Dating::default(),
                link: id.clone(),
                handed_on: None,
                due: None,
                figures: Figures::default(),
            })
        });
        if known.stream.id != body.stream
            && let Some(dropped) = known.turn_to(body.stream, first)
        {
            self.claims.give_up(dropped, &name);
        }
        let back = known.went_back(&body);
        if let Some(News::WentBack(seq, _)) = back {
            known.stream.go_back(seq);
            self.counts.faults += 1;
        }
        let is_linked = is_new_link || known.link != *id;
        if is_linked {
            known.link = id.clone();
            known.stream.linked();
            known.handed_on = None;
        }
        let shared = if is_linked || is_new_log {
            match self.claims.claim(body.stream, &name, key) {
                Claimed::Own => None,
                // Said once, not with each connection.
                Claimed::Of(holder) => is_new_log.then_some(holder),
                Claimed::HandedOn(from) => {
                    if let Some(from) = self.hosts.get_mut(&from) {
                        from.handed_on = Some(HandedOn::new(body.stream, &name, now));
                    }
                    None
                }
            }
        } else {
            known.goes_on(now, waited, &mut self.claims)
        };
        self.counts.shared += u64::from(shared.is_some());
        let window = link.window;
        // What comes again takes no more room.
        let new = bytes.len() * known.stream.count_new(&body) / body.items.len().max(1);
        let open = known.stream.open_bytes() + new;
        let taken = if open > window + BEYOND_WINDOW && known.stream.open_bytes() > 0 {
            link.beyond = true;
            Err(NotTaken::BeyondWindow(window))
        } else {
            known.figures.behind = body.sent.behind;
            let is_level = body.sent.now_from > 0;
            let repeated = body.sent.moved;
            let mut message = known.message(body, (is_new_link, waited), &mut self.counts);
            message.news.extend(back);
            message.news.extend(shared.map(News::Shared));
            let moved = known.dating.moved_micros();
            if moved != repeated && link.clock != Some(moved) {
                link.clock = Some(moved);
                message.offer_again = true;
            }
            known.stream.took(new, is_level);
            Ok(message)
        };
        self.note_due(now, &name, &mut known, now);
        self.hosts.insert(name, known);
        taken
    }

    /// Everything of the log that a [`Message`] names so, up to this number, is where it was wanted.
    pub(super) fn settle(&mut self, now: Instant, host: &str, stream: u64, seq: u64) {
        let Some((name, mut known)) = self.hosts.remove_entry(host) else {
            return;
        };
        if known.stream.ticket == stream {
            known.stream.settle(seq);
            self.note_due(now, &name, &mut known, now);
        }
        self.hosts.insert(name, known);
    }

    fn note_due(&mut self, now: Instant, name: &Arc<str>, host: &mut Host, due: Instant) {
        if host.due.is_none_or(|before| due < before) {
            if let Some(before) = host.due.take() {
                self.agenda.remove(&(before, Arc::clone(name)));
            }
            host.due = Some(due.max(now));
            self.agenda.insert((due.max(now), Arc::clone(name)));
        }
    }

    /// When [`take_receipt`](Self::take_receipt) has something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.agenda.first().map(|(due, _)| *due)
    }

    /// A receipt that is due, for which host, and over which connection.
    pub(super) fn take_receipt(
        &mut self,
        now: Instant,
    ) -> Option<(Arc<str>, RoutingIdBytes, Receipt)> {
        loop {
            if self.next_due()? > now {
                return None;
            }
            let (_, name) = self.agenda.pop_first()?;
            let Some(host) = self.hosts.get_mut(&name) else {
                continue;
            };
            host.due = None;
            let window = self.links.get(&host.link).map_or(0, |link| link.window);
            match host.stream.receipt(now, window) {
                Ok(seq) => {
                    let stream = host.stream.id;
                    let link = host.link.clone();
                    return Some((name, link, Receipt { stream, seq }));
                }
                Err(Some(due)) => {
                    host.due = Some(due);
                    self.agenda.insert((due, name));
                }
                Err(None) => {}
            }
        }
    }

    /// All receipts that wait, as there will be no other time for them.
    pub(super) fn last_receipts(&mut self, now: Instant) -> Vec<(RoutingIdBytes, Receipt)> {
        let waiting = self.hosts.values_mut().filter_map(|host| {
            // A window of nothing is always full.
            let seq = host.stream.receipt(now, 0).ok()?;
            let stream = host.stream.id;
            Some((host.link.clone(), Receipt { stream, seq }))
        });
        waiting.collect()
    }

    /// A host was forgotten.
    pub(super) fn forget(&mut self, host: &str) {
        if let Some(known) = self.hosts.remove(host) {
            for log in known.logs() {
                self.claims.give_up(log, host);
            }
        }
    }

    /// Figures of each host whose agent speaks the second wire.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (&Arc<str>, Figures)> {
        self.hosts.iter().map(|(name, host)| (name, host.figures))
    }
}

impl Host {
    /// Its logs that are known.
    fn logs(&self) -> impl Iterator<Item = u64> {
        let former = self.former.iter().map(|(id, ..)| *id);
        std::iter::once(self.stream.id).chain(former)
    }

    fn knows(&self, log: u64) -> bool {
        self.logs().any(|known| known == log)
    }

    /// It tells something over the connection that it had. The other name that tells of its log, if that shows
    /// that it was not renamed.
    fn goes_on(&mut self, now: Instant, waited: Duration, claims: &mut Claims) -> Option<Arc<str>> {
        let handed_on = self.handed_on.take_if(|it| it.is_shared(now, waited))?;
        claims.share(handed_on.log);
        Some(handed_on.to)
    }

    /// A log that was replaced by an older copy of itself, such as by a snapshot of a virtual machine, tells new
    /// samples under numbers that were used. One that comes again has the time that it had, and every time so
    /// far is known.
    fn went_back(&self, body: &Body<KeptSchema>) -> Option<News> {
        let received = self.stream.received();
        body.items.iter().find_map(|item| match item {
            Item::Sample(sample) if sample.seq <= received && sample.time > self.newest => {
                Some(News::WentBack(sample.seq, received))
            }
            _ => None,
        })
    }

    /// Another log goes on: a new one, or one from before, such as where a file that an agent had removed is
    /// there again after a power cut. What was received of that one is not taken once more.
    /// Returns one that is not remembered any more.
    fn turn_to(&mut self, stream: u64, first: u64) -> Option<u64> {
        let known = self.former.iter().position(|(id, ..)| *id == stream);
        let known = known.map(|place| self.former.remove(place));
        let is_full = self.former.len() >= MAX_FORMER;
        let dropped = is_full.then(|| self.former.remove(0).0);
        self.former
            .push((self.stream.id, self.stream.settled(), self.newest));
        self.stream = Stream::new(stream, known.map_or(first, |(_, settled, _)| settled + 1));
        self.newest = known.map_or(i64::MIN, |(_, _, newest)| newest);
        dropped
    }

    /// What is new in a body.
    fn message(
        &mut self,
        body: Body<KeptSchema>,
        (is_new_link, waited): (bool, Duration),
        counts: &mut Counts,
    ) -> Message {
        let mut message = Message {
            stream: self.stream.ticket,
            ..Message::default()
        };
        let arrived = Arrived {
            at: micros(SystemTime::now()),
            waited: i64::try_from(waited.as_micros()).unwrap_or(i64::MAX),
        };
        let clock = self.dating.hear(&body.sent, arrived, is_new_link);
        message.news.extend(clock.map(News::Clock));
        self.figures.clock_offset = self.dating.offset_micros();
        if let Some(fault) = body.faults.first() {
            counts.faults += body.fault_count;
            message
                .news
                .push(News::Faults(*fault, body.fault_count - 1));
        }
        for item in body.items {
            let (from, to) = item.range();
            match self.stream.arrive(from, to) {
                Arrival::Again => {
                    counts.again += 1;
                    continue;
                }
                Arrival::After(missing) => {
                    counts.missing = counts.missing.saturating_add(missing);
                    message.news.push(News::Missing(missing));
                }
                Arrival::Next => {}
            }
            let mut taken = Taken {
                seq: to,
                time: 0,
                grids: Vec::new(),
                is_now: body.sent.now_from > 0 && from >= body.sent.now_from,
            };
            match item {
                Item::Sample(sample) => {
                    counts.samples += 1;
                    self.newest = self.newest.max(sample.time);
                    let (time, boottime) = (sample.time, sample.boottime);
                    let dated = self.dating.date(&body.sent, time, boottime, &sample.boot);
                    counts.held += u64::from(dated.held > HELD_MILLIS);
                    taken.time = dated.time;
                    let grids = sample
                        .parts
                        .iter()
                        .filter_map(|part| part.schema.kept.grid(&part.values, &part.absent));
                    taken.grids = grids.map(Arc::new).collect();
                }
                Item::Lost {
                    reason,
                    from_time,
                    to_time,
                    ..
                } => {
                    let samples = (to - from).saturating_add(1);
                    if let Some(count) = counts.lost.get_mut(reason as usize) {
                        *count = count.saturating_add(samples);
                    }
                    // An agent that was killed does not know how far it was received.
                    let known = (reason == Reason::Unwritten).then(|| self.dating.last_micros());
                    message.news.push(News::Lost {
                        samples,
                        reason,
                        from_time: known.flatten().unwrap_or(from_time),
                        to_time,
                    });
                }
                Item::Bad { .. } => counts.bad += 1,
            }
            message.samples.push(taken);
        }
        message
    }
}

/// A time that was moved by more is counted.
const HELD_MILLIS: i64 = 1000;

/// In µs since 1970.
fn micros(time: SystemTime) -> i64 {
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => micros(after),
        Err(before) => -micros(before.duration()),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::protocol::data::wire::{Data, Sample, Series};

    #[test]
    fn agents_may_send_their_share_and_little_where_engines_have_no_room() {
        let window = |hosts, has_room| {
            let mut history = History::default();
            let id = RoutingIdBytes::from(&b"A"[..]);
            assert!(history.began(&id, (hosts, has_room), |_| true).is_empty());
            history.offer(&id, Acknowledged::Engine).unwrap().window
        };
        assert_eq!(window(0, true), 256 * 1024);
        assert_eq!(window(128, true), 128 * 1024);
        assert_eq!(window(10_000, true), 8 * 1024);
        assert_eq!(window(1, false), 8 * 1024);
    }

    /// A collector was started again: of a thousand hosts none is known yet.
    #[test]
    fn a_fleet_that_returns_at_once_has_no_more_under_way_than_one_that_is_there() {
        let mut history = History::default();
        let mut windows = HashMap::new();
        for number in 0..1000_u32 {
            let id = RoutingIdBytes::from(&number.to_be_bytes()[..]);
            let less = history.began(&id, (0, true), |_| true);
            // The first half is asked for models, the others wait for their turn.
            if number < 500 {
                let offer = history.offer(&id, Acknowledged::Engine).unwrap();
                windows.insert(id, offer.window);
            }
            for id in less {
                let offer = history.offer(&id, Acknowledged::Engine).unwrap();
                let before = windows.insert(id, offer.window).unwrap();
                assert!(offer.window < before);
            }
            let all: u32 = windows.values().sum();
            assert!(all as usize <= 2 * ALL_WINDOWS, "{number}: {all}");
        }
        assert_eq!(windows.len(), 500);
        // Later there are few again: each may have more.
        let id = RoutingIdBytes::from(&b"again"[..]);
        history.looked_at = 0;
        assert!(history.began(&id, (1, true), |_| false).is_empty());
        let offer = history.offer(&id, Acknowledged::Engine).unwrap();
        assert_eq!(offer.window, 256 * 1024);
    }

    /// What a host tells of a log over a connection: with which other host it is shared.
    fn told(
        history: &mut History,
        (link, key, host): (u8, u8, &str),
        stream: u64,
        now: Instant,
    ) -> Option<String> {
        let id = RoutingIdBytes::from(&[link][..]);
        if !history.links.contains_key(&id) {
            let _ = history.began(&id, (1, true), |_| true);
        }
        let body = Data {
            stream,
            ..Data::default()
        };
        let (at, key) = ((now, Duration::ZERO), PublicKey::from_bytes([key; 32]));
        let before = history.counts.shared;
        let message = history.take(at, (&id, key), host, &body.encode_to_vec());
        let news = message.unwrap().news;
        let shared = news.iter().find_map(|news| match news {
            News::Shared(other) => Some(other.to_string()),
            _ => None,
        });
        let counted = history.counts.shared - before;
        assert_eq!(counted, u64::from(shared.is_some()));
        shared
    }

    #[test]
    fn a_clone_with_a_key_of_its_own_is_told_once_and_a_host_that_reconnects_never() {
        let now = Instant::now();
        let mut history = History::default();
        let told = |history: &mut History, who, stream| told(history, who, stream, now);
        assert_eq!(told(&mut history, (1, 1, "web1"), 7), None);
        assert_eq!(told(&mut history, (2, 1, "web1"), 7), None);
        // What web1 kept was received, and it goes on with the log of this run.
        assert_eq!(told(&mut history, (2, 1, "web1"), 8), None);
        let web1 = Some("web1".to_owned());
        assert_eq!(told(&mut history, (3, 2, "web2"), 7), web1);
        for link in 3..6 {
            assert_eq!(told(&mut history, (link, 2, "web2"), 7), None);
            assert_eq!(told(&mut history, (link + 10, 1, "web1"), 7), None);
            assert_eq!(told(&mut history, (link, 2, "web2"), 9), None);
            assert_eq!(told(&mut history, (link + 10, 1, "web1"), 8), None);
        }
        assert_eq!(told(&mut history, (30, 3, "web3"), 7), web1);
        // Whoever is forgotten has no log, and nobody who comes then shares it.
        history.forget("web1");
        assert_eq!(told(&mut history, (40, 4, "web4"), 8), None);
    }

    #[test]
    fn a_host_has_as_many_logs_as_are_remembered_of_it() {
        let now = Instant::now();
        let mut history = History::default();
        let forgotten = 100 - MAX_FORMER as u64 - 1;
        for stream in 0..100 {
            assert_eq!(told(&mut history, (1, 1, "web1"), stream + 1, now), None);
        }
        let other = told(&mut history, (2, 2, "web2"), forgotten, now);
        assert_eq!(other, None);
        let other = told(&mut history, (2, 2, "web2"), forgotten + 1, now);
        assert_eq!(other.as_deref(), Some("web1"));
    }

    #[test]
    fn a_renamed_host_shares_its_log_with_nobody_unless_the_old_name_goes_on() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut history = History::default();
        assert_eq!(told(&mut history, (1, 1, "old"), 7, start), None);
        assert_eq!(told(&mut history, (2, 1, "new"), 7, start), None);
        // What was on its way.
        assert_eq!(told(&mut history, (1, 1, "old"), 7, later(1)), None);
        // Another machine gets the old name, another one gets back its own, and both go on.
        assert_eq!(told(&mut history, (3, 2, "old"), 8, later(20)), None);
        assert_eq!(told(&mut history, (3, 2, "old"), 8, later(40)), None);
        assert_eq!(told(&mut history, (4, 1, "old"), 7, later(60)), None);
        assert_eq!(told(&mut history, (4, 1, "old"), 7, later(80)), None);
        // A clone with its key, and the original that goes on with another log.
        assert_eq!(told(&mut history, (5, 1, "clone"), 7, later(100)), None);
        assert_eq!(told(&mut history, (4, 1, "old"), 9, later(105)), None);
        let other = told(&mut history, (4, 1, "old"), 9, later(110));
        assert_eq!(other.as_deref(), Some("clone"));
        for (link, host) in [(4, "old"), (5, "clone"), (6, "old"), (7, "clone")] {
            assert_eq!(told(&mut history, (link, 1, host), 7, later(200)), None);
        }
    }

    /// An engine is away, and the connection is lost again and again: that makes no agent one that sends more
    /// than it may.
    #[test]
    fn what_comes_again_takes_no_more_room() {
        let now = Instant::now();
        let key = PublicKey::from_bytes([1; 32]);
        let mut history = History::default();
        for link in 1..=20_u64 {
            let id = RoutingIdBytes::from(&link.to_be_bytes()[..]);
            assert!(history.began(&id, (1, true), |_| true).is_empty());
            // All that was sent before, and one more; one message, with much to define.
            let samples = (1..=link).map(|seq| Sample {
                seq,
                time: i64::try_from(seq).unwrap(),
                boot: vec![7; 16],
                ..Sample::default()
            });
            let samples = Data {
                stream: 1,
                samples: samples.collect(),
                ..Data::default()
            };
            let definitions = Data {
                series: vec![Series {
                    id: 1,
                    description: "x".repeat(8000),
                    ..Series::default()
                }],
                ..Data::default()
            };
            let (mut body, definitions) = (samples.encode_to_vec(), definitions.encode_to_vec());
            while body.len() < 250_000 {
                body.extend(&definitions);
            }
            let message = history
                .take((now, Duration::ZERO), (&id, key), "web1", &body)
                .unwrap();
            assert_eq!(message.samples.len(), 1);
        }
    }
}
