//! The task that keeps up with the service manager.
//!
//! Lists once and then listens. What a signal leaves open is asked for, a moment later and
//! for all that came meanwhile together. Nothing here makes the manager load a unit: names
//! are looked up among those that are loaded, and properties are read of units that the
//! manager has just listed.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use zbus::Message;

use super::{
    due::{Due, Flood},
    manager::{BootTimes, Manager},
    signals::{
        self, NAME, SERVICE, Signal, all, jobs, manager, may_flood, properties, rules, value,
        with_units,
    },
};
use crate::base::waiting::until;
use crate::sources::bus::{Client, Failure, NewOwner, SharedState, Topic};

/// How long not to listen where signals come in a flood. What changes meanwhile shows up
/// afterwards.
const DEAF: Duration = Duration::from_secs(10);

/// The units whose jobs and states decide about the manager's (systemd.special(7)).
const DECISIVE: [&str; 4] = [
    "basic.target",
    "shutdown.target",
    "rescue.target",
    "emergency.target",
];

/// Keeps up with the service manager.
pub(super) struct Listener {
    shared: Arc<SharedState<Manager>>,
    /// What is not on the shared yet.
    draft: Option<Manager>,
    /// The manager's unique name.
    owner: String,
    /// True if a newer one has replaced it.
    superseded: bool,
    /// True if it loads all units again, and is not to be asked.
    reloading: bool,
    due: Due,
    flood: Flood,
    flooded: bool,
    asked: Option<Instant>,
    listed: Option<Instant>,
}

impl Listener {
    pub(super) fn new(shared: Arc<SharedState<Manager>>) -> Self {
        Self {
            shared,
            draft: None,
            owner: String::new(),
            superseded: false,
            reloading: false,
            due: Due::default(),
            flood: Flood::new(Instant::now()),
            flooded: false,
            asked: None,
            listed: None,
        }
    }

    async fn listen(&mut self, client: &mut Client) -> Result<(), Failure> {
        client.watch_owner(NAME).await?;
        for rule in rules() {
            client.watch(rule).await?;
        }
        let mut was_there = false;
        loop {
            while let Some(owner) = client.owner(NAME).await? {
                was_there = true;
                self.owner = owner;
                self.begin(client).await?;
                self.keep_up(client).await?;
            }
            if was_there {
                // It executes itself again, and is back in a moment.
                self.shared.clear();
            } else {
                self.shared.fail(format!(
                    "{NAME} is not on the system bus: systemd does not run here"
                ));
            }
            while Client::new_owner(&client.next().await?, NAME).is_none() {}
        }
    }

    /// Makes the acquaintance of a manager.
    async fn begin(&mut self, client: &mut Client) -> Result<(), Failure> {
        self.superseded = false;
        self.reloading = false;
        self.due = Due::default();
        self.draft = Some(Manager::default());
        let subscribed = client.call(manager(&self.owner), "Subscribe", &()).await;
        match subscribed {
            // An earlier listener on this connection has not unsubscribed.
            Err(failure) if failure.is("org.freedesktop.systemd1.AlreadySubscribed") => {}
            other => drop(other?),
        }
        self.list(client).await?;
        if let Some(manager) = self.draft.take() {
            self.shared.put(manager);
        }
        Ok(())
    }

    /// Until the manager is another one.
    async fn keep_up(&mut self, client: &mut Client) -> Result<(), Failure> {
        while !self.superseded {
            if self.flooded {
                self.sit_out(client).await?;
                continue;
            }
            let deadline = self.deadline();
            tokio::select! {
                biased;
                signal = client.next() => self.hear(&signal?),
                () = until(deadline), if deadline.is_some() => self.ask(client).await?,
            }
        }
        Ok(())
    }

