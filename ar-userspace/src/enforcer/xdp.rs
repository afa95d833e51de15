//! Bans in eBPF maps that an XDP program obeys by itself.
//!
//! Maps and links are pinned, so that bans outlive the daemon until their time. A start adopts what is
//! pinned. This is the one place that knows aya and the map ABI.

mod address;
mod bans;
mod bpffs;
mod follow;
mod front;
mod inspection;
mod interface;
mod kernel;
mod links;
mod mirror;
mod pinned;
mod prefixes;
mod programs;
mod standing;
mod table;
mod totals;
mod tries;
mod upkeep;
mod version;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use ar_ebpf::place::{overflow_for, places_for};
use ar_ebpf::{ABI_VERSION, AddrV4, AddrV6, Ban, XDP_PROGRAM, XDP_PROGRAM_LINEAR, map};
use aya::maps::{Array, Map, MapData, MapInfo, PerCpuArray};
use aya::programs::{Program, ProgramError, Xdp as XdpProgram};
use aya::{Ebpf, EbpfLoader};

use super::{
    Condition, Enforced, Enforcer, Failure, Hold, Inspection, Leave, Links, Look, Place, Selection,
    Traffic,
};
use crate::ledger::Standing;
use crate::offender::{Offender, Prefix};
use crate::time::{KernelClock, Moment};
use address::Address;
pub use ar_ebpf::{DEFAULT_MAX_BANS, MAX_PREFIXES};
use follow::Plan;
pub use links::Mode;
pub use pinned::{inspect, let_in};
use programs::Programs;
use table::Table;
use totals::Totals;
use upkeep::Upkeep;
use version::Older;

/// The kernel program, as `cargo xtask build` made it; empty when this binary was built without it.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/arfw-xdp.o"));

/// Where pins stand unless told otherwise.
pub const DEFAULT_PIN_DIR: &str = "/sys/fs/bpf/arfw";

/// What the enforcer needs to know before it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Directory of the pins, on a BPF file system.
    pub pin_dir: PathBuf,
    /// Bans per address family that the maps are made for.
    pub max_bans: u32,
    /// Which way of attaching is wanted.
    pub mode: Mode,
    /// Interfaces to cover.
    pub interfaces: Selection,
}

/// The enforcer.
pub struct Xdp {
    programs: Programs,
    plan: Plan,
    pin_dir: PathBuf,
    state: State,
    upkeep: Upkeep,
}

/// The maps, whether the daemon holds them or somebody only looks.
struct State {
    v4: Table<AddrV4>,
    v6: Table<AddrV6>,
    totals: Totals,
    settings: Array<MapData, u32>,
    /// Whether a pass of inspection has done IPv4.
    v4_inspected: bool,
}

impl Xdp {
    /// Loads the program, adopts or makes the pinned maps, and attaches to the interfaces. Gives what the maps hold
    /// that is not over, in no order that means anything.
    ///
    /// # Errors
    ///
    /// When the binary holds no kernel program, the pins are of a version that is not known, the kernel refuses, or no
    /// interface at all could be covered, or one that is named is not there. Pins that this start has made are removed again.
    pub fn start(
        settings: &Settings,
        clock: KernelClock,
    ) -> anyhow::Result<(Self, Vec<(Offender, Standing)>)> {
        ensure!(
            !OBJECT.is_empty(),
            "this binary was built without the kernel program; build it by `cargo xtask build`"
        );
        let adopts = settings.pin_dir.exists();
        let started = Self::load_and_attach(settings, clock);
        if started.is_err() && !adopts {
            // Why the start failed is what has to be told; nobody is banned by these pins.
            let _ = release(&settings.pin_dir);
        }
        started
    }

