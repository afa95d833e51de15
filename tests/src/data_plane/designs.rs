//! Other ways to hold bans (`ar-ebpf/src/designs.rs`), filled with the same addresses.

use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use ar_ebpf::{AddrV4, AddrV6, FRONT_WORDS, FrontBit};
use aya::maps::{Array, HashMap};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};

use super::{program, program_mut};

/// The end of all of them, which does not come: the last that there is.
const NEVER: u32 = u32::MAX;

type Line = [u64; 8];

/// What is measured.
#[derive(Clone, Copy)]
enum Design {
    /// A hash whose value is an end and a counter of 32 bits each.
    HashSmall,
    /// Buckets of eight, details elsewhere.
    BucketDetails,
    /// Buckets of four, counters within.
    Bucket,
}

impl Design {
    const ALL: [Self; 3] = [Self::HashSmall, Self::BucketDetails, Self::Bucket];

    const fn name(self) -> &'static str {
        match self {
            Self::HashSmall => "hash small",
            Self::BucketDetails => "bucket details",
            Self::Bucket => "bucket",
        }
    }

    /// Bans in one bucket; none where there are no buckets.
    const fn places(self) -> Option<usize> {
        match self {
            Self::HashSmall => None,
            Self::BucketDetails => Some(8),
            Self::Bucket => Some(4),
        }
    }
}

/// Loaded and filled, each with maps of its own.
pub(super) struct Designs {
    family: u8,
    kernels: Vec<(Design, Ebpf)>,
}

impl Designs {
    pub(super) fn load(object: &Path, family: u8, banned: &[IpAddr]) -> Result<Self> {
        let load = |design| Ok((design, filled(design, object, family, banned)?));
        let kernels: Result<_> = Design::ALL.into_iter().map(load).collect();
        Ok(Self {
            family,
            kernels: kernels?,
        })
    }

    pub(super) fn names() -> [&'static str; 3] {
        Design::ALL.map(Design::name)
    }

    pub(super) fn programs(&self) -> impl Iterator<Item = (&'static str, Result<&Xdp>)> {
        self.kernels.iter().map(|(design, kernel)| {
            let name = program_name(*design, self.family);
            (design.name(), program(kernel, &name))
        })
    }
}

fn program_name(design: Design, family: u8) -> String {
    format!("{}_{family}", design.name().replace(' ', "_"))
}

fn filled(design: Design, object: &Path, family: u8, banned: &[IpAddr]) -> Result<Ebpf> {
    let count = banned.len();
    let buckets = design.places().map_or(1, |places| {
        (count * 5 / 4 / places).next_power_of_two().max(16)
    });
    let room = |is_used: bool| u32::try_from(if is_used { count.max(16) } else { 16 });
    let is_hash = design.places().is_none();
    let has_details = matches!(design, Design::BucketDetails);
    let details = if has_details { buckets * 8 } else { 1 };
    let mut kernel = EbpfLoader::new()
        .map_max_entries("SMALL_V4", room(is_hash && family == 4)?)
        .map_max_entries("SMALL_V6", room(is_hash && family == 6)?)
        .map_max_entries("BUCKETS", u32::try_from(buckets)?)
        .map_max_entries("DETAILS", u32::try_from(details)?)
        .load_file(object)
        .with_context(|| format!("loading {}", object.display()))?;
    program_mut(&mut kernel, &program_name(design, family))?.load()?;
    let mut take = |name: &str| kernel.take_map(name).context("no such map");
    let mut words = vec![0; FRONT_WORDS as usize];
    let mut v4 = HashMap::<_, AddrV4, [u32; 2]>::try_from(take("SMALL_V4")?)?;
    let mut v6 = HashMap::<_, AddrV6, [u32; 2]>::try_from(take("SMALL_V6")?)?;
    for address in banned {
        let bit = match *address {
            IpAddr::V4(address) => {
                let octets = address.octets();
                if is_hash {
                    v4.insert(AddrV4 { octets }, [NEVER, 0], 0)?;
                }
                FrontBit::of_v4(AddrV4 { octets })
            }
            IpAddr::V6(address) => {
                let octets = address.octets();
                if is_hash {
                    v6.insert(AddrV6 { octets }, [NEVER, 0], 0)?;
                }
                FrontBit::of_v6(AddrV6 { octets })[0]
            }
        };
        words[bit.word() as usize] |= bit.mask();
    }
    let mut front = Array::<_, u64>::try_from(take("DESIGN_FRONT")?)?;
    for (index, word) in (0..).zip(words).filter(|(_, word)| *word != 0) {
        front.set(index, word, 0)?;
    }
    if let Some(places) = design.places() {
        let mut map = Array::<_, Line>::try_from(take("BUCKETS")?)?;
        for (index, line) in (0..).zip(lines(banned, buckets, places)?) {
            map.set(index, line, 0)?;
        }
        let mut mask = Array::<_, u32>::try_from(take("BUCKET_MASK")?)?;
        mask.set(0, u32::try_from(buckets - 1)?, 0)?;
    }
    Ok(kernel)
}

/// Puts every address into the first of its buckets that has a place; where none has, another moves to its other one.
fn lines(banned: &[IpAddr], buckets: usize, places: usize) -> Result<Vec<Line>> {
    /// Moves for one address. Buckets that are four fifths full need a few.
    const MOVES: usize = 1000;
    let keys: Vec<(u32, [usize; 2])> = banned.iter().map(|it| key(it, buckets)).collect();
    let mut table: Vec<Vec<usize>> = vec![Vec::new(); buckets];
    for number in 0..keys.len() {
        let mut homeless = Some((number, keys[number].1[0]));
        for step in 0..MOVES {
            let Some((number, bucket)) = homeless else {
                break;
            };
            let choices = keys[number].1;
            let free = choices.into_iter().find(|&it| table[it].len() < places);
            homeless = if let Some(free) = free {
                table[free].push(number);
                None
            } else {
                let moved = std::mem::replace(&mut table[bucket][step % places], number);
                let [one, other] = keys[moved].1;
                Some((moved, if one == bucket { other } else { one }))
            };
        }
        ensure!(homeless.is_none(), "no bucket has a place for {number}");
    }
    let line = |bucket: Vec<usize>| {
        let mut line = Line::default();
        for (place, number) in bucket.into_iter().enumerate() {
            line[place * (8 / places)] = u64::from(NEVER) << 32 | u64::from(keys[number].0);
        }
        line
    };
    Ok(table.into_iter().map(line).collect())
}

/// The tag and both buckets of an address, as the programs reckon them.
fn key(address: &IpAddr, buckets: usize) -> (u32, [usize; 2]) {
    const BY: u64 = 0x9E37_79B9_7F4A_7C15;
    let (tag, hash) = match address {
        IpAddr::V4(address) => {
            let tag = u32::from_ne_bytes(address.octets());
            (tag, u64::from(tag).wrapping_mul(BY))
        }
        IpAddr::V6(address) => {
            let [subnet, interface] = [0, 8].map(|from| {
                let octets = address.octets();
                u64::from_ne_bytes(std::array::from_fn(|at| octets[from + at]))
            });
            let mixed = (subnet ^ interface.wrapping_mul(0xC2B2_AE3D_27D4_EB4F)).wrapping_mul(BY);
            let tag = (mixed >> 3) & u64::from(u32::MAX);
            let hash = (mixed ^ (mixed >> 32)).wrapping_mul(BY);
            (u32::try_from(tag).unwrap_or(0), hash)
        }
    };
    let bucket = |shift| usize::try_from(hash >> shift & (buckets as u64 - 1)).unwrap_or(0);
    (tag, [bucket(40), bucket(16)])
}
