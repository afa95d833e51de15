//! Interfaces that come, go and change their names while the daemon runs.
//!
//! An interface is known by its index, so that one which is back under its name is another, and one with a new name is
//! the same. None is let go because it is missing in a list: the kernel is asked for it alone.

use std::mem;

use super::interface::{self, Interface};
use super::links::{self, Mode};
use super::programs::Programs;
use super::upkeep::{Covered, Upkeep};
use crate::enforcer::Selection;
use crate::time::Moment;

/// Interfaces that are covered or let go before others have their turn.
const AT_ONCE: usize = 4;

const GONE: &str = "the interface is gone; it is covered as soon as it is back";
const TAKEN_OFF: &str = "somebody took the program off it";

/// What is to be covered, and how.
pub(super) struct Plan {
    pub(super) selection: Selection,
    pub(super) mode: Mode,
}

impl Upkeep {
    /// Whether an interface that is there is not covered, and may be when that is tried.
    pub(super) fn is_behind(&self) -> bool {
        self.covered.iter().any(|covered| {
            let (Some(index), Some(link)) = (covered.index, &covered.link) else {
                return covered.index.is_some() && covered.tried_up.is_none();
            };
            !link.is_on(index)
        })
    }

    /// Covers what has come, lets go what has gone or is not to be covered under its new name, and says so. Whether
    /// there is more to do: the kernel takes its time for each, and bans wait meanwhile.
    ///
    /// # Errors
    ///
    /// When the interfaces cannot be listed; everything stays as it was.
    pub(super) fn follow(
        &mut self,
        programs: &mut Programs,
        plan: &Plan,
        now: Moment,
    ) -> anyhow::Result<bool> {
        let there = interface::all()?;
        let mut left = AT_ONCE;
        self.covered.retain_mut(|covered| {
            let is_covered = covered.link.is_some();
            let stays = left == 0 || stays(covered, &there, &plan.selection);
            left -= usize::from(is_covered && covered.link.is_none());
            stays
        });
        // The name of one that was waited for is another's now.
        let present: Vec<String> = self.covered.iter().filter_map(Covered::present).collect();
        self.covered
            .retain(|it| it.index.is_some() || !present.contains(&it.place.interface));
        for interface in there.iter().filter(|it| it.is_in(&plan.selection)) {
            if self.covered.iter().any(|it| it.is_settled(interface)) {
                continue;
            }
            if left == 0 {
                break;
            }
            let fresh = links::cover_one(programs, &self.pin_dir, interface, plan.mode, now);
            // What is to be tried again later has cost nothing.
            left -= usize::from(fresh.tried_up.is_some());
            let mut rows = self.covered.iter_mut();
            let old = rows.find(|old| old.is_of(interface));
            let told = old.as_ref().map(|old| old.place.why.as_str());
            if fresh.link.is_some() || told != Some(&fresh.place.why) {
                fresh.place.tell();
            }
            match old {
                Some(old) => *old = fresh,
                None => self.covered.push(fresh),
            }
        }
        Ok(left == 0)
    }
}

impl Covered {
    /// Its name, when it is there.
    fn present(&self) -> Option<String> {
        self.index.map(|_| self.place.interface.clone())
    }

    /// Whether there is nothing to do for the interface.
    fn is_settled(&self, interface: &Interface) -> bool {
        let same = self.index == Some(interface.index);
        same && (self.link.is_some() || self.tried_up == Some(interface.is_up))
    }

    /// Whether it is that interface, or the one that was waited for under its name.
    fn is_of(&self, interface: &Interface) -> bool {
        let awaited = self.index.is_none() && self.place.interface == interface.name;
        self.index == Some(interface.index) || awaited
    }

    /// Takes the program off.
    fn let_go(&mut self, why: &str) {
        let detached = self.link.take().map(super::upkeep::Link::detach);
        if let Some(Err(error)) = detached {
            tracing::error!(
                interface = self.place.interface,
                "cannot take the program off: {error:#}"
            );
        }
        self.place.mode = "none";
        self.place.since = None;
        why.clone_into(&mut self.place.why);
        self.tried_up = None;
    }
}

/// Brings one up to date; whether it is still to be covered.
fn stays(covered: &mut Covered, there: &[Interface], selection: &Selection) -> bool {
    let Some(index) = covered.index else {
        return true;
    };
    let Some(interface) = there.iter().find(|interface| interface.index == index) else {
        return interface::is_there(index) || is_awaited(covered, selection);
    };
    let old = mem::replace(&mut covered.place.interface, interface.name.clone());
    if old != interface.name {
        tracing::info!(interface = interface.name, old, "has another name");
        if !interface.is_in(selection) {
            covered.place.interface = old;
            return is_awaited(covered, selection);
        }
    }
    if covered.link.as_ref().is_some_and(|link| !link.is_on(index)) {
        tracing::error!(
            interface = interface.name,
            "NOT COVERED ANY MORE: {TAKEN_OFF}"
        );
        covered.let_go(TAKEN_OFF);
    }
    true
}

/// Lets go an interface that is not there under its name any more; whether it is waited for.
fn is_awaited(covered: &mut Covered, selection: &Selection) -> bool {
    let is_awaited = selection.names(&covered.place.interface);
    covered.let_go(GONE);
    covered.index = None;
    let interface = &covered.place.interface;
    if is_awaited {
        tracing::error!(%interface, "NOT COVERED ANY MORE: {GONE}");
    } else {
        tracing::info!(%interface, "let go: there is no interface to cover under this name any more");
    }
    is_awaited
}
