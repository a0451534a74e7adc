//! The second wire: what our agent and our collector say to each other so that no sample is lost.
//!
//! - `data.proto` and [`wire`]: the messages of protobuf;
//! - [`control`]: what a collector offers, and its receipts;
//! - [`coding`]: a value as 64 bits that are few where it has changed little;
//! - [`dictionary`]: the sender's ids of series and schemas;
//! - [`body`]: a body put together from what was encoded before;
//! - [`sent`]: what a body says of itself;
//! - [`reader`]: a body as its receiver reads it, bounded.
//!
//! Owns no log and no clock; see the module of each end.

pub mod body;
pub mod coding;
pub mod control;
pub mod dictionary;
pub mod reader;
pub mod sent;
pub mod wire;

pub use body::BodyWriter;
pub use control::{Acknowledged, Offer, Receipt, Word};
pub use dictionary::{Dictionary, Point, Sampled};
pub use reader::{Body, Fault, Item, Keep, Reader, Scratch};
pub use sent::Sent;
