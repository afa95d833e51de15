//! Bans of prefixes of one address family, and the networks that they do not touch.
//!
//! The kernel's trie finds only the longest prefix. So that any ban that is not over drops, also when no
//! daemon is there to see one end, the value of each prefix carries the latest end of all that hold it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use ar_ebpf::{Ban, FrontBit, PrefixBan, setting};
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Map, MapData};

use super::address::Address;
use super::front::Front;
use super::kernel::is_absent;
use super::standing::{fresh, merge, told};
use super::tries::Written;
use crate::enforcer::Enforced;
use crate::ledger::Standing;
use crate::offender::{Offender, Prefix};
use crate::time::KernelClock;

/// `BPF_ANY` (linux/bpf.h): an update makes or replaces.
const ANY: u64 = 0;

pub(super) struct Prefixes<A: Address> {
    pub(super) bans: LpmTrie<MapData, A::Network, PrefixBan>,
    pub(super) allow: LpmTrie<MapData, A::Network, u32>,
    /// The bits of prefixes alone. The caller's bitmap has them too, and those of addresses.
    front: Front,
    /// Each prefix's own end, in nanoseconds of the kernel's clock.
    pub(super) ends: BTreeMap<Prefix, u64>,
    pub(super) allowed: BTreeSet<Prefix>,
    /// How many are found only by the look at the bit of their /32.
    wide: usize,
    /// Those of `ends` that somebody else has removed.
    pub(super) missing: BTreeSet<Prefix>,
    /// Those that somebody else has written, which are not in `ends`.
    pub(super) strangers: BTreeSet<Prefix>,
    /// While a pass of inspection runs.
    pub(super) written: Option<Written>,
}

impl<A: Address> Prefixes<A> {
    /// Takes maps that may hold something, and mends what a crash between two writes has left.
    pub(super) fn adopt(bans: Map, allow: Map, front: Map) -> anyhow::Result<Self> {
        let bans = LpmTrie::<_, _, PrefixBan>::try_from(bans)?;
        let mut ends = BTreeMap::new();
        for entry in bans.iter() {
            let (key, ban) = entry.context("cannot read the bans of prefixes")?;
            if let Some(prefix) = prefix::<A>(&key) {
                ends.insert(prefix, ban.own_expires_at_ns);
            }
        }
        let mut prefixes = Self {
            bans,
            allow: LpmTrie::try_from(allow)?,
            front: Front::adopt(front, bits_of::<A>(&ends))?,
            ends,
            allowed: BTreeSet::new(),
            wide: 0,
            missing: BTreeSet::new(),
            strangers: BTreeSet::new(),
            written: None,
        };
        for key in prefixes.allow.keys() {
            let key = key.context("cannot read the allowed networks")?;
            prefixes.allowed.extend(prefix::<A>(&key));
        }
        let all: Vec<Prefix> = prefixes.ends.keys().copied().collect();
        prefixes.wide = all.iter().filter(|prefix| A::is_wide(**prefix)).count();
        for prefix in all {
            prefixes.renew(prefix)?;
        }
        Ok(prefixes)
    }

    /// The bits of every prefix.
    pub(super) fn front_bits(&self) -> impl Iterator<Item = FrontBit> {
        bits_of::<A>(&self.ends)
    }

    /// The bits of [`setting`] that stand for this family.
    pub(super) fn settings(&self) -> u32 {
        let when = |is: bool, bit: u32| if is { bit } else { 0 };
        when(!self.ends.is_empty(), A::PREFIXES)
            | when(!self.allowed.is_empty(), A::ALLOW)
            | when(self.wide > 0, setting::WIDE_V6)
    }

