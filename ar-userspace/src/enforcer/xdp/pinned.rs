//! What is pinned, without the daemon.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, ensure};
use ar_ebpf::{AddrV4, AddrV6, map};
use aya::maps::{Map, MapData};

use super::address::Address;
use super::kernel::Kernel;
use super::version::{self, Older};
use super::{bpffs, prefixes, standing, table};
use crate::enforcer::Enforced;
use crate::time::KernelClock;

/// What is pinned, looked at without the daemon: for `arfw list` when it is not running.
///
/// # Errors
///
/// When there are pins that cannot be read.
pub fn inspect(pin_dir: &Path, clock: KernelClock) -> anyhow::Result<Option<Vec<Enforced>>> {
    let older = version::check(pin_dir)?;
    if older.is_none() && !bpffs::pin(pin_dir, map::BANS_V4).exists() {
        return Ok(None);
    }
    let mut enforced = Vec::new();
    enforced.append(&mut inspect_family::<AddrV4>(
        pin_dir,
        older.as_ref(),
        clock,
    )?);
    enforced.append(&mut inspect_family::<AddrV6>(
        pin_dir,
        older.as_ref(),
        clock,
    )?);
    Ok(Some(enforced))
}

fn inspect_family<A: Address>(
    pin_dir: &Path,
    older: Option<&Older>,
    clock: KernelClock,
) -> anyhow::Result<Vec<Enforced>> {
    let older = older.map(Older::bans::<A>).transpose()?.flatten();
    let mut enforced = match older {
        Some(bans) => {
            let bans = bans.into_iter();
            bans.filter_map(|(address, ban)| standing::running(address, &ban, clock))
                .collect()
        }
        None => table::enforced(&pinned::<A>(pin_dir)?, clock)?,
    };
    // The oldest version had none.
    if bpffs::pin(pin_dir, A::MAPS.prefixes).exists() {
        let prefixes = Map::LpmTrie(open(pin_dir, A::MAPS.prefixes)?);
        enforced.append(&mut prefixes::read::<A>(prefixes, clock)?);
    }
    Ok(enforced)
}

/// The maps of addresses that are pinned.
fn pinned<A: Address>(pin_dir: &Path) -> anyhow::Result<Kernel<A>> {
    Kernel::take(|name| {
        let map = open(pin_dir, name)?;
        let is_hash = name == A::MAPS.overflow;
        Ok(if is_hash {
            Map::HashMap(map)
        } else {
            Map::Array(map)
        })
    })
}

fn open(pin_dir: &Path, name: &str) -> anyhow::Result<MapData> {
    MapData::from_pin(bpffs::pin(pin_dir, name))
        .with_context(|| format!("cannot open the pinned map `{name}`"))
}

/// Lets an address in again without the daemon, until one starts that knows of its ban: for `arfw unban` when none runs.
/// Whether it was banned; `None` without pins.
///
/// # Errors
///
/// When the pins are of another version, or the kernel refuses.
pub fn let_in(pin_dir: &Path, addr: IpAddr) -> anyhow::Result<Option<bool>> {
    let is_older = version::check(pin_dir)?.is_some();
    if !bpffs::pin(pin_dir, map::BANS_V4).exists() {
        return Ok(None);
    }
    ensure!(
        !is_older,
        "the maps pinned in `{}` are of an older version",
        pin_dir.display()
    );
    let was_banned = match addr {
        IpAddr::V4(addr) => {
            let octets = addr.octets();
            pinned(pin_dir)?.let_in(AddrV4 { octets })
        }
        IpAddr::V6(addr) => {
            let octets = addr.octets();
            pinned(pin_dir)?.let_in(AddrV6 { octets })
        }
    };
    Ok(Some(was_banned?))
}
