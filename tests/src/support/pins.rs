//! What a daemon has in the kernel, looked at from outside: its pinned maps, and the identities of what it loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use ar_ebpf::{AddrV4, AddrV6, Ban, FrontBit, map};
use aya::Pod;
use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{Array, Map, MapData, MapInfo, MapType, loaded_maps};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{loaded_links, loaded_programs};
use xtask::netns::{INTERFACE, Namespace};

use super::bans::{BansV4, BansV6};
use super::daemon::PATIENCE;
use super::old_pins;

/// Everything in the pinned ban maps, of this version or an older one, whether or not it is over.
///
/// # Errors
///
/// When a map is not pinned there or cannot be read.
pub fn bans(pin_dir: &Path) -> Result<BTreeMap<IpAddr, Ban>> {
    if let Map::HashMap(_) = open(pin_dir, map::BANS_V4)? {
        return old_pins::bans(pin_dir);
    }
    let mut all = BTreeMap::new();
    for (address, ban) in bans_v4(pin_dir)?.all()? {
        all.insert(address.octets.into(), ban);
    }
    for (address, ban) in bans_v6(pin_dir)?.all()? {
        all.insert(address.octets.into(), ban);
    }
    Ok(all)
}

/// The kernel's own numbers of what is pinned, by the names of the pins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pinned {
    /// Every map.
    pub maps: BTreeMap<String, u32>,
    /// Every link.
    pub links: BTreeMap<String, u32>,
    /// The program behind each link.
    pub programs: BTreeMap<String, u32>,
    /// The hash of its instructions.
    pub tags: BTreeMap<String, u64>,
}

impl Pinned {
    /// What is pinned in `pin_dir`.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell.
    pub fn read(pin_dir: &Path) -> Result<Self> {
        let mut pinned = Self {
            maps: BTreeMap::new(),
            links: BTreeMap::new(),
            programs: BTreeMap::new(),
            tags: BTreeMap::new(),
        };
        for entry in fs::read_dir(pin_dir)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name.into_owned();
            if !is_link(&name) {
                pinned.maps.insert(name, MapInfo::from_pin(&path)?.id());
                continue;
            }
            let link = FdLink::from(PinnedLink::from_pin(&path)?).info()?;
            // One that ends between being listed and being looked at is somebody else's.
            let program = loaded_programs()
                .flatten()
                .find(|program| program.id() == link.program_id());
            let program = program.context("the program behind a link is loaded")?;
            pinned.tags.insert(name.clone(), program.tag());
            pinned.programs.insert(name.clone(), program.id());
            pinned.links.insert(name, link.id());
        }
        Ok(pinned)
    }
}

/// Whether a pin is that of a link.
fn is_link(name: &str) -> bool {
    name.starts_with("xdp_") || name.starts_with("tcx_")
}

/// What one daemon has made in the kernel, by the kernel's own numbers, which are not used again soon.
///
/// So other daemons, which other tests run at the same time, do not disturb.
#[derive(Debug)]
pub struct Traces {
    maps: BTreeSet<u32>,
    programs: BTreeSet<u32>,
    links: BTreeSet<u32>,
}

