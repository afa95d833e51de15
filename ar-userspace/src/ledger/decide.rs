//! What each event does to the keys: the rules of AR-TIME, and the effects that follow.
//!
//! An event first settles its own offender and then decides as if every timer had run. Changing keys
//! is `upkeep`'s; nothing here touches a queue or a count.

use std::time::Duration;

use super::slot::{Cause, Place, Slot};
use super::{
    Action, Adoption, AlertId, Effect, End, HandBan, Key, Ledger, Limit, OnStop, Ruling, Rung,
    Settings, Whom,
};
use crate::config::Enforcement;
use crate::offender::Offender;
use crate::policy::Offence;
use crate::time::{Expiry, Moment};

/// What one offence asks for.
struct Claim {
    key: Key,
    enforcement: Enforcement,
    at: Moment,
    until: Expiry,
    /// `None` without a timeout.
    rung: Option<Rung>,
    cause: Cause,
}

impl Ledger {
    pub(super) fn offend(&mut self, offence: Offence, at: Moment, now: Moment) -> Ruling {
        self.settle(offence.offender, now);
        let key = Key {
            offender: offence.offender,
            executable: offence.executable,
        };
        // What an unban that waits would have ended is as if it had not been touched.
        self.put_back(&key, now);
        let place = self.table.find(&key);
        let timeout = offence.timeout.filter(|timeout| !timeout.is_zero());
        let rung = timeout.map(|timeout| self.rung(place, timeout, at));
        let claim = Claim {
            key,
            enforcement: offence.enforcement,
            at,
            until: rung.map_or(Expiry::Never, |rung| Expiry::At(at.after(rung.length))),
            rung,
            cause: Cause {
                response: u32::try_from(offence.response).unwrap_or(u32::MAX),
                rule_id: offence.rule_id,
                alert_id: AlertId::new(offence.alert_id.as_deref().unwrap_or_default()),
                by_hand: None,
            },
        };
        match place.and_then(|place| Some((place, self.table[place].until()?))) {
            Some((place, from)) => self.ban_again(place, from, claim, now),
            None => self.ban(place, claim, now),
        }
    }

    /// The place on the ladder of the key's next offence (AR-TIME-5, AR-IMP-10).
    fn rung(&self, place: Option<Place>, timeout: Duration, at: Moment) -> Rung {
        let slot = place.map(|place| &self.table[place]);
        let before = slot.map_or(0, |slot| slot.offences);
        let debounced = slot.is_some_and(|slot| {
            let apart = at.since(slot.last_offence).max(slot.last_offence.since(at));
            before > 0 && self.settings.debounce.is_some_and(|window| apart < window)
        });
        let offence = if debounced {
            before
        } else {
            before.saturating_add(1)
        };
        let ladder = &self.settings.repeated_offenders;
        let step = usize::try_from(offence.saturating_sub(2)).unwrap_or(usize::MAX);
        let length = match ladder.get(step).or(ladder.last()) {
            Some(&length) if offence > 1 => length,
            _ => timeout,
        };
        Rung {
            offence,
            length,
            debounced,
        }
    }

    fn ban_again(&mut self, place: Place, from: Expiry, claim: Claim, now: Moment) -> Ruling {
        let Claim {
            at, until, rung, ..
        } = claim;
        let offender = claim.key.offender;
        // The latest response sets the end, and latest is by the alerts' time: one that is read late
        // must not undo what a younger one has set.
        let outdated = at < self.table[place].last_offence;
        let count = |slot: &mut Slot| {
            if let Some(rung) = rung {
                slot.count(rung.offence, at);
            }
        };
        if from == Expiry::Never {
            if rung.is_some() {
                self.change(place, count);
            }
            return Ruling::AlreadyPermanent { rung };
        }
        if let Some(rung) = rung.filter(|_| outdated || until.is_over(now)) {
            self.change(place, count);
            return Ruling::OnlyCounted { rung };
        }
        let enforcement = self.table[place].enforcement;
        let before = self.standing_of(offender);
        self.tell(place, End::Moved, now);
        self.change(place, |slot| {
            count(slot);
            slot.set_until(until);
            slot.explain(claim.cause, false);
        });
        self.emit(
            offender,
            before,
            [(claim.key, enforcement, Action::Move { from, until })],
            now,
        );
        Ruling::Moved { from, until, rung }
    }