    pub(super) fn ban(
        &mut self,
        prefix: Prefix,
        standing: Standing,
        clock: KernelClock,
        front: &mut Front,
    ) -> anyhow::Result<()> {
        let key = key::<A>(prefix)?;
        let new = fresh(standing, clock);
        let own = new.expires_at_ns;
        let before = self.ends.insert(prefix, own);
        let ban = match before {
            Some(_) if self.missing.contains(&prefix) => new,
            // An exact match, since the prefix is there.
            Some(_) => self.bans.get(&key, 0).map_or(new, |old| {
                // Whether the ban still ran is told by its own end.
                let expires_at_ns = old.own_expires_at_ns;
                let old = Ban {
                    expires_at_ns,
                    ..old.ban
                };
                merge(old, standing, clock)
            }),
            None => {
                // The bits first: a ban in the map must never be hidden by them.
                self.wide += usize::from(A::is_wide(prefix));
                let held = front.hold(A::front_bits_of(prefix));
                // In either case: both bitmaps count what is to be forgotten again.
                self.front.hold(A::front_bits_of(prefix)).and(held)?;
                new
            }
        };
        let value = self.value(
            prefix,
            PrefixBan {
                ban,
                own_expires_at_ns: own,
            },
        );
        self.note(prefix);
        if let Err(error) = self.bans.insert(&key, value, ANY) {
            match before {
                Some(before) => {
                    self.ends.insert(prefix, before);
                }
                None => self.forget(prefix, front)?,
            }
            return Err(error).with_context(|| format!("cannot write the ban of {prefix}"));
        }
        self.missing.remove(&prefix);
        self.strangers.remove(&prefix);
        self.renew_nested(prefix)
    }

