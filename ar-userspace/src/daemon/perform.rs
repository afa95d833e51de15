//! Effects: performed first, then counted, told and stored.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Daemon;
use crate::clock;
use crate::config::Enforcement;
use crate::enforcer::{Failure, Hold};
use crate::ledger::{self, Action, Ban, Effect, Key};
use crate::store::Progress;
use crate::time::Moment;

/// How long what was done may wait to be told and stored while more and more alerts arrive.
const SETTLE_WITHIN: Duration = Duration::from_millis(100);

impl Daemon {
    /// Performs what the ledger wants, and tells it what failed.
    pub(super) fn perform(&mut self, now: Moment) {
        loop {
            self.perform_effects(now);
            self.programs.flush();
            if !self.take_outcomes(now) {
                break;
            }
        }
    }

    pub(super) fn perform_effects(&mut self, now: Moment) {
        loop {
            let (mut effects, mut wanted, mut has_any) = (Vec::new(), Vec::new(), false);
            while let Some(effect) = self.ledger.next_effect() {
                has_any = true;
                if effect.enforcement == Enforcement::Program {
                    self.programs.perform(effect);
                    continue;
                }
                wanted.extend(hold(&effect));
                effects.push(effect);
            }
            if !has_any {
                break;
            }
            let failures = self.enforcer.hold(&wanted, clock::kernel_clock());
            let mut causes = causes(wanted.len(), failures).into_iter();
            let mut begun = Vec::new();
            let mut not_ended = BTreeSet::new();
            for effect in effects {
                let cause = hold(&effect).and_then(|_| causes.next().flatten());
                self.responses.performed(&effect, cause.is_none());
                match cause {
                    Some(cause) => {
                        self.counts.failed += 1;
                        self.journal.failed(&effect, &cause);
                        if effect.action == Action::Unban {
                            not_ended.insert(effect.key.clone());
                        }
                        if let Some(not_ended) = &mut self.not_ended
                            && effect.action == Action::Unban
                        {
                            not_ended.insert(effect.key.clone(), cause);
                        }
                        self.ledger.apply(ledger::Event::Failed(effect), now);
                    }
                    None => {
                        let drops = effect.standing.is_some_and(|standing| !standing.shadow);
                        if let Action::Ban { .. } = effect.action
                            && drops
                        {
                            begun.push(effect.key.offender);
                        }
                        self.count(&effect);
                        self.journal.performed(&effect);
                    }
                }
            }
            self.tell_ended(&not_ended);
            self.metrics.confirmed(begun.len());
            if let Some(sockets) = self.sockets.as_ref().filter(|_| !begun.is_empty()) {
                sockets.destroy(begun.into_iter().collect());
            }
        }
    }

    /// At the start: who was banned before may have come back meanwhile, while nobody destroyed sockets.
    pub(super) fn destroy_sockets_of_the_banned(&self) {
        let Some(sockets) = &self.sockets else {
            return;
        };
        let drop = self.ledger.standings(clock::now());
        let drop = drop.filter(|(_, standing)| !standing.shadow);
        sockets.destroy(drop.map(|(offender, _)| offender).collect());
    }

    /// Tells which bans ended by what was just performed, but for those that the kernel did not let go.
    fn tell_ended(&mut self, not_ended: &BTreeSet<Key>) {
        let mut history = self.ledger.drain_history();
        for past in history.entries_mut() {
            past.line = self.line_of(&past.ban);
            if self.is_told_otherwise(past) {
                continue;
            }
            if !not_ended.contains(&past.key) {
                self.journal.ended(past);
            }
        }
        self.ended.append(history);
    }

    /// Whether telling and storing has waited for as long as it may. Asked after each event that was not settled.
    pub(super) fn has_waited(&mut self) -> bool {
        let now = clock::now();
        let since = *self.unsettled_since.get_or_insert(now);
        now.since(since) >= SETTLE_WITHIN
    }

    /// Tells what was done, and hands what the ledger learned to the store, with the position up to which
    /// it came from the file.
    pub(super) fn settle(&mut self) {
        let clocks = clock::clocks();
        self.unsettled_since = None;
        self.journal.flush(clocks.moment);
        self.look_at_sleep();
        let anew = self.look_at_wall_clock(clocks);
        // What ends without an effect is told here.
        self.tell_ended(&BTreeSet::new());
        let history = std::mem::take(&mut self.ended);
        let progress = self.read_to.take().map(|position| Progress {
            file: &self.settings.alerts,
            position,
            handled: self.handled.take_new(),
        });
        let changes = self.ledger.drain_changes().chain(anew);
        let clocks = self.steps.boot.clocks(clocks.moment);
        self.store.keep_quiet(self.quiet.drain_changes(), clocks);
        self.store.save(changes, history, progress, clocks);
    }

    /// The line of the section that banned. Of a ban that is older than the configuration, nobody knows it.
    fn line_of(&self, ban: &Ban) -> Option<u32> {
        let known = !ban.adopted && ban.by_hand.is_none() && ban.since >= self.configured;
        let line = known.then(|| self.journal.line(ban.response as usize))?;
        u32::try_from(line).ok().filter(|&line| line > 0)
    }

    pub(super) fn count(&mut self, effect: &Effect) {
        match effect.action {
            Action::Ban { .. } => self.counts.bans += 1,
            Action::Move { .. } => self.counts.moved += 1,
            Action::Unban => self.counts.unbans += 1,
            Action::Retract { .. } => {}
        }
    }
}

/// What an effect asks of the kernel's enforcer.
fn hold(effect: &Effect) -> Option<Hold> {
    effect.standing_changed.then_some(Hold {
        offender: effect.key.offender,
        standing: effect.standing,
    })
}

/// For each of `count` places, why it failed, if it did.
fn causes(count: usize, failures: Vec<Failure>) -> Vec<Option<String>> {
    let mut causes = vec![None; count];
    for Failure { place, cause } in failures {
        causes[place] = Some(cause);
    }
    causes
}
