//! The signals that a daemon lives by, signal(7).

use std::io;

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// SIGTERM or SIGINT, by name: end.
    Stop(&'static str),
    /// SIGHUP: read the configuration again.
    Reload,
}

/// An event loop that has not begun, and a process that SIGHUP does not end any more.
///
/// The first thing that a daemon makes: a reload may be asked for before it is ready, and
/// SIGHUP by itself ends a process. One that comes meanwhile is a reload once the loop runs.
/// SIGTERM and SIGINT end it as they always do until [`Signals::catch`].
#[derive(Debug)]
pub struct EarlySignals {
    /// To run the daemon on.
    pub runtime: Runtime,
    /// To be caught with the others.
    pub hang_up: HangUp,
}

/// SIGHUP, caught.
#[derive(Debug)]
pub struct HangUp(Signal);

impl EarlySignals {
    /// Builds the event loop, and catches SIGHUP. Fails only where the kernel is out of file
    /// descriptors.
    pub fn begin(builder: &mut Builder) -> io::Result<Self> {
        let runtime = builder.enable_all().build()?;
        let hang_up = {
            let _within = runtime.enter();
            HangUp(signal(SignalKind::hangup())?)
        };
        Ok(Self { runtime, hang_up })
    }
}

/// The signals caught from now on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: HangUp,
}

impl Signals {
    /// Catches them. Fails only where the kernel is out of file descriptors.
    pub fn catch(hang_up: HangUp) -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up,
        })
    }

    /// The next one; without `reloads` only one that says stop. However many SIGHUPs come
    /// meanwhile, they are one reload afterwards. Cancel safe.
    pub async fn next(&mut self, reloads: bool) -> Request {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Request::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Request::Stop("SIGINT"),
            _ = self.hang_up.0.recv(), if reloads => Request::Reload,
        }
    }
}
