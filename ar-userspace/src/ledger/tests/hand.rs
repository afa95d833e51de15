//! Bans by hand, of addresses and of prefixes.

use super::*;
use crate::ledger::{ByHand, HandBan};

fn hand(offender: Offender, until: Expiry) -> Event {
    Event::Ban(HandBan {
        key: Key {
            offender,
            executable: Executable::new("manual"),
        },
        until,
        by: ByHand {
            uid: 0,
            pid: Some(7),
            reason: "scan".into(),
        },
    })
}

fn prefix(text: &str) -> Offender {
    Offender::network(text.parse().unwrap())
}

fn at(end: u64) -> Expiry {
    Expiry::At(seconds(end))
}

#[test]
fn a_prefix_is_banned_moved_and_ends_in_time() {
    let mut ledger = Ledger::new(Settings::default());
    let all = prefix("198.51.100.0/24");
    let banned = ledger.apply(hand(all, at(60)), seconds(0));
    let until = at(60);
    assert_eq!(banned, Ruling::Banned { until, rung: None });
    assert_eq!((ledger.prefixes(), ledger.bans_v4()), (1, 0));
    let effect = ledger.next_effect().unwrap();
    assert!(effect.standing_changed);
    assert_eq!(
        (effect.key.offender, effect.standing.unwrap().until),
        (all, until)
    );
    // The operator's word is the last one, also when it is a shorter one.
    let moved = ledger.apply(hand(all, at(30)), seconds(1));
    let (from, until) = (at(60), at(30));
    assert_eq!(
        moved,
        Ruling::Moved {
            from,
            until,
            rung: None
        }
    );
    assert_eq!(ledger.next_effect().unwrap().standing.unwrap().until, until);
    let record = ledger.records_of(all).next().unwrap();
    let ban = record.ban.unwrap();
    assert_eq!(&*ban.by_hand.unwrap().reason, "scan");
    assert_eq!((record.offences, ban.adopted), (0, false));
    ledger.handle_timeout(seconds(30));
    assert_eq!(ledger.next_effect().unwrap().standing, None);
    assert_eq!((ledger.prefixes(), ledger.remembered()), (0, 0));
}

#[test]
fn a_prefix_and_its_first_address_are_two_offenders_with_limits_of_their_own() {
    let mut ledger = Ledger::new(Settings {
        limits: Limits {
            bans_v4: 1,
            prefixes: 1,
            ..Limits::default()
        },
        ..Settings::default()
    });
    let first = "198.51.100.0".parse().unwrap();
    let mut ban = |offender| ledger.apply(hand(offender, at(60)), seconds(0));
    assert!(matches!(
        ban(prefix("198.51.100.0/24")),
        Ruling::Banned { .. }
    ));
    assert!(matches!(ban(first), Ruling::Banned { .. }));
    let refused = |limit| Ruling::Refused { limit, rung: None };
    assert_eq!(ban(prefix("198.51.0.0/16")), refused(Limit::Prefixes));
    assert_eq!(ban("198.51.100.1".parse().unwrap()), refused(Limit::BansV4));
    assert_eq!(ledger.standings(seconds(0)).count(), 2);
}
