//! `metrics-collector`: the other end of the agents' connections. Parses its arguments,
//! calls the library, chooses the exit status.

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser as _;
use metrics_agent::base::exit::EXIT_CONFIG;
use metrics_agent::base::{terminal, text};
use metrics_agent::collector::access::directory::no_key_in;
use metrics_agent::collector::access::{Authorized, ListPlaces, Listener, check_pins};
use metrics_agent::collector::arguments::{Arguments, Command};
use metrics_agent::collector::hosts_command;
use metrics_agent::collector::keys::Found;
use metrics_agent::collector::keys_command;
use metrics_agent::collector::listening;
use metrics_agent::collector::public_key::{self, Absence, Answer};
use metrics_agent::collector::settings::{self, Given, Inputs, Loaded};
use metrics_agent::collector::start;
use metrics_agent::config::service::{Check, Service, SettingsFile, UnitNetwork};
use metrics_agent::dbus::BusAddress;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(Command::Keys(arguments)) = &arguments.command {
        return match keys_command::run(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                complain(&failure);
                failure.status().into()
            }
        };
    }
    if let Some(Command::Hosts(arguments)) = &arguments.command {
        return match hosts_command::run(arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => {
                complain(&failure);
                failure.status().into()
            }
        };
    }
    if let Some(Command::CompleteNames(wanted)) = &arguments.command {
        let _ = keys_command::complete(wanted);
        return ExitCode::SUCCESS;
    }
    if arguments.check_config || arguments.print_config || arguments.public_key {
        return examine(arguments);
    }
    let inputs = || {
        let file = SettingsFile::of(arguments.config.clone(), None);
        sources_of(arguments.given(), &file)
    };
    let state = |inputs: &Inputs| inputs.places.state.clone();
    start::daemon().run(inputs, state, |early_signals, inputs, log| {
        start::run(early_signals, inputs, arguments.print, &log)
    })
}

/// Where settings come from.
fn sources_of(given: Vec<Given>, file: &SettingsFile) -> Inputs {
    let mut inputs = Inputs::of_process();
    inputs.config_file = file.path().map(Path::to_owned);
    inputs.command_line = given;
    inputs
}

const PROGRAM: &str = "metrics-collector";

/// The service, and its unit as it is shipped.
const SERVICE: &str = "metrics-collector.service";
const UNIT: &str = include_str!("../../systemd/metrics-collector.service");

/// `--check-config`, `--print-config` and `--public-key`.
fn examine(arguments: Arguments) -> ExitCode {
    let mut check = Check::new(PROGRAM, SERVICE, UNIT);
    let is_root = rustix::process::geteuid().is_root();
    let units = check.command_line(Arguments::of_unit);
    let mut given = units.as_ref().map(Arguments::given).unwrap_or_default();
    for one in &mut given {
        one.unit = Some(SERVICE);
    }
    given.extend(arguments.given());
    let named = arguments.config.is_some() || arguments.names_a_key_file();
    let file = SettingsFile::of(arguments.config, units.and_then(|units| units.config));
    let inputs = sources_of(given, &file);
    let inputs = match check.service() {
        Some(service) => inputs.seen_by(service),
        None => inputs,
    };
    let files = settings::files(&inputs);
    let read = match check.read(&file, &files, || settings::read(&inputs)) {
        Ok(read) => read,
        Err(status) => return status,
    };
    let loaded = read.and_then(|layers| layers.load(&inputs));
    if arguments.public_key {
        let on_system_bus =
            matches!(&loaded, Ok(loaded) if loaded.settings.bus == BusAddress::System);
        let of_unit = check.obstacles(on_system_bus).filter(|_| !named);
        let obstacles: Vec<_> = of_unit.map(ToString::to_string).collect();
        let sees_unit = check.service().is_some();
        let (answer, absence) = public_key::answer(loaded, !named, is_root, sees_unit);
        return print_public_key(answer, absence, &check, &obstacles);
    }
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return check.refuse(&error),
    };
    for warning in &loaded.warnings {
        complain(warning);
    }
    let on_system_bus = loaded.settings.bus == BusAddress::System;
    if check.cannot_start(on_system_bus) && arguments.check_config {
        return EXIT_CONFIG.into();
    }
    let state = inputs.places.state.as_deref();
    if arguments.check_config
        && loaded.settings.access.pin_names
        && let Err(error) = check_pins(state, &inputs.sight)
    {
        complain(&error);
        return EXIT_CONFIG.into();
    }
    if let Found::Nowhere { unseen, .. } = &loaded.keys {
        for directory in unseen {
            let directory = directory.display();
            complain(&format_args!(
                "cannot read {directory}: a key there is not used"
            ));
        }
    }
    for problem in ListPlaces::of_state(state).problems() {
        complain(&problem);
    }
    check.print(&if arguments.print_config {
        settings::print::effective(&loaded)
    } else {
        if tell_where_it_cannot_listen(&loaded, state, check.service()) {
            return EXIT_CONFIG.into();
        }
        tell_who_is_shut_out(&loaded, state);
        String::from("The configuration is valid.\n")
    });
    ExitCode::SUCCESS
}