    fn load_and_attach(
        settings: &Settings,
        clock: KernelClock,
    ) -> anyhow::Result<(Self, Vec<(Offender, Standing)>)> {
        let interfaces = interface::at_start(&settings.interfaces)?;
        bpffs::prepare(&settings.pin_dir)?;
        let older = version::check(&settings.pin_dir)?;
        if let Some(older) = &older {
            older.set_aside()?;
        }
        let older_room = older.as_ref().map(Older::room).transpose()?.flatten();
        let max_bans = settings.max_bans.max(older_room.unwrap_or(0));
        // Memory only as far as it is used, without a copy at each growth.
        let mut found = Vec::with_capacity(max_bans as usize);
        let mut kernel = load(&settings.pin_dir, max_bans)?;
        let mut abi = Array::<_, u32>::try_from(take(&mut kernel, map::ABI)?)?;
        let mut write_version = || {
            abi.set(0, ABI_VERSION, 0)
                .context("cannot write the version of the maps")
        };
        if older.is_none() {
            write_version()?;
        }
        let mut state = State {
            v4: adopt(&mut kernel, older.as_ref(), max_bans, clock, &mut found)?,
            v6: adopt(&mut kernel, older.as_ref(), max_bans, clock, &mut found)?,
            totals: Totals::adopt(
                PerCpuArray::try_from(take(&mut kernel, map::STATS)?)?,
                Array::try_from(take(&mut kernel, map::INTERFACES)?)?,
            )?,
            settings: Array::try_from(take(&mut kernel, map::SETTINGS)?)?,
            v4_inspected: false,
        };
        state.write_settings()?;
        let xdp = load_program(&mut kernel)?;
        // Not sooner: where the program is refused, the older version can go on.
        if older.as_ref().is_some_and(Older::is_adopted) {
            write_version()?;
        }
        if let Some(older) = &older {
            older.carry_over(&mut state.totals.stats)?;
        }
        let mut programs = Programs::new(kernel, xdp);
        let covered = links::cover(
            &mut programs,
            &settings.pin_dir,
            &interfaces,
            settings.mode,
            clock.moment(clock.now_nanos()),
        )?;
        state.totals.follow(&covered)?;
        if let Some(older) = older {
            older.let_go()?;
            write_version()?;
            older.told();
        }
        let xdp = Self {
            programs,
            plan: Plan {
                selection: settings.interfaces.clone(),
                mode: settings.mode,
            },
            pin_dir: settings.pin_dir.clone(),
            state,
            upkeep: Upkeep::new(&settings.pin_dir, covered)?,
        };
        Ok((xdp, found))
    }

    /// Bans that the maps have room for, of IPv4 and of IPv6 addresses.
    ///
    /// Pinned maps keep the size that they were made with.
    ///
    #[must_use]
    pub const fn room(&self) -> (u32, u32) {
        (self.state.v4.room(), self.state.v6.room())
    }
}

