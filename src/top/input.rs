//! What keys mean. Pure: a key and the mode in, a command out.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::sort::Column;

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// End.
    Quit,
    /// Stop, as Ctrl-Z does.
    Suspend,
    /// Draw everything again.
    Redraw,
    /// Try to connect at once.
    Retry,
    /// Go back one step.
    Back,
    /// Move by so many rows, up where negative.
    Move(isize),
    /// Move by so many pages.
    Page(isize),
    /// To the first row.
    First,
    /// To the last row.
    Last,
    /// Look at the host.
    Open,
    /// Sort by this column.
    Sort(Column),
    /// Sort by the next column, or the one before.
    SortNeighbour(bool),
    /// Turn the order round.
    Reverse,
    /// Begin to type a filter.
    Filter,
    /// One more character of it.
    Type(char),
    /// One less.
    Erase,
    /// None of them.
    EraseAll,
    /// It is complete.
    Accept,
    /// Show the keys, or do not.
    Help,
}

/// The current mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The table of hosts.
    Fleet,
    /// One host.
    Host,
    /// Typing a filter.
    Filter,
    /// The list of keys.
    Help,
}

/// What this key means in this mode, if anything.
#[must_use]
pub fn command(key: KeyEvent, mode: Mode) -> Option<Command> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if let (true, KeyCode::Char(letter)) = (control, key.code) {
        return match (letter.to_ascii_lowercase(), mode) {
            ('c', _) => Some(Command::Quit),
            ('z', _) => Some(Command::Suspend),
            ('l', _) => Some(Command::Redraw),
            ('u', Mode::Filter) => Some(Command::EraseAll),
            ('h', Mode::Filter) => Some(Command::Erase),
            ('u' | 'b', Mode::Fleet | Mode::Host | Mode::Help) => Some(Command::Page(-1)),
            ('d' | 'f', Mode::Fleet | Mode::Host | Mode::Help) => Some(Command::Page(1)),
            _ => None,
        };
    }
    match mode {
        Mode::Filter => in_filter(key.code),
        Mode::Help => match in_view(key.code, mode) {
            Some(
                command @ (Command::Quit
                | Command::Move(_)
                | Command::Page(_)
                | Command::First
                | Command::Last),
            ) => Some(command),
            _ => Some(Command::Help),
        },
        Mode::Fleet | Mode::Host => in_view(key.code, mode),
    }
}

fn in_filter(code: KeyCode) -> Option<Command> {
    match code {
        KeyCode::Enter | KeyCode::Tab => Some(Command::Accept),
        KeyCode::Esc => Some(Command::Back),
        KeyCode::Backspace => Some(Command::Erase),
        KeyCode::Up => Some(Command::Move(-1)),
        KeyCode::Down => Some(Command::Move(1)),
        KeyCode::PageUp => Some(Command::Page(-1)),
        KeyCode::PageDown => Some(Command::Page(1)),
        KeyCode::Char(letter) if !letter.is_control() => Some(Command::Type(letter)),
        _ => None,
    }
}

fn in_view(code: KeyCode, mode: Mode) -> Option<Command> {
    let command = match code {
        KeyCode::Char('q') => Command::Quit,
        KeyCode::Esc | KeyCode::Backspace => Command::Back,
        KeyCode::Left | KeyCode::Char('h') if mode == Mode::Host => Command::Back,
        KeyCode::Up | KeyCode::Char('k') => Command::Move(-1),
        KeyCode::Down | KeyCode::Char('j') => Command::Move(1),
        KeyCode::PageUp => Command::Page(-1),
        KeyCode::PageDown | KeyCode::Char(' ') => Command::Page(1),
        KeyCode::Home | KeyCode::Char('g') => Command::First,
        KeyCode::End | KeyCode::Char('G') => Command::Last,
        KeyCode::Enter | KeyCode::Right if mode == Mode::Fleet => Command::Open,
        KeyCode::Char('<' | ',') => Command::SortNeighbour(false),
        KeyCode::Char('>' | '.') | KeyCode::Tab => Command::SortNeighbour(true),
        KeyCode::Char('r') => Command::Reverse,
        KeyCode::Char('R') => Command::Retry,
        KeyCode::Char('/') => Command::Filter,
        KeyCode::Char('?') | KeyCode::F(1) => Command::Help,
        KeyCode::Char(letter) => Command::Sort(
            Column::ALL
                .into_iter()
                .find(|column| column.key() == letter)?,
        ),
        _ => return None,
    };
    Some(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(code: KeyCode, mode: Mode) -> Option<Command> {
        command(KeyEvent::new(code, KeyModifiers::NONE), mode)
    }

    fn with_control(letter: char, mode: Mode) -> Option<Command> {
        let key = KeyEvent::new(KeyCode::Char(letter), KeyModifiers::CONTROL);
        command(key, mode)
    }

    #[test]
    fn every_mode_can_be_left() {
        for mode in [Mode::Fleet, Mode::Host, Mode::Filter, Mode::Help] {
            assert_eq!(with_control('c', mode), Some(Command::Quit));
            assert_eq!(with_control('z', mode), Some(Command::Suspend));
        }
        assert_eq!(press(KeyCode::Char('q'), Mode::Host), Some(Command::Quit));
        assert_eq!(press(KeyCode::Char('q'), Mode::Help), Some(Command::Quit));
        assert_eq!(press(KeyCode::Esc, Mode::Help), Some(Command::Help));
        assert_eq!(press(KeyCode::Down, Mode::Help), Some(Command::Move(1)));
        assert_eq!(press(KeyCode::Esc, Mode::Filter), Some(Command::Back));
    }

    #[test]
    fn letters_are_typed_into_a_filter_and_sort_elsewhere() {
        let c = KeyCode::Char('c');
        assert_eq!(press(c, Mode::Filter), Some(Command::Type('c')));
        assert_eq!(press(c, Mode::Fleet), Some(Command::Sort(Column::Cpu)));
        assert_eq!(
            press(KeyCode::Char('q'), Mode::Filter),
            Some(Command::Type('q'))
        );
        assert_eq!(press(KeyCode::Char('x'), Mode::Fleet), None);
        assert_eq!(press(KeyCode::Enter, Mode::Fleet), Some(Command::Open));
        assert_eq!(press(KeyCode::Enter, Mode::Host), None);
    }

    #[test]
    fn no_column_has_a_key_that_means_something_else() {
        for column in Column::ALL {
            let key = KeyCode::Char(column.key());
            assert_eq!(press(key, Mode::Fleet), Some(Command::Sort(column)));
            assert_eq!(press(key, Mode::Host), Some(Command::Sort(column)));
        }
    }

    #[test]
    fn a_key_that_is_let_go_means_nothing() {
        let mut key = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        key.kind = KeyEventKind::Release;
        assert_eq!(command(key, Mode::Fleet), None);
    }
}
