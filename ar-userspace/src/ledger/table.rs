//! Every key that is remembered, found by offender and by turn.
//!
//! A slot of 88 bytes per key, one tree entry per offender, and four bytes in a [`Queue`]: 120 to 140
//! bytes a key. The keys of one offender are chained in the order of their executables' names. Which
//! queue a slot stands in follows from its state, and every change goes through [`Table::change`],
//! which keeps it so. Memory of a slot that is let go is used again, not given back.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Index;

use super::queue::Queue;
use super::slot::{Place, Slot, Slots};
use super::{Key, Record, Standing};
use crate::config::{Enforcement, Executable};
use crate::offender::Offender;
use crate::time::{Expiry, Moment};

/// The keys.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Slots,
    /// The first key of each offender; the slots chain the others.
    first: BTreeMap<Offender, Place>,
    /// Keys with a timed ban, by its end.
    timed: Queue,
    /// Keys without a ban, by the beginning of their quiet time.
    idle: Queue,
    /// Whether every ban is a shadow.
    pub(super) shadow: bool,
}

impl Index<Place> for Table {
    type Output = Slot;

    fn index(&self, place: Place) -> &Slot {
        &self.slots[place]
    }
}

impl Table {
    /// Has the ban of a key stand or not, which moves it in no queue.
    pub(super) fn lift(&mut self, place: Place, lifted: bool) {
        self.slots[place].lifted = lifted;
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Where a key stands.
    pub(super) fn find(&self, key: &Key) -> Option<Place> {
        self.keys_of(key.offender)
            .find(|&place| *self.executable(place) == key.executable)
    }

    /// The keys of one offender, by the names of their executables.
    pub(super) fn keys_of(&self, offender: Offender) -> impl Iterator<Item = Place> {
        self.chain(self.first.get(&offender).copied())
    }

    /// All keys, by offender and then by name.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.first
            .values()
            .flat_map(|&first| self.chain(Some(first)))
    }

    /// All offenders, in order.
    pub(super) fn offenders(&self) -> impl Iterator<Item = Offender> {
        self.first.keys().copied()
    }

    /// The same, each with its keys.
    pub(super) fn by_offender(
        &self,
    ) -> impl Iterator<Item = (Offender, impl Iterator<Item = Place>)> {
        let offenders = self.first.iter();
        offenders.map(|(&offender, &first)| (offender, self.chain(Some(first))))
    }

    /// The key whose timed ban ends first.
    pub(super) fn next_to_end(&self) -> Option<Place> {
        self.timed.first()
    }

    /// The key without a ban that has been quiet longest.
    pub(super) fn quietest(&self) -> Option<Place> {
        self.idle.first()
    }

    /// Whether any key was ever of this name.
    pub(super) fn knows(&self, executable: &Executable) -> bool {
        self.slots.knows(executable)
    }

    /// What enforces the key.
    pub(super) fn executable(&self, place: Place) -> &Executable {
        self.slots.executable(place)
    }

    /// The key itself.
    pub(super) fn key(&self, place: Place) -> Key {
        Key {
            offender: self[place].offender,
            executable: self.executable(place).clone(),
        }
    }

    /// What is remembered of the key.
    pub(super) fn record(&self, place: Place) -> Record {
        self[place].record(self.key(place))
    }

    /// The latest end over the offender's keys that the kernel enforces and `stands` picks; of two with
    /// one end, the rule of the first by name.
    pub(super) fn standing(
        &self,
        offender: Offender,
        stands: impl Fn(Expiry) -> bool,
    ) -> Option<Standing> {
        self.latest(self.keys_of(offender), stands)
    }

    /// The same for every offender, in order.
    pub(super) fn standings(
        &self,
        stands: impl Fn(Expiry) -> bool,
    ) -> impl Iterator<Item = (Offender, Standing)> {
        self.by_offender()
            .filter_map(move |(offender, keys)| Some((offender, self.latest(keys, &stands)?)))
    }

