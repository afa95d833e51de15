//! The two ends of `cargo xtask bench flood` that need programs in the kernel: one that drops every packet on an
//! interface, and one that sends frames as a network card brings them. Nothing here is a test.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aya::maps::Array;
use aya::programs::xdp::XdpMode;
use aya::programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// Frames of one call to the kernel, whose preparations they share.
const CALL: u32 = 16_384;

/// Frames that are on their way at the same time, as many as an interface takes at once.
const BATCH: u32 = 64;

/// Puts the program of `object`, that of `cargo xtask bench`, on an interface in native mode, until it is dropped.
///
/// # Errors
///
/// When the kernel or the interface takes no such program.
pub fn drop_all(object: &Path, interface: &str) -> Result<Ebpf> {
    let mut kernel = load(object, 1)?;
    let program = program(&mut kernel, "bare_drop")?;
    program
        .attach(interface, XdpMode::Driver)
        .with_context(|| format!("attaching to {interface}"))?;
    Ok(kernel)
}

/// Sends the frames of a file out of an interface, without the kernel's stack on this side.
#[derive(Debug)]
pub struct Sender {
    kernel: Ebpf,
    frame: Vec<u8>,
}

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Frames.
    pub packets: u64,
    /// As long as the kernel was sending, without its preparations, which take longer.
    pub wall: Duration,
    /// What this thread spent, with all that ran in its context.
    pub cpu: Duration,
}

impl Sender {
    /// Loads what sends. `pool` is a file of frames of UDP over IPv4, each of `length` bytes, that differ in their sources;
    /// from here on this thread stays on `cpu` and goes before others.
    ///
    /// # Errors
    ///
    /// When they are not a power of two, there is no such interface, or the kernel refuses something.
    pub fn load(
        object: &Path,
        interface: &str,
        pool: &Path,
        length: usize,
        cpu: usize,
    ) -> Result<Self> {
        const SOURCE: usize = 26;
        const FIRST: i32 = -20;
        let frames = fs::read(pool).with_context(|| format!("reading {}", pool.display()))?;
        let frames: Vec<&[u8]> = frames.chunks_exact(length).collect();
        ensure!(
            frames.len().is_power_of_two(),
            "expected a power of two of frames, found {}",
            frames.len()
        );
        let count = u32::try_from(frames.len())?;
        let mut kernel = load(object, count)?;
        let mut keys = array::<[u8; 4]>(&mut kernel, "KEYS_V4")?;
        for (index, frame) in (0..).zip(&frames) {
            let source = frame.get(SOURCE..).and_then(<[u8]>::first_chunk);
            keys.set(index, source.context("a frame is too short")?, 0)?;
        }
        array::<u32>(&mut kernel, "MASK")?.set(0, count - 1, 0)?;
        let out = nix::net::if_::if_nametoindex(interface);
        let out = out.with_context(|| format!("looking for {interface}"))?;
        array::<u32>(&mut kernel, "OUT")?.set(0, out, 0)?;
        program(&mut kernel, "flood")?;
        let mut set = CpuSet::new();
        set.set(cpu);
        sched_setaffinity(None, &set)?;
        setpriority_process(None, FIRST)?;
        let frame = frames[0].to_vec();
        Ok(Self { kernel, frame })
    }

    /// Sends so many, unless the time is over before.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn send(&self, packets: u64, time: Duration) -> Result<Sent> {
        let flood: &Xdp = self
            .kernel
            .program("flood")
            .context("no `flood`")?
            .try_into()?;
        let own_time = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime));
        let (start, before) = (Instant::now(), own_time()?);
        let (mut sent, mut wall) = (0, Duration::ZERO);
        while sent < packets && start.elapsed() < time {
            let call = CALL.min(u32::try_from(packets - sent).unwrap_or(CALL));
            let run = flood.test_run(TestRunOptions {
                data_in: Some(&self.frame),
                repeat: call,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH.min(call)),
                ..TestRunOptions::default()
            })?;
            sent += u64::from(call);
            wall += run.duration * call;
        }
        Ok(Sent {
            packets: sent,
            wall,
            cpu: own_time()? - before,
        })
    }
}

/// Loads the maps of `object`, with room for so many sources.
fn load(object: &Path, sources: u32) -> Result<Ebpf> {
    let mut loader = EbpfLoader::new();
    loader.map_max_entries("KEYS_V4", sources);
    loader.map_max_entries("KEYS_V6", 1);
    loader
        .load_file(object)
        .with_context(|| format!("loading {}", object.display()))
}

fn program<'k>(kernel: &'k mut Ebpf, name: &str) -> Result<&'k mut Xdp> {
    let program = kernel.program_mut(name);
    let program: &mut Xdp = program
        .with_context(|| format!("no program `{name}`"))?
        .try_into()?;
    program.load()?;
    Ok(program)
}

fn array<'k, V: aya::Pod>(
    kernel: &'k mut Ebpf,
    name: &str,
) -> Result<Array<&'k mut aya::maps::MapData, V>> {
    let map = kernel.map_mut(name);
    Ok(Array::try_from(
        map.with_context(|| format!("no map `{name}`"))?,
    )?)
}
