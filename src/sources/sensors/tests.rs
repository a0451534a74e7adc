use std::{fs, os::unix::fs::symlink, path::PathBuf, thread};

use proptest::prelude::*;

use super::*;
use crate::metrics::{Samples, Value};
use crate::sources::{
    Grid, Options, Purpose, Source,
    testing::{captured, fixture},
};

/// Far longer than anything takes here.
const LONG: Duration = Duration::from_secs(30);

/// A sample as the agent takes it.
fn sample(source: &mut SensorsSource) -> Vec<(String, f64)> {
    let now = Instant::now();
    source.prepare(Grid::Metrics, now);
    while !source.ready() {
        assert!(now.elapsed() < LONG);
        thread::sleep(Duration::from_millis(1));
    }
    taken(source).0
}

/// What there is to take, and what is said to be left out.
fn taken(source: &mut SensorsSource) -> (Vec<(String, f64)>, Vec<String>) {
    let mut samples = Samples::new();
    let mut sink = Sink::new(Purpose::Metrics, Grid::Metrics, &mut samples);
    source.collect(&mut Vec::new(), &mut sink).unwrap();
    let left_out = sink.into_left_out();
    let values = samples.iter().map(|(name, value)| match value {
        Value::Float(value) => (name.to_string(), value),
        other => panic!("{name}: {other:?}"),
    });
    let named = left_out.named().iter().map(ToString::to_string);
    (values.collect(), named.collect())
}

fn of(root: Root) -> Vec<(String, f64)> {
    sample(&mut SensorsSource::open(&Context::new(root)))
}

fn named(pairs: &[(&str, f64)]) -> Vec<(String, f64)> {
    let pair = |(name, value): &(&str, f64)| (format!("sensor.{name}"), *value);
    pairs.iter().map(pair).collect()
}

#[test]
fn every_sensor_of_typical_chips_is_named_and_in_its_unit() {
    assert_eq!(
        of(fixture("synthetic-sensors")),
        named(&[
            ("temperature[acpitz/temp1]", 27.8),
            ("temperature[nvme@hwmon1/Composite]", 38.85),
            ("temperature[nvme@hwmon1/Sensor 1]", 41.85),
            ("temperature[coretemp/Package id 0]", 52.0),
            ("temperature[coretemp/Core 0]", 49.0),
            ("temperature[coretemp/Core 8]", 52.0),
            ("fan[nct6798/fan1]", 1180.0),
            ("fan[nct6798/Chassis]", 0.0),
            ("voltage[nct6798/in0]", 1.016),
            ("voltage[nct6798/-12V]", -12.096),
            ("temperature[nct6798/SYSTIN]", -5.0),
            ("temperature[nct6798/temp3]", 31.5),
            ("voltage[amdgpu/vddgfx]", 0.918),
            ("power[amdgpu/PPT]", 31.0),
            ("temperature[amdgpu/edge]", 46.0),
            ("temperature[nvme@hwmon6/Composite]", 35.85),
            ("current[ina226/curr1]", 1.25),
            ("voltage[ina226/in1]", 12.032),
            ("power[ina226/power1]", 15.04),
            ("temperature[thermal/x86_pkg_temp]", 52.0),
        ])
    );
}

#[test]
fn a_machine_without_sensors_has_no_values_and_no_error() {
    for kernel in ["6.1-qemu", "6.12-qemu", "6.18-firecracker"] {
        assert_eq!(of(captured(kernel)), []);
    }
    assert_eq!(of(Root(PathBuf::from("/nowhere"))), []);
}

/// A machine that a test may change.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, path: &str, text: &str) -> &Self {
        let path = self.0.path().join("sys/class").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// The device of a chip, as its own path in /sys/devices.
    fn device(&self, chip: &str, name: &str) -> &Self {
        let device = self.0.path().join("sys/devices").join(chip).join(name);
        fs::create_dir_all(&device).unwrap();
        symlink(
            device,
            self.0.path().join("sys/class").join(chip).join("device"),
        )
        .unwrap();
        self
    }

    fn root(&self) -> Root {
        Root(self.0.path().to_owned())
    }
}

