//! Looks whether bans are still enforced everywhere, and follows interfaces that come and go.

use super::Daemon;
use crate::clock;
use crate::enforcer::Links;

impl Daemon {
    /// Without notices a change of interfaces is seen here. Whether there is more of it.
    pub(super) fn look(&mut self, is_told_of_links: bool) -> bool {
        self.enforcer.look();
        self.tell_alive();
        self.follow_links(if is_told_of_links {
            Links::AsKnown
        } else {
            Links::Changed
        })
    }

    /// Covers interfaces that have come; whether there is more to do.
    pub(super) fn follow_links(&mut self, links: Links) -> bool {
        self.enforcer.follow_links(links, clock::now())
    }
}
