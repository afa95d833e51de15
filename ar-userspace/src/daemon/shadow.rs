//! Shadow mode: what is decided as always and counted in the kernel, but neither dropped nor run.
//!
//! A ban that was decided in shadow has a key of its own, so that it never becomes one that drops, and its
//! offences make no other ban longer.

use super::Daemon;
use crate::config::{Config, Enforcement};
use crate::ledger::{self, End, Key, Whom};
use crate::policy::Offence;
use crate::time::Moment;

/// What is in shadow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shadow {
    /// Everything.
    pub all: bool,
    /// Sections with these commands.
    pub commands: Vec<String>,
    /// Alerts of these rules, whatever the section.
    pub rules: Vec<u32>,
}

impl Shadow {
    /// Whether anything is.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.all || !self.commands.is_empty() || !self.rules.is_empty()
    }

    /// The offence as it is ruled on: one in shadow is the kernel's to count, also where an executable would be run.
    pub(super) fn of(&self, mut offence: Offence, config: &Config) -> Offence {
        if self.covers(&offence, config) {
            offence.executable = offence.executable.in_shadow();
            offence.enforcement = Enforcement::Kernel;
        }
        offence
    }

    fn covers(&self, offence: &Offence, config: &Config) -> bool {
        if self.all || self.rules.contains(&offence.rule_id) {
            return true;
        }
        let mut responses = config.responses.iter();
        let is_named = |command: &String| self.commands.iter().any(|name| name == command);
        !self.commands.is_empty()
            && responses.any(|it| it.index == offence.response && is_named(&it.command))
    }
}

impl Daemon {
    /// Ends the bans of an earlier start in shadow where the enforcer could only drop their packets.
    pub(super) fn release_shadows(&mut self, now: Moment) {
        if self.enforcer.counts_in_shadow() {
            return;
        }
        let bans = self.ledger.bans(now).map(|record| record.key);
        let shadows: Vec<Key> = bans.filter(|key| key.executable.is_shadow()).collect();
        if !shadows.is_empty() {
            let count = shadows.len();
            tracing::warn!(
                count,
                "bans in shadow are ended: nftables cannot count without dropping"
            );
        }
        for key in shadows {
            let unban = ledger::Event::Unban(Whom::Key(key), End::Stop);
            self.ledger.apply(unban, now);
        }
        self.perform(now);
    }

    /// Says plainly what is not done, and which names there are none of.
    pub(super) fn tell_shadow(&self) {
        let Shadow {
            all,
            commands,
            rules,
        } = &self.settings.shadow;
        if *all {
            tracing::warn!("shadow mode: nothing is dropped and no executable is run");
            return;
        }
        if self.settings.shadow.is_on() {
            tracing::warn!(
                ?commands,
                ?rules,
                "shadow mode for these: their bans are counted and not dropped, and no executable of theirs is run"
            );
        }
        for name in commands {
            let mut responses = self.settings.config.responses.iter();
            if !responses.any(|response| response.command == *name) {
                tracing::warn!(command = ?name, "`shadow_commands` names a command that no section uses");
            }
        }
    }
}
