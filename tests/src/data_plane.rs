//! What one packet costs: the real programs by BPF_PROG_TEST_RUN, beside programs that do nothing and xdp-filter.
//!
//! A driver program puts another source address into the frame each time and calls the one that is measured, so
//! that tables are not found in the nearest cache. It costs the same for all; so what a program costs is its time
//! less that of a bare one. Nothing here is a test: the figures are of the machine and the hour.

mod designs;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use ar_ebpf::batch::Batch;
use ar_ebpf::{XDP_PROGRAM, map};
use arfw::clock;
use arfw::enforcer::xdp::{self, Mode, OBJECT};
use arfw::enforcer::{Enforcer as _, Hold, Selection};
use arfw::ledger::Standing;
use arfw::offender::{Offender, Prefix};
use arfw::time::Expiry;
use aya::maps::{Array, IterableMap as _, MapData, PerCpuHashMap, PerCpuValues, ProgramArray};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::util::nr_cpus;
use aya::{Ebpf, EbpfLoader};
use serde::Serialize;

use self::designs::Designs;
use crate::support::packet::{self, udp};

/// Packets of one measurement.
const PACKETS: u32 = 1_000_000;
/// Measurements of each case, in turns.
const ROUNDS: usize = 5;
/// Room for addresses in the driver.
const KEYS: usize = 1 << 20;

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// The time of one case.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// `arfw`, `xdp-filter`, `bare drop`, `bare pass`, or a design that was weighed: `hash small`, `bucket details`,
    /// `bucket`.
    pub program: &'static str,
    /// 4 or 6.
    pub family: u8,
    /// Addresses that are banned.
    pub bans: u32,
    /// Prefixes that are banned beside them.
    pub prefixes: u32,
    /// Whether the packets were of banned addresses.
    pub hit: bool,
    /// Nanoseconds a packet, driver included, of each round.
    pub ns: Vec<f64>,
}

/// Where the programs are that are not in the daemon.
#[derive(Debug)]
pub struct Objects {
    /// The driver and the floor.
    pub bench: PathBuf,
    /// xdp-filter's program, where it is installed.
    pub xdp_filter: Option<PathBuf>,
    /// A directory on a BPF file system, whose owner removes it when this process is ended before its time.
    pub pin_dir: PathBuf,
}

/// Measures one number of bans and prefixes in one family.
///
/// # Errors
///
/// When the kernel refuses something, or a program does not do what it is to be measured for.
pub fn measure(objects: &Objects, family: u8, bans: u32, prefixes: u32) -> Result<Vec<Figure>> {
    let banned: Vec<IpAddr> = (0..bans).map(|number| address(family, number)).collect();
    // Far behind the banned ones in the same order, so never one of them.
    let honest: Vec<IpAddr> = (0..KEYS)
        .map(|number| address(family, 0x4000_0000 + u32::try_from(number).unwrap_or(0)))
        .collect();
    let ours = Ours::load(&objects.pin_dir.join("arfw"), &banned, prefixes, family)?;
    let filter = match &objects.xdp_filter {
        Some(object) if prefixes == 0 => Some(Filter::load(
            &objects.pin_dir.join("filter"),
            object,
            &banned,
        )?),
        _ => None,
    };
    let designs = match prefixes {
        0 => Some(Designs::load(&objects.bench, family, &banned)?),
        _ => None,
    };
    let mut frags = Driver::load(&objects.bench, false)?;
    let mut linear = Driver::load(&objects.bench, true)?;
    let mut figures = Vec::new();
    let mut add = |program, hit| {
        figures.push(Figure {
            program,
            family,
            bans,
            prefixes,
            hit,
            ns: Vec::new(),
        });
    };
    for hit in [false, true] {
        add(if hit { "bare drop" } else { "bare pass" }, hit);
        add("arfw", hit);
        if filter.is_some() {
            add("xdp-filter", hit);
        }
        if designs.is_some() {
            Designs::names().into_iter().for_each(|name| add(name, hit));
        }
    }
    for _ in 0..ROUNDS {
        for hit in [false, true] {
            let keys = if hit { &banned } else { &honest };
            frags.send_from(keys)?;
            linear.send_from(keys)?;
            let (bare, action) = match hit {
                true => ("bare drop", XDP_DROP),
                false => ("bare pass", XDP_PASS),
            };
            let name = bare.replace(' ', "_");
            let mut note = |program: &str, ns: f64| {
                let figure = figures
                    .iter_mut()
                    .find(|figure| figure.program == program && figure.hit == hit);
                figure.into_iter().for_each(|figure| figure.ns.push(ns));
            };
            note(bare, frags.bare(&name, family, action)?);
            note("arfw", frags.run(ours.program()?, family, action)?);
            if let Some(filter) = &filter {
                // What its driver costs more or less is not xdp-filter's.
                let driver =
                    linear.bare(&name, family, action)? - frags.bare(&name, family, action)?;
                let ns = linear.run(filter.program()?, family, action)?;
                note("xdp-filter", ns - driver);
            }
            for (name, program) in designs.iter().flat_map(Designs::programs) {
                note(name, frags.run(program?, family, action)?);
            }
        }
    }
    Ok(figures)
}

