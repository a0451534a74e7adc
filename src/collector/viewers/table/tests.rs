use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::*;
use crate::collector::viewers::replay;
use crate::collector::viewers::viewer::{RETRY, RETRY_MAX};
use crate::curve::SendError;
use crate::metrics::LatestMetrics;
use crate::metrics::families::FamilySet;
use crate::protocol::grid::Grid;
use crate::protocol::message::Message;

/// What a viewer has been sent, as text: `web1 {"a":1} model`, `ping`.
type Inbox = Vec<String>;

const SECOND: Duration = Duration::from_secs(1);

const TIMING: Timing = Timing {
    silence: Duration::from_secs(20),
    patience: Duration::from_secs(60),
    answer: Duration::from_secs(5),
    hello: Duration::from_secs(30),
};

#[derive(Default)]
struct Fleet(
    BTreeMap<Arc<str>, String>,
    BTreeMap<Arc<str>, String>,
    BTreeMap<Arc<str>, LatestMetrics>,
);

impl Fleet {
    fn of(hosts: usize) -> Self {
        let model = |number| {
            (
                format!("h{number:05}").into(),
                format!("{{\"n\":{number}}}"),
            )
        };
        Self(
            (0..hosts).map(model).collect(),
            BTreeMap::new(),
            BTreeMap::new(),
        )
    }
}

impl Models for Fleet {
    fn names(&self, _: ViewerKind) -> Vec<Arc<str>> {
        self.0.keys().cloned().collect()
    }

    fn write(&self, host: &str, _: ViewerKind, out: &mut Vec<u8>) -> bool {
        let model = self.0.get(host);
        out.extend(model.into_iter().flat_map(|model| model.bytes()));
        model.is_some()
    }

    fn heard(&self) -> Vec<Arc<str>> {
        self.2.keys().cloned().collect()
    }

    fn write_metrics(
        &self,
        host: &str,
        before: Instant,
        told: FamilySet,
        out: &mut Vec<u8>,
    ) -> Option<FamilySet> {
        self.2.get(host)?.write_next(before, told, out)
    }

    fn absent(&self) -> Vec<Arc<str>> {
        self.1.keys().cloned().collect()
    }

    fn write_state(&self, host: &str, out: &mut Vec<u8>) -> bool {
        let state = self.1.get(host);
        out.extend(state.into_iter().flat_map(|state| state.bytes()));
        state.is_some()
    }
}

/// Viewers on a network: what room their queues have left, and what they got.
struct World {
    table: Table,
    now: Instant,
    fleet: Fleet,
    room: HashMap<String, usize>,
    got: HashMap<String, Inbox>,
}

fn id(name: &str) -> RoutingIdBytes {
    name.as_bytes().into()
}

fn who(name: &str) -> Who {
    Who {
        routing_id: id(name),
        address: Some("192.0.2.1".to_owned()),
        key: None,
    }
}

fn shown(message: &Message<'_>) -> String {
    match message {
        Message::Control(control) => control.word().to_owned(),
        Message::Grid { host, grid, kind } => {
            let grid = str::from_utf8(grid).unwrap();
            format!("{host} {grid} {}", kind.as_str())
        }
        Message::Data { host, .. } => format!("{host} data"),
        Message::State { host, grid } => {
            format!("{host} {} state", str::from_utf8(grid).unwrap())
        }
    }
}

impl World {
    fn new(fleet: Fleet) -> Self {
        Self {
            table: Table::new(TIMING),
            now: Instant::now(),
            fleet,
            room: HashMap::new(),
            got: HashMap::new(),
        }
    }

    fn hello(&mut self, name: &str) -> Hello {
        self.room.entry(name.to_owned()).or_insert(usize::MAX);
        self.table.hello(self.now, &id(name), || who(name))
    }

