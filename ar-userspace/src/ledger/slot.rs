//! One key's state in few bytes, and the slots that hold all of them.
//!
//! A slot knows how to be banned, moved and freed; it does not know of time passing, of other keys, or
//! of limits.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};

use super::chunks::Chunks;
use super::{AlertId, Ban, ByHand, Key, Record};
use crate::config::{Enforcement, Executable};
use crate::offender::Offender;
use crate::time::{Expiry, Moment};

/// A slot's number, from 1, so that an absent one takes no more room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(NonZeroU32);

impl Place {
    /// The number for the slot that is at `index`; `None` when numbers are used up.
    fn at(index: usize) -> Option<Self> {
        let number = u32::try_from(index).ok()?.checked_add(1)?;
        NonZeroU32::new(number).map(Self)
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Why a ban ends when it does.
#[derive(Clone, Debug, Default)]
pub(super) struct Cause {
    /// The section.
    pub(super) response: u32,
    /// The rule; 0 when there is none.
    pub(super) rule_id: u32,
    /// The alert; empty when it has none.
    pub(super) alert_id: AlertId,
    /// The operator, when there is no alert.
    pub(super) by_hand: Option<Box<ByHand>>,
}

/// What is remembered of one key.
#[derive(Debug)]
pub(super) struct Slot {
    /// Banned: the end, `MAX` for a permanent ban. Free: when the last ban ended, `MIN` without one.
    end: Moment,
    /// When the ban was made.
    pub(super) since: Moment,
    /// The latest offence that counts; `MIN` without one.
    pub(super) last_offence: Moment,
    alert_id: AlertId,
    by_hand: Option<Box<ByHand>>,
    /// Offences that count.
    pub(super) offences: u32,
    /// The rule that set the end.
    pub(super) rule_id: u32,
    response: u32,
    /// Number of the executable's name.
    name: u32,
    /// The next key of the same offender; for a slot that is not in use, the next such slot.
    pub(super) next: Option<Place>,
    /// Place in the queue, from 1.
    queued: Option<Place>,
    /// Who.
    pub(super) offender: Offender,
    hold: Hold,
    /// What made the ban.
    pub(super) enforcement: Enforcement,
    adopted: bool,
    /// The ban does not stand, because its end waits to be confirmed.
    pub(super) lifted: bool,
    /// The key is among those that changed and were not drained yet.
    pub(super) is_noted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    Free,
    Timed,
    Permanent,
}

const _: () = assert!(size_of::<Slot>() == 96);

impl Slot {
    fn new(offender: Offender, name: u32) -> Self {
        Self {
            end: Moment::MIN,
            since: Moment::MIN,
            last_offence: Moment::MIN,
            alert_id: AlertId::default(),
            by_hand: None,
            offences: 0,
            rule_id: 0,
            response: 0,
            name,
            next: None,
            queued: None,
            offender,
            hold: Hold::Free,
            enforcement: Enforcement::Kernel,
            adopted: false,
            lifted: false,
            is_noted: false,
        }
    }

    /// The end of the ban; `None` when there is none.
    pub(super) fn until(&self) -> Option<Expiry> {
        match self.hold {
            Hold::Free => None,
            Hold::Timed => Some(Expiry::At(self.end)),
            Hold::Permanent => Some(Expiry::Never),
        }
    }

    /// Whether there is anything to remember: a ban, or offences that count.
    pub(super) fn is_something(&self) -> bool {
        self.hold != Hold::Free || self.offences > 0
    }

    /// When a key without a ban was last heard of: its latest offence or the end of its ban.
    pub(super) fn quiet_since(&self) -> Moment {
        self.end.max(self.last_offence)
    }

    /// Counts an offence, as number `offences`.
    pub(super) fn count(&mut self, offences: u32, at: Moment) {
        self.offences = offences;
        self.last_offence = self.last_offence.max(at);
    }

    /// Clears the counter.
    pub(super) fn forgive(&mut self) {
        self.offences = 0;
    }

    /// Begins a ban.
    pub(super) fn ban(&mut self, since: Moment, until: Expiry, enforcement: Enforcement) {
        self.since = since;
        self.enforcement = enforcement;
        self.set_until(until);
    }

    /// Says why the ban ends when it does.
    pub(super) fn explain(&mut self, cause: Cause, adopted: bool) {
        self.response = cause.response;
        self.rule_id = cause.rule_id;
        self.alert_id = cause.alert_id;
        self.by_hand = cause.by_hand;
        self.adopted = adopted;
    }

    /// Gives a ban another end.
    pub(super) fn set_until(&mut self, until: Expiry) {
        (self.hold, self.end) = match until {
            Expiry::At(end) => (Hold::Timed, end),
            Expiry::Never => (Hold::Permanent, Moment::MAX),
        };
    }

    /// Ends the ban: at `now`, or at its own end when that is sooner.
    pub(super) fn free(&mut self, now: Moment) {
        // Gives back the memory of a long identifier.
        self.alert_id = AlertId::default();
        self.by_hand = None;
        self.lifted = false;
        self.hold = Hold::Free;
        self.end = self.end.min(now);
    }

    /// Takes over what a record tells; `now` is the latest time that a past event can have.
    pub(super) fn restore(&mut self, record: Record, now: Moment) {
        let past = |at: Option<Moment>| at.map_or(Moment::MIN, |at| at.min(now));
        self.offences = record.offences;
        self.last_offence = past(record.last_offence);
        self.hold = Hold::Free;
        self.end = past(record.free_since);
        if let Some(ban) = record.ban {
            // It began in the future where the wall clock was set back before a reboot; its length is what is known.
            let length = |end: Moment| now.after(end.since(ban.since));
            let until = ban.until.map(|end| end.min(length(end)));
            self.ban(ban.since.min(now), until, ban.enforcement);
            let cause = Cause {
                response: ban.response,
                rule_id: ban.rule_id,
                alert_id: ban.alert_id,
                by_hand: ban.by_hand,
            };
            self.explain(cause, ban.adopted);
        }
    }

    /// Everything that is remembered.
    pub(super) fn record(&self, key: Key) -> Record {
        let known = |at: Moment| (at != Moment::MIN).then_some(at);
        Record {
            key,
            offences: self.offences,
            last_offence: known(self.last_offence),
            free_since: known(self.end).filter(|_| self.hold == Hold::Free),
            ban: self.until().map(|until| Ban {
                since: self.since,
                until,
                enforcement: self.enforcement,
                response: self.response,
                rule_id: self.rule_id,
                alert_id: self.alert_id.clone(),
                adopted: self.adopted,
                by_hand: self.by_hand.clone(),
            }),
        }
    }

    /// Place in the queue that the slot stands in.
    pub(super) fn queued_at(&self) -> Option<usize> {
        self.queued.map(Place::index)
    }

    /// Notes the place in the queue. A queue has no more places than there are slots, so each has a number.
    pub(super) fn set_queued_at(&mut self, at: Option<usize>) {
        self.queued = at.and_then(Place::at);
    }

    fn turn(&self) -> Moment {
        match self.hold {
            Hold::Free => self.quiet_since(),
            Hold::Timed | Hold::Permanent => self.end,
        }
    }
}

/// All slots, and the names of executables, of which there are few.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Chunks<Slot>,
    /// The first slot that is not in use.
    spare: Option<Place>,
    spares: usize,
    names: Vec<Executable>,
    numbers: BTreeMap<Executable, u32>,
}

impl Slots {
    /// Slots in use.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.spares
    }