#[test]
fn chips_of_one_name_are_told_apart_by_their_devices_and_else_by_their_numbers() {
    let machine = Machine::new();
    for (chip, device) in [
        ("hwmon/hwmon2", Some("nvme1")),
        ("hwmon/hwmon10", Some("nvme0")),
        ("hwmon/hwmon3", Some("0-0048")),
        ("hwmon/hwmon4", Some("0-0048")),
        ("hwmon/hwmon5", None),
    ] {
        machine.write(&format!("{chip}/name"), "nvme\n");
        machine.write(&format!("{chip}/temp1_input"), "1000\n");
        if let Some(device) = device {
            machine.device(chip, device);
        }
    }
    machine.write("thermal/thermal_zone0/type", "cpu\n");
    machine.write("thermal/thermal_zone0/temp", "2000\n");
    machine.write("thermal/thermal_zone1/type", "cpu\n");
    machine.write("thermal/thermal_zone1/temp", "3000\n");
    assert_eq!(
        of(machine.root()),
        named(&[
            ("temperature[nvme@nvme1/temp1]", 1.0),
            ("temperature[nvme@hwmon3/temp1]", 1.0),
            ("temperature[nvme@hwmon4/temp1]", 1.0),
            ("temperature[nvme@hwmon5/temp1]", 1.0),
            ("temperature[nvme@nvme0/temp1]", 1.0),
            ("temperature[thermal/cpu@0]", 2.0),
            ("temperature[thermal/cpu@1]", 3.0),
        ])
    );
}

#[test]
fn what_is_faulty_or_no_number_is_left_out_until_it_is_one() {
    let machine = Machine::new();
    machine
        .write("hwmon/hwmon0/name", "chip\n")
        .write("hwmon/hwmon0/temp1_input", "1000\n")
        .write("hwmon/hwmon0/temp1_fault", "1\n")
        .write("hwmon/hwmon0/temp2_input", "bananas\n")
        .write("hwmon/hwmon0/temp3_input", "-200000\n")
        .write("hwmon/hwmon0/temp4_input", "-200001\n")
        .write("hwmon/hwmon0/temp5_input", "1000001\n")
        .write("hwmon/hwmon0/fan1_input", "-1\n")
        .write("hwmon/hwmon0/power1_average", "2000000\n")
        .write("hwmon/hwmon0/power2_average", "4000000\n")
        .write("hwmon/hwmon0/power2_input", "3000000\n")
        .write("hwmon/hwmon0/in_input", "7\n")
        .write("hwmon/hwmon0/humidity1_input", "7\n")
        .write("hwmon/hwmon0/temp1_crit", "7\n");
    let mut source = SensorsSource::open(&Context::new(machine.root()));
    assert_eq!(
        sample(&mut source),
        named(&[
            ("power[chip/power1]", 2.0),
            ("power[chip/power2]", 3.0),
            ("temperature[chip/temp3]", -200.0),
        ])
    );
    // A sensor that reports itself as faulty is not logged.
    let (_, named_ones) = taken(&mut source);
    for (named_one, expected) in named_ones.iter().zip([
        r#"fan1_input, line 1: expected a number of revolutions per minute, up to a million, found "-1""#,
        r#"temp2_input, line 1: expected a number of millidegrees, between -200 and 1000 celsius, found "bananas""#,
        "temp4_input, line 1: ",
        "temp5_input, line 1: ",
    ]) {
        assert!(named_one.contains(expected), "{named_one}");
    }
    assert_eq!(named_ones.len(), 4);
    machine
        .write("hwmon/hwmon0/temp1_fault", "0\n")
        .write("hwmon/hwmon0/temp2_input", "1500\n");
    assert_eq!(
        sample(&mut source)[2..],
        named(&[
            ("temperature[chip/temp1]", 1.0),
            ("temperature[chip/temp2]", 1.5),
            ("temperature[chip/temp3]", -200.0),
        ])
    );
}

