//! Which alerts have led to offences already (AR-IMP-8), by hashes of their identifiers.
//!
//! Asked only about lines that stand where lines may stand that were read before. In an ordinary stream an
//! identifier that comes twice is two alerts: nothing of it may be lost because of a writer that does not
//! number them well. An alert without an identifier is never known.
//!
//! Only alerts that fired are remembered, also those that met a quiet time. Those that did not would not be offences when
//! they are read again, unless the configuration has changed since.
//!
//! The bound: the last [`RECENT`] are known whenever a file is read again, however much new stands in it. What
//! is older than these and is read again counts again, once. A hash has 64 bits; that one of `RECENT` alerts
//! has the hash of another that is new happens in one of 2^47 reads of a repeated line.

use std::collections::VecDeque;

use foldhash::quality::RandomState;
use hashbrown::HashSet;

use crate::store::HANDLED_KEPT;

/// Alerts that are known at least.
const RECENT: usize = HANDLED_KEPT / 2;

/// Identifiers of the alerts that were handled last.
#[derive(Debug, Default)]
pub(super) struct Handled {
    in_order: VecDeque<u64>,
    known: HashSet<u64, RandomState>,
    /// Those that the store has not been given yet.
    new: Vec<u64>,
}

impl Handled {
    /// Those that a store has kept, oldest first.
    pub(super) fn restore(hashes: Vec<u64>) -> Self {
        Self {
            known: hashes.iter().copied().collect(),
            in_order: hashes.into(),
            new: Vec::new(),
        }
    }

    /// Notes an alert that fires. False when it may be one that was read before, and is.
    pub(super) fn note(&mut self, id: Option<&str>, may_repeat: bool) -> bool {
        let Some(hash) = id.map(hash) else {
            return true;
        };
        if !self.known.insert(hash) {
            return !may_repeat;
        }
        self.in_order.push_back(hash);
        self.new.push(hash);
        // What is new in a file that is read again must not push out what comes after it there.
        let kept = if may_repeat { 2 * RECENT } else { RECENT };
        while self.in_order.len() > kept {
            if let Some(oldest) = self.in_order.pop_front() {
                self.known.remove(&oldest);
            }
        }
        true
    }

    /// What the store has to be given.
    pub(super) fn take_new(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.new)
    }
}

/// FNV-1a: the same in every version and on every machine, as the store keeps it.
fn hash(id: &str) -> u64 {
    id.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Alerts by number, and how many of them count as new.
    #[track_caller]
    fn check(
        handled: &mut Handled,
        ids: impl IntoIterator<Item = usize>,
        may_repeat: bool,
        expected: usize,
    ) {
        let ids = ids.into_iter();
        let new = ids.filter(|id| handled.note(Some(&format!("1795500000.{id}")), may_repeat));
        assert_eq!(new.count(), expected);
    }

    /// AR-IMP-8
    #[test]
    fn an_alert_is_known_where_it_may_be_repeated_and_only_there() {
        let mut handled = Handled::default();
        check(&mut handled, [1, 2], false, 2);
        check(&mut handled, [1, 2, 3], true, 1);
        check(&mut handled, [1, 2, 3], false, 3);
        assert!(handled.note(None, true) && handled.note(None, true));
    }

    #[test]
    fn what_the_store_gives_back_is_known() {
        let mut handled = Handled::default();
        check(&mut handled, [1, 2, 1], false, 3);
        let new = handled.take_new();
        assert_eq!((new.len(), handled.take_new().len()), (2, 0));
        check(&mut Handled::restore(new), [1, 2], true, 0);
    }

    #[test]
    fn memory_is_bounded_and_what_is_new_pushes_nothing_recent_out() {
        let mut handled = Handled::default();
        check(&mut handled, 0..2 * RECENT, false, 2 * RECENT);
        assert_eq!(handled.in_order.len(), RECENT);
        // The first half is forgotten, and counts; the second is still known when its turn comes.
        check(&mut handled, 0..2 * RECENT, true, RECENT);
        assert_eq!(handled.in_order.len(), 2 * RECENT);
        check(&mut handled, 0..1, false, 1);
        check(&mut handled, [2 * RECENT], false, 1);
        assert_eq!(
            (handled.in_order.len(), handled.known.len()),
            (RECENT, RECENT)
        );
    }
}
