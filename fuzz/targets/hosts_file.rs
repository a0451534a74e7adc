//! The file of hosts known before a restart.
#![no_main]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use metrics_agent::collector::hosts::MAX_HOSTS;
use metrics_agent::collector::hosts::snapshot::{HostSnapshot, MessageCounts, Presence, Snapshot};
use metrics_agent::collector::store::format::{Remembered, read, write};
use metrics_agent::metrics::LatestMetrics;
use metrics_agent::protocol::message::{GridKind, check_host};
use metrics_agent_fuzz::{assert_grid, assert_loggable};

fuzz_target!(|input: &[u8]| {
    let found = match read(input) {
        Ok(found) => found,
        Err(error) => return assert_loggable(&error),
    };
    assert!(found.hosts.len() <= MAX_HOSTS);
    for host in &found.hosts {
        assert_eq!(check_host(&host.name), Ok(()));
        if let Some(address) = &host.address {
            assert!(!address.chars().any(char::is_control));
        }
        if let Some((grid, _)) = &host.model {
            assert_grid(grid, GridKind::Model);
            assert!(host.gone.is_none());
        }
    }
    // What was read is written, and read again as the same.
    let hosts: Vec<_> = found.hosts.iter().map(shown).collect();
    let snapshot = Snapshot {
        hosts,
        taken: SystemTime::UNIX_EPOCH,
    };
    let mut text = Vec::new();
    write(&snapshot, &mut text).expect("memory takes it");
    let again = read(&*text).expect("what was written can be read");
    assert_eq!(again.damaged, 0);
    assert_eq!(again.hosts.len(), found.hosts.len());
    for (again, before) in again.hosts.iter().zip(&found.hosts) {
        assert_eq!(
            (
                &again.name,
                &again.key,
                again.several_hosts,
                &again.address,
                &again.os,
                again.gone
            ),
            (
                &before.name,
                &before.key,
                before.several_hosts,
                &before.address,
                &before.os,
                before.gone
            )
        );
        let model = |host: &Remembered| host.model.as_ref().map(|(grid, _)| grid.clone());
        assert_eq!(model(again), model(before));
    }
});

fn shown(host: &Remembered) -> HostSnapshot {
    HostSnapshot {
        name: Arc::clone(&host.name),
        presence: match host.gone {
            Some(_) => Presence::Gone,
            None => Presence::Expected,
        },
        silence: Duration::ZERO,
        since: host.gone.unwrap_or(SystemTime::UNIX_EPOCH),
        counts: MessageCounts::default(),
        last_metrics: None,
        key: host.key,
        several_hosts: host.several_hosts,
        address: host.address.clone(),
        os: host.os.clone(),
        model: host
            .model
            .as_ref()
            .map(|(grid, _)| Arc::new(grid.clone().into())),
        metrics: LatestMetrics::default(),
    }
}
