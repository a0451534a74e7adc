//! `metrics-agent`: the daemon. Parses its arguments, calls the library, chooses the exit
//! status.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use metrics_agent::agent::arguments::Arguments;
use metrics_agent::agent::settings;
use metrics_agent::agent::settings::print::Running;
use metrics_agent::agent::settings::{Inputs, KeyPolicy};
use metrics_agent::agent::start;
use metrics_agent::base::exit::EXIT_CONFIG;
use metrics_agent::config::service::{Check, SettingsFile};
use metrics_agent::dbus::Bus;
use metrics_agent::dbus::BusAddress;
use metrics_agent::sources;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.check_config || arguments.print_config {
        return examine(arguments);
    }
    let state = |inputs: &Inputs| inputs.state_directory.clone();
    let inputs = || {
        let file = SettingsFile::of(arguments.config, None);
        sources_of(arguments.collector, &file)
    };
    start::daemon().run(inputs, state, start::run)
}

/// Where settings come from.
fn sources_of(collector: Option<String>, file: &SettingsFile) -> Inputs {
    let known: Vec<_> = sources::names().collect();
    let mut inputs = Inputs::from_environment(&known, &sources::default_names());
    inputs.config_file = file.path().map(Path::to_owned);
    inputs.command_line.collector = collector;
    inputs
}

/// The service, and its unit as it is shipped.
const SERVICE: &str = "metrics-agent.service";
const UNIT: &str = include_str!("../../systemd/metrics-agent.service");

/// `--check-config` and `--print-config`.
fn examine(arguments: Arguments) -> ExitCode {
    let mut check = Check::new("metrics-agent", SERVICE, UNIT);
    let units = check.command_line(Arguments::of_unit);
    let (units_file, units_collector) = units
        .map(|units| (units.config, units.collector))
        .unwrap_or_default();
    let file = SettingsFile::of(arguments.config, units_file);
    let unit = arguments.collector.is_none().then_some(SERVICE);
    let mut inputs = sources_of(arguments.collector.or(units_collector), &file);
    inputs.command_line.unit = unit;
    let inputs = match check.service() {
        Some(service) => inputs.seen_by(service),
        None => inputs,
    };
    let files = settings::files(&inputs);
    let read = match check.read(&file, &files, || settings::read(&inputs)) {
        Ok(read) => read,
        Err(status) => return status,
    };
    let loaded = match read.and_then(|layers| layers.load(&inputs, KeyPolicy::ReadOnly)) {
        Ok(loaded) => loaded,
        Err(error) => return check.refuse(&error),
    };
    let on_system_bus = loaded.settings.bus == BusAddress::System;
    let cannot_start = check.cannot_start(on_system_bus);
    for warning in &loaded.warnings {
        check.complain(warning);
    }
    if cannot_start && arguments.check_config {
        return EXIT_CONFIG.into();
    }
    check.print(&if arguments.print_config {
        let running = running(&loaded.settings.bus);
        let by_service = check.service().is_some();
        let beside =
            running.map(|running| settings::print::compared(&loaded, &running, by_service));
        beside.unwrap_or_default() + &settings::print::effective(&loaded)
    } else {
        String::from("The configuration is valid.\n")
    });
    ExitCode::SUCCESS
}

/// What the agent on this bus has in force, where there is one.
fn running(bus: &BusAddress) -> Option<Running> {
    let bus = Bus::of(bus)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    runtime.block_on(metrics_agent::agent::bus::running::ask(&bus))
}
