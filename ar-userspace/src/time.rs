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
