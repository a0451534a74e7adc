//! The connections: each a task, with a deadline for whatever comes next.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::sleep;

use super::Web;
use super::body::{Body, RestLater};
use super::clock::{ANSWER, Clock, FIRST_REQUEST, NEXT_REQUEST, PIECE};
use super::connections::{Admitted, Connections, Id};
use super::hosts::{Named, OwnNames, Wanted};
use super::pages::{ALLOWED, HTML, LANDING, Page, TEXT, page};
use super::scrapes::{Reading, Scrapes};
use crate::base::monitor::Lock;
use crate::base::throttle::Throttle;
use crate::collector::events;
use crate::collector::handle::Handle;
use crate::collector::prometheus::text;

/// Most bytes of a request's head: scrapers send a few hundred, browsers a few thousand.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Most header lines of a request.
const MAX_HEADERS: usize = 64;

/// After that time to accept is tried again, where the system had nothing left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// When a refused client may try again, in seconds.
const COME_AGAIN: HeaderValue = HeaderValue::from_static("5");

impl Web {
    /// Serves clients, so many connections at a time. Ends when it is dropped, and closes all
    /// connections.
    pub async fn serve(self, handle: Handle, most: usize) {
        let scrapes = Scrapes::new(handle);
        let names = Arc::new(OwnNames::default());
        names.look_up(Instant::now());
        let connections = Arc::new(Lock::new(Connections::new(most)));
        let mut failed = Throttle::default();
        let mut tasks = JoinSet::new();
        let mut aborts: HashMap<Id, AbortHandle> = HashMap::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(ended) = tasks.join_next() => {
                    // One that had to go was taken off the list before.
                    if let Ok(id) = ended {
                        aborts.remove(&id);
                        connections.lock().ended(id);
                    }
                    continue;
                }
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if passes(&error) {
                        continue;
                    }
                    if let Some(untold) = failed.note(Instant::now()) {
                        events::web_accept_failed(&error, untold);
                    }
                    sleep(ACCEPT_AGAIN).await;
                    continue;
                }
            };
            let mut crowded = false;
            let admitted = connections.lock().admit(Instant::now(), peer.ip());
            let id = match admitted {
                Admitted::Stays(id) => id,
                Admitted::InsteadOf { id, other } => {
                    if let Some(other) = aborts.remove(&other) {
                        other.abort();
                    }
                    // Many may come at a time: each is looked at before the next pushes it out.
                    crowded = true;
                    id
                }
                Admitted::No => {
                    // It sees the end of its connection.
                    drop(stream);
                    yield_now().await;
                    continue;
                }
            };
            let visit = Visit {
                id,
                peer: peer.ip(),
                here: stream.local_addr().ok().map(|here| here.ip()),
                names: Arc::clone(&names),
                clock: Clock::new(Instant::now() + FIRST_REQUEST),
                connections: Arc::clone(&connections),
                scrapes: Arc::clone(&scrapes),
            };
            aborts.insert(id, tasks.spawn(visit.serve(stream)));
            if crowded {
                yield_now().await;
            }
        }
    }
}

