//! The processes with the most CPU time and the most memory.
//!
//! Owns the previous readings, of which there is one for each purpose. Decides and formats;
//! reads nothing, and time is part of what it is given.

use std::{fmt::Write, time::Instant};

use super::scan::{Reading, Scan};
use crate::metrics::table::{PROC_TOP_CPU, PROC_TOP_MEMORY};
use crate::sources::{Purpose, Sink};

/// What is compared with the next reading.
#[derive(Debug, Clone, Copy)]
struct Used {
    pid: u32,
    start_ticks: Option<u64>,
    cpu_ticks: Option<u64>,
}

/// The CPU times of a walk; those of PIDs that rise.
#[derive(Debug)]
struct Previous {
    at: Instant,
    used: Vec<Used>,
}

/// Reports the first few by CPU time and by memory.
#[derive(Debug)]
pub struct Top {
    limit: usize,
    ticks_per_second: f64,
    page_kilobytes: u64,
    metrics: Option<Previous>,
    model: Option<Previous>,
    query: Option<Previous>,
    /// The largest so far with their amounts, the largest first.
    largest: Vec<(u64, Reading)>,
    instance: String,
}

impl Top {
    /// The `limit` first of each, with clock ticks of that many a second and pages of that
    /// many KiB.
    #[must_use]
    pub fn new(limit: usize, ticks_per_second: u64, page_kilobytes: u64) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "there are at most 1024")]
        let ticks_per_second = ticks_per_second as f64;
        Self {
            limit,
            ticks_per_second,
            page_kilobytes,
            metrics: None,
            model: None,
            query: None,
            largest: Vec::with_capacity(limit + 1),
            instance: String::new(),
        }
    }

    /// Reports those of a walk. The first walk has no CPU time: what is reported is a share of the
    /// time since the previous walk for the same purpose. Processes that used no CPU time, and
    /// those without memory, such as kernel threads, are left out.
    pub fn report(&mut self, scan: &Scan, sink: &mut Sink<'_>) {
        let previous = match sink.purpose() {
            Purpose::Metrics => &mut self.metrics,
            Purpose::Model => &mut self.model,
            Purpose::Query => &mut self.query,
        };
        if let Some(previous) = previous {
            let elapsed = scan.at.saturating_duration_since(previous.at).as_secs_f64();
            let ticks = elapsed * self.ticks_per_second;
            let used = used_since(&previous.used, &scan.readings);
            largest(self.limit, used, &mut self.largest);
            for (used, reading) in &self.largest {
                #[expect(clippy::cast_precision_loss, reason = "of a share no one reads more")]
                let share = 100.0 * *used as f64 / ticks;
                name(&mut self.instance, scan, reading);
                sink.float_of(&PROC_TOP_CPU, &self.instance, share);
            }
        }
        let previous = previous.get_or_insert_with(|| Previous {
            at: scan.at,
            used: Vec::new(),
        });
        previous.at = scan.at;
        previous.used.clear();
        let used = scan.readings.iter().map(|reading| Used {
            pid: reading.pid,
            start_ticks: reading.start_ticks,
            cpu_ticks: reading.cpu_ticks,
        });
        previous.used.extend(used);

        let resident = scan.readings.iter();
        let resident = resident.filter_map(|one| Some((one.resident_pages?, *one)));
        largest(self.limit, resident, &mut self.largest);
        for (pages, reading) in &self.largest {
            name(&mut self.instance, scan, reading);
            let kilobytes = pages.saturating_mul(self.page_kilobytes);
            sink.unsigned_of(&PROC_TOP_MEMORY, &self.instance, kilobytes);
        }
    }
}

/// What each has used since, in clock ticks. One that was not there before began since then,
/// so that all it used counts; so does one that has another's PID.
fn used_since(previous: &[Used], now: &[Reading]) -> impl Iterator<Item = (u64, Reading)> {
    let mut rest = previous.iter().peekable();
    now.iter().filter_map(move |reading| {
        while rest.next_if(|one| one.pid < reading.pid).is_some() {}
        let before = rest.next_if(|one| one.pid == reading.pid);
        let (start_ticks, cpu_ticks) = (reading.start_ticks?, reading.cpu_ticks?);
        let before = match before {
            // The start of its time is unknown.
            Some(one) if one.start_ticks.is_none() => return None,
            Some(one) if one.start_ticks == Some(start_ticks) => one.cpu_ticks?,
            _ => 0,
        };
        Some((cpu_ticks.saturating_sub(before), *reading))
    })
}

/// The `limit` with the largest amounts, none of them 0; of equal ones the first.
fn largest(
    limit: usize,
    all: impl Iterator<Item = (u64, Reading)>,
    into: &mut Vec<(u64, Reading)>,
) {
    into.clear();
    for (amount, reading) in all {
        let full = into.len() >= limit;
        let least = if full { into.last() } else { None };
        if amount == 0 || limit == 0 || least.is_some_and(|(least, _)| amount <= *least) {
            continue;
        }
        let at = into.partition_point(|(other, _)| *other >= amount);
        into.insert(at, (amount, reading));
        into.truncate(limit);
    }
}

/// `PID/NAME`: several processes may have the same name.
fn name(instance: &mut String, scan: &Scan, reading: &Reading) {
    instance.clear();
    // Writing to a string never fails.
    let _ = write!(instance, "{}/", reading.pid);
    for chunk in scan.name(reading).utf8_chunks() {
        instance.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            instance.push(char::REPLACEMENT_CHARACTER);
        }
    }
}
