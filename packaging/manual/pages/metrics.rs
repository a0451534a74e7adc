//! The metrics and the metric sources, from their tables.

use metrics_agent::metrics::table::METRICS;
use metrics_agent::sources::SOURCES;

use super::roff::text;

/// A paragraph for each metric source.
pub(super) fn sources() -> String {
    let paragraph = |source: &metrics_agent::sources::SourceDefinition| {
        let default = if source.default {
            "On by default."
        } else {
            "Off by default."
        };
        format!(
            ".TP\n\\fB{}\\fR\n{}.\n{default}\n",
            text(source.name),
            text(source.description.trim_end_matches('.'))
        )
    };
    SOURCES.iter().map(paragraph).collect()
}

/// A paragraph for each metric.
pub(super) fn metrics() -> String {
    let paragraph = |metric: &&metrics_agent::metrics::Definition| {
        let messages = match (metric.in_metrics, metric.in_model) {
            (true, true) => "metrics and model",
            (true, false) => "metrics",
            (false, _) => "model",
        };
        let instance = metric.instance.map_or_else(String::new, |instance| {
            format!("[\\fI{}\\fR]", text(instance))
        });
        let unit = match metric.unit {
            "" => String::new(),
            unit => format!(" ({})", text(unit)),
        };
        format!(
            ".TP\n\\fB{}\\fR{instance}{unit}\n{}.\nBy {}, in {messages} messages.\n",
            text(metric.name),
            text(metric.description),
            text(metric.source),
        )
    };
    METRICS.iter().map(paragraph).collect()
}
