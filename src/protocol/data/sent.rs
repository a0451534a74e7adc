//! What a DATA body says of itself.

/// What a body says of itself when it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The wall clock, in µs since 1970.
    pub time: i64,
    /// `CLOCK_BOOTTIME`, in µs since boot.
    pub boottime: u64,
    /// The id of this boot.
    pub boot: [u8; 16],
    /// How many samples wait after these.
    pub behind: u64,
    /// Samples from this number on are also what is now; 0 for none.
    pub now_from: u64,
    /// By how much the collector moves the times, in µs, as its last offer has said; 0 for not at all.
    pub moved: i64,
}