    pub(super) fn unban(&mut self, prefix: Prefix, front: &mut Front) -> anyhow::Result<()> {
        let is_ours = self.ends.contains_key(&prefix);
        if !is_ours && !self.strangers.contains(&prefix) {
            return Ok(());
        }
        self.note(prefix);
        match self.bans.remove(&key::<A>(prefix)?) {
            Ok(()) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot remove the ban of {prefix}"));
            }
        }
        self.strangers.remove(&prefix);
        if !is_ours {
            return Ok(());
        }
        self.forget(prefix, front)?;
        self.renew_nested(prefix)
    }

    fn note(&mut self, prefix: Prefix) {
        if let Some(written) = &mut self.written {
            written.prefixes.insert(prefix);
        }
    }

    fn forget(&mut self, prefix: Prefix, front: &mut Front) -> anyhow::Result<()> {
        self.ends.remove(&prefix);
        self.missing.remove(&prefix);
        self.wide -= usize::from(A::is_wide(prefix));
        let released = front.release(A::front_bits_of(prefix));
        self.front.release(A::front_bits_of(prefix)).and(released)
    }

    /// Makes the kernel allow exactly those of `networks` that are of this family; what is new comes first.
    pub(super) fn allow(&mut self, networks: &[Prefix]) -> anyhow::Result<()> {
        let ours = |network: &&Prefix| A::network(network.addr()).is_some();
        let wanted: BTreeSet<Prefix> = networks.iter().filter(ours).copied().collect();
        for &network in wanted.difference(&self.allowed.clone()) {
            self.write_allowed(network)?;
            self.allowed.insert(network);
        }
        for network in self.allowed.clone().difference(&wanted) {
            self.end_allowed(*network)?;
            self.allowed.remove(network);
        }
        Ok(())
    }

    pub(super) fn write_allowed(&mut self, network: Prefix) -> anyhow::Result<()> {
        if let Some(written) = &mut self.written {
            written.allowed = true;
        }
        self.allow
            .insert(&key::<A>(network)?, 1, ANY)
            .with_context(|| format!("cannot allow {network}"))
    }

    pub(super) fn end_allowed(&mut self, network: Prefix) -> anyhow::Result<()> {
        if let Some(written) = &mut self.written {
            written.allowed = true;
        }
        match self.allow.remove(&key::<A>(network)?) {
            // Somebody else was first.
            Err(error) if !is_absent(&error) => {
                Err(error).with_context(|| format!("cannot end that {network} is allowed"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn enforced(&self, clock: KernelClock) -> anyhow::Result<Vec<Enforced>> {
        enforced::<A>(&self.bans, clock)
    }

    /// What stands for one prefix itself. Of one that this daemon does not hold, nothing is told.
    pub(super) fn enforced_of(
        &self,
        prefix: Prefix,
        clock: KernelClock,
    ) -> anyhow::Result<Option<Enforced>> {
        if !self.ends.contains_key(&prefix) {
            return Ok(None);
        }
        let reading = || format!("cannot look up the ban of {prefix}");
        let value = self.bans.get(&key::<A>(prefix)?, 0).with_context(reading)?;
        let end = value.own_expires_at_ns;
        let offender = Offender::network(prefix);
        Ok((end > clock.now_nanos()).then(|| told(offender, &value.ban, end, clock)))
    }

    /// Gives the prefixes within another their ends anew.
    fn renew_nested(&mut self, outer: Prefix) -> anyhow::Result<()> {
        let behind = self.ends.range(outer..).map(|(&prefix, _)| prefix);
        let nested: Vec<Prefix> = behind
            .take_while(|&prefix| outer.covers(Offender::network(prefix)))
            .filter(|&prefix| prefix != outer)
            .collect();
        nested.into_iter().try_for_each(|prefix| self.renew(prefix))
    }

    fn renew(&mut self, prefix: Prefix) -> anyhow::Result<()> {
        let writing = || format!("cannot write the ban of {prefix}");
        if self.missing.contains(&prefix) {
            return Ok(());
        }
        let key = key::<A>(prefix)?;
        let old = match self.bans.get(&key, 0) {
            // Somebody else has removed it, and nothing holds it.
            Err(error) if is_absent(&error) => return Ok(()),
            old => old.with_context(writing)?,
        };
        let own_expires_at_ns = self.ends.get(&prefix).copied();
        let new = self.value(
            prefix,
            PrefixBan {
                own_expires_at_ns: own_expires_at_ns.unwrap_or(old.own_expires_at_ns),
                ..old
            },
        );
        if new == old {
            return Ok(());
        }
        self.note(prefix);
        self.bans.insert(&key, new, ANY).with_context(writing)
    }

    /// The value with the latest end of the prefix and of all that hold it.
    pub(super) fn value(&self, prefix: Prefix, value: PrefixBan) -> PrefixBan {
        let holders = (0..prefix.bits()).filter_map(|len| Prefix::new(prefix.addr(), len));
        let ends = holders.filter_map(|holder| self.ends.get(&holder));
        let mut value = value;
        value.ban.expires_at_ns = ends.fold(value.own_expires_at_ns, |end, &other| end.max(other));
        value
    }
}

fn bits_of<A: Address>(ends: &BTreeMap<Prefix, u64>) -> impl Iterator<Item = FrontBit> {
    ends.keys().flat_map(|&prefix| A::front_bits_of(prefix))
}

/// The bans of a map that somebody else keeps.
pub(super) fn read<A: Address>(bans: Map, clock: KernelClock) -> anyhow::Result<Vec<Enforced>> {
    enforced::<A>(&LpmTrie::try_from(bans)?, clock)
}

fn enforced<A: Address>(
    bans: &LpmTrie<MapData, A::Network, PrefixBan>,
    clock: KernelClock,
) -> anyhow::Result<Vec<Enforced>> {
    let mut enforced = Vec::new();
    for entry in bans.iter() {
        let (key, value) = entry.context("cannot read the bans of prefixes")?;
        let Some(prefix) = prefix::<A>(&key) else {
            continue;
        };
        let end = value.own_expires_at_ns;
        if end > clock.now_nanos() {
            enforced.push(told(Offender::network(prefix), &value.ban, end, clock));
        }
    }
    Ok(enforced)
}

pub(super) fn key<A: Address>(prefix: Prefix) -> anyhow::Result<Key<A::Network>> {
    let network = A::network(prefix.addr())
        .with_context(|| format!("{prefix} is of the other address family"))?;
    Ok(Key::new(prefix.bits().into(), network))
}

/// `None` for a key that this program does not write.
pub(super) fn prefix<A: Address>(key: &Key<A::Network>) -> Option<Prefix> {
    let len = u8::try_from(key.prefix_len()).ok()?;
    Prefix::new(A::network_addr(key.data()), len)
}
