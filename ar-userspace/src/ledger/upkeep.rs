//! What all events share: keys change here, and the effects and counts that follow are made here.
//!
//! Whoever changes keys of an offender takes its standing before, and hands it back after, so that
//! effects and the count of standing offenders cannot disagree. Which event changes what is `decide`'s.

use super::slot::{Place, Slot};
use super::{Action, Effect, End, Key, Ledger, Limit, Past, PerFamily, Record, Standing};
use crate::config::{Enforcement, Executable};
use crate::offender::Offender;
use crate::time::{Expiry, Moment};

impl Ledger {
    /// Releases what is over and forgets what is forgiven, of one offender.
    pub(super) fn settle(&mut self, offender: Offender, now: Moment) {
        self.table.seek(offender);
        self.put_back_due(offender, now);
        self.release(offender, End::Time, now, |slot, _| {
            slot.until().is_some_and(|until| until.is_over(now))
        });
        if self.settings.forgive_after.is_some() {
            let forgiven: Vec<Place> = self
                .table
                .keys_of(offender)
                .filter(|&place| self.is_forgiven(place, now))
                .collect();
            for place in forgiven {
                self.change(place, Slot::forgive);
            }
        }
    }

    /// Does for everyone what is due.
    pub(super) fn settle_all(&mut self, now: Moment) {
        while let Some(offender) = self.due(now) {
            self.settle(offender, now);
        }
    }

    /// An offender with something to settle.
    pub(super) fn due(&self, now: Moment) -> Option<Offender> {
        if let Some(offender) = self.due_to_be_put_back(now) {
            return Some(offender);
        }
        let over = |place: &Place| self.end_of(*place).is_some_and(|end| end <= now);
        let forgiven = |place: &Place| self.is_forgiven(*place, now);
        let ban = self.table.next_to_end().filter(over);
        let due = ban.or_else(|| self.table.quietest().filter(forgiven))?;
        Some(self.table[due].offender)
    }

    /// Ends those bans of one offender that `picks` picks, and says how many.
    pub(super) fn release(
        &mut self,
        offender: Offender,
        end: End,
        now: Moment,
        picks: impl Fn(&Slot, &Executable) -> bool,
    ) -> usize {
        let picked: Vec<Place> = self
            .table
            .keys_of(offender)
            .filter(|&place| self.table[place].until().is_some())
            .filter(|&place| picks(&self.table[place], self.table.executable(place)))
            .collect();
        if picked.is_empty() {
            return 0;
        }
        let before = self.standing_of(offender);
        let actions: Vec<_> = picked
            .iter()
            .filter_map(|&place| {
                // That of one that does not stand was performed when it was lifted.
                let freed = (!self.table[place].lifted).then(|| {
                    let enforcement = self.table[place].enforcement;
                    (self.table.key(place), enforcement, Action::Unban)
                });
                self.end(place, end, now);
                freed
            })
            .collect();
        self.emit(offender, before, actions, now);
        picked.len()
    }

    /// The limit that forbids one more ban, once everything is released that is over.
    pub(super) fn full(
        &mut self,
        offender: Offender,
        enforcement: Enforcement,
        now: Moment,
    ) -> Option<Limit> {
        if enforcement == Enforcement::Program || self.standing_of(offender).is_some() {
            return None;
        }
        loop {
            let limits = &self.settings.limits;
            let (most, limit) = match (offender.is_host(), offender.addr().is_ipv4()) {
                (true, true) => (limits.bans_v4, Limit::BansV4),
                (true, false) => (limits.bans_v6, Limit::BansV6),
                (false, _) => (limits.prefixes, Limit::Prefixes),
            };
            let bans = *self.standing.of(offender);
            if bans < most {
                return None;
            }
            let Some(over) = self.due(now) else {
                return Some(limit);
            };
            self.settle(over, now);
        }
    }

    /// A place for a key that has none; `None` without room for it.
    pub(super) fn remember(&mut self, key: &Key, now: Moment) -> Option<Place> {
        if self.make_room(1, now) {
            self.table.insert(key)
        } else {
            None
        }
    }

    /// Drops the quietest counters until `more` keys fit in, and says whether they do.
    pub(super) fn make_room(&mut self, more: usize, now: Moment) -> bool {
        let most = self.settings.limits.remembered;
        if self.table.len().saturating_add(more) <= most {
            return true;
        }
        self.settle_all(now);
        while self.table.len().saturating_add(more) > most {
            let Some(quietest) = self.table.quietest() else {
                return false;
            };
            self.note(quietest);
            self.table.remove(quietest);
            self.evicted += 1;
        }
        true
    }

    /// Remembers records that a store kept.
    pub(super) fn load(&mut self, records: impl IntoIterator<Item = Record>, now: Moment) {
        self.table.load(records, now);
        let mut all = PerFamily::default();
        for offender in self.table.standing_offenders() {
            *all.of(offender) += 1;
        }
        self.standing = all;
    }

    /// Changes a key, which is forgotten when nothing of it is left.
    pub(super) fn change(&mut self, place: Place, change: impl FnOnce(&mut Slot)) {
        self.note(place);
        self.table.change(place, change);
    }

    /// Frees a key that is banned, and tells of the ban.
    pub(super) fn end(&mut self, place: Place, end: End, now: Moment) {
        let (end, now) = self.forget_pending(place, end, now);
        self.tell(place, end, now);
        self.change(place, |slot| slot.free(now));
    }

    /// Tells of a ban as it stands until now.
    pub(super) fn tell(&mut self, place: Place, end: End, now: Moment) {
        if self.changed.is_none() {
            return;
        }
        let Record { key, ban, .. } = self.table.record(place);
        if let Some(ban) = ban {
            let at = match ban.until {
                Expiry::At(until) => until.min(now),
                Expiry::Never => now,
            };
            self.history.push(Past {
                key,
                ban,
                at,
                end,
                line: None,
            });
        }
    }

    fn note(&mut self, place: Place) {
        if let Some(changed) = &mut self.changed
            && !self.table[place].is_noted
        {
            changed.push((self.table.key(place), place));
            self.table.note(place, true);
        }
    }

    /// What the kernel holds for an offender while nobody has told it otherwise, over or not.
    pub(super) fn standing_of(&self, offender: Offender) -> Option<Standing> {
        self.table.standing(offender, |_| true)
    }

    /// Takes note that an offender stands otherwise than `before`, and says how.
    pub(super) fn recount(
        &mut self,
        offender: Offender,
        before: Option<Standing>,
    ) -> Option<Standing> {
        let after = self.standing_of(offender);
        let count = self.standing.of(offender);
        match (before, after) {
            (None, Some(_)) => *count += 1,
            (Some(_), None) => *count -= 1,
            (None, None) | (Some(_), Some(_)) => {}
        }
        after
    }

    /// Tells enforcers what happened to keys of an offender that stood as `before`.
    pub(super) fn emit(
        &mut self,
        offender: Offender,
        before: Option<Standing>,
        actions: impl IntoIterator<Item = (Key, Enforcement, Action)>,
        now: Moment,
    ) {
        let standing = self.recount(offender, before);
        let mut untold = standing != before;
        for (key, enforcement, action) in actions {
            // A key of the kernel's is among them, because no other moves what stands.
            let standing_changed = untold && enforcement == Enforcement::Kernel;
            untold &= !standing_changed;
            self.effects.push_back(Effect {
                key,
                enforcement,
                action,
                at: now,
                standing,
                standing_changed,
            });
        }
    }
}
