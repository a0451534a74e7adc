//! From the step that the choice asks for to what it takes next: targets of a service, or addresses
//! of an endpoint. Owns the questions that are under way, so that a caller who is interrupted may
//! ask again and loses nothing.

use std::collections::VecDeque;
use std::net::SocketAddr;

use tokio::task::JoinHandle;

use super::choice::Step;
use super::resolve1::{self, SrvError};
use super::srv::Target;
use crate::agent::settings::ServiceName;
use crate::curve::resolve::Resolver;

/// What was found.
#[derive(Debug)]
pub(super) enum Found {
    Targets(Vec<Target>),
    Addresses(VecDeque<SocketAddr>),
}

/// Looks up what an attempt needs.
#[derive(Debug, Default)]
pub(super) struct Finder {
    resolver: Resolver,
    question: Option<Question>,
}

/// A question to systemd-resolved, which ends with the value.
#[derive(Debug)]
struct Question {
    name: ServiceName,
    answer: JoinHandle<Result<Vec<Target>, SrvError>>,
}

impl Drop for Question {
    fn drop(&mut self) {
        self.answer.abort();
    }
}

impl Finder {
    /// Another attempt, with all the patience there is.
    pub(super) fn begin(&mut self) {
        self.resolver.begin();
        self.question = None;
    }

    /// Does what this step says. Cancel safe. Errors are for people.
    pub(super) async fn find(&mut self, step: Option<Step<'_>>) -> Result<Found, String> {
        match step {
            Some(Step::Connect(endpoint)) => {
                let found = self.resolver.look_up(endpoint).await;
                found
                    .map(Found::Addresses)
                    .map_err(|error| error.to_string())
            }
            Some(Step::Find(name)) => {
                let question = match self.question.take() {
                    Some(question) if question.name == *name => question,
                    _ => Question {
                        name: name.clone(),
                        answer: tokio::spawn(resolve1::targets(name.clone())),
                    },
                };
                let question = self.question.insert(question);
                let answer = (&mut question.answer).await;
                self.question = None;
                let found = answer.map_err(|error| error.to_string())?;
                found.map(Found::Targets).map_err(|error| error.to_string())
            }
            None => Err("there is no address".to_owned()),
        }
    }
}