    /// Sends through queues that have so much room; a name without a queue is not connected.
    fn with<T>(
        &mut self,
        act: impl FnOnce(
            &mut Table,
            Instant,
            &Fleet,
            &mut dyn FnMut(&RoutingIdBytes, &Message<'_>) -> Result<(), SendError>,
        ) -> T,
    ) -> T {
        let (room, got) = (&mut self.room, &mut self.got);
        let mut send = |to: &RoutingIdBytes, message: &Message<'_>| {
            let to = to.to_string();
            let room = room.get_mut(&to).ok_or(SendError::UnknownPeer)?;
            *room = room.checked_sub(1).ok_or(SendError::WouldBlock)?;
            got.entry(to).or_default().push(shown(message));
            Ok(())
        };
        act(&mut self.table, self.now, &self.fleet, &mut send)
    }

    fn forward(&mut self, number: usize) {
        let grid = number.to_string();
        self.with(|table, now, _, mut send| {
            let host = "live".into();
            table.forward(now, &host, GridKind::Metrics, grid.as_bytes(), &mut send);
        });
    }

    fn change(&mut self, host: &str, state: &str) {
        self.with(|table, now, _, mut send| {
            table.forward_state(now, &host.into(), state.as_bytes(), &mut send);
        });
    }

    fn attend(&mut self) -> Vec<Event> {
        self.with(|table, now, fleet, mut send| table.attend(now, fleet, &mut send))
    }

    /// All that is due up to so long from now, when it is due.
    fn pass(&mut self, time: Duration) -> Vec<Event> {
        let end = self.now + time;
        let mut events = Vec::new();
        let mut turns = 0;
        while let Some(due) = self.table.next_due().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            events.extend(self.attend());
            turns += 1;
            assert!(turns < 20_000, "a busy loop");
        }
        self.now = end;
        events
    }

    fn got(&mut self, name: &str) -> Inbox {
        self.got.remove(name).unwrap_or_default()
    }
}

fn live(numbers: std::ops::Range<usize>) -> Inbox {
    numbers.map(|n| format!("live {n} metrics")).collect()
}

fn models(fleet: &Fleet) -> Inbox {
    let model = |(name, grid): (&Arc<str>, &String)| format!("{name} {grid} model");
    fleet.0.iter().map(model).collect()
}

#[test]
fn a_viewer_gets_all_models_and_then_what_comes() {
    let mut world = World::new(Fleet::of(200));
    assert_eq!(world.hello("a"), Hello::Came(who("a")));
    world.attend();
    // What comes before the last model waits behind it.
    world.forward(0);
    world.forward(1);
    world.pass(SECOND);
    world.forward(2);
    let mut expected = models(&world.fleet);
    expected.extend(live(0..3));
    assert_eq!(world.got("a"), expected);
    assert_eq!(world.table.counts().sent, 203);
    assert_eq!(world.table.waiting_bytes(), 0);
}

#[test]
fn models_come_a_few_in_each_turn() {
    let mut world = World::new(Fleet::of(200));
    world.hello("a");
    let mut turns = Vec::new();
    while world.table.next_due().is_some_and(|due| due <= world.now) {
        world.attend();
        turns.push(world.got("a").len());
    }
    assert_eq!(turns, [64, 64, 64, 8]);
}

#[test]
fn no_viewer_gets_anything_unasked_and_it_costs_nothing() {
    let mut world = World::new(Fleet::of(3));
    world.forward(0);
    assert_eq!(world.table.next_due(), None);
    assert!(world.attend().is_empty());
    assert!(world.got.is_empty());
    assert_eq!(world.table.waiting_bytes(), 0);
}

#[test]
fn silence_is_broken_by_a_ping_and_by_nothing_else() {
    let mut world = World::new(Fleet::default());
    world.hello("a");
    world.pass(19 * SECOND);
    assert!(world.got("a").is_empty());
    world.forward(0);
    world.pass(19 * SECOND);
    assert_eq!(world.got("a"), live(0..1));
    world.pass(SECOND);
    assert_eq!(world.got("a"), ["ping"]);
    world.hello("a");
    world.pass(Duration::new(19, 999_999_999));
    assert!(world.got("a").is_empty());
    world.pass(Duration::from_nanos(1));
    assert_eq!(world.got("a"), ["ping"]);
}

