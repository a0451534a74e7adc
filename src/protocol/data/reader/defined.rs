//! What was defined on a connection, held together with all connections that have defined the same.
//!
//! Agents of one version on hosts of one kind define the same series under the same ids. Who changes what
//! others hold has a copy of its own from then on. Knows no names: who keeps them finds what is the same.

use std::sync::Arc;

use super::ids::Table;

/// What one look whether others have the same costs, where each message earns 1: a look, and a copy after it,
/// cost as much as some messages where an agent has as many series as it may.
const LOOK: u8 = 4;

/// What an agent may have earned at most, and begins with: a definition now and then costs it nothing.
const MOST_EARNED: u8 = 8 * LOOK;

/// Series and schemas by their ids.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Defined<S, T> {
    pub(super) series: Table<S>,
    pub(super) schemas: Table<Arc<Kept<T>>>,
    /// How many series all schemas name.
    pub(super) named: usize,
}

/// A schema that was defined on a connection.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Kept<T> {
    /// What the collector keeps of it.
    pub kept: T,
    pub(super) series: Box<[u32]>,
}

impl<S, T> Defined<S, T> {
    /// Gives back the room that is left for more.
    pub fn shrink(&mut self) {
        self.series.entries.shrink_to_fit();
        self.schemas.entries.shrink_to_fit();
    }
}

impl<S, T> Default for Defined<S, T> {
    fn default() -> Self {
        Self {
            series: Table::default(),
            schemas: Table::default(),
            named: 0,
        }
    }
}

impl<S: Clone, T> Clone for Defined<S, T> {
    fn clone(&self) -> Self {
        Self {
            series: self.series.clone(),
            schemas: self.schemas.clone(),
            named: self.named,
        }
    }
}

/// The part that one connection has in it.
#[derive(Debug)]
pub(super) struct Held<S, T> {
    defined: Option<Arc<Defined<S, T>>>,
    /// Something was defined since it was looked whether others have the same.
    is_new: bool,
    earned: u8,
}

impl<S, T> Default for Held<S, T> {
    fn default() -> Self {
        Self {
            defined: None,
            is_new: false,
            earned: MOST_EARNED,
        }
    }
}

impl<S: Clone, T> Held<S, T> {
    /// What is defined; None before anything is.
    pub(super) fn get(&self) -> Option<&Defined<S, T>> {
        self.defined.as_deref()
    }

    /// The same, to be changed for this connection alone.
    pub(super) fn change(&mut self) -> &mut Defined<S, T> {
        self.is_new = true;
        Arc::make_mut(self.defined.get_or_insert_default())
    }

    /// A message was read: `share` may put in its place what others hold and is the same.
    pub(super) fn settle(&mut self, share: impl FnOnce(&mut Arc<Defined<S, T>>)) {
        self.earned = MOST_EARNED.min(self.earned + 1);
        if self.is_new
            && self.earned >= LOOK
            && let Some(defined) = &mut self.defined
        {
            self.earned -= LOOK;
            self.is_new = false;
            share(defined);
        }
    }
}
