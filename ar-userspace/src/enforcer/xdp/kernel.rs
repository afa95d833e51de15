//! The maps of banned addresses of one family: what stands where, read and written, by whoever keeps them.
//!
//! No packet is judged by half of an entry. Where an address takes two words, an entry is written with its end last and
//! ended with its end first. Where it takes one, each word of a place is whole and a free place is zero throughout, so
//! that half of an entry is free or is that of 0.0.0.0, by which no host can be reached.

use std::io::{self, ErrorKind};

use anyhow::{Context as _, anyhow, ensure};
use ar_ebpf::Ban;
use ar_ebpf::batch::Batch;
use ar_ebpf::mapped::Mapped;
use ar_ebpf::place::{DetailsV4, Hashing, PLACES_OF_BUCKET};
use aya::maps::{Array, HashMap, IterableMap as _, Map, MapData, MapError};
use rustix::rand::{GetRandomFlags, getrandom};

use super::address::Address;
use super::mirror::{Spot, homes, is_home};

/// Places that are read or written at a time.
pub(super) const AT_A_TIME: u32 = 8192;

/// `BPF_ANY` (linux/bpf.h): an update makes or replaces.
const ANY: u64 = 0;

/// The maps.
pub(super) struct Kernel<A: Address> {
    places: Array<MapData, A::Place>,
    /// None where they stand at the place.
    details: Option<Array<MapData, DetailsV4>>,
    pub(super) overflow: HashMap<MapData, A, Ban>,
    hashing_map: Array<MapData, Hashing>,
    pub(super) hashing: Hashing,
}

/// The arrays of places and of their details, where they stand.
type Arrays<A> = (Mapped<<A as Address>::Place>, Option<Mapped<DetailsV4>>);

/// A ban and where it is to stand.
pub(super) struct Placed<A> {
    pub(super) address: A,
    pub(super) spot: Spot,
    pub(super) ban: Ban,
}

impl<A: Address> Kernel<A> {
    /// Takes maps by their names.
    pub(super) fn take(mut take: impl FnMut(&str) -> anyhow::Result<Map>) -> anyhow::Result<Self> {
        let names = A::MAPS;
        let hashing_map = Array::<_, Hashing>::try_from(take(names.hashing)?)?;
        let hashing = hashing_map.get(&0, 0);
        let hashing = hashing.context("cannot read how addresses are spread")?;
        let details = names.details.map(&mut take).transpose()?;
        Ok(Self {
            places: Array::try_from(take(names.bans)?)?,
            details: details.map(Array::try_from).transpose()?,
            overflow: HashMap::try_from(take(names.overflow)?)?,
            hashing_map,
            hashing,
        })
    }

    /// What stands at `count` places from `first` on.
    pub(super) fn at(&self, first: u32, count: u32) -> anyhow::Result<Vec<Option<(A, Ban)>>> {
        let Ok((places, details)) = self.mapped(first, count) else {
            return self.at_by_calls(first, count);
        };
        let details = |index| details.as_ref().and_then(|details| details.get(index));
        let all = places.all();
        Ok(all
            .map(|(index, place)| A::ban_at(&place, &details(index).unwrap_or_default()))
            .collect())
    }

    fn at_by_calls(&self, first: u32, count: u32) -> anyhow::Result<Vec<Option<(A, Ban)>>> {
        let reading = "cannot read the bans";
        let places = Batch::<u32, A::Place>::new(self.places.map())
            .and_then(|batch| batch.read_some(first, count))
            .context(reading)?;
        let mut details = match &self.details {
            Some(details) => Batch::<u32, DetailsV4>::new(details.map())
                .and_then(|batch| batch.read_some(first, count))
                .context(reading)?,
            None => Vec::new(),
        };
        details.resize_with(places.len(), DetailsV4::default);
        let both = places.iter().zip(&details);
        Ok(both
            .map(|(place, details)| A::ban_at(place, details))
            .collect())
    }

    /// What stands at one place, in fewer calls.
    pub(super) fn at_place(&self, place: u32) -> anyhow::Result<Option<(A, Ban)>> {
        let reading = "cannot read the bans";
        let found = self.places.get(&place, 0).context(reading)?;
        let mut details = DetailsV4::default();
        if let (Some(map), Some(_)) = (&self.details, A::ban_at(&found, &details)) {
            details = map.get(&place, 0).context(reading)?;
        }
        Ok(A::ban_at(&found, &details))
    }

    /// Hands out everything that the program finds.
    pub(super) fn read(&self, mut each: impl FnMut(A, Ban)) -> anyhow::Result<()> {
        self.read_places(|place, address, ban| {
            if is_home(address, place, &self.hashing) {
                each(address, ban);
            }
        })?;
        self.read_overflow(each)
    }

