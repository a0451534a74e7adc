//! What a source is made with.

use std::sync::Arc;

use super::{
    background::{Prober, Wakeup},
    bus::SystemBus,
    file::Root,
    options::Options,
};

/// What the agent counts, for the source of the agent itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages sent.
    pub messages_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Bytes of the messages sent.
    pub bytes_sent: u64,
    /// Messages that could not be sent.
    pub messages_dropped: u64,
    /// Connections opened again.
    pub reconnects: u64,
    /// Log lines that found no room.
    pub log_lost: u64,
}

/// Where to ask for the counts.
pub type CountsSource = Arc<dyn Fn() -> Counts + Send + Sync>;

/// What a source is made with.
#[derive(Clone)]
pub struct Context {
    /// Where /proc, /sys and the rest are found.
    pub root: Root,
    /// What the administrator chose.
    pub options: Arc<Options>,
    /// Does what may block.
    pub prober: Prober,
    /// To be rung when [`Source::ready`](super::Source::ready) may have become true.
    pub wakeup: Wakeup,
    /// For sources that ask services.
    pub bus: SystemBus,
    /// What the agent counts.
    pub counts: CountsSource,
}

impl Context {
    /// One for the files below a root, with defaults for all the rest.
    #[must_use]
    pub fn new(root: Root) -> Self {
        let wakeup = Wakeup::default();
        Self {
            root,
            options: Arc::default(),
            prober: Prober::new(wakeup.clone()),
            wakeup,
            bus: SystemBus::default(),
            counts: Arc::new(Counts::default),
        }
    }
}
