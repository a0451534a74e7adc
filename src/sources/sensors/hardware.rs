//! Which sensors there are, and their names.
//!
//! A sensor is called CHIP/LABEL, as `coretemp/Package id 0`; without a label, by its attribute:
//! `acpitz/temp1`. If several chips have the same name, the device is added,
//! `nvme@nvme0/Composite`, or, if that has no name of its own, the number that the kernel gave the
//! chip: `nvme@hwmon3`. A thermal zone is `thermal/TYPE`; one that the kernel also shows among the
//! chips is only reported as a chip. Drivers that register the old way have name and sensors in the
//! directory of the device, as libsensors knows: it is used if the chip's own has none. If one
//! directory has the name and the other one the sensors, which libsensors ignores, they belong
//! together; a chip without a name is called by its number, `hwmon3`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use super::Quantity;
use crate::base::text::bytes;
use crate::sources::file::Root;

const CHIPS: &str = "/sys/class/hwmon";
const ZONES: &str = "/sys/class/thermal";

/// Longer than any name or label; the rest of one that exceeds it is left out.
const NAME_BYTES: usize = 100;

/// A sensor that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sensor {
    /// Like that of no other of its quantity.
    pub(super) name: String,
    pub(super) quantity: Quantity,
    /// Unique among the chips and zones.
    pub(super) chip: u64,
    /// What it measures.
    pub(super) input: PathBuf,
    /// Holds 1 where the measurement is worth nothing.
    pub(super) fault: Option<PathBuf>,
}

/// All of them, in a stable order. What cannot be read is not there.
pub(super) fn look_through(root: &Root) -> Vec<Sensor> {
    let chips = chips(&root.path(CHIPS));
    let names: BTreeSet<String> = chips.iter().map(|chip| chip.name.clone()).collect();
    let zones = zones(&root.path(ZONES), &names);
    let mut sensors = Vec::new();
    for (number, chip) in chips.iter().enumerate() {
        let name = chip.full_name(&chips);
        sensors.extend(sensors_of(chip, &name, number as u64));
    }
    let number = chips.len() as u64;
    sensors.extend(
        zones
            .into_iter()
            .zip(number..)
            .map(|(zone, chip)| Sensor { chip, ..zone }),
    );
    let mut names = BTreeSet::new();
    sensors.retain(|sensor| names.insert((sensor.quantity, sensor.name.clone())));
    sensors
}

struct Chip {
    name: String,
    /// The last part of the path of its device.
    device: Option<String>,
    /// `hwmon3`
    entry: String,
    path: PathBuf,
}

impl Chip {
    /// One with its sensors in `path`, which is one of two places: its own directory and that of
    /// its device.
    fn new(name: String, entry: String, path: PathBuf, [_, device]: &[PathBuf; 2]) -> Self {
        let device = fs::canonicalize(device).ok();
        let device = device.and_then(|path| Some(bytes(path.file_name()?.as_encoded_bytes())));
        Self {
            name,
            device,
            entry,
            path,
        }
    }

    fn full_name(&self, all: &[Self]) -> String {
        let alike = || all.iter().filter(|other| other.name == self.name);
        if alike().count() == 1 {
            return self.name.clone();
        }
        let device = self.device.as_ref();
        let own = device.filter(|device| {
            let theirs = alike().filter(|other| other.device.as_ref() == Some(device));
            theirs.count() == 1
        });
        format!("{}@{}", self.name, own.unwrap_or(&self.entry))
    }
}

fn chips(directory: &Path) -> Vec<Chip> {
    let entries = entries(directory);
    let mut chips = Vec::new();
    let mut apart = Vec::new();
    for entry in entries {
        let places = [
            directory.join(&entry),
            directory.join(&entry).join("device"),
        ];
        let whole = places.iter().find_map(|path| {
            let name = line(&path.join("name"))?;
            has_sensors(path).then(|| (name, path.clone()))
        });
        match whole {
            Some((name, path)) => chips.push(Chip::new(name, entry, path, &places)),
            None => apart.push((entry, places)),
        }
    }
    // What is a chip's own belongs to no other one of the same device.
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut taken: BTreeSet<PathBuf> = chips.iter().map(|chip| real(&chip.path)).collect();
    for (entry, places) in apart {
        let path = places
            .iter()
            .find(|path| has_sensors(path) && taken.insert(real(path)));
        if let Some(path) = path {
            let name = places.iter().find_map(|path| line(&path.join("name")));
            let name = name.unwrap_or_else(|| entry.clone());
            chips.push(Chip::new(name, entry, path.clone(), &places));
        }
    }
    chips.sort_by_cached_key(|chip| sorted_by(&chip.entry));
    chips
}