/// Mixes all bits, one to one: without an order, or misses would lie at the same distance from a ban each.
fn mix(number: u32) -> u32 {
    let number = (number ^ (number >> 16)).wrapping_mul(0x7FEB_352D);
    let number = (number ^ (number >> 15)).wrapping_mul(0x846C_A68B);
    number ^ (number >> 16)
}

/// The `number`th address: all over the address space, and none comes twice.
fn address(family: u8, number: u32) -> IpAddr {
    let mixed = mix(number);
    if family == 4 {
        return Ipv4Addr::from(mixed).into();
    }
    let subnet = u128::from(mixed) << 64;
    let interface = u128::from(mix(!number));
    Ipv6Addr::from(0x2600_u128 << 112 | subnet | interface).into()
}

/// The `number`th prefix: a /24, or a /56 beside all addresses.
fn prefix(family: u8, number: u32) -> Option<Prefix> {
    match family {
        4 => Prefix::new(address(4, 0x8000_0000 + number), 24),
        _ => {
            let network = 0x2a00_u128 << 112 | u128::from(mix(number)) << 72;
            Prefix::new(Ipv6Addr::from(network).into(), 56)
        }
    }
}

/// The daemon's enforcer with its maps, and the program on them once more.
struct Ours {
    pin_dir: PathBuf,
    kernel: Ebpf,
}

impl Ours {
    fn load(pin_dir: &Path, banned: &[IpAddr], prefixes: u32, family: u8) -> Result<Self> {
        let settings = xdp::Settings {
            pin_dir: pin_dir.to_owned(),
            max_bans: u32::try_from(banned.len())?.max(16),
            mode: Mode::Auto,
            interfaces: Selection::none(),
        };
        let clock = clock::kernel_clock();
        let (mut enforcer, _) = xdp::Xdp::start(&settings, clock)?;
        // From here on, dropping removes the pins.
        let mut ours = Self {
            pin_dir: pin_dir.to_owned(),
            kernel: EbpfLoader::new().load(OBJECT)?,
        };
        let standing = Some(Standing {
            until: Expiry::Never,
            since: clock.moment(clock.now_nanos()),
            rule_id: 1,
            shadow: false,
        });
        let hosts = banned.iter().map(|&address| Offender::new(address));
        let networks = (0..prefixes).filter_map(|number| prefix(family, number));
        let wanted: Vec<Hold> = hosts
            .chain(networks.map(Offender::network))
            .map(|offender| Hold { offender, standing })
            .collect();
        let failures = enforcer.hold(&wanted, clock);
        ensure!(failures.is_empty(), "{:?}", failures[0]);
        let mut loader = EbpfLoader::new();
        for name in map::ALL {
            loader.map_pin_path(name, ours.pin_dir.join(name.to_lowercase()));
        }
        ours.kernel = loader.load(OBJECT)?;
        program_mut(&mut ours.kernel, XDP_PROGRAM)?.load()?;
        Ok(ours)
    }

    fn program(&self) -> Result<&Xdp> {
        program(&self.kernel, XDP_PROGRAM)
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        // Nothing can be done about a pin that stays, but by whoever reads this directory.
        let _ = xdp::release(&self.pin_dir);
    }
}

/// xdp-filter's program that lets pass whoever is not listed.
struct Filter {
    pin_dir: PathBuf,
    kernel: Ebpf,
    name: &'static str,
}

impl Filter {
    fn load(pin_dir: &Path, object: &Path, banned: &[IpAddr]) -> Result<Self> {
        /// An address that is listed as a source (xdp-filter's `prog_features.h`).
        const SOURCE: u64 = 1;
        fs::create_dir_all(pin_dir)?;
        let room = u32::try_from(banned.len())?.max(16);
        let loaded = EbpfLoader::new()
            .map_max_entries("filter_ipv4", room)
            .map_max_entries("filter_ipv6", room)
            .default_map_pin_directory(pin_dir)
            .load_file(object);
        let mut filter = Self {
            pin_dir: pin_dir.to_owned(),
            kernel: loaded.with_context(|| format!("loading {}", object.display()))?,
            name: "xdpfilt_alw_ip",
        };
        program_mut(&mut filter.kernel, filter.name)?.load()?;
        let cpus = nr_cpus().map_err(|(_, error)| error)?;
        let value = || PerCpuValues::try_from(vec![SOURCE; cpus]);
        let mut take = |name: &str| filter.kernel.take_map(name).context("no such map");
        let mut v4 = PerCpuHashMap::<_, [u8; 4], u64>::try_from(take("filter_ipv4")?)?;
        let mut v6 = PerCpuHashMap::<_, [u8; 16], u64>::try_from(take("filter_ipv6")?)?;
        for address in banned {
            match address {
                IpAddr::V4(address) => v4.insert(address.octets(), value()?, 0)?,
                IpAddr::V6(address) => v6.insert(address.octets(), value()?, 0)?,
            }
        }
        Ok(filter)
    }