    pub(super) fn read_places(&self, mut each: impl FnMut(u32, A, Ban)) -> anyhow::Result<()> {
        let Ok((places, details)) = self.mapped(0, u32::MAX) else {
            return self.read_places_by_calls(each);
        };
        // A place begins with its end, which is zero where it is free.
        for (index, place) in places.begun() {
            let details = details.as_ref().and_then(|details| details.get(index));
            if let Some((address, ban)) = A::ban_at(&place, &details.unwrap_or_default()) {
                each(index, address, ban);
            }
        }
        Ok(())
    }

    /// Some of the arrays in this process' memory. Pinned ones may have been made without the flag, and a system may
    /// refuse: then calls are left, and what these need is refused there.
    fn mapped(&self, first: u32, count: u32) -> io::Result<Arrays<A>> {
        let details = self.details.as_ref();
        let details = details.map(|details| Mapped::some(details.map(), first, count));
        let places = Mapped::some(self.places.map(), first, count)?;
        Ok((places, details.transpose()?))
    }

    fn read_places_by_calls(&self, mut each: impl FnMut(u32, A, Ban)) -> anyhow::Result<()> {
        let mut next = 0;
        loop {
            let some = self.at_by_calls(next, AT_A_TIME)?;
            let found = (next..).zip(&some).filter_map(|(place, found)| {
                let (address, ban) = (*found)?;
                Some((place, address, ban))
            });
            found.for_each(|(place, address, ban)| each(place, address, ban));
            next += AT_A_TIME;
            if some.len() < AT_A_TIME as usize {
                return Ok(());
            }
        }
    }

    pub(super) fn read_overflow(&self, each: impl FnMut(A, Ban)) -> anyhow::Result<()> {
        Batch::new(self.overflow.map())
            .and_then(|batch| batch.read(each))
            .context("cannot read the bans")
    }