fn has_sensors(directory: &Path) -> bool {
    let entries = entries(directory);
    entries.iter().any(|entry| attribute(entry).is_some())
}

fn sensors_of(chip: &Chip, name: &str, number: u64) -> Vec<Sensor> {
    let entries = entries(&chip.path);
    let has = |entry: &str| entries.iter().any(|other| other == entry);
    let attributes: Vec<_> = entries
        .iter()
        .filter_map(|entry| attribute(entry))
        .collect();
    let mut found: Vec<(&str, Quantity, String, Option<String>)> = Vec::new();
    for (attribute, quantity) in attributes {
        let input = format!("{attribute}_input");
        // Some chips know the power of now, some only that of the last while.
        let input = if has(&input) {
            input
        } else {
            format!("{attribute}_average")
        };
        if found.iter().any(|(other, ..)| *other == attribute) {
            continue;
        }
        let label = line(&chip.path.join(format!("{attribute}_label")));
        found.push((attribute, quantity, input, label));
    }
    let mut labels: BTreeMap<_, usize> = BTreeMap::new();
    for (_, quantity, _, label) in &found {
        *labels.entry((*quantity, label.clone())).or_default() += 1;
    }
    let sensor = |(attribute, quantity, input, label): (&str, Quantity, String, Option<String>)| {
        let count = labels.get(&(quantity, label.clone()));
        let label = match label {
            None => attribute.to_owned(),
            Some(label) if count == Some(&1) => label,
            Some(label) => format!("{label} {attribute}"),
        };
        let fault = format!("{attribute}_fault");
        Sensor {
            name: format!("{name}/{label}"),
            quantity,
            chip: number,
            input: chip.path.join(input),
            fault: has(&fault).then(|| chip.path.join(fault)),
        }
    };
    found.into_iter().map(sensor).collect()
}

/// `temp1` and what that is, of `temp1_input`.
fn attribute(entry: &str) -> Option<(&str, Quantity)> {
    let (attribute, what) = entry.split_once('_')?;
    let kind = attribute.trim_end_matches(|character: char| character.is_ascii_digit());
    let quantity = match kind {
        "temp" => Quantity::Temperature,
        "fan" => Quantity::Fan,
        "in" => Quantity::Voltage,
        "curr" => Quantity::Current,
        "power" => Quantity::Power,
        _ => return None,
    };
    let measured = what == "input" || (what == "average" && quantity == Quantity::Power);
    (measured && kind.len() < attribute.len()).then_some((attribute, quantity))
}

/// Those that the kernel does not show among the chips, where it calls them by their type
/// with `_` for `-`.
fn zones(directory: &Path, chips: &BTreeSet<String>) -> Vec<Sensor> {
    let zones: Vec<_> = entries(directory)
        .into_iter()
        .filter_map(|entry| {
            let number = entry.strip_prefix("thermal_zone")?.to_owned();
            let path = directory.join(&entry);
            let kind = line(&path.join("type"))?;
            let known = chips.contains(&kind) || chips.contains(&kind.replace('-', "_"));
            (!known).then_some((kind, number, path.join("temp")))
        })
        .collect();
    let name = |kind: &str, number: &str| {
        let alike = zones.iter().filter(|(other, ..)| other == kind);
        if alike.count() == 1 {
            format!("thermal/{kind}")
        } else {
            format!("thermal/{kind}@{number}")
        }
    };
    let sensor = |(kind, number, input): &(String, String, PathBuf)| Sensor {
        name: name(kind, number),
        quantity: Quantity::Temperature,
        chip: 0,
        input: input.clone(),
        fault: None,
    };
    zones.iter().map(sensor).collect()
}

/// The names in a directory, numbers within them in their order. None if it is not there.
fn entries(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<_> = names.collect();
    names.sort_by_cached_key(|name| sorted_by(name));
    names
}

/// The word, the number and the rest of a name.
fn sorted_by(name: &str) -> (String, Option<u64>, String) {
    let digits = name.find(|character: char| character.is_ascii_digit());
    let (word, rest) = name.split_at(digits.unwrap_or(name.len()));
    let end = rest.find(|character: char| !character.is_ascii_digit());
    let (number, rest) = rest.split_at(end.unwrap_or(rest.len()));
    (word.to_owned(), number.parse().ok(), rest.to_owned())
}

/// What a file of one line says; None if it says nothing. Drivers take names and labels from
/// the hardware.
fn line(path: &Path) -> Option<String> {
    let text = fs::read(path).ok()?;
    let text = text.trim_ascii();
    let text = text.get(..NAME_BYTES).unwrap_or(text);
    (!text.is_empty()).then(|| bytes(text))
}
