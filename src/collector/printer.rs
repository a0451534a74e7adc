//! Writes lines to standard output without ever waiting for its reader.
//!
//! A thread of its own writes what the loop leaves in a buffer. A reader that is slow or
//! stopped fills the buffer, and then lines are dropped, whole, and counted. A reader that
//! is gone ends the thread, and the loop hears of it.

use std::io;
use std::io::Write;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::Notify;

use super::line::Line;
use crate::base::monitor::Monitor;
use crate::base::offload::on_a_thread;

/// Most bytes that wait for the reader: some seconds of a fleet of 10,000 hosts.
pub const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;

/// Room that is kept after a batch was written: what is usual, not the largest there was.
const KEPT_BYTES: usize = 256 * 1024;

/// How long to wait before writing again to a full descriptor that another process has made
/// non-blocking.
const FULL_PAUSE: Duration = Duration::from_millis(20);

/// Writes lines from a thread of its own.
#[derive(Debug)]
pub struct Printer {
    shared: Arc<Shared>,
    line: Vec<u8>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Changes are for the thread, and at the end for who waits for it.
    state: Monitor<State>,
    ended: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<u8>,
    /// No more lines will come.
    last: bool,
    end: Option<End>,
    /// The last write failed for this reason; told once.
    failed: Option<io::Error>,
}

/// How the thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All lines are written.
    Written,
    /// Standard output is closed.
    ReaderGone,
}

/// A line that was not taken, as the reader does not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped;

impl Printer {
    /// Writes to `output` from now on.
    ///
    /// # Errors
    ///
    /// The system has no thread left.
    pub fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let printer = Self {
            shared: Arc::clone(&shared),
            line: Vec::new(),
        };
        on_a_thread("print", move || shared.write_all(output))?;
        Ok(printer)
    }

    /// Gives a line to be written.
    ///
    /// # Errors
    ///
    /// [`Dropped`] where [`MAX_WAITING_BYTES`] wait already.
    pub fn print(&mut self, line: &Line<'_>) -> Result<(), Dropped> {
        self.line.clear();
        line.write(&mut self.line);
        let mut state = self.shared.state.lock();
        if state.end.is_some() {
            return Ok(());
        }
        if state.waiting.len() + self.line.len() > MAX_WAITING_BYTES {
            return Err(Dropped);
        }
        let idle = state.waiting.is_empty();
        state.waiting.extend_from_slice(&self.line);
        drop(state);
        if idle {
            self.shared.state.notify();
        }
        Ok(())
    }

    /// Lets go of room that no line takes now.
    pub fn let_go(&mut self) {
        self.line = Vec::new();
        self.shared.state.lock().waiting.shrink_to_fit();
    }

    /// Waits until the reader is gone. Cancel safe.
    pub async fn reader_gone(&self) {
        // If this wait is cancelled, the permit stays for the next one.
        self.shared.ended.notified().await;
    }

    /// Why the last write failed, once for each failure.
    #[must_use]
    pub fn failure(&self) -> Option<io::Error> {
        self.shared.state.lock().failed.take()
    }

    /// Writes what waits, for at most this long.
    pub fn finish(self, patience: Duration) {
        let mut state = self.shared.state.lock();
        state.last = true;
        self.shared.state.notify();
        // Whatever the outcome: the program ends.
        let waits = |state: &mut State| state.end.is_none();
        let _ = self.shared.state.wait_while_for(state, patience, waits);
    }
}

impl Shared {
    /// The thread.
    fn write_all(&self, mut output: impl Write) {
        let mut batch = Vec::new();
        // Whether the last write stopped inside of a line.
        let mut torn = false;
        let end = loop {
            batch.clear();
            batch.shrink_to(KEPT_BYTES);
            {
                let idle = |state: &mut State| state.waiting.is_empty() && !state.last;
                let mut state = self.state.wait_while(self.state.lock(), idle);
                if state.waiting.is_empty() {
                    break End::Written;
                }
                std::mem::swap(&mut state.waiting, &mut batch);
            }
            if torn {
                // The reader can then tell the rest of a line from the next one.
                batch.insert(0, b'\n');
            }
            match write_patiently(&mut output, &batch) {
                Ok(()) => torn = false,
                Err((error, _)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    break End::ReaderGone;
                }
                Err((error, written)) => {
                    torn = written.checked_sub(1).map_or(torn, |last| {
                        batch.get(last).is_none_or(|byte| *byte != b'\n')
                    });
                    self.state.lock().failed = Some(error);
                }
            }
        };
        let mut state = self.state.lock();
        state.end = Some(end);
        state.waiting = Vec::new();
        drop(state);
        self.state.notify();
        if end == End::ReaderGone {
            self.ended.notify_one();
        }
    }
}

