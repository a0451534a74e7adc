//! Lines on their way to a place that may take its time.
//!
//! The journal's socket and standard error may have no room: journald hangs as soon as its disk
//! does, and a pipe fills when it is not read. Logging must not wait for that. So lines go into
//! a bounded queue, and a thread writes them in their order; only that thread may wait. Lines
//! without room are counted, and their number is logged in their place once there is room
//! again.
//!
//! The thread is there only while there is something to write: a program at rest has none.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, MutexGuard};
use std::time::{Duration, SystemTime};

use tracing_subscriber::fmt::MakeWriter;

use super::places::Record;
use crate::base::monitor::{Lock, Monitor};
use crate::base::offload::on_a_thread;

/// Most lines that wait. A program of ours writes a few in a minute, and some ten when much
/// happens at once.
pub(super) const MAX_LINES: usize = 512;

/// Most bytes of lines that wait: far below what the units may use of memory.
const MAX_BYTES: usize = 256 * 1024;

/// After lines were lost, new ones are taken once the queue is this empty (a half): otherwise a slow
/// reader would get a word on lost lines after every second line.
const ROOM_AGAIN: usize = 2;

/// How long the thread waits for more before it ends.
const LINGER: Duration = Duration::from_secs(1);

/// A line to write.
#[derive(Debug)]
pub(super) enum Line {
    /// As it is to be read, with its end.
    Text(Vec<u8>),
    /// With its fields.
    Record(Record),
}

impl Line {
    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Record(record) => record.size(),
        }
    }
}

/// Lines that found no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub lines: u64,
    /// When the first of them was to be written.
    pub since: SystemTime,
}

/// Writes a line, however long that takes.
pub(super) type Sink = Box<dyn FnMut(Line) + Send>;

/// A place to log to, and the lines on their way there. Cheap to clone.
#[derive(Clone)]
pub(super) struct LineQueue(Arc<Shared>);

struct Shared {
    state: Monitor<State>,
    /// Lines that found no room, of all outlets together.
    lost: Arc<AtomicU64>,
    /// Logs that lines were lost.
    tell: fn(Lost),
}

struct State {
    waiting: VecDeque<Entry>,
    bytes: usize,
    /// None while the thread has it.
    sink: Option<Sink>,
    /// The thread has a line in its hands.
    writing: bool,
}

enum Entry {
    Line(Line),
    Lost(Lost),
}

thread_local! {
    /// The queue that this thread writes for, by its address; 0 on any other thread.
    static WRITES_FOR: Cell<usize> = const { Cell::new(0) };
    /// What that thread itself has logged: it is written at once, and never waits for itself.
    static OWN_LINES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

impl LineQueue {
    pub(super) fn new(sink: Sink, lost: Arc<AtomicU64>, tell: fn(Lost)) -> Self {
        Self(Arc::new(Shared {
            state: Monitor::new(State {
                waiting: VecDeque::new(),
                bytes: 0,
                sink: Some(sink),
                writing: false,
            }),
            lost,
            tell,
        }))
    }

    /// Queues the line, or counts it if there is no room. Never waits.
    pub(super) fn push(&self, line: Line) {
        if WRITES_FOR.get() == self.address() {
            OWN_LINES.with_borrow_mut(|own| own.push(line));
            return;
        }
        let mut state = self.lock();
        if state.has_room_for(&line) {
            state.bytes += line.size();
            state.waiting.push_back(Entry::Line(line));
        } else {
            self.0.lost.fetch_add(1, Relaxed);
            if let Some(Entry::Lost(lost)) = state.waiting.back_mut() {
                lost.lines += 1;
            } else {
                let since = SystemTime::now();
                state
                    .waiting
                    .push_back(Entry::Lost(Lost { lines: 1, since }));
            }
        }
        self.see_to_it(state);
    }

    /// Waits until all is written, as long as this at most.
    pub(super) fn flush(&self, patience: Duration) {
        self.see_to_it(self.lock());
        let unwritten = |state: &mut State| state.writing || !state.waiting.is_empty();
        // Whatever the outcome: the program ends.
        let _ = (self.0.state).wait_while_for(self.lock(), patience, unwritten);
    }

    /// Wakes the thread, or starts it. Where the system has no thread to give the lines wait
    /// for the next try.
    fn see_to_it(&self, mut state: MutexGuard<'_, State>) {
        if state.waiting.is_empty() {
            return;
        }
        let Some(sink) = state.sink.take() else {
            self.0.state.notify();
            return;
        };
        // A sink that no thread took is not lost.
        let sink = Arc::new(Lock::new(Some(sink)));
        let (queue, taken) = (self.clone(), Arc::clone(&sink));
        let started = on_a_thread("log", move || {
            let sink = taken.lock().take();
            if let Some(sink) = sink {
                queue.write(sink);
            }
        });
        if started.is_err() {
            state.sink = sink.lock().take();
        }
    }

    /// The thread's work.
    fn write(&self, mut sink: Sink) {
        WRITES_FOR.set(self.address());
        let mut state = self.lock();
        loop {
            match state.waiting.pop_front() {
                Some(Entry::Line(line)) => {
                    state.bytes -= line.size();
                    state.writing = true;
                    drop(state);
                    sink(line);
                }
                Some(Entry::Lost(lost)) => {
                    state.writing = true;
                    drop(state);
                    (self.0.tell)(lost);
                    for line in OWN_LINES.take() {
                        sink(line);
                    }
                }
                None => {
                    let idle = |state: &mut State| state.waiting.is_empty();
                    let (again, more) = self.0.state.wait_while_for(state, LINGER, idle);
                    state = again;
                    if !more {
                        state.sink = Some(sink);
                        return;
                    }
                    continue;
                }
            }
            state = self.lock();
            state.writing = false;
            if state.waiting.is_empty() {
                self.0.state.notify();
            }
        }
    }

    fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }
}

