//! Which metrics a person asks for: shell patterns on their names.

use std::collections::BTreeSet;
use std::str::FromStr;

use glob::{Pattern, PatternError};
use thiserror::Error;

use crate::base::text::is_plain;
use crate::ctl::proxy::Values;

/// `mem`, `disk.*`, `unit.memory[nginx*]`: a pattern for the metric, and in brackets one for the
/// instance. A metric fits, too, where a dot follows what the pattern fits, and where the pattern
/// itself ends in a dot only then. Without brackets every instance fits; an open bracket at the end
/// stands for every instance, too, as the shells' completion may stop there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    metric: Pattern,
    only_below: bool,
    instance: Option<Pattern>,
}

/// A text that is no pattern.
#[derive(Debug, Error)]
#[error(
    "{} at character {}; a name with its instance is written like 'fs.avail[/home*]'",
    .0.msg, .0.pos + 1
)]
pub struct NoPattern(#[from] PatternError);

impl FromStr for Choice {
    type Err = NoPattern;

    fn from_str(text: &str) -> Result<Self, NoPattern> {
        let (metric, instance) = if let Some(metric) = text.strip_suffix('[') {
            (metric, Some(Pattern::new("*")?))
        } else {
            match text.strip_suffix(']').and_then(|t| t.split_once('[')) {
                Some((metric, instance)) => (metric, Some(Pattern::new(instance)?)),
                None => (text, None),
            }
        };
        let above = metric.strip_suffix('.');
        Ok(Self {
            metric: Pattern::new(above.unwrap_or(metric))?,
            only_below: above.is_some(),
            instance,
        })
    }
}

impl Choice {
    fn fits(&self, name: &str) -> bool {
        let (metric, instance) = match name.strip_suffix(']').and_then(|n| n.split_once('[')) {
            Some((metric, instance)) => (metric, Some(instance)),
            None => (name, None),
        };
        self.fits_metric(metric)
            && self
                .instance
                .as_ref()
                .is_none_or(|wanted| instance.is_some_and(|instance| wanted.matches(instance)))
    }
}

impl Choice {
    /// Returns true if some instance of this metric matches.
    pub(super) fn fits_metric(&self, metric: &str) -> bool {
        let mut beginnings = metric.match_indices('.').map(|(dot, _)| &metric[..dot]);
        (self.metric.matches(metric) && !self.only_below)
            || beginnings.any(|beginning| self.metric.matches(beginning))
    }
}

/// Leaves what one of the choices fits; everything where there is none.
pub(super) fn keep(choices: &[Choice], grid: &mut Values) {
    if !choices.is_empty() {
        grid.retain(|name, _| choices.iter().any(|choice| choice.fits(name)));
    }
}

/// Completions for a shell: all names if nothing is `typed`; else names of metrics, with an open
/// bracket if they have instances, and whole names from the bracket on or if only one metric is
/// left. A pattern in front of the bracket stays in front of the instances.
pub(super) fn completions<'a>(
    names: impl Iterator<Item = &'a String>,
    typed: Option<&str>,
) -> Vec<String> {
    let names = names.filter(|name| is_plain(name));
    if let Some((metric, _)) = typed.and_then(|typed| typed.split_once('['))
        && let Ok(pattern) = metric.parse::<Choice>()
    {
        let instance = |name: &String| {
            let (of, instance) = name.split_once('[')?;
            let fits = pattern.fits_metric(of);
            fits.then(|| format!("{metric}[{instance}"))
        };
        let instances: BTreeSet<String> = names.filter_map(instance).collect();
        return instances.into_iter().collect();
    }
    let names: BTreeSet<&str> = names.map(String::as_str).collect();
    let Some(typed) = typed else {
        return names.into_iter().map(str::to_owned).collect();
    };
    let metric = |name: &'a str| match name.find('[') {
        Some(bracket) => name.get(..=bracket).unwrap_or(name),
        None => name,
    };
    let metrics: BTreeSet<&str> = names.iter().copied().map(metric).collect();
    let mut begun = metrics.iter().filter(|name| name.starts_with(typed));
    match (begun.next(), begun.next()) {
        // A shell would close a quote after the bracket if it is the only completion.
        (Some(only), None) if only.ends_with('[') => {
            let instances = names.into_iter().filter(|name| name.starts_with(only));
            instances.map(str::to_owned).collect()
        }
        _ => metrics.into_iter().map(str::to_owned).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_completed_first_and_then_their_instances() {
        let names = [
            "unit.tasks[a]",
            "unit.tasks[b]",
            "mem.free",
            "fs.free[/\u{202e}]",
        ];
        let names = names.map(str::to_owned);
        let all = |typed| completions(names.iter(), typed);
        assert_eq!(all(Some("")), ["mem.free", "unit.tasks["]);
        assert_eq!(all(Some("unit.tasks[")), ["unit.tasks[a]", "unit.tasks[b]"]);
        // Where there is one metric, its instances.
        assert_eq!(all(Some("unit.t")), ["unit.tasks[a]", "unit.tasks[b]"]);
        assert_eq!(all(Some("unit[")), ["unit[a]", "unit[b]"]);
        assert_eq!(all(Some("*.t*[b")), ["*.t*[a]", "*.t*[b]"]);
        assert_eq!(all(None), ["mem.free", "unit.tasks[a]", "unit.tasks[b]"]);
    }

    #[test]
    fn patterns_are_for_the_metric_and_for_the_instance() {
        for (pattern, fits, others) in [
            (
                "mem.free",
                &["mem.free"][..],
                &["mem.freed", "mem.free[x]x"][..],
            ),
            ("mem.*", &["mem.free", "mem.swap.free"], &["memory"]),
            ("disk.*", &["disk.reads.total[sda]"], &["disks"]),
            (
                "fs.avail[/]",
                &["fs.avail[/]"],
                &["fs.avail[/home]", "fs.avail"],
            ),
            (
                "fs.*[/h*]",
                &["fs.avail[/home]", "fs.free[/home/a]b]"],
                &["fs.avail[/]"],
            ),
            ("*", &["mem.free", "fs.avail[/]"], &[]),
            (
                "mem",
                &["mem", "mem.free", "mem.swap.free"],
                &["memory", "memory.free", "unit.mem"],
            ),
            (
                "disk.read",
                &["disk.read.bytes.total[sda]"],
                &["disk.reads.total[sda]"],
            ),
            ("fs[/]", &["fs.avail[/]"], &["fs.avail[/home]"]),
            (
                "mem.",
                &["mem.free", "mem.swap.free"],
                &["mem", "memory", "memory.free", "unit.mem"],
            ),
            (
                "disk.read.",
                &["disk.read.bytes.total[sda]"],
                &["disk.reads.total[sda]"],
            ),
            ("fs.[/]", &["fs.avail[/]"], &["fs.avail[/home]"]),
            ("*.", &["mem.free"], &["new"]),
            // Where the completion stops.
            (
                "unit.memory[",
                &["unit.memory[a]", "unit.memory[b]"],
                &["unit.memory", "unit.memoryx[a]"],
            ),
            ("fs[", &["fs.avail[/]"], &["mem.free", "fsx[/]"]),
        ] {
            let choice: Choice = pattern.parse().unwrap();
            for name in fits {
                assert!(choice.fits(name), "{pattern} {name}");
            }
            for name in others {
                assert!(!choice.fits(name), "{pattern} {name}");
            }
        }
        assert!("mem.[x".parse::<Choice>().is_err());
        assert!("[[".parse::<Choice>().is_err());
    }
}
