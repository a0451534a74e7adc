//! One job at a time for the prober, begun for one sample after the other.
//!
//! Owns what became of the job that was begun last; what the job finds is its source's
//! own affair. One that hangs is not begun again.

use std::time::Instant;

use super::{
    background::{ProbeError, Prober, Ticket},
    error::CollectError,
};

/// A job that is done again and again.
#[derive(Debug)]
pub(super) struct BackgroundJob {
    prober: Prober,
    /// Why nothing comes of it while the job has not ended.
    unfinished: &'static str,
    begun: Option<Result<Ticket, ProbeError>>,
}

impl BackgroundJob {
    /// One that was never begun.
    pub(super) fn new(prober: Prober, unfinished: &'static str) -> Self {
        Self {
            prober,
            unfinished,
            begun: None,
        }
    }

    /// Returns true if the job was begun and has not ended.
    pub(super) fn is_underway(&self) -> bool {
        matches!(&self.begun, Some(Ok(ticket)) if !ticket.finished())
    }

    /// Begins the job, in place of the one before, which has ended.
    pub(super) fn begin(&mut self, job: impl FnOnce() + Send + 'static, now: Instant) {
        self.begun = Some(self.prober.submit(job, now));
    }

    /// Returns true if there is nothing to wait for; a job that hangs is not waited for.
    pub(super) fn ready(&self) -> bool {
        match &self.begun {
            Some(Ok(ticket)) => ticket.finished() || ticket.abandoned(),
            _ => true,
        }
    }

    /// Returns true if the job was done since the last call that returned false. A failure to start
    /// it is reported once.
    pub(super) fn is_done(&mut self) -> Result<bool, CollectError> {
        if self.is_underway() {
            return Err(self.hangs());
        }
        match self.begun.take_if(|begun| begun.is_err()) {
            Some(Err(error)) => Err(error.into()),
            _ => Ok(self.begun.is_some()),
        }
    }

    /// The error while the job has not ended.
    pub(super) fn hangs(&self) -> CollectError {
        CollectError::Refused(self.unfinished.to_owned())
    }

    /// Nothing came of it: until it is begun again it is not done.
    pub(super) fn forget(&mut self) {
        self.begun = None;
    }

    #[cfg(test)]
    pub(super) fn ticket(&self) -> Option<&Ticket> {
        self.begun.as_ref()?.as_ref().ok()
    }
}
