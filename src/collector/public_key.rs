//! `metrics-collector --public-key`: the key that agents need. Never makes one: a key that is
//! made by looking would be another than the service makes.

use std::path::PathBuf;
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use tokio::time::timeout;

use super::keys::{Found, service_state};
use super::settings::Loaded;
use crate::collector::bus::proxy::RunningCollector;
use crate::config::ConfigError;
use crate::curve::keys::PublicKey;
use crate::dbus::Bus;
use crate::dbus::BusAddress;

/// How long the bus and the running collector may take together.
const PATIENCE: Duration = Duration::from_secs(3);

/// The key, or why there is none.
#[derive(Debug)]
pub enum Answer {
    /// That of the running collector; beside it another one that the settings mean from its
    /// next start on, and its file.
    Running(PublicKey, Option<(PublicKey, PathBuf)>),
    /// That of the file.
    Kept(PublicKey),
    /// There is none so far.
    NoneYet,
    /// Nobody runs, and this user may not look into this directory, where there may be one.
    Unseen(PathBuf),
    /// Nobody runs, and only the service will see this key file.
    OnlyTheServices(PathBuf),
    /// Nobody runs, and the settings or the key file are wrong.
    Unknown(ConfigError),
}

/// Asks the running collector, where the settings are `the_services`, and else reads what is
/// there. `may_compare` where the settings were read as that collector reads them.
#[must_use]
pub fn answer(
    loaded: Result<Loaded, ConfigError>,
    the_services: bool,
    may_compare: bool,
) -> Answer {
    let bus = match &loaded {
        Ok(loaded) => loaded.settings.bus.clone(),
        Err(_) => BusAddress::System,
    };
    let running = Bus::of(&bus)
        .filter(|_| the_services)
        .and_then(|bus| running(&bus));
    match (running, loaded) {
        (Some(key), Ok(loaded)) => {
            let next = match loaded.keys {
                Found::Keys(keys) if may_compare && keys.pair.public != key => {
                    Some((keys.pair.public, keys.path))
                }
                Found::Keys(_) | Found::Unclear(_) | Found::Nowhere { .. } => None,
            };
            Answer::Running(key, next)
        }
        (Some(key), Err(_)) => Answer::Running(key, None),
        (None, Err(error)) => Answer::Unknown(error),
        (None, Ok(loaded)) => match loaded.keys {
            Found::Keys(keys) => Answer::Kept(keys.pair.public),
            Found::Unclear(path) => Answer::OnlyTheServices(path),
            Found::Nowhere {
                directory,
                mut unseen,
            } => {
                // One of this user's own, where there is no key of the service.
                unseen.retain(|one| *one != directory);
                let state = service_state().filter(|_| the_services);
                nowhere(unseen, state)
            }
        },
    }
}

/// No key was found: whether there is none, or this user does not see it.
fn nowhere(unseen: Vec<PathBuf>, state: Option<PathBuf>) -> Answer {
    let shut = |directory: &PathBuf| {
        let may = Access::READ_OK | Access::EXEC_OK;
        access(directory, may) == Err(Errno::ACCESS)
    };
    match unseen.into_iter().chain(state.filter(shut)).next() {
        Some(directory) => Answer::Unseen(directory),
        None => Answer::NoneYet,
    }
}

fn running(bus: &Bus) -> Option<PublicKey> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let asked = async {
        let collector = RunningCollector::find(bus).await.ok()?;
        collector.public_key().await.ok()?.parse().ok()
    };
    let within = async { timeout(PATIENCE, asked).await };
    runtime.block_on(within).ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_user_does_not_see_is_not_said_to_be_missing() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().to_owned();
        assert!(matches!(nowhere(Vec::new(), None), Answer::NoneYet));
        assert!(matches!(
            nowhere(Vec::new(), Some(state.clone())),
            Answer::NoneYet
        ));
        let answer = nowhere(vec![state.clone()], None);
        assert!(matches!(answer, Answer::Unseen(unseen) if unseen == state));
    }
}
