//! Looks whether bans are still enforced everywhere, and follows interfaces that come and go.

use super::Daemon;
use crate::clock;
use crate::enforcer::Links;

impl Daemon {
    /// Without notices a change of interfaces is seen here.
    pub(super) fn look(&mut self, is_told_of_links: bool) {
        self.enforcer.look();
        self.follow_links(if is_told_of_links {
            Links::AsKnown
        } else {
            Links::Changed
        });
    }

    pub(super) fn follow_links(&mut self, links: Links) {
        self.enforcer.follow_links(links, clock::now());
    }
}
