//! The version of pinned maps: what is ours is adopted, what is older is brought up to date, the rest is refused.
//!
//! Bringing up to date opens no gap. Maps whose layout is the same are adopted as they are, the others are set aside
//! and copied, so that the older program goes on dropping by them until the new one is in its place. The version is
//! written last: a start that ends half-way is done once more by the next one. Where nothing is set aside, adopting is
//! all there is to do, and the version is written before the new program is in its place, so that none of the older version
//! takes away what the new program goes by.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use ar_ebpf::batch::Batch;
use ar_ebpf::{ABI_VERSION, Ban, Outcome, Total, map, slot};
use aya::maps::{Array, HashMap, IterableMap as _, Map, MapData, MapType, PerCpuArray};

use super::address::Address;
use super::bpffs;

/// Version 1 had neither prefixes nor settings, whose maps are made anew and empty, and totals of one outcome
/// less. Up to version 2, bans of addresses stood in a hash each, and totals were of all interfaces together. Up to
/// version 3, an IPv6 /64 had one bit in a front bitmap, which is one of the two that it has now.
const OLDEST: u32 = 1;

/// The last version of which maps are set aside.
const LAST_SET_ASIDE: u32 = 2;

/// Pinned maps of an older version that can be brought up to date.
#[derive(Debug)]
pub(super) struct Older {
    pin_dir: PathBuf,
    version: u32,
}

/// Looks at the version before anything is touched; `None` when there is nothing to bring up to date.
///
/// # Errors
///
/// When the pinned maps are of a version that is not known, or cannot be read.
pub(super) fn check(pin_dir: &Path) -> anyhow::Result<Option<Older>> {
    let pin = bpffs::pin(pin_dir, map::ABI);
    if !pin.exists() {
        return Ok(None);
    }
    match Array::<_, u32>::try_from(Map::Array(open(&pin)?))?.get(&0, 0)? {
        // Zero is a start that ended between making the map and writing the version.
        0 | ABI_VERSION => Ok(None),
        version @ OLDEST..ABI_VERSION => Ok(Some(Older {
            pin_dir: pin_dir.to_owned(),
            version,
        })),
        found => bail!(
            "the maps pinned in `{}` are of version {found}, and this program reads versions \
             {OLDEST} to {ABI_VERSION}; `arfw stop --release` of that version removes them",
            pin_dir.display()
        ),
    }
}

impl Older {
    /// Takes maps of another layout out of the way of the new ones. The older program goes on using them.
    pub(super) fn set_aside(&self) -> anyhow::Result<()> {
        // Not there, or new already: an earlier start came as far as this.
        let stats = bpffs::pin(&self.pin_dir, map::STATS);
        if stats.exists() && totals(&stats)?.len() != slot::TOTALS {
            self.rename(map::STATS)?;
        }
        for name in [map::BANS_V4, map::BANS_V6] {
            let pin = bpffs::pin(&self.pin_dir, name);
            if pin.exists() && open_hash(&pin)?.is_some() {
                self.rename(name)?;
            }
        }
        Ok(())
    }

    /// Bans of a family that the older maps were made for, if they are there yet.
    pub(super) fn room(&self) -> anyhow::Result<Option<u32>> {
        let rooms = [map::BANS_V4, map::BANS_V6].map(|name| {
            let pin = self.aside(name);
            pin.exists()
                .then(|| Ok(open(&pin)?.info()?.max_entries()))
                .transpose()
        });
        let [v4, v6]: [anyhow::Result<_>; 2] = rooms;
        Ok(v4?.max(v6?))
    }

    /// The bans of addresses of one family in the older map; `None` once that was let go of.
    pub(super) fn bans<A: Address>(&self) -> anyhow::Result<Option<Vec<(A, Ban)>>> {
        for pin in [
            self.aside(A::MAPS.bans),
            bpffs::pin(&self.pin_dir, A::MAPS.bans),
        ] {
            let hash = if pin.exists() { open_hash(&pin)? } else { None };
            if let Some(hash) = hash {
                let mut bans = Vec::new();
                let hash = HashMap::<_, A, Ban>::try_from(Map::HashMap(hash))?;
                Batch::new(hash.map())
                    .and_then(|batch| batch.read(|address, ban| bans.push((address, ban))))
                    .context("cannot read the bans of the older version")?;
                return Ok(Some(bans));
            }
        }
        Ok(None)
    }

    /// Goes on counting where the older program ends. What it counts from here on until the new one is in
    /// its place is lost in the totals, and only there; of a ban, what it counts since that was copied.
    pub(super) fn carry_over(&self, new: &mut PerCpuArray<MapData, Total>) -> anyhow::Result<()> {
        let pin = self.aside(map::STATS);
        if !pin.exists() {
            return Ok(());
        }
        let old = totals(&pin)?;
        for outcome in Outcome::ALL.into_iter().take(old.len() as usize) {
            let counted = old.get(&outcome.index(), 0)?;
            new.set(slot::index(slot::PAST, outcome), counted, 0)
                .context("cannot write the totals")?;
        }
        remove(&pin)
    }

    /// Lets go of the older bans, once no older program is left.
    pub(super) fn let_go(&self) -> anyhow::Result<()> {
        for name in [map::BANS_V4, map::BANS_V6] {
            let pin = self.aside(name);
            if pin.exists() {
                remove(&pin)?;
            }
        }
        Ok(())
    }

    /// Whether adopting the maps as they are is all that brings them up to date.
    pub(super) const fn is_adopted(&self) -> bool {
        self.version > LAST_SET_ASIDE
    }

    /// Says so.
    pub(super) fn told(&self) {
        tracing::info!(
            from = self.version,
            to = ABI_VERSION,
            "brought the pinned maps of an older version up to date"
        );
    }

    fn rename(&self, name: &str) -> anyhow::Result<()> {
        let pin = bpffs::pin(&self.pin_dir, name);
        fs::rename(&pin, self.aside(name))
            .with_context(|| format!("cannot rename the pin `{}`", pin.display()))
    }

    fn aside(&self, name: &str) -> PathBuf {
        bpffs::pin(&self.pin_dir, &format!("{name}_{}", self.version))
    }
}

fn remove(pin: &Path) -> anyhow::Result<()> {
    fs::remove_file(pin).with_context(|| format!("cannot remove the pin `{}`", pin.display()))
}

/// A pinned map, if it is a hash.
fn open_hash(pin: &Path) -> anyhow::Result<Option<MapData>> {
    let map = open(pin)?;
    let kind = map.info()?.map_type()?;
    Ok((kind == MapType::Hash).then_some(map))
}

fn totals(pin: &Path) -> anyhow::Result<PerCpuArray<MapData, Total>> {
    Ok(PerCpuArray::try_from(Map::PerCpuArray(open(pin)?))?)
}

fn open(pin: &Path) -> anyhow::Result<MapData> {
    MapData::from_pin(pin)
        .with_context(|| format!("cannot open the pinned map `{}`", pin.display()))
}