    fn ban(&mut self, place: Option<Place>, claim: Claim, now: Moment) -> Ruling {
        let Claim {
            at,
            until,
            rung,
            enforcement,
            ..
        } = claim;
        let offender = claim.key.offender;
        let full = if until.is_over(now) {
            None
        } else {
            self.full(offender, enforcement, now)
        };
        if let (Some(limit), None) = (full, rung) {
            return Ruling::Refused { limit, rung };
        }
        let Some(place) = place.or_else(|| self.remember(&claim.key, now)) else {
            let limit = full.unwrap_or(Limit::Remembered);
            return Ruling::Refused { limit, rung: None };
        };
        let bans = full.is_none() && !until.is_over(now);
        let before = self.standing_of(offender);
        self.change(place, |slot| {
            if let Some(rung) = rung {
                slot.count(rung.offence, at);
            }
            if bans {
                slot.ban(now, until, enforcement);
                slot.explain(claim.cause, false);
            }
        });
        match (full, rung) {
            (Some(limit), _) => Ruling::Refused { limit, rung },
            (None, Some(rung)) if !bans => Ruling::OnlyCounted { rung },
            (None, _) => {
                self.emit(
                    offender,
                    before,
                    [(claim.key, enforcement, Action::Ban { until })],
                    now,
                );
                Ruling::Banned { until, rung }
            }
        }
    }

    /// Undoes what an enforcer could not do, and gives the kernel once more what stands. A ban that was
    /// not made goes, whatever moved it since: a program's `Move` performs nothing that could make it. It is told
    /// of with its `end`, where there is one.
    pub(super) fn take_back(&mut self, effect: Effect, end: Option<End>, now: Moment) -> Ruling {
        let offender = effect.key.offender;
        self.settle(offender, now);
        if let Action::Retract { .. } = effect.action {
            return Ruling::Done { changed: 0 };
        }
        let found = self.table.find(&effect.key);
        // A program's late report is not about the kernel's ban of the same key, nor the other way round.
        let banned = found.filter(|&place| {
            let slot = &self.table[place];
            slot.until().is_some() && slot.enforcement == effect.enforcement
        });
        let before = self.standing_of(offender);
        let changed = match (effect.action, banned) {
            (Action::Ban { .. }, Some(place)) if self.table[place].since == effect.at => {
                match end {
                    Some(end) => self.end(place, end, now),
                    None => self.change(place, |slot| slot.free(now)),
                }
                true
            }
            (Action::Move { from, until }, Some(place))
                if self.table[place].until() == Some(until) =>
            {
                self.change(place, |slot| slot.set_until(from));
                true
            }
            _ => false,
        };
        if changed || effect.enforcement == Enforcement::Kernel {
            let stands = self.table.find(&effect.key);
            let stands = stands.filter(|&place| !self.table[place].lifted);
            let until = stands.and_then(|place| self.table[place].until());
            let standing = self.recount(offender, before);
            self.effects.push_back(Effect {
                action: Action::Retract { until },
                at: now,
                standing,
                // What the kernel holds is not known after a failure.
                standing_changed: effect.enforcement == Enforcement::Kernel,
                ..effect
            });
            self.settle(offender, now);
        }
        Ruling::Done {
            changed: usize::from(changed),
        }
    }

    pub(super) fn adopt(&mut self, adoption: Adoption, now: Moment) -> Ruling {
        let Adoption {
            key,
            since,
            until,
            rule_id,
        } = adoption;
        let offender = key.offender;
        self.settle(offender, now);
        self.end_lifted(&key, now);
        let place = self.table.find(&key);
        let banned = place.is_some_and(|place| self.table[place].until().is_some());
        if banned || until.is_over(now) {
            return Ruling::Done { changed: 0 };
        }
        // The kernel holds it already, so a limit that has no room for it cannot make it go away.
        let Some(place) = place.or_else(|| {
            self.make_room(1, now);
            self.table.insert(&key)
        }) else {
            return Ruling::Refused {
                limit: Limit::Remembered,
                rung: None,
            };
        };
        let before = self.standing_of(offender);
        self.change(place, |slot| {
            slot.ban(since.min(now), until, Enforcement::Kernel);
            slot.explain(
                Cause {
                    rule_id,
                    ..Cause::default()
                },
                true,
            );
        });
        self.emit(
            offender,
            before,
            [(key, Enforcement::Kernel, Action::Ban { until })],
            now,
        );
        Ruling::Done { changed: 1 }
    }

