//! Makes bans true: `xdp` and `nftables` in the kernel, `dry_run` in words only, behind one small trait; `exec` runs
//! executables.
//!
//! What has to stand is decided before it comes here. Holding it twice changes nothing.
//! `exec` and `sockets` are none of the trait: what they do comes later.

pub mod dry_run;
pub mod exec;
pub mod nftables;
mod selection;
pub mod sockets;
pub mod xdp;

use std::time::Duration;

use crate::ledger::Standing;
use crate::offender::{Offender, Prefix};
use crate::time::{KernelClock, Moment};
pub use selection::{Pattern, Selection};

/// Something that bans.
pub trait Enforcer {
    /// Word for logs and `arfw status`.
    fn name(&self) -> &'static str;

    /// How far apart the end that was wanted and the one that is read back may be, and be the same.
    ///
    /// Ends are converted from clock to clock at different times; a backend may keep them more coarsely yet.
    fn grain(&self) -> Duration {
        Duration::from_millis(1)
    }

    /// Holds for each offender exactly what is wanted, in their order, and returns what failed. One
    /// failure stops no other.
    fn hold(&mut self, wanted: &[Hold], clock: KernelClock) -> Vec<Failure>;

    /// Lets bans of prefixes leave exactly these networks alone, whatever was so before.
    ///
    /// # Errors
    ///
    /// When a network could not be written; those before it are.
    fn allow(&mut self, networks: &[Prefix]) -> anyhow::Result<()>;

    /// What is enforced at the moment, with counters; in no order that means anything.
    ///
    /// # Errors
    ///
    /// When the state cannot be read.
    fn enforced(&self, clock: KernelClock) -> anyhow::Result<Vec<Enforced>>;

    /// Whether it can count the packets of a ban without dropping them. One that cannot is given no such ban.
    fn counts_in_shadow(&self) -> bool {
        true
    }

    /// The same of one offender; `None` when nothing stands for it itself.
    ///
    /// # Errors
    ///
    /// When the state cannot be read.
    fn enforced_of(
        &self,
        offender: Offender,
        clock: KernelClock,
    ) -> anyhow::Result<Option<Enforced>> {
        let mut all = self.enforced(clock)?.into_iter();
        Ok(all.find(|enforced| enforced.offender == offender))
    }

    /// Looks at up to `budget` more entries, as they are at this moment; a pass looks at each entry that has
    /// been there all the time at least once. What ought to stand there is the caller's to know.
    ///
    /// # Errors
    ///
    /// When the state cannot be read.
    fn inspect(&mut self, budget: usize, clock: KernelClock) -> anyhow::Result<Inspection>;

    /// How the enforcer stands: places, totals, bounds.
    ///
    /// # Errors
    ///
    /// When the state cannot be read.
    fn condition(&self) -> anyhow::Result<Condition>;

    /// Packets by interface. None where they are not counted so.
    ///
    /// # Errors
    ///
    /// When the state cannot be read.
    fn traffic(&self) -> anyhow::Result<Vec<Traffic>> {
        Ok(Vec::new())
    }

    /// Looks whether it still stands in the way of packets, mends what it can, and says what has changed.
    /// Wants to be asked every second or so.
    fn look(&mut self) -> Look;

    /// Covers interfaces that have come, and lets go those that have gone or got a name that is not wanted; a few of them,
    /// and whether there may be more. Wants to be asked at every change, and every second or so as well.
    fn follow_links(&mut self, links: Links, now: Moment) -> bool;

    /// Ends the work: `Keep` leaves what ends by itself at its time, `Release` leaves nothing.
    ///
    /// # Errors
    ///
    /// When something could not be removed; everything else is removed all the same.
    fn close(self: Box<Self>, leave: Leave) -> anyhow::Result<()>;
}

/// What has to stand for one offender. Holding it twice changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Who.
    pub offender: Offender,
    /// Until when, since when, by which rule; `None` when the offender is to be free.
    pub standing: Option<Standing>,
}

/// Something that could not be held, for a cause that is told in one line.
#[derive(Debug)]
pub struct Failure {
    /// Place among those handed in.
    pub place: usize,
    /// What was being done, and why it failed.
    pub cause: String,
}

/// What a look found of the bans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// As they were, as far as a look tells.
    AsBefore,
    /// Somebody else took them away with all around them, which is made again, but for the bans: they are to be held
    /// once more.
    Lost,
}

/// What is known of the interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// One may have come, gone or changed.
    Changed,
    /// Nobody has said so.
    AsKnown,
}

/// What an enforcer leaves behind when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Bans stand until their time (AR-TIME-9).
    Bans,
    /// Nothing at all.
    Nothing,
}

/// One address as it is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// Who.
    pub offender: Offender,
    /// Until when, since when, by which rule.
    pub standing: Standing,
    /// What was dropped.
    pub counters: Counters,
    /// When the last packet was; `None` when there was none, and when the backend does not tell.
    pub last_seen: Option<Moment>,
}

/// One step of a pass over all that is enforced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// What was looked at. There may be none although the pass is not through.
    pub seen: Vec<Seen>,
    /// What is nobody's ban, and was put right by the enforcer itself.
    pub mended: Vec<Mended>,
    /// Whether the pass is through; the next step begins another.
    pub is_through: bool,
}

/// An allowed network that somebody else has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mended {
    /// It was gone, and is allowed again.
    PutBack(Prefix),
    /// Nobody here has allowed it, and it is not allowed any more.
    Removed(Prefix),
}

/// One offender as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who.
    pub offender: Offender,
    /// What stands there.
    pub presence: Presence,
}

/// What stands for one offender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Nothing.
    Missing,
    /// An entry whose end has come, so that nothing is dropped.
    Over,
    /// A ban.
    Standing(Standing),
}

/// Packets of one offender since the ban began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// How an enforcer stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Where it stands in the way of packets.
    pub places: Vec<Place>,
    /// Packets and bytes by what the kernel program found out about them, all interfaces together.
    pub totals: Vec<(&'static str, Counters)>,
}

/// Packets that came in at one interface, or at all that are not told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traffic {
    /// Name of the interface, or `other`.
    pub interface: String,
    /// Dropped, their source being banned.
    pub dropped: Counters,
    /// All others.
    pub passed: Counters,
}

/// One interface, or all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the interface.
    pub interface: String,
    /// How it is covered, or that it is not: `native`, `generic`, `tcx`, `nftables`, `none`.
    pub mode: &'static str,
    /// Why not in a better way; empty when it is the best.
    pub why: String,
    /// Since when; `None` when it is not covered.
    pub since: Option<Moment>,
}

impl Place {
    /// Says in the log how it stands.
    pub fn tell(&self) {
        let (interface, mode) = (&self.interface, self.mode);
        match (mode, self.why.as_str()) {
            ("none", why) => tracing::error!(%interface, why, "not covered"),
            (_, "") => tracing::info!(%interface, mode, "covered"),
            (_, why) => tracing::warn!(%interface, mode, why, "covered"),
        }
    }
}