#[test]
fn drivers_of_the_old_way_have_their_sensors_in_the_device() {
    assert_eq!(
        of(fixture("odd/hwmon-legacy-device")),
        named(&[
            ("temperature[coretemp/Package id 0]", 49.0),
            ("fan[applesmc/Main]", 1201.0),
            ("temperature[applesmc/TA0p]", 36.0),
            ("temperature[applesmc/TH0A]", -127.0),
        ])
    );
}

#[test]
fn a_name_in_one_directory_and_sensors_in_the_other_belong_together() {
    let machine = Machine::new();
    for chip in 0..4 {
        machine.write(&format!("hwmon/hwmon{chip}/uevent"), "");
        let device = format!("platform.{}", chip % 3);
        machine.device(&format!("hwmon/hwmon{chip}"), &device);
    }
    machine
        // The name is the chip's, the sensors are the device's, and the reverse.
        .write("hwmon/hwmon0/name", "first\n")
        .write("hwmon/hwmon0/device/temp1_input", "1000\n")
        .write("hwmon/hwmon0/device/temp1_label", "SharedState\n")
        .write("hwmon/hwmon1/device/name", "second\n")
        .write("hwmon/hwmon1/fan1_input", "2000\n")
        // None of these has a name.
        .write("hwmon/hwmon2/in0_input", "3000\n")
        // Another chip of the first one's device, with nothing of its own.
        .write("hwmon/hwmon3/name", "fourth\n")
        .write("hwmon/hwmon3/pwm1", "255\n");
    fs::remove_file(machine.0.path().join("sys/class/hwmon/hwmon3/device")).unwrap();
    symlink(
        "../hwmon0/device",
        machine.0.path().join("sys/class/hwmon/hwmon3/device"),
    )
    .unwrap();
    assert_eq!(
        of(machine.root()),
        named(&[
            ("temperature[first/SharedState]", 1.0),
            ("fan[second/fan1]", 2000.0),
            ("voltage[hwmon2/in0]", 3.0),
        ])
    );
}

#[test]
fn one_that_fails_is_left_out_and_named() {
    let machine = Machine::new();
    machine
        .write("hwmon/hwmon0/name", "chip\n")
        .write("hwmon/hwmon0/temp1_input", "1000\n");
    fs::create_dir(machine.0.path().join("sys/class/hwmon/hwmon0/temp2_input")).unwrap();
    let mut source = SensorsSource::open(&Context::new(machine.root()));
    assert_eq!(
        sample(&mut source),
        named(&[("temperature[chip/temp1]", 1.0)])
    );
    let (_, failed) = taken(&mut source);
    assert_eq!(failed.len(), 1);
    assert!(
        failed[0].contains("temp2_input: Is a directory"),
        "{failed:?}"
    );
}

#[test]
fn labels_that_are_alike_or_odd_still_name_one_sensor() {
    let machine = Machine::new();
    machine
        .write("hwmon/hwmon0/name", "chip\n")
        .write("hwmon/hwmon0/temp1_input", "1000\n")
        .write("hwmon/hwmon0/temp1_label", "AUX\n")
        .write("hwmon/hwmon0/temp2_input", "2000\n")
        .write("hwmon/hwmon0/temp2_label", "AUX\n")
        .write("hwmon/hwmon0/in1_input", "3000\n")
        .write("hwmon/hwmon0/in1_label", "AUX\n")
        .write("hwmon/hwmon0/in2_input", "4000\n")
        .write("hwmon/hwmon0/in2_label", "a\u{7}b\n")
        .write("hwmon/hwmon0/in3_input", "5000\n")
        .write("hwmon/hwmon0/in3_label", "\n");
    assert_eq!(
        of(machine.root()),
        named(&[
            ("voltage[chip/AUX]", 3.0),
            ("voltage[chip/a\\u{7}b]", 4.0),
            ("voltage[chip/in3]", 5.0),
            ("temperature[chip/AUX temp1]", 1.0),
            ("temperature[chip/AUX temp2]", 2.0),
        ])
    );
}

