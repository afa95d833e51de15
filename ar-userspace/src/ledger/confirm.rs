//! Changes by hand that are taken back at a time, unless they are confirmed before: who locks himself out gets in again.
//!
//! A ban that waits stands under a key of its own, whose end is that time, so that the kernel takes it back by itself,
//! and whatever stood before stands beside it. An unban that waits leaves the ban where it is, only that it does not
//! stand: its record, which is what a store keeps, is as before, so that a restart takes the unban back too.

use super::slot::{Cause, Place};
use super::{Action, End, HandBan, Key, Ledger, Limit, Ruling, Whom};
use crate::config::Enforcement;
use crate::offender::Offender;
use crate::time::{Expiry, Moment};

/// A change that waits to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// When it is taken back: at this time it is too late to confirm it.
    pub confirm_by: Moment,
    /// What it is.
    pub change: Provisional,
}

/// What waits to be confirmed, of the key under which it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provisional {
    /// The key's ban becomes this one when it is confirmed.
    Ban(HandBan),
    /// The key's ban does not stand, and ends for good when that is confirmed.
    Unban {
        /// The user who ended it.
        uid: u32,
        /// The process; `None` when it could not be seen.
        pid: Option<i32>,
        /// When.
        at: Moment,
    },
}

impl Ledger {
    /// Changes that wait at once: a mistake is few changes, and all of them are looked at together.
    pub const MOST_PENDING: usize = 1024;

    /// What waits to be confirmed, by the key under which it does.
    pub fn pending(&self) -> impl Iterator<Item = (&Key, &Pending)> {
        self.pending.iter()
    }

    /// Whether a key's ban does not stand, because an unban of it waits to be confirmed.
    #[must_use]
    pub fn is_lifted(&self, key: &Key) -> bool {
        self.pending
            .get(key)
            .is_some_and(|pending| matches!(pending.change, Provisional::Unban { .. }))
    }

    /// When the first unban is taken back. Bans that wait are among those that end.
    pub(super) fn next_put_back(&self) -> Option<Moment> {
        let unbans = self.pending.values().filter(|pending| pending.is_unban());
        unbans.map(|pending| pending.confirm_by).min()
    }

    /// An offender with an unban to take back at `now`.
    pub(super) fn due_to_be_put_back(&self, now: Moment) -> Option<Offender> {
        let mut due = self.pending.iter();
        due.find(|(_, pending)| pending.is_unban() && pending.confirm_by <= now)
            .map(|(key, _)| key.offender)
    }

    /// Takes back the unbans of one offender that are due.
    pub(super) fn put_back_due(&mut self, offender: Offender, now: Moment) {
        if self.pending.is_empty() {
            return;
        }
        for key in self.pending_of(&Whom::Offender(offender)) {
            if (self.pending.get(&key)).is_some_and(|pending| pending.confirm_by <= now) {
                self.put_back(&key, now);
            }
        }
    }

    /// Takes an unban back: the ban stands again as it was. One that is over meanwhile does not, and neither does what is
    /// no unban.
    pub(super) fn put_back(&mut self, key: &Key, now: Moment) {
        let Some(Pending {
            change: Provisional::Unban { uid, pid, at },
            ..
        }) = self.pending.get(key).cloned()
        else {
            return;
        };
        let Some(place) = self.table.find(key) else {
            return;
        };
        let Some(until) = self.table[place].until().filter(|it| !it.is_over(now)) else {
            return;
        };
        let before = self.standing_of(key.offender);
        self.tell(place, End::Lifted { uid, pid }, at);
        self.pending.remove(key);
        self.table.lift(place, false);
        // As of its beginning, so that a failure ends this ban.
        let since = self.table[place].since;
        let action = (key.clone(), Enforcement::Kernel, Action::Ban { until });
        self.emit(key.offender, before, [action], since);
    }

    /// Ends a ban for good that does not stand: another decision takes its place.
    pub(super) fn end_lifted(&mut self, key: &Key, now: Moment) {
        if self.is_lifted(key)
            && let Some(place) = self.table.find(key)
        {
            self.release_place(place, End::Time, now);
        }
    }

    /// Takes back every change that waits.
    pub(super) fn take_all_back(&mut self, now: Moment) {
        for key in self.pending_of(&Whom::Everyone) {
            self.settle(key.offender, now);
            self.put_back(&key, now);
            if let Some(place) = self.table.find(&key)
                && self.pending.contains_key(&key)
            {
                self.release_place(place, End::NotConfirmed, now);
            }
        }
    }

    /// Bans under `key` until a time, at which it is over unless it was confirmed.
    pub(super) fn ban_provisionally(
        &mut self,
        ban: HandBan,
        key: Key,
        confirm_by: Moment,
        now: Moment,
    ) -> Ruling {
        self.settle(key.offender, now);
        if self.pending.len() >= Self::MOST_PENDING && !self.pending.contains_key(&key) {
            let limit = Limit::Pending;
            return Ruling::Refused { limit, rung: None };
        }
        let until = Expiry::At(confirm_by);
        let by = ban.by.clone();
        let stands = HandBan {
            key: key.clone(),
            until,
            by,
        };
        let ruling = self.ban_by_hand(stands, now);
        if let Ruling::Banned { .. } | Ruling::Moved { .. } = ruling {
            let change = Provisional::Ban(ban);
            self.pending.insert(key, Pending { confirm_by, change });
        }
        ruling
    }

