//! The kernel program in the real kernel, without an interface: its maps, and one packet at a time.
//!
//! Packets run by BPF_PROG_TEST_RUN, which refuses frames below the 14 bytes of an Ethernet header. Each
//! [`Kernel`] has maps of its own, pinned nowhere, so tests may run side by side.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use anyhow::Context as _;
use ar_ebpf::place::{overflow_for, places_for};
use ar_ebpf::{
    AddrV4, AddrV6, Ban, FrontBit, NEVER, Outcome, TCX_PROGRAM, Total, XDP_PROGRAM,
    XDP_PROGRAM_LINEAR, map, slot,
};
use arfw::enforcer::xdp::OBJECT;
use aya::maps::{Array, MapData, MapInfo, PerCpuArray};
use aya::programs::{Program, SchedClassifier, TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use rustix::time::{ClockId, clock_gettime};

use super::bans::{BansV4, BansV6};

/// Bans per family that the maps of a [`Kernel`] have room for.
pub const MAX_BANS: u32 = 4096;

/// The arrays that are as large as there are places.
const ARRAYS: [&str; 3] = [map::BANS_V4, map::BANS_V6, map::DETAILS_V4];

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const TCX_DROP: u32 = 2;
/// `TCX_NEXT`, -1.
const TCX_NEXT: u32 = u32::MAX;

/// A loaded program and its maps.
pub struct Kernel {
    ebpf: Ebpf,
    program: &'static str,
    bans_v4: BansV4,
    bans_v6: BansV6,
    front_v4: Array<MapData, u64>,
    front_v6: Array<MapData, u64>,
    prefix_fronts: [Array<MapData, u64>; 2],
    stats: PerCpuArray<MapData, Total>,
}

impl Kernel {
    /// Loads the program for multi-buffer frames.
    ///
    /// # Errors
    ///
    /// Says so when this process may not load programs; also when the kernel refuses this one.
    pub fn load() -> anyhow::Result<Self> {
        Self::load_program(XDP_PROGRAM)
    }

    /// Loads the program for single buffers.
    ///
    /// # Errors
    ///
    /// As [`Kernel::load`].
    pub fn load_linear() -> anyhow::Result<Self> {
        Self::load_program(XDP_PROGRAM_LINEAR)
    }

    /// Loads the program for the TCX hook.
    ///
    /// # Errors
    ///
    /// As [`Kernel::load`].
    pub fn load_tcx() -> anyhow::Result<Self> {
        Self::load_program(TCX_PROGRAM)
    }

    fn load_program(program: &'static str) -> anyhow::Result<Self> {
        Self::try_load_program(program).map_err(|error| {
            let refused = error.chain().any(|cause| {
                cause
                    .downcast_ref::<io::Error>()
                    .is_some_and(|cause| cause.kind() == io::ErrorKind::PermissionDenied)
            });
            if refused {
                error.context(
                    "loading BPF programs is not permitted: this test needs root, or the capabilities \
                     BPF, NET_ADMIN and PERFMON",
                )
            } else {
                error
            }
        })
    }

    fn try_load_program(program: &'static str) -> anyhow::Result<Self> {
        Self::with(EbpfLoader::new(), places_for(MAX_BANS), program)
    }

    fn with(
        mut loader: EbpfLoader<'_>,
        places: u32,
        program: &'static str,
    ) -> anyhow::Result<Self> {
        for name in ARRAYS {
            loader.map_max_entries(name, places);
        }
        for name in [map::OVERFLOW_V4, map::OVERFLOW_V6] {
            loader.map_max_entries(name, overflow_for(MAX_BANS));
        }
        let mut ebpf = loader.load(OBJECT).context("loading the object")?;
        let loaded = ebpf
            .program_mut(program)
            .with_context(|| format!("no program `{program}` in the object"))?;
        match loaded {
            Program::SchedClassifier(tcx) => tcx.load(),
            other => <&mut Xdp>::try_from(other)?.load(),
        }
        .with_context(|| format!("loading `{program}`"))?;
        let mut take = |name: &str| {
            ebpf.take_map(name)
                .with_context(|| format!("no map `{name}` in the object"))
        };
        Ok(Self {
            bans_v4: BansV4::new(&mut take)?,
            bans_v6: BansV6::new(&mut take)?,
            front_v4: take(map::FRONT_V4)?.try_into()?,
            front_v6: take(map::FRONT_V6)?.try_into()?,
            prefix_fronts: [
                take(map::PREFIX_FRONT_V4)?.try_into()?,
                take(map::PREFIX_FRONT_V6)?.try_into()?,
            ],
            stats: take(map::STATS)?.try_into()?,
            ebpf,
            program,
        })
    }

    /// Loads the program on the maps that are pinned in `pin_dir`.
    ///
    /// # Errors
    ///
    /// As [`Kernel::load`].
    pub fn load_on(pin_dir: &Path) -> anyhow::Result<Self> {
        let mut loader = EbpfLoader::new();
        for name in map::ALL {
            loader.map_pin_path(name, pin_dir.join(name.to_lowercase()));
        }
        let pin = pin_dir.join(map::BANS_V4.to_lowercase());
        let places = MapInfo::from_pin(pin)?.max_entries();
        Self::with(loader, places, XDP_PROGRAM)
    }

    /// Whether it is the program for the TCX hook.
    #[must_use]
    pub fn is_tcx(&self) -> bool {
        self.program == TCX_PROGRAM
    }

    /// Bans `addr`: the entry, and its bit in the front bitmap.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the entry.
    pub fn ban(&mut self, addr: IpAddr, ban: Ban) -> anyhow::Result<()> {
        match addr {
            IpAddr::V4(v4) => self.bans_v4.insert(key_v4(v4), ban)?,
            IpAddr::V6(v6) => self.bans_v6.insert(key_v6(v6), ban)?,
        }
        self.set_front(addr)
    }

    /// Removes the entry of `addr`, and leaves the front bitmap as it is.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn unban(&mut self, addr: IpAddr) -> anyhow::Result<()> {
        match addr {
            IpAddr::V4(v4) => self.bans_v4.remove(key_v4(v4)),
            IpAddr::V6(v6) => self.bans_v6.remove(key_v6(v6)),
        }
    }

    /// Bans `addr` as [`Kernel::ban`], but in the overflow, as though both its buckets were full.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the entry.
    pub fn ban_in_overflow(&mut self, addr: IpAddr, ban: Ban) -> anyhow::Result<()> {
        match addr {
            IpAddr::V4(v4) => self.bans_v4.insert_in_overflow(key_v4(v4), ban)?,
            IpAddr::V6(v6) => self.bans_v6.insert_in_overflow(key_v6(v6), ban)?,
        }
        self.set_front(addr)
    }

    /// Sets the front bit of `addr`.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn set_front(&mut self, addr: IpAddr) -> anyhow::Result<()> {
        let (front, bits) = self.front_of(addr);
        for bit in bits {
            let word = front.get(&bit.word(), 0)?;
            front.set(bit.word(), word | bit.mask(), 0)?;
        }
        Ok(())
    }

    /// Clears one front bit of `addr` and sets all others of its word.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn clear_only(&mut self, addr: IpAddr, bit: FrontBit) -> anyhow::Result<()> {
        let (front, _) = self.front_of(addr);
        front.set(bit.word(), !bit.mask(), 0)?;
        Ok(())
    }

    /// The front bits of `addr`.
    pub fn front_bits(&mut self, addr: IpAddr) -> Vec<FrontBit> {
        self.front_of(addr).1
    }

    /// How many words of the front bitmaps, and of those of prefixes, have a bit set.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the look-up.
    pub fn front_words(&self) -> anyhow::Result<(usize, usize)> {
        let set = |fronts: [&Array<MapData, u64>; 2]| -> anyhow::Result<usize> {
            let mut set = 0;
            for word in fronts.into_iter().flat_map(Array::iter) {
                set += usize::from(word? != 0);
            }
            Ok(set)
        };
        Ok((
            set([&self.front_v4, &self.front_v6])?,
            set(self.prefix_fronts.each_ref())?,
        ))
    }

    fn front_of(&mut self, addr: IpAddr) -> (&mut Array<MapData, u64>, Vec<FrontBit>) {
        match addr {
            IpAddr::V4(v4) => (&mut self.front_v4, vec![FrontBit::of_v4(key_v4(v4))]),
            IpAddr::V6(v6) => (&mut self.front_v6, FrontBit::of_v6(key_v6(v6)).into()),
        }
    }

    /// What the map holds for `addr`.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the look-up.
    pub fn banned(&self, addr: IpAddr) -> anyhow::Result<Option<Ban>> {
        match addr {
            IpAddr::V4(v4) => self.bans_v4.get(key_v4(v4)),
            IpAddr::V6(v6) => self.bans_v6.get(key_v6(v6)),
        }
    }

    /// Sums the totals of all CPUs, in the order of [`Outcome::ALL`].
    ///
    /// # Errors
    ///
    /// When the kernel refuses the look-up.
    pub fn totals(&self) -> anyhow::Result<[Total; Outcome::ALL.len()]> {
        let mut totals = [Total::default(); Outcome::ALL.len()];
        for (total, outcome) in totals.iter_mut().zip(Outcome::ALL) {
            for slot in 0..slot::COUNT {
                for cpu in self.stats.get(&slot::index(slot, outcome), 0)?.iter() {
                    total.packets += cpu.packets;
                    total.bytes += cpu.bytes;
                }
            }
        }
        Ok(totals)
    }

    /// Runs one packet and returns its outcome.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the frame, which must have 14 bytes; when not exactly one total moved by
    /// one packet of the frame's length; when the action is not the outcome's.
    pub fn run(&self, frame: &[u8]) -> anyhow::Result<Outcome> {
        let options = TestRunOptions {
            data_in: Some(frame),
            ..TestRunOptions::default()
        };
        self.run_with(options, frame.len())
    }

    /// Runs one packet whose first buffer holds `first` bytes, at least 14, and the next ones the rest;
    /// `counted` bytes of it are expected in the totals.
    ///
    /// # Errors
    ///
    /// As [`Kernel::run`]; and before Linux 6.18, which is the first that takes such a packet.
    pub fn run_split(&self, frame: &[u8], first: u32, counted: usize) -> anyhow::Result<Outcome> {
        // `struct xdp_md`: the second word is the end of the first buffer.
        let context = [0, first, 0, 0, 0, 0].map(u32::to_ne_bytes).concat();
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        self.run_with(options, counted)
            .context("running a packet in two buffers, for which Linux 6.18 is needed")
    }

    /// Runs one packet and tells whether it is dropped; others may run packets over the same maps.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the frame.
    pub fn drops(&self, frame: &[u8]) -> anyhow::Result<bool> {
        let options = TestRunOptions {
            data_in: Some(frame),
            ..TestRunOptions::default()
        };
        Ok(self.action(options)? == self.actions().0)
    }

    /// Runs `frame` `times` over and looks at nothing.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the frame.
    pub fn repeat(&self, frame: &[u8], times: u32) -> anyhow::Result<()> {
        self.action(TestRunOptions {
            data_in: Some(frame),
            repeat: times,
            ..TestRunOptions::default()
        })?;
        Ok(())
    }

    fn run_with(&self, options: TestRunOptions<'_>, bytes: usize) -> anyhow::Result<Outcome> {
        let before = self.totals()?;
        let action = self.action(options)?;
        let after = self.totals()?;
        let counted = Total {
            packets: 1,
            bytes: u64::try_from(bytes)?,
        };
        let mut moved = Outcome::ALL
            .into_iter()
            .filter(|outcome| difference(&before, &after, *outcome) != Total::default());
        let outcome = moved.next().context("no total moved")?;
        anyhow::ensure!(moved.next().is_none(), "more than one total moved");
        let difference = difference(&before, &after, outcome);
        anyhow::ensure!(
            difference == counted,
            "{outcome:?} moved by {difference:?}, and {counted:?} ran"
        );
        let (drop, pass) = self.actions();
        let expected = if outcome == Outcome::Banned {
            drop
        } else {
            pass
        };
        anyhow::ensure!(action == expected, "{outcome:?} led to action {action}");
        Ok(outcome)
    }

    fn action(&self, options: TestRunOptions<'_>) -> anyhow::Result<u32> {
        let program = self.ebpf.program(self.program);
        let program = program.context("the program was loaded")?;
        let result = if self.program == TCX_PROGRAM {
            <&SchedClassifier>::try_from(program)?.test_run(options)?
        } else {
            <&Xdp>::try_from(program)?.test_run(options)?
        };
        Ok(result.return_value)
    }

    /// What the hook is told to drop a packet, and to let it go on.
    fn actions(&self) -> (u32, u32) {
        match self.program {
            TCX_PROGRAM => (TCX_DROP, TCX_NEXT),
            _ => (XDP_DROP, XDP_PASS),
        }
    }
}

