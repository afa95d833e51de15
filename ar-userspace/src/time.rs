//! Points in time and ends of bans, with arithmetic that cannot overflow.
//!
//! Nothing here reads a clock: `clock` does, and hands the result in as a [`Moment`].

mod spans;

use std::time::Duration;

pub use spans::Spans;

/// A point on the boot-time clock (CLOCK_BOOTTIME), which counts suspend and never steps.
///
/// Moments before boot exist too: a counter that was saved before a reboot keeps its age. 63 bits of
/// nanoseconds last 292 years either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    since_boot_ns: i64,
}

impl Moment {
    /// The first moment there is.
    pub const MIN: Self = Self {
        since_boot_ns: i64::MIN,
    };

    /// The last moment there is.
    pub const MAX: Self = Self {
        since_boot_ns: i64::MAX,
    };

    /// The moment `since_boot_ns` nanoseconds after boot; the last one there is when that is later.
    #[must_use]
    pub const fn from_nanos(since_boot_ns: u64) -> Self {
        if since_boot_ns > i64::MAX.cast_unsigned() {
            return Self::MAX;
        }
        Self {
            since_boot_ns: since_boot_ns.cast_signed(),
        }
    }

    /// Nanoseconds after boot; 0 for a moment before it.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        if self.since_boot_ns < 0 {
            return 0;
        }
        self.since_boot_ns.cast_unsigned()
    }

    /// The moment `by` later; the last one there is when the sum does not fit.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self {
            since_boot_ns: self.since_boot_ns.saturating_add_unsigned(whole_nanos(by)),
        }
    }

    /// The moment `by` earlier; the first one there is when the difference does not fit.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        Self {
            since_boot_ns: self.since_boot_ns.saturating_sub_unsigned(whole_nanos(by)),
        }
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        if self.since_boot_ns <= earlier.since_boot_ns {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.since_boot_ns.abs_diff(earlier.since_boot_ns))
    }
}

/// A point on the wall clock (CLOCK_REALTIME): what a store keeps, because it survives a reboot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall {
    since_1970_ns: i64,
}

impl Wall {
    /// The time `since_1970_ns` nanoseconds after the beginning of 1970 in UTC.
    #[must_use]
    pub const fn from_nanos(since_1970_ns: i64) -> Self {
        Self { since_1970_ns }
    }

    /// Nanoseconds after the beginning of 1970 in UTC.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.since_1970_ns
    }
}

/// One instant read on both clocks: what converts the times of one into times of the other.
///
/// A conversion there and back with the same pair gives the same time; one that does not fit stops at
/// the first or the last time there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    /// The instant on the boot-time clock.
    pub moment: Moment,
    /// The same instant on the wall clock.
    pub wall: Wall,
}

impl Clocks {
    /// What the wall clock shows at `moment`.
    #[must_use]
    pub fn wall_at(self, moment: Moment) -> Wall {
        let apart = i128::from(self.wall.since_1970_ns) - i128::from(self.moment.since_boot_ns);
        Wall {
            since_1970_ns: saturated(i128::from(moment.since_boot_ns) + apart),
        }
    }

    /// The moment at which the wall clock shows `wall`.
    #[must_use]
    pub fn moment_at(self, wall: Wall) -> Moment {
        let apart = i128::from(self.moment.since_boot_ns) - i128::from(self.wall.since_1970_ns);
        Moment {
            since_boot_ns: saturated(i128::from(wall.since_1970_ns) + apart),
        }
    }
}

/// One boot of the machine, and when it was by the wall clock: what makes stored wall times moments again.
///
/// Within one boot the conversion stays the one that the times were stored with, wherever the wall clock has been
/// set since: a step of it moves no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The kernel's random number for it; 0 when that is not known, and then it is like no other.
    pub id: u128,
    /// The wall clock's time at the beginning of the boot-time clock.
    pub at: Wall,
}

impl Boot {
    /// From this on a change of a clock is one; less lies between two readings that belong together.
    pub const STEP: Duration = Duration::from_millis(500);

    /// The boot in which both clocks were read.
    #[must_use]
    pub fn of(id: u128, clocks: Clocks) -> Self {
        let at = clocks.wall_at(Moment::default());
        Self { id, at }
    }

