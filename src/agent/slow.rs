//! What may take long, off the loop: reading the configuration, keeping a setting.
//!
//! Jobs touch files, and a file may be on a disk that hangs. They run one after the
//! other on a thread of their own, in the order in which they were asked for.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use super::handle::{Answer, ORDERS, OrderError};
use crate::agent::settings;
use crate::agent::settings::persistent::{self, Persistent};
use crate::agent::settings::{Inputs, KeyPolicy, Loaded};
use crate::base::offload::{Offloaded, offload};

/// Jobs that wait at most. Each belongs to a caller that waits for its answer.
const MAX_WAITING: usize = ORDERS;

/// A job, with the caller that waits for its end.
#[derive(Debug)]
pub(crate) enum Job {
    /// Read the configuration again.
    Reload(Option<Answer<()>>),
    /// Keep these settings, and those kept already, for the next start.
    Keep(Persistent, Answer<()>),
    /// Drop the settings kept, then read the configuration again.
    Forget(Answer<()>),
}

/// How a job ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    Loaded(Box<Result<Loaded, String>>),
    Kept(Result<(), String>),
}

/// The jobs that wait and the one that runs.
#[derive(Debug)]
pub(crate) struct SlowJobs {
    inputs: Arc<Inputs>,
    waiting: VecDeque<Job>,
    running: Option<(Job, Offloaded<Outcome>)>,
}

impl SlowJobs {
    pub(crate) fn new(inputs: Arc<Inputs>) -> Self {
        Self {
            inputs,
            waiting: VecDeque::new(),
            running: None,
        }
    }

    /// Queues a job; runs it at once if none is running.
    pub(crate) fn submit(&mut self, job: Job) {
        if self.waiting.len() >= MAX_WAITING {
            // Callers wait for their answers, so only a disk that hangs gets here.
            job.answer(Err(OrderError::NotKept(
                "too many jobs are waiting for the disk already".to_owned(),
            )));
            return;
        }
        self.waiting.push_back(job);
        self.run_next();
    }

    /// The next job that has ended; waits forever if there is none. Cancel safe.
    pub(crate) async fn ended(&mut self) -> (Job, Outcome) {
        let outcome = match &mut self.running {
            Some((job, running)) => running.await.unwrap_or_else(|error| job.failed(&error)),
            None => std::future::pending().await,
        };
        match self.running.take() {
            Some((job, _)) => {
                self.run_next();
                (job, outcome)
            }
            None => std::future::pending().await,
        }
    }

    /// The file that settings are kept in; empty if there is no place for one.
    pub(crate) fn kept_in(&self) -> PathBuf {
        self.inputs
            .state_directory
            .as_deref()
            .map(persistent::path)
            .unwrap_or_default()
    }

    /// Returns true if the configuration is being read, or is to be.
    pub(crate) fn reloads(&self) -> bool {
        let running = self.running.iter().map(|(job, _)| job);
        let mut jobs = running.chain(&self.waiting);
        jobs.any(|job| matches!(job, Job::Reload(_)))
    }

    fn run_next(&mut self) {
        if self.running.is_some() {
            return;
        }
        if let Some(job) = self.waiting.pop_front() {
            let work = job.work(Arc::clone(&self.inputs));
            self.running = Some((job, offload("files", work)));
        }
    }
}

impl Job {
    fn work(&self, inputs: Arc<Inputs>) -> Box<dyn FnOnce() -> Outcome + Send> {
        match self {
            Self::Reload(_) => Box::new(move || read(&inputs)),
            Self::Keep(settings, _) => {
                let settings = *settings;
                Box::new(move || Outcome::Kept(keep(&inputs, settings)))
            }
            // If the settings cannot be read, there is nothing to go back to: then nothing is
            // dropped.
            Self::Forget(_) => Box::new(move || match read(&inputs) {
                Outcome::Loaded(loaded) if loaded.is_ok() => match forget(&inputs) {
                    Ok(()) => read(&inputs),
                    Err(error) => Outcome::Kept(Err(error)),
                },
                refused => refused,
            }),
        }
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Outcome {
        let error = error.to_string();
        match self {
            Self::Reload(_) | Self::Forget(_) => Outcome::Loaded(Box::new(Err(error))),
            Self::Keep(..) => Outcome::Kept(Err(error)),
        }
    }

    /// What it is about, as the settings name it.
    pub(crate) fn setting(&self) -> &'static str {
        match self {
            Self::Keep(settings, _) => match (settings.metrics, settings.stale) {
                (Some(_), None) => "intervals.metrics",
                (None, Some(_)) => "intervals.stale",
                _ => "intervals",
            },
            Self::Reload(_) | Self::Forget(_) => "intervals",
        }
    }

    /// Answers the caller. It may have gone meanwhile, which is no error.
    pub(crate) fn answer(self, result: Result<(), OrderError>) {
        match self {
            Self::Reload(Some(answer)) | Self::Keep(_, answer) | Self::Forget(answer) => {
                let _ = answer.send(result);
            }
            Self::Reload(None) => {}
        }
    }
}

fn read(inputs: &Inputs) -> Outcome {
    let loaded = settings::load(inputs, KeyPolicy::Create).map_err(|error| error.to_string());
    Outcome::Loaded(Box::new(loaded))
}

fn keep(inputs: &Inputs, settings: Persistent) -> Result<(), String> {
    let directory = inputs.state_directory.as_deref().ok_or(
        "there is no state directory; set STATE_DIRECTORY, as the unit's StateDirectory= does",
    )?;
    persistent::update(directory, |kept| {
        kept.metrics = settings.metrics.or(kept.metrics);
        kept.stale = settings.stale.or(kept.stale);
    })
    .map(drop)
    .map_err(|error| error.to_string())
}

fn forget(inputs: &Inputs) -> Result<(), String> {
    match &inputs.state_directory {
        Some(directory) => persistent::clear(directory).map_err(|error| error.to_string()),
        None => Ok(()),
    }
}
