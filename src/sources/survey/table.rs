//! What a survey knows: what there is to ask, the answers, and what does not answer.
//!
//! Owns what is asked next, and what is not asked: decisions without a clock, a thread or a lock,
//! which the [`Survey`](super::Survey) has around it.

use std::{mem, sync::Arc};

use super::{Listing, Subject, Target};
use crate::sources::{background::Ticket, error::CollectError, odd::LeftOut};

pub(super) struct Table<T: Target> {
    pub(super) rows: Vec<Row<T>>,
    /// The row that is asked next.
    pub(super) next: usize,
    pub(super) cut: usize,
    /// What could not be listed, as far as it was not reported.
    pub(super) left_out: LeftOut,
    /// The job that may go on; any other was abandoned.
    pub(super) job: u64,
    /// Every one is asked once in a pass.
    pub(super) pass: u64,
    /// Who does not answer, of all sources.
    pub(super) lost: Vec<Lost>,
    /// Those that were logged as stuck and are not listed any more.
    pub(super) gone: Vec<String>,
    /// Why there is no list.
    pub(super) fault: Option<CollectError>,
}

pub(super) struct Row<T: Target> {
    pub(super) subject: Subject<T>,
    /// With the pass that it is of.
    pub(super) answer: Option<(u64, T::Answer)>,
    /// True if the log said that it is stuck.
    pub(super) told: bool,
}

pub(super) struct Lost {
    pub(super) key: Arc<str>,
    pub(super) job: Ticket,
    /// What may be to blame: itself, and on the way to it what has not answered either.
    pub(super) suspects: Vec<u64>,
}

impl<T: Target> Table<T> {
    /// Nothing is known yet.
    pub(super) fn new() -> Self {
        Self {
            rows: Vec::new(),
            next: 0,
            cut: 0,
            left_out: LeftOut::default(),
            job: 0,
            pass: 0,
            lost: Vec::new(),
            gone: Vec::new(),
            fault: None,
        }
    }

    pub(super) fn begin(&mut self, job: u64, listing: Result<Option<Listing<T>>, CollectError>) {
        if self.job != job {
            return;
        }
        self.fault = None;
        match listing {
            Ok(None) => {}
            Ok(Some(listing)) => self.replace(listing),
            Err(fault) => {
                self.fault = Some(fault);
                return;
            }
        }
        self.next = 0;
    }

    /// Entries that are still there keep what was logged about them.
    fn replace(&mut self, listing: Listing<T>) {
        self.cut = listing.cut;
        self.left_out = listing.left_out;
        let rows = listing.subjects.into_iter().map(|subject| Row {
            subject,
            answer: None,
            told: false,
        });
        let old = mem::replace(&mut self.rows, rows.collect());
        for row in old.into_iter().filter(|row| row.told) {
            let same = |new: &&mut Row<T>| new.subject.key == row.subject.key;
            match self.rows.iter_mut().find(same) {
                Some(new) => new.told = true,
                None => self.gone.push(row.subject.name),
            }
        }
        for at in 0..self.lost.len() {
            let unknown = self.lost.get(at).filter(|lost| lost.suspects.is_empty());
            let suspects = unknown.map(|lost| self.suspects(&lost.key));
            if let Some((lost, suspects)) = self.lost.get_mut(at).zip(suspects) {
                lost.suspects = suspects;
            }
        }
    }

    pub(super) fn take(&mut self, job: u64) -> Option<(usize, Arc<str>, Arc<T>)> {
        while self.job == job {
            let row = self.next;
            let subject = &self.rows.get(row)?.subject;
            self.next += 1;
            if !self.is_stuck(subject) {
                return Some((row, subject.key.clone(), subject.target.clone()));
            }
        }
        None
    }

    pub(super) fn give_back(&mut self, job: u64, row: usize) {
        if self.job == job {
            self.next = row;
        }
    }

    pub(super) fn put(&mut self, job: u64, row: usize, answer: T::Answer) {
        // Another job may have another list by now.
        if self.job == job
            && let Some(row) = self.rows.get_mut(row)
        {
            row.answer = Some((self.pass, answer));
        }
    }

    pub(super) fn is_stuck(&self, subject: &Subject<T>) -> bool {
        self.lost.iter().any(|lost| {
            let through = |way| subject.ways.contains(way);
            !lost.job.finished() && (lost.key == subject.key || lost.suspects.iter().any(through))
        })
    }

    /// Takes over from the prober what does not answer.
    pub(super) fn note_lost(&mut self, lost: Vec<(Arc<str>, Ticket)>) {
        let mut known = mem::take(&mut self.lost);
        for (key, job) in lost {
            let suspects = match known.iter_mut().find(|lost| lost.key == key) {
                Some(lost) => mem::take(&mut lost.suspects),
                None => self.suspects(&key),
            };
            self.lost.push(Lost { key, job, suspects });
        }
    }

    fn suspects(&self, key: &Arc<str>) -> Vec<u64> {
        let Some(row) = self.rows.iter().find(|row| row.subject.key == *key) else {
            return Vec::new();
        };
        let answered = |way: &u64| {
            self.rows.iter().any(|row| {
                row.subject.way == Some(*way)
                    && row.answer.is_some_and(|(pass, _)| pass == self.pass)
            })
        };
        let ways = row.subject.ways.iter().copied();
        let unproven = ways.filter(|way| !answered(way));
        row.subject.way.into_iter().chain(unproven).collect()
    }

    pub(super) fn is_through(&self) -> bool {
        self.next >= self.rows.len()
    }
}