/// Whether it was that connection, and the next may be better: accept(2).
fn passes(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// A connection.
#[derive(Debug)]
struct Visit {
    id: Id,
    peer: IpAddr,
    /// The address that it came to.
    here: Option<IpAddr>,
    names: Arc<OwnNames>,
    clock: Clock,
    connections: Arc<Lock<Connections>>,
    scrapes: Arc<Scrapes>,
}

impl Visit {
    /// Answers what is asked on it, until its end or its time is over.
    async fn serve(self, stream: TcpStream) -> Id {
        // Without it an answer is a little later.
        let _ = stream.set_nodelay(true);
        let visit = &self;
        let service =
            service_fn(|request| async move { Ok::<_, Infallible>(visit.answer(&request).await) });
        let serving = http1::Builder::new()
            // The clock sees to it.
            .header_read_timeout(None)
            .half_close(true)
            .max_buf_size(MAX_HEAD_BYTES)
            .max_header_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .serve_connection(TokioIo::new(stream), service);
        // The peer was told what it did wrong; it is not worth a log line.
        let _ = self.clock.bound(serving).await;
        self.id
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let answering = Answering::begin(self);
        let text = |status, text: &'static str| (status, TEXT, text);
        let page = page(request.method(), request.uri().path());
        // That it lives says nothing, and balancers ask by whatever name they have.
        if page != Page::Healthy
            && let Err((status, text)) = self.is_for_us(request)
        {
            return response(status, TEXT, Body::text(text, answering));
        }
        let (status, kind, text) = match page {
            Page::Metrics if request.method() == Method::HEAD => (StatusCode::OK, METRICS, ""),
            Page::Metrics => {
                let known = answering.known;
                return match self.scrapes.begin(self.peer, known).await {
                    Ok(edition) => {
                        let rest = edition.rest.clone().map(|rest| -> RestLater {
                            let scrapes = Arc::clone(&self.scrapes);
                            Box::pin(scrapes.go_on(rest, self.peer, known, self.clock.clone()))
                        });
                        let body = Body::beginning(edition, rest, answering);
                        response(StatusCode::OK, METRICS, body)
                    }
                    Err(refused) => {
                        let body = Body::text(format!("{refused}\n"), answering);
                        let response = response(StatusCode::SERVICE_UNAVAILABLE, TEXT, body);
                        with(response, RETRY_AFTER, COME_AGAIN)
                    }
                };
            }
            Page::Landing => (StatusCode::OK, HTML, LANDING),
            Page::Healthy => text(StatusCode::OK, "metrics-collector is healthy\n"),
            Page::NotFound => text(
                StatusCode::NOT_FOUND,
                "not found; the metrics are at /metrics\n",
            ),
            Page::MethodNotAllowed => {
                let body = Body::text("only GET and HEAD are allowed\n", answering);
                let response = response(StatusCode::METHOD_NOT_ALLOWED, TEXT, body);
                return with(response, ALLOW, ALLOWED);
            }
        };
        response(status, kind, Body::text(text, answering))
    }

    /// Checks that a request is for a name or an address of this collector; otherwise returns
    /// the answer. This protects browsers from DNS rebinding.
    fn is_for_us(&self, request: &Request<Incoming>) -> Result<(), (StatusCode, String)> {
        let named = match Wanted::of(request) {
            Wanted::NoHost => return Ok(()),
            Wanted::Unclear => {
                let text = "expected one Host header with a name or an address\n";
                return Err((StatusCode::BAD_REQUEST, text.to_owned()));
            }
            Wanted::Host(named) => named,
        };
        let state = self.scrapes.handle().state();
        if self.names.include(&named, self.here, &state.web_hosts) {
            return Ok(());
        }
        let now = Instant::now();
        self.names.look_up(now);
        if let Some(untold) = self.names.refused(now) {
            events::web_host_refused(self.peer, &named, &state.web_file, untold);
        }
        Err((StatusCode::MISDIRECTED_REQUEST, refusal(&named)))
    }
}

/// What to do about a name that is not known. The log says in which file: others need not know where
/// the settings are.
fn refusal(named: &Named) -> String {
    format!(
        "this collector is not known as {named}; if it should be, set\n\n\
         [web]\nhosts = [\"{named}\"]\n\n\
         in the collector's settings (its log names a file), and reload it\n"
    )
}

const METRICS: HeaderValue = HeaderValue::from_static(text::CONTENT_TYPE);

fn response(status: StatusCode, kind: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    with(response, CONTENT_TYPE, kind)
}

fn with(mut response: Response<Body>, name: HeaderName, value: HeaderValue) -> Response<Body> {
    response.headers_mut().insert(name, value);
    response
}

/// A request that is being answered; the connection waits for the next when it is dropped.
#[derive(Debug)]
pub(super) struct Answering {
    id: Id,
    clock: Clock,
    connections: Arc<Lock<Connections>>,
    /// By when the answer has to be there.
    end: Instant,
    /// By when the peer has to have taken the beginning of the answer.
    begun: Instant,
    /// The connection has read a whole answer before.
    known: bool,
    /// Of an answer that is read piece by piece.
    reading: Option<Reading>,
    /// Its last piece was taken.
    read: bool,
}

impl Answering {
    fn begin(visit: &Visit) -> Self {
        let known = visit.connections.lock().asked(visit.id);
        let now = Instant::now();
        let end = now + ANSWER;
        visit.clock.set(end);
        Self {
            id: visit.id,
            clock: visit.clock.clone(),
            connections: Arc::clone(&visit.connections),
            end,
            begun: now + PIECE,
            known,
            reading: None,
            read: false,
        }
    }

    /// One for tests of what is answered, which no connection waits for.
    #[cfg(test)]
    pub(super) fn without_connection() -> Self {
        Self {
            id: 0,
            clock: Clock::new(Instant::now()),
            connections: Arc::new(Lock::new(Connections::new(1))),
            end: Instant::now(),
            begun: Instant::now(),
            known: false,
            reading: None,
            read: false,
        }
    }

    /// It has a piece of the beginning to read. Until it goes on, it may have to make room.
    pub(super) fn begins(&self) {
        self.clock.set(self.begun);
        self.connections.lock().waits(self.id, Some(Instant::now()));
    }

    /// It has taken the beginning, and has a place for the rest.
    pub(super) fn goes_on(&mut self, reading: Reading) {
        self.connections.lock().waits(self.id, None);
        self.reading = Some(reading);
    }

    /// There is no piece ready.
    pub(super) fn waits_for_us(&self) {
        self.clock.set(self.end);
        match &self.reading {
            Some(reading) => reading.stands_still(Instant::now(), false),
            None => self.connections.lock().waits(self.id, None),
        }
    }

    /// It has a piece to read.
    pub(super) fn waits_for_peer(&self) {
        let now = Instant::now();
        self.clock.set(self.end.min(now + PIECE));
        if let Some(reading) = &self.reading {
            reading.stands_still(now, true);
        }
    }

    /// There are no more pieces, and it was ready for the last one.
    pub(super) fn read_whole(&mut self) {
        self.read = true;
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let now = Instant::now();
        self.clock.set(now + NEXT_REQUEST);
        self.connections.lock().answered(self.id, now, self.read);
    }
}
