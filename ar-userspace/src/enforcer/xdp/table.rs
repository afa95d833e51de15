//! The bans of one address family: the table of addresses, the trie of prefixes, the front bitmap before both.

use anyhow::Context as _;
use ar_ebpf::Ban;
use aya::maps::Map;

use super::address::Address;
use super::bans::Bans;
use super::front::Front;
use super::inspection::Pass;
use super::kernel::{Kernel, Placed};
use super::prefixes::Prefixes;
use super::standing::{fresh, merge, running};
use crate::enforcer::{Enforced, Failure};
use crate::ledger::Standing;
use crate::offender::{Offender, Prefix};
use crate::time::KernelClock;

pub(super) struct Table<A: Address> {
    pub(super) bans: Bans<A>,
    /// Bans that are new, until [`Table::flush`] writes them together; each has its spot, and none is in the bitmap.
    staged: Vec<Placed<A>>,
    /// The place of each of those among those that the enforcer was handed.
    handed: Vec<usize>,
    pub(super) prefixes: Prefixes<A>,
    front: Front,
    pub(super) pass: Pass<A>,
}

impl<A: Address> Table<A> {
    /// Takes maps that may hold bans, and makes the bitmap agree with them. `found` gets those that are not over, with
    /// those of an older version.
    pub(super) fn adopt(
        mut take: impl FnMut(&str) -> anyhow::Result<Map>,
        older: Vec<(A, Ban)>,
        max_bans: u32,
        clock: KernelClock,
        found: &mut Vec<(Offender, Standing)>,
    ) -> anyhow::Result<Self> {
        let prefixes = Prefixes::adopt(
            take(A::MAPS.prefixes)?,
            take(A::MAPS.allow)?,
            take(A::MAPS.prefix_front)?,
        )?;
        let front = take(A::MAPS.front)?;
        let kernel = Kernel::take(take)?;
        let is_held = |ban: Enforced| (ban.offender, ban.standing);
        let bans = Bans::adopt(kernel, older, max_bans, clock, |address, ban| {
            found.extend(running(address, &ban, clock).map(is_held));
        })?;
        found.extend(prefixes.enforced(clock)?.into_iter().map(is_held));
        let bits = bans.mirror.addresses().flat_map(Address::front_bits);
        let front = Front::adopt(front, bits.chain(prefixes.front_bits()))?;
        Ok(Self {
            bans,
            staged: Vec::new(),
            handed: Vec::new(),
            prefixes,
            front,
            pass: Pass::first(),
        })
    }

    /// Makes the kernel hold exactly `standing` for one prefix.
    pub(super) fn hold_prefix(
        &mut self,
        prefix: Prefix,
        standing: Option<Standing>,
        clock: KernelClock,
    ) -> anyhow::Result<()> {
        match standing {
            Some(standing) => self.prefixes.ban(prefix, standing, clock, &mut self.front),
            None => self.prefixes.unban(prefix, &mut self.front),
        }
    }

    /// Makes the kernel allow exactly those of `networks` that are of this family.
    pub(super) fn allow(&mut self, networks: &[Prefix]) -> anyhow::Result<()> {
        self.prefixes.allow(networks)
    }

    /// The bits of [`ar_ebpf::setting`] that stand for this family.
    pub(super) fn settings(&self) -> u32 {
        self.prefixes.settings()
    }

    /// Keeps a ban to be written by [`Table::flush`], if nothing is held for the address.
    pub(super) fn stage(
        &mut self,
        place: usize,
        address: A,
        standing: Standing,
        clock: KernelClock,
    ) -> bool {
        let is_new = self.bans.mirror.find(address).is_none();
        if is_new {
            let placed = self.bans.reserve(address, fresh(standing, clock));
            self.staged.push(placed);
            self.handed.push(place);
        }
        is_new
    }