    /// What converts: `now` on both clocks.
    #[must_use]
    pub fn clocks(self, now: Moment) -> Clocks {
        let booted = Clocks {
            moment: Moment::default(),
            wall: self.at,
        };
        Clocks {
            moment: now,
            wall: booted.wall_at(now),
        }
    }

    /// How to read what was stored: as it was written when that was in this boot, else by today's wall clock.
    #[must_use]
    pub fn reading(self, stored: Option<Self>) -> Self {
        match stored {
            Some(stored) if stored.id == self.id && self.id != 0 => stored,
            _ => self,
        }
    }

    /// By how many nanoseconds the wall clock was set forward, or back when below 0, since `earlier` was read;
    /// `None` when it was not set.
    #[must_use]
    pub fn step_since(self, earlier: Self) -> Option<i64> {
        let step = self
            .at
            .since_1970_ns
            .saturating_sub(earlier.at.since_1970_ns);
        (Duration::from_nanos(step.unsigned_abs()) >= Self::STEP).then_some(step)
    }
}

/// The end of a ban, on the boot-time clock unless told otherwise. `Never` orders after every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expiry<T = Moment> {
    /// The ban stands before this time and is over at it.
    At(T),
    /// The ban is permanent (AR-TIME-2).
    Never,
}

impl<T> Expiry<T> {
    /// The same end on another clock.
    #[must_use]
    pub fn map<U>(self, convert: impl FnOnce(T) -> U) -> Expiry<U> {
        match self {
            Self::At(end) => Expiry::At(convert(end)),
            Self::Never => Expiry::Never,
        }
    }
}

impl Expiry {
    /// Whether a ban with this end is over at `now`.
    #[must_use]
    pub fn is_over(self, now: Moment) -> bool {
        match self {
            Self::At(end) => end <= now,
            Self::Never => false,
        }
    }

    /// Time left at `now`: zero when over, `None` when it never ends.
    #[must_use]
    pub fn left(self, now: Moment) -> Option<Duration> {
        match self {
            Self::At(end) => Some(end.since(now)),
            Self::Never => None,
        }
    }
}

/// How the kernel program's clock (CLOCK_MONOTONIC) stands to moments: behind by the time in suspend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelClock {
    now_ns: u64,
    behind_ns: u64,
}

impl KernelClock {
    /// The relation at `now`, when the kernel's clock shows `monotonic_ns`.
    #[must_use]
    pub const fn new(now: Moment, monotonic_ns: u64) -> Self {
        Self {
            now_ns: monotonic_ns,
            behind_ns: now.as_nanos().saturating_sub(monotonic_ns),
        }
    }

    /// What the kernel's clock showed when the relation was taken.
    #[must_use]
    pub const fn now_nanos(self) -> u64 {
        self.now_ns
    }

    /// How long the machine has slept since boot.
    #[must_use]
    pub const fn slept(self) -> Duration {
        Duration::from_nanos(self.behind_ns)
    }

    /// What the kernel's clock shows at `moment`, provided that there is no suspend until then; 0 for a
    /// moment before it started.
    #[must_use]
    pub const fn nanos(self, moment: Moment) -> u64 {
        moment.as_nanos().saturating_sub(self.behind_ns)
    }

    /// The moment at which the kernel's clock shows `nanos`.
    #[must_use]
    pub const fn moment(self, nanos: u64) -> Moment {
        Moment::from_nanos(nanos.saturating_add(self.behind_ns))
    }
}

