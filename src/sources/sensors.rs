//! `sensor.*` from /sys/class/hwmon and /sys/class/thermal.
//!
//! Owns what a reading means, per the kernel's Documentation/hwmon/sysfs-interface.rst and
//! Documentation/ABI/testing/sysfs-class-thermal, and when the hardware is listed again. A sensor
//! that reports that it has no value, for example while its radio is off, or that it is faulty, is
//! left out silently; one that fails in another way, or reports an impossible value, is left out
//! and named. One that hangs costs only its own chip ([`survey`](super::survey)). A machine without
//! sensors has no values and no error.

mod hardware;

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use rustix::io::Errno;

use super::{
    Context, Sink,
    error::{CollectError, FileError, Malformed},
    file::Root,
    odd::LeftOut,
    options::Filter,
    survey::{Found, Listing, Reported, Subject, Survey, Target, Targets},
};
use crate::metrics::Definition;
use crate::metrics::table::{
    SENSOR_CURRENT, SENSOR_FAN, SENSOR_POWER, SENSOR_TEMPERATURE, SENSOR_VOLTAGE,
};
use hardware::{Sensor, look_through};

/// Most sensors. Servers with hundreds of cores and disks have as many.
pub const MAX_SENSORS: usize = 512;

/// Most files that stay open between samples, of 1024 that a process may have by default.
/// Those of the sensors beyond are opened for each reading.
const MAX_OPEN: usize = 256;

/// How long it takes until new hardware is found. Hardware that has gone fails to answer.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Longer than any number; what exceeds it is none.
const NUMBER_BYTES: usize = 32;

/// What is measured, and in which unit the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quantity {
    /// Millidegrees Celsius.
    Temperature,
    /// Revolutions per minute.
    Fan,
    /// Millivolts.
    Voltage,
    /// Milliamperes.
    Current,
    /// Microwatts.
    Power,
}

impl Quantity {
    fn definition(self) -> &'static Definition {
        match self {
            Self::Temperature => &SENSOR_TEMPERATURE,
            Self::Fan => &SENSOR_FAN,
            Self::Voltage => &SENSOR_VOLTAGE,
            Self::Current => &SENSOR_CURRENT,
            Self::Power => &SENSOR_POWER,
        }
    }

    /// A reading in the table's unit; None for what no such thing can have: chips answer with
    /// all bits set, or with their lowest temperature, where nothing is connected.
    #[must_use]
    pub fn value(self, reading: i64) -> Option<f64> {
        let (possible, divisor) = match self {
            Self::Temperature => (-200_000..=1_000_000, 1e3),
            Self::Fan => (0..=1_000_000, 1.0),
            // A million volts or amperes, and a gigawatt.
            Self::Voltage | Self::Current => (-1_000_000_000..=1_000_000_000, 1e3),
            Self::Power => (-1_000_000_000_000_000..=1_000_000_000_000_000, 1e6),
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "53 bits are more than any sensor tells apart"
        )]
        let value = reading as f64 / divisor;
        possible.contains(&reading).then_some(value)
    }

    /// What a file of this kind has to hold.
    fn expected(self) -> &'static str {
        match self {
            Self::Temperature => "a number of millidegrees, between -200 and 1000 celsius",
            Self::Fan => "a number of revolutions per minute, up to a million",
            Self::Voltage => "a number of mV, up to a million V",
            Self::Current => "a number of mA, up to a million A",
            Self::Power => "a number of uW, up to a GW",
        }
    }
}

