//! `time.*`: if the clock is in step with a reference, and how far off it may be.
//!
//! | | `time.synchronised` | `time.offset` | `time.error.*` |
//! | --- | --- | --- | --- |
//! | the kernel may be asked, adjtimex(2) | yes | where it is in step | where it is in step |
//! | else systemd-timesyncd, where it runs | | of its last exchange | |
//! | else systemd-timedated | yes, asked every 30 min at most | | |
//!
//! Our own unit may not ask the kernel: the call can set the clock, and the sandbox ends a process
//! that tries. The two services are asked instead ([`listen`]); timesyncd announces each exchange,
//! and timedated, which is started by the question, announces no change. If neither is there, there
//! are no values, and no error.

pub mod kernel;
mod listen;

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{Context, Grid, Sink, Source, bus::Followed, error::CollectError};
use crate::metrics::table::{TIME_ERROR_ESTIMATED, TIME_ERROR_MAX, TIME_OFFSET, TIME_SYNCHRONISED};
use listen::Listener;

/// Least time between two questions to timedated, which is started for each, and says so in
/// the journal.
const ASK_SPACING: Duration = Duration::from_secs(30 * 60);

/// What the services have said.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Heard {
    /// True if the clock is synchronised; None if that is unknown.
    synchronised: Option<bool>,
    /// How far the clock is behind its reference, in s; None if that is unknown.
    offset: Option<f64>,
}

/// Reports how the clock is.
pub struct TimeSource(Origin);

enum Origin {
    /// The kernel answers.
    Kernel,
    /// It does not; others on the bus may.
    Bus {
        heard: Followed<Heard>,
        /// Asks timedated again.
        again: Arc<Notify>,
        /// When it was last asked.
        asked: Option<Instant>,
    },
}

impl TimeSource {
    /// One that asks the kernel where it may, and else listens to the bus from now on.
    #[must_use]
    pub fn open(context: &Context) -> Self {
        // Of this very process, whatever the root: it is this process that would be ended.
        let status = fs::read("/proc/self/status").unwrap_or_default();
        if kernel::unfiltered(&status) && kernel::read().is_some() {
            return Self(Origin::Kernel);
        }
        Self(Origin::on_the_bus(context))
    }
}

impl Origin {
    fn on_the_bus(context: &Context) -> Self {
        let again = Arc::new(Notify::new());
        let listener = |shared| Listener::new(shared, Arc::clone(&again));
        Self::Bus {
            heard: Followed::new(context, listener),
            again,
            asked: None,
        }
    }
}

impl Source for TimeSource {
    fn prepare(&mut self, _grid: Grid, now: Instant) {
        if let Origin::Bus { again, asked, .. } = &mut self.0 {
            match asked {
                // The listener asks by itself as it begins.
                None => *asked = Some(now),
                Some(last) if now.saturating_duration_since(*last) >= ASK_SPACING => {
                    *last = now;
                    again.notify_one();
                }
                Some(_) => {}
            }
        }
    }

    fn ready(&self) -> bool {
        match &self.0 {
            Origin::Kernel => true,
            Origin::Bus { heard, .. } => heard.is_settled(),
        }
    }

    fn collect(&mut self, _scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        match &self.0 {
            Origin::Kernel => {
                if let Some(clock) = kernel::read() {
                    report_kernel(&clock, sink);
                }
            }
            Origin::Bus { heard, .. } => {
                if let Some(heard) = heard.read(|heard| *heard)? {
                    report_heard(&heard, sink);
                }
            }
        }
        Ok(())
    }
}

/// The kernel's numbers are meaningless while the clock is not kept in step.
fn report_kernel(clock: &kernel::Clock, sink: &mut Sink<'_>) {
    sink.unsigned(&TIME_SYNCHRONISED, u64::from(clock.synchronised()));
    if clock.synchronised() {
        sink.float(&TIME_OFFSET, clock.offset_seconds());
        sink.float(&TIME_ERROR_ESTIMATED, clock.estimated_seconds());
        sink.float(&TIME_ERROR_MAX, clock.max_seconds());
    }
}

fn report_heard(heard: &Heard, sink: &mut Sink<'_>) {
    if let Some(synchronised) = heard.synchronised {
        sink.unsigned(&TIME_SYNCHRONISED, u64::from(synchronised));
    }
    if let Some(offset) = heard.offset {
        sink.float(&TIME_OFFSET, offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Samples, Value};
    use crate::sources::Purpose;

    fn samples(report: impl FnOnce(&mut Sink<'_>)) -> Samples {
        let mut samples = Samples::new();
        report(&mut Sink::new(
            Purpose::Metrics,
            Grid::Metrics,
            &mut samples,
        ));
        samples
    }

    #[test]
    fn a_clock_out_of_step_has_no_offset() {
        let mut clock = kernel::Clock {
            status: libc::STA_NANO,
            offset: 2_000_000_000,
            estimated_error: 0,
            max_error: 500_000,
        };
        let there = samples(|sink| report_kernel(&clock, sink));
        assert_eq!(there.get("time.synchronised"), Some(Value::Unsigned(1)));
        assert_eq!(there.get("time.offset"), Some(Value::Float(2.0)));
        assert_eq!(there.get("time.error.max"), Some(Value::Float(0.5)));
        assert_eq!(there.len(), 4);
        clock.status |= libc::STA_UNSYNC;
        let out_of_step = samples(|sink| report_kernel(&clock, sink));
        let synchronised = out_of_step.get("time.synchronised");
        assert_eq!(synchronised, Some(Value::Unsigned(0)));
        assert_eq!(out_of_step.len(), 1);
    }

    #[test]
    fn what_is_not_told_is_left_out() {
        assert!(samples(|sink| report_heard(&Heard::default(), sink)).is_empty());
        let heard = Heard {
            synchronised: Some(false),
            offset: Some(-0.25),
        };
        let there = samples(|sink| report_heard(&heard, sink));
        assert_eq!(there.get("time.synchronised"), Some(Value::Unsigned(0)));
        assert_eq!(there.get("time.offset"), Some(Value::Float(-0.25)));
    }
}
