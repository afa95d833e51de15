//! What the program has counted, by outcome and by the interface at which a packet came in.
//!
//! An interface that is covered has a slot of the totals to itself while there are slots, and its cell in `INTERFACES` to
//! itself; the others share one. The slot of one that has gone is free, and keeps what it has counted until another
//! interface is given it: so the sum of all slots is always the truth.

use std::collections::BTreeMap;

use anyhow::Context as _;
use ar_ebpf::{Outcome, Total, slot};
use aya::maps::{Array, MapData, PerCpuArray, PerCpuValues};

use super::upkeep::Covered;
use crate::enforcer::{Counters, Traffic};

/// Name of what is counted of interfaces without a slot.
const OTHER: &str = "other";

/// The totals, and whose they are.
pub(super) struct Totals {
    pub(super) stats: PerCpuArray<MapData, Total>,
    interfaces: Array<MapData, u32>,
    /// Slots by the index of the interface.
    slots: BTreeMap<u32, u32>,
}

impl Totals {
    /// Takes over what is pinned: an interface keeps its slot over a restart.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a look-up.
    pub(super) fn adopt(
        stats: PerCpuArray<MapData, Total>,
        interfaces: Array<MapData, u32>,
    ) -> anyhow::Result<Self> {
        let mut slots = BTreeMap::new();
        for cell in 0..slot::CELLS {
            let held = interfaces.get(&cell, 0)?;
            if held != 0 {
                slots.insert(held - held % slot::CELLS + cell, held % slot::END);
            }
        }
        Ok(Self {
            stats,
            interfaces,
            slots,
        })
    }

    /// Frees the slots of interfaces that are not covered any more, and gives slots to those that are.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; what an interface counts without a slot is told among the others.
    pub(super) fn follow(&mut self, covered: &[Covered]) -> anyhow::Result<()> {
        let covered = covered.iter().filter(|it| it.link.is_some());
        let present: Vec<u32> = covered.filter_map(|it| it.index).collect();
        let all = self.slots.keys().copied();
        let gone: Vec<u32> = all.filter(|it| !present.contains(it)).collect();
        for interface in gone {
            self.write(interface, 0)?;
            self.slots.remove(&interface);
        }
        for interface in present {
            let cell = slot::cell(interface);
            if self.slots.keys().any(|&it| slot::cell(it) == cell) {
                continue;
            }
            let is_free = |slot: &u32| !self.slots.values().any(|it| it == slot);
            let Some(slot) = (slot::OTHERS + 1..slot::END).find(is_free) else {
                break;
            };
            self.empty(slot)?;
            self.write(interface, slot::held(interface, slot))?;
            self.slots.insert(interface, slot);
        }
        Ok(())
    }

    /// By outcome, all interfaces together.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a look-up.
    pub(super) fn by_outcome(&self) -> anyhow::Result<Vec<(&'static str, Counters)>> {
        let of = |outcome| {
            let mut sum = Counters::default();
            for slot in 0..slot::COUNT {
                add(&mut sum, self.counted(slot, outcome)?);
            }
            Ok((outcome_name(outcome), sum))
        };
        Outcome::ALL.into_iter().map(of).collect()
    }

    /// By interface: those with a slot, and the others together.
    ///
    /// # Errors
    ///
    /// When the kernel refuses a look-up.
    pub(super) fn by_interface(&self, covered: &[Covered]) -> anyhow::Result<Vec<Traffic>> {
        // An interface may have any name, also that of the others.
        let mut all = BTreeMap::from([(OTHER, self.traffic(slot::OTHERS)?)]);
        for it in covered {
            let slot = it.index.and_then(|index| self.slots.get(&index));
            let Some(&slot) = slot else {
                continue;
            };
            let (dropped, passed) = self.traffic(slot)?;
            let sum = all.entry(&it.place.interface).or_default();
            add(&mut sum.0, dropped);
            add(&mut sum.1, passed);
        }
        let told = |(interface, (dropped, passed)): (&str, _)| Traffic {
            interface: interface.to_owned(),
            dropped,
            passed,
        };
        Ok(all.into_iter().map(told).collect())
    }

    /// What was dropped and what passed.
    fn traffic(&self, slot: u32) -> anyhow::Result<(Counters, Counters)> {
        let mut passed = Counters::default();
        for outcome in Outcome::ALL {
            if outcome != Outcome::Banned {
                add(&mut passed, self.counted(slot, outcome)?);
            }
        }
        Ok((self.counted(slot, Outcome::Banned)?, passed))
    }

    fn counted(&self, slot: u32, outcome: Outcome) -> anyhow::Result<Counters> {
        let per_cpu = self.stats.get(&slot::index(slot, outcome), 0)?;
        let mut sum = Counters::default();
        for &Total { packets, bytes } in per_cpu.iter() {
            add(&mut sum, Counters { packets, bytes });
        }
        Ok(sum)
    }

    /// Puts what a free slot has counted to what is past.
    fn empty(&mut self, slot: u32) -> anyhow::Result<()> {
        for outcome in Outcome::ALL {
            let (from, to) = (slot::index(slot, outcome), slot::index(slot::PAST, outcome));
            let counted = self.stats.get(&from, 0)?;
            if counted.iter().all(|total| *total == Total::default()) {
                continue;
            }
            let past = self.stats.get(&to, 0)?;
            let sums = past.iter().zip(counted.iter()).map(|(past, it)| Total {
                packets: past.packets + it.packets,
                bytes: past.bytes + it.bytes,
            });
            let (sums, zeros) = (sums.collect(), vec![Total::default(); counted.len()]);
            for (index, values) in [(to, sums), (from, zeros)] {
                self.stats
                    .set(index, PerCpuValues::try_from(values)?, 0)
                    .context("cannot write the totals")?;
            }
        }
        Ok(())
    }

    fn write(&mut self, interface: u32, held: u32) -> anyhow::Result<()> {
        self.interfaces
            .set(slot::cell(interface), held, 0)
            .context("cannot write whose the totals are")
    }
}

fn add(sum: &mut Counters, it: Counters) {
    sum.packets += it.packets;
    sum.bytes += it.bytes;
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Clean => "clean",
        Outcome::Banned => "banned",
        Outcome::Shadow => "shadow",
        Outcome::Expired => "expired",
        Outcome::NotIp => "not ip",
        Outcome::Truncated => "truncated",
        Outcome::Malformed => "malformed",
        Outcome::Allowed => "allowed",
    }
}
