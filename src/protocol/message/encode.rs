//! A grid of ours as the JSON of a message, refusing what a grid cannot hold.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

use super::MAX_GRID_BYTES;

/// Writes a grid as a JSON object into `out`, which is cleared first and keeps its
/// memory, so that a reused buffer costs no allocation.
///
/// The grid must serialise as one flat map of numbers and strings. Metrics that could
/// not be read are to be left out by the caller: JSON has no number for them.
///
/// # Errors
///
/// [`EncodeError`]; `out` is empty then.
pub fn encode_grid(grid: &impl Serialize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    out.clear();
    let encoded = write_grid(grid, out);
    if encoded.is_err() {
        out.clear();
    }
    encoded
}

/// Why a grid of ours could not be written: a bug in what was sampled, or a host with
/// absurdly many metrics.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// JSON has no NaN and no infinities; a null is not finite either.
    #[error("the grid has a value that is not a finite number")]
    NotFinite,
    /// A grid is one object of numbers and strings.
    #[error("the grid is not a flat object of numbers and strings")]
    NotFlat,
    /// No collector would take it.
    #[error("the grid has {bytes} bytes; at most {MAX_GRID_BYTES} can be sent")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The grid's own serialisation failed.
    #[error("the grid could not be written as JSON")]
    Serialize(#[source] serde_json::Error),
}

fn write_grid(grid: &impl Serialize, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut fault = None;
    let formatter = FlatFormatter {
        inside: false,
        fault: &mut fault,
    };
    let written = grid.serialize(&mut serde_json::Serializer::with_formatter(
        &mut *out, formatter,
    ));
    match (fault, written) {
        (Some(fault), _) => Err(fault),
        (None, Err(error)) => Err(EncodeError::Serialize(error)),
        (None, Ok(())) if out.first() != Some(&b'{') => Err(EncodeError::NotFlat),
        (None, Ok(())) if out.len() > MAX_GRID_BYTES => {
            Err(EncodeError::TooLarge { bytes: out.len() })
        }
        (None, Ok(())) => Ok(()),
    }
}

/// Compact JSON that refuses what a grid cannot hold. (`serde_json` itself would write a
/// float that is not finite as null.)
struct FlatFormatter<'a> {
    inside: bool,
    fault: &'a mut Option<EncodeError>,
}

impl FlatFormatter<'_> {
    fn refuse(&mut self, fault: EncodeError) -> io::Result<()> {
        *self.fault = Some(fault);
        Err(io::ErrorKind::InvalidInput.into())
    }
}

impl Formatter for FlatFormatter<'_> {
    fn write_null<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.refuse(EncodeError::NotFinite)
    }

    fn write_bool<W: ?Sized + io::Write>(&mut self, _: &mut W, _: bool) -> io::Result<()> {
        self.refuse(EncodeError::NotFlat)
    }

    fn begin_array<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.refuse(EncodeError::NotFlat)
    }

    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.inside {
            return self.refuse(EncodeError::NotFlat);
        }
        self.inside = true;
        writer.write_all(b"{")
    }
}
