//! Which address of a collector is tried next, and with which key; and when to go back to the first
//! address. Pure: it looks nothing up and connects to nothing, and time and chance are arguments.
//!
//! The addresses of a section are tried in rounds:
//!
//! - When one fails, the next is tried at once, and after the last the first: until each has failed.
//!   Only then the agent waits, and a new round begins with the first. One that has been reporting
//!   for less than [`PROVEN`] before it failed begins no new round, so that addresses that come and
//!   go are not tried in a circle without a wait.
//! - An address that fails because of the key is tried with each other key first. Which one worked
//!   where is remembered.
//! - A service (SRV) is an address whose targets are asked for again in each round, when it is its
//!   turn. They take its place.
//!
//! While the agent reports to a later address, the first is probed every [`PROBE_EVERY`]. Once it
//! has been reachable in all of them for [`HOLD`], the agent goes back. If it did not stay there for
//! as long, the next time takes twice as long, up to [`MAX_HOLD`]: an address that can be reached
//! and is of no use must not have the agent go to and fro. Targets of a service with the same
//! priority stand in for each other: there is no going back among them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::srv::{Target, below, ordered};
use crate::agent::settings::{CollectorAddress, CollectorSettings, EndpointOrder, ServiceName};
use crate::curve::endpoint::Endpoint;
use crate::curve::keys::PublicKey;

/// Between two probes of the first address. Each is a handshake: for a fleet of 10,000 some 170 a
/// second at a collector that has just come back.
pub(crate) const PROBE_EVERY: Duration = Duration::from_secs(60);

/// For how many intervals between probes the first address is reachable before the agent goes back:
/// 10 min.
const HOLD: u32 = 10;

/// The most that [`HOLD`] grows to: a day.
const MAX_HOLD: u32 = 24 * 60;

/// An address that has been reporting for as long was worth its round.
const PROVEN: Duration = Duration::from_secs(60);

/// Endpoints whose key is remembered, at most. Targets of services come and go.
const MAX_REMEMBERED: usize = 256;

/// Why an attempt or a connection failed, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The collector there has another key.
    Key,
    /// Anything else.
    Other,
}

/// What is to be done for the present attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Ask for the targets of this service.
    Find(&'a ServiceName),
    /// Connect to this one.
    Connect(&'a Endpoint),
}

/// An address in this round.
#[derive(Clone, Debug)]
struct Place {
    /// Where it stands among the addresses, and its priority there: a lower one is preferred.
    rank: (usize, u16),
    address: CollectorAddress,
    /// The address as text: it is asked for with each message.
    text: String,
    failed: bool,
}

impl Place {
    fn new(rank: (usize, u16), address: CollectorAddress) -> Self {
        Self {
            rank,
            text: address.to_string(),
            address,
            failed: false,
        }
    }
}

/// The choice among the addresses and keys of one connection.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// In this agent's own order; never empty.
    addresses: Vec<CollectorAddress>,
    /// Each with its text; never empty.
    keys: Vec<(PublicKey, String)>,
    /// Those of this round; never empty.
    places: Vec<Place>,
    current: usize,
    /// The place of the key in use among the keys, and how many failed at this address before it.
    key: usize,
    keys_failed: usize,
    /// Which key worked where.
    remembered: BTreeMap<Endpoint, usize>,
    /// The rank of the first address.
    best: (usize, u16),
    reporting_since: Option<Instant>,
    /// Probes of the first address that found it reachable, without one in between that did not.
    reachable: u32,
    /// As many intervals it has to be reachable.
    hold: u32,
    /// The agent went back to the first address, and has not stayed there for long yet.
    went_back: bool,
}

impl Choice {
    /// Of these settings, in their order or in one that is drawn.
    pub(super) fn new(settings: &CollectorSettings, random: &mut impl FnMut() -> f64) -> Self {
        let mut addresses = settings.endpoints.clone();
        if settings.order == EndpointOrder::Random {
            shuffle(&mut addresses, random);
        }
        let keys = settings.public_keys.iter();
        let mut choice = Self {
            addresses,
            keys: keys.map(|key| (*key, key.to_string())).collect(),
            places: Vec::new(),
            current: 0,
            key: 0,
            keys_failed: 0,
            remembered: BTreeMap::new(),
            best: (0, 0),
            reporting_since: None,
            reachable: 0,
            hold: HOLD,
            went_back: false,
        };
        choice.begin_round();
        choice
    }