    /// Waits until a flood of signals is over, and then looks at the result.
    async fn sit_out(&mut self, client: &mut Client) -> Result<(), Failure> {
        client.unwatch(may_flood).await?;
        let end = Some(Instant::now() + DEAF);
        while !self.superseded {
            tokio::select! {
                biased;
                signal = client.next() => self.hear(&signal?),
                () = until(end) => break,
            }
        }
        for rule in rules().filter(|rule| may_flood(rule)) {
            client.watch(rule).await?;
        }
        self.flooded = false;
        self.due(|due| due.everything = true);
        Ok(())
    }

    /// When to ask for what is due; None if nothing is, or there would be no answer.
    fn deadline(&self) -> Option<Instant> {
        let deadline = self.due.deadline(self.asked, self.listed);
        deadline.filter(|_| !self.reloading)
    }

    /// Asks for what is due.
    async fn ask(&mut self, client: &mut Client) -> Result<(), Failure> {
        let due = std::mem::take(&mut self.due);
        self.asked = Some(Instant::now());
        if due.everything {
            return self.list(client).await;
        }
        if !due.names.is_empty() {
            self.refresh(client, due.names).await?;
        }
        if due.boot {
            self.read_manager(client).await?;
        } else if due.state {
            let peer = properties(&self.owner, None);
            let what = (signals::MANAGER, "SystemState");
            let answer = client.call(peer, "Get", &what).await?;
            if let Some(state) = value(&answer) {
                self.edit(|manager| manager.state = state);
            }
        }
        Ok(())
    }

    /// Lists everything.
    async fn list(&mut self, client: &mut Client) -> Result<(), Failure> {
        self.listed = Some(Instant::now());
        let answer = client.call(manager(&self.owner), "ListUnits", &()).await?;
        self.catch_up(client, &answer);
        let listed = with_units(&answer, |units| self.edit(|manager| manager.list(units)));
        listed.ok_or_else(|| not_understood("ListUnits"))?;
        let services = self.edit(|manager| manager.services());
        self.read_restarts(client, services.unwrap_or_default())
            .await?;
        let answer = client.call(manager(&self.owner), "ListJobs", &()).await?;
        self.catch_up(client, &answer);
        let jobs = jobs(&answer).ok_or_else(|| not_understood("ListJobs"))?;
        self.edit(|manager| manager.list_jobs(jobs.into_iter()));
        self.read_manager(client).await
    }

    /// Looks units up by name, among those that are loaded: `ListUnitsByNames` would load
    /// them. There are no wildcards in names.
    async fn refresh(
        &mut self,
        client: &mut Client,
        names: BTreeSet<String>,
    ) -> Result<(), Failure> {
        let states: &[&str] = &[];
        let names: Vec<String> = names.into_iter().collect();
        let answer = client
            .call(
                manager(&self.owner),
                "ListUnitsByPatterns",
                &(states, names),
            )
            .await?;
        self.catch_up(client, &answer);
        let failed = self.any_failed();
        let ask = with_units(&answer, |units| self.edit(|manager| manager.refresh(units)))
            .ok_or_else(|| not_understood("ListUnitsByPatterns"))?;
        if self.any_failed() != failed {
            self.due(|due| due.state = true);
        }
        self.read_restarts(client, ask.unwrap_or_default()).await
    }

    /// There is no list with the restarts of services. These units were in a list a moment ago; for
    /// one that is gone by now the manager only looks at its unit file.
    async fn read_restarts(
        &mut self,
        client: &mut Client,
        paths: Vec<Box<str>>,
    ) -> Result<(), Failure> {
        for path in paths {
            let peer = properties(&self.owner, Some(&path));
            let answer = client.call(peer, "Get", &(SERVICE, "NRestarts")).await;
            let answer = match answer {
                Ok(answer) => answer,
                // It is gone.
                Err(failure) if failure.is_refusal() => continue,
                Err(failure) => return Err(failure),
            };
            self.catch_up(client, &answer);
            if let Some(restarts) = value(&answer) {
                self.edit(|manager| manager.set_restarts(&path, restarts));
            }
        }
        Ok(())
    }