impl State {
    fn has_room_for(&self, line: &Line) -> bool {
        let share = match self.waiting.back() {
            // However long a line is, it is taken where it need not wait.
            None => return true,
            Some(Entry::Lost(_)) => ROOM_AGAIN,
            Some(Entry::Line(_)) => 1,
        };
        self.waiting.len() < MAX_LINES / share && self.bytes + line.size() <= MAX_BYTES / share
    }
}

/// For the formatter: each line comes in one piece.
impl<'a> MakeWriter<'a> for LineQueue {
    type Writer = &'a LineQueue;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl io::Write for &LineQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(Line::Text(line.to_vec()));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
    use std::thread;
    use std::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn line(text: &str) -> Line {
        Line::Text(text.as_bytes().to_vec())
    }

    fn ignore(_: Lost) {}

    /// A place that takes each line once a reader takes it, as a full pipe does.
    fn full(tell: fn(Lost)) -> (LineQueue, Receiver<String>, Arc<AtomicU64>) {
        let (written, reader): (SyncSender<String>, _) = sync_channel(0);
        let sink = Box::new(move |line| {
            let text = match line {
                Line::Text(text) => String::from_utf8(text).unwrap(),
                Line::Record(_) => panic!("a record"),
            };
            // The test may have ended.
            let _ = written.send(text);
        });
        let lost = Arc::new(AtomicU64::new(0));
        (LineQueue::new(sink, Arc::clone(&lost), tell), reader, lost)
    }

    /// Waits until the thread has the first line in its hands: the queue is empty then.
    fn until_stuck(queue: &LineQueue) {
        let deadline = Instant::now() + PATIENCE;
        while !queue.lock().waiting.is_empty() {
            assert!(Instant::now() < deadline);
            thread::yield_now();
        }
    }

    #[test]
    fn lines_are_written_in_their_order() {
        let (queue, reader, lost) = full(ignore);
        for number in 0..100 {
            queue.push(line(&number.to_string()));
        }
        for number in 0..100 {
            assert_eq!(reader.recv_timeout(PATIENCE).unwrap(), number.to_string());
        }
        queue.flush(PATIENCE);
        assert_eq!(lost.load(Relaxed), 0);
    }

    #[test]
    fn who_logs_never_waits_and_what_was_lost_is_said_in_its_place() {
        fn tell(lost: Lost) {
            assert!(lost.since <= SystemTime::now());
            OWN_OUTLET.with_borrow(|queue| {
                let queue = queue.as_ref().unwrap();
                queue.push(line(&format!("{} lost", lost.lines)));
            });
        }
        thread_local! {
            static OWN_OUTLET: RefCell<Option<LineQueue>> = const { RefCell::new(None) };
        }
        // The thread that writes has to know where it logs to, as a subscriber would.
        let (written, reader): (SyncSender<String>, _) = sync_channel(0);
        let cell: Arc<Mutex<Option<LineQueue>>> = Arc::default();
        let known = Arc::clone(&cell);
        let sink = Box::new(move |line| {
            OWN_OUTLET.set(known.lock().unwrap().clone());
            if let Line::Text(text) = line {
                let _ = written.send(String::from_utf8(text).unwrap());
            }
        });
        let lost = Arc::new(AtomicU64::new(0));
        let queue = LineQueue::new(sink, Arc::clone(&lost), tell);
        *cell.lock().unwrap() = Some(queue.clone());

        queue.push(line("in hand"));
        until_stuck(&queue);
        for number in 0..MAX_LINES + 7 {
            queue.push(line(&number.to_string()));
        }
        assert_eq!(lost.load(Relaxed), 7);
        assert_eq!(reader.recv_timeout(PATIENCE).unwrap(), "in hand");
        assert_eq!(reader.recv_timeout(PATIENCE).unwrap(), "0");
        // Room for a line or two is not enough: they are counted with those before.
        queue.push(line("one more"));
        for number in 1..MAX_LINES {
            assert_eq!(reader.recv_timeout(PATIENCE).unwrap(), number.to_string());
        }
        queue.push(line("after"));
        assert_eq!(reader.recv_timeout(PATIENCE).unwrap(), "8 lost");
        assert_eq!(reader.recv_timeout(PATIENCE).unwrap(), "after");
        assert_eq!(lost.load(Relaxed), 8);
    }

    #[test]
    fn long_lines_are_bounded_too() {
        let (queue, reader, lost) = full(ignore);
        queue.push(line("in hand"));
        until_stuck(&queue);
        let long = "x".repeat(2 * MAX_BYTES);
        queue.push(line(&long));
        queue.push(line("short"));
        assert_eq!(lost.load(Relaxed), 1);
        assert_eq!(reader.recv_timeout(PATIENCE).unwrap(), "in hand");
        assert_eq!(reader.recv_timeout(PATIENCE).unwrap().len(), 2 * MAX_BYTES);
    }

    #[test]
    fn waiting_for_the_last_line_has_an_end() {
        let (queue, reader, _) = full(ignore);
        queue.push(line("stuck"));
        queue.flush(Duration::from_millis(50));
        assert_eq!(reader.recv_timeout(PATIENCE).unwrap(), "stuck");
        queue.flush(PATIENCE);
    }

    #[test]
    fn at_rest_there_is_no_thread() {
        let (queue, reader, _) = full(ignore);
        for text in ["one", "another"] {
            queue.push(line(text));
            assert_eq!(reader.recv_timeout(PATIENCE).unwrap(), text);
            let deadline = Instant::now() + PATIENCE;
            while queue.lock().sink.is_none() {
                assert!(Instant::now() < deadline);
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
