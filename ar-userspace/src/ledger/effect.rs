//! What comes out of a ledger for enforcers to perform.

use crate::config::{Enforcement, Executable};
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
    /// Who has to act: the kernel by `standing`, a program by `action`.
    pub enforcement: Enforcement,
    /// How the key's state changed.
    pub action: Action,
    /// When it changed. For a ban: its `since`.
    pub at: Moment,
    /// What the kernel has to hold for the offender after it: the latest expiry over all its keys that
    /// the kernel enforces, `None` when nothing stands.
    pub standing: Option<Standing>,
    /// Whether `standing` is another than before. The kernel needs nothing done without it. When several
    /// keys of one offender change at once, all their effects tell the final standing and the first
    /// one of the kernel's carries the change; one of a program's never does.
    pub standing_changed: bool,
}

/// How the state of one key changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It was free and is banned.
    Ban {
        /// The end.
        until: Expiry,
    },
    /// It was banned and its end moved (AR-TIME-4). A program has nothing to do.
    Move {
        /// The end until here.
        from: Expiry,
        /// The end from here on.
        until: Expiry,
    },
    /// It was banned and is free.
    Unban,
    /// Its latest change could not be performed and did not happen (AR-IMP-5). The kernel is given what
    /// stands instead, a program has nothing to do. When this fails too, nothing follows.
    Retract {
        /// The end of the ban that stands; `None` when the key is free.
        until: Option<Expiry>,
    },
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
    /// Whether packets are only counted: no key asks for them to be dropped, or the whole host runs in shadow.
    pub shadow: bool,
}

impl Standing {
    /// Both at once: what stands longer, since the older of both; what drops alone, if only one of them does.
    pub(super) fn and(self, other: Self) -> Self {
        match (self.shadow, other.shadow) {
            (false, true) => return self,
            (true, false) => return other,
            _ => {}
        }
        let longer = if other.until > self.until {
            other
        } else {
            self
        };
        Self {
            since: self.since.min(other.since),
            ..longer
        }
    }
}
