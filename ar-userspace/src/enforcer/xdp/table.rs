//! The bans of one address family: the hash of addresses, the trie of prefixes, the front bitmap before both.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, anyhow};
use ar_ebpf::batch::Batch;
use ar_ebpf::{AddrV4, AddrV6, Ban, FrontBit, NEVER, NetworkV4, NetworkV6, flag, setting};
use aya::Pod;
use aya::maps::{HashMap, IterableMap as _, Map, MapData, MapError};

use super::front::Front;
use super::inspection::Pass;
use super::prefixes::Prefixes;
use crate::enforcer::{Counters, Enforced, Failure};
use crate::ledger::Standing;
use crate::offender::{Offender, Prefix};
use crate::time::{Expiry, KernelClock};

/// `BPF_NOEXIST` (linux/bpf.h): an update fails where there is an entry.
const IF_ABSENT: u64 = 1;

/// A key of one of the ban maps, and what goes with its family.
pub(super) trait Address: Pod + Ord + Send {
    /// The address part of a trie's key.
    type Network: Pod;
    /// Bits of [`setting`]: that there are prefixes, and that there are allowed networks.
    const PREFIXES: u32;
    const ALLOW: u32;

    fn front_bit(self) -> FrontBit;
    fn addr(self) -> IpAddr;
    /// The trie's key for a network; `None` for one of the other family.
    fn network(addr: IpAddr) -> Option<Self::Network>;
    fn network_addr(network: Self::Network) -> IpAddr;
    /// The bits that must be set for a prefix to be found.
    fn front_bits(prefix: Prefix) -> Box<dyn Iterator<Item = FrontBit>>;
    /// Whether only the second look at the front bitmap finds the prefix.
    fn is_wide(prefix: Prefix) -> bool;
}

impl Address for AddrV4 {
    type Network = NetworkV4;
    const PREFIXES: u32 = setting::PREFIXES_V4;
    const ALLOW: u32 = setting::ALLOW_V4;

    fn front_bit(self) -> FrontBit {
        FrontBit::of_v4(self)
    }

    fn addr(self) -> IpAddr {
        Ipv4Addr::from(self.octets).into()
    }

    fn network(addr: IpAddr) -> Option<NetworkV4> {
        match addr {
            IpAddr::V4(addr) => Some(NetworkV4::new(addr.octets())),
            IpAddr::V6(_) => None,
        }
    }

    fn network_addr(network: NetworkV4) -> IpAddr {
        Ipv4Addr::from(network.octets).into()
    }

    /// One per /24.
    fn front_bits(prefix: Prefix) -> Box<dyn Iterator<Item = FrontBit>> {
        let IpAddr::V4(addr) = prefix.addr() else {
            return Box::new(std::iter::empty());
        };
        let first = addr.to_bits() >> 8;
        let count = 1_u32 << 24_u8.saturating_sub(prefix.bits());
        Box::new((0..count).map(move |number| {
            FrontBit::of_v4(AddrV4 {
                octets: ((first + number) << 8).to_be_bytes(),
            })
        }))
    }

    fn is_wide(_: Prefix) -> bool {
        false
    }
}

impl Address for AddrV6 {
    type Network = NetworkV6;
    const PREFIXES: u32 = setting::PREFIXES_V6;
    const ALLOW: u32 = setting::ALLOW_V6;

    fn front_bit(self) -> FrontBit {
        FrontBit::of_v6(self)
    }

    fn addr(self) -> IpAddr {
        Ipv6Addr::from(self.octets).into()
    }

    fn network(addr: IpAddr) -> Option<NetworkV6> {
        match addr {
            IpAddr::V6(addr) => Some(NetworkV6 {
                octets: addr.octets(),
            }),
            IpAddr::V4(_) => None,
        }
    }

    fn network_addr(network: NetworkV6) -> IpAddr {
        Ipv6Addr::from(network.octets).into()
    }

    /// The one of its /64; for what is shorter, one per /32.
    fn front_bits(prefix: Prefix) -> Box<dyn Iterator<Item = FrontBit>> {
        let IpAddr::V6(addr) = prefix.addr() else {
            return Box::new(std::iter::empty());
        };
        let octets = addr.octets();
        if !Self::is_wide(prefix) {
            return Box::new(std::iter::once(FrontBit::of_v6(Self { octets })));
        }
        let first = addr.to_bits() >> 96;
        let count = 1_u128 << 32_u8.saturating_sub(prefix.bits());
        Box::new((0..count).map(move |number| {
            FrontBit::of_v6_wide(Self {
                octets: ((first + number) << 96).to_be_bytes(),
            })
        }))
    }