    fn program(&self) -> Result<&Xdp> {
        program(&self.kernel, self.name)
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        // As above.
        let _ = fs::remove_dir_all(&self.pin_dir);
    }
}

fn program<'k>(kernel: &'k Ebpf, name: &str) -> Result<&'k Xdp> {
    let program = kernel.program(name);
    Ok(program
        .with_context(|| format!("no program `{name}`"))?
        .try_into()?)
}

fn program_mut<'k>(kernel: &'k mut Ebpf, name: &str) -> Result<&'k mut Xdp> {
    let program = kernel.program_mut(name);
    Ok(program
        .with_context(|| format!("no program `{name}`"))?
        .try_into()?)
}

/// The driver: for programs that take multi-buffer frames, or for others.
struct Driver {
    kernel: Ebpf,
    suffix: &'static str,
    target: ProgramArray<MapData>,
    mask: Array<MapData, u32>,
    keys_v4: Array<MapData, [u8; 4]>,
    keys_v6: Array<MapData, [u8; 16]>,
}

impl Driver {
    fn load(object: &Path, linear: bool) -> Result<Self> {
        let mut kernel = EbpfLoader::new()
            .load_file(object)
            .with_context(|| format!("loading {}", object.display()))?;
        let suffix = if linear { "_linear" } else { "" };
        for name in ["drive", "bare_drop", "bare_pass"] {
            program_mut(&mut kernel, &format!("{name}{suffix}"))?.load()?;
        }
        let mut take = |name: &str| kernel.take_map(name).context("no such map");
        Ok(Self {
            suffix,
            target: take("TARGET")?.try_into()?,
            mask: take("MASK")?.try_into()?,
            keys_v4: take("KEYS_V4")?.try_into()?,
            keys_v6: take("KEYS_V6")?.try_into()?,
            kernel,
        })
    }

    /// Uses as many of the addresses as are a power of two, in an order that is not theirs: bans may stand in that one.
    fn send_from(&mut self, addresses: &[IpAddr]) -> Result<()> {
        let most = addresses.len().min(KEYS);
        let count = 1_u32 << most.ilog2();
        // An odd factor reaches all of a power of two.
        let turned = (0..count).map(|index| index.wrapping_mul(0x9E37_79B1) & (count - 1));
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for index in turned {
            match addresses[index as usize] {
                IpAddr::V4(address) => v4.push(address.octets()),
                IpAddr::V6(address) => v6.push(address.octets()),
            }
        }
        let indices: Vec<u32> = (0..count).collect();
        let at = |some: usize| &indices[..some];
        Batch::new(self.keys_v4.map())?.write(at(v4.len()), &v4).1?;
        Batch::new(self.keys_v6.map())?.write(at(v6.len()), &v6).1?;
        Ok(self.mask.set(0, count - 1, 0)?)
    }

    /// Nanoseconds a packet with a program that does nothing.
    fn bare(&mut self, name: &str, family: u8, action: u32) -> Result<f64> {
        let name = format!("{name}{}", self.suffix);
        let fd = program(&self.kernel, &name)?.fd()?.try_clone()?;
        self.target.set(0, &fd, 0)?;
        self.time(family, action)
    }

    /// Nanoseconds a packet with `target`.
    fn run(&mut self, target: &Xdp, family: u8, action: u32) -> Result<f64> {
        self.target.set(0, target.fd()?, 0)?;
        self.time(family, action)
    }

    fn time(&self, family: u8, action: u32) -> Result<f64> {
        let source: IpAddr = match family {
            4 => Ipv4Addr::UNSPECIFIED.into(),
            _ => Ipv6Addr::UNSPECIFIED.into(),
        };
        let frame = packet::from(source, udp());
        let result =
            program(&self.kernel, &format!("drive{}", self.suffix))?.test_run(TestRunOptions {
                data_in: Some(&frame),
                repeat: PACKETS,
                ..TestRunOptions::default()
            })?;
        ensure!(
            result.return_value == action,
            "expected action {action}, found {}",
            result.return_value
        );
        Ok(result.duration.as_nanos() as f64)
    }
}
