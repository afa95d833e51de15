//! The lock-out guard at work: sessions are looked up before a ban, and bans of the protected end.

use std::collections::BTreeSet;

use super::Daemon;
use crate::alert::Alert;
use crate::clock;
use crate::ledger::{self, End, Key, Ruling, Whom};
use crate::offender::{Offender, Prefix};
use crate::policy::{Decision, Guard, Reason, Refusal};
use crate::surroundings::Found;
use crate::time::Moment;

impl Daemon {
    /// Decides one alert, with a fresh look at sessions where the decision depends on them.
    pub(super) fn decide(&mut self, alert: &Alert<'_>, now: Moment) -> Decision {
        let decision = self.policy.decide(alert, &self.guard);
        if matches!(decision, Decision::Unmatched) || self.sessions.is_fresh(clock::now()) {
            return decision;
        }
        let depends = match &decision {
            // Somebody who is banned already cannot open a session.
            Decision::Fired(offences) => offences
                .first()
                .is_some_and(|offence| self.ledger.standing(offence.offender, now).is_none()),
            Decision::Refused { refusal, .. } => matches!(
                refusal,
                Refusal::Protected {
                    reason: Reason::SshPeer(_),
                    ..
                }
            ),
            Decision::Unmatched => false,
        };
        if depends && self.look_at_sessions() {
            return self.policy.decide(alert, &self.guard);
        }
        decision
    }

    /// Looks who is logged in, unless this was done a moment ago; whether the guard changed.
    pub(super) fn look_at_sessions(&mut self) -> bool {
        if !self.settings.surroundings.ssh_sessions || !self.sessions.refresh() {
            return false;
        }
        let peers = self.sessions.peers();
        let changed = peers != *self.guard.sessions();
        if changed {
            let mut guard = self.guard.clone();
            guard.set_sessions(peers);
            self.replace_guard(guard);
        }
        changed
    }

    /// Takes over what was looked up at the start, when nothing was protected.
    pub(super) fn protect_first(&mut self, found: Found) {
        self.journal.protects(&found.guard);
        let guard = self.with_sessions(found);
        self.release_protected_by(guard);
        self.perform(clock::now());
    }

    /// Takes over what was looked up again, and ends the bans of those who are protected by it.
    pub(super) fn protect(&mut self, found: Found) {
        let guard = self.with_sessions(found);
        if guard != self.guard {
            self.replace_guard(guard);
            self.perform(clock::now());
        }
    }

    /// Protects the managers that the configuration names from now on, and has the rest looked up with them: those
    /// that it names no more are protected until then.
    pub(super) fn protect_managers(&mut self) {
        let managers = self.settings.config.managers.iter().copied().collect();
        if managers == self.settings.surroundings.managers {
            return;
        }
        self.settings.surroundings.managers = managers;
        let mut guard = self.guard.clone();
        for manager in &self.settings.surroundings.managers {
            guard.protect(*manager, Reason::Manager);
        }
        self.replace_guard(guard);
        self.perform(clock::now());
        self.surroundings
            .send_replace(self.settings.surroundings.clone());
    }

    fn with_sessions(&mut self, found: Found) -> Guard {
        let Found {
            mut guard,
            sessions,
        } = found;
        guard.set_sessions(sessions.peers());
        self.sessions = sessions;
        guard
    }

    fn replace_guard(&mut self, guard: Guard) {
        self.journal.protects_beyond(&guard, &self.guard);
        self.release_protected_by(guard);
    }

    /// The effects of releases wait for the next [`Daemon::perform`].
    fn release_protected_by(&mut self, guard: Guard) {
        let now = clock::now();
        let older = std::mem::replace(&mut self.guard, guard);
        self.allow_protected();
        for offender in self.caught_beyond(&older, now) {
            // What was banned by force although it is protected was meant so.
            let records = self.ledger.records_of(offender);
            let keys: Vec<Key> = records
                .filter(|record| !Self::is_forced(record))
                .map(|record| record.key)
                .collect();
            let mut released = 0;
            for key in keys {
                let unban = ledger::Event::Unban(Whom::Key(key), End::Protected);
                if let Ruling::Done { changed } = self.ledger.apply(unban, now) {
                    released += changed;
                }
            }
            if let Some(reason) = self.guard.reason(offender).filter(|_| released > 0) {
                self.journal.released(offender, &reason);
            }
        }
    }

    /// Has bans of prefixes leave alone what the guard and the white list protect. A pattern of the white list
    /// names no network, so it protects from no prefix.
    pub(super) fn allow_protected(&mut self) {
        let white_list = self.settings.config.white_list.networks();
        let networks: Vec<Prefix> = self.guard.protected().chain(white_list).collect();
        if let Some(sockets) = &self.sockets {
            sockets.spare(&networks);
        }
        if let Err(error) = self.enforcer.allow(&networks) {
            self.counts.failed += 1;
            self.journal.not_allowed(&error);
        }
    }

    /// Who is banned and was not protected by the `older` guard.
    fn caught_beyond(&self, older: &Guard, now: Moment) -> BTreeSet<Offender> {
        let is_banned = |host: &Offender| {
            let mut records = self.ledger.records_of(*host);
            records.any(|record| record.ban.is_some())
        };
        let mut caught: BTreeSet<Offender> =
            self.guard.hosts_beyond(older).filter(is_banned).collect();
        let networks: Vec<_> = self.guard.networks_beyond(older).collect();
        if !networks.is_empty() {
            let banned = self.ledger.banned(now);
            caught.extend(banned.filter(|it| networks.iter().any(|network| network.covers(*it))));
        }
        caught
    }
}
