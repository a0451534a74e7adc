//! What is shown, and the position in it. Pure: commands in, state out.

use std::sync::Arc;

use super::input::{Command, Mode};
use super::model::Host;
use super::sort::Column;

/// Maximum characters of a filter: a host's name has no more.
const MAX_FILTER: usize = 255;

/// What units of one host are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnitOrder {
    /// CPU time.
    #[default]
    Cpu,
    /// Memory.
    Memory,
    /// Name.
    Name,
}

/// The view of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostView {
    /// Which.
    pub name: Arc<str>,
    /// The first line that is shown.
    pub scroll: usize,
}

/// What the caller has to do after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Stay,
    /// The end.
    Quit,
    /// A stop.
    Suspend,
    /// Draw everything again.
    Redraw,
    /// An attempt to connect.
    Retry,
}

/// What is shown.
#[derive(Clone, Debug)]
pub struct App {
    /// The column that the table is sorted by.
    pub sort: Column,
    /// True if the order is reversed.
    pub reversed: bool,
    /// A part of the names that are shown.
    pub filter: String,
    /// Set while the filter is being typed: what it was before.
    pub before: Option<String>,
    /// The selected row, by its host; None for the first row, whichever host that is.
    pub selected: Option<Arc<str>>,
    /// Where that is.
    pub cursor: usize,
    /// The first row that is shown.
    pub offset: usize,
    /// The host that is viewed.
    pub look: Option<HostView>,
    /// What its units are sorted by.
    pub units: UnitOrder,
    /// The first line of the keys that is shown, where they are.
    pub help: Option<usize>,
    /// How many rows or lines the screen has room for.
    page: usize,
}

impl App {
    /// The table, sorted and filtered like this.
    #[must_use]
    pub fn new(sort: Column, filter: &str) -> Self {
        Self {
            sort,
            reversed: false,
            filter: filter.to_owned(),
            before: None,
            selected: None,
            cursor: 0,
            offset: 0,
            look: None,
            units: UnitOrder::default(),
            help: None,
            page: 1,
        }
    }

    /// The current mode.
    #[must_use]
    pub fn mode(&self) -> Mode {
        if self.help.is_some() {
            Mode::Help
        } else if self.before.is_some() {
            Mode::Filter
        } else if self.look.is_some() {
            Mode::Host
        } else {
            Mode::Fleet
        }
    }

