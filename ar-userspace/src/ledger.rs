//! Who is banned until when, and how often before: an event and `now` in; effects and the next deadline out.
//!
//! Pure: the daemon owns one ledger in one task, hands in time, and performs the effects in their order.
//!
//! What holds after every call, and the test that shows it:
//!
//! 1. A key has at most one ban, and a ban one end (`the_ledger_does_what_the_model_says`, as 2 to 6).
//! 2. A ban is over at its end, whether or not a timer ran: an event that comes later finds the offender free.
//! 3. [`Ledger::next_deadline`] is the earliest thing to do; nothing is done before its time.
//! 4. The kernel that performs every effect, or every effect twice, or only those with
//!    [`Effect::standing_changed`], holds for each offender the latest end over its keys.
//! 5. A counter goes only by hand, by forgiveness that was asked for, or because there is no room for
//!    another; then the one that has been quiet longest goes. A ban never goes for want of room.
//! 6. No more offenders than the limits say are banned, but for bans that were there already: adopted,
//!    restored, or older than a lower limit.
//! 7. A ledger restored from its records does what the first one would have
//!    (`a_restored_ledger_does_what_the_first_would_have`).
//!
//! `now` must not decrease from one call to the next. A call takes logarithmic time for each key that
//! it changes; only those that name everyone, and a lower limit, change many.

use std::collections::{BTreeMap, VecDeque};

use crate::config::{Enforcement, Executable};
use crate::offender::Offender;
use crate::time::{Expiry, Moment};

mod chunks;
mod confirm;
mod decide;
mod effect;
mod event;
mod history;
mod queue;
mod record;
mod ruling;
mod slot;
mod table;
#[cfg(test)]
mod tests;
mod upkeep;

pub use confirm::{Pending, Provisional};
pub use effect::{Action, Effect, Key, Standing};
pub use event::{Adoption, Event, HandBan, Limits, OnStop, Settings, Whom};
pub use history::{End, History, Past};
pub use record::{AlertId, Ban, ByHand, Change, Record, Snapshot};
pub use ruling::{Limit, Ruling, Rung};

use slot::Place;
use table::Table;

/// All bans and counters of one host.
#[derive(Debug, Default)]
pub struct Ledger {
    settings: Settings,
    table: Table,
    /// Offenders that the kernel holds.
    standing: PerFamily,
    effects: VecDeque<Effect>,
    /// Keys that changed since the last [`Ledger::drain_changes`], once or more, and where each stood; `None` when nobody
    /// asks.
    changed: Option<Vec<(Key, Place)>>,
    /// Bans that ended since the last [`Ledger::drain_history`], while changes are noted.
    history: History,
    evicted: u64,
    /// Changes that wait to be confirmed, by the key under which they do.
    pending: BTreeMap<Key, Pending>,
}

#[derive(Debug, Default)]
struct PerFamily {
    v4: usize,
    v6: usize,
    prefixes_v4: usize,
    prefixes_v6: usize,
}

impl PerFamily {
    fn of(&mut self, offender: Offender) -> &mut usize {
        match (offender.addr().is_ipv4(), offender.is_host()) {
            (true, true) => &mut self.v4,
            (false, true) => &mut self.v6,
            (true, false) => &mut self.prefixes_v4,
            (false, false) => &mut self.prefixes_v6,
        }
    }
}

impl Ledger {
    /// Offenders that one call of [`Ledger::handle_timeout`] settles at most: half a millisecond's work
    /// with two million bans.
    pub const TIMEOUTS_PER_CALL: usize = 256;

    /// Offenders for which there is room from the beginning: a burst of them waits for no growth.
    const ROOM: usize = 16_384;

    /// Effects for which memory is kept when all are performed.
    const EFFECTS_KEPT: usize = 16_384;

