//! Limits the callers that wait for something expensive: in total, for each user and for each
//! connection. Asking costs a caller nothing, so one that keeps asking must not keep the others
//! from their answers.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use crate::base::monitor::Lock;
use crate::dbus::error::Error;

/// How many may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// All together.
    pub(crate) all: usize,
    /// Of one user, over all its connections.
    pub(crate) user: usize,
    /// Of one connection.
    pub(crate) connection: usize,
}

/// Those who wait.
#[derive(Debug)]
pub(crate) struct Callers {
    limits: Limits,
    /// What they wait for, as it ends the sentence "… already; try again".
    what: &'static str,
    waiting: Lock<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    all: usize,
    users: HashMap<u32, usize>,
    connections: HashMap<String, usize>,
}

/// A place among them; it ends with the value.
#[derive(Debug)]
pub(crate) struct Caller {
    callers: Arc<Callers>,
    user: u32,
    connection: String,
}

impl Callers {
    pub(crate) fn new(limits: Limits, what: &'static str) -> Self {
        Self {
            limits,
            what,
            waiting: Lock::default(),
        }
    }

    /// Takes a place for a call of this connection (a unique name) and its user; refused where
    /// too many wait already.
    pub(crate) fn enter(self: &Arc<Self>, connection: &str, user: u32) -> Result<Caller, Error> {
        let Limits {
            all,
            user: of_user,
            connection: of_connection,
        } = self.limits;
        let mut waiting = self.waiting.lock();
        let what = self.what;
        let full = if waiting.connections.get(connection).copied() >= Some(of_connection) {
            format!("{of_connection} calls of this connection {what}")
        } else if waiting.users.get(&user).copied() >= Some(of_user) {
            format!("{of_user} calls of uid {user} {what}")
        } else if waiting.all >= all {
            format!("{all} calls {what}")
        } else {
            waiting.all += 1;
            *waiting.users.entry(user).or_default() += 1;
            *waiting
                .connections
                .entry(connection.to_owned())
                .or_default() += 1;
            return Ok(Caller {
                callers: Arc::clone(self),
                user,
                connection: connection.to_owned(),
            });
        };
        let text = format!("{full} already; try again");
        Err(Error::new(Error::LIMITS_EXCEEDED, text))
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        let mut waiting = self.callers.waiting.lock();
        waiting.all = waiting.all.saturating_sub(1);
        one_less(&mut waiting.users, &self.user);
        one_less(&mut waiting.connections, &self.connection);
    }
}

fn one_less<K: Eq + Hash>(counts: &mut HashMap<K, usize>, of: &K) {
    if let Some(count) = counts.get_mut(of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use zbus::DBusError as _;

    use super::*;

    const LIMITS: Limits = Limits {
        all: 6,
        user: 3,
        connection: 2,
    };

    fn refusal(callers: &Arc<Callers>, connection: &str, user: u32) -> String {
        let error = callers.enter(connection, user).unwrap_err();
        assert_eq!(
            error.name().as_str(),
            "org.freedesktop.DBus.Error.LimitsExceeded"
        );
        error.description().unwrap().to_owned()
    }

    #[test]
    fn a_connection_and_a_user_have_their_share() {
        let callers = Arc::new(Callers::new(LIMITS, "wait for it"));
        let mut first: Vec<_> = (0..2)
            .map(|_| callers.enter(":1.1", 1000).unwrap())
            .collect();
        assert_eq!(
            refusal(&callers, ":1.1", 1000),
            "2 calls of this connection wait for it already; try again"
        );
        let second = callers.enter(":1.2", 1000).unwrap();
        assert_eq!(
            refusal(&callers, ":1.3", 1000),
            "3 calls of uid 1000 wait for it already; try again"
        );
        // Others have their place.
        let others = [
            callers.enter(":1.4", 1001).unwrap(),
            callers.enter(":1.5", 1002).unwrap(),
            callers.enter(":1.6", 1003).unwrap(),
        ];
        assert_eq!(
            refusal(&callers, ":1.7", 1004),
            "6 calls wait for it already; try again"
        );
        // What ends makes room.
        first.pop();
        drop(callers.enter(":1.1", 1000).unwrap());
        drop((first, second, others));
        let waiting = callers.waiting.lock();
        assert_eq!(waiting.all, 0);
        assert!(waiting.users.is_empty() && waiting.connections.is_empty());
    }
}
