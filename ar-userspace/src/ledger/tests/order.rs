//! The order of releases among so many keys that queues are deep.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// The 203.0.0.0/16 address of this number.
fn offender(number: u16) -> String {
    let [third, last] = number.to_be_bytes();
    format!("203.0.{third}.{last}")
}

proptest! {
    /// AR-TIME-1
    #[test]
    fn releases_come_in_the_order_of_ends_whoever_left_before(
        bans in vec((0..400_u16, 1..1_000_u64), 1..400),
        unbans in vec(0..400_u16, 0..300),
    ) {
        let mut ledger = Ledger::new(ladder(&[]));
        let mut expected = BTreeMap::new();
        for (number, length) in bans {
            let offence = offence("fd", &offender(number), &length.to_string());
            ledger.apply(Event::Offence { offence, at: seconds(0) }, seconds(0));
            expected.insert(number, length);
        }
        for number in unbans {
            let whom = whom(&[&offender(number)]);
            ledger.apply(Event::Unban(whom, BY_HAND), seconds(0));
            expected.remove(&number);
        }
        while ledger.next_effect().is_some() {}
        let mut expected: Vec<_> = expected.into_iter().collect();
        expected.sort_by_key(|&(number, length)| (length, number));
        let mut released = Vec::new();
        while let Some(due) = ledger.next_deadline() {
            ledger.handle_timeout(due);
            while let Some(effect) = ledger.next_effect() {
                released.push((effect.key.offender.to_string(), effect.at));
            }
        }
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(number, length)| (offender(number), seconds(length)))
            .collect();
        prop_assert_eq!(released, expected);
    }
}