    /// A ledger that remembers nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let mut ledger = Self::default();
        ledger.table.shadow = settings.shadow;
        ledger.table.make_room(Self::ROOM);
        ledger.settings = settings;
        ledger
    }

    /// A ledger that remembers `records` (AR-IMP-1), of which a later one of a key replaces an earlier.
    ///
    /// A ban that is overdue is due at once: the next [`handle_timeout`](Self::handle_timeout) releases
    /// it and tells so (AR-IMP-2). The others stand with their ends and no effect: what the kernel has
    /// to hold is in [`standings`](Self::standings). What is over a limit goes when the next key needs room.
    #[must_use]
    pub fn restore(
        settings: Settings,
        records: impl IntoIterator<Item = Record>,
        now: Moment,
    ) -> Self {
        let mut ledger = Self::new(settings);
        ledger.load(records, now);
        ledger
    }

    /// Replaces the limits that it was made with (AR-IMP-9), as a start does which learns them later. As after
    /// [`restore`](Self::restore), what is over one goes when the next key needs room.
    pub fn limit(&mut self, limits: Limits) {
        self.settings.limits = limits;
    }

    /// Takes an event and says what was decided; what has to be done waits in
    /// [`next_effect`](Self::next_effect).
    pub fn apply(&mut self, event: Event, now: Moment) -> Ruling {
        match event {
            Event::Offence { offence, at } => self.offend(offence, at.min(now), now),
            Event::Failed(effect) => self.take_back(effect, Some(End::Failed), now),
            Event::NotMade(effect) => self.take_back(effect, None, now),
            Event::Adopt(adoption) => self.adopt(adoption, now),
            Event::Ban(ban) => self.ban_by_hand(ban, now),
            Event::Propose {
                ban,
                key,
                confirm_by,
            } => self.ban_provisionally(ban, key, confirm_by, now),
            Event::Lift {
                offender,
                uid,
                pid,
                confirm_by,
            } => self.lift(offender, (uid, pid), confirm_by, now),
            Event::Confirm { whom, uid, pid } => self.confirm(&whom, (uid, pid), now),
            Event::Unban(whom, end) => self.unban(&whom, end, now),
            Event::Forgive(whom) => self.forgive(&whom, now),
            Event::Settings(settings) => self.set(settings, now),
            Event::Stop(on_stop) => self.stop(on_stop, now),
        }
    }

    /// Does what is due at `now`, for at most [`TIMEOUTS_PER_CALL`](Self::TIMEOUTS_PER_CALL) offenders,
    /// so that no alert waits long for a mass release.
    ///
    /// Call it when [`next_deadline`](Self::next_deadline) is reached, perform the effects, and ask for
    /// the deadline again: it is still due when more is left. A call at another time does no harm.
    pub fn handle_timeout(&mut self, now: Moment) {
        for _ in 0..Self::TIMEOUTS_PER_CALL {
            let Some(offender) = self.due(now) else {
                break;
            };
            self.settle(offender, now);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do; `None` when never. Every call
    /// that changes the ledger may change it.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        let ban = self
            .table
            .next_to_end()
            .and_then(|place| self.end_of(place));
        let counter = self
            .table
            .quietest()
            .and_then(|place| self.forgiven_at(place));
        let due = [ban, counter, self.next_put_back()];
        due.into_iter().flatten().min()
    }

    /// The next thing to perform, in order; `None` when nothing waits.
    pub fn next_effect(&mut self) -> Option<Effect> {
        let effect = self.effects.pop_front();
        if effect.is_none() && self.effects.capacity() > Self::EFFECTS_KEPT {
            // A mass release leaves a hundred bytes behind for each of a million effects.
            self.effects = VecDeque::new();
        }
        effect
    }

    /// What stands at `now`, by offender, and what is [lifted](Self::is_lifted).
    pub fn bans(&self, now: Moment) -> impl Iterator<Item = Record> {
        self.table
            .places(move |place| self.is_banned(place, now))
            .map(|place| self.table.record(place))
    }

    /// Those of [`bans`](Self::bans) that executables made.
    pub fn program_bans(&self, now: Moment) -> impl Iterator<Item = Record> {
        let is_programs = |place| self.table[place].enforcement == Enforcement::Program;
        self.table
            .places(move |place| is_programs(place) && self.is_banned(place, now))
            .map(|place| self.table.record(place))
    }

    /// Keys under this name that have a ban. Without one there are none, and that takes no time.
    #[must_use]
    pub fn held_by(&self, executable: &Executable) -> Vec<Key> {
        if !self.table.knows(executable) {
            return Vec::new();
        }
        let held = self.table.places(|place| {
            self.table.executable(place) == executable && self.table[place].until().is_some()
        });
        held.map(|place| self.table.key(place)).collect()
    }

    /// Whom [`bans`](Self::bans) are about, each once, in no order that means anything.
    pub fn banned(&self, now: Moment) -> impl Iterator<Item = Offender> {
        self.table.anyone(move |place| self.is_banned(place, now))
    }

    /// Offenders with a ban that is over at `now` and not released yet.
    pub fn overdue(&self, now: Moment) -> impl Iterator<Item = Offender> {
        self.table.offenders(move |place| {
            let until = self.table[place].until();
            until.is_some_and(|until| until.is_over(now))
        })
    }

    /// What is remembered of one offender, by the names of executables. A ban may be over, yet not released.
    pub fn records_of(&self, offender: Offender) -> impl Iterator<Item = Record> {
        self.table
            .keys_of(offender)
            .map(|place| self.table.record(place))
    }

    /// Everything that is remembered, by offender: what a store keeps.
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let everything = self.table.places(|_| true);
        everything.map(|place| self.table.record(place))
    }

    /// The same as one value.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.records().collect()
    }

    /// What the kernel has to hold for one offender at `now`.
    #[must_use]
    pub fn standing(&self, offender: Offender, now: Moment) -> Option<Standing> {
        self.table.standing(offender, |until| !until.is_over(now))
    }

    /// What the kernel has to hold at `now`, for everyone, by offender.
    pub fn standings(&self, now: Moment) -> impl Iterator<Item = (Offender, Standing)> {
        self.table.standings(move |until| !until.is_over(now))
    }

    /// Offences of a key that count at `now`.
    #[must_use]
    pub fn offence_count(&self, key: &Key, now: Moment) -> u32 {
        self.table
            .find(key)
            .filter(|&place| !self.is_forgiven(place, now))
            .map_or(0, |place| self.table[place].offences)
    }

    /// Keys that are remembered, banned or only counted.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.table.len()
    }

    /// IPv4 offenders that the kernel holds, as far as their ends have been handled.
    #[must_use]
    pub fn bans_v4(&self) -> usize {
        self.standing.v4
    }

    /// IPv6 offenders that the kernel holds, as far as their ends have been handled.
    #[must_use]
    pub fn bans_v6(&self) -> usize {
        self.standing.v6
    }

    /// Prefixes that the kernel holds, of both families, as far as their ends have been handled.
    #[must_use]
    pub fn prefixes(&self) -> usize {
        self.standing.prefixes_v4 + self.standing.prefixes_v6
    }

    /// Counters that were dropped for want of room since the ledger was made (AR-IMP-9).
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Notes from here on which keys change and which bans end. Until then, noting costs nothing.
    pub fn track_changes(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// The bans that ended since the last call. A store keeps them in one transaction with the changes of the keys.
    ///
    /// Always empty before [`track_changes`](Self::track_changes).
    pub fn drain_history(&mut self) -> History {
        std::mem::take(&mut self.history)
    }

    /// The keys that changed since the last call, each once, with what is remembered of it at this time. All have to be
    /// taken: of a key that is left, no later change is told.
    ///
    /// Always empty before [`track_changes`](Self::track_changes).
    pub fn drain_changes(&mut self) -> impl Iterator<Item = Change> {
        let mut changed = self
            .changed
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default();
        changed.sort_unstable();
        changed.dedup_by(|(later, _), (first, _)| later == first);
        let table = &mut self.table;
        changed.into_iter().map(|(key, stood)| {
            let place = match table.is_at(&key, stood) {
                true => Some(stood),
                false => table.find(&key),
            };
            Change {
                record: place.map(|place| {
                    table.note(place, false);
                    table.record(place)
                }),
                key,
            }
        })
    }

    fn is_banned(&self, place: Place, now: Moment) -> bool {
        self.table[place]
            .until()
            .is_some_and(|until| !until.is_over(now))
    }

    fn end_of(&self, place: Place) -> Option<Moment> {
        match self.table[place].until()? {
            Expiry::At(end) => Some(end),
            Expiry::Never => None,
        }
    }

    fn forgiven_at(&self, place: Place) -> Option<Moment> {
        let quiet_since = self.table[place].quiet_since();
        Some(quiet_since.after(self.settings.forgive_after?))
    }

    fn is_forgiven(&self, place: Place, now: Moment) -> bool {
        let slot = &self.table[place];
        // A ban that is over, yet not released, has been quiet since its end just as a released one.
        slot.until().is_none_or(|until| until.is_over(now))
            && self.forgiven_at(place).is_some_and(|at| at <= now)
    }
}
