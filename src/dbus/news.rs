//! What a program has to announce on the bus, one thing after the other: for both daemons, whose
//! services differ in what they make of it.

use std::sync::Arc;

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::name::{Ended, Held};

/// A program's changes, and its state.
pub(crate) struct News<S, C> {
    changes: broadcast::Receiver<C>,
    states: watch::Receiver<Arc<S>>,
}

/// What comes next.
pub(crate) enum Next<S, C> {
    /// A change, which came before the state that it led to.
    Change(C),
    /// So many changes are lost, as the bus is slow.
    Lost(u64),
    /// Another state.
    State(Arc<S>),
    /// The bus, the name or the program is gone. The last state of the program came before.
    End(Ended),
}

impl<S, C: Clone> News<S, C> {
    /// News from now on, and the state now.
    pub(crate) fn new(
        changes: broadcast::Receiver<C>,
        mut states: watch::Receiver<Arc<S>>,
    ) -> (Self, Arc<S>) {
        // The changes are older, so that none is missed in between.
        let state = Arc::clone(&states.borrow_and_update());
        (Self { changes, states }, state)
    }

    /// Waits for what comes next. Cancel safe.
    pub(crate) async fn next(&mut self, held: &mut Held) -> Next<S, C> {
        tokio::select! {
            // Changes first: listeners hear why before they hear what.
            biased;
            change = self.changes.recv() => match change {
                Ok(change) => Next::Change(change),
                Err(RecvError::Lagged(lost)) => Next::Lost(lost),
                Err(RecvError::Closed) => Next::End(Ended::ProgramGone),
            },
            state = self.states.changed() => match state {
                Ok(()) => Next::State(Arc::clone(&self.states.borrow_and_update())),
                Err(_) => Next::End(Ended::ProgramGone),
            },
            lost = held.lost() => Next::End(lost),
        }
    }
}
