//! `login.*`: sessions and users, from logind over D-Bus (org.freedesktop.login1(5)).
//!
//! Listed once and kept current by signals: a sample makes no calls. What counts is what `loginctl`
//! lists: sessions of every class, and users with a session or lingering. A host without logind has
//! no values; this source never starts it.

use std::{collections::BTreeSet, sync::Arc};

use zbus::{Message, OwnedObjectPath};

use super::{
    Context, Sink, Source,
    bus::{Client, Failure, Followed, NewOwner, Peer, SharedState, Topic, is_signal},
    error::CollectError,
};
use crate::metrics::table::{LOGIN_SESSIONS, LOGIN_USERS};

const NAME: &str = "org.freedesktop.login1";
const PATH: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";

/// Most sessions, and most users, that are followed: logind's own default limit of
/// sessions (`SessionsMax=` in logind.conf(5)).
const MAX_FOLLOWED: usize = 8192;

/// What logind has.
#[derive(Debug, Default)]
pub struct Logins {
    sessions: BTreeSet<String>,
    users: BTreeSet<u32>,
}

impl Logins {
    /// Handles a signal of logind's; other messages change nothing.
    fn hear(&mut self, message: &Message, owner: &str) {
        let header = message.header();
        let body = message.body();
        let is = |member| is_signal(&header, owner, MANAGER, member);
        let session = || {
            let session = body.deserialize::<(&str, OwnedObjectPath)>();
            session.ok().map(|(id, _)| id.to_owned())
        };
        let user = || {
            let user = body.deserialize::<(u32, OwnedObjectPath)>();
            user.ok().map(|(uid, _)| uid)
        };
        if is("SessionNew") {
            if self.sessions.len() < MAX_FOLLOWED {
                self.sessions.extend(session());
            }
        } else if is("SessionRemoved") {
            session().map(|id| self.sessions.remove(&id));
        } else if is("UserNew") {
            if self.users.len() < MAX_FOLLOWED {
                self.users.extend(user());
            }
        } else if is("UserRemoved") {
            user().map(|uid| self.users.remove(&uid));
        }
    }
}

/// A session as `ListSessions` has it: id, user's number and name, seat, object.
type SessionRow = (String, u32, String, String, OwnedObjectPath);

/// A user as `ListUsers` has it: number, name, object.
type UserRow = (u32, String, OwnedObjectPath);

/// Keeps up with logind.
struct Listener {
    shared: Arc<SharedState<Logins>>,
}

impl Listener {
    async fn listen(&self, client: &mut Client) -> Result<(), Failure> {
        client.watch_owner(NAME).await?;
        let mut owner = client.owner(NAME).await?;
        loop {
            let now = owner.as_deref();
            owner = match now {
                Some(owner) => self.keep_up(client, owner).await?,
                None => self.wait(client).await?,
            };
        }
    }

    /// Until there is a logind.
    async fn wait(&self, client: &mut Client) -> Result<Option<String>, Failure> {
        self.shared.clear();
        client.unwatch(|rule| rule.contains(MANAGER)).await?;
        loop {
            if let Some(NewOwner(owner)) = Client::new_owner(&client.next().await?, NAME) {
                return Ok(owner);
            }
        }
    }

    /// Until logind is another one, or none.
    async fn keep_up(&self, client: &mut Client, owner: &str) -> Result<Option<String>, Failure> {
        client.unwatch(|rule| rule.contains(MANAGER)).await?;
        for member in ["SessionNew", "SessionRemoved", "UserNew", "UserRemoved"] {
            let rule = format!(
                "type='signal',sender='{NAME}',path='{PATH}',interface='{MANAGER}',\
                 member='{member}'"
            );
            client.watch(rule).await?;
        }
        // By its unique name: a call to that starts no service.
        let peer = Peer {
            name: owner,
            path: PATH,
            interface: MANAGER,
        };
        let (sessions, users): (Vec<SessionRow>, Vec<UserRow>);
        let mut logins = Logins::default();
        let answer = client.call(peer, "ListSessions", &()).await?;
        sessions = answer.body().deserialize().unwrap_or_default();
        let sessions = sessions.into_iter().take(MAX_FOLLOWED);
        while let Some(signal) = client.next_before(&answer) {
            if let Some(NewOwner(new)) = Client::new_owner(&signal, NAME) {
                return Ok(new);
            }
            logins.hear(&signal, owner);
        }
        logins.sessions = sessions.map(|row| row.0).collect();
        let answer = client.call(peer, "ListUsers", &()).await?;
        users = answer.body().deserialize().unwrap_or_default();
        while let Some(signal) = client.next_before(&answer) {
            if let Some(NewOwner(new)) = Client::new_owner(&signal, NAME) {
                return Ok(new);
            }
            logins.hear(&signal, owner);
        }
        logins.users = users
            .into_iter()
            .take(MAX_FOLLOWED)
            .map(|row| row.0)
            .collect();
        self.shared.put(logins);
        loop {
            let signal = client.next().await?;
            if let Some(NewOwner(new)) = Client::new_owner(&signal, NAME) {
                return Ok(new);
            }
            self.shared.change(|logins| logins.hear(&signal, owner));
        }
    }
}

impl Topic for Listener {
    async fn serve(&mut self, client: &mut Client) -> Result<(), Failure> {
        self.listen(client).await
    }

    /// A missing logind is not an error, and neither is a missing bus: the systemd source reports
    /// that.
    fn lost(&mut self, _why: Option<String>) {
        self.shared.clear();
    }
}

/// Reports what is known of logind.
pub struct LoginsSource {
    logins: Followed<Logins>,
}

impl LoginsSource {
    /// One that listens from now on, where there is a runtime.
    #[must_use]
    pub fn open(context: &Context) -> Self {
        Self {
            logins: Followed::new(context, |shared| Listener { shared }),
        }
    }
}

impl Source for LoginsSource {
    fn ready(&self) -> bool {
        self.logins.is_settled()
    }

    fn collect(&mut self, _scratch: &mut Vec<u8>, sink: &mut Sink<'_>) -> Result<(), CollectError> {
        self.logins.read(|logins| {
            sink.unsigned(&LOGIN_SESSIONS, logins.sessions.len() as u64);
            sink.unsigned(&LOGIN_USERS, logins.users.len() as u64);
        })?;
        Ok(())
    }
}
