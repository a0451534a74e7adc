//! Since when a state holds, of the agent and of its connections.

use std::collections::BTreeMap;
use std::time::SystemTime;

use futures_util::StreamExt as _;
use metrics_agent::base::clock::realtime_usec;
use metrics_agent::ctl::proxy::{Agent, Values};
use zbus::Variant;

use crate::support::deployed::Collector;
use crate::support::peer::PATIENCE;
use crate::support::place::{Place, eventually};

/// Silence ends nothing here.
const SETTINGS: &str = "[intervals]\nmetrics = \"100ms\"\nstale = \"1h\"\n";

/// A state as it is published.
#[derive(Debug, Clone, PartialEq)]
struct Told {
    state: String,
    since: u64,
    reason: String,
}

impl Told {
    /// None of an object that is about to go, and has no state any more.
    fn of(values: &Values) -> Option<Self> {
        let text = |name: &str| match &**values.get(name)? {
            Variant::Str(text) => Some(text.to_string()),
            other => panic!("{name}: {other}"),
        };
        Some(Self {
            state: text("State")?,
            since: match &**values.get("StateSinceUSec")? {
                Variant::U64(since) => *since,
                other => panic!("{other}"),
            },
            reason: text("StateReason")?,
        })
    }
}

async fn of_agent(agent: &Agent) -> Told {
    Told::of(&agent.properties().await.unwrap()).unwrap()
}

/// Its connections, by name.
async fn of_connections(agent: &Agent) -> BTreeMap<String, Told> {
    let objects = agent.objects().await.unwrap();
    let named = |values: &Values| match &*values["Name"] {
        Variant::Str(name) => Some((name.to_string(), Told::of(values)?)),
        other => panic!("{other}"),
    };
    objects.connections.iter().filter_map(named).collect()
}

/// Waits until the connection of that name is in that state.
async fn in_state(agent: &Agent, name: &str, state: &str) -> Told {
    eventually(&format!("{name} is {state}"), async || {
        let told = of_connections(agent).await.remove(name)?;
        (told.state == state).then_some(told)
    })
    .await
}

/// Waits until the connection of that name says this in its reason.
async fn because(agent: &Agent, name: &str, why: &str) -> Told {
    eventually(why, async || {
        let told = of_connections(agent).await.remove(name)?;
        told.reason.contains(why).then_some(told)
    })
    .await
}

fn now() -> u64 {
    realtime_usec(SystemTime::now())
}

#[tokio::test]
async fn a_state_holds_since_it_became_another_one() {
    let place = Place::new();
    let began = now();
    let _running = place.start().await;
    let agent = place.agent().await;
    let unconfigured = of_agent(&agent).await;
    assert_eq!(unconfigured.state, "unconfigured");
    assert!((began..=now()).contains(&unconfigured.since));

    let (mut one, mut two) = (Collector::start().await, Collector::start().await);
    let both = format!("{SETTINGS}{}{}", one.section("one"), two.section("two"));
    place.configure(&both);
    let configured = now();
    agent.order("Reload", &()).await.unwrap();
    let connecting = of_agent(&agent).await;
    assert_eq!(connecting.state, "connecting");
    assert!((configured..=now()).contains(&connecting.since));
    one.welcome().await;
    let first = in_state(&agent, "one", "reporting").await;
    let reporting = of_agent(&agent).await;
    assert_eq!(reporting.state, "reporting");
    assert!(connecting.since < first.since, "{connecting:?} {first:?}");
    assert!((first.since..=now()).contains(&reporting.since));

    // The agent's state is no other one, whatever becomes of the second connection.
    two.welcome().await;
    let second = in_state(&agent, "two", "reporting").await;
    assert!(reporting.since < second.since, "{reporting:?} {second:?}");
    two.crash();
    let away = in_state(&agent, "two", "stale").await;
    assert!(second.since < away.since, "{second:?} {away:?}");
    // Two reasons for that, one after the other.
    because(&agent, "two", "refused").await;
    two.usurp().await;
    let stranger = because(&agent, "two", "its key is not the configured").await;
    assert_eq!(stranger.state, "stale");
    assert_eq!(stranger.since, away.since);
    let agent_now = of_agent(&agent).await;
    assert_eq!(agent_now.since, reporting.since);
    assert_ne!(agent_now.reason, reporting.reason);

    // Nor by a reload, be the settings the same or not.
    for settings in [&both, &format!("{SETTINGS}{}", one.section("one"))] {
        place.configure(settings);
        agent.order("Reload", &()).await.unwrap();
        assert_eq!(of_agent(&agent).await.since, reporting.since);
        assert_eq!(of_connections(&agent).await["one"], first);
    }
    let again = now();
    place.configure(&both);
    agent.order("Reload", &()).await.unwrap();
    let two = in_state(&agent, "two", "stale").await;
    assert!(two.since >= again, "another connection of the same name");
}

#[tokio::test]
async fn it_is_announced_with_the_state() {
    let place = Place::new();
    let mut collector = Collector::start().await;
    place.configure(&format!("{SETTINGS}{}", collector.section("main")));
    let _running = place.start().await;
    let agent = place.agent().await;
    collector.welcome().await;
    in_state(&agent, "main", "reporting").await;
    for path in [
        "/org/metricsagent/Agent1",
        "/org/metricsagent/Agent1/connection/main",
    ] {
        let properties = place.properties(path).await;
        let mut signals = properties.receive_properties_changed().await.unwrap();
        let moved = now();
        agent.order("Reconnect", &()).await.unwrap();
        collector.welcome_again().await;
        in_state(&agent, "main", "reporting").await;
        let back = match path {
            "/org/metricsagent/Agent1" => of_agent(&agent).await,
            _ => in_state(&agent, "main", "reporting").await,
        };
        assert!(back.since >= moved, "{path}: {back:?}");
        let announced = async {
            loop {
                let signal = signals.next().await.unwrap();
                let change = signal.args().unwrap();
                let new = &change.changed_properties;
                if new.get("StateSinceUSec") == Some(&Variant::U64(back.since)) {
                    break new.get("State") == Some(&Variant::from("reporting"));
                }
            }
        };
        let announced = tokio::time::timeout(PATIENCE, announced).await.unwrap();
        assert!(announced, "{path}: without the state");
    }
}
