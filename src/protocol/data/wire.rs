//! The messages of `data.proto` as types. That file describes each field.

/// A DATA message's body. Received ones are read field by field ([`super::Reader`]), so that nothing
/// is built of more than its bound.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Data {
    /// The agent's log.
    #[prost(fixed64, tag = "1")]
    pub stream: u64,
    /// Definitions.
    #[prost(message, repeated, tag = "2")]
    pub series: Vec<Series>,
    /// Definitions.
    #[prost(message, repeated, tag = "3")]
    pub schemas: Vec<Schema>,
    /// In the order of their numbers.
    #[prost(message, repeated, tag = "4")]
    pub samples: Vec<Sample>,
    /// In the order of their numbers.
    #[prost(message, repeated, tag = "5")]
    pub lost: Vec<Lost>,
    /// In µs since 1970.
    #[prost(int64, tag = "6")]
    pub sent_time: i64,
    /// In µs since boot.
    #[prost(uint64, tag = "7")]
    pub sent_boottime: u64,
    /// Samples that wait.
    #[prost(uint64, tag = "8")]
    pub behind: u64,
    /// The lowest id in use.
    #[prost(uint32, tag = "9")]
    pub first_series: u32,
    /// The lowest id in use.
    #[prost(uint32, tag = "10")]
    pub first_schema: u32,
    /// The first number that is also what is now; 0 for none.
    #[prost(uint64, tag = "11")]
    pub now_from: u64,
    /// 16 bytes.
    #[prost(bytes = "vec", tag = "12")]
    pub sent_boot: Vec<u8>,
    /// In µs.
    #[prost(int64, tag = "13")]
    pub moved: i64,
}

/// How a value behaves over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// It goes up and down.
    Gauge = 0,
    /// A count that only grows.
    Counter = 1,
    /// A fact.
    Info = 2,
}

/// What 64 bits mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Type {
    /// A `u64`.
    Unsigned = 0,
    /// An `i64`.
    Signed = 1,
    /// An `f64`.
    Float = 2,
}

/// What distinguishes a value.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Series {
    /// From 1.
    #[prost(uint32, tag = "1")]
    pub id: u32,
    /// The metric.
    #[prost(string, tag = "2")]
    pub name: String,
    /// The instance, and the text of a fact.
    #[prost(message, repeated, tag = "3")]
    pub labels: Vec<Label>,
    /// How it behaves.
    #[prost(enumeration = "Kind", tag = "4")]
    pub kind: i32,
    /// Of the value.
    #[prost(string, tag = "5")]
    pub unit: String,
    /// For a person.
    #[prost(string, tag = "6")]
    pub description: String,
    /// What its bits mean.
    #[prost(enumeration = "Type", tag = "7")]
    pub r#type: i32,
}

/// A label.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Label {
    /// What it is called.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What it says.
    #[prost(string, tag = "2")]
    pub value: String,
}

/// What a source says together.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Schema {
    /// From 1.
    #[prost(uint32, tag = "1")]
    pub id: u32,
    /// The source's name.
    #[prost(string, tag = "2")]
    pub source: String,
    /// Ids, each as the difference to the one before.
    #[prost(sint32, repeated, tag = "3")]
    pub series: Vec<i32>,
}

/// What was sampled at one time.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct Sample {
    /// From 1.
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    /// In µs since 1970.
    #[prost(int64, tag = "2")]
    pub time: i64,
    /// In µs since boot.
    #[prost(uint64, tag = "3")]
    pub boottime: u64,
    /// 16 bytes, or none.
    #[prost(bytes = "vec", tag = "4")]
    pub boot: Vec<u8>,
    /// Whether the values are complete.
    #[prost(bool, tag = "5")]
    pub whole: bool,
    /// Ids.
    #[prost(uint32, repeated, tag = "6")]
    pub schemas: Vec<u32>,
    /// Places.
    #[prost(uint32, repeated, tag = "7")]
    pub absent: Vec<u32>,
    /// Coded; see [`super::coding`].
    #[prost(uint64, repeated, tag = "8")]
    pub values: Vec<u64>,
}

/// A range of samples that is lost.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Lost {
    /// The first number.
    #[prost(uint64, tag = "1")]
    pub from: u64,
    /// The last number.
    #[prost(uint64, tag = "2")]
    pub to: u64,
    /// Why.
    #[prost(enumeration = "Reason", tag = "3")]
    pub reason: i32,
    /// In µs since 1970; 0 where it is not known.
    #[prost(int64, tag = "4")]
    pub from_time: i64,
    /// In µs since 1970; 0 where it is not known.
    #[prost(int64, tag = "5")]
    pub to_time: i64,
}

/// Why samples are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Reason {
    /// Not told.
    Unknown = 0,
    /// The log was full.
    Full = 1,
    /// Damaged on disk.
    Damaged = 2,
    /// Not written before the agent was killed.
    Unwritten = 3,
    /// One sample was too large.
    TooLarge = 4,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Unknown,
        Self::Full,
        Self::Damaged,
        Self::Unwritten,
        Self::TooLarge,
    ];

    /// The word for it in metrics and on the bus.
    #[must_use]
    pub const fn as_word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Full => "full",
            Self::Damaged => "damaged",
            Self::Unwritten => "unwritten",
            Self::TooLarge => "too-large",
        }
    }
}
