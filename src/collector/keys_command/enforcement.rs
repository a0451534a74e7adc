//! Finds out if the collector lets in only listed keys, and which collector that is.

use super::{Site, warn};
use crate::base::text;
use crate::collector::access::{Authorized, Listener};
use crate::collector::keys::service_is_installed;
use crate::collector::settings::{self, ETC_DIR, Inputs};

/// Which keys are let in; None if that depends on the command line of a start by hand; an error
/// if it is not known.
pub(super) type Enforcement = Result<Option<Authorized>, String>;

impl Site {
    /// Which keys this listener lets in: as the running collector says or, if none runs, by the
    /// settings that it will start with.
    pub(super) fn enforcement(&self, listener: Listener) -> Enforcement {
        if listener == Listener::Viewers {
            return Ok(Some(Authorized::Directory));
        }
        if !self.state.is_owned() {
            if !self.writes_the_services(listener) {
                return Ok(None);
            }
            let loaded = settings::load(&Inputs::of_process());
            let loaded = loaded.map_err(|error| error.to_string())?;
            return Ok(Some(loaded.settings.access.authorized));
        }
        let fresh = self.refresh().then(|| self.keys().ok().flatten()).flatten();
        let known = fresh.ok_or("the running collector does not answer")?;
        Ok(Some(known.authorized))
    }

    fn writes_the_services(&self, listener: Listener) -> bool {
        self.places.write(listener).starts_with(ETC_DIR)
    }

    /// Says which collector reads a list that is not the service's.
    pub(super) fn warn_of_own_list(&self, listener: Listener) {
        let list = self.places.write(listener);
        let by_hand = !self.writes_the_services(listener);
        if by_hand && service_is_installed() && !self.state.is_owned() {
            warn(&format_args!(
                "only a collector that you run by hand reads {}; for the service's list run this \
                 as root",
                text::path(&list)
            ));
        }
    }
}

pub(super) fn warn_where_lists_do_not_count(enforcement: &Enforcement) {
    match enforcement {
        Ok(None | Some(Authorized::Directory)) => {}
        Ok(Some(Authorized::Any)) => warn(
            "the collector lets every agent in; the list counts once it runs with \
             authorized = \"directory\"",
        ),
        Err(why) => warn(&format_args!(
            "whether the list counts is not known, as {why}; it does with \
             authorized = \"directory\""
        )),
    }
}
