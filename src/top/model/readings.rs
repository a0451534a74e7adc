//! What the row of a host takes from one message. Pure.

use super::detail::Filesystem;
use super::host::Pressure;
use crate::protocol::grid::{Grid, Value};

/// The file system that is worst off: one that does not answer, or else the fullest of those
/// that can be written to.
#[derive(Clone, Debug, PartialEq)]
pub struct Fullest {
    /// Where it is mounted.
    pub mount: Box<str>,
    /// The share that is in use, in percent.
    pub used: Option<f64>,
    /// Whether it does not answer.
    pub stuck: bool,
}

pub(super) fn is_received(name: &str) -> bool {
    name.starts_with("net.rx.bytes.total[")
}

pub(super) fn is_sent(name: &str) -> bool {
    name.starts_with("net.tx.bytes.total[")
}

pub(super) fn number(grid: &Grid, name: &str) -> Option<f64> {
    grid.get(name).and_then(|value| value.as_f64())
}

pub(super) fn text(grid: &Grid, name: &str) -> Option<Box<str>> {
    match grid.get(name)? {
        Value::Text(text) if !text.is_empty() => Some(text.into()),
        _ => None,
    }
}

/// Whether the agent reads file systems; None where the message does not tell what it reads.
pub(super) fn reads_file_systems(grid: &Grid) -> Option<bool> {
    let mut collectors = grid
        .iter()
        .filter_map(|(name, _)| instance(name, "agent.source.time.total"))
        .peekable();
    collectors.peek()?;
    Some(collectors.any(|name| name == "filesystem"))
}

/// The instance of a metric of this name.
fn instance<'a>(name: &'a str, plain: &str) -> Option<&'a str> {
    name.strip_prefix(plain)?
        .strip_prefix('[')?
        .strip_suffix(']')
}

pub(super) fn temperature(grid: &Grid) -> Option<f64> {
    grid.iter()
        .filter(|(name, _)| instance(name, "sensor.temperature").is_some())
        .filter_map(|(_, value)| value.as_f64())
        .reduce(f64::max)
}

/// The file system that is worst off.
pub(super) fn fullest(grid: &Grid) -> Option<Fullest> {
    let mut worst: Option<Fullest> = None;
    let mut consider = |mount: &str, used: Option<f64>, stuck: bool| {
        let weight = |stuck: bool, used: Option<f64>| (stuck, used.unwrap_or(-1.0));
        let is_worse = worst
            .as_ref()
            .is_none_or(|worst| weight(stuck, used) > weight(worst.stuck, worst.used));
        if is_worse {
            let mount = mount.into();
            worst = Some(Fullest { mount, used, stuck });
        }
    };
    for (name, value) in grid.iter() {
        let is_set = value.as_f64().is_some_and(|value| value != 0.0);
        if let Some(mount) = instance(name, "fs.stuck") {
            if is_set {
                consider(mount, None, true);
            }
        } else if let Some(mount) = instance(name, "fs.size") {
            let of = |plain: &str| number(grid, &format!("{plain}[{mount}]"));
            // A read-only file system, such as a disc, may be full.
            let readonly = of("fs.readonly").is_some_and(|value| value != 0.0);
            let filesystem = Filesystem {
                size: value.as_f64(),
                free: of("fs.free"),
                available: of("fs.avail"),
                ..Default::default()
            };
            if let Some(used) = filesystem.used().filter(|_| !readonly) {
                consider(mount, Some(used), false);
            }
        }
    }
    worst
}

pub(super) fn pressure(grid: &Grid) -> Option<Pressure> {
    ["cpu", "memory", "io"]
        .into_iter()
        .filter_map(|resource| {
            let name = format!("pressure.some.avg10[{resource}]");
            Some((resource, number(grid, &name)?))
        })
        .max_by(|(_, one), (_, other)| one.total_cmp(other))
}

/// How many units have failed; None where the message does not tell of units.
pub(super) fn failed(grid: &Grid) -> Option<usize> {
    let mut told = false;
    let mut failed = 0;
    for (name, value) in grid.iter() {
        if !name.starts_with("systemd.") {
            continue;
        }
        told = true;
        if name.starts_with("systemd.failed[") && value != Value::Unsigned(0) {
            failed += 1;
        }
    }
    told.then_some(failed)
}