    /// Bans without an offence. The operator's end replaces that of an earlier ban of the key.
    pub(super) fn ban_by_hand(&mut self, ban: HandBan, now: Moment) -> Ruling {
        let HandBan { key, until, by } = ban;
        let offender = key.offender;
        self.settle(offender, now);
        if until.is_over(now) {
            return Ruling::Done { changed: 0 };
        }
        self.end_lifted(&key, now);
        let cause = Cause {
            by_hand: Some(Box::new(by)),
            ..Cause::default()
        };
        let place = self.table.find(&key);
        let running = place.and_then(|place| Some((place, self.table[place].until()?)));
        let before = self.standing_of(offender);
        if let Some((place, from)) = running {
            let enforcement = self.table[place].enforcement;
            self.tell(place, End::Moved, now);
            self.change(place, |slot| {
                slot.set_until(until);
                slot.explain(cause, false);
            });
            let action = Action::Move { from, until };
            self.emit(offender, before, [(key, enforcement, action)], now);
            return Ruling::Moved {
                from,
                until,
                rung: None,
            };
        }
        if let Some(limit) = self.full(offender, Enforcement::Kernel, now) {
            return Ruling::Refused { limit, rung: None };
        }
        let Some(place) = place.or_else(|| self.remember(&key, now)) else {
            let limit = Limit::Remembered;
            return Ruling::Refused { limit, rung: None };
        };
        self.change(place, |slot| {
            slot.ban(now, until, Enforcement::Kernel);
            slot.explain(cause, false);
        });
        let action = Action::Ban { until };
        self.emit(offender, before, [(key, Enforcement::Kernel, action)], now);
        Ruling::Banned { until, rung: None }
    }

    pub(super) fn unban(&mut self, whom: &Whom, end: End, now: Moment) -> Ruling {
        self.for_each(whom, now, |ledger, offender| {
            ledger.release(offender, end, now, |_, executable| whom.names(executable))
        })
    }

    pub(super) fn forgive(&mut self, whom: &Whom, now: Moment) -> Ruling {
        self.for_each(whom, now, |ledger, offender| {
            let counted: Vec<Place> = ledger
                .table
                .keys_of(offender)
                .filter(|&place| ledger.table[place].offences > 0)
                .filter(|&place| whom.names(ledger.table.executable(place)))
                .collect();
            for &place in &counted {
                ledger.change(place, Slot::forgive);
            }
            counted.len()
        })
    }

    pub(super) fn set(&mut self, settings: Settings, now: Moment) -> Ruling {
        self.settle_all(now);
        self.table.shadow = settings.shadow;
        self.settings = settings;
        let before = self.evicted;
        self.make_room(0, now);
        let changed = usize::try_from(self.evicted - before).unwrap_or(usize::MAX);
        Ruling::Done { changed }
    }

    pub(super) fn stop(&mut self, on_stop: OnStop, now: Moment) -> Ruling {
        if on_stop == OnStop::ReleasePrograms {
            self.take_all_back(now);
        }
        self.for_each(&Whom::Everyone, now, |ledger, offender| {
            ledger.release(offender, End::Stop, now, |slot, _| match on_stop {
                OnStop::ReleaseAll => true,
                OnStop::ReleasePrograms => {
                    slot.enforcement == Enforcement::Program && slot.until() != Some(Expiry::Never)
                }
            })
        })
    }

    fn for_each(
        &mut self,
        whom: &Whom,
        now: Moment,
        mut act: impl FnMut(&mut Self, Offender) -> usize,
    ) -> Ruling {
        let offenders = match whom {
            Whom::Key(key) => vec![key.offender],
            Whom::Offender(offender) => vec![*offender],
            Whom::Everyone => self.table.offenders(|_| true).collect(),
        };
        let mut changed = 0;
        for offender in offenders {
            self.settle(offender, now);
            changed += act(self, offender);
        }
        Ruling::Done { changed }
    }
}
