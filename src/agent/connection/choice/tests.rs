use super::*;
use crate::curve::keys::PublicKey;

fn key(number: u8) -> PublicKey {
    PublicKey::from_bytes([number; 32])
}

fn settings(endpoints: &[&str], keys: u8) -> CollectorSettings {
    CollectorSettings {
        endpoints: endpoints.iter().map(|text| text.parse().unwrap()).collect(),
        order: EndpointOrder::Listed,
        public_keys: (0..keys).map(key).collect(),
    }
}

fn choice(endpoints: &[&str], keys: u8) -> Choice {
    Choice::new(&settings(endpoints, keys), &mut || 0.0)
}

fn target(priority: u16, name: &str) -> Target {
    Target {
        priority,
        weight: 0,
        endpoint: name.parse().unwrap(),
    }
}

/// The host that is tried, without its port.
fn host(choice: &Choice) -> String {
    choice.address().trim_end_matches(":5556").to_owned()
}

fn minutes(count: u32) -> Duration {
    PROBE_EVERY * count
}

/// It reported at the present address for so long, and then failed.
fn reported(choice: &mut Choice, start: Instant, lasting: Duration) -> bool {
    choice.linked();
    choice.reports(true, start);
    choice.failed(Failure::Other, start + lasting)
}

/// How many probes that find the first address it takes until the agent goes back.
fn probes(choice: &mut Choice, now: Instant) -> u32 {
    choice.linked();
    choice.reports(true, now);
    (1..100_000)
        .find(|_| choice.probed(true).is_some())
        .unwrap()
}

#[test]
fn one_address_waits_after_each_failure() {
    let now = Instant::now();
    let mut choice = choice(&["a"], 1);
    for _ in 0..3 {
        assert_eq!(host(&choice), "a");
        assert!(!choice.failed(Failure::Other, now));
        assert!(!choice.failed(Failure::Key, now));
        assert!(!reported(&mut choice, now, minutes(60)));
    }
    assert!(!choice.has_several());
    choice.reports(true, now);
    assert_eq!(choice.to_probe(), None);
}

#[test]
fn a_round_waits_only_once_each_has_failed() {
    let now = Instant::now();
    let mut choice = choice(&["a", "b", "c"], 1);
    for round in 0..3 {
        for (tried, at_once) in [("a", true), ("b", true), ("c", false)] {
            assert_eq!(host(&choice), tried, "{round}");
            assert_eq!(choice.failed(Failure::Other, now), at_once, "{round}");
        }
    }
}

#[test]
fn after_one_that_worked_the_next_is_tried_and_then_those_before() {
    let now = Instant::now();
    let mut choice = choice(&["a", "b", "c"], 1);
    assert!(choice.failed(Failure::Other, now));
    assert_eq!(host(&choice), "b");
    assert!(reported(&mut choice, now, minutes(5)));
    for (tried, at_once) in [("c", true), ("a", false), ("a", true), ("b", true)] {
        assert_eq!(host(&choice), tried);
        assert_eq!(choice.failed(Failure::Other, now), at_once, "{tried}");
    }
}

/// Two that answer and fail at once are not tried in turn without a wait.
#[test]
fn addresses_that_come_and_go_end_the_round() {
    let now = Instant::now();
    let mut choice = choice(&["a", "b"], 1);
    for _ in 0..3 {
        assert!(reported(&mut choice, now, PROVEN / 2));
        assert_eq!(host(&choice), "b");
        assert!(!reported(&mut choice, now, PROVEN / 2));
        assert_eq!(host(&choice), "a");
    }
    // One that lasted may be left for the other without a wait, and back.
    assert!(reported(&mut choice, now, PROVEN));
    assert!(reported(&mut choice, now, PROVEN));
    assert_eq!(host(&choice), "a");
}

