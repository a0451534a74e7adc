//! A connection's task with real collectors' sockets, on which minutes are milliseconds.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::timeout;

use super::*;
use crate::agent::counters::Counters;
use crate::agent::settings::EndpointOrder;
use crate::curve::router::{Arrived, Listen, Router, RouterOptions, Verdict};

/// No step takes that long, on however busy a machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A collector that asks for the model, and counts those who have proved their key.
struct Collector {
    keys: KeyPair,
    address: SocketAddr,
    knocks: Arc<AtomicU32>,
    task: Option<JoinHandle<()>>,
}

impl Collector {
    fn start() -> Self {
        let mut collector = Self {
            keys: KeyPair::generate().unwrap(),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            knocks: Arc::default(),
            task: None,
        };
        collector.open();
        collector
    }

    /// Listens, at the address of before if there is one.
    fn open(&mut self) {
        let router = Router::bind(RouterOptions {
            listen: Listen::Address(self.address),
            keys: &self.keys,
            connections: usize::MAX,
        });
        let mut router = router.unwrap();
        self.address = router.address();
        let knocks = Arc::clone(&self.knocks);
        self.task = Some(spawn_local(async move {
            loop {
                match router.receive().await.unwrap() {
                    Arrived::Knock(peer) => {
                        knocks.fetch_add(1, Relaxed);
                        router.answer(Instant::now(), &peer, Verdict::Allow);
                    }
                    Arrived::Message(from, _) => {
                        let _ = router.try_send(&from.id, &[b"CTRL", b"model"]);
                    }
                    Arrived::Failed { .. } => {}
                }
            }
        }));
    }

    async fn close(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
    }
}

/// The reports of a connection.
struct Reports(mpsc::Receiver<(Serial, Report)>);

impl Reports {
    /// Waits until it reports to this address.
    async fn reporting_to(&mut self, address: SocketAddr) -> ConnectionState {
        let wanted = address.to_string();
        let found = timeout(PATIENCE, async {
            loop {
                let (_, report) = self.0.recv().await.unwrap();
                if let Report::Changed(state) = report
                    && state.state == State::Reporting
                    && state.endpoint == wanted
                {
                    return state;
                }
            }
        });
        found
            .await
            .unwrap_or_else(|_| panic!("it never reports to {wanted}"))
    }
}

#[tokio::test]
async fn it_goes_back_to_the_first_once_that_has_been_reachable_for_long_enough() {
    // A ROUTER stays on its thread.
    LocalSet::new().run_until(goes_back()).await;
}

async fn goes_back() {
    let mut one = Collector::start();
    let other = Collector::start();
    let addresses = [one.address, other.address];
    let (reports_to, reports) = mpsc::channel(64);
    let plan = ConnectionParams {
        serial: 1,
        made: SystemTime::now(),
        name: "main".to_owned(),
        collector: Arc::new(CollectorSettings {
            endpoints: addresses
                .map(|address| address.to_string().parse().unwrap())
                .into(),
            order: EndpointOrder::Listed,
            public_keys: vec![other.keys.public, one.keys.public],
        }),
        probe_every: Duration::from_millis(20),
        keys: Arc::new(KeyPair::generate().unwrap()),
        counters: CounterWriter::new(Arc::new(Counters::default())),
        progress: Arc::new(Progress::new(Instant::now())),
        reports: reports_to,
    };
    let (orders, queue) = mpsc::channel(ORDERS);
    let (_settings, settings) = watch::channel(SessionSettings::default());
    let obeyed = Orders {
        queue,
        settings,
        reconnect: Arc::new(Notify::new()),
    };
    let task = tokio::spawn(run(plan, obeyed));
    orders.send(Order::Start).await.unwrap();
    let mut reports = Reports(reports);
    let state = reports.reporting_to(one.address).await;
    assert_eq!(state.server_key, one.keys.public.to_string());
    assert_eq!(state.reason, "the collector answers");

    one.close().await;
    let state = reports.reporting_to(other.address).await;
    assert_eq!(state.server_key, other.keys.public.to_string());
    let instead = format!("the collector answers, in place of {}", one.address);
    assert_eq!(state.reason, instead);

    let before = one.knocks.load(Relaxed);
    one.open();
    let state = reports.reporting_to(one.address).await;
    assert_eq!(state.reason, "the collector answers");
    // Eleven probes and the connection itself.
    assert_eq!(one.knocks.load(Relaxed) - before, 12);
    // That was one connection there for all of the time.
    assert_eq!(other.knocks.load(Relaxed), 1);

    orders.send(Order::Stop).await.unwrap();
    timeout(PATIENCE, task).await.unwrap().unwrap();
}

#[test]
fn late_is_not_stuck() {
    let start = Instant::now();
    let progress = Progress::new(start);
    assert!(!progress.stuck(start + Duration::from_secs(3600)));
    progress.expect_by(start + Duration::from_secs(5));
    assert!(!progress.stuck(start + Duration::from_secs(24)));
    assert!(progress.stuck(start + Duration::from_secs(26)));
    progress.done();
    assert!(!progress.stuck(start + Duration::from_secs(3600)));
}
