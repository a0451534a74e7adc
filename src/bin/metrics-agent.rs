//! `metrics-agent`: the daemon. Parses its arguments, calls the library, chooses the exit
//! status.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use metrics_agent::agent::arguments::Arguments;
use metrics_agent::agent::settings;
use metrics_agent::agent::settings::print::Running;
use metrics_agent::agent::settings::{Inputs, KeyPolicy};
use metrics_agent::agent::start;
use metrics_agent::base::exit::{EXIT_CONFIG, EXIT_UNAVAILABLE};
use metrics_agent::base::terminal;
use metrics_agent::config::service::{Service, SettingsFile};
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

/// `--check-config` and `--print-config`. Root asks for the service: with that user's rights,
/// but for a file of settings that is named, which may be a draft, and with the options of the
/// unit's command, of which those of this run count more.
fn examine(arguments: Arguments) -> ExitCode {
    let print = arguments.print_config;
    let mut service = Service::for_root(SERVICE, UNIT);
    let units = service
        .as_mut()
        .and_then(|service| service.command_line(Arguments::of_unit));
    let (units_file, units_collector) = units
        .map(|units| (units.config, units.collector))
        .unwrap_or_default();
    let file = SettingsFile::of(arguments.config, units_file);
    let unit = arguments.collector.is_none().then_some(SERVICE);
    let mut inputs = sources_of(arguments.collector.or(units_collector), &file);
    inputs.command_line.unit = unit;
    let inputs = match &service {
        Some(service) => inputs.seen_by(service),
        None => inputs,
    };
    let read = match Service::reading(service.as_ref(), &file, || settings::read(&inputs)) {
        Ok(read) => read,
        Err(error) => {
            complain(&format_args!("cannot give up root's rights: {error}"));
            return EXIT_UNAVAILABLE.into();
        }
    };
    let loaded = read.and_then(|layers| layers.load(&inputs, KeyPolicy::ReadOnly));
    let on_system_bus = loaded
        .as_ref()
        .is_ok_and(|loaded| loaded.settings.bus == BusAddress::System);
    let obstacles = service
        .iter()
        .flat_map(|service| service.obstacles(on_system_bus));
    let cannot_start = obstacles.map(|obstacle| complain(obstacle)).count() > 0;
    match loaded {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                complain(warning);
            }
            if cannot_start && !print {
                return EXIT_CONFIG.into();
            }
            let text = if print {
                let running = running(&loaded.settings.bus);
                let beside = running
                    .map(|running| settings::print::compared(&loaded, &running, service.is_some()));
                beside.unwrap_or_default() + &settings::print::effective(&loaded)
            } else {
                String::from("The configuration is valid.\n")
            };
            // A reader that has gone (`| head`) needs no complaint.
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            for problem in error.problems() {
                complain(problem);
            }
            if let Some(service) = &service {
                complain(&format_args!("this was checked as {service}"));
            }
            EXIT_CONFIG.into()
        }
    }
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

fn complain(problem: &dyn std::fmt::Display) {
    terminal::complain("metrics-agent", problem);
}
