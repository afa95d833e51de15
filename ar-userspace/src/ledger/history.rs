//! What is told of bans that are over: whose, why, until when, when it ended and how.
//!
//! An entry is made where the ban ends, in the same call that changes the key, so that both are stored together.

use std::collections::VecDeque;

use super::{Ban, Key};
use crate::time::{Clocks, Moment, Wall};

/// How a ban ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its time had come.
    Time,
    /// Somebody ended it.
    Hand {
        /// The user.
        uid: u32,
        /// The process; `None` when it could not be seen.
        pid: Option<i32>,
    },
    /// The white list has its address: since a reload, or since a start (AR-IMP-7).
    WhiteList,
    /// Its address must stay reachable.
    Protected,
    /// It goes on with another end, which has a reason of its own (AR-TIME-4).
    Moved,
    /// It could not be made (AR-IMP-5).
    Failed,
    /// The daemon stopped and released it (AR-TIME-9).
    Stop,
    /// It was made until it would be confirmed, and was not.
    NotConfirmed,
    /// It was confirmed, and goes on as the ban that was asked for.
    Confirmed {
        /// The user who confirmed it.
        uid: u32,
        /// The process; `None` when it could not be seen.
        pid: Option<i32>,
    },
    /// Somebody ended it, but did not confirm that: later on it stands again as it was.
    Lifted {
        /// The user.
        uid: u32,
        /// The process; `None` when it could not be seen.
        pid: Option<i32>,
    },
}

/// A ban that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past<T = Moment> {
    /// Whose.
    pub key: Key,
    /// As it stood until then.
    pub ban: Ban<T>,
    /// When it ended.
    pub at: T,
    /// How.
    pub end: End,
    /// Line of the section in the configuration; `None` where it is not known. The ledger knows none: the owner of
    /// the configuration adds it.
    pub line: Option<u32>,
}

/// The bans that ended last, oldest first, never more than [`History::MOST`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History<T = Moment> {
    entries: VecDeque<Past<T>>,
    forgotten: u64,
}

impl<T> Default for History<T> {
    fn default() -> Self {
        Self {
            entries: VecDeque::new(),
            forgotten: 0,
        }
    }
}

impl<T> History<T> {
    /// Entries that are kept at most.
    pub const MOST: usize = 100_000;

    /// None yet, after so many that went.
    #[must_use]
    pub fn after(forgotten: u64) -> Self {
        Self {
            forgotten,
            ..Self::default()
        }
    }

    /// Adds one that came later. The oldest goes when there are too many.
    pub fn push(&mut self, past: Past<T>) {
        if self.entries.len() >= Self::MOST {
            self.entries.pop_front();
            self.forgotten += 1;
        }
        self.entries.push_back(past);
    }

    /// Adds what came later.
    pub fn append(&mut self, later: Self) {
        if later.forgotten > 0 {
            // Those are younger than all that is here.
            self.forgotten += later.forgotten + self.entries.len() as u64;
            self.entries.clear();
        }
        for past in later.entries {
            self.push(past);
        }
    }

    /// Whether nothing ended.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.forgotten == 0
    }

    /// Entries that went for want of room, all of them older than those that are here.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &VecDeque<Past<T>> {
        &self.entries
    }

    /// The entries, to add to them what the ledger does not know.
    pub fn entries_mut(&mut self) -> impl Iterator<Item = &mut Past<T>> {
        self.entries.iter_mut()
    }
}

impl<T> FromIterator<Past<T>> for History<T> {
    fn from_iter<I: IntoIterator<Item = Past<T>>>(entries: I) -> Self {
        let mut history = Self::default();
        entries.into_iter().for_each(|past| history.push(past));
        history
    }
}

impl History {
    /// The same as a store keeps it.
    #[must_use]
    pub fn on_the_wall(self, clocks: Clocks) -> History<Wall> {
        let on_the_wall = |past: Past| Past {
            key: past.key,
            ban: past.ban.map(|moment| clocks.wall_at(moment)),
            at: clocks.wall_at(past.at),
            end: past.end,
            line: past.line,
        };
        History {
            forgotten: self.forgotten,
            entries: self.entries.into_iter().map(on_the_wall).collect(),
        }
    }
}