    pub(super) fn get(&self, address: A, spot: Spot) -> anyhow::Result<Option<Ban>> {
        match spot {
            Spot::Place(place) => {
                let found = self.at_place(place)?;
                Ok(found.and_then(|(found, ban)| (found == address).then_some(ban)))
            }
            Spot::Overflow => match self.overflow.get(&address, 0) {
                Ok(ban) => Ok(Some(ban)),
                Err(error) if is_absent(&error) => Ok(None),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// What somebody may be banned by, without knowing where: looked for as the program does.
    pub(super) fn look_up(&self, address: A) -> anyhow::Result<Option<(Spot, Ban)>> {
        for &place in homes(address, &self.hashing).as_flattened() {
            if let Some((found, ban)) = self.at_place(place)?
                && found == address
            {
                return Ok(Some((Spot::Place(place), ban)));
            }
        }
        let found = self.get(address, Spot::Overflow)?;
        Ok(found.map(|ban| (Spot::Overflow, ban)))
    }

    /// Ends every entry of an address that the program could find; whether there was one.
    pub(super) fn let_in(&mut self, address: A) -> anyhow::Result<bool> {
        let mut was_banned = false;
        while let Some((spot, _)) = self.look_up(address)? {
            self.end(address, spot)
                .with_context(|| format!("cannot remove the ban of {}", address.addr()))?;
            was_banned = true;
        }
        Ok(was_banned)
    }

    /// Writes a ban; `is_there` when it changes one of the same address.
    pub(super) fn put(&mut self, placed: &Placed<A>, is_there: bool) -> anyhow::Result<()> {
        let Placed { address, spot, ban } = *placed;
        let Spot::Place(index) = spot else {
            self.set_overflow(true)?;
            return Ok(self.overflow.insert(address, ban, ANY)?);
        };
        let (place, details) = address.place(&ban);
        if let Some(map) = &mut self.details {
            map.set(index, details, ANY)?;
        }
        if !is_there && !A::IN_ONE_WORD {
            self.places.set(index, empty(address), ANY)?;
        }
        Ok(self.places.set(index, place, ANY)?)
    }

    /// Ends what stands there.
    pub(super) fn end(&mut self, address: A, spot: Spot) -> anyhow::Result<()> {
        match spot {
            Spot::Place(place) => {
                if !A::IN_ONE_WORD {
                    self.places.set(place, empty(address), ANY)?;
                }
                Ok(self.places.set(place, A::FREE, ANY)?)
            }
            Spot::Overflow => match self.overflow.remove(&address) {
                Err(error) if !is_absent(&error) => Err(error.into()),
                // Or somebody else has removed it.
                _ => Ok(()),
            },
        }
    }

    /// Writes bans, each new, and tells which could not be written. There was no room where no error is told.
    pub(super) fn put_all(&mut self, new: &[Placed<A>]) -> Vec<(usize, Option<anyhow::Error>)> {
        let (mut indices, mut keys, mut places, mut details) = (vec![], vec![], vec![], vec![]);
        let (mut over, mut over_keys, mut over_bans) = (vec![], vec![], vec![]);
        for (index, Placed { address, spot, ban }) in new.iter().enumerate() {
            if let Spot::Place(place) = *spot {
                let of_both = address.place(ban);
                indices.push(index);
                keys.push(place);
                places.push(of_both.0);
                details.push(of_both.1);
            } else {
                over.push(index);
                over_keys.push(*address);
                over_bans.push(*ban);
            }
        }
        let empties: Vec<A::Place> = match A::IN_ONE_WORD {
            true => Vec::new(),
            false => indices.iter().map(|&at| empty(new[at].address)).collect(),
        };
        let mut failed = Vec::new();
        if let Err(error) = self.write_places(&keys, &empties, &places, &details) {
            // Not known how far it came.
            let _ = self.write_places(&keys, &empties, &vec![A::FREE; keys.len()], &[]);
            let why = || anyhow!("{error}");
            failed.extend(indices.into_iter().map(|index| (index, Some(why()))));
        }
        if over.is_empty() {
            return failed;
        }
        if let Err(error) = self.set_overflow(true) {
            let why = || anyhow!("{error:#}");
            failed.extend(over.into_iter().map(|index| (index, Some(why()))));
            return failed;
        }
        let mut done = 0;
        while done < over.len() {
            let batch = Batch::new(self.overflow.map());
            let (written, result) = match batch {
                Ok(batch) => batch.write(&over_keys[done..], &over_bans[done..]),
                Err(error) => (0, Err(error)),
            };
            done += written;
            if let Err(error) = result {
                let is_full = error.kind() == ErrorKind::ArgumentListTooLong;
                failed.push((over[done], (!is_full).then(|| error.into())));
                done += 1;
            }
        }
        failed
    }

    fn write_places(
        &self,
        keys: &[u32],
        empties: &[A::Place],
        places: &[A::Place],
        details: &[DetailsV4],
    ) -> io::Result<()> {
        if let (Some(map), false) = (&self.details, details.is_empty()) {
            Batch::new(map.map())?.write(keys, details).1?;
        }
        let batch = Batch::new(self.places.map())?;
        if !empties.is_empty() {
            batch.write(keys, empties).1?;
        }
        batch.write(keys, places).1
    }

    /// Tells the program whether it has to look into the overflow.
    pub(super) fn set_overflow(&mut self, holds: bool) -> anyhow::Result<()> {
        if (self.hashing.overflow != 0) == holds {
            return Ok(());
        }
        let hashing = Hashing {
            overflow: holds.into(),
            ..self.hashing
        };
        self.write_hashing(hashing)
    }

    fn write_hashing(&mut self, hashing: Hashing) -> anyhow::Result<()> {
        self.hashing_map
            .set(0, hashing, ANY)
            .context("cannot write how addresses are spread")?;
        self.hashing = hashing;
        Ok(())
    }

    /// Makes maps that are new this daemon's own, for so many bans.
    pub(super) fn own(&mut self, max_bans: u32) -> anyhow::Result<()> {
        let places = self.places.map().info();
        let places = places.context("cannot look at the ban map")?.max_entries();
        let buckets = places / PLACES_OF_BUCKET;
        if self.hashing.room != 0 && self.hashing.buckets == buckets {
            return Ok(());
        }
        let mut secret = [0_u8; size_of::<[u64; 6]>()];
        let got = getrandom(&mut secret, GetRandomFlags::empty());
        let got = got.context("cannot get random bytes")?;
        ensure!(
            got == secret.len(),
            "the kernel gave {got} random bytes only"
        );
        let (words, _) = secret.as_chunks();
        let mut words = words.iter().copied().map(u64::from_ne_bytes);
        self.write_hashing(Hashing {
            secret: std::array::from_fn(|_| words.next().unwrap_or_default()),
            buckets,
            overflow: 0,
            // A start that was cut short may have made them for another number.
            room: max_bans.min(u32::try_from(u64::from(places) * 2 / 3)?),
            zero: 0,
        })
    }
}

/// The address without its end: free to the program, whatever stood there.
fn empty<A: Address>(address: A) -> A::Place {
    address.place(&Ban::NONE).0
}

pub(super) fn is_absent(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound => true,
        MapError::SyscallError(call) => call.io_error.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