fn print_public_key(
    answer: Answer,
    absence: Option<Absence>,
    check: &Check,
    obstacles: &[String],
) -> ExitCode {
    let of = absence.unwrap_or(Absence::NotRunning);
    if of != Absence::NotRunning && matches!(answer, Answer::Kept(_) | Answer::NoneYet) {
        complain(&format_args!(
            "cannot tell the key of {of}; that of the files counts from its next start on"
        ));
    }
    // Of one that runs and of wrong settings they are said below.
    if !matches!(answer, Answer::Running(..) | Answer::Unknown(_)) {
        for obstacle in obstacles {
            complain(obstacle);
        }
    }
    let key = match answer {
        Answer::Unknown(error) => return check.refuse(&error),
        Answer::Unseen(directory) => {
            complain(&format_args!(
                "cannot tell the key of {of}: only root can say what is in {}; ask as root: \
                 `sudo metrics-collector --public-key`",
                text::path(&directory)
            ));
            return ExitCode::FAILURE;
        }
        Answer::OnlyTheServices(path) => {
            complain(&format_args!(
                "cannot tell the key of {of}: only the service will see {}; start it and ask again",
                text::path(&path)
            ));
            return ExitCode::FAILURE;
        }
        Answer::NoneYet => {
            complain(&"there is no key pair yet: the collector makes one at its first start");
            return ExitCode::FAILURE;
        }
        Answer::Running(key, next) => {
            for word in next.words(obstacles) {
                complain(&word);
            }
            key
        }
        Answer::Kept(key) => key,
    };
    check.print(&format!("{key}\n"));
    ExitCode::SUCCESS
}

/// A start that listens tries itself; a service that runs listens already. Returns true if no start
/// could listen.
fn tell_where_it_cannot_listen(
    loaded: &Loaded,
    state: Option<&Path>,
    service: Option<&Service>,
) -> bool {
    let network = service.map(Service::network);
    if let Some(property) = network.and_then(UnitNetwork::elsewhere) {
        complain(&format_args!(
            "{SERVICE}: not checked: whether its addresses are free, as {property}= gives it a \
             network of its own"
        ));
    }
    let mut lasts = false;
    for doubt in listening::doubts(loaded, state, network) {
        complain(&doubt);
        lasts |= doubt.lasts();
    }
    lasts
}

/// What closing the listener would cost.
fn tell_who_is_shut_out(loaded: &Loaded, state: Option<&Path>) {
    match keys_command::unlisted(&loaded.settings, state) {
        Ok(Some(shut_out)) if shut_out.keys > 0 => complain(&format_args!(
            "{shut_out}; what is not listed is refused once these settings are in force. \
             `metrics-collector keys allow --reporting` lets all of them in"
        )),
        Ok(_) => tell_if_no_agent_is_listed(loaded, state),
        Err(failure) => complain(&format_args!(
            "which keys report now and are not listed is not known: {failure}"
        )),
    }
}

/// Warns of a list that lets no agent in; the start says the same.
fn tell_if_no_agent_is_listed(loaded: &Loaded, state: Option<&Path>) {
    let by_list = loaded.settings.access.authorized == Authorized::Directory;
    let directories = ListPlaces::of_state(state).without_keys(Listener::Agents);
    if let Some(directories) = directories.filter(|_| by_list) {
        let no_key = no_key_in(&directories);
        complain(&format_args!(
            "no agent is let in, as {no_key}; `metrics-collector keys list` shows who came, \
             `metrics-collector keys allow` lets one in"
        ));
    }
}

fn complain(problem: &dyn Display) {
    terminal::complain(PROGRAM, problem);
}