fn whole_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn saturated(ns: i128) -> i64 {
    i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ban_is_over_at_its_end_and_not_before() {
        let end = Moment::from_nanos(100);
        assert!(!Expiry::At(end).is_over(Moment::from_nanos(99)));
        assert!(Expiry::At(end).is_over(end));
        assert!(!Expiry::Never.is_over(Moment::from_nanos(u64::MAX)));
        assert!(Expiry::At(Moment::from_nanos(u64::MAX)) < Expiry::Never);
    }

    #[test]
    fn sums_that_do_not_fit_stop_at_the_last_moment() {
        let last = Moment::from_nanos(u64::MAX);
        assert_eq!(Moment::from_nanos(5).after(Duration::MAX), last);
        assert_eq!(Moment::from_nanos(5).since(last), Duration::ZERO);
    }

    #[test]
    fn moments_before_boot_keep_their_distance() {
        let hour = Duration::from_secs(3600);
        let before_boot = Moment::from_nanos(5).before(hour);
        assert_eq!(before_boot.as_nanos(), 0);
        assert_eq!(before_boot.after(hour), Moment::from_nanos(5));
        assert_eq!(Moment::from_nanos(5).since(before_boot), hour);
        assert_eq!(
            Moment::MAX.since(Moment::MIN),
            Duration::from_nanos(u64::MAX)
        );
        assert_eq!(Moment::MIN.before(hour), Moment::MIN);
    }

    #[test]
    fn both_clocks_convert_there_and_back() {
        let clocks = Clocks {
            moment: Moment::from_nanos(1_000),
            wall: Wall::from_nanos(1_700_000_000_000_000_000),
        };
        let earlier = Wall::from_nanos(1_600_000_000_000_000_000);
        assert_eq!(clocks.wall_at(clocks.moment_at(earlier)), earlier);
        assert!(clocks.moment_at(earlier) < Moment::default());
        assert_eq!(clocks.wall_at(Moment::MAX), Wall::from_nanos(i64::MAX));
        assert_eq!(clocks.moment_at(Wall::from_nanos(i64::MIN)), Moment::MIN);
        assert_eq!(
            Expiry::At(clocks.wall).map(|wall| clocks.moment_at(wall)),
            Expiry::At(clocks.moment)
        );
    }

    const DAY_NS: i64 = 86_400_000_000_000;

    fn wall(days: i64) -> Wall {
        Wall::from_nanos(1_700_000_000_000_000_000 + days * DAY_NS)
    }

    #[test]
    fn in_one_boot_a_step_of_the_wall_clock_moves_no_stored_time() {
        let moment = Moment::from_nanos(600_000_000_000);
        let wall_now = |days| Clocks {
            moment,
            wall: wall(days),
        };
        let stored = Boot::of(1, wall_now(0));
        let end = moment.after(Duration::from_secs(600));
        let on_disk = stored.clocks(moment).wall_at(end);
        for days in [-400, -3, -1, 0, 1, 3, 400] {
            let today = Boot::of(1, wall_now(days));
            let reading = today.reading(Some(stored));
            assert_eq!(
                reading.clocks(moment).moment_at(on_disk),
                end,
                "{days} days"
            );
            let step = (days != 0).then_some(days * DAY_NS);
            assert_eq!(today.step_since(stored), step);
        }
    }

    #[test]
    fn after_a_reboot_the_wall_clock_is_all_there_is() {
        let stored = Boot::of(
            1,
            Clocks {
                moment: Moment::from_nanos(500),
                wall: wall(0),
            },
        );
        let today = Boot::of(
            2,
            Clocks {
                moment: Moment::from_nanos(7),
                wall: wall(1),
            },
        );
        assert_eq!(today.reading(Some(stored)), today);
        assert_eq!(today.reading(None), today);
        assert_eq!(
            today.clocks(Moment::from_nanos(7)).moment_at(wall(1)),
            Moment::from_nanos(7)
        );
        // Two boots that nothing is known of are not the same one.
        let unknown = Boot { id: 0, ..today };
        let stored = Boot { id: 0, ..stored };
        assert_eq!(unknown.reading(Some(stored)), unknown);
    }

    #[test]
    fn readings_that_belong_together_are_no_step() {
        let boot = |at| Boot {
            id: 1,
            at: Wall::from_nanos(at),
        };
        let limit = 500_000_000;
        assert_eq!(boot(limit - 1).step_since(boot(0)), None);
        assert_eq!(boot(0).step_since(boot(limit - 1)), None);
        assert_eq!(boot(limit).step_since(boot(0)), Some(limit));
        assert_eq!(boot(0).step_since(boot(limit)), Some(-limit));
        assert_eq!(boot(i64::MAX).step_since(boot(i64::MIN)), Some(i64::MAX));
    }

    #[test]
    fn the_kernels_clock_stands_still_while_the_machine_sleeps() {
        let hour = Duration::from_secs(3600);
        let now = Moment::from_nanos(1_000);
        let before = KernelClock::new(now, 1_000);
        let woken = KernelClock::new(now.after(hour), 1_000);
        assert_eq!((before.slept(), woken.slept()), (Duration::ZERO, hour));
        // An end in two hours is one hour away on either clock after an hour of sleep.
        let end = now.after(2 * hour);
        assert_eq!(woken.nanos(end), before.nanos(end.before(hour)));
        assert_eq!(woken.moment(woken.nanos(end)), end);
    }
}