    /// The host that is viewed, or that of the selected row.
    #[must_use]
    pub fn focus<'a>(&'a self, rows: &[&'a Host]) -> Option<&'a Arc<str>> {
        match &self.look {
            Some(look) => Some(&look.name),
            None => rows.get(self.cursor).map(|host| &host.name),
        }
    }

    /// Finds the selected row among the current ones; there is room for `page` of them.
    pub fn settle_rows(&mut self, rows: &[&Host], page: usize) {
        self.page = page.max(1);
        let last = rows.len().saturating_sub(1);
        self.cursor = match &self.selected {
            None => 0,
            Some(name) => rows
                .iter()
                .position(|host| host.name == *name)
                // It has gone: select the row that is there now.
                .unwrap_or(self.cursor.min(last)),
        };
        self.show_cursor(rows.len());
    }

    /// The same, with the room of the last time.
    pub fn resettle(&mut self, rows: &[&Host]) {
        if self.look.is_none() {
            self.settle_rows(rows, self.page);
        }
    }

    /// Limits the scroll position to `lines`, with room for `page`.
    pub fn settle_lines(&mut self, lines: usize, page: usize) {
        self.page = page.max(1);
        let last = lines.saturating_sub(self.page);
        if let Some(scroll) = self.scroll() {
            *scroll = (*scroll).min(last);
        }
    }

    /// The scroll position of the keys or of a host.
    fn scroll(&mut self) -> Option<&mut usize> {
        let look = self.look.as_mut().map(|look| &mut look.scroll);
        self.help.as_mut().or(look)
    }

    fn show_cursor(&mut self, rows: usize) {
        self.offset = self
            .offset
            .min(rows.saturating_sub(self.page))
            .min(self.cursor)
            .max((self.cursor + 1).saturating_sub(self.page));
    }

    /// Executes a command.
    pub fn obey(&mut self, command: Command, rows: &[&Host]) -> Outcome {
        match command {
            Command::Quit => return Outcome::Quit,
            Command::Suspend => return Outcome::Suspend,
            Command::Redraw => return Outcome::Redraw,
            Command::Retry => return Outcome::Retry,
            Command::Help => {
                self.help = match self.help {
                    Some(_) => None,
                    None => Some(0),
                }
            }
            Command::Back => return self.back(),
            Command::Move(by) => self.travel(by, rows),
            Command::Page(by) => {
                let page = isize::try_from(self.page).unwrap_or(1).max(2) - 1;
                self.travel(by * page, rows);
            }
            Command::First => self.travel(isize::MIN, rows),
            Command::Last => self.travel(isize::MAX, rows),
            Command::Open => {
                self.look = rows.get(self.cursor).map(|host| HostView {
                    name: Arc::clone(&host.name),
                    scroll: 0,
                });
                // It is selected on the way back.
                self.selected = self.look.as_ref().map(|look| Arc::clone(&look.name));
            }
            Command::Sort(column) if self.look.is_some() => self.sort_units(column),
            Command::SortNeighbour(_) if self.look.is_some() => {
                self.units = match self.units {
                    UnitOrder::Cpu => UnitOrder::Memory,
                    UnitOrder::Memory => UnitOrder::Name,
                    UnitOrder::Name => UnitOrder::Cpu,
                };
            }
            Command::Sort(column) => self.sort_by(column),
            Command::SortNeighbour(forward) => self.sort_by(self.sort.neighbour(forward)),
            Command::Reverse => self.reversed = !self.reversed,
            Command::Filter => {
                self.look = None;
                self.before = Some(self.filter.clone());
            }
            Command::Type(letter) => {
                if self.filter.chars().count() < MAX_FILTER {
                    self.filter.push(letter);
                }
            }
            Command::Erase => {
                self.filter.pop();
            }
            Command::EraseAll => self.filter.clear(),
            Command::Accept => self.before = None,
        }
        Outcome::Stay
    }

    fn back(&mut self) -> Outcome {
        if let Some(before) = self.before.take() {
            self.filter = before;
        } else if self.look.is_some() {
            self.look = None;
        } else {
            // Only `q` ends the program: pressing this key once too often must not.
            self.filter.clear();
        }
        Outcome::Stay
    }

    fn sort_by(&mut self, column: Column) {
        if self.sort == column {
            self.reversed = !self.reversed;
        } else {
            self.sort = column;
            self.reversed = false;
        }
    }

    fn sort_units(&mut self, column: Column) {
        match column {
            Column::Cpu => self.units = UnitOrder::Cpu,
            Column::Memory => self.units = UnitOrder::Memory,
            Column::Name => self.units = UnitOrder::Name,
            _ => {}
        }
    }

    fn travel(&mut self, by: isize, rows: &[&Host]) {
        if let Some(scroll) = self.scroll() {
            *scroll = scroll.saturating_add_signed(by);
            return;
        }
        let last = rows.len().saturating_sub(1);
        self.cursor = self.cursor.saturating_add_signed(by).min(last);
        // At the top, the first row stays selected, whichever host that is.
        let selected = (self.cursor > 0).then(|| rows.get(self.cursor)).flatten();
        self.selected = selected.map(|host| Arc::clone(&host.name));
        self.show_cursor(rows.len());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::protocol::message::GridKind;
    use crate::top::model::Fleet;
    use crate::top::sort::sorted;

    struct World {
        fleet: Fleet,
        app: App,
        now: Instant,
    }

    impl World {
        fn new(hosts: usize) -> Self {
            let now = Instant::now();
            let mut fleet = Fleet::default();
            for number in 0..hosts {
                let name = format!("h{number:02}");
                fleet.take(now, &name, GridKind::Model, b"{}").unwrap();
            }
            let app = App::new(Column::Name, "");
            let mut world = Self { fleet, app, now };
            world.obey(Command::EraseAll);
            world
        }

        fn obey(&mut self, command: Command) -> Outcome {
            let app = &self.app;
            let rows = sorted(
                self.fleet.hosts(),
                &app.filter,
                app.sort,
                app.reversed,
                self.now,
            );
            let outcome = self.app.obey(command, &rows);
            let app = &self.app;
            let rows = sorted(
                self.fleet.hosts(),
                &app.filter,
                app.sort,
                app.reversed,
                self.now,
            );
            self.app.settle_rows(&rows, 5);
            outcome
        }

        fn at(&self) -> (Option<&str>, usize, usize) {
            (
                self.app.selected.as_deref(),
                self.app.cursor,
                self.app.offset,
            )
        }
    }

    #[test]
    fn one_moves_over_the_rows_and_stays_in_sight() {
        let mut world = World::new(20);
        assert_eq!(world.at(), (None, 0, 0));
        world.obey(Command::Move(-1));
        assert_eq!(world.at(), (None, 0, 0));
        world.obey(Command::Move(1));
        assert_eq!(world.at(), (Some("h01"), 1, 0));
        world.obey(Command::Page(1));
        assert_eq!(world.at(), (Some("h05"), 5, 1));
        world.obey(Command::Last);
        assert_eq!(world.at(), (Some("h19"), 19, 15));
        world.obey(Command::Page(-1));
        assert_eq!(world.at(), (Some("h15"), 15, 15));
        world.obey(Command::First);
        assert_eq!(world.at(), (None, 0, 0));
    }

    #[test]
    fn one_stays_with_a_host_while_rows_move() {
        let mut world = World::new(20);
        world.obey(Command::Move(2));
        world.obey(Command::Reverse);
        assert_eq!(world.at(), (Some("h02"), 17, 13));
        // Filtered away: where it was.
        for letter in ['h', '0'] {
            world.obey(Command::Type(letter));
        }
        assert_eq!(world.at(), (Some("h02"), 7, 5));
        world.obey(Command::EraseAll);
        world.obey(Command::Type('9'));
        assert_eq!(world.app.cursor, 1);
    }

    #[test]
    fn back_goes_one_step_each_time() {
        let mut world = World::new(3);
        world.obey(Command::Filter);
        world.obey(Command::Type('h'));
        world.obey(Command::Accept);
        world.obey(Command::Open);
        assert_eq!(world.app.mode(), Mode::Host);
        world.obey(Command::Help);
        assert_eq!(world.app.mode(), Mode::Help);
        world.obey(Command::Help);
        assert_eq!(world.obey(Command::Back), Outcome::Stay);
        assert_eq!(world.app.mode(), Mode::Fleet);
        assert_eq!(world.obey(Command::Back), Outcome::Stay);
        assert_eq!(world.app.filter, "");
        assert_eq!(world.obey(Command::Back), Outcome::Stay);
        assert_eq!(world.app.mode(), Mode::Fleet);
        assert_eq!(world.obey(Command::Quit), Outcome::Quit);
    }

    #[test]
    fn a_filter_that_is_given_up_is_the_one_before() {
        let mut world = World::new(3);
        world.app.filter = "h0".to_owned();
        world.obey(Command::Filter);
        assert_eq!(world.app.mode(), Mode::Filter);
        world.obey(Command::Erase);
        world.obey(Command::Type('x'));
        assert_eq!(world.app.filter, "hx");
        world.obey(Command::Back);
        assert_eq!((world.app.mode(), &*world.app.filter), (Mode::Fleet, "h0"));
    }

    #[test]
    fn the_same_column_again_turns_round() {
        let mut world = World::new(1);
        world.obey(Command::Sort(Column::Cpu));
        assert_eq!((world.app.sort, world.app.reversed), (Column::Cpu, false));
        world.obey(Command::Sort(Column::Cpu));
        assert!(world.app.reversed);
        world.obey(Command::SortNeighbour(true));
        assert_eq!(
            (world.app.sort, world.app.reversed),
            (Column::Memory, false)
        );
        world.obey(Command::Open);
        world.obey(Command::Sort(Column::Memory));
        assert_eq!(world.app.units, UnitOrder::Memory);
        assert_eq!(world.app.sort, Column::Memory);
        world.obey(Command::SortNeighbour(true));
        assert_eq!(world.app.units, UnitOrder::Name);
    }

    #[test]
    fn a_look_scrolls_as_far_as_there_is_something() {
        let mut world = World::new(1);
        world.obey(Command::Open);
        world.obey(Command::Last);
        world.app.settle_lines(30, 10);
        assert_eq!(world.app.look.as_ref().unwrap().scroll, 20);
        world.obey(Command::Move(-1));
        world.app.settle_lines(30, 10);
        assert_eq!(world.app.look.as_ref().unwrap().scroll, 19);
        world.app.settle_lines(5, 10);
        assert_eq!(world.app.look.as_ref().unwrap().scroll, 0);
    }
}