impl Enforcer for Xdp {
    fn name(&self) -> &'static str {
        "xdp"
    }

    fn hold(&mut self, wanted: &[Hold], clock: KernelClock) -> Vec<Failure> {
        let mut failures = Vec::new();
        for (place, Hold { offender, standing }) in wanted.iter().enumerate() {
            // New bans are written together. What comes later about one of them finds it written.
            let is_staged = match (wanted, standing) {
                ([_], _) | (_, None) => false,
                (_, Some(standing)) => self.state.stage(place, *offender, *standing, clock),
            };
            if is_staged {
                continue;
            }
            self.state.flush(&mut failures);
            if let Err(error) = self.state.hold(*offender, *standing, clock) {
                failures.push(Failure {
                    place,
                    cause: format!("{error:#}"),
                });
            }
        }
        self.state.flush(&mut failures);
        failures
    }

    fn allow(&mut self, networks: &[Prefix]) -> anyhow::Result<()> {
        self.state.v4.allow(networks)?;
        self.state.v6.allow(networks)?;
        self.state.write_settings()
    }

    fn enforced(&self, clock: KernelClock) -> anyhow::Result<Vec<Enforced>> {
        self.state.enforced(clock)
    }

    fn enforced_of(
        &self,
        offender: Offender,
        clock: KernelClock,
    ) -> anyhow::Result<Option<Enforced>> {
        match offender.addr() {
            IpAddr::V4(addr) => {
                let octets = addr.octets();
                let table = &self.state.v4;
                table.enforced_of(offender, AddrV4 { octets }, clock)
            }
            IpAddr::V6(addr) => {
                let octets = addr.octets();
                let table = &self.state.v6;
                table.enforced_of(offender, AddrV6 { octets }, clock)
            }
        }
    }

    fn inspect(&mut self, budget: usize, clock: KernelClock) -> anyhow::Result<Inspection> {
        self.state.inspect(budget, clock)
    }

    fn condition(&self) -> anyhow::Result<Condition> {
        Ok(Condition {
            places: self.upkeep.places(),
            totals: self.state.totals.by_outcome()?,
        })
    }

    fn traffic(&self) -> anyhow::Result<Vec<Traffic>> {
        self.state.totals.by_interface(&self.upkeep.covered)
    }

    fn look(&mut self) -> Look {
        self.upkeep.look();
        Look::AsBefore
    }

    fn follow_links(&mut self, links: Links, now: Moment) -> bool {
        if links == Links::AsKnown && !self.upkeep.is_behind() {
            return false;
        }
        let followed = self.upkeep.follow(&mut self.programs, &self.plan, now);
        let has_more = followed.unwrap_or_else(|error| {
            tracing::error!("interfaces that have come are not covered: {error:#}");
            false
        });
        if let Err(error) = self.state.totals.follow(&self.upkeep.covered) {
            tracing::error!("packets are not counted by interface: {error:#}");
        }
        has_more
    }

    fn close(self: Box<Self>, leave: Leave) -> anyhow::Result<()> {
        let Self {
            pin_dir, upkeep, ..
        } = *self;
        match leave {
            Leave::Bans => Ok(()),
            Leave::Nothing => {
                // A link that is held stays attached.
                drop(upkeep);
                release(&pin_dir)
            }
        }
    }
}

impl State {
    /// Keeps the ban of an address that nothing is held for, until [`State::flush`].
    fn stage(
        &mut self,
        place: usize,
        offender: Offender,
        standing: Standing,
        clock: KernelClock,
    ) -> bool {
        match offender.addr() {
            _ if !offender.is_host() => false,
            IpAddr::V4(addr) => {
                let octets = addr.octets();
                self.v4.stage(place, AddrV4 { octets }, standing, clock)
            }
            IpAddr::V6(addr) => {
                let octets = addr.octets();
                self.v6.stage(place, AddrV6 { octets }, standing, clock)
            }
        }
    }

    fn flush(&mut self, failures: &mut Vec<Failure>) {
        self.v4.flush(failures);
        self.v6.flush(failures);
    }

    fn hold(
        &mut self,
        offender: Offender,
        standing: Option<Standing>,
        clock: KernelClock,
    ) -> anyhow::Result<()> {
        match offender.addr() {
            _ if !offender.is_host() => {
                let prefix = offender.prefix();
                let held = if offender.addr().is_ipv4() {
                    self.v4.hold_prefix(prefix, standing, clock)
                } else {
                    self.v6.hold_prefix(prefix, standing, clock)
                };
                held.and(self.write_settings())
            }
            IpAddr::V4(addr) => {
                let octets = addr.octets();
                self.v4.hold(AddrV4 { octets }, standing, clock)
            }
            IpAddr::V6(addr) => {
                let octets = addr.octets();
                self.v6.hold(AddrV6 { octets }, standing, clock)
            }
        }
    }

    /// Tells the program for what it has to look.
    fn write_settings(&mut self) -> anyhow::Result<()> {
        let settings = self.v4.settings() | self.v6.settings();
        self.settings
            .set(0, settings, 0)
            .context("cannot write the settings of the program")
    }

    fn enforced(&self, clock: KernelClock) -> anyhow::Result<Vec<Enforced>> {
        let mut enforced = self.v4.enforced(clock)?;
        enforced.append(&mut self.v6.enforced(clock)?);
        Ok(enforced)
    }

