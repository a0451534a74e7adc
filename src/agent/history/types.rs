//! Values that the parts of the history share, and what it tells its owner.

use std::sync::Arc;
use std::time::Duration;

use super::definition::{FirstIds, SchemaDefinition};
use crate::protocol::data::wire::{self, Reason};

/// Now, by both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The wall clock, in µs since 1970.
    pub time: i64,
    /// `CLOCK_BOOTTIME`, in µs since boot.
    pub boottime: u64,
}

/// How much may be kept, and when it goes to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in memory, definitions included; not what is read back from disk for a message.
    pub memory: usize,
    /// Bytes on disk; 0 for none.
    pub disk: u64,
    /// How long a collector may be behind before samples go to disk.
    pub after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 4 * 1024 * 1024,
            disk: 64 * 1024 * 1024,
            after: Duration::from_secs(30),
        }
    }
}

/// Why samples are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// No more room in memory, where the disk was not used.
    MemoryFull,
    /// No more room within the limit on disk.
    DiskFull,
    /// Damaged on disk, or the disk could not be read.
    Damaged,
    /// Neither sent nor written yet when the agent was killed or the host lost power. How many these
    /// were is not known: each time counts as one.
    Unwritten,
    /// A sample that is too large for a message.
    TooLarge,
    /// The collector stopped to take history, as an older program does.
    Declined,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::MemoryFull,
        Self::DiskFull,
        Self::Damaged,
        Self::Unwritten,
        Self::TooLarge,
        Self::Declined,
    ];

    /// The word for it in metrics and on the bus.
    #[must_use]
    pub const fn as_word(self) -> &'static str {
        match self {
            Self::MemoryFull => "memory-full",
            Self::DiskFull => "disk-full",
            Self::Damaged => "damaged",
            Self::Unwritten => "unwritten",
            Self::TooLarge => "too-large",
            Self::Declined => "declined",
        }
    }

    /// What a collector is told.
    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::MemoryFull | Self::DiskFull => Reason::Full,
            Self::Damaged => Reason::Damaged,
            Self::Unwritten => Reason::Unwritten,
            Self::TooLarge => Reason::TooLarge,
            Self::Declined => Reason::Unknown,
        }
    }
}

/// Samples that are lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// How many.
    pub samples: u64,
    /// When the first of them was taken, in µs since 1970; 0 if that is not known.
    pub first: i64,
    /// When the last of them was taken, in µs since 1970; 0 if that is not known.
    pub last: i64,
}

impl Loss {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.samples += other.samples;
        self.first = match (self.first, other.first) {
            (0, first) | (first, 0) => first,
            (one, other) => one.min(other),
        };
        self.last = self.last.max(other.last);
    }
}

/// What is lost for a collector, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses([Loss; Why::ALL.len()]);

impl Losses {
    /// For this reason.
    #[must_use]
    pub fn of(&self, why: Why) -> Loss {
        self.0.get(why as usize).copied().unwrap_or_default()
    }

    /// For all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().map(|loss| loss.samples).sum()
    }

    /// Each reason for which something is lost.
    pub fn iter(&self) -> impl Iterator<Item = (Why, Loss)> {
        let all = Why::ALL.into_iter().map(|why| (why, self.of(why)));
        all.filter(|(_, loss)| loss.samples > 0)
    }

    pub(super) fn add(&mut self, why: Why, more: Loss) {
        if let Some(loss) = self.0.get_mut(why as usize) {
            loss.add(more);
        }
    }
}

/// What one message to a collector may say: samples and losses with consecutive numbers.
#[derive(Debug, Default)]
pub struct Batch {
    /// The number of the log.
    pub stream: u64,
    /// The first number that it tells of.
    pub first: u64,
    /// The last number that it tells of.
    pub last: u64,
    /// What is lost in between, in order.
    pub lost: Vec<wire::Lost>,
    /// The schemas that its samples need, with their series. What this link was told before need not
    /// be told again.
    pub schemas: Vec<Arc<SchemaDefinition>>,
    /// The lowest ids that this batch and all later ones refer to.
    pub first_ids: FirstIds,
    /// How many samples are kept for this collector after these.
    pub behind: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) ends: Vec<usize>,
}

impl Batch {
    /// The encoded samples, in order. The first is coded whole.
    pub fn samples(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        let spans = begins.zip(&self.ends);
        spans.map(|(begin, end)| self.bytes.get(begin..*end).unwrap_or_default())
    }

    /// How many samples it has.
    #[must_use]
    pub fn samples_len(&self) -> usize {
        self.ends.len()
    }
}

/// What a collector is to the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is not known yet whether it takes history: samples are kept for it in memory.
    Unknown,
    /// It takes history. Samples are kept for it until it has acknowledged them.
    Taking,
    /// It does not take history: nothing is kept for it.
    Declined,
}

/// How far a collector is, and what is kept for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether anything is kept for it.
    pub standing: Standing,
    /// How many samples are kept that it has not acknowledged.
    pub behind: u64,
    /// When the first of them was taken, in µs since 1970. None if there are none.
    pub since: Option<i64>,
    /// What is lost for it since the agent started.
    pub lost: Losses,
}

/// What the log takes, for all collectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes in memory.
    pub memory: usize,
    /// Bytes on disk.
    pub disk: u64,
    /// The limits in force.
    pub limits: Limits,
    /// For how much time there is room in all, if samples go on as those that are kept. None if too
    /// little is kept to tell.
    pub room: Option<Duration>,
    /// The disk cannot be used at present.
    pub disk_failing: bool,
}

/// What an administrator should know. Each is told once, not again for each sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HistoryEvent {
    /// Samples cannot be written; they are kept in memory alone.
    DiskFailing(String),
    /// They can be written again.
    DiskWorks,
    /// Samples of an earlier run of the agent are kept.
    Found {
        /// How many, as far as it is known without reading them.
        samples: u64,
        /// How many bytes they have on disk.
        bytes: u64,
    },
    /// So many bytes at the end of the last file were damaged, and are left out.
    TailDamaged(u64),
    /// Files were no use, and were removed.
    Unreadable(u64),
    /// Samples are lost for a collector.
    Losing {
        /// Its name in the settings.
        collector: String,
        /// Why.
        why: Why,
        /// Which.
        loss: Loss,
        /// They are the first since it had all.
        begins: bool,
    },
    /// A collector was told of all that is lost for it, and goes on with what is kept.
    Lost {
        /// Its name in the settings.
        collector: String,
        /// Why.
        why: Why,
        /// Which, since it had all.
        loss: Loss,
    },
}