    async fn read_manager(&mut self, client: &mut Client) -> Result<(), Failure> {
        let answer = client
            .call(properties(&self.owner, None), "GetAll", &signals::MANAGER)
            .await?;
        let (state, version, stamps) = all(&answer).ok_or_else(|| not_understood("GetAll"))?;
        self.edit(|manager| {
            manager.state = state;
            manager.version = version;
            manager.boot = BootTimes::new(&stamps);
        });
        Ok(())
    }

    /// Hears what was said before an answer.
    fn catch_up(&mut self, client: &mut Client, answer: &Message) {
        while let Some(signal) = client.next_before(answer) {
            self.hear(&signal);
        }
    }

    fn hear(&mut self, message: &Message) {
        if let Some(NewOwner(owner)) = Client::new_owner(message, NAME) {
            self.superseded |= owner.as_deref() != Some(&*self.owner);
            return;
        }
        // Counted before it is known to be the manager's: signals of other senders cost time, too.
        self.flooded |= self.flood.take(Instant::now());
        let Some(signal) = Signal::parse(message, &self.owner) else {
            return;
        };
        match signal {
            Signal::Reloading(begins) => {
                self.reloading = begins;
                self.due(|due| due.everything = true);
            }
            // While it loads all units again it announces that each goes and comes.
            _ if self.reloading => {}
            Signal::UnitNew { name, path } => {
                self.edit(|manager| manager.loaded(&name, &path));
                self.due(|due| due.unit(name));
            }
            Signal::UnitRemoved { path } => {
                let failed = self.any_failed();
                self.edit(|manager| manager.unloaded(&path));
                self.state_may_follow(failed, "");
            }
            Signal::StateChanged { path, state } => {
                let failed = self.any_failed();
                let known = self.edit(|manager| manager.set_state(&path, &state));
                if known == Some(false) {
                    self.due(|due| due.everything = true);
                }
                self.state_may_follow(failed, "");
            }
            Signal::Restarts { path, restarts } => {
                self.edit(|manager| manager.set_restarts(&path, restarts));
            }
            Signal::JobNew { id, unit } => {
                self.edit(|manager| manager.job_begun(id));
                self.state_may_follow(self.any_failed(), &unit);
            }
            Signal::JobRemoved { id, unit } => {
                self.edit(|manager| manager.job_ended(id));
                self.state_may_follow(self.any_failed(), &unit);
            }
            Signal::StartupFinished => self.due(|due| due.boot = true),
        }
    }

    /// The manager does not announce its state. It follows from whether units have failed,
    /// the end of the boot, and a few targets, which are announced; then it is asked for.
    fn state_may_follow(&mut self, failed_before: bool, unit: &str) {
        if DECISIVE.contains(&unit) || self.any_failed() != failed_before {
            self.due(|due| due.state = true);
        }
    }

    fn any_failed(&self) -> bool {
        match &self.draft {
            Some(draft) => draft.any_failed(),
            None => self.shared.change(|known| known.any_failed()) == Some(true),
        }
    }

    fn edit<R>(&mut self, edit: impl FnOnce(&mut Manager) -> R) -> Option<R> {
        match &mut self.draft {
            Some(draft) => Some(edit(draft)),
            None => self.shared.change(edit),
        }
    }

    fn due(&mut self, add: impl FnOnce(&mut Due)) {
        self.due.since.get_or_insert_with(Instant::now);
        add(&mut self.due);
    }
}

impl Topic for Listener {
    async fn serve(&mut self, client: &mut Client) -> Result<(), Failure> {
        self.listen(client).await
    }

    fn lost(&mut self, why: Option<String>) {
        match why {
            Some(why) => self.shared.fail(why),
            None => self.shared.clear(),
        }
    }
}

fn not_understood(member: &'static str) -> Failure {
    Failure::Call {
        peer: signals::MANAGER.to_owned(),
        member,
        name: None,
        problem: "its answer is not as documented".to_owned(),
    }
}
