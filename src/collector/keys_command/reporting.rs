//! Which keys report now: as the running collector says on the bus, and else by the record that it
//! keeps.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Failure, refresh, warn};
use crate::collector::access::directory::Directories;
use crate::collector::access::key_log::Decision;
use crate::collector::access::state::{KnownKeys, State};
use crate::collector::access::{Authorized, ListPlaces, Listener, ShutOut};
use crate::collector::hosts_command;
use crate::collector::settings::{self, Inputs, Settings};
use crate::curve::keys::PublicKey;
use crate::dbus::Bus;

/// The record is written once a minute.
const RECORD_AGE: Duration = Duration::from_secs(60);

/// Keys of agents, each with the host that it reports as.
type Reporting = Vec<(PublicKey, String)>;

/// The keys of agents that report now. Of those that the record says are refused there is none: the
/// host of one may count as reporting for some time still.
///
/// # Errors
///
/// The settings, which say how long a host may be silent, are invalid.
pub(super) fn reporting_now(known: &KnownKeys) -> Result<Reporting, Failure> {
    let loaded = settings::load(&Inputs::of_process()).map_err(Failure::Settings)?;
    let (reporting, doubt) = asked(known, &loaded.settings, SystemTime::now());
    if let Some(doubt) = doubt {
        warn(&doubt);
    }
    Ok(reporting)
}

/// What the running collector says, or what its record says and why that is all there is.
fn asked(known: &KnownKeys, settings: &Settings, now: SystemTime) -> (Reporting, Option<String>) {
    let why = match Bus::of(&settings.bus) {
        None => "it is on no bus".to_owned(),
        Some(bus) => match hosts_command::reporting(bus) {
            Ok(hosts) => match told(known, &hosts) {
                Some(reporting) => return (reporting, None),
                None => "the collector on the bus is another".to_owned(),
            },
            // Its way out is one of people who look for hosts.
            Err(hosts_command::Failure::NoBus { bus, source }) => {
                format!("cannot reach {bus}: {source}")
            }
            Err(failure) => failure.to_string(),
        },
    };
    let doubt = format!(
        "which keys report now is taken from the record of the running collector, in which a host \
         counts for a minute longer: {why}"
    );
    (
        recorded(known, settings.timing.host_timeout, now),
        Some(doubt),
    )
}

/// The keys of the hosts that report, of which the record knows some; None if it knows none of
/// them: it is another collector's.
fn told(known: &KnownKeys, hosts: &[(String, String)]) -> Option<Reporting> {
    let of = |wanted: fn(Decision) -> bool| -> BTreeSet<PublicKey> {
        let agents = known.keys.iter().filter(|((listener, _), record)| {
            *listener == Listener::Agents && wanted(record.standing)
        });
        agents.map(|((_, key), _)| *key).collect()
    };
    let (all, refused) = (of(|_| true), of(|standing| standing == Decision::Refused));
    let keys = hosts
        .iter()
        .filter_map(|(key, host)| Some((key.parse().ok()?, host.clone())));
    let keys: Reporting = keys.collect();
    if !keys.is_empty() && keys.iter().all(|(key, _)| !all.contains(key)) {
        return None;
    }
    let reports = |(key, _): &(PublicKey, String)| !refused.contains(key);
    Some(keys.into_iter().filter(reports).collect())
}

fn recorded(known: &KnownKeys, timeout: Duration, now: SystemTime) -> Reporting {
    let since = now.checked_sub(timeout + RECORD_AGE);
    let since = since.and_then(|since| since.duration_since(UNIX_EPOCH).ok());
    let since = since.map_or(0, |since| since.as_secs());
    let agents = known.keys.iter().filter(|((listener, _), record)| {
        *listener == Listener::Agents && record.standing != Decision::Refused
    });
    let last = agents.filter_map(|((_, key), record)| {
        let last = record.hosts.iter().max_by_key(|said| said.last)?;
        (last.last >= since).then(|| (*key, last.name.to_string()))
    });
    last.collect()
}

/// Who reports to the collector that keeps its `state` there and runs, and would not be let in by
/// these settings; None where these let everybody in, where none runs, and where one that runs lets
/// in only those that are listed already: who is not does not report.
///
/// # Errors
///
/// Its record cannot be read.
pub fn unlisted(settings: &Settings, state: Option<&Path>) -> Result<Option<ShutOut>, Failure> {
    let Some(directory) = state else {
        return Ok(None);
    };
    let state = State::new(directory.to_owned());
    if settings.access.authorized != Authorized::Directory || !state.is_owned() {
        return Ok(None);
    }
    // Which door the record is about, and who knocked at it, may have changed within the minute.
    refresh(&state);
    let open = |known: &KnownKeys| known.authorized == Authorized::Any;
    let Some(known) = state.keys()?.filter(open) else {
        return Ok(None);
    };
    let now = SystemTime::now();
    let (reporting, doubt) = asked(&known, settings, now);
    let mut directories =
        Directories::new(&ListPlaces::of_state(Some(directory)).read(Listener::Agents));
    let list = directories.read(now).list;
    let reporting = reporting.iter().map(|(key, host)| (*key, &**host));
    let shut_out = ShutOut::of(reporting, |key| list.contains(key));
    if let Some(doubt) = doubt.filter(|_| shut_out.keys > 0) {
        warn(&doubt);
    }
    Ok(Some(shut_out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collector::access::key_log::{HostSeen, Record};

    #[test]
    fn those_heard_within_the_time_of_a_host_report() {
        let key = |number| PublicKey::from_bytes([number; 32]);
        let entry = |listener, number, standing, last: u64| {
            let said = |(name, last): (&str, u64)| HostSeen {
                name: name.into(),
                last,
            };
            let record = Record {
                first_seen: 0,
                last_seen: 1_000_000,
                address: "".into(),
                hosts: [("old", 5), ("web1", last)].map(said).to_vec(),
                standing,
                refusals: 0,
            };
            ((listener, key(number)), record)
        };
        let known = KnownKeys {
            authorized: Authorized::Any,
            keys: vec![
                entry(Listener::Agents, 1, Decision::Any, 999_910),
                entry(Listener::Agents, 2, Decision::Any, 999_909),
                entry(Listener::Agents, 3, Decision::Allowed, 1_000_000),
                entry(Listener::Agents, 4, Decision::Refused, 1_000_000),
                entry(Listener::Viewers, 5, Decision::Allowed, 1_000_000),
            ],
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let found = recorded(&known, Duration::from_secs(30), now);
        let web1 = || "web1".to_owned();
        assert_eq!(found, [(key(1), web1()), (key(3), web1())]);

        // What the collector says counts, but for what it refuses.
        let hosts = |numbers: &[u8]| -> Vec<_> {
            let row = |number: &u8| (key(*number).to_string(), web1());
            numbers.iter().map(row).collect()
        };
        assert_eq!(told(&known, &[]), Some(Vec::new()));
        assert_eq!(
            told(&known, &hosts(&[2, 4, 7])),
            Some(vec![(key(2), web1()), (key(7), web1())])
        );
        // Another collector's.
        assert_eq!(told(&known, &hosts(&[7, 5])), None);
    }
}
