//! Whose turn it is to work on an answer: one at a time, and those of known connections first.

use crate::base::monitor::Monitor;

/// One works, and the others wait.
#[derive(Debug, Default)]
pub(super) struct Turn(Monitor<State>);

#[derive(Debug, Default)]
struct State {
    taken: bool,
    /// How many of known connections wait.
    known: usize,
}

/// A turn; it ends with the value.
#[derive(Debug)]
pub(super) struct Taken<'a>(&'a Turn);

impl Turn {
    /// Waits for a turn. It is short, and a thread's.
    pub(super) fn take(&self, known: bool) -> Taken<'_> {
        let mut state = self.0.lock();
        state.known += usize::from(known);
        let waits = |state: &mut State| state.taken || (!known && state.known > 0);
        state = self.0.wait_while(state, waits);
        state.known -= usize::from(known);
        state.taken = true;
        Taken(self)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.0.0.lock().taken = false;
        self.0.0.notify();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};
    use std::thread;

    use super::*;

    #[test]
    fn known_ones_come_first() {
        let turn = Arc::new(Turn::default());
        let first = turn.take(false);
        let (sender, order) = mpsc::channel();
        let start = |known| {
            let (turn, sender) = (Arc::clone(&turn), sender.clone());
            thread::spawn(move || {
                let _turn = turn.take(known);
                sender.send(known).unwrap();
            })
        };
        let new = [start(false), start(false)];
        let known = start(true);
        while turn.0.lock().known == 0 {
            thread::yield_now();
        }
        drop(first);
        for thread in new.into_iter().chain([known]) {
            thread.join().unwrap();
        }
        drop(sender);
        assert_eq!(order.iter().collect::<Vec<_>>(), [true, false, false]);
    }
}
