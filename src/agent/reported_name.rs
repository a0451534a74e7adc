//! Which name the host reports under now, and when that changes.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use crate::base::host_name::{PATIENCE, Watch, fully_qualified, short};
use crate::base::offload::{Offloaded, offload};
use crate::protocol::message::check_host;

/// The configured name, else the fully qualified one, else the short one.
pub(crate) struct ReportedName {
    configured: Option<String>,
    /// The kernel's name when the resolver was last asked.
    short: String,
    current: Arc<str>,
    /// The resolver knew a fully qualified name, or none is needed.
    qualified: bool,
    question: Option<Question>,
    watch: Watch,
}

/// The resolver was asked for the full form of a name.
struct Question {
    short: String,
    answer: Offloaded<Option<String>>,
    /// The wait is over: the short name is used until the answer comes.
    impatient: bool,
    patience: Instant,
}

impl ReportedName {
    pub(crate) fn new(configured: Option<String>) -> Self {
        let mut reported = Self {
            short: String::new(),
            current: Arc::from(configured.clone().unwrap_or_else(short)),
            configured,
            qualified: false,
            question: None,
            watch: Watch::start(),
        };
        reported.look_up();
        reported
    }

    /// The name to report under.
    pub(crate) fn current(&self) -> Arc<str> {
        Arc::clone(&self.current)
    }

    /// False while the first answer of the resolver is worth waiting for.
    pub(crate) fn settled(&self) -> bool {
        self.question
            .as_ref()
            .is_none_or(|question| question.impatient)
    }

    /// Takes the name from new settings.
    pub(crate) fn configure(&mut self, configured: Option<String>) {
        self.configured = configured;
        self.qualified = false;
        self.look_up();
    }

    /// Asks the resolver again if it did not know a full name before: by now the network may be
    /// there.
    pub(crate) fn look_again(&mut self) {
        if !self.qualified && self.question.is_none() {
            self.look_up();
            if let Some(question) = &mut self.question {
                question.impatient = true;
            }
        }
    }

    fn look_up(&mut self) {
        if let Some(configured) = &self.configured {
            self.current = Arc::from(configured.as_str());
            self.qualified = true;
            self.question = None;
            return;
        }
        let short = short();
        self.short.clone_from(&short);
        // A question that hangs already is about the same resolver: don't lose one more
        // thread to it unless the name is another one.
        if self
            .question
            .as_ref()
            .is_some_and(|asked| asked.short == short)
        {
            return;
        }
        let asked = short.clone();
        self.question = Some(Question {
            answer: offload("own name", move || {
                fully_qualified(&asked).filter(|name| check_host(name).is_ok())
            }),
            short,
            impatient: false,
            patience: Instant::now() + PATIENCE,
        });
    }

    /// Returns when [`current`](Self::current) or [`settled`](Self::settled) may have
    /// changed. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        let Some(question) = &mut self.question else {
            self.watch.changed().await;
            self.renamed();
            return;
        };
        tokio::select! {
            answer = &mut question.answer => {
                let full = answer.unwrap_or_default();
                self.qualified = full.is_some();
                let short = std::mem::take(&mut question.short);
                self.question = None;
                self.current = Arc::from(full.unwrap_or(short));
            }
            () = sleep_until(question.patience), if !question.impatient => {
                question.impatient = true;
                self.current = Arc::from(question.short.as_str());
            }
            () = self.watch.changed() => self.renamed(),
        }
    }

    fn renamed(&mut self) {
        if self.configured.is_none() && self.short != short() {
            self.qualified = false;
            self.look_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_configured_name_needs_no_resolver() {
        let mut reported = ReportedName::new(Some("web1.example.org".to_owned()));
        assert!(reported.settled());
        assert_eq!(&*reported.current(), "web1.example.org");
        reported.configure(Some("web2.example.org".to_owned()));
        assert!(reported.settled());
        assert_eq!(&*reported.current(), "web2.example.org");
    }

    #[tokio::test]
    async fn the_host_s_own_name_settles() {
        let mut reported = ReportedName::new(None);
        assert!(reported.current().starts_with(&short()));
        while !reported.settled() {
            reported.changed().await;
        }
        assert!(reported.current().starts_with(&short()));
    }
}
