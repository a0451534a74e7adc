//! What goes into the table of viewers and what comes out of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::collector::hosts::ViewerKind;
use crate::curve::keys::PublicKey;
use crate::curve::router::RoutingIdBytes;
use crate::metrics::families::FamilySet;
use crate::protocol::message::{GridKind, Message, VIEWER_ID_PREFIX};

/// How long a viewer may take, and has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A viewer that was sent nothing for this long is sent a ping.
    pub silence: Duration,
    /// A viewer that was not heard from for this long is dropped.
    pub patience: Duration,
    /// From the beginning of one answer to the next.
    pub answer: Duration,
    /// A viewer that was not heard from for this long may have to make room for another.
    pub hello: Duration,
}

impl Timing {
    /// The protocol's: viewers are pinged after 20 s, and say hello at least every 30 s. One
    /// hello that got lost is forgiven. Answers with all models are at least 5 s apart, as
    /// the models of one agent are: a flood of hellos costs no more than that.
    pub const PROTOCOL: Self = Self {
        silence: Duration::from_secs(20),
        patience: Duration::from_secs(60),
        answer: Duration::from_secs(5),
        hello: Duration::from_secs(30),
    };
}

/// Who a viewer is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// Its connection.
    pub routing_id: RoutingIdBytes,
    /// Where it is, without a port.
    pub address: Option<String>,
    /// The key that it was let in with.
    pub key: Option<PublicKey>,
}

impl Who {
    /// Returns true if it wants the states of hosts.
    #[must_use]
    pub fn wants_states(&self) -> bool {
        self.routing_id.starts_with(VIEWER_ID_PREFIX)
    }

    /// Returns true if it wants the latest values of each host at once.
    #[must_use]
    pub fn wants_latest(&self) -> bool {
        self.routing_id.starts_with(VIEWER_ID_PREFIX)
    }

    /// What models it takes.
    #[must_use]
    pub fn viewers(&self) -> ViewerKind {
        if self.routing_id.starts_with(VIEWER_ID_PREFIX) {
            ViewerKind::Robust
        } else {
            ViewerKind::Deployed
        }
    }
}

/// What became of a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hello {
    /// A new viewer.
    Came(Who),
    /// A new viewer, in the place of the one that was silent for longest.
    InsteadOf {
        /// It.
        who: Who,
        /// The one that had to go.
        other: Who,
    },
    /// One that is known.
    Again,
    /// There are [`MAX_VIEWERS`](super::table::MAX_VIEWERS) already.
    Full,
    /// There are [`MAX_VIEWERS_OF_KEY`](super::table::MAX_VIEWERS_OF_KEY) of this key already.
    KeyFull(PublicKey),
}

/// What is worth saying.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was not heard from for too long.
    Silent {
        /// Who.
        who: Who,
        /// For how long.
        silence: Duration,
    },
    /// Its connection has ended.
    Left {
        /// Who.
        who: Who,
    },
    /// It does not keep up.
    Lost {
        /// Who.
        who: Who,
        /// Messages that it missed since this was last said.
        messages: u64,
    },
}

/// The models of hosts, as a viewer gets them.
pub trait Models {
    /// The hosts whose models these viewers may have.
    fn names(&self, viewers: ViewerKind) -> Vec<Arc<str>>;

    /// Writes the model of a host for these viewers as JSON into `out`, which is empty; false
    /// where there is none.
    fn write(&self, host: &str, viewers: ViewerKind, out: &mut Vec<u8>) -> bool;

    /// The hosts that report, and have sent metrics.
    fn heard(&self) -> Vec<Arc<str>>;

    /// Writes as JSON into `out`, which is empty, the next of the messages of a host, from before that
    /// time, that hold its latest values, beside families that are `told`; returns the families in
    /// it, or None where there is none.
    fn write_metrics(
        &self,
        host: &str,
        before: Instant,
        told: FamilySet,
        out: &mut Vec<u8>,
    ) -> Option<FamilySet>;

    /// The hosts that are known and do not report.
    fn absent(&self) -> Vec<Arc<str>>;

    /// Writes since when a host does not report as JSON into `out`, which is empty; false
    /// where it reports, or is not known any more.
    fn write_state(&self, host: &str, out: &mut Vec<u8>) -> bool;
}

/// What a live message holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What an agent has sent.
    Grid(GridKind),
    /// The same, a model, as only these viewers get it.
    ModelFor(ViewerKind),
    /// Whether a host reports; only for those who have asked for it.
    State,
}

impl Kind {
    /// The message.
    pub(super) fn message<'a>(self, host: &'a str, grid: &'a [u8]) -> Message<'a> {
        match self {
            Self::Grid(kind) => Message::Grid { host, grid, kind },
            Self::ModelFor(_) => Message::Grid {
                host,
                grid,
                kind: GridKind::Model,
            },
            Self::State => Message::State { host, grid },
        }
    }
}

/// Messages handed to viewers and not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed to a viewer's queue.
    pub sent: u64,
    /// Missed by a viewer that did not keep up.
    pub lost: u64,
}
