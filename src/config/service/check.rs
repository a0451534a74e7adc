//! What the two daemons do alike when they only look at their settings: `--check-config` and its
//! like.

use std::fmt::Display;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use super::{Obstacle, Service, SettingsFile};
use crate::base::exit::{EXIT_CONFIG, EXIT_UNAVAILABLE};
use crate::base::terminal;
use crate::config::ConfigError;
use crate::config::layers::Files;

/// A look at the settings. Root's is that of the service: with its user's rights, but for a file
/// of settings that is named, which may be a draft, and with the options of the unit's command,
/// of which those of this run count more.
#[derive(Debug)]
pub struct Check {
    program: &'static str,
    service: Option<Service>,
}

impl Check {
    /// A look by this program at the settings of its unit, which is shipped with this text.
    #[must_use]
    pub fn new(program: &'static str, unit: &'static str, shipped: &str) -> Self {
        let service = Service::for_root(unit, shipped);
        Self { program, service }
    }

    /// The service that the settings are for; None if a user asks for himself.
    #[must_use]
    pub fn service(&self) -> Option<&Service> {
        self.service.as_ref()
    }

    /// The command line that the unit gives its program: see [`Service::command_line`].
    pub fn command_line<A>(
        &mut self,
        parse: impl FnOnce(&[String], &Path) -> Result<A, String>,
    ) -> Option<A> {
        self.service.as_mut()?.command_line(parse)
    }

    /// Reads the settings with the service's rights: see [`Service::reading`].
    ///
    /// # Errors
    ///
    /// The status to end with, where root's rights cannot be given up.
    pub fn read<T>(
        &self,
        file: &SettingsFile,
        files: &Files,
        read: impl FnOnce() -> Result<T, ConfigError>,
    ) -> Result<Result<T, ConfigError>, ExitCode> {
        Service::reading(self.service(), file, files, read).map_err(|error| {
            self.complain(&format_args!("cannot give up root's rights: {error}"));
            EXIT_UNAVAILABLE.into()
        })
    }

    /// Says what keeps the unit from starting. Returns true if there is such.
    #[must_use]
    pub fn cannot_start(&self, on_system_bus: bool) -> bool {
        let obstacles = self.obstacles(on_system_bus);
        obstacles.map(|obstacle| self.complain(obstacle)).count() > 0
    }

    /// What keeps the unit from starting.
    pub fn obstacles(&self, on_system_bus: bool) -> impl Iterator<Item = &Obstacle> {
        let service = self.service().into_iter();
        service.flat_map(move |service| service.obstacles(on_system_bus))
    }

    /// Says every problem, and as whom they were found. Returns the status to end with.
    #[must_use]
    pub fn refuse(&self, error: &ConfigError) -> ExitCode {
        let _ = self.cannot_start(false);
        for problem in error.problems() {
            self.complain(problem);
        }
        if let Some(service) = self.service() {
            self.complain(&format_args!("this was checked as {service}"));
        }
        EXIT_CONFIG.into()
    }

    /// Writes a line to standard error.
    pub fn complain(&self, problem: &dyn Display) {
        terminal::complain(self.program, problem);
    }

    /// Writes what was asked for. A reader that has gone (`| head`) needs no complaint.
    pub fn print(&self, text: &str) {
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
}