/// Writes all of it; else the reason, and how many bytes were written.
fn write_patiently(output: &mut impl Write, bytes: &[u8]) -> Result<(), (io::Error, usize)> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match output.write(rest) {
            Ok(0) => return Err((io::ErrorKind::WriteZero.into(), written)),
            Ok(count) => written += count,
            Err(error) => match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => thread::sleep(FULL_PAUSE),
                _ => return Err((error, written)),
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::curve::router::RoutingIdBytes;
    use crate::protocol::grid::Grid;
    use crate::protocol::message::GridKind;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn print(printer: &mut Printer, host: &str) -> Result<(), Dropped> {
        printer.print(&Line {
            time: "now",
            host,
            kind: GridKind::Metrics,
            routing_id: &RoutingIdBytes::from(&b"A"[..]),
            grid: &Grid::default(),
        })
    }

    fn expected(host: &str) -> String {
        format!(
            "{{\"time\":\"now\",\"host\":\"{host}\",\"kind\":\"metrics\",\"routing_id\":\"A\",\
             \"metrics\":{{}}}}"
        )
    }

    #[test]
    fn lines_arrive_in_order_and_the_last_before_the_end() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut printer = Printer::start(ours).unwrap();
        for number in 0..1000 {
            print(&mut printer, &number.to_string()).unwrap();
        }
        printer.finish(PATIENCE);
        let lines: Vec<_> = BufReader::new(theirs).lines().map(Result::unwrap).collect();
        assert_eq!(lines.len(), 1000);
        for (number, line) in lines.iter().enumerate() {
            assert_eq!(*line, expected(&number.to_string()));
        }
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_no_time() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut printer = Printer::start(ours).unwrap();
        let mut taken = 0_usize;
        let long = "x".repeat(100_000);
        while print(&mut printer, &long).is_ok() {
            taken += 1;
            assert!(taken < 10_000, "there is no reader, and it is never full");
        }
        assert!(taken * long.len() <= 3 * MAX_WAITING_BYTES);
        // Short ones may still fit; what was taken arrives whole.
        let reader = thread::spawn(move || {
            let lines = BufReader::new(theirs).lines().map(Result::unwrap);
            lines.filter(|line| *line == expected(&long)).count()
        });
        printer.finish(PATIENCE);
        assert_eq!(reader.join().unwrap(), taken);
    }

    #[test]
    fn the_end_waits_for_no_reader() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut printer = Printer::start(ours).unwrap();
        while print(&mut printer, &"x".repeat(100_000)).is_ok() {}
        let start = std::time::Instant::now();
        printer.finish(Duration::from_millis(10));
        assert!(start.elapsed() < PATIENCE);
    }

    #[tokio::test]
    async fn a_reader_that_goes_is_noticed() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut printer = Printer::start(ours).unwrap();
        drop(theirs);
        print(&mut printer, "web1").unwrap();
        tokio::time::timeout(PATIENCE, printer.reader_gone())
            .await
            .unwrap();
        assert_eq!(print(&mut printer, "web1"), Ok(()));
        printer.finish(PATIENCE);
    }

    /// Takes so many bytes, fails once, and takes the rest.
    struct Failing {
        before: usize,
        failed: bool,
        output: UnixStream,
    }

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.before == 0 && !self.failed {
                self.failed = true;
                return Err(io::ErrorKind::StorageFull.into());
            }
            let count = if self.failed {
                bytes.len()
            } else {
                bytes.len().min(self.before)
            };
            let written = self.output.write(bytes.get(..count).unwrap())?;
            self.before = self.before.saturating_sub(written);
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn after_a_failure_lines_begin_at_their_beginning() {
        let (output, mut theirs) = UnixStream::pair().unwrap();
        let failing = Failing {
            before: 10,
            failed: false,
            output,
        };
        let mut printer = Printer::start(failing).unwrap();
        print(&mut printer, "lost").unwrap();
        let start = std::time::Instant::now();
        let error = loop {
            if let Some(error) = printer.failure() {
                break error;
            }
            assert!(start.elapsed() < PATIENCE);
            thread::yield_now();
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(printer.failure().is_none());
        print(&mut printer, "kept").unwrap();
        printer.finish(PATIENCE);
        let mut text = String::new();
        theirs.read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("{{\"time\":\"n\n{}\n", expected("kept")));
    }
}
