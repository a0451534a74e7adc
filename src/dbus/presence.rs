//! Staying on the bus for as long as the process lives, over restarts of the bus.

use std::fmt::Display;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::base::exit::EXIT_UNAVAILABLE;
use crate::dbus::name::{Ended, StartError};
use crate::systemd::daemon::Failure;

/// How long to wait before the bus is tried again; doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// How long telling the bus of the end may take.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// A program that is on the bus.
pub trait Presence: Send + Sync + 'static {
    /// What it is there, from one connection to the next.
    type Service: Send;

    /// Connects, and takes the name.
    fn start(&self) -> impl Future<Output = Result<Self::Service, StartError>> + Send;

    /// Serves, for as long as that goes well.
    fn run(service: Self::Service) -> impl Future<Output = Ended> + Send;

    /// Returns true if the program itself has ended.
    fn is_gone(&self) -> bool;

    /// Says that the bus is lost, or not there yet.
    fn lost(&self, why: &dyn Display);

    /// Says that the name is owned again.
    fn back(&self);
}

/// The task that serves on the bus, if the program is on one.
pub struct Serving(Option<JoinHandle<()>>);

impl Serving {
    /// Waits until the bus knows that the program has ended, for [`LAST_WORDS`] at most.
    pub async fn end(self) {
        if let Some(task) = self.0 {
            let _ = timeout(LAST_WORDS, task).await;
        }
    }
}

/// Takes the name and serves from now on, in a task; a bus that is away is waited for. By hand, a
/// bus that keeps the name for the service is done without. `program` is None if the settings name
/// no bus.
///
/// # Errors
///
/// [`Failure`], logged, if the name belongs to another.
pub async fn enter<P: Presence>(program: Option<P>, by_hand: bool) -> Result<Serving, Failure> {
    let Some(program) = program else {
        return Ok(Serving(None));
    };
    let service = match program.start().await {
        Ok(service) => Some(service),
        Err(error @ StartError::NotAllowed { .. }) if by_hand => {
            tracing::warn!("going on without the bus, as this is a run by hand: {error}");
            return Ok(Serving(None));
        }
        Err(error @ (StartError::NameTaken(_) | StartError::NotAllowed { .. })) => {
            tracing::error!("{error}");
            return Err(Failure(EXIT_UNAVAILABLE));
        }
        Err(error) => {
            program.lost(&error);
            None
        }
    };
    Ok(Serving(Some(tokio::spawn(stay(program, service)))))
}

/// Serves on one connection after the other, beginning with `first` where there is one.
/// A bus that is away is tried again, more and more rarely.
async fn stay<P: Presence>(program: P, first: Option<P::Service>) {
    let mut service = first;
    let mut wait = RETRY_MIN;
    loop {
        if let Some(service) = service.take() {
            match P::run(service).await {
                Ended::ProgramGone => return,
                lost @ (Ended::BusGone | Ended::NameLost) => program.lost(&lost),
            }
            wait = RETRY_MIN;
        }
        tokio::time::sleep(wait).await;
        if program.is_gone() {
            return;
        }
        match program.start().await {
            Ok(back) => {
                program.back();
                service = Some(back);
            }
            Err(error) => {
                tracing::debug!("still not on the bus: {error}");
                wait = (wait * 2).min(RETRY_MAX);
            }
        }
    }
}
