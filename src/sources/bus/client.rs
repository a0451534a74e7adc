//! One source's use of the shared connection: calls with a deadline, and signals, all in
//! the order in which they came.

use std::collections::VecDeque;

use zbus::{
    Connection, Message, MessageStream,
    message::{Header, Type},
    zvariant::DynamicType,
};

use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::time::timeout;

use super::DEADLINE;

/// Most signals that are kept while an answer is waited for. Of some 2 KiB each, they are a
/// small part of what the unit may have.
const MAX_BACKLOG: usize = 2048;

/// An object of a service, and the interface meant.
#[derive(Debug, Clone, Copy)]
pub(in crate::sources) struct Peer<'a> {
    /// A name on the bus. A call to a unique one starts nothing; one to a well-known name
    /// starts its owner where there is none.
    pub(in crate::sources) name: &'a str,
    pub(in crate::sources) path: &'a str,
    pub(in crate::sources) interface: &'a str,
}

const BUS: Peer<'static> = Peer {
    name: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

/// The unique name of a name's new owner; None if it has none any more.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sources) struct NewOwner(pub(in crate::sources) Option<String>);

/// Why the bus is of no use just now.
#[derive(Debug, thiserror::Error)]
pub(in crate::sources) enum Failure {
    /// The connection is closed; another will be made.
    #[error("the system bus closed the connection")]
    Gone,
    /// A peer refused to answer, or did not answer in time.
    #[error("{peer} {member}: {problem}")]
    Call {
        /// Who was asked.
        peer: String,
        /// For what.
        member: &'static str,
        /// The name of the error, where the peer gave one.
        name: Option<String>,
        /// What came of it.
        problem: String,
    },
}

impl Failure {
    /// Returns true if the peer's error has this name.
    pub(in crate::sources) fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Call { name: Some(name), .. } if name == wanted)
    }

    /// Returns true if the peer, or the bus in its place, answered with an error.
    pub(in crate::sources) fn is_refusal(&self) -> bool {
        matches!(self, Self::Call { name: Some(_), .. })
    }
}

/// Returns true if a message is this signal, from this sender, a unique name. Any peer may send us
/// a signal that looks like another's, so only the sender that the bus states counts.
pub(in crate::sources) fn is_signal(
    header: &Header<'_>,
    sender: &str,
    interface: &str,
    member: &str,
) -> bool {
    header.message_type() == Type::Signal
        && header.member().is_some_and(|m| m == member)
        && header.interface().is_some_and(|i| i == interface)
        && header.sender().is_some_and(|s| s == sender)
}

/// Makes calls, and listens to what comes over the connection. As long as this exists it must be
/// polled: the connection is shared, and a client that does not read blocks the others.
pub(in crate::sources) struct Client {
    connection: Connection,
    stream: MessageStream,
    /// The match rules that the bus has from us.
    rules: Vec<String>,
    /// Signals that came while an answer was waited for.
    backlog: VecDeque<Message>,
}

