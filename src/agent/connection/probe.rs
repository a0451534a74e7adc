//! Finds out whether the first address of a collector can be reached while the agent reports to a
//! later one: a handshake once in an interval, and nothing said after it. Decides nothing; what it
//! means is the choice's to say.

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::{sleep_until, timeout};

use super::choice::Step;
use super::finder::{Finder, Found};
use super::srv::Target;
use crate::agent::settings::CollectorAddress;
use crate::curve::dealer::{Dealer, DealerEvent, DealerOptions, RoutingId};
use crate::curve::endpoint::Endpoint;
use crate::curve::keys::{KeyPair, PublicKey};
use crate::protocol::session::CONNECT_TIMEOUT;

/// What is probed: an address, the keys of which it may have one, and our own.
#[derive(Clone, Debug)]
pub(super) struct Aim {
    pub(super) address: CollectorAddress,
    pub(super) server_keys: Vec<PublicKey>,
    pub(super) keys: Arc<KeyPair>,
}

/// The probes of one connection; at most one is under way.
#[derive(Debug)]
pub(super) struct Probe {
    every: Duration,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Nothing is probed.
    Off,
    Waiting(Aim, Instant),
    Running(Aim, Attempt),
}

/// Ends with the value.
#[derive(Debug)]
struct Attempt(JoinHandle<bool>);

impl Drop for Attempt {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Probe {
    /// Probes that are so far apart.
    pub(super) fn new(every: Duration) -> Self {
        Self {
            every,
            stage: Stage::Off,
        }
    }

    /// Probes this from now on, or nothing. The first one comes after a share, from 0 to 1, of the
    /// interval: a fleet that lost its collector at once must not come back to it at once.
    pub(super) fn follow(&mut self, aim: Option<Aim>, now: Instant, share: f64) {
        match (aim, &self.stage) {
            (None, _) => self.stage = Stage::Off,
            (Some(aim), Stage::Off) => {
                let due = now + self.every.mul_f64(share.clamp(0.0, 1.0));
                self.stage = Stage::Waiting(aim, due);
            }
            (Some(_), Stage::Waiting(..) | Stage::Running(..)) => {}
        }
    }

    /// Waits for the next probe and for what comes of it: true if it was answered. Cancel safe.
    pub(super) async fn outcome(&mut self) -> bool {
        loop {
            match &mut self.stage {
                Stage::Off => pending::<()>().await,
                Stage::Waiting(aim, due) => {
                    sleep_until((*due).into()).await;
                    let running = tokio::spawn(is_reachable(aim.clone()));
                    self.stage = Stage::Running(aim.clone(), Attempt(running));
                }
                Stage::Running(aim, running) => {
                    let outcome = (&mut running.0).await;
                    self.stage = Stage::Waiting(aim.clone(), Instant::now() + self.every);
                    return outcome.unwrap_or(false);
                }
            }
        }
    }
}

/// Returns true if a handshake succeeds there within [`CONNECT_TIMEOUT`], with any of the keys. Of a
/// service, at one of the targets that are preferred.
async fn is_reachable(aim: Aim) -> bool {
    let handshakes = async {
        for endpoint in endpoints(&aim.address).await {
            if answers(&endpoint, &aim).await {
                return true;
            }
        }
        false
    };
    timeout(CONNECT_TIMEOUT, handshakes).await.unwrap_or(false)
}

async fn endpoints(address: &CollectorAddress) -> Vec<Endpoint> {
    let name = match address {
        CollectorAddress::At(endpoint) => return vec![endpoint.clone()],
        CollectorAddress::Service(name) => name,
    };
    match Finder::default().find(Some(Step::Find(name))).await {
        Ok(Found::Targets(targets)) => preferred(targets),
        Ok(Found::Addresses(_)) | Err(_) => Vec::new(),
    }
}

/// Those with the lowest priority.
fn preferred(mut targets: Vec<Target>) -> Vec<Endpoint> {
    let lowest = targets.iter().map(|target| target.priority).min();
    targets.retain(|target| Some(target.priority) == lowest);
    targets.into_iter().map(|target| target.endpoint).collect()
}

async fn answers(endpoint: &Endpoint, aim: &Aim) -> bool {
    let found = Finder::default().find(Some(Step::Connect(endpoint))).await;
    let Ok(Found::Addresses(addresses)) = found else {
        return false;
    };
    for address in addresses {
        for server_key in &aim.server_keys {
            let dealer = Dealer::connect(DealerOptions {
                address,
                server_key: *server_key,
                keys: &aim.keys,
                routing_id: RoutingId::random(),
            });
            let Ok(mut dealer) = dealer else { break };
            match dealer.event().await {
                DealerEvent::LinkUp => return true,
                // No other key helps there.
                DealerEvent::ConnectFailed(_) => break,
                DealerEvent::LinkDown(_) | DealerEvent::Received(_) => {}
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_preferred_targets_are_probed() {
        let target = |priority, name: &str| Target {
            priority,
            weight: 0,
            endpoint: name.parse().unwrap(),
        };
        let targets = vec![
            target(7, "a"),
            target(3, "b"),
            target(9, "c"),
            target(3, "d"),
        ];
        let hosts = preferred(targets).into_iter();
        let hosts: Vec<_> = hosts.map(|one| one.host().to_string()).collect();
        assert_eq!(hosts, ["b", "d"]);
        assert!(preferred(Vec::new()).is_empty());
    }
}
