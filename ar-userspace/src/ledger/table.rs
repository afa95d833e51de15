//! Every key that is remembered, found by offender and by turn.
//!
//! A slot of 96 bytes per key, 6 to 11 bytes in a hash per offender, and four bytes in a [`Queue`]. The keys of one
//! offender are chained in the order of their executables' names. Which queue a slot stands in follows from its
//! state, and every change goes through [`Table::change`], which keeps it so. Memory of a slot that is let go is
//! used again, not given back.
//!
//! Nothing keeps offenders in order: what is asked for in order is put in order then, unless the slots stand that way, as
//! those that were loaded do.

use std::hash::BuildHasher as _;
use std::ops::Index;

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

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
    first: HashTable<Place>,
    /// So that nobody outside can choose addresses that share a place. Nothing that is decided or told depends on it.
    hashes: RandomState,
    /// Who was [sought](Table::seek) last, and that offender's first key: one event asks for it many times.
    sought: Option<(Offender, Option<Place>)>,
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

    /// Notes that a key is among those that changed, or is not any more.
    pub(super) fn note(&mut self, place: Place, is_noted: bool) {
        self.slots[place].is_noted = is_noted;
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

    /// Whether a key stands there, which costs no look-up.
    pub(super) fn is_at(&self, key: &Key, place: Place) -> bool {
        let slot = &self[place];
        slot.is_something()
            && slot.offender == key.offender
            && *self.executable(place) == key.executable
    }

    /// The keys of one offender, by the names of their executables.
    pub(super) fn keys_of(&self, offender: Offender) -> impl Iterator<Item = Place> {
        let first = match self.sought {
            Some((sought, first)) if sought == offender => first,
            _ => self.first_of(offender),
        };
        std::iter::successors(first, |&place| self[place].next)
    }

    /// Has what follows about this offender find its keys at once.
    pub(super) fn seek(&mut self, offender: Offender) {
        if self.sought.is_none_or(|(sought, _)| sought != offender) {
            self.sought = Some((offender, self.first_of(offender)));
        }
    }

    fn first_of(&self, offender: Offender) -> Option<Place> {
        let hash = self.hashes.hash_one(offender);
        let first = self
            .first
            .find(hash, |&first| self[first].offender == offender);
        first.copied()
    }

    /// The keys that are `wanted`, by offender and then by name.
    pub(super) fn places(&self, wanted: impl Fn(Place) -> bool) -> impl Iterator<Item = Place> {
        let as_they_stand = self.stand_in_order().then(|| self.slots.places());
        let mut sorted: Vec<_> = match as_they_stand {
            Some(_) => Vec::new(),
            // A look at a slot for each comparison would cost more than to carry the offender along.
            None => {
                let places = self.slots.places().filter(|&place| wanted(place));
                places.map(|place| (self[place].offender, place)).collect()
            }
        };
        sorted.sort_unstable_by(|(left, left_at), (right, right_at)| {
            let by_name = || self.executable(*left_at).cmp(self.executable(*right_at));
            left.cmp(right).then_with(by_name)
        });
        let as_they_stand = as_they_stand.into_iter().flatten();
        as_they_stand
            .filter(move |&place| wanted(place))
            .chain(sorted.into_iter().map(|(_, place)| place))
    }

    /// Whether the slots need not be sorted.
    fn stand_in_order(&self) -> bool {
        self.slots.places().is_sorted_by(|&left, &right| {
            let by_name = || self.executable(left).cmp(self.executable(right));
            let order = self[left].offender.cmp(&self[right].offender);
            order.then_with(by_name).is_le()
        })
    }

    /// The offenders with a key that is `wanted`, in order, each once.
    pub(super) fn offenders(
        &self,
        wanted: impl Fn(Place) -> bool,
    ) -> impl Iterator<Item = Offender> {
        let mut last = None;
        let places = self.places(wanted);
        places.filter_map(move |place| {
            let offender = Some(self[place].offender);
            offender.filter(|_| std::mem::replace(&mut last, offender) != offender)
        })
    }

    /// The offenders with a key that is `wanted`, each once, in no order that means anything: without the time to sort.
    pub(super) fn anyone(&self, wanted: impl Fn(Place) -> bool) -> impl Iterator<Item = Offender> {
        // Slots as they stand in memory, an offender by the last of its keys.
        let places = self.slots.places();
        let lasts =
            places.filter(move |&place| wanted(place) && !self.chain(place).skip(1).any(&wanted));
        lasts.map(|place| self[place].offender)
    }

    /// Those that the kernel holds, over or not, in the same way.
    pub(super) fn standing_offenders(&self) -> impl Iterator<Item = Offender> {
        self.anyone(|place| self.stands(place, |_| true))
    }

    fn chain(&self, first: Place) -> impl Iterator<Item = Place> {
        std::iter::successors(Some(first), |&place| self[place].next)
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
        self.latest(
            self.keys_of(offender)
                .filter(|&place| self.stands(place, &stands)),
        )
    }

    /// The same for every offender, in order.
    pub(super) fn standings(
        &self,
        stands: impl Fn(Expiry) -> bool,
    ) -> impl Iterator<Item = (Offender, Standing)> {
        let places = self.places(move |place| self.stands(place, &stands));
        let mut places = places.peekable();
        std::iter::from_fn(move || {
            let offender = self[*places.peek()?].offender;
            let keys =
                std::iter::from_fn(|| places.next_if(|&place| self[place].offender == offender));
            Some((offender, self.latest(keys)?))
        })
    }

    /// Whether the kernel enforces a key's ban, and it stands.
    fn stands(&self, place: Place, stands: impl Fn(Expiry) -> bool) -> bool {
        let slot = &self[place];
        slot.enforcement == Enforcement::Kernel && !slot.lifted && slot.until().is_some_and(stands)
    }

    /// What comes of keys that stand together.
    fn latest(&self, keys: impl Iterator<Item = Place>) -> Option<Standing> {
        let standings = keys.filter_map(|place| {
            let slot = &self[place];
            Some(Standing {
                until: slot.until()?,
                since: slot.since,
                rule_id: slot.rule_id,
                shadow: self.shadow || self.executable(place).is_shadow(),
            })
        });
        standings.reduce(Standing::and)
    }

    /// Makes room for so many more offenders at once: each growth looks at all that are there.
    pub(super) fn make_room(&mut self, offenders: usize) {
        let hash_of = |first: &Place| self.hashes.hash_one(self.slots[*first].offender);
        self.first.reserve(offenders, hash_of);
    }

    /// Remembers one more key, which must not be there. The caller has to [`change`](Self::change) it
    /// into something worth remembering. `None` when the slots' numbers are used up.
    pub(super) fn insert(&mut self, key: &Key) -> Option<Place> {
        let place = self.slots.insert(key)?;
        if let Ok(first) = self.enchain(place, self.hashes.hash_one(key.offender)) {
            self.sought = Some((key.offender, Some(first)));
        }
        Some(place)
    }

    /// Puts a slot among the keys of its offender, whose hash this is, and gives the first of them.
    ///
    /// # Errors
    ///
    /// When a slot of the same key is there, which it gives.
    fn enchain(&mut self, place: Place, hash: u64) -> Result<Place, Place> {
        let entry = self.first.entry(
            hash,
            |&first| self.slots[first].offender == self.slots[place].offender,
            |&first| self.hashes.hash_one(self.slots[first].offender),
        );
        let mut first = match entry {
            Entry::Vacant(vacant) => {
                vacant.insert(place);
                return Ok(place);
            }
            Entry::Occupied(occupied) => occupied,
        };
        let name = self.slots.executable(place);
        let before = std::iter::successors(Some(*first.get()), |&place| self.slots[place].next)
            .take_while(|&other| self.slots.executable(other) <= name)
            .last();
        if let Some(twin) = before.filter(|&before| self.slots.executable(before) == name) {
            return Err(twin);
        }
        let next = match before {
            Some(before) => self.slots[before].next.replace(place),
            None => Some(std::mem::replace(first.get_mut(), place)),
        };
        let first = *first.get();
        self.slots[place].next = next;
        Ok(first)
    }

    /// Remembers many records, where there are none. A later record of a key replaces an earlier, and one of nothing is
    /// left out, as is what comes after the slots' numbers are used up.
    pub(super) fn load(&mut self, records: impl IntoIterator<Item = Record>, now: Moment) {
        let mut hashed = Vec::new();
        let _ = records.into_iter().try_for_each(|record| {
            let place = self.slots.insert(&record.key)?;
            let hash = self.hashes.hash_one(record.key.offender);
            self.slots[place].restore(record, now);
            if self.slots[place].is_something() {
                self.queue(place);
                hashed.push((hash, place));
            } else {
                self.slots.remove(place);
            }
            Some(())
        });
        self.make_room(hashed.len());
        // As they will stand in the hash, whose buckets are numbered by the last bits: so its memory is waited for once.
        let bits = self.first.num_buckets().checked_ilog2().unwrap_or(0);
        hashed.sort_unstable_by_key(|&(hash, place)| (hash.rotate_right(bits), place));
        for (hash, place) in hashed {
            if let Err(earlier) = self.enchain(place, hash) {
                self.remove(earlier);
                // Nothing is in its way any more.
                let _ = self.enchain(place, hash);
            }
        }
    }

    /// Changes a key. One that has neither a ban nor a counter afterwards is forgotten.
    pub(super) fn change(&mut self, place: Place, change: impl FnOnce(&mut Slot)) {
        self.leave_queue(place);
        change(&mut self.slots[place]);
        if self[place].is_something() {
            self.queue(place);
        } else {
            self.unchain(place);
        }
    }

    /// Has a slot wait for its turn, if it has one.
    fn queue(&mut self, place: Place) {
        match self[place].until() {
            Some(Expiry::At(_)) => self.timed.push(place, &mut self.slots),
            Some(Expiry::Never) => {}
            None => self.idle.push(place, &mut self.slots),
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
        self.sought = None;
        let before = self
            .keys_of(offender)
            .find(|&before| self[before].next == Some(place));
        match before {
            Some(before) => self.slots[before].next = next,
            None => {
                let hash = self.hashes.hash_one(offender);
                let first = self.first.find_entry(hash, |&first| first == place);
                match (first, next) {
                    (Ok(mut first), Some(next)) => *first.get_mut() = next,
                    (Ok(first), None) => drop(first.remove()),
                    // It is chained, so it or one before it is there.
                    (Err(_), _) => {}
                }
            }
        }
        self.slots.remove(place);
    }
}
