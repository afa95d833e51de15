//! Where each banned address of one family stands, as this process has put it there, so that none is searched.
//!
//! Touches no map. What others have made of the maps since is found by looking there.

use std::collections::BTreeSet;

use ar_ebpf::place::{Hashing, PLACES_OF_BUCKET};

use super::address::Address;

/// Where an address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// At this place of the table, which is in one of its buckets.
    Place(u32),
    /// In the overflow.
    Overflow,
}

/// Places whose addresses stand together in memory.
const PIECE: usize = 256;

pub(super) struct Mirror<A: Address> {
    hashing: Hashing,
    /// By place, as far as any of a piece was ever taken; nobody where it is not. An `Option` of each would take twice the
    /// memory, and the allocator touches all of what it has used before.
    octets: Vec<Option<Box<[A::Octets; PIECE]>>>,
    /// A bit for each place.
    taken: Vec<u64>,
    overflow: BTreeSet<A>,
    len: usize,
}

impl<A: Address> Mirror<A> {
    pub(super) fn new(hashing: Hashing) -> Self {
        let places = (hashing.buckets * PLACES_OF_BUCKET) as usize;
        Self {
            hashing,
            octets: std::iter::repeat_with(|| None)
                .take(places.div_ceil(PIECE))
                .collect(),
            taken: vec![0; places.div_ceil(64)],
            overflow: BTreeSet::new(),
            len: 0,
        }
    }

    /// How many addresses stand somewhere.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Places of the table.
    pub(super) fn places(&self) -> u32 {
        self.hashing.buckets * PLACES_OF_BUCKET
    }

    /// Who stands at a place.
    pub(super) fn at(&self, place: u32) -> Option<A> {
        self.octets_at(place)
            .filter(|_| self.is_taken(place))
            .map(A::of)
    }

    pub(super) const fn overflow(&self) -> &BTreeSet<A> {
        &self.overflow
    }

    pub(super) fn find(&self, address: A) -> Option<Spot> {
        let mut homes = self.homes(address).into_iter().flatten();
        let place = homes.find(|&place| self.stands_at(address, place));
        let place = place.map(Spot::Place);
        place.or_else(|| self.overflow.contains(&address).then_some(Spot::Overflow))
    }

    /// Whether the address stands at a place before this one. Who reads the places in their order need not wait for the
    /// memory of those that are still to come.
    pub(super) fn stands_before(&self, address: A, place: u32) -> bool {
        let mut homes = self.homes(address).into_iter().flatten();
        homes.any(|home| home < place && self.stands_at(address, home))
    }

    fn stands_at(&self, address: A, place: u32) -> bool {
        self.octets_at(place) == Some(address.octets()) && self.is_taken(place)
    }

    fn octets_at(&self, place: u32) -> Option<A::Octets> {
        let piece = self.octets[place as usize / PIECE].as_ref()?;
        Some(piece[place as usize % PIECE])
    }

    /// The free places of an address, those of the less full of its buckets first.
    pub(super) fn free(&self, address: A) -> impl Iterator<Item = u32> {
        let [mut first, mut second] = self
            .homes(address)
            .map(|places| places.map(|place| (!self.is_taken(place)).then_some(place)));
        let count = |places: [Option<u32>; 2]| places.into_iter().flatten().count();
        if count(first) < count(second) {
            (first, second) = (second, first);
        }
        first.into_iter().chain(second).flatten()
    }

    /// Whether the program looks at the place for the address.
    pub(super) fn is_home(&self, address: A, place: u32) -> bool {
        is_home(address, place, &self.hashing)
    }

    /// Notes that the address, which stood nowhere, stands there.
    pub(super) fn take(&mut self, address: A, spot: Spot) {
        self.len += 1;
        match spot {
            Spot::Place(place) => {
                let piece = &mut self.octets[place as usize / PIECE];
                let piece = piece.get_or_insert_with(|| Box::new([A::Octets::default(); PIECE]));
                piece[place as usize % PIECE] = address.octets();
                self.taken[place as usize / 64] |= 1 << (place % 64);
            }
            Spot::Overflow => {
                self.overflow.insert(address);
            }
        }
    }

    /// Notes that the address stands nowhere, and tells where it stood.
    pub(super) fn leave(&mut self, address: A) -> Option<Spot> {
        let spot = self.find(address)?;
        self.len -= 1;
        match spot {
            Spot::Place(place) => self.taken[place as usize / 64] &= !(1 << (place % 64)),
            Spot::Overflow => {
                self.overflow.remove(&address);
            }
        }
        Some(spot)
    }