#[test]
fn a_ping_that_finds_no_room_is_tried_again_soon() {
    let mut world = World::new(Fleet::default());
    world.hello("a");
    world.pass(Duration::ZERO);
    world.room.insert("a".to_owned(), 0);
    world.pass(22 * SECOND);
    assert!(world.got("a").is_empty());
    world.room.insert("a".to_owned(), usize::MAX);
    world.pass(SECOND);
    assert_eq!(world.got("a"), ["ping"]);
    world.pass(Duration::new(18, 0));
    assert!(world.got("a").is_empty());
}

#[test]
fn one_hello_may_get_lost_and_two_may_not() {
    let mut world = World::new(Fleet::default());
    world.hello("a");
    assert_eq!(world.pass(59 * SECOND), []);
    assert_eq!(world.hello("a"), Hello::Again);
    assert_eq!(world.pass(59 * SECOND), []);
    let silent = Event::Silent {
        who: who("a"),
        silence: 60 * SECOND,
    };
    assert_eq!(world.pass(SECOND), [silent]);
    assert_eq!(world.table.next_due(), None);
    world.got("a");
    world.forward(0);
    assert!(world.got("a").is_empty());
}

#[test]
fn every_hello_is_answered_but_not_at_any_rate() {
    let mut world = World::new(Fleet::of(2));
    let answer = models(&world.fleet);
    world.hello("a");
    world.pass(SECOND);
    assert_eq!(world.got("a"), answer);
    // A flood: one more answer, once 5 s have passed since the last began.
    for _ in 0..1000 {
        assert_eq!(world.hello("a"), Hello::Again);
    }
    world.pass(Duration::new(3, 999_999_999));
    assert!(world.got("a").is_empty());
    world.pass(Duration::from_nanos(1));
    assert_eq!(world.got("a"), answer);
    world.pass(14 * SECOND);
    assert!(world.got("a").is_empty());
    world.hello("a");
    world.pass(Duration::ZERO);
    assert_eq!(world.got("a"), answer);
}

#[test]
fn a_later_answer_does_not_hold_back_what_comes() {
    let mut world = World::new(Fleet::of(100));
    world.hello("a");
    world.pass(10 * SECOND);
    world.got("a");
    world.hello("a");
    world.attend();
    world.forward(0);
    world.pass(SECOND);
    let got = world.got("a");
    assert_eq!(got[64], "live 0 metrics");
    assert_eq!(got.len(), 101);
}

#[test]
fn who_is_slow_gets_it_later_and_slows_no_other() {
    let mut world = World::new(Fleet::default());
    for name in ["fast", "slow"] {
        world.hello(name);
    }
    world.pass(Duration::ZERO);
    world.room.insert("slow".to_owned(), 2);
    for number in 0..10 {
        world.forward(number);
    }
    assert_eq!(world.got("fast"), live(0..10));
    assert_eq!(world.got("slow"), live(0..2));
    assert_eq!(world.table.waiting_bytes(), 8);
    // Tried again, and not all the time.
    assert_eq!(world.table.next_due(), Some(world.now + RETRY));
    world.pass(RETRY);
    assert_eq!(world.table.next_due(), Some(world.now + 2 * RETRY));
    world.pass(10 * SECOND);
    assert!(world.got("slow").is_empty());
    let due = world.table.next_due().unwrap();
    assert!(due > world.now && due <= world.now + RETRY_MAX);
    world.room.insert("slow".to_owned(), usize::MAX);
    world.pass(RETRY_MAX);
    world.forward(10);
    assert_eq!(world.got("slow"), live(2..11));
    assert_eq!(world.table.waiting_bytes(), 0);
    assert_eq!(world.table.counts().lost, 0);
}

