//! The connections: each a task, with a deadline for whatever comes next.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;

use super::Web;
use super::body::Body;
use super::clock::{ANSWER, Clock, FIRST_REQUEST, NEXT_REQUEST, PIECE};
use super::connections::{Admitted, Connections, Id};
use super::pages::{ALLOWED, HTML, LANDING, Page, TEXT, page};
use super::scrapes::Scrapes;
use crate::server::complaints::Throttle;
use crate::server::events;
use crate::server::handle::Handle;
use crate::server::prometheus::text;

/// Most bytes of a request's head: scrapers send a few hundred, browsers a few thousand.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Most header lines of a request.
const MAX_HEADERS: usize = 64;

/// After that time to accept is tried again, where the system had nothing left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// When whoever was refused may come again, in seconds.
const COME_AGAIN: HeaderValue = HeaderValue::from_static("5");

impl Web {
    /// Answers whoever connects. Ends when it is dropped, and all connections with it.
    pub async fn serve(self, handle: Handle) {
        let scrapes = Scrapes::new(handle);
        let connections = Arc::<Mutex<Connections>>::default();
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
                        locked(&connections).ended(id);
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
            let id = match locked(&connections).admit(Instant::now()) {
                Admitted::Stays(id) => id,
                Admitted::InsteadOf { id, other } => {
                    if let Some(other) = aborts.remove(&other) {
                        other.abort();
                    }
                    id
                }
                // It sees the end of its connection.
                Admitted::No => continue,
            };
            let visit = Visit {
                id,
                peer: peer.ip(),
                clock: Clock::new(Instant::now() + FIRST_REQUEST),
                connections: Arc::clone(&connections),
                scrapes: Arc::clone(&scrapes),
            };
            aborts.insert(id, tasks.spawn(visit.serve(stream)));
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
    clock: Clock,
    connections: Arc<Mutex<Connections>>,
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
        // What a peer did wrong it was told; nobody else needs to know.
        let _ = self.clock.bound(serving).await;
        self.id
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let answering = Answering::begin(self);
        let text = |status, text: &'static str| (status, TEXT, text);
        let (status, kind, text) = match page(request.method(), request.uri().path()) {
            Page::Metrics if request.method() == Method::HEAD => (StatusCode::OK, METRICS, ""),
            Page::Metrics => {
                return match self.scrapes.begin(self.peer).await {
                    Ok(pieces) => {
                        response(StatusCode::OK, METRICS, Body::pieces(pieces, answering))
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
    connections: Arc<Mutex<Connections>>,
    /// By when the answer has to be there.
    end: Instant,
}

impl Answering {
    fn begin(visit: &Visit) -> Self {
        locked(&visit.connections).asked(visit.id);
        let end = Instant::now() + ANSWER;
        visit.clock.set(end);
        Self {
            id: visit.id,
            clock: visit.clock.clone(),
            connections: Arc::clone(&visit.connections),
            end,
        }
    }

    /// One for tests of what is answered, which no connection waits for.
    #[cfg(test)]
    pub(super) fn of_nobody() -> Self {
        Self {
            id: 0,
            clock: Clock::new(Instant::now()),
            connections: Arc::default(),
            end: Instant::now(),
        }
    }

    /// There is no piece ready.
    pub(super) fn waits_for_us(&self) {
        self.clock.set(self.end);
    }

    /// It has a piece to read.
    pub(super) fn waits_for_peer(&self) {
        let end = self.end.min(Instant::now() + PIECE);
        self.clock.set(end);
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let now = Instant::now();
        self.clock.set(now + NEXT_REQUEST);
        locked(&self.connections).answered(self.id, now);
    }
}

/// Nobody holds it while something can go wrong.
fn locked(connections: &Mutex<Connections>) -> MutexGuard<'_, Connections> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}