    /// What the present attempt needs; None without any address, which settings do not have.
    pub(super) fn step(&self) -> Option<Step<'_>> {
        self.places
            .get(self.current)
            .map(|place| match &place.address {
                CollectorAddress::At(endpoint) => Step::Connect(endpoint),
                CollectorAddress::Service(name) => Step::Find(name),
            })
    }

    /// The present address, for people.
    pub(super) fn address(&self) -> &str {
        let place = self.places.get(self.current);
        place.map(|place| place.text.as_str()).unwrap_or_default()
    }

    /// The port of the present address; 0 of a service.
    pub(super) fn port(&self) -> u16 {
        match self.step() {
            Some(Step::Connect(endpoint)) => endpoint.port(),
            Some(Step::Find(_)) | None => 0,
        }
    }

    /// The key to expect there; None without any, which settings do not have.
    pub(super) fn key(&self) -> Option<PublicKey> {
        self.keys.get(self.key).map(|(key, _)| *key)
    }

    /// The same as text.
    pub(super) fn key_text(&self) -> &str {
        let key = self.keys.get(self.key);
        key.map(|(_, text)| text.as_str()).unwrap_or_default()
    }

    /// Returns true if there may be more than one address.
    pub(super) fn has_several(&self) -> bool {
        let is_service =
            |address: &CollectorAddress| matches!(address, CollectorAddress::Service(_));
        self.addresses.len() > 1 || self.addresses.iter().any(is_service)
    }

    /// The targets of the service whose turn it is; one at least.
    pub(super) fn found(&mut self, targets: Vec<Target>, random: &mut impl FnMut() -> f64) {
        let Some(place) = self.places.get(self.current) else {
            return;
        };
        let (index, _) = place.rank;
        let targets = ordered(targets, random);
        if let Some(first) = targets.first().filter(|_| index == 0) {
            self.best = (0, first.priority);
        }
        let targets = targets.into_iter().map(|target| {
            let address = CollectorAddress::At(target.endpoint);
            Place::new((index, target.priority), address)
        });
        self.places.splice(self.current..=self.current, targets);
        self.go(self.current);
    }

    /// The present attempt, or the connection, has failed. Returns true if another address or key is
    /// to be tried at once, and false if all have failed.
    pub(super) fn failed(&mut self, failure: Failure, now: Instant) -> bool {
        let lasted = self.reporting_since.take();
        let lasted = lasted.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        if failure == Failure::Key && self.keys_failed + 1 < self.keys.len() {
            self.keys_failed += 1;
            self.key = (self.key + 1) % self.keys.len();
            return true;
        }
        if self.is_first() && lasted >= PROBE_EVERY * HOLD {
            self.hold = HOLD;
        } else if self.is_first() && self.went_back {
            self.hold = (self.hold * 2).min(MAX_HOLD);
        }
        if self.is_first() {
            self.went_back = false;
        }
        self.reachable = 0;
        if lasted >= PROVEN {
            self.places
                .iter_mut()
                .for_each(|place| place.failed = false);
        }
        if let Some(place) = self.places.get_mut(self.current) {
            place.failed = true;
        }
        let places = self.places.iter().enumerate();
        let (later, earlier): (Vec<_>, Vec<_>) = places
            .filter(|(_, place)| !place.failed)
            .map(|(at, _)| at)
            .partition(|at| *at > self.current);
        if let Some(next) = later.first().or(earlier.first()) {
            self.go(*next);
            return true;
        }
        self.begin_round();
        false
    }

    /// The handshake has succeeded: the key is the right one there.
    pub(super) fn linked(&mut self) {
        self.keys_failed = 0;
        let Some(Step::Connect(endpoint)) = self.step() else {
            return;
        };
        let endpoint = endpoint.clone();
        if self.remembered.len() >= MAX_REMEMBERED {
            self.remembered.clear();
        }
        self.remembered.insert(endpoint, self.key);
    }

    /// The connection reports, or does not.
    pub(super) fn reports(&mut self, reports: bool, now: Instant) {
        match (reports, self.reporting_since) {
            (true, None) => self.reporting_since = Some(now),
            (false, Some(_)) => self.reporting_since = None,
            _ => {}
        }
    }

    /// The first address, with the keys in the order in which they are worth trying, where it is to
    /// be probed: the agent reports, to a later one.
    pub(super) fn to_probe(&self) -> Option<(CollectorAddress, Vec<PublicKey>)> {
        let first = self.addresses.first()?;
        if self.reporting_since.is_none() || self.is_first() {
            return None;
        }
        let mut keys: Vec<_> = self.keys.iter().map(|(key, _)| *key).collect();
        let likely = match first {
            CollectorAddress::At(endpoint) => self.remembered.get(endpoint).copied(),
            CollectorAddress::Service(_) => None,
        };
        let first_key = likely.unwrap_or(self.key).min(keys.len());
        keys.rotate_left(first_key);
        Some((first.clone(), keys))
    }

    /// The first address was probed. If the agent is to go back to it now, returns for how long it
    /// has been reachable; the present address is the first then.
    pub(super) fn probed(&mut self, is_reachable: bool) -> Option<Duration> {
        self.reachable = if is_reachable { self.reachable + 1 } else { 0 };
        if self.reachable <= self.hold || self.to_probe().is_none() {
            return None;
        }
        let lasting = PROBE_EVERY * self.hold;
        self.begin_round();
        self.went_back = true;
        Some(lasting)
    }

    /// Begins again with the first address.
    pub(super) fn begin_round(&mut self) {
        let places = self.addresses.iter().enumerate();
        let places = places.map(|(index, address)| Place::new((index, 0), address.clone()));
        self.places = places.collect();
        self.reporting_since = None;
        self.reachable = 0;
        self.go(0);
    }

    /// Returns true if no address is preferred to the present one.
    fn is_first(&self) -> bool {
        let place = self.places.get(self.current);
        place.is_none_or(|place| place.rank <= self.best)
    }

    fn go(&mut self, at: usize) {
        self.current = at;
        self.keys_failed = 0;
        let known = match self.step() {
            Some(Step::Connect(endpoint)) => self.remembered.get(endpoint).copied(),
            Some(Step::Find(_)) | None => None,
        };
        // Those that stand in for each other often have the same key.
        self.key = known.unwrap_or(self.key);
    }
}

/// Every order is equally likely, with numbers evenly distributed in 0..1.
fn shuffle<T>(items: &mut [T], random: &mut impl FnMut() -> f64) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(last + 1, random()));
    }
}

#[cfg(test)]
mod tests;