    /// Writes what was staged, and tells what failed. An entry that somebody else made meanwhile is replaced.
    pub(super) fn flush(&mut self, failures: &mut Vec<Failure>) {
        if self.staged.is_empty() {
            return;
        }
        let staged = std::mem::take(&mut self.staged);
        let handed = std::mem::take(&mut self.handed);
        let mut fail = |index: usize, error: &anyhow::Error| {
            let address = staged[index].address.addr();
            failures.push(Failure {
                place: handed[index],
                cause: format!("cannot write the ban of {address}: {error:#}"),
            });
        };
        // The bits first: a ban in the map must never be hidden by them.
        let bits = staged.iter().flat_map(|staged| staged.address.front_bits());
        if let Err(error) = self.front.hold(bits.clone()) {
            for (index, placed) in staged.iter().enumerate() {
                self.bans.mirror.leave(placed.address);
                fail(index, &error);
            }
            // Why has been told already; a bit too many only costs a look-up.
            let _ = self.front.release(bits);
            return;
        }
        let mut failed = self.bans.put_all(&staged);
        failed.sort_unstable_by_key(|(index, _)| *index);
        for (index, error) in &failed {
            fail(*index, error.as_ref().unwrap_or(&self.bans.full()));
        }
        let bits = failed
            .iter()
            .flat_map(|(index, _)| staged[*index].address.front_bits());
        let _ = self.front.release(bits);
    }

    /// Makes the kernel hold exactly `standing` for one address.
    pub(super) fn hold(
        &mut self,
        address: A,
        standing: Option<Standing>,
        clock: KernelClock,
    ) -> anyhow::Result<()> {
        match standing {
            Some(standing) => self.ban(address, standing, clock),
            None => self.unban(address),
        }
    }

    fn ban(&mut self, address: A, standing: Standing, clock: KernelClock) -> anyhow::Result<()> {
        // The bits first: a ban in the map must never be hidden by them.
        for bit in address.front_bits() {
            self.front.set(bit)?;
        }
        let written = match self.bans.claim(address) {
            Ok(None) => self.bans.insert(address, fresh(standing, clock)),
            Ok(Some(old)) => {
                let ban = merge(old, standing, clock);
                self.bans.replace(address, &old, ban)
            }
            Err(error) => Err(error),
        };
        written.with_context(|| format!("cannot write the ban of {}", address.addr()))?;
        if self.bans.count(address) {
            for bit in address.front_bits() {
                self.front.count(bit);
            }
        }
        Ok(())
    }

    fn unban(&mut self, address: A) -> anyhow::Result<()> {
        let was_counted = self.bans.remove(address);
        let was_counted =
            was_counted.with_context(|| format!("cannot remove the ban of {}", address.addr()))?;
        if was_counted {
            self.front.release(address.front_bits().into_iter())?;
        }
        Ok(())
    }

    /// Bans that there is room for.
    pub(super) const fn room(&self) -> u32 {
        self.bans.room()
    }

    pub(super) fn enforced(&self, clock: KernelClock) -> anyhow::Result<Vec<Enforced>> {
        let mut enforced = enforced(&self.bans.kernel, clock)?;
        enforced.append(&mut self.prefixes.enforced(clock)?);
        Ok(enforced)
    }

    /// What stands for one offender itself.
    pub(super) fn enforced_of(
        &self,
        offender: Offender,
        address: A,
        clock: KernelClock,
    ) -> anyhow::Result<Option<Enforced>> {
        if !offender.is_host() {
            return self.prefixes.enforced_of(offender.prefix(), clock);
        }
        let found = self.bans.kernel.look_up(address);
        let found = found.with_context(|| format!("cannot look up the ban of {offender}"))?;
        Ok(found.and_then(|(_, ban)| running(address, &ban, clock)))
    }
}

/// The bans of maps, whoever keeps them.
pub(super) fn enforced<A: Address>(
    kernel: &Kernel<A>,
    clock: KernelClock,
) -> anyhow::Result<Vec<Enforced>> {
    let mut enforced = Vec::new();
    kernel.read(|address, ban| enforced.extend(running(address, &ban, clock)))?;
    Ok(enforced)
}

#[cfg(test)]
mod tests;