/// The number that a file of a sensor holds; None if it is something else.
#[must_use]
pub fn parse(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

/// Finds the sensors, and again now and then.
pub(super) struct Hardware {
    root: Root,
    filter: Filter,
    looked: Option<Instant>,
}

impl Targets for Hardware {
    type Target = Gauge;

    fn list(&mut self) -> Result<Option<Listing<Gauge>>, CollectError> {
        let now = Instant::now();
        let fresh = |looked| now.saturating_duration_since(looked) < LOOK_AGAIN;
        if self.looked.is_some_and(fresh) {
            return Ok(None);
        }
        self.looked = Some(now);
        let mut sensors = look_through(&self.root);
        sensors.retain(|sensor| self.filter.admits(&sensor.name));
        let cut = sensors.len().saturating_sub(MAX_SENSORS);
        sensors.truncate(MAX_SENSORS);
        let mut left = MAX_OPEN;
        let subjects = sensors.into_iter().map(|sensor| subject(sensor, &mut left));
        let subjects = subjects.collect();
        Ok(Some(Listing {
            subjects,
            cut,
            left_out: LeftOut::default(),
        }))
    }
}

fn subject(sensor: Sensor, left: &mut usize) -> Subject<Gauge> {
    let files = 1 + usize::from(sensor.fault.is_some());
    let kept = *left >= files;
    if kept {
        *left -= files;
    }
    let keep = |path: PathBuf| Reading::of(path, kept);
    Subject {
        key: Arc::from(format!("sensor {}", sensor.input.display())),
        name: sensor.name,
        way: None,
        // If a sensor hangs, it is because of the bus or the firmware behind its chip.
        ways: vec![sensor.chip],
        target: Arc::new(Gauge {
            quantity: sensor.quantity,
            fault: sensor.fault.map(keep),
            input: keep(sensor.input),
        }),
    }
}

/// A file with a number in it.
struct Reading {
    path: PathBuf,
    /// Opened with the first reading, where it may stay open.
    kept: Option<OnceLock<File>>,
}

impl Reading {
    fn of(path: PathBuf, kept: bool) -> Self {
        Self {
            path,
            kept: kept.then(OnceLock::new),
        }
    }

    fn text(&self) -> io::Result<Text> {
        match &self.kept {
            Some(kept) => {
                if kept.get().is_none() {
                    // It is not read by another thread meanwhile.
                    let _ = kept.set(File::open(&self.path)?);
                }
                kept.get().map_or_else(|| Ok(Text::default()), text_of)
            }
            None => text_of(&File::open(&self.path)?),
        }
    }
}

/// The beginning of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Text {
    bytes: [u8; NUMBER_BYTES],
    length: usize,
}

impl Text {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

fn text_of(file: &File) -> io::Result<Text> {
    let mut text = Text::default();
    text.length = file.read_at(&mut text.bytes, 0)?;
    Ok(text)
}

/// What a sensor answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Answer {
    /// This, in the table's unit.
    Value(f64),
    /// That it has no value.
    Nothing,
    /// It cannot be read.
    Failed(Errno),
    /// Something else.
    Odd(Text),
}

/// Errors by which drivers say that there is nothing to measure for now: what is measured is
/// off, asleep, not connected or gone.
const NOTHING: [Errno; 8] = [
    Errno::NODATA,
    Errno::AGAIN,
    Errno::NXIO,
    Errno::NODEV,
    Errno::NOENT,
    Errno::OPNOTSUPP,
    Errno::BUSY,
    Errno::NETDOWN,
];

/// A sensor.
pub(super) struct Gauge {
    quantity: Quantity,
    input: Reading,
    fault: Option<Reading>,
}

impl Target for Gauge {
    type Answer = Answer;

    fn ask(&self) -> Answer {
        let fault = self.fault.as_ref().and_then(|fault| fault.text().ok());
        let faulty = fault.and_then(|text| parse(text.bytes()));
        if faulty.is_some_and(|fault| fault != 0) {
            return Answer::Nothing;
        }
        match self.input.text() {
            Ok(text) => {
                let reading = parse(text.bytes());
                let value = reading.and_then(|reading| self.quantity.value(reading));
                value.map_or(Answer::Odd(text), Answer::Value)
            }
            Err(error) => match Errno::from_io_error(&error) {
                Some(error) if !NOTHING.contains(&error) => Answer::Failed(error),
                _ => Answer::Nothing,
            },
        }
    }
}

impl Gauge {
    fn path(&self) -> &Path {
        &self.input.path
    }
}

/// Reads the sensors.
pub(super) type SensorsSource = Survey<Hardware>;

impl SensorsSource {
    /// One for the sensors that the context's options admit.
    #[must_use]
    pub(super) fn open(context: &Context) -> Self {
        let hardware = Hardware {
            root: context.root.clone(),
            filter: context.options.sensors.clone(),
            looked: None,
        };
        Self::new(context.prober.clone(), hardware)
    }
}

impl Reported for Hardware {
    const METRIC: &'static Definition = &SENSOR_TEMPERATURE;

    fn tell(sink: &mut Sink<'_>, name: &str, gauge: &Gauge, found: Found<Answer>) {
        match found {
            Found::Answer(Answer::Value(value)) => {
                sink.float_of(gauge.quantity.definition(), name, value);
            }
            Found::Answer(Answer::Nothing) | Found::Stuck => {}
            Found::Answer(Answer::Failed(error)) => sink.left_out(FileError::Read {
                path: gauge.path().to_owned(),
                source: error.into(),
            }),
            Found::Answer(Answer::Odd(text)) => {
                let expected = gauge.quantity.expected();
                let problem = Malformed::new(1, expected, text.bytes().trim_ascii_end());
                sink.left_out(CollectError::malformed(gauge.path(), problem));
            }
        }
    }
}

#[cfg(test)]
mod tests;
