//! What systemd-timesyncd says of its last exchange with a server.

/// The time stamps of an exchange, in µs of the wall clocks (RFC 5905, section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// When the question left here.
    pub origin: u64,
    /// When it came to the server, by its clock.
    pub receive: u64,
    /// When the answer left there.
    pub transmit: u64,
    /// When it came here.
    pub destination: u64,
}

impl Exchange {
    /// How far our clock is behind the server's, in s.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        reason = "a difference so large that it is rounded is wrong by years"
    )]
    pub fn offset_seconds(&self) -> f64 {
        let there = i128::from(self.receive) - i128::from(self.origin);
        let back = i128::from(self.transmit) - i128::from(self.destination);
        (there + back) as f64 / 2e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "halves of a µs are exact enough here")]
    fn the_offset_is_that_of_rfc_5905() {
        // 10 ms each way, and the server's clock half a second ahead.
        let exchange = Exchange {
            origin: 1_000_000,
            receive: 1_510_000,
            transmit: 1_510_100,
            destination: 1_020_100,
        };
        assert_eq!(exchange.offset_seconds(), 0.5);
        let hostile = Exchange {
            origin: 0,
            receive: u64::MAX,
            transmit: u64::MAX,
            destination: 0,
        };
        assert!(hostile.offset_seconds().is_finite());
    }
}