    /// Lifts the kernel's bans of an offender, until a time at which they stand again unless that was confirmed. A ban that
    /// waits itself ends for good.
    pub(super) fn lift(
        &mut self,
        offender: Offender,
        (uid, pid): (u32, Option<i32>),
        confirm_by: Moment,
        now: Moment,
    ) -> Ruling {
        self.settle(offender, now);
        let kernel = |place: &Place| {
            let slot = &self.table[*place];
            slot.until().is_some() && slot.enforcement == Enforcement::Kernel
        };
        let places: Vec<Place> = self.table.keys_of(offender).filter(kernel).collect();
        if self.pending.len() + places.len() > Self::MOST_PENDING {
            let limit = Limit::Pending;
            return Ruling::Refused { limit, rung: None };
        }
        let changed = places.len();
        for place in places {
            let key = self.table.key(place);
            let at = match self.pending.get(&key).map(|pending| &pending.change) {
                Some(Provisional::Ban(_)) => {
                    self.release_place(place, End::Hand { uid, pid }, now);
                    continue;
                }
                Some(&Provisional::Unban { at, .. }) => at,
                None => now,
            };
            let before = self.standing_of(offender);
            let is_new = !self.table[place].lifted;
            self.table.lift(place, true);
            let change = Provisional::Unban { uid, pid, at };
            let pending = Pending { confirm_by, change };
            self.pending.insert(key.clone(), pending);
            let action = (key, Enforcement::Kernel, Action::Unban);
            self.emit(offender, before, is_new.then_some(action), now);
        }
        Ruling::Done { changed }
    }

    /// Makes changes that wait last. One for which there is no room goes on waiting.
    pub(super) fn confirm(
        &mut self,
        whom: &Whom,
        (uid, pid): (u32, Option<i32>),
        now: Moment,
    ) -> Ruling {
        let mut changed = 0;
        for key in self.pending_of(whom) {
            self.settle(key.offender, now);
            let (Some(pending), Some(place)) =
                (self.pending.get(&key).cloned(), self.table.find(&key))
            else {
                continue;
            };
            changed += usize::from(match pending.change {
                Provisional::Unban { .. } => {
                    self.release_place(place, End::Hand { uid, pid }, now);
                    true
                }
                Provisional::Ban(ban) => self.ban_for_good(place, ban, (uid, pid), now),
            });
        }
        Ruling::Done { changed }
    }

    /// The ban in `place` goes on as the one that was asked for, with its begin and its end.
    fn ban_for_good(
        &mut self,
        place: Place,
        ban: HandBan,
        (uid, pid): (u32, Option<i32>),
        now: Moment,
    ) -> bool {
        let HandBan { key, until, by } = ban;
        let since = self.table[place].since;
        let Some(target) = (self.table.find(&key)).or_else(|| self.remember(&key, now)) else {
            return false;
        };
        let before = self.standing_of(key.offender);
        let from = self.table[target].until();
        if from.is_some() {
            self.tell(target, End::Moved, now);
        }
        let cause = Cause {
            by_hand: Some(Box::new(by)),
            ..Cause::default()
        };
        self.change(target, |slot| {
            match from {
                Some(_) => slot.set_until(until),
                None => slot.ban(since, until, Enforcement::Kernel),
            }
            slot.explain(cause, false);
        });
        let provisional = self.table.key(place);
        self.end(place, End::Confirmed { uid, pid }, now);
        let (action, at) = match from {
            Some(from) => (Action::Move { from, until }, now),
            None => (Action::Ban { until }, since),
        };
        let offender = key.offender;
        let actions = [
            (key, Enforcement::Kernel, action),
            (provisional, Enforcement::Kernel, Action::Unban),
        ];
        self.emit(offender, before, actions, at);
        true
    }

    /// What becomes of the entry of a key whose ban ends, and how and when that is told to have been: a ban that was
    /// lifted ended when it was.
    pub(super) fn forget_pending(&mut self, place: Place, end: End, now: Moment) -> (End, Moment) {
        if self.pending.is_empty() {
            return (end, now);
        }
        let waits = self.pending.remove(&self.table.key(place));
        match waits.map(|pending| pending.change) {
            Some(Provisional::Unban { uid, pid, at }) => (End::Hand { uid, pid }, at),
            Some(Provisional::Ban(_)) if end == End::Time => (End::NotConfirmed, now),
            _ => (end, now),
        }
    }

    fn pending_of(&self, whom: &Whom) -> Vec<Key> {
        let keys = self.pending.keys();
        let is_meant = |key: &&Key| match whom {
            Whom::Key(meant) => meant == *key,
            Whom::Offender(offender) => *offender == key.offender,
            Whom::Everyone => true,
        };
        keys.filter(is_meant).cloned().collect()
    }

    fn release_place(&mut self, place: Place, end: End, now: Moment) {
        let key = self.table.key(place);
        self.release(key.offender, end, now, |_, executable| {
            *executable == key.executable
        });
    }
}

impl Pending {
    /// Whether it is a ban that does not stand.
    #[must_use]
    pub fn is_unban(&self) -> bool {
        matches!(self.change, Provisional::Unban { .. })
    }
}
