//! The manual pages: hand-written text from docs/man with what the code knows filled in.
//!
//! A page in docs/man is roff, see `groff_man(7)`. A line such as `@options@` stands for lines made
//! from the code, `@version@` and `@date@` in its title for the package's. Refuses a word that it
//! does not know: nothing is left out in silence.

mod command_line;
mod interface;
mod metrics;
mod roff;
mod settings;

use std::error::Error;
use std::time::{Duration, UNIX_EPOCH};

use clap::CommandFactory as _;
use metrics_agent::agent::settings::AGENT;
use metrics_agent::collector::settings::COLLECTOR;
use metrics_agent::{agent, collector, ctl, top};

/// A manual page.
#[derive(Debug)]
pub(crate) struct Page {
    /// Its file's name, `metrics-agent.8`.
    pub(crate) name: &'static str,
    /// roff.
    pub(crate) text: String,
}

/// A page of docs/man: its name and text.
macro_rules! source {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../docs/man/", $name)))
    };
}

const SOURCES: [(&str, &str); 8] = [
    source!("metrics-agent.8"),
    source!("metrics-agentctl.1"),
    source!("metrics-collector.8"),
    source!("metrics-top.1"),
    source!("metrics-agent.toml.5"),
    source!("metrics-collector.toml.5"),
    source!("org.metricsagent.Agent1.5"),
    source!("org.metricsagent.Collector1.5"),
];

/// All pages, with this date.
///
/// # Errors
///
/// A word between `@` that stands for nothing, and whatever cannot be described.
pub(crate) fn pages(date: &str) -> Result<Vec<Page>, Box<dyn Error>> {
    let page = |&(name, source): &(&'static str, &str)| {
        let text = filled(source, date).map_err(|error| format!("docs/man/{name}: {error}"))?;
        Ok(Page { name, text })
    };
    SOURCES.iter().map(page).collect()
}

/// The day of the source, as reproducible-builds.org/specs/source-date-epoch has it. Without one
/// pages have no date, as systemd's have none: the same source makes the same page on any day.
pub(crate) fn date(epoch: Option<&str>) -> Result<String, Box<dyn Error>> {
    let Some(epoch) = epoch else {
        return Ok(String::new());
    };
    let seconds = epoch
        .parse()
        .map_err(|error| format!("SOURCE_DATE_EPOCH={epoch}: {error}"))?;
    let time = UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .ok_or("SOURCE_DATE_EPOCH is too far away")?;
    let mut text = humantime::format_rfc3339_seconds(time).to_string();
    text.truncate("2026-01-31".len());
    Ok(text)
}

fn filled(source: &str, date: &str) -> Result<String, Box<dyn Error>> {
    let mut text = String::from(roff::PREAMBLE);
    for line in source.lines() {
        let word = line
            .strip_prefix('@')
            .and_then(|rest| rest.strip_suffix('@'));
        if let Some(word) = word {
            text.push_str(&made(word)?);
        } else if line.starts_with(".TH ") {
            let line = line
                .replace("@date@", date)
                .replace("@version@", env!("CARGO_PKG_VERSION"));
            text.push_str(&line);
            text.push('\n');
            text.push_str(roff::SETUP);
        } else {
            text.push_str(line);
            text.push('\n');
        }
    }
    Ok(text)
}

/// What a word stands for.
fn made(word: &str) -> Result<String, Box<dyn Error>> {
    match word.split_once(' ').unwrap_or((word, "")) {
        ("synopsis", program) => command_line::synopsis(&command(program)?),
        ("options", program) => command_line::options(&command(program)?),
        ("commands", program) => command_line::commands(&command(program)?),
        ("settings", "metrics-agent") => Ok(settings::settings(&AGENT)),
        ("settings", "metrics-collector") => Ok(settings::settings(&COLLECTOR)),
        ("sources", "") => Ok(metrics::sources()),
        ("metrics", "") => Ok(metrics::metrics()),
        ("members", name) => interface::members(name),
        _ => Err(format!("@{word}@ stands for nothing").into()),
    }
}

fn command(program: &str) -> Result<clap::Command, String> {
    match program {
        "metrics-agent" => Ok(agent::arguments::Arguments::command()),
        "metrics-agentctl" => Ok(ctl::arguments::Arguments::command()),
        "metrics-collector" => Ok(collector::arguments::Arguments::command()),
        "metrics-top" => Ok(top::arguments::Arguments::command()),
        _ => Err(format!("no program is called {program:?}")),
    }
}
