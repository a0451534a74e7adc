//! Finds where one message of a bus ends and the next begins, and which messages are discarded.

/// The longest call or signal, which any user may send: those that mean something to us are not a
/// hundredth as long.
const UNASKED_BYTES: u64 = 64 * 1024;

/// The longest answer to a call of our own. The service manager's lists are the longest: some
/// 300 bytes for each unit, of which there may be ten thousands.
const ANSWER_BYTES: u64 = 16 * 1024 * 1024;

/// The part of a header that says how long a message is (D-Bus specification, "Message
/// Format"): byte order, type, flags, version, and three numbers: the body's length, the serial
/// and the length of the fields.
pub(super) const HEADER_BYTES: usize = 16;

/// The position of the next byte in what the bus sends.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// At the first byte of a line or of a message.
    #[default]
    Between,
    /// In a line of the authentication, which comes before all messages.
    Line,
    /// In a message; this many bytes of it are left.
    Message(usize),
    /// At the first byte of a call; its header's length and its whole length.
    Call { header: usize, all: usize },
    /// In a message that is discarded.
    Unread(u64),
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes of those that are there are for zbus.
    Pass(usize),
    /// Discard this many of the bytes that are there.
    Skip(usize),
    /// Nothing is there; the next bytes, this many, are for zbus.
    Inside(usize),
    /// A call is there with its header, which has so many bytes; the caller decides if zbus gets
    /// it.
    Judge(usize),
    /// More has to be there first.
    More,
}

impl Stream {
    /// What to do with these bytes.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Step {
        if *self == Self::Between {
            *self = match bytes {
                [] => return Step::More,
                [b'l' | b'B', ..] => match bytes.first_chunk() {
                    Some(header) => Self::of(header),
                    None => return Step::More,
                },
                // The bus answers AUTH with OK or REJECTED, in capitals.
                _ => Self::Line,
            };
        }
        match *self {
            Self::Message(left) if bytes.is_empty() => Step::Inside(left),
            _ if bytes.is_empty() => Step::More,
            Self::Between | Self::Line => {
                let end = bytes.iter().position(|byte| *byte == b'\n');
                Step::Pass(end.map_or(bytes.len(), |end| end + 1))
            }
            Self::Message(left) => Step::Pass(left.min(bytes.len())),
            Self::Call { header, .. } if header > bytes.len() => Step::More,
            Self::Call { header, .. } => Step::Judge(header),
            Self::Unread(left) => {
                Step::Skip(usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len())))
            }
        }
    }

    /// So many bytes are passed on, or forgotten; `last` is the last of those passed on.
    pub(super) fn advance(&mut self, bytes: usize, last: Option<u8>) {
        let left = match *self {
            Self::Between => Self::Between,
            Self::Line if last == Some(b'\n') => Self::Between,
            here @ (Self::Line | Self::Call { .. }) => here,
            Self::Message(left) => Self::Message(left.saturating_sub(bytes)),
            Self::Unread(left) => Self::Unread(left.saturating_sub(bytes as u64)),
        };
        *self = match left {
            Self::Message(0) | Self::Unread(0) => Self::Between,
            left => left,
        };
    }

    /// It is decided whether zbus gets the call.
    pub(super) fn judged(&mut self, admitted: bool) {
        if let Self::Call { all, .. } = *self {
            *self = if admitted {
                Self::Message(all)
            } else {
                Self::Unread(all as u64)
            };
        }
    }

    /// By the header of a message.
    fn of(header: &[u8; HEADER_BYTES]) -> Self {
        let &[
            order,
            kind,
            _,
            _,
            b0,
            b1,
            b2,
            b3,
            _,
            _,
            _,
            _,
            f0,
            f1,
            f2,
            f3,
        ] = header;
        let number = |bytes| u64::from(number(order, bytes));
        let (body, fields) = (number([b0, b1, b2, b3]), number([f0, f1, f2, f3]));
        // The body begins at a multiple of eight.
        let length = HEADER_BYTES as u64 + fields.next_multiple_of(8) + body;
        // METHOD_RETURN and ERROR; the bus passes on none that was not asked for.
        let most = match kind {
            2 | 3 => ANSWER_BYTES,
            _ => UNASKED_BYTES,
        };
        match usize::try_from(length) {
            // METHOD_CALL
            Ok(all) if kind == 1 && length <= most => Self::Call {
                header: HEADER_BYTES + usize::try_from(fields).unwrap_or(all),
                all,
            },
            Ok(fits) if length <= most => Self::Message(fits),
            _ => {
                tracing::debug!(
                    "a message of {length} bytes on the bus is not read: the limit is {most}"
                );
                Self::Unread(length)
            }
        }
    }
}

/// A number as a message of this byte order has it.
pub(super) fn number(order: u8, bytes: [u8; 4]) -> u32 {
    match order {
        b'B' => u32::from_be_bytes(bytes),
        _ => u32::from_le_bytes(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message's header: byte order, type, body and fields.
    fn header(order: u8, kind: u8, body: u32, fields: u32) -> Vec<u8> {
        let bytes = |number: u32| match order {
            b'B' => number.to_be_bytes(),
            _ => number.to_le_bytes(),
        };
        let mut header = vec![order, kind, 0, 1];
        header.extend([bytes(body), bytes(1), bytes(fields)].concat());
        header
    }

    /// What comes through of these bytes, that arrive in pieces of this size.
    fn through(bytes: &[u8], piece: usize) -> Vec<u8> {
        let (mut stream, mut out, mut held) = (Stream::default(), Vec::new(), Vec::new());
        let mut rest = bytes.chunks(piece);
        loop {
            match stream.next(&held) {
                Step::Pass(bytes) => {
                    out.extend(held.drain(..bytes));
                    stream.advance(bytes, out.last().copied());
                }
                Step::Skip(bytes) => {
                    held.drain(..bytes);
                    stream.advance(bytes, None);
                }
                Step::Judge(_) => stream.judged(true),
                Step::Inside(_) | Step::More => match rest.next() {
                    Some(more) => held.extend(more),
                    None => return out,
                },
            }
        }
    }

    #[test]
    fn what_is_too_long_is_left_out_and_nothing_else() {
        let line = b"OK 0123456789abcdef0123456789abcdef\r\n";
        let small = [header(b'l', 1, 4, 12), vec![7; 4 + 16]].concat();
        let body = u32::try_from(UNASKED_BYTES).unwrap() - 16 - 16;
        let longest = [header(b'l', 4, body, 9), vec![8; 16 + body as usize]].concat();
        let call = [
            header(b'l', 1, body + 1, 9),
            vec![9; 16 + body as usize + 1],
        ]
        .concat();
        let signal = [
            header(b'B', 4, body + 1, 9),
            vec![9; 16 + body as usize + 1],
        ]
        .concat();
        let answer = [
            header(b'B', 2, body + 1, 9),
            vec![5; 16 + body as usize + 1],
        ]
        .concat();
        let all = [
            &line[..],
            &small,
            &call,
            &longest,
            &signal,
            &answer,
            &call,
            &small,
        ]
        .concat();
        let expected = [&line[..], &small, &longest, &answer, &small].concat();
        for piece in [1, 15, 16, 17, 4096, all.len()] {
            assert!(through(&all, piece) == expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn no_length_overflows() {
        let header: [u8; HEADER_BYTES] = header(b'l', 2, u32::MAX, u32::MAX).try_into().unwrap();
        let length = 16 + (1 << 32) + u64::from(u32::MAX);
        assert_eq!(Stream::of(&header), Stream::Unread(length));
    }
}