impl Client {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            stream: MessageStream::from(&connection),
            connection,
            rules: Vec::new(),
            backlog: VecDeque::new(),
        }
    }

    /// The next signal. Cancel safe.
    pub(in crate::sources) async fn next(&mut self) -> Result<Message, Failure> {
        if let Some(message) = self.backlog.pop_front() {
            return Ok(message);
        }
        loop {
            if let Some(signal) = signal(self.stream.next().await)? {
                return Ok(signal);
            }
        }
    }

    /// The next signal that came before this answer did; what was sent before an answer is
    /// to be heard before it.
    pub(in crate::sources) fn next_before(&mut self, answer: &Message) -> Option<Message> {
        let first = self.backlog.front()?;
        if first.recv_position() > answer.recv_position() {
            return None;
        }
        self.backlog.pop_front()
    }

    /// Calls, and waits for the answer until [`DEADLINE`]. Signals that come meanwhile are
    /// kept.
    pub(in crate::sources) async fn call<B: Serialize + DynamicType + Sync>(
        &mut self,
        peer: Peer<'_>,
        member: &'static str,
        body: &B,
    ) -> Result<Message, Failure> {
        let Self {
            connection,
            stream,
            backlog,
            ..
        } = self;
        let answer = connection.call_method(
            Some(peer.name),
            peer.path,
            Some(peer.interface),
            member,
            body,
        );
        let mut answer = std::pin::pin!(timeout(DEADLINE, answer));
        let failed = |name, problem| Failure::Call {
            peer: peer.interface.to_owned(),
            member,
            name,
            problem,
        };
        loop {
            tokio::select! {
                // What came before the answer is read before it.
                biased;
                message = stream.next() => if let Some(signal) = signal(message)? {
                    if backlog.len() >= MAX_BACKLOG {
                        return Err(failed(None, format!("{MAX_BACKLOG} signals before an answer")));
                    }
                    backlog.push_back(signal);
                },
                result = &mut answer => return match result {
                    Ok(Ok(message)) => Ok(message),
                    Ok(Err(_)) if connection.is_closed() => Err(Failure::Gone),
                    Ok(Err(zbus::Error::MethodError(name, text, _))) => {
                        let problem = text.unwrap_or_else(|| name.to_string());
                        Err(failed(Some(name.to_string()), problem))
                    }
                    Ok(Err(error)) => Err(failed(bus_error_name(&error), error.to_string())),
                    Err(_) => {
                        let problem = format!("no answer within {} s", DEADLINE.as_secs());
                        Err(failed(None, problem))
                    }
                },
            }
        }
    }

    /// Asks the bus for the signals that a rule fits.
    pub(in crate::sources) async fn watch(&mut self, rule: String) -> Result<(), Failure> {
        self.call(BUS, "AddMatch", &rule).await?;
        self.rules.push(rule);
        Ok(())
    }

    /// Asks the bus for a word when the owner of a name changes.
    pub(in crate::sources) async fn watch_owner(&mut self, name: &str) -> Result<(), Failure> {
        self.watch(format!(
            "type='signal',sender='{bus}',path='{path}',interface='{bus}',\
             member='NameOwnerChanged',arg0='{name}'",
            bus = BUS.name,
            path = BUS.path,
        ))
        .await
    }

    /// Returns the new owner if a message is the bus's report that the owner of a name changed.
    pub(in crate::sources) fn new_owner(message: &Message, name: &str) -> Option<NewOwner> {
        let header = message.header();
        if !is_signal(&header, BUS.name, BUS.interface, "NameOwnerChanged") {
            return None;
        }
        let body = message.body();
        let (changed, _, new): (&str, &str, &str) = body.deserialize().ok()?;
        (changed == name).then(|| NewOwner(Some(new.to_owned()).filter(|new| !new.is_empty())))
    }

    /// The unique name of the owner of a name; does not start a service for it.
    pub(in crate::sources) async fn owner(
        &mut self,
        name: &str,
    ) -> Result<Option<String>, Failure> {
        match self.call(BUS, "GetNameOwner", &name).await {
            Ok(answer) => {
                let body = answer.body();
                Ok(body.deserialize::<&str>().ok().map(str::to_owned))
            }
            Err(failure) if failure.is("org.freedesktop.DBus.Error.NameHasNoOwner") => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Takes back every rule that `of` chooses.
    pub(in crate::sources) async fn unwatch(
        &mut self,
        of: impl Fn(&str) -> bool,
    ) -> Result<(), Failure> {
        let (gone, kept) = std::mem::take(&mut self.rules)
            .into_iter()
            .partition(|rule| of(rule));
        self.rules = kept;
        let gone: Vec<String> = gone;
        for rule in gone {
            self.call(BUS, "RemoveMatch", &rule).await?;
        }
        Ok(())
    }

    /// Takes every rule back, so that the bus no longer wakes us for them: the connection
    /// may live on for others.
    pub(super) async fn end(mut self) {
        // A bus that is gone has forgotten them, and one that does not answer is as good
        // as gone.
        let _ = timeout(DEADLINE, self.unwatch(|_| true)).await;
    }
}

/// What the stream had, where it is a signal.
fn signal(next: Option<zbus::Result<Message>>) -> Result<Option<Message>, Failure> {
    match next {
        Some(Ok(message)) if message.message_type() == Type::Signal => Ok(Some(message)),
        Some(Ok(_)) => Ok(None),
        // After what cannot be parsed it is unknown where the next message begins.
        Some(Err(_)) | None => Err(Failure::Gone),
    }
}

/// zbus turns the bus's own errors into an enumeration; this is the name back.
fn bus_error_name(error: &zbus::Error) -> Option<String> {
    match error {
        zbus::Error::FDO(error) => {
            use zbus::DBusError as _;
            Some(error.name().to_string())
        }
        _ => None,
    }
}
