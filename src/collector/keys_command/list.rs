//! `keys list`: on the terminal, in a pager, or as JSON.

use clap::Args;

use super::overview::Overview;
use super::{Failure, Site, print, warn};
use crate::base::{pager, terminal, text};
use crate::collector::access::Listener;

/// How the list is shown.
#[derive(Debug, Args)]
pub(super) struct Form {
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Show all columns and whole names, also where they are wider than the terminal.
    #[arg(long, short = 'l')]
    full: bool,
    /// Do not pipe output into a pager.
    #[arg(long)]
    no_pager: bool,
}

impl Site {
    pub(super) fn list(&self, form: &Form) -> Result<(), Failure> {
        self.refresh();
        let known = self.keys()?;
        let listed = Listener::ALL.map(|listener| (listener, self.directories(listener).files()));
        let pins = self.state.pins()?;
        if known.is_none() {
            // A run by hand has a state of its own; it is the service's that is asked for where
            // there is none.
            let failure = match self.unseen_service() {
                Some(path) => Failure::NotReadable(text::path(&path)),
                None => Failure::NoRecord(text::path(&self.state.keys_file())),
            };
            if listed.iter().all(|(_, files)| files.is_empty()) {
                return Err(failure);
            }
            warn(&failure);
        }
        let overview = Overview::new(known.as_ref(), &listed, &pins);
        if form.json {
            return print(&overview.json());
        }
        let on_terminal = terminal::on_terminal();
        let columns = (on_terminal && !form.full).then(terminal::width);
        let table = overview.table(columns);
        if on_terminal && !form.no_pager && !terminal::dumb(terminal::environment) {
            pager::show(&table).map_err(Failure::Print)
        } else {
            print(&table)
        }
    }
}
