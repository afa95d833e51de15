//! What goes into a ledger: its settings, and the events that change it.

use std::time::Duration;

use super::{ByHand, Effect, End, Key};
use crate::config::Executable;
use crate::offender::Offender;
use crate::policy::Offence;
use crate::time::{Expiry, Moment};

/// What an operator decides about a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Lengths of the second, third, ... ban of a key; the last one stays (AR-TIME-5). Empty: every
    /// ban takes the response's own timeout.
    pub repeated_offenders: Vec<Duration>,
    /// Bounds (AR-IMP-9).
    pub limits: Limits,
    /// How long a key has to be quiet for its counter to be forgotten (AR-IMP-10): neither an offence
    /// nor a ban. `None`, the default: never (AR-TIME-8).
    pub forgive_after: Option<Duration>,
    /// Offences of a key that are less than this apart count as one (AR-IMP-10). A burst counts once,
    /// however long it is; each of its offences still moves the ban. `None`, the default: every one
    /// counts (AR-TIME-6).
    pub debounce: Option<Duration>,
    /// Whether every ban only counts packets, whoever decided it.
    pub shadow: bool,
}

/// How much a ledger holds (AR-IMP-9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// IPv4 offenders that the kernel holds at once, whatever the number of their keys.
    pub bans_v4: usize,
    /// The same for IPv6.
    pub bans_v6: usize,
    /// Prefixes of one family that the kernel holds at once.
    pub prefixes: usize,
    /// Keys that are remembered at once, banned or only counted.
    pub remembered: usize,
}

impl Limits {
    /// For a kernel that has room for so many addresses. As many keys can be remembered as it can hold offenders, so that
    /// none is refused while there is room for it.
    #[must_use]
    pub fn with_room(bans_v4: usize, bans_v6: usize) -> Self {
        let usual = Self::default();
        Self {
            bans_v4,
            bans_v6,
            remembered: usual.remembered.max(bans_v4 + bans_v6 + 2 * usual.prefixes),
            ..usual
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bans_v4: 131_072,
            bans_v6: 131_072,
            prefixes: 131_072,
            remembered: 1_000_000,
        }
    }
}

/// Everything that changes a ledger, apart from time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A response fired.
    Offence {
        /// What fired, and for whom.
        offence: Offence,
        /// When the alert was raised: `now`, or earlier for one that is read late. The ban lasts from
        /// here. A time after `now` is taken for `now`.
        at: Moment,
    },
    /// An effect could not be performed (AR-IMP-5): its ban does not count as made, its offence does.
    Failed(Effect),
    /// What performed an effect found out that there was no ban to make for its key: it is taken back and not told.
    NotMade(Effect),
    /// The kernel holds a ban that the ledger does not know.
    Adopt(Adoption),
    /// Somebody bans by hand. It counts as no offence.
    Ban(HandBan),
    /// Somebody bans by hand and wants it taken back at a time, unless he confirms it before.
    Propose {
        /// What it is from then on, as `Ban` would be at this time. Its end must be later than `confirm_by`, or the same.
        ban: HandBan,
        /// Under which key it stands until then: one that nothing else bans under.
        key: Key,
        /// When it is taken back.
        confirm_by: Moment,
    },
    /// Somebody ends the kernel's bans of an offender and wants that taken back at a time, unless he confirms it before.
    Lift {
        /// Whose bans.
        offender: Offender,
        /// The user.
        uid: u32,
        /// The process; `None` when it could not be seen.
        pid: Option<i32>,
        /// When they stand again, those that are not over.
        confirm_by: Moment,
    },
    /// Somebody confirms changes that wait for it.
    Confirm {
        /// Whose.
        whom: Whom,
        /// The user.
        uid: u32,
        /// The process; `None` when it could not be seen.
        pid: Option<i32>,
    },
    /// Bans end before their time, and why. Counters stay.
    Unban(Whom, End),
    /// Somebody clears counters (AR-TIME-8). Bans stay.
    Forgive(Whom),
    /// New settings: running bans keep their ends.
    Settings(Settings),
    /// An orderly stop (AR-TIME-9). Counters stay. What waits to be confirmed is taken back.
    Stop(OnStop),
}

/// A ban as it was found in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adoption {
    /// Whose it shall be. The kernel knows no executable: the finder names one.
    pub key: Key,
    /// When it was made.
    pub since: Moment,
    /// Its end. One that is over is not adopted.
    pub until: Expiry,
    /// The rule that the kernel keeps with it; 0 when there is none.
    pub rule_id: u32,
}

/// A ban that an operator asks for, or whoever else decides it without an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandBan {
    /// Whose it shall be: an address or a prefix, and the name under which it is made.
    pub key: Key,
    /// Its end: that of a ban of this key that runs already is replaced, whichever is later.
    pub until: Expiry,
    /// Who asks, and why.
    pub by: ByHand,
}

/// Whose bans or counters an operator means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whom {
    /// One key.
    Key(Key),
    /// Every key of one offender.
    Offender(Offender),
    /// Every key there is: takes time in proportion.
    Everyone,
}

impl Whom {
    /// Whether a key of the right offender is meant.
    pub(super) fn names(&self, executable: &Executable) -> bool {
        match self {
            Self::Key(key) => key.executable == *executable,
            Self::Offender(_) | Self::Everyone => true,
        }
    }
}

/// What an orderly stop releases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnStop {
    /// Timed bans that a program has to reverse: what the kernel ends by itself opens no gap, and a
    /// permanent ban stays.
    #[default]
    ReleasePrograms,
    /// Every ban.
    ReleaseAll,
}