#[test]
fn the_first_has_to_be_reachable_for_ten_minutes_without_a_break() {
    let now = Instant::now();
    let mut choice = choice(&["a", "b"], 1);
    choice.reports(true, now);
    assert_eq!(choice.to_probe(), None, "it is the first");
    choice.failed(Failure::Other, now);
    assert_eq!(choice.to_probe(), None, "it does not report");
    choice.linked();
    choice.reports(true, now);
    let first = "a".parse().unwrap();
    assert_eq!(choice.to_probe(), Some((first, vec![key(0)])));
    for _ in 0..HOLD {
        assert_eq!(choice.probed(true), None);
    }
    assert_eq!(choice.probed(false), None);
    // The first of these begins the ten minutes.
    for _ in 0..HOLD {
        assert_eq!(choice.probed(true), None);
        assert_eq!(host(&choice), "b");
    }
    assert_eq!(choice.probed(true), Some(minutes(HOLD)));
    assert_eq!(host(&choice), "a");
    assert_eq!(choice.to_probe(), None);
}

/// What was found out does not count for the next time.
#[test]
fn another_failure_begins_the_ten_minutes_anew() {
    let now = Instant::now();
    let mut choice = choice(&["a", "b", "c"], 1);
    choice.failed(Failure::Other, now);
    choice.reports(true, now);
    for _ in 0..HOLD {
        assert_eq!(choice.probed(true), None);
    }
    choice.failed(Failure::Other, now + minutes(10));
    assert_eq!(host(&choice), "c");
    assert_eq!(probes(&mut choice, now), HOLD + 1);
}

#[test]
fn a_first_address_that_is_of_no_use_is_left_alone_for_longer_and_longer() {
    let now = Instant::now();
    let mut choice = choice(&["a", "b"], 1);
    choice.failed(Failure::Other, now);
    let mut expected = HOLD;
    for _ in 0..12 {
        assert_eq!(probes(&mut choice, now), expected + 1);
        // It can be reached, and refuses or is silent, or fails soon.
        assert_eq!(host(&choice), "a");
        assert!(reported(&mut choice, now, minutes(HOLD - 1)));
        expected = (expected * 2).min(MAX_HOLD);
    }
    assert_eq!(expected, MAX_HOLD);
    // Once it has lasted, all is well.
    assert_eq!(probes(&mut choice, now), MAX_HOLD + 1);
    assert!(reported(&mut choice, now, minutes(HOLD)));
    assert_eq!(probes(&mut choice, now), HOLD + 1);
}

#[test]
fn each_key_is_tried_before_the_next_address() {
    let now = Instant::now();
    let mut choice = choice(&["a", "b"], 3);
    for (tried, number, at_once) in [
        ("a", 0, true),
        ("a", 1, true),
        ("a", 2, true),
        ("b", 2, true),
        ("b", 0, true),
        ("b", 1, false),
    ] {
        assert_eq!(host(&choice), tried);
        assert_eq!(choice.key(), Some(key(number)));
        assert_eq!(
            choice.failed(Failure::Key, now),
            at_once,
            "{tried} {number}"
        );
    }
    assert_eq!(host(&choice), "a");
}

#[test]
fn what_is_not_about_the_key_tries_no_other() {
    let now = Instant::now();
    let mut choice = choice(&["a", "b"], 3);
    assert!(choice.failed(Failure::Key, now));
    assert_eq!(
        (host(&choice), choice.key()),
        ("a".to_owned(), Some(key(1)))
    );
    assert!(choice.failed(Failure::Other, now));
    assert_eq!(host(&choice), "b");
}

