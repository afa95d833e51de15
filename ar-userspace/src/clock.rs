//! The only reader of clocks: the moment, the kernel's clock beside it, wall time, and an alarm.
//!
//! Moments are CLOCK_BOOTTIME, which counts suspend and is never stepped. The maps hold
//! CLOCK_MONOTONIC, as that is what the kernel program can read cheaply. Wall time serves people and
//! the store only, so that a step of it changes no running ban.
//!
//! `ARFW_TEST_CLOCKS` names a file of two numbers, which are added to what the kernel tells: seconds by which the
//! wall clock was set forward (back, when below 0), and seconds that the machine slept, which both clocks count. It is read at each reading,
//! so that a test steps the clocks of one process and leaves the machine's alone. Without it nothing is added.

use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::net::unix::pipe;

use crate::time::{Boot, Clocks, KernelClock, Moment, Wall};

/// The variable that names the file of [`Shift`].
const SHIFTED_BY: &str = "ARFW_TEST_CLOCKS";

/// The file of [`Shift`]; `None` outside tests.
static SHIFT_FILE: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os(SHIFTED_BY).map(PathBuf::from));

/// The present moment.
#[must_use]
pub fn now() -> Moment {
    Moment::from_nanos(read_ns(ClockId::Boottime)).after(shift().slept)
}

/// The kernel program's clock, as far as it lags behind [`now`]: it stands still in suspend.
///
/// Read anew for each batch of effects. The moment is read first, so that the instant between the two
/// readings makes a ban end later, never earlier.
#[must_use]
pub fn kernel_clock() -> KernelClock {
    let now = now();
    KernelClock::new(now, read_ns(ClockId::Monotonic))
}

/// The moment and the wall clock's time at it, for what is stored and shown.
#[must_use]
pub fn clocks() -> Clocks {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
    let Shift { wall_s, slept } = shift();
    let slept_s = i64::try_from(slept.as_secs()).unwrap_or(i64::MAX);
    let tv_sec = tv_sec.saturating_add(wall_s).saturating_add(slept_s);
    let since_1970_ns = tv_sec.saturating_mul(1_000_000_000).saturating_add(tv_nsec);
    Clocks {
        moment: now(),
        wall: Wall::from_nanos(since_1970_ns),
    }
}

/// This boot of the machine, by `clocks`. Where the kernel does not tell its number it is like no other.
#[must_use]
pub fn boot(clocks: Clocks) -> Boot {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    let digits = id.unwrap_or_default().trim().replace('-', "");
    Boot::of(u128::from_str_radix(&digits, 16).unwrap_or(0), clocks)
}

/// What a test adds to the clocks; what to tell about it at the start.
#[must_use]
pub fn warning() -> Option<String> {
    let file = SHIFT_FILE.as_deref()?.display();
    Some(format!(
        "the clocks are not the machine's: {SHIFTED_BY} is `{file}`"
    ))
}

/// What a test adds to the clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shift {
    wall_s: i64,
    slept: Duration,
}

/// Microseconds on the monotonic clock, in which a service manager counts.
#[must_use]
pub fn monotonic_us() -> u64 {
    read_ns(ClockId::Monotonic) / 1_000
}

fn shift() -> Shift {
    let Some(file) = &*SHIFT_FILE else {
        return Shift::default();
    };
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut numbers = text
        .split_whitespace()
        .map(|number| number.parse().unwrap_or(0));
    let mut next = || numbers.next().unwrap_or(0_i64);
    Shift {
        wall_s: next(),
        slept: Duration::from_secs(next().max(0).unsigned_abs()),
    }
}

fn read_ns(id: ClockId) -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(id);
    // Neither clock that is read here can be negative.
    u64::try_from(tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(tv_nsec).unwrap_or(0)
}

/// Wakes once at a moment; set again for each deadline.
///
/// A timer of the kernel on CLOCK_BOOTTIME: exact to microseconds, and due at once after a suspend
/// that passed the deadline.
#[derive(Debug)]
pub struct Alarm {
    // Not a pipe, but read like one: the runtime waits for any descriptor in the same way.
    timer: pipe::Receiver,
    /// By the machine's own clock.
    set_to: Option<Moment>,
}

impl Alarm {
    /// Makes an alarm that is not set. Must be called within a runtime.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the timer or the runtime cannot wait for it.
    pub fn new() -> io::Result<Self> {
        let timer = timerfd_create(
            TimerfdClockId::Boottime,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        Ok(Self {
            timer: pipe::Receiver::from_owned_fd_unchecked(timer)?,
            set_to: None,
        })
    }

    /// Sets the alarm to `deadline`, or clears it. A deadline in the past is due at once.
    ///
    /// # Errors
    ///
    /// When the kernel refuses the time.
    pub fn set(&mut self, deadline: Option<Moment>) -> io::Result<()> {
        let deadline = deadline.map(|deadline| deadline.before(shift().slept));
        if self.set_to == deadline {
            return Ok(());
        }
        // All zero would clear the timer, so the first nanosecond stands for the zeroth.
        let ns = deadline.map_or(0, |deadline| deadline.as_nanos().max(1));
        let value = Timespec {
            tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(ns % 1_000_000_000).unwrap_or(0),
        };
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: value,
        };
        timerfd_settime(self.timer.as_fd(), TimerfdTimerFlags::ABSTIME, &once)?;
        self.set_to = deadline;
        Ok(())
    }

    /// Waits until the alarm rings. Safe to drop and call again: no ring is lost.
    ///
    /// # Errors
    ///
    /// When the timer cannot be read.
    pub async fn ring(&mut self) -> io::Result<()> {
        loop {
            self.timer.readable().await?;
            match self.timer.try_read(&mut [0; 8]) {
                Ok(_) => {
                    self.set_to = None;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn the_alarm_rings_at_its_moment_and_never_before() {
        let mut alarm = Alarm::new().unwrap();
        let deadline = now().after(Duration::from_millis(20));
        alarm.set(Some(deadline)).unwrap();
        alarm.ring().await.unwrap();
        assert!(now() >= deadline);
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_deadline_in_the_past_rings_at_once() {
        let mut alarm = Alarm::new().unwrap();
        alarm.set(Some(Moment::from_nanos(0))).unwrap();
        alarm.ring().await.unwrap();
    }

    #[test]
    fn the_kernel_clock_gives_the_moment_back() {
        let clock = kernel_clock();
        let later = now().after(Duration::from_secs(600));
        assert_eq!(clock.moment(clock.nanos(later)), later);
    }
}