#[test]
fn who_does_not_keep_up_misses_the_oldest_and_it_is_said_once_a_minute() {
    let mut world = World::new(Fleet::default());
    world.hello("a");
    world.pass(Duration::ZERO);
    world.room.insert("a".to_owned(), 0);
    let sent = replay::MAX_MESSAGES + 5;
    for number in 0..sent {
        world.forward(number);
    }
    let lost = |messages| Event::Lost {
        who: who("a"),
        messages,
    };
    assert_eq!(world.pass(RETRY), [lost(5)]);
    for number in sent..sent + 7 {
        world.forward(number);
    }
    assert_eq!(world.pass(50 * SECOND), []);
    world.hello("a");
    assert_eq!(world.pass(11 * SECOND), [lost(7)]);
    world.room.insert("a".to_owned(), usize::MAX);
    world.pass(SECOND);
    assert_eq!(world.got("a"), live(12..sent + 7));
    assert_eq!(world.table.counts().lost, 12);
}

#[test]
fn a_connection_that_has_ended_is_let_go() {
    let mut world = World::new(Fleet::default());
    world.hello("a");
    world.pass(Duration::ZERO);
    world.room.remove("a");
    world.forward(0);
    assert_eq!(world.pass(Duration::ZERO), [Event::Left { who: who("a") }]);
    assert!(world.table.is_empty());
    // Under the same name again: all from the beginning.
    world.fleet = Fleet::of(1);
    assert_eq!(world.hello("a"), Hello::Came(who("a")));
    world.pass(Duration::ZERO);
    assert_eq!(world.got("a"), models(&world.fleet));
}

#[test]
fn a_host_that_goes_while_its_model_is_owed_is_passed_over() {
    let mut world = World::new(Fleet::of(70));
    world.hello("a");
    world.attend();
    assert_eq!(world.got("a").len(), 64);
    world.fleet.0.remove("h00065");
    world.pass(Duration::ZERO);
    let rest = world.got("a");
    assert_eq!(rest.len(), 5);
    assert!(!rest.iter().any(|message| message.starts_with("h00065")));
}

#[test]
fn a_model_that_finds_no_room_is_not_lost() {
    let mut world = World::new(Fleet::of(10));
    world.hello("a");
    world.room.insert("a".to_owned(), 4);
    world.pass(3 * RETRY);
    assert_eq!(world.got("a").len(), 4);
    world.room.insert("a".to_owned(), usize::MAX);
    world.pass(RETRY_MAX);
    assert_eq!(world.got("a"), models(&world.fleet)[4..]);
}

#[test]
fn there_are_so_many_and_no_more() {
    let mut world = World::new(Fleet::default());
    for number in 0..MAX_VIEWERS {
        assert!(matches!(world.hello(&format!("c{number}")), Hello::Came(_)));
    }
    assert_eq!(world.hello("late"), Hello::Full);
    assert_eq!(world.hello("c0"), Hello::Again);
    assert_eq!(world.table.len(), MAX_VIEWERS);
}

const NEW: &str = "viewer2-A";

#[test]
fn who_asks_for_it_is_told_who_does_not_report_after_the_models() {
    let mut world = World::new(Fleet::of(1));
    for (host, state) in [("h2", "expected"), ("h1", "gone")] {
        world.fleet.1.insert(host.into(), state.to_owned());
    }
    let models = models(&world.fleet);
    let states = ["h1 gone state".to_owned(), "h2 expected state".to_owned()];
    assert!(!world.table.wants_states());
    world.hello("old");
    assert!(!world.table.wants_states());
    world.hello(NEW);
    assert!(world.table.wants_states());
    world.attend();
    assert_eq!(world.got(NEW), [&models[..], &states].concat());
    assert_eq!(world.got("old"), models);
    // Each answer says it again, as it is then.
    world.fleet.1.remove("h2");
    world.pass(10 * SECOND);
    world.hello(NEW);
    world.hello("old");
    world.pass(SECOND);
    assert_eq!(world.got(NEW), [&models[..], &states[..1]].concat());
    assert_eq!(world.got("old"), models);
}