    /// Those in use, in no order that means anything.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(index, slot)| slot.is_something().then(|| Place::at(index))?)
    }

    /// What enforces the key.
    pub(super) fn executable(&self, place: Place) -> &Executable {
        &self.names[self[place].name as usize]
    }

    /// Whether the turn of `left` comes first: by time, then by offender, then by name.
    pub(super) fn comes_before(&self, left: Place, right: Place) -> bool {
        let rank = |place| {
            let slot = &self[place];
            (slot.turn(), slot.offender)
        };
        rank(left)
            .cmp(&rank(right))
            .then_with(|| self.executable(left).cmp(self.executable(right)))
            .is_lt()
    }

    /// Takes a slot into use; `None` when numbers are used up.
    pub(super) fn insert(&mut self, key: &Key) -> Option<Place> {
        let place = self.spare.or_else(|| Place::at(self.slots.len()))?;
        let slot = Slot::new(key.offender, self.number(&key.executable)?);
        if self.spare.is_some() {
            self.spare = std::mem::replace(&mut self[place], slot).next;
            self.spares -= 1;
        } else {
            self.slots.push(slot);
        }
        Some(place)
    }

    /// Puts a slot out of use, with all that it owns.
    pub(super) fn remove(&mut self, place: Place) {
        let mut spare = Slot::new(self[place].offender, 0);
        spare.next = self.spare;
        self[place] = spare;
        self.spare = Some(place);
        self.spares += 1;
    }

    /// Whether any key was ever of this name.
    pub(super) fn knows(&self, executable: &Executable) -> bool {
        self.numbers.contains_key(executable)
    }

    fn number(&mut self, executable: &Executable) -> Option<u32> {
        if let Some(&number) = self.numbers.get(executable) {
            return Some(number);
        }
        let number = u32::try_from(self.names.len()).ok()?;
        self.names.push(executable.clone());
        self.numbers.insert(executable.clone(), number);
        Some(number)
    }
}

impl Index<Place> for Slots {
    type Output = Slot;

    fn index(&self, place: Place) -> &Slot {
        &self.slots[place.index()]
    }
}

impl IndexMut<Place> for Slots {
    fn index_mut(&mut self, place: Place) -> &mut Slot {
        &mut self.slots[place.index()]
    }
}
