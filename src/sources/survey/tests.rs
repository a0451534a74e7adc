use std::{
    sync::{
        Condvar,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use super::*;
use crate::sources::background::{MAX_LOST, OVERDUE, Wakeup};

/// Far longer than anything takes here.
const LONG: Duration = Duration::from_secs(30);

/// Answers how often it was asked, once its gate is open.
#[derive(Default)]
struct Gate {
    closed: Lock<bool>,
    opened: Condvar,
    asked: AtomicUsize,
}

impl Gate {
    fn shut(&self, closed: bool) {
        *self.closed.lock() = closed;
        self.opened.notify_all();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Target for Gate {
    type Answer = usize;

    fn ask(&self) -> usize {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut closed = self.closed.lock();
        while *closed {
            closed = self.opened.wait(closed).unwrap();
        }
        asked
    }
}

/// A name, what it is got to through, and its gate. Its way is the number of its place.
type Room = (&'static str, Vec<u64>, Arc<Gate>);

#[derive(Clone, Default)]
struct House(Arc<Lock<Vec<Room>>>);

impl House {
    fn of(rooms: &[(&'static str, &[u64])]) -> Self {
        let room = |(name, ways): &(&'static str, &[u64])| (*name, ways.to_vec(), Arc::default());
        Self(Arc::new(Lock::new(rooms.iter().map(room).collect())))
    }

    fn gate(&self, name: &str) -> Arc<Gate> {
        let rooms = self.0.lock();
        Arc::clone(&rooms.iter().find(|room| room.0 == name).unwrap().2)
    }
}

impl Targets for House {
    type Target = Gate;

    fn list(&mut self) -> Result<Option<Listing<Gate>>, CollectError> {
        let rooms = self.0.lock();
        if rooms.is_empty() {
            return Err(CollectError::Refused("there is no such place".to_owned()));
        }
        let subject = |(way, (name, ways, gate)): (usize, &Room)| Subject {
            key: Arc::from(format!("house {name}")),
            name: (*name).to_owned(),
            way: Some(way as u64),
            ways: ways.clone(),
            target: Arc::clone(gate),
        };
        Ok(Some(Listing {
            subjects: rooms.iter().enumerate().map(subject).collect(),
            cut: 3,
            left_out: crate::sources::LeftOut::default(),
        }))
    }
}

fn survey(house: &House) -> Survey<House> {
    Survey::new(Prober::new(Wakeup::default()), house.clone())
}

fn wait(until: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !until() {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(1));
    }
}

fn found(survey: &mut Survey<House>, now: Instant) -> Vec<(String, Found<usize>)> {
    let mut found = Vec::new();
    let cut = survey.report(now, |name, _, answer| found.push((name.to_owned(), answer)));
    assert_eq!(cut.unwrap(), 3);
    found
}

/// A pass in which all are asked that can be.
fn pass(survey: &mut Survey<House>) -> Vec<(String, Found<usize>)> {
    // What goes on after a report is part of the pass before.
    wait(|| survey.job.as_ref().is_none_or(Ticket::finished));
    survey.begin(Instant::now());
    wait(|| survey.ready());
    found(survey, Instant::now())
}

/// A pass that ends at a gate that is closed.
fn hang(survey: &mut Survey<House>, gate: &Gate) -> Vec<(String, Found<usize>)> {
    let before = gate.asked();
    survey.begin(Instant::now());
    wait(|| gate.asked() > before);
    assert!(!survey.ready());
    found(survey, Instant::now() + OVERDUE)
}

fn answer(name: &str, answer: usize) -> (String, Found<usize>) {
    (name.to_owned(), Found::Answer(answer))
}

fn stuck(name: &str) -> (String, Found<usize>) {
    (name.to_owned(), Found::Stuck)
}

#[test]
fn everybody_answers_at_each_pass() {
    let house = House::of(&[("hall", &[]), ("attic", &[0])]);
    let mut survey = survey(&house);
    assert!(survey.ready(), "nothing is waited for");
    assert_eq!(survey.report(Instant::now(), |_, _, _| ()).unwrap(), 0);
    assert_eq!(pass(&mut survey), [answer("hall", 1), answer("attic", 1)]);
    assert_eq!(pass(&mut survey), [answer("hall", 2), answer("attic", 2)]);
    assert!(survey.news().is_empty());
}

#[test]
fn one_that_hangs_is_asked_once_and_costs_the_others_nothing() {
    let house = House::of(&[("hall", &[]), ("cellar", &[]), ("attic", &[])]);
    let mut survey = survey(&house);
    let cellar = house.gate("cellar");
    cellar.shut(true);
    assert_eq!(
        hang(&mut survey, &cellar),
        [answer("hall", 1), stuck("cellar")]
    );
    assert_eq!(survey.news(), [News::Stuck("cellar".to_owned())]);
    // The rest is asked after the report, for the next caller.
    wait(|| survey.job.as_ref().unwrap().finished());
    assert_eq!(house.gate("attic").asked(), 1);

    for round in 2..5 {
        assert_eq!(
            pass(&mut survey),
            [
                answer("hall", round),
                stuck("cellar"),
                answer("attic", round)
            ]
        );
        assert!(survey.news().is_empty(), "told once");
    }
    assert_eq!(cellar.asked(), 1);

    cellar.shut(false);
    wait(|| survey.prober.lost_to().is_empty());
    assert_eq!(
        pass(&mut survey),
        [answer("hall", 5), answer("cellar", 2), answer("attic", 5)]
    );
    assert_eq!(survey.news(), [News::Answers("cellar".to_owned())]);
}

#[test]
fn those_behind_one_that_hangs_are_not_asked() {
    let house = House::of(&[("hall", &[]), ("stairs", &[0]), ("attic", &[0, 1])]);
    let mut survey = survey(&house);
    let stairs = house.gate("stairs");
    stairs.shut(true);
    assert_eq!(
        hang(&mut survey, &stairs),
        [answer("hall", 1), stuck("stairs"), stuck("attic")]
    );
    assert_eq!(
        pass(&mut survey),
        [answer("hall", 2), stuck("stairs"), stuck("attic")]
    );
    assert_eq!(house.gate("attic").asked(), 0);
    assert_eq!(survey.news(), [News::Stuck("stairs".to_owned())]);
}

#[test]
fn who_has_answered_is_not_suspected_and_who_has_not_is_asked() {
    // The attic's way is through the stairs, which are asked later, and the hall, which has
    // answered by then; way 9 does not exist.
    let house = House::of(&[
        ("hall", &[]),
        ("attic", &[0, 2, 9]),
        ("stairs", &[0]),
        ("roof", &[0, 2]),
        ("well", &[0]),
        ("shed", &[9]),
    ]);
    let mut survey = survey(&house);
    let attic = house.gate("attic");
    attic.shut(true);
    assert_eq!(
        hang(&mut survey, &attic),
        [
            answer("hall", 1),
            stuck("attic"),
            stuck("roof"),
            stuck("shed")
        ]
    );
    assert_eq!(
        pass(&mut survey),
        [
            answer("hall", 2),
            stuck("attic"),
            answer("stairs", 2),
            stuck("roof"),
            answer("well", 2),
            stuck("shed")
        ]
    );
}

#[test]
fn a_second_survey_knows_whom_the_first_has_lost_a_thread_to() {
    let house = House::of(&[("cellar", &[]), ("attic", &[]), ("vault", &[0])]);
    let mut first = survey(&house);
    let cellar = house.gate("cellar");
    cellar.shut(true);
    hang(&mut first, &cellar);
    let mut second = Survey::new(first.prober.clone(), house.clone());
    drop(first);
    let expected = [stuck("cellar"), answer("attic", 2), stuck("vault")];
    // The first may still be asking the attic.
    wait(|| house.gate("attic").asked() == 1);
    assert_eq!(pass(&mut second), expected);
    assert_eq!(cellar.asked(), 1);
    cellar.shut(false);
}

#[test]
fn one_that_hangs_and_is_gone_is_told_of_once() {
    let house = House::of(&[("cellar", &[]), ("attic", &[])]);
    let mut survey = survey(&house);
    let cellar = house.gate("cellar");
    cellar.shut(true);
    hang(&mut survey, &cellar);
    assert_eq!(survey.news().len(), 1);
    wait(|| survey.job.as_ref().unwrap().finished());
    house.0.lock().remove(0);
    assert_eq!(pass(&mut survey), [answer("attic", 2)]);
    assert_eq!(survey.news(), [News::Gone("cellar".to_owned())]);
    assert_eq!(pass(&mut survey), [answer("attic", 3)]);
    assert!(survey.news().is_empty());
    cellar.shut(false);
}

#[test]
fn where_all_threads_hang_those_who_do_are_still_told() {
    const NAMES: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    const { assert!(NAMES.len() > MAX_LOST) };
    let house = House::of(&NAMES.map(|name| (name, &[][..])));
    let mut survey = survey(&house);
    for name in NAMES {
        house.gate(name).shut(true);
    }
    for name in &NAMES[..MAX_LOST] {
        let gate = house.gate(name);
        survey.begin(Instant::now());
        wait(|| gate.asked() == 1);
        found(&mut survey, Instant::now() + OVERDUE);
    }
    survey.begin(Instant::now());
    assert!(survey.ready());
    let told = NAMES[..MAX_LOST].iter().map(|name| stuck(name));
    assert_eq!(found(&mut survey, Instant::now()), told.collect::<Vec<_>>());
    assert_eq!(house.gate("i").asked(), 0);

    let other = House::of(&[("hall", &[])]);
    let mut innocent = Survey::new(survey.prober.clone(), other);
    innocent.begin(Instant::now());
    let error = innocent.report(Instant::now(), |_, _, _| ()).unwrap_err();
    assert!(matches!(error, CollectError::Probe(ProbeError::AllStuck)));
    for name in NAMES {
        house.gate(name).shut(false);
    }
    wait(|| survey.prober.lost_to().is_empty());
    assert_eq!(pass(&mut survey).len(), NAMES.len());
}

#[test]
fn a_list_that_cannot_be_made_is_an_error_until_it_can() {
    let house = House::of(&[("hall", &[])]);
    let mut survey = survey(&house);
    assert_eq!(pass(&mut survey), [answer("hall", 1)]);
    let rooms = mem::take(&mut *house.0.lock());
    survey.begin(Instant::now());
    wait(|| survey.ready());
    let error = survey.report(Instant::now(), |_, _, _| ()).unwrap_err();
    assert_eq!(error.to_string(), "there is no such place");
    *house.0.lock() = rooms;
    assert_eq!(pass(&mut survey), [answer("hall", 2)]);
}