#[test]
fn a_change_is_told_at_once_and_to_no_old_viewer() {
    let mut world = World::new(Fleet::default());
    world.hello("old");
    world.hello(NEW);
    world.pass(SECOND);
    world.forward(0);
    world.change("h1", "gone");
    world.forward(1);
    world.change("h1", "reporting");
    let all = [
        "live 0 metrics",
        "h1 gone state",
        "live 1 metrics",
        "h1 reporting state",
    ];
    assert_eq!(world.got(NEW), all);
    assert_eq!(world.got("old"), live(0..2));
    // Neither where they wait: each gets its own off the one replay.
    for name in ["old", NEW] {
        world.room.insert(name.to_owned(), 0);
    }
    world.forward(0);
    world.change("h1", "gone");
    world.forward(1);
    world.change("h1", "reporting");
    for name in ["old", NEW] {
        world.room.insert(name.to_owned(), usize::MAX);
    }
    world.pass(SECOND);
    assert_eq!(world.got(NEW), all);
    assert_eq!(world.got("old"), live(0..2));
    assert_eq!(world.table.waiting_bytes(), 0);
}

#[test]
fn a_change_waits_behind_the_first_answer() {
    let mut world = World::new(Fleet::of(70));
    world.fleet.1.insert("h1".into(), "gone".to_owned());
    world.hello(NEW);
    world.attend();
    // It comes before its turn in the answer: what is said of it is true at any time.
    world.fleet.1.clear();
    world.change("h1", "reporting");
    world.pass(SECOND);
    let mut expected = models(&world.fleet);
    expected.push("h1 reporting state".to_owned());
    assert_eq!(world.got(NEW), expected);
}

impl World {
    fn hello_by(&mut self, name: &str, key: u8) -> Hello {
        self.room.entry(name.to_owned()).or_insert(usize::MAX);
        let key = Some(PublicKey::from_bytes([key; 32]));
        let who = Who { key, ..who(name) };
        self.table.hello(self.now, &id(name), || who)
    }

