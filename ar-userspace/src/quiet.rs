//! Who is to be left in peace, and until when: an operator asked that alerts about these lead to nothing on this host.
//!
//! Pure: times come in as arguments, and what a store has to write goes out as values. Nothing here ends a ban.
//!
//! A quiet time is over at its end, whether or not anybody has forgotten it since. One that is over is kept until
//! [`Quiets::forget`]: an alert that was raised while it lasted may be read later.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::offender::{Offender, Prefix};
use crate::time::{Clocks, Moment, Wall};

/// A quiet time of an address, or of every address of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quiet<T = Moment> {
    /// Whose.
    pub offender: Offender,
    /// When it was asked for.
    pub since: T,
    /// Its end: over at it.
    pub until: T,
    /// The user who asked.
    pub uid: u32,
    /// The process; `None` when it could not be seen.
    pub pid: Option<i32>,
    /// In the operator's words; may be empty.
    pub reason: Box<str>,
}

impl<T> Quiet<T> {
    fn map<U>(self, convert: impl Fn(T) -> U) -> Quiet<U> {
        Quiet {
            offender: self.offender,
            since: convert(self.since),
            until: convert(self.until),
            uid: self.uid,
            pid: self.pid,
            reason: self.reason,
        }
    }
}

impl Quiet {
    /// As a store keeps it.
    #[must_use]
    pub fn on_the_wall(self, clocks: Clocks) -> Quiet<Wall> {
        self.map(|moment| clocks.wall_at(moment))
    }

    fn is_over(&self, now: Moment) -> bool {
        self.until <= now
    }

    /// Whether an alert that was raised `at` and is read `now` leads to nothing.
    fn holds(&self, at: Moment, now: Moment) -> bool {
        !self.is_over(now) || self.since <= at && !self.is_over(at)
    }
}

impl Quiet<Wall> {
    /// As it goes on, also after a reboot.
    #[must_use]
    pub fn since_boot(self, clocks: Clocks) -> Quiet {
        self.map(|wall| clocks.moment_at(wall))
    }
}

impl fmt::Display for Quiet<Wall> {
    /// `quiet until 2026-11-24T07:00:00Z, as user 0 asked: maintenance`. The operator's words are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.until.as_nanos().div_euclid(1_000_000_000);
        f.write_str("quiet until ")?;
        match Timestamp::from_second(seconds) {
            Ok(until) => write!(f, "{until}")?,
            // Every wall time is one.
            Err(error) => write!(f, "{error}")?,
        }
        write!(f, ", as user {} asked", self.uid)?;
        match &*self.reason {
            "" => Ok(()),
            reason => write!(f, ": {}", reason.escape_debug()),
        }
    }
}

/// There are as many as may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = Quiets::MOST;
        write!(f, "{most} addresses and networks are quiet already")
    }
}

/// All quiet times of one host: at most one for an address or network.
#[derive(Debug, Default)]
pub struct Quiets {
    held: BTreeMap<Offender, Quiet>,
    /// How many there are of each family and length, so that only those are looked for.
    lengths: BTreeMap<(bool, u8), usize>,
    /// Those that a store has to be told of.
    changed: BTreeSet<Offender>,
}

impl Quiets {
    /// Quiet times that there are at most.
    pub const MOST: usize = 65_536;

    /// The longest quiet time: who is to be spared for longer belongs on the white list.
    pub const LONGEST: Duration = Duration::from_secs(30 * 86_400);

    /// Those that a store kept, of which a later one of an offender replaces an earlier. One that would begin in the
    /// future, as the wall clock was set back over a reboot, begins `now`, and is no longer than it was.
    #[must_use]
    pub fn restore(kept: impl IntoIterator<Item = Quiet>, now: Moment) -> Self {
        let mut quiets = Self::default();
        for mut quiet in kept {
            let offender = quiet.offender;
            let is_of_the_future = quiet.since > now;
            if is_of_the_future {
                quiet.until = now.after(quiet.until.since(quiet.since));
                quiet.since = now;
            }
            quiets.insert(quiet);
            if !is_of_the_future {
                // The store has it.
                quiets.changed.remove(&offender);
            }
        }
        quiets
    }

