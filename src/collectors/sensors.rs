//! `sensor.*` from /sys/class/hwmon and /sys/class/thermal.
//!
//! Owns what a reading means, per the kernel's Documentation/hwmon/sysfs-interface.rst and
//! Documentation/ABI/testing/sysfs-class-thermal, and when the hardware is looked through
//! anew. A sensor that answers an error, as while its radio is off, or says that it is
//! faulty, is left out; one that hangs costs its own chip alone
//! ([`survey`](super::survey)). A machine without sensors has no values and no error.

mod hardware;

use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use super::{
    Collector, Grid, News, Purpose, Sink,
    context::Context,
    definition::Definition,
    error::CollectError,
    options::Filter,
    source::Root,
    survey::{Found, Listing, Source, Subject, Survey, Target},
    table::{SENSOR_CURRENT, SENSOR_FAN, SENSOR_POWER, SENSOR_TEMPERATURE, SENSOR_VOLTAGE},
};
use hardware::{Sensor, look_through};

/// Most sensors. Servers with hundreds of cores and disks have as many.
pub const MAX_SENSORS: usize = 512;

/// Most files that stay open between samples, of 1024 that a process may have by default.
/// Those of the sensors beyond are opened for each reading.
const MAX_OPEN: usize = 256;

/// How long it takes until hardware that came is found. What has gone no longer answers.
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

    /// A reading in the table's unit; None for what no such thing can have.
    #[must_use]
    pub fn value(self, reading: i64) -> Option<f64> {
        /// Nothing is colder, in millidegrees.
        const ABSOLUTE_ZERO: i64 = -273_150;
        let divisor = match self {
            Self::Temperature if reading < ABSOLUTE_ZERO => return None,
            Self::Fan if reading < 0 => return None,
            Self::Fan => 1.0,
            Self::Temperature | Self::Voltage | Self::Current => 1e3,
            Self::Power => 1e6,
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "53 bits are more than any sensor tells apart"
        )]
        let value = reading as f64 / divisor;
        Some(value)
    }
}

/// The number that a file of a sensor holds; None where it is something else.
#[must_use]
pub fn parse(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

/// Finds the sensors, and again now and then.
struct Hardware {
    root: Root,
    filter: Filter,
    looked: Option<Instant>,
}

impl Source for Hardware {
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
        Ok(Some(Listing { subjects, cut }))
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
        // What hangs for one sensor is the bus or the firmware behind its chip.
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

    fn number(&self) -> Option<i64> {
        match &self.kept {
            Some(kept) => {
                if kept.get().is_none() {
                    // Nobody else asks this one meanwhile.
                    let _ = kept.set(File::open(&self.path).ok()?);
                }
                number_in(kept.get()?)
            }
            None => number_in(&File::open(&self.path).ok()?),
        }
    }
}

fn number_in(file: &File) -> Option<i64> {
    let mut text = [0; NUMBER_BYTES];
    let length = file.read_at(&mut text, 0).ok()?;
    parse(text.get(..length)?)
}

/// A sensor.
struct Gauge {
    quantity: Quantity,
    input: Reading,
    fault: Option<Reading>,
}

impl Target for Gauge {
    type Answer = Option<f64>;

    fn ask(&self) -> Option<f64> {
        let faulty = self.fault.as_ref().and_then(Reading::number);
        if faulty.is_some_and(|fault| fault != 0) {
            return None;
        }
        self.quantity.value(self.input.number()?)
    }
}

/// Reads the sensors.
pub struct SensorsCollector {
    survey: Survey<Hardware>,
}

impl SensorsCollector {
    /// One for the sensors that the context's options admit.
    #[must_use]
    pub fn open(context: &Context) -> Self {
        let hardware = Hardware {
            root: context.root.clone(),
            filter: context.options.sensors.clone(),
            looked: None,
        };
        Self {
            survey: Survey::new(context.prober.clone(), hardware),
        }
    }
}

impl Collector for SensorsCollector {
    fn prepare(&mut self, grid: Grid, now: Instant) {
        if grid.admits(&SENSOR_TEMPERATURE) {
            self.survey.begin(now);
        }
    }

    fn ready(&self) -> bool {
        self.survey.ready()
    }

    fn news(&mut self) -> Vec<News> {
        self.survey.news()
    }

    fn collect(
        &mut self,
        _purpose: Purpose,
        _scratch: &mut Vec<u8>,
        sink: &mut Sink<'_>,
    ) -> Result<(), CollectError> {
        if !sink.grid().admits(&SENSOR_TEMPERATURE) {
            return Ok(());
        }
        let cut = self.survey.report(Instant::now(), |name, gauge, found| {
            if let Found::Answer(Some(value)) = found {
                sink.float_of(gauge.quantity.definition(), name, value);
            }
        })?;
        sink.cut(cut);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