#[test]
fn a_zone_that_is_also_a_chip_is_told_once() {
    let machine = Machine::new();
    machine
        .write("hwmon/hwmon0/name", "cpu_thermal\n")
        .write("hwmon/hwmon0/temp1_input", "1000\n")
        .write("thermal/thermal_zone0/type", "cpu-thermal\n")
        .write("thermal/thermal_zone0/temp", "1000\n")
        .write("thermal/cooling_device0/type", "Fan\n");
    assert_eq!(
        of(machine.root()),
        named(&[("temperature[cpu_thermal/temp1]", 1.0)])
    );
}

#[test]
fn options_choose_by_name() {
    let mut context = Context::new(fixture("synthetic-sensors"));
    let mut options = Options::default();
    options.sensors.include = vec![glob::Pattern::new("nvme*").unwrap()];
    options.sensors.exclude = vec![glob::Pattern::new("*/Sensor *").unwrap()];
    context.options = Arc::new(options);
    assert_eq!(
        sample(&mut SensorsSource::open(&context)),
        named(&[
            ("temperature[nvme@hwmon1/Composite]", 38.85),
            ("temperature[nvme@hwmon6/Composite]", 35.85),
        ])
    );
}

#[test]
fn sensors_and_open_files_are_bounded() {
    let machine = Machine::new();
    machine.write("hwmon/hwmon0/name", "chip\n");
    for number in 0..MAX_SENSORS + 5 {
        machine.write(&format!("hwmon/hwmon0/temp{number}_input"), "1000\n");
    }
    machine.write("hwmon/hwmon0/temp0_fault", "0\n");
    let mut hardware = Hardware {
        root: machine.root(),
        filter: Filter::default(),
        looked: None,
    };
    let listing = hardware.list().unwrap().unwrap();
    assert_eq!((listing.subjects.len(), listing.cut), (MAX_SENSORS, 5));
    let gauges = listing.subjects.iter().map(|subject| &subject.target);
    let files = gauges.clone().map(|gauge| {
        let fault = gauge.fault.as_ref();
        usize::from(gauge.input.kept.is_some())
            + usize::from(fault.is_some_and(|fault| fault.kept.is_some()))
    });
    assert_eq!(files.sum::<usize>(), MAX_OPEN);
    for gauge in gauges {
        assert_eq!(gauge.ask(), Answer::Value(1.0));
    }
    assert!(
        hardware.list().unwrap().is_none(),
        "not looked through again"
    );
    hardware.looked = Instant::now().checked_sub(LOOK_AGAIN);
    assert!(hardware.list().unwrap().is_some());
}

#[test]
fn this_machine_has_what_its_files_say() {
    let now = of(Root::default());
    assert!(now.iter().all(|(_, value)| value.is_finite()));
    let chips = fs::read_dir("/sys/class/hwmon").into_iter().flatten();
    if chips.count() == 0 {
        assert!(
            now.iter().all(|(name, _)| name.contains("[thermal/")),
            "{now:?}"
        );
    }
}

#[test]
fn numbers_are_signed_and_nothing_else() {
    assert_eq!(parse(b"27800\n"), Some(27800));
    assert_eq!(parse(b"-5000\n"), Some(-5000));
    for text in [
        &b""[..],
        b"\n",
        b"1.5\n",
        b"0x10\n",
        b"1 2\n",
        b"\xff\n",
        b"9223372036854775808\n",
    ] {
        assert_eq!(parse(text), None);
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(text in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Some(reading) = parse(&text) {
            let value = Quantity::Power.value(reading);
            prop_assert!(value.is_none_or(f64::is_finite));
        }
    }
}
