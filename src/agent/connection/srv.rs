//! SRV records, put into the order in which their targets are tried (RFC 2782). Pure.

use crate::curve::endpoint::Endpoint;

/// Targets of one service at most. A service with more has its least preferred ones cut off: more
/// than one answer over UDP holds was hardly meant.
pub(crate) const MAX_TARGETS: usize = 32;

/// One record: where the service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// Those with a lower one go first.
    pub(crate) priority: u16,
    /// Its share among those with the same priority.
    pub(crate) weight: u16,
    /// Its host and port.
    pub(crate) endpoint: Endpoint,
}

/// The targets in the order in which they are tried: by priority, and with the same one in an order
/// that is drawn by their weights. `random` gives numbers evenly distributed in 0..1.
pub(crate) fn ordered(mut targets: Vec<Target>, random: &mut impl FnMut() -> f64) -> Vec<Target> {
    // Those without a weight stand first, so that a draw of 0 finds them.
    targets.sort_by_key(|target| (target.priority, target.weight));
    targets.truncate(MAX_TARGETS);
    let mut ordered: Vec<Target> = Vec::with_capacity(targets.len());
    for alike in targets.chunk_by(|a, b| a.priority == b.priority) {
        let mut left: Vec<&Target> = alike.iter().collect();
        while !left.is_empty() {
            let target = left.remove(drawn(&left, random()));
            // A record that is there twice is one place to try.
            if !ordered.iter().any(|one| one.endpoint == target.endpoint) {
                ordered.push(target.clone());
            }
        }
    }
    ordered
}

/// The first whose running sum of weights reaches the share of their total. Without any weights,
/// which RFC 2782 leaves open, all are alike: else a fleet would go to the same one.
fn drawn(targets: &[&Target], share: f64) -> usize {
    let total: u32 = targets.iter().map(|target| u32::from(target.weight)).sum();
    let last = targets.len().saturating_sub(1);
    if total == 0 {
        return below(targets.len(), share);
    }
    let wanted = (f64::from(total) + 1.0) * share;
    let mut sum = 0;
    let reached = targets.iter().position(|target| {
        sum += u32::from(target.weight);
        f64::from(sum) >= wanted.floor()
    });
    reached.unwrap_or(last)
}

/// A place among so many, each as likely, for a number evenly distributed in 0..1. One that is out
/// of that range gives the last place.
pub(super) fn below(count: usize, share: f64) -> usize {
    let count_f64 = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what does not fit is the nearest that does, and not a number is 0"
    )]
    let place = (share * count_f64) as usize;
    place.min(count.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(priority: u16, weight: u16, name: &str) -> Target {
        Target {
            priority,
            weight,
            endpoint: name.parse().unwrap(),
        }
    }

    fn names(targets: &[Target]) -> Vec<String> {
        let names = targets.iter().map(|target| target.endpoint.host());
        names.map(ToString::to_string).collect()
    }

    #[test]
    fn a_lower_priority_goes_first_whatever_the_weights() {
        let targets = vec![
            target(20, 60_000, "c"),
            target(10, 0, "a"),
            target(u16::MAX, 1, "d"),
            target(10, 0, "b"),
        ];
        for (share, expected) in [
            (0.0, ["a", "b", "c", "d"]),
            (0.49, ["a", "b", "c", "d"]),
            (0.51, ["b", "a", "c", "d"]),
            // A broken source of chance.
            (7.0, ["b", "a", "c", "d"]),
            (f64::NAN, ["a", "b", "c", "d"]),
        ] {
            let ordered = names(&ordered(targets.clone(), &mut || share));
            assert_eq!(ordered, expected, "{share}");
        }
    }

    #[test]
    fn of_one_priority_each_goes_first_as_often_as_its_weight_says() {
        let targets = vec![
            target(1, 60, "a"),
            target(1, 20, "b"),
            target(1, 20, "c"),
            target(1, 0, "d"),
        ];
        // Every share once, evenly: those of 0..=100 belong to d, c or b, and a by their weights.
        let mut first = std::collections::BTreeMap::new();
        for number in 0..101 {
            let mut share = Some((f64::from(number) + 0.5) / 101.0);
            let ordered = ordered(targets.clone(), &mut || share.take().unwrap_or(0.0));
            assert_eq!(ordered.len(), 4);
            *first.entry(names(&ordered)[0].clone()).or_insert(0) += 1;
        }
        let expected = [("a", 60), ("b", 20), ("c", 20), ("d", 1)];
        let expected = expected.map(|(name, count)| (name.to_owned(), count));
        assert_eq!(first, expected.into());
    }

    #[test]
    fn what_is_there_twice_is_one_and_too_many_are_cut_off() {
        let twice = vec![target(1, 0, "a"), target(2, 5, "b"), target(3, 0, "a")];
        assert_eq!(names(&ordered(twice, &mut || 0.0)), ["a", "b"]);
        let many = (0..40u16).rev();
        let many = many.map(|number| target(number, 0, &format!("h{number}")));
        let ordered = ordered(many.collect(), &mut || 0.5);
        assert_eq!(ordered.len(), MAX_TARGETS);
        assert_eq!(names(&ordered)[31], "h31");
    }
}