    fn is_wide(prefix: Prefix) -> bool {
        prefix.bits() < 64
    }
}

pub(super) struct Table<A: Address> {
    pub(super) bans: HashMap<MapData, A, Ban>,
    /// Those of the bans that the bitmap counts: others can write and remove entries of a pinned map too, and
    /// no bit may go while a ban stands behind it.
    pub(super) counted: BTreeSet<A>,
    /// Bans that are new, until [`Table::flush`] writes them together; all are counted in `counted`, and not yet
    /// in the bitmap.
    staged: Vec<Staged<A>>,
    pub(super) prefixes: Prefixes<A>,
    front: Front,
    pub(super) pass: Pass<A>,
}

struct Staged<A> {
    /// Place among those that the enforcer was handed.
    place: usize,
    address: A,
    ban: Ban,
}

impl<A: Address> Table<A> {
    /// Takes maps that may hold bans, and makes the bitmap agree with them. `found` gets those that are not over.
    pub(super) fn adopt(
        bans: Map,
        front: Map,
        prefixes: Prefixes<A>,
        clock: KernelClock,
        found: &mut Vec<Enforced>,
    ) -> anyhow::Result<Self> {
        let bans: HashMap<_, A, Ban> = HashMap::try_from(bans)?;
        let mut counted = Vec::new();
        read_bans(&bans, |address, ban| {
            counted.push(address);
            found.extend(running(address, &ban, clock));
        })?;
        found.append(&mut prefixes.enforced(clock)?);
        // In place first: what is in order is built into a tree at once.
        counted.sort_unstable();
        let counted = BTreeSet::from_iter(counted);
        let bits = counted.iter().copied().map(Address::front_bit);
        let front = Front::adopt(front, bits.chain(prefixes.front_bits()))?;
        Ok(Self {
            bans,
            counted,
            staged: Vec::new(),
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

    /// The bits of [`setting`] that stand for this family.
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
        let is_new = self.counted.insert(address);
        if is_new {
            self.staged.push(Staged {
                place,
                address,
                ban: fresh(standing, clock),
            });
        }
        is_new
    }

    /// Writes what was staged, and tells what failed. An entry that somebody else made meanwhile is replaced.
    pub(super) fn flush(&mut self, failures: &mut Vec<Failure>) {
        if self.staged.is_empty() {
            return;
        }
        let staged = std::mem::take(&mut self.staged);
        let mut fail = |staged: &Staged<A>, error: &anyhow::Error| {
            failures.push(Failure {
                place: staged.place,
                cause: format!(
                    "cannot write the ban of {}: {error:#}",
                    staged.address.addr()
                ),
            });
        };
        // The bits first: a ban in the map must never be hidden by them.
        let bits = staged.iter().map(|staged| staged.address.front_bit());
        let writable = self
            .front
            .hold(bits.clone())
            .and_then(|()| Ok(Batch::new(self.bans.map())?));
        let batch = match writable {
            Ok(batch) => batch,
            Err(error) => {
                for staged in &staged {
                    self.counted.remove(&staged.address);
                    fail(staged, &error);
                }
                // Why has been told already; a bit too many only costs a look-up.
                let _ = self.front.release(bits);
                return;
            }
        };
        let keys: Vec<A> = staged.iter().map(|staged| staged.address).collect();
        let values: Vec<Ban> = staged.iter().map(|staged| staged.ban).collect();
        let mut done = 0;
        let mut failed: Vec<(usize, Option<anyhow::Error>)> = Vec::new();
        while done < keys.len() {
            let (written, result) = batch.write(&keys[done..], &values[done..]);
            done += written;
            if let Err(error) = result {
                let is_full = error.kind() == ErrorKind::ArgumentListTooLong;
                failed.push((done, (!is_full).then(|| error.into())));
                done += 1;
            }
        }
        for (place, _) in &failed {
            self.counted.remove(&keys[*place]);
        }
        for (place, error) in &failed {
            fail(&staged[*place], error.as_ref().unwrap_or(&self.full()));
        }
        let bits = failed.iter().map(|(place, _)| keys[*place].front_bit());
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
        // The bit first: a ban in the map must never be hidden by it.
        let bit = address.front_bit();
        self.front.set(bit)?;
        let writing = || format!("cannot write the ban of {}", address.addr());
        // Most bans are new, and then this is all: a look-up before it would cost as much again.
        match self.bans.insert(address, fresh(standing, clock), IF_ABSENT) {
            Ok(()) => {}
            Err(error) if is_present(&error) => {
                let old = self.bans.get(&address, 0).with_context(writing)?;
                let ban = merge(old, standing, clock);
                if ban != old {
                    self.bans.insert(address, ban, 0).with_context(writing)?;
                }
            }
            Err(error) if is_full(&error) => {
                return Err(self.full()).with_context(writing);
            }
            Err(error) => return Err(error).with_context(writing),
        }
        if self.counted.insert(address) {
            self.front.count(bit);
        }
        Ok(())
    }

    /// Why nothing can be written any more: somebody else fills the map, since the ledger knows its size.
    fn full(&self) -> anyhow::Error {
        let room = self.room().unwrap_or(0);
        anyhow!(
            "the map is full: it has room for {room}, and this daemon holds {} of them",
            self.counted.len()
        )
    }

    fn unban(&mut self, address: A) -> anyhow::Result<()> {
        match self.bans.remove(&address) {
            Ok(()) => {}
            // Somebody else removed it; its bit is still to go.
            Err(error) if is_absent(&error) => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot remove the ban of {}", address.addr()));
            }
        }
        if self.counted.remove(&address) {
            self.front.release(std::iter::once(address.front_bit()))?;
        }
        Ok(())
    }

    /// Bans that the map has room for.
    pub(super) fn room(&self) -> anyhow::Result<u32> {
        Ok(self
            .bans
            .map()
            .info()
            .context("cannot look at the ban map")?
            .max_entries())
    }

    pub(super) fn enforced(&self, clock: KernelClock) -> anyhow::Result<Vec<Enforced>> {
        let mut enforced = enforced(&self.bans, clock)?;
        enforced.append(&mut self.prefixes.enforced(clock)?);
        Ok(enforced)
    }
}

impl<A: Address> Table<A> {
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
        match self.bans.get(&address, 0) {
            Ok(ban) => Ok(running(address, &ban, clock)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => {
                Err(error).with_context(|| format!("cannot look up the ban of {offender}"))
            }
        }
    }
}

/// The bans of a map that somebody else keeps.
pub(super) fn read<A: Address>(bans: Map, clock: KernelClock) -> anyhow::Result<Vec<Enforced>> {
    enforced(&HashMap::<_, A, Ban>::try_from(bans)?, clock)
}

fn enforced<A: Address>(
    bans: &HashMap<MapData, A, Ban>,
    clock: KernelClock,
) -> anyhow::Result<Vec<Enforced>> {
    let mut enforced = Vec::new();
    read_bans(bans, |address, ban| {
        enforced.extend(running(address, &ban, clock));
    })?;
    Ok(enforced)
}

/// A ban, if it is not over.
fn running<A: Address>(address: A, ban: &Ban, clock: KernelClock) -> Option<Enforced> {
    (ban.expires_at_ns > clock.now_nanos()).then(|| {
        let offender = Offender::new(address.addr());
        told(offender, ban, ban.expires_at_ns, clock)
    })
}

fn read_bans<A: Address>(
    bans: &HashMap<MapData, A, Ban>,
    each: impl FnMut(A, Ban),
) -> anyhow::Result<()> {
    Batch::new(bans.map())
        .and_then(|batch| batch.read(each))
        .context("cannot read the bans")
}

/// One ban whose end is `expires_at_ns`.
pub(super) fn told(
    offender: Offender,
    ban: &Ban,
    expires_at_ns: u64,
    clock: KernelClock,
) -> Enforced {
    Enforced {
        offender,
        standing: Standing {
            until: match expires_at_ns {
                NEVER => Expiry::Never,
                ns => Expiry::At(clock.moment(ns)),
            },
            since: clock.moment(ban.banned_at_ns),
            rule_id: ban.rule_id,
            shadow: ban.flags & flag::SHADOW != 0,
        },
        counters: Counters {
            packets: ban.packets,
            bytes: ban.bytes,
        },
        last_seen: (ban.last_seen_ns > 0).then(|| clock.moment(ban.last_seen_ns)),
    }
}

/// The value of a ban that begins.
pub(super) fn fresh(standing: Standing, clock: KernelClock) -> Ban {
    let (expires_at_ns, mut flags) = match standing.until {
        Expiry::At(end) => (clock.nanos(end), 0),
        Expiry::Never => (NEVER, flag::PERMANENT),
    };
    if standing.shadow {
        flags |= flag::SHADOW;
    }
    Ban {
        expires_at_ns,
        packets: 0,
        bytes: 0,
        last_seen_ns: 0,
        banned_at_ns: clock.nanos(standing.since),
        rule_id: standing.rule_id,
        flags,
    }
}

/// The value of a ban that changes: the new standing, with the counters of one that still runs.
///
/// The map replaces a value as a whole, so that packets which the kernel counts between the look-up
/// and the update, about a microsecond, are dropped all the same but not counted.
pub(super) fn merge(old: Ban, standing: Standing, clock: KernelClock) -> Ban {
    let ban = fresh(standing, clock);
    // What would have been dropped is not counted together with what was.
    let is_other = (old.flags ^ ban.flags) & flag::SHADOW != 0;
    if is_other || old.expires_at_ns <= clock.now_nanos() {
        return ban;
    }
    Ban {
        packets: old.packets,
        bytes: old.bytes,
        last_seen_ns: old.last_seen_ns,
        banned_at_ns: old.banned_at_ns,
        ..ban
    }
}

fn is_present(error: &MapError) -> bool {
    let MapError::SyscallError(call) = error else {
        return false;
    };
    call.io_error.kind() == ErrorKind::AlreadyExists
}

/// E2BIG: no entry is free.
fn is_full(error: &MapError) -> bool {
    let MapError::SyscallError(call) = error else {
        return false;
    };
    call.io_error.kind() == ErrorKind::ArgumentListTooLong
}

pub(super) fn is_absent(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound => true,
        MapError::SyscallError(call) => call.io_error.kind() == ErrorKind::NotFound,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforcer::xdp::OBJECT;
    use ar_ebpf::map;

    /// A table of real maps of the kernel with room for 16 bans, pinned nowhere.
    fn table() -> Table<AddrV4> {
        let mut kernel = aya::EbpfLoader::new()
            .map_max_entries(map::BANS_V4, 16)
            .map_max_entries(map::BANS_V6, 16)
            .load(OBJECT)
            .unwrap();
        let mut take = |name| kernel.take_map(name).unwrap();
        let prefixes = Prefixes::adopt(take(map::PREFIXES_V4), take(map::ALLOW_V4)).unwrap();
        let (bans, front) = (take(map::BANS_V4), take(map::FRONT_V4));
        let clock = crate::clock::kernel_clock();
        Table::adopt(bans, front, prefixes, clock, &mut Vec::new()).unwrap()
    }

    fn for_ever(clock: KernelClock) -> Standing {
        Standing {
            until: Expiry::Never,
            since: clock.moment(clock.now_nanos()),
            rule_id: 1,
            shadow: false,
        }
    }

    #[test]
    fn of_bans_written_together_those_without_room_fail_one_by_one() {
        let mut table = table();
        let clock = crate::clock::kernel_clock();
        let address = |last| AddrV4 {
            octets: [203, 0, last, 7],
        };
        table
            .hold(address(3), Some(for_ever(clock)), clock)
            .unwrap();
        for last in 0..20 {
            let is_new = table.stage(last.into(), address(last), for_ever(clock), clock);
            assert_eq!(is_new, last != 3);
        }
        let mut failures = Vec::new();
        table.flush(&mut failures);
        let failed: Vec<usize> = failures.iter().map(|failure| failure.place).collect();
        assert_eq!(failed, [16, 17, 18, 19]);
        let cause = &failures[0].cause;
        assert!(
            cause.starts_with("cannot write the ban of 203.0.16.7: "),
            "{cause}"
        );
        let held = table.enforced(clock).unwrap();
        assert_eq!(held.len(), 16);
        for last in 0..20 {
            let is_set = table.front.is_set(address(last).front_bit()).unwrap();
            assert_eq!(is_set, last < 16, "{last}");
        }

        // With room again, the same address is new again.
        table.hold(address(0), None, clock).unwrap();
        assert!(table.stage(0, address(17), for_ever(clock), clock));
        table.flush(&mut failures);
        assert_eq!(failures.len(), 4);
        assert!(table.front.is_set(address(17).front_bit()).unwrap());
    }

    #[test]
    fn no_bit_goes_while_a_ban_stands_behind_it() {
        let mut table = table();
        let clock = crate::clock::kernel_clock();
        let standing = for_ever(clock);
        let [theirs, ours] = [1, 2].map(|last| AddrV4 {
            octets: [203, 0, 113, last],
        });
        assert_eq!(ours.front_bit(), theirs.front_bit());
        let is_set = |table: &Table<AddrV4>| table.front.is_set(ours.front_bit()).unwrap();

        // Written by somebody else, and then banned.
        let entry = fresh(standing, clock);
        table.bans.insert(theirs, entry, 0).unwrap();
        table.hold(theirs, Some(standing), clock).unwrap();
        table.hold(ours, Some(standing), clock).unwrap();
        table.hold(ours, None, clock).unwrap();
        assert!(is_set(&table), "a ban is hidden");

        // Removed by somebody else, and then let go.
        table.bans.remove(&theirs).unwrap();
        table.hold(theirs, None, clock).unwrap();
        assert!(!is_set(&table), "a bit stays");
    }
}