    /// Everybody, in no order that means anything.
    pub(super) fn addresses(&self) -> impl Iterator<Item = A> {
        let placed = (0..self.places()).filter_map(|place| self.at(place));
        placed.chain(self.overflow.iter().copied())
    }

    fn is_taken(&self, place: u32) -> bool {
        self.taken[place as usize / 64] & 1 << (place % 64) != 0
    }

    fn homes(&self, address: A) -> [[u32; 2]; 2] {
        homes(address, &self.hashing)
    }
}

/// The places of both buckets of an address.
pub(super) fn homes<A: Address>(address: A, hashing: &Hashing) -> [[u32; 2]; 2] {
    address.buckets(hashing).map(|bucket| {
        let first = bucket * PLACES_OF_BUCKET;
        [first, first + 1]
    })
}

/// Whether the program looks at the place for the address.
pub(super) fn is_home<A: Address>(address: A, place: u32, hashing: &Hashing) -> bool {
    address
        .buckets(hashing)
        .contains(&(place / PLACES_OF_BUCKET))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use ar_ebpf::AddrV4;
    use ar_ebpf::place::{overflow_for, places_for};

    use super::*;

    /// SplitMix64.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            mixed ^ (mixed >> 31)
        }
    }

    fn mirror<A: Address>(max_bans: u32, dice: &mut Dice) -> Mirror<A> {
        Mirror::new(Hashing {
            secret: std::array::from_fn(|_| dice.roll()),
            buckets: places_for(max_bans) / PLACES_OF_BUCKET,
            room: max_bans,
            ..Hashing::default()
        })
    }

    fn put<A: Address>(mirror: &mut Mirror<A>, address: A) -> Spot {
        let spot = mirror.free(address).next();
        let spot = spot.map_or(Spot::Overflow, Spot::Place);
        mirror.take(address, spot);
        spot
    }

    /// Addresses one after the other, as a scanned network has them, and addresses at random.
    #[test]
    fn the_overflow_has_room_when_bans_come_and_go_at_the_most_that_may_stand() {
        for (seed, max_bans, spread) in [(1, 16, 1), (2, 1_000, 1), (3, 20_000, 1), (4, 20_000, 7)]
        {
            let mut dice = Dice(seed);
            let mut mirror = mirror::<AddrV4>(max_bans, &mut dice);
            let mut standing = Vec::new();
            let mut next = 0_u32;
            let mut most = 0;
            for _ in 0..8 * max_bans {
                if standing.len() == max_bans as usize {
                    let one = usize::try_from(dice.roll()).unwrap() % standing.len();
                    assert!(mirror.leave(standing.swap_remove(one)).is_some());
                }
                let octets = next.to_be_bytes();
                next = next.wrapping_add(spread * 256 + spread);
                put(&mut mirror, AddrV4 { octets });
                standing.push(AddrV4 { octets });
                most = most.max(mirror.overflow().len());
            }
            let room = overflow_for(max_bans) as usize;
            assert!(most <= room, "{most} of {room} for {max_bans}");
            assert!(max_bans < 1_000 || most > 0, "nobody overflowed");
        }
    }

    #[test]
    fn a_mirror_does_what_a_map_does() {
        let mut dice = Dice(5);
        let mut mirror = mirror::<AddrV4>(40, &mut dice);
        let mut model = BTreeMap::new();
        for _ in 0..20_000 {
            let octets = [10, 0, 0, dice.roll().to_ne_bytes()[0]];
            let address = AddrV4 { octets };
            assert_eq!(mirror.find(address), model.get(&address).copied());
            if mirror.find(address).is_some() {
                assert_eq!(mirror.leave(address), model.remove(&address));
            } else {
                model.insert(address, put(&mut mirror, address));
            }
            assert_eq!(mirror.len(), model.len());
        }
        assert!(!mirror.overflow().is_empty() && mirror.len() > 64);
        let found: BTreeSet<AddrV4> = mirror.addresses().collect();
        assert!(found.iter().eq(model.keys()));
        let places = model.values().filter_map(|spot| match spot {
            Spot::Place(place) => Some(*place),
            Spot::Overflow => None,
        });
        assert_eq!(
            places.clone().count(),
            places.collect::<BTreeSet<_>>().len()
        );
    }
}