impl Traces {
    /// Those of the daemon whose pins stand in `pin_dir`.
    ///
    /// # Errors
    ///
    /// When the kernel does not tell, or there is not at least one of each.
    pub fn of(pin_dir: &Path) -> Result<Self> {
        let mut maps = BTreeSet::new();
        for name in map::ALL {
            maps.insert(MapInfo::from_pin(pin_dir.join(name.to_lowercase()))?.id());
        }
        let (mut links, mut programs) = (BTreeSet::new(), BTreeSet::new());
        for entry in fs::read_dir(pin_dir)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if is_link(&name) {
                let link = FdLink::from(PinnedLink::from_pin(&path)?).info()?;
                links.insert(link.id());
                programs.insert(link.program_id());
            }
        }
        ensure!(
            !links.is_empty(),
            "no link is pinned in {}",
            pin_dir.display()
        );
        // One that ends between being listed and being looked at is somebody else's.
        for program in loaded_programs().flatten() {
            if programs.contains(&program.id()) {
                // Also those that are not pinned: read-only data, for one.
                maps.extend(program.map_ids()?.unwrap_or_default());
            }
        }
        Ok(Self {
            maps,
            programs,
            links,
        })
    }

    /// Waits until the kernel has let go of all of it, which it does soon after the last user.
    ///
    /// # Errors
    ///
    /// When something stays.
    pub fn are_gone(&self) -> Result<()> {
        let start = Instant::now();
        loop {
            // While others make and end programs, listing may stumble over one that is half there.
            let left = self.left();
            if left.as_ref().is_ok_and(Vec::is_empty) {
                return Ok(());
            }
            if start.elapsed() > PATIENCE {
                bail!("in the kernel are left: {}", left?.join(", "));
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn left(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for map in loaded_maps() {
            let id = map?.id();
            left.extend(self.maps.contains(&id).then(|| format!("map {id}")));
        }
        for program in loaded_programs() {
            let id = program?.id();
            left.extend(self.programs.contains(&id).then(|| format!("program {id}")));
        }
        for link in loaded_links() {
            let id = link?.id();
            left.extend(self.links.contains(&id).then(|| format!("link {id}")));
        }
        Ok(left)
    }
}

/// Whether an XDP program is on the interface of a link's side.
///
/// # Errors
///
/// When `ip` does not tell.
pub fn has_xdp(side: &Namespace) -> Result<bool> {
    let mut ip = Command::new("ip");
    ip.args(["-n", side.name(), "-json", "link", "show", INTERFACE]);
    let output = ip.output().context("cannot start `ip`")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let links: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    ensure!(links[0]["ifname"] == INTERFACE, "found {links}");
    Ok(links[0].get("xdp").is_some())
}

/// How many bans of either family stand in the overflow.
///
/// # Errors
///
/// When the maps are not pinned there or cannot be read.
pub fn overflowed(pin_dir: &Path) -> Result<usize> {
    Ok(bans_v4(pin_dir)?.overflowed()? + bans_v6(pin_dir)?.overflowed()?)
}

/// The pinned maps of IPv4 bans, to be written as an operator with `bpftool` would.
///
/// # Errors
///
/// When they are not pinned there.
pub fn bans_v4(pin_dir: &Path) -> Result<BansV4> {
    BansV4::new(|name| open(pin_dir, name))
}

/// The pinned maps of IPv6 bans.
///
/// # Errors
///
/// When they are not pinned there.
pub fn bans_v6(pin_dir: &Path) -> Result<BansV6> {
    BansV6::new(|name| open(pin_dir, name))
}

/// A pinned trie: of prefixes, or of allowed networks.
///
/// # Errors
///
/// When it is not pinned there, or is of other sizes.
pub fn trie<K: Pod, V: Pod>(pin_dir: &Path, name: &str) -> Result<LpmTrie<MapData, K, V>> {
    let data = MapData::from_pin(pin_dir.join(name.to_lowercase()))?;
    Ok(LpmTrie::try_from(Map::LpmTrie(data))?)
}

/// The pinned settings word.
///
/// # Errors
///
/// When it is not pinned there.
pub fn settings(pin_dir: &Path) -> Result<Array<MapData, u32>> {
    let data = MapData::from_pin(pin_dir.join(map::SETTINGS.to_lowercase()))?;
    Ok(Array::try_from(Map::Array(data))?)
}

fn open(pin_dir: &Path, name: &str) -> Result<Map> {
    let pin = pin_dir.join(name.to_lowercase());
    let data = MapData::from_pin(&pin).with_context(|| format!("opening {}", pin.display()))?;
    Ok(match data.info()?.map_type()? {
        MapType::Hash => Map::HashMap(data),
        _ => Map::Array(data),
    })
}

/// Whether the front bitmap has the bit of an IPv4 address.
///
/// # Errors
///
/// When it is not pinned there or cannot be read.
pub fn has_front_bit(pin_dir: &Path, address: AddrV4) -> Result<bool> {
    has_bits(pin_dir, map::FRONT_V4, &[FrontBit::of_v4(address)])
}

/// Whether the front bitmap has the bits of an IPv6 address.
///
/// # Errors
///
/// When it is not pinned there or cannot be read.
pub fn has_front_bits(pin_dir: &Path, address: AddrV6) -> Result<bool> {
    has_bits(pin_dir, map::FRONT_V6, &FrontBit::of_v6(address))
}

fn has_bits(pin_dir: &Path, bitmap: &str, bits: &[FrontBit]) -> Result<bool> {
    let data = MapData::from_pin(pin_dir.join(bitmap.to_lowercase()))?;
    let front = Array::<_, u64>::try_from(Map::Array(data))?;
    for bit in bits {
        if front.get(&bit.word(), 0)? & bit.mask() == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
