//! "metrics" once, and "metrics --watch": the host's values, refreshed.
//!
//! On a terminal the view is refreshed in place. Elsewhere each refresh is a block of text or
//! a line of JSON. An agent that leaves is waited for.

use std::time::Duration;

use tokio::time::Instant;

use super::choice::{Choice, keep};
use super::json::{self, Printer};
use super::metrics::{Earlier, Rates, Table};
use super::screen::{self, Screen};
use super::status::View;
use super::{Control, Failure, complain, emit, number, print, string};
use crate::base::clock::Clock;
use crate::base::quantity::span;
use crate::base::terminal;
use crate::ctl::proxy::{Agent, Agent1Proxy, Values};

/// How long to wait for an agent that is not there, where its own interval is not known.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

const NOT_RUNNING: &str = "metrics-agent is not running; waiting for it";

/// An agent that is there, and what it said last.
struct Source {
    agent: Agent,
    proxy: Agent1Proxy<'static>,
    table: Table,
    last: Option<(Values, Instant)>,
}

/// What one look showed.
struct Sight {
    view: screen::View,
    interval: Duration,
}

/// Where a view goes: a screen of its own, or standard output.
struct Place(Option<Screen>);

impl Control {
    pub(super) async fn metrics(
        &self,
        kind: &'static str,
        choices: &[Choice],
    ) -> Result<(), Failure> {
        let source = Source::of(self.agent().await?).await?;
        let mut grid = source.proxy.sample(kind).await?;
        keep(choices, &mut grid);
        if grid.is_empty() {
            let failing = View::of(&source.agent).await?.failing();
            if !failing.is_empty() && source.table.knows_one_of(choices) {
                return Err(Failure::Failing(failing));
            }
            return Err(Failure::NoMetric);
        }
        if let Some(form) = self.json {
            return print(&Printer(form).line(&json::object(&grid)));
        }
        let table = &source.table;
        self.page(&table.to_text(&grid, &Rates::None, self.style, self.width))
    }

    /// Until a signal or a key ends it. `interval` None for the agent's own.
    pub(super) async fn watch(
        &self,
        kind: &'static str,
        choices: &[Choice],
        interval: Option<Duration>,
    ) -> Result<(), Failure> {
        let in_place =
            self.json.is_none() && self.terminal && !terminal::dumb(terminal::environment);
        let screen = in_place.then(Screen::open).transpose();
        let mut place = Place(screen.map_err(Failure::Io)?);
        let mut source = None;
        let mut missed = false;
        loop {
            let began = Instant::now();
            let Some(sight) = place
                .during(self.look(&mut source, kind, choices, in_place))
                .await?
            else {
                return Ok(());
            };
            let sight = sight?;
            let pause = match &sight {
                Some(sight) => interval.unwrap_or(sight.interval),
                None => interval.unwrap_or(LOOK_AGAIN),
            };
            // Once each time that it leaves.
            let news = !std::mem::replace(&mut missed, sight.is_none());
            if !place.show(sight, news)? {
                return Ok(());
            }
            let next = tokio::time::sleep_until(began + pause);
            if place.during(next).await?.is_none() {
                return Ok(());
            }
        }
    }

    /// The values now; None if there is no agent.
    async fn look(
        &self,
        source: &mut Option<Source>,
        kind: &'static str,
        choices: &[Choice],
        screen: bool,
    ) -> Result<Option<Sight>, Failure> {
        let seen = async {
            let source = match source {
                Some(source) => source,
                None => source.insert(Source::of(self.agent().await?).await?),
            };
            self.sight(source, kind, choices, screen).await
        };
        match seen.await {
            Ok(sight) => Ok(Some(sight)),
            Err(Failure::NotRunning(_) | Failure::Misconfigured | Failure::Gone) => {
                *source = None;
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    async fn sight(
        &self,
        source: &mut Source,
        kind: &'static str,
        choices: &[Choice],
        screen: bool,
    ) -> Result<Sight, Failure> {
        let mut grid = source.proxy.sample(kind).await?;
        keep(choices, &mut grid);
        let now = Instant::now();
        let agent = source.agent.properties().await?;
        let interval = number(&agent, "MetricsIntervalUSec");
        let view = if let Some(form) = self.json {
            screen::View::of(Printer(form).line(&json::object(&grid)))
        } else {
            let clock = Clock::local();
            let state = string(&agent, "State");
            let rates = match &source.last {
                Some((grid, at)) => Rates::Since(Earlier {
                    grid,
                    before: now.duration_since(*at),
                }),
                None => Rates::Awaited,
            };
            let width = screen.then(|| terminal::size().0);
            let table = source.table.to_text(&grid, &rates, self.style, width);
            let (heading, rows) = table.split_once('\n').unwrap_or((&table, ""));
            screen::View {
                head: format!(
                    "{} {}: {}, metrics every {} - {}\n\n{heading}\n",
                    self.style.dot(&state),
                    string(&agent, "HostName"),
                    self.style.paint(&state, &state),
                    span(interval),
                    clock.date(clock.now),
                ),
                body: rows.to_owned(),
            }
        };
        source.last = Some((grid, now));
        Ok(Sight {
            view,
            interval: Duration::from_micros(interval),
        })
    }
}

impl Source {
    async fn of(agent: Agent) -> Result<Self, Failure> {
        let proxy = agent.agent1().await?;
        Ok(Self {
            table: Table::new(proxy.list_metrics().await?),
            agent,
            proxy,
            last: None,
        })
    }
}

impl Place {
    /// Shows it; returns false if the reader is gone.
    fn show(&mut self, sight: Option<Sight>, news: bool) -> Result<bool, Failure> {
        match (&mut self.0, sight) {
            (Some(screen), Some(sight)) => screen.show(sight.view).map_err(Failure::Io)?,
            (Some(screen), None) => {
                let clock = Clock::local();
                let text = format!("○ {NOT_RUNNING} - {}\n", clock.date(clock.now));
                screen.show(screen::View::of(text)).map_err(Failure::Io)?;
            }
            (None, Some(Sight { view, .. })) => {
                // A block ends with an empty line, a line of JSON is one by itself.
                let end = if view.head.is_empty() { "" } else { "\n" };
                return emit(&format!("{}{}{end}", view.head, view.body));
            }
            (None, None) if news => complain(NOT_RUNNING),
            (None, None) => {}
        }
        Ok(true)
    }

    /// Does something while the screen is looked after; None if the person leaves.
    async fn during<F: Future>(&mut self, what: F) -> Result<Option<F::Output>, Failure> {
        let Some(screen) = &mut self.0 else {
            return Ok(Some(what.await));
        };
        tokio::select! {
            done = what => Ok(Some(done)),
            left = screen.left() => left.map(|()| None).map_err(Failure::Io),
        }
    }
}
