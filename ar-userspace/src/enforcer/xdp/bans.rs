//! The bans of the addresses of one family: the maps, and who stands where in them.
//!
//! No entry ever moves, so that no packet misses one. Others can write a pinned map too. Their entries are not counted
//! until the daemon takes them over, and are not written over while it makes a ban.

use std::collections::BTreeSet;
use std::io::ErrorKind;

use anyhow::{Context as _, anyhow};
use ar_ebpf::Ban;
use aya::maps::MapError;

use super::address::Address;
use super::kernel::{AT_A_TIME, Kernel, Placed};
use super::mirror::{Mirror, Spot, homes};
use crate::time::KernelClock;

pub(super) struct Bans<A: Address> {
    pub(super) kernel: Kernel<A>,
    pub(super) mirror: Mirror<A>,
    /// Those in the mirror that somebody else has written, and that the front bitmap does not count.
    strangers: BTreeSet<A>,
}

impl<A: Address> Bans<A> {
    /// Takes maps that may hold bans, new ones for `max_bans`, and puts in order what is not as this process would
    /// have left it. `older` are bans of an older version; one that is there already is told anew.
    pub(super) fn adopt(
        mut kernel: Kernel<A>,
        older: Vec<(A, Ban)>,
        max_bans: u32,
        clock: KernelClock,
        mut found: impl FnMut(A, Ban),
    ) -> anyhow::Result<Self> {
        kernel.own(max_bans)?;
        let mut mirror = Mirror::<A>::new(kernel.hashing);
        let is_over = |ban: &Ban| ban.expires_at_ns <= clock.now_nanos();
        let mut surplus = Vec::new();
        let mut again = Vec::new();
        kernel.read_places(|place, address, ban| {
            let is_home = mirror.is_home(address, place);
            if is_over(&ban) || !is_home || mirror.stands_before(address, place) {
                surplus.push((address, Spot::Place(place)));
                // Where the program does not look for it: by another secret, or by another hand.
                if !is_over(&ban) && !is_home {
                    again.push((address, ban));
                }
                return;
            }
            mirror.take(address, Spot::Place(place));
            found(address, ban);
        })?;
        kernel.read_overflow(|address, ban| {
            if is_over(&ban) || mirror.find(address).is_some() {
                surplus.push((address, Spot::Overflow));
                return;
            }
            mirror.take(address, Spot::Overflow);
            found(address, ban);
        })?;
        for (address, spot) in surplus {
            let ended = kernel.end(address, spot);
            ended.with_context(|| format!("cannot free what is left of {}", address.addr()))?;
        }
        let mut bans = Self {
            kernel,
            mirror,
            strangers: BTreeSet::new(),
        };
        let mut new = Vec::new();
        for (address, ban) in again.into_iter().chain(older) {
            if !is_over(&ban) && bans.mirror.find(address).is_none() {
                new.push(bans.reserve(address, ban));
                found(address, ban);
            }
        }
        if let Some((place, error)) = bans.put_all(&new).into_iter().next() {
            let address = new[place].address.addr();
            let error = error.unwrap_or_else(|| bans.full());
            return Err(error).with_context(|| format!("cannot write the ban of {address}"));
        }
        let overflows = !bans.mirror.overflow().is_empty();
        bans.kernel.set_overflow(overflows)?;
        Ok(bans)
    }

    /// Bans that the table was made for.
    pub(super) const fn room(&self) -> u32 {
        self.kernel.hashing.room
    }

    /// Notes that the front bitmap counts the address from here on; whether it did not before.
    pub(super) fn count(&mut self, address: A) -> bool {
        self.strangers.remove(&address)
    }

    /// What the kernel holds for an address where it stands for this process.
    pub(super) fn get(&self, address: A) -> anyhow::Result<Option<Ban>> {
        let spot = self.mirror.find(address);
        spot.map_or(Ok(None), |spot| self.kernel.get(address, spot))
    }

    /// What the kernel holds for an address, whoever has written it. What others have written into its buckets is
    /// noted, so that it is not written over.
    pub(super) fn claim(&mut self, address: A) -> anyhow::Result<Option<Ban>> {
        if self.mirror.find(address).is_some() {
            return self.get(address);
        }
        let mut ours = None;
        for &place in homes(address, &self.kernel.hashing).as_flattened() {
            if self.mirror.at(place).is_none()
                && let Some((other, ban)) = self.kernel.at_place(place)?
                && self.meet_stranger(other, place)
                && other == address
            {
                ours = Some(ban);
            }
        }
        Ok(ours)
    }

