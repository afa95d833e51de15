//! Who is banned until when, and how often before: an event and `now` in; effects and the next deadline out.
//!
//! Pure: the daemon owns one ledger in one task, hands in time, and performs the effects.

use crate::config::Executable;
use crate::offender::Offender;
use crate::time::{Expiry, Moment};

/// One ban's key (AR-TIME-3). Ordered by offender first, so that all keys of one stand together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Who.
    pub offender: Offender,
    /// What enforces it.
    pub executable: Executable,
}

/// Something for an enforcer to perform. Performing it twice changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// Whose state changed.
    pub key: Key,
    /// How it changed.
    pub action: Action,
    /// What the kernel has to hold for the offender after it: the latest expiry over all its keys that
    /// the kernel enforces, `None` when nothing stands.
    pub standing: Option<Standing>,
}

/// How the state of one key changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was free and is banned.
    Ban {
        /// The end.
        until: Expiry,
    },
    /// It was banned and its end moved (AR-TIME-4).
    Move {
        /// The end from here on.
        until: Expiry,
    },
    /// It was banned and is free.
    Unban,
}

/// What the kernel holds for one offender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The latest end over the offender's keys.
    pub until: Expiry,
    /// When the oldest of them was banned.
    pub since: Moment,
    /// The rule of the key with the latest end.
    pub rule_id: u32,
}
