//! What comes out of an event at once, for logs: what was decided, and at which place of the ladder.

use std::fmt;
use std::time::Duration;

use crate::time::Expiry;

/// What the ledger decided about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// The key was free and is banned.
    Banned {
        /// The end.
        until: Expiry,
        /// `None` without a timeout (AR-TIME-7).
        rung: Option<Rung>,
    },
    /// The key was banned and its end is another (AR-TIME-4), or the same once more.
    Moved {
        /// The end until here.
        from: Expiry,
        /// The end from here on.
        until: Expiry,
        /// `None` without a timeout, which made the ban permanent (AR-TIME-2).
        rung: Option<Rung>,
    },
    /// The key is banned for ever and stays so (AR-TIME-2).
    AlreadyPermanent {
        /// `None` without a timeout.
        rung: Option<Rung>,
    },
    /// The alert came so late that its ban would be over, or that a later one has set the end.
    OnlyCounted {
        /// Where it counted.
        rung: Rung,
    },
    /// The key is not banned, because there is no room (AR-IMP-9).
    Refused {
        /// What is full.
        limit: Limit,
        /// Where it counted all the same; `None` without a timeout or without room for the counter.
        rung: Option<Rung>,
    },
    /// An event that is no offence was taken.
    Done {
        /// Keys of which something changed.
        changed: usize,
    },
}

/// A place on the ladder of repeated offenders (AR-TIME-5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Which offence of the key it is, from 1.
    pub offence: u32,
    /// How long a ban lasts here.
    pub length: Duration,
    /// The offence counts as one with that before it (AR-IMP-10).
    pub debounced: bool,
}

/// A bound that was met (AR-IMP-9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// As many IPv4 offenders are banned as the kernel may hold.
    BansV4,
    /// As many IPv6 offenders are banned as the kernel may hold.
    BansV6,
    /// As many prefixes of the family are banned as the kernel may hold.
    Prefixes,
    /// As many keys are remembered as may be, and each of them is banned.
    Remembered,
    /// As many changes wait to be confirmed as may.
    Pending,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BansV4 => "the limit of IPv4 bans is reached",
            Self::BansV6 => "the limit of IPv6 bans is reached",
            Self::Prefixes => "the limit of banned prefixes is reached",
            Self::Pending => "the limit of changes that wait to be confirmed is reached",
            Self::Remembered => "the limit of remembered keys is reached and all are banned",
        })
    }
}