    /// Who had to go for this viewer.
    fn hello_instead(&mut self, name: &str, key: u8) -> String {
        match self.hello_by(name, key) {
            Hello::InsteadOf { other, .. } => other.routing_id.to_string(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn one_key_does_not_take_all_places() {
    let mut world = World::new(Fleet::default());
    for number in 0..MAX_VIEWERS_OF_KEY {
        let hello = world.hello_by(&format!("a{number}"), 1);
        assert!(matches!(hello, Hello::Came(_)));
    }
    let full = Hello::KeyFull(PublicKey::from_bytes([1; 32]));
    assert_eq!(world.hello_by("late", 1), full);
    assert!(matches!(world.hello_by("b", 2), Hello::Came(_)));
    // All but two say hello again, as they should.
    world.now += 29 * SECOND;
    for number in 2..MAX_VIEWERS_OF_KEY {
        let again = world.hello_by(&format!("a{number}"), 1);
        assert_eq!(again, Hello::Again);
    }
    assert_eq!(world.hello_by("late", 1), full);
    world.now += SECOND;
    let mut gone = [
        world.hello_instead("late", 1),
        world.hello_instead("later", 1),
    ];
    gone.sort();
    assert_eq!(gone, ["a0", "a1"]);
    assert_eq!(world.hello_by("latest", 1), full);
    // Another key's are none of this one's, however silent they are.
    assert!(world.table.knows(&id("b")));
}

#[test]
fn where_all_places_are_taken_the_most_silent_goes() {
    let mut world = World::new(Fleet::default());
    for number in 0..MAX_VIEWERS {
        let key = u8::try_from(number / MAX_VIEWERS_OF_KEY).unwrap();
        let hello = world.hello_by(&format!("c{number}"), key);
        assert!(matches!(hello, Hello::Came(_)));
        world.now += Duration::from_millis(1);
    }
    assert_eq!(world.hello_by("late", 200), Hello::Full);
    world.now += TIMING.hello;
    assert_eq!(world.hello_instead("late", 200), "c0");
    assert_eq!(world.table.len(), MAX_VIEWERS);
}

#[test]
fn a_key_that_is_taken_off_the_list_gets_nothing_more() {
    let key = |byte| Some(PublicKey::from_bytes([byte; 32]));
    let mut world = World::new(Fleet::default());
    for (name, key) in [("a", key(1)), ("b", key(2)), ("c", None)] {
        world.room.insert(name.to_owned(), usize::MAX);
        let who = Who { key, ..who(name) };
        world.table.hello(world.now, &id(name), || who);
    }
    world.pass(Duration::ZERO);
    let refused = world
        .table
        .review(&mut |key| key == PublicKey::from_bytes([1; 32]));
    let refused: Vec<_> = refused.into_iter().map(|who| who.routing_id).collect();
    assert_eq!(refused, [id("b"), id("c")]);
    world.forward(0);
    assert_eq!(world.got("a"), live(0..1));
    assert!(world.got("b").is_empty() && world.got("c").is_empty());
}

/// What a host has sent, one message each second up to now.
fn sent(now: Instant, messages: &[&str]) -> LatestMetrics {
    let start = now.checked_sub(SECOND * 100).unwrap();
    let mut latest = LatestMetrics::default();
    for (second, text) in (0..).zip(messages) {
        let grid = Grid::parse(text.as_bytes(), GridKind::Metrics).unwrap();
        let families = FamilySet::of(&grid);
        latest.take(start + second * SECOND, Arc::new(grid), families, 1);
    }
    latest
}

#[test]
fn who_asks_for_states_is_given_the_latest_values_once() {
    let mut world = World::new(Fleet::of(1));
    let messages = [
        r#"{"fs.size[/]":9,"mem.free":1,"sys.uptime":1}"#,
        r#"{"mem.free":2,"sys.uptime":2}"#,
    ];
    world
        .fleet
        .2
        .insert("live".into(), sent(world.now, &messages));
    world.fleet.1.insert("old".into(), "{}".to_owned());
    for name in ["deployed", "viewer2-a"] {
        world.hello(name);
    }
    world.pass(SECOND);
    let answer = models(&world.fleet);
    assert_eq!(world.got("deployed"), answer);
    let mut expected = answer.clone();
    expected.push("old {} state".to_owned());
    let answer = expected.clone();
    expected.push(r#"live {"fs.size[/]":9,"sys.uptime":1} metrics"#.to_owned());
    expected.push(format!("live {} metrics", messages[1]));
    assert_eq!(world.got("viewer2-a"), expected);
    // It has what comes from then on.
    world.pass(5 * SECOND);
    world.hello("viewer2-a");
    world.pass(SECOND);
    assert_eq!(world.got("viewer2-a"), answer);
}

/// So many that what comes meanwhile does not wait for them, and a viewer that takes little.
#[test]
fn live_messages_pass_the_latest_values() {
    let mut world = World::new(Fleet::of(1));
    let messages = [
        r#"{"fs.size[/]":9,"mem.free":1}"#,
        r#"{"load.1m":7,"mem.free":2}"#,
        r#"{"mem.free":3}"#,
    ];
    let latest = sent(world.now, &messages);
    for number in 0..100 {
        let name = format!("h{number:02}").into();
        world.fleet.2.insert(name, latest.clone());
    }
    world.hello("viewer2-a");
    world.attend();
    world.forward(0);
    let room = |world: &mut World, room| world.room.insert("viewer2-a".to_owned(), room);
    room(&mut world, 100);
    world.pass(SECOND);
    room(&mut world, usize::MAX);
    world.pass(SECOND);
    let got = world.got("viewer2-a");
    let at = got.iter().position(|said| *said == live(0..1)[0]).unwrap();
    assert!(at < 100, "{at}");
    let rest: Vec<_> = got.iter().filter(|said| said.starts_with('h')).collect();
    let parts = [
        r#"{"fs.size[/]":9}"#,
        r#"{"load.1m":7}"#,
        r#"{"mem.free":3}"#,
    ];
    let (model, rest) = rest.split_first().unwrap();
    assert_eq!(**model, models(&world.fleet)[0]);
    assert_eq!(rest.len(), 300);
    for (number, said) in rest.iter().enumerate() {
        let (host, part) = (number / 3, parts[number % 3]);
        assert_eq!(**said, format!("h{host:02} {part} metrics"));
    }
}
