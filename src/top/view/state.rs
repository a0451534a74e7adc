//! How a host is, as a mark and a word. Pure.

use super::Scene;
use super::pen::width;
use super::theme::{Severity, Theme};
use crate::base::quantity::{NONE, load, percent, short_span, temperature, whole};
use crate::base::text::shown as clean;
use crate::top::health::{Problem, Worst, worst};
use crate::top::model::{Host, State};

/// A host's mark and word, and how well it is.
pub(super) struct Shown {
    pub(super) mark: &'static str,
    pub(super) word: String,
    pub(super) severity: Severity,
    /// Whether what it said last is what is so now.
    pub(super) is_current: bool,
}

/// How a host is. Where the collector is not heard, what was known of it is old.
pub(super) fn shown(host: &Host, scene: &Scene<'_>) -> Shown {
    let state = host.state(scene.as_of());
    let worst = worst(host, scene.as_of());
    if scene.is_stale() && matches!(state, State::Reporting | State::Waiting) {
        return Shown {
            mark: scene.theme.pick("≈", "~"),
            word: "old".to_owned(),
            severity: Severity::Busy,
            is_current: false,
        };
    }
    Shown {
        mark: mark(state, worst.severity, scene.theme),
        word: word(worst, host, scene),
        severity: worst.severity,
        is_current: matches!(state, State::Reporting | State::Waiting),
    }
}

/// Each has another shape, for those who see no difference in their colours.
fn mark(state: State, severity: Severity, theme: Theme) -> &'static str {
    match (state, severity) {
        (State::Gone | State::Silent, _) => theme.pick("✗", "X"),
        (State::Waiting | State::Expected, _) => theme.pick("◌", "o"),
        (State::Reporting, Severity::Good) => theme.pick("●", "*"),
        (State::Reporting, Severity::Busy) => theme.pick("◆", "+"),
        (State::Reporting, Severity::Bad) => theme.pick("▲", "!"),
    }
}

fn word(worst: Worst<'_>, host: &Host, scene: &Scene<'_>) -> String {
    let age = || age(host, scene);
    match worst.problem {
        Problem::Gone => format!("gone {}", age()),
        Problem::Silent => format!("silent {}", age()),
        Problem::Stuck(mount) => format!("stuck {}", clean(mount)),
        Problem::Failed(units) => format!("{} failed", whole(units)),
        Problem::Disk(share) => format!("disk {}", percent(share)),
        Problem::Memory(share) => format!("mem {}", percent(share)),
        Problem::Swap(share) => format!("swap {}", percent(share)),
        Problem::Load(value) => format!("load {}", load(value)),
        Problem::Pressure(resource, share) => {
            let resource = if resource == "memory" {
                "mem"
            } else {
                resource
            };
            // 100% has a column too many.
            if share >= 99.5 {
                format!("{resource} wait>99%")
            } else {
                format!("{resource} wait {}", percent(share))
            }
        }
        Problem::Heat(celsius) => format!("hot {}C", temperature(celsius)),
        Problem::Cpu(share) => format!("cpu {}", percent(share)),
        Problem::Expected => "expected".to_owned(),
        Problem::Waiting => "waiting".to_owned(),
        Problem::None => "ok".to_owned(),
    }
}

/// Since when something was not heard, short.
pub(super) fn age(host: &Host, scene: &Scene<'_>) -> String {
    host.age(scene.now)
        .map_or_else(|| NONE.to_owned(), |age| short_span(age.as_secs_f64()))
}

/// What there is to say about a host that is not there, instead of its values, in so many
/// columns: when it was seen comes first, and the rest where there is room for it.
pub(super) fn absence(host: &Host, scene: &Scene<'_>, columns: u16) -> Option<String> {
    let age = host.age(scene.now).unwrap_or_default().as_secs_f64();
    let seen = scene.clock.when(age);
    let (what, more) = match host.state(scene.as_of()) {
        State::Reporting | State::Waiting => return None,
        State::Expected => ("last seen", " before the collector's start"),
        State::Silent => ("last heard", ""),
        State::Gone => ("last seen", ""),
    };
    let values = [("CPU", host.cpu.busy), ("memory", host.memory.used())];
    let values = values.map(|(name, share)| {
        let share = share.filter(|_| host.presence.heard.is_some());
        share.map(|share| format!(", {name} {}", percent(share)))
    });
    let values: Vec<_> = values.into_iter().flatten().collect();
    let text = format!("{what} {seen}");
    let mut texts: Vec<_> = (1..=values.len())
        .rev()
        .filter_map(|count| Some(format!("{text}{} then", values.get(..count)?.concat())))
        .collect();
    texts.extend([format!("{text}{more}"), text, seen]);
    let fits = texts.into_iter().find(|text| width(text) <= columns);
    Some(fits.unwrap_or_else(|| scene.clock.when_short(age)))
}
