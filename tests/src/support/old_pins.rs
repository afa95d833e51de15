//! Pins as an older version has left them, with its program at work.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use ar_ebpf::place::places_for;
use ar_ebpf::{AddrV4, AddrV6, Ban, FrontBit, Outcome, Total, XDP_PROGRAM, map};
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray};
use aya::programs::Xdp;
use aya::programs::links::FdLink;
use aya::programs::xdp::XdpMode;
use aya::{Ebpf, EbpfLoader};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};
use xtask::netns::{INTERFACE, Link};

use super::bans::{BansV4, BansV6};
use super::kernel::{MAX_BANS, key_v4, key_v6};

/// The kernel object as the last build with maps of version 2 made it, without its debugging information.
static OBJECT_2: &[u8] = aya::include_bytes_aligned!("arfw-xdp-2.o");

/// The same of version 3.
static OBJECT_3: &[u8] = aya::include_bytes_aligned!("arfw-xdp-3.o");

/// The maps of version 1, which had neither prefixes nor settings.
const VERSION_1: [&str; 6] = [
    map::BANS_V4,
    map::BANS_V6,
    map::FRONT_V4,
    map::FRONT_V6,
    map::STATS,
    map::ABI,
];

/// What version 2 had beside them.
const SINCE_2: [&str; 5] = [
    map::PREFIXES_V4,
    map::PREFIXES_V6,
    map::ALLOW_V4,
    map::ALLOW_V6,
    map::SETTINGS,
];

/// Outcomes that version 1 knew: all but the allowed.
const OUTCOMES_1: u32 = Outcome::Allowed as u32;

/// The names of the maps of an older version.
#[must_use]
pub fn maps(version: u32) -> Vec<&'static str> {
    if version == 3 {
        return map::ALL.into();
    }
    let since_2 = if version < 2 { &[] } else { &SINCE_2[..] };
    [&VERSION_1[..], since_2].concat()
}

/// Makes pins of an older version that hold these bans, and puts a program on the host's interface that obeys them.
///
/// Of version 1: without prefixes, the program of version 2 did with the maps what that of version 1 did: the maps that version 1
/// did not have are empty, and pinned nowhere.
///
/// # Errors
///
/// When the kernel refuses something.
pub fn make(version: u32, pin_dir: &Path, link: &Link, bans: &[(IpAddr, Ban)]) -> Result<()> {
    fs::create_dir_all(pin_dir)?;
    let mut loader = EbpfLoader::new();
    for name in maps(version) {
        loader.map_pin_path(name, pin_dir.join(name.to_lowercase()));
    }
    if version < 2 {
        loader.map_max_entries(map::STATS, OUTCOMES_1);
    }
    let room = match version {
        3 => places_for(MAX_BANS),
        _ => MAX_BANS,
    };
    for name in [map::BANS_V4, map::BANS_V6] {
        loader.map_max_entries(name, room);
    }
    if version == 3 {
        loader.map_max_entries(map::DETAILS_V4, room);
    }
    let mut ebpf = loader.load(if version == 3 { OBJECT_3 } else { OBJECT_2 })?;
    let program: &mut Xdp = ebpf
        .program_mut(XDP_PROGRAM)
        .context("the object has the program")?
        .try_into()?;
    program.load()?;
    write(version, &mut ebpf, bans)?;
    let program: &mut Xdp = ebpf
        .program_mut(XDP_PROGRAM)
        .context("the object has the program")?
        .try_into()?;
    let (index, id) = link.host.run(|| -> Result<_> {
        let any = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        let index = name_to_index(any, INTERFACE)?;
        Ok((index, program.attach_to_if_index(index, XdpMode::Driver)?))
    })??;
    let attached = FdLink::try_from(program.take_link(id)?)?;
    attached.pin(pin_dir.join(format!("xdp_{index}_native")))?;
    Ok(())
}

