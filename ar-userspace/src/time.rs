//! Points in time and ends of bans, with arithmetic that cannot overflow.
//!
//! Nothing here reads a clock: `clock` does, and hands the result in as a [`Moment`].

use std::time::Duration;

/// A point on the boot-time clock (CLOCK_BOOTTIME), which counts suspend and never steps.
///
/// 64 bits of nanoseconds last 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    since_boot_ns: u64,
}

impl Moment {
    /// The moment `since_boot_ns` nanoseconds after boot.
    #[must_use]
    pub const fn from_nanos(since_boot_ns: u64) -> Self {
        Self { since_boot_ns }
    }

    /// Nanoseconds after boot.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.since_boot_ns
    }

    /// The moment `by` later; the last one there is when the sum does not fit.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        let by_ns = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        Self {
            since_boot_ns: self.since_boot_ns.saturating_add(by_ns),
        }
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.since_boot_ns.saturating_sub(earlier.since_boot_ns))
    }
}

/// The end of a ban. `Never` orders after every moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expiry {
    /// The ban stands before this moment and is over at it.
    At(Moment),
    /// The ban is permanent (AR-TIME-2).
    Never,
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
            behind_ns: now.since_boot_ns.saturating_sub(monotonic_ns),
        }
    }

    /// What the kernel's clock showed when the relation was taken.
    #[must_use]
    pub const fn now_nanos(self) -> u64 {
        self.now_ns
    }

    /// What the kernel's clock shows at `moment`, provided that there is no suspend until then.
    #[must_use]
    pub const fn nanos(self, moment: Moment) -> u64 {
        moment.since_boot_ns.saturating_sub(self.behind_ns)
    }

    /// The moment at which the kernel's clock shows `nanos`.
    #[must_use]
    pub const fn moment(self, nanos: u64) -> Moment {
        Moment::from_nanos(nanos.saturating_add(self.behind_ns))
    }
}

/// How the wall clock stands to moments, for what is stored and shown. Nanoseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallClock {
    now: Moment,
    unix_ns: u64,
}

impl WallClock {
    /// The relation at `now`, when the wall clock shows `unix_ns`.
    #[must_use]
    pub const fn new(now: Moment, unix_ns: u64) -> Self {
        Self { now, unix_ns }
    }

    /// The moment at which the relation was taken.
    #[must_use]
    pub const fn now(self) -> Moment {
        self.now
    }

    /// Wall time at `moment`, in nanoseconds since 1970.
    #[must_use]
    pub const fn unix_ns(self, moment: Moment) -> u64 {
        if moment.since_boot_ns >= self.now.since_boot_ns {
            self.unix_ns
                .saturating_add(moment.since_boot_ns - self.now.since_boot_ns)
        } else {
            self.unix_ns
                .saturating_sub(self.now.since_boot_ns - moment.since_boot_ns)
        }
    }

    /// The moment at wall time `unix_ns`; the first one for times before boot.
    #[must_use]
    pub const fn moment(self, unix_ns: u64) -> Moment {
        if unix_ns >= self.unix_ns {
            Moment::from_nanos(
                self.now
                    .since_boot_ns
                    .saturating_add(unix_ns - self.unix_ns),
            )
        } else {
            Moment::from_nanos(
                self.now
                    .since_boot_ns
                    .saturating_sub(self.unix_ns - unix_ns),
            )
        }
    }
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
}