    /// Has a quiet time begin. One of the same address or network is replaced, whichever is later, and given.
    ///
    /// # Errors
    ///
    /// When there is no room for another, though those that are over have been forgotten.
    pub fn begin(&mut self, quiet: Quiet, now: Moment) -> Result<Option<Quiet>, Full> {
        if self.held.len() >= Self::MOST && !self.held.contains_key(&quiet.offender) {
            self.forget(now);
            if self.held.len() >= Self::MOST {
                return Err(Full);
            }
        }
        let before = self.insert(quiet);
        Ok(before.filter(|before| !before.is_over(now)))
    }

    /// Ends the quiet time of this address or network, but none that only holds it or stands in it.
    pub fn end(&mut self, offender: Offender, now: Moment) -> Option<Quiet> {
        let ended = self.remove(offender)?;
        (!ended.is_over(now)).then_some(ended)
    }

    /// Ends the quiet times of everything that stands in `network`, also its own.
    pub fn end_within(&mut self, network: Prefix, now: Moment) -> Vec<Quiet> {
        let from = self.held.range(Offender::network(network)..);
        let inside = from.map(|(&offender, _)| offender);
        let inside: Vec<Offender> = inside
            .take_while(|&offender| network.covers(offender))
            .collect();
        let ended = inside.into_iter();
        ended
            .filter_map(|offender| self.end(offender, now))
            .collect()
    }

    /// The quiet time that holds for all of `offender` at `now`: its own or that of a network, whichever lasts longest.
    #[must_use]
    pub fn of(&self, offender: Offender, now: Moment) -> Option<&Quiet> {
        self.of_alert(offender, now, now)
    }

    /// The same for an alert that was raised `at` and is read `now`: one that lasted then holds for it as well.
    #[must_use]
    pub fn of_alert(&self, offender: Offender, at: Moment, now: Moment) -> Option<&Quiet> {
        let own = offender.prefix();
        let family = own.addr().is_ipv4();
        let lengths = self.lengths.range((family, 0)..=(family, own.bits()));
        lengths
            .filter_map(|(&(_, bits), _)| Prefix::new(own.addr(), bits))
            .filter_map(|network| self.held.get(&Offender::network(network)))
            .filter(|quiet| quiet.holds(at, now))
            .max_by_key(|quiet| quiet.until)
    }

    /// Those that are not over at `now`, by address.
    pub fn lasting(&self, now: Moment) -> impl Iterator<Item = &Quiet> {
        self.held.values().filter(move |quiet| !quiet.is_over(now))
    }

    /// Forgets those that are over at `now`, and gives them.
    pub fn forget(&mut self, now: Moment) -> Vec<Quiet> {
        let over = self.held.values().filter(|quiet| quiet.is_over(now));
        let over: Vec<Offender> = over.map(|quiet| quiet.offender).collect();
        over.into_iter()
            .filter_map(|offender| self.remove(offender))
            .collect()
    }

    /// Has the store be told of all of them once more.
    pub fn touch(&mut self) {
        self.changed.extend(self.held.keys());
    }

    /// Those that changed since the last call, each once, with what it is by then; `None` for what is gone.
    pub fn drain_changes(&mut self) -> impl Iterator<Item = (Offender, Option<Quiet>)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        changed.map(|offender| (offender, self.held.get(&offender).cloned()))
    }

    fn insert(&mut self, quiet: Quiet) -> Option<Quiet> {
        let offender = quiet.offender;
        self.changed.insert(offender);
        let before = self.held.insert(offender, quiet);
        if before.is_none() {
            *self.lengths.entry(length(offender)).or_default() += 1;
        }
        before
    }

    fn remove(&mut self, offender: Offender) -> Option<Quiet> {
        let removed = self.held.remove(&offender)?;
        self.changed.insert(offender);
        if let Some(count) = self.lengths.get_mut(&length(offender)) {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&length(offender));
            }
        }
        Some(removed)
    }
}

fn length(offender: Offender) -> (bool, u8) {
    let prefix = offender.prefix();
    (prefix.addr().is_ipv4(), prefix.bits())
}