/// A ban that ends at `expires_at_ns` of CLOCK_MONOTONIC and has met no packet.
#[must_use]
pub fn ban_until(expires_at_ns: u64) -> Ban {
    Ban {
        expires_at_ns,
        packets: 0,
        bytes: 0,
        last_seen_ns: 0,
        banned_at_ns: 1,
        rule_id: 5712,
        flags: 0,
    }
}

/// A ban that does not end, with more `flags` of [`ar_ebpf::flag`].
#[must_use]
pub fn ban_for_good(flags: u32) -> Ban {
    Ban {
        flags: ar_ebpf::flag::PERMANENT | flags,
        ..ban_until(NEVER)
    }
}

/// CLOCK_MONOTONIC in nanoseconds.
#[must_use]
pub fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// The clock that the program reads: CLOCK_MONOTONIC as of the last tick, in nanoseconds.
#[must_use]
pub fn coarse_ns() -> u64 {
    nanoseconds(ClockId::MonotonicCoarse)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let part = |part: i64| u64::try_from(part).expect("the clock starts at boot");
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

/// The key of an address.
#[must_use]
pub fn key_v4(addr: std::net::Ipv4Addr) -> AddrV4 {
    AddrV4 {
        octets: addr.octets(),
    }
}

/// The key of an address.
#[must_use]
pub fn key_v6(addr: std::net::Ipv6Addr) -> AddrV6 {
    AddrV6 {
        octets: addr.octets(),
    }
}

fn difference(before: &[Total], after: &[Total], outcome: Outcome) -> Total {
    let index = outcome.index() as usize;
    Total {
        packets: after[index].packets - before[index].packets,
        bytes: after[index].bytes - before[index].bytes,
    }
}