    fn inspect(&mut self, budget: usize, clock: KernelClock) -> anyhow::Result<Inspection> {
        let mut inspection = Inspection::default();
        if !self.v4_inspected {
            self.v4_inspected = self.v4.inspect(budget, clock, &mut inspection)?;
            return Ok(inspection);
        }
        inspection.is_through = self.v6.inspect(budget, clock, &mut inspection)?;
        if inspection.is_through {
            self.v4_inspected = false;
            self.mend_settings()?;
        }
        Ok(inspection)
    }

    fn mend_settings(&mut self) -> anyhow::Result<()> {
        let found = self.settings.get(&0, 0);
        let found = found.context("cannot read the settings of the program")?;
        let settings = self.v4.settings() | self.v6.settings();
        if found == settings {
            return Ok(());
        }
        tracing::warn!(
            found,
            settings,
            "drift: somebody else changed the settings of the program, and they were put right"
        );
        self.write_settings()
    }
}

/// Removes every pin, and with the links the program from every interface. Nothing is banned afterwards.
///
/// # Errors
///
/// When a pin cannot be removed; the others are removed all the same.
pub fn release(pin_dir: &Path) -> anyhow::Result<()> {
    let detached = links::detach_all(pin_dir);
    bpffs::remove(pin_dir).and(detached)
}

fn load(pin_dir: &Path, max_bans: u32) -> anyhow::Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    for (name, like) in [
        (map::BANS_V4, map::BANS_V4),
        (map::DETAILS_V4, map::BANS_V4),
        (map::BANS_V6, map::BANS_V6),
    ] {
        let pin = bpffs::pin(pin_dir, like);
        // Of an array that is pinned, the library believes this, and refuses what lies beyond.
        let places = if pin.exists() {
            MapInfo::from_pin(&pin)?.max_entries()
        } else {
            places_for(max_bans)
        };
        loader.map_max_entries(name, places);
    }
    for name in [map::OVERFLOW_V4, map::OVERFLOW_V6] {
        loader.map_max_entries(name, overflow_for(max_bans));
    }
    for name in map::ALL {
        loader.map_pin_path(name, bpffs::pin(pin_dir, name));
    }
    loader
        .load(OBJECT)
        .context("cannot load the kernel program; are CAP_BPF and CAP_NET_ADMIN there?")
}

/// Loads the program for multi-buffer frames; before Linux 5.18 there is only the other one. Gives its name.
fn load_program(kernel: &mut Ebpf) -> anyhow::Result<&'static str> {
    let xdp = program::<XdpProgram>(kernel, XDP_PROGRAM)?;
    let Err(error) = xdp.load() else {
        return Ok(XDP_PROGRAM);
    };
    tracing::debug!("no multi-buffer frames: {error}");
    program::<XdpProgram>(kernel, XDP_PROGRAM_LINEAR)?
        .load()
        .context("the kernel refused the program")?;
    Ok(XDP_PROGRAM_LINEAR)
}

fn program<'k, P>(kernel: &'k mut Ebpf, name: &str) -> anyhow::Result<&'k mut P>
where
    &'k mut P: TryFrom<&'k mut Program, Error = ProgramError>,
{
    let program = kernel
        .program_mut(name)
        .with_context(|| format!("the kernel object has no program `{name}`"))?;
    Ok(program.try_into()?)
}

fn take(kernel: &mut Ebpf, name: &str) -> anyhow::Result<Map> {
    kernel
        .take_map(name)
        .with_context(|| format!("the kernel object has no map `{name}`"))
}

/// Takes the maps of one family over, with the bans of an older version.
fn adopt<A: Address>(
    kernel: &mut Ebpf,
    older: Option<&Older>,
    max_bans: u32,
    clock: KernelClock,
    found: &mut Vec<(Offender, Standing)>,
) -> anyhow::Result<Table<A>> {
    let older: Option<Vec<(A, Ban)>> = older.map(Older::bans).transpose()?.flatten();
    let take = |name: &str| take(kernel, name);
    Table::adopt(take, older.unwrap_or_default(), max_bans, clock, found)
}
