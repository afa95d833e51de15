//! Looks whether bans are still enforced everywhere, and follows interfaces that come and go.

use std::collections::BTreeMap;

use super::Daemon;
use crate::clock;
use crate::enforcer::{Links, Look};

/// Mode and reason of each interface.
pub(super) type Places = BTreeMap<String, (String, String)>;

impl Daemon {
    /// Without notices a change of interfaces is seen here. Whether there is more of it.
    pub(super) fn look(&mut self, is_told_of_links: bool) -> bool {
        if self.enforcer.look() == Look::Lost {
            self.hold_again();
        }
        self.look_at_lag(clock::now());
        self.tell_alive();
        let more = self.follow_links(if is_told_of_links {
            Links::AsKnown
        } else {
            Links::Changed
        });
        self.tell_places();
        more
    }

    /// Covers interfaces that have come; whether there is more to do.
    pub(super) fn follow_links(&mut self, links: Links) -> bool {
        self.enforcer.follow_links(links, clock::now())
    }

    /// How each interface is covered; nothing when that cannot be looked up now.
    pub(super) fn places_now(&self) -> Places {
        let places = self.enforcer.condition().map(|it| it.places);
        let places = places.unwrap_or_default().into_iter();
        places
            .map(|place| (place.interface, (place.mode.to_owned(), place.why)))
            .collect()
    }

    /// Tells those who listen which interfaces are covered otherwise than at the last look, a second ago.
    fn tell_places(&mut self) {
        if !self.journal.is_heard() {
            return;
        }
        let now = self.places_now();
        let before = std::mem::replace(&mut self.places, now);
        for (interface, (mode, why)) in &self.places {
            let changed = before.get(interface).is_none_or(|(was, _)| was != mode);
            if changed {
                self.journal.covered(interface, mode, why);
            }
        }
        let gone = before
            .keys()
            .filter(|name| !self.places.contains_key(*name));
        for interface in gone {
            self.journal.covered(interface, "gone", "");
        }
    }
}