fn write(version: u32, ebpf: &mut Ebpf, bans: &[(IpAddr, Ban)]) -> Result<()> {
    let mut take = |name: &str| ebpf.take_map(name).context("the object has the map");
    if version == 3 {
        let mut v4 = BansV4::new(&mut take)?;
        let mut v6 = BansV6::new(&mut take)?;
        for &(address, ban) in bans {
            match address {
                IpAddr::V4(address) => v4.insert(key_v4(address), ban)?,
                IpAddr::V6(address) => v6.insert(key_v6(address), ban)?,
            }
        }
    } else {
        let mut v4 = HashMap::<_, _, Ban>::try_from(take(map::BANS_V4)?)?;
        let mut v6 = HashMap::<_, _, Ban>::try_from(take(map::BANS_V6)?)?;
        for &(address, ban) in bans {
            match address {
                IpAddr::V4(address) => v4.insert(key_v4(address), ban, 0)?,
                IpAddr::V6(address) => v6.insert(key_v6(address), ban, 0)?,
            }
        }
    }
    let mut front_v4 = Array::<_, u64>::try_from(take(map::FRONT_V4)?)?;
    let mut front_v6 = Array::<_, u64>::try_from(take(map::FRONT_V6)?)?;
    for &(address, _) in bans {
        let (front, bit) = match address {
            IpAddr::V4(address) => (&mut front_v4, FrontBit::of_v4(key_v4(address))),
            // Of the two that there are now, the one that there was.
            IpAddr::V6(address) => (&mut front_v6, FrontBit::of_v6(key_v6(address))[0]),
        };
        let word = front.get(&bit.word(), 0)?;
        front.set(bit.word(), word | bit.mask(), 0)?;
    }
    let mut abi = Array::<_, u32>::try_from(take(map::ABI)?)?;
    Ok(abi.set(0, version, 0)?)
}

/// Everything in the pinned hashes of version 1 or 2, whether or not it is over.
///
/// # Errors
///
/// When they are not pinned there or cannot be read.
pub fn bans(pin_dir: &Path) -> Result<BTreeMap<IpAddr, Ban>> {
    let open = |name: &str| -> Result<Map> {
        let data = MapData::from_pin(pin_dir.join(name.to_lowercase()))?;
        Ok(Map::HashMap(data))
    };
    let mut all = BTreeMap::new();
    for entry in HashMap::<_, AddrV4, Ban>::try_from(open(map::BANS_V4)?)?.iter() {
        let (address, ban) = entry?;
        all.insert(address.octets.into(), ban);
    }
    for entry in HashMap::<_, AddrV6, Ban>::try_from(open(map::BANS_V6)?)?.iter() {
        let (address, ban) = entry?;
        all.insert(address.octets.into(), ban);
    }
    Ok(all)
}

/// Says that the pinned maps are of a version.
///
/// # Errors
///
/// When it is not pinned there or cannot be written.
pub fn set_version(pin_dir: &Path, version: u32) -> Result<()> {
    Ok(abi(pin_dir)?.set(0, version, 0)?)
}

fn abi(pin_dir: &Path) -> Result<Array<MapData, u32>> {
    let data = MapData::from_pin(pin_dir.join(map::ABI.to_lowercase()))?;
    Ok(Array::try_from(Map::Array(data))?)
}

/// What the pinned totals, of this or an older version, tell of one outcome, and how many they are.
///
/// # Errors
///
/// When they are not pinned there or cannot be read.
pub fn total(pin_dir: &Path, outcome: Outcome) -> Result<(u64, u32)> {
    let data = MapData::from_pin(pin_dir.join(map::STATS.to_lowercase()))?;
    let totals = PerCpuArray::<_, Total>::try_from(Map::PerCpuArray(data))?;
    let mut packets = 0;
    for index in (outcome.index()..totals.len()).step_by(Outcome::ALL.len()) {
        let per_cpu = totals.get(&index, 0)?;
        packets += per_cpu.iter().map(|total| total.packets).sum::<u64>();
    }
    Ok((packets, totals.len()))
}

/// The version that the pinned maps tell.
///
/// # Errors
///
/// When it is not pinned there or cannot be read.
pub fn version(pin_dir: &Path) -> Result<u32> {
    Ok(abi(pin_dir)?.get(&0, 0)?)
}