    fn latest(
        &self,
        keys: impl Iterator<Item = Place>,
        stands: impl Fn(Expiry) -> bool,
    ) -> Option<Standing> {
        keys.map(|place| (place, &self[place]))
            .filter(|(_, slot)| slot.enforcement == Enforcement::Kernel && !slot.lifted)
            .filter_map(|(place, slot)| {
                let until = slot.until().filter(|&until| stands(until))?;
                Some((place, slot, until))
            })
            .fold(None, |latest: Option<Standing>, (place, slot, until)| {
                let this = Standing {
                    until,
                    since: slot.since,
                    rule_id: slot.rule_id,
                    shadow: self.shadow || self.executable(place).is_shadow(),
                };
                Some(latest.map_or(this, |latest| latest.and(this)))
            })
    }

    /// Remembers one more key, which must not be there. The caller has to [`change`](Self::change) it
    /// into something worth remembering. `None` when the slots' numbers are used up.
    pub(super) fn insert(&mut self, key: &Key) -> Option<Place> {
        let place = self.slots.insert(key)?;
        let mut first = match self.first.entry(key.offender) {
            Entry::Vacant(vacant) => {
                vacant.insert(place);
                return Some(place);
            }
            Entry::Occupied(occupied) => occupied,
        };
        let before = std::iter::successors(Some(*first.get()), |&place| self.slots[place].next)
            .take_while(|&place| *self.slots.executable(place) < key.executable)
            .last();
        let next = match before {
            Some(before) => self.slots[before].next.replace(place),
            None => Some(first.insert(place)),
        };
        self.slots[place].next = next;
        Some(place)
    }

    /// Remembers many records, in little time where their offenders ascend. A later record of a key replaces an
    /// earlier. What comes after the slots' numbers are used up is left out.
    pub(super) fn load(&mut self, records: impl IntoIterator<Item = Record>, now: Moment) {
        let mut highest = self.first.last_key_value().map(|(&offender, _)| offender);
        let mut ascending = Vec::new();
        for record in records {
            let offender = record.key.offender;
            let is_something = record.ban.is_some() || record.offences > 0;
            let place = if is_something && highest.is_none_or(|highest| highest < offender) {
                highest = Some(offender);
                let place = self.slots.insert(&record.key);
                ascending.extend(place.map(|place| (offender, place)));
                place
            } else {
                self.put_first(std::mem::take(&mut ascending));
                self.find(&record.key).or_else(|| self.insert(&record.key))
            };
            let Some(place) = place else { break };
            self.change(place, |slot| slot.restore(record, now));
        }
        self.put_first(ascending);
    }

    /// Notes the first keys of offenders that ascend.
    fn put_first(&mut self, ascending: Vec<(Offender, Place)>) {
        if self.first.is_empty() {
            // Built as a whole, which no insertion is.
            self.first = BTreeMap::from_iter(ascending);
        } else {
            self.first.extend(ascending);
        }
    }

    /// Changes a key. One that has neither a ban nor a counter afterwards is forgotten.
    pub(super) fn change(&mut self, place: Place, change: impl FnOnce(&mut Slot)) {
        self.leave_queue(place);
        let slot = &mut self.slots[place];
        change(slot);
        match slot.until() {
            Some(Expiry::At(_)) => self.timed.push(place, &mut self.slots),
            Some(Expiry::Never) => {}
            None if slot.offences > 0 => self.idle.push(place, &mut self.slots),
            None => self.unchain(place),
        }
    }

    /// Forgets a key, whatever its state.
    pub(super) fn remove(&mut self, place: Place) {
        self.leave_queue(place);
        self.unchain(place);
    }

    fn leave_queue(&mut self, place: Place) {
        if self[place].queued_at().is_none() {
            return;
        }
        let queue = if self[place].until().is_some() {
            &mut self.timed
        } else {
            &mut self.idle
        };
        queue.remove(place, &mut self.slots);
    }

    fn unchain(&mut self, place: Place) {
        let Slot { offender, next, .. } = self[place];
        let before = self
            .keys_of(offender)
            .find(|&before| self[before].next == Some(place));
        match (before, next) {
            (Some(before), _) => self.slots[before].next = next,
            (None, Some(next)) => {
                self.first.insert(offender, next);
            }
            (None, None) => {
                self.first.remove(&offender);
            }
        }
        self.slots.remove(place);
    }

    fn chain(&self, first: Option<Place>) -> impl Iterator<Item = Place> {
        std::iter::successors(first, |&place| self[place].next)
    }
}