#[test]
fn the_key_that_worked_is_tried_first_where_it_worked() {
    let now = Instant::now();
    let mut choice = choice(&["a", "b"], 2);
    choice.failed(Failure::Key, now);
    assert_eq!(choice.key(), Some(key(1)));
    assert!(reported(&mut choice, now, minutes(5)));
    // Not known yet: as where it worked last.
    assert_eq!(
        (host(&choice), choice.key()),
        ("b".to_owned(), Some(key(1)))
    );
    choice.failed(Failure::Key, now);
    assert_eq!(choice.key(), Some(key(0)));
    choice.linked();
    choice.reports(true, now);
    let (_, keys) = choice.to_probe().unwrap();
    assert_eq!(keys, [key(1), key(0)]);
    assert!(choice.failed(Failure::Other, now + minutes(5)));
    assert_eq!(
        (host(&choice), choice.key()),
        ("a".to_owned(), Some(key(1)))
    );
    choice.failed(Failure::Other, now);
    // A new key, which is the other one.
    choice.begin_round();
    assert!(choice.failed(Failure::Key, now));
    assert_eq!(
        (host(&choice), choice.key()),
        ("a".to_owned(), Some(key(0)))
    );
}

#[test]
fn the_targets_of_a_service_take_its_place_until_the_next_round() {
    let now = Instant::now();
    let mut choice = choice(&["a", "srv:example.org", "b"], 1);
    assert!(choice.has_several());
    choice.failed(Failure::Other, now);
    for targets in [&[(1, "x"), (2, "y")][..], &[(1, "z")]] {
        let Some(Step::Find(name)) = choice.step() else {
            panic!("{:?}", choice.step());
        };
        assert_eq!(name.to_string(), "_metrics-agent._tcp.example.org");
        let found = targets
            .iter()
            .map(|(priority, name)| target(*priority, name));
        choice.found(found.collect(), &mut || 0.0);
        for (_, name) in targets {
            assert_eq!(host(&choice), *name);
            assert!(choice.failed(Failure::Other, now));
        }
        assert_eq!(host(&choice), "b");
        assert!(!choice.failed(Failure::Other, now));
        assert_eq!(host(&choice), "a");
        assert!(choice.failed(Failure::Other, now));
    }
    // One that is not found is passed over.
    assert!(choice.failed(Failure::Other, now));
    assert_eq!(host(&choice), "b");
}

#[test]
fn a_service_alone_has_a_first_target_too() {
    let now = Instant::now();
    let mut choice = choice(&["srv:example.org"], 1);
    let targets = || vec![target(5, "x"), target(5, "y"), target(9, "z")];
    choice.found(targets(), &mut || 0.0);
    for expected in ["x", "y"] {
        assert_eq!(host(&choice), expected);
        choice.reports(true, now);
        assert_eq!(
            choice.to_probe(),
            None,
            "{expected} is as good as the other"
        );
        assert!(
            choice.failed(Failure::Other, now + minutes(5)),
            "{expected}"
        );
    }
    assert_eq!(host(&choice), "z");
    choice.linked();
    choice.reports(true, now);
    let (first, _) = choice.to_probe().unwrap();
    assert_eq!(first.to_string(), "srv:_metrics-agent._tcp.example.org");
    assert_eq!(probes(&mut choice, now), HOLD + 1);
    assert!(matches!(choice.step(), Some(Step::Find(_))));
    choice.found(targets(), &mut || 0.0);
    choice.reports(true, now);
    assert_eq!(choice.to_probe(), None);
}

#[test]
fn a_drawn_order_is_kept_and_each_is_as_likely() {
    let now = Instant::now();
    let mut settings = settings(&["a", "b", "c"], 1);
    settings.order = EndpointOrder::Random;
    let mut seen = BTreeMap::new();
    // Every combination of the two draws, in sixths.
    for draw in 0..36u8 {
        let mut shares = [draw % 6, draw / 6]
            .map(|sixth| (f64::from(sixth) + 0.5) / 6.0)
            .into_iter();
        let mut choice = Choice::new(&settings, &mut || shares.next().unwrap());
        let mut round = || {
            let mut order = String::new();
            loop {
                order += &host(&choice);
                if !choice.failed(Failure::Other, now) {
                    return order;
                }
            }
        };
        let order = round();
        assert_eq!(round(), order);
        *seen.entry(order).or_insert(0) += 1;
    }
    let all = ["abc", "acb", "bac", "bca", "cab", "cba"];
    assert_eq!(seen, all.map(|order| (order.to_owned(), 6)).into());
}
