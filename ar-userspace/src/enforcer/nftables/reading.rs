//! What stands in a table: its sets, its rules, its bans, read whole.

use std::collections::BTreeMap;

use rustix::io::Errno;

use super::element;
use super::layout::{self, Set};
use super::socket::Socket;
use crate::enforcer::{Counters, Enforced};
use crate::time::KernelClock;

/// Whether a table of this name has sets of ours.
pub(super) fn is_ours(table: &str) -> Result<bool, Errno> {
    let sets = sets(table)?;
    Ok(Set::FIRST.iter().any(|set| sets.contains_key(set)))
}

/// Whether there is a table of this name, whoever's.
pub(super) fn exists(table: &str) -> Result<bool, Errno> {
    match Socket::open()?.look_up(&layout::get(table), |_| {}) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(why) => Err(why),
    }
}

/// The sets of a table that are ours, and their bounds; none without the table.
pub(super) fn sets(table: &str) -> Result<BTreeMap<Set, Option<u32>>, Errno> {
    let sets = Socket::open()?.list(&layout::list_sets(table), layout::read_set);
    Ok(none_without_table(sets)?.into_iter().collect())
}

/// The rules of a table that are ours, by their sets, and what they have dropped; none without the table.
pub(super) fn rules(table: &str) -> Result<BTreeMap<Set, Counters>, Errno> {
    let rules = Socket::open()?.list(&layout::list_rules(table), layout::read_rule);
    Ok(none_without_table(rules)?.into_iter().collect())
}

fn none_without_table<T>(list: Result<Vec<T>, Errno>) -> Result<Vec<T>, Errno> {
    match list {
        Err(Errno::NOENT) => Ok(Vec::new()),
        list => list,
    }
}

/// All bans of these sets, each offender once.
pub(super) fn enforced(
    table: &str,
    sets: impl IntoIterator<Item = Set>,
    clock: &dyn Fn() -> KernelClock,
) -> Result<Vec<Enforced>, Errno> {
    let mut enforced = Vec::new();
    for set in sets {
        if let Set::Allow(_) = set {
            continue;
        }
        let read = |attributes: &[u8]| Some(element::read(set, attributes, clock()));
        let bans = Socket::open()?.list(&element::get_all(table, set), read)?;
        enforced.extend(bans.into_iter().flatten());
    }
    // A set that grows while it is read may tell of an element twice.
    enforced.sort_unstable_by_key(|ban| ban.offender);
    enforced.dedup_by_key(|ban| ban.offender);
    Ok(enforced)
}
