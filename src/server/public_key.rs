//! `metrics-collector --public-key`: the key that agents need. Never makes one: a key that is
//! made by looking would be another than the service makes.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use super::keys::Found;
use super::settings::Loaded;
use crate::config::{BusAddress, ConfigError};
use crate::curve::keys::PublicKey;
use crate::dbus::{Bus, proxy};

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
                Found::Keys(_) | Found::Nowhere { .. } => None,
            };
            Answer::Running(key, next)
        }
        (Some(key), Err(_)) => Answer::Running(key, None),
        (None, Err(error)) => Answer::Unknown(error),
        (None, Ok(loaded)) => match loaded.keys {
            Found::Keys(keys) => Answer::Kept(keys.pair.public),
            Found::Nowhere { .. } => Answer::NoneYet,
        },
    }
}

fn running(bus: &Bus) -> Option<PublicKey> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let asked = async { timeout(PATIENCE, proxy::collectors_public_key(bus)).await };
    let asked = runtime.block_on(asked);
    asked.ok()?.ok()??.parse().ok()
}
