//! The version of pinned maps: what is ours is adopted, what is older is brought up to date, the rest is refused.
//!
//! Bringing up to date opens no gap. Maps whose layout is the same are adopted as they are, so that the older
//! program goes on dropping by them until the new one is in its place. The version is written last: a start
//! that ends half-way is done once more by the next one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use ar_ebpf::{ABI_VERSION, Outcome, Total, map};
use aya::maps::{Array, Map, MapData, PerCpuArray};

use super::bpffs;

/// Version 1 had neither prefixes nor settings, whose maps are made anew and empty, and totals of one outcome
/// less. Bans of addresses and the front bitmaps have stayed as they were.
const WITHOUT_PREFIXES: u32 = 1;

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
        version @ WITHOUT_PREFIXES => Ok(Some(Older {
            pin_dir: pin_dir.to_owned(),
            version,
        })),
        found => bail!(
            "the maps pinned in `{}` are of version {found}, and this program reads versions \
             {WITHOUT_PREFIXES} to {ABI_VERSION}; `arfw stop --release` of that version removes them",
            pin_dir.display()
        ),
    }
}

impl Older {
    /// Takes maps of another layout out of the way of the new ones. The older program goes on using them.
    pub(super) fn set_aside(&self) -> anyhow::Result<()> {
        let pin = bpffs::pin(&self.pin_dir, map::STATS);
        // Not there, or new already: an earlier start came as far as this.
        if !pin.exists() || totals(&pin)?.len() as usize == Outcome::ALL.len() {
            return Ok(());
        }
        fs::rename(&pin, self.aside())
            .with_context(|| format!("cannot rename the pin `{}`", pin.display()))
    }

    /// Goes on counting where the older program ends. What it counts from here on until the new one is in
    /// its place is lost in the totals, and only there.
    pub(super) fn carry_over(&self, new: &mut PerCpuArray<MapData, Total>) -> anyhow::Result<()> {
        let pin = self.aside();
        if !pin.exists() {
            return Ok(());
        }
        let old = totals(&pin)?;
        for index in 0..old.len().min(new.len()) {
            let counted = old.get(&index, 0)?;
            new.set(index, counted, 0)
                .context("cannot write the totals")?;
        }
        fs::remove_file(&pin).with_context(|| format!("cannot remove the pin `{}`", pin.display()))
    }

    /// Says so.
    pub(super) fn told(&self) {
        tracing::info!(
            from = self.version,
            to = ABI_VERSION,
            "brought the pinned maps of an older version up to date"
        );
    }

    fn aside(&self) -> PathBuf {
        bpffs::pin(&self.pin_dir, &format!("{}_{}", map::STATS, self.version))
    }
}

fn totals(pin: &Path) -> anyhow::Result<PerCpuArray<MapData, Total>> {
    Ok(PerCpuArray::try_from(Map::PerCpuArray(open(pin)?))?)
}

fn open(pin: &Path) -> anyhow::Result<MapData> {
    MapData::from_pin(pin)
        .with_context(|| format!("cannot open the pinned map `{}`", pin.display()))
}
