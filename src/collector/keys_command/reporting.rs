//! Which keys report now, by the record that the collector keeps.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Failure;
use crate::collector::access::directory::Directories;
use crate::collector::access::key_log::Decision;
use crate::collector::access::state::{KnownKeys, State};
use crate::collector::access::{Authorized, ListPlaces, Listener, ShutOut};
use crate::collector::settings::{self, Inputs, Settings};
use crate::curve::keys::PublicKey;

/// The record is written once a minute.
const RECORD_AGE: Duration = Duration::from_secs(60);

/// The keys of agents that report now, each with the host that it reports as.
///
/// # Errors
///
/// The settings, which say how long a host may be silent, are invalid.
pub(super) fn reporting_now(known: &KnownKeys) -> Result<Vec<(PublicKey, String)>, Failure> {
    let loaded = settings::load(&Inputs::of_process()).map_err(Failure::Settings)?;
    let timeout = loaded.settings.timing.host_timeout;
    Ok(reporting(known, timeout, SystemTime::now()))
}

fn reporting(known: &KnownKeys, timeout: Duration, now: SystemTime) -> Vec<(PublicKey, String)> {
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

/// Who reports to the collector that keeps its `state` there and runs, and would not be let in by these settings; None
/// where these let everybody in, or none runs.
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
    let now = SystemTime::now();
    let known = state.keys()?;
    let reporting: Vec<_> = known
        .iter()
        .flat_map(|known| reporting(known, settings.timing.host_timeout, now))
        .collect();
    let mut directories =
        Directories::new(&ListPlaces::of_state(Some(directory)).read(Listener::Agents));
    let list = directories.read(now).list;
    let reporting = reporting.iter().map(|(key, host)| (*key, &**host));
    Ok(Some(ShutOut::of(reporting, |key| list.contains(key))))
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
        let found = reporting(&known, Duration::from_secs(30), now);
        let web1 = || "web1".to_owned();
        assert_eq!(found, [(key(1), web1()), (key(3), web1())]);
    }
}
