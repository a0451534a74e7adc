//! How many connections each listening socket may have, of the descriptors that this process may
//! have. Pure.
//!
//! Each has a share that no other takes, and some are kept back: peers that fill all ports
//! keep neither the bus nor a file from being opened.

/// Kept back for files, the bus, the log, targets of remote write and all else.
const KEPT_BACK: u64 = 128;

/// Viewers at most.
const MAX_VIEWERS: u64 = 2048;

/// Connections for HTTP at most. Many more than there are servers of Prometheus and people who
/// look: while another program makes some thousand connections a second, each has some 50 ms for
/// its next step. Each may cost 416 KiB in the kernel, and some 30 KB here.
pub(super) const MAX_WEB: usize = 256;

/// What viewers and HTTP each take at most of few descriptors: one part of so many.
const PARTS: u64 = 8;

/// Connections at a time, by listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Of agents.
    pub agents: usize,
    /// Of viewers.
    pub viewers: usize,
    /// For HTTP.
    pub web: usize,
    /// Descriptors that none of them takes.
    pub kept_back: u64,
}

impl Shares {
    /// Of so many descriptors. All are served, so that it does not matter which ports are open.
    #[must_use]
    pub fn of(descriptors: u64) -> Self {
        let kept_back = KEPT_BACK.min(descriptors / 2);
        let left = descriptors - kept_back;
        let viewers = MAX_VIEWERS.min(left / PARTS);
        let web = (MAX_WEB as u64).min(left / PARTS);
        let connections = |share: u64| usize::try_from(share).unwrap_or(usize::MAX).max(1);
        Self {
            agents: connections(left - viewers - web),
            viewers: connections(viewers),
            web: connections(web),
            kept_back,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_leave_what_is_kept_back() {
        for (descriptors, agents, viewers, web, kept_back) in [
            (65_536, 63_104, 2_048, 256, 128),
            (1_024, 672, 112, 112, 128),
            (256, 96, 16, 16, 128),
            (100, 38, 6, 6, 50),
        ] {
            let expected = Shares {
                agents,
                viewers,
                web,
                kept_back,
            };
            assert_eq!(Shares::of(descriptors), expected, "{descriptors}");
            assert_eq!((agents + viewers + web) as u64 + kept_back, descriptors);
        }
        assert_eq!(Shares::of(0).agents, 1);
        assert!(Shares::of(u64::MAX).agents > 1 << 60);
    }
}