    /// Changes the ban of an address that is there.
    pub(super) fn replace(&mut self, address: A, old: &Ban, ban: Ban) -> anyhow::Result<()> {
        match self.mirror.find(address) {
            Some(spot) if address.place(old) != address.place(&ban) => {
                self.kernel.put(&Placed { address, spot, ban }, true)
            }
            _ => Ok(()),
        }
    }

    /// Writes the ban of an address that is not there.
    pub(super) fn insert(&mut self, address: A, ban: Ban) -> anyhow::Result<()> {
        if let Some(spot) = self.mirror.find(address) {
            // Somebody else has removed it.
            return self.kernel.put(&Placed { address, spot, ban }, false);
        }
        let placed = self.reserve(address, ban);
        self.strangers.insert(address);
        self.kernel.put(&placed, false).map_err(|error| {
            self.strangers.remove(&address);
            self.mirror.leave(address);
            // Why it failed has to be told first; a look too many costs time only.
            let _ = self.settle_overflow();
            if is_full(&error) { self.full() } else { error }
        })
    }

    /// Keeps a spot for a ban that [`Bans::put_all`] will write, of an address that stands nowhere.
    pub(super) fn reserve(&mut self, address: A, ban: Ban) -> Placed<A> {
        let spot = self.mirror.free(address).next();
        let spot = spot.map_or(Spot::Overflow, Spot::Place);
        self.mirror.take(address, spot);
        Placed { address, spot, ban }
    }

    /// Writes bans whose spots are reserved, and tells which could not be written, and stand nowhere. An entry that
    /// somebody else made meanwhile is replaced.
    pub(super) fn put_all(&mut self, new: &[Placed<A>]) -> Vec<(usize, Option<anyhow::Error>)> {
        let mut failed = Vec::new();
        for (chunk, some) in new.chunks(AT_A_TIME as usize).enumerate() {
            let of_chunk = self.kernel.put_all(some);
            let first = chunk * AT_A_TIME as usize;
            failed.extend(of_chunk.into_iter().map(|(at, why)| (first + at, why)));
        }
        for (index, _) in &failed {
            self.mirror.leave(new[*index].address);
        }
        if !failed.is_empty() {
            // As in `insert`.
            let _ = self.settle_overflow();
        }
        failed
    }

    /// Removes the ban of an address, if there is one; whether the front bitmap has counted it.
    pub(super) fn remove(&mut self, address: A) -> anyhow::Result<bool> {
        let Some(spot) = self.mirror.find(address) else {
            return Ok(false);
        };
        self.kernel.end(address, spot)?;
        self.mirror.leave(address);
        if spot == Spot::Overflow {
            self.settle_overflow()?;
        }
        Ok(!self.strangers.remove(&address))
    }

    /// Notes an entry that somebody else has written at a place, unless this process knows of it, or the place or the
    /// address is taken, or the program does not look for the address there. Whether it was noted.
    pub(super) fn meet_stranger(&mut self, address: A, place: u32) -> bool {
        let is_new = self.mirror.at(place).is_none()
            && self.mirror.is_home(address, place)
            && self.mirror.find(address).is_none();
        if is_new {
            self.mirror.take(address, Spot::Place(place));
            self.strangers.insert(address);
        }
        is_new
    }

    /// The same in the overflow.
    pub(super) fn meet_stranger_in_overflow(&mut self, address: A) -> bool {
        let is_new = self.mirror.find(address).is_none();
        if is_new {
            self.mirror.take(address, Spot::Overflow);
            self.strangers.insert(address);
        }
        is_new
    }

    /// Why nothing can be written any more: somebody else fills the maps, since the ledger knows their size.
    pub(super) fn full(&self) -> anyhow::Error {
        anyhow!(
            "the map is full: it has room for {}, and this daemon holds {} of them",
            self.room(),
            self.mirror.len() - self.strangers.len()
        )
    }

    fn settle_overflow(&mut self) -> anyhow::Result<()> {
        let overflows = !self.mirror.overflow().is_empty();
        self.kernel.set_overflow(overflows)
    }
}

/// E2BIG: no entry is free.
fn is_full(error: &anyhow::Error) -> bool {
    let Some(MapError::SyscallError(call)) = error.downcast_ref() else {
        return false;
    };
    call.io_error.kind() == ErrorKind::ArgumentListTooLong
}
