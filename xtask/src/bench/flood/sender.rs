//! Sends frames as fast as it can from one CPU, and tells what that took.
//!
//! A packet socket, bound to one interface: what is sent is on it as it is, with whatever source it says. Where
//! softirqs run in the context of the sender, their time is in the sender's.

use std::fs;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, bind, socket};
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};
use rustix::process::{Pid, setpriority_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use xtask::netns::Namespace;

use super::frame::Frame;

/// Frames of one call.
const BATCH: usize = 64;

/// An interface that frames go out of.
pub(super) struct Sender(OwnedFd);

/// What ends sending, whichever comes first.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    pub(super) packets: u64,
    pub(super) time: Duration,
}

/// What was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) packets: u64,
    pub(super) wall: Duration,
    /// Of the sending thread, and of the CPU's thread for softirqs that could not be done at once.
    pub(super) cpu: Duration,
}

impl Sender {
    /// Opens an interface of a namespace.
    pub(super) fn open(namespace: &Namespace, interface: &str) -> Result<Self> {
        let opened = namespace.run(|| Self::here(interface))?;
        opened.with_context(|| format!("cannot open {interface} for sending"))
    }

    fn here(interface: &str) -> Result<Self> {
        // Without a protocol it receives nothing.
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        let mut addresses = getifaddrs()?.filter(|one| one.interface_name == interface);
        let address = addresses.find_map(|one| one.address?.as_link_addr().copied());
        let address = address.context("the interface has no address of its link layer")?;
        bind(socket.as_raw_fd(), &address)?;
        Ok(Self(socket))
    }

    /// Sends frames from the calling thread, wherever it runs.
    pub(super) fn send_all(&self, frames: &[Frame], limit: Limit) -> Result<Sent> {
        self.send(frames, limit, None)
    }

    /// Sends the frames of `pool` round and round from a thread on `cpu`.
    pub(super) fn flood(&self, pool: &[Frame], limit: Limit, cpu: usize) -> Result<Sent> {
        let on_cpu = || -> Result<Sent> {
            pin(None, cpu)?;
            self.send(pool, limit, Some(cpu))
        };
        let joined = thread::scope(|scope| scope.spawn(on_cpu).join());
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn send(&self, pool: &[Frame], limit: Limit, cpu: Option<usize>) -> Result<Sent> {
        let slices: Vec<_> = pool.iter().map(|frame| [IoSlice::new(frame)]).collect();
        let mut nothing: Vec<_> = pool
            .iter()
            .map(|_| SendAncillaryBuffer::default())
            .collect();
        let messages = slices.iter().zip(&mut nothing);
        let mut messages: Vec<_> = messages
            .map(|(slice, nothing)| MMsgHdr::new(slice, nothing))
            .collect();
        let (mut sent, mut next) = (0, 0);
        let softirqs = cpu.map(softirqs_of).transpose()?;
        let cpu_time = || Ok::<_, anyhow::Error>(own_time() + time_of_all(&softirqs)?);
        let (start, before) = (Instant::now(), cpu_time()?);
        while sent < limit.packets && start.elapsed() < limit.time {
            let left = usize::try_from(limit.packets - sent).unwrap_or(usize::MAX);
            let end = (next + BATCH.min(left)).min(messages.len());
            let done = match sendmmsg(&self.0, &mut messages[next..end], SendFlags::empty()) {
                Ok(done) => done,
                // The other end's ring was full; the frame is gone, as it would be on a wire.
                Err(Errno::NOBUFS) => 1,
                Err(Errno::INTR) => 0,
                Err(error) => return Err(error).context("cannot send"),
            };
            sent += done as u64;
            next = (next + done) % messages.len();
        }
        Ok(Sent {
            packets: sent,
            wall: start.elapsed(),
            cpu: cpu_time()?.saturating_sub(before),
        })
    }
}

/// The first and the last CPU that this process may use.
pub(super) fn cpus() -> Result<(usize, usize)> {
    let set = sched_getaffinity(None).context("cannot ask for the CPUs")?;
    let allowed = || (0..CpuSet::MAX_CPU).filter(|&cpu| set.is_set(cpu));
    let ends = allowed().next().zip(allowed().next_back());
    ends.context("there is no CPU that this process may use")
}

/// Keeps a thread, or the calling one, on one CPU, before whatever else has work there.
///
/// All that are measured together are, so that others' work on the machine tells less.
pub(super) fn pin(thread: Option<Pid>, cpu: usize) -> Result<()> {
    const FIRST: i32 = -20;
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(thread, &set).with_context(|| format!("cannot stay on CPU {cpu}"))?;
    setpriority_process(thread, FIRST).context("cannot go before other work")
}

/// Time that the calling thread has spent on a CPU.
fn own_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// The kernel's thread for softirqs of one CPU, which does those that could not be done at once.
pub(super) fn softirqs_of(cpu: usize) -> Result<u32> {
    let name = format!("ksoftirqd/{cpu}");
    let pid = threads(|comm| comm == name)?.into_iter().next();
    pid.with_context(|| format!("there is no {name}"))
}

fn time_of_all(pids: &Option<u32>) -> Result<Duration> {
    pids.iter().map(|&pid| time_of(pid)).sum()
}

/// Time that a process of one thread has spent on a CPU.
pub(super) fn time_of(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/schedstat");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let first = text.split_whitespace().next();
    let nanos = first.and_then(|word| word.parse().ok());
    let nanos = nanos.with_context(|| format!("expected the time on a CPU first in {path}"))?;
    Ok(Duration::from_nanos(nanos))
}

/// Processes whose name is one of those that are wanted.
pub(super) fn threads(is_wanted: impl Fn(&str) -> bool) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|pid| pid.parse().ok()) else {
            continue;
        };
        // One that has ended meanwhile is none of them.
        let comm: io::Result<String> = fs::read_to_string(entry.path().join("comm"));
        if comm.is_ok_and(|comm| is_wanted(comm.trim_end())) {
            found.push(pid);
        }
    }
    Ok(found)
}
